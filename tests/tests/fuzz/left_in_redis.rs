//! What consumers leave in Redis for the relay: letters in trays, and what they say of themselves. A consumer may be anybody's.

use outbox_tests::{Child, Stage, drawn, eventually, mangled};
use proptest::prelude::*;

/// A relay that has a group to look after.
async fn looking_after_a_group() -> (Stage, Child) {
    let stage = Stage::set().await;
    let relay = Child::spawn(stage.command(&["run"]));
    stage.enqueue("s", "before").await;
    stage.until_arrived_by_itself("s", 1).await;
    stage.redis.command(&["XGROUP", "CREATE", "s", "g", "0"]).await;
    (stage, relay)
}

async fn goes_on(stage: &Stage, relay: &Child) {
    stage.enqueue("s", "after").await;
    stage.until_arrived_by_itself("s", 2).await;
    let log = relay.log();
    assert!(!log.contains("panicked") && !log.contains("is away"), "{log}");
}

const LETTER: [(&str, &str); 17] = [
    ("id", "0192f0c1-7b1a-7000-8000-000000000000"),
    ("type", "order.placed"),
    ("ver", "1"),
    ("key", "k"),
    ("time", "2026-11-21T08:00:00.000001Z"),
    ("data", r#"{"total": 1, "deep": [[[{"a": 1e3}]]]}"#),
    ("headers", r#"{"outbox-replayed-id": "a", "outbox-replays": "3", "x": "y"}"#),
    ("dead:lane", "s:g:replay"),
    ("dead:entry", "1-1"),
    ("dead:attempts", "5"),
    ("dead:reason", "it said no"),
    ("dead:failures", r#"[{"attempt": 1, "at": "2026-11-21T08:00:00Z", "reason": "no", "n": 1.5}]"#),
    ("dead:first_failed_at", "2026-11-21T08:00:00Z"),
    ("dead:last_failed_at", "1969-11-21T08:00:00Z"),
    ("dead:consumer", "worker-1"),
    ("dead:handler", "0.1.0"),
    ("other", "field"),
];

#[tokio::test]
async fn whatever_lies_in_a_tray_is_taken_away_and_the_relay_goes_on() {
    let (stage, relay) = looking_after_a_group().await;
    let broken = (0..LETTER.len(), mangled(LETTER.map(|(_, value)| value)));
    // The names of fields come from elsewhere, too.
    let letters =
        (prop::collection::vec(broken, 1..4), prop::option::weighted(0.1, mangled(LETTER.map(|(name, _)| name))));
    let letters = drawn(300, &letters);
    let count = letters.len();
    let mut pipeline = redis::Pipeline::new();
    for (nth, (broken, name)) in letters.into_iter().enumerate() {
        let mut fields: Vec<(Vec<u8>, Vec<u8>)> =
            LETTER.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
        // Each is a letter of its own, unless that is what is broken.
        fields[8].1 = format!("1-{nth}").into_bytes();
        for (at, value) in broken {
            fields[at].1 = value;
        }
        if let Some(name) = name {
            fields[nth % LETTER.len()].0 = name;
        }
        let xadd = pipeline.cmd("XADD").arg(outbox::keys::dead("s", "g")).arg("*");
        fields.iter().for_each(|(name, value)| _ = xadd.arg(name).arg(value));
        xadd.ignore();
    }
    pipeline.exec_async(&mut stage.redis.connection().await).await.expect("Redis takes any bytes");
    eventually("the tray to be empty", async || stage.length(&outbox::keys::dead("s", "g")).await == 0).await;
    let kept = stage.ask::<i64>("select count(*) from outbox_dead_letter").await;
    println!("{kept} letters of {count}");
    assert!(kept > i64::try_from(count / 2).expect("a small number"), "{kept} of {count}");
    goes_on(&stage, &relay).await;
}

#[tokio::test]
async fn whatever_consumers_say_of_themselves_the_relay_goes_on() {
    let (stage, relay) = looking_after_a_group().await;
    let tally = r#"{"processed": 1, "failed": 0, "retried": 0, "buried": 0, "lost": 0, "handling_mean_us": 1, "handling_p99_us": 9223372036854775807,
        "last_active_at": "2026-11-21T08:00:00.000Z", "stream": "x", "group_name": "y", "consumer": "z"}"#;
    let mut pipeline = redis::Pipeline::new();
    let key = outbox::keys::stats("s", "g");
    for (nth, (name, told)) in drawn(300, &(mangled(["worker-1", "me"]), mangled([tally]))).into_iter().enumerate() {
        let name = if nth % 3 == 0 { name } else { format!("worker-{nth}").into_bytes() };
        pipeline.cmd("HSET").arg(&key).arg(name).arg(told).ignore();
    }
    // What is broken in ways that are seldom drawn.
    for (nth, told) in ["", "null", "[]", "{}", "1", "\0"].into_iter().enumerate() {
        pipeline.cmd("HSET").arg(&key).arg(format!("odd-{nth}")).arg(told).ignore();
    }
    let sound = tally
        .replace("9223372036854775807", "1")
        .replace("2026-11-21T08:00:00.000Z", &jiff::Timestamp::now().to_string());
    pipeline.cmd("HSET").arg(&key).arg("sound").arg(sound).ignore();
    pipeline.exec_async(&mut stage.redis.connection().await).await.expect("Redis takes any bytes");
    let known = "select exists (select from outbox_consumer where consumer = 'sound')";
    eventually("what is sound to be kept", async || stage.ask::<bool>(known).await).await;
    let names: Vec<String> = sqlx::query_scalar("select consumer from outbox_consumer")
        .fetch_all(&stage.pool)
        .await
        .expect("Postgres is there");
    println!("{} consumers, such as {:?}", names.len(), names.first());
    assert!(names.iter().all(|name| !name.contains('\0')));
    goes_on(&stage, &relay).await;
}
