//! What should not be there: an event that breaks a limit, a row that no producer of ours would write, a store that is
//! not as it must be. The first fails where it is made, the second stops nobody else, the third is one sentence.

use std::collections::{BTreeMap, BTreeSet};

use outbox::{Draft, EVENT_BYTES_MAX, Error, Event, Result};
use outbox_tests::{Child, Stage, eventually, settle};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

// ---- through the crate: before any database is asked

fn draft() -> Draft {
    Event::draft("s", "t")
}

/// The part of the event that is at fault.
fn at_fault(what: &str, event: Result<Event>) -> &'static str {
    match event {
        Err(Error::Invalid { field, why }) => {
            assert!(!why.is_empty() && why.len() < 200, "{what}: {why}");
            field
        }
        other => panic!("{what} must be refused: {:?}", other.map(|event| event.id().to_owned())),
    }
}

#[test]
fn a_bad_name_fails_in_the_code_that_made_it() {
    let long = "x".repeat(201);
    let two_bytes_each = "é".repeat(101);
    for name in ["", "a\nb", "a\0", "\t", "\x1b[31m", "\u{7f}", "\u{85}", &long, &two_bytes_each] {
        assert_eq!(at_fault(name, Event::draft(name, "t").json(&1)), "stream");
        assert_eq!(at_fault(name, Event::draft("s", name).json(&1)), "type");
        assert_eq!(at_fault(name, draft().id(name).json(&1)), "id");
    }
    let long = "x".repeat(1_001);
    for key in ["", "a\nb", "a\0", &long] {
        assert_eq!(at_fault(key, draft().key(key).json(&1)), "key");
    }
    assert_eq!(at_fault("0", draft().ver(0).json(&1)), "ver");
    assert_eq!(at_fault("NUL", draft().header("a\0", "b").json(&1)), "headers");
    assert_eq!(at_fault("NUL", draft().header("a", "b\0").json(&1)), "headers");
}

#[test]
fn a_payload_that_no_reader_can_parse_fails_in_the_code_that_made_it() {
    let deep = "[".repeat(129) + &"]".repeat(129);
    let deeper = "{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000);
    for text in [
        "",
        " ",
        "{",
        "}",
        "{\"a\"}",
        "{'a': 1}",
        "[1,]",
        "NaN",
        "1 2",
        "01",
        "\"\t\"",
        "\u{feff}1",
        r#""\u0000""#,
        r#"{"\u0000": 1}"#,
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud800x""#,
        r#""\ud800\ud800""#,
        r#""\u00""#,
        r#""\x""#,
        &deep,
        &deeper,
    ] {
        let what: String = text.chars().take(20).collect();
        assert_eq!(at_fault(&what, draft().raw_json(text)), "payload");
    }
    assert_eq!(at_fault("NUL", draft().json("\0")), "payload");
    assert_eq!(at_fault("NUL", draft().json(&BTreeMap::from([("\0", 1)]))), "payload");
    assert_eq!(at_fault("a key that is no text", draft().json(&BTreeMap::from([(vec![1], 1)]))), "payload");
    let nested = (0..129).fold(serde_json::json!(1), |inner, _| serde_json::json!([inner]));
    assert_eq!(at_fault("too deep", draft().json(&nested)), "payload");
}

#[test]
fn an_event_that_is_too_large_fails_in_the_code_that_made_it() {
    let large = "x".repeat(EVENT_BYTES_MAX);
    assert_eq!(at_fault("payload", draft().json(&large)), "payload");
    assert_eq!(at_fault("raw", draft().raw_json(format!("\"{large}\""))), "payload");
    assert_eq!(at_fault("headers", draft().header("a", large).json(&1)), "payload");
}

/// What the crate takes, the relay takes too: with its default limit, and however Postgres writes the headers.
#[tokio::test]
async fn the_largest_event_that_the_crate_takes_arrives() {
    let stage = Stage::set().await;
    let largest = |headers: usize| {
        let event = |bytes: usize| {
            let named = draft().id(format!("{headers}-headers"));
            (0..headers).fold(named, |draft, n| draft.header(format!("h{n}"), "v")).json(&"x".repeat(bytes))
        };
        // The largest that is still an event.
        let (mut fits, mut too_large) = (0, EVENT_BYTES_MAX);
        while too_large - fits > 1 {
            let middle = fits.midpoint(too_large);
            if event(middle).is_ok() { fits = middle } else { too_large = middle }
        }
        event(fits).expect("it fits")
    };
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    for headers in [0, 1, 40] {
        let _ = outbox::enqueue(&mut tx, &largest(headers)).await.expect("written");
    }
    let deep = "[".repeat(128) + &"]".repeat(128);
    let _ =
        outbox::enqueue(&mut tx, &draft().id("deep").raw_json(deep).expect("just within")).await.expect("written");
    tx.commit().await.expect("committed");
    let mut relay = stage.relay(&[]).await;
    eventually("every event to be sent or buried", async || {
        relay.tick().await.expect("Postgres is there");
        let buried = stage.ask::<i64>("select count(*) from outbox where dead_at is not null").await;
        stage.length("s").await + usize::try_from(buried).unwrap_or_default() == 4
    })
    .await;
    assert_eq!(stage.ids("s").await, ["0-headers", "1-headers", "40-headers", "deep"]);
}

