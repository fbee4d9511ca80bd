//! What has vanished from a site, and the guard that asks whether all of that can be true.

use std::time::Duration;

use contract::{ArticleDeleted, Origin, Removal};
use sqlx::PgPool;

use super::items::{draft, lock};
use super::us;

/// Of one source: how many of its pages were looked at in a while, and how many of those have vanished.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Tally {
    pub(crate) source_name: String,
    pub(crate) checked: i64,
    pub(crate) vanished: i64,
}

/// Sources with vanished pages whose items are still there.
pub(crate) async fn tallies(db: &PgPool, window: Duration) -> sqlx::Result<Vec<Tally>> {
    sqlx::query_as(
        "with waiting as (
             select distinct p.source_name
               from fallah.page p join fallah.item i using (source_url)
              where p.vanished_at is not null and i.deleted_reason is null
         )
 select w.source_name,
                (select count(*) from fallah.page p left join fallah.item i using (source_url)
                  where p.source_name = w.source_name and p.source_url is not null
                    and (p.fetched_at > statement_timestamp() - $1 * interval '1 microsecond'
                         or (p.vanished_at is not null and i.deleted_reason is null))) as checked,
                (select count(*) from fallah.page p left join fallah.item i using (source_url)
                  where p.source_name = w.source_name and p.source_url is not null and p.vanished_at is not null
                    and (p.fetched_at > statement_timestamp() - $1 * interval '1 microsecond'
                         or i.deleted_reason is null)) as vanished
           from waiting w
           join fallah.source s on s.name = w.source_name
          where s.halted_at is null",
    )
    .bind(us(window))
    .fetch_all(db)
    .await
}

/// Stops a source until a person has looked.
pub(crate) async fn halt(db: &PgPool, source: &str, reason: &str) -> sqlx::Result<()> {
    sqlx::query("update fallah.source set halted_at = clock_timestamp(), halted_reason = $2 where name = $1")
        .bind(source)
        .bind(reason)
        .execute(db)
        .await?;
    Ok(())
}

/// Items that no page shows any more, with how we know.
pub(crate) async fn vanished(db: &PgPool, source: &str, most: i64) -> sqlx::Result<Vec<(String, String)>> {
    sqlx::query_as(
        "select i.source_url, min(p.vanished_reason)
           from fallah.item i join fallah.page p using (source_url)
          where p.source_name = $1 and i.deleted_reason is null and p.vanished_at is not null
            and not exists (select from fallah.page other
                             where other.source_url = i.source_url and other.vanished_at is null)
          group by i.source_url
          limit $2",
    )
    .bind(source)
    .bind(most)
    .fetch_all(db)
    .await
}

/// The reason by its name.
pub(crate) fn named(reason: &str) -> Removal {
    [Removal::Gone, Removal::Moved].into_iter().find(|known| known.as_str() == reason).unwrap_or(Removal::NotFound)
}

/// Deletes an item, and says so in the same transaction to those who were told of it. `false`: it is there after all, or was deleted already.
pub(crate) async fn delete(db: &PgPool, source_url: &str, reason: Removal) -> Result<bool, crate::Error> {
    let mut tx = db.begin().await?;
    let Some(known) = lock(&mut tx, source_url).await? else { return Ok(false) };
    if known.deleted {
        return Ok(false);
    }
    let deleted: Option<(String, String, String, String, Option<String>)> = sqlx::query_as(
        "update fallah.item i set deleted_reason = $2, version = version + 1,
                told_version = case when told_version > 0 then version + 1 else 0 end, changed_at = clock_timestamp()
          where source_url = $1
            and not exists (select from fallah.page p where p.source_url = i.source_url and p.vanished_at is null)
         returning source_name, raw_hash, to_json(discovered_at) #>> '{}', to_json(clock_timestamp()) #>> '{}',
                   payload ->> 'published_at'",
    )
    .bind(source_url)
    .bind(reason.as_str())
    .fetch_optional(&mut *tx)
    .await?;
    let Some((source_name, raw_hash, discovered_at, fetched_at, published_at)) = deleted else { return Ok(false) };
    let event = ArticleDeleted {
        origin: Origin {
            source_url: source_url.to_owned(),
            source_name,
            version: known.version.unsigned_abs() + 1,
            content_hash: known.content_hash,
            raw_hash,
            discovered_at,
            fetched_at,
            published_at,
            scraper_version: crate::VERSION.to_owned(),
        },
        reason,
    };
    // A page that comes back must not say that it has not changed.
    sqlx::query("update fallah.page set etag = null, last_modified = null where source_url = $1")
        .bind(source_url)
        .execute(&mut *tx)
        .await?;
    if known.told_version > 0 {
        let _ = outbox::enqueue(&mut tx, &draft(ArticleDeleted::TYPE, &event.origin).json(&event)?).await?;
    }
    tx.commit().await?;
    Ok(true)
}
