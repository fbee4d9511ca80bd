//! The slower half of a turn, each part at its own pace: the lease, what can be released (`release`), a look whether Redis
//! still has what it had, and the report for people.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use outbox::EntryId;

use crate::Seq;
use crate::fault::Error;
use crate::lanes::State;
use crate::relay::Relay;
use crate::schedule::is_time;
use crate::store::{self, GroupReport, LaneReport};

/// Held rows are looked for so often while awake; asleep, when the next one is due.
const DUE_EVERY: Duration = Duration::from_millis(50);
/// How long numbers that another relay overtook may stay unknown to this one.
const OVERTAKEN_EVERY: Duration = Duration::from_secs(1);
/// Without a lease each relay still says that it is there.
const LEASE_OF_MANY: Duration = Duration::from_secs(3);
/// How long a loss may stay unnoticed when nothing is sent.
const PROBE_EVERY: Duration = Duration::from_secs(1);

impl Relay {
    /// For how long this relay rests, if it does. Of several one holds the lease, renewed long before it ends; one whose
    /// way to Redis is blocked for that long lets another try.
    pub(crate) async fn rests(&mut self, now: Instant) -> Result<Option<Duration>, Error> {
        let anyway = self.config.lease.is_zero();
        let lease = if anyway { LEASE_OF_MANY } else { self.config.lease };
        if !anyway && self.schedule.works == Some(true) && self.redis.should_yield(lease, now) {
            store::end_lease(&mut self.reports, &self.holder).await?;
            self.schedule.works = Some(false);
            self.schedule.lease = Some(now + lease);
            tracing::warn!(holder = self.holder, "Redis stays away; another relay may try");
        }
        if is_time(&mut self.schedule.lease, now, lease / 3) {
            let works = store::lease(&mut self.reports, &self.holder, lease, anyway, self.frontier.at()).await?;
            if self.schedule.works != Some(works) {
                let what = if works { "this relay works" } else { "another relay works; this one rests" };
                tracing::info!(holder = self.holder, "{what}");
            }
            self.schedule.works = Some(works);
        }
        Ok(if self.schedule.works == Some(true) { None } else { Some(lease / 3) })
    }

    pub(crate) async fn keep(&mut self, now: Instant) -> Result<(), Error> {
        if is_time(&mut self.schedule.due, now, DUE_EVERY) {
            self.release_due(now).await?;
        }
        if is_time(&mut self.schedule.overtaken, now, OVERTAKEN_EVERY) {
            self.decide_overtaken(now).await?;
        }
        if is_time(&mut self.schedule.probe, now, PROBE_EVERY) {
            self.probe(now).await?;
        }
        if is_time(&mut self.schedule.report, now, self.config.report_interval) {
            self.report_lanes().await?;
        }
        Ok(())
    }

    /// Looks whether Redis still has what it had, and where its groups are: a loss while nothing is sent must not wait.
    async fn probe(&mut self, now: Instant) -> Result<(), Error> {
        self.discovered = None; // somebody may have given a stream another generation
        let streams = self.lanes.flowing();
        let (groups, answered) = self.redis.met().groups(&streams).await?;
        let answered: BTreeSet<String> = answered.into_iter().collect();
        // The streams come second: a group that was lost with its stream must not lose its position too. A stream that has
        // grown is whole. Only of others the top is asked: that answer carries whole entries, which may be large.
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
        let reports: Vec<_> = groups
            .into_iter()
            .filter(|group| whole.contains(&group.stream))
            .map(|group| {
                let (generation, top) =
                    (self.lanes.lane(&group.stream).generation, self.lanes.lane(&group.stream).top);
                // A group may have been made ahead of the top. It is not further than the stream.
                let seq = |id: EntryId| {
                    if id.generation == generation { Seq::try_from(id.seq).unwrap_or(top).min(top) } else { 0 }
                };
                GroupReport {
                    delivered_seq: seq(group.delivered),
                    settled_seq: seq(group.settled),
                    pending: group.pending.cast_signed(),
                    consumers: group.consumers.cast_signed(),
                    stream: group.stream,
                    name: group.name,
                }
            })
            .collect();
        let whole: Vec<String> = whole.into_iter().collect();
        store::report_groups(&mut self.reports, &whole, &reports).await?;
        Ok(())
    }

    /// Writes down how far the lanes have come.
    pub(crate) async fn report_lanes(&mut self) -> Result<(), Error> {
        let mut reports = vec![];
        for (stream, lane) in self.lanes.iter_mut() {
            if lane.reported != Some(lane.top) && lane.state != State::Unknown {
                reports.push(LaneReport {
                    stream: stream.to_owned(),
                    top: lane.top,
                    entries: lane.reported.map(|_| i64::try_from(lane.sent).unwrap_or(i64::MAX)),
                });
            }
        }
        if reports.is_empty() {
            return Ok(());
        }
        // A stream whose row somebody has locked comes with a later report.
        for stream in store::report(&mut self.reports, &reports).await? {
            let lane = self.lanes.get_mut(&stream);
            lane.reported = Some(lane.top);
            lane.sent = 0;
        }
        Ok(())
    }
}
