//! What producers are promised: the event shares the fate of their transaction, a repeat is told from a mistake, and
//! what they wrote is what arrives.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{TraceContextExt, TracerProvider};
use outbox::{Draft, Enqueued, Error, Event, Result};
use outbox_tests::{Stage, eventually, settle};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

fn draft(id: &str) -> Draft {
    Event::draft("orders", "order.placed").id(id)
}

fn event(id: &str) -> Event {
    draft(id).json(&id).expect("within all limits")
}

/// One event in a transaction of its own.
async fn write(stage: &Stage, event: &Event) -> Result<Enqueued> {
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    let enqueued = outbox::enqueue(&mut tx, event).await?;
    tx.commit().await.expect("Postgres is there");
    Ok(enqueued)
}

async fn write_all(stage: &Stage, events: &[Event]) -> Result<Vec<Enqueued>> {
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    let enqueued = outbox::enqueue_all(&mut tx, events).await?;
    tx.commit().await.expect("Postgres is there");
    Ok(enqueued)
}

async fn cancel(stage: &Stage, id: &str) -> bool {
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    let cancelled = outbox::cancel(&mut tx, id).await.expect("Postgres is there");
    tx.commit().await.expect("Postgres is there");
    cancelled
}

/// The ids in the table, by number.
async fn rows(stage: &Stage) -> Vec<String> {
    sqlx::query_scalar("select id from outbox order by seq").fetch_all(&stage.pool).await.expect("Postgres is there")
}

fn numbers(enqueued: &[Enqueued]) -> Vec<Option<i64>> {
    let number = |enqueued: &Enqueued| match enqueued {
        Enqueued::New { seq } => Some(*seq),
        Enqueued::Repeat => None,
    };
    enqueued.iter().map(number).collect()
}

fn taken(result: Result<impl std::fmt::Debug>) -> String {
    match result {
        Err(Error::IdTaken { id }) => id,
        other => panic!("the id is taken, and the answer was {other:?}"),
    }
}

// ---- the caller's transaction

#[tokio::test]
async fn an_event_shares_the_fate_of_its_transaction() {
    let stage = Stage::set().await;
    stage.sql("create table orders (n int)").await;
    for (n, keep) in [(1, true), (2, false), (3, true)] {
        let mut tx = stage.pool.begin().await.expect("Postgres is there");
        sqlx::query("insert into orders values ($1)").bind(n).execute(&mut *tx).await.expect("written");
        let enqueued = outbox::enqueue(&mut tx, &event(&format!("order-{n}"))).await.expect("written");
        assert!(matches!(enqueued, Enqueued::New { .. }));
        if keep { tx.commit().await } else { tx.rollback().await }.expect("still open");
    }
    let told: Vec<String> = sqlx::query_scalar("select 'order-' || n from orders order by n")
        .fetch_all(&stage.pool)
        .await
        .expect("Postgres is there");
    assert_eq!(rows(&stage).await, ["order-1", "order-3"]);
    assert_eq!(rows(&stage).await, told);
}

#[tokio::test]
async fn a_savepoint_that_is_rolled_back_takes_its_event_with_it() {
    let stage = Stage::set().await;
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    let _ = outbox::enqueue(&mut tx, &event("before")).await.expect("written");
    let mut savepoint = tx.begin().await.expect("a savepoint");
    let _ = outbox::enqueue(&mut savepoint, &event("within")).await.expect("written");
    savepoint.rollback().await.expect("rolled back");
    // The id is free again.
    assert!(matches!(outbox::enqueue(&mut tx, &event("within")).await, Ok(Enqueued::New { .. })));
    let mut savepoint = tx.begin().await.expect("a savepoint");
    let _ = outbox::enqueue_all(&mut savepoint, &[event("lost"), event("too")]).await.expect("written");
    savepoint.rollback().await.expect("rolled back");
    tx.commit().await.expect("committed");
    assert_eq!(rows(&stage).await, ["before", "within"]);

    stage.until_entries(&mut stage.relay(&[]).await, "orders", 2).await;
    assert_eq!(stage.ids("orders").await, ["before", "within"]);
}

// ---- ids

