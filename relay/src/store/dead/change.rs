//! What becomes of dead letters: they are sent again, or forgotten.

use sqlx::{Connection, PgConnection, Row as _};

use super::super::Result;
use super::{Filter, REPLAYS_MAX, Replayed, about, count};

/// So many letters of groups are replayed in one transaction.
const PORTION: i64 = 1_000;

/// What a replay would do.
pub(crate) async fn replayable(db: &mut PgConnection, filter: &Filter) -> Result<Replayed> {
    let all = count(db, filter).await?;
    let (no_events, looping) = left(db, filter).await?;
    Ok(Replayed { replayed: all - no_events - looping, no_events, looping })
}

/// Sends dead letters again: those of the relay to the end of their streams, those of a group on the lane that only this group
/// reads. Tells how far it has come after each portion. A relay that sleeps is woken.
pub(crate) async fn replay(
    db: &mut PgConnection,
    filter: &Filter,
    mut progress: impl FnMut(i64),
) -> Result<Replayed> {
    let mut all = Replayed { replayed: replay_unsent(db, filter).await?, ..Replayed::default() };
    loop {
        progress(all.replayed);
        let replayed = replay_of_groups(db, filter).await?;
        all.replayed += replayed;
        if replayed == 0 {
            break;
        }
    }
    (all.no_events, all.looping) = left(db, filter).await?;
    Ok(all)
}

/// How many letters no replay touches: those that are no events, and those that came back too often.
async fn left(db: &mut PgConnection, filter: &Filter) -> Result<(i64, i64)> {
    let row = about(
        "select count(*) filter (where not replayable),
                count(*) filter (where replayable and replays >= $7 and $1 = '{}')
           from outbox_dead_letter
          where replayed_at is null and dropped_at is null
            and ($1 = '{}' or coalesce(id, 'letter-' || no) = any($1)) and ($2::text is null or stream = $2)
            and ($3::text is null or type = $3) and ($4::text is null or group_name = $4)
            and ($5::text is null or position(lower($5) in lower(concat_ws(chr(10), coalesce(id, 'letter-' || no), key, reason))) > 0
                 or $6::text[] is null and position(lower($5) in lower(payload)) > 0
                 or coalesce(id, 'letter-' || no) = any($6))",
        filter,
    )
    .bind(REPLAYS_MAX)
    .fetch_one(db)
    .await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// What could not be sent is due now, all at the same time so that it keeps its order, and with fresh attempts: the relay
/// gives each a new number.
async fn replay_unsent(db: &mut PgConnection, filter: &Filter) -> Result<i64> {
    let row = about(
        "with replayed as (
             update outbox set dead_at = null, due_at = now(), attempts = 0
              where due_at = 'infinity'
                and ($1 = '{}' or id = any($1)) and ($2::text is null or stream = $2)
                and ($3::text is null or type = $3) and $4::text is null
                and ($5::text is null or position(lower($5) in lower(concat_ws(chr(10), id, key, last_error))) > 0
                     or $6::text[] is null and position(lower($5) in lower(payload::text)) > 0
                     or id = any($6))
             returning 1
         ), rung as (
             select pg_notify('outbox', current_schema()) from (select from replayed limit 1) as any_at_all
         )
         select count(*) from replayed where (select count(*) from rung) >= 0",
        filter,
    )
    .fetch_one(db)
    .await?;
    row.try_get(0)
}

/// A letter of a group becomes a row of its own, on the lane that only this group reads; its headers say what it was. In one
/// transaction with the mark that it was replayed, so two people who replay it at once replay it once.
async fn replay_of_groups(db: &mut PgConnection, filter: &Filter) -> Result<i64> {
    let mut tx = db.begin().await?;
    let row = about(
        r#"with letter as (
             select * from outbox_dead_letter
              where replayed_at is null and dropped_at is null and replayable and (replays < $7 or $1 <> '{}')
                and ($1 = '{}' or coalesce(id, 'letter-' || no) = any($1)) and ($2::text is null or stream = $2)
                and ($3::text is null or type = $3) and ($4::text is null or group_name = $4)
                and ($5::text is null or position(lower($5) in lower(concat_ws(chr(10), coalesce(id, 'letter-' || no), key, reason))) > 0
                     or $6::text[] is null and position(lower($5) in lower(payload)) > 0
                     or coalesce(id, 'letter-' || no) = any($6))
              order by no
              limit $8
                for update skip locked
         ), marked as (
             update outbox_dead_letter d set replayed_at = clock_timestamp() from letter where d.no = letter.no
         ), row as (
             insert into outbox (stream, type, key, id, ver, payload, headers)
             select stream || ':' || group_name || ':replay', type, key, outbox_new_id(), ver, payload::json,
                    coalesce(headers, '{}')
                    || jsonb_build_object('outbox-id', id, 'outbox-replays', (replays + 1)::text, 'outbox-entry', origin, 'outbox-time',
                          to_char(time at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
               from letter order by no
             returning 1
         )
         select count(*) from row"#,
        filter,
    )
    .bind(REPLAYS_MAX)
    .bind(PORTION)
    .fetch_one(&mut *tx)
    .await?;
    tx.commit().await?;
    row.try_get(0)
}

/// Forgets dead letters for good.
pub(crate) async fn drop(db: &mut PgConnection, filter: &Filter) -> Result<i64> {
    let row = about(
        "with unsent as (
             delete from outbox
              where due_at = 'infinity'
                and ($1 = '{}' or id = any($1)) and ($2::text is null or stream = $2)
                and ($3::text is null or type = $3) and $4::text is null
                and ($5::text is null or position(lower($5) in lower(concat_ws(chr(10), id, key, last_error))) > 0
                     or $6::text[] is null and position(lower($5) in lower(payload::text)) > 0
                     or id = any($6))
             returning 1
         ), of_groups as (
             update outbox_dead_letter set dropped_at = clock_timestamp()
              where replayed_at is null and dropped_at is null
                and ($1 = '{}' or coalesce(id, 'letter-' || no) = any($1)) and ($2::text is null or stream = $2)
                and ($3::text is null or type = $3) and ($4::text is null or group_name = $4)
                and ($5::text is null or position(lower($5) in lower(concat_ws(chr(10), coalesce(id, 'letter-' || no), key, reason))) > 0
                     or $6::text[] is null and position(lower($5) in lower(payload)) > 0
                     or coalesce(id, 'letter-' || no) = any($6))
             returning 1
         )
         select (select count(*) from unsent) + (select count(*) from of_groups)",
        filter,
    )
    .fetch_one(db)
    .await?;
    row.try_get(0)
}
