//! What people ask: how does it stand, and who is in the way?

use serde::Serialize;
use sqlx::{AssertSqlSafe, FromRow, PgConnection};
use utoipa::ToSchema;

type Result<T> = std::result::Result<T, sqlx::Error>;

/// So many rows are counted; of more it is told how many there are by how densely their numbers are taken.
const COUNTED_MAX: i64 = 100_000;
/// The rate of a stream is that of its receipts of so many seconds.
const RATE_SECONDS: i64 = 10;

/// One stream, as `relay status` shows it.
#[derive(Debug, Clone, Serialize, FromRow, ToSchema)]
pub(crate) struct StreamStatus {
    pub(crate) stream: String,
    /// Committed, and not sent yet. Over 100,000 it is an estimate.
    pub(crate) unsent: i64,
    pub(crate) oldest_unsent_seconds: Option<f64>,
    /// Why Redis refuses the oldest unsent event, if it does: all others of the stream wait behind it.
    pub(crate) refusal: Option<String>,
    /// Scheduled for later, or waiting after a refusal.
    pub(crate) held: i64,
    /// That could not be sent.
    pub(crate) dead: i64,
    pub(crate) sent_seq: i64,
    pub(crate) sent_at: Option<String>,
    /// Over the last ten seconds, whichever relay sent them.
    pub(crate) sent_per_second: f64,
    /// Since when somebody has asked that nothing be sent here, or anywhere.
    pub(crate) paused_at: Option<String>,
    pub(crate) paused_by: Option<String>,
}

/// One group of a stream.
#[derive(Debug, Clone, Serialize, FromRow, ToSchema)]
pub(crate) struct GroupStatus {
    pub(crate) stream: String,
    pub(crate) name: String,
    pub(crate) delivered_seq: i64,
    pub(crate) settled_seq: i64,
    /// In the hands of its consumers.
    pub(crate) pending: i64,
    /// That its handler could not make take effect.
    pub(crate) dead: i64,
    /// That were heard of within a minute.
    pub(crate) consumers: i64,
    /// Events that it has not settled, counted from the rows. Over 100,000 it is an estimate.
    pub(crate) lag: i64,
    pub(crate) oldest_seconds: Option<f64>,
}

/// What one consumer has done since it started.
#[derive(Debug, Clone, Serialize, FromRow, ToSchema)]
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
#[derive(Debug, Clone, Serialize, FromRow, ToSchema)]
pub(crate) struct RelayStatus {
    /// Who holds the lease, if anyone does.
    pub(crate) holder: Option<String>,
    /// If nobody does: when somebody last did.
    pub(crate) last_seen_seconds: Option<f64>,
    /// How long ago a relay last wrote down something that Redis had said; none: never.
    pub(crate) redis_seen_seconds: Option<f64>,
    pub(crate) frontier: i64,
    /// The newest number that was given out.
    pub(crate) last: i64,
    /// Numbers of open transactions that were gone past and are not decided yet.
    pub(crate) overtaken: i64,
    /// Events that Redis refused while it took later ones, and that somebody has locked: they are set aside once they are free.
    pub(crate) left_behind: i64,
    /// Dead letters that wait for a person, those of groups that are gone among them.
    pub(crate) dead: i64,
    /// Since when somebody has asked that nothing be sent anywhere.
    pub(crate) paused_at: Option<String>,
    pub(crate) paused_by: Option<String>,
}

/// A transaction that writes to the outbox and has not ended.
#[derive(Debug, Clone, Serialize, FromRow, ToSchema)]
pub(crate) struct Blocker {
    pub(crate) pid: Option<i32>,
    pub(crate) application: String,
    pub(crate) client: String,
    pub(crate) state: String,
    pub(crate) open_seconds: Option<f64>,
}

/// A time as people and programs read it, to the millisecond.
pub(super) fn utc(time: &str) -> String {
    format!("to_char({time} at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')")
}

pub(crate) async fn relay(db: &mut PgConnection) -> Result<RelayStatus> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select case when lease_until > clock_timestamp() then holder end as holder,
                case when lease_until <= clock_timestamp()
                     then round(extract(epoch from clock_timestamp() - lease_until), 3)::float8 end as last_seen_seconds,
                round(extract(epoch from clock_timestamp() - greatest((select max(seen_at) from outbox_group),
                                                                      (select max(sent_at) from outbox_stream))), 3)::float8
                    as redis_seen_seconds,
                frontier,
                outbox_newest() as last,
                (select count(*) from outbox_overtaken where writers <> '{{}}') as overtaken,
                (select count(*) from outbox_overtaken where writers = '{{}}') as left_behind,
                (select count(*) from outbox where due_at = 'infinity')
                + (select count(*) from outbox_dead_letter where replayed_at is null and dropped_at is null) as dead,
                {} as paused_at, paused_by
           from outbox_relay",
        utc("paused_at")
    )))
    .fetch_one(db)
    .await
}

