//! Once a second, a look at what Redis has and what its groups have done with it. The order of the steps is the point:
//!
//! 1. where the groups are
//! 2. what they have set aside comes into Postgres: whatever the positions of step 1 have gone past lies there by now, unless
//!    Redis has lost it, which a second look at the groups shows
//! 3. whether the streams are whole; only then the positions are written down, and a rebuild may rely on them
//! 4. consumers are told: what they settled is settled for good, so their inboxes may forget it
//! 5. what every group has settled may go from Redis
//!
//! Beside them, what consumers say of themselves is written down.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use outbox::EntryId;

use crate::Seq;
use crate::fault::Error;
use crate::groups::Group;
use crate::hold::Fate;
use crate::letters::{LETTERS_MAX, Tray};
use crate::relay::Relay;
use crate::replies::Transacted;
use crate::store::{self, GroupReport};
use crate::trim::{settled_by_all, trim_to};

/// A stream that was never trimmed is not trimmed all at once: that would keep Redis busy for too long.
const TRIM_NUMBERS_MAX: Seq = 50_000;

/// Groups that are there both times, each where it was further back.
fn lower_of(before: Vec<Group>, after: &[Group]) -> Vec<Group> {
    let again = |group: &Group| after.iter().find(|other| other.stream == group.stream && other.name == group.name);
    let lower = |mut group: Group| {
        let other = again(&group)?;
        group.settled = group.settled.min(other.settled);
        group.delivered = group.delivered.min(other.delivered);
        Some(group)
    };
    before.into_iter().filter_map(lower).collect()
}

impl Relay {
    pub(crate) async fn probe(&mut self, now: Instant) -> Result<(), Error> {
        self.discovered = None; // somebody may have given a stream another generation
        let streams = self.lanes.flowing();
        let mut before = self.redis.met().groups(&streams).await?;
        self.redis.met().count_consumers(&mut before.groups).await?;
        // A colon would make two groups share a tray; none of ours has one.
        let trays: BTreeSet<Tray> =
            before.groups.iter().filter(|group| !group.name.contains(':')).map(Tray::of).collect();
        let trays: Vec<Tray> = trays.into_iter().collect();
        let left = self.keep_letters(&trays).await?;

        let whole = self.whole(streams.clone(), &before.answered, now).await?;
        // Redis may have lost everything while we looked, and another relay may have built it anew: then positions from before
        // have gone past letters that nobody has.
        let after = self.redis.met().groups(&streams).await?;
        let groups = lower_of(before.groups, &after.groups);
        // A group whose letters are not all in Postgres yet has its position written down another time.
        let behind: BTreeSet<&String> =
            groups.iter().filter(|group| left.contains(&Tray::of(group))).map(|group| &group.stream).collect();
        let whole: Vec<String> = whole.into_iter().filter(|stream| !behind.contains(stream)).collect();
        let safe: Vec<Group> = groups.into_iter().filter(|group| whole.contains(&group.stream)).collect();
        let reports = self.reports_of(&safe);
        let holder = (!self.config.lease.is_zero()).then_some(self.holder.as_str());
        if !store::report_groups(&mut self.reports, holder, &whole, &reports).await? {
            return Ok(()); // another relay works by now, and knows better
        }
        self.tell_settled(&safe).await?;
        let tallies = self.redis.met().tallies(&trays).await?;
        if !tallies.is_empty() {
            store::report_consumers(&mut self.reports, &tallies).await?;
        }
        let unnamed = before.unnamed.union(&after.unnamed).cloned().collect();
        self.trim(&safe, &unnamed, now).await
    }

