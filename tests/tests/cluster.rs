//! The same consumer where the partitions of a stream lie on different servers: a Redis Cluster of three.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use outbox::{Consumer, ConsumerError, Entry, Failure};
use outbox_tests::{Child, Cluster, Doing, Effects, Running, Stage, assert_key_order, config, eventually, tick};
use redis::Value;
use relay::Relay;

const COUNT: u16 = 8;

/// Publishes what the relay would, without one.
async fn publish(cluster: &Cluster, lane: &str, seq: u64, id: &str, key: &str) {
    let number = format!("1-{seq}");
    let fields = ["id", id, "type", "t", "ver", "1", "key", key, "time", "2026-01-01T00:00:00Z", "data", "1"];
    cluster.command(&[&["XADD", lane, &number], &fields[..]].concat()).await;
}

/// Publishes so many events, each to the partition of its key.
async fn publish_many(cluster: &Cluster, numbers: std::ops::Range<u64>) {
    for seq in numbers {
        let key = format!("k{}", seq % 16);
        publish(cluster, &outbox::partition("t", COUNT, &key), seq, &format!("e{seq}"), &key).await;
    }
}

fn consumer(cluster: &Cluster, effects: &Effects) -> Consumer {
    let effects = effects.clone();
    let handler = Doing(move |entry: Entry| {
        let effects = effects.clone();
        async move {
            if entry.id == "bad" {
                return Err(Failure::retry("it is bad"));
            }
            effects.write(&entry).await?;
            Ok(())
        }
    });
    Consumer::builder(cluster.nodes[0].url())
        .partitions("t", COUNT)
        .group("g")
        .claim_after(Duration::from_secs(2))
        .redis_timeout(Duration::from_secs(2))
        .attempts_max(NonZeroU32::new(2).expect("two"))
        .handler(handler)
        .build()
        .expect("valid")
}

async fn until_effects(effects: &Effects, count: usize) {
    eventually(&format!("{count} effects"), async || effects.of("g").await.len() >= count).await;
    let all = effects.of("g").await;
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (count, count));
}

async fn length(cluster: &Cluster, stream: &str) -> i64 {
    match cluster.command(&["XLEN", stream]).await {
        Value::Int(length) => length,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn partitions_on_three_nodes_are_read_buried_and_replayed() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let cluster = Cluster::start().await;
    let mut nodes = BTreeSet::new();
    for nth in 0..COUNT {
        nodes.insert(cluster.node_of(&format!("t:{{{nth}}}")).await);
    }
    assert_eq!(nodes.len(), 3, "the partitions spread");

    publish_many(&cluster, 1..101).await;
    let running = [0, 1].map(|_| Running::start(consumer(&cluster, &effects)));
    until_effects(&effects, 100).await;

    let stream = outbox::partition("t", COUNT, "k3");
    publish(&cluster, &stream, 101, "bad", "k3").await;
    publish(&cluster, &stream, 102, "after", "k3").await;
    eventually("the bad one to be buried", async || length(&cluster, &format!("{stream}:g:dead")).await == 1).await;
    until_effects(&effects, 101).await;
    publish(&cluster, &format!("{stream}:g:replay"), 1, "replayed", "k3").await;
    until_effects(&effects, 102).await;
    for one in running {
        one.stop().await;
    }
}

#[tokio::test]
async fn a_node_that_is_restarted_is_met_again() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let cluster = Cluster::start().await;
    publish_many(&cluster, 1..51).await;
    let one = Running::start(consumer(&cluster, &effects));
    until_effects(&effects, 50).await;
    cluster.nodes[1].kill();
    cluster.nodes[1].restart().await;
    cluster.until_whole().await;
    publish_many(&cluster, 51..101).await;
    until_effects(&effects, 100).await;
    one.stop().await;
    assert_key_order(&effects.by_key("g").await);
}

#[tokio::test]
async fn a_stream_that_a_cluster_would_tear_from_its_dead_letters_is_refused() {
    let cluster = Cluster::start().await;
    let one = Consumer::builder(cluster.nodes[0].url()).stream("orders").group("g");
    let mut one = one.handler(Doing(|_: Entry| async { Ok(()) })).build().expect("valid");
    let refused = one.tick().await;
    assert!(matches!(&refused, Err(ConsumerError::Unusable(why)) if why.contains("orders")), "{refused:?}");
}

