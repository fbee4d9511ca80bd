//! Stopping: what is in hand may end, everything else is given back at once, and nothing stays behind under our name.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{Instant as Deadline, sleep, timeout, timeout_at};

use super::line::State;
use super::stream::Trouble;
use super::{Consumer, PAUSE_MIN};
use crate::EntryId;

/// Attempts that are cut off have so long to end; who holds its thread hears of it only afterwards.
const CUT_OFF_MAX: Duration = Duration::from_secs(1);

impl Consumer {
    pub(super) async fn drain(&mut self) {
        let deadline = Deadline::now() + self.told.settings.drain_max;
        let every = self.told.settings.claim_after / 3;
        // Others need not wait for our slowest attempt.
        self.try_to(async |consumer: &mut Self| {
            // A read that still waits would be given entries that nobody handles.
            consumer.end_reads().await?;
            consumer.give_all_back(false).await
        })
        .await;
        loop {
            // What is being attempted stays ours, and so do its partitions, however often something else ends.
            if self.schedule.renew.is_time(Instant::now(), every) {
                self.try_to(async |consumer: &mut Self| {
                    consumer.hold_on().await?;
                    consumer.renew().await
                })
                .await;
            }
            let heartbeat = self.schedule.renew.due(every).map_or_else(Deadline::now, Deadline::from_std);
            match timeout_at(deadline.min(heartbeat), self.attempts.next()).await {
                Ok(Some(ended)) => self.finish(ended),
                Ok(None) => break,
                Err(_) if Deadline::now() < deadline => continue,
                Err(_) => {
                    tracing::warn!(group = %self.told.group, attempts = self.attempts.len(), "attempts that did not end in time are cut off; others will repeat them");
                    // Whatever a transaction held is rolled back.
                    if timeout(CUT_OFF_MAX, self.attempts.end()).await.is_err() {
                        tracing::warn!(group = %self.told.group, attempts = self.attempts.len(), "attempts that hold their thread go on beside those who repeat them");
                    }
                    break;
                }
            }
            // What cannot be settled now is given back, and the inbox knows it.
            self.try_to(Self::settle).await;
        }
        let patience = self.told.settings.redis_timeout;
        let leaving = async { while !self.try_to(Self::leave).await {} };
        match timeout(patience, leaving).await {
            Ok(()) => tracing::info!(consumer = self.told.me, "the consumer has stopped"),
            _ => tracing::warn!(consumer = self.told.me, "Redis is away; others claim what is pending after a while"),
        }
    }

    /// Does something if Redis is there. The next try connects anew, if need be.
    async fn try_to(&mut self, what: impl AsyncFnOnce(&mut Self) -> Result<(), Trouble>) -> bool {
        let tried = match self.connect().await {
            Ok(()) => what(self).await,
            Err(trouble) => Err(trouble),
        };
        if let Err(trouble) = tried {
            _ = self.lose(trouble);
            sleep(PAUSE_MIN).await;
            return false;
        }
        true
    }

    async fn give_all_back(&mut self, running_too: bool) -> Result<(), Trouble> {
        for stream in self.lanes.streams() {
            self.give_back(&stream, running_too).await?;
        }
        Ok(())
    }

    /// Gives back everything of a stream that is pending for us, also what we do not know of; what is being attempted only if
    /// that was cut off.
    pub(super) async fn give_back(&mut self, stream: &Arc<str>, running_too: bool) -> Result<(), Trouble> {
        let (now, claim_after) = (Instant::now(), self.told.settings.claim_after);
        for lane in self.lanes.of_stream(stream) {
            let mut from = "-".to_owned();
            loop {
                let found = self.at(&lane, async |door, names, me| door.own(&names, me, &from).await).await?;
                self.note_lost(&lane, &found.lost);
                if found.next.is_empty() {
                    break;
                }
                from = format!("({}", found.next);
                let mut entries: Vec<(EntryId, Duration, u32)> = vec![];
                for entry in &found.entries {
                    let pending = self.line.get(&(lane.clone(), entry.number));
                    let (wait, count) = match pending.map(|pending| (pending.state, pending.attempts)) {
                        Some((State::Running, _)) if !running_too => continue,
                        Some((State::Running, attempts)) => (Duration::ZERO, attempts + 1),
                        Some((State::Ready, attempts)) => (Duration::ZERO, attempts),
                        Some((State::Waiting(until), attempts)) => (until.saturating_duration_since(now), attempts),
                        None => (Duration::ZERO, entry.count.saturating_sub(1)),
                    };
                    entries.push((entry.number, claim_after.saturating_sub(wait), count));
                }
                if !entries.is_empty() {
                    self.at(&lane, async |door, names, me| door.give_back(&names, me, &entries).await).await?;
                }
                for (number, _, _) in entries {
                    self.forget(&(lane.clone(), number));
                }
            }
        }
        Ok(())
    }

    /// Leaves nothing behind under our name.
    async fn leave(&mut self) -> Result<(), Trouble> {
        self.settle().await?;
        self.give_all_back(true).await?;
        for lane in self.lanes.names() {
            self.at(&lane, async |door, names, me| door.leave(&names, me).await).await?;
        }
        // Also of partitions that were handed over meanwhile. What the relay has copied stays in Postgres.
        for (stream, _) in self.books.all() {
            self.at(&stream, async |door, names, me| door.tell_no_more(&names, me).await).await?;
        }
        self.let_go_of_all().await
    }
}
