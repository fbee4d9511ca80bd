//! When each part of a consumer's slower work was last done.

use std::time::{Duration, Instant};

/// Each part of the slower work.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    pub(super) renew: Clock,
    pub(super) claim: Clock,
    pub(super) ask_settled: Clock,
    pub(super) tell: Clock,
    pub(super) tidy: Clock,
    /// The last look at what others have left did not come to its end.
    pub(super) more_was_left: bool,
}

impl Schedule {
    /// What Redis knows of us and of others may have changed: it is looked at in the next turn.
    pub(super) fn look_again(&mut self) {
        (self.renew, self.claim) = (Clock::default(), Clock::default());
    }
}

/// When something was last done.
#[derive(Debug, Default)]
pub(super) struct Clock(Option<Instant>);

impl Clock {
    /// Whether it is time, and if so, from when the next time counts.
    pub(super) fn is_time(&mut self, now: Instant, every: Duration) -> bool {
        let time = self.0.is_none_or(|last| now.duration_since(last) >= every);
        if time {
            self.0 = Some(now);
        }
        time
    }

    /// When it is time again.
    pub(super) fn due(&self, every: Duration) -> Option<Instant> {
        self.0.map(|last| last + every)
    }
}
