//! Redis comes back with less than it had, or with nothing: what is missing is sent again, and groups go on where they were.

use std::sync::Arc;
use std::time::Duration;

use outbox_tests::{
    Child, Load, Proxy, Stage, assert_bore, attempts, config, enqueue_more, eventually, settle, tick, until_arrived,
    until_progress,
};
use redis::streams::StreamInfoGroupsReply;
use relay::Relay;

#[tokio::test]
async fn a_flush_while_nothing_is_sent_is_noticed_and_mended() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many("s", 10).await;
    stage.enqueue_many("t", 10).await;
    until_arrived(&stage, &mut relay, &["s", "t"]).await;
    settle(&mut relay).await;
    let before = (stage.entries("s").await, stage.entries("t").await);
    stage.redis.command(&["FLUSHALL"]).await;
    until_arrived(&stage, &mut relay, &["s", "t"]).await;
    assert_eq!((stage.entries("s").await, stage.entries("t").await), before);
}

#[tokio::test]
async fn a_flush_while_the_relay_sleeps_is_noticed_and_mended() {
    let stage = Stage::set().await;
    let relay = Child::spawn(stage.command(&["run", "--sleep-after", "50ms"]));
    stage.enqueue_many("s", 10).await;
    eventually("everything to arrive", async || stage.has_arrived(&["s"]).await).await;
    let asleep = "select last_value > extract(epoch from clock_timestamp()) from outbox_doorbell";
    eventually("the relay to sleep", async || stage.ask::<bool>(asleep).await).await;
    let before = stage.entries("s").await;
    stage.redis.command(&["FLUSHALL"]).await;
    eventually("everything to arrive again", async || stage.has_arrived(&["s"]).await).await;
    assert_eq!(stage.entries("s").await, before);
    assert!(relay.log().contains("Redis lost entries"), "a person is told");
}

#[tokio::test]
async fn a_deleted_stream_is_made_again_and_others_are_left_alone() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many("s", 10).await;
    stage.enqueue_many("t", 10).await;
    until_arrived(&stage, &mut relay, &["s", "t"]).await;
    stage.redis.command(&["DEL", "s"]).await;
    stage.redis.command(&["XTRIM", "t", "MAXLEN", "3"]).await;
    enqueue_more(&stage, "s", "later", 1).await;
    enqueue_more(&stage, "t", "later", 1).await;
    stage.until_entries(&mut relay, "s", 11).await;
    stage.until_entries(&mut relay, "t", 4).await;
    settle(&mut relay).await;
    stage.assert_whole(&["s"]).await;
    assert_eq!(stage.length("t").await, 4, "what was trimmed was not lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushes_under_load_lose_nothing_and_double_nothing() {
    let stage = Arc::new(Stage::set().await);
    let _relay = Child::spawn(stage.command(&["run", "--batch-rows-max", "100"]));
    let load = Load::on(&stage, &["a", "b", "c"]);
    for flush in [["FLUSHALL", ""], ["DEL", "a"], ["FLUSHALL", ""], ["DEL", "b"], ["FLUSHALL", ""]] {
        until_progress(&stage, "a").await;
        until_progress(&stage, "b").await;
        let words: Vec<&str> = flush.into_iter().filter(|word| !word.is_empty()).collect();
        stage.redis.command(&words).await;
    }
    assert_bore(&stage, load, &["a", "b", "c"]).await;
}

#[tokio::test]
async fn an_append_only_file_that_lost_its_tail_gets_it_back() {
    let stage = Stage::set_with(&[], &["--appendfsync", "always"]).await;
    let folder = stage.redis.data_dir().join("appendonlydir");
    let files = std::fs::read_dir(&folder).expect("there is one").map(|file| file.expect("readable").path());
    let file = files.into_iter().find(|path| path.to_string_lossy().ends_with(".incr.aof")).expect("there is one");
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many("s", 5).await;
    until_arrived(&stage, &mut relay, &["s"]).await;
    let older = std::fs::metadata(&file).expect("readable").len();
    enqueue_more(&stage, "s", "tail", 5).await;
    until_arrived(&stage, &mut relay, &["s"]).await;
    settle(&mut relay).await;
    let before = stage.entries("s").await;

    // Once for the relay that sent it, once for another one that knows only what was written down.
    for mut relay in [relay, stage.relay(&[]).await] {
        stage.redis.stop();
        let writable = std::fs::File::options().write(true).open(&file).expect("ours");
        writable.set_len(older).expect("it can be cut");
        stage.redis.restart().await;
        assert_eq!(stage.length("s").await, 5, "the tail is gone");
        until_arrived(&stage, &mut relay, &["s"]).await;
        assert_eq!(stage.entries("s").await, before);
    }
    assert_eq!(attempts(&stage).await, 0);
}

#[tokio::test]
async fn what_is_released_in_another_order_is_not_taken_for_a_loss() {
    let stage = Stage::set().await;
    stage.enqueue("s", "first").await;
    stage
        .sql(
            "select outbox_enqueue('s', 't', '1', id => 'due-' || n, due_at => timestamptz '2020-01-10' - n * interval '1 day')
               from generate_series(1, 3) n",
        )
        .await;
    let relay = Child::spawn(stage.command(&["run"]));
    eventually("everything to arrive", async || stage.has_arrived(&["s"]).await).await;
    assert_eq!(stage.ids("s").await, ["first", "due-3", "due-2", "due-1"]);
    assert!(!relay.log().contains("Redis lost entries"), "nothing was lost");
}

// ---- consumer groups

