//! Keeping what is ours: connections, groups, entries; and what people are told.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Consumer;
use super::line::Place;
use super::stream::{Door, Names, Trouble};
use super::work::tell_settled;
use crate::{EntryId, Settled};

/// A group that is gone is given so long to come back where it was: the relay makes it anew.
const HEAL_MAX: Duration = Duration::from_secs(3);
/// Who has been silent for so many times the patience of others is not coming back: names are never used twice.
const SILENCES: u32 = 20;
/// A look at what others have left asks Redis at most so often.
const LOOK_MAX: usize = 20;
/// People are told so often.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

impl Consumer {
    /// Connects, if need be, and begins where we were: groups are made, and what is pending for us is taken in.
    pub(super) async fn meet(&mut self, now: Instant) -> Result<(), Trouble> {
        self.connect().await?;
        self.share().await?;
        let unknown = self.lanes.iter().filter(|(_, lane)| lane.is_unknown());
        let mut met = Ok(());
        for lane in unknown.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            // Groups that are gone are waited for together.
            match self.enter(&lane, now).await {
                Err(Trouble::NoGroup) => met = Err(Trouble::NoGroup),
                other => other?,
            }
        }
        met
    }

    /// Connects, if need be.
    pub(super) async fn connect(&mut self) -> Result<(), Trouble> {
        if !self.doors.are_closed() {
            return Ok(());
        }
        // Partitions that may become ours, too: each is asked for.
        let all = match &self.partitions {
            Some(partitions) => partitions.streams().cloned().collect(),
            None => self.lanes.streams(),
        };
        self.doors.open(&self.told, all).await?;
        self.lanes.look_again();
        self.schedule.look_again();
        if let Some(partitions) = &mut self.partitions {
            partitions.look_again();
        }
        Ok(())
    }

    /// Makes sure of a lane's group, and takes in what is pending for us.
    pub(super) async fn enter(&mut self, name: &Arc<str>, now: Instant) -> Result<(), Trouble> {
        let lane = self.lanes.known(name);
        let after = lane.settled.map_or("0".to_owned(), |settled| settled.to_string());
        // No relay knows the lane on which dead letters are replayed.
        let (seen_before, missing_since) = (lane.settled.is_some() && **name == *lane.stream, lane.missing_since);
        let there = self.at(name, async |door, names, _| door.has_group(names.lane, names.group).await).await?;
        if !there {
            // Whoever has worked here before leaves it to the relay, which knows where the group was.
            let since = missing_since.unwrap_or(now);
            self.lanes.known_mut(name).missing_since = Some(since);
            if seen_before && now.duration_since(since) < HEAL_MAX {
                return Err(Trouble::NoGroup);
            }
            self.at(name, async |door, names, _| door.create_group(names.lane, names.group, &after).await).await?;
            tracing::info!(stream = %name, group = %self.told.group, after, "the group is made");
        }
        self.lanes.known_mut(name).missing_since = None;

        let mut ours: HashSet<EntryId> = HashSet::new();
        let mut from = "-".to_owned();
        loop {
            let found = self.at(name, async |door, names, me| door.own(&names, me, &from).await).await?;
            let next = found.next.clone();
            ours.extend(found.entries.iter().map(|entry| entry.number));
            self.take_found(name, found, true);
            if next.is_empty() {
                break;
            }
            from = format!("({next}");
        }
        // What is no longer ours needs no attempt; what is being attempted may end.
        let gone: Vec<Place> = self
            .line
            .places()
            .filter(|((lane, number), pending)| lane == name && !pending.is_running() && !ours.contains(number))
            .map(|(place, _)| place.clone())
            .collect();
        for place in gone {
            self.forget(&place);
        }
        // Whatever is pending of a partition is ours, however short ago its reader was heard of; and before that is in line
        // nothing newer may be read, also when the first try is cut off.
        if self.partitions.is_some() && !self.lanes.known(name).claimed {
            while self.claim_from(name, Duration::ZERO, 1_000).await? {}
        }
        let lane = self.lanes.known_mut(name);
        (lane.known, lane.claimed) = (true, true);
        lane.settled.get_or_insert(EntryId { generation: 0, seq: 0 });
        Ok(())
    }

    /// The slower work, each part at its own pace.
    pub(super) async fn keep(&mut self, now: Instant) -> Result<(), Trouble> {
        let claim_after = self.told.settings.claim_after;
        if self.schedule.renew.is_time(now, claim_after / 3) {
            self.renew().await?;
        }
        let look = self.schedule.claim.is_time(now, Duration::from_secs(1).min(claim_after / 4));
        // Much may have been left. It is claimed as fast as it is handled, but not one by one.
        if look || (self.schedule.more_was_left && self.room() * 2 >= self.told.settings.prefetch_max) {
            self.claim().await?;
        }
        if self.schedule.ask_settled.is_time(now, self.told.settings.settle_interval) {
            self.ask_settled().await?;
        }
        if self.schedule.tell.is_time(now, TELL_INTERVAL) {
            self.tell().await?;
        }
        let silence = claim_after * SILENCES;
        if self.schedule.tidy.is_time(now, silence) {
            for lane in self.lanes.names() {
                self.at(&lane, async |door, names, _| door.tidy(&names, silence).await).await?;
            }
        }
        Ok(())
    }

    /// Says that we are alive: nobody else may take what we hold.
    pub(super) async fn renew(&mut self) -> Result<(), Trouble> {
        let mut by_lane: BTreeMap<Arc<str>, Vec<EntryId>> = BTreeMap::new();
        // What is cut off may run on for a while: it is no longer ours.
        for ((lane, number), _) in self.line.places().filter(|((lane, _), _)| self.lanes.get(lane).is_some()) {
            by_lane.entry(lane.clone()).or_default().push(*number);
        }
        for (lane, numbers) in by_lane {
            for portion in numbers.chunks(1_000) {
                let kept = self.at(&lane, async |door, names, me| door.keep(&names, me, portion).await).await?;
                for number in kept.deleted {
                    self.is_deleted(&(lane.clone(), number));
                }
                for number in kept.lost {
                    let place = (lane.clone(), number);
                    if self.line.get(&place).is_some_and(|pending| !pending.is_running() && !pending.deleted) {
                        tracing::warn!(stream = %lane, group = %self.told.group, %number, "an entry was claimed by another consumer");
                        self.forget(&place);
                    }
                }
            }
        }
        Ok(())
    }

    /// An entry is no longer in its stream. An attempt that runs may still make it take effect.
    pub(super) fn is_deleted(&mut self, place: &Place) {
        let Some(pending) = self.line.get_mut(place) else { return };
        pending.deleted = true;
        if !pending.is_running() {
            self.forget(place);
            self.note_lost(&place.0, &[place.1.to_string()]);
        }
    }

    /// Tells of entries that nobody can handle any more.
    pub(super) fn note_lost(&mut self, lane: &str, numbers: &[String]) {
        if numbers.is_empty() {
            return;
        }
        tracing::error!(stream = lane, group = %self.told.group, entries = ?numbers,
            "entries were deleted from the stream before this group had settled them");
        self.books.lost(self.lanes.stream_of(lane), numbers.len());
    }

    /// Claims what others have left.
    async fn claim(&mut self) -> Result<(), Trouble> {
        let idle = self.told.settings.claim_after;
        let lanes: Vec<_> = self.lanes.open().map(|(name, _)| name.clone()).collect();
        let mut more = false;
        for lane in lanes {
            let count = self.room().min(500);
            if count == 0 {
                return Ok(());
            }
            // Past what others are still at work on, as far as one look may go.
            for _ in 0..LOOK_MAX {
                let before = self.line.len();
                let at_the_end = !self.claim_from(&lane, idle, count).await?;
                let found = self.line.len() > before;
                more |= found && !at_the_end;
                if found || at_the_end {
                    break;
                }
            }
        }
        self.schedule.more_was_left = more;
        Ok(())
    }

    /// Claims what was left idle in a lane, from where the last look ended. `false`: that was the end.
    pub(super) async fn claim_from(
        &mut self,
        lane: &Arc<str>,
        idle: Duration,
        count: usize,
    ) -> Result<bool, Trouble> {
        let (cursor, is_partition) = (self.lanes.known(lane).cursor.clone(), self.partitions.is_some());
        let claim = async |door: &mut Door, names: Names<'_>, me: &str| {
            door.claim(&names, me, is_partition, idle, &cursor, count).await
        };
        let found = self.at(lane, claim).await?;
        let next = found.next.clone();
        if !found.entries.is_empty() {
            tracing::info!(stream = %lane, group = %self.told.group, entries = found.entries.len(), "claimed from other consumers");
        }
        self.take_found(lane, found, false);
        self.lanes.known_mut(lane).cursor.clone_from(&next);
        Ok(next != "0-0")
    }

    /// Tells the handler up to where nothing will come again.
    async fn ask_settled(&mut self) -> Result<(), Trouble> {
        for lane in self.lanes.names() {
            let upto = self.at(&lane, async |door, names, _| door.settled(&names).await).await?;
            let known = &mut self.lanes.known_mut(&lane).settled;
            if let Some(upto) = upto
                && *known < Some(upto)
            {
                *known = Some(upto);
                let settled = Settled { lane: lane.clone(), group: self.told.group.clone(), upto };
                self.notices.spawn(tell_settled(self.told.work.clone(), settled, self.told.settings.handler_timeout));
            }
        }
        Ok(())
    }

    /// Writes down what we have done.
    async fn tell(&mut self) -> Result<(), Trouble> {
        for (stream, stats) in self.books.all() {
            let text = serde_json::to_string(&stats).unwrap_or_default();
            self.at(&stream, async |door, names: Names<'_>, me| door.tell(&names, me, &text).await).await?;
        }
        Ok(())
    }
}
