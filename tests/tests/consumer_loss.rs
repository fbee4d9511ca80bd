//! A replica that lagged is promoted: Redis comes back as it was some time ago, with groups further back than inboxes are.

use std::collections::BTreeSet;

use outbox_tests::{Child, Effects, FileEffects, Redis, Stage, assert_key_order, consume, enqueue_told, eventually};
use redis::Value;
use serde_json::json;

const COUNT: u16 = 4;

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
    let topic = format!("t:{COUNT}");
    let flags = ["--partitions", &topic, "--claim-after-ms", "1000"];
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
