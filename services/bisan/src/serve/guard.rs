//! What every request must keep to, and what every answer carries.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::Semaphore;

use super::Site;
use super::answer::{Problem, Wanted};

/// A longer address asks for nothing that we have.
const ADDRESS_BYTES_MAX: usize = 4_096;
/// Requests that are answered at once; more are turned away.
pub(super) const REQUESTS_MAX: usize = 128;
/// An answer takes no longer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Nothing is loaded from anywhere else, nothing runs but our own file, and nobody frames us: what articles say can be as
/// hostile as it likes.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(header::HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

pub(super) async fn guard(
    State(turns): State<Arc<Semaphore>>,
    Extension(site): Extension<Site>,
    request: Request,
    next: Next,
) -> Response {
    let wanted = Wanted::by(request.headers(), site);
    let mut response = admitted(&turns, wanted, request, next).await;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn admitted(turns: &Semaphore, wanted: Wanted, request: Request, next: Next) -> Response {
    let length = request.uri().path_and_query().map_or(0, |address| address.as_str().len());
    if length > ADDRESS_BYTES_MAX {
        let words = format!("the address has {length} bytes; {ADDRESS_BYTES_MAX} are enough for anything here");
        return Problem::new(StatusCode::URI_TOO_LONG, words).answer(wanted);
    }
    let Ok(_turn) = turns.try_acquire() else {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many readers at once; try again soon")
            .answer(wanted);
    };
    match tokio::time::timeout(ANSWER_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "that took too long; try again, or ask for less")
            .answer(wanted),
    }
}
