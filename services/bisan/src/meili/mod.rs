//! Meilisearch: the search index beside the truth. It may be away, behind or lost at any time; nothing rests on it.
//!
//! - [`SearchServer`]: where it is, its key, its limits
//! - `server`, `http`: what we ask of it, over our own client
//! - `trouble`: why it did not do what it was asked
//! - `settings`: the index's settings, as code
//! - `document`: what an article is in it
//! - `compare`: every article beside every document
//! - `search`: questions, with a way back to SQLite

mod compare;
mod config;
mod document;
mod http;
mod search;
mod server;
mod settings;
mod trouble;
mod verb;

pub use compare::Comparison;
pub(crate) use compare::compare;
pub use config::{SearchServer, SearchWrite};
pub(crate) use document::Document;
pub use search::Searcher;
pub(crate) use search::typed;
pub(crate) use server::{Ended, Identity, Meili, TaskId};
pub(crate) use settings::{Drift, drift, settings};
pub(crate) use trouble::{Blame, Fault, Trouble};
pub use verb::SettingsArgs;

/// Documents that are asked for at once where all of them are looked at.
pub(crate) const PAGE_DOCUMENTS: usize = 1_000;
/// So many matches are counted and shown; as many as the search in the file ranks.
pub(crate) const HITS_MAX: usize = 2_000;
