//! Rows that wait, and numbers that were overtaken.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::{Connection, PgConnection};

use super::{Number, Result, columns, numbers};
use crate::Seq;
use crate::frontier::Overtaking;

/// Numbers that were overtaken, and by whom they were held.
#[derive(Debug, Clone)]
pub(crate) struct Overtaken {
    /// Its rows. Another relay may add one with a lower number that is committed later, so "up to" would not do.
    pub(crate) rows: Vec<i64>,
    pub(crate) missing: String,
    pub(crate) writers: BTreeSet<String>,
}

/// Counts a refusal, unless another relay has counted meanwhile, or somebody has the row locked.
pub(crate) async fn count_attempt(db: &mut PgConnection, row: &Number, attempts: i32, why: &str) -> Result<bool> {
    let done = sqlx::query(
        "update outbox set attempts = attempts + 1, last_error = $4
          where stream = $1 and seq = $2 and attempts = $3 and due_at is null
            and exists (select from outbox where stream = $1 and seq = $2 for update skip locked)",
    )
    .bind(&row.stream)
    .bind(row.seq)
    .bind(attempts)
    .bind(reason(why))
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Sets a row aside for a person. `false`: another relay has, or somebody has the row locked.
pub(crate) async fn bury(db: &mut PgConnection, row: &Number, why: &str) -> Result<bool> {
    let done = sqlx::query(
        "update outbox set attempts = attempts + 1, last_error = $3, dead_at = clock_timestamp(), due_at = 'infinity'
          where stream = $1 and seq = $2 and due_at is null
            and exists (select from outbox where stream = $1 and seq = $2 for update skip locked)",
    )
    .bind(&row.stream)
    .bind(row.seq)
    .bind(reason(why))
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether a row that is to be set aside can be. None: it is not there any more, or somebody has set it aside.
pub(crate) async fn can_be_buried(db: &mut PgConnection, row: &Number) -> Result<Option<bool>> {
    sqlx::query_scalar(
        "select exists (select from outbox where stream = $1 and seq = $2 and due_at is null for update skip locked)
           from outbox
          where stream = $1 and seq = $2 and due_at is null",
    )
    .bind(&row.stream)
    .bind(row.seq)
    .fetch_optional(db)
    .await
}

/// Redis has gone past a row that is neither sent nor set aside: its number counts as overtaken, by nobody who is still at
/// work. So no restart forgets the row, and retention leaves it alone.
pub(crate) async fn leave_behind(db: &mut PgConnection, row: &Number) -> Result<()> {
    sqlx::query(
        "insert into outbox_overtaken (lowest, highest, missing, writers)
         values ($1, $1, int8multirange(int8range($1, $1, '[]')), '{}')",
    )
    .bind(row.seq)
    .execute(db)
    .await?;
    Ok(())
}

/// A reason is kept to 500 characters, and without what Postgres cannot store.
fn reason(why: &str) -> String {
    why.chars().filter(|c| *c != '\0').take(500).collect()
}

/// Held rows of these streams whose time has come, but for those that somebody has locked, in the order in which they are to
/// leave. `now()`, since an index is not searched for a `clock_timestamp()` that changes from row to row.
pub(crate) async fn due(db: &mut PgConnection, streams: &[String], rows_max: i64) -> Result<Vec<Number>> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select stream, seq from outbox
          where due_at <= now() and stream = any($1)
          order by due_at, seq
          limit $2
            for update skip locked",
    )
    .bind(streams)
    .bind(rows_max)
    .fetch_all(db)
    .await?;
    Ok(numbers(rows))
}

/// Rows of a stream that are held and were not always: what was buried, and what is replayed.
pub(crate) async fn held(db: &mut PgConnection, stream: &str, above: Seq, upto: Seq) -> Result<Vec<Number>> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select stream, seq from outbox
          where stream = $1 and seq > $2 and seq <= $3 and due_at is not null and last_error is not null",
    )
    .bind(stream)
    .bind(above)
    .bind(upto)
    .fetch_all(db)
    .await?;
    Ok(numbers(rows))
}

/// How long until the next held row of these streams is due.
pub(crate) async fn next_due(db: &mut PgConnection, streams: &[String]) -> Result<Option<Duration>> {
    let seconds: Option<f64> = sqlx::query_scalar(
        "select extract(epoch from due_at - clock_timestamp())::float8 from outbox
          where due_at < 'infinity' and stream = any($1)
          order by due_at
          limit 1",
    )
    .bind(streams)
    .fetch_optional(db)
    .await?;
    Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
}

/// Gives held rows new numbers, in this order.
pub(crate) async fn release(db: &mut PgConnection, rows: &[Number]) -> Result<i64> {
    let (streams, seqs) = columns(rows);
    sqlx::query_scalar("select outbox_release($1, $2)").bind(streams).bind(seqs).fetch_one(db).await
}

