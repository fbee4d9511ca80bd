//! What the tables promise to everyone who speaks SQL: illegal states are refused, any language can produce, the rights
//! that are needed are few, and every way to the schema leads to the same one.

use std::collections::BTreeSet;
use std::path::Path;

use outbox::{Enqueued, Error, Event, SCHEMA_VERSION};
use outbox_tests::{Child, Postgres, Stage, eventually, settle};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("Postgres is there")
}

async fn run(db: &mut PgConnection, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(db)
        .await
        .unwrap_or_else(|error| panic!("{statements}: {error}"));
}

/// What Postgres has against a statement: the constraint's name, else its code.
async fn refusal(pool: &PgPool, statement: &str) -> String {
    let mut tx = pool.begin().await.expect("Postgres is there");
    match sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *tx).await {
        Err(sqlx::Error::Database(error)) => {
            error.constraint().or(error.code().as_deref()).unwrap_or_default().to_owned()
        }
        other => panic!("must be refused: {statement}: {other:?}"),
    }
}

// ---- illegal states

/// Each constraint, and what it refuses.
const REFUSED: [(&str, &str); 30] = [
    (
        "outbox_pkey",
        "insert into outbox (stream, seq, id, type, payload) overriding system value values ('s', 1, 'b', 't', '1')",
    ),
    ("outbox_id_taken", "insert into outbox (stream, id, type, payload) values ('s', 'a', 't', '1')"),
    ("outbox_stream_no_notice", "insert into outbox (stream, id, type, payload) values ('s:dead', 'b', 't', '1')"),
    (
        "outbox_stream_no_position",
        "insert into outbox (stream, id, type, payload) values ('s:settled', 'b', 't', '1')",
    ),
    ("outbox_stream_length", "insert into outbox (stream, id, type, payload) values ('', 'b', 't', '1')"),
    (
        "outbox_stream_length",
        "insert into outbox (stream, id, type, payload) values (repeat('é', 100) || 'x', 'b', 't', '1')",
    ),
    ("outbox_id_length", "insert into outbox (stream, id, type, payload) values ('s', '', 't', '1')"),
    ("outbox_id_length", "insert into outbox (stream, id, type, payload) values ('s', repeat('x', 201), 't', '1')"),
    ("outbox_type_length", "insert into outbox (stream, id, type, payload) values ('s', 'b', '', '1')"),
    ("outbox_type_length", "insert into outbox (stream, id, type, payload) values ('s', 'b', repeat('x', 201), '1')"),
    ("outbox_key_length", "insert into outbox (stream, id, type, payload, key) values ('s', 'b', 't', '1', '')"),
    (
        "outbox_key_length",
        "insert into outbox (stream, id, type, payload, key) values ('s', 'b', 't', '1', repeat('x', 1001))",
    ),
    ("outbox_ver_positive", "insert into outbox (stream, id, type, payload, ver) values ('s', 'b', 't', '1', 0)"),
    (
        "outbox_headers_flat",
        "insert into outbox (stream, id, type, payload, headers) values ('s', 'b', 't', '1', '[]')",
    ),
    ("outbox_attempts", "update outbox set attempts = -1"),
    ("outbox_dead_is_held", "update outbox set dead_at = now(), last_error = 'why'"),
    ("outbox_dead_is_held", "update outbox set dead_at = now(), last_error = 'why', due_at = now()"),
    ("outbox_dead_is_held", "update outbox set due_at = 'infinity'"),
    ("outbox_dead_has_why", "update outbox set dead_at = now(), due_at = 'infinity'"),
    ("outbox_times_finite", "update outbox set created_at = 'infinity'"),
    ("outbox_times_finite", "update outbox set created_at = '-infinity'"),
    ("outbox_times_finite", "update outbox set due_at = '-infinity'"),
    ("outbox_stream_pkey", "insert into outbox_stream (stream) values ('s')"),
    ("outbox_stream_generation", "update outbox_stream set generation = 0"),
    ("outbox_stream_pruned", "update outbox_stream set pruned_seq = sent_seq + 1"),
    ("outbox_receipt_pkey", "insert into outbox_receipt values ('s', 1, 1, 1, now()), ('s', 1, 1, 1, now())"),
    ("outbox_receipt_stream_fkey", "insert into outbox_receipt values ('nobody', 1, 1, 1, now())"),
    ("outbox_receipt_order", "insert into outbox_receipt values ('s', 2, 1, 1, now())"),
    (
        "outbox_group_pkey",
        "insert into outbox_group values ('s', 'g', 0, 0, 0, 0, now()), ('s', 'g', 0, 0, 0, 0, now())",
    ),
    ("outbox_group_stream_fkey", "insert into outbox_group values ('nobody', 'g', 0, 0, 0, 0, now())"),
];

/// The same for what the relay keeps, where a row of its own is there already.
const REFUSED_TO_THE_RELAY: [(&str, &str); 6] = [
    (
        "outbox_overtaken_pkey",
        "insert into outbox_overtaken (overtaken, lowest, highest, missing, writers) overriding system value \
         values (7, 1, 1, '{}', '{a}'), (7, 1, 1, '{}', '{b}')",
    ),
    ("outbox_relay_pkey", "insert into outbox_relay default values"),
    ("outbox_relay_one_check", "insert into outbox_relay (one) values (false)"),
    ("outbox_schema_pkey", "insert into outbox_schema (version) values (1)"),
    (
        "outbox_dead_letter_pkey",
        "insert into outbox_dead_letter (no, stream, group_name, lane, entry, fields, replayable, attempts, reason) \
         overriding system value values (7, 's', 'g', 's', '1-1', '[]', false, 1, 'why'), \
                                        (7, 's', 'g', 's', '1-2', '[]', false, 1, 'why')",
    ),
    (
        "outbox_consumer_pkey",
        "insert into outbox_consumer values ('s', 'g', 'c', 0, 0, 0, 0, 0, 0, 0), ('s', 'g', 'c', 0, 0, 0, 0, 0, 0, 0)",
    ),
];

