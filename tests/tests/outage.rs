//! A store goes away and comes back, or takes nothing from anyone: nothing is lost or doubled, and no event is blamed.

use std::sync::Arc;

use outbox_tests::{
    Child, Load, Proxy, Side, Stage, assert_bore, attempts, enqueue_more, eventually, relay_over, settle, tick,
    until_arrived, until_paused, until_progress,
};
use relay::{Relay, Tick};

#[derive(Clone, Copy, PartialEq)]
enum Away {
    Killed,
    Stopped,
    Refused,
    Frozen,
}

impl Away {
    fn begin(self, stage: &Stage, wire: &Proxy) {
        match self {
            Self::Killed => stage.redis.kill(),
            Self::Stopped => stage.redis.stop(),
            Self::Refused => wire.refuse(),
            Self::Frozen => wire.freeze(),
        }
    }

    async fn end(self, stage: &Stage, wire: &Proxy) {
        match self {
            Self::Killed | Self::Stopped => stage.redis.restart().await,
            Self::Refused => wire.accept(),
            Self::Frozen => wire.thaw(),
        }
    }
}

async fn redis_goes_and_comes(away: Away) {
    let stage = Stage::set().await;
    let wire = Proxy::to(stage.redis.port()).await;
    let mut relay = relay_over(&wire, &stage, &["--batch-rows-max", "10"]).await;
    stage.enqueue_many("s", 25).await;
    until_arrived(&stage, &mut relay, &["s"]).await;

    away.begin(&stage, &wire);
    enqueue_more(&stage, "s", "meanwhile", 25).await;
    enqueue_more(&stage, "new", "meanwhile", 25).await;
    until_paused(&mut relay).await;
    for _ in 0..10 {
        assert!(matches!(tick(&mut relay).await, Tick::Paused(_)));
    }
    away.end(&stage, &wire).await;
    enqueue_more(&stage, "s", "later", 25).await;
    until_arrived(&stage, &mut relay, &["s", "new"]).await;
    assert_eq!(stage.assert_whole(&["s", "new"]).await, 100);
    assert_eq!(attempts(&stage).await, 0);
}

#[tokio::test]
async fn redis_killed_costs_no_attempt_and_loses_nothing() {
    redis_goes_and_comes(Away::Killed).await;
}

#[tokio::test]
async fn redis_restarted_costs_no_attempt_and_loses_nothing() {
    redis_goes_and_comes(Away::Stopped).await;
}

#[tokio::test]
async fn redis_refusing_connections_costs_no_attempt_and_loses_nothing() {
    redis_goes_and_comes(Away::Refused).await;
}

