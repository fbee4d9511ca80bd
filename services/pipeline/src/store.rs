//! Every statement of the pipeline's own: what the stages' tables say about how it stands.

use serde::Serialize;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};

/// Where the server that answers here has its data.
pub(crate) async fn data_folder(url: &str) -> sqlx::Result<String> {
    let options: PgConnectOptions = url.parse()?;
    let mut db = options.disable_statement_logging().connect().await?;
    let folder = sqlx::query_scalar("show data_directory").fetch_one(&mut db).await?;
    db.close().await?;
    Ok(folder)
}

/// Whether this session is now the one pipeline of its database.
pub(crate) async fn alone(db: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("select pg_try_advisory_lock(hashtext('pipeline'))").fetch_one(db).await
}

/// A session whose program is gone with its machine ends within a minute, and lets go of what it holds.
pub(crate) async fn notice_soon(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(
        "select set_config('tcp_keepalives_idle', '30', false), set_config('tcp_keepalives_interval', '10', false),
                set_config('tcp_keepalives_count', '3', false)",
    )
    .execute(db)
    .await?;
    Ok(())
}

/// What waits in the outbox for a stream, and how far the stream has come.
#[derive(Debug, Clone, Copy, Default, Serialize, sqlx::FromRow)]
pub(crate) struct Backlog {
    /// Not sent yet.
    pub(crate) waits: i64,
    pub(crate) oldest_seconds: Option<f64>,
    /// Waiting for their time.
    pub(crate) held: i64,
    /// Set aside.
    pub(crate) dead: i64,
    /// The newest that was sent.
    pub(crate) sent: i64,
}

pub(crate) async fn backlog(db: &PgPool, stream: &str) -> sqlx::Result<Backlog> {
    let row = sqlx::query_as(
        "select unsent as waits, extract(epoch from oldest_age)::float8 as oldest_seconds, held, dead, sent_seq as sent
           from outbox_backlog where stream = $1",
    )
    .bind(stream)
    .fetch_optional(db)
    .await?;
    Ok(row.unwrap_or_default())
}

/// How far a group has come.
#[derive(Debug, Clone, Serialize, sqlx::FromRow)]
pub(crate) struct Lag {
    #[serde(skip)]
    pub(crate) group_name: String,
    /// Entries that it has not settled.
    pub(crate) lag: i64,
    /// Dead letters.
    pub(crate) dead: i64,
}

pub(crate) async fn lags(db: &PgPool, stream: &str) -> sqlx::Result<Vec<Lag>> {
    sqlx::query_as("select group_name, lag::bigint as lag, dead::bigint as dead from outbox_lag where stream = $1")
        .bind(stream)
        .fetch_all(db)
        .await
}

/// Something that happened to an article.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Happened {
    pub(crate) url: String,
    pub(crate) version: Option<i64>,
    pub(crate) deleted: bool,
    /// Of the newest article at that address.
    pub(crate) title: Option<String>,
    pub(crate) at: String,
}

/// What happened last, the newest first.
pub(crate) async fn happened(db: &PgPool, stream: &str, most: i64) -> sqlx::Result<Vec<Happened>> {
    sqlx::query_as(
        "select o.key as url, (o.payload ->> 'version')::bigint as version, o.type = 'article.deleted' as deleted,
                coalesce(o.payload -> 'article' ->> 'title', i.payload -> 'article' ->> 'title') as title,
                to_char(o.created_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') as at
           from (select * from outbox where stream = $1 order by seq desc limit $2 * 4) o
           left join fallah.item i on i.source_url = o.key
          where o.type like 'article.%' and o.key is not null
          order by o.seq desc limit $2",
    )
    .bind(stream)
    .bind(most)
    .fetch_all(db)
    .await
}

/// Items that Fallah has and that are not deleted; counted no further than this.
pub(crate) async fn items(db: &PgPool, most: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar("select count(*) from (select from fallah.item where deleted_reason is null limit $1) i")
        .bind(most)
        .fetch_one(db)
        .await
}
