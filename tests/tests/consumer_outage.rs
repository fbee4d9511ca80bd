//! Consumers whose Redis is full, away, frozen, or has lost what it knew.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use outbox::{Consumer, Entry, Failure};
use outbox_tests::{
    Child, Doing, Effects, Halt, Proxy, Running, Seen, Signal, Stage, consumer, enqueue_told, eventually, letters,
    pending,
};
use serde_json::json;
use tokio::sync::Semaphore;

const TWO: NonZeroU32 = NonZeroU32::new(2).expect("two");

/// What the tests of one outage share: events, their effects, and a handler that waits for a gate.
struct Scene {
    stage: Stage,
    effects: Effects,
    seen: Seen,
    gate: Arc<Semaphore>,
}

impl Scene {
    async fn set() -> Self {
        let stage = Stage::set().await;
        let effects = Effects::on(&stage).await;
        Self { stage, effects, seen: Seen::default(), gate: Arc::new(Semaphore::new(0)) }
    }

    /// Notes each attempt, waits until the gate is open, and lets the event take effect. Those called `bad` fail.
    fn handler(&self) -> impl outbox::Handler + use<> {
        let (effects, seen, gate) = (self.effects.clone(), self.seen.clone(), self.gate.clone());
        Doing(move |entry: Entry| {
            seen.note(&entry);
            let (effects, gate) = (effects.clone(), gate.clone());
            async move {
                let _open = gate.acquire().await?;
                if entry.id.starts_with("bad") {
                    return Err(Failure::retry("it is bad"));
                }
                effects.write(&entry).await?;
                Ok(())
            }
        })
    }

    fn open(&self) {
        self.gate.add_permits(1_000);
    }

    /// A consumer over a wire that notices soon that Redis is silent.
    fn consumer_over(&self, wire: &Proxy, group: &str) -> Consumer {
        Consumer::builder(self.stage.redis_url_over(wire))
            .stream("s")
            .group(group)
            .attempts_max(TWO)
            .claim_after(Duration::from_secs(1))
            .redis_timeout(Duration::from_millis(300))
            .retry(outbox::RetryPolicy {
                attempts_max: TWO,
                delay_min: Duration::from_millis(1),
                delay_max: Duration::from_millis(10),
            })
            .handler(self.handler())
            .build()
            .expect("valid")
    }

    async fn publish(&self, count: usize) {
        let mut relay = self.stage.relay(&[]).await;
        self.stage.enqueue_many("s", count).await;
        self.stage.until_entries(&mut relay, "s", count).await;
    }

    async fn until_effects(&self, group: &str, count: usize) {
        eventually(&format!("{count} effects in {group}"), async || self.effects.of(group).await.len() >= count)
            .await;
        let mut effects = self.effects.of(group).await;
        effects.sort();
        let all = effects.len();
        effects.dedup();
        assert_eq!((effects.len(), all), (count, count), "none is lost, and none took effect twice");
    }

    async fn until_nothing_is_pending(&self, group: &str) {
        eventually("everything to be settled", async || pending(&self.stage.redis, "s", group).await == 0).await;
    }
}

#[tokio::test]
async fn a_redis_that_is_full_loses_no_dead_letter_and_holds_up_no_neighbour() {
    let scene = Scene::set().await;
    let stage = &scene.stage;
    let mut relay = stage.relay(&[]).await;
    for id in ["bad-1", "a", "b", "bad-2", "c"] {
        enqueue_told(stage, "s", id, "", &json!({})).await;
    }
    stage.until_entries(&mut relay, "s", 5).await;
    for lane in ["s", "s:g:replay"] {
        stage.redis.command(&["XGROUP", "CREATE", lane, "g", "0", "MKSTREAM"]).await;
    }
    scene.open();
    stage.redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let one = consumer(stage, "s", "g").attempts_max(TWO).concurrency(1).handler(scene.handler()).build();
    let one = Running::start(one.expect("valid"));
    scene.until_effects("g", 3).await;
    eventually("both to have failed twice", async || {
        ["bad-1", "bad-2"].iter().all(|id| scene.seen.attempts(id) == [1, 2])
    })
    .await;
    eventually("only they to be pending", async || pending(&stage.redis, "s", "g").await == 2).await;
    assert_eq!(stage.length("s:g:dead").await, 0);

    stage.redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    eventually("both to be buried", async || stage.length("s:g:dead").await == 2).await;
    scene.until_nothing_is_pending("g").await;
    one.stop().await;
    let mut dead: Vec<_> =
        letters(&stage.redis, "s:g:dead").await.into_iter().map(|letter| letter["id"].clone()).collect();
    dead.sort();
    assert_eq!(dead, ["bad-1", "bad-2"]);
}

