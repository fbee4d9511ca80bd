//! Every route, by who may ask for it, and the document about them: it is made from the routes themselves.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::BODY_BYTES_MAX;
use super::desk::Desk;
use super::guard::{manners, may};
use super::page;
use super::problem::Problem;
use super::routes::{dead, dlq, health, live, look, metrics, pause, publish, trace};
use super::tokens::Scope;

/// What stands above the routes.
#[derive(OpenApi)]
#[openapi(info(
    title = "relay",
    description = "The operator's surface of a relay: how it stands, dead letters, pauses, and a gateway for producers without SQL. \
                   Beyond loopback every route but /live and /ready asks for a token: `Authorization: Bearer`. What is refused or \
                   fails is `application/problem+json`, with one sentence that helps."
))]
struct Surface;

/// The routes, and the document about them.
pub(crate) fn router(desk: Arc<Desk>) -> (Router, Document) {
    let guarded = |scope| from_fn_with_state((Arc::clone(&desk), scope), may);
    // Whoever runs the process asks these, and bears no token.
    let for_all = OpenApiRouter::new().routes(routes!(health::live)).routes(routes!(health::ready));
    let for_readers = OpenApiRouter::new()
        .routes(routes!(metrics::metrics))
        .routes(routes!(look::status))
        .routes(routes!(look::streams))
        .routes(routes!(look::groups))
        .routes(routes!(look::consumers))
        .routes(routes!(look::blockers))
        .routes(routes!(look::history))
        .routes(routes!(live::events))
        .routes(routes!(trace::trace))
        .routes(routes!(dead::list))
        .routes(routes!(dead::show))
        .routes(routes!(dead::job))
        .routes(routes!(dlq::items))
        .routes(routes!(dlq::count))
        .route_layer(guarded(Scope::Read));
    let for_writers = OpenApiRouter::new()
        .routes(routes!(dead::replay))
        .routes(routes!(dead::drop))
        .routes(routes!(dlq::retry))
        .routes(routes!(dlq::clear))
        .routes(routes!(pause::pause))
        .routes(routes!(pause::resume))
        .route_layer(guarded(Scope::Write));
    let for_producers = OpenApiRouter::new().routes(routes!(publish::publish)).route_layer(guarded(Scope::Publish));
    let (router, document) = OpenApiRouter::with_openapi(Surface::openapi())
        .merge(for_all)
        .merge(for_readers)
        .merge(for_writers)
        .merge(for_producers)
        .split_for_parts();
    let text = document.to_json().unwrap_or_default();
    let told = move || async move { ([("content-type", "application/json")], text) };
    let router = router
        // The page is open: it holds nothing but itself, and asks for a token where its questions need one.
        .route("/", get(page::page))
        .merge(Router::new().route("/openapi.json", get(told)).route_layer(guarded(Scope::Read)))
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this route is not asked so").into_response()
        })
        .fallback(|| async { Problem::not_found("there is no such route; /openapi.json lists them").into_response() })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&desk), manners))
        .with_state(desk);
    (router, document)
}
