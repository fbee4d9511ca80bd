//! Consumers that die, freeze and stop, as real processes.

use std::path::PathBuf;

use outbox_tests::{
    Child, Effects, Proxy, Side, Signal, Stage, consume, consume_over, enqueue_told, eventually, letters, pending,
};
use redis::Value;
use serde_json::json;

/// Long enough that nothing is taken over for want of a heartbeat within a test.
const NEVER: [&str; 2] = ["--claim-after-ms", "3600000"];
const SOON: [&str; 2] = ["--claim-after-ms", "400"];

fn flags<'a>(group: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--stream", "s", "--group", group], more].concat()
}

/// A file that is not there yet, in a folder that goes with the test.
fn sign() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("go");
    (folder, file)
}

/// The name that a consumer bears in Redis.
async fn name(consumer: &Child) -> String {
    consumer.saw("called ").await.trim_start_matches("called ").to_owned()
}

/// The consumers of a group, each with how many entries are pending for it.
async fn consumers(stage: &Stage, group: &str) -> Vec<(String, i64)> {
    let Value::Array(consumers) = stage.redis.command(&["XINFO", "CONSUMERS", "s", group]).await else {
        panic!("XINFO lists consumers")
    };
    consumers
        .into_iter()
        .map(|consumer| {
            let fields: Vec<Value> = redis::from_redis_value(consumer).expect("fields");
            let text = |at: usize| redis::from_redis_value::<String>(fields[at].clone()).expect("text");
            (text(1), text(3).parse().expect("a number"))
        })
        .collect()
}

#[tokio::test]
async fn an_event_that_kills_its_consumer_is_buried_after_its_attempts_and_its_neighbours_take_effect() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let mut relay = stage.relay(&[]).await;
    for n in 0..10 {
        enqueue_told(&stage, "s", &format!("good-{n}"), "", &json!({})).await;
        if n == 4 {
            enqueue_told(&stage, "s", "killer", "", &json!({"do": "abort"})).await;
        }
    }
    stage.until_entries(&mut relay, "s", 11).await;

    // A supervisor, who knows nothing but to start it again.
    let start = || consume(&stage, &flags("g", &[&SOON[..], &["--attempts-max", "3"]].concat()));
    let mut consumer = start();
    let mut log = String::new();
    eventually("the killer to be buried", async || {
        if consumer.log().contains("begin killer") {
            consumer.wait().await;
            log.push_str(&consumer.log());
            consumer = start();
        }
        stage.length("s:g:dead").await == 1
    })
    .await;
    eventually("the neighbours to take effect", async || effects.of("g").await.len() == 10).await;
    eventually("everything to be settled", async || pending(&stage.redis, "s", "g").await == 0).await;

    let mut done = effects.of("g").await;
    done.sort();
    assert_eq!(done, (0..10).map(|n| format!("good-{n}")).collect::<Vec<_>>());
    let attempts: Vec<_> = log.lines().filter_map(|line| line.strip_prefix("begin killer attempt ")).collect();
    assert_eq!(attempts, ["1", "2", "3"], "Redis counts, and not the process that dies");
    let letter = letters(&stage.redis, "s:g:dead").await.remove(0);
    assert_eq!((letter["id"].as_str(), letter["dead:attempts"].as_str()), ("killer", "3"));
}

/// Kills it at each turn of what it does with a few events, one of which it buries.
async fn killed_at_every_turn(side: Side) {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let mut relay = stage.relay(&[]).await;
    for n in 0..3 {
        enqueue_told(&stage, "s", &format!("e{n}"), "k", &json!({})).await;
    }
    enqueue_told(&stage, "s", "bad", "", &json!({"do": "fail"})).await;
    stage.until_entries(&mut relay, "s", 4).await;
    for turn in 1..=30 {
        let group = format!("g{turn}");
        let flags = flags(&group, &[&SOON[..], &["--attempts-max", "2"]].concat());
        let wire = Proxy::to(stage.redis.port()).await;
        let halt = wire.halt_at(turn, side);
        let killed = consume_over(&stage.redis_url_over(&wire), &stage, &flags);
        halt.reached().await;
        killed.kill_9();
        wire.thaw();

        let _heir = consume(&stage, &flags);
        eventually(&format!("everything to be settled after turn {turn}"), async || {
            let dead = stage.length(&format!("s:{group}:dead")).await;
            effects.of(&group).await.len() >= 3 && dead == 1 && pending(&stage.redis, "s", &group).await == 0
        })
        .await;
        assert_eq!(effects.of(&group).await, ["e0", "e1", "e2"], "turn {turn}");
    }
}

