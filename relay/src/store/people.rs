//! What people ask: how does it stand, and who is in the way?

use serde::Serialize;
use sqlx::{FromRow, PgConnection};

type Result<T> = std::result::Result<T, sqlx::Error>;

/// One stream, as `relay status` shows it.
#[derive(Debug, Serialize, FromRow)]
pub(crate) struct StreamStatus {
    pub(crate) stream: String,
    pub(crate) unsent: i64,
    pub(crate) oldest_unsent_seconds: Option<f64>,
    pub(crate) held: i64,
    pub(crate) dead: i64,
    pub(crate) sent_seq: i64,
    pub(crate) sent_at: Option<String>,
}

/// One group of a stream.
#[derive(Debug, Serialize, FromRow)]
pub(crate) struct GroupStatus {
    pub(crate) stream: String,
    pub(crate) name: String,
    pub(crate) delivered_seq: i64,
    pub(crate) settled_seq: i64,
    pub(crate) pending: i64,
    pub(crate) dead: i64,
    /// That were heard of within a minute.
    pub(crate) consumers: i64,
    /// Events that it has not settled, counted from the rows.
    pub(crate) lag: i64,
    pub(crate) oldest_seconds: Option<f64>,
}

/// What one consumer has done since it started.
#[derive(Debug, Serialize, FromRow)]
pub(crate) struct ConsumerStatus {
    pub(crate) stream: String,
    pub(crate) group_name: String,
    pub(crate) consumer: String,
    pub(crate) processed: i64,
    pub(crate) failed: i64,
    pub(crate) retried: i64,
    pub(crate) buried: i64,
    pub(crate) lost: i64,
    pub(crate) handling_mean_us: i64,
    pub(crate) handling_p99_us: i64,
    pub(crate) last_active_seconds: Option<f64>,
}

/// The relay itself.
#[derive(Debug, Serialize, FromRow)]
pub(crate) struct RelayStatus {
    /// Who holds the lease, if anyone does.
    pub(crate) holder: Option<String>,
    /// If nobody does: when somebody last did.
    pub(crate) last_seen_seconds: Option<f64>,
    pub(crate) frontier: i64,
    /// The newest number that was given out.
    pub(crate) last: i64,
    pub(crate) overtaken: i64,
}

/// A transaction that writes to the outbox and has not ended.
#[derive(Debug, Serialize, FromRow)]
pub(crate) struct Blocker {
    pub(crate) pid: Option<i32>,
    pub(crate) application: String,
    pub(crate) client: String,
    pub(crate) state: String,
    pub(crate) open_seconds: Option<f64>,
}

pub(crate) async fn relay(db: &mut PgConnection) -> Result<RelayStatus> {
    sqlx::query_as(
        "select case when lease_until > clock_timestamp() then holder end as holder,
                case when lease_until <= clock_timestamp()
                     then round(extract(epoch from clock_timestamp() - lease_until), 3)::float8 end as last_seen_seconds,
                frontier,
                (select case when is_called then last_value else 0 end from outbox_seq_seq) as last,
                (select count(*) from outbox_overtaken) as overtaken
           from outbox_relay",
    )
    .fetch_one(db)
    .await
}

pub(crate) async fn streams(db: &mut PgConnection) -> Result<Vec<StreamStatus>> {
    sqlx::query_as(
        "select stream, unsent, extract(epoch from oldest_age)::float8 as oldest_unsent_seconds, held, dead, sent_seq,
                to_char(sent_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') as sent_at
           from outbox_backlog order by stream",
    )
    .fetch_all(db)
    .await
}

pub(crate) async fn groups(db: &mut PgConnection) -> Result<Vec<GroupStatus>> {
    sqlx::query_as(
        "select stream, group_name as name, delivered_seq, settled_seq, pending, dead, consumers, lag,
                case when lag > 0 then extract(epoch from oldest_age)::float8 end as oldest_seconds
           from outbox_lag order by stream, group_name",
    )
    .fetch_all(db)
    .await
}

/// Consumers that were heard of within an hour.
pub(crate) async fn consumers(db: &mut PgConnection) -> Result<Vec<ConsumerStatus>> {
    sqlx::query_as(
        "select stream, group_name, consumer, processed, failed, retried, buried, lost, handling_mean_us, handling_p99_us,
                round(extract(epoch from clock_timestamp() - last_active_at), 3)::float8 as last_active_seconds
           from outbox_consumer
          where seen_at > now() - interval '1 hour'
          order by stream, group_name, consumer",
    )
    .fetch_all(db)
    .await
}

/// Who writes to the outbox and has not ended, the oldest first. Statements are not shown: they may hold payloads. Of
/// other users' sessions Postgres shows only the pid, unless the asker may read all statistics.
pub(crate) async fn blockers(db: &mut PgConnection) -> Result<Vec<Blocker>> {
    sqlx::query_as(
        "select l.pid,
                coalesce(a.application_name, 'prepared transaction ' || p.gid, '') as application,
                case when l.pid is null then coalesce(p.owner, '')
                     when a.state is null then 'hidden'
                     else coalesce(host(a.client_addr), 'local') end as client,
                case when l.pid is null then 'prepared' else coalesce(a.state, 'hidden') end as state,
                round(extract(epoch from clock_timestamp() - coalesce(a.xact_start, p.prepared)), 3)::float8 as open_seconds
           from (select distinct pid, virtualtransaction from pg_locks
                  where locktype = 'relation' and relation = 'outbox'::regclass and mode = 'RowExclusiveLock' and granted
                    and database = (select oid from pg_database where datname = current_database())) l
           left join pg_stat_activity a on a.pid = l.pid
           left join pg_locks x on l.pid is null and x.virtualtransaction = l.virtualtransaction
                               and x.locktype = 'transactionid'
           left join pg_prepared_xacts p on p.transaction = x.transactionid
          order by open_seconds desc nulls last",
    )
    .fetch_all(db)
    .await
}
