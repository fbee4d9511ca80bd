//! A line on the terminal while something goes on for long.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// A line on the terminal that counts, a few times a second; nothing where nobody looks.
pub(crate) struct Progress {
    what: &'static str,
    shown_at: Option<Instant>,
    visible: bool,
}

impl Progress {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, shown_at: None, visible: std::io::stderr().is_terminal() }
    }

    pub(crate) fn show(&mut self, count: i64) {
        if self.is_time() {
            eprint!("\r{} {count} rows ...", self.what);
        }
    }

    /// Of how many, and how many seconds it will go on.
    pub(crate) fn show_of(&mut self, count: i64, all: i64, left_seconds: f64) {
        if self.is_time() {
            eprint!("\r{} {count} of {all} rows, {} left ...  ", self.what, terminal::age(left_seconds));
        }
    }

    fn is_time(&mut self) -> bool {
        let is_time = self.visible && self.shown_at.is_none_or(|at| at.elapsed() > Duration::from_millis(200));
        if is_time {
            self.shown_at = Some(Instant::now());
        }
        is_time
    }

    pub(crate) fn clear(&self) {
        if self.shown_at.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
