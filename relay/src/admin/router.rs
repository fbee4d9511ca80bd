//! Every route, by who may ask for it, and the document about them: it is made from the routes themselves.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, Ref, RefOr, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::BODY_BYTES_MAX;
use super::desk::Desk;
use super::guard::{manners, may};
use super::page;
use super::problem::Problem;
use super::routes::{dead, dlq, health, live, look, metrics, pause, publish, trace};
use super::tokens::Scope;

/// What the document calls tokens.
const TOKEN: &str = "token";

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
    let mut for_readers = OpenApiRouter::new()
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
    let mut for_writers = OpenApiRouter::new()
        .routes(routes!(dead::replay))
        .routes(routes!(dead::drop))
        .routes(routes!(dlq::retry))
        .routes(routes!(dlq::clear))
        .routes(routes!(pause::pause))
        .routes(routes!(pause::resume))
        .route_layer(guarded(Scope::Write));
    let mut for_producers =
        OpenApiRouter::new().routes(routes!(publish::publish)).route_layer(guarded(Scope::Publish));
    for guarded in [&mut for_readers, &mut for_writers, &mut for_producers] {
        tell_of_tokens(guarded.get_openapi_mut());
    }
    let (router, mut document) = OpenApiRouter::with_openapi(Surface::openapi())
        .merge(for_all)
        .merge(for_readers)
        .merge(for_writers)
        .merge(for_producers)
        .split_for_parts();
    tell_of_what_is_sent(&mut document);
    tell_of_problems(&mut document);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("Beyond loopback")).build();
    document.components.get_or_insert_default().add_security_scheme(TOKEN, SecurityScheme::Http(bearer));
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

/// What guards a route stands in the document, too.
fn tell_of_tokens(document: &mut Document) {
    let refusals = [
        ("401", "No token, or one that nobody knows"),
        ("403", "The token, or the page that asks, may not do this"),
        ("429", "Too many wrong tokens came from this address, or too much is under way"),
    ];
    for operation in operations(document) {
        operation.security = Some(vec![SecurityRequirement::new(TOKEN, [""; 0])]);
        refuse(operation, &refusals);
    }
}

/// What is refused before a route is asked: a name in the path that is none, a body that is none.
fn tell_of_what_is_sent(document: &mut Document) {
    for operation in operations(document) {
        let mut refusals = vec![];
        let in_path = |one: &RefOr<Parameter>| matches!(one, RefOr::T(one) if one.parameter_in == ParameterIn::Path);
        if operation.parameters.iter().flatten().any(in_path) {
            refusals.push(("400", "The path holds what is no name"));
        }
        if operation.request_body.is_some() {
            refusals.push(("408", "The body did not come in time"));
            refusals.push(("413", "The body is too large"));
            refusals.push(("415", "The body is not said to be JSON"));
        }
        refuse(operation, &refusals);
    }
}

fn refuse(operation: &mut Operation, refusals: &[(&str, &str)]) {
    for (status, why) in refusals {
        let problem = Content::new(Some(Ref::from_schema_name("Problem")));
        let refusal = Response::builder().description(*why).content("application/json", problem);
        operation.responses.responses.entry((*status).to_owned()).or_insert_with(|| refusal.build().into());
    }
}

/// Problems have a type of their own, which their schema does not say.
fn tell_of_problems(document: &mut Document) {
    let is_problem = |content: &RefOr<Content>| match content {
        RefOr::T(Content { schema: Some(RefOr::Ref(to)), .. }) => to.ref_location.ends_with("/Problem"),
        _ => false,
    };
    for response in operations(document).flat_map(|operation| operation.responses.responses.values_mut()) {
        let RefOr::T(response) = response else { continue };
        if response.content.get("application/json").is_some_and(is_problem)
            && let Some(content) = response.content.shift_remove("application/json")
        {
            response.content.insert("application/problem+json".to_owned(), content);
        }
    }
}

fn operations(document: &mut Document) -> impl Iterator<Item = &mut Operation> {
    let paths = document.paths.paths.values_mut();
    paths.flat_map(|path| [&mut path.get, &mut path.post, &mut path.delete]).flatten()
}
