//! Rows that wait: for slow transactions, for their time, for another try, for a person.

use std::time::Duration;

use outbox::Event;
use outbox_tests::{Stage, eventually, settle};
use relay::Tick;
use sqlx::{Postgres, Transaction};

/// A transaction that has written to the outbox and stays open.
async fn open_writer(stage: &Stage, stream: &str, id: &str) -> (Transaction<'static, Postgres>, i64) {
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    let event = Event::draft(stream, "test.happened").id(id).json(id).expect("valid");
    match outbox::enqueue(&mut tx, &event).await.expect("written") {
        outbox::Enqueued::New { seq } => (tx, seq),
        outbox::Enqueued::Repeat => panic!("{id} was there already"),
    }
}

#[tokio::test]
async fn later_events_wait_for_an_open_transaction_so_that_order_is_kept() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--overtake-after", "1h"]).await;
    let (slow, _) = open_writer(&stage, "s", "slow").await;
    stage.enqueue("s", "quick").await;
    for _ in 0..20 {
        assert_eq!(relay.tick().await.expect("Postgres is there"), Tick::Idle);
    }
    slow.commit().await.expect("committed");
    stage.until_entries(&mut relay, "s", 2).await;
    assert_eq!(stage.ids("s").await, ["slow", "quick"]);
}

#[tokio::test]
async fn a_transaction_that_never_touched_the_outbox_holds_up_nothing() {
    let stage = Stage::set().await;
    let mut report = stage.pool.begin().await.expect("Postgres is there");
    sqlx::raw_sql("create table report (n int); insert into report values (1)")
        .execute(&mut *report)
        .await
        .expect("ok");
    sqlx::raw_sql("select count(*) from outbox").execute(&mut *report).await.expect("reading is not writing");
    stage.enqueue("s", "a").await;
    stage.until_entries(&mut stage.relay(&["--overtake-after", "1h"]).await, "s", 1).await;
    report.rollback().await.expect("still open");
}

#[tokio::test]
async fn a_slow_transaction_is_overtaken_and_neither_loses_nor_stalls() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--overtake-after", "50ms"]).await;
    let (slow, slow_seq) = open_writer(&stage, "s", "slow").await;
    stage.enqueue("s", "quick").await;
    stage.until_entries(&mut relay, "s", 1).await;

    // While it stays open, newer events do not wait for it a second time, in whatever stream.
    for n in 0..5 {
        stage.enqueue("s", &format!("later-{n}")).await;
        stage.enqueue("t", &format!("other-{n}")).await;
        stage.until_entries(&mut relay, "s", 2 + n).await;
        stage.until_entries(&mut relay, "t", 1 + n).await;
    }

    slow.commit().await.expect("committed");
    stage.until_entries(&mut relay, "s", 7).await;
    let (number, last) = stage.entries("s").await.pop().expect("seven");
    assert_eq!(last.id, "slow");
    assert!(number.seq > slow_seq.unsigned_abs(), "it took its place when it committed");
    settle(&mut relay).await;
    assert_eq!(stage.ask::<i64>("select count(*) from outbox_overtaken").await, 0);
}

#[tokio::test]
async fn an_overtaken_transaction_that_rolls_back_leaves_nothing_behind() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--overtake-after", "1ms"]).await;
    let (slow, _) = open_writer(&stage, "s", "slow").await;
    stage.enqueue("s", "quick").await;
    stage.until_entries(&mut relay, "s", 1).await;
    slow.rollback().await.expect("rolled back");
    eventually("the overtaken numbers to be forgotten", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<i64>("select count(*) from outbox_overtaken").await == 0
    })
    .await;
    assert_eq!(stage.ids("s").await, ["quick"]);
}

#[tokio::test]
async fn an_overtaken_event_of_a_stream_that_stood_still_arrives_once() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--overtake-after", "1ms"]).await;
    stage.enqueue("quiet", "first").await;
    stage.until_entries(&mut relay, "quiet", 1).await;
    let (slow, seq) = open_writer(&stage, "quiet", "slow").await;
    stage.enqueue("busy", "quick").await;
    stage.until_entries(&mut relay, "busy", 1).await;
    slow.commit().await.expect("committed");
    stage.until_entries(&mut relay, "quiet", 2).await;
    settle(&mut relay).await;
    assert_eq!(stage.ids("quiet").await, ["first", "slow"]);
    assert!(stage.entries("quiet").await[1].0.seq > seq.unsigned_abs(), "an overtaken number is never sent");
}

