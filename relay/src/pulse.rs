//! What the loop says of itself while it works: written by the loop, read by whoever looks, and neither waits for the other.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use utoipa::ToSchema;

use crate::spans::{Sink, Span};

/// What a relay is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub(crate) enum Phase {
    /// On its way to Postgres.
    Connecting,
    /// It sends what is there.
    Working,
    /// Another relay works; this one would take over.
    Resting,
    /// Redis is away or takes nothing.
    Waiting,
    /// It was asked to stop.
    Stopping,
}

/// A store that keeps the loop from its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Away {
    Postgres,
    Redis,
}

/// Why the loop cannot work, and since when.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) away: Away,
    pub(crate) reason: String,
    pub(crate) since: SystemTime,
}

const PHASES: [Phase; 5] = [Phase::Connecting, Phase::Working, Phase::Resting, Phase::Waiting, Phase::Stopping];

/// The loop's pulse, and what it has counted since it started.
#[derive(Debug)]
pub(crate) struct Pulse {
    started: Instant,
    started_at: SystemTime,
    beat_ms: AtomicU64,
    phase: AtomicU8,
    redis_is_there: AtomicBool,
    trouble: Mutex<Option<Trouble>>,
    sent: Mutex<BTreeMap<String, u64>>,
    /// Where spans go, if somebody collects them.
    sink: Mutex<Option<Sink>>,
    pub(crate) latency: Histogram,
    pub(crate) turns: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) refusals: AtomicU64,
    pub(crate) buried: AtomicU64,
    pub(crate) rebuilt_entries: AtomicU64,
    pub(crate) overtakings: AtomicU64,
    pub(crate) disturbed_batches: AtomicU64,
    pub(crate) redis_outages: AtomicU64,
    pub(crate) postgres_outages: AtomicU64,
    pub(crate) spans_dropped: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            started_at: SystemTime::now(),
            beat_ms: AtomicU64::default(),
            phase: AtomicU8::new(Phase::Connecting as u8),
            redis_is_there: AtomicBool::default(),
            trouble: Mutex::default(),
            sent: Mutex::default(),
            sink: Mutex::default(),
            latency: Histogram::default(),
            turns: AtomicU64::default(),
            batches: AtomicU64::default(),
            refusals: AtomicU64::default(),
            buried: AtomicU64::default(),
            rebuilt_entries: AtomicU64::default(),
            overtakings: AtomicU64::default(),
            disturbed_batches: AtomicU64::default(),
            redis_outages: AtomicU64::default(),
            postgres_outages: AtomicU64::default(),
            spans_dropped: AtomicU64::default(),
        }
    }
}

/// One more, or some more, of what is counted.
pub(crate) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Relaxed);
}

impl Pulse {
    /// The loop is alive, and this is what it does.
    pub(crate) fn beat(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        self.beat_ms.store(self.started.elapsed().as_millis() as u64, Relaxed);
    }

    pub(crate) fn redis_is_there(&self, there: bool) {
        self.redis_is_there.store(there, Relaxed);
    }

    /// The loop cannot work because of a store. As long as it is the same one, its first word says since when.
    pub(crate) fn in_trouble(&self, away: Away, reason: String) {
        let mut trouble = self.trouble.lock().expect("writing it down does not panic");
        let since = match &*trouble {
            Some(before) if before.away == away => before.since,
            _ => SystemTime::now(),
        };
        *trouble = Some(Trouble { away, reason, since });
    }

    /// The loop works, or would if it were its turn.
    pub(crate) fn out_of_trouble(&self) {
        *self.trouble.lock().expect("writing it down does not panic") = None;
    }

    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().expect("writing it down does not panic").clone()
    }

    /// Entries of a stream were appended.
    pub(crate) fn sent(&self, stream: &str, entries: u64) {
        let mut sent = self.sent.lock().expect("adding a number does not panic");
        match sent.get_mut(stream) {
            Some(all) => *all += entries,
            None => _ = sent.insert(stream.to_owned(), entries),
        }
    }

    /// From here on somebody collects spans.
    pub(crate) fn collect(&self, sink: Sink) {
        *self.sink.lock().expect("queueing does not panic") = Some(sink);
    }

    /// Nobody does any more.
    pub(crate) fn collect_no_more(&self) {
        *self.sink.lock().expect("queueing does not panic") = None;
    }

    /// Gives spans to whoever collects them. They are made only then.
    pub(crate) fn spans(&self, spans: impl Iterator<Item = Span>) {
        if let Some(sink) = &*self.sink.lock().expect("queueing does not panic") {
            spans.for_each(|span| sink.take(span, self));
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        PHASES[usize::from(self.phase.load(Relaxed)) % PHASES.len()]
    }

    /// Whether Redis took something, or answered, when it was last asked.
    pub(crate) fn redis_up(&self) -> bool {
        self.redis_is_there.load(Relaxed)
    }

    /// How long ago the loop last said that it is alive.
    pub(crate) fn silence(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.beat_ms.load(Relaxed)))
    }

    pub(crate) fn started_at(&self) -> SystemTime {
        self.started_at
    }

    pub(crate) fn sent_by_stream(&self) -> BTreeMap<String, u64> {
        self.sent.lock().expect("adding a number does not panic").clone()
    }

    pub(crate) fn sent_in_all(&self) -> u64 {
        self.sent.lock().expect("adding a number does not panic").values().sum()
    }
}

