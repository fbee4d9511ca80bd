//! Pauses: asked for by a person, written down once, and obeyed by every relay.

use sqlx::{Connection, PgConnection};

use super::Result;

/// Pauses one stream, or everything. Returns the number of this change, by which a relay says that it has heard it.
/// What is paused already stays as it was: since when, and by whom.
pub(crate) async fn pause(db: &mut PgConnection, stream: Option<&str>, who: &str) -> Result<i64> {
    let mut tx = db.begin().await?;
    match stream {
        // A stream may be paused before anything was ever written to it.
        Some(stream) => {
            sqlx::query(
                "insert into outbox_stream as s (stream, paused_at, paused_by) values ($1, clock_timestamp(), $2)
                 on conflict (stream) do update set paused_at = clock_timestamp(), paused_by = $2 where s.paused_at is null",
            )
            .bind(stream)
            .bind(who)
            .execute(&mut *tx)
            .await?;
        }
        None => {
            sqlx::query(
                "update outbox_relay set paused_at = clock_timestamp(), paused_by = $1 where paused_at is null",
            )
            .bind(who)
            .execute(&mut *tx)
            .await?;
        }
    }
    let change = changed(&mut tx).await?;
    tx.commit().await?;
    Ok(change)
}

/// Ends the pause of one stream, or every pause there is. Returns the number of this change.
pub(crate) async fn resume(db: &mut PgConnection, stream: Option<&str>) -> Result<i64> {
    let mut tx = db.begin().await?;
    sqlx::query(
        "update outbox_stream set paused_at = null, paused_by = null
          where paused_at is not null and ($1::text is null or stream = $1)",
    )
    .bind(stream)
    .execute(&mut *tx)
    .await?;
    if stream.is_none() {
        sqlx::query("update outbox_relay set paused_at = null, paused_by = null").execute(&mut *tx).await?;
    }
    let change = changed(&mut tx).await?;
    tx.commit().await?;
    Ok(change)
}

/// Counts a change, and wakes a relay that sleeps.
async fn changed(db: &mut PgConnection) -> Result<i64> {
    sqlx::query_scalar(
        "with change as (update outbox_relay set changes = changes + 1 returning changes)
         select changes from change, pg_notify('outbox', current_schema())",
    )
    .fetch_one(db)
    .await
}

/// Whether everything is paused, not only a stream.
pub(crate) async fn all_is_paused(db: &mut PgConnection) -> Result<bool> {
    sqlx::query_scalar("select paused_at is not null from outbox_relay").fetch_one(db).await
}

/// From here on this session says which change it acts upon, until it ends: 0 while it finds out. Who waits for a change sees
/// who has not heard of it, also those that are frozen. A session that says nothing sends nothing.
pub(crate) async fn act_upon(db: &mut PgConnection, change: i64, before: Option<i64>) -> Result<()> {
    sqlx::query(
        "select pg_advisory_lock_shared(hashtext('outbox pauses ' || current_schema()), $1::integer),
                case when $2::bigint is not null
                     then pg_advisory_unlock_shared(hashtext('outbox pauses ' || current_schema()), $2::integer) end",
    )
    .bind(change)
    .bind(before)
    .execute(db)
    .await?;
    Ok(())
}

/// This session sends nothing any more.
pub(crate) async fn act_no_more(db: &mut PgConnection, before: i64) -> Result<()> {
    sqlx::query("select pg_advisory_unlock_shared(hashtext('outbox pauses ' || current_schema()), $1::integer)")
        .bind(before)
        .execute(db)
        .await?;
    Ok(())
}

/// The relay acts upon every change up to this one.
pub(crate) async fn heard(db: &mut PgConnection, change: i64) -> Result<()> {
    sqlx::query("update outbox_relay set changes_heard = $1 where changes_heard < $1")
        .bind(change)
        .execute(db)
        .await?;
    Ok(())
}

/// Whether every relay that sends has heard a change; none: none works.
pub(crate) async fn was_heard(db: &mut PgConnection, change: i64) -> Result<Option<bool>> {
    sqlx::query_scalar(
        "select case when exists (select from pg_locks
                                   where locktype = 'advisory' and objsubid = 2 and granted
                                     and database = (select oid from pg_database where datname = current_database())
                                     and classid::bigint = hashtext('outbox pauses ' || current_schema())::bigint & 4294967295
                                     and objid::bigint < $1)
                     then false
                     when lease_until > clock_timestamp() or changes_heard >= $1 then changes_heard >= $1 end
           from outbox_relay",
    )
    .bind(change)
    .fetch_one(db)
    .await
}
