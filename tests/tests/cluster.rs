//! The same consumer where the partitions of a topic lie on different servers: a Redis Cluster of three.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use outbox::{Consumer, ConsumerError, Entry, Failure};
use outbox_tests::{Cluster, Doing, Effects, Running, Stage, assert_key_order, eventually};
use redis::Value;

const COUNT: u16 = 8;

/// The relay speaks to no cluster yet, so the test publishes what the relay would.
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
