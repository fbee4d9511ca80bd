//! Do Redis and Postgres still tell the same story? A Postgres that was restored from a backup, or failed over to a standby that
//! lagged, gives numbers out a second time. Then the newest entries of a stream have no row, or one with another event; and
//! further back there is one where both agree. From there on Postgres's story is told under the next generation.
//!
//! Looked at once for each stream after each connection to Postgres: it cannot go back without ending our connection.

use std::collections::HashMap;
use std::time::Instant;

use outbox::EntryId;

use crate::fault::Error;
use crate::lanes::Top;
use crate::relay::Relay;
use crate::{Seq, store};

/// So many entries are compared at once, once the newest one differs.
const ENTRIES_MAX: usize = 500;

/// Where two stories part.
#[derive(Debug, PartialEq, Eq)]
enum Story {
    /// They do not, as far as can be seen.
    Same,
    /// After this number.
    PartedAfter(Seq),
    /// They have nothing in common: the entries are somebody else's.
    Foreign,
}

impl Relay {
    /// Compares what Redis and Postgres say of a stream, unless that was done. `true`: nothing has changed.
    pub(crate) async fn verify(&mut self, stream: &str, top: &Top, now: Instant) -> Result<bool, Error> {
        self.mark_for(top).await?;
        let Top::At(top) = *top else { return Ok(true) };
        let lane = self.lanes.lane(stream);
        let generation = lane.generation;
        if lane.verified {
            return Ok(true);
        }
        if top.generation > generation {
            // Somebody else has written. What we have sent before is still ours.
            let above = EntryId { generation, seq: u64::MAX };
            let own = self.redis.met().newest(stream, above, 1).await?;
            if let Some(seq) = own.first().and_then(|(number, _)| Seq::try_from(number.seq).ok()) {
                self.lanes.sent(stream, seq, 0);
            }
            return Ok(true);
        }
        let story = if top.generation == generation { self.story(stream, generation).await? } else { Story::Same };
        match story {
            Story::Same => {
                self.lanes.get_mut(stream).verified = true;
                Ok(true)
            }
            // A top beyond all numbers is refused in better words.
            Story::Foreign if Seq::try_from(top.seq).is_ok_and(|seq| seq > self.mark.last) => Ok(true),
            Story::Foreign => {
                let reason = format!(
                    "the newest entries of the stream, up to {top}, are not what Postgres holds under their numbers: it was \
                     restored, or somebody else writes there. To go on under fresh numbers run: \
                     update outbox_stream set generation = {} where stream = '{}'",
                    generation + 1,
                    stream.replace('\'', "''")
                );
                self.refused(stream, &reason, now).await?;
                Ok(false)
            }
            Story::PartedAfter(seq) => {
                tracing::error!(
                    stream,
                    after = seq,
                    generation = generation + 1,
                    "Postgres has lost events that Redis has: it went back to an older state. What it holds above this number \
                     is sent under the next generation; what it lost stays where consumers have it"
                );
                store::part(&mut self.db, stream, generation, seq).await?;
                self.lanes.remove(stream);
                self.discovered = None;
                Ok(false)
            }
        }
    }

    async fn story(&mut self, stream: &str, generation: u64) -> Result<Story, Error> {
        let mut below = EntryId { generation, seq: u64::MAX };
        // The lowest entry so far that contradicts.
        let mut parted: Option<Seq> = None;
        let mut sent = 0;
        loop {
            let count = if parted.is_none() { 1 } else { ENTRIES_MAX };
            let entries = self.redis.met().newest(stream, below, count).await?;
            let Some((last, _)) = entries.last() else {
                return Ok(match parted {
                    None => Story::Same,
                    // It had sent so far itself, and nothing contradicts that.
                    Some(parted) if 0 < sent && sent < parted => Story::PartedAfter(sent),
                    Some(_) => Story::Foreign,
                });
            };
            below = *last;
            let numbers: Vec<Seq> =
                entries.iter().map(|(number, _)| Seq::try_from(number.seq).unwrap_or(Seq::MAX)).collect();
            let told = store::told(&mut self.db, stream, &numbers).await?;
            let rows: HashMap<Seq, String> = told.rows.into_iter().collect();
            sent = told.sent;
            for ((_, id), seq) in entries.iter().zip(numbers) {
                let agreed = match rows.get(&seq) {
                    Some(row) => row == id,
                    // Retention deleted it, or somebody did.
                    None => seq <= told.sent.max(told.pruned),
                };
                match (agreed, parted) {
                    (true, None) => return Ok(Story::Same),
                    (true, Some(parted)) if sent < parted => return Ok(Story::PartedAfter(seq.max(sent))),
                    (true, Some(_)) => return Ok(Story::PartedAfter(seq)),
                    (false, _) => parted = Some(seq),
                }
            }
        }
    }
}
