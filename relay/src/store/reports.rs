//! What is written down for people, for retention, and for the day on which Redis loses something.

use std::time::Duration;

use sqlx::{Connection, PgConnection};

use super::Result;
use crate::Seq;

/// What is written down of a lane.
#[derive(Debug)]
pub(crate) struct LaneReport {
    pub(crate) stream: String,
    pub(crate) top: Seq,
    /// How many entries this relay sent since its last report, if the report before was its own.
    pub(crate) entries: Option<i64>,
}

/// What is written down of a group.
#[derive(Debug)]
pub(crate) struct GroupReport {
    pub(crate) stream: String,
    pub(crate) name: String,
    /// None: in a generation that is over, of which the numbers say nothing; what was written down stays.
    pub(crate) delivered_seq: Option<Seq>,
    pub(crate) settled_seq: Option<Seq>,
    pub(crate) pending: i64,
    pub(crate) consumers: i64,
}

/// Where a group goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupPosition {
    pub(crate) name: String,
    pub(crate) settled_seq: Seq,
}

/// Takes or keeps the lease for so long, and writes the frontier down. `false`: another relay works, unless `anyway`.
pub(crate) async fn lease(
    db: &mut PgConnection,
    holder: &str,
    lease: Duration,
    anyway: bool,
    frontier: Seq,
) -> Result<bool> {
    let done = sqlx::query(
        "update outbox_relay
            set holder = $1, lease_until = clock_timestamp() + $2 * interval '1 microsecond',
                frontier = greatest(frontier, $4)
          where $3 or holder is null or holder = $1 or lease_until < clock_timestamp()",
    )
    .bind(holder)
    .bind(i64::try_from(lease.as_micros()).unwrap_or(i64::MAX))
    .bind(anyway)
    .bind(frontier)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Lets another relay take over at once.
pub(crate) async fn end_lease(db: &mut PgConnection, holder: &str) -> Result<()> {
    sqlx::query("update outbox_relay set holder = null, lease_until = clock_timestamp() where holder = $1")
        .bind(holder)
        .execute(db)
        .await?;
    Ok(())
}

/// Writes down how far lanes have come: a receipt each, joined to the one before. Returns the streams that are written down;
/// one whose row somebody has locked is not.
pub(crate) async fn report(db: &mut PgConnection, lanes: &[LaneReport]) -> Result<Vec<String>> {
    // Where the row before was not ours we do not know how many entries lie in between, and count the rows instead.
    sqlx::query_scalar(
        "with told as (
             select * from unnest($1::text[], $2::bigint[], $3::bigint[]) as told(stream, top, entries)
         ), before as (
             select stream, sent_seq from outbox_stream where stream = any($1) order by stream for update skip locked
         ), moved as (
             update outbox_stream s set sent_seq = told.top, sent_at = clock_timestamp()
               from told join before on before.stream = told.stream
              where s.stream = told.stream and told.top > before.sent_seq
             returning s.stream, before.sent_seq + 1 as first_seq, told.top as last_seq, told.entries
         ), receipt as (
             insert into outbox_receipt (stream, first_seq, last_seq, entries, published_at)
             select stream, first_seq, last_seq,
                    coalesce(entries, (select count(*) from outbox o
                                        where o.stream = moved.stream and o.seq between first_seq and last_seq
                                          and o.due_at is null)),
                    clock_timestamp()
               from moved
         )
         select stream from before",
    )
    .bind(lanes.iter().map(|lane| &*lane.stream).collect::<Vec<_>>())
    .bind(lanes.iter().map(|lane| lane.top).collect::<Vec<_>>())
    .bind(lanes.iter().map(|lane| lane.entries).collect::<Vec<_>>())
    .fetch_all(db)
    .await
}

