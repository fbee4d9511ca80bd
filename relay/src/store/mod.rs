//! Every SQL statement of the relay, one a function, named by what it means. Here: what the lanes read. Beside it: what waits,
//! what is written down, what is deleted, and what people ask.

mod check;
pub(crate) mod compare;
pub(crate) mod dead;
pub(crate) mod doctor;
mod letters;
pub(crate) mod pause;
pub(crate) mod people;
pub(crate) mod replay;
mod reports;
mod retention;
pub(crate) mod trail;
mod waiting;

pub(crate) use check::{check, tables};
pub(crate) use letters::{forget_consumers, forget_letters, keep_letters, report_consumers};
pub(crate) use reports::{
    GroupPosition, GroupReport, LaneReport, cut_back, end_lease, group_positions, lease, part, report, report_groups,
};
pub(crate) use retention::{limit_statements, old_enough, prunable, prune, took_too_long};
pub(crate) use waiting::{
    Overtaken, appeared, appeared_elsewhere, bury, can_be_buried, count_attempt, due, held, leave_behind, next_due,
    overtake, overtaken, release, settle_overtaken, was_sent,
};

use std::num::{NonZeroU16, NonZeroU32};
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use outbox::Envelope;
use sqlx::postgres::{PgRow, PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::{AssertSqlSafe, Decode, PgConnection, Postgres, Row as _, Type};

use crate::Seq;
use crate::frontier::Mark;

type Result<T> = std::result::Result<T, sqlx::Error>;

/// The numbers that were overtaken. What appears among them is never sent under its number: it gets a new one (`release`).
const OVERTAKEN: &str = "range_agg(missing) from outbox_overtaken where highest >";

/// How far a stream had come when that was last written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) stream: String,
    pub(crate) generation: u64,
    pub(crate) sent_seq: Seq,
    /// Nothing is to be sent to it.
    pub(crate) paused: bool,
}

/// A row that is to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Which of the lanes that were asked for.
    pub(crate) lane: usize,
    pub(crate) seq: Seq,
    pub(crate) envelope: Envelope,
}

/// A row by its number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Number {
    pub(crate) stream: String,
    pub(crate) seq: Seq,
}

/// The frontier's two readings.
pub(crate) async fn mark(db: &mut PgConnection) -> Result<Mark> {
    let (last, writers): (i64, Vec<String>) =
        sqlx::query_as("select last, writers from outbox_mark()").fetch_one(db).await?;
    Ok(Mark { last, writers: writers.into_iter().collect() })
}

/// How far the past was final when that was last written down.
pub(crate) async fn frontier(db: &mut PgConnection) -> Result<Seq> {
    // Where numbers began again (truncate ... restart identity), nothing is final yet.
    sqlx::query("update outbox_relay set frontier = 0 where frontier > outbox_newest()").execute(&mut *db).await?;
    sqlx::query_scalar("select frontier from outbox_relay").fetch_one(db).await
}

/// Every stream that has rows or was ever sent to, and up to which change pauses are told. One that is new is written down
/// first: before anything is sent to it.
pub(crate) async fn checkpoints(db: &mut PgConnection) -> Result<(Vec<Checkpoint>, i64)> {
    sqlx::query(
        "insert into outbox_stream (stream)
         select stream from outbox_stream_names n where not exists (select from outbox_stream s where s.stream = n.stream)
         on conflict do nothing",
    )
    .execute(&mut *db)
    .await?;
    /// The number of the newest change, and a stream, if there is any.
    type Known = (i64, Option<String>, Option<i64>, Option<i64>, bool);
    let rows: Vec<Known> = sqlx::query_as(
        "select r.changes, s.stream, s.generation, s.sent_seq, coalesce(s.paused_at, r.paused_at) is not null
           from outbox_relay r left join outbox_stream s on true",
    )
    .fetch_all(db)
    .await?;
    let changes = rows.first().map_or(0, |(changes, ..)| *changes);
    let checkpoint =
        |(_, stream, generation, sent_seq, paused): (_, Option<String>, Option<i64>, Option<i64>, bool)| {
            Some(Checkpoint { stream: stream?, generation: generation?.unsigned_abs(), sent_seq: sent_seq?, paused })
        };
    Ok((rows.into_iter().filter_map(checkpoint).collect(), changes))
}