#[tokio::test]
async fn the_number_that_a_producer_is_told_is_the_number_of_the_entry() {
    let stage = Stage::set().await;
    let one = write(&stage, &event("one")).await.expect("written");
    let more = write_all(&stage, &[event("two"), event("three")]).await.expect("written");
    let told: Vec<_> = numbers(&[one, more[0], more[1]]).into_iter().flatten().map(i64::unsigned_abs).collect();
    stage.until_entries(&mut stage.relay(&[]).await, "orders", 3).await;
    let arrived: Vec<_> = stage.entries("orders").await.into_iter().map(|(number, _)| number.seq).collect();
    assert_eq!(arrived, told);
}

#[tokio::test]
async fn the_same_event_again_is_a_repeat_and_arrives_once() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    let again = || draft("a").key("k").ver(2).raw_json("{ \"n\": 1.0 }").expect("valid");
    assert!(matches!(write(&stage, &again()).await, Ok(Enqueued::New { .. })));
    assert!(matches!(write(&stage, &again()).await, Ok(Enqueued::Repeat)));
    stage.until_entries(&mut relay, "orders", 1).await;
    // Also after it has left.
    assert!(matches!(write(&stage, &again()).await, Ok(Enqueued::Repeat)));
    settle(&mut relay).await;
    assert_eq!(stage.ids("orders").await, ["a"]);
}

#[tokio::test]
async fn an_id_that_stands_for_other_content_is_taken() {
    let stage = Stage::set().await;
    let same = || Event::draft("orders", "order.placed").id("a").key("k").ver(2);
    assert!(write(&stage, &same().raw_json("1").expect("valid")).await.is_ok());
    let others = [
        ("payload", same().raw_json("2")),
        ("payload's bytes", same().raw_json("1 ")),
        ("stream", Event::draft("others", "order.placed").id("a").key("k").ver(2).raw_json("1")),
        ("type", Event::draft("orders", "order.lost").id("a").key("k").ver(2).raw_json("1")),
        ("key", same().key("l").raw_json("1")),
        ("absent key", Event::draft("orders", "order.placed").id("a").ver(2).raw_json("1")),
        ("version", same().ver(3).raw_json("1")),
    ];
    for (what, other) in others {
        let other = other.expect("valid");
        let error = write(&stage, &other).await.expect_err(what);
        assert_eq!(error.to_string(), "the id \"a\" is taken by an event with other content", "{what}");
        assert_eq!(taken(write(&stage, &other).await), "a", "{what}");
        assert_eq!(taken(write_all(&stage, &[event("fresh"), other]).await), "a", "{what}");
    }
    assert_eq!(rows(&stage).await, ["a"]);
}

#[tokio::test]
async fn a_repeat_may_carry_other_headers_and_another_time() {
    let stage = Stage::set().await;
    let first = draft("a").header("traceparent", "one").json(&1).expect("valid");
    assert!(write(&stage, &first).await.is_ok());
    let again = [
        draft("a").header("traceparent", "two").json(&1),
        draft("a").json(&1),
        draft("a").due_in(Duration::from_secs(3600)).json(&1),
        draft("a").due_at(UNIX_EPOCH).json(&1),
    ];
    for event in again {
        assert!(matches!(write(&stage, &event.expect("valid")).await, Ok(Enqueued::Repeat)));
    }
    let kept: String = stage.ask("select headers->>'traceparent' from outbox where due_at is null").await;
    assert_eq!(kept, "one", "what was written first stays as it was");
}

