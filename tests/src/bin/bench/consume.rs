//! What a consumer costs: with an inbox and a one-row effect, beside the same effect without inbox and stream, and beside
//! reading the stream and doing nothing.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use outbox::{BatchHandler, Consumer, ConsumerBuilder, Entry, Failure, Handler, inbox};
use redis::{Cmd, Pipeline};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::ground::{Ground, SERVERS, STREAM, event, id};
use crate::options::Options;
use crate::progress;
use crate::table::{Line, Section, Target, Unit};
use outbox_tests::Samples;

const GROUP: &str = "bench";
const HANDLERS: u32 = 8;
const BATCH: usize = 500;
const BATCHES: u32 = 2;
const PENDING_MAX: Duration = Duration::from_secs(300);

pub async fn section(ground: &mut Ground, options: &Options) -> Result<Section> {
    ground.another().await?;
    let pool = PgPoolOptions::new().max_connections(HANDLERS + 2).connect(&ground.url).await?;
    inbox::migrate(&mut *pool.acquire().await?).await?;
    ground.sql("create table effect (event_id text, seq bigint)").await?;
    let (few, many) = (options.size(20_000, 2_000), options.size(100_000, 5_000));

    let [mut bare_single, mut single, mut bare_batch, mut batch, mut reading, mut nothing, mut recovered] =
        <[Samples; 7]>::default();
    for round in 1..=options.rounds() {
        progress::show(&format!("consume: round {round} of {}", options.rounds()));
        bare_single.push(bare(&pool, few, 1, HANDLERS).await?);
        fill(ground, few).await?;
        single.push(
            consume(ground, few, |done| {
                builder(ground).concurrency(HANDLERS as usize).handler(Single(pool.clone(), done))
            })
            .await?,
        );
        bare_batch.push(bare(&pool, many, BATCH, BATCHES).await?);
        fill(ground, many).await?;
        let batches =
            |done| builder(ground).concurrency(BATCHES as usize).batch_handler(BATCH, Batch(pool.clone(), done));
        batch.push(consume(ground, many, batches).await?);
        fill(ground, many).await?;
        reading.push(read_only(ground, many).await?);
        fill(ground, many).await?;
        let idle = |done| builder(ground).concurrency(BATCHES as usize).batch_handler(BATCH, Nothing(done));
        nothing.push(consume(ground, many, idle).await?);
        fill(ground, many).await?;
        leave_pending(ground, many).await?;
        let claim = |done| {
            let quick = builder(ground).claim_after(Duration::from_millis(100));
            quick.concurrency(BATCHES as usize).batch_handler(BATCH, Nothing(done))
        };
        recovered.push(consume(ground, many, claim).await?);
        ground.sql("truncate effect, inbox_seen, inbox_floor").await?;
    }
    let latency = latency(ground, &pool, options.size(2_000, 200)).await?;
    let rate = |what: &str, samples: &Samples| Line::new(what, Unit::PerSecond, samples);
    let at = |what: &str, value: f64| Line::new(what, Unit::Milliseconds, &Samples::one(value));
    Ok(Section {
        name: "consume",
        conditions: format!(
            "one process; {few} events one by one with {HANDLERS} at once, {many} in batches of {BATCH} with {BATCHES} at once; \
             fsync off; {SERVERS}"
        ),
        lines: vec![
            rate("one by one, inbox and effect", &single).beside("the effect alone", &bare_single),
            rate("batches, inbox and effect", &batch)
                .must("the effect alone", &bare_batch, Target::AtLeast(0.5))
                .beside("reading alone", &reading),
            rate("batches, nothing done", &nothing).beside("reading alone", &reading),
            rate("claiming what a dead consumer left", &recovered)
                .beside("the same when it is new", &nothing)
                .note(format!("{many} pending entries")),
            at("commit to effect, 200 events a second, p50", latency.median()),
            at("commit to effect, p99", latency.percentile(0.99)),
        ],
    })
}

