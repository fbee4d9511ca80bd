//! Giving numbers up and taking new ones: rows that fell due, and rows that were overtaken and committed late. `hold` says
//! when a number may be given up; this is how.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use outbox::EntryId;

use crate::Seq;
use crate::fault::Error;
use crate::frontier::still_writing;
use crate::hold::{Fate, fate};
use crate::relay::Relay;
use crate::replies::Transacted;
use crate::store::{self, Number, Overtaken, Row};

const DUE_ROWS_MAX: i64 = 500;
/// A large transaction that was overtaken is decided in portions, so that other lanes flow on in between.
const DECIDE_ROWS_MAX: i64 = 1_000;
/// While there is something to decide, it is looked at so often.
const OVERTAKEN_SOON: Duration = Duration::from_millis(50);

/// A row that Redis refused while it took later ones, and that somebody has locked.
#[derive(Debug, Clone)]
pub(crate) struct LeftBehind {
    number: Number,
    row: Row,
    reason: String,
}

/// What became of numbers whose rows want new ones.
struct Decided {
    /// Nobody can send them any more.
    late: Vec<Number>,
    /// They are in their streams.
    sent: Vec<Number>,
}

impl Relay {
    /// Gives rows that fell due a new number each, once their old one can be given up.
    pub(crate) async fn release_due(&mut self, now: Instant) -> Result<(), Error> {
        // Of a paused stream nothing that is behind an unsent row can be released; it must not stand before the others.
        let due = store::due(&mut self.db, &self.lanes.sending(), DUE_ROWS_MAX).await?;
        let decided = self.decided(due, now).await?;
        if !decided.sent.is_empty() {
            store::was_sent(&mut self.db, &decided.sent).await?;
        }
        if !decided.late.is_empty() {
            let released = store::release(&mut self.db, &decided.late).await?;
            tracing::debug!(released, "held rows fell due");
            if released > 0 {
                self.schedule.due_at_once();
            }
        }
        Ok(())
    }

    /// What became of these numbers, stream by stream; each list in the order given.
    async fn decided(&mut self, numbers: Vec<Number>, now: Instant) -> Result<Decided, Error> {
        let streams: BTreeSet<&str> = numbers.iter().map(|number| number.stream.as_str()).collect();
        let (mut late, mut sent) = (HashSet::new(), HashSet::new());
        for stream in streams {
            if self.lanes.get(stream).is_none() {
                self.discovered = None; // a stream that began among overtaken numbers
            } else {
                let of_stream = numbers.iter().filter(|number| number.stream == stream).cloned().collect();
                self.close(stream, of_stream, &mut late, &mut sent, now).await?;
            }
        }
        let (late, rest): (Vec<_>, Vec<_>) = numbers.into_iter().partition(|number| late.contains(number));
        Ok(Decided { late, sent: rest.into_iter().filter(|number| sent.contains(number)).collect() })
    }

    /// Of one stream's numbers, those that nobody can send any more, and those that were sent. Where need be the top is
    /// raised to them first.
    ///
    /// The watch comes before the question: whoever sends one of them between the question and the raise breaks it.
    async fn close(
        &mut self,
        stream: &str,
        numbers: Vec<Number>,
        late: &mut HashSet<Number>,
        sent: &mut HashSet<Number>,
        now: Instant,
    ) -> Result<(), Error> {
        self.redis.met().watch_only(stream).await?;
        self.take_tops(&[stream.to_owned()], now).await?;
        if !self.lanes.flows(stream) {
            return Ok(());
        }
        let mut ahead = vec![];
        for (number, fate) in self.fates(stream, numbers).await? {
            match fate {
                Fate::WasSent => _ = sent.insert(number),
                Fate::Late => _ = late.insert(number),
                Fate::StillAhead => ahead.push(number),
                Fate::Unknown => {}
            }
        }
        late.extend(self.fence(stream, ahead, now).await?);
        Ok(())
    }

    /// Raises the top to the highest of these numbers below which everything is sent. Returns those up to it.
    async fn fence(&mut self, stream: &str, mut numbers: Vec<Number>, now: Instant) -> Result<Vec<Number>, Error> {
        let Some(lane) = self.lanes.get(stream) else { return Ok(vec![]) };
        // Up to the cursor nothing waits to be sent; above it the table knows.
        let (generation, lane_top, above, frontier) =
            (lane.generation, lane.top, lane.top.max(lane.cursor), self.frontier.at());
        let unsent = match numbers.iter().map(|number| number.seq).max() {
            Some(highest) if highest > above => store::first_unsent(&mut self.db, stream, above, frontier).await?,
            _ => None,
        };
        let unsent = unsent.map(|(row, _)| row.seq);
        numbers.retain(|number| number.seq <= frontier && unsent.is_none_or(|unsent| number.seq < unsent));
        let Some(highest) = numbers.iter().map(|number| number.seq).max() else { return Ok(vec![]) };
        // In a generation that has just begun the numbers lie far below what the one before has sent.
        let highest = highest.max(lane_top);

        let fenced = self.redis.met().fence(stream, EntryId { generation, seq: highest.unsigned_abs() }).await?;
        if fenced == Transacted::Done {
            self.lanes.sent(stream, highest, 0);
        }
        self.take_tops(&[stream.to_owned()], now).await?;
        match fenced {
            Transacted::Done => Ok(numbers),
            Transacted::Broken => Ok(vec![]),
            Transacted::Refused(reason) => {
                self.refused(stream, &reason, now).await?;
                Ok(vec![])
            }
        }
    }

