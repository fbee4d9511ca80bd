//! The ground that is measured on: both servers, the outbox's tables, rows to drain, and a relay as a real process.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use outbox::Event;
use outbox_tests::measure;
use outbox_tests::{Child, Postgres, Redis, binary};
use redis::aio::MultiplexedConnection;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

pub const STREAM: &str = "bench";
pub const PAYLOAD_BYTES: usize = 400;

/// As a small server is set up, but for these: no checkpoint and no vacuum falls into one round and not into the next.
const POSTGRES: [(&str, &str); 7] = [
    ("shared_buffers", "512MB"),
    ("max_wal_size", "16GB"),
    ("checkpoint_timeout", "1h"),
    ("autovacuum", "off"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("max_connections", "60"),
];
/// The same for Redis's append-only file (everysec): it is rewritten between the rounds.
const REDIS: [&str; 2] = ["--auto-aof-rewrite-percentage", "0"];

/// What the conditions of a section say of the servers.
pub const SERVERS: &str = "Redis with appendonly everysec; no autovacuum, checkpoint or AOF rewrite within a round";

pub struct Ground {
    pub postgres: Postgres,
    pub redis: Redis,
    pub url: String,
    pub db: PgConnection,
    pub cache: MultiplexedConnection,
}

impl Ground {
    /// Servers whose commits wait for nothing.
    pub async fn new() -> Result<Self> {
        Self::with(&[("fsync", "off")]).await
    }

    /// Servers whose commits wait for the disk, which `slow_disk` has made slow.
    pub async fn with_slow_commits() -> Result<Self> {
        Self::with(&[("fsync", "on"), ("wal_sync_method", "fdatasync")]).await
    }

    async fn with(settings: &[(&str, &str)]) -> Result<Self> {
        let settings = [&POSTGRES, settings].concat();
        let (postgres, redis) = tokio::try_join!(Postgres::launch(&settings), Redis::launch(&REDIS))?;
        let (url, db) = migrated(&postgres).await?;
        let cache = redis.connection().await;
        Ok(Self { postgres, redis, url, db, cache })
    }

    /// The same servers with another, empty outbox.
    pub async fn another(&mut self) -> Result<()> {
        (self.url, self.db) = migrated(&self.postgres).await?;
        Ok(())
    }

    pub async fn connect(&self) -> Result<PgConnection> {
        Ok(PgConnection::connect(&self.url).await?)
    }

    pub async fn sql(&mut self, statements: &str) -> Result<()> {
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut self.db).await?;
        Ok(())
    }

    /// Empty tables and an empty Redis, whose file is small again.
    pub async fn clear(&mut self) -> Result<()> {
        self.sql(
            "truncate outbox, outbox_stream, outbox_receipt, outbox_group, outbox_overtaken restart identity;
             update outbox_relay set holder = null, lease_until = null, frontier = 0;
             select setval('outbox_doorbell', 0);",
        )
        .await?;
        self.clear_redis().await
    }

    pub async fn clear_redis(&mut self) -> Result<()> {
        redis::cmd("FLUSHALL").exec_async(&mut self.cache).await?;
        redis::cmd("BGREWRITEAOF").exec_async(&mut self.cache).await?;
        loop {
            let info: String = redis::cmd("INFO").arg("persistence").query_async(&mut self.cache).await?;
            if info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0") {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Rows that producers wrote a moment ago: nobody has read them yet, and no vacuum has seen them.
    pub async fn load(&mut self, rows: i64) -> Result<()> {
        self.insert(rows).await?;
        self.sql("analyze outbox; checkpoint;").await
    }

    /// Rows by the million: indexes are built at the end.
    pub async fn load_millions(&mut self, rows: i64) -> Result<()> {
        const CHUNK: i64 = 1_000_000;
        self.sql("alter table outbox drop constraint outbox_pkey, drop constraint outbox_id_taken").await?;
        for done in (0..rows).step_by(CHUNK as usize) {
            crate::progress::show(&format!("loading rows: {done} of {rows}"));
            self.insert(CHUNK.min(rows - done)).await?;
        }
        crate::progress::show("indexing them");
        self.sql("alter table outbox add primary key (stream, seq), add constraint outbox_id_taken unique (id)")
            .await?;
        self.sql("vacuum (analyze) outbox").await
    }

    /// What [`event`] makes, many times, by SQL.
    async fn insert(&mut self, rows: i64) -> Result<()> {
        let last = "select outbox_newest()";
        let last: i64 = sqlx::query_scalar(last).fetch_one(&mut self.db).await?;
        let statement = format!(
            r#"insert into outbox (stream, type, key, id, payload)
               select '{STREAM}', 'bench.happened', 'key-' || n % 1000,
                      '01920000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'),
                      (rpad('{{"n": ' || n || ', "text": "', {filled}, 'x') || '"}}')::json
                 from generate_series({last} + 1, {last} + {rows}) as n"#,
            filled = PAYLOAD_BYTES - 2
        );
        self.sql(&statement).await
    }

    /// Makes all rows up to the newest number sent ones: the relay's checkpoint and receipts say so, and so does the
    /// top of the stream in Redis, which holds its newest entry only.
    pub async fn pretend_sent(&mut self, upto: i64) -> Result<()> {
        const RECEIPT_ROWS: i64 = 100;
        let (checkpoint, receipts) = (
            "insert into outbox_stream (stream, sent_seq, sent_at) values ($1, $2, now())
             on conflict (stream) do update set sent_seq = excluded.sent_seq",
            "insert into outbox_receipt (stream, first_seq, last_seq, entries, published_at)
             select $1, first, least(first + $3 - 1, $2), least($3, $2 - first + 1), now()
               from generate_series((select coalesce(max(last_seq), 0) + 1 from outbox_receipt where stream = $1), $2, $3)
                    as first",
        );
        sqlx::query(checkpoint).bind(STREAM).bind(upto).execute(&mut self.db).await?;
        sqlx::query(receipts).bind(STREAM).bind(upto).bind(RECEIPT_ROWS).execute(&mut self.db).await?;
        sqlx::query("update outbox_relay set holder = null, lease_until = null, frontier = $1")
            .bind(upto)
            .execute(&mut self.db)
            .await?;
        self.sql("analyze outbox_receipt, outbox_stream").await?;
        self.clear_redis().await?;
        // The relay compares it with its row.
        let newest: Option<String> = sqlx::query_scalar("select id::text from outbox where stream = $1 and seq = $2")
            .bind(STREAM)
            .bind(upto)
            .fetch_optional(&mut self.db)
            .await?;
        let newest = newest.unwrap_or_else(|| "a row that is no more".to_owned());
        redis::cmd("XADD")
            .arg(STREAM)
            .arg(format!("1-{upto}"))
            .arg("id")
            .arg(newest)
            .exec_async(&mut self.cache)
            .await?;
        Ok(())
    }

    pub async fn newest_number(&mut self) -> Result<i64> {
        Ok(sqlx::query_scalar("select coalesce(max(seq), 0) from outbox").fetch_one(&mut self.db).await?)
    }

    /// The relay's own program, with more flags.
    pub fn relay(&self, flags: &[&str]) -> Child {
        self.relay_at("off", flags)
    }

    /// The same, with its HTTP surface on a free port.
    pub fn relay_that_listens(&self, flags: &[&str]) -> Child {
        self.relay_at("127.0.0.1:0", flags)
    }

    fn relay_at(&self, listen: &str, flags: &[&str]) -> Child {
        let mut command = Command::new(binary("relay"));
        command.arg("run").args(flags).env("DATABASE_URL", &self.url).env("REDIS_URL", self.redis.url());
        command.env("RELAY_LISTEN", listen);
        Child::spawn(command)
    }

    /// Kills a relay, and lets the next one work at once.
    pub async fn end(&mut self, mut relay: Child) -> Result<()> {
        relay.kill_9();
        relay.wait().await;
        self.sql("update outbox_relay set holder = null, lease_until = null").await
    }

    pub async fn entries(&mut self) -> Result<i64> {
        Ok(redis::cmd("XLEN").arg(STREAM).query_async(&mut self.cache).await?)
    }

    /// Processor time so far of the sessions that serve the relay.
    pub async fn relay_sessions_cpu(&mut self) -> Result<Option<Duration>> {
        self.postgres_cpu("select pid from pg_stat_activity where application_name = 'relay'").await
    }

    /// Of all of Postgres, but for the session that asks.
    pub async fn all_postgres_cpu(&mut self) -> Result<Option<Duration>> {
        self.postgres_cpu("select pid from pg_stat_activity where pid <> pg_backend_pid()").await
    }

    async fn postgres_cpu(&mut self, pids: &str) -> Result<Option<Duration>> {
        let pids: Vec<i32> = sqlx::query_scalar(AssertSqlSafe(pids)).fetch_all(&mut self.db).await?;
        Ok(pids.into_iter().map(|pid| measure::cpu(pid.unsigned_abs())).sum())
    }

    pub async fn redis_cpu(&mut self) -> Result<Option<Duration>> {
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut self.cache).await?;
        let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")?.trim().parse().ok());
        Ok(pid.and_then(measure::cpu))
    }
}

/// The event that everything here is about. `nth` makes its id unique in a table.
pub fn event(nth: u64) -> Result<Event> {
    let payload = format!(r#"{{"n": {nth}, "text": ""#);
    let filled = format!("{payload:x<width$}\"}}", width = PAYLOAD_BYTES - 2);
    Ok(Event::draft(STREAM, "bench.happened").key(format!("key-{}", nth % 1000)).id(id(nth)).raw_json(filled)?)
}

/// Ids as long as a UUID, and rising as a UUIDv7 does.
pub fn id(nth: u64) -> String {
    format!("01920000-0000-7000-8000-{nth:012x}")
}

async fn migrated(postgres: &Postgres) -> Result<(String, PgConnection)> {
    let url = postgres.database().await;
    let mut db = PgConnection::connect(&url).await?;
    outbox::migrate(&mut db, "public").await?;
    Ok((url, db))
}
