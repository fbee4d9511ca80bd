//! A usual consumer: one at a time it reads the entries of a group, lets them take effect in their order, beside an inbox, and
//! acknowledges them. Each habit but the first one is one fault.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamAutoClaimReply, StreamId, StreamReadReply};
use redis::{AsyncConnectionConfig, RedisResult, Value};
use sqlx::{Connection, PgConnection};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::super::cast::{Cast, Ours};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// None.
    Sound,
    /// Acknowledges what it has read, and then does it.
    AcknowledgesFirst,
    /// Does it whenever it is told to.
    NoInbox,
    /// Notes in one transaction that it was seen, and lets it take effect in the next.
    NotesApart,
    /// Never looks at what was delivered before.
    OnlyNew,
    /// Deletes itself from the group when it is asked to stop, and with it what it has not done.
    LeavesWithEntries,
    /// Adds the dead letter and acknowledges, in two commands whose replies it does not read.
    BuriesInTwo,
    /// Handles a batch all at once.
    KeysSideBySide,
    /// Buries what is delivered for the second time, whoever was to blame for the first.
    BlamesTheEvent,
    /// Counts an attempt whenever an effect fails, also while Postgres is away.
    PaysForOutages,
    /// Acknowledges what failed, and knows of it as long as it lives.
    RemembersInMemory,
    /// Acknowledges whatever happened.
    AcknowledgesFailures,
}

/// Of whoever was silent for so long it takes what is left.
const CLAIM_AFTER_MS: usize = 500;
const BATCH: usize = 10;
/// Some work, so that entries wait.
const WORK: Duration = Duration::from_millis(3);
/// What is remembered waits for so long.
const LATER: Duration = Duration::from_millis(400);

/// Its books. Two start at once, so that one may find the table half made.
const BOOKS: &str =
    "create table if not exists mutant_seen (consumer_group text, id text, primary key (consumer_group, id))";

struct Naive {
    habit: Habit,
    group: String,
    name: String,
    redis: MultiplexedConnection,
    /// Its session has the lock: what is written over it is written by whoever is at work.
    db: Mutex<PgConnection>,
    later: Mutex<Vec<(Instant, String, StreamId)>>,
}

pub(super) async fn run(habit: Habit, database_url: &str, redis_url: &str, group: &str) -> Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let name = format!("naive-{}", std::process::id());
    loop {
        let worked = async { Naive::meet(habit, database_url, redis_url, group, &name).await?.work().await };
        tokio::select! {
            // Whatever happens, it starts anew.
            ended = worked => if let Err(error) = ended { println!("{error:#}") },
            _ = term.recv() => break,
        }
        sleep(Duration::from_millis(20)).await;
    }
    if habit == Habit::LeavesWithEntries {
        let mut redis = redis::Client::open(redis_url)?.get_multiplexed_async_connection().await?;
        for stream in Ours.streams() {
            let leave: RedisResult<Value> =
                redis::cmd("XGROUP").arg(&["DELCONSUMER", &stream, group, &name]).query_async(&mut redis).await;
            println!("{leave:?}");
        }
    }
    Ok(())
}