    /// Redis has gone past a row that it refused, and the row cannot be set aside, since somebody has it locked. It is kept in
    /// mind until it can be. That it waits is written down, too: a relay that does not know why gives it a new number.
    pub(crate) async fn leave_behind(
        &mut self,
        number: Number,
        row: &Row,
        reason: &str,
        now: Instant,
    ) -> Result<(), Error> {
        tracing::warn!(
            stream = number.stream,
            seq = row.seq,
            reason,
            "Redis refuses an event that somebody has locked; it is set aside once it is free"
        );
        store::leave_behind(&mut self.db, &number).await?;
        self.left_behind.push(LeftBehind { number, row: row.clone(), reason: reason.to_owned() });
        self.schedule.overtaken_at(now);
        Ok(())
    }

    async fn bury_left_behind(&mut self) -> Result<(), Error> {
        let mut at = 0;
        while let Some(LeftBehind { number, row, reason }) = self.left_behind.get(at).cloned() {
            // Asked first, since each try to bury gives a notice.
            let done = match store::can_be_buried(&mut self.db, &number).await? {
                None => true,
                Some(free) => {
                    free && self.lanes.get(&number.stream).is_some() && self.bury(&number, &row, 1, &reason).await?
                }
            };
            if done {
                self.left_behind.remove(at);
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    /// Looks at what appeared among overtaken numbers whose writers have ended.
    pub(crate) async fn decide_overtaken(&mut self, now: Instant) -> Result<(), Error> {
        let begun = Instant::now();
        self.bury_left_behind().await?;
        let all = store::overtaken(&mut self.db).await?;
        if all.is_empty() {
            return Ok(());
        }
        // A mark from before they were read could miss a writer that is still at work.
        let mark = store::mark(&mut self.db).await?;
        for overtaken in &all {
            // What is there has committed, whoever else is still at work; only the numbers stay until all have ended.
            let ended = still_writing(&overtaken.writers, &mark).is_empty();
            self.decide(overtaken, ended, now).await?;
        }
        self.schedule.overtaken_by(now + OVERTAKEN_SOON.max(begun.elapsed() * 4));
        Ok(())
    }

    /// What appeared gets new numbers, as what fell due does: no relay sends an overtaken number any more, but one may have,
    /// in the moment before it was stored.
    async fn decide(&mut self, overtaken: &Overtaken, ended: bool, now: Instant) -> Result<(), Error> {
        let flowing = self.lanes.flowing();
        let appeared = store::appeared(&mut self.db, overtaken, &flowing, DECIDE_ROWS_MAX).await?;
        let more = appeared.len() as i64 == DECIDE_ROWS_MAX;
        let last = appeared.last().map(|number| number.seq).filter(|_| more).unwrap_or(Seq::MAX - 1);
        let asked = appeared.len();
        let is_left = |number: &Number| self.left_behind.iter().any(|left| left.number == *number);
        let appeared = appeared.into_iter().filter(|number| !is_left(number)).collect();
        let decided = self.decided(appeared, now).await?;
        let all_decided = decided.late.len() + decided.sent.len() == asked;
        if !decided.late.is_empty() {
            tracing::debug!(rows = decided.late.len(), "committed late, behind what was sent; they go next");
        }
        // Rows of a stream that does not flow are decided when it does.
        let forget = ended && all_decided && !store::appeared_elsewhere(&mut self.db, overtaken, &flowing).await?;
        store::settle_overtaken(&mut self.db, overtaken, &decided.late, forget.then_some(last)).await?;
        if more && all_decided {
            self.schedule.overtaken_at(now);
        }
        Ok(())
    }

    /// What Redis says of each number of a stream.
    pub(crate) async fn fates(&mut self, stream: &str, numbers: Vec<Number>) -> Result<Vec<(Number, Fate)>, Error> {
        let generation = self.lanes.lane(stream).generation;
        let id = |number: &Number| EntryId { generation, seq: number.seq.unsigned_abs() };
        let ids: Vec<_> = numbers.iter().map(id).collect();
        let (top, there) = self.redis.met().look_up(stream, &ids).await?;
        let fates =
            ids.into_iter().zip(there).map(|(id, there)| there.map_or(Fate::Unknown, |there| fate(id, &top, there)));
        Ok(numbers.into_iter().zip(fates).collect())
    }
}
