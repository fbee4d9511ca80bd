//! Facts of Postgres by which events can be lost or held up. Each is asked by itself, and judged elsewhere.

use std::time::Duration;

use sqlx::{FromRow, PgConnection};
use tokio::time::timeout;

use super::Result;

/// Settings, as a fresh session of the relay's user has them.
#[derive(Debug, FromRow)]
pub(crate) struct Settings {
    pub(crate) fsync: String,
    pub(crate) full_page_writes: String,
    pub(crate) synchronous_commit: String,
    /// Its clock, in Unix time.
    pub(crate) clock: f64,
}

pub(crate) async fn settings(db: &mut PgConnection) -> Result<Settings> {
    sqlx::query_as(
        "select current_setting('fsync') as fsync, current_setting('full_page_writes') as full_page_writes,
                current_setting('synchronous_commit') as synchronous_commit,
                extract(epoch from clock_timestamp())::float8 as clock",
    )
    .fetch_one(db)
    .await
}

/// Roles, and databases, for which commits are not durable, by their own settings.
pub(crate) async fn forgetful(db: &mut PgConnection) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "select coalesce(r.rolname, 'everybody') || ' in ' || coalesce(d.datname, 'any database')
           from pg_db_role_setting s
           left join pg_roles r on r.oid = s.setrole
           left join pg_database d on d.oid = s.setdatabase
          where 'synchronous_commit=off' = any(s.setconfig)
            and (s.setdatabase = 0 or d.datname = current_database())
          order by 1",
    )
    .fetch_all(db)
    .await
}

/// Tables of the outbox that a crash empties.
pub(crate) async fn unlogged(db: &mut PgConnection) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "select relname::text from pg_class
          where relnamespace = current_schema()::regnamespace and relname like 'outbox%' and relkind in ('r', 'S')
            and relpersistence <> 'p'
          order by 1",
    )
    .fetch_all(db)
    .await
}

/// Whether the trigger that wakes a sleeping relay was switched off or dropped.
pub(crate) async fn bell_is_off(db: &mut PgConnection) -> Result<bool> {
    sqlx::query_scalar(
        "select not exists (select from pg_trigger
                             where tgrelid = 'outbox'::regclass and tgname = 'outbox_ring' and tgenabled in ('O', 'A'))",
    )
    .fetch_one(db)
    .await
}

/// Groups that still need events whose rows retention has deleted: only Redis has them.
pub(crate) async fn groups_behind_retention(db: &mut PgConnection) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "select g.name || ' of ' || g.stream from outbox_group g join outbox_stream s on s.stream = g.stream
          where g.settled_seq < s.pruned_seq and (g.pending > 0 or g.delivered_seq < s.pruned_seq)
          order by 1",
    )
    .fetch_all(db)
    .await
}

/// Transactions that have written to the outbox and have been open for longer than this, in words.
pub(crate) async fn open_for_long(db: &mut PgConnection, seconds_max: f64) -> Result<Vec<String>> {
    let blockers = super::people::blockers(db).await?;
    let old =
        blockers.into_iter().filter(|blocker| blocker.open_seconds.is_some_and(|seconds| seconds > seconds_max));
    let words = |blocker: super::people::Blocker| match blocker.pid {
        Some(pid) => format!("pid {pid} ({})", blocker.application),
        None => blocker.application,
    };
    Ok(old.map(words).collect())
}

/// Streams that are known, for questions to Redis.
pub(crate) async fn streams(db: &mut PgConnection) -> Result<Vec<String>> {
    sqlx::query_scalar("select stream from outbox_stream order by stream").fetch_all(db).await
}

/// A session of ours answers at once, whatever another one does.
const OTHERS_SESSION_MAX: Duration = Duration::from_secs(3);

/// So often both sessions are looked at. Others who come and go at the same moment may hide it once.
const SESSION_LOOKS: u32 = 4;

/// Whether two sessions of ours are not ours alone. Asked in plain text: behind such a pooler nothing that is prepared lasts.
pub(crate) async fn sessions_wander(one: &mut PgConnection, other: &mut PgConnection) -> Result<bool> {
    let mut known = None;
    for look in 0..SESSION_LOOKS {
        let Some(first) = begun(one).await? else { return Ok(true) };
        // Where there is one session for both of us it is taken now, and we would wait for ourselves.
        let Ok(second) = timeout(OTHERS_SESSION_MAX, begun(other)).await else { return Ok(true) };
        let Some(second) = second? else { return Ok(true) };
        // Who begins next gets the session that came back last, or the one that came back first: one of the two orders
        // gives ours to the other.
        let (sooner, later) = if look % 2 == 0 { (&mut *one, &mut *other) } else { (&mut *other, &mut *one) };
        sqlx::raw_sql("rollback").execute(sooner).await?;
        sqlx::raw_sql("rollback").execute(later).await?;
        if known.replace((first, second)).is_some_and(|known| known != (first, second)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Begins a transaction and says in which session. None where a pooler gives them away even between statements.
async fn begun(db: &mut PgConnection) -> Result<Option<i32>> {
    use sqlx::Row;
    match sqlx::raw_sql("begin; select pg_backend_pid()").fetch_one(db).await {
        Err(sqlx::Error::Database(error)) if error.message().contains("pooling mode") => Ok(None),
        answer => answer?.try_get(0).map(Some),
    }
}
