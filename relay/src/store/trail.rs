//! Where one event is: its row, what stands on lanes for replays, and the letters that groups left of it.

use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use utoipa::ToSchema;

use super::Result;
use super::people::utc;
use crate::Seq;

/// So many rows, and so many letters, are told of one event.
const TOLD_MAX: i64 = 100;

/// A row of the event: its own, or one that replays it for a group.
#[derive(Debug, Clone, Serialize, FromRow, ToSchema)]
pub(crate) struct RowTrail {
    pub(crate) stream: String,
    pub(crate) seq: i64,
    /// The number of its entry, if it is or was sent.
    pub(crate) entry: String,
    pub(crate) r#type: String,
    pub(crate) key: Option<String>,
    pub(crate) created_at: String,
    /// `unsent`, `sent`, `held` or `dead`.
    pub(crate) state: String,
    pub(crate) sent_at: Option<String>,
    pub(crate) due_at: Option<String>,
    pub(crate) attempts: i32,
    pub(crate) last_error: Option<String>,
    /// The W3C trace context that its producer gave it.
    pub(crate) traceparent: Option<String>,
}

/// A letter that a group left of the event.
#[derive(Debug, Clone, Serialize, FromRow, ToSchema)]
pub(crate) struct LetterTrail {
    pub(crate) stream: String,
    pub(crate) group_name: String,
    pub(crate) entry: String,
    pub(crate) attempts: i32,
    pub(crate) reason: String,
    pub(crate) buried_at: String,
    pub(crate) replayed_at: Option<String>,
    pub(crate) dropped_at: Option<String>,
}

/// The rows of an event, by its id: its own first, then those that replay it.
pub(crate) async fn rows(db: &mut PgConnection, id: &str) -> Result<Vec<RowTrail>> {
    let [created_at, sent_at, due_at] = ["o.created_at", "b.published_at", "o.due_at"].map(utc);
    sqlx::query_as(AssertSqlSafe(format!(
        "select o.stream::text, o.seq, coalesce(s.generation, 1) || '-' || o.seq as entry, o.type::text, o.key::text, {created_at} as created_at,
                case when o.dead_at is not null then 'dead' when o.due_at is not null then 'held'
                     when o.seq <= s.sent_seq and not exists (select from outbox_overtaken g where g.missing @> o.seq) then 'sent'
                     else 'unsent' end as state,
                {sent_at} as sent_at, case when isfinite(o.due_at) then {due_at} end as due_at,
                o.attempts::integer, o.last_error, o.headers ->> 'traceparent' as traceparent
           from (select o.*, 0 as nth from outbox o where o.id = $1
                 union all
                 select o.*, 1 from outbox_stream_names n
                  cross join lateral (select * from outbox o where o.stream = n.stream offset 0) o
                  where n.stream like '%:replay' and o.headers ->> 'outbox-id' = $1) o
           left join (select stream, generation, sent_seq from outbox_stream) s on s.stream = o.stream
           left join lateral (select published_at from outbox_receipt b
                               where b.stream = o.stream and b.last_seq >= o.seq and b.first_seq <= o.seq
                               order by b.last_seq limit 1) b on o.due_at is null
          order by o.nth, o.seq
          limit {TOLD_MAX}"
    )))
    .bind(id)
    .fetch_all(db)
    .await
}

/// The id of the event whose row or entry has this number, or whose letter a group left under it. Of a row that replays an event
/// it is that event's.
pub(crate) async fn id_of(
    db: &mut PgConnection,
    entry: &str,
    number: Option<(Option<i64>, Seq)>,
) -> Result<Option<String>> {
    let Some((generation, seq)) = number else { return Ok(None) };
    sqlx::query_scalar(
        "select id from (
             (select case when n.stream like '%:replay' then coalesce(o.headers ->> 'outbox-id', o.id) else o.id end as id
                from outbox_stream_names n
               cross join lateral (select id, headers from outbox o where o.stream = n.stream and o.seq = $1 offset 0) o
                left join outbox_stream s on s.stream = n.stream
               where $2::bigint is null or s.generation = $2
               limit 1)
             union all
             (select id from outbox_dead_letter where id is not null and (entry = $3 or origin = $3) order by no desc limit 1)
         ) named limit 1",
    )
    .bind(seq)
    .bind(generation)
    .bind(entry)
    .fetch_optional(db)
    .await
}

/// The letters of an event, the newest first.
pub(crate) async fn letters(db: &mut PgConnection, id: &str) -> Result<Vec<LetterTrail>> {
    let [buried_at, replayed_at, dropped_at] = ["buried_at", "replayed_at", "dropped_at"].map(utc);
    sqlx::query_as(AssertSqlSafe(format!(
        "select stream, group_name, entry, attempts, reason, {buried_at} as buried_at, {replayed_at} as replayed_at,
                {dropped_at} as dropped_at
           from outbox_dead_letter where id = $1 order by no desc limit {TOLD_MAX}"
    )))
    .bind(id)
    .fetch_all(db)
    .await
}
