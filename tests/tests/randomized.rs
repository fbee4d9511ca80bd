//! Everything at once, at random: writers that roll back, repeat each other's ids and sleep in their transactions; three
//! relays without a lease that are killed and started again. In the end the streams equal the table.
//!
//! `OUTBOX_TEST_SECONDS` sets how long (30), `OUTBOX_TEST_SEED` repeats a run's choices.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use outbox::Event;
use outbox_tests::{Chance, Child, Stage, eventually};
use tokio::time::sleep;

const STREAMS: [&str; 3] = ["a", "b", "c"];
const WRITERS: u64 = 8;
const OVERTAKE_AFTER: Duration = Duration::from_millis(200);

struct Load {
    stop: AtomicBool,
    committed: AtomicU64,
    rolled_back: AtomicU64,
    repeated: AtomicU64,
}

async fn write(stage: Arc<Stage>, load: Arc<Load>, writer: u64, mut chance: Chance) {
    let sleeper = writer < 2;
    while !load.stop.load(Ordering::Relaxed) {
        let mut tx = stage.pool.begin().await.expect("Postgres is there");
        for _ in 0..=chance.below(4) {
            // An id belongs to one stream, so that meeting it again is a repeat.
            let id = chance.below(200_000);
            let event = Event::draft(STREAMS[(id % 3) as usize], "test.happened").id(id.to_string()).json(&id);
            let enqueued = outbox::enqueue(&mut tx, &event.expect("valid")).await.expect("Postgres is there");
            if enqueued == outbox::Enqueued::Repeat {
                load.repeated.fetch_add(1, Ordering::Relaxed);
            }
            if chance.once_in(5) {
                sleep(Duration::from_millis(chance.below(20))).await;
            }
        }
        if sleeper && chance.once_in(10) {
            sleep(OVERTAKE_AFTER * (1 + chance.below(4) as u32)).await;
        }
        if chance.once_in(5) {
            tx.rollback().await.expect("Postgres is there");
            load.rolled_back.fetch_add(1, Ordering::Relaxed);
        } else {
            tx.commit().await.expect("Postgres is there");
            load.committed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn start_relay(stage: &Stage) -> Child {
    let overtake_after = format!("{}ms", OVERTAKE_AFTER.as_millis());
    Child::spawn(stage.command(&[
        "run",
        "--lease",
        "0",
        "--overtake-after",
        &overtake_after,
        "--batch-rows-max",
        "100",
    ]))
}

/// The numbers and ids of a stream, of all rows that count as sent, or of all entries.
async fn check(stage: &Stage, stream: &str) -> usize {
    let rows: Vec<(i64, String)> = sqlx::query_as("select seq, id from outbox where stream = $1 and due_at is null")
        .bind(stream)
        .fetch_all(&stage.pool)
        .await
        .expect("Postgres is there");
    let rows: BTreeSet<_> = rows.into_iter().map(|(seq, id)| (seq.unsigned_abs(), id)).collect();
    let entries: Vec<_> = stage.entries(stream).await.into_iter().map(|(number, e)| (number.seq, e.id)).collect();
    assert!(entries.is_sorted(), "{stream} is in order");
    let ids: BTreeSet<_> = entries.iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), entries.len(), "{stream} holds nothing twice");
    let entries: BTreeSet<_> = entries.into_iter().collect();
    assert_eq!(rows.difference(&entries).collect::<Vec<_>>(), Vec::<&(u64, String)>::new(), "{stream} lost");
    assert_eq!(entries.difference(&rows).collect::<Vec<_>>(), Vec::<&(u64, String)>::new(), "{stream} invented");
    entries.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn randomized_kills_lose_nothing_and_double_nothing() {
    let mut chance = Chance::from_environment();
    let seconds = std::env::var("OUTBOX_TEST_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(30);
    let stage = Arc::new(Stage::set().await);
    let load = Arc::new(Load {
        stop: AtomicBool::new(false),
        committed: AtomicU64::new(0),
        rolled_back: AtomicU64::new(0),
        repeated: AtomicU64::new(0),
    });
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(stage.clone(), load.clone(), writer, chance.branch())))
        .collect();

    let mut relays: Vec<Child> = (0..3).map(|_| start_relay(&stage)).collect();
    let (end, mut kills) = (Instant::now() + Duration::from_secs(seconds), 0);
    while Instant::now() < end {
        sleep(Duration::from_millis(50 + chance.below(400))).await;
        let victim = chance.below(3) as usize;
        relays[victim].kill_9();
        relays[victim] = start_relay(&stage);
        kills += 1;
    }
    load.stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("no writer fails");
    }

    let mut told = String::new();
    eventually("every row to be sent", async || {
        let undecided: i64 = stage.ask("select count(*) from outbox_overtaken").await;
        let mut state = format!("{undecided} overtaken sets undecided");
        let mut done = undecided == 0;
        for stream in STREAMS {
            let rows: i64 = stage.ask(&format!("select count(*) from outbox where stream = '{stream}'")).await;
            let entries = stage.length(stream).await;
            done &= entries == rows as usize;
            state.push_str(&format!("; {stream}: {entries} entries of {rows} rows"));
        }
        if state != told {
            println!("{state}");
            told = state;
        }
        done
    })
    .await;
    let mut entries = 0;
    for stream in STREAMS {
        entries += check(&stage, stream).await;
    }
    let [committed, rolled_back, repeated] =
        [&load.committed, &load.rolled_back, &load.repeated].map(|count| count.load(Ordering::Relaxed));
    println!("{entries} entries, {committed} commits, {rolled_back} rollbacks, {repeated} repeats, {kills} kills");
    assert!(committed > 0 && rolled_back > 0 && repeated > 0 && kills > 0, "the load was what it says");
}
