//! Who may do what. Two walls: what holds for every request, and what a route asks for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::desk::Desk;
use super::problem::{Problem, Result};
use super::serve::Peer;
use super::tokens::Scope;

/// A request has so long until its answer begins.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

/// What every answer says to a browser, unless a route says something else: nothing in it is to be run, guessed, framed or kept.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Who does something, as the audit names them.
#[derive(Debug, Clone)]
pub(crate) struct Operator(pub(crate) String);

impl Operator {
    /// One line in the log for each deed.
    pub(crate) fn did(&self, deed: &str, what: &str, count: i64) {
        tracing::info!(who = self.0, deed, what, count, "an operator acts");
    }
}

/// For every request: from where it may come, how long it may take, and what its answer says to a browser.
pub(crate) async fn manners(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let mut response = match admit(&desk, request.method(), request.headers()) {
        Err(problem) => problem.into_response(),
        Ok(()) => tokio::time::timeout(REQUEST_TIME_MAX, next.run(request)).await.unwrap_or_else(|_| {
            let why = format!("there is no answer after {} seconds", REQUEST_TIME_MAX.as_secs());
            Problem::away(why).into_response()
        }),
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    let mut answers = desk.answers.lock().expect("adding a number does not panic");
    *answers.entry((route, response.status().as_u16())).or_default() += 1;
    response
}

fn admit(desk: &Desk, method: &Method, headers: &HeaderMap) -> Result<()> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    if headers.get_all(header::HOST).iter().count() > 1 {
        return Err(Problem::bad("there are two Host headers"));
    }
    // A page elsewhere can give its own name our address, and then its scripts may read what we answer. They cannot change
    // by which name they ask.
    if desk.loopback && !is_loopback(host) {
        let why = format!("the Host header says {host:?}; ask by localhost or 127.0.0.1");
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, why));
    }
    let fetch = |name| text(HeaderName::from_static(name));
    let from_here = match fetch("sec-fetch-site") {
        Some(site) if ["same-origin", "none"].contains(&site) => true,
        // Somebody has followed a link to us. Everything else a page could make us do for it, again and again, though it may
        // not read what we answer.
        Some(_) => {
            method.is_safe()
                && fetch("sec-fetch-mode") == Some("navigate")
                && fetch("sec-fetch-dest") == Some("document")
        }
        // An older browser, or no browser.
        None => {
            let origin = text(header::ORIGIN);
            method.is_safe()
                || (!headers.contains_key(header::ORIGIN)
                    || origin.is_some_and(|origin| origin.split_once("://").is_some_and(|(_, rest)| rest == host)))
        }
    };
    if from_here {
        Ok(())
    } else {
        Err(Problem::new(StatusCode::FORBIDDEN, "another site's page may not ask for this"))
    }
}

/// Whether a Host header names this machine by itself.
fn is_loopback(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return address.is_loopback();
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost")
}

/// For the routes of a scope: whether this caller may.
pub(crate) async fn may(
    State((desk, scope)): State<(Arc<Desk>, Scope)>,
    mut request: Request,
    next: Next,
) -> Result<Response> {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let peer = peer.ok_or_else(|| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "nobody asks"))?;
    let operator = identify(&desk, scope, peer, request.headers())?;
    request.extensions_mut().insert(operator);
    Ok(next.run(request).await)
}

fn identify(desk: &Desk, scope: Scope, peer: IpAddr, headers: &HeaderMap) -> Result<Operator> {
    let tokens = &desk.tokens;
    if !tokens.guards(scope) {
        return Ok(Operator(peer.to_string()));
    }
    let refuse = |status, why: &str| Err(Problem::new(status, why));
    let needed = format!("show a token: Authorization: Bearer, and what {} says", scope.variable());
    let Some(shown) = headers.get(header::AUTHORIZATION) else { return refuse(StatusCode::UNAUTHORIZED, &needed) };
    let now = Instant::now();
    let mut guessers = desk.guessers.lock().expect("looking up an address does not panic");
    if let Some(wait) = guessers.wait(peer, now) {
        let why = "too many wrong tokens came from your address";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, why).after(wait.as_secs() + 1));
    }
    let (kind, shown) = shown.as_bytes().split_at_checked("Bearer ".len()).unwrap_or_default();
    match tokens.whose(shown).filter(|_| kind.eq_ignore_ascii_case(b"Bearer ")) {
        None => {
            guessers.guessed(peer, now);
            refuse(StatusCode::UNAUTHORIZED, &format!("nobody knows this token; {needed}"))
        }
        Some(whose) if !tokens.allows(whose, scope) => {
            refuse(StatusCode::FORBIDDEN, &format!("the {} does not allow this; {needed}", whose.holder()))
        }
        Some(whose) => Ok(Operator(format!("{} from {peer}", whose.holder()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_called_localhost() {
        for host in
            ["localhost", "LOCALHOST:7654", "127.0.0.1:7654", "127.0.0.1", "[::1]:7654", "[::1]", "127.8.8.8:1"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:7654",
            "localhost.evil.example",
            "10.0.0.1:7654",
            "localhost:x",
            "[::2]",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
