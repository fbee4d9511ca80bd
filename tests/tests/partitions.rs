//! Order across processes: the partitions of a stream, shared among the consumers of a group.

use std::collections::BTreeMap;

use outbox::partition;
use outbox_tests::{Child, Effects, Signal, Stage, assert_key_order, consume, enqueue_told, eventually};
use redis::Value;
use serde_json::json;

const COUNT: u16 = 4;

#[test]
fn a_key_belongs_to_the_partition_that_the_contract_says() {
    // The first four bytes of the key's SHA-256, big-endian, modulo the count: computed elsewhere.
    let examples = [
        (8, "example.org/a", "t:{7}"),
        (8, "example.org/b", "t:{6}"),
        (1, "anything", "t:{0}"),
        (3, "", "t:{2}"),
        (16, "order-42", "t:{7}"),
        (65535, "Zürich", "t:{43695}"),
        (7, "a key with spaces", "t:{2}"),
        (12, "k0", "t:{10}"),
    ];
    for (count, key, name) in examples {
        assert_eq!(partition("t", count, key), name, "{key:?} of {count}");
    }
}

fn start(stage: &Stage) -> Child {
    let partitions = format!("t:{COUNT}");
    // Kills are attempts, too, and nothing is to be buried here.
    consume(
        stage,
        &["--partitions", &partitions, "--group", "g", "--claim-after-ms", "600", "--attempts-max", "1000"],
    )
}

/// How many partitions each consumer holds, by its name.
async fn holders(stage: &Stage) -> BTreeMap<String, usize> {
    let mut held = BTreeMap::new();
    for nth in 0..COUNT {
        match stage.redis.command(&["GET", &format!("t:{{{nth}}}:g:holder")]).await {
            Value::Nil => {}
            name => *held.entry(redis::from_redis_value(name).expect("text")).or_default() += 1,
        }
    }
    held
}

async fn until_shares(stage: &Stage, consumers: &[&Child], shares: &[usize]) {
    let mut names = vec![];
    for consumer in consumers {
        names.push(consumer.saw("called ").await.trim_start_matches("called ").to_owned());
    }
    eventually(&format!("shares of {shares:?}"), async || {
        let held = holders(stage).await;
        let mut found: Vec<_> = names.iter().map(|name| held.get(name).copied().unwrap_or_default()).collect();
        found.sort_unstable();
        found == shares
    })
    .await;
}

/// Events on sixteen keys, each of which takes a moment.
async fn write(stage: &Stage, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let key = format!("k{}", n % 16);
        let told = if n % 7 == 0 { json!({"do": "flaky"}) } else { json!({"do": "sleep", "ms": 10}) };
        enqueue_told(stage, &partition("t", COUNT, &key), &format!("e{n}"), &key, &told).await;
    }
}

async fn until_all(effects: &Effects, count: usize) {
    eventually(&format!("{count} effects"), async || effects.of("g").await.len() >= count).await;
    let mut all = effects.of("g").await;
    all.sort();
    all.dedup();
    assert_eq!((all.len(), effects.of("g").await.len()), (count, count), "each took effect once");
    assert_key_order(&effects.by_key("g").await);
}

#[tokio::test]
async fn consumers_share_the_partitions_fairly_and_inherit_from_the_dead() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let _relay = Child::spawn(stage.command(&["run", "--lease", "0"]));
    write(&stage, 0..200).await;
    let one = start(&stage);
    until_shares(&stage, &[&one], &[4]).await;
    let two = start(&stage);
    until_shares(&stage, &[&one, &two], &[2, 2]).await;
    // While all partitions are busy, and four of them for three.
    let three = start(&stage);
    write(&stage, 200..400).await;
    until_shares(&stage, &[&one, &two, &three], &[1, 1, 2]).await;
    write(&stage, 400..500).await;
    two.kill_9();
    until_shares(&stage, &[&one, &three], &[2, 2]).await;
    one.signal(Signal::Term);
    until_shares(&stage, &[&three], &[4]).await;
    until_all(&effects, 500).await;
}

#[tokio::test]
async fn a_partition_that_is_never_idle_changes_hands_too() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let _relay = Child::spawn(stage.command(&["run", "--lease", "0"]));
    // Every key has an attempt that runs, and there are a dozen keys to each partition.
    for n in 0..1_200 {
        let key = format!("k{}", n % 48);
        let told = json!({"do": "sleep", "ms": 100 + n % 200});
        enqueue_told(&stage, &partition("t", COUNT, &key), &format!("e{n}"), &key, &told).await;
    }
    let many = ["--partitions", "t:4", "--group", "g", "--claim-after-ms", "600", "--concurrency", "64"];
    let one = consume(&stage, &many);
    until_shares(&stage, &[&one], &[4]).await;
    eventually("work to be under way", async || effects.of("g").await.len() > 50).await;
    let two = consume(&stage, &many);
    until_shares(&stage, &[&one, &two], &[2, 2]).await;
    assert!(effects.of("g").await.len() < 1_100, "there is work left when it has changed hands");
    until_all(&effects, 1_200).await;
}

#[tokio::test]
async fn holders_that_die_and_freeze_break_no_keys_order() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let _relay = Child::spawn(stage.command(&["run", "--lease", "0"]));
    let (mut one, two) = (start(&stage), start(&stage));
    let mut written = 0;
    for round in 0..5 {
        write(&stage, written..written + 120).await;
        written += 120;
        until_shares(&stage, &[&one, &two], &[2, 2]).await;
        let done = effects.of("g").await.len();
        eventually("some effects", async || effects.of("g").await.len() > done || done == written).await;
        if round % 2 == 0 {
            two.signal(Signal::Stop);
            until_shares(&stage, &[&one], &[4]).await;
            write(&stage, written..written + 60).await;
            written += 60;
            // Woken while the other one is at work with what was its own.
            two.signal(Signal::Cont);
        } else {
            one.kill_9();
            one = start(&stage);
        }
    }
    until_all(&effects, written).await;
}

#[tokio::test]
async fn a_partition_that_is_handed_over_counts_no_attempt_for_what_never_began() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let _relay = Child::spawn(stage.command(&["run", "--lease", "0"]));
    for n in 0..200 {
        let key = format!("k{}", n % 4);
        enqueue_told(&stage, &partition("t", COUNT, &key), &format!("e{n}"), &key, &json!({"do": "sleep", "ms": 30}))
            .await;
    }
    // So patient that only a hand-over moves anything.
    let patient = ["--partitions", "t:4", "--group", "g", "--claim-after-ms", "10000"];
    let one = consume(&stage, &patient);
    eventually("much to be read ahead", async || !effects.of("g").await.is_empty()).await;
    let two = consume(&stage, &patient);
    until_shares(&stage, &[&one, &two], &[2, 2]).await;
    until_all(&effects, 200).await;
    let logs = one.log() + &two.log();
    let repeats: Vec<_> =
        logs.lines().filter(|line| line.starts_with("begin ") && !line.ends_with("attempt 1")).collect();
    assert!(repeats.is_empty(), "{repeats:?}");
}
