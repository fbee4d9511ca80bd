//! What every group has settled may go from Redis, and nothing else may.

use outbox::{Consumer, Entry};
use outbox_tests::{Doing, Stage, consumer, eventually, tick, until_settled};
use relay::Relay;

#[tokio::test]
async fn only_what_every_group_has_settled_is_trimmed() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--trim-after", "1ms"]).await;
    stage.enqueue_many("s", 100).await;
    stage.until_entries(&mut relay, "s", 100).await;
    let all = Doing(|_: Entry| async { Ok(()) });
    let mut quick = consumer(&stage, "s", "quick").handler(all).build().expect("valid");
    until_settled(&mut quick, 100).await;
    // The slow group has read everything and settled some; entry 41 is still in its hands.
    stage.redis.command(&["XGROUP", "CREATE", "s", "slow", "0"]).await;
    stage.redis.command(&["XREADGROUP", "GROUP", "slow", "me", "COUNT", "100", "STREAMS", "s", ">"]).await;
    for seq in (1..=40).chain(42..=60) {
        stage.redis.command(&["XACK", "s", "slow", &format!("1-{seq}")]).await;
    }
    eventually("what both have settled to go", async || {
        tick(&mut relay).await;
        stage.length("s").await == 60
    })
    .await;
    assert_eq!(stage.entries("s").await[0].0.to_string(), "1-41");
    for seq in (41..=41).chain(61..=100) {
        stage.redis.command(&["XACK", "s", "slow", &format!("1-{seq}")]).await;
    }
    eventually("all but the newest to go", async || {
        tick(&mut relay).await;
        stage.length("s").await == 1
    })
    .await;
}

#[tokio::test]
async fn a_stream_without_groups_is_not_trimmed_and_neither_is_what_is_young() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--trim-after", "1h"]).await;
    for stream in ["without", "young"] {
        stage.enqueue_many(stream, 10).await;
        stage.until_entries(&mut relay, stream, 10).await;
    }
    let mut group =
        consumer(&stage, "young", "g").handler(Doing(|_: Entry| async { Ok(()) })).build().expect("valid");
    until_settled(&mut group, 10).await;
    eventually("the relay to know", async || {
        tick(&mut relay).await;
        stage
            .ask::<bool>("select exists (select from outbox_group where stream = 'young' and settled_seq = 20)")
            .await
    })
    .await;
    let seen: String = stage.ask("select max(seen_at)::text from outbox_group").await;
    eventually("it to look again", async || {
        tick(&mut relay).await;
        stage.ask::<String>("select max(seen_at)::text from outbox_group").await != seen
    })
    .await;
    assert_eq!((stage.length("without").await, stage.length("young").await), (10, 10));
}

/// Fifty events are sent and settled, and all but the newest go.
async fn send_settle_and_trim(stage: &Stage, relay: &mut Relay) -> Consumer {
    stage.enqueue_many("s", 50).await;
    stage.until_entries(relay, "s", 50).await;
    let mut group = consumer(stage, "s", "g").handler(Doing(|_: Entry| async { Ok(()) })).build().expect("valid");
    until_settled(&mut group, 50).await;
    eventually("what is settled to go", async || {
        tick(relay).await;
        stage.length("s").await == 1
    })
    .await;
    group
}

#[tokio::test]
async fn what_was_trimmed_is_not_sent_again_and_new_events_arrive() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--trim-after", "1ms"]).await;
    let mut group = send_settle_and_trim(&stage, &mut relay).await;
    // A new relay knows nothing of it.
    drop(relay);
    let mut relay = stage.relay(&["--trim-after", "1ms"]).await;
    stage.enqueue("s", "new").await;
    eventually("the new event to arrive", async || {
        tick(&mut relay).await;
        stage.ids("s").await.last().is_some_and(|id| id == "new")
    })
    .await;
    until_settled(&mut group, 1).await;
}

#[tokio::test]
async fn memory_that_is_short_is_made_by_trimming_and_drops_nothing() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--trim-after", "24h"]).await;
    let big = "x".repeat(10_000);
    let enqueue = async |from: usize| {
        stage
            .sql(&format!(
                "select outbox_enqueue('s', 't', to_json('{big}'::text), id => n::text) from generate_series({from}, {}) n",
                from + 499
            ))
            .await;
    };
    enqueue(1).await;
    stage.until_entries(&mut relay, "s", 500).await;
    let mut group = consumer(&stage, "s", "g").handler(Doing(|_: Entry| async { Ok(()) })).build().expect("valid");
    until_settled(&mut group, 500).await;

    let used = |redis: redis::Value| match redis {
        redis::Value::BulkString(info) => String::from_utf8_lossy(&info)
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:")?.trim().parse::<u64>().ok())
            .expect("a number"),
        other => panic!("{other:?}"),
    };
    let now = used(stage.redis.command(&["INFO", "memory"]).await);
    stage.redis.command(&["CONFIG", "SET", "maxmemory", &(now + 1_000_000).to_string()]).await;
    // Five megabytes more than there is room for, unless what is settled goes.
    enqueue(501).await;
    eventually("everything to be settled", async || {
        tick(&mut relay).await;
        let _ = group.tick().await.expect("usable");
        group.stats("s").processed == 1_000
    })
    .await;
    assert_eq!(stage.ask::<i64>("select count(*) from outbox where attempts > 0 or dead_at is not null").await, 0);
}

#[tokio::test]
async fn a_relay_that_starts_late_in_the_numbers_trims_at_once() {
    let stage = Stage::set().await;
    stage.sql("select setval('outbox_seq_seq', 5000000000)").await;
    let mut relay = stage.relay(&["--trim-after", "1ms"]).await;
    let _ = send_settle_and_trim(&stage, &mut relay).await;
}