/// The next rows of every lane, oldest first, up to the frontier. `true`: there may be more.
///
/// The answer ends early once it holds `bytes_max`; Postgres's further rows are thrown away, so memory stays bounded.
pub(crate) async fn rows(
    db: &mut PgConnection,
    lanes: &[(String, Seq)],
    frontier: Seq,
    rows_max: NonZeroU16,
    bytes_max: NonZeroU32,
) -> Result<(Vec<Row>, bool)> {
    let (streams, cursors): (Vec<&str>, Vec<Seq>) =
        lanes.iter().map(|(stream, cursor)| (stream.as_str(), *cursor)).unzip();
    let lowest = lanes.iter().map(|(_, cursor)| *cursor).min().unwrap_or_default();
    // A literal limit plans better than a bound one. There is no outer sort: lateral makes it a nested loop, lane by lane.
    let statement = format!(
        "select lane.nth, r.seq, r.id, r.type, r.ver, r.key, r.created_at, r.payload, r.headers
           from unnest($1::text[], $2::bigint[]) with ordinality as lane(stream, cursor, nth)
          cross join lateral (
                select seq, id, type, ver, key, created_at, payload,
                       case when headers <> '{{}}' then headers::text end as headers
                  from outbox
                 where stream = lane.stream and seq > lane.cursor and seq <= $3 and due_at is null
                   and (select {OVERTAKEN} $4) @> seq is not true
                 order by seq
                 limit {rows_max}
                ) r
          limit {rows_max}"
    );
    let mut found =
        sqlx::query(AssertSqlSafe(statement)).bind(streams).bind(cursors).bind(frontier).bind(lowest).fetch(db);
    let (mut rows, mut bytes) = (Vec::with_capacity(usize::from(rows_max.get())), 0);
    while let Some(row) = found.try_next().await? {
        let lane = usize::try_from(row.try_get::<i64, _>(0)? - 1).expect("lanes are numbered from 1");
        let row = Row { lane, seq: row.try_get(1)?, envelope: envelope(&row, 2)? };
        bytes += row.envelope.bytes();
        rows.push(row);
        if bytes >= bytes_max.get() as usize {
            return Ok((rows, true));
        }
    }
    let more = rows.len() == usize::from(rows_max.get());
    Ok((rows, more))
}

/// What Postgres says of some entries of a stream.
pub(crate) struct Told {
    /// Those that it has a row for, with the event's id.
    pub(crate) rows: Vec<(Seq, String)>,
    /// Up to here it knows that it was sent.
    pub(crate) sent: Seq,
    /// Up to here retention has deleted rows.
    pub(crate) pruned: Seq,
}

pub(crate) async fn told(db: &mut PgConnection, stream: &str, seqs: &[Seq]) -> Result<Told> {
    let rows = sqlx::query_as("select seq, id::text from outbox where stream = $1 and seq = any($2)")
        .bind(stream)
        .bind(seqs)
        .fetch_all(&mut *db)
        .await?;
    let known: Option<(i64, i64)> =
        sqlx::query_as("select sent_seq, pruned_seq from outbox_stream where stream = $1")
            .bind(stream)
            .fetch_optional(db)
            .await?;
    let (sent, pruned) = known.unwrap_or_default();
    Ok(Told { rows, sent, pruned })
}

/// The columns id, type, ver, key, created_at, payload, headers, from the given one on.
fn envelope(row: &PgRow, first: usize) -> Result<Envelope> {
    Ok(Envelope::new(
        row.try_get(first)?,
        row.try_get(first + 1)?,
        row.try_get::<i32, _>(first + 2)?.unsigned_abs(),
        row.try_get(first + 3)?,
        row.try_get::<Time, _>(first + 4)?.0,
        // json travels as its own text, whatever its type is called
        row.try_get_unchecked(first + 5)?,
        row.try_get(first + 6)?,
    ))
}

/// A timestamptz. Times that no calendar of ours reaches, infinity among them, become the furthest that one does.
struct Time(SystemTime);

impl Type<Postgres> for Time {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("timestamptz")
    }
}

impl<'r> Decode<'r, Postgres> for Time {
    fn decode(value: PgValueRef<'r>) -> std::result::Result<Self, sqlx::error::BoxDynError> {
        const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;
        const FURTHEST_US: i64 = 253_402_300_799_000_000; // the last second of the year 9999
        if value.format() != PgValueFormat::Binary {
            return Err("a timestamp came as text".into());
        }
        let since_2000 = i64::from_be_bytes(value.as_bytes()?.try_into()?);
        let us = since_2000.saturating_add(POSTGRES_EPOCH_US).clamp(0, FURTHEST_US);
        Ok(Self(SystemTime::UNIX_EPOCH + Duration::from_micros(us.unsigned_abs())))
    }
}

/// A lane's oldest row that is neither sent nor held, with the attempts it has had.
pub(crate) async fn first_unsent(
    db: &mut PgConnection,
    stream: &str,
    above: Seq,
    upto: Seq,
) -> Result<Option<(Row, i32)>> {
    let row = sqlx::query(AssertSqlSafe(format!(
        "select seq, attempts, id, type, ver, key, created_at, payload, nullif(headers, '{{}}')::text
           from outbox
          where stream = $1 and seq > $2 and seq <= $3 and due_at is null
            and (select {OVERTAKEN} $2) @> seq is not true
          order by seq
          limit 1"
    )))
    .bind(stream)
    .bind(above)
    .bind(upto)
    .fetch_optional(db)
    .await?;
    row.map(|row| Ok((Row { lane: 0, seq: row.try_get(0)?, envelope: envelope(&row, 2)? }, row.try_get(1)?)))
        .transpose()
}

/// Until that many seconds from now inserts ring; 0: they do not.
pub(crate) async fn set_doorbell(db: &mut PgConnection, seconds: i64) -> Result<()> {
    sqlx::query(
        "select setval('outbox_doorbell', case when $1 > 0 then extract(epoch from clock_timestamp())::bigint + $1 else 0 end)",
    )
    .bind(seconds)
    .execute(db)
    .await?;
    Ok(())
}

fn numbers(rows: Vec<(String, i64)>) -> Vec<Number> {
    rows.into_iter().map(|(stream, seq)| Number { stream, seq }).collect()
}

fn columns(rows: &[Number]) -> (Vec<&str>, Vec<Seq>) {
    rows.iter().map(|row| (row.stream.as_str(), row.seq)).unzip()
}