/// Held rows that were sent after all keep their number. Where retention has gone by already, they go too. One that
/// somebody else has locked is left for later.
pub(crate) async fn was_sent(db: &mut PgConnection, rows: &[Number]) -> Result<()> {
    let (streams, seqs) = columns(rows);
    sqlx::query(
        "with free as (
             select o.stream, o.seq, o.seq <= coalesce(s.pruned_seq, 0) as pruned
               from unnest($1::text[], $2::bigint[]) as sent(stream, seq)
               join outbox o on o.stream = sent.stream and o.seq = sent.seq
               left join outbox_stream s on s.stream = o.stream
                for update of o skip locked
         ), gone as (
             delete from outbox o using free where o.stream = free.stream and o.seq = free.seq and free.pruned
         )
         update outbox o set due_at = null, dead_at = null
           from free where o.stream = free.stream and o.seq = free.seq and not free.pruned",
    )
    .bind(streams)
    .bind(seqs)
    .execute(db)
    .await?;
    Ok(())
}

/// Stores which numbers are missing where the frontier is about to go past slow writers. Committed when this returns.
pub(crate) async fn overtake(db: &mut PgConnection, overtaking: &Overtaking) -> Result<()> {
    sqlx::query(
        "with seen as (
             select o.seq from outbox_stream_names n
              cross join lateral (
                    select seq from outbox where stream = n.stream and seq > $1 and seq <= $2 order by seq offset 0
                    ) o
         ), gap as (
             select int8range(lag(seq, 1, $1) over (order by seq), seq, '()') as numbers
               from (select seq from seen union all select $2 + 1) as seen
         ), missing as (
             select range_agg(numbers) as numbers from gap where not isempty(numbers)
         )
         insert into outbox_overtaken (lowest, highest, missing, writers)
         select lower(numbers), upper(numbers) - 1, numbers, $3 from missing where numbers is not null",
    )
    .bind(overtaking.from)
    .bind(overtaking.to)
    .bind(overtaking.writers.iter().collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// Everything that was overtaken and is not decided yet, one for all numbers of the same writers.
pub(crate) async fn overtaken(db: &mut PgConnection) -> Result<Vec<Overtaken>> {
    let rows: Vec<(Vec<i64>, String, Vec<String>)> = sqlx::query_as(
        "select array_agg(overtaken), range_agg(missing)::text, writers from outbox_overtaken group by writers",
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(rows, missing, writers)| Overtaken { rows, missing, writers: writers.into_iter().collect() })
        .collect())
}

/// What appeared among overtaken numbers in these streams, lowest first.
pub(crate) async fn appeared(
    db: &mut PgConnection,
    overtaken: &Overtaken,
    streams: &[String],
    rows_max: i64,
) -> Result<Vec<Number>> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select o.stream, o.seq
           from unnest($1::int8multirange) as r(gap)
          cross join outbox_stream_names n
          cross join lateral (
                select stream, seq from outbox
                 where stream = n.stream and seq >= lower(r.gap) and seq < upper(r.gap) and due_at is null
                 order by seq
                 limit $2
                ) o
          where n.stream = any($3)
          order by o.seq
          limit $2",
    )
    .bind(&overtaken.missing)
    .bind(rows_max)
    .bind(streams)
    .fetch_all(db)
    .await?;
    Ok(numbers(rows))
}

/// Whether something appeared among overtaken numbers in other streams than these.
pub(crate) async fn appeared_elsewhere(
    db: &mut PgConnection,
    overtaken: &Overtaken,
    streams: &[String],
) -> Result<bool> {
    sqlx::query_scalar(
        "select exists (
            select from unnest($1::int8multirange) as r(gap)
             cross join outbox_stream_names n
             cross join lateral (
                   select from outbox
                    where stream = n.stream and seq >= lower(r.gap) and seq < upper(r.gap) and due_at is null
                    limit 1
                   ) o
             where n.stream <> all($2))",
    )
    .bind(&overtaken.missing)
    .bind(streams)
    .fetch_one(db)
    .await
}

/// What came too late gets new numbers, and the overtaken numbers are forgotten up to the one that all is decided up to. If
/// a late row was locked by somebody else, none is. What another relay has added meanwhile stays.
pub(crate) async fn settle_overtaken(
    db: &mut PgConnection,
    overtaken: &Overtaken,
    late: &[Number],
    upto: Option<Seq>,
) -> Result<()> {
    let mut tx = db.begin().await?;
    let released = if late.is_empty() { 0 } else { release(&mut tx, late).await? };
    if let Some(upto) = upto
        && released == i64::try_from(late.len()).unwrap_or(i64::MAX)
    {
        sqlx::query("delete from outbox_overtaken where overtaken = any($1) and highest <= $2")
            .bind(&overtaken.rows)
            .bind(upto)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "update outbox_overtaken set missing = missing - int8multirange(int8range(null, $2, '(]')), lowest = $2 + 1
              where overtaken = any($1) and lowest <= $2",
        )
        .bind(&overtaken.rows)
        .bind(upto)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await
}
