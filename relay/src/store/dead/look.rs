//! Looking at dead letters: a page of them, how many they are, and in whose payloads something is found.

use sqlx::{FromRow, PgConnection, Row as _};

use super::super::Result;
use super::{Cursor, DeadLetter, Filter, about};

/// So many rounds of a letter that was replayed in vain are shown.
const ROUNDS_MAX: i64 = 10;
/// Letters of the relay bear no number of their own, and come before those of groups that were buried at the same time.
const NO_NUMBER: i64 = i64::MAX;

/// The newest dead letters first, or those behind a cursor. `whole`: with their payloads and all that is known of them.
pub(crate) async fn list(
    db: &mut PgConnection,
    filter: &Filter,
    behind: Option<&Cursor>,
    rows_max: i64,
    whole: bool,
) -> Result<Vec<DeadLetter>> {
    // Each kind brings its own page, the newest first: so few are made ready to be shown, however many there are.
    let rows = about(
        r#"with letter as (
             (select null::bigint as no, $12::bigint as place, null::text as group_name, id::text, stream::text, null::text as lane,
                     seq::text as entry, type::text, key::text, ver::integer, attempts::integer, last_error, 0 as replays,
                     created_at, dead_at, payload::text, headers::text, null::text as failures, null::text as consumer,
                     null::text as handler, null::text as fields
                from outbox
               where due_at = 'infinity'
                 and ($1 = '{}' or id = any($1)) and ($2::text is null or stream = $2)
                 and ($3::text is null or type = $3) and $4::text is null
                 and ($5::text is null or position(lower($5) in lower(concat_ws(chr(10), id, key, last_error))) > 0
                      or $6::text[] is null and position(lower($5) in lower(payload::text)) > 0
                      or id = any($6))
                 and ($9::bigint is null
                      or (dead_at, $12, seq::text) < (timestamptz 'epoch' + $9 * interval '1 microsecond', $10, $11))
               order by dead_at desc, seq::text desc
               limit $7)
             union all
             (select no, no, group_name, coalesce(id, 'letter-' || no), stream, nullif(lane, stream),
                     entry, type, key, ver, attempts, reason, replays,
                     time, buried_at, payload, headers::text, failures::text, consumer,
                     handler, case when id is null then fields::text end
                from outbox_dead_letter
               where replayed_at is null and dropped_at is null
                 and ($1 = '{}' or coalesce(id, 'letter-' || no) = any($1)) and ($2::text is null or stream = $2)
                 and ($3::text is null or type = $3) and ($4::text is null or group_name = $4)
                 and ($5::text is null or position(lower($5) in lower(concat_ws(chr(10), coalesce(id, 'letter-' || no), key, reason))) > 0
                      or $6::text[] is null and position(lower($5) in lower(payload)) > 0
                      or coalesce(id, 'letter-' || no) = any($6))
                 and ($9::bigint is null
                      or (buried_at, no, entry) < (timestamptz 'epoch' + $9 * interval '1 microsecond', $10, $11))
               order by buried_at desc, no desc
               limit $7)
         )
         select (extract(epoch from dead_at) * 1000000)::bigint || '.' || place || '.' || entry as cursor,
                id, stream, group_name, entry, type, key, ver, attempts, last_error, replays,
                to_char(created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as created_at,
                to_char(dead_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as dead_at,
                case when $8 then lane end as lane, case when $8 then payload end as payload,
                case when $8 then headers end as headers, case when $8 then failures end as failures,
                case when $8 then consumer end as consumer, case when $8 then handler end as handler,
                case when $8 then fields end as fields,
                case when $8 then (
                    select json_agg(json_build_object(
                               'replays', replays, 'entry', entry, 'attempts', attempts, 'reason', reason, 'failures', failures,
                               'replayed_at', to_char(replayed_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')))
                      from (select * from outbox_dead_letter e
                             where e.id = letter.id and e.stream = letter.stream and e.group_name = letter.group_name
                               and e.no < letter.no and e.replayed_at is not null
                             order by e.no desc limit $13) round)::text end as earlier
           from letter
          order by letter.dead_at desc, place desc, letter.entry desc
          limit $7"#,
        filter,
    )
    .bind(rows_max)
    .bind(whole)
    .bind(behind.map(|cursor| cursor.dead_us))
    .bind(behind.map(|cursor| cursor.no))
    .bind(behind.map(|cursor| cursor.entry.as_str()))
    .bind(NO_NUMBER)
    .bind(ROUNDS_MAX)
    .fetch_all(db)
    .await?;
    rows.iter().map(DeadLetter::from_row).collect()
}

pub(crate) async fn count(db: &mut PgConnection, filter: &Filter) -> Result<i64> {
    let row = about(
        "with letter as (
             select id::text, null::text as group_name, stream::text, type::text, key::text, last_error, payload::text
               from outbox
              where due_at = 'infinity'
             union all
             select coalesce(id, 'letter-' || no), group_name, stream, type, key, reason, payload
               from outbox_dead_letter
              where replayed_at is null and dropped_at is null
         )
         select count(*) from letter
          where ($1 = '{}' or id = any($1)) and ($2::text is null or stream = $2)
            and ($3::text is null or type = $3) and ($4::text is null or group_name = $4)
            and ($5::text is null or position(lower($5) in lower(concat_ws(chr(10), id, key, last_error))) > 0
                 or $6::text[] is null and position(lower($5) in lower(payload)) > 0
                 or id = any($6))",
        filter,
    )
    .fetch_one(db)
    .await?;
    row.try_get(0)
}

/// Letters of which only the payload holds what is searched for: the newest, at most so many and of so many bytes together,
/// each with its type and payload.
pub(crate) async fn found_in_payload(
    db: &mut PgConnection,
    filter: &Filter,
    rows_max: i64,
    bytes_max: i64,
) -> Result<Vec<(String, Option<String>, String)>> {
    let rows = about(
        "with letter as (
             select null::bigint as no, null::text as group_name, id::text, stream::text, type::text, key::text, last_error,
                    dead_at, payload::text
               from outbox
              where due_at = 'infinity'
             union all
             select no, group_name, coalesce(id, 'letter-' || no), stream, type, key, reason, buried_at, payload
               from outbox_dead_letter
              where replayed_at is null and dropped_at is null
         ), found as (
             select id, type, payload, dead_at,
                    sum(octet_length(payload)) over (order by dead_at desc, id, no) as bytes
               from letter
              where ($1 = '{}' or id = any($1)) and ($2::text is null or stream = $2)
                and ($3::text is null or type = $3) and ($4::text is null or group_name = $4)
                and position(lower($5) in lower(concat_ws(chr(10), id, key, last_error))) = 0
                and position(lower($5) in lower(payload)) > 0
                and ($6::text[] is null or id = any($6))
         )
         select id, type, payload from found
          where bytes <= $8
          order by dead_at desc
          limit $7",
        filter,
    )
    .bind(rows_max)
    .bind(bytes_max)
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
}