#[tokio::test]
async fn redis_frozen_costs_no_attempt_and_loses_nothing() {
    redis_goes_and_comes(Away::Frozen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_may_go_and_come_in_every_way_under_load() {
    let stage = Arc::new(Stage::set().await);
    let wire = Proxy::to(stage.redis.port()).await;
    let mut run = stage.command(&["run", "--publish-timeout", "300ms"]);
    run.env("REDIS_URL", stage.redis_url_over(&wire));
    let relay = Child::spawn(run);
    let load = Load::on(&stage, &["a", "b"]);
    for away in [Away::Killed, Away::Refused, Away::Frozen, Away::Stopped] {
        // What the last cut did is over, too: who is still away has nothing new to tell.
        until_progress(&stage, "a").await;
        let count = |words: &str| relay.log().matches(words).count();
        eventually("the relay to be back", async || count("Redis is back") == count("Redis is away")).await;
        let told = count("Redis is away");
        away.begin(&stage, &wire);
        eventually("the relay to notice", async || count("Redis is away") > told).await;
        away.end(&stage, &wire).await;
        wire.cut();
    }
    until_progress(&stage, "b").await;
    assert_bore(&stage, load, &["a", "b"]).await;
}

#[tokio::test]
async fn a_relay_starts_without_redis_and_works_when_it_comes() {
    let stage = Stage::set().await;
    stage.redis.stop();
    let relay = Child::spawn(stage.command(&["run"]));
    stage.enqueue("s", "early").await;
    relay.saw("Redis is away").await;
    stage.redis.restart().await;
    eventually("the event to arrive", async || stage.has_arrived(&["s"]).await).await;
    assert_eq!(attempts(&stage).await, 0);
}

// ---- a part of a conversation with Redis is lost

/// Whether the entry was there when the relay did not know.
async fn lose_one(stage: &Stage, wire: &Proxy, relay: &mut Relay, side: Side, id: &str) -> bool {
    settle(relay).await;
    let before = stage.length("s").await;
    stage.enqueue("s", id).await;
    let lost = match side {
        Side::Request => wire.halt_at(1, side),
        Side::Reply => wire.lose_reply(1),
    };
    until_paused(relay).await;
    assert!(lost.is_reached());
    let there = stage.length("s").await > before;
    wire.thaw();
    until_arrived(stage, relay, &["s"]).await;
    there
}

#[tokio::test]
async fn a_lost_reply_to_an_append_neither_loses_nor_doubles() {
    let stage = Stage::set().await;
    let wire = Proxy::to(stage.redis.port()).await;
    let mut relay = relay_over(&wire, &stage, &[]).await;
    let mut unknown = 0;
    for n in 0..4 {
        unknown += u32::from(lose_one(&stage, &wire, &mut relay, Side::Reply, &format!("event-{n}")).await);
    }
    // The first reply is of making the stream; a look at the stream may take the place of an append once a second.
    assert!(unknown >= 2, "an append's reply was lost {unknown} times");
    assert_eq!(stage.assert_whole(&["s"]).await, 4);
    assert_eq!(attempts(&stage).await, 0);
}

#[tokio::test]
async fn an_append_that_never_arrived_neither_loses_nor_doubles() {
    let stage = Stage::set().await;
    let wire = Proxy::to(stage.redis.port()).await;
    let mut relay = relay_over(&wire, &stage, &[]).await;
    for n in 0..4 {
        assert!(!lose_one(&stage, &wire, &mut relay, Side::Request, &format!("event-{n}")).await);
    }
    assert_eq!(stage.assert_whole(&["s"]).await, 4);
    assert_eq!(attempts(&stage).await, 0);
}

// ---- Redis takes nothing from anyone

/// Redis answers, and takes nothing: the relay tries again and again, and counts nothing.
async fn redis_takes_nothing(begin: &[&[&str]], end: &[&str]) {
    redis_takes_nothing_on(
        Stage::set().await,
        async |stage| {
            for command in begin {
                stage.redis.command(command).await;
            }
        },
        end,
    )
    .await;
}

async fn redis_takes_nothing_on(stage: Stage, begin: impl AsyncFnOnce(&Stage), end: &[&str]) {
    let wire = Proxy::to(stage.redis.port()).await;
    let mut relay = relay_over(&wire, &stage, &["--batch-rows-max", "10"]).await;
    stage.enqueue_many("s", 25).await;
    until_arrived(&stage, &mut relay, &["s"]).await;

    begin(&stage).await;
    enqueue_more(&stage, "s", "meanwhile", 25).await;
    enqueue_more(&stage, "new", "meanwhile", 25).await;
    until_paused(&mut relay).await;
    let tries = wire.turns() + 8;
    eventually("some tries", async || {
        assert!(matches!(tick(&mut relay).await, Tick::Paused(_)));
        wire.turns() >= tries
    })
    .await;
    assert_eq!((stage.length("s").await, stage.length("new").await), (25, 0));

    stage.redis.command(end).await;
    until_arrived(&stage, &mut relay, &["s", "new"]).await;
    assert_eq!(stage.assert_whole(&["s", "new"]).await, 75);
    assert_eq!(attempts(&stage).await, 0);
}

#[tokio::test]
async fn redis_out_of_memory_costs_no_attempt() {
    redis_takes_nothing(&[&["CONFIG", "SET", "maxmemory", "1"]], &["CONFIG", "SET", "maxmemory", "0"]).await;
}

#[tokio::test]
async fn redis_turned_replica_costs_no_attempt() {
    redis_takes_nothing(&[&["REPLICAOF", "127.0.0.1", "1"]], &["REPLICAOF", "NO", "ONE"]).await;
}

#[tokio::test]
async fn a_missing_right_to_append_at_all_costs_no_attempt() {
    redis_takes_nothing(&[&["ACL", "SETUSER", "default", "-xadd"]], &["ACL", "SETUSER", "default", "+xadd"]).await;
}

#[tokio::test]
async fn redis_that_cannot_save_costs_no_attempt() {
    let stage = Stage::set().await;
    // A folder in the place of the file: the snapshot cannot get its name.
    let in_the_way = stage.redis.data_dir().join("dump.rdb");
    let begin = async |stage: &Stage| {
        std::fs::create_dir(&in_the_way).expect("Redis's folder is ours");
        stage.redis.command(&["CONFIG", "SET", "save", "3600 1"]).await;
        stage.redis.command(&["BGSAVE"]).await;
        eventually("the snapshot to fail", async || {
            let info = stage.redis.command(&["INFO", "persistence"]).await;
            redis::from_redis_value::<String>(info).expect("text").contains("rdb_last_bgsave_status:err")
        })
        .await;
    };
    redis_takes_nothing_on(stage, begin, &["CONFIG", "SET", "save", ""]).await;
}

#[tokio::test]
async fn memory_that_runs_out_on_the_way_leaves_no_gap() {
    let stage = Stage::set_with(&[], &["--maxmemory", "6mb"]).await;
    let mut relay = stage.relay(&["--batch-rows-max", "10"]).await;
    stage
        .sql(
            "select outbox_enqueue('s', 't', to_json(repeat('x', 20000)), id => 'large-' || n)
               from generate_series(1, 500) n",
        )
        .await;
    until_paused(&mut relay).await;
    let full: Vec<u64> = stage.entries("s").await.iter().map(|(number, _)| number.seq).collect();
    assert!((10..500).contains(&full.len()), "{} of 500 had room", full.len());
    assert_eq!(full, (1..=full.len() as u64).collect::<Vec<_>>());
    assert_eq!(attempts(&stage).await, 0);

    stage.redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    until_arrived(&stage, &mut relay, &["s"]).await;
    assert_eq!(stage.assert_whole(&["s"]).await, 500);
    assert_eq!(attempts(&stage).await, 0);
}

#[tokio::test]
async fn an_outage_is_told_once_however_often_it_is_tried_again() {
    let stage = Stage::set().await;
    let wire = Proxy::to(stage.redis.port()).await;
    let mut run = stage.command(&["run"]);
    run.env("REDIS_URL", stage.redis_url_over(&wire));
    let relay = Child::spawn(run);
    stage.enqueue("s", "before").await;
    eventually("the event to arrive", async || stage.has_arrived(&["s"]).await).await;
    stage.redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    stage.enqueue("s", "meanwhile").await;
    relay.saw("Redis is away").await;
    let tries = wire.turns() + 15;
    eventually("some tries", async || wire.turns() >= tries).await;
    assert!(!relay.log().contains("Redis is back"), "it takes nothing yet");
    stage.redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    relay.saw("Redis is back").await;
    eventually("the event to arrive", async || stage.has_arrived(&["s"]).await).await;
    assert_eq!(relay.log().matches("Redis is away").count(), 1);
    assert_eq!(relay.log().matches("Redis is back").count(), 1);
}

#[tokio::test]
async fn a_redis_that_evicts_streams_is_not_worked_with() {
    let stage = Stage::set_with(&[], &["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]).await;
    let mut relay = Child::spawn(stage.command(&["run"]));
    assert_eq!(relay.wait().await, 1);
    let sentence = relay.saw("relay: ").await;
    assert!(sentence.contains("allkeys-lru") && sentence.contains("set noeviction"), "{sentence}");
}

// ---- Postgres is away

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_may_go_and_come_in_every_way_under_load() {
    let stage = Arc::new(Stage::set_with(&[("synchronous_commit", "on")], &[]).await);
    let wire = Proxy::to(stage.postgres.port()).await;
    let mut run = stage.command(&["run"]);
    run.env("DATABASE_URL", stage.database_url_over(&wire));
    let relay = Child::spawn(run);
    let load = Load::on(&stage, &["a", "b"]);

    until_progress(&stage, "a").await;
    wire.cut();
    relay.saw("Postgres is away").await;
    until_progress(&stage, "a").await;
    wire.refuse();
    wire.accept();
    until_progress(&stage, "b").await;
    wire.freeze();
    wire.thaw();
    until_progress(&stage, "a").await;
    stage.postgres.restart().await;
    until_progress(&stage, "b").await;
    stage.postgres.kill();
    stage.postgres.restart().await;
    until_progress(&stage, "a").await;
    stage.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'relay'").await;
    until_progress(&stage, "b").await;
    assert_bore(&stage, load, &["a", "b"]).await;
}

#[tokio::test]
async fn a_relay_that_lost_its_connection_to_postgres_goes_on_at_once() {
    let stage = Stage::set().await;
    let wire = Proxy::to(stage.postgres.port()).await;
    let mut run = stage.command(&["run", "--lease", "1h"]);
    run.env("DATABASE_URL", stage.database_url_over(&wire));
    let relay = Child::spawn(run);
    stage.enqueue("s", "before").await;
    eventually("the event to arrive", async || stage.has_arrived(&["s"]).await).await;
    wire.cut();
    relay.saw("Postgres is away").await;
    stage.enqueue("s", "after").await;
    eventually("the next event to arrive", async || stage.has_arrived(&["s"]).await).await;
}
