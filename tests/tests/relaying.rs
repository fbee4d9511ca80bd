//! The first promise: what is committed arrives, once, in order, under its own number.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use outbox::Event;
use outbox_tests::{Child, Stage, eventually, settle};

#[tokio::test]
async fn a_committed_event_arrives_under_the_number_of_its_row() {
    let stage = Stage::set().await;
    let seq = stage.enqueue("orders", "first").await;
    stage.until_entries(&mut stage.relay(&[]).await, "orders", 1).await;
    let (number, envelope) = stage.entries("orders").await.remove(0);
    assert_eq!(number.to_string(), format!("1-{seq}"));
    assert_eq!((envelope.id.as_str(), envelope.data.as_str()), ("first", "\"first\""));
}

#[tokio::test]
async fn a_rolled_back_transaction_publishes_nothing() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    let event = Event::draft("orders", "t").json(&1).expect("valid");
    let _ = outbox::enqueue(&mut tx, &event).await.expect("written");
    settle(&mut relay).await;
    tx.rollback().await.expect("rolled back");
    stage.enqueue("orders", "after").await;
    stage.until_entries(&mut relay, "orders", 1).await;
    assert_eq!(stage.ids("orders").await, ["after"]);
}

#[tokio::test]
async fn streams_flow_side_by_side_each_in_its_order() {
    let stage = Stage::set().await;
    for stream in ["a", "b", "c"] {
        stage.enqueue_many(stream, 700).await;
    }
    let mut relay = stage.relay(&["--batch-rows-max", "100"]).await;
    for stream in ["a", "b", "c"] {
        stage.until_entries(&mut relay, stream, 700).await;
        let expected: Vec<_> = (0..700).map(|n| format!("{stream}-{n}")).collect();
        assert_eq!(stage.ids(stream).await, expected);
    }
}

#[tokio::test]
async fn a_stream_that_a_consumer_made_anew_gets_everything_back() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue("lost", "first").await;
    stage.until_entries(&mut relay, "lost", 1).await;
    stage.enqueue("other", "between").await;
    stage.until_entries(&mut relay, "other", 1).await;
    // The stream is there again, empty, before the relay next looks.
    stage.redis.command(&["DEL", "lost"]).await;
    stage.redis.command(&["XGROUP", "CREATE", "lost", "g", "0", "MKSTREAM"]).await;
    stage.enqueue("lost", "second").await;
    stage.until_entries(&mut relay, "lost", 2).await;
    assert_eq!(stage.ids("lost").await, ["first", "second"]);
}

#[tokio::test]
async fn consumers_that_delete_entries_do_not_starve_publishing() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many("s", 30_000).await;
    stage.until_entries(&mut relay, "s", 30_000).await;

    // Each deletion breaks the watch under which the relay appends. They go on until all has come through.
    let enough = Arc::new(AtomicBool::new(false));
    let (mut redis, stop) = (stage.redis.connection().await, enough.clone());
    let delete = tokio::spawn(async move {
        for seq in 1..=30_000 {
            if stop.load(Relaxed) {
                return;
            }
            let _: i64 =
                redis::cmd("XDEL").arg("s").arg(format!("1-{seq}")).query_async(&mut redis).await.expect("ok");
        }
        panic!("the load was too short to show anything");
    });
    let events: Vec<_> =
        (0..1_000).map(|n| Event::draft("s", "t").id(format!("new-{n}")).json(&n).expect("valid")).collect();
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    let _ = outbox::enqueue_all(&mut tx, &events).await.expect("written");
    tx.commit().await.expect("committed");

    let arrived = async || match stage.redis.command(&["XRANGE", "s", "1-30001", "+"]).await {
        redis::Value::Array(entries) => entries.len(),
        other => panic!("XRANGE answered {other:?}"),
    };
    eventually("all to arrive while entries are deleted", async || {
        relay.tick().await.expect("Postgres is there");
        arrived().await == 1_000
    })
    .await;
    enough.store(true, Relaxed);
    delete.await.expect("they lasted");
}

#[tokio::test]
async fn what_another_relay_has_sent_is_counted_by_whoever_reports_it() {
    let stage = Stage::set().await;
    let mut one = stage.relay(&["--report-interval", "1ms"]).await;
    let mut other = stage.relay(&["--report-interval", "1h"]).await;
    stage.enqueue("s", "first").await;
    stage.until_entries(&mut one, "s", 1).await;
    let reported = "select coalesce(sum(entries), 0)::bigint from outbox_receipt";
    eventually("the first report", async || {
        one.tick().await.expect("Postgres is there");
        stage.ask::<i64>(reported).await == 1
    })
    .await;
    // Its one report goes by before it has sent anything.
    for _ in 0..5 {
        other.tick().await.expect("Postgres is there");
    }
    stage.enqueue_many("s", 10).await;
    stage.until_entries(&mut other, "s", 11).await;
    stage.enqueue("s", "last").await;
    stage.until_entries(&mut one, "s", 12).await;
    eventually("all to be told", async || {
        one.tick().await.expect("Postgres is there");
        stage.ask::<i64>("select max(last_seq) from outbox_receipt").await
            == stage.ask::<i64>("select max(seq) from outbox").await
    })
    .await;
    assert_eq!(stage.ask::<i64>(reported).await, 12);
}

#[tokio::test]
async fn an_event_starts_at_once_when_the_relay_is_asleep() {
    let stage = Stage::set().await;
    let flags = ["run", "--sleep-after", "10ms", "--sleep-poll-interval", "1h"];
    let _relay = Child::spawn(stage.command(&flags));
    for n in 1..=3 {
        eventually("the relay to fall asleep", async || {
            stage.ask::<bool>("select last_value > extract(epoch from now()) from outbox_doorbell").await
        })
        .await;
        // Nobody polls: only the bell can wake it.
        stage.enqueue("s", &format!("event-{n}")).await;
        eventually("the event to arrive", async || stage.length("s").await == n).await;
    }
}

#[tokio::test]
async fn nobody_rings_while_the_relay_is_awake() {
    let stage = Stage::set().await;
    let mut bell = sqlx::postgres::PgListener::connect(&stage.database_url).await.expect("Postgres is there");
    bell.listen("outbox").await.expect("Postgres is there");
    stage.enqueue("s", "a").await;
    stage.sql("notify outbox, 'the end'").await;
    assert_eq!(bell.recv().await.expect("a ring").payload(), "the end", "no insert rang before");
    stage.sql("select setval('outbox_doorbell', extract(epoch from clock_timestamp())::bigint + 60)").await;
    stage.enqueue("s", "b").await;
    assert_eq!(bell.recv().await.expect("a ring").payload(), "public");
}
