//! Verbs that look at published events once more: `verify` compares them, `replay` gives them to one group again.

use std::collections::BTreeSet;
use std::process::Output;

use outbox_tests::{Stage, eventually, settle};
use serde_json::Value;

fn run(stage: &Stage, words: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = stage.command(words).output().expect("the binary runs");
    (status.code(), String::from_utf8(stdout).expect("text"), String::from_utf8(stderr).expect("text"))
}

fn compared(stage: &Stage) -> (Option<i32>, Value) {
    let (code, said, _) = run(stage, &["verify", "--json"]);
    (code, serde_json::from_str(&said).expect("JSON"))
}

#[tokio::test]
async fn rows_and_entries_that_agree_are_called_sound() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    assert_eq!(compared(&stage).0, Some(0), "nothing was sent yet");
    stage.enqueue_many("a", 2_500).await;
    stage.enqueue_many("b", 3).await;
    stage.until_entries(&mut relay, "a", 2_500).await;
    stage.until_entries(&mut relay, "b", 3).await;
    settle(&mut relay).await;
    stage.sql("update outbox set due_at = 'infinity', dead_at = now(), last_error = 'x' where seq = 7").await;
    eventually("the report", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<bool>("select min(sent_seq) >= 2500 from outbox_stream").await
    })
    .await;
    let (code, told) = compared(&stage);
    assert_eq!((code, &told["sound"]), (Some(0), &Value::from(true)), "{told}");
    assert_eq!(told["streams"][0]["entries"], 2_500);
    // What was trimmed, and what retention deleted, is no difference.
    stage.redis.command(&["XTRIM", "a", "MINID", "1-1000"]).await;
    stage.sql("delete from outbox where stream = 'a' and seq <= 1200; update outbox_stream set pruned_seq = 1200 where stream = 'a'").await;
    let (code, told) = compared(&stage);
    assert_eq!(code, Some(0), "{told}");
}

#[tokio::test]
async fn what_is_missing_unknown_or_different_is_named() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many("s", 2_000).await;
    stage.until_entries(&mut relay, "s", 2_000).await;
    eventually("the report", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<bool>("select sent_seq = 2000 from outbox_stream").await
    })
    .await;
    drop(relay);
    for number in ["1-5", "1-1001", "1-1500"] {
        stage.redis.command(&["XDEL", "s", number]).await;
    }
    stage.sql("delete from outbox where seq = 44; update outbox set id = 'another' where seq = 1700").await;
    let (code, told) = compared(&stage);
    assert_eq!(code, Some(1));
    let stream = &told["streams"][0];
    assert_eq!(stream["missing"]["first"], serde_json::json!([5, 1001, 1500]), "{told}");
    assert_eq!(stream["unknown"]["first"], serde_json::json!([44]), "{told}");
    assert_eq!(stream["different"]["first"], serde_json::json!([1700]), "{told}");
    let (code, said, why) = run(&stage, &["verify"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("3 (from 5)") && why.contains("do not say the same"), "{said}{why}");
}

/// A stream of a hundred events, sent, with two groups.
async fn published() -> (Stage, relay::Relay) {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many("s", 100).await;
    stage.until_entries(&mut relay, "s", 100).await;
    for group in ["one", "other"] {
        stage.redis.command(&["XGROUP", "CREATE", "s", group, "0"]).await;
    }
    eventually("both groups to be known", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<bool>("select count(*) = 2 and (select sent_seq = 100 from outbox_stream where stream = 's') from outbox_group").await
    })
    .await;
    (stage, relay)
}

#[tokio::test]
async fn a_span_is_given_to_one_group_again_in_order_under_new_ids() {
    let (stage, mut relay) = published().await;
    let span = ["replay", "--stream", "s", "--group", "one", "--from", "11", "--to", "60"];
    let (code, said, _) = run(&stage, &[&span[..], &["--dry-run"]].concat());
    assert_eq!((code, said.as_str()), (Some(0), "50 events of s would be replayed to one\n"));
    let (code, said, why) = run(&stage, &[&span[..], &["--rate", "100000"]].concat());
    assert_eq!((code, said.as_str()), (Some(0), "50 events of s were replayed to one\n"), "{why}");
    stage.until_entries(&mut relay, "s:one:replay", 50).await;
    assert_eq!(stage.length("s:other:replay").await, 0);
    let lane = stage.entries("s:one:replay").await;
    let was: Vec<String> =
        lane.iter().map(|(_, envelope)| envelope.header("replay-of").expect("it says which")).collect();
    assert_eq!(was, (10..60).map(|n| format!("s-{n}")).collect::<Vec<_>>(), "in the order of their rows");
    let ids: BTreeSet<_> = lane.into_iter().map(|(_, envelope)| envelope.unwrap_replay().0.id).collect();
    assert_eq!(ids.len(), 50);
    assert!(ids.iter().all(|id| !id.starts_with("s-")), "to an inbox they are new");
    assert_eq!(stage.length("s").await, 100, "nobody else sees them");
}

#[tokio::test]
async fn a_span_may_be_of_time_and_is_not_faster_than_its_rate() {
    let (stage, _relay) = published().await;
    stage.sql("update outbox set created_at = timestamptz '2026-01-01T00:00:00Z' + seq * interval '1 minute'").await;
    let begun = std::time::Instant::now();
    let (code, said, why) = run(
        &stage,
        &[
            "replay",
            "--stream",
            "s",
            "--group",
            "one",
            "--from",
            "2026-01-01T00:10:00Z",
            "--to",
            "2026-01-01T00:29:00Z",
            "--rate",
            "20",
        ],
    );
    assert_eq!((code, said.as_str()), (Some(0), "20 events of s were replayed to one\n"), "{why}");
    assert!(begun.elapsed() >= std::time::Duration::from_millis(950), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn who_replays_to_nobody_or_backwards_is_told() {
    let (stage, _relay) = published().await;
    let (code, _, why) = run(&stage, &["replay", "--stream", "s", "--group", "nobody", "--from", "1"]);
    assert_eq!(code, Some(1));
    assert!(why.contains("no group \"nobody\" reads"), "{why}");
    assert_eq!(run(&stage, &["replay", "--stream", "s", "--group", "one", "--from", "9", "--to", "1"]).0, Some(64));
    assert_eq!(run(&stage, &["replay", "--stream", "s", "--group", "one", "--from", "soon"]).0, Some(64));
    assert_eq!(run(&stage, &["replay", "--group", "one", "--from", "1"]).0, Some(64));
}

#[tokio::test]
async fn shells_and_manuals_are_served_without_any_store() {
    let stage = Stage::set().await;
    for shell in ["bash", "zsh", "fish"] {
        let (code, said, _) = run(&stage, &["completions", shell]);
        assert_eq!(code, Some(0));
        assert!(said.contains("doctor") && said.contains("overtake-after"), "{shell}");
    }
    let (code, said, _) = run(&stage, &["man"]);
    assert!(code == Some(0) && said.contains(".TH relay"), "{said}");
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(run(&stage, &["man", "--folder", &folder.path().display().to_string()]).0, Some(0));
    assert!(folder.path().join("relay-doctor.1").is_file());
    let (code, said, _) = run(&stage, &["groups"]);
    assert_eq!((code, said.as_str()), (Some(0), "no group reads\n"));
}
