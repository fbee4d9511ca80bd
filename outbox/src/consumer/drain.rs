//! Stopping: what is in hand may end, everything else is given back at once, and nothing stays behind under our name.

use std::time::{Duration, Instant};

use tokio::time::{Instant as Deadline, timeout, timeout_at};

use super::Consumer;
use super::line::State;
use super::stream::Trouble;
use crate::EntryId;

impl Consumer {
    pub(super) async fn drain(&mut self) {
        let deadline = Deadline::now() + self.settings.drain_max;
        // A read that still waits would be given entries that nobody handles.
        let _ = self.end_reads().await;
        loop {
            match timeout_at(deadline, self.running.join_next()).await {
                Ok(Some(finished)) => self.finish(finished),
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(group = %self.group, attempts = self.running.len(), "attempts that did not end in time are cut off; others will repeat them");
                    // Whatever a transaction held is rolled back.
                    self.running.shutdown().await;
                    break;
                }
            }
            // What cannot be settled now is given back, and the inbox knows it.
            let _ = self.settle().await;
        }
        let patience = self.settings.redis_timeout;
        let leaving = async {
            self.settle().await?;
            self.give_back().await?;
            self.tell().await?;
            self.leave().await
        };
        match timeout(patience, leaving).await {
            Ok(Ok(())) => tracing::info!(consumer = self.me, "the consumer has stopped"),
            _ => tracing::warn!(consumer = self.me, "Redis is away; others take over what is pending after a while"),
        }
    }

    /// Gives back everything that is pending for us, also what we do not know of.
    async fn give_back(&mut self) -> Result<(), Trouble> {
        let (now, claim_after) = (Instant::now(), self.settings.claim_after);
        for lane in self.lanes.keys().cloned().collect::<Vec<_>>() {
            let mut from = "-".to_owned();
            loop {
                let found = self.at(&lane, async |stream, names, me| stream.own(&names, me, &from).await).await?;
                if found.next.is_empty() {
                    break;
                }
                from = format!("({}", found.next);
                let entries: Vec<(EntryId, Duration, u32)> = found
                    .entries
                    .iter()
                    .map(|entry| match self.line.get(&(lane.clone(), entry.number)) {
                        Some(held) => {
                            let (wait, begun) = match held.state {
                                State::Waiting(until) => (until.saturating_duration_since(now), 0),
                                State::Ready => (Duration::ZERO, 0),
                                State::Running => (Duration::ZERO, 1),
                            };
                            (entry.number, claim_after.saturating_sub(wait), held.attempts + begun)
                        }
                        None => (entry.number, claim_after, entry.count.saturating_sub(1)),
                    })
                    .collect();
                self.at(&lane, async |stream, names, me| stream.give_back(&names, me, &entries).await).await?;
            }
        }
        Ok(())
    }

    async fn leave(&mut self) -> Result<(), Trouble> {
        for lane in self.lanes.keys().cloned().collect::<Vec<_>>() {
            self.at(&lane, async |stream, names, me| stream.leave(&names, me).await).await?;
        }
        self.let_go_of_all().await
    }
}
