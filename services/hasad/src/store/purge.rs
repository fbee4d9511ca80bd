//! Erasing a page: its rows keep nothing but that there were versions.

use sqlx::{PgConnection, PgPool};

/// How many versions of a page say something.
pub(crate) async fn telling(db: &PgPool, url: &str) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from hasad.version where source_url = $1 and content_hash <> ''")
        .bind(url)
        .fetch_one(db)
        .await
}

/// The objects that a page's versions name.
pub(crate) async fn objects_of(db: &mut PgConnection, url: &str) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select distinct object_hash from hasad.version where source_url = $1 and object_hash is not null
          order by object_hash",
    )
    .bind(url)
    .fetch_all(db)
    .await
}

/// Locks objects against writers and sweepers, in the order in which writers do.
pub(crate) async fn lock_objects(db: &mut PgConnection, hashes: &[String]) -> sqlx::Result<()> {
    sqlx::query("select from hasad.object where hash = any ($1) order by hash collate \"C\" for update")
        .bind(hashes)
        .execute(db)
        .await?;
    Ok(())
}

/// Keeps a page from being archived again, also one that is not known yet, and locks it to the end of the transaction.
pub(crate) async fn close(db: &mut PgConnection, url: &str, reason: &str) -> sqlx::Result<()> {
    sqlx::query(
        "insert into hasad.page as p (source_url, newest, purged_at, purged_reason) values ($1, 0, clock_timestamp(), $2)
         on conflict (source_url) do update set purged_at = coalesce(p.purged_at, excluded.purged_at),
                                                purged_reason = coalesce(p.purged_reason, excluded.purged_reason)",
    )
    .bind(url)
    .bind(reason)
    .execute(db)
    .await?;
    Ok(())
}

/// Takes everything out of a page's rows. Returns how many said something.
pub(crate) async fn blank(db: &mut PgConnection, url: &str, reason: &str) -> sqlx::Result<u64> {
    let done = sqlx::query(
        "update hasad.version
            set object_hash = null, content_hash = '', title = null, about = '{}', event_id = '', reason = $2,
                status_at = case when status = 'superseded' then status_at else clock_timestamp() end,
                status = case when status = 'superseded' then status else 'deleted' end
          where source_url = $1 and content_hash <> ''",
    )
    .bind(url)
    .bind(reason)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// Whether a page is purged; `None`: nothing is known of it.
pub(crate) async fn is_purged(db: &PgPool, url: &str) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar("select purged_at is not null from hasad.page where source_url = $1")
        .bind(url)
        .fetch_optional(db)
        .await
}

/// The pages that name an object.
pub(crate) async fn referrers(db: &PgPool, hash: &str, count_max: i64) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select distinct source_url from hasad.version where object_hash = $1 order by source_url limit $2",
    )
    .bind(hash)
    .bind(count_max)
    .fetch_all(db)
    .await
}

/// How many objects are to go without a grace, and are still there.
pub(crate) async fn without_grace(db: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "select count(*) from hasad.object o
          where o.marked_at = '-infinity' and not exists (select from hasad.version v where v.object_hash = o.hash)",
    )
    .fetch_one(db)
    .await
}

/// These objects may go at once, if nobody names them. The caller has locked them.
pub(crate) async fn waive_grace(db: &mut PgConnection, hashes: &[String]) -> sqlx::Result<()> {
    sqlx::query(
        "update hasad.object o set marked_at = '-infinity'
           from (select n.hash from hasad.object n
                  where n.hash = any ($1) and not exists (select from hasad.version v where v.object_hash = n.hash)
                  order by n.hash collate \"C\" for update) unnamed
          where o.hash = unnamed.hash",
    )
    .bind(hashes)
    .execute(db)
    .await?;
    Ok(())
}

/// The page may be archived again. `false`: it was not purged.
pub(crate) async fn lift(db: &PgPool, url: &str) -> sqlx::Result<bool> {
    let done = sqlx::query("update hasad.page set purged_at = null, purged_reason = null where source_url = $1 and purged_at is not null")
        .bind(url)
        .execute(db)
        .await?;
    Ok(done.rows_affected() > 0)
}
