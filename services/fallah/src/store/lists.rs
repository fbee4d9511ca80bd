//! Sitemaps and feeds: which is read next, and what became of it.

use std::time::Duration;

use sqlx::PgPool;

use super::{HOSTS_PER_SOURCE_MAX, LISTS_PER_SOURCE_MAX, hosts, us};

/// A list that is ours to read.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct List {
    pub(crate) url: String,
    pub(crate) source_name: String,
    pub(crate) depth: i32,
    pub(crate) lease: i64,
    pub(crate) interval_s: i32,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
    pub(crate) hash: Option<String>,
    pub(crate) settings: Option<String>,
    pub(crate) failures: i32,
    /// It was read before, so an address that is new in it is news.
    pub(crate) known: bool,
}

/// Which reading of which list: a result counts only while it is the last one.
#[derive(Debug, Clone)]
pub(crate) struct ListLease {
    pub(crate) url: String,
    pub(crate) lease: i64,
}

impl List {
    pub(crate) fn lease(&self) -> ListLease {
        ListLease { url: self.url.clone(), lease: self.lease }
    }
}

/// A list that another one names.
#[derive(Debug, Clone)]
pub(crate) struct Child {
    pub(crate) url: String,
    pub(crate) origin: String,
    pub(crate) lastmod: Option<String>,
}

/// What reading a list came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Read {
    pub(crate) interval: Duration,
    /// When to read it next, if not after the interval.
    pub(crate) again: Option<Duration>,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
    pub(crate) hash: Option<String>,
    pub(crate) entries: Option<i32>,
    pub(crate) failures: i32,
    pub(crate) note: Option<String>,
    /// Of its source, as it was read under them.
    pub(crate) settings: Option<String>,
}

/// Lists that are due become ready.
pub(crate) async fn wake_lists(db: &PgPool) -> sqlx::Result<u64> {
    let woken =
        sqlx::query("update fallah.list set ready = true where not ready and due_at <= statement_timestamp()")
            .execute(db)
            .await?;
    Ok(woken.rows_affected())
}

/// All lists are due, whatever was planned: somebody wants to know now.
pub(crate) async fn all_due(db: &PgPool, active: &[String]) -> sqlx::Result<()> {
    sqlx::query("update fallah.list set ready = true where not ready and source_name = any($1)")
        .bind(active)
        .execute(db)
        .await?;
    Ok(())
}

/// The list of a host that has waited longest, leased.
pub(crate) async fn take_list(
    db: &PgPool,
    origin: &str,
    run: i32,
    lease: Duration,
    active: &[String],
) -> sqlx::Result<Option<List>> {
    sqlx::query_as(
        "update fallah.list
            set ready = false, lease = lease + 1, leased_by = $4,
                due_at = clock_timestamp() + $2 * interval '1 microsecond'
          where url = (select url from fallah.list
                        where origin = $1 and ready and source_name = any($3)
                        order by due_at, depth
                        limit 1
                          for no key update skip locked)
         returning url, source_name, depth, lease, interval_s, etag, last_modified, hash, settings, failures,
                   read_at is not null as known",
    )
    .bind(origin)
    .bind(us(lease))
    .bind(active)
    .bind(run)
    .fetch_optional(db)
    .await
}

/// Gives a list back: it was not read.
pub(crate) async fn give_back_list(db: &PgPool, lease: &ListLease) -> sqlx::Result<()> {
    sqlx::query(
        "update fallah.list set ready = true, leased_by = null, due_at = clock_timestamp() where url = $1 and lease = $2",
    )
    .bind(&lease.url)
    .bind(lease.lease)
    .execute(db)
    .await?;
    Ok(())
}

/// Writes down what reading a list came to, unless somebody else has taken it since.
pub(crate) async fn end_list(db: &PgPool, lease: &ListLease, read: &Read) -> sqlx::Result<()> {
    sqlx::query(
        "update fallah.list
            set ready = false, leased_by = null, due_at = clock_timestamp() + $2 * interval '1 microsecond', interval_s = $3,
                etag = $4, last_modified = $5, hash = coalesce($6, hash), entries = coalesce($7, entries),
                failures = $8, note = $9, settings = $10,
                read_at = case when $8 = 0 then clock_timestamp() else read_at end
          where url = $1 and lease = $11",
    )
    .bind(&lease.url)
    .bind(us(read.again.unwrap_or(read.interval)))
    .bind(i32::try_from(read.interval.as_secs()).unwrap_or(i32::MAX))
    .bind(&read.etag)
    .bind(&read.last_modified)
    .bind(&read.hash)
    .bind(read.entries)
    .bind(read.failures)
    .bind(read.note.as_deref().map(crate::exit::printable))
    .bind(&read.settings)
    .bind(lease.lease)
    .execute(db)
    .await?;
    Ok(())
}

/// Adds the lists that an index names, and makes those due that it says have changed: once in `interval`, however often
/// and by however many it is said.
pub(crate) async fn add_children(
    db: &PgPool,
    source: &str,
    depth: i32,
    interval: Duration,
    children: &[Child],
    named: &[String],
) -> sqlx::Result<()> {
    let column = |of: fn(&Child) -> &str| children.iter().map(of).collect::<Vec<_>>();
    let mut tx = db.begin().await?;
    hosts::name(&mut tx, source, &column(|child| &child.origin), HOSTS_PER_SOURCE_MAX).await?;
    sqlx::query(
        "with child as (
             select distinct on (url) url, origin, lastmod,
                    not exists (select from fallah.list known where known.url = c.url) as new
               from unnest($4::text[], $5::text[], $6::timestamptz[]) as c(url, origin, lastmod)
              where exists (select from fallah.host h where h.origin = c.origin)
              order by url, lastmod desc nulls last
         ), counted as (
             select *, row_number() over (partition by new order by lastmod desc nulls last, url) as nth from child
         )
         insert into fallah.list as l (url, source_name, origin, depth, lastmod, interval_s, due_at, ready)
         select url, $1, origin, $2, lastmod, $3, clock_timestamp(), true
           from counted
          where not new or nth <= $8 - (select count(*) from fallah.list where source_name = $1)
          order by url
         on conflict (url) do update
            set lastmod = excluded.lastmod,
                due_at = case when l.leased_by is null
                              then greatest(clock_timestamp(), l.read_at + $3 * interval '1 second') else l.due_at end,
                ready = l.ready or l.source_name <> all($7),
                source_name = case when l.source_name = any($7) then l.source_name else excluded.source_name end
          where excluded.lastmod > coalesce(l.lastmod, l.read_at) and excluded.lastmod < clock_timestamp() + interval '1 day'
            and l.failures = 0
             or l.source_name <> all($7)",
    )
    .bind(source)
    .bind(depth)
    .bind(i32::try_from(interval.as_secs()).unwrap_or(i32::MAX))
    .bind(column(|child| &child.url))
    .bind(column(|child| &child.origin))
    .bind(children.iter().map(|child| child.lastmod.as_deref()).collect::<Vec<_>>())
    .bind(named)
    .bind(LISTS_PER_SOURCE_MAX)
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}
