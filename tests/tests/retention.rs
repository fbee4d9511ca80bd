//! Retention: what is published goes when it is old enough, and nothing else ever does.

use std::process::Output;

use outbox_tests::{Stage, settle};

fn prune(stage: &Stage, retention: &str) -> Output {
    stage.command(&["prune", "--retention", retention]).output().expect("the binary runs")
}

/// Makes every receipt so old that retention takes it.
async fn age(stage: &Stage) {
    stage.sql("update outbox_receipt set published_at = published_at - interval '2 days'").await;
}

#[tokio::test]
async fn retention_deletes_old_published_rows_and_never_an_unsent_one() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--report-interval", "1ms"]).await;
    stage.enqueue_many("s", 5_000).await;
    stage.until_entries(&mut relay, "s", 5_000).await;
    settle(&mut relay).await;
    age(&stage).await;
    stage.sql("select outbox_enqueue('s', 't', '1', id => 'scheduled', due_at => '2100-01-01')").await;
    stage.enqueue("s", "unsent").await;
    stage.enqueue("t", "unsent on a stream that was never sent to").await;

    let done = prune(&stage, "1d");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "deleted 5000 published rows\n", "{done:?}");
    assert_eq!(stage.ask::<i64>("select count(*) from outbox").await, 3);
    stage.until_entries(&mut relay, "s", 5_001).await;
    stage.until_entries(&mut relay, "t", 1).await;
}

#[tokio::test]
async fn what_is_younger_than_the_retention_stays() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--report-interval", "1ms"]).await;
    stage.enqueue_many("s", 10).await;
    stage.until_entries(&mut relay, "s", 10).await;
    settle(&mut relay).await;
    let done = prune(&stage, "1h");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "deleted 0 published rows\n", "{done:?}");
}

#[tokio::test]
async fn a_late_row_below_what_was_sent_is_not_taken_for_published() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--overtake-after", "1ms", "--report-interval", "1ms"]).await;
    let mut slow = stage.pool.begin().await.expect("Postgres is there");
    let event = outbox::Event::draft("s", "t").id("slow").json(&1).expect("valid");
    let _ = outbox::enqueue(&mut slow, &event).await.expect("written");
    stage.enqueue("s", "quick").await;
    stage.until_entries(&mut relay, "s", 1).await;
    settle_reports(&stage, &mut relay).await;
    age(&stage).await;
    slow.commit().await.expect("committed");

    // The relay is away while the late row lies below a receipt that is old enough.
    let done = prune(&stage, "1d");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "deleted 0 published rows\n", "{done:?}");
    stage.until_entries(&mut relay, "s", 2).await;
    assert_eq!(stage.ids("s").await, ["quick", "slow"]);
}

#[tokio::test]
async fn undecided_numbers_do_not_make_young_rows_old() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--overtake-after", "1ms", "--report-interval", "1ms"]).await;
    stage.enqueue_many("s", 10).await;
    stage.until_entries(&mut relay, "s", 10).await;
    let mut slow = stage.pool.begin().await.expect("Postgres is there");
    let event = outbox::Event::draft("s", "t").id("slow").json(&1).expect("valid");
    let _ = outbox::enqueue(&mut slow, &event).await.expect("written");
    stage.enqueue("s", "quick").await;
    stage.until_entries(&mut relay, "s", 11).await;
    settle_reports(&stage, &mut relay).await;
    assert_eq!(stage.ask::<i64>("select count(*) from outbox_overtaken").await, 1);
    let done = prune(&stage, "1h");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "deleted 0 published rows\n", "{done:?}");
    slow.rollback().await.expect("still open");
}

async fn settle_reports(stage: &Stage, relay: &mut relay::Relay) {
    outbox_tests::eventually("a receipt", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<i64>("select count(*) from outbox_receipt").await > 0
    })
    .await;
}

#[tokio::test]
async fn two_who_prune_at_once_leave_nothing_behind() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--report-interval", "1ms"]).await;
    stage.enqueue_many("s", 20_000).await;
    stage.until_entries(&mut relay, "s", 20_000).await;
    settle(&mut relay).await;
    age(&stage).await;
    let prunes: Vec<_> = (0..3)
        .map(|_| stage.command(&["prune", "--retention", "1d"]).stdout(std::process::Stdio::null()).spawn())
        .collect();
    for prune in prunes {
        assert!(prune.expect("the binary runs").wait().expect("it ends").success());
    }
    // Whoever gave way to another may have left something: it is still known as prunable.
    assert!(prune(&stage, "1d").status.success());
    assert_eq!(stage.ask::<i64>("select count(*) from outbox").await, 0);
}