#[tokio::test]
async fn a_relay_that_starts_beside_an_overtaken_transaction_loses_nothing() {
    let stage = Stage::set().await;
    let (slow, _) = open_writer(&stage, "s", "slow").await;
    stage.enqueue("s", "quick").await;
    stage.until_entries(&mut stage.relay(&["--overtake-after", "1ms"]).await, "s", 1).await;

    let mut second = stage.relay(&["--overtake-after", "1ms"]).await;
    stage.enqueue("s", "later").await;
    stage.until_entries(&mut second, "s", 2).await;
    slow.commit().await.expect("committed");
    stage.until_entries(&mut second, "s", 3).await;
    assert_eq!(stage.ids("s").await, ["quick", "later", "slow"]);
}

#[tokio::test]
async fn a_prepared_transaction_is_waited_for_also_across_a_restart_of_postgres() {
    let stage = Stage::set_with(&[("max_prepared_transactions", "10")], &[]).await;
    let mut relay = stage.relay(&["--overtake-after", "1ms"]).await;
    stage
        .sql("begin; select outbox_enqueue('s', 't', '\"prepared\"', id => 'prepared'); prepare transaction 'slow'")
        .await;
    stage.enqueue("s", "quick").await;
    stage.until_entries(&mut relay, "s", 1).await;

    stage.postgres.stop();
    stage.postgres.restart().await;
    let mut relay = eventually("Postgres to be back", async || {
        relay::Relay::connect(stage.config(&["--lease", "0", "--overtake-after", "1ms"])).await.ok()
    })
    .await;
    for _ in 0..20 {
        relay.tick().await.expect("Postgres is there");
    }
    eventually("the pool to reconnect", async || sqlx::query("select 1").execute(&stage.pool).await.is_ok()).await;
    // Its writer bears another name now, and numbers were skipped; what was overtaken before must still be known.
    let known: bool =
        stage.ask("select exists (select from outbox_overtaken where writers[1] not like '-1/%')").await;
    assert!(known, "it may still appear");
    stage.sql("commit prepared 'slow'").await;
    stage.until_entries(&mut relay, "s", 2).await;
    assert_eq!(stage.ids("s").await, ["quick", "prepared"]);
}

#[tokio::test]
async fn a_scheduled_event_leaves_when_it_is_due_and_not_before() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    for (id, delay) in [("far", Duration::from_secs(3600)), ("near", Duration::from_millis(300))] {
        let event = Event::draft("s", "t").id(id).due_in(delay).json(&1).expect("valid");
        let _ = outbox::enqueue(&mut tx, &event).await.expect("written");
    }
    tx.commit().await.expect("committed");
    stage.enqueue("s", "now").await;
    settle(&mut relay).await;
    assert_eq!(stage.ids("s").await, ["now"]);
    stage.until_entries(&mut relay, "s", 2).await;
    assert_eq!(stage.ids("s").await, ["now", "near"]);
    let late: bool =
        stage.ask("select clock_timestamp() >= created_at + interval '300 ms' from outbox where id = 'near'").await;
    assert!(late);
}

#[tokio::test]
async fn events_that_fall_due_together_keep_their_order() {
    let stage = Stage::set().await;
    stage
        .sql("select outbox_enqueue('s', 't', '1', id => 'e' || n, due_at => timestamptz '2020-01-01') from generate_series(1, 1200) n")
        .await;
    stage.until_entries(&mut stage.relay(&[]).await, "s", 1200).await;
    let expected: Vec<_> = (1..=1200).map(|n| format!("e{n}")).collect();
    assert_eq!(stage.ids("s").await, expected);
}

#[tokio::test]
async fn scheduled_rows_are_passed_over_once_and_then_cost_nothing() {
    let stage = Stage::set().await;
    stage
        .sql(
            "insert into outbox (stream, type, id, payload, due_at)
             select 's', 't', 'held' || n, '1', '2100-01-01' from generate_series(1, 100000) n",
        )
        .await;
    let mut relay = stage.relay(&[]).await;
    // A session hands its statistics in about once a second. The first two events take the start-up's share.
    let looked_at =
        async || stage.ask::<i64>("select idx_tup_fetch from pg_stat_user_tables where relname = 'outbox'").await;
    let (mut before, mut after) = (0, 0);
    for count in 1..=3 {
        before = after;
        stage.enqueue("s", &format!("event-{count}")).await;
        stage.until_entries(&mut relay, "s", count).await;
        after = eventually("the work to be counted", async || {
            relay.tick().await.expect("Postgres is there");
            Some(looked_at().await).filter(|rows| *rows > before)
        })
        .await;
    }
    assert!(after - before < 1_000, "{} rows were looked at for one event", after - before);
}

