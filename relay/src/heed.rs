//! What a look at the tops brings to light, and what follows: entries that Redis lost, streams that are not there, streams
//! that it refuses.

use std::collections::BTreeSet;
use std::time::Instant;

use outbox::EntryId;

use crate::append::Entry;
use crate::fault::Error;
use crate::hold::backoff;
use crate::lanes::{News, Top};
use crate::pulse::count;
use crate::relay::Relay;
use crate::replies::Transacted;
use crate::store::{Number, Row};
use crate::{Seq, rebuild, store};

impl Relay {
    /// Asks for the top of every lane that is not known to flow.
    pub(crate) async fn ask_lanes(&mut self, now: Instant) -> Result<(), Error> {
        let streams = self.lanes.to_ask(now);
        if streams.is_empty() {
            return Ok(());
        }
        // A batch read ahead does not know of these lanes, and need not.
        let tops = self.redis.met().look(&streams).await?;
        for (stream, top) in streams.iter().zip(tops) {
            if self.verify(stream, &top, now).await? {
                self.hear(stream, &top, now).await?;
            }
        }
        Ok(())
    }

    /// Takes the tops under watch into account. Returns the streams whose top is not what we expected.
    pub(crate) async fn take_tops(&mut self, streams: &[String], now: Instant) -> Result<BTreeSet<String>, Error> {
        // All are read first: acting on one can end the watch on the others.
        let watched = |stream: &String| Some((stream.clone(), self.redis.met().watched(stream)?.clone()));
        let tops: Vec<_> = streams.iter().filter_map(watched).collect();
        let mut disturbed = BTreeSet::new();
        for (stream, top) in tops {
            if !self.hear(&stream, &top, now).await? {
                disturbed.insert(stream);
            }
        }
        Ok(disturbed)
    }

    /// Takes one top into account. `true`: it is what we expected.
    pub(crate) async fn hear(&mut self, stream: &str, top: &Top, now: Instant) -> Result<bool, Error> {
        let news = self.told(stream, top).await?;
        let undisturbed = news == News::None;
        self.heed(stream, news, now).await?;
        Ok(undisturbed)
    }

    async fn told(&mut self, stream: &str, top: &Top) -> Result<News, Error> {
        self.mark_for(top).await?;
        Ok(self.lanes.told(stream, top, self.mark.last))
    }

    /// Looks again if this top is beyond the newest number that we know of: another relay may have looked later than we did.
    pub(crate) async fn mark_for(&mut self, top: &Top) -> Result<(), Error> {
        if matches!(top, Top::At(id) if Seq::try_from(id.seq).is_ok_and(|seq| seq > self.mark.last)) {
            self.mark = store::mark(&mut self.db).await?;
        }
        Ok(())
    }

    /// Acts on what a look at a stream's top brought to light.
    async fn heed(&mut self, stream: &str, news: News, now: Instant) -> Result<(), Error> {
        match news {
            News::None => {}
            News::OthersSent { from, to } => {
                tracing::debug!(stream, from, to, "sent by another relay, or before a restart");
                // How many they are we have not counted: the next report asks the rows.
                self.lanes.get_mut(stream).reported = None;
            }
            News::Lost { from, to } => self.lost(stream, from, to).await?,
            News::Gone => self.make(stream, now).await?,
            News::Refused(reason) => self.refused(stream, &reason, now).await?,
        }
        Ok(())
    }

    /// Redis has less than it had: the rows are still here, and go again under the same numbers.
    ///
    /// Groups come first. Once the loss is written down nobody hears of it again, and a group that is not there when groups
    /// are next looked at loses its saved position.
    async fn lost(&mut self, stream: &str, from: Seq, to: Seq) -> Result<(), Error> {
        let positions = store::group_positions(&mut self.db, stream).await?;
        let plan = rebuild::plan(self.lanes.get_mut(stream).generation, &positions);
        if let Err(outage) = self.redis.met().restore(stream, &plan.groups).await {
            self.lanes.unhear(stream, to);
            return Err(outage.into());
        }
        let Some(pruned) = store::cut_back(&mut self.db, stream, from - 1).await? else {
            // Until it is written down, it has not been heard.
            self.lanes.unhear(stream, to);
            return Ok(());
        };
        self.lanes.get_mut(stream).reported = None;
        tracing::warn!(stream, from, to, "Redis lost entries; they are sent again");
        count(&self.pulse.rebuilt_entries, (to - from + 1).unsigned_abs());
        if pruned >= from {
            tracing::error!(
                stream,
                from,
                to = pruned,
                "retention had deleted some of them: they cannot be sent again"
            );
        }
        Ok(())
    }

