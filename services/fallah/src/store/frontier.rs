//! The frontier: which page comes next.

use std::time::Duration;

use contract::Removal;
use sqlx::{PgConnection, PgPool};

use super::{HOSTS_PER_SOURCE_MAX, hosts, us};

/// Pages that become ready at once.
const WAKE_MAX: i64 = 1_000;

/// A page that is ours to fetch.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct Page {
    pub(crate) url: String,
    pub(crate) source_name: String,
    pub(crate) lease: i64,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
    pub(crate) settings: Option<String>,
    pub(crate) failures: i32,
    pub(crate) missing: i32,
    /// Seconds since it was first not found.
    pub(crate) missing_for_s: Option<f64>,
    /// Seconds since its own date, as its list says it, or since it was found.
    pub(crate) age_s: f64,
    pub(crate) rank: Rank,
    pub(crate) hops: i16,
    pub(crate) discovered_at: String,
    pub(crate) lastmod_asked: bool,
    /// The item that it showed when it was last read.
    pub(crate) source_url: Option<String>,
}

/// What comes first of a host's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, sqlx::Type)]
#[repr(i16)]
pub(crate) enum Rank {
    /// Looked at when there is nothing else to do.
    Old = 0,
    /// Looked at again, since it was young not long ago.
    Young = 1,
    /// A list says that it has changed.
    Changed = 2,
    /// A list has just named it, or it bears a date of these days.
    News = 3,
}

/// Which fetch of which page: a result counts only while it is the last one.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) url: String,
    pub(crate) lease: i64,
}

impl Page {
    pub(crate) fn lease(&self) -> Lease {
        Lease { url: self.url.clone(), lease: self.lease }
    }
}

/// An address that a list gave.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) url: String,
    pub(crate) origin: String,
    /// The list's word on when it changed, in RFC 3339.
    pub(crate) lastmod: Option<String>,
    /// Whether a page that we do not know yet is news, or old and to be fetched when there is time.
    pub(crate) news: bool,
    /// How many redirects led to it.
    pub(crate) hops: i16,
}

/// Pages that are due become ready. Returns how many.
pub(crate) async fn wake(db: &PgPool) -> sqlx::Result<u64> {
    let woken = sqlx::query(
        "update fallah.page set ready = true
          where url = any(array(select url from fallah.page where not ready and due_at <= statement_timestamp()
                                 order by due_at limit $1 for no key update skip locked))",
    )
    .bind(WAKE_MAX)
    .execute(db)
    .await?;
    Ok(woken.rows_affected())
}

/// The most urgent page of a host, leased.
pub(crate) async fn take(
    db: &PgPool,
    origin: &str,
    run: i32,
    lease: Duration,
    active: &[String],
) -> sqlx::Result<Option<Page>> {
    sqlx::query_as(
        "update fallah.page
            set ready = false, lease = lease + 1, leased_by = $4, due_at = clock_timestamp() + $2 * interval '1 microsecond'
          where url = (select url from fallah.page
                        where origin = $1 and ready and source_name || '' = any($3)
                        order by rank desc, newest_at desc
                        limit 1
                          for no key update skip locked)
         returning url, source_name, lease, etag, last_modified, settings, failures, missing, lastmod_asked, rank, hops, source_url,
                   extract(epoch from clock_timestamp() - missing_since)::float8 as missing_for_s,
                   extract(epoch from clock_timestamp() - newest_at)::float8 as age_s,
                   to_json(discovered_at) #>> '{}' as discovered_at",
    )
    .bind(origin)
    .bind(us(lease))
    .bind(active)
    .bind(run)
    .fetch_optional(db)
    .await
}

/// Gives a page back as it was: nothing was learned of it.
pub(crate) async fn give_back(db: &PgPool, lease: &Lease) -> sqlx::Result<()> {
    sqlx::query(
        "update fallah.page set ready = true, leased_by = null, due_at = clock_timestamp() where url = $1 and lease = $2",
    )
        .bind(&lease.url)
        .bind(lease.lease)
        .execute(db)
        .await?;
    Ok(())
}

/// What a fetch comes to, for the page itself.
#[derive(Debug, Clone)]
pub(crate) struct After {
    /// For people.
    pub(crate) outcome: String,
    pub(crate) next: Next,
    pub(crate) validators: Validators,
    pub(crate) raw_hash: Option<String>,
    /// In a row, this one included.
    pub(crate) failures: i32,
    /// In a row, this one included.
    pub(crate) missing: i32,
    /// It has gone away, and this is how we know.
    pub(crate) vanished: Option<Vanished>,
    /// The item that it shows.
    pub(crate) source_url: Option<String>,
}

/// When a page is looked at again, and how much that matters then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Next {
    pub(crate) after: Duration,
    pub(crate) rank: Rank,
}

/// By what a page may say that it has not changed. None: it is read whatever it says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Validators {
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
    /// The settings of its source, under which it was read.
    pub(crate) settings: Option<String>,
}

/// How a page has gone away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Vanished {
    Gone,
    NotFound,
    /// To this address.
    Moved(String),
}

impl Vanished {
    fn reason(&self) -> Removal {
        match self {
            Self::Gone => Removal::Gone,
            Self::NotFound => Removal::NotFound,
            Self::Moved(_) => Removal::Moved,
        }
    }

    fn moved_to(&self) -> Option<&str> {
        match self {
            Self::Moved(to) => Some(to),
            Self::Gone | Self::NotFound => None,
        }
    }
}

