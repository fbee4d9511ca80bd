//! The versions of a page, as the archive has them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::page::{self, Told};
use super::{html, wants_json};
use crate::stages::Stages;

/// Of one page so many versions are shown, the newest.
const VERSIONS_MAX: usize = 50;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    url: Option<String>,
}

pub(super) async fn versions(
    State(stages): State<Arc<Stages>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let json = wants_json(&headers);
    let Some(url) = asked.url.filter(|url| !url.trim().is_empty()) else {
        return refuse(json, StatusCode::BAD_REQUEST, "url is missing: /versions?url=http://...");
    };
    match told(&stages.archive, &url).await {
        Ok(told) if told.is_empty() => refuse(json, StatusCode::NOT_FOUND, "nothing of that page is archived"),
        Ok(told) if json => {
            let all: Vec<_> = told
                .iter()
                .map(|told| {
                    json!({ "version": told.version, "article": told.article, "unreadable": told.unreadable,
                            "differs": told.differs })
                })
                .collect();
            Json(json!({ "url": url, "versions": all })).into_response()
        }
        Ok(told) => html(page::versions(&url, &told)),
        Err(error) => {
            tracing::warn!(error = outbox::in_words(error.as_ref()), "versions could not be shown");
            refuse(json, StatusCode::SERVICE_UNAVAILABLE, "the archive cannot be read just now; try again soon")
        }
    }
}

/// The newest first, each with what it changed.
async fn told(archive: &hasad::Look, url: &str) -> anyhow::Result<Vec<Told>> {
    let history = archive.history(url).await?;
    let skipped = history.len().saturating_sub(VERSIONS_MAX);
    let mut told: Vec<Told> = vec![];
    for version in history.into_iter().skip(skipped) {
        // One that is lost or damaged is no reason to withhold the others.
        let (article, unreadable) = match archive.article(&version).await {
            Ok(article) => (article, None),
            // But if the store is away, none can be read, and all can be soon.
            Err(error) if error.is::<hasad::Error>() => return Err(error),
            Err(error) => (None, Some(outbox::in_words(error.as_ref()))),
        };
        let before = told.iter().rev().find_map(|told| told.article.as_ref());
        let differs = before.zip(article.as_ref()).map(|(before, now)| hasad::compare(before, now));
        told.push(Told { version, article, unreadable, differs });
    }
    told.reverse();
    Ok(told)
}

fn refuse(json: bool, status: StatusCode, words: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    if json {
        return (status, Json(json!({ "status": status.as_u16(), "title": title, "detail": words }))).into_response();
    }
    (status, html(page::sentence(title, words))).into_response()
}
