//! Consumers that die, freeze and stop, as real processes.

use std::path::PathBuf;

use outbox_tests::{
    Child, Effects, Proxy, Side, Signal, Stage, Turns, assert_key_order, consume, consume_between, consume_over,
    enqueue_told, eventually, letters, pending,
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

#[derive(Clone, Copy)]
enum Behind {
    Postgres,
    Redis,
}

/// Kills it at each turn of what it does with a few events, one of which it buries, and lets an heir go on.
async fn killed_at_every_turn(behind: Behind, side: Side) {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let mut relay = stage.relay(&[]).await;
    for n in 0..3 {
        enqueue_told(&stage, "s", &format!("e{n}"), "k", &json!({})).await;
    }
    enqueue_told(&stage, "s", "bad", "", &json!({"do": "fail"})).await;
    stage.until_entries(&mut relay, "s", 4).await;
    let quick = [&SOON[..], &["--attempts-max", "2"]].concat();
    let wire = match behind {
        Behind::Postgres => Proxy::to(stage.postgres.port()).await,
        Behind::Redis => Proxy::to(stage.redis.port()).await,
    };
    let (redis_url, database_url) = match behind {
        Behind::Postgres => (stage.redis.url(), stage.database_url_over(&wire)),
        Behind::Redis => (stage.redis_url_over(&wire), stage.database_url.clone()),
    };
    // A session, and for each effect: begin, inbox, effect, commit. Or a group, reads, acknowledgements, a burial.
    let mut turns = match behind {
        Behind::Postgres => Turns::of(&wire, side, 13).one_in(3),
        Behind::Redis => Turns::of(&wire, side, 10).one_in(2),
    };
    while let Some(turn) = turns.another() {
        let group = format!("g{turn}");
        let flags = flags(&group, &quick);
        // Whoever is killed at none of its turns has buried it by itself: the burial lies among them.
        let settled = async || {
            stage.length(&format!("s:{group}:dead")).await == 1
                && effects.of(&group).await.len() >= 3
                && pending(&stage.redis, "s", &group).await == 0
        };
        turns.kill(|| consume_between(&redis_url, &database_url, &flags), async |_| settled().await).await;
        let _heir = consume(&stage, &flags);
        eventually(&format!("everything to be settled after turn {turn}"), &settled).await;
        assert_eq!(effects.of(&group).await, ["e0", "e1", "e2"], "turn {turn}");
        let buried = letters(&stage.redis, &format!("s:{group}:dead")).await;
        assert!(buried.len() == 1 && buried[0]["id"] == "bad", "turn {turn}: {buried:?}");
    }
}

#[tokio::test]
async fn killed_before_any_request_arrives_it_loses_nothing_and_repeats_no_effect() {
    killed_at_every_turn(Behind::Redis, Side::Request).await;
}

#[tokio::test]
async fn killed_before_any_reply_arrives_it_loses_nothing_and_repeats_no_effect() {
    killed_at_every_turn(Behind::Redis, Side::Reply).await;
}

#[tokio::test]
async fn killed_before_any_request_to_its_database_arrives_it_loses_nothing_and_repeats_no_effect() {
    killed_at_every_turn(Behind::Postgres, Side::Request).await;
}

#[tokio::test]
async fn killed_before_any_reply_of_its_database_arrives_it_loses_nothing_and_repeats_no_effect() {
    killed_at_every_turn(Behind::Postgres, Side::Reply).await;
}

/// Who holds each of two partitions.
async fn holders(stage: &Stage) -> Vec<String> {
    let mut held = vec![];
    for nth in 0..2 {
        let name = stage.redis.command(&["GET", &format!("p:{{{nth}}}:g:holder")]).await;
        held.extend(redis::from_redis_value::<Option<String>>(name).expect("text"));
    }
    held
}

/// A guest takes one of two partitions from the one who stays, works, and gives it back when it is asked to stop.
async fn killed_as_a_guest(side: Side) {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let _relay = Child::spawn(stage.command(&["run", "--lease", "0", "--sleep-after", "1h"]));
    let wire = Proxy::to(stage.redis.port()).await;
    let flags = ["--partitions", "p:2", "--group", "g", "--claim-after-ms", "400", "--attempts-max", "1000"];
    let stays = consume(&stage, &flags);
    let host = name(&stays).await;
    let all_his = async || holders(&stage).await == [host.clone(), host.clone()];
    let mut written = 0;
    let mut turns = Turns::of(&wire, side, 10).one_in(6);
    while let Some(turn) = turns.another() {
        eventually("all partitions to be his who stays", &all_his).await;
        let mut asked = false;
        let guest = || consume_over(&stage.redis_url_over(&wire), &stage, &flags);
        let gone = async |guest: &Child| {
            let done: i64 = stage.ask("select count(*) from effects").await;
            // Something to do for both, all the time.
            if !asked && done + 4 > written {
                let key = format!("k{}", written % 6);
                let stream = outbox::partition("p", 2, &key);
                enqueue_told(&stage, &stream, &format!("e{written}"), &key, &json!({})).await;
                written += 1;
            }
            if !asked {
                // It holds one, and has made something take effect there.
                asked = guest.log().contains("effect ");
                if asked {
                    guest.signal(Signal::Term);
                }
            }
            guest.has_ended()
        };
        turns.kill(guest, gone).await;
        eventually("all partitions to be his who stays", &all_his).await;
        let taken = async || stage.ask::<i64>("select count(*) from effects").await;
        eventually("each event to take effect", async || taken().await >= written).await;
        let different: i64 = stage.ask("select count(distinct event_id) from effects").await;
        assert_eq!((different, taken().await), (written, written), "once each, turn {turn}");
        assert_key_order(&effects.by_key("g").await);
    }
}

#[tokio::test]
async fn killed_before_any_request_of_taking_and_giving_back_a_partition_it_breaks_no_order() {
    killed_as_a_guest(Side::Request).await;
}

#[tokio::test]
async fn killed_before_any_reply_to_taking_and_giving_back_a_partition_it_breaks_no_order() {
    killed_as_a_guest(Side::Reply).await;
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
