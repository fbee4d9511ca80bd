//! The inbox in SQLite: the same functions, for effects that a file holds.
//!
//! SQLite has one writer at a time, and waits for nothing else; call these where blocking is allowed
//! (`tokio::task::spawn_blocking`, or a thread that owns the file).

use rusqlite::{Connection, OptionalExtension, Result, Transaction, params};

use super::Change;
use crate::{Entry, Settled};

const SCHEMA: &str = include_str!("../../migrations/inbox/sqlite.sql");

/// Makes the inbox's tables. Again: nothing happens.
pub fn migrate(db: &Connection) -> Result<()> {
    db.execute_batch(SCHEMA)
}

/// As [`first_sight`](super::first_sight). Begin the transaction as `immediate`: one that begins to write later may be
/// refused.
pub fn first_sight(tx: &Transaction<'_>, entry: &Entry) -> Result<bool> {
    let mut insert = tx.prepare_cached(
        "insert into inbox_seen
                (consumer_group, event_id, lane, generation, seq, origin_lane, origin_generation, origin_seq)
         select ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
          where not exists (select 1 from inbox_floor
                             where consumer_group = ?1 and lane = ?3 and (generation, seq) >= (?4, ?5))
         on conflict do nothing",
    )?;
    let (generation, seq) = (entry.number.generation.cast_signed(), entry.number.seq.cast_signed());
    let origin = entry.origin.map(|origin| (origin.generation.cast_signed(), origin.seq.cast_signed()));
    let lane = origin.map(|_| &*entry.stream);
    let (origin_generation, origin_seq) = origin.unzip();
    let place =
        params![&*entry.group, entry.envelope.id, &*entry.lane, generation, seq, lane, origin_generation, origin_seq];
    Ok(insert.execute(place)? == 1)
}

/// As [`first_sight_of_each`](super::first_sight_of_each).
pub fn first_sight_of_each(tx: &Transaction<'_>, entries: &[Entry]) -> Result<Vec<bool>> {
    entries.iter().map(|entry| first_sight(tx, entry)).collect()
}

/// As [`prune`](super::prune), in a transaction of its own.
pub fn prune(db: &mut Connection, upto: &Settled) -> Result<u64> {
    let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let position =
        params![&*upto.group, &*upto.lane, upto.upto.generation.cast_signed(), upto.upto.seq.cast_signed()];
    tx.execute(
        "insert into inbox_floor (consumer_group, lane, generation, seq) values (?1, ?2, ?3, ?4)
         on conflict (consumer_group, lane) do update set generation = excluded.generation, seq = excluded.seq
          where (inbox_floor.generation, inbox_floor.seq) < (excluded.generation, excluded.seq)",
        position,
    )?;
    // What was replayed must be settled in both places.
    let mut forgotten = tx.execute(
        "delete from inbox_seen
          where consumer_group = ?1 and lane = ?2 and (generation, seq) <= (?3, ?4)
            and (origin_lane is null
                 or exists (select 1 from inbox_floor f
                             where f.consumer_group = inbox_seen.consumer_group and f.lane = inbox_seen.origin_lane
                               and (f.generation, f.seq) >= (inbox_seen.origin_generation, inbox_seen.origin_seq)))",
        position,
    )?;
    forgotten += tx.execute(
        "delete from inbox_seen
          where consumer_group = ?1 and origin_lane = ?2 and (origin_generation, origin_seq) <= (?3, ?4)
            and exists (select 1 from inbox_floor f
                         where f.consumer_group = inbox_seen.consumer_group and f.lane = inbox_seen.lane
                           and (f.generation, f.seq) >= (inbox_seen.generation, inbox_seen.seq))",
        position,
    )?;
    tx.commit()?;
    Ok(forgotten as u64)
}

/// As [`content`](super::content).
pub fn content(
    tx: &Transaction<'_>,
    entry: &Entry,
    source_url: &str,
    content_hash: &str,
    version: u64,
) -> Result<Change> {
    let version = version.cast_signed();
    let known: Option<(String, i64)> = tx
        .prepare_cached(
            "select content_hash, version from inbox_content where consumer_group = ?1 and source_url = ?2",
        )?
        .query_row(params![&*entry.group, source_url], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let change = match known {
        None => Change::New,
        Some((hash, newest)) if version < newest || (version == newest && hash != content_hash) => Change::Older,
        Some((hash, _)) if hash == content_hash => Change::Same,
        Some(_) => Change::Changed,
    };
    if change != Change::Older {
        tx.prepare_cached(
            "insert into inbox_content (consumer_group, source_url, content_hash, version) values (?1, ?2, ?3, ?4)
             on conflict (consumer_group, source_url) do update
                set content_hash = excluded.content_hash, version = excluded.version",
        )?
        .execute(params![&*entry.group, source_url, content_hash, version])?;
    }
    Ok(change)
}
