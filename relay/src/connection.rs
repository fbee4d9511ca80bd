//! Redis comes and goes. Whatever was in flight when it went, the next connection starts by asking for the tops.

use std::time::{Duration, Instant};

use crate::append::Appender;
use crate::config::Config;
use crate::fault::{Error, Outage};
use crate::hold::backoff;

/// Between tries to reach a store that is away.
pub(crate) const RECONNECT_MIN: Duration = Duration::from_millis(100);
pub(crate) const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// A time as people read it in a log: whole milliseconds.
pub(crate) fn rounded(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis() as u64)
}

/// The way to Redis.
pub(crate) struct Redis {
    client: redis::Client,
    appender: Option<Appender>,
    away: Option<Away>,
    /// Since when a relay that rests has not reached it.
    unreachable: Option<Instant>,
}

/// Redis is away, or takes nothing.
struct Away {
    since: Instant,
    /// For want of memory.
    memory: bool,
    tries: i32,
    retry_at: Instant,
    /// Until then we keep the lease; then another relay, whose way may be free, gets its chance.
    yield_at: Instant,
}

impl Redis {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        Ok(Self { client: config.server.client()?, appender: None, away: None, unreachable: None })
    }

    /// Connects if need be. `true`: it is a new connection, and nothing that was known of Redis holds.
    pub(crate) async fn meet(&mut self, config: &Config, now: Instant) -> Result<bool, Error> {
        if self.appender.is_some() {
            return Ok(false);
        }
        if self.away.as_ref().is_some_and(|away| now < away.retry_at) {
            return Err(Outage("still away".to_owned()).into());
        }
        self.appender = Some(Appender::connect(&self.client, &config.server).await?);
        Ok(true)
    }

    /// The connection of this turn.
    pub(crate) fn met(&mut self) -> &mut Appender {
        self.appender.as_mut().expect("a turn begins by meeting Redis, and ends when it is lost")
    }

    /// The connection is broken by a part of a cluster: the next one is made at once, for the others.
    pub(crate) fn part(&mut self) -> Option<Appender> {
        self.appender.take()
    }

    /// Redis takes nothing for want of memory.
    pub(crate) fn memory_is_short(&self) -> bool {
        self.away.as_ref().is_some_and(|away| away.memory)
    }

    /// A turn went through. Only this shows that Redis is back: a full one lets us connect, and takes nothing.
    pub(crate) fn works(&mut self) {
        if let Some(away) = self.away.take() {
            tracing::info!(after = ?rounded(away.since.elapsed()), "Redis is back");
        }
        self.unreachable = None;
    }

    /// Of a relay that rests: whether it could work if it had to. It tells once that Redis is away, and once that it is not any
    /// more; a Redis that only takes nothing can be reached. `true`: it can be.
    pub(crate) async fn look(&mut self, config: &Config, now: Instant) -> Result<bool, Error> {
        match Appender::connect(&self.client, &config.server).await {
            Ok(_) => {
                if let Some(since) = self.unreachable.take() {
                    tracing::info!(after = ?rounded(since.elapsed()), "Redis can be reached again");
                }
                Ok(true)
            }
            Err(Error::Redis(outage)) => {
                if self.unreachable.is_none() && self.away.is_none() {
                    let what = if outage.shuts_out() { Outage::SHUT_OUT } else { "Redis is away" };
                    tracing::warn!(reason = outage.0, "{what}: this relay rests, and could not take over");
                }
                self.unreachable.get_or_insert(now);
                Ok(false)
            }
            Err(unusable) => Err(unusable),
        }
    }

    /// Forgets the connection. Returns when to try again.
    pub(crate) fn lose(&mut self, outage: &Outage, lease: Duration, now: Instant) -> Duration {
        self.appender = None;
        if self.away.is_none() {
            let what = if outage.shuts_out() { Outage::SHUT_OUT } else { "Redis is away" };
            tracing::warn!(reason = outage.0, "{what}; no attempt is counted, everything waits");
        }
        let away = self.away.get_or_insert(Away {
            since: now,
            memory: false,
            tries: 0,
            retry_at: now,
            yield_at: now + lease,
        });
        if now >= away.retry_at {
            away.memory = outage.0.contains("OOM ");
            away.tries += 1;
            away.retry_at = now + backoff(away.tries, RECONNECT_MIN, RECONNECT_MAX);
        }
        away.retry_at.saturating_duration_since(now).max(Duration::from_millis(1))
    }

    /// Whether it has been away for so long that another relay should have a try. Asked again only after another such time.
    pub(crate) fn should_yield(&mut self, lease: Duration, now: Instant) -> bool {
        match &mut self.away {
            Some(away) if now >= away.yield_at => {
                away.yield_at = now + lease * 2;
                true
            }
            _ => false,
        }
    }
}
