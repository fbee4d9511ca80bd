//! What consumers leave behind: dead letters of groups, and what each consumer has done.

use sqlx::PgConnection;

use super::Result;
use crate::letters::Letter;
use crate::tallies::Tally;

/// Keeps letters. One that is here already stays as it is, also when somebody has replayed or dropped it.
pub(crate) async fn keep_letters(db: &mut PgConnection, letters: &[Letter]) -> Result<i64> {
    let done = sqlx::query(
        "insert into outbox_dead_letter
                (stream, group_name, lane, entry, origin, id, type, key, ver, time, payload, headers, fields, replayable, attempts,
                 reason, failures, first_failed_at, last_failed_at, consumer, handler, replays)
         select stream, group_name, lane, entry, origin, id, type, key, ver, time, payload, headers, fields, replayable, attempts,
                reason, coalesce(failures, '[]'), first_failed_at, last_failed_at, consumer, handler, replays
           from json_to_recordset($1::json) as letter (
                stream text, group_name text, lane text, entry text, origin text, id text, type text, key text, ver integer,
                time timestamptz, payload text, headers jsonb, fields jsonb, replayable boolean, attempts integer,
                reason text, failures jsonb, first_failed_at timestamptz, last_failed_at timestamptz, consumer text,
                handler text, replays integer)
         on conflict do nothing",
    )
    .bind(serde_json::to_string(letters).unwrap_or_default())
    .execute(db)
    .await?;
    Ok(i64::try_from(done.rows_affected()).unwrap_or(i64::MAX))
}

/// Writes down what consumers have done. One that has not changed is not written again.
pub(crate) async fn report_consumers(db: &mut PgConnection, tallies: &[Tally]) -> Result<()> {
    sqlx::query(
        "insert into outbox_consumer as c
                (stream, group_name, consumer, processed, failed, retried, buried, lost, handling_mean_us, handling_p99_us,
                 last_active_at)
         select * from json_to_recordset($1::json) as tally (
                stream text, group_name text, consumer text, processed bigint, failed bigint, retried bigint, buried bigint,
                lost bigint, handling_mean_us bigint, handling_p99_us bigint, last_active_at timestamptz)
         on conflict (stream, group_name, consumer) do update
            set processed = excluded.processed, failed = excluded.failed, retried = excluded.retried,
                buried = excluded.buried, lost = excluded.lost, handling_mean_us = excluded.handling_mean_us,
                handling_p99_us = excluded.handling_p99_us, last_active_at = excluded.last_active_at,
                seen_at = excluded.seen_at
          where (c.processed, c.failed, c.lost, c.buried, c.last_active_at) is distinct from
                (excluded.processed, excluded.failed, excluded.lost, excluded.buried, excluded.last_active_at)",
    )
    .bind(serde_json::to_string(tallies).unwrap_or_default())
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets letters that were replayed or dropped so long ago, some at a time. Returns how many.
pub(crate) async fn forget_letters(db: &mut PgConnection, days: i32, rows_max: i64) -> Result<i64> {
    let done = sqlx::query(
        "delete from outbox_dead_letter
          where no in (select no from outbox_dead_letter
                        where coalesce(replayed_at, dropped_at) < now() - $1 * interval '1 day'
                        order by no
                        limit $2)",
    )
    .bind(days)
    .bind(rows_max)
    .execute(db)
    .await?;
    Ok(i64::try_from(done.rows_affected()).unwrap_or(i64::MAX))
}

/// Forgets consumers that have said nothing for so long.
pub(crate) async fn forget_consumers(db: &mut PgConnection, days: i32) -> Result<()> {
    sqlx::query("delete from outbox_consumer where seen_at < now() - $1 * interval '1 day'")
        .bind(days)
        .execute(db)
        .await?;
    Ok(())
}
