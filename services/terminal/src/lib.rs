//! The manners of our command lines, the same in every program: one sentence for what is wrong, tables for people and JSON
//! for programs, nothing that could disturb a terminal, and a log that goes to stderr.
//!
//! | file | idea |
//! |---|---|
//! | `complaint.rs` | what is said when flags are wrong or a verb fails, and the exit code |
//! | `setting.rs` | values of flags: secrets, addresses, durations |
//! | `secret_file.rs` | secrets that stand in files: NAME_FILE instead of NAME |
//! | `database.rs` | a Postgres to connect to, and what is said if that fails |
//! | `streams.rs` | a Redis to connect to |
//! | `listen.rs` | an address to listen at |
//! | `output.rs` | tables, JSON, text from elsewhere made harmless |
//! | `log.rs` | what is logged, and how lines look |
//! | `stop.rs` | SIGTERM and SIGINT |

mod complaint;
mod database;
mod listen;
mod log;
mod output;
mod secret_file;
mod setting;
mod stop;
mod streams;

pub use complaint::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE, Unusable, complain, parse, settings, unusable};
pub use database::{open, postgres};
pub use listen::{CannotListen, listen};
pub use log::{LogFormat, log_filter, trace};
pub use output::{age, print, print_json, printable, printable_lines, table};
pub use secret_file::{read_secret, secret_file, variables};
pub use setting::{Address, Secret, duration, unreadable};
pub use stop::asked_to_stop;
pub use streams::{Redis, Streams, redis};