#[tokio::test]
async fn of_two_transactions_with_the_same_id_exactly_one_writes_it() {
    let stage = Stage::set().await;
    for first_commits in [true, false] {
        let id = format!("first-commits-{first_commits}");
        let mut first = stage.pool.begin().await.expect("Postgres is there");
        assert!(matches!(outbox::enqueue(&mut first, &event(&id)).await, Ok(Enqueued::New { .. })));

        let mut second = PgConnection::connect(&stage.database_url).await.expect("Postgres is there");
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut second).await.expect("a pid");
        let same = event(&id);
        let waiting = tokio::spawn(async move {
            let mut tx = second.begin().await.expect("Postgres is there");
            let enqueued = outbox::enqueue(&mut tx, &same).await;
            tx.commit().await.expect("Postgres is there");
            enqueued
        });
        // It cannot know yet.
        let waits = format!("select cardinality(pg_blocking_pids({pid})) = 1");
        eventually("the second to wait for the first", async || stage.ask::<bool>(&waits).await).await;
        if first_commits { first.commit().await } else { first.rollback().await }.expect("still open");
        let second = waiting.await.expect("no panic").expect("no error");
        assert_eq!(second == Enqueued::Repeat, first_commits, "{second:?}");
        assert_eq!(stage.ask::<i64>(&format!("select count(*) from outbox where id = '{id}'")).await, 1);
    }
}

#[tokio::test]
async fn of_many_producers_who_retry_at_once_one_writes() {
    let stage = Stage::set().await;
    let tasks: Vec<_> = (0..64)
        .map(|n| {
            let pool = stage.pool.clone();
            tokio::spawn(async move {
                let mut tx = pool.begin().await.expect("Postgres is there");
                let enqueued = outbox::enqueue(&mut tx, &event(&format!("id-{}", n % 4))).await.expect("no error");
                tx.commit().await.expect("Postgres is there");
                enqueued
            })
        })
        .collect();
    let mut new = 0;
    for task in tasks {
        new += usize::from(task.await.expect("no panic") != Enqueued::Repeat);
    }
    assert_eq!(new, 4);
    assert_eq!(rows(&stage).await.into_iter().collect::<BTreeSet<_>>().len(), 4);
}

/// Under repeatable read the loser cannot see what the winner wrote: an error to retry on, never a guess.
#[tokio::test]
async fn a_race_under_repeatable_read_is_an_error_to_retry_and_no_false_answer() {
    let stage = Stage::set().await;
    let mut late = stage.pool.begin_with("begin isolation level repeatable read").await.expect("Postgres is there");
    sqlx::query("select count(*) from outbox").execute(&mut *late).await.expect("its snapshot is taken");
    assert!(write(&stage, &event("a")).await.is_ok());
    let Err(Error::Database(sqlx::Error::Database(error))) = outbox::enqueue(&mut late, &event("a")).await else {
        panic!("it cannot see the other")
    };
    assert_eq!(error.code().as_deref(), Some("40001"), "a serialization failure");
}

// ---- many at once

#[tokio::test]
async fn thousands_are_written_by_one_statement_in_their_order() {
    let stage = Stage::set().await;
    let ids: Vec<String> = (0..5_000).map(|n| format!("id-{}", (n * 7_919) % 5_000)).collect();
    let events: Vec<Event> = ids.iter().map(|id| event(id)).collect();
    let enqueued = write_all(&stage, &events).await.expect("written");
    let numbers: Vec<i64> = numbers(&enqueued).into_iter().flatten().collect();
    assert_eq!(numbers.len(), events.len(), "all are new");
    assert!(numbers.is_sorted(), "numbers rise in the order given");
    assert_eq!(rows(&stage).await, ids);
    assert_eq!(stage.ask::<i64>("select count(distinct xmin::text || cmin::text) from outbox").await, 1);

    stage.until_entries(&mut stage.relay(&[]).await, "orders", 5_000).await;
    assert_eq!(stage.ids("orders").await, ids);
}

#[tokio::test]
async fn repeats_among_many_are_told_one_by_one() {
    let stage = Stage::set().await;
    assert!(write(&stage, &event("there")).await.is_ok());
    let events = ["a", "there", "b", "a", "c", "there"].map(event);
    let enqueued = numbers(&write_all(&stage, &events).await.expect("written"));
    let new: Vec<bool> = enqueued.iter().map(Option::is_some).collect();
    assert_eq!(new, [true, false, true, false, true, false]);
    assert!(enqueued.iter().flatten().is_sorted());
    assert_eq!(rows(&stage).await, ["there", "a", "b", "c"]);
}

