//! What becomes of attempts that have ended: settled, tried again, or buried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::attempts::Ended;
use super::letter::{Letter, short};
use super::line::{Failed, Place};
use super::stats::rfc3339;
use super::stream::{Begun, Door, Names, Trouble};
use super::work::Finished;
use super::{Consumer, pause, rounded};
use crate::retry::Outcome;
use crate::{EntryId, Failure};

/// Of the failed attempts the last ones are kept.
const FAILURES_MAX: usize = 20;
/// What is to be buried is not tried again.
const NEVER: Duration = Duration::from_secs(1 << 32);
/// So many entries go to Redis in one command.
const ENTRIES_MAX: usize = 1_000;

impl Consumer {
    /// Takes in how an attempt ended.
    pub(super) fn finish(&mut self, ended: Ended) {
        let Finished { places, result, took } = match ended {
            Ended::Finished(finished) => finished,
            Ended::CutOff { places, lost } => return self.take_back(&places, &lost),
        };
        if !matches!(result, Err(Failure::Outage(_)))
            && let Some(after) = self.pause.end()
        {
            tracing::info!(group = %self.told.group, after = ?rounded(after), "handlers work again");
        }
        match result {
            Ok(()) => {
                for place in places {
                    self.books.processed(self.lanes.stream_of(&place.0), took);
                    let tried = self.line.remove(&place).is_some_and(|pending| !pending.failures.is_empty());
                    self.owed.done.push((place, tried));
                }
            }
            Err(failure) if places.len() > 1 => self.split(&places, failure),
            Err(failure) => {
                let place = &places[0];
                self.books.took(self.lanes.stream_of(&place.0), took);
                let attempt = self.line.get(place).map_or(1, |pending| pending.attempts + 1);
                self.fail(place, failure, attempt);
            }
        }
    }

    /// An attempt was cut off, and only now has it ended. What was lost and is ours again is looked at anew: others may have
    /// been at it meanwhile. Whatever shared a batch with that is begun anew.
    fn take_back(&mut self, places: &[Place], lost: &BTreeSet<Arc<str>>) {
        for place in places {
            if lost.contains(&place.0) {
                self.forget(place);
                if let Some(lane) = self.lanes.get_mut(&place.0) {
                    lane.known = false;
                }
            } else {
                self.line.again(place);
                self.owed.uncount.push(place.clone());
            }
        }
    }

    /// One of a batch is at fault, and nobody knows which: they come back in halves, and pay nothing.
    fn split(&mut self, places: &[Place], failure: Failure) {
        if let Failure::Outage(reason) = &failure {
            self.pause_for(reason);
            places.iter().for_each(|place| self.line.again(place));
        } else {
            self.line.halve(places);
        }
        // What begins again is no first attempt, so its count is written down.
        self.owed.uncount.extend(places.iter().cloned());
    }

    /// Decides what becomes of an entry whose attempt failed.
    pub(super) fn fail(&mut self, place: &Place, failure: Failure, attempt: u32) {
        let now = Instant::now();
        let outcome = self.told.settings.retry.decide(attempt, failure, chance());
        let Some(pending) = self.line.get_mut(place) else { return };
        let failed = |error: &str| Failed {
            at: rfc3339(SystemTime::now()),
            consumer: self.told.me.clone(),
            error: short(error),
        };
        match outcome {
            Outcome::Pause { reason } => {
                pending.outages += 1;
                let wait = pause::after(pending.outages);
                self.line.wait(place, now + wait);
                self.owed.uncount.push(place.clone());
                self.pause_for(&reason);
            }
            Outcome::Retry { after, reason } => {
                tracing::warn!(stream = %place.0, group = %self.told.group, number = %place.1, id = pending.id(), attempt, reason, retry_in = ?rounded(after),
                    "an event could not be handled");
                pending.outages = 0;
                pending.attempts = attempt;
                pending.failures.push(failed(&reason));
                if pending.failures.len() > FAILURES_MAX {
                    pending.failures.remove(1); // the first one is worth keeping
                }
                self.line.wait(place, now + after);
                self.owed.remember.push(place.clone());
                self.books.failed(self.lanes.stream_of(&place.0), true);
            }
            Outcome::Bury { reason } => {
                pending.attempts = attempt;
                pending.failures.push(failed(&reason));
                let stream = self.lanes.stream_of(&place.0);
                let letter = Letter::of(&self.told, &stream, place, pending, &reason);
                // It stays ours, and its key waits, until Redis has it among the dead letters.
                self.line.wait(place, now + NEVER);
                self.owed.letters.push_back(letter);
                self.books.failed(stream, false);
            }
        }
    }

