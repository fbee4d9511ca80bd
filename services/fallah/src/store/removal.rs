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
    /// The same of those that were looked at again last, whatever was read for the first time meanwhile.
    pub(crate) last_checked: i64,
    pub(crate) last_vanished: i64,
}

/// Sources with vanished pages whose items are still there.
pub(crate) async fn tallies(db: &PgPool, window: Duration, last: i64) -> sqlx::Result<Vec<Tally>> {
    sqlx::query_as(
        "select s.name as source_name, looks.*
           from fallah.source s
          cross join lateral (
                select count(*) as checked,
                       count(*) filter (where gone) as vanished,
                       count(*) filter (where known and nth <= $2) as last_checked,
                       count(*) filter (where known and nth <= $2 and gone) as last_vanished
                  from (select gone, known, row_number() over (partition by known order by fetched_at desc) as nth
                          from (select p.fetched_at, p.vanished_at is not null as gone, p.lease > 1 as known
                                  from fallah.page p
                                 where p.source_name = s.name and p.source_url is not null
                                   and p.fetched_at > statement_timestamp() - $1 * interval '1 microsecond'
                                 union all
                                select p.fetched_at, true, true
                                  from fallah.page p join fallah.item i using (source_url)
                                 where p.source_name = s.name and p.vanished_at is not null and i.deleted_reason is null
                                   and p.fetched_at <= statement_timestamp() - $1 * interval '1 microsecond') look) look
                ) looks
          where s.halted_at is null
            and exists (select from fallah.page p join fallah.item i using (source_url)
                         where p.source_name = s.name and p.vanished_at is not null and i.deleted_reason is null)",
    )
    .bind(us(window))
    .bind(last)
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

/// An item that no page shows any more, and how we know.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Waiting {
    pub(crate) source_url: String,
    #[sqlx(try_from = "String")]
    pub(crate) reason: Reason,
}

/// Why an item is deleted, as it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reason(pub(crate) Removal);

impl TryFrom<String> for Reason {
    type Error = UnknownReason;

    fn try_from(name: String) -> Result<Self, UnknownReason> {
        let known = [Removal::Gone, Removal::Moved, Removal::NotFound];
        known.into_iter().find(|known| known.as_str() == name).map(Self).ok_or(UnknownReason(name))
    }
}

/// A newer program has written it.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no reason for a removal that is known here")]
pub(crate) struct UnknownReason(String);

/// Items that no page shows any more. Where more than `moves_max` articles are said to have moved to one address, none of
/// them has: an article moves to a place of its own.
pub(crate) async fn waiting(db: &PgPool, source: &str, moves_max: i64, most: i64) -> sqlx::Result<Vec<Waiting>> {
    sqlx::query_as(
        "select i.source_url, min(p.vanished_reason) as reason
           from fallah.item i join fallah.page p using (source_url)
          where p.source_name = $1 and i.deleted_reason is null and p.vanished_at is not null
            and not exists (select from fallah.page other
                             where other.source_url = i.source_url and other.vanished_at is null)
            and (p.moved_to is null
                 or $2 >= (select count(distinct other.source_url) from fallah.page other where other.moved_to = p.moved_to))
          group by i.source_url
          limit $3",
    )
    .bind(source)
    .bind(moves_max)
    .bind(most)
    .fetch_all(db)
    .await
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
