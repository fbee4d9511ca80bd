//! Taking entries in, and beginning attempts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::Consumer;
use super::lanes::Lane;
use super::line::{Pending, Place};
use super::stream::{Begun, Delivered, Found, Trouble};
use super::work::attempt;
use crate::retry::Inherited;
use crate::{Entry, EntryId, Envelope, Failure, keys};

/// A read that should end is asked again so often.
const UNBLOCK_INTERVAL: Duration = Duration::from_millis(10);

impl Consumer {
    /// Begins to wait for new entries, wherever nobody waits yet and there is room for more.
    pub(super) fn read(&mut self, now: Instant) {
        let count = self.room();
        // What others have left comes first.
        if count == 0 || self.schedule.more_was_left || self.pause.holds(now) {
            return;
        }
        for (key, lanes) in self.lanes_by_door() {
            if self.reads.waits_at(&key) {
                continue;
            }
            let Ok(door) = self.doors.at(&key) else { continue };
            let each = count.div_ceil(lanes.len());
            let read = door.read(&lanes, &self.told.group, &self.told.me, each, false);
            self.reads.begin(key, read);
        }
    }

    /// Ends the reads that wait, and takes in what came to them meanwhile.
    pub(super) async fn end_reads(&mut self) -> Result<(), Trouble> {
        while !self.reads.is_empty() {
            for key in self.reads.doors() {
                if let Ok(door) = self.doors.at(key) {
                    door.end_read().await?;
                }
            }
            // A read that has just been sent may reach Redis after the word that was to end it: that is said again.
            while let Ok(Some(read)) = timeout(UNBLOCK_INTERVAL, self.reads.next()).await {
                self.take(read?);
            }
        }
        Ok(())
    }

    /// New entries that are there already.
    pub(super) async fn read_now(&mut self) -> Result<(), Trouble> {
        let count = self.room();
        if count == 0 || self.pause.holds(Instant::now()) {
            return Ok(());
        }
        for (key, lanes) in self.lanes_by_door() {
            let door = self.doors.at(&key)?;
            let each = count.div_ceil(lanes.len());
            let delivered = door.read(&lanes, &self.told.group, &self.told.me, each, true).await?;
            self.take(delivered);
        }
        Ok(())
    }

    fn lanes_by_door(&self) -> BTreeMap<Arc<str>, Vec<String>> {
        let mut doors: BTreeMap<Arc<str>, Vec<String>> = BTreeMap::new();
        for (name, lane) in self.lanes.open() {
            doors.entry(self.doors.key(&lane.stream)).or_default().push(name.to_string());
        }
        doors
    }

    /// How many more entries may be read.
    pub(super) fn room(&mut self) -> usize {
        let settings = &self.told.settings;
        if self.line.loaded() >= settings.prefetch_max && self.line.has_nothing_to_begin() {
            self.line.unload();
        }
        let loaded = settings.prefetch_max.saturating_sub(self.line.loaded());
        let bytes = self.line.room(settings.prefetch_bytes_max);
        loaded.min(bytes).min(settings.pending_max.saturating_sub(self.line.len()))
    }

    /// Takes in what was read.
    pub(super) fn take(&mut self, delivered: Vec<Delivered>) {
        for entry in delivered {
            self.take_one(entry, 0, true);
        }
    }

    /// Takes in what others have left, or what was delivered to us and never arrived.
    pub(super) fn take_found(&mut self, lane: &str, found: Found, ours: bool) {
        for number in found.lost {
            match number.parse().map(|number| (Arc::from(lane), number)) {
                Ok(place) if self.line.get(&place).is_some() => self.is_deleted(&place),
                _ => self.note_lost(lane, &[number]),
            }
        }
        for entry in found.entries {
            // Delivered to us once, and never begun: the answer to our read was lost.
            let attempts = if ours && entry.count <= 1 { 0 } else { entry.count };
            self.take_one(entry, attempts, false);
        }
    }

    fn take_one(&mut self, entry: Delivered, attempts: u32, fresh: bool) {
        let Some(lane) = self.lanes.name(&entry.lane) else { return };
        let place: Place = (lane, entry.number);
        // What took effect a moment ago is pending until Redis knows.
        if self.line.get(&place).is_some() || (!fresh && self.owed.is_done(&place)) {
            return;
        }
        let inherited = self.told.settings.retry.inherit(attempts);
        let failures = entry.tries.and_then(|tries| serde_json::from_str(&tries).ok()).unwrap_or_default();
        let (envelope, origin) = match entry.envelope {
            Ok(envelope) => {
                let (envelope, origin) = self.as_it_was(&place.0, envelope);
                (Ok(envelope), origin)
            }
            malformed => (malformed, None),
        };
        let pending = |envelope: Option<Envelope>| Pending {
            fresh,
            origin,
            failures,
            alone: inherited == Inherited::Alone,
            ..Pending::new(envelope, attempts)
        };
        match envelope {
            Ok(envelope) => {
                self.line.add(place.clone(), pending(Some(envelope)));
                if let Inherited::Bury { reason } = inherited {
                    self.fail(&place, Failure::Reject(reason), attempts);
                }
            }
            Err(malformed) => {
                self.line.add(place.clone(), pending(None));
                self.fail(&place, Failure::Reject(malformed.to_string()), attempts.max(1));
            }
        }
    }

