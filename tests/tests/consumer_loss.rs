//! Redis comes back as it was some time ago, or with nothing, or just then a partition changes hands: no effect is lost or doubled.

use std::collections::BTreeSet;
use std::time::Duration;

use outbox_tests::{
    Child, Effects, FileEffects, Proxy, Redis, Stage, assert_key_order, consume, consume_over, enqueue_told,
    eventually, settle, tick,
};
use redis::Value;
use serde_json::json;

const COUNT: u16 = 4;
/// Under this name lies what its consumer has given back.
const NOBODY: &str = "outbox:nobody";

/// So many events over sixteen keys.
async fn enqueue(stage: &Stage, numbers: std::ops::Range<usize>) {
    for n in numbers {
        let key = format!("k{}", n % 16);
        enqueue_told(stage, &outbox::partition("t", COUNT, &key), &format!("e{n}"), &key, &json!({})).await;
    }
}

fn offset(info: Value) -> String {
    let Value::BulkString(info) = info else { panic!("INFO answers text") };
    let info = String::from_utf8_lossy(&info).into_owned();
    let line = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
    line.expect("every server has one").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lagging_replica_that_is_promoted_loses_no_effect_and_doubles_none() {
    let stage = Stage::set().await;
    let in_table = Effects::on(&stage).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("effects");
    let in_file = FileEffects::at(&file);
    let replica = Redis::start().await;
    let port = stage.redis.port().to_string();
    replica.command(&["REPLICAOF", "127.0.0.1", &port]).await;

    let _relay = Child::spawn(stage.command(&["run"]));
    let partitions = format!("t:{COUNT}");
    let flags = ["--partitions", &partitions, "--claim-after-ms", "1000"];
    let path = file.to_str().expect("a plain path");
    let _consumers = [
        consume(&stage, &[&flags[..], &["--group", "table"]].concat()),
        consume(&stage, &[&flags[..], &["--group", "table"]].concat()),
        consume(&stage, &[&flags[..], &["--group", "file", "--sqlite", path]].concat()),
    ];
    let done = async |count: usize| {
        eventually(&format!("{count} effects in each group"), async || {
            in_table.of("table").await.len() >= count && in_file.of("file").len() >= count
        })
        .await;
    };
    enqueue(&stage, 0..200).await;
    done(200).await;
    eventually("the replica to have all of it", async || {
        offset(replica.command(&["INFO", "replication"]).await)
            == offset(stage.redis.command(&["INFO", "replication"]).await)
    })
    .await;

    // From here on it lags. What follows takes effect, is settled, is written down, and is forgotten by inboxes.
    replica.command(&["REPLICAOF", "NO", "ONE"]).await;
    enqueue(&stage, 200..400).await;
    done(400).await;
    eventually("the positions to be written down", async || {
        stage.ask::<bool>("select count(*) > 0 and sum(lag) = 0 from outbox_lag").await
    })
    .await;

    // It takes the place of the one that is no more.
    stage.redis.kill();
    replica.command(&["CONFIG", "SET", "port", &port]).await;
    enqueue(&stage, 400..600).await;
    done(600).await;
    for (group, effects) in [("table", in_table.of("table").await), ("file", in_file.of("file"))] {
        let once: BTreeSet<_> = effects.iter().collect();
        assert_eq!((effects.len(), once.len()), (600, 600), "once each in {group}");
    }
    assert_key_order(&in_table.by_key("table").await);
    assert_key_order(&in_file.by_key("file"));
}

/// A consumer of all partitions, over a wire of its own.
fn consume_partitions(stage: &Stage, wire: &Proxy) -> Child {
    let partitions = format!("t:{COUNT}");
    let flags = ["--partitions", &partitions, "--group", "g", "--claim-after-ms", "2000"];
    consume_over(&stage.redis_url_over(wire), stage, &flags)
}

/// How often Redis was told to end a read that waits.
async fn unblocked(stage: &Stage) -> String {
    let stats: String = redis::from_redis_value(stage.redis.command(&["INFO", "commandstats"]).await).expect("text");
    let line = stats.lines().find(|line| line.starts_with("cmdstat_client|unblock:"));
    line.and_then(|line| line.split(',').next()).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_partition_that_is_taken_while_the_network_fails_is_read_all_the_same() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let _relay = Child::spawn(stage.command(&["run"]));
    let (wire, other) = (Proxy::to(stage.redis.port()).await, Proxy::to(stage.redis.port()).await);
    let heir = consume_partitions(&stage, &wire);
    let mut leaver = consume_partitions(&stage, &other);
    for consumer in [&heir, &leaver] {
        consumer.saw("a partition is ours").await;
    }
    // Killed, and not asked to leave: it must not end a read of its own meanwhile.
    leaver.kill_9();
    leaver.wait().await;
    // The heir takes a partition, ends its read so that the next one is of that partition, too, and never hears that this was done.
    let before = unblocked(&stage).await;
    wire.slow(Duration::from_millis(20));
    eventually("the heir to end its read", async || unblocked(&stage).await != before).await;
    wire.cut();
    wire.slow(Duration::ZERO);
    enqueue(&stage, 0..32).await;
    eventually("all effects", async || effects.of("g").await.len() == 32).await;
}

#[tokio::test]
async fn a_group_that_is_lost_while_its_partition_changes_hands_is_made_anew() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let mut relay = stage.relay(&[]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let go = folder.path().join("go");
    for n in 0..16 {
        let (key, told) = (format!("k{n}"), json!({"do": "wait", "until": go}));
        enqueue_told(&stage, &outbox::partition("t", COUNT, &key), &format!("slow-{n}"), &key, &told).await;
    }
    // The relay has not heard of the group, and cannot put it back.
    settle(&mut relay).await;
    let (wire, other) = (Proxy::to(stage.redis.port()).await, Proxy::to(stage.redis.port()).await);
    let first = consume_partitions(&stage, &wire);
    first.saw("begin slow-").await;

    // It has all partitions and is to give some back, as soon as what it has begun of them has ended.
    let mut second = consume_partitions(&stage, &other);
    eventually("the first to give the last partition back", async || {
        let nobody = ["XPENDING", "t:{3}", "g", "-", "+", "1", NOBODY];
        matches!(stage.redis.command(&nobody).await, Value::Array(given) if !given.is_empty())
    })
    .await;
    // Nobody else will make the group there.
    second.kill_9();
    second.wait().await;
    stage.redis.command(&["FLUSHALL"]).await;
    std::fs::write(&go, "").expect("ours");
    enqueue(&stage, 0..64).await;
    eventually("all effects", async || {
        tick(&mut relay).await;
        effects.of("g").await.len() == 80
    })
    .await;
}
