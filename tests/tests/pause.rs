//! A pause: from its answer on nothing is sent, whoever relays; and what waited leaves in its order.

use outbox_tests::{Child, Signal, Stage, Surface, eventually};
use relay::Tick;
use serde_json::json;

async fn ready(stage: &Stage) -> Surface {
    let surface = Surface::begin(stage, &[]).await;
    eventually("the relay to be ready", async || surface.get("/ready").await.status == 200).await;
    surface
}

/// Writes events one by one, each committed, until told to stop; returns how many.
async fn write_on(stage: &Stage, stream: &str, stop: &std::cell::Cell<bool>) -> usize {
    let mut count = 0;
    while !stop.get() {
        stage.enqueue(stream, &format!("{stream}-{count}")).await;
        count += 1;
    }
    count
}

#[tokio::test]
async fn nothing_is_sent_while_paused_and_all_is_sent_in_order_after() {
    let stage = Stage::set().await;
    let surface = ready(&stage).await;
    let stop = std::cell::Cell::new(false);
    let act = async {
        stage.until_more_than("s", 50).await;
        let answer = surface.post("/pause", &json!({"stream": "s"})).await;
        assert_eq!(answer.json(), json!({"stream": "s", "heard": true, "all_is_paused": false}));
        let at = stage.length("s").await;
        let written: i64 = stage.ask("select count(*) from outbox").await;
        // Long enough for hundreds of turns.
        eventually("more to be written", async || {
            stage.ask::<i64>("select count(*) from outbox").await > written + 200
        })
        .await;
        assert_eq!(stage.length("s").await, at, "nothing was sent after the answer");
        // Others are not paused.
        stage.enqueue("other", "o").await;
        stage.until_arrived_by_itself("other", 1).await;
        let status = surface.get("/status").await.json();
        let paused = status["streams"]
            .as_array()
            .expect("streams")
            .iter()
            .find(|one| one["stream"] == "s")
            .expect("it is there");
        assert!(paused["paused_at"].is_string() && paused["paused_by"] == "127.0.0.1", "{paused}");
        assert_eq!(stage.length("s").await, at);
        assert_eq!(surface.post("/resume", &json!({"stream": "s"})).await.json()["heard"], true);
        stop.set(true);
    };
    let (written, ()) = tokio::join!(write_on(&stage, "s", &stop), act);
    stage.until_arrived_by_itself("s", written).await;
    assert_eq!(stage.assert_whole(&["s"]).await, written);
}

#[tokio::test]
async fn a_pause_of_everything_survives_a_restart_of_the_relay_and_binds_the_next_one() {
    let stage = Stage::set().await;
    let mut surface = ready(&stage).await;
    stage.enqueue("a", "a-1").await;
    stage.until_arrived_by_itself("a", 1).await;
    assert_eq!(surface.post("/pause", &json!({"all": true})).await.json()["heard"], true);
    stage.enqueue("a", "a-2").await;
    stage.enqueue("new", "new-1").await;
    surface.relay.signal(Signal::Term);
    assert_eq!(surface.relay.wait().await, 0);
    let surface = ready(&stage).await;
    // The relay has seen both rows, and sends neither.
    eventually("the frontier to pass them", async || {
        surface.get("/status").await.json()["relay"]["frontier"].as_i64() >= Some(3)
    })
    .await;
    let told = stage.command(&["status"]).output().expect("the binary runs");
    assert!(String::from_utf8_lossy(&told.stdout).contains("everything is paused since"));
    assert!(surface.get("/metrics").await.text().contains("relay_paused{stream=\"a\"} 1\n"));
    assert_eq!((stage.length("a").await, stage.length("new").await), (1, 0));
    // One stream of it does not flow before all does.
    assert_eq!(surface.post("/resume", &json!({"stream": "a"})).await.json()["all_is_paused"], true);
    assert_eq!(surface.post("/resume", &json!({"all": true})).await.status, 200);
    stage.until_arrived_by_itself("a", 2).await;
    stage.until_arrived_by_itself("new", 1).await;
}

#[tokio::test]
async fn verbs_pause_and_resume_as_the_routes_do() {
    let stage = Stage::set().await;
    let surface = ready(&stage).await;
    let verb = |words: &[&str]| {
        let output = stage.command(words).output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(verb(&["pause", "s"]), "s is paused\n");
    stage.enqueue("s", "a").await;
    eventually("the relay to have seen it", async || surface.get("/status").await.json()["relay"]["frontier"] == 1)
        .await;
    assert_eq!(stage.length("s").await, 0);
    assert_eq!(verb(&["resume", "s"]), "s flows again\n");
    stage.until_arrived_by_itself("s", 1).await;
    assert_eq!(verb(&["pause", "--all"]), "everything is paused\n");
    assert_eq!(verb(&["resume", "--all"]), "everything flows again\n");
    assert_eq!(
        stage.command(&["pause"]).output().expect("it runs").status.code(),
        Some(64),
        "nothing is not everything"
    );
    drop(surface);
    let said = verb(&["pause", "s"]);
    assert!(said.starts_with("s is paused"), "{said}");
}

#[tokio::test]
async fn what_redis_loses_while_a_stream_is_paused_is_sent_again_after() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many("s", 5).await;
    stage.until_entries(&mut relay, "s", 5).await;
    stage.sql("update outbox_stream set paused_at = now()").await;
    stage.redis.command(&["FLUSHALL"]).await;
    eventually("the relay to have built the stream anew", async || {
        relay.tick().await.expect("Postgres is there");
        stage.redis.command(&["EXISTS", "s"]).await == redis::Value::Int(1)
    })
    .await;
    for _ in 0..20 {
        assert!(!matches!(relay.tick().await.expect("Postgres is there"), Tick::Sent(_)));
    }
    assert_eq!(stage.length("s").await, 0);
    stage.sql("update outbox_stream set paused_at = null").await;
    stage.until_entries(&mut relay, "s", 5).await;
    assert_eq!(stage.assert_whole(&["s"]).await, 5);
}

