//! How it stands, for people, for programs and for checks; and where one event is.

use super::*;

#[tokio::test]
async fn status_tells_how_much_waits_and_how_far_each_group_has_come() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    assert_eq!(json(&stage, &["status", "--json"])["streams"], Value::Array(vec![]));
    assert_eq!(status_line(&stage), "no relay is running (none was ever seen); nothing was written yet");
    stage.enqueue_many("orders", 3).await;
    stage.until_entries(&mut relay, "orders", 3).await;
    stage.redis.command(&["XGROUP", "CREATE", "orders", "billing", "0"]).await;
    stage.redis.command(&["XREADGROUP", "GROUP", "billing", "me", "COUNT", "2", "STREAMS", "orders", ">"]).await;
    stage.redis.command(&["XACK", "orders", "billing", "1-1"]).await;
    stage.redis.command(&["XCLAIM", "orders", "billing", "outbox:nobody", "0", "1-2", "JUSTID"]).await;
    eventually("the group's position to be written down", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<i64>("select coalesce(max(settled_seq), 0) from outbox_group").await == 1
    })
    .await;
    settle(&mut relay).await;
    stage.sql("select outbox_enqueue('orders', 't', '1', due_at => '2100-01-01')").await;
    stage
        .sql(
            "insert into outbox (stream, id, type, payload, due_at, dead_at, last_error)
             values ('orders', 'd', 't', '1', 'infinity', now(), 'why')",
        )
        .await;
    stage.sql("select outbox_enqueue(E'empty \\x1b[31m lane', 't', '1')").await;

    let status = json(&stage, &["status", "--json"]);
    assert_eq!(keys(&status), ["verdict", "relay", "streams", "groups", "consumers", "blockers"].into());
    let fields = [
        "holder",
        "last_seen_seconds",
        "redis_seen_seconds",
        "frontier",
        "last",
        "overtaken",
        "left_behind",
        "dead",
        "paused_at",
        "paused_by",
    ];
    assert_eq!(keys(&status["relay"]), fields.into());
    assert_eq!(status["relay"]["last"], 6);
    assert_eq!(status["relay"]["overtaken"], 0);
    let [odd, orders] = &status["streams"].as_array().expect("an array")[..] else { panic!("{status}") };
    let fields = [
        "stream",
        "unsent",
        "oldest_unsent_seconds",
        "held",
        "dead",
        "sent_seq",
        "sent_at",
        "sent_per_second",
        "paused_at",
        "paused_by",
        "refusal",
    ];
    assert_eq!(keys(orders), fields.into());
    assert_eq!([&orders["unsent"], &orders["held"], &orders["dead"], &orders["sent_seq"]], [0, 1, 1, 3]);
    assert!(orders["oldest_unsent_seconds"].is_null() && orders["sent_at"].is_string(), "{orders}");
    assert_eq!(odd["unsent"], 1);
    assert!(odd["oldest_unsent_seconds"].as_f64().is_some_and(|age| (0.0..60.0).contains(&age)), "{odd}");
    let [group] = &status["groups"].as_array().expect("an array")[..] else { panic!("{status}") };
    let fields =
        ["stream", "name", "delivered_seq", "settled_seq", "pending", "dead", "consumers", "lag", "oldest_seconds"];
    assert_eq!(keys(group), fields.into());
    assert_eq!(group["lag"], 2, "one is pending, one was never delivered");
    assert_eq!(
        [&group["delivered_seq"], &group["settled_seq"], &group["pending"], &group["dead"], &group["consumers"]],
        [2, 1, 1, 0, 1],
        "for whom entries were given back is no consumer"
    );
    let oldest = group["oldest_seconds"].as_f64().expect("one is pending");
    assert_eq!(oldest, (oldest * 1e3).round() / 1e3, "to the millisecond");

    // `verb` sees that nothing in a name reaches the terminal.
    let text = verb(&stage, &["status"]);
    for part in ["stream", "unsent", "oldest", "held", "dead", "orders", "billing", "empty"] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
}

