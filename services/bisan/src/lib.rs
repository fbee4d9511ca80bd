//! Bisan, the reader's side: keeps the newest state of each article in one file of SQLite, searches it, and serves it to readers.
//!
//! - [`Consume`], [`event`]: from the stream into the file, each event once
//! - [`fold`], [`search`]: what a reader types, and what it finds
//! - [`store`]: the file, and every statement
//! - `serve`: the read API and the reading pages
//! - `cli`, `config`: the verbs and the settings

mod cli;
mod config;
mod consume;
mod error;
pub mod event;
pub mod fold;
mod meili;
mod projector;
mod rebuild;
mod reindex;
mod run;
pub mod search;
mod serve;
pub mod store;

pub use cli::{Cli, run};
pub use config::{Config, Database};
pub use consume::Consume;
pub use error::Error;
pub use meili::{Comparison, SearchServer, SearchWrite, Searcher, SettingsArgs};
pub use projector::{Projector, Tick};
pub use rebuild::{Failed, LINE_BYTES_MAX, Rebuilt, WithoutEnd, rebuild};
pub use reindex::{Goal, Reindex, ReindexArgs, Summary, Told};
pub use run::consume;
pub use serve::{METRICS, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, Site, escaped, router, serve};
pub use store::Store;

/// This version, as dead letters and validators name it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