#[tokio::test]
async fn a_pause_without_a_relay_is_heard_by_the_first_that_begins() {
    let stage = Stage::set().await;
    let output = stage.command(&["pause", "s"]).output().expect("the binary runs");
    assert!(String::from_utf8_lossy(&output.stdout).contains("no relay works just now"));
    stage.enqueue("s", "a").await;
    stage.enqueue("t", "b").await;
    let relay = Child::spawn(stage.command(&["run"]));
    stage.until_arrived_by_itself("t", 1).await;
    assert_eq!(stage.length("s").await, 0);
    drop(relay);
}

#[tokio::test]
async fn what_falls_due_on_a_paused_stream_keeps_that_of_no_other_stream() {
    let stage = Stage::set().await;
    stage.sql("insert into outbox_stream (stream, paused_at) values ('paused', now())").await;
    stage.enqueue("paused", "unsent").await;
    stage
        .sql(
            "select outbox_enqueue('paused', 't', '1', due_at => '2020-01-01') from generate_series(1, 600);
             select outbox_enqueue('other', 't', '1', id => 'due', due_at => '2021-01-01')",
        )
        .await;
    let mut relay = stage.relay(&[]).await;
    stage.until_entries(&mut relay, "other", 1).await;
    stage.sql("update outbox_stream set paused_at = null").await;
    stage.until_entries(&mut relay, "paused", 601).await;
    assert_eq!(stage.assert_whole(&["paused", "other"]).await, 602);
}

const NOT_ALL: &str = "; a relay has not heard it yet";

/// What a verb says while these relays work.
async fn said_beside(stage: &Stage, words: &[&str], relays: &mut [&mut relay::Relay]) -> String {
    let mut verb = Child::spawn(stage.command(words));
    eventually("the verb to end", async || {
        for relay in relays.iter_mut() {
            relay.tick().await.expect("Postgres is there");
        }
        verb.has_ended()
    })
    .await;
    assert_eq!(verb.wait().await, 0);
    verb.log()
}

#[tokio::test]
async fn a_pause_is_heard_when_every_relay_that_sends_has_heard_it() {
    let stage = Stage::set().await;
    // Without a lease both work.
    let (mut one, mut other) = (stage.relay(&[]).await, stage.relay(&[]).await);
    stage.enqueue("s", "a").await;
    stage.until_entries(&mut one, "s", 1).await;
    stage.enqueue("s", "b").await;
    stage.until_entries(&mut other, "s", 2).await;
    let said = said_beside(&stage, &["pause", "s"], &mut [&mut one]).await;
    assert!(said.contains(NOT_ALL), "{said}");
    let said = said_beside(&stage, &["pause", "s"], &mut [&mut one, &mut other]).await;
    assert!(said.contains("s is paused") && !said.contains(';'), "{said}");
    // Of a resume nobody need fear that more is sent than was meant to be.
    let said = said_beside(&stage, &["resume", "s"], &mut [&mut one]).await;
    assert!(said.contains("s flows again; a relay has not heard it yet, and sends nothing of it until"), "{said}");
    // One that is gone need not hear anything.
    drop(other);
    let said = said_beside(&stage, &["resume", "s"], &mut [&mut one]).await;
    assert!(said.contains("s flows again") && !said.contains(';'), "{said}");
}

#[tokio::test]
async fn a_pause_beside_a_relay_that_is_frozen_is_not_called_heard() {
    let stage = Stage::set().await;
    let run = || Child::spawn(stage.command(&["run", "--lease", "1s"]));
    let frozen = run();
    frozen.saw("this relay works").await;
    stage.enqueue("s", "a").await;
    stage.until_arrived_by_itself("s", 1).await;
    let next = run();
    next.saw("this one rests").await;
    frozen.signal(Signal::Stop);
    next.saw("this relay works").await;
    stage.enqueue("s", "b").await;
    stage.until_arrived_by_itself("s", 2).await;
    let pause = || {
        let output = stage.command(&["pause", "s"]).output().expect("the binary runs");
        String::from_utf8(output.stdout).expect("text")
    };
    let said = pause();
    assert!(said.contains(NOT_ALL), "{said}");
    frozen.signal(Signal::Cont);
    // It sees that another one works, and sends nothing any more.
    frozen.saw("this one rests").await;
    eventually("all to have heard it", async || pause() == "s is paused\n").await;
}