    /// Brings dead letters of groups into Postgres. Returns the trays in which some may be left.
    async fn keep_letters(&mut self, trays: &[Tray]) -> Result<BTreeSet<Tray>, Error> {
        let mut left = BTreeSet::new();
        for tray in self.redis.met().full_trays(trays).await? {
            let Some(letters) = self.redis.met().letters(&tray).await? else {
                if self.unread.insert(tray.clone()) {
                    tracing::warn!(
                        stream = tray.stream,
                        group = tray.group,
                        "Redis does not let the relay read a group's dead letters, so its position is not written down; see the \
                         rights in the documentation"
                    );
                }
                left.insert(tray);
                continue;
            };
            // In the connection whose commits are durable: Redis forgets them next.
            let new = store::keep_letters(&mut self.db, &letters).await?;
            tracing::debug!(stream = tray.stream, group = tray.group, new, "dead letters of a group");
            if !self.redis.met().clear(&tray, &letters).await? {
                // What lies behind these would never be read.
                if self.unread.insert(tray.clone()) {
                    tracing::warn!(
                        stream = tray.stream,
                        group = tray.group,
                        "Redis does not let the relay take away a group's dead letters, so later ones stay unread; see the rights in \
                         the documentation"
                    );
                }
                left.insert(tray);
                continue;
            }
            self.unread.remove(&tray);
            if letters.len() >= LETTERS_MAX {
                left.insert(tray);
                self.schedule.probe_at_once();
            }
        }
        Ok(left)
    }

    /// The streams that have lost nothing since the last look.
    async fn whole(
        &mut self,
        streams: Vec<String>,
        answered: &BTreeSet<String>,
        now: Instant,
    ) -> Result<BTreeSet<String>, Error> {
        // The streams come after their groups: a group that was lost with its stream must not lose its position too. A
        // stream that has grown is whole. Only of others the top is asked: that answer carries whole entries.
        let lengths = self.redis.met().lengths(&streams).await?;
        let (mut whole, mut doubtful) = (BTreeSet::new(), vec![]);
        for (stream, length) in streams.into_iter().zip(lengths) {
            let lane = self.lanes.get_mut(&stream);
            let grown = length.is_some_and(|length| length >= lane.length);
            lane.length = length.unwrap_or(0);
            if grown && answered.contains(&stream) {
                whole.insert(stream);
            } else {
                doubtful.push(stream);
            }
        }
        let tops = self.redis.met().look(&doubtful).await?;
        for (stream, top) in doubtful.into_iter().zip(tops) {
            if self.hear(&stream, &top, now).await? && answered.contains(&stream) {
                whole.insert(stream);
            }
        }
        Ok(whole)
    }

    fn reports_of(&self, groups: &[Group]) -> Vec<GroupReport> {
        let report = |group: &Group| {
            let lane = self.lanes.lane(&group.stream);
            // A group may have been made ahead of everything; and while a stream is built anew, its groups are ahead of it.
            let seq = |id: EntryId| {
                let seq = Seq::try_from(id.seq).unwrap_or(Seq::MAX).min(self.frontier.at().max(lane.top));
                (id.generation == lane.generation).then_some(seq)
            };
            GroupReport {
                delivered_seq: seq(group.delivered),
                settled_seq: seq(group.settled),
                pending: group.pending.cast_signed(),
                consumers: group.consumers.cast_signed(),
                stream: group.stream.clone(),
                name: group.name.clone(),
            }
        };
        groups.iter().map(report).collect()
    }

    async fn tell_settled(&mut self, groups: &[Group]) -> Result<(), Error> {
        let mut news = vec![];
        for group in groups {
            let highest = self.frontier.at().max(self.lanes.lane(&group.stream).top).unsigned_abs();
            let settled = EntryId { seq: group.settled.seq.min(highest), ..group.settled };
            let key = (group.stream.clone(), group.name.clone());
            if settled.seq > 0 && self.told_settled.get(&key) != Some(&settled) {
                news.push((key, settled));
            }
        }
        let positions: Vec<_> =
            news.iter().map(|((stream, group), settled)| (stream.as_str(), group.as_str(), *settled)).collect();
        self.redis.met().tell_settled(&positions).await?;
        self.told_settled.extend(news);
        Ok(())
    }

