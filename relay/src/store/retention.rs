//! Deleting what was published long ago.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use super::{Number, Result, numbers};
use crate::Seq;

/// What is left of the time that a transaction may take: Postgres bounds only its statements, each by itself.
struct Left {
    until: Instant,
}

impl Left {
    /// From here on no statement of this transaction takes longer than what is left.
    async fn bound(&self, tx: &mut PgConnection) -> Result<()> {
        // Nothing at all would mean: without bound.
        let left = self.until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        limit_statements(tx, left, true).await
    }
}

/// From here on no statement of this connection takes longer, or none of this transaction.
pub(crate) async fn limit_statements(db: &mut PgConnection, time_max: Duration, here: bool) -> Result<()> {
    sqlx::query("select set_config('statement_timeout', $1, $2)")
        .bind(time_max.as_millis().to_string())
        .bind(here)
        .execute(db)
        .await?;
    Ok(())
}

/// Whether a statement was ended because it took longer.
pub(crate) fn took_too_long(error: &sqlx::Error) -> bool {
    const QUERY_CANCELED: &str = "57014";
    matches!(error, sqlx::Error::Database(refusal) if refusal.code().as_deref() == Some(QUERY_CANCELED))
}

/// Streams with published rows older than this, and the number up to which they may be deleted.
///
/// Numbers that were overtaken and are not decided yet hold it back: what appears among them may still be unsent.
pub(crate) async fn prunable(db: &mut PgConnection, older_than: Duration) -> Result<Vec<Number>> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select s.stream, least(old.last_seq, undecided.lowest - 1)
           from outbox_stream s
           join (select stream, max(last_seq) as last_seq from outbox_receipt
                  where published_at < now() - $1 * interval '1 microsecond' group by stream) old on old.stream = s.stream
          cross join (select min(lower(missing)) as lowest from outbox_overtaken) undecided
          where least(old.last_seq, undecided.lowest - 1) > s.pruned_seq
            and s.sent_seq <= outbox_newest()",
    )
    .bind(i64::try_from(older_than.as_micros()).unwrap_or(i64::MAX))
    .fetch_all(db)
    .await?;
    Ok(numbers(rows))
}

/// Each stream's number up to which everything was published longer ago than this, and the number from which on some are
/// not decided yet.
pub(crate) async fn old_enough(db: &mut PgConnection, than: Duration) -> Result<Vec<(String, Seq, Option<Seq>)>> {
    sqlx::query_as(
        "select s.stream, greatest(old.last_seq, s.pruned_seq), undecided.lowest
           from outbox_stream s
          cross join lateral (select max(last_seq) as last_seq from outbox_receipt r
                               where r.stream = s.stream and published_at <= now() - $1 * interval '1 microsecond') old
          cross join (select min(lower(missing)) as lowest from outbox_overtaken) undecided",
    )
    .bind(i64::try_from(than.as_micros()).unwrap_or(i64::MAX))
    .fetch_all(db)
    .await
}

/// Deletes the oldest published rows of a stream, some at a time. Returns how many; fewer than `rows_max`: that was all. If its
/// statements take longer than this together, nothing is deleted.
pub(crate) async fn prune(db: &mut PgConnection, upto: &Number, rows_max: i64, time_max: Duration) -> Result<i64> {
    let mut tx = db.begin().await?;
    let left = Left { until: Instant::now() + time_max };
    left.bound(&mut tx).await?;
    // The stream's row is the lock: of two prunes one leaves it to the other, and a loss is written down before or after.
    let free: Option<(i64, i64)> =
        sqlx::query_as("select pruned_seq, sent_seq from outbox_stream where stream = $1 for update skip locked")
            .bind(&upto.stream)
            .fetch_optional(&mut *tx)
            .await?;
    let Some((pruned_seq, sent_seq)) = free else { return Ok(0) };
    let last = upto.seq.min(sent_seq);
    left.bound(&mut tx).await?;
    // A row that somebody has locked stays for another time, and what is above it with it: "pruned" has no holes.
    let (found, reached): (i64, Option<i64>) = sqlx::query_as(
        "with old as (
             select seq from outbox
              where stream = $1 and seq > $2 and seq <= $3 and due_at is null
              order by seq
              limit $4
         ), free as (
             select o.seq from outbox o join old on old.seq = o.seq where o.stream = $1 for update of o skip locked
         ), reach as (
             select coalesce((select min(seq) - 1 from old where not exists (select from free where free.seq = old.seq)),
                             (select max(seq) from old)) as seq
         ), gone as (
             delete from outbox o using free, reach
              where o.stream = $1 and o.seq = free.seq and o.seq <= reach.seq and o.due_at is null
             returning 1
         )
         select count(*), (select seq from reach) from gone",
    )
    .bind(&upto.stream)
    .bind(pruned_seq)
    .bind(last)
    .bind(rows_max)
    .fetch_one(&mut *tx)
    .await?;
    let reached = reached.unwrap_or(last); // nothing is left below
    left.bound(&mut tx).await?;
    sqlx::query("update outbox_stream set pruned_seq = greatest(pruned_seq, $2) where stream = $1")
        .bind(&upto.stream)
        .bind(reached)
        .execute(&mut *tx)
        .await?;
    left.bound(&mut tx).await?;
    sqlx::query("delete from outbox_receipt where stream = $1 and last_seq <= $2")
        .bind(&upto.stream)
        .bind(reached)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(found)
}