#[tokio::test]
async fn one_taken_id_among_many_is_named_and_nothing_needs_to_stay() {
    let stage = Stage::set().await;
    assert!(write(&stage, &event("there")).await.is_ok());
    let other = draft("there").json(&"other").expect("valid");
    assert_eq!(taken(write_all(&stage, &[event("a"), other, event("b")]).await), "there");
    // Two in one batch that claim the same id.
    let other = draft("twin").json(&"other").expect("valid");
    assert_eq!(taken(write_all(&stage, &[event("twin"), event("a"), other]).await), "twin");
    assert_eq!(rows(&stage).await, ["there"], "dropping the transaction rolled it back");
}

#[tokio::test]
async fn nothing_at_all_is_written_as_readily_as_many() {
    let stage = Stage::set().await;
    assert_eq!(write_all(&stage, &[]).await.expect("no error"), []);
    assert_eq!(rows(&stage).await, [""; 0]);
}

/// Each kind of event keeps all of its parts on the way through the array parameters.
#[tokio::test]
async fn an_event_among_many_is_written_as_it_would_be_alone() {
    let stage = Stage::set().await;
    let kinds = |alone: bool| {
        let id = |name: &str| format!("{name}-{alone}");
        [
            Event::draft("s", "t").id(id("bare")).raw_json("null"),
            Event::draft("s,{}\"", "t\\")
                .id(id("odd \"'{},\\"))
                .key("k, \"{}\\")
                .ver(65_535)
                .raw_json("{\"a\":[1, 2]}"),
            Event::draft("s", "t").id(id("headers")).header("a \"", "b \\ , {}").header("é", "").raw_json("\"NULL\""),
            Event::draft("s", "t")
                .id(id("at"))
                .due_at(UNIX_EPOCH + Duration::from_micros(4_102_444_800_123_456))
                .json(&1),
            Event::draft("NULL", "NULL").id(id("null")).key("NULL").raw_json("\"\""),
        ]
        .map(|event| event.expect("valid"))
    };
    for event in kinds(true) {
        assert!(write(&stage, &event).await.is_ok());
    }
    assert!(write_all(&stage, &kinds(false)).await.is_ok());
    let differ: i64 = stage
        .ask(
            "select count(*) from outbox a join outbox b on b.id = replace(a.id, '-true', '-false')
              where a.id like '%-true' and (a.stream, a.type, a.ver, a.payload::text, a.headers)
                    = (b.stream, b.type, b.ver, b.payload::text, b.headers)
                and a.key is not distinct from b.key and a.due_at is not distinct from b.due_at",
        )
        .await;
    assert_eq!(differ, 5, "as many are equal as there are kinds");
}

// ---- scheduled

#[tokio::test]
async fn a_scheduled_event_is_held_until_the_time_it_was_given() {
    let stage = Stage::set().await;
    let at = UNIX_EPOCH + Duration::from_micros(4_102_444_800_123_456);
    let events = [
        draft("at").due_at(at).json(&1),
        draft("in").due_in(Duration::from_secs(3600)).json(&1),
        draft("for ever").due_in(Duration::MAX).json(&1),
        draft("before time began").due_at(SystemTime::UNIX_EPOCH - Duration::from_secs(1)).json(&1),
    ]
    .map(|event| event.expect("valid"));
    for event in &events {
        assert!(write(&stage, event).await.is_ok());
    }
    let holds = async |what: &str| {
        assert!(stage.ask::<bool>(&format!("select bool_and({what}) from outbox")).await, "{what}");
    };
    holds("id <> 'at' or due_at = timestamptz '2100-01-01 00:00:00.123456Z'").await;
    holds("id <> 'in' or due_at - created_at between interval '59 min 59 s' and interval '60 min 1 s'").await;
    holds("id <> 'for ever' or due_at between '4000-01-01' and '9999-01-01'").await;
    holds("id <> 'before time began' or due_at = 'epoch'").await;
    holds("dead_at is null").await;

    let mut relay = stage.relay(&[]).await;
    stage.until_entries(&mut relay, "orders", 1).await;
    settle(&mut relay).await;
    assert_eq!(stage.ids("orders").await, ["before time began"]);
}

