//! A usual consumer: reads entries of a group, lets them take effect, acknowledges them. Each habit is one fault.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamAutoClaimReply, StreamId, StreamReadReply};
use redis::{AsyncConnectionConfig, RedisResult, Value};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::super::cast::{Cast, Ours};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// Acknowledges, and then does it.
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
    /// Leaves a failure for later, and knows of it as long as it lives.
    RemembersInMemory,
    /// Acknowledges whatever happened.
    AcknowledgesFailures,
}

const CLAIM_AFTER_MS: usize = 200;
const BATCH: usize = 10;
/// Some work, so that entries wait.
const WORK: Duration = Duration::from_millis(3);

struct Naive {
    habit: Habit,
    group: String,
    name: String,
    redis: MultiplexedConnection,
    db: PgPool,
}

pub(super) async fn run(habit: Habit, database_url: &str, redis_url: &str, group: &str) -> Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let db = PgPoolOptions::new().max_connections(BATCH as u32).connect_lazy(database_url)?;
    let name = format!("naive-{}", std::process::id());
    loop {
        let worked = async {
            let patience = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_millis(500)));
            let client = redis::Client::open(redis_url)?;
            let redis = client.get_multiplexed_async_connection_with_config(&patience).await?;
            let naive = Naive { habit, group: group.into(), name: name.clone(), redis, db: db.clone() };
            Arc::new(naive).work().await
        };
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
    async fn work(self: Arc<Self>) -> Result<()> {
        let note =
            "create table if not exists mutant_seen (consumer_group text, id text, primary key (consumer_group, id))";
        let _ = sqlx::query(note).execute(&self.db).await;
        let mut redis = self.redis.clone();
        for stream in Ours.streams() {
            // It may be there already.
            let _: RedisResult<Value> = redis::cmd("XGROUP")
                .arg(&["CREATE", &stream, &self.group, "0", "MKSTREAM"])
                .query_async(&mut redis)
                .await;
        }
        loop {
            for stream in Ours.streams() {
                let new = self.read(&mut redis, &stream).await?;
                self.clone().handle_all(&stream, new, false).await?;
                if !matches!(self.habit, Habit::OnlyNew | Habit::RemembersInMemory) {
                    let old = self.claim(&mut redis, &stream).await?;
                    self.clone().handle_all(&stream, old, true).await?;
                }
            }
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

    async fn claim(&self, redis: &mut MultiplexedConnection, stream: &str) -> Result<Vec<StreamId>> {
        let reply: StreamAutoClaimReply = redis::cmd("XAUTOCLAIM")
            .arg(&[stream, &self.group, &self.name])
            .arg(CLAIM_AFTER_MS)
            .arg(&["0", "COUNT", "10"])
            .query_async(redis)
            .await?;
        Ok(reply.claimed)
    }

    async fn handle_all(self: Arc<Self>, stream: &str, entries: Vec<StreamId>, again: bool) -> Result<()> {
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
        if self.habit == Habit::AcknowledgesFirst {
            self.acknowledge(stream, entry).await?;
        }
        sleep(WORK).await;
        let failed = match told["do"].as_str() {
            Some("reject") => Some(true),
            Some("flaky") if !again => Some(false),
            _ if again && self.habit == Habit::BlamesTheEvent => Some(true),
            _ => None,
        };
        match failed {
            Some(_) if self.habit == Habit::AcknowledgesFailures => return self.acknowledge(stream, entry).await,
            Some(true) => return self.bury(stream, entry, &id).await,
            Some(false) => return Ok(()),
            None => {}
        }
        self.take_effect(&id, key.as_deref()).await?;
        self.acknowledge(stream, entry).await
    }

    async fn take_effect(&self, id: &str, key: Option<&str>) -> Result<()> {
        let mut tx = self.db.begin().await?;
        if self.habit != Habit::NoInbox {
            let seen = "insert into mutant_seen values ($1, $2) on conflict do nothing";
            let new = sqlx::query(seen).bind(&self.group).bind(id).execute(&mut *tx).await?.rows_affected() == 1;
            if !new {
                return Ok(());
            }
            if self.habit == Habit::NotesApart {
                tx.commit().await?;
                sleep(WORK).await;
                tx = self.db.begin().await?;
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
