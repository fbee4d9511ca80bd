//! The verbs for people: what each is told, and what it prints.

pub(crate) mod diff;
pub(crate) mod export;
pub(crate) mod fsck;
pub(crate) mod gc;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod progress;
pub(crate) mod purge;
pub(crate) mod show;

use std::process::ExitCode;

use crate::look::{article, content};

/// So many connections do for a verb.
const CONNECTIONS: u32 = 2;

/// So many things, in words.
fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A time of ours for people: in UTC, to the second.
fn moment(time: &str) -> String {
    time.get(..19).unwrap_or(time).replace('T', " ")
}

/// The answer is no, or something was found.
fn no(sentence: &str) -> ExitCode {
    eprintln!("hasad: {sentence}");
    ExitCode::FAILURE
}