#[tokio::test]
async fn a_scheduled_event_can_be_taken_back_once() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    assert!(write(&stage, &draft("later").due_in(Duration::from_secs(3600)).json(&1).expect("valid")).await.is_ok());
    settle(&mut relay).await;

    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    assert!(outbox::cancel(&mut tx, "later").await.expect("Postgres is there"));
    tx.rollback().await.expect("rolled back");
    assert!(cancel(&stage, "later").await, "the first time was rolled back");
    assert!(!cancel(&stage, "later").await);
    assert_eq!(rows(&stage).await, [""; 0]);
    // Its id is free again.
    assert!(matches!(write(&stage, &event("later")).await, Ok(Enqueued::New { .. })));
    stage.until_entries(&mut relay, "orders", 1).await;
    assert_eq!(stage.entries("orders").await[0].1.data, "\"later\"");
}

#[tokio::test]
async fn what_was_never_scheduled_is_released_or_is_dead_cannot_be_taken_back() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--event-bytes-max", "1000"]).await;
    assert!(write(&stage, &event("plain")).await.is_ok());
    assert!(write(&stage, &draft("due").due_at(UNIX_EPOCH).json(&1).expect("valid")).await.is_ok());
    assert!(write(&stage, &draft("large").json(&"x".repeat(2_000)).expect("valid")).await.is_ok());
    assert!(!cancel(&stage, "plain").await, "not sent yet, and not scheduled");
    stage.until_entries(&mut relay, "orders", 2).await;
    eventually("the large one to be a dead letter", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<bool>("select dead_at is not null from outbox where id = 'large'").await
    })
    .await;
    for id in ["plain", "due", "large", "nobody", ""] {
        assert!(!cancel(&stage, id).await, "{id}");
    }
    assert_eq!(rows(&stage).await.len(), 3);
}

/// The row that is being taken back has fallen due: whoever releases it must not wait for the canceller.
#[tokio::test]
async fn a_cancel_that_stays_open_holds_up_no_other_stream() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--overtake-after", "1ms"]).await;
    stage.enqueue("orders", "first").await;
    stage.until_entries(&mut relay, "orders", 1).await;
    let soon = draft("soon").due_in(Duration::from_millis(50)).json(&1).expect("valid");
    assert!(write(&stage, &soon).await.is_ok());
    let mut open = stage.pool.begin().await.expect("Postgres is there");
    assert!(outbox::cancel(&mut open, "soon").await.expect("Postgres is there"));
    eventually("it to be due", async || stage.ask::<bool>("select now() > max(due_at) from outbox").await).await;
    for n in 0..5 {
        stage.enqueue("others", &format!("other-{n}")).await;
        stage.until_entries(&mut relay, "others", n + 1).await;
    }
    open.commit().await.expect("committed");
    settle(&mut relay).await;
    assert_eq!(stage.ids("orders").await, ["first"]);
}

// ---- what arrives

#[tokio::test]
async fn a_payload_arrives_byte_for_byte() {
    let stage = Stage::set().await;
    let payloads = [
        "null",
        "  { \"b\" : 1,\t\"a\":1.0, \"b\" :\n2 }\r\n ",
        r#"{"a":1,"a":1.0,"a":1e0,"a":1E+00}"#,
        r#"[-0, 0.10, 1e400, 123456789012345678901234567890, 1.7976931348623157e309]"#,
        r#""é é 💥 \u00e9 \ud83d\ude00 \/ \" \\u0000 \b\f\n\r\t \u007f""#,
        "\"\u{7f}\u{80}\u{202e}\u{feff}\u{fffd}\u{10ffff}\"",
        "\"\"",
        "[[[[]]]]",
    ];
    for (n, payload) in payloads.iter().enumerate() {
        let event = Event::draft("s", "t").id(format!("{n}")).raw_json(*payload).expect("valid");
        assert!(write(&stage, &event).await.is_ok());
    }
    let many = payloads.map(|payload| Event::draft("many", "t").raw_json(payload).expect("valid"));
    assert!(write_all(&stage, &many).await.is_ok());
    let mut relay = stage.relay(&[]).await;
    for stream in ["s", "many"] {
        stage.until_entries(&mut relay, stream, payloads.len()).await;
        let arrived: Vec<String> = stage.entries(stream).await.into_iter().map(|(_, event)| event.data).collect();
        assert_eq!(arrived, payloads, "{stream}");
    }
}

