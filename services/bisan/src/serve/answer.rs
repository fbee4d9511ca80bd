//! Answers: JSON or a page, whichever was asked for; with a validator, so that nothing is sent twice.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::Markup;
use serde::Serialize;

use super::{Site, page};
use crate::Error;

/// What the client wants to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Page(Site),
    Json,
}

impl Wanted {
    /// JSON for who asks for it more than for a page; a page for everybody else.
    pub(super) fn by(headers: &HeaderMap, site: Site) -> Self {
        let (mut page, mut json) = (0.0, 0.0);
        let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        for kind in accept.flat_map(|value| value.split(',')) {
            let mut parts = kind.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
            match name.as_str() {
                "text/html" | "application/xhtml+xml" | "text/*" => page = quality.max(page),
                "application/json" | "application/problem+json" | "application/*" => json = quality.max(json),
                _ => {}
            }
        }
        if json > page { Self::Json } else { Self::Page(site) }
    }

    pub(super) fn is_page(self) -> bool {
        self != Self::Json
    }
}

/// What went wrong, in one sentence that helps (RFC 9457).
#[derive(Debug, Clone, Serialize)]
pub(super) struct Problem {
    status: u16,
    title: &'static str,
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { status: status.as_u16(), title, detail: detail.into() }
    }

    pub(super) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn missing(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(super) fn answer(&self, wanted: Wanted) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = match wanted {
            Wanted::Page(site) => {
                let page = page::problem(site, self.status, self.title, &self.detail).into_string();
                (status, [(header::CONTENT_TYPE, HTML)], page).into_response()
            }
            Wanted::Json => {
                let text = serde_json::to_string(self).unwrap_or_default();
                (status, [(header::CONTENT_TYPE, "application/problem+json")], text).into_response()
            }
        };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let words = outbox::in_words(&error);
        match error {
            Error::TooSlow(_) => {
                tracing::warn!(error = words, "a reader was turned away");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "that took too long; try again, or ask for less")
            }
            _ => {
                tracing::error!(error = words, "a reader could not be answered");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "the articles cannot be read just now; try again soon")
            }
        }
    }
}

pub(super) const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// A fresh answer, or word that nothing has changed.
pub(super) fn fresh(
    asked: &HeaderMap,
    wanted: Wanted,
    json: impl FnOnce() -> serde_json::Result<String>,
    page: impl FnOnce() -> Markup,
    changed_at: Option<i64>,
) -> Response {
    let (kind, body) = match wanted {
        Wanted::Page(_) => (HTML, page().into_string()),
        Wanted::Json => match json() {
            Ok(text) => (JSON, text),
            Err(error) => {
                tracing::error!(%error, "an answer is no JSON");
                return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written")
                    .answer(wanted);
            }
        },
    };
    validated(asked, kind, body, changed_at)
}

/// The validator is the answer's own hash: so it is right whatever the answer is made of.
pub(super) fn validated(asked: &HeaderMap, kind: &'static str, body: String, changed_at: Option<i64>) -> Response {
    let tag = format!("\"{}\"", &blake3::hash(body.as_bytes()).to_hex()[..32]);
    // A second has room for two changes; so only what has been quiet for longer is known by its time.
    let changed_at = changed_at.filter(|at| *at < crate::store::now() - 2);
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    set(header::ETAG, &tag);
    set(header::CACHE_CONTROL, "no-cache");
    set(header::VARY, "accept");
    if let Some(date) = changed_at.and_then(http_date) {
        set(header::LAST_MODIFIED, &date);
    }
    if is_known(asked, &tag, changed_at) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, [(header::CONTENT_TYPE, kind)], body).into_response()
}

fn is_known(asked: &HeaderMap, tag: &str, changed_at: Option<i64>) -> bool {
    if let Some(known) = asked.get(header::IF_NONE_MATCH) {
        let known = known.to_str().unwrap_or_default();
        return known == "*" || known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag);
    }
    let since = asked.get(header::IF_MODIFIED_SINCE).and_then(|value| value.to_str().ok());
    let since = since.and_then(|text| jiff::fmt::rfc2822::parse(text).ok()).map(|at| at.timestamp().as_second());
    matches!((since, changed_at), (Some(since), Some(changed_at)) if changed_at <= since)
}

fn http_date(seconds: i64) -> Option<String> {
    let at = jiff::Timestamp::from_second(seconds).ok()?;
    Some(at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(accept: &str) -> Wanted {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().expect("a value"));
        Wanted::by(&headers, Site::default())
    }

    #[test]
    fn who_asks_for_json_gets_it_and_everybody_else_a_page() {
        assert_eq!(wanted("application/json"), Wanted::Json);
        assert_eq!(wanted("application/json, text/plain, */*"), Wanted::Json);
        assert_eq!(
            wanted("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            Wanted::Page(Site::default())
        );
        assert_eq!(wanted("application/json;q=0.5, text/html"), Wanted::Page(Site::default()));
        assert_eq!(wanted("*/*"), Wanted::Page(Site::default()));
        assert_eq!(Wanted::by(&HeaderMap::new(), Site::default()), Wanted::Page(Site::default()));
    }

    #[test]
    fn a_date_is_as_http_wants_it() {
        assert_eq!(http_date(784_111_777).as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    }
}