    /// What is read on the lane for replays is to its handler the event that it was. Elsewhere headers are the producer's.
    fn as_it_was(&self, lane: &str, envelope: Envelope) -> (Envelope, Option<EntryId>) {
        if keys::stream_of(lane, &self.told.group) == lane {
            return (envelope, None);
        }
        let (envelope, replay) = envelope.unwrap_replay();
        (envelope, replay.and_then(|replay| replay.origin))
    }

    /// Begins what may begin.
    pub(super) async fn begin(&mut self, now: Instant) -> Result<(), Trouble> {
        if self.pause.holds(now) {
            return Ok(());
        }
        // After an outage one attempt shows whether it is over.
        let concurrency = if self.pause.is_open() { 1 } else { self.told.settings.concurrency };
        let together_max = if self.pause.is_open() { 1 } else { self.told.settings.batch_max };
        while self.attempts.len() < concurrency {
            if self.lanes.has_unknown() {
                break;
            }
            let places = self.line.start(together_max, now);
            if places.is_empty() {
                break;
            }
            let begun = match self.mark(&places).await {
                Ok(begun) => begun,
                Err(trouble) => {
                    places.iter().for_each(|place| self.line.again(place));
                    return Err(trouble);
                }
            };
            let (places, entries): (Vec<_>, Vec<_>) = begun.into_iter().unzip();
            if !places.is_empty() {
                let timeout = self.told.settings.handler_timeout;
                let attempt = attempt(self.told.work.clone(), places.clone(), entries, timeout);
                self.attempts.begin(places, attempt);
            }
        }
        Ok(())
    }

    /// Counts the attempts that are about to begin, and fetches what is not in memory. First attempts of what was just read
    /// need neither. Returns those that are still ours.
    async fn mark(&mut self, places: &[Place]) -> Result<Vec<(Place, Entry)>, Trouble> {
        let mut by_lane: BTreeMap<Arc<str>, Vec<(Place, u32)>> = BTreeMap::new();
        for place in places {
            let pending = self.line.get(place).expect("what starts is pending");
            if !pending.fresh || pending.envelope.is_none() {
                by_lane.entry(place.0.clone()).or_default().push((place.clone(), pending.attempts + 1));
            }
        }
        for (lane, wanted) in by_lane {
            let attempts: Vec<_> = wanted.iter().map(|((_, number), attempt)| (*number, *attempt)).collect();
            let begun = self.at(&lane, async |door, names, me| door.begin(&names, me, &attempts).await).await?;
            for ((place, _), begun) in wanted.into_iter().zip(begun) {
                match begun {
                    Begun::Ours(Ok(envelope)) => {
                        let (envelope, _) = self.as_it_was(&place.0, envelope);
                        self.line.load(&place, envelope);
                    }
                    Begun::Ours(Err(_)) => self.forget(&place), // taken in again later, and buried then
                    Begun::NotOurs => {
                        // Then others may not be ours either, and one of the same key must not begin in its stead.
                        if let Some(lane) = self.lanes.get_mut(&lane) {
                            lane.known = false;
                        }
                        if self.line.get(&place).is_some_and(|pending| pending.deleted) {
                            self.note_lost(&lane, &[place.1.to_string()]);
                        }
                        self.forget(&place);
                    }
                    Begun::Deleted => {
                        self.note_lost(&lane, &[place.1.to_string()]);
                        self.forget(&place);
                    }
                }
            }
        }
        let mut begun = vec![];
        for place in places {
            if self.lanes.get(&place.0).is_none_or(Lane::is_unknown) {
                self.line.again(place);
                continue;
            }
            let stream = self.lanes.stream_of(&place.0);
            let Some(pending) = self.line.get_mut(place) else { continue };
            pending.fresh = false;
            let Some(envelope) = pending.envelope.clone() else { continue };
            let entry = Entry {
                stream,
                group: self.told.group.clone(),
                number: place.1,
                attempt: pending.attempts + 1,
                envelope,
                lane: place.0.clone(),
                origin: pending.origin,
            };
            begun.push((place.clone(), entry));
        }
        Ok(begun)
    }
}