#[tokio::test]
async fn every_constraint_refuses_what_it_forbids() {
    let stage = Stage::set().await;
    stage.sql("insert into outbox (stream, id, type, payload) values ('s', 'a', 't', '1')").await;
    stage.sql("insert into outbox_stream (stream) values ('s')").await;
    let refused = || REFUSED.iter().chain(&REFUSED_TO_THE_RELAY);
    for (constraint, statement) in refused() {
        assert_eq!(refusal(&stage.pool, statement).await, *constraint, "{statement}");
    }

    // There is none that is not tried above. (From Postgres 18 on, not null is a constraint, too: of kind n.)
    let there: Vec<String> = sqlx::query_scalar(
        "select conname::text from pg_constraint where connamespace = 'public'::regnamespace and contype <> 'n'",
    )
    .fetch_all(&stage.pool)
    .await
    .expect("Postgres is there");
    let tried: BTreeSet<_> = refused().map(|(constraint, _)| *constraint).collect();
    assert_eq!(there.iter().map(String::as_str).collect::<BTreeSet<_>>(), tried);
}

#[tokio::test]
async fn what_lies_just_within_every_limit_is_taken() {
    let stage = Stage::set().await;
    stage
        .sql(
            "insert into outbox (stream, id, type, key, ver, payload) values
                (repeat('é', 100), repeat('i', 200), repeat('t', 200), repeat('k', 1000), 1, 'null'),
                ('s', 'i', 't', 'k', 2147483647, '{}');
             insert into outbox (stream, id, type, payload, last_error, dead_at, due_at)
             values ('s', 'dead', 't', '1', 'why', now(), 'infinity'), ('s', 'held', 't', '1', null, null, 'epoch')",
        )
        .await;
    let mut relay = stage.relay(&[]).await;
    stage.until_entries(&mut relay, "s", 2).await;
    stage.until_entries(&mut relay, &"é".repeat(100), 1).await;
    assert_eq!(stage.ids("s").await, ["i", "held"]);
}

#[tokio::test]
async fn a_number_cannot_be_given_by_hand() {
    const GENERATED_ALWAYS: &str = "428C9";
    let stage = Stage::set().await;
    stage.enqueue("s", "a").await;
    for statement in [
        "insert into outbox (stream, seq, id, type, payload) values ('s', 7, 'b', 't', '1')",
        "update outbox set seq = 7",
        "update outbox set seq = seq + 1",
    ] {
        assert_eq!(refusal(&stage.pool, statement).await, GENERATED_ALWAYS, "{statement}");
    }
}

// ---- outbox_enqueue

#[tokio::test]
async fn outbox_enqueue_returns_the_number_and_null_for_a_repeat() {
    let stage = Stage::set().await;
    let seq: i64 = stage.ask("select outbox_enqueue('s', 't', '1', id => 'a')").await;
    let other: i64 = stage.ask("select outbox_enqueue('s', 't', '1', id => 'b')").await;
    assert!(other > seq);
    assert_eq!(stage.ask::<Option<i64>>("select outbox_enqueue('s', 't', '1', id => 'a')").await, None);
    stage.until_entries(&mut stage.relay(&[]).await, "s", 2).await;
    let numbers: Vec<_> = stage.entries("s").await.iter().map(|(number, _)| number.seq.cast_signed()).collect();
    assert_eq!(numbers, [seq, other]);
}

#[tokio::test]
async fn outbox_enqueue_fills_in_what_is_left_out_or_null() {
    let stage = Stage::set().await;
    for call in ["outbox_enqueue('s', 't', '1')", "outbox_enqueue('s', 't', '1', null, null, null, null, null)"] {
        stage.sql(&format!("select {call}")).await;
        let defaults: bool = stage
            .ask(
                "select key is null and headers = '{}' and due_at is null and ver = 1 and attempts = 0
                    and id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'
                    and created_at between now() - interval '1 minute' and clock_timestamp()
                   from outbox order by seq desc limit 1",
            )
            .await;
        assert!(defaults, "{call}");
    }
}

#[tokio::test]
async fn outbox_enqueue_takes_every_part_by_its_name() {
    let stage = Stage::set().await;
    stage
        .sql(
            "select outbox_enqueue(ver => 3, due_at => '2100-01-01Z', headers => '{\"tenant\": \"7\"}', id => 'a',
                                   key => 'k', payload => ' {\"n\":  1.0} ', type => 'order.placed', stream => 'orders')",
        )
        .await;
    let row: String = stage
        .ask("select concat_ws('|', stream, type, key, id, ver, payload, headers, due_at at time zone 'utc') from outbox")
        .await;
    assert_eq!(row, r#"orders|order.placed|k|a|3| {"n":  1.0} |{"tenant": "7"}|2100-01-01 00:00:00"#);
}

