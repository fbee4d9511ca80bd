//! A model of how events come from Postgres to Redis, small enough that everything that can happen in it is looked at.
//!
//! Producers, relays without a lock, Redis with its faults, a group behind its inbox: each step is what a store does at once, and
//! between any two of them everybody else may go on, die, or be cut off. [`check`] visits every state that can be reached and says
//! which promise of docs/guarantees.md does not hold, with the shortest story that leads there.
//!
//! | file | stands for |
//! |---|---|
//! | `world` | what Postgres, Redis, the inbox and each relay hold |
//! | `steps` | producers, consumers, faults; and [`Move`], which names for each step of a relay the function that it stands for |
//! | `frontier` | `relay/src/frontier.rs`, `outbox_mark`, `store::overtake` |
//! | `sending` | `relay/src/send.rs`, `append.rs`, `lanes.rs`, `heed.rs`, `rebuild.rs` |
//! | `releasing` | `relay/src/release.rs`, `hold.rs`, `outbox_release` |
//! | `keeping` | `relay/src/probe.rs`, `keep.rs` |
//! | `promises` | what must hold, and when all is settled |
//! | `scenario` | the bounds, and faults that are planted to see whether they are found |
//! | `checker` | the search |
//!
//! Left out: several streams (they share nothing but the frontier), several events in one transaction, several groups, entries that
//! are pending and claimed, sizes and refusals, schedules, retention and trimming, a Postgres that goes back, and time: whatever may
//! happen after a while may happen at once.

mod checker;
mod frontier;
mod keeping;
mod promises;
mod releasing;
mod scenario;
mod sending;
mod steps;
mod world;

pub use checker::{Explored, Trouble, check};
pub use frontier::{observe, overtaken};
pub use promises::Promise;
pub use scenario::{Planted, Scenario};
pub use steps::{Move, Step};
pub use world::{RELAYS_MAX, Relay, Set, WRITERS_MAX, World, members};
