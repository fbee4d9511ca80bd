//! A consumer's settings: checked whole before anything connects.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::work::{Each, Together, Work};
use super::{Consumer, ConsumerError};
use crate::{BatchHandler, Handler, RetryPolicy};

/// Settings of a [`Consumer`]. Made by [`Consumer::builder`].
#[derive(Clone)]
#[must_use = "a builder is nothing until `build` makes it a consumer"]
pub struct ConsumerBuilder {
    pub(crate) redis_url: String,
    pub(crate) redis_ca: Option<Vec<u8>>,
    pub(crate) streams: Vec<String>,
    pub(crate) partitions: Option<(String, u16)>,
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) work: Option<Arc<dyn Work>>,
    pub(crate) concurrency: usize,
    pub(crate) batch_max: usize,
    pub(crate) prefetch_max: usize,
    pub(crate) prefetch_bytes_max: usize,
    pub(crate) pending_max: usize,
    pub(crate) handler_timeout: Duration,
    pub(crate) redis_timeout: Duration,
    pub(crate) claim_after: Duration,
    pub(crate) drain_max: Duration,
    pub(crate) settle_interval: Duration,
    pub(crate) retry: RetryPolicy,
}

impl fmt::Debug for ConsumerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.debug_struct("ConsumerBuilder")
            .field("streams", &self.streams)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

impl ConsumerBuilder {
    pub(crate) fn new(redis_url: String) -> Self {
        Self {
            redis_url,
            redis_ca: None,
            streams: vec![],
            partitions: None,
            group: String::new(),
            name: "consumer".to_owned(),
            version: String::new(),
            work: None,
            concurrency: 8,
            batch_max: 1,
            prefetch_max: 0,
            prefetch_bytes_max: 32 << 20,
            pending_max: 10_000,
            handler_timeout: Duration::from_secs(60),
            redis_timeout: Duration::from_secs(5),
            claim_after: Duration::from_secs(30),
            drain_max: Duration::from_secs(10),
            settle_interval: Duration::from_secs(10),
            retry: RetryPolicy::default(),
        }
    }

    /// Reads this stream; called again, another one too.
    pub fn stream(mut self, stream: impl Into<String>) -> Self {
        self.streams.push(stream.into());
        self
    }

    /// Reads the partitions of a stream (`articles:{0}` and so on, see [`partition`](crate::partition)), each of which one
    /// consumer of the group holds at a time. So events with equal keys keep their order across processes.
    pub fn partitions(mut self, stream: impl Into<String>, count: u16) -> Self {
        self.partitions = Some((stream.into(), count));
        self
    }

