//! Sending a batch: append it, read the next one meanwhile, and sort out what Redis did not take.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::time::{Instant, SystemTime};

use crate::batch::Batch;
use crate::fault::Error;
use crate::pulse::{Counts, count};
use crate::relay::Relay;
use crate::replies::{Appended, Landed};
use crate::spans::Span;
use crate::store::{Number, Row};
use crate::{Seq, store};

const TWO: NonZeroU16 = NonZeroU16::new(2).expect("two is not zero");

impl Relay {
    /// Sends a batch, and reads the next one meanwhile. Returns how many entries were appended.
    pub(crate) async fn append(&mut self, batch: Batch, now: Instant) -> Result<usize, Error> {
        let batch = self.bury_oversized(batch, now).await?;
        self.behind = batch.more;
        if batch.rows.is_empty() {
            self.pass_over(&batch);
            return Ok(0);
        }
        let streams = batch.streams();
        if !self.watch(&streams, now).await? {
            return Ok(0);
        }
        let (appended, mut ahead) = self.append_and_read_ahead(&batch).await?;
        let all_landed = matches!(appended, Appended::All);
        let mut disturbed = self.take_in(&batch, |at| appended.landed(at), all_landed, &streams, now).await?;
        let mut sent = (0..batch.rows.len()).filter(|at| appended.landed(*at)).count();
        // A watch was broken, but nobody appended: consumers delete entries, or somebody trims. They may go on doing so as fast as
        // we can try; a script is not disturbed. In a cluster that is one stream's matter, whatever became of the others.
        let is_hindered =
            |at: &usize| appended.was_disturbed(*at) && !disturbed.contains(&batch.lanes[batch.rows[*at].lane].0);
        let again: Vec<usize> = (0..batch.rows.len()).filter(is_hindered).collect();
        if !again.is_empty() {
            let entries = batch.entries(&self.lanes);
            let entries: Vec<_> = again.iter().map(|at| &entries[*at]).collect();
            count(&self.pulse.disturbed_batches, 1);
            let by_script = self.redis.met().append_by_script(&entries).await?;
            let landed = |at: usize| again.binary_search(&at).is_ok_and(|nth| by_script.landed(nth));
            sent += again.iter().filter(|at| landed(**at)).count();
            disturbed = self.take_in(&batch, landed, sent == batch.rows.len(), &streams, now).await?;
            ahead = None;
        }
        if sent == batch.rows.len() {
            self.rows_max = self.rows_max.saturating_mul(TWO).min(self.config.batch_rows_max);
        }
        match appended {
            Appended::All => self.ahead = ahead.filter(|_| disturbed.is_empty()),
            Appended::None => {}
            Appended::Some(landed) => self.sort_out(&batch, &landed, now).await?,
        }
        Ok(sent)
    }

    /// Moves the lanes by what was appended, and hears the tops as they are now, read under the watch for the next batch. Returns
    /// the streams whose top is not what we expected.
    async fn take_in(
        &mut self,
        batch: &Batch,
        landed: impl Fn(usize) -> bool,
        all: bool,
        streams: &[String],
        now: Instant,
    ) -> Result<BTreeSet<String>, Error> {
        self.count_sent(batch, landed);
        if all {
            self.pass_over(batch); // before the tops are heard: a loss sets the lanes back
        }
        self.take_tops(streams, now).await
    }

    async fn append_and_read_ahead(&mut self, batch: &Batch) -> Result<(Appended, Option<Batch>), Error> {
        let entries = batch.entries(&self.lanes);
        let redis = self.redis.met();
        if !batch.more {
            return Ok((redis.append(&entries).await?, None));
        }
        let lanes = batch.lanes_after();
        let (upto, rows_max, bytes_max) = (self.frontier.at(), self.rows_max, self.config.batch_bytes_max);
        let (appended, read) =
            tokio::join!(redis.append(&entries), store::rows(&mut self.db, &lanes, upto, rows_max, bytes_max));
        let (rows, more) = read?;
        self.fit(rows.len(), more);
        Ok((appended?, Some(Batch { lanes, rows, more, upto })))
    }

