//! Hasad, the archive: every version of every page, each content stored once under its own hash.
//!
//! - [`Objects`]: contents, in a folder or any S3-compatible store, under the BLAKE3 of exactly their bytes
//! - `store`: versions and their status, in Postgres
//! - [`Archive`]: the handler that brings the two together; `told` checks what an event says
//! - `sweep`: deletes objects that nobody names; `check`: whether rows and objects belong together
//! - [`Look`], [`compare`]: what is archived, to look at
//! - `vital`: what it tells of itself: whether it lives, whether it can work, and its figures
//! - `cli`, `verbs`, `config`: the verbs and the settings

mod archive;
mod check;
mod cli;
mod config;
mod error;
mod look;
mod objects;
mod run;
mod store;
mod sweep;
mod told;
mod verbs;
mod vital;

pub use archive::{Archive, Count};
pub use cli::{Cli, complain, execute};
pub use config::{Config, Database, Place};
pub use error::Error;
pub use look::{Differs, Line, Look, compare};
pub use objects::{Objects, Put};
pub use run::{archive, run};
pub use store::{Version, migrate};
pub use vital::METRICS;

/// This version, as dead letters name it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