#[tokio::test]
async fn a_relay_brings_events_to_partitions_on_three_nodes_and_back_after_a_loss() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let cluster = Cluster::start().await;
    let flags = ["--lease", "0", "--retention", "1h"];
    let url = cluster.nodes[0].url();
    let mut relay = Relay::connect(config(&stage.database_url, &url, &flags)).await.expect("both are there");
    let enqueue = async |from: usize, to: usize| {
        let statement = format!(
            "select outbox_enqueue(outbox_partition('t', {COUNT}, 'k' || n % 16), 't', '1', key => 'k' || n % 16,
                                   id => 'e' || n) from generate_series({from}, {to}) n"
        );
        stage.sql(&statement).await;
    };
    enqueue(1, 500).await;
    let one = Running::start(consumer(&cluster, &effects));
    let relayed = async |relay: &mut Relay, count: usize| {
        eventually(&format!("{count} effects"), async || {
            tick(relay).await;
            effects.of("g").await.len() >= count
        })
        .await;
    };
    relayed(&mut relay, 500).await;

    // What a group sets aside passes through its node into Postgres, and back to that group.
    let bad = "select outbox_enqueue(outbox_partition('t', 8, 'k3'), 't', '1', key => 'k3', id => 'bad')";
    stage.sql(bad).await;
    eventually("the letter to come into Postgres", async || {
        tick(&mut relay).await;
        stage.ask::<i64>("select count(*) from outbox_dead_letter where id = 'bad'").await == 1
    })
    .await;
    assert_eq!(Child::spawn(stage.command(&["dead", "replay", "--group", "g"])).wait().await, 0);
    eventually("it to come back once more", async || {
        tick(&mut relay).await;
        stage.ask::<i64>("select count(*) from outbox_dead_letter where id = 'bad'").await == 2
    })
    .await;

    eventually("the positions to be written down", async || {
        tick(&mut relay).await;
        stage.ask::<bool>("select sum(lag) = 0 from outbox_lag where stream not like '%:replay'").await
    })
    .await;
    for node in &cluster.nodes {
        node.command(&["FLUSHALL"]).await;
    }
    enqueue(501, 600).await;
    relayed(&mut relay, 600).await;
    let all = effects.of("g").await;
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (600, 600), "once each");
    one.stop().await;
    assert_key_order(&effects.by_key("g").await);
}