    /// Watches the streams of a batch. `false`: a top is not what the batch was read for, so it is read anew.
    async fn watch(&mut self, streams: &[String], now: Instant) -> Result<bool, Error> {
        let redis = self.redis.met();
        let unwatched: Vec<_> = streams.iter().filter(|stream| redis.watched(stream).is_none()).cloned().collect();
        redis.tops(&unwatched).await?;
        Ok(self.take_tops(streams, now).await?.is_empty())
    }

    /// An event over the limit is a dead letter at once: trying again cannot make it smaller.
    async fn bury_oversized(&mut self, mut batch: Batch, now: Instant) -> Result<Batch, Error> {
        let limit = self.config.event_bytes_max.get() as usize;
        let oversized: Vec<Row> = batch.rows.extract_if(.., |row| row.envelope.bytes() > limit).collect();
        for row in oversized {
            let number = Number { stream: batch.lanes[row.lane].0.clone(), seq: row.seq };
            let reason = format!("the event has {} bytes; event_bytes_max is {limit}", row.envelope.bytes());
            batch.more = true; // the lane is read on from where it was
            if !self.bury(&number, &row, 1, &reason).await? {
                // Somebody has it locked. Nothing may go past it.
                self.lanes.refuse(&number.stream, now + self.config.retry_delay_min);
                batch.rows.retain(|other| other.lane != row.lane);
            }
        }
        Ok(batch)
    }

    /// Redis took some of a batch and refused others.
    async fn sort_out(&mut self, batch: &Batch, landed: &[Landed], now: Instant) -> Result<(), Error> {
        for (lane, (stream, _)) in batch.lanes.iter().enumerate() {
            if !self.lanes.flows(stream) {
                continue; // its top has told, and somebody has paid
            }
            let of_lane = || batch.rows.iter().zip(landed).filter(move |(row, _)| row.lane == lane);
            let reached = of_lane().filter(|(_, landed)| **landed == Landed::Yes).map(|(row, _)| row.seq).max();
            for (row, landed) in of_lane() {
                let Landed::Refused(reason) = landed else { continue };
                if reached.is_some_and(|reached| row.seq < reached) {
                    // Later ones went through, so its number is lost to it: a person decides.
                    let number = Number { stream: stream.clone(), seq: row.seq };
                    if !self.bury(&number, row, 1, reason).await? {
                        self.leave_behind(number, row, reason, now).await?;
                    }
                } else {
                    self.refused(stream, reason, now).await?;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Moves each lane to its newest entry of a batch.
    fn count_sent(&mut self, batch: &Batch, landed: impl Fn(usize) -> bool) {
        let mut moved: Vec<(u64, Seq)> = vec![(0, 0); batch.lanes.len()];
        let (now, mut latency) = (SystemTime::now(), Counts::default());
        for (_, row) in batch.rows.iter().enumerate().filter(|(at, _)| landed(*at)) {
            let (entries, top) = &mut moved[row.lane];
            *entries += 1;
            *top = row.seq;
            latency.observe(now.duration_since(row.envelope.time).unwrap_or_default());
        }
        self.pulse.latency.add(&latency);
        let span = |(at, row): (usize, &Row)| {
            let stream = &batch.lanes[row.lane].0;
            let entry = || format!("{}-{}", self.lanes.lane(stream).generation, row.seq);
            landed(at).then(|| Span::of(&row.envelope, stream, entry, now)).flatten()
        };
        self.pulse.spans(batch.rows.iter().enumerate().filter_map(span));
        count(&self.pulse.batches, 1);
        for ((stream, _), (entries, top)) in batch.lanes.iter().zip(&moved).filter(|(_, (entries, _))| *entries > 0) {
            self.lanes.sent(stream, *top, *entries);
            self.pulse.sent(stream, *entries);
        }
    }

    /// Nothing is left below what was read: the lanes read on from there, and held rows are not looked at again.
    fn pass_over(&mut self, batch: &Batch) {
        if !batch.more {
            for (stream, _) in &batch.lanes {
                let lane = self.lanes.get_mut(stream);
                lane.cursor = lane.cursor.max(batch.upto);
            }
        }
    }
}
