//! Do rows and entries say the same? Read in pages, while relays, consumers and retention work: whatever looks wrong is looked
//! at once more before it is said.

use std::collections::BTreeMap;

use outbox::EntryId;
use serde::Serialize;
use sqlx::PgConnection;

use crate::Seq;
use crate::append::Appender;
use crate::config::Server;
use crate::fault::Error;
use crate::store::{self, compare};

/// So many are compared at once.
const PAGE: usize = 1_000;
/// So many numbers of each kind are named.
const NAMED_MAX: usize = 20;

/// What came of one stream.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Compared {
    pub(crate) stream: String,
    /// Entries that were compared with their rows.
    pub(crate) entries: u64,
    /// Rows that are published, and not in Redis, though nothing below them was trimmed.
    pub(crate) missing: Odd,
    /// Entries without a row, which retention has not deleted.
    pub(crate) unknown: Odd,
    /// Entries that are not the events that their rows are.
    pub(crate) different: Odd,
}

/// How many, and the first of them.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Odd {
    pub(crate) count: u64,
    pub(crate) first: Vec<Seq>,
}

impl Odd {
    fn add(&mut self, seqs: impl IntoIterator<Item = Seq>) {
        for seq in seqs {
            self.count += 1;
            if self.first.len() < NAMED_MAX {
                self.first.push(seq);
            }
        }
    }
}

impl Compared {
    pub(crate) fn is_sound(&self) -> bool {
        self.missing.count + self.unknown.count + self.different.count == 0
    }
}

/// Compares every stream, or one. Tells after each page how many entries it has seen.
pub(crate) async fn compare(
    db: &mut PgConnection,
    server: &Server,
    only: Option<&str>,
    mut progress: impl FnMut(u64),
) -> Result<Vec<Compared>, Error> {
    let mut redis = Appender::connect(&server.client()?, server).await?;
    let (mut all, mut seen) = (vec![], 0);
    for known in compare::streams(db, only).await? {
        let mut compared = Compared { stream: known.stream.clone(), ..Compared::default() };
        let first = redis.oldest(&known.stream, known.generation).await?;
        // What lies below the oldest entry was trimmed. Where there is none at all, the newest rows are missing.
        let mut from = match first.and_then(|first| Seq::try_from(first.seq).ok()) {
            Some(first) => first,
            None => known.pruned + 1,
        };
        while from <= known.sent {
            let start = EntryId { generation: known.generation, seq: from.unsigned_abs() };
            let entries: BTreeMap<Seq, String> = redis
                .page(&known.stream, start, known.sent.unsigned_abs(), PAGE)
                .await?
                .into_iter()
                .filter_map(|(number, id)| Some((Seq::try_from(number.seq).ok()?, id)))
                .collect();
            let whole = entries.len() == PAGE;
            let upto = if whole { entries.keys().last().copied().unwrap_or(known.sent) } else { known.sent };
            let rows = compare::rows(db, &known.stream, from, upto, PAGE as i64).await?;
            // Many rows may lie between two entries.
            let upto = if rows.len() == PAGE { rows.last().map_or(upto, |row| row.seq) } else { upto };
            look(db, &mut redis, &known, from, upto, entries, &rows, &mut compared).await?;
            progress(seen + compared.entries);
            from = upto + 1;
        }
        seen += compared.entries;
        all.push(compared);
    }
    Ok(all)
}

#[allow(clippy::too_many_arguments, reason = "one page, and where it stands")]
async fn look(
    db: &mut PgConnection,
    redis: &mut Appender,
    known: &compare::Known,
    from: Seq,
    upto: Seq,
    mut entries: BTreeMap<Seq, String>,
    rows: &[compare::Row],
    compared: &mut Compared,
) -> Result<(), Error> {
    entries.retain(|seq, _| (from..=upto).contains(seq));
    compared.entries += entries.len() as u64;
    let mut suspects = vec![];
    for row in rows {
        match entries.remove(&row.seq) {
            Some(id) if id != row.id => compared.different.add([row.seq]),
            Some(_) => {}
            None if row.sent => suspects.push(row.seq),
            None => {}
        }
    }
    compared.missing.add(missing(db, redis, known, suspects).await?);
    let strangers: Vec<Seq> = entries.into_keys().collect();
    if !strangers.is_empty() {
        // Retention, or a release under a new number, may have been there between the two looks.
        let told = store::told(db, &known.stream, &strangers).await?;
        let there: Vec<Seq> = told.rows.iter().map(|(seq, _)| *seq).collect();
        compared.unknown.add(strangers.into_iter().filter(|seq| *seq > told.pruned && !there.contains(seq)));
    }
    Ok(())
}

/// Of rows that had no entry, those that still are there and still have none, above what was trimmed meanwhile.
async fn missing(
    db: &mut PgConnection,
    redis: &mut Appender,
    known: &compare::Known,
    suspects: Vec<Seq>,
) -> Result<Vec<Seq>, Error> {
    if suspects.is_empty() {
        return Ok(vec![]);
    }
    let still = compare::still_sent(db, &known.stream, &suspects).await?;
    let ids: Vec<EntryId> =
        still.iter().map(|seq| EntryId { generation: known.generation, seq: seq.unsigned_abs() }).collect();
    let (_, there) = redis.look_up(&known.stream, &ids).await?;
    let oldest = redis.oldest(&known.stream, known.generation).await?.map_or(0, |oldest| oldest.seq);
    let gone =
        still.into_iter().zip(there).filter(|(seq, there)| *there == Some(false) && seq.unsigned_abs() > oldest);
    Ok(gone.map(|(seq, _)| seq).collect())
}