    /// Makes a stream that is not there: new, or with its groups where they were.
    async fn make(&mut self, stream: &str, now: Instant) -> Result<(), Error> {
        let positions = store::group_positions(&mut self.db, stream).await?;
        let plan = rebuild::plan(self.lanes.get_mut(stream).generation, &positions);
        self.redis.met().watch_only(stream).await?;
        if self.redis.met().watched(stream) == Some(&Top::Absent)
            && let Transacted::Refused(reason) = self.redis.met().make(stream, plan.start, &plan.groups).await?
        {
            return self.refused(stream, &reason, now).await;
        }
        // Ours or another relay's: the top that is there now decides.
        match self.redis.met().watched(stream).cloned() {
            Some(top @ Top::At(_)) => match self.told(stream, &top).await? {
                News::Lost { from, to } => self.lost(stream, from, to).await,
                News::Refused(reason) => self.refused(stream, &reason, now).await,
                News::None | News::OthersSent { .. } | News::Gone => Ok(()),
            },
            Some(Top::Refused(reason)) => self.refused(stream, &reason, now).await,
            // Gone again, or not to be made just now: the next turn asks anew.
            _ => Ok(()),
        }
    }

    /// A lane is refused: its first unsent row pays an attempt, and the lane waits. Others flow on.
    pub(crate) async fn refused(&mut self, stream: &str, reason: &str, now: Instant) -> Result<(), Error> {
        let (min, max) = (self.config.retry_delay_min, self.config.retry_delay_max);
        let above = self.lanes.get_mut(stream).top;
        let first = store::first_unsent(&mut self.db, stream, above, self.frontier.at()).await?;
        let Some((row, attempts)) = first else {
            // Nobody pays; so it is said once, and tried again ever more rarely.
            let refusals = self.lanes.lane(stream).refusals;
            if refusals == 0 {
                tracing::warn!(stream, reason, "Redis refuses a stream");
            }
            self.lanes.refuse(stream, now + backoff(refusals + 1, min, max));
            return Ok(());
        };
        let number = Number { stream: stream.to_owned(), seq: row.seq };
        let wait = if attempts + 1 >= i32::from(self.config.attempts_max.get()) {
            self.bury(&number, &row, attempts + 1, reason).await?;
            min
        } else {
            // When another relay has just counted, it is its wait too.
            store::count_attempt(&mut self.db, &number, attempts, reason).await?;
            tracing::warn!(stream, seq = row.seq, attempts = attempts + 1, reason, "Redis refuses an event");
            backoff(attempts + 1, min, max)
        };
        count(&self.pulse.refusals, 1);
        self.lanes.refuse(stream, now + wait);
        Ok(())
    }

    /// Sets a row aside for a person. The notice goes first: it may come twice, but it never fails to come.
    pub(crate) async fn bury(
        &mut self,
        number: &Number,
        row: &Row,
        attempts: i32,
        reason: &str,
    ) -> Result<bool, Error> {
        let id = EntryId { generation: self.lanes.get_mut(&number.stream).generation, seq: row.seq.unsigned_abs() };
        let entry = Entry { stream: &number.stream, id, envelope: &row.envelope };
        self.redis.met().notice(&entry, reason, attempts).await?;
        let buried = store::bury(&mut self.db, number, reason).await?;
        if buried {
            count(&self.pulse.buried, 1);
            tracing::error!(
                stream = number.stream,
                seq = row.seq,
                id = row.envelope.id,
                attempts,
                reason,
                "a dead letter"
            );
        }
        Ok(buried)
    }
}
