//! What the outbox costs many producers at once, and what the doorbell spares them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use sqlx::Connection;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::enqueue::{TABLES, With, insert_order, order};
use crate::ground::Ground;
use crate::options::Options;
use crate::table::{Line, Section, Target, Unit};
use crate::{machine, progress};
use outbox_tests::Samples;

const PRODUCERS: u64 = 16;
/// Makes each event's id unique.
static NUMBERS: AtomicU64 = AtomicU64::new(0);
const WARM_UP: Duration = Duration::from_millis(500);
/// What many outboxes do.
const NOTIFY_ALWAYS: &str = "
    create function notify_always() returns trigger language plpgsql as
    $$ begin perform pg_notify('always', ''); return null; end $$;
    create trigger notify_always after insert on outbox for each statement execute function notify_always();";
const NOTIFY_NO_MORE: &str = "drop function notify_always() cascade;";

pub async fn section(options: &Options) -> Result<Section> {
    let mut ground = Ground::with_slow_commits().await?;
    ground.sql(TABLES).await?;
    let commit = one_commit(&mut ground).await?;
    let (rounds, time) = (options.rounds(), Duration::from_secs(options.size(6, 2)));
    let [mut without, mut plain, mut unread, mut with, mut notifying, mut behind] = <[Samples; 6]>::default();
    for round in 1..=rounds {
        progress::show(&format!("producers: round {round} of {rounds}"));
        ground.clear().await?;
        without.push(produce(&mut ground, time, With::Nothing).await?.rate);

        ground.clear().await?;
        plain.push(produce(&mut ground, time, With::PlainInsert).await?.rate);

        ground.clear().await?;
        unread.push(produce(&mut ground, time, With::Enqueue).await?.rate);

        let (rate, left) = beside_a_relay(&mut ground, time).await?;
        with.push(rate);
        behind.push(left);

        ground.sql(NOTIFY_ALWAYS).await?;
        notifying.push(beside_a_relay(&mut ground, time).await?.0);
        ground.sql(NOTIFY_NO_MORE).await?;
    }

    let alone = "without an outbox";
    Ok(Section {
        name: "producers",
        conditions: format!(
            "commits a second of {PRODUCERS} producers, each transaction one insert; fsync on, fdatasync made slow \
             ({:.2} ms): the commit of a single client takes {commit:.2} ms",
            machine::fdatasync_time()?.as_secs_f64() * 1e3
        ),
        lines: vec![
            Line::new(alone, Unit::PerSecond, &without),
            Line::new("with a plain second insert", Unit::PerSecond, &plain).beside(alone, &without),
            Line::new("with enqueue, no relay", Unit::PerSecond, &unread).beside(alone, &without),
            Line::new("with enqueue and the relay", Unit::PerSecond, &with)
                .must(alone, &without, Target::AtLeast(0.9))
                .beside("with a plain second insert", &plain)
                .note(format!("at the end of a round {:.0} events were not in Redis yet", behind.median())),
            Line::new("and NOTIFY on every insert", Unit::PerSecond, &notifying).beside(alone, &without),
        ],
    })
}

/// Commits a second with a relay at work, and how many events it was behind at the end.
async fn beside_a_relay(ground: &mut Ground, time: Duration) -> Result<(f64, f64)> {
    ground.clear().await?;
    let relay = ground.relay(&[]);
    relay.saw("this relay works").await;
    let produced = produce(ground, time, With::Enqueue).await?;
    ground.end(relay).await?;
    Ok((produced.rate, produced.unsent))
}

struct Produced {
    rate: f64,
    /// Events that were not in Redis yet when the time was up.
    unsent: f64,
}

async fn produce(ground: &mut Ground, time: Duration, with: With) -> Result<Produced> {
    let (commits, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut producers = JoinSet::new();
    for _ in 0..PRODUCERS {
        let (mut db, commits, stop) = (ground.connect().await?, Arc::clone(&commits), Arc::clone(&stop));
        producers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                order(&mut db, with, NUMBERS.fetch_add(1, Ordering::Relaxed)).await?;
                commits.fetch_add(1, Ordering::Relaxed);
            }
            db.close().await?;
            anyhow::Ok(())
        });
    }
    sleep(WARM_UP).await;
    let (began, before) = (Instant::now(), commits.load(Ordering::Relaxed));
    sleep(time).await;
    let rate = (commits.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
    let unsent = commits.load(Ordering::Relaxed) as f64 - ground.entries().await? as f64;
    stop.store(true, Ordering::Relaxed);
    while let Some(done) = producers.join_next().await {
        done??;
    }
    Ok(Produced { rate, unsent: unsent.max(0.0) })
}

/// How long one client's commit takes, in milliseconds: the honest measure of the delay.
async fn one_commit(ground: &mut Ground) -> Result<f64> {
    let mut samples = Samples::default();
    for _ in 0..200 {
        let mut tx = ground.db.begin().await?;
        insert_order(&mut tx).await?;
        let began = Instant::now();
        tx.commit().await?;
        samples.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(samples.median())
}
