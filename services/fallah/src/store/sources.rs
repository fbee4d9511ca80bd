//! Sources: what the settings name, and how each of them stands.

use std::time::Duration;

use serde::Serialize;
use sqlx::PgPool;

use super::removal;

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
    sqlx::query(
        "insert into fallah.host (origin) select distinct o from unnest($1::text[]) o on conflict do nothing",
    )
    .bind(&origins)
    .execute(&mut *tx)
    .await?;
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

/// How many pages are ready to be fetched.
pub(crate) async fn left(db: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from fallah.page where ready").fetch_one(db).await
}

/// Counts whether a newer lastmod meant new content.
pub(crate) async fn trust(db: &PgPool, source: &str, changed: bool) -> sqlx::Result<()> {
    sqlx::query(
        "update fallah.source
            set lastmod_true = lastmod_true + $2::int, lastmod_false = lastmod_false + (not $2)::int
          where name = $1",
    )
    .bind(source)
    .bind(changed)
    .execute(db)
    .await?;
    Ok(())
}

/// How a source's dates have fared.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub(crate) struct State {
    pub(crate) lastmod_true: i64,
    pub(crate) lastmod_false: i64,
}

impl State {
    /// A source whose dates have lied four times out of five, over twenty times, is no longer believed.
    pub(crate) fn trusted(self) -> bool {
        self.lastmod_false < 20 || self.lastmod_false < self.lastmod_true * 4
    }

    pub(crate) async fn of(db: &PgPool, source: &str) -> sqlx::Result<Self> {
        sqlx::query_as("select lastmod_true, lastmod_false from fallah.source where name = $1")
            .bind(source)
            .fetch_one(db)
            .await
    }
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