#[tokio::test]
async fn killed_before_any_request_arrives_it_loses_nothing_and_repeats_no_effect() {
    killed_at_every_turn(Side::Request).await;
}

#[tokio::test]
async fn killed_before_any_reply_arrives_it_loses_nothing_and_repeats_no_effect() {
    killed_at_every_turn(Side::Reply).await;
}

#[tokio::test]
async fn a_consumer_that_was_frozen_loses_its_entry_and_cannot_repeat_the_effect_when_it_wakes_up() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let mut relay = stage.relay(&[]).await;
    let (_folder, go) = sign();
    enqueue_told(&stage, "s", "e", "", &json!({"do": "wait", "until": go})).await;
    stage.until_entries(&mut relay, "s", 1).await;

    let frozen = consume(&stage, &flags("g", &SOON));
    frozen.saw("begin e attempt 1").await;
    frozen.signal(Signal::Stop);
    let other = consume(&stage, &flags("g", &SOON));
    other.saw("begin e attempt 2").await;
    std::fs::write(&go, "").expect("written");
    other.saw("effect e").await;
    frozen.signal(Signal::Cont);
    frozen.saw("repeat e").await;
    assert_eq!(effects.of("g").await, ["e"]);
    eventually("everything to be settled", async || pending(&stage.redis, "s", "g").await == 0).await;
}

#[tokio::test]
async fn a_long_handler_keeps_its_entry() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let mut relay = stage.relay(&[]).await;
    let silence = ["--claim-after-ms", "2000"];
    enqueue_told(&stage, "s", "long", "", &json!({"do": "sleep", "ms": 7_000})).await;
    stage.until_entries(&mut relay, "s", 1).await;
    let one = consume(&stage, &flags("g", &silence));
    one.saw("begin long attempt 1").await;
    let other = consume(&stage, &flags("g", &silence));
    name(&other).await;
    one.saw("effect long").await;
    eventually("it to be settled", async || pending(&stage.redis, "s", "g").await == 0).await;
    assert_eq!(effects.of("g").await, ["long"]);
    assert_eq!(one.log().matches("begin long").count(), 1);
    assert!(!other.log().contains("begin long"), "idle time is not death");
}

#[tokio::test]
async fn two_replicas_with_one_name_are_two_consumers() {
    let stage = Stage::set().await;
    let replicas = [0, 1].map(|_| consume(&stage, &flags("g", &["--name", "billing"])));
    let [one, other] = &replicas;
    assert_ne!(name(one).await, name(other).await);
    assert!(name(one).await.starts_with("billing-"));
}

#[tokio::test]
async fn asked_to_stop_it_gives_back_at_once_what_has_not_begun_and_ends_what_has() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let mut relay = stage.relay(&[]).await;
    let (_folder, go) = sign();
    enqueue_told(&stage, "s", "slow", "", &json!({"do": "wait", "until": go})).await;
    for n in 0..5 {
        enqueue_told(&stage, "s", &format!("e{n}"), "", &json!({})).await;
    }
    stage.until_entries(&mut relay, "s", 6).await;

    // One at a time, so the others are read ahead and do not begin.
    let one = ["--concurrency", "1", "--drain-max-ms", "3600000"];
    let mut leaving = consume(&stage, &flags("g", &[&NEVER[..], &one[..]].concat()));
    let leaver = name(&leaving).await;
    leaving.saw("begin slow attempt 1").await;
    assert!(pending(&stage.redis, "s", "g").await > 1, "something was read ahead");
    leaving.signal(Signal::Term);
    let other = consume(&stage, &flags("g", &NEVER));
    for n in 0..5 {
        other.saw(&format!("effect e{n}")).await;
        assert!(other.log().contains(&format!("begin e{n} attempt 1\n")), "what never began is no attempt");
    }
    std::fs::write(&go, "").expect("written");
    assert_eq!(leaving.wait().await, 0);
    assert!(leaving.log().contains("effect slow"), "what had begun may end");
    eventually("everything to be settled", async || pending(&stage.redis, "s", "g").await == 0).await;
    assert_eq!(effects.of("g").await.len(), 6);
    let left = consumers(&stage, "g").await;
    assert!(left.iter().all(|(name, _)| *name != leaver), "{left:?}");
}

