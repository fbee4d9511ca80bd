//! What a consumer has done, for people.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Counts since the consumer started. Written to Redis, from where the relay copies it into Postgres.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stats {
    /// Events that took effect.
    pub processed: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Failed attempts after which the event was to be tried again.
    pub retried: u64,
    /// Events that were set aside.
    pub buried: u64,
    /// Entries that somebody deleted from the stream before they were settled.
    pub lost: u64,
    /// When the last attempt ended, RFC 3339.
    pub last_active_at: Option<String>,
    /// How long an attempt takes on average.
    pub handling_mean_us: u64,
    /// How long 99 of 100 attempts take at most, to within a fifth.
    pub handling_p99_us: u64,
}

impl Stats {
    pub(crate) fn with(&self, times: &Times) -> Self {
        Self { handling_mean_us: times.mean_us(), handling_p99_us: times.p99_us(), ..self.clone() }
    }
}

/// How long attempts took: counts by size, a quarter of a doubling each.
#[derive(Debug)]
pub(crate) struct Times {
    counts: [u64; BUCKETS],
    count: u64,
    total_us: u64,
}

const BUCKETS: usize = 160;

impl Default for Times {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], count: 0, total_us: 0 }
    }
}

impl Times {
    pub(crate) fn took(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = ((us.max(1) as f64).log2() * 4.0) as usize;
        self.counts[bucket.min(BUCKETS - 1)] += 1;
        self.count += 1;
        self.total_us = self.total_us.saturating_add(us);
    }

    pub(crate) fn mean_us(&self) -> u64 {
        self.total_us.checked_div(self.count).unwrap_or(0)
    }

    /// The upper edge of the bucket in which the 99th of 100 lies.
    pub(crate) fn p99_us(&self) -> u64 {
        let mut below = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            below += count;
            if below > 0 && below * 100 >= self.count * 99 {
                return 2f64.powf((bucket + 1) as f64 / 4.0) as u64;
            }
        }
        0
    }
}

/// A time as people and Postgres read it.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::MAX);
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_of_a_hundred_is_no_part_of_p99() {
        let mut times = Times::default();
        assert_eq!((times.mean_us(), times.p99_us()), (0, 0));
        for _ in 0..99 {
            times.took(Duration::from_micros(1_000));
        }
        times.took(Duration::from_secs(1));
        assert!((1_000..1_200).contains(&times.p99_us()), "{}", times.p99_us());
        assert_eq!(times.mean_us(), 10_990);
    }
}
