//! Versions of pages: the statements of the one transaction that archives.

use std::collections::HashSet;

use sqlx::PgConnection;

use crate::told::Told;

/// Which of these are not to be archived: their page is purged; or it was, and they were erased with it.
pub(crate) async fn erased(db: &mut PgConnection, told: &[&Told]) -> sqlx::Result<HashSet<(String, i64)>> {
    let places: Vec<(String, i64)> = sqlx::query_as(
        "select n.source_url, n.version
           from unnest($1::text[], $2::bigint[]) as n (source_url, version)
           join hasad.page p using (source_url)
           left join hasad.version v using (source_url, version)
          where p.purged_at is not null or v.content_hash = ''",
    )
    .bind(told.iter().map(|told| told.source_url.as_str()).collect::<Vec<_>>())
    .bind(told.iter().map(|told| told.version).collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    Ok(places.into_iter().collect())
}

/// Locks the pages to the end of the transaction, in one order, and takes in the highest version of each.
pub(crate) async fn lock_pages(db: &mut PgConnection, told: &[&Told]) -> sqlx::Result<()> {
    sqlx::query(
        "insert into hasad.page as p (source_url, newest)
         select n.source_url, max(n.version) from unnest($1::text[], $2::bigint[]) as n (source_url, version)
          group by n.source_url order by n.source_url collate \"C\"
         on conflict (source_url) do update
            set newest = case when p.purged_at is null then greatest(p.newest, excluded.newest) else p.newest end",
    )
    .bind(told.iter().map(|told| told.source_url.as_str()).collect::<Vec<_>>())
    .bind(told.iter().map(|told| told.version).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// What was current in these pages and no longer has the highest version is superseded.
pub(crate) async fn demote(db: &mut PgConnection, told: &[&Told]) -> sqlx::Result<()> {
    sqlx::query(
        "update hasad.version v set status = 'superseded', status_at = clock_timestamp()
           from hasad.page p
          where p.source_url = any ($1) and v.source_url = p.source_url
            and v.status <> 'superseded' and v.version < p.newest",
    )
    .bind(told.iter().map(|told| told.source_url.as_str()).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}

/// Writes versions, each with the status that it has beside all others. Returns how many are new. Those of purged pages are
/// left out.
pub(crate) async fn insert(db: &mut PgConnection, told: &[&Told]) -> sqlx::Result<u64> {
    let column = |of: fn(&Told) -> &str| told.iter().map(|told| of(told)).collect::<Vec<_>>();
    let done = sqlx::query(
        "insert into hasad.version (source_url, version, status, reason, content_hash, object_hash, source_name, title,
                                    fetched_at, about, event_id)
         select n.source_url, n.version,
                case when n.version < p.newest then 'superseded' when n.reason is null then 'active' else 'deleted' end,
                n.reason, n.content_hash, case when n.reason is null then n.content_hash end, n.source_name, n.title,
                n.fetched_at, n.about, n.event_id
           from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
                       $8::json[], $9::text[])
                as n (source_url, version, reason, content_hash, source_name, title, fetched_at, about, event_id)
           join hasad.page p using (source_url)
          where p.purged_at is null
         on conflict (source_url, version) do nothing",
    )
    .bind(column(|told| &told.source_url))
    .bind(told.iter().map(|told| told.version).collect::<Vec<_>>())
    .bind(told.iter().map(|told| told.reason).collect::<Vec<_>>())
    .bind(column(|told| &told.content_hash))
    .bind(column(|told| &told.source_name))
    .bind(told.iter().map(|told| told.title.as_deref()).collect::<Vec<_>>())
    .bind(column(|told| &told.fetched_at))
    .bind(column(|told| &told.about))
    .bind(column(|told| &told.event_id))
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

/// A version that stands there with other content than is told.
pub(crate) async fn contradiction(db: &mut PgConnection, told: &[&Told]) -> sqlx::Result<Option<(String, i64)>> {
    sqlx::query_as(
        "select v.source_url, v.version
           from unnest($1::text[], $2::bigint[], $3::text[], $4::boolean[]) as n (source_url, version, content_hash, is_article)
           join hasad.version v using (source_url, version)
           join hasad.page p using (source_url)
          where p.purged_at is null and v.content_hash <> ''
            and (v.content_hash <> n.content_hash or (v.object_hash is not null) <> n.is_article)
          limit 1",
    )
    .bind(told.iter().map(|told| told.source_url.as_str()).collect::<Vec<_>>())
    .bind(told.iter().map(|told| told.version).collect::<Vec<_>>())
    .bind(told.iter().map(|told| told.content_hash.as_str()).collect::<Vec<_>>())
    .bind(told.iter().map(|told| told.object.is_some()).collect::<Vec<_>>())
    .fetch_optional(db)
    .await
}