    /// The group: each event takes effect once in each group.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = group.into();
        self
    }

    /// The beginning of this consumer's name in Redis, in logs and in views; what makes it unique is added.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The version of your handler, told with each dead letter.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// What to do with each event.
    pub fn handler(mut self, handler: impl Handler) -> Self {
        self.work = Some(Arc::new(Each(handler)));
        self.batch_max = 1;
        self
    }

    /// What to do with up to so many events at once.
    pub fn batch_handler(mut self, events_max: usize, handler: impl BatchHandler) -> Self {
        self.work = Some(Arc::new(Together(handler)));
        self.batch_max = events_max;
        self
    }

    /// How many events, or batches, are handled at once (8). Events with equal keys are handled one after another.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// How many events are read ahead; twice as many as are handled at once, if nothing is said.
    pub fn prefetch_max(mut self, events: usize) -> Self {
        self.prefetch_max = events;
        self
    }

    /// About how many bytes of events may be in memory at once (32 MiB).
    pub fn prefetch_bytes_max(mut self, bytes: usize) -> Self {
        self.prefetch_bytes_max = bytes;
        self
    }

    /// How many entries may wait for their next attempt, or behind another one of their key (10,000). Then reading waits.
    pub fn pending_max(mut self, entries: usize) -> Self {
        self.pending_max = entries;
        self
    }

    /// An attempt that takes longer has failed (one minute). However long it is: while it lasts nobody else gets the entry.
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.handler_timeout = timeout;
        self
    }

    /// Redis has so long to answer (5 seconds).
    pub fn redis_timeout(mut self, timeout: Duration) -> Self {
        self.redis_timeout = timeout;
        self
    }

    /// A consumer that has not been heard of for so long has lost its entries to others (30 seconds).
    pub fn claim_after(mut self, silence: Duration) -> Self {
        self.claim_after = silence;
        self
    }

    /// Asked to stop, attempts have so long to end (10 seconds); what has not ended is given back.
    pub fn drain_max(mut self, time: Duration) -> Self {
        self.drain_max = time;
        self
    }

    /// How often handlers are told what is settled (10 seconds).
    pub fn settle_interval(mut self, interval: Duration) -> Self {
        self.settle_interval = interval;
        self
    }

    /// How often an event is tried, and how far apart.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// After so many attempts an event is a dead letter (5).
    pub fn attempts_max(mut self, attempts: NonZeroU32) -> Self {
        self.retry.attempts_max = attempts;
        self
    }

    /// The authority that signed the certificate of a `rediss://` server, as PEM, if it is your own.
    pub fn redis_ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.redis_ca = Some(pem.into());
        self
    }

    /// Checks all of it.
    pub fn build(mut self) -> Result<Consumer, ConsumerError> {
        let wrong = |sentence: String| Err(ConsumerError::Unusable(sentence));
        if self.prefetch_max == 0 {
            self.prefetch_max = self.concurrency.saturating_mul(self.batch_max).saturating_mul(2);
        }
        if self.streams.is_empty() == self.partitions.is_none() {
            return wrong("a consumer reads streams, or the partitions of one".to_owned());
        }
        let parted = self.partitions.iter().map(|(stream, _)| ("stream", stream));
        let streams = self.streams.iter().map(|stream| ("stream", stream));
        for (what, name) in streams.chain(parted).chain([("group", &self.group)]) {
            if name.is_empty() || name.len() > 200 || name.chars().any(char::is_control) {
                return wrong(format!(
                    "the {what}'s name {name:?} must have 1 to 200 bytes and no control characters"
                ));
            }
        }
        if self.group.contains(':') {
            return wrong(format!(
                "the group's name {:?} must not contain a colon: it is part of the names of streams",
                self.group
            ));
        }
        if self.name.is_empty() || self.name.len() > 200 || !self.name.chars().all(|c| c.is_ascii_graphic()) {
            return wrong(format!(
                "the consumer's name {:?} must have 1 to 200 printable characters and no spaces: Redis takes no other",
                self.name
            ));
        }
        let numbers = [
            ("concurrency", self.concurrency),
            ("the size of a batch", self.batch_max),
            ("prefetch_bytes_max", self.prefetch_bytes_max),
            ("pending_max", self.pending_max),
            ("the count of partitions", self.partitions.as_ref().map_or(1, |(_, count)| usize::from(*count))),
        ];
        if let Some((what, _)) = numbers.iter().find(|(_, number)| *number == 0) {
            return wrong(format!("{what} must not be 0"));
        }
        let times = [
            ("handler_timeout", self.handler_timeout),
            ("redis_timeout", self.redis_timeout),
            ("claim_after", self.claim_after),
            ("settle_interval", self.settle_interval),
        ];
        if let Some((what, _)) = times.iter().find(|(_, time)| time.is_zero()) {
            return wrong(format!("{what} must not be 0"));
        }
        if self.retry.delay_min > self.retry.delay_max {
            return wrong("the policy's delay_min is longer than its delay_max".to_owned());
        }
        let Some(work) = self.work.take() else { return wrong("a consumer needs a handler".to_owned()) };
        Consumer::new(self, work)
    }
}