// ---- through plain SQL: nobody else suffers

#[tokio::test]
async fn an_event_over_the_limit_is_a_dead_letter_and_its_neighbours_arrive() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--event-bytes-max", "10000", "--batch-bytes-max", "20000"]).await;
    stage.enqueue("s", "before").await;
    stage
        .sql(
            "select outbox_enqueue('s', 't', to_json(repeat('x', 10000)), id => 'large');
             select outbox_enqueue('s', 't', to_json(repeat('x', 1000000)), id => 'very large');
             select outbox_enqueue('s', 't', '1', id => 'headers', headers => jsonb_build_object('a', repeat('x', 10000)))",
        )
        .await;
    stage.enqueue("s", "after").await;
    stage.enqueue("other", "elsewhere").await;
    stage.until_entries(&mut relay, "s", 2).await;
    stage.until_entries(&mut relay, "other", 1).await;
    settle(&mut relay).await;
    assert_eq!(stage.ids("s").await, ["before", "after"]);
    let dead: String = stage
        .ask(
            "select string_agg(concat_ws('|', id, attempts, last_error), E'\\n' order by seq) from outbox
              where dead_at is not null and due_at = 'infinity'",
        )
        .await;
    let lines: Vec<_> = dead.lines().collect();
    assert_eq!(lines.len(), 3, "{dead}");
    for (line, id) in lines.iter().zip(["large", "very large", "headers"]) {
        assert!(line.starts_with(&format!("{id}|1|")), "{line}");
        assert!(line.contains("event_bytes_max") && line.contains("10000"), "{line}");
    }
}

#[tokio::test]
async fn no_time_stops_a_lane() {
    let stage = Stage::set().await;
    let times =
        ["4713-01-01 BC", "0001-01-01", "1969-12-31", "9999-12-31 23:59:59.999999", "10000-01-01", "294276-12-31"];
    for time in times {
        stage
            .sql(&format!(
                "insert into outbox (stream, type, id, payload, created_at) values ('s', 't', '{time}', '1', '{time}')"
            ))
            .await;
        stage
            .sql(&format!(
                "insert into outbox (stream, type, id, payload, due_at) values ('due', 't', 'due {time}', '1', '{time}')"
            ))
            .await;
    }
    let mut relay = stage.relay(&[]).await;
    stage.until_entries(&mut relay, "s", times.len()).await;
    assert_eq!(stage.ids("s").await, times);
    // What is due in the past leaves now; the rest waits.
    stage.until_entries(&mut relay, "due", 3).await;
    settle(&mut relay).await;
    let status = stage.command(&["status"]).output().expect("the binary runs");
    assert!(status.status.success(), "{status:?}");
    let mut running = Child::spawn(stage.command(&["run", "--sleep-after", "1ms"]));
    eventually("it to sleep", async || stage.ask::<i64>("select last_value from outbox_doorbell").await > 0).await;
    running.signal(outbox_tests::Signal::Term);
    assert_eq!(running.wait().await, 0, "{}", running.log());
}

/// What is due on a stream that Redis refuses waits there, since the oldest time there is.
#[tokio::test]
async fn a_row_that_is_due_on_a_refused_stream_disturbs_nobody() {
    let stage = Stage::set().await;
    stage.redis.command(&["SET", "refused", "in the way"]).await;
    stage
        .sql("insert into outbox (stream, type, id, payload, due_at) values ('refused', 't', 'a', '1', '4713-01-01 BC')")
        .await;
    let relay = Child::spawn(stage.command(&["run", "--sleep-after", "1ms"]));
    for n in 0..5 {
        let asleep = "select last_value > extract(epoch from now()) from outbox_doorbell";
        eventually("it to sleep", async || stage.ask::<bool>(asleep).await).await;
        stage.enqueue("s", &format!("event-{n}")).await;
        eventually("the entry", async || stage.length("s").await == n + 1).await;
    }
    assert!(!relay.log().contains("Postgres is away"), "{}", relay.log());
}

