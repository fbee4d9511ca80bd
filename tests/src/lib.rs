//! The test harness: real servers, a wire that can fail, real processes, and one way to wait.
//!
//! - [`Postgres`], [`Redis`], [`Cluster`], [`Pooler`] and [`S3`]: private servers of one test, gone when the test is gone
//! - [`Proxy`]: the wire to one server, which can be cut, frozen, slowed or lose a reply
//! - [`Turns`]: whoever speaks over a wire, killed at each of its turns
//! - [`SearchServer`]: a Meilisearch, real where `MEILI_URL` says so, else a double with faults
//! - [`Disk`]: a small one that can be filled, where root allows
//! - [`mangled`]: what a hostile sender makes of something that was whole
//! - [`Child`]: a program under test, with its output and its signals
//! - [`eventually`]: waits for a fact, with one deadline for everything
//! - [`Doing`], [`Effects`]: handlers for tests, and a ledger that cannot hide a duplicate
//! - [`Cellar`]: an archive, its stores, and what is told to it
//! - [`Stage`]: both servers with the outbox's tables, and a relay between them
//! - [`Surface`]: a relay that answers over HTTP, and callers who send exactly what they are told to
//! - [`chaos`]: rounds of random faults, and the checker that judges them
//! - [`measure`]: samples, and what a process uses
//! - [`rights`]: what users may do, as the documentation says
//! - [`Works`]: all programs, each as a process, from a scripted site to its readers
//! - [`Browser`]: a real one, for pages that people look at
//!
//! A test that waits does so by [`eventually`]; no test sleeps for a guessed time.

mod archiving;
mod browser;
mod chance;
pub mod chaos;
mod consuming;
mod crawling;
mod disk;
mod eventually;
mod load;
mod mangle;
pub mod measure;
mod meili;
mod process;
mod proxy;
mod reading;
pub mod rights;
mod servers;
mod shown;
mod site;
mod skipped;
mod stage;
mod steps;
mod surface;
mod turns;
mod works;

pub use archiving::{Cellar, Store, Story, story};
pub use browser::Browser;
pub use chance::Chance;
pub use consuming::{
    Doing, Effects, FileEffects, Running, Seen, assert_key_order, consume, consume_between, consume_over, consumer,
    enqueue_told, letters, pending, until_settled,
};
pub use crawling::Newsroom;
pub use disk::Disk;
pub use eventually::{Fact, deadline, eventually};
pub use load::{Load, assert_bore, until_progress};
pub use mangle::{cases, drawn, fuzzer, mangled};
pub use measure::Samples;
pub use meili::{Copied, Double, Own, SearchServer, Shelf, is_real, said, said_by};
pub use process::{Child, Signal, binary};
pub use proxy::{Halt, Proxy, Side};
pub use reading::{
    Answer, Reading, Told, address, ask, dump, export_end, exported, get, get_json, told, told_author,
};
pub use servers::{Cluster, Pooler, Postgres, Redis, S3, programs_of_postgres};
pub use shown::Shown;
pub use site::{Reply, Site, Visit, article, text};
pub use skipped::skipped;
pub use stage::{Stage, config, entries, settle};
pub use steps::{attempts, enqueue_more, relay_over, tick, until_arrived, until_paused};
pub use surface::{Response, Surface, ask_once};
pub use turns::{Turns, strides};
pub use works::{Far, Program, Works};