fn builder(ground: &Ground) -> ConsumerBuilder {
    Consumer::builder(ground.redis.url()).stream(STREAM).group(GROUP)
}

/// Counts what is done, and says when it is enough.
#[derive(Clone)]
struct Done {
    left: Arc<AtomicUsize>,
    all: Arc<Notify>,
}

impl Done {
    fn add(&self, count: usize) {
        if self.left.fetch_sub(count, Relaxed) <= count {
            self.all.notify_one();
        }
    }
}

/// Events a second that a consumer handles and settles.
async fn consume(ground: &Ground, events: usize, of: impl FnOnce(Done) -> ConsumerBuilder) -> Result<f64> {
    let done = Done { left: Arc::new(AtomicUsize::new(events)), all: Arc::new(Notify::new()) };
    let consumer = of(done.clone()).build()?;
    let began = Instant::now();
    let enough = async { done.all.notified().await };
    timeout(PENDING_MAX, consumer.run(enough)).await.context("not all events were handled in time")??;
    let rate = events as f64 / began.elapsed().as_secs_f64();
    let pending: (i64, Option<String>, Option<String>, Option<Vec<(String, String)>>) =
        redis::cmd("XPENDING").arg(STREAM).arg(GROUP).query_async(&mut ground.cache.clone()).await?;
    anyhow::ensure!(pending.0 == 0, "{} entries are still pending", pending.0);
    Ok(rate)
}

struct Single(PgPool, Done);

impl Handler for Single {
    async fn handle(&self, entry: &Entry) -> Result<(), Failure> {
        let mut tx = self.0.begin().await?;
        if inbox::first_sight(&mut tx, entry).await? {
            write(&mut tx, &entry.id, entry.number.seq.cast_signed()).await?;
        }
        tx.commit().await?;
        self.1.add(1);
        Ok(())
    }
}

struct Batch(PgPool, Done);

impl BatchHandler for Batch {
    async fn handle(&self, entries: &[Entry]) -> Result<(), Failure> {
        let mut tx = self.0.begin().await?;
        let first = inbox::first_sight_of_each(&mut tx, entries).await?;
        for (entry, _) in entries.iter().zip(first).filter(|(_, first)| *first) {
            write(&mut tx, &entry.id, entry.number.seq.cast_signed()).await?;
        }
        tx.commit().await?;
        self.1.add(entries.len());
        Ok(())
    }
}

struct Nothing(Done);

impl BatchHandler for Nothing {
    async fn handle(&self, entries: &[Entry]) -> Result<(), Failure> {
        self.0.add(entries.len());
        Ok(())
    }
}

/// The effect: one row.
async fn write(db: &mut sqlx::PgConnection, id: &str, seq: i64) -> Result<(), sqlx::Error> {
    sqlx::query("insert into effect values ($1, $2)").bind(id).bind(seq).execute(db).await?;
    Ok(())
}

