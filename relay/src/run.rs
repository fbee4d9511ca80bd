//! Running for good: turn after turn, sleeping when there is nothing to do, and stopping when asked.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::config::Config;
use crate::connection::{RECONNECT_MAX, RECONNECT_MIN, rounded};
use crate::doorbell::{Doorbell, RENEW_AFTER};
use crate::fault::{Error, postgres_in_words, postgres_says};
use crate::hold::backoff;
use crate::keep::DUE_EVERY;
use crate::pulse::{Away, Phase, Pulse, count};
use crate::relay::{Relay, Tick, new_holder};
use crate::{doctor, retention, store};

/// Once asked to stop, the turn in hand has so long to end. Cutting it off is as safe as a crash.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// What to do between two turns.
enum Pause {
    None,
    For(Duration),
    /// Until somebody rings, for at most so long.
    Asleep(Duration),
}

impl Relay {
    /// Relays until `shutdown` resolves, then finishes the batch in hand. Outages of either store are waited out; only
    /// what no waiting will mend is an error.
    pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        Self::run_with(config, Arc::default(), shutdown).await
    }

    /// The same, for somebody who watches.
    pub(crate) async fn run_with(
        config: Config,
        pulse: Arc<Pulse>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        config.check()?;
        let shutdown = pin!(shutdown);
        let once_connected = Notify::new();
        // Not before: until the relay knows that its sessions are its own, nobody else of ours opens one.
        let beside = async {
            once_connected.notified().await;
            tokio::join!(doctor::advise(&config), retention::keep_pruning(&config));
        };
        tokio::select! {
            result = run_engine(&config, &pulse, &once_connected, shutdown) => result,
            () = beside => Ok(()),
        }
    }

    async fn work(&mut self, mut shutdown: Pin<&mut impl Future<Output = ()>>) -> Result<(), Error> {
        let mut doorbell = Doorbell::new(self.config.database.clone());
        let mut busy_at = Instant::now();
        tracing::info!(holder = self.holder, frontier = self.frontier.at(), "the relay is up");
        while !has_come(shutdown.as_mut()).await {
            let limit = self.config.turn_timeout;
            let pause = {
                let mut turn = pin!(within(limit, self.turn(&mut doorbell, &mut busy_at)));
                tokio::select! {
                    pause = turn.as_mut() => pause?,
                    () = shutdown.as_mut() => {
                        // The batch in hand is finished.
                        if tokio::time::timeout(DRAIN_MAX, turn).await.is_err() {
                            tracing::warn!("a store does not answer; the turn in hand is cut off, which loses nothing");
                            return Ok(());
                        }
                        break;
                    }
                }
            };
            tokio::select! {
                () = shutdown.as_mut() => break,
                () = async {
                    match pause {
                        Pause::None => {}
                        Pause::For(time) => tokio::time::sleep(time).await,
                        Pause::Asleep(at_most) => {
                            doorbell.wait(at_most).await;
                            // Whoever rang may have ended a pause.
                            self.discovered = None;
                        }
                    }
                } => {}
            }
        }
        self.pulse.beat(Phase::Stopping);
        // Whatever fails now was only for people and for the next relay's comfort.
        if let Err(error) = within(DRAIN_MAX, self.finish(&mut doorbell)).await {
            tracing::warn!(%error, "the last report could not be written");
        }
        tracing::info!("the relay has stopped");
        Ok(())
    }

    async fn turn(&mut self, doorbell: &mut Doorbell, busy_at: &mut Instant) -> Result<Pause, Error> {
        Ok(match self.tick().await? {
            Tick::Sent(_) => {
                *busy_at = Instant::now();
                doorbell.take_down(&mut self.reports).await?;
                // Caught up: what comes in the next moment goes together, which costs both stores far less.
                if self.behind { Pause::None } else { Pause::For(self.config.poll_interval.max(self.look_pause())) }
            }
            Tick::Idle if busy_at.elapsed() >= self.config.sleep_after && self.frontier.is_settled() => {
                if doorbell.hangs() {
                    // One that is due and cannot be released yet (somebody has it locked) must not keep us awake.
                    let due = store::next_due(&mut self.db, &self.lanes.sending()).await?.unwrap_or(Duration::MAX);
                    let due = due.max(DUE_EVERY);
                    let retry = self.lanes.next_try(Instant::now()).unwrap_or(Duration::MAX);
                    Pause::Asleep(self.config.sleep_poll_interval.min(RENEW_AFTER).min(due).min(retry))
                } else {
                    doorbell.hang(&mut self.reports).await?;
                    // Whoever inserted before the bell hung did not ring: look once more.
                    self.look_again();
                    Pause::None
                }
            }
            // The frontier's query may take at most a fifth of the relay's time.
            Tick::Idle => Pause::For(self.config.poll_interval.max(self.look_pause())),
            Tick::Paused(pause) | Tick::Resting(pause) => Pause::For(pause),
        })
    }

    /// Says the last word of this relay, and lets another one work.
    async fn finish(&mut self, doorbell: &mut Doorbell) -> Result<(), Error> {
        doorbell.take_down(&mut self.reports).await?;
        self.report_lanes().await?;
        store::end_lease(&mut self.reports, &self.holder).await?;
        Ok(())
    }
}

/// Connects, works, and connects anew, until asked to stop.
async fn run_engine(
    config: &Config,
    pulse: &Arc<Pulse>,
    once_connected: &Notify,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), Error> {
    // The same name after each reconnection, so that the lease is still ours.
    let holder = new_holder();
    let mut failures = 0;
    loop {
        pulse.beat(Phase::Connecting);
        let connecting =
            within(config.turn_timeout, Relay::connect_as(holder.clone(), config.clone(), Arc::clone(pulse)));
        let connected = tokio::select! {
            connected = connecting => connected,
            () = shutdown.as_mut() => return Ok(()),
        };
        if connected.is_ok() {
            once_connected.notify_one();
        }
        let (error, worked) = match connected {
            Ok(mut relay) => match relay.work(shutdown.as_mut()).await {
                Ok(()) => return Ok(()),
                Err(error) => (error, true),
            },
            Err(error) => (error, false),
        };
        if matches!(error, Error::Unusable(_)) {
            return Err(error);
        }
        pulse.beat(Phase::Connecting);
        let reason = match &error {
            Error::Postgres(error) => postgres_says(error),
            other => other.to_string(),
        };
        let what = postgres_in_words(&reason);
        pulse.in_trouble(Away::Postgres, reason);
        if failures == 0 || worked {
            count(&pulse.postgres_outages, 1);
        }
        failures = if worked { 1 } else { failures + 1 };
        let pause = backoff(failures, RECONNECT_MIN, RECONNECT_MAX);
        tracing::warn!(%error, retry_in = ?rounded(pause), "{what}; nothing is lost, everything waits");
        tokio::select! {
            () = shutdown.as_mut() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// A limit on waiting for a store that neither answers nor fails.
async fn within<T>(limit: Duration, turn: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(limit, turn).await.unwrap_or_else(|_| {
        let silence = std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer within {limit:?}"));
        Err(sqlx::Error::Io(silence).into())
    })
}

async fn has_come(mut event: Pin<&mut impl Future<Output = ()>>) -> bool {
    poll_fn(|cx| Poll::Ready(event.as_mut().poll(cx).is_ready())).await
}