/// How many entries a stream holds, as the node says that has it: another one may be away.
async fn length_at(cluster: &Cluster, (stream, node): &(String, usize)) -> i64 {
    match cluster.nodes[*node].command(&["XLEN", stream]).await {
        Value::Int(length) => length,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_node_that_is_away_holds_up_its_own_streams_and_no_others() {
    let stage = Stage::set().await;
    let cluster = Cluster::start().await;
    let mut all = vec![];
    for nth in 0..COUNT {
        let stream = format!("t:{{{nth}}}");
        let node = cluster.node_of(&stream).await;
        all.push((stream, node));
    }
    let (away, others): (Vec<_>, Vec<_>) = all.iter().cloned().partition(|(_, node)| *node == 1);
    assert!(!away.is_empty() && others.len() > 1);
    let url = cluster.nodes[0].url();
    let mut relay =
        Relay::connect(config(&stage.database_url, &url, &["--lease", "0"])).await.expect("both are there");
    let arrived = async |relay: &mut Relay, streams: &[(String, usize)], count: i64| {
        eventually(&format!("{count} entries in each of {streams:?}"), async || {
            tick(relay).await;
            let mut there = true;
            for stream in streams {
                there &= length_at(&cluster, stream).await == count;
            }
            there
        })
        .await;
    };
    let enqueue_to_all = async |id: &str| {
        for (stream, _) in &all {
            stage.enqueue(stream, &format!("{stream}-{id}")).await;
        }
    };
    enqueue_to_all("before").await;
    arrived(&mut relay, &all, 1).await;
    cluster.nodes[1].kill();
    for (count, id) in [(2, "meanwhile"), (3, "still")] {
        enqueue_to_all(id).await;
        arrived(&mut relay, &others, count).await;
    }
    let blamed: i64 = stage.ask("select count(*) from outbox where attempts > 0").await;
    assert_eq!(blamed, 0, "no event is to blame");
    cluster.nodes[1].restart().await;
    cluster.until_whole().await;
    arrived(&mut relay, &all, 3).await;
}

#[tokio::test]
async fn a_slot_that_moves_holds_up_its_own_stream_and_is_followed() {
    let stage = Stage::set().await;
    let cluster = Cluster::start().await;
    let moved = "t:{0}";
    let from = cluster.node_of(moved).await;
    let to = (from + 1) % 3;
    let mut relay = {
        let url = cluster.nodes[0].url();
        Relay::connect(config(&stage.database_url, &url, &["--lease", "0"])).await.expect("both are there")
    };
    let arrived = async |relay: &mut Relay, stream: &str, count: i64| {
        eventually(&format!("{count} entries in {stream}"), async || {
            tick(relay).await;
            length(&cluster, stream).await == count
        })
        .await;
    };
    let other = "t:{1}";
    for stream in [moved, other] {
        stage.enqueue(stream, &format!("{stream}-1")).await;
        arrived(&mut relay, stream, 1).await;
    }
    let id = async |node: usize| match cluster.nodes[node].command(&["CLUSTER", "MYID"]).await {
        Value::BulkString(id) => String::from_utf8(id).expect("text"),
        other => panic!("{other:?}"),
    };
    let (from_id, to_id) = (id(from).await, id(to).await);
    let Value::Int(slot) = cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", moved]).await else { panic!("a slot") };
    let slot = slot.to_string();
    cluster.nodes[to].command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await;
    cluster.nodes[from].command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await;
    let port = cluster.nodes[to].port().to_string();
    cluster.nodes[from].command(&["MIGRATE", "127.0.0.1", &port, moved, "0", "5000"]).await;
    // The stream is there already, its slot is not: it has to wait, and the other one has not.
    for stream in [moved, other] {
        stage.enqueue(stream, &format!("{stream}-2")).await;
    }
    arrived(&mut relay, other, 2).await;
    for node in [to, from] {
        cluster.nodes[node].command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await;
    }
    arrived(&mut relay, moved, 2).await;
    assert_eq!(stage.ask::<i64>("select count(*) from outbox where attempts > 0").await, 0);
}

#[tokio::test]
async fn a_stream_whose_entries_are_deleted_all_the_time_does_not_starve_beside_others() {
    let stage = Stage::set().await;
    let cluster = Cluster::start().await;
    let url = cluster.nodes[0].url();
    let mut relay =
        Relay::connect(config(&stage.database_url, &url, &["--lease", "0"])).await.expect("both are there");
    let (hindered, busy) = ("t:{0}", "t:{1}");
    let many = |stream: &str, count: usize| {
        format!("select outbox_enqueue('{stream}', 't', '1') from generate_series(1, {count})")
    };
    stage.sql(&many(hindered, 30_000)).await;
    eventually("the first ones to arrive", async || {
        tick(&mut relay).await;
        length(&cluster, hindered).await == 30_000
    })
    .await;

    // Each deletion breaks the watch under which the relay appends. They go on until all has come through.
    let enough = Arc::new(AtomicBool::new(false));
    let node = cluster.node_of(hindered).await;
    let (mut redis, stop) = (cluster.nodes[node].connection().await, enough.clone());
    let delete = tokio::spawn(async move {
        for seq in 1..=30_000 {
            if stop.load(Relaxed) {
                return;
            }
            let _: i64 =
                redis::cmd("XDEL").arg("t:{0}").arg(format!("1-{seq}")).query_async(&mut redis).await.expect("ok");
        }
        panic!("the load was too short to show anything");
    });
    stage.sql(&many(hindered, 1_000)).await;
    let arrived = async || match cluster.command(&["XRANGE", hindered, "1-30001", "+"]).await {
        Value::Array(entries) => entries.len(),
        other => panic!("XRANGE answered {other:?}"),
    };
    eventually("all to arrive while entries are deleted, beside a stream that is busy", async || {
        // An append to the other stream in each turn.
        stage.sql(&many(busy, 1)).await;
        tick(&mut relay).await;
        arrived().await == 1_000
    })
    .await;
    enough.store(true, Relaxed);
    delete.await.expect("they lasted");
}
