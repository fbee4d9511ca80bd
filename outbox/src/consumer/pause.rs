//! Pauses that get longer each time.

use std::time::{Duration, Instant};

/// Between tries to reach a Redis that is away, and between tries of handlers that say that something else is.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(100);
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Pause {
    until: Option<Instant>,
    times: u32,
    since: Option<Instant>,
}

impl Pause {
    /// It begins, or goes on for longer. Whether it began.
    pub(super) fn more(&mut self, now: Instant) -> bool {
        let first = self.times == 0;
        self.since.get_or_insert(now);
        self.until = Some(now + after(self.times));
        self.times += 1;
        first
    }

    /// This one is to be short, however often there was one before.
    pub(super) fn shorten(&mut self, now: Instant) {
        self.until = Some(now + PAUSE_MIN);
    }

    pub(super) fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether nobody has said yet that it is over.
    pub(super) fn is_open(&self) -> bool {
        self.times > 0
    }

    /// It is over. How long it was, if there was one.
    pub(super) fn end(&mut self) -> Option<Duration> {
        let since = std::mem::take(self).since;
        since.map(|since| since.elapsed())
    }
}

/// The wait after so many before it.
pub(super) fn after(times: u32) -> Duration {
    PAUSE_MIN.saturating_mul(1 << times.min(10)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound_and_begin_anew_after_their_end() {
        let (mut pause, now) = (Pause::default(), Instant::now());
        assert!(!pause.holds(now) && pause.end().is_none());
        let mut waits = vec![];
        for nth in 0..8 {
            assert_eq!(pause.more(now), nth == 0, "only the first one is worth a word");
            waits.push((pause.until().expect("it holds") - now).as_millis());
        }
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert!(pause.holds(now) && pause.is_open());
        pause.shorten(now);
        assert_eq!(pause.until(), Some(now + PAUSE_MIN));
        assert!(pause.end().is_some() && !pause.holds(now) && !pause.is_open());
        assert!(pause.more(now));
    }
}