#[tokio::test]
async fn an_attempt_that_outlasts_the_drain_is_cut_off_and_repeated_by_another_at_once() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let mut relay = stage.relay(&[]).await;
    let (_folder, go) = sign();
    enqueue_told(&stage, "s", "slow", "", &json!({"do": "wait", "until": go})).await;
    stage.until_entries(&mut relay, "s", 1).await;
    let mut leaving = consume(&stage, &flags("g", &[&NEVER[..], &["--drain-max-ms", "100"]].concat()));
    let leaver = name(&leaving).await;
    leaving.saw("begin slow attempt 1").await;
    leaving.signal(Signal::Term);
    assert_eq!(leaving.wait().await, 0);
    assert!(consumers(&stage, "g").await.iter().all(|(name, _)| *name != leaver));
    let other = consume(&stage, &flags("g", &NEVER));
    other.saw("begin slow attempt 2").await;
    std::fs::write(&go, "").expect("written");
    other.saw("effect slow").await;
    assert_eq!(effects.of("g").await, ["slow"]);
}

#[tokio::test]
async fn a_drain_longer_than_the_patience_of_others_keeps_its_entry() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let mut relay = stage.relay(&[]).await;
    enqueue_told(&stage, "s", "long", "", &json!({"do": "sleep", "ms": 7_000})).await;
    stage.until_entries(&mut relay, "s", 1).await;
    let patience = ["--claim-after-ms", "2000", "--drain-max-ms", "3600000"];
    let mut leaving = consume(&stage, &flags("g", &patience));
    leaving.saw("begin long attempt 1").await;
    let other = consume(&stage, &flags("g", &patience));
    name(&other).await;
    leaving.signal(Signal::Term);
    assert_eq!(leaving.wait().await, 0);
    assert_eq!(effects.of("g").await, ["long"]);
    assert!(!other.log().contains("begin long"), "{}", other.log());
}

/// Something ends more often than a heartbeat is due: that must not put the heartbeat off.
#[tokio::test]
async fn a_long_drain_in_which_something_ends_all_the_time_keeps_what_still_runs() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let mut relay = stage.relay(&[]).await;
    for n in 1..=24 {
        enqueue_told(&stage, "s", &format!("e{n}-"), "", &json!({"do": "sleep", "ms": 300 * n})).await;
    }
    stage.until_entries(&mut relay, "s", 24).await;
    let flags = flags("g", &["--claim-after-ms", "2000", "--drain-max-ms", "3600000", "--concurrency", "32"]);
    let mut leaving = consume(&stage, &flags);
    for n in 1..=24 {
        leaving.saw(&format!("begin e{n}- attempt 1")).await;
    }
    let other = consume(&stage, &flags);
    name(&other).await;
    leaving.signal(Signal::Term);
    assert_eq!(leaving.wait().await, 0);
    assert_eq!(effects.of("g").await.len(), 24);
    assert!(!other.log().contains("begin "), "{}", other.log());
}

#[tokio::test]
async fn the_names_of_the_dead_do_not_pile_up() {
    let stage = Stage::set().await;
    let _effects = Effects::on(&stage).await;
    let mut relay = stage.relay(&[]).await;
    let quick = flags("g", &["--claim-after-ms", "50"]);
    let known = async |name: &str| consumers(&stage, "g").await.iter().any(|(other, _)| other == name);
    let mut read_by = async |consumer: &Child, n: usize| {
        let name = name(consumer).await;
        enqueue_told(&stage, "s", &format!("e{n}"), "k", &json!({})).await;
        stage.until_entries(&mut relay, "s", n).await;
        eventually("it to read", async || known(&name).await).await;
    };
    for n in 1..=3 {
        let one = consume(&stage, &quick);
        read_by(&one, n).await;
        one.kill_9();
    }
    let living = consume(&stage, &quick);
    read_by(&living, 4).await;
    eventually("only the living to be left", async || consumers(&stage, "g").await.len() == 1).await;
}