/// The same effects, with nothing around them.
async fn bare(pool: &PgPool, events: usize, together: usize, writers: u32) -> Result<f64> {
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..writers {
        let (pool, next) = (pool.clone(), next.clone());
        all.spawn(async move {
            loop {
                let first = next.fetch_add(together, Relaxed);
                if first >= events {
                    return anyhow::Ok(());
                }
                let these = first..(first + together).min(events);
                let mut tx = pool.begin().await?;
                for nth in these {
                    write(&mut tx, &id(nth as u64), nth as i64).await?;
                }
                tx.commit().await?;
            }
        });
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    Ok(events as f64 / began.elapsed().as_secs_f64())
}

/// A stream of so many events, and a group at its beginning.
async fn fill(ground: &mut Ground, events: usize) -> Result<()> {
    ground.clear_redis().await?;
    for first in (1..=events).step_by(1_000) {
        let mut pipeline = Pipeline::new();
        for nth in first..(first + 1_000).min(events + 1) {
            let event = event(nth as u64)?;
            let mut xadd = Cmd::new();
            xadd.arg("XADD").arg(STREAM).arg(format!("1-{nth}")).arg("id").arg(event.id()).arg("type").arg("bench");
            xadd.arg("ver")
                .arg(1)
                .arg("key")
                .arg(format!("key-{}", nth % 1000))
                .arg("time")
                .arg("2026-01-01T00:00:00Z");
            xadd.arg("data").arg(event.payload());
            pipeline.add_command(xadd);
        }
        pipeline.exec_async(&mut ground.cache).await?;
    }
    redis::cmd("XGROUP").arg("CREATE").arg(STREAM).arg(GROUP).arg(0).exec_async(&mut ground.cache).await?;
    Ok(())
}

/// The least that any consumer does: read and acknowledge.
async fn read_only(ground: &mut Ground, events: usize) -> Result<f64> {
    let began = Instant::now();
    let mut left = events;
    while left > 0 {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg("me").arg("COUNT").arg(BATCH).arg("STREAMS").arg(STREAM).arg(">");
        let reply: Option<redis::streams::StreamReadReply> = read.query_async(&mut ground.cache).await?;
        let ids = reply.into_iter().flat_map(|reply| reply.keys).flat_map(|stream| stream.ids).map(|entry| entry.id);
        let ids: Vec<String> = ids.collect();
        left -= ids.len();
        redis::cmd("XACK").arg(STREAM).arg(GROUP).arg(ids).exec_async(&mut ground.cache).await?;
    }
    Ok(events as f64 / began.elapsed().as_secs_f64())
}

/// Delivered to somebody who is no more.
async fn leave_pending(ground: &mut Ground, events: usize) -> Result<()> {
    let mut read = redis::cmd("XREADGROUP");
    read.arg("GROUP").arg(GROUP).arg("dead").arg("COUNT").arg(events).arg("STREAMS").arg(STREAM).arg(">");
    let _: redis::Value = read.query_async(&mut ground.cache).await?;
    tokio::time::sleep(Duration::from_millis(150)).await; // longer than claim_after
    Ok(())
}

/// Notes when each event took effect.
struct Timed(PgPool, Done, Arc<Mutex<Vec<(String, Instant)>>>);

impl Handler for Timed {
    async fn handle(&self, entry: &Entry) -> Result<(), Failure> {
        Single(self.0.clone(), Done { left: Arc::new(AtomicUsize::new(usize::MAX)), all: Arc::default() })
            .handle(entry)
            .await?;
        self.2.lock().expect("nobody panics with it in hand").push((entry.id.clone(), Instant::now()));
        self.1.add(1);
        Ok(())
    }
}

/// Milliseconds from before the commit of an event until its effect is committed, through relay and consumer.
async fn latency(ground: &mut Ground, pool: &PgPool, events: u64) -> Result<Samples> {
    progress::show("consume: commit to effect");
    ground.clear().await?;
    ground.sql("truncate effect, inbox_seen, inbox_floor").await?;
    let relay = ground.relay(&[]);
    relay.saw("this relay works").await;
    let effects: Arc<Mutex<Vec<(String, Instant)>>> = Arc::default();
    let done = Done { left: Arc::new(AtomicUsize::new(events as usize)), all: Arc::new(Notify::new()) };
    let consumer = builder(ground).handler(Timed(pool.clone(), done.clone(), effects.clone())).build()?;
    let running = tokio::spawn(async move { consumer.run(async { done.all.notified().await }).await });
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let mut sent = std::collections::HashMap::new();
    for nth in 0..events {
        tick.tick().await;
        let event = event(nth)?;
        let mut tx = pool.begin().await?;
        let _ = outbox::enqueue(&mut tx, &event).await?;
        sent.insert(event.id().to_owned(), Instant::now());
        tx.commit().await?;
    }
    timeout(PENDING_MAX, running).await.context("not every event took effect")???;
    ground.end(relay).await?;
    let mut samples = Samples::default();
    for (id, at) in effects.lock().expect("nobody panics with it in hand").iter() {
        samples.push(at.duration_since(sent[id]).as_secs_f64() * 1e3);
    }
    Ok(samples)
}