    fn pause_for(&mut self, reason: &str) {
        if self.pause.more(Instant::now()) {
            tracing::warn!(group = %self.told.group, reason, "handlers say that something is away; no attempt is counted, everything waits");
        }
    }

    /// Tells Redis everything that has ended.
    pub(super) async fn settle(&mut self) -> Result<(), Trouble> {
        self.acknowledge().await?;
        self.uncount().await?;
        for place in std::mem::take(&mut self.owed.remember) {
            let Some(pending) = self.line.get(&place) else { continue };
            let tries = serde_json::to_string(&pending.failures).unwrap_or_default();
            self.at(&place.0, async |door, names, _| door.remember(&names, place.1, &tries).await).await?;
        }
        self.bury().await
    }

    async fn acknowledge(&mut self) -> Result<(), Trouble> {
        while !self.owed.done.is_empty() {
            let portion = self.owed.done.len().min(ENTRIES_MAX);
            let mut by_lane: BTreeMap<Arc<str>, (Vec<EntryId>, Vec<EntryId>)> = BTreeMap::new();
            for (place, tried) in &self.owed.done[..portion] {
                let (numbers, with_tries) = by_lane.entry(place.0.clone()).or_default();
                numbers.push(place.1);
                if *tried {
                    with_tries.push(place.1);
                }
            }
            for (lane, (numbers, tried)) in by_lane {
                let acknowledged =
                    self.at(&lane, async |door, names, _| door.acknowledge(&names, &numbers, &tried).await).await;
                match acknowledged {
                    // What the relay builds anew begins at or before these: they come again, and the inbox knows them.
                    Ok(()) | Err(Trouble::NoGroup) => {}
                    Err(trouble) => return Err(trouble),
                }
            }
            self.owed.done.drain(..portion);
            self.books.acknowledged(portion);
        }
        Ok(())
    }

    /// Takes back what was counted for attempts that turned out not to count.
    async fn uncount(&mut self) -> Result<(), Trouble> {
        let mut by_lane: BTreeMap<Arc<str>, Vec<(EntryId, u32)>> = BTreeMap::new();
        for place in &self.owed.uncount {
            if let Some(pending) = self.line.get(place) {
                by_lane.entry(place.0.clone()).or_default().push((place.1, pending.attempts));
            }
        }
        for (lane, attempts) in by_lane {
            let kept = self.at(&lane, async |door, names, me| door.begin(&names, me, &attempts).await).await?;
            for ((number, _), kept) in attempts.into_iter().zip(kept) {
                if matches!(kept, Begun::Deleted) {
                    self.is_deleted(&(lane.clone(), number));
                }
            }
        }
        self.owed.uncount.clear();
        Ok(())
    }

    async fn bury(&mut self) -> Result<(), Trouble> {
        // Streams whose letters are not taken just now.
        let mut refused: BTreeSet<Arc<str>> = BTreeSet::new();
        for _ in 0..self.owed.letters.len() {
            let Some(letter) = self.owed.letters.pop_front() else { break };
            let (place, fields, stream) = (letter.place(), &letter.fields, self.lanes.stream_of(&letter.place().0));
            if refused.contains(&stream) {
                self.owed.letters.push_back(letter);
                continue;
            }
            let bury =
                async |door: &mut Door, names: Names<'_>, me: &str| door.bury(&names, me, place.1, fields).await;
            let buried = match self.at(&place.0, bury).await {
                Ok(buried) => buried,
                // It stays ours, and is no reason to hold up the others.
                Err(trouble) => {
                    self.owed.letters.push_back(letter);
                    let Trouble::Full(reason) = trouble else { return Err(trouble) };
                    if self.owed.refused.insert(stream.clone()) {
                        tracing::error!(%stream, group = %self.told.group, reason, "Redis takes no dead letters; they wait, and so do their keys");
                    }
                    refused.insert(stream);
                    continue;
                }
            };
            self.owed.refused.remove(&stream);
            self.line.remove(place);
            if buried {
                self.books.buried(stream);
                tracing::error!(stream = %place.0, group = %self.told.group, number = %place.1, id = letter.id, reason = letter.reason,
                    "an event was set aside among the dead letters, until somebody replays or drops it");
            }
        }
        Ok(())
    }
}

/// Any number in `0.0..1.0`, different each time.
fn chance() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(0) >> 11) as f64 / (1u64 << 53) as f64
}
