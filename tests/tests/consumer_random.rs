//! Everything at once, at random: a relay, and two groups of three consumer processes over partitions, one with its ledger in
//! Postgres and the other with one in a file of SQLite that its processes share. They are killed, frozen, stopped and started
//! again; what was settled is delivered again; in the middle Redis loses everything. In the end each event took effect once
//! in each group, and those of each key in their order.
//!
//! `OUTBOX_TEST_SECONDS` sets how long (25), `OUTBOX_TEST_SEED` repeats a run's choices.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use outbox_tests::{
    Chance, Child, Effects, FileEffects, Signal, Stage, assert_key_order, consume, enqueue_told, eventually,
};
use serde_json::json;
use tokio::time::sleep;

const COUNT: u16 = 4;
const KEYS: u64 = 16;
const EACH: usize = 3;
const GROUPS: [&str; 2] = ["table", "file"];

fn start_relay(stage: &Stage) -> Child {
    Child::spawn(stage.command(&["run", "--lease", "0"]))
}

fn start_consumer(stage: &Stage, group: usize, file: &Path) -> Child {
    let (file, partitions) = (file.to_str().expect("a plain path"), format!("t:{COUNT}"));
    // Kills are attempts, too, and nothing is to be buried here.
    let mut flags = vec![
        "--partitions",
        &partitions,
        "--group",
        GROUPS[group],
        "--claim-after-ms",
        "600",
        "--attempts-max",
        "1000",
    ];
    if group == 1 {
        flags.extend(["--sqlite", file]);
    }
    consume(stage, &flags)
}

async fn write(stage: Arc<Stage>, stop: Arc<AtomicBool>, mut chance: Chance) -> usize {
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return n;
        }
        let key = format!("k{}", chance.below(KEYS));
        let told = match chance.below(10) {
            0 => json!({"do": "flaky"}),
            1 | 2 => json!({"do": "sleep", "ms": chance.below(100)}),
            _ => json!({}),
        };
        enqueue_told(&stage, &outbox::partition("t", COUNT, &key), &format!("e{n}"), &key, &told).await;
        sleep(Duration::from_millis(chance.below(20))).await;
    }
    unreachable!("numbers do not end")
}

fn check(group: &str, ids: &[String], keys: &BTreeMap<String, Vec<i64>>, written: usize) {
    let all: BTreeSet<_> = (0..written).map(|n| format!("e{n}")).collect();
    let done: BTreeSet<_> = ids.iter().cloned().collect();
    let lost: Vec<_> = all.difference(&done).collect();
    assert!(lost.is_empty(), "{group} lost {lost:?}");
    assert_eq!(ids.len() - done.len(), 0, "{group} has duplicates");
    assert_key_order(keys);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn randomized_kills_and_freezes_leave_each_effect_once_and_in_its_keys_order() {
    let mut chance = Chance::from_environment();
    let seconds = std::env::var("OUTBOX_TEST_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(25);
    let stage = Arc::new(Stage::set().await);
    let in_table = Effects::on(&stage).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("effects");
    let in_file = FileEffects::at(&file);

    let mut relay = start_relay(&stage);
    let mut consumers: Vec<Child> =
        (0..GROUPS.len() * EACH).map(|nth| start_consumer(&stage, nth / EACH, &file)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(write(stage.clone(), stop.clone(), chance.branch()));

    let (begun, length) = (Instant::now(), Duration::from_secs(seconds));
    let mut flushed = false;
    let mut counts = [0; 5];
    while begun.elapsed() < length {
        sleep(Duration::from_millis(chance.below(600))).await;
        let victim = chance.below(consumers.len() as u64) as usize;
        let what = chance.below(10);
        match what {
            0..=3 => {
                consumers[victim].kill_9();
                consumers[victim] = start_consumer(&stage, victim / EACH, &file);
                counts[0] += 1;
            }
            4..=6 => {
                consumers[victim].signal(Signal::Stop);
                sleep(Duration::from_millis(chance.below(2_000))).await;
                consumers[victim].signal(Signal::Cont);
                counts[1] += 1;
            }
            7 => {
                consumers[victim].saw("called ").await; // from then on it hears the signal
                consumers[victim].signal(Signal::Term);
                assert_eq!(consumers[victim].wait().await, 0, "a consumer stops in order");
                consumers[victim] = start_consumer(&stage, victim / EACH, &file);
                counts[2] += 1;
            }
            8 => {
                relay.kill_9();
                relay = start_relay(&stage);
                counts[3] += 1;
            }
            _ => {
                // Everything that is still there is delivered again; a group that is not there yet has nothing to repeat.
                let stream = format!("t:{{{}}}", chance.below(COUNT.into()));
                let mut redis = stage.redis.connection().await;
                let group = GROUPS[victim / EACH];
                let _ = redis::cmd("XGROUP").arg(&["SETID", &stream, group, "0"]).exec_async(&mut redis).await;
                counts[4] += 1;
            }
        }
        if !flushed && begun.elapsed() > length / 2 {
            stage.redis.command(&["FLUSHALL"]).await;
            flushed = true;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let written = writer.await.expect("the writer does not fail");
    let [kills, freezes, stops, relays, redeliveries] = counts;
    println!(
        "{written} events; {kills} kills, {freezes} freezes, {stops} stops, {relays} relays killed, {redeliveries} redeliveries"
    );

    let mut told = String::new();
    eventually("every event to have taken effect in both groups", async || {
        let (table, file) = (in_table.of("table").await.len(), in_file.of("file").len());
        let state = format!("{table} and {file} of {written}");
        if state != told {
            println!("{state}");
            told = state;
        }
        table >= written && file >= written
    })
    .await;
    for (nth, consumer) in consumers.iter_mut().enumerate() {
        consumer.saw("called ").await;
        consumer.signal(Signal::Term);
        assert_eq!(consumer.wait().await, 0, "consumer {nth} stops in order");
    }
    check("table", &in_table.of("table").await, &in_table.by_key("table").await, written);
    check("file", &in_file.of("file"), &in_file.by_key("file"), written);
    assert!(flushed && kills > 0 && freezes > 0, "the run was what it says");
}