/// The upper bound of the first bucket: half a millisecond. Each further bucket is twice as wide, up to half an hour.
const FIRST_US: u64 = 500;
pub(crate) const BUCKETS: usize = 22;

/// How long events took, from their row to their entry.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS + 1],
    sum_us: AtomicU64,
}

/// What was counted up to a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Each bucket for itself; the last one is without bound.
    pub(crate) buckets: [u64; BUCKETS + 1],
    pub(crate) sum_us: u64,
}

impl Histogram {
    pub(crate) fn add(&self, counts: &Counts) {
        for (bucket, more) in self.buckets.iter().zip(counts.buckets).filter(|(_, more)| *more > 0) {
            count(bucket, more);
        }
        count(&self.sum_us, counts.sum_us);
    }

    pub(crate) fn counts(&self) -> Counts {
        let buckets = std::array::from_fn(|at| self.buckets[at].load(Relaxed));
        Counts { buckets, sum_us: self.sum_us.load(Relaxed) }
    }
}

/// The upper bound of a bucket.
pub(crate) fn bound(bucket: usize) -> Duration {
    Duration::from_micros(FIRST_US << bucket)
}

impl Counts {
    pub(crate) fn observe(&mut self, took: Duration) {
        let us = took.as_micros().min(1 << 50) as u64;
        let bucket = (0..BUCKETS).find(|bucket| us <= FIRST_US << bucket).unwrap_or(BUCKETS);
        self.buckets[bucket] += 1;
        self.sum_us += us;
    }

    pub(crate) fn all(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// What came after an earlier moment.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            buckets: std::array::from_fn(|at| self.buckets[at] - earlier.buckets[at]),
            sum_us: self.sum_us - earlier.sum_us,
        }
    }

    /// Below this time lies that share of all, read between the bounds of a bucket. None: nothing was counted.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = self.all() as f64 * share;
        let mut below = 0.0;
        for (bucket, number) in self.buckets.iter().enumerate().filter(|(_, number)| **number > 0) {
            let number = *number as f64;
            if below + number >= wanted {
                let lower = if bucket == 0 { Duration::ZERO } else { bound(bucket - 1) };
                let upper = bound(bucket.min(BUCKETS - 1)).max(lower);
                return Some(lower + (upper - lower).mul_f64(((wanted - below) / number).clamp(0.0, 1.0)));
            }
            below += number;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_in_the_bucket_of_its_events() {
        let mut counts = Counts::default();
        assert_eq!(counts.quantile(0.5), None);
        for _ in 0..98 {
            counts.observe(Duration::from_micros(900));
        }
        counts.observe(Duration::from_millis(300));
        counts.observe(Duration::from_secs(86_400));
        let p50 = counts.quantile(0.5).expect("counted");
        assert!((Duration::from_micros(500)..=Duration::from_millis(1)).contains(&p50), "{p50:?}");
        let p99 = counts.quantile(0.99).expect("counted");
        assert!((Duration::from_millis(256)..=Duration::from_millis(512)).contains(&p99), "{p99:?}");
        assert!(counts.quantile(1.0).expect("counted") >= Duration::from_secs(600));
    }

    #[test]
    fn what_came_since_is_the_difference() {
        let histogram = Histogram::default();
        let mut counts = Counts::default();
        counts.observe(Duration::from_millis(3));
        histogram.add(&counts);
        let before = histogram.counts();
        histogram.add(&counts);
        assert_eq!(histogram.counts().since(&before), counts);
    }

    #[test]
    fn a_phase_is_what_was_said_last() {
        let pulse = Pulse::default();
        for phase in PHASES {
            pulse.beat(phase);
            assert_eq!(pulse.phase(), phase);
        }
    }
}
