//! The pipeline: scraper, relay, archive and reader in one process, with a private Postgres and Redis where none is given, and a
//! small news site where no source is named.
//!
//! | file | idea |
//! |---|---|
//! | `config.rs` | the settings: flags, variables, and what the parts are told |
//! | `run.rs` | the order in which all of it begins and ends |
//! | `whose.rs` | whose a server or a store is: our own, or yours |
//! | `folder.rs` | the data folder: one pipeline at a time, and nobody else's to read |
//! | `whole.rs` | whether something of that folder is lost |
//! | `alone.rs` | one pipeline at a Postgres of yours |
//! | `private/` | a Postgres and a Redis of our own, whose data stay |
//! | `part.rs` | what runs by itself, and is begun again when it fails |
//! | `parts.rs` | the four parts |
//! | `operator.rs` | where the operator's page is |
//! | `demo/` | the bundled news site |
//! | `store.rs` | every statement of the pipeline's own |
//! | `stages.rs` | how each stage stands |
//! | `web/` | the start page, versions, and Bisan's pages |

mod alone;
mod config;
mod demo;
mod folder;
mod operator;
mod part;
mod parts;
mod private;
mod run;
mod stages;
mod store;
mod web;
mod whole;
mod whose;

pub use config::{Config, Switch};
pub use run::run;
