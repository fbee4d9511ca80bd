//! The transactional outbox for Postgres.
//!
//! An event is written in the same transaction as the change that it tells of. Either both are committed or neither
//! is, and a relay brings what is committed to Redis Streams, each event once and in order.
//!
//! ```no_run
//! # #[derive(serde::Serialize)] struct Placed { order: i64, cents: i64 }
//! # async fn place(db: &sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
//! use outbox::Event;
//!
//! let mut tx = db.begin().await?;
//! sqlx::query("insert into orders (id, cents) values (42, 1999)").execute(&mut *tx).await?;
//!
//! let event = Event::draft("orders", "order.placed")
//!     .key("order-42")                           // events with equal keys keep their order
//!     .json(&Placed { order: 42, cents: 1999 })?; // everything is checked here, before the database sees it
//! outbox::enqueue(&mut tx, &event).await?;
//!
//! tx.commit().await?;                            // now both are true; a rollback would have left neither
//! # Ok(()) }
//! ```
//!
//! On the other side a handler makes the event take effect, once in each group:
//!
//! ```no_run
//! # use outbox::{Entry, Failure, Handler, inbox};
//! # struct Billing { db: sqlx::PgPool }
//! # #[derive(serde::Deserialize)] struct Placed { cents: i64 }
//! impl Handler for Billing {
//!     async fn handle(&self, entry: &Entry) -> Result<(), Failure> {
//!         let placed: Placed = entry.payload().map_err(Failure::reject)?; // a dead letter at once
//!         let mut tx = self.db.begin().await?;                            // `?` means: try again
//!         if inbox::first_sight(&mut tx, entry).await? {
//!             sqlx::query("update accounts set due = due + $1").bind(placed.cents).execute(&mut *tx).await?;
//!         }
//!         tx.commit().await?; // seen and done, or neither
//!         Ok(())
//!     }
//! }
//! ```
//!
//! | to | use |
//! |---|---|
//! | say what happened | [`Event`], [`Draft`] |
//! | write it | [`enqueue`], [`enqueue_all`], and for what was scheduled [`cancel`] |
//! | read it on the other side | [`Envelope`], [`EntryId`], [`Entry`] |
//! | say what to do with it | [`Handler`], [`BatchHandler`], [`Failure`] |
//! | do it once | [`inbox`], and in a file `inbox::sqlite` (feature `sqlite`) |
//! | run that | `Consumer` (feature `consumer`), [`RetryPolicy`] |
//! | keep order across processes | [`partition()`] |
//! | test it without servers | `testing::Kit` (feature `testing`) |
//! | make the tables | [`migrate`], [`migration_sql`] |
//!
//! **What is promised.** A rolled back transaction publishes nothing. A committed event reaches its stream once, under
//! an entry number that equals its row's number, after every event of the same stream that had committed before it was
//! written. An [`Event`] that repeats an `id` is not written twice, for as long as the first one is retained; one that
//! repeats the `id` with other content is an error ([`Error::IdTaken`]).
//!
//! A consumer settles an entry only after its handler has said `Ok`, and gives it to a handler until it does or the entry is a dead
//! letter with its reason. Behind the [`inbox`] that makes one effect for each event and group. In one consumer, events with
//! equal keys are handled one after another in their order; across several, in [partitions](partition()).
//!
//! **What is not.** Without an inbox an event may take effect twice: after a crash it comes again. The crate sends
//! nothing by itself, reads no environment, installs no logger, and starts no task but the handlers of a running consumer: the
//! `relay` beside it does the sending.
//!
//! Tables are found by the connection's `search_path`; they may live in a schema of their own.

#[cfg(feature = "consumer")]
mod consumer;
mod entry;
mod envelope;
mod error;
mod event;
mod handler;
pub mod inbox;
mod json;
pub mod keys;
mod partition;
mod producer;
mod retry;
mod schema;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "trace")]
mod trace;

#[cfg(feature = "consumer")]
pub use consumer::{Consumer, ConsumerBuilder, ConsumerError, Stats, Tick};
pub use entry::{Entry, Settled};
pub use envelope::{EntryId, Envelope, Malformed, Replay};
pub use error::{Error, Result, in_words};
pub use event::{Draft, EVENT_BYTES_MAX, Event};
pub use handler::{BatchHandler, Failure, Handler};
pub use partition::partition;
pub use producer::{Enqueued, cancel, enqueue, enqueue_all};
pub use retry::{Outcome, RetryPolicy};
pub use schema::{SCHEMA_VERSION, migrate, migration_sql};
