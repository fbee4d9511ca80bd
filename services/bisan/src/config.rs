//! One struct: a field is a flag, an environment variable, a default and a line of `--help`. Checked before anything connects.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use outbox::{BatchHandler, Consumer, RetryPolicy};
use terminal::{Streams, Unusable, duration};

use crate::SearchServer;

/// More events than this in one transaction hold up readers' checkpoints and gain nothing.
const BATCH_EVENTS_MAX: u16 = 5_000;
/// How much longer than a write the consumer waits for its handler: the handler's own limit, which is an outage, comes first.
const SPARE: Duration = Duration::from_secs(30);
/// About so many bytes of events are in memory at once.
const PREFETCH_BYTES_MAX: usize = 12 << 20;

/// Where the articles lie.
#[derive(Debug, Clone, Args)]
pub struct Database {
    /// The file of SQLite with all that Bisan knows
    #[arg(long, env = "BISAN_DATABASE", default_value = "bisan.sqlite", value_name = "FILE")]
    pub database: PathBuf,
}

/// Everything that `run` needs to know.
#[derive(Debug, Clone, Args)]
pub struct Config {
    #[allow(missing_docs)]
    #[command(flatten)]
    pub database: Database,

    #[allow(missing_docs)]
    #[command(flatten)]
    pub streams: Streams,

    /// Where readers are served
    #[arg(long, env = "BISAN_LISTEN", default_value = "127.0.0.1:7656", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,

    /// A new file may begin although the group has been somewhere: what came before is not in it
    #[arg(long, env = "BISAN_BEGIN_ANEW")]
    pub begin_anew: bool,

    /// Sources whose events have no effect: they are read and left alone
    #[arg(long, env = "BISAN_SKIP_SOURCES", value_delimiter = ',', value_name = "NAME,...")]
    pub skip_sources: Vec<String>,

    /// Events that share a transaction
    #[arg(long, env = "BISAN_BATCH_MAX", default_value = "200", value_name = "EVENTS")]
    pub batch_max: NonZeroU16,

    /// A batch that takes longer to write is an outage of the disk: it is tried again, and costs no attempt
    #[arg(long, env = "BISAN_WRITE_MAX", default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub write_max: Duration,

    /// After so many attempts an event is a dead letter
    #[arg(long, env = "BISAN_ATTEMPTS_MAX", default_value = "5", value_name = "TIMES")]
    pub attempts_max: NonZeroU32,

    /// A consumer that has not been heard of for so long has lost its events to others
    #[arg(long, env = "BISAN_CLAIM_AFTER", default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub claim_after: Duration,

    #[allow(missing_docs)]
    #[command(flatten)]
    pub index: SearchServer,

    /// When asked to stop: so long for what is under way
    #[arg(long, env = "BISAN_DRAIN_MAX", default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub drain_max: Duration,
}

impl Config {
    /// What is wrong with the settings, in one sentence.
    pub fn check(&self) -> Result<(), Unusable> {
        self.streams.server()?;
        if self.batch_max.get() > BATCH_EVENTS_MAX {
            return Err(unusable(format!("--batch-max (BISAN_BATCH_MAX) must not be more than {BATCH_EVENTS_MAX}")));
        }
        if self.claim_after.is_zero() {
            return Err(unusable("--claim-after (BISAN_CLAIM_AFTER) must not be 0"));
        }
        if self.write_max.is_zero() {
            return Err(unusable("--write-max (BISAN_WRITE_MAX) must not be 0"));
        }
        self.index.check()
    }

    /// A member of Bisan's group, which gives its events to this handler.
    pub fn consumer(&self, handler: impl BatchHandler) -> Result<Consumer, Unusable> {
        self.check()?;
        let redis = self.streams.server()?;
        let mut builder = Consumer::builder(redis.url.reveal())
            .stream(contract::STREAM)
            .group(contract::BISAN)
            .name("bisan")
            .version(crate::VERSION)
            .prefetch_bytes_max(PREFETCH_BYTES_MAX)
            .claim_after(self.claim_after)
            .drain_max(self.drain_max)
            .handler_timeout(self.write_max.saturating_add(SPARE))
            .retry(RetryPolicy { attempts_max: self.attempts_max, ..RetryPolicy::default() })
            .batch_handler(usize::from(self.batch_max.get()), handler)
            // While one batch is written the next one is read.
            .concurrency(2);
        if let Some(pem) = redis.ca {
            builder = builder.redis_ca(pem);
        }
        builder.build().map_err(|error| unusable(error.to_string()))
    }
}

fn unusable(sentence: impl Into<String>) -> Unusable {
    Unusable(sentence.into())
}