#[tokio::test]
async fn partitions_are_read_on_while_redis_is_full() {
    let scene = Scene::set().await;
    let stage = &scene.stage;
    let stream = outbox::partition("t", 1, "k");
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many(&stream, 100).await;
    stage.until_entries(&mut relay, &stream, 100).await;
    let reader = || {
        Consumer::builder(stage.redis.url())
            .partitions("t", 1)
            .group("g")
            .claim_after(Duration::from_millis(500))
            .handler(scene.handler())
            .build()
            .expect("valid")
    };
    let one = Running::start(reader());
    eventually("some to begin", async || !scene.seen.all().is_empty()).await;
    stage.redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    scene.open();
    scene.until_effects("g", 100).await;
    one.stop().await;
    // Another one may even begin.
    stage.redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    stage.redis.command(&["XGROUP", "SETID", &stream, "g", "0"]).await;
    stage.redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let calls = scene.seen.all().len();
    let other = Running::start(reader());
    eventually("it to read", async || scene.seen.all().len() == calls + 100).await;
    other.stop().await;
    scene.until_effects("g", 100).await;
}

#[tokio::test]
async fn a_redis_that_is_away_longer_than_all_waits_costs_no_attempt() {
    let scene = Scene::set().await;
    scene.publish(20).await;
    let wire = Proxy::to(scene.stage.redis.port()).await;
    let one = Running::start(scene.consumer_over(&wire, "g"));
    eventually("some to begin", async || scene.seen.all().len() == 8).await;
    wire.refuse();
    scene.open();
    scene.until_effects("g", 8).await;
    // How long the outage lasts: far longer than two attempts and all waits between them.
    tokio::time::sleep(Duration::from_secs(1)).await;
    wire.accept();
    scene.until_effects("g", 20).await;
    scene.until_nothing_is_pending("g").await;
    one.stop().await;
    let all = scene.seen.all();
    assert!(all.len() == 20 && all.iter().all(|(_, attempt)| *attempt == 1), "{all:?}");
    assert_eq!(scene.stage.length("s:g:dead").await, 0);
}

#[tokio::test]
async fn a_redis_that_is_frozen_is_left_and_met_again() {
    let scene = Scene::set().await;
    scene.publish(20).await;
    let wire = Proxy::to(scene.stage.redis.port()).await;
    let one = Running::start(scene.consumer_over(&wire, "g"));
    eventually("some to begin", async || scene.seen.all().len() == 8).await;
    wire.freeze();
    scene.open();
    scene.until_effects("g", 8).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    wire.thaw();
    scene.until_effects("g", 20).await;
    scene.until_nothing_is_pending("g").await;
    one.stop().await;
    assert_eq!(scene.stage.length("s:g:dead").await, 0);
}

#[tokio::test]
async fn whatever_reply_is_lost_nothing_is_lost_and_nothing_takes_effect_twice() {
    let scene = Scene::set().await;
    let mut relay = scene.stage.relay(&[]).await;
    for id in ["a", "bad", "b", "c"] {
        enqueue_told(&scene.stage, "s", id, "", &json!({})).await;
    }
    scene.stage.until_entries(&mut relay, "s", 4).await;
    scene.open();
    let mut hits = 0;
    for turn in 1..=40 {
        let group = format!("g{turn}");
        let wire = Proxy::to(scene.stage.redis.port()).await;
        let lost = wire.lose_reply(turn);
        let one = Running::start(scene.consumer_over(&wire, &group));
        scene.until_effects(&group, 3).await;
        scene.until_nothing_is_pending(&group).await;
        eventually("the bad one to be buried", async || scene.stage.length(&format!("s:{group}:dead")).await == 1)
            .await;
        hits += usize::from(Halt::is_reached(&lost));
        one.stop().await;
        assert_eq!(scene.stage.length(&format!("s:{group}:dead")).await, 1, "turn {turn}: buried once");
    }
    assert!(hits > 20, "most of these turns came: {hits}");
}

#[tokio::test]
async fn a_group_that_is_destroyed_in_mid_flight_goes_on() {
    let scene = Scene::set().await;
    scene.publish(20).await;
    let wire = Proxy::to(scene.stage.redis.port()).await;
    let one = Running::start(scene.consumer_over(&wire, "g"));
    eventually("some to begin", async || scene.seen.all().len() == 8).await;
    scene.stage.redis.command(&["XGROUP", "DESTROY", "s", "g"]).await;
    scene.open();
    scene.until_effects("g", 20).await;
    scene.until_nothing_is_pending("g").await;
    one.stop().await;
    assert_eq!(scene.stage.length("s:g:dead").await, 0);
}

