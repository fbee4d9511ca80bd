//! What nearly every test needs: a private Postgres with the outbox's tables, a private Redis, and a relay between them.

use std::collections::BTreeSet;
use std::process::Command;

use clap::Parser;
use outbox::{Enqueued, EntryId, Envelope, Event};
use relay::{Config, Relay, Tick};
use sqlx::{Connection, PgConnection, PgPool};

use crate::{Postgres, Proxy, Redis, binary, eventually};

/// Two servers, and tables in one of them.
pub struct Stage {
    pub postgres: Postgres,
    pub redis: Redis,
    pub database_url: String,
    pub pool: PgPool,
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    config: Config,
}

impl Stage {
    /// Both servers as they come.
    pub async fn set() -> Self {
        Self::set_with(&[], &[]).await
    }

    /// With settings of Postgres and flags of Redis.
    pub async fn set_with(postgres: &[(&str, &str)], redis: &[&str]) -> Self {
        let (postgres, redis) = tokio::join!(Postgres::start_with(postgres), Redis::start_with(redis));
        let database_url = postgres.database().await;
        let mut db = PgConnection::connect(&database_url).await.expect("the server has just answered");
        outbox::migrate(&mut db, "public").await.expect("a fresh database can be migrated");
        let pool = PgPool::connect(&database_url).await.expect("the server has just answered");
        Self { postgres, redis, database_url, pool }
    }

    /// The relay's settings, with flags on top.
    pub fn config(&self, flags: &[&str]) -> Config {
        config(&self.database_url, &self.redis.url(), flags)
    }

    /// Postgres over a wire.
    pub fn database_url_over(&self, wire: &Proxy) -> String {
        self.database_url.replace(&format!(":{}/", self.postgres.port()), &format!(":{}/", wire.port()))
    }

    /// Redis over a wire.
    pub fn redis_url_over(&self, wire: &Proxy) -> String {
        format!("redis://127.0.0.1:{}/", wire.port())
    }

    /// A relay in this process, which works at once (no lease to wait for).
    pub async fn relay(&self, flags: &[&str]) -> Relay {
        let flags = [&["--lease", "0"], flags].concat();
        Relay::connect(self.config(&flags)).await.expect("both stores are there")
    }