fn status_line(stage: &Stage) -> String {
    // Under the verdict.
    let said = verb(stage, &["status"]);
    said.lines()
        .find(|line| line.starts_with("relay ") || line.starts_with("no relay "))
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn status_begins_with_the_verdict_as_json_and_the_surface_have_it() {
    let stage = Stage::set().await;
    let surface = Surface::begin(&stage, &[]).await;
    stage.enqueue("orders", "a").await;
    stage.until_arrived_by_itself("orders", 1).await;
    let sentences = |told: &Value| {
        let findings = told["verdict"]["findings"].as_array().expect("findings").clone();
        findings.iter().map(|one| one["sentence"].as_str().expect("a sentence").to_owned()).collect::<Vec<_>>()
    };
    let said = async |first: &str| {
        eventually(first, async || {
            let surface = sentences(&surface.get("/status").await.json());
            let json = sentences(&json(&stage, &["status", "--json"]));
            let text = verb(&stage, &["status"]);
            surface == json && json.iter().eq(text.lines().take(json.len())) && json[0].starts_with(first)
        })
        .await;
    };
    said("All is well: nothing waits longer than 2 s.").await;
    stage
        .sql(
            "insert into outbox (stream, id, type, payload, due_at, dead_at, last_error)
             values ('orders', 'dead', 't', '1', 'infinity', now(), 'x');
             update outbox_relay set paused_at = now() - interval '1 hour', paused_by = 'ann'",
        )
        .await;
    said("Everything is paused for 60 min, by ann.").await;
}

#[tokio::test]
async fn a_check_of_the_status_fails_when_something_is_stuck_or_late_and_not_otherwise() {
    let stage = Stage::set().await;
    let check = |flags: &[&str]| output(&mut stage.command(&[&["status", "--check"], flags].concat()));
    let nobody = check(&[]);
    assert_eq!((nobody.status.code(), stderr(&nobody).as_str()), (FAILED, "relay: something is stuck or late\n"));
    assert!(stdout(&nobody).starts_with("Stuck: no relay works"), "{}", stdout(&nobody));
    let surface = Surface::begin(&stage, &[]).await;
    stage.enqueue("orders", "a").await;
    stage.until_arrived_by_itself("orders", 1).await;
    eventually("all to be well", async || check(&[]).status.code() == DONE).await;
    // What was asked for, and what waits for a person, is no failure.
    stage
        .sql(
            "insert into outbox (stream, id, type, payload, due_at, dead_at, last_error)
             values ('orders', 'dead', 't', '1', 'infinity', now(), 'x')",
        )
        .await;
    assert_eq!(surface.post("/pause", &serde_json::json!({"all": true})).await.status, 200);
    let json = check(&["--json"]);
    assert_eq!((json.status.code(), stderr(&json).as_str()), (DONE, ""));
    let told: Value = serde_json::from_str(&stdout(&json)).expect("JSON");
    assert_eq!(told["verdict"]["level"], "paused");
    assert_eq!(surface.post("/resume", &serde_json::json!({"all": true})).await.status, 200);
    stage.redis.command(&["SET", "refused", "in the way"]).await;
    stage.enqueue("refused", "b").await;
    eventually("a refusal to be told", async || {
        let json = check(&["--json"]);
        stdout(&json).contains("refused refused") && json.status.code() == FAILED
    })
    .await;
    let help = stdout(&output(&mut relay(&["status", "--help"])));
    for part in
        ["--check", "Exit codes: 0 it was told; 1 Postgres is away, or, with --check, something is stuck or late"]
    {
        assert!(help.contains(part), "{part} is missing:\n{help}");
    }
}

#[tokio::test]
async fn an_event_is_followed_by_its_id_the_number_of_its_row_or_that_of_its_entry() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue("other", "first").await;
    let seq = stage.enqueue("s", "followed").await;
    // An id that looks like a number is an id.
    let odd = stage.enqueue("s", &format!("{}", seq + 50)).await;
    stage.until_entries(&mut relay, "s", 2).await;
    settle(&mut relay).await;
    let by_id = verb(&stage, &["trace", "followed"]);
    assert!(by_id.starts_with(&format!("event followed\nrow {seq} of s")), "{by_id}");
    for name in [format!("{seq}"), format!("1-{seq}")] {
        assert_eq!(verb(&stage, &["trace", &name]), by_id);
    }
    assert!(verb(&stage, &["trace", &format!("{}", seq + 50)]).contains(&format!("row {odd} of s")));
    for nobody in [format!("2-{seq}"), format!("{}", seq + 70), "1-x".to_owned(), "99999999999999999999".to_owned()] {
        let said = sentence(&output(&mut stage.command(&["trace", &nobody])), FAILED);
        assert!(said.contains("nobody knows") && said.contains(&nobody), "{said}");
    }
    // A row that replays it leads to it.
    stage
        .sql("insert into outbox (stream, id, type, payload, headers) values ('s:g:replay', 'again', 't', '1', '{\"outbox-id\": \"followed\"}')")
        .await;
    let seq: i64 = stage.ask("select seq from outbox where id = 'again'").await;
    assert!(verb(&stage, &["trace", &format!("{seq}")]).starts_with("event followed\n"));
    // On a stream that replays nothing that header is its writer's, and names nobody.
    stage
        .sql("insert into outbox (stream, id, type, payload, headers) values ('s', 'own', 't', '1', '{\"outbox-id\": \"followed\"}')")
        .await;
    let seq: i64 = stage.ask("select seq from outbox where id = 'own'").await;
    assert!(verb(&stage, &["trace", &format!("{seq}")]).starts_with("event own\n"));
}

#[tokio::test]
async fn status_names_the_relay_that_works() {
    let stage = Stage::set().await;
    let mut relay = Child::spawn(stage.command(&["run"]));
    relay.saw("this relay works").await;
    let holder = json(&stage, &["status", "--json"])["relay"]["holder"].as_str().expect("somebody works").to_owned();
    assert!(relay.log().contains(&holder), "{holder}");
    assert!(verb(&stage, &["status"]).contains(&holder));
    relay.signal(Signal::Term);
    assert_eq!(relay.wait().await, 0);
    assert!(json(&stage, &["status", "--json"])["relay"]["holder"].is_null(), "it gave its lease back");
    let said = status_line(&stage);
    assert!(said.starts_with("no relay is running (last seen ") && said.contains("s ago); "), "{said}");
    stage.enqueue("s", "event").await;
    assert!(status_line(&stage).ends_with("; nothing is final yet (the newest is 1)"), "{}", status_line(&stage));
}

/// `relay status | head -1`
#[tokio::test]
async fn a_reader_that_hangs_up_is_no_failure() {
    let stage = Stage::set().await;
    stage.enqueue_many("orders", 3).await;
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["blockers"],
        &["dead", "list"],
        &["migrate", "--print"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output =
            stage.command(arguments).stdout(writer).stderr(Stdio::piped()).output().expect("the binary runs");
        assert_eq!((output.status.code(), stderr(&output).as_str()), (DONE, ""), "{arguments:?}");
    }
}