/// The groups of a stream: name, last delivered entry, number of pending entries.
async fn groups(stage: &Stage, stream: &str) -> Vec<(String, String, usize)> {
    let groups: StreamInfoGroupsReply = redis::cmd("XINFO")
        .arg(&["GROUPS", stream])
        .query_async(&mut stage.redis.connection().await)
        .await
        .expect("the stream is there");
    groups.groups.into_iter().map(|group| (group.name, group.last_delivered_id, group.pending)).collect()
}

/// Makes a group that has read so many entries, and acknowledged so many of them from the beginning on.
async fn group_that_read(stage: &Stage, group: &str, read: usize, acknowledged: usize) {
    stage.redis.command(&["XGROUP", "CREATE", "s", group, "0"]).await;
    if read > 0 {
        let read = read.to_string();
        stage.redis.command(&["XREADGROUP", "GROUP", group, "c", "COUNT", &read, "STREAMS", "s", ">"]).await;
    }
    for n in 1..=acknowledged {
        stage.redis.command(&["XACK", "s", group, &format!("1-{n}")]).await;
    }
}

async fn numbers(stage: &Stage, stream: &str) -> Vec<String> {
    stage.entries(stream).await.into_iter().map(|(number, _)| number.to_string()).collect()
}

/// What the relay has written down of a group: delivered, settled, pending.
async fn until_written_down(stage: &Stage, relay: &mut Relay, group: &str, position: (i64, i64, i64)) {
    eventually("the group's position to be written down", async || {
        tick(relay).await;
        let found: Option<(i64, i64, i64)> =
            sqlx::query_as("select delivered_seq, settled_seq, pending from outbox_group where name = $1")
                .bind(group)
                .fetch_optional(&stage.pool)
                .await
                .expect("Postgres is there");
        found == Some(position)
    })
    .await;
}

#[tokio::test]
async fn a_lost_group_comes_back_where_it_was() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many("s", 10).await;
    until_arrived(&stage, &mut relay, &["s"]).await;
    group_that_read(&stage, "g", 5, 3).await;
    until_written_down(&stage, &mut relay, "g", (5, 3, 2)).await;

    stage.redis.command(&["FLUSHALL"]).await;
    stage.until_entries(&mut relay, "s", 7).await;
    assert_eq!(numbers(&stage, "s").await, ["1-4", "1-5", "1-6", "1-7", "1-8", "1-9", "1-10"]);
    assert_eq!(groups(&stage, "s").await, [("g".into(), "1-3".into(), 0)]);
    settle(&mut relay).await;
    assert_eq!(stage.length("s").await, 7);
}

#[tokio::test]
async fn the_slowest_lost_group_decides_how_much_is_sent_again() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many("s", 10).await;
    until_arrived(&stage, &mut relay, &["s"]).await;
    group_that_read(&stage, "done", 10, 10).await;
    group_that_read(&stage, "slow", 2, 1).await;
    until_written_down(&stage, &mut relay, "done", (10, 10, 0)).await;
    until_written_down(&stage, &mut relay, "slow", (2, 1, 1)).await;

    stage.redis.command(&["FLUSHALL"]).await;
    stage.until_entries(&mut relay, "s", 9).await;
    let expected = [("done".into(), "1-10".into(), 0), ("slow".into(), "1-1".into(), 0)];
    assert_eq!(groups(&stage, "s").await, expected);
    enqueue_more(&stage, "s", "later", 1).await;
    stage.until_entries(&mut relay, "s", 10).await;
}

#[tokio::test]
async fn a_group_that_was_destroyed_on_purpose_does_not_come_back() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many("s", 10).await;
    until_arrived(&stage, &mut relay, &["s"]).await;
    group_that_read(&stage, "kept", 10, 10).await;
    group_that_read(&stage, "destroyed", 2, 2).await;
    until_written_down(&stage, &mut relay, "destroyed", (2, 2, 0)).await;
    stage.redis.command(&["XGROUP", "DESTROY", "s", "destroyed"]).await;
    eventually("the group to be forgotten", async || {
        tick(&mut relay).await;
        stage.ask::<i64>("select count(*) from outbox_group").await == 1
    })
    .await;
    stage.redis.command(&["FLUSHALL"]).await;
    enqueue_more(&stage, "s", "later", 1).await;
    stage.until_entries(&mut relay, "s", 1).await;
    assert_eq!(groups(&stage, "s").await, [("kept".into(), "1-10".into(), 0)]);
}

#[tokio::test]
async fn what_was_read_before_a_loss_is_not_sent_after_it() {
    let stage = Stage::set().await;
    stage.enqueue_many("s", 100).await;
    let wire = Proxy::to(stage.postgres.port()).await;
    let flags = ["--lease", "0", "--batch-rows-max", "10"];
    let config = config(&stage.database_url_over(&wire), &stage.redis.url(), &flags);
    let mut relay = Relay::connect(config).await.expect("Postgres is there");

    // The first turn appends 10 rows, reads the next 10, asks Postgres twice, and looks whether Redis still has what it had.
    // Asking is slow, so that the loss falls in between.
    wire.slow(Duration::from_millis(50));
    let flush = async {
        eventually("the first batch", async || stage.length("s").await == 10).await;
        stage.redis.command(&["FLUSHALL"]).await;
    };
    tokio::join!(tick(&mut relay), flush);
    wire.slow(Duration::ZERO);
    until_arrived(&stage, &mut relay, &["s"]).await;
    assert_eq!(stage.assert_whole(&["s"]).await, 100);
}
