//! Sources: what the settings name, and how each of them stands.

use std::time::Duration;

use serde::Serialize;
use sqlx::PgPool;

use super::{hosts, removal};

/// Dates that were judged and are remembered; at so many, half of them are forgotten.
const DATES_REMEMBERED: i64 = 200;
/// So often a source's dates must have lied before they are doubted: four times out of five.
const LIES_MIN: i64 = 20;
/// Then they are tried again, some of them.
const DOUBTED_FOR: Duration = Duration::from_secs(7 * 86_400);

/// What the dates in a source's lists are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dates {
    Believed,
    /// They have lied for a while, and nobody has looked lately whether they still do.
    Tried,
    Doubted,
}

/// Makes a source known, with its lists and their hosts.
pub(crate) async fn register(
    db: &PgPool,
    name: &str,
    lists: &[(String, String)],
    interval: Duration,
) -> sqlx::Result<()> {
    let (urls, origins): (Vec<_>, Vec<_>) = lists.iter().map(|(url, origin)| (url.as_str(), origin.as_str())).unzip();
    let mut tx = db.begin().await?;
    sqlx::query("insert into fallah.source (name) values ($1) on conflict do nothing")
        .bind(name)
        .execute(&mut *tx)
        .await?;
    // What a person has named is read, however much it is.
    hosts::name(&mut tx, name, &origins, i64::MAX).await?;
    sqlx::query(
        "insert into fallah.list as l (url, source_name, origin, interval_s)
         select distinct on (url) url, $1, origin, $2 from unnest($3::text[], $4::text[]) as f(url, origin)
         on conflict (url) do update
            set source_name = excluded.source_name, due_at = least(l.due_at, clock_timestamp() + $2 * interval '1 second')",
    )
    .bind(name)
    .bind(i32::try_from(interval.as_secs()).unwrap_or(i32::MAX))
    .bind(&urls)
    .bind(&origins)
    .execute(&mut *tx)
    .await?;
    // Lists that are no longer named are no longer read; indexes name theirs themselves.
    sqlx::query(
        "update fallah.list set ready = false, due_at = 'infinity'
          where source_name = $1 and depth = 0 and url <> all($2) and due_at < 'infinity'",
    )
    .bind(name)
    .bind(&urls)
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

/// What was written while a source was only tried out is to be read anew, so that it is told. Returns how much that is.
pub(crate) async fn tell_untold(db: &PgPool, name: &str) -> sqlx::Result<u64> {
    let untold = sqlx::query(
        "update fallah.page p set etag = null, last_modified = null, due_at = clock_timestamp()
           from fallah.item i
          where i.source_name = $1 and i.deleted_reason is null and i.told_version < i.version
            and p.source_url = i.source_url",
    )
    .bind(name)
    .execute(db)
    .await?;
    Ok(untold.rows_affected())
}

/// Sources that wait for a person.
pub(crate) async fn halted(db: &PgPool) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("select name from fallah.source where halted_at is not null").fetch_all(db).await
}

/// How many pages are ready to be fetched. Counts no further than one more than `most`.
pub(crate) async fn left(db: &PgPool, most: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from (select from fallah.page where ready limit $1 + 1) ready")
        .bind(most)
        .fetch_one(db)
        .await
}

/// Counts whether a newer lastmod meant new content. Of what was counted long ago ever less is left, since sites change.
pub(crate) async fn trust(db: &PgPool, source: &str, changed: bool) -> sqlx::Result<()> {
    sqlx::query(
        "update fallah.source
            set lastmod_true = (lastmod_true + $2::int) / case when lastmod_true + lastmod_false >= $3 then 2 else 1 end,
                lastmod_false = (lastmod_false + (not $2)::int) / case when lastmod_true + lastmod_false >= $3 then 2 else 1 end,
                lastmod_at = clock_timestamp()
          where name = $1",
    )
    .bind(source)
    .bind(changed)
    .bind(DATES_REMEMBERED)
    .execute(db)
    .await?;
    Ok(())
}

/// Whether a source's dates have fared well, and how long ago that was last found out.
pub(crate) async fn dates(db: &PgPool, source: &str) -> sqlx::Result<Dates> {
    let (told_true, told_false, age_s): (i64, i64, Option<f64>) = sqlx::query_as(
        "select lastmod_true, lastmod_false, extract(epoch from clock_timestamp() - lastmod_at)::float8
           from fallah.source where name = $1",
    )
    .bind(source)
    .fetch_one(db)
    .await?;
    let fresh = age_s.is_some_and(|age| age < DOUBTED_FOR.as_secs_f64());
    Ok(if told_false < LIES_MIN || told_false < told_true * 4 {
        Dates::Believed
    } else if fresh {
        Dates::Doubted
    } else {
        Dates::Tried
    })
}

/// A source at a glance.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub(crate) struct Standing {
    pub(crate) name: String,
    pub(crate) pages: i64,
    pub(crate) items: i64,
    pub(crate) ready: i64,
    pub(crate) backfill: i64,
    pub(crate) failing: i64,
    pub(crate) vanished: i64,
    pub(crate) last_fetch_at: Option<String>,
    pub(crate) last_change_at: Option<String>,
    pub(crate) halted_reason: Option<String>,
}

/// How each source stands.
pub(crate) async fn standing(db: &PgPool) -> sqlx::Result<Vec<Standing>> {
    sqlx::query_as(
        "select name, pages, items, ready, backfill, failing, vanished, halted_reason,
                to_json(date_trunc('second', last_fetch_at)) #>> '{}' as last_fetch_at,
                to_json(date_trunc('second', last_change_at)) #>> '{}' as last_change_at
           from fallah.sources
          order by name",
    )
    .fetch_all(db)
    .await
}

/// Lets a halted source go on. `delete`: what vanished has vanished, and its items go. Else every vanished page is looked
/// at again. Returns how many items were deleted; none if no such source is halted.
pub(crate) async fn resume(db: &PgPool, name: &str, delete: bool) -> Result<Option<u64>, crate::Error> {
    let halted: bool =
        sqlx::query_scalar("select exists (select from fallah.source where name = $1 and halted_at is not null)")
            .bind(name)
            .fetch_one(db)
            .await?;
    if !halted {
        return Ok(None);
    }
    let mut deleted = 0;
    if delete {
        // What is there again in the meantime is not deleted, and need not be asked for a second time.
        for waiting in removal::waiting(db, name, i64::MAX, i64::MAX).await? {
            deleted += u64::from(removal::delete(db, &waiting.source_url, waiting.reason.0).await?);
        }
    }
    let mut tx = db.begin().await?;
    // Looked at again, or no longer counted: else the guard would halt it at once.
    sqlx::query(
        "update fallah.page
            set vanished_at = null, vanished_reason = null, moved_to = null, missing = 0, missing_since = null,
                due_at = case when $2 then due_at else clock_timestamp() end,
                source_url = case when $2 then null else source_url end
          where source_name = $1 and vanished_at is not null",
    )
    .bind(name)
    .bind(delete)
    .execute(&mut *tx)
    .await?;
    sqlx::query("update fallah.source set halted_at = null, halted_reason = null where name = $1")
        .bind(name)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(Some(deleted))
}
