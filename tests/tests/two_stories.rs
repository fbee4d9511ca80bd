//! A Postgres that went back to an older state tells another story than Redis. What it holds is sent under the next
//! generation; nothing is skipped, and nothing that both agree on is sent again.

use outbox::{Entry, EntryId};
use outbox_tests::{Doing, Seen, Stage, consumer, eventually, tick, until_settled};

/// Everything in a stream: generation and the event's id.
async fn story(stage: &Stage) -> Vec<(u64, String)> {
    let entries = stage.entries("s").await;
    entries.into_iter().map(|(EntryId { generation, .. }, event)| (generation, event.id)).collect()
}

fn told(generation: u64, ids: &[&str]) -> Vec<(u64, String)> {
    ids.iter().map(|id| (generation, (*id).to_owned())).collect()
}

#[tokio::test]
async fn a_postgres_that_was_restored_from_a_backup_goes_on_under_the_next_generation() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue("s", "a").await;
    stage.enqueue("s", "b").await;
    stage.until_entries(&mut relay, "s", 2).await;
    let seen = Seen::default();
    let notes = seen.clone();
    let handler = Doing(move |entry: Entry| {
        notes.note(&entry);
        async { Ok(()) }
    });
    let mut group = consumer(&stage, "s", "g").handler(handler).build().expect("valid");
    until_settled(&mut group, 2).await;
    stage.postgres.back_up().await;

    // Lost with the server: they are in Redis, and no restored Postgres knows of them.
    let mut relay = stage.relay(&[]).await;
    stage.enqueue("s", "lost-1").await;
    stage.enqueue("s", "lost-2").await;
    stage.until_entries(&mut relay, "s", 4).await;
    until_settled(&mut group, 2).await;
    drop(relay);
    stage.postgres.restore().await;

    // Its numbers are those of the lost ones, and go beyond them.
    for id in ["c", "d", "e"] {
        stage.enqueue("s", id).await;
    }
    let mut relay = stage.relay(&[]).await;
    stage.until_entries(&mut relay, "s", 7).await;
    let whole = [told(1, &["a", "b", "lost-1", "lost-2"]), told(2, &["c", "d", "e"])].concat();
    assert_eq!(story(&stage).await, whole);
    until_settled(&mut group, 3).await;
    assert_eq!(seen.ids(), ["a", "b", "lost-1", "lost-2", "c", "d", "e"]);

    // And so it stays, whoever relays.
    let mut relay = stage.relay(&[]).await;
    stage.enqueue("s", "f").await;
    stage.until_entries(&mut relay, "s", 8).await;
    assert_eq!(story(&stage).await.last(), Some(&(2, "f".to_owned())));
}

#[tokio::test]
async fn a_restored_postgres_that_has_not_caught_up_yet_is_not_refused() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue("s", "a").await;
    stage.until_entries(&mut relay, "s", 1).await;
    stage.postgres.back_up().await;
    let mut relay = stage.relay(&[]).await;
    for n in 0..20 {
        stage.enqueue("s", &format!("lost-{n}")).await;
    }
    stage.until_entries(&mut relay, "s", 21).await;
    stage.postgres.restore().await;
    stage.enqueue("s", "new").await;
    let mut relay = stage.relay(&[]).await;
    stage.until_entries(&mut relay, "s", 22).await;
    assert_eq!(story(&stage).await.last(), Some(&(2, "new".to_owned())));
}

#[tokio::test]
async fn rows_that_were_taken_away_by_hand_cost_no_event_and_double_none() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    for id in ["a", "b", "c"] {
        stage.enqueue("s", id).await;
    }
    stage.until_entries(&mut relay, "s", 3).await;
    stage.sql("delete from outbox where id = 'c'").await;
    stage.enqueue("s", "d").await;
    let mut relay = stage.relay(&[]).await;
    stage.until_entries(&mut relay, "s", 4).await;
    assert_eq!(stage.ids("s").await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn numbers_that_begin_again_under_a_working_relay_lose_nothing() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--retention", "1ms"]).await;
    stage.enqueue_many("s", 20).await;
    stage.until_entries(&mut relay, "s", 20).await;
    stage.sql("truncate outbox restart identity").await;
    for n in 0..5 {
        stage.enqueue("s", &format!("new-{n}")).await;
    }
    // They are others under numbers that were used, so they go under the next generation.
    eventually("the new ones to arrive", async || {
        tick(&mut relay).await;
        stage.length("s").await == 25
    })
    .await;
    assert_eq!(story(&stage).await.split_off(20), told(2, &["new-0", "new-1", "new-2", "new-3", "new-4"]));
}

#[tokio::test]
async fn a_restored_postgres_whose_numbers_have_gone_past_those_in_redis_skips_nothing() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--trim-after", "1ms"]).await;
    stage.enqueue_many("s", 10).await;
    stage.until_entries(&mut relay, "s", 10).await;
    eventually("the report", async || {
        tick(&mut relay).await;
        stage.ask::<bool>("select exists (select from outbox_stream where sent_seq = 10)").await
    })
    .await;
    stage.postgres.back_up().await;
    let mut relay = stage.relay(&["--trim-after", "1ms"]).await;
    for n in 0..20 {
        stage.enqueue("s", &format!("lost-{n}")).await;
    }
    stage.until_entries(&mut relay, "s", 30).await;
    let mut group = consumer(&stage, "s", "g").handler(Doing(|_: Entry| async { Ok(()) })).build().expect("valid");
    until_settled(&mut group, 30).await;
    eventually("all but the newest to be trimmed", async || {
        tick(&mut relay).await;
        stage.length("s").await == 1
    })
    .await;
    stage.postgres.restore().await;
    for n in 0..30 {
        stage.enqueue("s", &format!("new-{n}")).await;
    }
    let mut relay = stage.relay(&[]).await;
    stage.until_entries(&mut relay, "s", 31).await;
    let new: Vec<_> = (0..30).map(|n| (2, format!("new-{n}"))).collect();
    assert_eq!(story(&stage).await.split_off(1), new);
}

#[tokio::test]
async fn a_row_that_somebody_deleted_begins_no_generation() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many("s", 3).await;
    stage.until_entries(&mut relay, "s", 3).await;
    eventually("the report", async || {
        tick(&mut relay).await;
        stage.ask::<bool>("select exists (select from outbox_stream where sent_seq = 3)").await
    })
    .await;
    stage.sql("delete from outbox where seq = 3").await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue("s", "next").await;
    stage.until_entries(&mut relay, "s", 4).await;
    assert_eq!(story(&stage).await.last(), Some(&(1, "next".to_owned())));
}