#[tokio::test]
async fn what_fell_due_leaves_while_consumers_delete_entries_elsewhere() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many("busy", 8_000).await;
    stage.until_entries(&mut relay, "busy", 8_000).await;
    let mut redis = stage.redis.connection().await;
    let delete = tokio::spawn(async move {
        for seq in 1..=8_000 {
            let _: i64 =
                redis::cmd("XDEL").arg("busy").arg(format!("1-{seq}")).query_async(&mut redis).await.expect("ok");
        }
    });
    stage.sql("select outbox_enqueue('quiet', 't', '1', due_at => timestamptz '2020-01-01')").await;
    stage.until_entries(&mut relay, "quiet", 1).await;
    assert!(!delete.is_finished(), "the load was too short to show anything");
    delete.await.expect("nothing fails");
}

#[tokio::test]
async fn a_dead_letter_is_replayed_at_the_end_and_arrives_once() {
    let stage = Stage::set().await;
    let flags = ["--attempts-max", "2", "--retry-delay-min", "1ms", "--retry-delay-max", "1ms"];
    let mut relay = stage.relay(&flags).await;
    stage.redis.command(&["SET", "s", "in the way"]).await;
    let seq = stage.enqueue("s", "poor").await;
    eventually("the event to be a dead letter", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<i64>("select count(*) from outbox where dead_at is not null").await == 1
    })
    .await;
    let why: String = stage.ask("select last_error from outbox").await;
    assert!(why.contains("WRONGTYPE"), "{why}");

    stage.redis.command(&["DEL", "s"]).await;
    stage.enqueue("s", "other").await;
    stage.until_entries(&mut relay, "s", 1).await;
    let replay = stage.command(&["dead", "replay", "poor"]).output().expect("the binary runs");
    assert!(replay.status.success(), "{replay:?}");
    stage.until_entries(&mut relay, "s", 2).await;
    settle(&mut relay).await;
    let entries = stage.entries("s").await;
    assert_eq!(entries[1].1.id, "poor");
    assert!(entries[1].0.seq > seq.unsigned_abs());
}

#[tokio::test]
async fn a_dead_letter_that_was_sent_after_all_is_not_sent_again() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue("s", "twice").await;
    stage.until_entries(&mut relay, "s", 1).await;
    // As if another relay had buried it while ours was sending it.
    stage.sql("update outbox set dead_at = now(), due_at = 'infinity', last_error = 'unknown'").await;
    stage.sql("update outbox set dead_at = null, due_at = now()").await;
    settle(&mut relay).await;
    stage.until_entries(&mut relay, "s", 1).await;
    eventually("the row to count as sent", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<bool>("select due_at is null from outbox").await
    })
    .await;
    assert_eq!(stage.ids("s").await, ["twice"]);
}

#[tokio::test]
async fn who_stays_open_for_long_holds_back_its_own_events_only() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--overtake-after", "50ms"]).await;
    // One forgotten session, and one that is merely slow: overtaken together.
    let (forgotten, _) = open_writer(&stage, "t", "forgotten").await;
    let (slow, _) = open_writer(&stage, "s", "slow").await;
    stage.enqueue("s", "quick").await;
    stage.until_entries(&mut relay, "s", 1).await;
    slow.commit().await.expect("committed");
    stage.until_entries(&mut relay, "s", 2).await;
    assert_eq!(stage.ids("s").await, ["quick", "slow"]);
    forgotten.commit().await.expect("committed");
    stage.until_entries(&mut relay, "t", 1).await;
}

#[tokio::test]
async fn late_events_of_a_refused_stream_hold_up_no_other_stream() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--overtake-after", "50ms"]).await;
    stage.redis.command(&["SET", "bad", "in the way"]).await;
    let (mut slow, _) = open_writer(&stage, "bad", "first").await;
    // More than are decided at once.
    sqlx::raw_sql("select outbox_enqueue('bad', 't', '1') from generate_series(1, 1500)")
        .execute(&mut *slow)
        .await
        .expect("written");
    sqlx::raw_sql("select outbox_enqueue('good', 't', '1', id => 'late')")
        .execute(&mut *slow)
        .await
        .expect("written");
    stage.enqueue("good", "quick").await;
    stage.until_entries(&mut relay, "good", 1).await;
    slow.commit().await.expect("committed");
    stage.until_entries(&mut relay, "good", 2).await;
    stage.redis.command(&["DEL", "bad"]).await;
    stage.until_entries(&mut relay, "bad", 1_501).await;
    eventually("all to be decided", async || {
        relay.tick().await.expect("Postgres is there");
        stage.has_arrived(&["good", "bad"]).await
    })
    .await;
}