#[tokio::test]
async fn an_entry_that_is_no_longer_ours_lets_no_other_of_its_key_begin_before_it() {
    let scene = Scene::set().await;
    let stage = &scene.stage;
    let mut relay = stage.relay(&[]).await;
    for id in ["e1", "e2", "e3"] {
        enqueue_told(stage, "s", id, "k", &json!({})).await;
    }
    stage.until_entries(&mut relay, "s", 3).await;
    let effects = scene.effects.clone();
    let failed = Arc::new(AtomicBool::new(false));
    let handler = Doing(move |entry: Entry| {
        let (effects, fails) = (effects.clone(), entry.id == "e1" && !failed.swap(true, Relaxed));
        async move {
            if fails {
                return Err(Failure::retry("not yet"));
            }
            effects.write(&entry).await?;
            Ok(())
        }
    });
    // No heartbeat looks first, and nothing is read while three are pending.
    let mut one = consumer(stage, "s", "g")
        .claim_after(Duration::from_secs(3_600))
        .retry(outbox::RetryPolicy {
            delay_min: Duration::from_secs(4),
            delay_max: Duration::from_secs(4),
            ..<_>::default()
        })
        .prefetch_max(100)
        .pending_max(3)
        .handler(handler)
        .build()
        .expect("valid");
    eventually("the first to have failed, and the others to wait behind it", async || {
        one.tick().await.expect("usable");
        one.stats("s").failed == 1 && pending(&stage.redis, "s", "g").await == 3
    })
    .await;
    // The group is as if it had been lost and made anew.
    stage.redis.command(&["XACK", "s", "g", "1-1", "1-2", "1-3"]).await;
    stage.redis.command(&["XGROUP", "SETID", "s", "g", "0"]).await;
    eventually("all to take effect", async || {
        one.tick().await.expect("usable");
        scene.effects.of("g").await.len() == 3
    })
    .await;
    assert_eq!(scene.effects.of("g").await, ["e1", "e2", "e3"]);
}

#[tokio::test]
async fn after_flushall_the_groups_go_on_by_themselves() {
    let scene = Scene::set().await;
    let stage = &scene.stage;
    let relay = Child::spawn(stage.command(&["run", "--lease", "0"]));
    stage.enqueue_many("s", 50).await;
    let wire = Proxy::to(stage.redis.port()).await;
    let running = ["a", "b"].map(|group| Running::start(scene.consumer_over(&wire, group)));
    scene.gate.add_permits(1_000);
    scene.until_effects("a", 50).await;
    scene.gate.forget_permits(1_000);
    for n in 0..50 {
        enqueue_told(stage, "s", &format!("later-{n}"), &format!("k{}", n % 3), &json!({})).await;
    }
    eventually("some to be in hand", async || scene.seen.ids().iter().any(|id| id.starts_with("later"))).await;
    stage.redis.command(&["FLUSHALL"]).await;
    scene.open();
    enqueue_told(stage, "s", "last", "", &json!({})).await;
    for group in ["a", "b"] {
        scene.until_effects(group, 101).await;
        scene.until_nothing_is_pending(group).await;
    }
    for one in running {
        one.stop().await;
    }
    relay.signal(Signal::Term);
}

#[tokio::test]
async fn entries_that_were_deleted_under_their_group_are_told_as_lost() {
    let scene = Scene::set().await;
    let stage = &scene.stage;
    scene.publish(3).await;
    stage.redis.command(&["XGROUP", "CREATE", "s", "g", "0"]).await;
    // One is pending for a consumer that is gone.
    stage.redis.command(&["XREADGROUP", "GROUP", "g", "gone", "COUNT", "1", "STREAMS", "s", ">"]).await;
    // The other two fail, and wait for their next attempts while they are deleted.
    let failing = Doing(|_: Entry| async { Err(Failure::retry("not yet")) });
    let mut one = consumer(stage, "s", "g")
        .retry(outbox::RetryPolicy {
            delay_min: Duration::from_secs(600),
            delay_max: Duration::from_secs(600),
            ..<_>::default()
        })
        .handler(failing)
        .build()
        .expect("valid");
    eventually("both to have failed", async || {
        one.tick().await.expect("usable");
        one.stats("s").failed >= 2
    })
    .await;
    stage.redis.command(&["XDEL", "s", "1-1", "1-2", "1-3"]).await;
    eventually("all to be told as lost", async || {
        one.tick().await.expect("usable");
        one.stats("s").lost == 3
    })
    .await;
    assert_eq!(pending(&stage.redis, "s", "g").await, 0);
}

#[tokio::test]
async fn asked_to_stop_while_redis_is_away_it_stops() {
    let scene = Scene::set().await;
    scene.publish(3).await;
    for frozen in [false, true] {
        let wire = Proxy::to(scene.stage.redis.port()).await;
        let before = scene.seen.all().len();
        let one = Running::start(scene.consumer_over(&wire, if frozen { "f" } else { "r" }));
        eventually("some to begin", async || scene.seen.all().len() > before).await;
        if frozen {
            wire.freeze();
        } else {
            wire.refuse();
        }
        scene.open();
        one.stop().await;
        scene.gate.forget_permits(1_000);
    }
}
