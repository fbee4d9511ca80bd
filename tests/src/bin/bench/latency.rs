//! From commit to readable: producers and a consumer in one process, so both read the same clock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use outbox::{Enqueued, EntryId};
use redis::streams::StreamReadReply;
use sqlx::{Connection, PgConnection};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::ground::{Ground, STREAM, event};
use crate::options::Options;
use crate::progress;
use crate::table::{Line, Section, Target, Unit};
use outbox_tests::Samples;

/// One connection could not keep up a high rate if a commit were slow.
const PRODUCERS: u64 = 4;
/// The first moments belong to the relay's start and to cold caches.
const WARM_UP: Duration = Duration::from_millis(500);
const ARRIVAL_MAX: Duration = Duration::from_secs(30);

/// When the commit of each number was sent off.
type Sent = Arc<Mutex<HashMap<u64, Instant>>>;

pub async fn section(ground: &mut Ground, options: &Options) -> Result<Section> {
    let mut lines = vec![];
    for rate in [100, 1000] {
        progress::show(&format!("latency: {rate} events a second"));
        let events = rate * options.size(20, 2);
        let samples = measure(ground, events, |ground, sent| busy(ground, sent, rate, events)).await?;
        let at = |what: &str, value: f64| {
            Line::new(format!("{rate} events a second, {what}"), Unit::Milliseconds, &Samples::one(value))
        };
        let [mut p50, mut p99, max] =
            [at("p50", samples.median()), at("p99", samples.percentile(0.99)), at("max", samples.max())];
        if rate == 1000 {
            [p50, p99] = [p50.target(Target::AtMost(3.0)), p99.target(Target::AtMost(10.0))];
        }
        lines.extend([p50, p99, max]);
    }

    let events = options.size(30, 3);
    let samples = measure(ground, events, |ground, sent| idle(ground, sent, events)).await?;
    let at =
        |what: &str, value: f64| Line::new(format!("from idle, {what}"), Unit::Milliseconds, &Samples::one(value));
    let p99 = at("p99", samples.percentile(0.99)).target(Target::AtMost(15.0));
    lines.extend([at("p50", samples.median()), p99, at("max", samples.max())]);
    Ok(Section {
        name: "latency",
        conditions: format!(
            "from the moment before COMMIT is sent until XREAD BLOCK has the entry; one event a transaction, fsync off; \
             idle: {events} events, 2 to 4 s apart, the relay asleep"
        ),
        lines,
    })
}

/// Latencies in milliseconds of events that `produce` commits.
async fn measure<P: Future<Output = Result<()>>>(
    ground: &mut Ground,
    events: u64,
    produce: impl FnOnce(Producing, Sent) -> P,
) -> Result<Samples> {
    ground.clear().await?;
    let relay = ground.relay(&[]);
    relay.saw("this relay works").await;
    sleep(WARM_UP).await;

    let sent = Sent::default();
    let consumer = tokio::spawn(consume(ground.redis.connection().await, events));
    let result = produce(Producing { url: ground.url.clone() }, Arc::clone(&sent)).await;
    let arrived = timeout(ARRIVAL_MAX, consumer).await;
    let said = relay.log();
    ground.end(relay).await?;
    result?;
    let arrived = arrived.with_context(|| format!("not every event arrived; the relay said:\n{said}"))???;

    let sent = sent.lock().expect("nobody panics with it in hand");
    let began = sent.values().min().copied().unwrap_or_else(Instant::now);
    let mut samples = Samples::default();
    for (number, at) in arrived {
        let committed = sent.get(&number).copied().context("an entry that nobody committed")?;
        if events < 100 || committed - began > WARM_UP {
            samples.push(at.saturating_duration_since(committed).as_secs_f64() * 1e3);
        }
    }
    Ok(samples)
}

struct Producing {
    url: String,
}

/// A steady rate, whatever the latency: an event that is due late is not sent late because of others.
async fn busy(to: Producing, sent: Sent, rate: u64, events: u64) -> Result<()> {
    let mut producers = tokio::task::JoinSet::new();
    for producer in 0..PRODUCERS {
        let (mut db, sent) = (PgConnection::connect(&to.url).await?, Arc::clone(&sent));
        producers.spawn(async move {
            sleep(Duration::from_secs(1) / u32::try_from(rate)? * u32::try_from(producer)?).await;
            let mut tick = interval(Duration::from_secs(PRODUCERS) / u32::try_from(rate)?);
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for nth in (producer..events).step_by(PRODUCERS as usize) {
                tick.tick().await;
                commit_one(&mut db, nth, &sent).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = producers.join_next().await {
        done??;
    }
    Ok(())
}

/// One event now and then; never at the same point of the relay's rhythm.
async fn idle(to: Producing, sent: Sent, events: u64) -> Result<()> {
    let mut db = PgConnection::connect(&to.url).await?;
    for nth in 0..events {
        progress::show(&format!("latency: from idle, {nth} of {events}"));
        sleep(Duration::from_millis(2000 + nth * 377 % 2000)).await;
        commit_one(&mut db, nth, &sent).await?;
    }
    Ok(())
}

async fn commit_one(db: &mut PgConnection, nth: u64, sent: &Sent) -> Result<()> {
    let mut tx = db.begin().await?;
    let enqueued = outbox::enqueue(&mut tx, &event(nth)?).await?;
    if let Enqueued::New { seq } = enqueued {
        sent.lock().expect("nobody panics with it in hand").insert(seq.unsigned_abs(), Instant::now());
    }
    tx.commit().await?;
    Ok(())
}

async fn consume(mut redis: redis::aio::MultiplexedConnection, events: u64) -> Result<Vec<(u64, Instant)>> {
    let mut arrived = vec![];
    let mut last = "0-0".to_owned();
    while (arrived.len() as u64) < events {
        let reply: Option<StreamReadReply> =
            redis::cmd("XREAD").arg(&["BLOCK", "1000", "STREAMS", STREAM, &last]).query_async(&mut redis).await?;
        let now = Instant::now();
        for entry in reply.into_iter().flat_map(|reply| reply.keys).flat_map(|stream| stream.ids) {
            arrived.push((entry.id.parse::<EntryId>()?.seq, now));
            last = entry.id;
        }
    }
    Ok(arrived)
}
