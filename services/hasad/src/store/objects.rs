//! The rows of objects, as writers need them.

use sqlx::PgConnection;

/// So long after a sweep has begun, no request of a sweeper that died can still be on its way to the store.
pub(crate) const SWEEP_MAX: &str = "5 minutes";

/// Announces that the caller's transaction will name these objects: locks their rows, makes those that are missing, and clears
/// marks. From here to the end of the transaction nobody deletes them. In one order, so that two writers wait for each other
/// and do not block each other.
/// Returns how many of them are being swept at this moment: they cannot be named yet.
pub(crate) async fn refer(db: &mut PgConnection, hashes: &[&str], bytes: &[i64]) -> sqlx::Result<usize> {
    let ours: i64 = sqlx::query_scalar(
        "with ours as (
             insert into hasad.object as o (hash, bytes)
             select n.hash, n.bytes from unnest($1::text[], $2::bigint[]) as n (hash, bytes) order by n.hash collate \"C\"
             on conflict (hash) do update set bytes = excluded.bytes, marked_at = null, swept_at = null
              where o.swept_at is null or o.swept_at < clock_timestamp() - $3::interval
             returning 1)
         select count(*) from ours",
    )
    .bind(hashes)
    .bind(bytes)
    .bind(SWEEP_MAX)
    .fetch_one(db)
    .await?;
    Ok(hashes.len() - usize::try_from(ours).unwrap_or_default())
}