impl After {
    /// The page is there, nothing failed, and nothing is known by which it could be left unread the next time.
    pub(crate) fn new(outcome: impl Into<String>, next: Next) -> Self {
        Self {
            outcome: outcome.into(),
            next,
            validators: Validators::default(),
            raw_hash: None,
            failures: 0,
            missing: 0,
            vanished: None,
            source_url: None,
        }
    }
}

/// Writes down what a fetch came to. `false`: somebody else has fetched it since, and this result no longer counts.
pub(crate) async fn end(db: &mut PgConnection, lease: &Lease, after: &After) -> sqlx::Result<bool> {
    let ended = sqlx::query(
        "update fallah.page
            set ready = false, leased_by = null, lastmod_asked = false, rank = $12, outcome = $3, fetched_at = clock_timestamp(),
                due_at = clock_timestamp() + $4 * interval '1 microsecond',
                etag = $5, last_modified = $6, raw_hash = coalesce($7, raw_hash),
                failures = $8, missing = $9,
                missing_since = case when $9 > 0 then coalesce(missing_since, clock_timestamp()) end,
                vanished_at = case when $10 is not null then coalesce(vanished_at, clock_timestamp()) end,
                vanished_reason = $10, moved_to = $14, source_url = coalesce($11, source_url), settings = $13
          where url = $1 and lease = $2",
    )
    .bind(&lease.url)
    .bind(lease.lease)
    .bind(crate::exit::printable(&after.outcome))
    .bind(us(after.next.after))
    .bind(&after.validators.etag)
    .bind(&after.validators.last_modified)
    .bind(&after.raw_hash)
    .bind(after.failures)
    .bind(after.missing)
    .bind(after.vanished.as_ref().map(|vanished| vanished.reason().as_str()))
    .bind(&after.source_url)
    .bind(after.next.rank)
    .bind(&after.validators.settings)
    .bind(after.vanished.as_ref().and_then(Vanished::moved_to))
    .execute(db)
    .await?;
    Ok(ended.rows_affected() == 1)
}

/// Adds addresses that a list gave, and makes those ready again that it says have changed since. Returns how many
/// were new and how many became ready again.
///
/// `believed_max`: of pages that we know, so many are believed to have changed. `named`: the sources of the settings; pages of others change hands.
pub(crate) async fn add(
    db: &PgPool,
    source: &str,
    found: &[Found],
    believed_max: u64,
    named: &[String],
    news_for: Duration,
) -> sqlx::Result<(u64, u64)> {
    let column = |of: fn(&Found) -> &str| found.iter().map(of).collect::<Vec<_>>();
    let mut tx = db.begin().await?;
    hosts::name(&mut tx, source, &column(|found| &found.origin), HOSTS_PER_SOURCE_MAX).await?;
    let added: Vec<bool> = sqlx::query_scalar(
        "with found as (
             select distinct on (url) f.url, f.origin, f.lastmod, f.news, f.hops,
                    p.url is not null and p.source_name = any($9) as known,
                    p.fetched_at is not null and f.lastmod > coalesce(p.lastmod, p.fetched_at) as newer
               from (select url, origin, news, hops,
                            case when lastmod < clock_timestamp() + interval '1 day' then lastmod end as lastmod
                       from unnest($2::text[], $3::text[], $4::timestamptz[], $5::bool[], $8::smallint[])
                            as f(url, origin, lastmod, news, hops)) f
               left join fallah.page p using (url)
              where exists (select from fallah.host h where h.origin = f.origin)
              order by url, lastmod desc nulls last
         ), counted as (
             select *, row_number() over (partition by known, newer order by lastmod desc, url) as nth from found
         )
         insert into fallah.page as p (url, source_name, origin, lastmod, newest_at, rank, hops, due_at, ready)
         select url, $1, origin, lastmod,
                least(coalesce(lastmod, clock_timestamp()), clock_timestamp()),
                case when lastmod > clock_timestamp() - $6 * interval '1 microsecond' or news then 3 else 0 end,
                hops, clock_timestamp(), true
           from counted
          where not known or (newer and nth <= $7)
          order by url
         on conflict (url) do update
            set lastmod = coalesce(excluded.lastmod, p.lastmod), newest_at = excluded.newest_at, lastmod_asked = true,
                source_name = case when p.source_name = any($9) then p.source_name else excluded.source_name end,
                ready = true, due_at = clock_timestamp(),
                rank = case when excluded.lastmod > clock_timestamp() - $6 * interval '1 microsecond' then 3 else 2 end
          where (p.fetched_at is not null and excluded.lastmod > coalesce(p.lastmod, p.fetched_at))
             or p.source_name <> all($9)
         returning (xmax = 0)",
    )
    .bind(source)
    .bind(column(|found| &found.url))
    .bind(column(|found| &found.origin))
    .bind(found.iter().map(|found| found.lastmod.as_deref()).collect::<Vec<_>>())
    .bind(found.iter().map(|found| found.news).collect::<Vec<_>>())
    .bind(us(news_for))
    .bind(i64::try_from(believed_max).unwrap_or(i64::MAX))
    .bind(found.iter().map(|found| found.hops).collect::<Vec<_>>())
    .bind(named)
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let new = added.iter().filter(|new| **new).count() as u64;
    Ok((new, added.len() as u64 - new))
}

/// Whether a page was fetched and shows nothing.
pub(crate) async fn is_barren(db: &PgPool, url: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select from fallah.page where url = $1 and fetched_at is not null
                           and (source_url is null or vanished_at is not null))",
    )
    .bind(url)
    .fetch_one(db)
    .await
}
