//! When each of the slower parts of a turn is next, and how much of the time it may take.

use std::time::{Duration, Instant};

/// When each part is next.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    pub(crate) lease: Option<Instant>,
    pub(crate) works: Option<bool>,
    pub(crate) look: Option<Instant>,
    pub(crate) due: Option<Instant>,
    pub(crate) overtaken: Option<Instant>,
    pub(crate) probe: Option<Instant>,
    pub(crate) report: Option<Instant>,
}

impl Schedule {
    /// Something was overtaken, or is not decided yet: look again soon.
    pub(crate) fn overtaken_at(&mut self, at: Instant) {
        self.overtaken = Some(at);
    }

    /// Undecided numbers need no look before that, unless something happens.
    pub(crate) fn overtaken_by(&mut self, at: Instant) {
        self.overtaken = Some(self.overtaken.map_or(at, |sooner| sooner.min(at)));
    }

    /// There are more dead letters to fetch: look again in the next turn.
    pub(crate) fn probe_at_once(&mut self) {
        self.probe = None;
    }

    /// There is more that fell due: look again in the next turn.
    pub(crate) fn due_at_once(&mut self) {
        self.due = None;
    }
}

/// Whether it is time, and if so, when it is the next time.
pub(crate) fn is_time(next: &mut Option<Instant>, now: Instant, every: Duration) -> bool {
    let time = next.is_none_or(|at| at <= now);
    if time {
        *next = Some(now + every);
    }
    time
}

/// Something that may not be done too often, nor take more than a fifth of the time.
#[derive(Debug)]
pub(crate) struct Budget {
    every: Duration,
    next: Option<Instant>,
}

impl Budget {
    pub(crate) fn at_most_every(every: Duration) -> Self {
        Self { every, next: None }
    }

    pub(crate) fn is_time(&self, now: Instant) -> bool {
        self.next.is_none_or(|at| at <= now)
    }

    /// It was begun then and is done now.
    pub(crate) fn done(&mut self, begun: Instant) {
        let end = Instant::now();
        self.next = Some(end + self.every.max((end - begun) * 4));
    }
}
