//! What `fsck` asks, and what it mends.

use sqlx::{PgConnection, PgPool};

/// An object as its row knows it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct OfObject {
    pub(crate) hash: String,
    pub(crate) bytes: i64,
    /// A version names it.
    pub(crate) named: bool,
}

/// Versions of a page that never came.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Gap {
    pub(crate) source_url: String,
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// The next objects of a shard, in the order of their hashes.
pub(crate) async fn objects_after(
    db: &PgPool,
    after: &str,
    before: &str,
    count_max: i64,
) -> sqlx::Result<Vec<OfObject>> {
    sqlx::query_as(
        "select o.hash, o.bytes, exists (select from hasad.version v where v.object_hash = o.hash) as named
           from hasad.object o where o.hash > $1 and o.hash < $2 order by o.hash limit $3",
    )
    .bind(after)
    .bind(before)
    .bind(count_max)
    .fetch_all(db)
    .await
}

/// Whether a version names an object now.
pub(crate) async fn is_named(db: &PgPool, hash: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from hasad.version where object_hash = $1)")
        .bind(hash)
        .fetch_one(db)
        .await
}

/// The size that an object has as its row says, if it has one.
pub(crate) async fn size_of(db: &PgPool, hash: &str) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar("select bytes from hasad.object where hash = $1").bind(hash).fetch_optional(db).await
}

/// Locks an object against writers and sweepers.
pub(crate) async fn lock_object(db: &mut PgConnection, hash: &str) -> sqlx::Result<()> {
    sqlx::query("select from hasad.object where hash = $1 for update").bind(hash).execute(db).await?;
    Ok(())
}

/// So many objects, chosen by chance.
pub(crate) async fn some_objects(db: &PgPool, count: i64) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("select hash from hasad.object order by random() limit $1").bind(count).fetch_all(db).await
}

/// How many objects have a row.
pub(crate) async fn object_count(db: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from hasad.object").fetch_one(db).await
}

/// The size that the row of an object should have had.
pub(crate) async fn mend_size(db: &PgPool, hash: &str, bytes: i64) -> sqlx::Result<()> {
    sqlx::query("update hasad.object set bytes = $2 where hash = $1").bind(hash).bind(bytes).execute(db).await?;
    Ok(())
}

/// Versions that are missing between others.
pub(crate) async fn gaps(db: &PgPool, count_max: i64) -> sqlx::Result<Vec<Gap>> {
    sqlx::query_as(
        "select source_url, before + 1 as first, version - 1 as last
           from (select source_url, version, lag(version) over (partition by source_url order by version) as before
                   from hasad.version) v
          where version > before + 1
          order by source_url, version limit $1",
    )
    .bind(count_max)
    .fetch_all(db)
    .await
}

/// Pages of which not exactly the newest version is current: how many are.
/// `many`, `one_or_none`: which of them are asked for.
pub(crate) async fn broken_currents(
    db: &PgPool,
    many: bool,
    one_or_none: bool,
    count_max: i64,
) -> sqlx::Result<Vec<(String, i64)>> {
    sqlx::query_as(
        "select v.source_url, count(*) filter (where v.status <> 'superseded')
           from hasad.version v join hasad.page p using (source_url)
          group by v.source_url, p.newest
         having (count(*) filter (where v.status <> 'superseded') <> 1
                 or max(v.version) filter (where v.status <> 'superseded') <> max(v.version)
                 or p.newest < max(v.version))
            and case when count(*) filter (where v.status <> 'superseded') > 1 then $1 else $2 end
          order by v.source_url limit $3",
    )
    .bind(many)
    .bind(one_or_none)
    .bind(count_max)
    .fetch_all(db)
    .await
}

/// The page's newest version becomes current, and no other.
pub(crate) async fn mend_currents(db: &mut PgConnection, url: &str) -> sqlx::Result<()> {
    lock_newest(db, url).await?;
    supersede_others(db, url).await?;
    make_newest_current(db, url).await
}

async fn lock_newest(db: &mut PgConnection, url: &str) -> sqlx::Result<()> {
    sqlx::query(
        "update hasad.page p set newest = greatest(p.newest, (select max(version) from hasad.version where source_url = $1))
          where p.source_url = $1",
    )
    .bind(url)
    .execute(db)
    .await?;
    Ok(())
}

async fn supersede_others(db: &mut PgConnection, url: &str) -> sqlx::Result<()> {
    sqlx::query(
        "update hasad.version set status = 'superseded', status_at = clock_timestamp()
          where source_url = $1 and status <> 'superseded'
            and version < (select max(version) from hasad.version where source_url = $1)",
    )
    .bind(url)
    .execute(db)
    .await?;
    Ok(())
}

async fn make_newest_current(db: &mut PgConnection, url: &str) -> sqlx::Result<()> {
    sqlx::query(
        "update hasad.version
            set status = case when object_hash is null then 'deleted' else 'active' end, status_at = clock_timestamp(),
                reason = case when object_hash is null then coalesce(reason, 'unknown') end
          where source_url = $1 and status = 'superseded'
            and version = (select max(version) from hasad.version where source_url = $1)",
    )
    .bind(url)
    .execute(db)
    .await?;
    Ok(())
}

/// Whether the constraint is there that allows one current version only.
pub(crate) async fn has_index(db: &PgPool) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select coalesce((select i.indisunique and i.indisvalid from pg_index i
                           where i.indexrelid = to_regclass('hasad.version_current')), false)",
    )
    .fetch_one(db)
    .await
}

/// Puts that constraint back.
pub(crate) async fn mend_index(db: &PgPool) -> sqlx::Result<()> {
    sqlx::raw_sql(
        "drop index if exists hasad.version_current;
         create unique index version_current on hasad.version (source_url) where status <> 'superseded'",
    )
    .execute(db)
    .await?;
    Ok(())
}