    /// The relay's binary, ready to be given a verb.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("relay"));
        command.args(arguments).env("DATABASE_URL", &self.database_url).env("REDIS_URL", self.redis.url());
        // Relays of many tests run side by side on this machine.
        command.env("RELAY_LISTEN", "off");
        command
    }

    /// One event with a small payload, committed. Returns its number.
    pub async fn enqueue(&self, stream: &str, id: &str) -> i64 {
        let event = Event::draft(stream, "test.happened").id(id).json(id).expect("within all limits");
        let mut tx = self.pool.begin().await.expect("Postgres is there");
        let enqueued = outbox::enqueue(&mut tx, &event).await.expect("Postgres is there");
        tx.commit().await.expect("Postgres is there");
        match enqueued {
            Enqueued::New { seq } => seq,
            Enqueued::Repeat => panic!("{id} was there already"),
        }
    }

    /// Many events in one transaction.
    pub async fn enqueue_many(&self, stream: &str, count: usize) {
        let event = |n| Event::draft(stream, "test.happened").id(format!("{stream}-{n}")).json(&n);
        let events: Vec<_> = (0..count).map(|n| event(n).expect("within all limits")).collect();
        let mut tx = self.pool.begin().await.expect("Postgres is there");
        for chunk in events.chunks(5_000) {
            let _ = outbox::enqueue_all(&mut tx, chunk).await.expect("Postgres is there");
        }
        tx.commit().await.expect("Postgres is there");
    }

    /// Everything in a stream, in its order.
    pub async fn entries(&self, stream: &str) -> Vec<(EntryId, Envelope)> {
        entries(&mut self.redis.connection().await, stream).await
    }

    /// The ids of the events in a stream, in its order.
    pub async fn ids(&self, stream: &str) -> Vec<String> {
        self.entries(stream).await.into_iter().map(|(_, envelope)| envelope.id).collect()
    }

    /// Statements, for what has no function.
    pub async fn sql(&self, statements: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&self.pool).await.expect(statements);
    }

    /// One value.
    pub async fn ask<T>(&self, query: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&self.pool).await.expect(query)
    }

    /// Lets a relay work until a stream holds so many entries.
    pub async fn until_entries(&self, relay: &mut Relay, stream: &str, count: usize) {
        eventually(&format!("{count} entries in {stream}"), async || {
            relay.tick().await.expect("Postgres is there");
            self.length(stream).await == count
        })
        .await;
    }

    /// Waits until a relay that runs by itself has brought a stream to so many entries.
    pub async fn until_arrived_by_itself(&self, stream: &str, count: usize) {
        eventually(&format!("{count} entries in {stream}"), async || self.length(stream).await == count).await;
    }

    /// Waits until a relay that runs by itself has brought a stream to more than so many entries.
    pub async fn until_more_than(&self, stream: &str, count: usize) {
        eventually(&format!("more than {count} entries in {stream}"), async || self.length(stream).await > count)
            .await;
    }

    /// Whether every row but the dead letters has arrived, and no number is undecided.
    pub async fn has_arrived(&self, streams: &[&str]) -> bool {
        for stream in streams {
            let rows: i64 =
                self.ask(&format!("select count(*) from outbox where stream = '{stream}' and dead_at is null")).await;
            if self.length(stream).await != usize::try_from(rows).unwrap_or_default() {
                return false;
            }
        }
        self.ask("select not exists (select from outbox_overtaken)").await
    }

    /// Checks that streams hold what their rows say: nothing lost, nothing twice, nothing else, in order, each entry
    /// under the number of its row. Held rows must not be there. Returns how many entries there are.
    pub async fn assert_whole(&self, streams: &[&str]) -> usize {
        let mut count = 0;
        for stream in streams {
            let rows: Vec<(i64, String)> =
                sqlx::query_as("select seq, id from outbox where stream = $1 and due_at is null")
                    .bind(stream)
                    .fetch_all(&self.pool)
                    .await
                    .expect("Postgres is there");
            let rows: BTreeSet<_> = rows.into_iter().map(|(seq, id)| (format!("1-{seq}"), id)).collect();
            let entries = self.entries(stream).await;
            assert!(entries.is_sorted_by_key(|(number, _)| *number), "{stream} is in order");
            let entries: Vec<_> = entries.into_iter().map(|(number, event)| (number.to_string(), event.id)).collect();
            let ids: BTreeSet<_> = entries.iter().map(|(_, id)| id).collect();
            assert_eq!(ids.len(), entries.len(), "{stream} holds nothing twice");
            count += entries.len();
            let entries: BTreeSet<_> = entries.into_iter().collect();
            let [lost, invented] = [rows.difference(&entries), entries.difference(&rows)].map(Vec::from_iter);
            assert!(lost.is_empty() && invented.is_empty(), "{stream} lost {lost:?} and invented {invented:?}");
        }
        count
    }

    /// How many entries a stream holds.
    pub async fn length(&self, stream: &str) -> usize {
        match self.redis.command(&["XLEN", stream]).await {
            redis::Value::Int(length) => usize::try_from(length).unwrap_or_default(),
            other => panic!("XLEN {stream} answered {other:?}"),
        }
    }
}

/// A relay's settings by flags, as a user would give them.
pub fn config(database_url: &str, redis_url: &str, flags: &[&str]) -> Config {
    let stores = ["relay", "--database-url", database_url, "--redis-url", redis_url];
    Line::try_parse_from(stores.iter().chain(flags)).expect("flags of the relay").config
}

/// Turns until nothing is left to do: idle some times in a row, the frontier settled.
pub async fn settle(relay: &mut Relay) {
    let mut idle = 0;
    eventually("the relay to come to rest", async || {
        let tick = relay.tick().await.expect("Postgres is there");
        idle = if tick == Tick::Idle { idle + 1 } else { 0 };
        idle >= 3
    })
    .await;
}

/// Everything in a stream, in its order.
pub async fn entries(redis: &mut redis::aio::MultiplexedConnection, stream: &str) -> Vec<(EntryId, Envelope)> {
    let mut all = vec![];
    let mut from = "-".to_owned();
    loop {
        let page: Vec<(String, Vec<(String, String)>)> = redis::cmd("XRANGE")
            .arg(stream)
            .arg(&from)
            .arg("+")
            .arg("COUNT")
            .arg(5_000)
            .query_async(redis)
            .await
            .expect("a stream can be read");
        let Some((last, _)) = page.last() else { return all };
        from = format!("({last}");
        for (id, fields) in page {
            let id = id.parse().expect("the relay numbers entries");
            let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            all.push((id, Envelope::from_fields(fields).expect("the relay writes envelopes")));
        }
    }
}
