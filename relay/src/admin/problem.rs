//! What is said when something is refused or fails: `application/problem+json`, with one sentence that helps.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::Error;

/// Why there is no other answer (RFC 9457).
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What the status means in general.
    title: &'static str,
    status: u16,
    /// What is wrong here, and what to do.
    detail: String,
    #[serde(skip)]
    retry_after_seconds: Option<u64>,
}

pub(crate) type Result<T> = std::result::Result<T, Problem>;

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Problem");
        Self { title, status: status.as_u16(), detail: detail.into(), retry_after_seconds: None }
    }

    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// A store is away: worth another try.
    pub(crate) fn away(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).after(1)
    }

    pub(crate) fn after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
        match code.as_str() {
            "42P01" | "42703" | "42883" | "3F000" => {
                Self::away("Postgres holds no outbox of this version: run `relay migrate`")
            }
            "42501" => Self::new(
                StatusCode::FORBIDDEN,
                format!("the relay's Postgres user may not do this: {}", outbox::in_words(&error)),
            ),
            "57014" => {
                Self::away("Postgres took too long to answer; ask for less, or try again when there is less to do")
            }
            // What was sent cannot be kept, such as a NUL in a text.
            code if code.starts_with("22") || code.starts_with("23") => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, outbox::in_words(&error))
            }
            _ => Self::away(format!("Postgres is away: {}", outbox::in_words(&error))),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Postgres(error) => error.into(),
            Error::Unusable(sentence) => Self::away(sentence),
            Error::Redis(outage) => Self::away(format!("Redis is away: {}", outage.0)),
        }
    }
}

impl From<crate::fault::Outage> for Problem {
    fn from(outage: crate::fault::Outage) -> Self {
        Error::from(outage).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_as_its_standard_asks() {
        let response = Problem::away("Postgres is away").into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(
            Problem::new(StatusCode::UNAUTHORIZED, "x").into_response().headers()[header::WWW_AUTHENTICATE],
            "Bearer"
        );
    }
}
