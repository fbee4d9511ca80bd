//! `/live`, `/ready` and `/metrics` of a program that serves nothing else. Whoever asks, and however often, the store is asked once
//! a second at most.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};

use terminal::CannotListen;

use crate::ears::ears;
use crate::{Listen, MIME, Text};

/// An answer about a store is so old at most.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// A store that does not answer in time is away.
const STORE_MAX: Duration = Duration::from_secs(4);
/// An answer takes no longer, the wait for its turn included.
const ANSWER_MAX: Duration = Duration::from_secs(9);
/// Requests that are answered at once; more are turned away.
const REQUESTS_MAX: usize = 16;

/// A program that tells of itself.
pub trait Vital: Send + Sync + 'static {
    /// Whether it could work now; or why not, in one sentence.
    fn ready(&self) -> impl Future<Output = Result<(), String>> + Send;
    /// What is counted in this process. `store_up`: whether the store told its figures.
    fn of_process(&self, text: &mut Text, store_up: bool);
    /// What lies in the store; or why it cannot be told.
    fn of_store(&self, text: &mut Text) -> impl Future<Output = Result<(), String>> + Send;
}

/// Takes the address of a setting such as `--listen (HASAD_LISTEN)`, if there is one.
pub fn open(setting: &str, listen: Listen) -> Result<Option<TcpListener>, CannotListen> {
    let Listen::At(address) = listen else { return Ok(None) };
    let listener = terminal::listen(setting, address)?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "tells of itself at /live, /ready and /metrics");
    }
    Ok(Some(TcpListener::from_std(listener)?))
}

/// Answers until it is dropped, or its listener dies; without a listener there is nobody to answer.
pub async fn serve(listener: Option<TcpListener>, vital: impl Vital) -> io::Result<()> {
    let Some(listener) = listener else { return std::future::pending().await };
    let (ears, death) = ears(listener);
    tokio::select! {
        served = axum::serve(ears, router(Arc::new(Desk { vital, seen: Mutex::default() }))) => served,
        error = death => Err(error),
    }
}

/// The program, and what it told last.
struct Desk<V> {
    vital: V,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    ready: Option<(Instant, Result<(), String>)>,
    store: Option<(Instant, Result<String, String>)>,
}

fn router<V: Vital>(desk: Arc<Desk<V>>) -> Router {
    Router::new()
        .route("/live", get(async || "live\n"))
        .route("/ready", get(ready::<V>))
        .route("/metrics", get(metrics::<V>))
        .layer(from_fn_with_state(Arc::new(Semaphore::new(REQUESTS_MAX)), guard))
        .with_state(desk)
}

async fn guard(State(turns): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    // Who watches whether the process lives is never turned away: others may ask as much as they like.
    if request.uri().path() == "/live" {
        return next.run(request).await;
    }
    let away = |why: &'static str| (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    let Ok(_turn) = turns.try_acquire() else { return away("too many ask at once; try again soon\n") };
    tokio::time::timeout(ANSWER_MAX, next.run(request)).await.unwrap_or_else(|_| away("that took too long\n"))
}

/// What was told a moment ago.
fn fresh<T: Clone>(seen: &Option<(Instant, T)>) -> Option<T> {
    seen.as_ref().filter(|(at, _)| at.elapsed() < FRESH_FOR).map(|(_, told)| told.clone())
}

async fn ready<V: Vital>(State(desk): State<Arc<Desk<V>>>) -> Response {
    let mut seen = desk.seen.lock().await;
    let ready = match fresh(&seen.ready) {
        Some(ready) => ready,
        None => {
            let asked = tokio::time::timeout(STORE_MAX, desk.vital.ready()).await;
            let ready = asked.unwrap_or_else(|_| Err(late()));
            seen.ready = Some((Instant::now(), ready.clone()));
            ready
        }
    };
    match ready {
        Ok(()) => "ready\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n").into_response(),
    }
}

async fn metrics<V: Vital>(State(desk): State<Arc<Desk<V>>>) -> Response {
    let mut seen = desk.seen.lock().await;
    let store = match fresh(&seen.store) {
        Some(store) => store,
        None => {
            let mut text = Text::default();
            let asked = tokio::time::timeout(STORE_MAX, desk.vital.of_store(&mut text)).await;
            let told = asked.unwrap_or_else(|_| Err(late()));
            if let Err(reason) = &told {
                tracing::warn!(reason, "the store does not tell its figures");
            }
            let store = told.map(|()| text.into_text());
            seen.store = Some((Instant::now(), store.clone()));
            store
        }
    };
    drop(seen);
    let mut text = Text::default();
    desk.vital.of_process(&mut text, store.is_ok());
    // What was half told is not told.
    let text = text.into_text() + &store.unwrap_or_default();
    ([(header::CONTENT_TYPE, MIME)], text).into_response()
}

fn late() -> String {
    format!("it did not answer in {} s", STORE_MAX.as_secs())
}