/// Redis has less than was written down: takes the receipts of what it lost back. Returns up to where retention has
/// deleted rows, which nobody can send again; none: somebody has the stream's row locked.
pub(crate) async fn cut_back(db: &mut PgConnection, stream: &str, top: Seq) -> Result<Option<Seq>> {
    let mut tx = db.begin().await?;
    let pruned: Option<i64> =
        sqlx::query_scalar("select pruned_seq from outbox_stream where stream = $1 for update skip locked")
            .bind(stream)
            .fetch_optional(&mut *tx)
            .await?;
    let Some(pruned) = pruned else { return Ok(None) };
    let top = top.max(pruned);
    for statement in [
        "delete from outbox_receipt where stream = $1 and first_seq > $2",
        "update outbox_receipt set last_seq = $2 where stream = $1 and last_seq > $2",
        "update outbox_stream set sent_seq = $2 where stream = $1 and sent_seq > $2",
    ] {
        sqlx::query(statement).bind(stream).bind(top).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(Some(pruned))
}

/// Begins the next generation of a stream, unless another relay has: what lies above this number goes under it.
pub(crate) async fn part(db: &mut PgConnection, stream: &str, generation: u64, after: Seq) -> Result<()> {
    let mut tx = db.begin().await?;
    for statement in [
        "delete from outbox_receipt where stream = $1 and first_seq > $2",
        "update outbox_receipt set last_seq = $2 where stream = $1 and last_seq > $2",
        "update outbox_group set settled_seq = least(settled_seq, $2), delivered_seq = least(delivered_seq, $2)
          where stream = $1",
    ] {
        sqlx::query(statement).bind(stream).bind(after).execute(&mut *tx).await?;
    }
    sqlx::query(
        "update outbox_stream set generation = generation + 1, sent_seq = greatest($2, pruned_seq)
          where stream = $1 and generation = $3",
    )
    .bind(stream)
    .bind(after)
    .bind(generation.cast_signed())
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

/// Writes down where the groups of these streams are, and forgets those that are no longer there. A group whose row somebody
/// has locked comes with a later report. `false`: somebody else holds the lease by now, and nothing was written.
pub(crate) async fn report_groups(
    db: &mut PgConnection,
    holder: Option<&str>,
    streams: &[String],
    groups: &[GroupReport],
) -> Result<bool> {
    sqlx::query_scalar(
        "with ours as (
             select from outbox_relay where $8::text is null or (holder = $8 and lease_until > clock_timestamp())
         ), g as (
             select * from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
                           as g(stream, name, delivered, settled, pending, consumers)
              where exists (select from ours)
         ), free as (
             select stream, name from outbox_group where stream = any($7) and exists (select from ours)
                for update skip locked
         ), gone as (
             delete from outbox_group o using free
              where o.stream = free.stream and o.name = free.name
                and not exists (select from g where g.stream = o.stream and g.name = o.name)
         ), known as (
             update outbox_group o
                set delivered_seq = coalesce(g.delivered, o.delivered_seq), settled_seq = coalesce(g.settled, o.settled_seq),
                    pending = g.pending, consumers = g.consumers, seen_at = clock_timestamp()
               from g join free on free.stream = g.stream and free.name = g.name
              where o.stream = g.stream and o.name = g.name
         ), new as (
             insert into outbox_group (stream, name, delivered_seq, settled_seq, pending, consumers, seen_at)
             select stream, name, coalesce(delivered, 0), coalesce(settled, 0), pending, consumers, clock_timestamp()
               from g
              where not exists (select from outbox_group o where o.stream = g.stream and o.name = g.name)
             on conflict do nothing
         )
         select exists (select from ours)",
    )
    .bind(groups.iter().map(|group| &*group.stream).collect::<Vec<_>>())
    .bind(groups.iter().map(|group| &*group.name).collect::<Vec<_>>())
    .bind(groups.iter().map(|group| group.delivered_seq).collect::<Vec<_>>())
    .bind(groups.iter().map(|group| group.settled_seq).collect::<Vec<_>>())
    .bind(groups.iter().map(|group| group.pending).collect::<Vec<_>>())
    .bind(groups.iter().map(|group| group.consumers).collect::<Vec<_>>())
    .bind(streams)
    .bind(holder)
    .fetch_one(db)
    .await
}

/// Where the groups of a stream were when that was last written down.
pub(crate) async fn group_positions(db: &mut PgConnection, stream: &str) -> Result<Vec<GroupPosition>> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("select name, settled_seq from outbox_group where stream = $1 order by name")
            .bind(stream)
            .fetch_all(db)
            .await?;
    Ok(rows.into_iter().map(|(name, settled_seq)| GroupPosition { name, settled_seq }).collect())
}
