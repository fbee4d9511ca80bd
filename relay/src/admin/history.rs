//! What was: five minutes second by second, and an hour in tens of seconds. Kept in memory, of this relay alone, in rings
//! whose size is fixed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::MissedTickBehavior;
use utoipa::ToSchema;

use super::desk::Desk;
use super::snapshot::now;
use crate::pulse::{Counts, Pulse};

/// The steps of the two rings, and how many samples each keeps.
const FINE: (Duration, usize) = (Duration::from_secs(1), 300);
const COARSE: (Duration, usize) = (Duration::from_secs(10), 360);

/// A moment.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Sample {
    pub(crate) at: String,
    /// By this relay, over the step.
    pub(crate) sent_per_second: f64,
    /// From an event's row to its entry: half of the step's events took no longer. None: nothing was sent.
    pub(crate) latency_p50_ms: Option<f64>,
    pub(crate) latency_p99_ms: Option<f64>,
    /// Of all streams together; none: nobody has asked Postgres in this moment.
    pub(crate) unsent: Option<i64>,
    /// Of all groups together.
    pub(crate) lag: Option<i64>,
    pub(crate) dead: Option<i64>,
}

/// Both rings.
#[derive(Debug)]
pub(crate) struct History {
    fine: Ring,
    coarse: Ring,
}

impl Default for History {
    fn default() -> Self {
        Self { fine: Ring::new(FINE), coarse: Ring::new(COARSE) }
    }
}

#[derive(Debug)]
struct Ring {
    step: Duration,
    samples_max: usize,
    samples: VecDeque<Sample>,
    last: (Instant, u64, Counts),
}

impl Ring {
    fn new((step, samples_max): (Duration, usize)) -> Self {
        Self { step, samples_max, samples: VecDeque::new(), last: (Instant::now(), 0, Counts::default()) }
    }

    fn is_due(&self) -> bool {
        // Ticks are not exact: one that comes a little early counts.
        self.last.0.elapsed() + FINE.0 / 2 >= self.step
    }

    fn take(&mut self, pulse: &Pulse, seen: [Option<i64>; 3]) {
        let (at, sent, counts) = (Instant::now(), pulse.sent_in_all(), pulse.latency.counts());
        let (last_at, last_sent, last_counts) = std::mem::replace(&mut self.last, (at, sent, counts));
        let new = counts.since(&last_counts);
        let ms = |share| new.quantile(share).map(|took| took.as_secs_f64() * 1e3);
        let [unsent, lag, dead] = seen;
        self.samples.push_back(Sample {
            at: now(),
            sent_per_second: (sent - last_sent) as f64 / (at - last_at).as_secs_f64().max(1e-3),
            latency_p50_ms: ms(0.5),
            latency_p99_ms: ms(0.99),
            unsent,
            lag,
            dead,
        });
        if self.samples.len() > self.samples_max {
            self.samples.pop_front();
        }
    }
}

impl History {
    /// The newest second.
    pub(crate) fn newest(&self) -> Option<Sample> {
        self.fine.samples.back().cloned()
    }

    /// The samples of a step of so many seconds, the oldest first. None: there is no such step.
    pub(crate) fn of_step(&self, seconds: u64) -> Option<Vec<Sample>> {
        let ring = [&self.fine, &self.coarse].into_iter().find(|ring| ring.step.as_secs() == seconds)?;
        Some(ring.samples.iter().cloned().collect())
    }
}

/// Samples until the surface ends. Each second costs a look at the pulse; Postgres is asked for the coarse ring alone.
pub(crate) async fn keep_sampling(desk: Arc<Desk>) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + FINE.0, FINE.0);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let coarse_is_due = desk.history.lock().expect("taking a sample does not panic").coarse.is_due();
        let snapshot = if coarse_is_due { desk.snapshot().await.ok() } else { desk.recent() };
        let seen = match snapshot {
            Some(snapshot) => {
                let standing = &snapshot.standing;
                [standing.unsent(), standing.lag(), standing.relay.dead].map(Some)
            }
            None => [None; 3],
        };
        let mut history = desk.history.lock().expect("taking a sample does not panic");
        history.fine.take(&desk.pulse, seen);
        if coarse_is_due {
            history.coarse.take(&desk.pulse, seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_forgets_what_is_oldest() {
        let pulse = Pulse::default();
        let mut ring = Ring::new((Duration::from_secs(1), 3));
        for n in 0..5 {
            ring.take(&pulse, [Some(n), None, None]);
        }
        let kept: Vec<_> = ring.samples.iter().map(|sample| sample.unsent).collect();
        assert_eq!(kept, [Some(2), Some(3), Some(4)]);
    }

    #[test]
    fn there_are_two_steps() {
        let history = History::default();
        assert!(history.of_step(1).is_some() && history.of_step(10).is_some() && history.of_step(2).is_none());
    }
}