#[tokio::test]
async fn everything_that_a_producer_says_arrives() {
    let stage = Stage::set().await;
    let event = Event::draft("s", "order.placed")
        .id("an id \"'{}💥")
        .key("key é")
        .ver(7)
        .header("tenant", "häuser \"7\"")
        .json(&serde_json::json!({ "total": 1999 }))
        .expect("valid");
    assert!(write(&stage, &event).await.is_ok());
    stage.until_entries(&mut stage.relay(&[]).await, "s", 1).await;
    let (_, arrived) = stage.entries("s").await.remove(0);
    assert_eq!(arrived.id, "an id \"'{}💥");
    assert_eq!(arrived.r#type, "order.placed");
    assert_eq!(arrived.key.as_deref(), Some("key é"));
    assert_eq!(arrived.ver, 7);
    assert_eq!(arrived.data, r#"{"total":1999}"#);
    assert_eq!(arrived.header("tenant").as_deref(), Some("häuser \"7\""));
    let us = arrived.time.duration_since(UNIX_EPOCH).expect("after 1970").as_micros();
    let at_that_time = format!("select created_at = 'epoch'::timestamptz + {us} * interval '1 us' from outbox");
    assert!(stage.ask::<bool>(&at_that_time).await);
}

// ---- traces

/// Runs what a producer does within a span, and gives the span's own trace context with the answer.
fn traced<T>(produce: impl FnOnce() -> T) -> (String, T) {
    let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("producer"));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        tracing::info_span!("place an order").in_scope(|| {
            let context = tracing::Span::current().context();
            let span = context.span().span_context().clone();
            assert!(span.is_sampled());
            (format!("00-{}-{}-01", span.trace_id(), span.span_id()), produce())
        })
    })
}

#[tokio::test]
async fn the_trace_context_of_the_producers_span_reaches_the_entry() {
    let stage = Stage::set().await;
    let (parent, event) = traced(|| draft("a").header("tenant", "7").json(&1).expect("valid"));
    assert!(write(&stage, &event).await.is_ok());
    assert_eq!(stage.ask::<String>("select headers->>'traceparent' from outbox").await, parent);
    stage.until_entries(&mut stage.relay(&[]).await, "orders", 1).await;
    let (_, arrived) = stage.entries("orders").await.remove(0);
    assert_eq!(arrived.header("traceparent"), Some(parent));
    assert_eq!(arrived.header("tenant").as_deref(), Some("7"));
}

#[tokio::test]
async fn without_a_span_no_trace_context_is_invented() {
    let stage = Stage::set().await;
    assert!(write(&stage, &event("a")).await.is_ok());
    stage.until_entries(&mut stage.relay(&[]).await, "orders", 1).await;
    assert_eq!(stage.entries("orders").await[0].1.headers, None);
}

#[tokio::test]
async fn a_trace_context_given_by_the_producer_wins() {
    let stage = Stage::set().await;
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let (other, event) = traced(|| draft("a").header("traceparent", given).json(&1).expect("valid"));
    assert_ne!(other, given);
    assert!(write(&stage, &event).await.is_ok());
    stage.until_entries(&mut stage.relay(&[]).await, "orders", 1).await;
    assert_eq!(stage.entries("orders").await[0].1.header("traceparent").as_deref(), Some(given));
}

// ---- what fails, fails early or plainly

#[tokio::test]
async fn a_missing_table_is_an_error_with_its_cause_and_no_panic() {
    let stage = Stage::set().await;
    stage.sql("create schema elsewhere").await;
    let mut db = PgConnection::connect(&stage.database_url).await.expect("Postgres is there");
    sqlx::raw_sql(AssertSqlSafe("set search_path to elsewhere")).execute(&mut db).await.expect("set");
    let mut tx = db.begin().await.expect("begun");
    let error = outbox::enqueue(&mut tx, &event("a")).await.expect_err("there is no table");
    assert_eq!(error.to_string(), "the outbox could not reach its tables");
    let cause = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(cause.contains("relation \"outbox\" does not exist"), "{cause}");
}
