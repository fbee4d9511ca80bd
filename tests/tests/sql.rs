//! What the tables promise to everyone who speaks SQL: illegal states are refused, and any language can produce.

use std::collections::BTreeSet;

use outbox_tests::Stage;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

pub(crate) async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("Postgres is there")
}

pub(crate) async fn run(db: &mut PgConnection, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(db)
        .await
        .unwrap_or_else(|error| panic!("{statements}: {error}"));
}

/// What Postgres has against a statement: the constraint's name, else its code.
pub(crate) async fn refusal(pool: &PgPool, statement: &str) -> String {
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
