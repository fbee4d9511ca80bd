//! Fallah, the polite scraper: reads sitemaps and feeds, fetches their pages one at a time, and writes each article and its
//! event in one transaction.
//!
//! - [`address`]: one identity for one page
//! - [`robots`], [`sitemap`], [`fetch`]: what a site allows, what it lists, and how it is asked
//! - [`extract`]: from a page's bytes to an article
//! - `crawl`, `store`: what to fetch next, and the one transaction that all of it is for
//! - `run`, `vital`: reading for good, and what is told of it: health and figures
//! - `cli`, `config`, `sources`: the verbs and the settings

pub mod address;
mod cli;
mod config;
mod crawl;
mod error;
mod exit;
pub mod extract;
pub mod fetch;
mod fold;
pub mod guard;
pub mod robots;
mod run;
pub mod sitemap;
mod sources;
mod store;
mod trial;
mod vital;

pub use cli::{Cli, complain, run};
pub use config::{Config, Database, Manners, Pace, Which};
pub use crawl::{Count, Crawler};
pub use error::Error;
pub use run::Run;
pub use sources::{Source, Sources, Wrong};
pub use store::{Before, migrate};
pub use vital::METRICS;

/// The name by which robots.txt knows us.
pub const AGENT: &str = fetch::PRODUCT;

/// This version, as events name it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
