//! From what a reader types to what is shown: articles in their order, and where in the original the words stand.
//!
//! Whoever ranks returns ids ([`Ranked`]); the articles themselves, and what is marked in them, always come from the file.
//! So an index that is a moment behind can show nothing that is deleted.

mod query;
mod snippet;

use serde::Serialize;

pub use query::{QUERY_BYTES_MAX, Query, WORDS_MAX};
pub use snippet::{Marked, SNIPPET_CHARS_MAX};

use crate::Searcher;
use crate::store::{self, Filter, Store, Summary};
use crate::{Error, fold};

/// Further pages are not shown: who looks there needs other words.
pub const PAGE_MAX: u32 = 50;

/// What is looked for, and which part of it is shown.
#[derive(Debug, Clone)]
pub struct Request {
    /// What was typed.
    pub query: Query,
    /// Which articles it is about.
    pub filter: Filter,
    /// From 1.
    pub page: u32,
    /// How many articles are on a page.
    pub size: u32,
}

impl Request {
    /// How many articles stand on earlier pages.
    pub fn skipped(&self) -> usize {
        (self.page.saturating_sub(1) as usize).saturating_mul(self.size as usize)
    }
}

/// Articles in their order, by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranked {
    /// Those of the page.
    pub ids: Vec<i64>,
    /// How many there are in all.
    pub total: usize,
    /// There may be more than that.
    pub more: bool,
}

/// Who has ranked what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The file.
    Fts5,
    /// The index beside it.
    Meilisearch,
}

impl Engine {
    /// Its name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fts5 => "fts5",
            Self::Meilisearch => "meilisearch",
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// Who has ranked it.
    pub engine: Engine,
    /// How many articles there are in all.
    pub total: usize,
    /// There may be more than that.
    pub more: bool,
    /// Those of the page.
    pub hits: Vec<Hit>,
}

/// One article that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Hit {
    #[allow(missing_docs)]
    #[serde(flatten)]
    pub article: Summary,
    /// Its title, with what was looked for.
    pub title_marks: Vec<(usize, usize)>,
    /// The part of its text that tells best why it was found.
    pub snippet: Marked,
}

/// Searches the file.
pub async fn search(store: &Store, request: Request) -> Result<Found, Error> {
    store
        .read(move |db| {
            let ranked = store::ranked(db, &request)?;
            shown(db, &request.query, &ranked, Engine::Fts5)
        })
        .await
}

/// Searches the index, or the file as long as the index does not answer.
pub async fn search_by(store: &Store, index: Option<&Searcher>, request: Request) -> Result<Found, Error> {
    let ranked = match index {
        Some(index) if !request.query.is_empty() => index.rank(store, &request).await?,
        _ => None,
    };
    match ranked {
        Some(ranked) => store.read(move |db| shown(db, &request.query, &ranked, Engine::Meilisearch)).await,
        None => search(store, request).await,
    }
}

/// The file alone, on this thread.
pub fn search_now(store: &Store, request: &Request) -> Result<Found, Error> {
    store.read_now(|db| shown(db, &request.query, &store::ranked(db, request)?, Engine::Fts5))
}

/// Articles as they are found, from their ids. What is no longer there is left out.
pub(crate) fn shown(
    db: &rusqlite::Connection,
    query: &Query,
    ranked: &Ranked,
    engine: Engine,
) -> Result<Found, Error> {
    let mut hits = vec![];
    for id in &ranked.ids {
        let Some((article, body)) = store::hit(db, *id)? else { continue };
        let title_marks = snippet::marks(query, &article.title, &fold::words(&article.title));
        let title_marks = snippet::in_letters(&article.title, &title_marks);
        let snippet = snippet::snippet(query, &article.lead, &body);
        hits.push(Hit { article, title_marks, snippet });
    }
    Ok(Found { engine, total: ranked.total, more: ranked.more, hits })
}
