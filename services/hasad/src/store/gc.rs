//! Sweeping: mark what nobody names, wait, look again under the lock, delete. Why no live object can go: docs/decisions.md.

use std::time::Duration;

use sqlx::{PgConnection, PgExecutor, PgPool, Postgres, Transaction};

use super::us;
use crate::store::objects::SWEEP_MAX;

/// An object that a sweep may delete.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Marked {
    pub(crate) hash: String,
    pub(crate) bytes: i64,
}

/// Only one sweeps at a time. `false`: somebody does. The lock is gone with the session.
pub(crate) async fn leader(db: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("select pg_try_advisory_lock(hashtext('hasad.gc'))").fetch_one(db).await
}

/// Objects in the store that have no row get one, with a mark. A writer whose transaction is about to name one of them is
/// waited for. Returns those that are new.
pub(crate) async fn adopt(db: impl PgExecutor<'_>, hashes: &[String], bytes: &[i64]) -> sqlx::Result<Vec<Marked>> {
    sqlx::query_as(
        "insert into hasad.object (hash, bytes, marked_at)
         select n.hash, n.bytes, clock_timestamp() from unnest($1::text[], $2::bigint[]) as n (hash, bytes)
          where not exists (select from hasad.object o where o.hash = n.hash)
          order by n.hash collate \"C\"
         on conflict do nothing
         returning hash, bytes",
    )
    .bind(hashes)
    .bind(bytes)
    .fetch_all(db)
    .await
}

/// Marks what nobody names. What a writer holds just now is left to the next sweep, so that the two never wait for each
/// other in a circle; one that is named a moment later does no harm: it is looked again before anything is deleted.
pub(crate) async fn mark(db: &PgPool) -> sqlx::Result<Vec<Marked>> {
    sqlx::query_as(
        "update hasad.object o set marked_at = clock_timestamp()
           from (select n.hash from hasad.object n
                  where n.marked_at is null and not exists (select from hasad.version v where v.object_hash = n.hash)
                    for update skip locked) unnamed
          where o.hash = unnamed.hash
         returning o.hash, o.bytes",
    )
    .fetch_all(db)
    .await
}

/// What would be swept now, and what that comes to.
pub(crate) async fn marked(db: &PgPool, grace: Duration) -> sqlx::Result<(i64, i64)> {
    sqlx::query_as(
        "select count(*), coalesce(sum(o.bytes), 0)::bigint from hasad.object o
          where o.marked_at <= clock_timestamp() - $1 * interval '1 microsecond'
            and not exists (select from hasad.version v where v.object_hash = o.hash)",
    )
    .bind(us(grace))
    .fetch_one(db)
    .await
}

/// How many objects would be marked now.
pub(crate) async fn unmarked(db: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select count(*) from hasad.object o
          where o.marked_at is null and not exists (select from hasad.version v where v.object_hash = o.hash)",
    )
    .fetch_one(db)
    .await
}

/// How many of these hashes have no row.
pub(crate) async fn without_row(db: &PgPool, hashes: &[String]) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select count(*) from unnest($1::text[]) as n (hash)
          where not exists (select from hasad.object o where o.hash = n.hash)",
    )
    .bind(hashes)
    .fetch_one(db)
    .await
}

/// Takes some marked objects whose grace is over: says, before the first request to the store, that a sweep is on its way.
/// `None`: only such as have none, being what a purge left.
pub(crate) async fn claim(db: &PgPool, grace: Option<Duration>, count_max: i64) -> sqlx::Result<Vec<Marked>> {
    sqlx::query_as(
        "update hasad.object o set swept_at = clock_timestamp()
           from (select hash from hasad.object
                  where marked_at <= coalesce(clock_timestamp() - $1 * interval '1 microsecond', '-infinity')
                    and (swept_at is null or swept_at < clock_timestamp() - $3::interval)
                    and not exists (select from hasad.version v where v.object_hash = hash)
                  order by hash collate \"C\" limit $2 for update skip locked) due
          where o.hash = due.hash
         returning o.hash, o.bytes",
    )
    .bind(grace.map(us))
    .bind(count_max)
    .bind(SWEEP_MAX)
    .fetch_all(db)
    .await
}

/// Locks claimed rows against all who would name them; those that somebody has taken back meanwhile are left out.
pub(crate) async fn lock_claimed(tx: &mut Transaction<'_, Postgres>, hashes: &[String]) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select hash from hasad.object where hash = any ($1) and swept_at > clock_timestamp() - $2::interval / 2
          order by hash collate \"C\" for update",
    )
    .bind(hashes)
    .bind(SWEEP_MAX)
    .fetch_all(&mut **tx)
    .await
}

/// Of locked objects those that are named after all: they lose their mark. A statement of its own, after the lock, so that
/// it sees what was committed while the lock was waited for.
pub(crate) async fn unclaim(tx: &mut Transaction<'_, Postgres>, hashes: &[String]) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "update hasad.object o set marked_at = null, swept_at = null
          where o.hash = any ($1) and exists (select from hasad.version v where v.object_hash = o.hash)
         returning o.hash",
    )
    .bind(hashes)
    .fetch_all(&mut **tx)
    .await
}

/// The rows of objects that are gone from the store.
pub(crate) async fn delete_rows(tx: &mut Transaction<'_, Postgres>, hashes: &[String]) -> sqlx::Result<u64> {
    let done = sqlx::query("delete from hasad.object where hash = any ($1)").bind(hashes).execute(&mut **tx).await?;
    Ok(done.rows_affected())
}
