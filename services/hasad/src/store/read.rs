//! What people and other programs ask.

use serde::Serialize;
use sqlx::PgPool;

/// A version of a page.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub struct Version {
    /// The page.
    pub source_url: String,
    /// Its number: it rises with each event of the page.
    pub version: i64,
    /// `active`, `superseded` or `deleted`.
    pub status: String,
    /// Since when.
    pub status_at: String,
    /// Why it was deleted.
    pub reason: Option<String>,
    /// The object that holds its content; none: it is about a deletion.
    pub object_hash: Option<String>,
    /// The source.
    pub source_name: String,
    /// Its title.
    pub title: Option<String>,
    /// When it was seen.
    pub fetched_at: String,
    /// When it was archived.
    pub archived_at: String,
    /// The event that told it.
    pub event_id: String,
    #[serde(skip)]
    pub(crate) about: String,
}

/// The columns of [`Version`], times as RFC 3339.
macro_rules! versions {
    ($rest:literal) => {
        concat!(
            "select v.source_url, v.version, v.status, v.reason, v.object_hash, v.source_name, v.title, v.event_id,
                    to_char(v.status_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') as status_at,
                    to_char(v.fetched_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') as fetched_at,
                    to_char(v.archived_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') as archived_at,
                    v.about::text as about
               from hasad.version v ",
            $rest
        )
    };
}

/// Every version of a page, the oldest first.
pub(crate) async fn history(db: &PgPool, url: &str) -> sqlx::Result<Vec<Version>> {
    sqlx::query_as(versions!("where v.source_url = $1 order by v.version")).bind(url).fetch_all(db).await
}

/// One version of a page; without a number the newest.
pub(crate) async fn one(db: &PgPool, url: &str, version: Option<i64>) -> sqlx::Result<Option<Version>> {
    sqlx::query_as(versions!(
        "where v.source_url = $1 and v.version = coalesce($2, (select max(version) from hasad.version where source_url = $1))"
    ))
    .bind(url)
    .bind(version)
    .fetch_optional(db)
    .await
}

/// What a page said at a time: of the versions that had been fetched by then the highest.
pub(crate) async fn at(db: &PgPool, url: &str, time: &str) -> sqlx::Result<Option<Version>> {
    sqlx::query_as(versions!(
        "where v.source_url = $1 and v.fetched_at <= $2::timestamptz order by v.version desc limit 1"
    ))
    .bind(url)
    .bind(time)
    .fetch_optional(db)
    .await
}

/// The next versions in the order of page and number, for an export.
pub(crate) async fn export_after(
    db: &PgPool,
    after: Option<&(String, i64)>,
    source_name: Option<&str>,
    only_current: bool,
    count_max: i64,
) -> sqlx::Result<Vec<Version>> {
    sqlx::query_as(versions!(
        "where (v.source_url, v.version) > ($1, $2) and ($3::text is null or v.source_name = $3)
           and (not $4 or v.status <> 'superseded')
         order by v.source_url, v.version limit $5"
    ))
    .bind(after.map_or("", |(url, _)| url))
    .bind(after.map_or(0, |(_, version)| *version))
    .bind(source_name)
    .bind(only_current)
    .bind(count_max)
    .fetch_all(db)
    .await
}

/// How many versions there are, about: for a progress bar.
pub(crate) async fn size(db: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from hasad.version").fetch_one(db).await
}

/// How many versions there are, and how many of them are active; counted no further than this.
pub(crate) async fn count(db: &PgPool, most: i64) -> sqlx::Result<(i64, i64)> {
    sqlx::query_as(
        "select count(*), count(*) filter (where status = 'active') from (select status from hasad.version limit $1) v",
    )
    .bind(most)
    .fetch_one(db)
    .await
}

/// Which archive this is.
pub(crate) async fn id(db: &PgPool) -> sqlx::Result<String> {
    sqlx::query_scalar("select id from hasad.archive").fetch_one(db).await
}
