//! What people see at the one address: the start page, how each stage stands, an article's versions; everything else is Bisan's.

mod page;
mod versions;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::part::Stop;
use crate::stages::Stages;

/// Articles on the start page.
const NEWEST: u32 = 8;
/// What stands at the head of each page.
pub(crate) const NAME: &str = "Pipeline";
/// Where versions are shown.
pub(crate) const VERSIONS: &str = "/versions";
/// Answers under way have so long to end.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// As Bisan's pages have it, and the start page may ask us how things stand.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// All that is served.
pub(crate) fn router(stages: Arc<Stages>, searcher: Option<bisan::Searcher>) -> Router {
    let reading =
        bisan::router(stages.articles.clone(), searcher, bisan::Site { name: NAME, history: Some(VERSIONS) });
    Router::new()
        .route("/", get(start))
        .route("/stages", get(state))
        .route(VERSIONS, get(versions::versions))
        .route("/start.css", get(async || file("text/css", page::STYLE)))
        .route("/start.js", get(async || file("text/javascript", page::SCRIPT)))
        .layer(from_fn(guard))
        .with_state(stages)
        .fallback_service(reading)
}

/// Serves until the wish to stop is there.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: Stop) -> std::io::Result<()> {
    let patience = async {
        stop.clone().asked().await;
        tokio::time::sleep(DRAIN_MAX).await;
    };
    let (ears, death) = vitals::ears(listener);
    tokio::select! {
        served = axum::serve(ears, router).with_graceful_shutdown(stop.clone().asked()) => served,
        error = death => Err(error),
        () = patience => Ok(()),
    }
}

async fn start(State(stages): State<Arc<Stages>>) -> Response {
    let newest =
        stages.articles.read(|db| bisan::store::list(db, &Default::default(), Default::default(), None, NEWEST));
    let (state, newest) = tokio::join!(stages.look(), newest);
    html(page::start(&state, &newest.unwrap_or_default()))
}

async fn state(State(stages): State<Arc<Stages>>) -> Response {
    axum::Json(&*stages.look().await).into_response()
}

fn html(page: maud::Markup) -> Response {
    axum::response::Html(page.into_string()).into_response()
}

fn file(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}

/// JSON for who asks for it and not for a page.
fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.contains("application/json") && !accept.contains("text/html")
}

async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