/// How many rows of a stream lie above one number and not above another: counted up to `COUNTED_MAX`, so that the answer
/// comes in milliseconds however much waits; of more, told by how densely their numbers are taken.
fn rows_between(stream: &str, above: &str, upto: &str) -> String {
    format!(
        "(select case when count(*) < {COUNTED_MAX} then count(*)
                      else (count(*) * ({upto} - {above})::numeric / (max(seq) - {above}))::bigint end
            from (select o.seq from outbox o
                   where o.stream = {stream} and o.seq > {above} and o.seq <= {upto} and o.due_at is null
                   order by o.seq
                   limit {COUNTED_MAX}) counted)"
    )
}

/// Every stream. What is unsent lies between what was sent and the newest row.
pub(crate) async fn streams(db: &mut PgConnection) -> Result<Vec<StreamStatus>> {
    let (unsent, sent_at, paused_at) = (
        rows_between("n.stream", "n.sent_seq", "n.newest"),
        utc("n.sent_at"),
        utc("coalesce(n.paused_at, r.paused_at)"),
    );
    sqlx::query_as(AssertSqlSafe(format!(
        "select n.stream, {unsent} as unsent,
                extract(epoch from date_trunc('milliseconds', clock_timestamp() - oldest.created_at))::float8 as oldest_unsent_seconds,
                case when oldest.attempts > 0 then oldest.last_error end as refusal,
                coalesce(h.held, 0) as held, coalesce(h.dead, 0) as dead,
                n.sent_seq, {sent_at} as sent_at,
                coalesce(f.sent, 0)::float8 / {RATE_SECONDS} as sent_per_second,
                {paused_at} as paused_at, coalesce(n.paused_by, r.paused_by) as paused_by
           from (select coalesce(n.stream, s.stream) as stream, coalesce(s.sent_seq, 0) as sent_seq, s.sent_at,
                        s.paused_at, s.paused_by,
                        coalesce((select o.seq from outbox o where o.stream = n.stream order by o.seq desc limit 1), 0) as newest
                   from outbox_stream_names n full join outbox_stream s on s.stream = n.stream) n
          cross join outbox_relay r
           left join lateral (select o.created_at, o.attempts, o.last_error from outbox o
                               where o.stream = n.stream and o.seq > n.sent_seq and o.seq <= n.newest and o.due_at is null
                               order by o.seq limit 1) oldest on true
           left join (select stream, count(*) filter (where dead_at is null) as held,
                             count(*) filter (where dead_at is not null) as dead
                        from outbox where due_at is not null group by stream) h on h.stream = n.stream
           left join (select stream, sum(entries) as sent from outbox_receipt
                       where published_at > now() - interval '{RATE_SECONDS} seconds' group by stream) f on f.stream = n.stream
          order by n.stream"
    )))
    .fetch_all(db)
    .await
}

/// Every group. As the view `outbox_lag` tells it, but in milliseconds however far behind a group is.
pub(crate) async fn groups(db: &mut PgConnection) -> Result<Vec<GroupStatus>> {
    let unread = rows_between("g.stream", "g.delivered_seq", "s.sent_seq");
    sqlx::query_as(AssertSqlSafe(format!(
        "select stream, name, delivered_seq, settled_seq, pending, dead, consumers, lag,
                case when lag > 0 then oldest_seconds end as oldest_seconds
           from (select g.stream, g.name, g.delivered_seq, g.settled_seq, g.pending, coalesce(d.dead, 0) as dead, g.consumers,
                        {unread} + g.pending as lag,
                        (select extract(epoch from date_trunc('milliseconds', clock_timestamp() - o.created_at))::float8
                           from outbox o
                          where o.stream = g.stream and o.seq > g.settled_seq and o.seq <= s.sent_seq and o.due_at is null
                          order by o.seq limit 1) as oldest_seconds
                   from outbox_group g
                   join outbox_stream s on s.stream = g.stream
                   left join (select stream, group_name, count(*) as dead from outbox_dead_letter
                               where replayed_at is null and dropped_at is null
                               group by stream, group_name) d on d.stream = g.stream and d.group_name = g.name) g
          order by stream, name"
    )))
    .fetch_all(db)
    .await
}

/// Consumers that have done anything within an hour: of one that lives and has nothing to do nothing new is written down.
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