    /// Lets go of what every group has settled, and what is old enough; where memory is short, however old.
    async fn trim(&mut self, groups: &[Group], unnamed: &BTreeSet<String>, now: Instant) -> Result<(), Error> {
        if self.config.trim_after.is_zero() {
            return Ok(());
        }
        let short = self.redis.memory_is_short();
        let old = store::old_enough(&mut self.db, self.config.trim_after).await?;
        let old: HashMap<String, (Seq, Option<Seq>)> =
            old.into_iter().map(|(stream, seq, undecided)| (stream, (seq, undecided))).collect();
        for (stream, settled) in settled_by_all(groups).into_iter().filter(|(stream, _)| !unnamed.contains(*stream)) {
            let Some(lane) = self.lanes.get(stream) else { continue };
            let Some((old, undecided)) = old.get(stream) else { continue };
            let old = if short { lane.top } else { *old };
            let old = old.min(undecided.map_or(Seq::MAX, |lowest| lowest - 1));
            let (generation, top) = (lane.generation, lane.top);
            let Some(trimmed) = self.trimmed(stream, generation).await? else { continue };
            let old = old.min(trimmed.saturating_add(TRIM_NUMBERS_MAX));
            if let Some(upto) = trim_to(settled, generation, old, top)
                && upto.seq > trimmed.unsigned_abs()
            {
                self.trim_stream(stream, trimmed, upto, now).await?;
            }
        }
        Ok(())
    }

    /// Up to where a stream was trimmed before: by this relay, or by whoever worked before it. None: nothing is there.
    async fn trimmed(&mut self, stream: &str, generation: u64) -> Result<Option<Seq>, Error> {
        if let known @ Some(_) = self.lanes.lane(stream).trimmed {
            return Ok(known);
        }
        let oldest = self.redis.met().oldest(stream, generation).await?;
        let trimmed = oldest.and_then(|oldest| Seq::try_from(oldest.seq).ok()).map(|oldest| oldest - 1);
        self.lanes.get_mut(stream).trimmed = trimmed;
        Ok(trimmed)
    }

    /// Trims under a watch. A dead letter that was sent after all is known by its entry: once that is gone nobody can tell,
    /// and replaying it would send it twice. So each is looked for first, and nobody can send one in between.
    async fn trim_stream(&mut self, stream: &str, above: Seq, upto: EntryId, now: Instant) -> Result<(), Error> {
        self.redis.met().watch_only(stream).await?;
        self.take_tops(&[stream.to_owned()], now).await?;
        if !self.lanes.flows(stream) {
            return Ok(());
        }
        let seq = Seq::try_from(upto.seq).unwrap_or(Seq::MAX);
        let held = store::held(&mut self.db, stream, above, seq).await?;
        if !held.is_empty() {
            let fates = self.fates(stream, held).await?;
            if fates.iter().any(|(_, fate)| *fate == Fate::Unknown) {
                return Ok(());
            }
            let sent: Vec<_> =
                fates.into_iter().filter(|(_, fate)| *fate == Fate::WasSent).map(|(number, _)| number).collect();
            store::was_sent(&mut self.db, &sent).await?;
        }
        match self.redis.met().trim(stream, upto).await? {
            Transacted::Done => {
                let length = self.redis.met().lengths(&[stream.to_owned()]).await?.pop().flatten();
                let lane = self.lanes.get_mut(stream);
                lane.trimmed = Some(seq);
                lane.length = length.unwrap_or(0);
                tracing::debug!(stream, %upto, "settled by every group, so it may go");
            }
            Transacted::Broken => {}
            Transacted::Refused(reason) => tracing::warn!(stream, reason, "Redis does not let the stream be trimmed"),
        }
        self.redis.met().watch_only(stream).await?;
        self.take_tops(&[stream.to_owned()], now).await?;
        Ok(())
    }
}
