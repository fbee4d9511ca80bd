//! What becomes of attempts that have ended: settled, tried again, or buried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::attempts::Ended;
use super::line::{Failed, Place};
use super::stats::rfc3339;
use super::stream::{Begun, Door, Names, Trouble};
use super::work::Finished;
use super::{Consumer, PAUSE_MAX, PAUSE_MIN, rounded};
use crate::retry::Outcome;
use crate::{EntryId, Failure};

/// A reason is kept to so many characters, and of the failed attempts the last ones.
const REASON_CHARS_MAX: usize = 500;
const FAILURES_MAX: usize = 20;
/// What is to be buried is not tried again.
const NEVER: Duration = Duration::from_secs(1 << 32);
/// So many entries go to Redis in one command.
const ENTRIES_MAX: usize = 1_000;

/// An entry on its way to the dead letters.
#[derive(Debug)]
pub(super) struct Letter {
    place: Place,
    /// The event's; none: it is no event.
    id: Option<String>,
    reason: String,
    fields: Vec<(&'static str, String)>,
}

impl Letter {
    pub(super) fn place(&self) -> &Place {
        &self.place
    }
}

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
            tracing::info!(group = %self.group, after = ?rounded(after), "handlers work again");
        }
        match result {
            Ok(()) => {
                for place in places {
                    let (stats, times) = self.stats_of(&place.0);
                    stats.processed += 1;
                    stats.last_active_at = Some(rfc3339(SystemTime::now()));
                    times.took(took);
                    let tried = self.line.remove(&place).is_some_and(|pending| !pending.failures.is_empty());
                    self.done.push((place, tried));
                }
            }
            Err(failure) if places.len() > 1 => self.split(&places, failure),
            Err(failure) => {
                let place = &places[0];
                self.stats_of(&place.0).1.took(took);
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
                self.uncount.push(place.clone());
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
        self.uncount.extend(places.iter().cloned());
    }

    /// Decides what becomes of an entry whose attempt failed.
    pub(super) fn fail(&mut self, place: &Place, failure: Failure, attempt: u32) {
        let now = Instant::now();
        let outcome = self.settings.retry.decide(attempt, failure, chance());
        let me = self.me.clone();
        let Some(pending) = self.line.get_mut(place) else { return };
        let failed = |error: &str| Failed {
            at: rfc3339(SystemTime::now()),
            consumer: me.clone(),
            error: error.chars().filter(|c| *c != '\0').take(REASON_CHARS_MAX).collect(),
        };
        match outcome {
            Outcome::Pause { reason } => {
                pending.outages += 1;
                let wait = PAUSE_MIN.saturating_mul(1 << pending.outages.min(10)).min(PAUSE_MAX);
                self.line.wait(place, now + wait);
                self.uncount.push(place.clone());
                self.pause_for(&reason);
            }
            Outcome::Retry { after, reason } => {
                tracing::warn!(stream = %place.0, group = %self.group, number = %place.1, id = pending.id(), attempt, reason, retry_in = ?rounded(after),
                    "an event could not be handled");
                pending.outages = 0;
                pending.attempts = attempt;
                pending.failures.push(failed(&reason));
                if pending.failures.len() > FAILURES_MAX {
                    pending.failures.remove(1); // the first one is worth keeping
                }
                self.line.wait(place, now + after);
                self.remember.push(place.clone());
                let (stats, _) = self.stats_of(&place.0);
                stats.failed += 1;
                stats.retried += 1;
                stats.last_active_at = Some(rfc3339(SystemTime::now()));
            }
            Outcome::Bury { reason } => {
                pending.attempts = attempt;
                pending.failures.push(failed(&reason));
                let letter = self.letter(place, &reason);
                // It stays ours, and its key waits, until Redis has it among the dead letters.
                self.line.wait(place, now + NEVER);
                self.letters.push_back(letter);
                let (stats, _) = self.stats_of(&place.0);
                stats.failed += 1;
                stats.last_active_at = Some(rfc3339(SystemTime::now()));
            }
        }
    }

    fn pause_for(&mut self, reason: &str) {
        if self.pause.more(Instant::now()) {
            tracing::warn!(group = %self.group, reason, "handlers say that something is away; no attempt is counted, everything waits");
        }
    }

    fn letter(&self, place: &Place, reason: &str) -> Letter {
        let pending = self.line.get(place).expect("it is pending until it is buried");
        let at = |failed: Option<&Failed>| failed.map(|failed| failed.at.clone()).unwrap_or_default();
        let stream = self.stream_of(&place.0);
        let reason: String = reason.chars().filter(|c| *c != '\0').take(REASON_CHARS_MAX).collect();
        let fields = vec![
            ("dead:stream", stream.to_string()),
            ("dead:lane", place.0.to_string()),
            ("dead:group", self.group.to_string()),
            ("dead:entry", place.1.to_string()),
            ("dead:attempts", pending.attempts.to_string()),
            ("dead:reason", reason.clone()),
            ("dead:failures", serde_json::to_string(&pending.failures).unwrap_or_default()),
            ("dead:first_failed_at", at(pending.failures.first())),
            ("dead:last_failed_at", at(pending.failures.last())),
            ("dead:consumer", self.me.clone()),
            ("dead:handler", self.settings.version.clone()),
        ];
        Letter { place: place.clone(), id: pending.id().map(str::to_owned), reason, fields }
    }

    /// Tells Redis everything that has ended.
    pub(super) async fn settle(&mut self) -> Result<(), Trouble> {
        self.acknowledge().await?;
        self.uncount().await?;
        for place in std::mem::take(&mut self.remember) {
            let Some(pending) = self.line.get(&place) else { continue };
            let tries = serde_json::to_string(&pending.failures).unwrap_or_default();
            self.at(&place.0, async |door, names, _| door.remember(&names, place.1, &tries).await).await?;
        }
        self.bury().await
    }

    async fn acknowledge(&mut self) -> Result<(), Trouble> {
        while !self.done.is_empty() {
            let portion = self.done.len().min(ENTRIES_MAX);
            let mut by_lane: BTreeMap<Arc<str>, (Vec<EntryId>, Vec<EntryId>)> = BTreeMap::new();
            for (place, tried) in &self.done[..portion] {
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
            self.done.drain(..portion);
            self.settled_count += portion;
        }
        Ok(())
    }

    /// Takes back what was counted for attempts that turned out not to count.
    async fn uncount(&mut self) -> Result<(), Trouble> {
        let mut by_lane: BTreeMap<Arc<str>, Vec<(EntryId, u32)>> = BTreeMap::new();
        for place in &self.uncount {
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
        self.uncount.clear();
        Ok(())
    }

    async fn bury(&mut self) -> Result<(), Trouble> {
        // Streams whose letters are not taken just now.
        let mut refused: BTreeSet<Arc<str>> = BTreeSet::new();
        for _ in 0..self.letters.len() {
            let Some(letter) = self.letters.pop_front() else { break };
            let (place, fields, stream) = (&letter.place, &letter.fields, self.stream_of(&letter.place.0));
            if refused.contains(&stream) {
                self.letters.push_back(letter);
                continue;
            }
            let bury =
                async |door: &mut Door, names: Names<'_>, me: &str| door.bury(&names, me, place.1, fields).await;
            let buried = match self.at(&place.0, bury).await {
                Ok(buried) => buried,
                // It stays ours, and is no reason to hold up the others.
                Err(trouble) => {
                    self.letters.push_back(letter);
                    let Trouble::Full(reason) = trouble else { return Err(trouble) };
                    if self.refused.insert(stream.clone()) {
                        tracing::error!(%stream, group = %self.group, reason, "Redis takes no dead letters; they wait, and so do their keys");
                    }
                    refused.insert(stream);
                    continue;
                }
            };
            self.refused.remove(&stream);
            self.line.remove(place);
            if buried {
                self.settled_count += 1;
                self.stats_of(&place.0).0.buried += 1;
                tracing::error!(stream = %place.0, group = %self.group, number = %place.1, id = letter.id, reason = letter.reason,
                    "an event was set aside among the dead letters, until somebody replays or drops it");
            }
        }
        Ok(())
    }

    /// Does something at the connection of a lane.
    pub(super) async fn at<T>(
        &mut self,
        lane: &str,
        what: impl AsyncFnOnce(&mut Door, Names<'_>, &str) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let stream = self.stream_of(lane);
        let (group, me) = (self.group.clone(), self.me.clone());
        let door = self.door(&stream)?;
        what(door, Names { lane, stream: &stream, group: &group }, &me).await
    }
}

/// Any number in `0.0..1.0`, different each time.
fn chance() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(0) >> 11) as f64 / (1u64 << 53) as f64
}