#[tokio::test]
async fn outbox_enqueue_refuses_what_no_reader_can_parse() {
    let stage = Stage::set().await;
    let cases = [
        ("22P05", r#"'"\u0000"'"#),
        ("22P05", r#"'{"a\u0000": 1}'"#),
        ("22P02", r#"'"\ud800"'"#),
        ("22P02", r#"'"\udc00\ud800"'"#),
        ("22P02", "''"),
        ("22P02", "'{'"),
        ("23502", "null"),
    ];
    for (code, payload) in cases {
        assert_eq!(
            refusal(&stage.pool, &format!("select outbox_enqueue('s', 't', {payload})")).await,
            code,
            "{payload}"
        );
    }
    for (constraint, call) in [
        ("outbox_stream_length", "outbox_enqueue('', 't', '1')"),
        ("outbox_id_length", "outbox_enqueue('s', 't', '1', id => '')"),
        ("outbox_headers_flat", "outbox_enqueue('s', 't', '1', headers => '[]')"),
        ("outbox_dead_is_held", "outbox_enqueue('s', 't', '1', due_at => 'infinity')"),
        ("23502", "outbox_enqueue(null, 't', '1')"),
        ("23502", "outbox_enqueue('s', null, '1')"),
    ] {
        assert_eq!(refusal(&stage.pool, &format!("select {call}")).await, constraint, "{call}");
    }
    for (part, call, bytes_max) in [
        ("stream", "outbox_enqueue('', 't', '1')", 200),
        ("type", "outbox_enqueue('s', repeat('x', 201), '1')", 200),
        ("key", "outbox_enqueue('s', 't', '1', key => '')", 1_000),
        ("id", "outbox_enqueue('s', 't', '1', id => '')", 200),
    ] {
        let refused = sqlx::raw_sql(AssertSqlSafe(format!("select {call}"))).execute(&stage.pool).await;
        let Err(sqlx::Error::Database(error)) = refused else { panic!("{call}: {refused:?}") };
        assert_eq!(error.message(), format!("an event's {part} must have 1 to {bytes_max} bytes"), "{call}");
    }
    // JSON's own null is a payload.
    stage.sql("select outbox_enqueue('s', 't', 'null', id => 'null')").await;
    assert_eq!(stage.ask::<String>("select string_agg(id, ',') from outbox").await, "null");
}

#[tokio::test]
async fn outbox_cancel_takes_back_what_is_scheduled_once_and_nothing_else() {
    let stage = Stage::set().await;
    stage
        .sql(
            "select outbox_enqueue('s', 't', '1', id => 'later', due_at => '2100-01-01');
             select outbox_enqueue('s', 't', '1', id => 'now');
             insert into outbox (stream, id, type, payload, due_at, dead_at, last_error)
             values ('s', 'dead', 't', '1', 'infinity', now(), 'why')",
        )
        .await;
    for (id, expected) in [("later", true), ("later", false), ("now", false), ("dead", false), ("nobody", false)] {
        assert_eq!(stage.ask::<bool>(&format!("select outbox_cancel('{id}')")).await, expected, "{id}");
    }
    assert_eq!(stage.ask::<String>("select string_agg(id, ',' order by id) from outbox").await, "dead,now");
}

#[tokio::test]
async fn ids_made_in_sql_are_uuids_that_rise_with_time() {
    let stage = Stage::set().await;
    let judged: String = stage
        .ask(
            "with made as materialized (
                 select nth, outbox_new_id() as id, clock_timestamp() as at from generate_series(1, 20000) nth
             ), read as (
                 select *, ('x' || replace(left(id, 13), '-', ''))::bit(48)::bigint as ms from made
             ), compared as (
                 select *, lag(ms) over (order by nth) as ms_before, lag(id) over (order by nth) as id_before from read
             )
             select concat_ws(' ',
                 count(*) filter (where id !~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'),
                 count(*) filter (where ms < ms_before),
                 count(*) filter (where ms > ms_before and id <= id_before collate \"C\"),
                 count(*) filter (where abs(ms - extract(epoch from at) * 1000) > 5000),
                 count(*) - count(distinct id),
                 max(ms) > min(ms))
               from compared",
        )
        .await;
    assert_eq!(judged, "0 0 0 0 0 t", "no version 7, falls, falls, not of its time, twice; and time did pass");
}

// ---- rights

/// The fewest rights of a producer that writes plain SQL. The numbers' sequence needs none: it is an identity.
const PRODUCER_GRANTS: &str = "grant usage on schema app to producer; grant insert on app.outbox to producer;";

/// For `outbox_enqueue`, which looks for a repeat and returns the number.
const ENQUEUE_GRANTS: &str = "grant select (id, seq) on app.outbox to producer;";

/// For the crate's `enqueue`, which compares a repeat with what is there; and for its `cancel`.
const CRATE_GRANTS: &str = "grant select on app.outbox to producer;";
const CANCEL_GRANTS: &str = "grant delete on app.outbox to producer;";

/// The rights of the relay.
const RELAY_GRANTS: &str = "
    grant usage on schema app to relay;
    grant select on app.outbox_schema, app.outbox_stream_names, app.outbox_seq_seq to relay;
    grant select, update, delete on app.outbox to relay;
    grant select, insert, update on app.outbox_stream to relay;
    grant select, insert, update, delete on app.outbox_receipt, app.outbox_group, app.outbox_overtaken to relay;
    grant select, update on app.outbox_relay to relay;
    grant select, insert, update, delete on app.outbox_dead_letter, app.outbox_consumer to relay;
    grant update on sequence app.outbox_doorbell to relay;";

/// And to show people how it stands (`relay status`, dashboards): reading is enough. Who replays what a group has set aside
/// writes new rows.
const PEOPLE_GRANTS: &str = "
    grant select on app.outbox_events, app.outbox_backlog, app.outbox_stuck, app.outbox_throughput, app.outbox_lag to relay;
    grant insert on app.outbox to relay;";

/// A stage whose tables lie in a schema of their own, and two users who own nothing. `PUBLIC` has no more rights than it
/// has in a fresh database.
async fn with_users() -> (Stage, PgPool, String) {
    let stage = Stage::set().await;
    stage.sql("drop schema public cascade; create role producer login; create role relay login").await;
    let mut db = connect(&stage.database_url).await;
    outbox::migrate(&mut db, "app").await.expect("migrated");
    let url_of = |user: &str| stage.database_url.replace("//postgres@", &format!("//{user}@"));
    let relay_url = url_of("relay");
    let producer = format!("{}?options=-csearch_path%3Dapp", url_of("producer"));
    let producer = PgPool::connect_lazy(&producer).expect("a URL");
    (stage, producer, relay_url)
}

async fn produce(producer: &PgPool, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(producer)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

#[tokio::test]
async fn a_producer_needs_the_right_to_insert_and_nothing_else() {
    const DENIED: &str = "42501";
    let (stage, producer, _) = with_users().await;
    let insert = "insert into outbox (stream, type, id, payload) values ('s', 't', outbox_new_id(), '1')";
    let enqueue = "select outbox_enqueue('s', 't', '1', id => 'twice')";
    let event = |id: &str| Event::draft("s", "t").id(id).json(&1).expect("valid");

    stage.sql("grant usage on schema app to producer").await;
    assert_eq!(refusal(&producer, insert).await, DENIED);
    stage.sql(PRODUCER_GRANTS).await;
    produce(&producer, insert).await;
    // Also while a relay sleeps, so that the insert rings.
    stage.sql("select setval('app.outbox_doorbell', extract(epoch from now())::bigint + 60)").await;
    produce(&producer, insert).await;

    assert_eq!(refusal(&producer, enqueue).await, DENIED);
    stage.sql(ENQUEUE_GRANTS).await;
    produce(&producer, enqueue).await;
    produce(&producer, enqueue).await;
    assert_eq!(refusal(&producer, "select payload from outbox").await, DENIED, "it cannot read what others wrote");

    stage.sql(CRATE_GRANTS).await;
    let mut tx = producer.begin().await.expect("Postgres is there");
    assert!(matches!(outbox::enqueue(&mut tx, &event("a")).await, Ok(Enqueued::New { .. })));
    assert!(matches!(outbox::enqueue(&mut tx, &event("a")).await, Ok(Enqueued::Repeat)));
    assert!(outbox::enqueue_all(&mut tx, &["a", "b"].map(event)).await.is_ok());
    tx.commit().await.expect("committed");

    let mut tx = producer.begin().await.expect("Postgres is there");
    assert!(outbox::cancel(&mut tx, "a").await.is_err(), "taking back is a right of its own");
    tx.rollback().await.expect("rolled back");
    stage.sql(CANCEL_GRANTS).await;
    let mut tx = producer.begin().await.expect("Postgres is there");
    assert!(!outbox::cancel(&mut tx, "a").await.expect("allowed"));
    for statement in ["update outbox set attempts = 1", "truncate outbox", "select nextval('outbox_seq_seq')"] {
        assert_eq!(refusal(&producer, statement).await, DENIED, "{statement}");
    }
    assert_eq!(stage.ask::<i64>("select count(*) from app.outbox").await, 5);
}

/// All that a relay ever does, as a user who owns nothing and has exactly the rights above: it sends, releases what fell
/// due, buries, overtakes, sleeps, rebuilds a lost Redis, and prunes.
#[tokio::test]
async fn a_relay_with_the_documented_rights_can_do_all_of_its_work() {
    let (stage, producer, relay_url) = with_users().await;
    stage.sql(PRODUCER_GRANTS).await;
    stage.sql(ENQUEUE_GRANTS).await;
    stage.sql(RELAY_GRANTS).await;
    let mut command = stage.command(&["run", "--schema", "app", "--event-bytes-max", "1000"]);
    command.args(["--overtake-after", "50ms", "--sleep-after", "100ms", "--retention", "1h"]);
    let mut relay = Child::spawn({
        command.env("DATABASE_URL", &relay_url).env("RELAY_LOG", "debug");
        command
    });

    produce(&producer, "select outbox_enqueue('s', 't', '1', id => 'a')").await;
    produce(&producer, "select outbox_enqueue('s', 't', '1', id => 'due', due_at => now())").await;
    produce(&producer, "select outbox_enqueue('s', 't', to_json(repeat('x', 2000)), id => 'large')").await;
    let mut slow = producer.begin().await.expect("Postgres is there");
    sqlx::raw_sql("select outbox_enqueue('s', 't', '1', id => 'slow')").execute(&mut *slow).await.expect("written");
    produce(&producer, "select outbox_enqueue('s', 't', '1', id => 'quick')").await;
    let arrived = async |count: usize| {
        eventually(&format!("{count} entries"), async || stage.length("s").await == count).await;
    };
    arrived(3).await;
    slow.commit().await.expect("committed");
    arrived(4).await;
    let count = async |what: &str| stage.ask::<i64>(&format!("select count(*) from app.{what}")).await;
    eventually("the dead letter", async || count("outbox where dead_at is not null").await == 1).await;
    eventually("the overtaken to be decided", async || count("outbox_overtaken").await == 0).await;

    stage.redis.command(&["XGROUP", "CREATE", "s", "readers", "0"]).await;
    eventually("the group to be known", async || count("outbox_group").await == 1).await;
    stage.redis.command(&["FLUSHALL"]).await;
    arrived(4).await;
    eventually("it to sleep", async || {
        stage.ask::<bool>("select last_value > extract(epoch from now()) from app.outbox_doorbell").await
    })
    .await;
    eventually("the receipts", async || {
        count("outbox o where o.due_at is null and seq <= (select sent_seq from app.outbox_stream)").await == 4
    })
    .await;
    stage.sql("update app.outbox_receipt set published_at = now() - interval '1 day'").await;
    eventually("what was sent to be pruned", async || count("outbox").await == 1).await;
    relay.signal(outbox_tests::Signal::Term);
    assert_eq!(relay.wait().await, 0);
    assert!(!relay.log().contains("permission denied"), "{}", relay.log());

    // A person at the relay's own account.
    let verb = |arguments: &[&str]| {
        let mut command = stage.command(arguments);
        command.args(["--schema", "app"]).env("DATABASE_URL", &relay_url);
        let output = command.output().expect("the binary runs");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    verb(&["blockers"]);
    verb(&["dead", "list"]);
    verb(&["prune", "--retention", "1s"]);
    stage.sql(PEOPLE_GRANTS).await;
    verb(&["dead", "replay", "large"]);
    verb(&["status"]);
}

// ---- migrations

#[tokio::test]
async fn migrating_twice_is_migrating_once() {
    let postgres = Postgres::start().await;
    let mut db = connect(&postgres.database().await).await;
    assert_eq!(outbox::migrate(&mut db, "public").await.expect("migrated"), 0);
    let before = catalog(&mut db).await;
    run(&mut db, "select outbox_enqueue('s', 't', '1')").await;
    assert_eq!(outbox::migrate(&mut db, "public").await.expect("migrated"), SCHEMA_VERSION);
    assert_same(&catalog(&mut db).await, &before);
    let rows: i64 = sqlx::query_scalar("select count(*) from outbox").fetch_one(&mut db).await.expect("a table");
    assert_eq!(rows, 1);
    let path: String = sqlx::query_scalar("show search_path").fetch_one(&mut db).await.expect("a setting");
    assert_eq!(path, "\"$user\", public", "the caller's connection is as it was");
}

/// Lets eight processes' worth of tasks migrate at once, and gives the versions that they found.
async fn eight_migrate(url: &str, schema: &'static str) -> Vec<i32> {
    let migrate = async |url: String| outbox::migrate(&mut connect(&url).await, schema).await;
    let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(migrate(url.to_owned()))).collect();
    let mut found = vec![];
    for task in tasks {
        found.push(task.await.expect("no panic").unwrap_or_else(|error| panic!("{schema}: {error:?}")));
    }
    found.sort_unstable();
    found
}

#[tokio::test]
async fn eight_may_migrate_at_once_and_one_does() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let [one_did, seven_did_not] = [0, SCHEMA_VERSION];
    for schema in ["public", "not there yet"] {
        let found = eight_migrate(&url, schema).await;
        assert_eq!((found[0], &found[1..]), (one_did, &[seven_did_not; 7][..]), "{schema}");
    }
}

/// Whoever waited for the lock must see what the one before did, whatever the default.
#[tokio::test]
async fn eight_may_migrate_at_once_where_transactions_are_serializable() {
    let postgres = Postgres::start().await;
    let url = postgres.database().await;
    let (_, name) = url.rsplit_once('/').expect("a URL");
    let serializable = format!("alter database {name} set default_transaction_isolation = serializable");
    run(&mut connect(&url).await, &serializable).await;
    assert_eq!(eight_migrate(&url, "public").await[1..], [SCHEMA_VERSION; 7]);
}

/// The migrations as they lie in the repository.
fn migrations() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/outbox");
    let files = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<_> = files.map(|file| file.expect("readable").path()).filter(|path| path.is_file()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).expect("readable")).collect()
}

#[tokio::test]
async fn every_older_schema_becomes_the_newest_and_keeps_its_rows() {
    let postgres = Postgres::start().await;
    let mut fresh = connect(&postgres.database().await).await;
    outbox::migrate(&mut fresh, "public").await.expect("migrated");
    let newest = catalog(&mut fresh).await;

    let steps = migrations();
    assert_eq!(i32::try_from(steps.len()), Ok(SCHEMA_VERSION), "every file is embedded");
    for older in 1..=steps.len() {
        let mut db = connect(&postgres.database().await).await;
        // As the crate has it: functions keep the path they were made with.
        run(&mut db, "set search_path to public").await;
        run(
            &mut db,
            "create table outbox_schema (
                 version integer primary key, applied_at timestamptz not null default now())",
        )
        .await;
        for (step, version) in steps.iter().zip(1..=older) {
            run(&mut db, step).await;
            run(&mut db, &format!("insert into outbox_schema (version) values ({version})")).await;
            run(
                &mut db,
                &format!(
                    "insert into outbox (stream, id, type, payload) values ('s', 'sent-{version}', 't', '1');
                     insert into outbox (stream, id, type, payload, due_at) values ('s', 'due-{version}', 't', '1', now());
                     insert into outbox (stream, id, type, payload, due_at, dead_at, last_error, attempts)
                     values ('s', 'dead-{version}', 't', '1', 'infinity', now(), 'why', 5)"
                ),
            )
            .await;
        }
        let found = outbox::migrate(&mut db, "public").await.expect("migrated");
        assert_eq!(usize::try_from(found), Ok(older));
        assert_same(&catalog(&mut db).await, &newest);
        let rows: i64 =
            sqlx::query_scalar("select count(*) from outbox_events").fetch_one(&mut db).await.expect("a view");
        assert_eq!(usize::try_from(rows), Ok(3 * older));
    }
}

#[tokio::test]
async fn the_printed_script_makes_the_very_same_schema() {
    let postgres = Postgres::start().await;
    for schema in ["public", ODD] {
        let [mut by_crate, mut by_script] =
            [connect(&postgres.database().await).await, connect(&postgres.database().await).await];
        outbox::migrate(&mut by_crate, schema).await.expect("migrated");
        run(&mut by_script, &outbox::migration_sql(schema)).await;
        for db in [&mut by_crate, &mut by_script] {
            enter(db, schema).await;
        }
        assert_same(&catalog(&mut by_script).await, &catalog(&mut by_crate).await);
        assert_eq!(outbox::migrate(&mut by_script, schema).await.expect("known"), SCHEMA_VERSION, "{schema}");
        // Run by mistake a second time it changes nothing.
        assert!(sqlx::raw_sql(AssertSqlSafe(outbox::migration_sql(schema))).execute(&mut by_script).await.is_err());
        run(&mut by_script, "rollback").await;
        enter(&mut by_script, schema).await;
        assert_same(&catalog(&mut by_script).await, &catalog(&mut by_crate).await);
    }
}

#[tokio::test]
async fn a_schema_of_a_newer_version_is_left_alone() {
    let postgres = Postgres::start().await;
    let mut db = connect(&postgres.database().await).await;
    outbox::migrate(&mut db, "public").await.expect("migrated");
    run(&mut db, "insert into outbox_schema (version) values (99)").await;
    match outbox::migrate(&mut db, "public").await {
        Err(Error::SchemaTooNew { found: 99, known: SCHEMA_VERSION }) => {}
        other => panic!("{other:?}"),
    }
    assert!(sqlx::query("select 1").execute(&mut db).await.is_ok(), "the connection can be used on");
}

/// All that makes the schema at the head of the search path, as text: one line a column, constraint, domain, index,
/// function, trigger, view, sequence, right or comment.
async fn catalog(db: &mut PgConnection) -> BTreeSet<String> {
    let lines: Vec<(String, String)> = sqlx::query_as(
        "with own as (select * from pg_class where relnamespace = (select oid from pg_namespace where nspname = current_schema()))
         select 'column ' || c.relname || '.' || a.attnum || ' ' || a.attname,
                concat_ws(' ', format_type(a.atttypid, a.atttypmod), case when a.attnotnull then 'not null' end,
                          'identity ' || nullif(a.attidentity::text, ''), 'default ' || pg_get_expr(d.adbin, d.adrelid),
                          (select 'collate ' || collname from pg_collation where oid = a.attcollation))
           from own c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
           left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
          where c.relkind in ('r', 'v')
         union all
         select 'constraint ' || conname, pg_get_constraintdef(k.oid)
           from pg_constraint k where connamespace = (select oid from pg_namespace where nspname = current_schema())
         union all
         select 'domain ' || t.typname,
                concat_ws(' ', format_type(t.typbasetype, t.typtypmod), case when t.typnotnull then 'not null' end, t.typdefault,
                          (select collname from pg_collation where oid = t.typcollation), t.typacl::text)
           from pg_type t
          where typnamespace = (select oid from pg_namespace where nspname = current_schema()) and typtype = 'd'
         union all
         select 'index ' || c.relname, pg_get_indexdef(c.oid) from own c where relkind = 'i'
         union all
         select 'function ' || p.oid::regprocedure, pg_get_functiondef(p.oid) || coalesce(p.proacl::text, '')
           from pg_proc p where pronamespace = (select oid from pg_namespace where nspname = current_schema())
         union all
         select 'trigger ' || tgname || ' on ' || c.relname, pg_get_triggerdef(t.oid)
           from pg_trigger t join own c on c.oid = t.tgrelid where not tgisinternal
         union all
         select 'view ' || c.relname, pg_get_viewdef(c.oid) from own c where relkind = 'v'
         union all
         select 'sequence ' || c.relname, (s.seqtypid, s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache, s.seqcycle)::text
           from pg_sequence s join own c on c.oid = s.seqrelid
         union all
         select 'rights on ' || relname, relkind::text || ' ' || coalesce(relacl::text, '') || coalesce(reloptions::text, '') from own
         union all
         select 'comment on ' || c.relname, obj_description(c.oid, 'pg_class') from own c
          where obj_description(c.oid, 'pg_class') is not null
         order by 1, 2",
    )
    .fetch_all(db)
    .await
    .expect("a catalog");
    assert!(lines.len() > 100, "{lines:?}");
    lines.into_iter().map(|(what, is)| format!("{what}: {is}")).collect()
}

fn assert_same(one: &BTreeSet<String>, other: &BTreeSet<String>) {
    let differ: Vec<_> = one.symmetric_difference(other).collect();
    assert!(differ.is_empty(), "{differ:#?}");
}

// ---- numbers

/// Reads a number so many times and says how often it was lower than the time before. Numbers only rise, so then a higher one was
/// told than there was.
const STEPS_BACK: &str = "
    create function steps_back(believe boolean) returns bigint language plpgsql as $$
    declare before bigint := 0; last bigint; steps bigint := 0;
    begin
        for nth in 1..50000 loop
            if believe then last := (select last_value from outbox_seq_seq); else last := outbox_newest(); end if;
            if last < before then steps := steps + 1; end if;
            before := last;
        end loop;
        return steps;
    end $$";
const TAKE_NUMBERS: &str = "do $$ begin loop perform nextval('outbox_seq_seq'); end loop; end $$";

#[tokio::test]
async fn the_newest_number_is_one_that_was_taken_also_while_postgres_logs_the_sequence() {
    let stage = Stage::set().await;
    stage.sql(STEPS_BACK).await;
    let mut taker = connect(&stage.database_url).await;
    let taking = tokio::spawn(async move { run(&mut taker, TAKE_NUMBERS).await });
    let mut asked = 0;
    eventually("the sequence, read as a table, to show a number that nobody has taken", async || {
        asked += 1;
        stage.ask::<i64>("select steps_back(true)").await > 0
    })
    .await;
    for _ in 0..asked.max(5) {
        assert_eq!(stage.ask::<i64>("select steps_back(false)").await, 0);
    }
    taking.abort();
}

#[tokio::test]
async fn the_newest_number_of_a_fresh_outbox_is_none_and_who_may_not_know_it_is_told_so() {
    let stage = Stage::set().await;
    assert_eq!(stage.ask::<i64>("select outbox_newest()").await, 0);
    stage.sql("select outbox_enqueue('s', 't', '1')").await;
    assert_eq!(stage.ask::<i64>("select outbox_newest()").await, 1);
    stage.sql("truncate outbox restart identity").await;
    assert_eq!(stage.ask::<i64>("select outbox_newest()").await, 0);
    stage.sql("create role nobody_in_particular").await;
    let refused = refusal(&stage.pool, "set local role nobody_in_particular; select outbox_newest()").await;
    assert_eq!(refused, "42501");
}

// ---- other schemas

/// A name that must be quoted wherever it stands.
const ODD: &str = "Ödd \"Shop\"; -- 'x";

async fn enter(db: &mut PgConnection, schema: &str) {
    sqlx::query("select set_config('search_path', quote_ident($1), false)")
        .bind(schema)
        .execute(db)
        .await
        .expect("set");
}

async fn enqueue_in(stage: &Stage, schema: &str, stream: &str, id: &str) {
    let mut db = connect(&stage.database_url).await;
    enter(&mut db, schema).await;
    let event = Event::draft(stream, "t").id(id).json(&id).expect("valid");
    let mut tx = db.begin().await.expect("begun");
    assert!(matches!(outbox::enqueue(&mut tx, &event).await, Ok(Enqueued::New { .. })));
    tx.commit().await.expect("committed");
}

#[tokio::test]
async fn everything_works_in_a_schema_with_an_odd_name() {
    let stage = Stage::set().await;
    stage.sql("drop schema public cascade").await;
    outbox::migrate(&mut connect(&stage.database_url).await, ODD).await.expect("migrated");
    let flags =
        ["--schema", ODD, "--sleep-after", "100ms", "--sleep-poll-interval", "1h", "--event-bytes-max", "1000"];
    let mut relay = Child::spawn(stage.command(&[&["run"][..], &flags].concat()));
    enqueue_in(&stage, ODD, "s", "a").await;
    eventually("the first entry", async || stage.length("s").await == 1).await;
    // From whatever search path: the function knows its table.
    let mut db = connect(&stage.database_url).await;
    run(&mut db, &format!("select \"{}\".outbox_enqueue('s', 't', '1', id => 'b')", ODD.replace('"', "\"\""))).await;
    eventually("the second entry", async || stage.length("s").await == 2).await;

    enter(&mut db, ODD).await;
    let asleep = "select last_value > extract(epoch from now()) from outbox_doorbell";
    eventually("it to sleep", async || {
        sqlx::query_scalar::<_, bool>(asleep).fetch_one(&mut db).await.expect("a sequence")
    })
    .await;
    enqueue_in(&stage, ODD, "s", "rings").await;
    eventually("the sleeper to wake", async || stage.length("s").await == 3).await;

    run(&mut db, "select outbox_enqueue('s', 't', to_json(repeat('x', 2000)), id => 'large')").await;
    let verb = |arguments: &[&str]| {
        let output = stage.command(arguments).args(["--schema", ODD]).output().expect("the binary runs");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    eventually("the dead letter", async || verb(&["dead", "list"]).contains("large")).await;
    assert!(verb(&["status"]).contains("\ns "), "{}", verb(&["status"]));
    assert!(verb(&["migrate"]).contains(&format!("version {SCHEMA_VERSION}")));
    verb(&["dead", "drop", "large"]);
    relay.signal(outbox_tests::Signal::Term);
    assert_eq!(relay.wait().await, 0, "{}", relay.log());
}

#[tokio::test]
async fn two_schemas_of_one_database_do_not_disturb_each_other() {
    let stage = Stage::set().await;
    outbox::migrate(&mut connect(&stage.database_url).await, "other").await.expect("migrated");
    let mut mine = stage.relay(&["--overtake-after", "1h"]).await;
    let mut theirs = stage.relay(&["--overtake-after", "1h", "--schema", "other"]).await;

    // A writer who stays open there holds up nothing here.
    let mut db = connect(&stage.database_url).await;
    enter(&mut db, "other").await;
    let mut open = db.begin().await.expect("begun");
    sqlx::raw_sql("select outbox_enqueue('theirs', 't', '1', id => 'open')")
        .execute(&mut *open)
        .await
        .expect("written");
    enqueue_in(&stage, "other", "theirs", "waits").await;
    enqueue_in(&stage, "public", "mine", "flows").await;
    stage.until_entries(&mut mine, "mine", 1).await;
    settle(&mut mine).await;
    for _ in 0..10 {
        theirs.tick().await.expect("Postgres is there");
    }
    assert_eq!(stage.length("theirs").await, 0);
    open.commit().await.expect("committed");
    stage.until_entries(&mut theirs, "theirs", 2).await;
    assert_eq!(stage.ids("theirs").await, ["open", "waits"]);
    assert_eq!(stage.ids("mine").await, ["flows"]);
    assert_eq!(stage.entries("theirs").await[0].0, stage.entries("mine").await[0].0, "each counts for itself");
    let known: String = stage
        .ask("select (select string_agg(stream, ',') from outbox_stream) || '|' || (select string_agg(stream, ',') from other.outbox_stream)")
        .await;
    assert_eq!(known, "mine|theirs");
}

#[tokio::test]
async fn each_schema_has_a_doorbell_of_its_own() {
    let stage = Stage::set().await;
    outbox::migrate(&mut connect(&stage.database_url).await, "other").await.expect("migrated");
    // Whether an insert rings, and where, is for a listener to hear.
    let mut listener = sqlx::postgres::PgListener::connect(&stage.database_url).await.expect("Postgres is there");
    listener.listen("outbox").await.expect("listening");
    let soon = "extract(epoch from now())::bigint + 600";

    stage.enqueue("s", "nobody sleeps").await;
    stage.sql(&format!("select setval('other.outbox_doorbell', {soon})")).await;
    stage.enqueue("s", "somebody else sleeps").await;
    enqueue_in(&stage, "other", "s", "rings").await;
    stage.sql(&format!("select setval('outbox_doorbell', {soon})")).await;
    stage.enqueue("s", "rings here").await;
    stage.sql("select setval('outbox_doorbell', extract(epoch from now())::bigint - 1)").await;
    stage.enqueue("s", "the sleeper has died").await;
    stage.sql("select pg_notify('outbox', 'the end')").await;
    let mut heard = vec![];
    while heard.last().is_none_or(|ring| ring != "the end") {
        heard.push(listener.recv().await.expect("Postgres is there").payload().to_owned());
    }
    assert_eq!(heard, ["other", "public", "the end"]);
}

/// However seldom it looks by itself, an insert must wake it.
#[tokio::test]
async fn a_relay_that_has_slept_for_long_still_hears_the_bell() {
    let stage = Stage::set().await;
    let flags = ["run", "--sleep-after", "1ms", "--sleep-poll-interval", "1h"];
    let _relay = Child::spawn(stage.command(&flags));
    stage.enqueue("s", "a").await;
    eventually("the first entry", async || stage.length("s").await == 1).await;
    let rings_until = "select last_value from outbox_doorbell";
    let first = eventually("it to sleep", async || {
        let until = stage.ask::<i64>(rings_until).await;
        (until > 0).then_some(until)
    })
    .await;
    // Longer than any one ring lasts.
    let passed = format!("select extract(epoch from clock_timestamp()) > {first} + 1");
    eventually("the first ring to run out", async || stage.ask::<bool>(&passed).await).await;
    stage.enqueue("s", "b").await;
    eventually("the second entry", async || stage.length("s").await == 2).await;
}

// ---- the relay's own functions

#[tokio::test]
async fn rows_are_released_in_the_order_given() {
    let stage = Stage::set().await;
    stage
        .sql("select outbox_enqueue('s' || n % 3, 't', '1', id => 'e' || n, due_at => '2100-01-01') from generate_series(1, 1000) n")
        .await;
    stage.sql("update outbox set dead_at = now(), due_at = 'infinity', last_error = 'why' where id = 'e500'").await;
    let newest: i64 = stage.ask("select max(seq) from outbox").await;
    let released: i64 = stage
        .ask(
            "select outbox_release(array_agg(stream order by md5(id)) || '{nobody,s0}',
                                   array_agg(seq order by md5(id)) || '{7,100000}')
               from outbox",
        )
        .await;
    assert_eq!(released, 999, "not the dead one, and none that is not there");
    let in_order: bool = stage
        .ask(
            "select array_agg(id order by seq) = array_agg(id order by md5(id)) and bool_and(due_at is null)
                and min(seq) = (select max(seq) - 998 from outbox)
               from outbox where id <> 'e500'",
        )
        .await;
    assert!(in_order);
    assert!(stage.ask::<i64>("select min(seq) from outbox where id <> 'e500'").await > newest);
    assert!(stage.ask::<bool>("select seq <= 1000 and due_at = 'infinity' from outbox where id = 'e500'").await);
}

const WRITERS: &str = "select cardinality(writers) from outbox_mark()";

#[tokio::test]
async fn the_mark_sees_every_kind_of_writer_and_no_reader() {
    let stage = Stage::set_with(&[("max_prepared_transactions", "10")], &[]).await;
    assert_eq!(stage.ask::<i64>("select last from outbox_mark()").await, 0);
    assert_eq!(stage.ask::<i32>(WRITERS).await, 0);
    let seq = stage.enqueue("s", "a").await;
    assert_eq!(stage.ask::<i64>("select last from outbox_mark()").await, seq);

    let mut open = vec![];
    for (statement, writers) in [
        ("select outbox_enqueue('s', 't', '1')", 1),
        ("update outbox set attempts = 0 where false", 2),
        ("delete from outbox where false", 3),
        ("select count(*) from outbox", 3),
        ("select * from outbox for update", 3),
        ("insert into outbox_stream (stream) values ('other')", 3),
    ] {
        let mut tx = stage.pool.begin().await.expect("Postgres is there");
        sqlx::raw_sql(statement).execute(&mut *tx).await.expect("runs");
        open.push(tx);
        assert_eq!(stage.ask::<i32>(WRITERS).await, writers, "{statement}");
    }
    assert_eq!(
        stage.ask::<i64>("select last from outbox_mark()").await,
        seq + 1,
        "numbers of open transactions count"
    );
    for tx in open {
        tx.rollback().await.expect("still open");
    }
    assert_eq!(stage.ask::<i32>(WRITERS).await, 0);

    stage.sql("begin; select outbox_enqueue('s', 't', '1'); prepare transaction 'slow'").await;
    assert_eq!(stage.ask::<i32>(WRITERS).await, 1);
    stage.sql("commit prepared 'slow'").await;
    assert_eq!(stage.ask::<i32>(WRITERS).await, 0);
}

/// A copy of a database has tables with the very same oids.
#[tokio::test]
async fn the_mark_ignores_writers_of_a_copy_of_the_database() {
    let postgres = Postgres::start_with(&[("max_prepared_transactions", "10")]).await;
    let original = postgres.database().await;
    outbox::migrate(&mut connect(&original).await, "public").await.expect("migrated");
    let (_, name) = original.rsplit_once('/').expect("a URL");
    let mut admin = connect(&postgres.url()).await;
    // A session that has just ended may be seen for a moment longer.
    let create = format!("create database copy template {name}");
    eventually("the copy", async || sqlx::raw_sql(AssertSqlSafe(create.clone())).execute(&mut admin).await.is_ok())
        .await;

    let [mut db, mut copy] = [connect(&original).await, connect(&original.replace(name, "copy")).await];
    let oid = "select 'outbox'::regclass::oid::bigint";
    let oid_of =
        async |db: &mut PgConnection| sqlx::query_scalar::<_, i64>(oid).fetch_one(db).await.expect("a table");
    assert_eq!(oid_of(&mut db).await, oid_of(&mut copy).await);
    let writers =
        async |db: &mut PgConnection| sqlx::query_scalar::<_, i32>(WRITERS).fetch_one(db).await.expect("a mark");
    run(&mut copy, "begin; select outbox_enqueue('s', 't', '1')").await;
    assert_eq!(writers(&mut db).await, 0);
    run(&mut copy, "prepare transaction 'theirs'").await;
    assert_eq!((writers(&mut db).await, writers(&mut copy).await), (0, 1));
    run(&mut copy, "rollback prepared 'theirs'").await;
}
