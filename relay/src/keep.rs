//! The slower half of a turn, each part at its own pace: the lease, what can be released (`release`), a look at what Redis
//! and its groups have (`probe`), and the report for people.

use std::time::{Duration, Instant};

use crate::fault::Error;
use crate::lanes::State;
use crate::relay::Relay;
use crate::schedule::is_time;
use crate::store::{self, LaneReport};

/// Held rows are looked for so often while awake; asleep, when the next one is due.
pub(crate) const DUE_EVERY: Duration = Duration::from_millis(50);
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
