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
        if self.visible && self.shown_at.is_none_or(|at| at.elapsed() > Duration::from_millis(200)) {
            self.shown_at = Some(Instant::now());
            eprint!("\r{} {count} rows ...", self.what);
        }
    }

    pub(crate) fn clear(&self) {
        if self.shown_at.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