#[tokio::test]
async fn a_running_relay_prunes_by_itself() {
    let stage = Stage::set().await;
    let _relay = outbox_tests::Child::spawn(stage.command(&["run", "--retention", "1ms"]));
    stage.enqueue_many("s", 100).await;
    outbox_tests::eventually("the table to be empty", async || {
        stage.ask::<i64>("select count(*) from outbox").await == 0
    })
    .await;
    assert_eq!(stage.length("s").await, 100);
    stage.enqueue("s", "next").await;
    outbox_tests::eventually("the next event to arrive", async || stage.length("s").await == 101).await;
}

#[tokio::test]
async fn rows_that_are_slow_to_delete_go_a_few_at_a_time() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--report-interval", "1ms"]).await;
    stage.enqueue_many("s", 2_500).await;
    stage.until_entries(&mut relay, "s", 2_500).await;
    settle(&mut relay).await;
    age(&stage).await;
    // As many as usually go at once would take 40 s.
    stage
        .sql(
            "create function slow() returns trigger language plpgsql as
                 $$ begin perform pg_sleep(0.02); return old; end $$;
             create trigger slow before delete on outbox for each row execute function slow()",
        )
        .await;
    let prune = outbox_tests::Child::spawn(stage.command(&["prune", "--retention", "1d"]));
    let (begun, left) = (std::time::Instant::now(), "select count(*) from outbox");
    outbox_tests::eventually("the first of them to be gone", async || stage.ask::<i64>(left).await < 2_500).await;
    assert!(begun.elapsed() < std::time::Duration::from_secs(25), "{:?}", begun.elapsed());
    assert!(!prune.has_ended(), "and more are to come: {}", prune.log());
    // What is locked is not locked for long: the stream's report gets through.
    stage.enqueue("s", "next").await;
    stage.until_entries(&mut relay, "s", 2_501).await;
    outbox_tests::eventually("the next report", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<i64>("select sent_seq from outbox_stream").await == 2_501
    })
    .await;
}

/// Two streams of five old rows each, and a trigger.
async fn two_old_streams_with(trigger: &str) -> Stage {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--report-interval", "1ms"]).await;
    for stream in ["a", "b"] {
        stage.enqueue_many(stream, 5).await;
        stage.until_entries(&mut relay, stream, 5).await;
    }
    settle(&mut relay).await;
    age(&stage).await;
    stage.sql(trigger).await;
    stage
}

#[tokio::test]
async fn a_row_that_takes_too_long_to_delete_keeps_no_other_stream_from_being_pruned() {
    let stage = two_old_streams_with(
        "create function slow() returns trigger language plpgsql as
             $$ begin perform pg_sleep(3); return old; end $$;
         create trigger slow before delete on outbox for each row when (old.stream = 'a') execute function slow()",
    )
    .await;
    let done = prune(&stage, "1d");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "deleted 5 published rows\n", "{done:?}");
    let why = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success() && why.contains("a: one row takes longer than 2 s to delete"), "{done:?}");
    assert_eq!(stage.ask::<i64>("select count(*) from outbox where stream = 'a'").await, 5);
    // Nor from being pruned by a relay, and the log tells of it once.
    let relay = outbox_tests::Child::spawn(stage.command(&["run", "--retention", "1d"]));
    relay.saw("retention is stuck").await;
}

#[tokio::test]
async fn what_one_pruning_locks_is_free_within_its_time_however_many_statements_it_takes() {
    // Each statement keeps within two seconds, and all together do not.
    let stage = two_old_streams_with(
        "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(1.2); return null; end $$;
         create trigger slow after delete on outbox for each statement execute function slow();
         create trigger slow after update on outbox_stream for each statement execute function slow();
         create trigger slow after delete on outbox_receipt for each statement execute function slow()",
    )
    .await;
    let begun = std::time::Instant::now();
    let done = prune(&stage, "1d");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "deleted 0 published rows\n", "{done:?}");
    assert!(!done.status.success(), "{done:?}");
    assert_eq!(stage.ask::<i64>("select count(*) from outbox").await, 10, "nothing is deleted by halves");
    // Seven tries of each stream; one after the other they were bound to take 3.6 s each.
    assert!(begun.elapsed() < std::time::Duration::from_secs(45), "{:?}", begun.elapsed());
}
