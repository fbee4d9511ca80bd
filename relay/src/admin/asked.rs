//! What callers send, read with care: whatever is wrong with it is one sentence and a 4xx.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use super::problem::{Problem, Result};

/// A body may be so large: it holds events of at most a mebibyte each, or ids.
pub(crate) const BODY_BYTES_MAX: usize = 8 << 20;

/// It may take so long to come. A caller who is slow must not keep others out.
const BODY_TIME_MAX: Duration = Duration::from_secs(15);

/// The part behind the `?`.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(rejection) => Err(Problem::bad(rejection.body_text())),
        }
    }
}

/// The part of the path that names something.
pub(crate) struct Named(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) if name.contains('\0') => Err(Problem::bad("no name holds a NUL")),
            Ok(Path(name)) => Ok(Self(name)),
            Err(rejection) => Err(Problem::bad(rejection.body_text())),
        }
    }
}

/// A body as it came, said to be JSON. That it must be said keeps forms of other sites out: a browser asks before it sends it.
pub(crate) struct Body(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let kind =
            request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            let why = "say what is sent: the header Content-Type must be application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        let whole = tokio::time::timeout(BODY_TIME_MAX, Bytes::from_request(request, state)).await;
        match whole.map_err(|_| too_slow())? {
            Ok(body) => Ok(Self(body)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("a request may have {BODY_BYTES_MAX} bytes; send fewer at once"),
            )),
            Err(rejection) => Err(Problem::bad(rejection.body_text())),
        }
    }
}

fn too_slow() -> Problem {
    let why = format!("the body has not come within {} seconds", BODY_TIME_MAX.as_secs());
    Problem::new(StatusCode::REQUEST_TIMEOUT, why)
}

/// A body that is JSON of a certain shape.
pub(crate) struct Sent<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let Body(body) = Body::from_request(request, state).await?;
        read(&body).map(Self)
    }
}

/// Reads JSON of a certain shape.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| Problem::bad(format!("the body cannot be read: {error}")))
}

/// No text that Postgres could not keep.
pub(crate) fn without_nul(texts: &[Option<&str>]) -> Result<()> {
    if texts.iter().flatten().any(|text| text.contains('\0')) {
        return Err(Problem::bad("no text may hold a NUL"));
    }
    Ok(())
}