#[tokio::test]
async fn whatever_postgres_stores_travels_byte_for_byte() {
    let stage = Stage::set().await;
    let payloads = [
        r#""\u0000""#.to_owned(),
        r#"{"\ud800": "\udc00\u0000"}"#.to_owned(),
        " [ ] ".to_owned(),
        "[".repeat(2_000) + &"]".repeat(2_000),
        "1e999999".to_owned(),
    ];
    for (n, payload) in payloads.iter().enumerate() {
        sqlx::query("insert into outbox (stream, type, id, payload) values ('s', 't', $1, $2::json)")
            .bind(n.to_string())
            .bind(payload)
            .execute(&stage.pool)
            .await
            .expect("Postgres takes it");
    }
    stage
        .sql(r#"insert into outbox (stream, type, id, payload, headers) values ('s', 't', 'headers', '1', '{"a": {"b": [1, null]}, "": ""}')"#)
        .await;
    stage.until_entries(&mut stage.relay(&[]).await, "s", 6).await;
    let mut arrived = stage.entries("s").await;
    let (_, with_headers) = arrived.pop().expect("six");
    assert_eq!(with_headers.header("a").as_deref(), Some(r#"{"b":[1,null]}"#));
    assert_eq!(arrived.into_iter().map(|(_, event)| event.data).collect::<Vec<_>>(), payloads);
}

#[tokio::test]
async fn any_name_of_a_stream_works() {
    let stage = Stage::set().await;
    let long = "é".repeat(100);
    let names = [
        "with spaces ",
        "'single' \"double\"",
        "{hash}tag",
        "{}",
        "naïve 💥 名前",
        "a:b:c",
        "*",
        "$",
        ">",
        "-1",
        "new\nline\r\n",
        "\x01\x1b[31m",
        "outbox:none",
        "%s \\ $1 ;--",
        &long,
    ];
    for name in names {
        for n in 0..2 {
            sqlx::query(
                "insert into outbox (stream, type, id, key, payload) values ($1, $1, md5($1) || $2, $1, to_json($1))",
            )
            .bind(name)
            .bind(n.to_string())
            .execute(&stage.pool)
            .await
            .expect("written");
        }
    }
    let mut relay = stage.relay(&[]).await;
    for name in names {
        stage.until_entries(&mut relay, name, 2).await;
        let (_, event) = stage.entries(name).await.remove(0);
        assert_eq!((event.r#type.as_str(), event.key.as_deref()), (name, Some(name)));
        assert_eq!(event.payload::<String>().expect("JSON"), name);
        stage.redis.command(&["XGROUP", "CREATE", name, name, "0"]).await;
    }
    let sent = format!(
        "select count(*) = {} from outbox_group join outbox_stream using (stream) where sent_seq > 0",
        names.len()
    );
    eventually("every stream and group to be written down", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<bool>(&sent).await
    })
    .await;
    // And again after Redis lost them all, groups with the same odd names included.
    stage.redis.command(&["FLUSHALL"]).await;
    for name in names {
        stage.until_entries(&mut relay, name, 2).await;
    }
}

#[tokio::test]
async fn three_thousand_streams_at_once_work() {
    let stage = Stage::set().await;
    stage
        .sql("select outbox_enqueue('s' || n % 3000, 't', '1', id => 'e' || n) from generate_series(1, 6000) n")
        .await;
    let mut relay = stage.relay(&[]).await;
    eventually("every stream to be there", async || {
        relay.tick().await.expect("Postgres is there");
        stage.redis.command(&["DBSIZE"]).await == redis::Value::Int(3_000)
    })
    .await;
    for stream in ["s0", "s1", "s1500", "s2999"] {
        stage.until_entries(&mut relay, stream, 2).await;
    }
    settle(&mut relay).await;
    let mut redis = stage.redis.connection().await;
    let mut pipeline = redis::pipe();
    for n in 0..3_000 {
        pipeline.cmd("XLEN").arg(format!("s{n}"));
    }
    let lengths: Vec<i64> = pipeline.query_async(&mut redis).await.expect("Redis is there");
    assert_eq!(lengths.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([2]));
    // And one more event is not slow for the many that are quiet.
    stage.enqueue("s7", "one more").await;
    stage.until_entries(&mut relay, "s7", 3).await;
}

#[tokio::test]
async fn many_streams_come_back_together_after_redis_lost_them() {
    let stage = Stage::set().await;
    stage.sql("select outbox_enqueue('s' || n % 200, 't', '1') from generate_series(1, 400) n").await;
    let mut relay = stage.relay(&[]).await;
    let mut all_there = async |when: &str| {
        eventually(when, async || {
            relay.tick().await.expect("Postgres is there");
            stage.redis.command(&["DBSIZE"]).await == redis::Value::Int(200)
        })
        .await;
        for stream in ["s0", "s99", "s199"] {
            stage.until_entries(&mut relay, stream, 2).await;
        }
    };
    all_there("every stream to be there").await;
    stage.redis.command(&["FLUSHALL"]).await;
    all_there("every stream to be back").await;
}

// ---- stores that are not as they must be

/// Runs `relay run`, which must end by itself, and returns its one sentence.
async fn refusal(stage: &Stage, user: &str) -> String {
    let mut command = stage.command(&["run"]);
    command.env("DATABASE_URL", stage.database_url.replace("//postgres@", &format!("//{user}@")));
    let mut relay = Child::spawn(command);
    eventually("its last words", async || {
        let log = relay.log();
        assert!(!log.contains("is away"), "no waiting will mend it, and it waits:\n{log}");
        log.contains("relay: ")
    })
    .await;
    assert_eq!(relay.wait().await, 1, "{}", relay.log());
    let log = relay.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.starts_with("relay: ") && log.matches("relay: ").count() == 1, "one sentence: {log}");
    last.to_owned()
}

async fn assert_refused(spoil: &str, named: &[&str]) {
    let stage = Stage::set().await;
    stage.sql(spoil).await;
    let sentence = refusal(&stage, "postgres").await;
    for name in named {
        assert!(sentence.contains(name), "{name} is not in: {sentence}");
    }
}

#[tokio::test]
async fn a_schema_of_another_version_is_one_sentence() {
    let newest = outbox::SCHEMA_VERSION;
    assert_refused("insert into outbox_schema values (99)", &["99", &newest.to_string(), "upgrade the relay"]).await;
    let older = format!("delete from outbox_schema where version = {newest}");
    assert_refused(&older, &[&(newest - 1).to_string(), &newest.to_string(), "relay migrate"]).await;
}

#[tokio::test]
async fn missing_tables_are_one_sentence() {
    assert_refused("drop schema public cascade; create schema public", &["relay migrate", "public"]).await;
    assert_refused("drop table outbox_group cascade", &["outbox_group"]).await;
    assert_refused("drop table outbox cascade", &["outbox"]).await;
}

#[tokio::test]
async fn numbers_handed_out_in_advance_are_one_sentence() {
    assert_refused(
        "alter sequence outbox_seq_seq cache 20",
        &["outbox_seq_seq", "20", "alter sequence outbox_seq_seq cache 1"],
    )
    .await;
}

#[tokio::test]
async fn a_redis_that_throws_streams_away_is_one_sentence() {
    let stage = Stage::set_with(&[], &["--maxmemory-policy", "allkeys-lru"]).await;
    let sentence = refusal(&stage, "postgres").await;
    assert!(sentence.contains("allkeys-lru") && sentence.contains("noeviction"), "{sentence}");
}

/// A database whose default differs must not change what a producer or the relay sees.
#[tokio::test]
async fn a_database_whose_transactions_are_serializable_is_served_too() {
    let stage = Stage::set().await;
    let name = stage.database_url.rsplit('/').next().expect("a name").to_owned();
    stage.sql(&format!("alter database {name} set default_transaction_isolation = serializable")).await;
    let mut relay = stage.relay(&["--overtake-after", "1ms", "--event-bytes-max", "1000"]).await;
    let mut db = PgConnection::connect(&stage.database_url).await.expect("Postgres is there");
    let mut slow = db.begin().await.expect("begun");
    let _ = outbox::enqueue(&mut slow, &draft().id("slow").json(&1).expect("valid")).await.expect("written");
    stage.enqueue("s", "quick").await;
    sqlx::raw_sql(AssertSqlSafe("select outbox_enqueue('s', 't', to_json(repeat('x', 2000)))"))
        .execute(&stage.pool)
        .await
        .expect("written");
    stage.until_entries(&mut relay, "s", 1).await;
    slow.commit().await.expect("committed");
    stage.until_entries(&mut relay, "s", 2).await;
    assert_eq!(stage.ids("s").await, ["quick", "slow"]);
}