impl Naive {
    /// Waits until no other one is at work.
    async fn meet(habit: Habit, database_url: &str, redis_url: &str, group: &str, name: &str) -> Result<Arc<Self>> {
        let mut db = PgConnection::connect(database_url).await?;
        let _ = sqlx::query(BOOKS).execute(&mut db).await;
        sqlx::query("select pg_advisory_lock(hashtext($1))").bind(group).execute(&mut db).await?;
        let patience = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_millis(500)));
        let redis = redis::Client::open(redis_url)?.get_multiplexed_async_connection_with_config(&patience).await?;
        let (db, later) = (Mutex::new(db), Mutex::default());
        Ok(Arc::new(Self { habit, group: group.into(), name: name.into(), redis, db, later }))
    }

    async fn work(self: Arc<Self>) -> Result<()> {
        let mut redis = self.redis.clone();
        for stream in Ours.streams() {
            // It may be there already.
            let _: RedisResult<Value> = redis::cmd("XGROUP")
                .arg(&["CREATE", &stream, &self.group, "0", "MKSTREAM"])
                .query_async(&mut redis)
                .await;
        }
        // What was delivered to anybody else is left: nobody else is at work.
        self.take_over(0).await?;
        let mut looked = Instant::now();
        loop {
            for stream in Ours.streams() {
                // Whose session has ended has lost the lock, and may read nothing more.
                sqlx::query("select 1").execute(&mut *self.db.lock().await).await?;
                let new = self.read(&mut redis, &stream).await?;
                self.clone().handle_all(&stream, new, false).await?;
            }
            if looked.elapsed() > Duration::from_millis(CLAIM_AFTER_MS as u64) {
                self.take_over(CLAIM_AFTER_MS).await?;
                looked = Instant::now();
            }
            self.handle_what_is_remembered().await?;
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn read(&self, redis: &mut MultiplexedConnection, stream: &str) -> Result<Vec<StreamId>> {
        let reply: Option<StreamReadReply> = redis::cmd("XREADGROUP")
            .arg(&["GROUP", &self.group, &self.name])
            .arg("COUNT")
            .arg(BATCH)
            .arg(&["STREAMS", stream, ">"])
            .query_async(redis)
            .await?;
        Ok(reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).collect())
    }

    /// Handles what was delivered before, to whomever, and is not acknowledged.
    async fn take_over(self: &Arc<Self>, idle_ms: usize) -> Result<()> {
        if self.habit == Habit::OnlyNew {
            return Ok(());
        }
        for stream in Ours.streams() {
            let mut from = "0-0".to_owned();
            loop {
                let reply: StreamAutoClaimReply = redis::cmd("XAUTOCLAIM")
                    .arg(&[&stream, &self.group, &self.name])
                    .arg(idle_ms)
                    .arg(&[&from, "COUNT", "10"])
                    .query_async(&mut self.redis.clone())
                    .await?;
                self.clone().handle_all(&stream, reply.claimed, true).await?;
                from = reply.next_stream_id;
                if from == "0-0" {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn handle_all(self: Arc<Self>, stream: &str, entries: Vec<StreamId>, again: bool) -> Result<()> {
        if self.habit == Habit::AcknowledgesFirst {
            for entry in &entries {
                self.acknowledge(stream, entry).await?;
            }
        }
        if self.habit == Habit::KeysSideBySide {
            let each = entries.into_iter().enumerate().map(|(nth, entry)| {
                let (naive, stream) = (self.clone(), stream.to_owned());
                tokio::spawn(async move {
                    // Some take longer than others.
                    sleep(Duration::from_millis((BATCH.saturating_sub(nth) * 2) as u64)).await;
                    naive.handle(&stream, &entry, again).await
                })
            });
            for one in each.collect::<Vec<_>>() {
                one.await??;
            }
            return Ok(());
        }
        for entry in entries {
            self.handle(stream, &entry, again).await?;
        }
        Ok(())
    }

    async fn handle(&self, stream: &str, entry: &StreamId, again: bool) -> Result<()> {
        let (id, key) = (entry.get::<String>("id").unwrap_or_default(), entry.get::<String>("key"));
        let told: serde_json::Value = serde_json::from_str(&entry.get::<String>("data").unwrap_or_default())?;
        let mut failures = self.failures(&id).await?;
        println!("begin {id} attempt {}", failures + 1);
        sleep(WORK).await;
        if told["do"] == "reject" || (again && self.habit == Habit::BlamesTheEvent) {
            return match self.habit {
                Habit::AcknowledgesFailures => self.acknowledge(stream, entry).await,
                _ => self.bury(stream, entry, &id).await,
            };
        }
        if told["do"] == "flaky" && failures == 0 {
            failures = self.count(&id).await?;
            match self.habit {
                Habit::AcknowledgesFailures => return self.acknowledge(stream, entry).await,
                Habit::RemembersInMemory => {
                    self.later.lock().await.push((Instant::now() + LATER, stream.to_owned(), entry.clone()));
                    return self.acknowledge(stream, entry).await;
                }
                // Whatever is behind it waits until it is done.
                _ => println!("begin {id} attempt {}", failures + 1),
            }
        }
        if let Err(error) = self.take_effect(&id, key.as_deref()).await {
            if self.habit == Habit::PaysForOutages {
                self.count(&id).await?;
            }
            return Err(error);
        }
        self.acknowledge(stream, entry).await
    }

    async fn handle_what_is_remembered(&self) -> Result<()> {
        let now = Instant::now();
        let due: Vec<_> = self.later.lock().await.extract_if(.., |(at, ..)| *at <= now).collect();
        for (_, stream, entry) in due {
            self.handle(&stream, &entry, true).await?;
        }
        Ok(())
    }

    /// How many attempts at an event have failed.
    async fn failures(&self, id: &str) -> Result<u32> {
        let failures: Option<u32> =
            redis::cmd("HGET").arg(&[&self.failures_key(), id]).query_async(&mut self.redis.clone()).await?;
        Ok(failures.unwrap_or_default())
    }

    /// Also where memory is short: else the first one that fails would hold up all behind it.
    async fn count(&self, id: &str) -> Result<u32> {
        let count = "#!lua flags=allow-oom\nreturn redis.call('HINCRBY', KEYS[1], ARGV[1], '1')";
        let mut redis = self.redis.clone();
        Ok(redis::cmd("EVAL").arg(&[count, "1", &self.failures_key(), id]).query_async(&mut redis).await?)
    }

    fn failures_key(&self) -> String {
        format!("mutant:failures:{}", self.group)
    }

    async fn take_effect(&self, id: &str, key: Option<&str>) -> Result<()> {
        let mut db = self.db.lock().await;
        let mut tx = db.begin().await?;
        if self.habit != Habit::NoInbox {
            let seen = "insert into mutant_seen values ($1, $2) on conflict do nothing";
            let new = sqlx::query(seen).bind(&self.group).bind(id).execute(&mut *tx).await?.rows_affected() == 1;
            if !new {
                return Ok(());
            }
            if self.habit == Habit::NotesApart {
                tx.commit().await?;
                sleep(WORK * 3).await;
                tx = db.begin().await?;
            }
        }
        sqlx::query("insert into effects (consumer_group, event_id, key) values ($1, $2, $3)")
            .bind(&self.group)
            .bind(id)
            .bind(key)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    async fn acknowledge(&self, stream: &str, entry: &StreamId) -> Result<()> {
        Ok(redis::cmd("XACK").arg(&[stream, &self.group, &entry.id]).exec_async(&mut self.redis.clone()).await?)
    }

    async fn bury(&self, stream: &str, entry: &StreamId, id: &str) -> Result<()> {
        let mut letter: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &entry.map {
            letter.insert(name.clone(), redis::from_redis_value(value.clone())?);
        }
        let told = [("stream", stream), ("lane", stream), ("group", &self.group), ("entry", &entry.id)];
        let more = [("attempts", "1"), ("reason", "told to reject it"), ("failures", "[]"), ("consumer", &self.name)];
        letter.extend(told.into_iter().chain(more).map(|(name, value)| (format!("dead:{name}"), value.to_owned())));
        let mut add = redis::cmd("XADD");
        add.arg(format!("{stream}:{}:dead", self.group)).arg("*");
        for (name, value) in &letter {
            add.arg(name).arg(value);
        }
        let mut redis = self.redis.clone();
        if self.habit == Habit::BuriesInTwo {
            let added: RedisResult<Value> = add.query_async(&mut redis).await;
            println!("{id}: {added:?}");
            return self.acknowledge(stream, entry).await;
        }
        let mut both = redis::pipe();
        both.atomic().add_command(add).cmd("XACK").arg(&[stream, &self.group, &entry.id]);
        Ok(both.exec_async(&mut redis).await?)
    }
}
