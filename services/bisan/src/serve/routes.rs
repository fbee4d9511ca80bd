//! What stands at which address.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use serde_json::json;
use tokio::sync::Semaphore;

use super::answer::{self, Problem, Wanted};
use super::asked::Asked;
use super::{Site, guard, metrics, page};
use crate::search::{self, PAGE_MAX};
use crate::store::{self, Cursor, Filter, Order, Summary};
use crate::{Error, Searcher, Store};

pub(super) fn router(store: Store, index: Option<Searcher>, site: Site) -> Router {
    Router::new()
        .route("/", get(articles))
        .route("/articles", get(articles))
        .route("/articles/{id}", get(article))
        .route("/search", get(search))
        .route("/authors/{id}", get(author))
        .route("/style.css", get(async |headers: HeaderMap| file(&headers, "text/css", page::STYLE)))
        .route("/page.js", get(async |headers: HeaderMap| file(&headers, "text/javascript", page::SCRIPT)))
        .route("/icon.svg", get(async |headers: HeaderMap| file(&headers, "image/svg+xml", page::ICON)))
        .route("/live", get(async || "live\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics::metrics))
        .fallback(nothing)
        .method_not_allowed_fallback(read_only)
        .layer(from_fn_with_state(Arc::new(Semaphore::new(guard::REQUESTS_MAX)), guard::guard))
        .layer(Extension(index))
        .layer(Extension(site))
        .with_state(store)
}

/// The newest articles.
async fn articles(
    State(store): State<Store>,
    Extension(site): Extension<Site>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let wanted = Wanted::by(&headers, site);
    let answer = async {
        let asked = Asked::of(&uri)?;
        let (filter, order, after, size) = (asked.filter()?, asked.order()?, asked.after()?, asked.size()?);
        let (these, choices) = store
            .read(move |db| {
                let choices = if wanted.is_page() { store::choices(db)? } else { store::Choices::default() };
                Ok((listed(db, &filter, order, after, size)?, choices))
            })
            .await?;
        let next = these.next.map(|next| asked.link("/articles", "after", &next.text()));
        Ok::<_, Problem>(answer::fresh(
            &headers,
            wanted,
            || serde_json::to_string(&json!({ "articles": these.articles, "next": next })),
            || page::list(site, &asked, &choices, &these.articles, next.as_deref()),
            None,
        ))
    };
    answer.await.unwrap_or_else(|problem| problem.answer(wanted))
}

struct Listed {
    articles: Vec<Summary>,
    next: Option<Cursor>,
}

/// A page, and where the next one begins if there is one.
fn listed(
    db: &rusqlite::Connection,
    filter: &Filter,
    order: Order,
    after: Option<Cursor>,
    size: u32,
) -> Result<Listed, Error> {
    let mut articles = store::list(db, filter, order, after, size + 1)?;
    let more = articles.len() > size as usize;
    articles.truncate(size as usize);
    let next = articles.last().filter(|_| more).map(|last| Cursor { dated_at: last.dated_at, id: last.id });
    Ok(Listed { articles, next })
}

/// One article.
async fn article(
    State(store): State<Store>,
    Extension(site): Extension<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let wanted = Wanted::by(&headers, site);
    let answer = async {
        let id = number(&id).ok_or_else(|| no_article(&id))?;
        let article =
            store.read(move |db| store::article(db, id)).await?.ok_or_else(|| no_article(&id.to_string()))?;
        if let (Some(at), Some(reason)) = (&article.deleted_at, &article.deleted_reason) {
            let words = format!("article {id} was there once; it was deleted at {at} ({reason})");
            return Err(Problem::new(StatusCode::GONE, words));
        }
        Ok(answer::fresh(
            &headers,
            wanted,
            || serde_json::to_string(&article),
            || page::article(site, &article),
            Some(article.changed_at),
        ))
    };
    answer.await.unwrap_or_else(|problem| problem.answer(wanted))
}

/// What is found.
async fn search(
    State(store): State<Store>,
    Extension(index): Extension<Option<Searcher>>,
    Extension(site): Extension<Site>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let wanted = Wanted::by(&headers, site);
    let answer = async {
        let asked = Asked::of(&uri)?;
        let request = asked.search()?;
        if request.query.is_empty() && wanted == Wanted::Json {
            return Err(Problem::bad("q has no word in it: /search?q=..."));
        }
        let choices = if wanted.is_page() { store.read(|db| store::choices(db)).await? } else { Default::default() };
        let (page, size, skipped) = (request.page, request.size, request.skipped());
        let empty = request.query.is_empty();
        let found = search::search_by(&store, index.as_ref(), request).await?;
        let more = skipped + (size as usize) < found.total && page < PAGE_MAX;
        let at = |page: u32| asked.link("/search", "page", &page.to_string());
        let (previous, next) = ((page > 1).then(|| at(page - 1)), more.then(|| at(page + 1)));
        Ok(answer::fresh(
            &headers,
            wanted,
            || {
                serde_json::to_string(&json!({
                    "query": asked.get("q"), "engine": found.engine, "page": page, "total": found.total, "more": found.more,
                    "hits": found.hits, "previous": previous, "next": next,
                }))
            },
            || page::search(site, &asked, &choices, (!empty).then_some(&found), previous.as_deref(), next.as_deref()),
            None,
        ))
    };
    answer.await.unwrap_or_else(|problem| problem.answer(wanted))
}

/// Somebody, and what they wrote.
async fn author(
    State(store): State<Store>,
    Extension(site): Extension<Site>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let wanted = Wanted::by(&headers, site);
    let answer = async {
        let missing = || Problem::missing(format!("there is no author {id}"));
        let id = number(&id).ok_or_else(missing)?;
        let asked = Asked::of(&uri)?;
        let (order, after, size) = (asked.order()?, asked.after()?, asked.size()?);
        let found = store.read(move |db| {
            let Some(person) = store::person(db, id)? else { return Ok(None) };
            let filter = Filter { author: Some(person.id), ..Filter::default() };
            Ok(Some((person, listed(db, &filter, order, after, size)?)))
        });
        let (person, these) = found.await?.ok_or_else(missing)?;
        let next = these.next.map(|next| asked.link(&format!("/authors/{id}"), "after", &next.text()));
        Ok::<_, Problem>(answer::fresh(
            &headers,
            wanted,
            || serde_json::to_string(&json!({ "author": person, "articles": these.articles, "next": next })),
            || page::author(site, &person, &these.articles, next.as_deref()),
            None,
        ))
    };
    answer.await.unwrap_or_else(|problem| problem.answer(wanted))
}

/// Whether the file can be read.
async fn ready(State(store): State<Store>) -> Response {
    match store.read(|db| store::newest_change(db)).await {
        Ok(_) => "ready\n".into_response(),
        Err(error) => Problem::from(error).answer(Wanted::Json),
    }
}

async fn nothing(Extension(site): Extension<Site>, uri: Uri, headers: HeaderMap) -> Response {
    Problem::missing(format!("there is nothing at {}", uri.path())).answer(Wanted::by(&headers, site))
}

async fn read_only(Extension(site): Extension<Site>, headers: HeaderMap) -> Response {
    let words = "everything here can be read with GET, and nothing can be changed";
    let mut response = Problem::new(StatusCode::METHOD_NOT_ALLOWED, words).answer(Wanted::by(&headers, site));
    response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
    response
}

fn file(asked: &HeaderMap, kind: &'static str, text: &'static str) -> Response {
    answer::validated(asked, kind, text.to_owned(), None)
}

/// An id as it stands in an address: digits and nothing else.
fn number(id: &str) -> Option<i64> {
    id.bytes().all(|byte| byte.is_ascii_digit()).then(|| id.parse().ok()).flatten()
}

fn no_article(id: &str) -> Problem {
    Problem::missing(format!("there is no article {id}"))
}
