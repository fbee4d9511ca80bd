//! The relay: brings committed events from a Postgres outbox to Redis Streams, each once and in order.
//!
//! One idea carries it: **the number of the row is the number of the entry.** Row 42 becomes entry `1-42`. Redis refuses
//! an entry that is not newer than its newest, so nothing can be published twice; and the newest entry says how far
//! publishing has come, so nothing is written back for a published event. The stream is the cursor.
//!
//! A [`Relay`] makes four moves, over and over:
//!
//! | move | file | question it answers |
//! |---|---|---|
//! | frontier | `frontier` | up to which number can nothing new appear? |
//! | read | `lanes`, `store` | which rows of each stream come next? |
//! | append | `send`, `append`, `replies` | does Redis take them, exactly after what it has? |
//! | report | `keep`, `probe`, `groups`, `store` | what should people see, and where are the groups? |
//!
//! Beside the loop, on threads of their own: `admin` (HTTP for operators, and for producers without SQL) and `spans` (traces). What
//! the loop says of itself they find in `pulse`. The verbs: `cli` (flags), `verbs`, `standing` (how it stands), `verdict` (what that means) and `watch` (both on a
//! screen), `doctor`, `trail` (one event), `compare` (rows with entries), `replay`, `pausing`.
//!
//! Around the moves: `relay` (one turn), `run` (turn after turn), `connection` (Redis comes and goes), `doorbell` (sleeping
//! without polling), `retention` (what was sent long ago), `letters` and
//! `tallies` (what consumers leave in Redis), `trim` (what every group has settled). When something is not as expected: `heed` (what a look at Redis
//! brings to light), `fault` (whose fault it is), `rebuild` (Redis lost something), `hold` and `release` (rows that must
//! wait, and when their numbers may be given up).

mod admin;
mod append;
mod ask;
mod batch;
mod change;
mod cli;
mod compare;
mod config;
mod connection;
mod doctor;
mod doorbell;
mod fault;
mod frontier;
mod groups;
mod heed;
mod hold;
mod keep;
mod lanes;
mod letters;
mod mask;
mod metrics;
mod pausing;
mod probe;
mod progress;
mod pulse;
mod rebuild;
mod relay;
mod release;
mod replay;
mod replies;
mod retention;
mod run;
mod running;
mod schedule;
mod send;
mod spans;
mod standing;
mod store;
mod tallies;
mod trail;
mod trim;
mod verbs;
mod verdict;
mod verify;
mod watch;
mod wires;

pub use admin::Surface;
pub use cli::{Cli, run};
pub use config::{Config, Database, Server};
pub use fault::Error;
pub use frontier::{Frontier, Mark, Overtaking};
pub use metrics::METRICS;
pub use relay::{Relay, Tick};
pub use running::Running;

/// The number of a row, and of its entry.
pub type Seq = i64;
