//! Where the site stands: a port of loopback, the same one at each start.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::{Clock, page, script};
use crate::part::Stop;

/// The site's address, without a slash at its end.
pub(crate) fn address(clock: &Clock) -> String {
    format!("http://127.0.0.1:{}", clock.port())
}

/// Serves, and lets the seconds pass.
pub(crate) async fn serve(clock: Clock, stop: Stop) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, clock.port()))
        .await
        .with_context(|| format!("the bundled site has its articles at port {}, which is not free", clock.port()))?;
    let router = Router::new()
        .route("/", get(async |State(clock): State<Clock>| html(StatusCode::OK, page::front(&clock))))
        .route("/news/{slug}", get(article))
        .route("/sitemap.xml", get(sitemap))
        .route("/robots.txt", get(async |State(clock): State<Clock>| page::robots(&clock)))
        .fallback(async || html(StatusCode::NOT_FOUND, page::nothing("There is no such page.")))
        .with_state(clock.clone());
    tokio::select! {
        served = axum::serve(listener, router).into_future() => Ok(served?),
        passed = clock.run() => passed,
        () = stop.asked() => Ok(()),
    }
}

async fn article(State(clock): State<Clock>, Path(slug): Path<String>, headers: HeaderMap) -> Response {
    match script::page(&slug, clock.second()) {
        None => html(StatusCode::NOT_FOUND, page::nothing("There is no such page.")),
        Some(shown) if shown.gone => html(StatusCode::GONE, page::nothing("This article has been withdrawn.")),
        Some(shown) => {
            let text = page::article(&clock, &shown);
            let tag = format!("\"{}\"", &blake3::hash(text.as_bytes()).to_hex()[..16]);
            if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
                return StatusCode::NOT_MODIFIED.into_response();
            }
            ([(header::ETAG, tag)], html(StatusCode::OK, text)).into_response()
        }
    }
}

async fn sitemap(State(clock): State<Clock>) -> Response {
    ([(header::CONTENT_TYPE, "application/xml")], page::sitemap(&clock)).into_response()
}

fn html(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response()
}
