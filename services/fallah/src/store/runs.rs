//! Runs: which of them live. What a dead one had under way is free at once, for whoever comes next.

use sqlx::{Connection, PgConnection, PgPool};

/// The first half of the lock's number; the second is the run's own.
const RUNS: i32 = 0x0066_616c;

/// A run, for as long as its connection stands: Postgres takes the lock back when that ends, however it ends.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) number: i32,
    lock: PgConnection,
}

impl Run {
    /// Takes a number, and holds its lock.
    pub(crate) async fn begin(db: &PgPool) -> sqlx::Result<Self> {
        let mut lock = PgConnection::connect_with(&db.connect_options()).await?;
        let number = sqlx::query_scalar("select nextval('fallah.run')::int").fetch_one(&mut lock).await?;
        hold(&mut lock, number).await?;
        Ok(Self { number, lock })
    }

    /// Sees to it that the lock is held, also after Postgres was away.
    pub(crate) async fn live_on(&mut self, db: &PgPool) -> sqlx::Result<()> {
        if self.lock.ping().await.is_ok() {
            return Ok(());
        }
        self.lock = PgConnection::connect_with(&db.connect_options()).await?;
        hold(&mut self.lock, self.number).await
    }
}

async fn hold(lock: &mut PgConnection, number: i32) -> sqlx::Result<()> {
    // Shared: where Postgres has not yet seen the end of the lost connection, this one must not wait for it.
    sqlx::query("select pg_advisory_lock_shared($1, $2)").bind(RUNS).bind(number).execute(lock).await?;
    Ok(())
}

/// Frees what dead runs had under way. Returns how much that was.
pub(crate) async fn bury(db: &PgPool) -> sqlx::Result<u64> {
    let dead = dead(db).await?;
    if dead.is_empty() {
        return Ok(0);
    }
    let mut freed = 0;
    freed += free_hosts(db, &dead).await?;
    freed += free_lists(db, &dead).await?;
    freed += free_pages(db, &dead).await?;
    Ok(freed)
}

/// Runs that hold leases and no lock.
async fn dead(db: &PgPool) -> sqlx::Result<Vec<i32>> {
    sqlx::query_scalar(
        "select run from (select leased_by as run from fallah.host where leased_by is not null
                          union select leased_by from fallah.list where leased_by is not null
                          union select leased_by from fallah.page where leased_by is not null) runs
          where not exists (select from pg_locks
                             where locktype = 'advisory' and granted and objsubid = 2
                               and database = (select oid from pg_database where datname = current_database())
                               and classid::bigint = $1 and objid::bigint = run)",
    )
    .bind(i64::from(RUNS))
    .fetch_all(db)
    .await
}

async fn free_hosts(db: &PgPool, dead: &[i32]) -> sqlx::Result<u64> {
    // Its request may have begun a moment ago, so the delay begins anew.
    let freed = sqlx::query(
        "update fallah.host
            set leased_by = null, busy_until = null, next_at = clock_timestamp() + delay_us * interval '1 microsecond'
          where leased_by = any($1)",
    );
    Ok(freed.bind(dead).execute(db).await?.rows_affected())
}

async fn free_lists(db: &PgPool, dead: &[i32]) -> sqlx::Result<u64> {
    let freed = sqlx::query(
        "update fallah.list set leased_by = null, ready = true, due_at = clock_timestamp() where leased_by = any($1)",
    );
    Ok(freed.bind(dead).execute(db).await?.rows_affected())
}

async fn free_pages(db: &PgPool, dead: &[i32]) -> sqlx::Result<u64> {
    let freed = sqlx::query(
        "update fallah.page set leased_by = null, ready = true, due_at = clock_timestamp() where leased_by = any($1)",
    );
    Ok(freed.bind(dead).execute(db).await?.rows_affected())
}
