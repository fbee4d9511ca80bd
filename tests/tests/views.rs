//! What the views tell people: the truth about every event in every state, and without reading the whole table.

use std::collections::BTreeMap;

use outbox::Event;
use outbox_tests::{Stage, eventually, settle};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Postgres, Transaction};

/// The two questions of the first days, word for word.
const BACKLOG: &str = "select count(*) as backlog from outbox_events where published_at is null;";
const STUCK: &str = "select count(*) as stuck from outbox_events where published_at is null and retries > 3;";

/// Each event of the table with its state, and how often the view shows it.
async fn shown(stage: &Stage) -> BTreeMap<String, (bool, i64)> {
    let counted: Vec<(String, bool, i64)> = sqlx::query_as(
        "select o.id, bool_or(e.published_at is not null), count(e.uniq)
           from outbox o left join outbox_events e on e.uniq = o.id and e.id = o.seq and e.stream = o.stream
          group by o.id",
    )
    .fetch_all(&stage.pool)
    .await
    .expect("Postgres is there");
    let all: i64 = stage.ask("select count(*) from outbox_events").await;
    assert_eq!(all, counted.iter().map(|(_, _, times)| times).sum::<i64>(), "nothing is shown that is not there");
    counted.into_iter().map(|(id, published, times)| (id, (published, times))).collect()
}

/// Every event is shown once; the published ones are these.
async fn published(stage: &Stage) -> Vec<String> {
    let shown = shown(stage).await;
    for (id, (_, times)) in &shown {
        assert_eq!(*times, 1, "{id} is shown {times} times");
    }
    shown.into_iter().filter(|(_, (published, _))| *published).map(|(id, _)| id).collect()
}

/// Until the relay has written down what it sent.
async fn until_reported(stage: &Stage, relay: &mut relay::Relay, stream: &str, seq: i64) {
    let sent = format!("select coalesce(max(sent_seq), 0) from outbox_stream where stream = '{stream}'");
    eventually("the report", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<i64>(&sent).await >= seq
    })
    .await;
}

async fn open_writer(stage: &Stage, stream: &str, id: &str) -> Transaction<'static, Postgres> {
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    let event = Event::draft(stream, "test.happened").id(id).json(id).expect("valid");
    let _ = outbox::enqueue(&mut tx, &event).await.expect("written");
    tx
}

// ---- the truth

#[tokio::test]
async fn the_first_questions_are_answered_word_for_word() {
    let stage = Stage::set().await;
    let answers = async || (stage.ask::<i64>(BACKLOG).await, stage.ask::<i64>(STUCK).await);
    assert_eq!(answers().await, (0, 0));
    stage.enqueue("a", "one").await;
    let last = stage.enqueue("a", "two").await;
    stage.enqueue("b", "refused").await;
    assert_eq!(answers().await, (3, 0));

    stage.redis.command(&["SET", "b", "in the way"]).await;
    let mut relay =
        stage.relay(&["--retry-delay-min", "1ms", "--retry-delay-max", "1ms", "--attempts-max", "9"]).await;
    until_reported(&stage, &mut relay, "a", last).await;
    eventually("more than three refusals", async || {
        relay.tick().await.expect("Postgres is there");
        answers().await == (1, 1)
    })
    .await;
    stage.redis.command(&["DEL", "b"]).await;
    stage.until_entries(&mut relay, "b", 1).await;
    until_reported(&stage, &mut relay, "b", last + 1).await;
    assert_eq!(answers().await, (0, 0), "what left in the end is not stuck, however often it was refused");
}

#[tokio::test]
async fn every_column_of_an_event_is_right_before_and_after_it_left() {
    let stage = Stage::set().await;
    let columns: Vec<String> = sqlx::query_scalar(
        "select attname::text from pg_attribute where attrelid = 'outbox_events'::regclass and attnum > 0",
    )
    .fetch_all(&stage.pool)
    .await
    .expect("a view");
    for column in [
        "id",
        "stream",
        "type",
        "key",
        "uniq",
        "ver",
        "payload_json",
        "created_at",
        "published_at",
        "retries",
        "last_error",
        "dead_at",
    ] {
        assert!(columns.iter().any(|known| known == column), "{column} is not among {columns:?}");
    }

    let event = Event::draft("s", "order.placed").id("a").key("k").ver(2).header("tenant", "7");
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    let _ = outbox::enqueue(&mut tx, &event.raw_json("{\"n\":  1}").expect("valid")).await.expect("written");
    tx.commit().await.expect("committed");
    let same_as_row = "select (e.id, e.stream, e.type, e.key, e.uniq, e.ver, e.payload_json::text, e.headers, e.created_at, e.retries)
                            = (o.seq, o.stream, o.type, o.key, o.id, o.ver, o.payload::text, o.headers, o.created_at, o.attempts)
                          and e.last_error is null and e.dead_at is null and e.due_at is null
                         from outbox_events e, outbox o";
    let text =
        "select concat_ws('|', id, stream, type, key, uniq, ver, payload_json, headers, retries) from outbox_events";
    let expected = r#"1|s|order.placed|k|a|2|{"n":  1}|{"tenant": "7"}|0"#;
    assert!(stage.ask::<bool>(same_as_row).await);
    assert_eq!(stage.ask::<String>(text).await, expected);
    assert!(stage.ask::<bool>("select published_at is null from outbox_events").await);

    until_reported(&stage, &mut stage.relay(&[]).await, "s", 1).await;
    assert!(stage.ask::<bool>(same_as_row).await);
    assert_eq!(stage.ask::<String>(text).await, expected);
    let when = "select published_at between created_at and clock_timestamp() from outbox_events";
    assert!(stage.ask::<bool>(when).await);
}

#[tokio::test]
async fn held_and_dead_events_are_shown_as_they_are() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--event-bytes-max", "1000"]).await;
    stage.sql("select outbox_enqueue('s', 't', '1', id => 'held', due_at => '2100-01-01Z')").await;
    stage.sql("select outbox_enqueue('s', 't', to_json(repeat('x', 2000)), id => 'dead')").await;
    let last = stage.enqueue("s", "sent").await;
    until_reported(&stage, &mut relay, "s", last).await;
    eventually("the dead letter", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<i64>("select count(*) from outbox_events where dead_at is not null").await == 1
    })
    .await;
    assert_eq!(published(&stage).await, ["sent"]);
    let held = "select due_at = '2100-01-01Z' and dead_at is null and retries = 0 and published_at is null and last_error is null
                  from outbox_events where uniq = 'held'";
    assert!(stage.ask::<bool>(held).await);
    let dead = "select dead_at = (select dead_at from outbox where id = 'dead') and due_at = 'infinity' and retries = 1
                   and published_at is null and last_error like '%event_bytes_max%' from outbox_events where uniq = 'dead'";
    assert!(stage.ask::<bool>(dead).await);
    assert_eq!(stage.ask::<i64>(BACKLOG).await, 2, "both still wait");
}

#[tokio::test]
async fn an_overtaken_event_is_not_published_until_it_is() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--overtake-after", "1ms"]).await;
    let slow = open_writer(&stage, "s", "slow").await;
    let quick = stage.enqueue("s", "quick").await;
    until_reported(&stage, &mut relay, "s", quick).await;
    // Committed late, below what was sent, and nobody has looked at it yet.
    slow.commit().await.expect("committed");
    assert_eq!(published(&stage).await, ["quick"]);
    assert_eq!(stage.ask::<i64>(BACKLOG).await, 1);
    stage.until_entries(&mut relay, "s", 2).await;
    until_reported(&stage, &mut relay, "s", quick + 1).await;
    eventually("the overtaken numbers to be decided", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<i64>("select count(*) from outbox_overtaken").await == 0
    })
    .await;
    assert_eq!(published(&stage).await, ["quick", "slow"]);
}

/// Two relays that work at once may each store what they overtake.
#[tokio::test]
async fn an_event_that_two_relays_overtook_is_shown_once() {
    let stage = Stage::set().await;
    let flags = ["--overtake-after", "1ms"];
    let (mut first, mut second) = (stage.relay(&flags).await, stage.relay(&flags).await);
    let slow = open_writer(&stage, "s", "slow").await;
    let quick = stage.enqueue("s", "quick").await;
    until_reported(&stage, &mut first, "s", quick).await;
    // The second sees one more writer, and so stores the same number under another set of writers.
    let slower = open_writer(&stage, "s", "slower").await;
    let late = stage.enqueue("s", "late").await;
    until_reported(&stage, &mut second, "s", late).await;
    let twice = "select count(*) from outbox_overtaken where missing @> 1::bigint";
    assert_eq!(stage.ask::<i64>(twice).await, 2, "both stored it");
    slow.commit().await.expect("committed");
    slower.commit().await.expect("committed");
    assert_eq!(published(&stage).await, ["late", "quick"]);
    assert_eq!(stage.ask::<i64>(BACKLOG).await, 2);
}

/// All states at once, looked at after every step of a relay that works through them.
#[tokio::test]
async fn every_event_is_shown_exactly_once_in_every_state() {
    let stage = Stage::set().await;
    let flags =
        ["--overtake-after", "1ms", "--event-bytes-max", "1000", "--batch-rows-max", "3", "--report-interval", "1ms"];
    let mut relay = stage.relay(&flags).await;
    let slow = open_writer(&stage, "a", "slow").await;
    let quiet = open_writer(&stage, "quiet", "slow too").await;
    stage
        .sql(
            "select outbox_enqueue(chr(97 + n % 3), 't', '1', id => 'plain-' || n) from generate_series(1, 40) n;
             select outbox_enqueue(chr(97 + n % 3), 't', '1', id => 'due-' || n, due_at => clock_timestamp() + n * interval '10 ms')
               from generate_series(1, 20) n;
             select outbox_enqueue(chr(97 + n % 3), 't', '1', id => 'later-' || n, due_at => '2100-01-01') from generate_series(1, 5) n;
             select outbox_enqueue(chr(97 + n % 3), 't', to_json(repeat('x', 2000)), id => 'large-' || n) from generate_series(1, 5) n;
             select outbox_enqueue(chr(97 + n % 3), 't', '1', id => 'plain-' || n) from generate_series(41, 60) n",
        )
        .await;
    stage.redis.command(&["SET", "c", "in the way"]).await;
    let (mut slow, mut quiet) = (Some(slow), Some(quiet));
    let mut step = 0;
    eventually("all but those of c to be published", async || {
        relay.tick().await.expect("Postgres is there");
        step += 1;
        match step {
            40 => slow.take().expect("once").commit().await.expect("committed"),
            60 => quiet.take().expect("once").commit().await.expect("committed"),
            _ => {}
        }
        let published = published(&stage).await;
        let decided = stage.ask::<i64>("select count(*) from outbox_overtaken").await == 0;
        let sent = stage.ask::<i64>("select count(*) from outbox where stream <> 'c' and due_at is null").await;
        step > 60 && decided && i64::try_from(published.len()) == Ok(sent)
    })
    .await;
    let published = published(&stage).await;
    assert!(published.contains(&"slow".into()) && published.contains(&"slow too".into()), "{published:?}");

    // Redis loses everything, and gets it again.
    stage.redis.command(&["FLUSHALL"]).await;
    stage.redis.command(&["SET", "c", "in the way"]).await;
    eventually("the rebuild", async || {
        relay.tick().await.expect("Postgres is there");
        self::published(&stage).await == published && stage.length("a").await > 20 && stage.length("b").await > 20
    })
    .await;
    settle(&mut relay).await;
    // Half of it is pruned.
    stage.sql("update outbox_receipt set published_at = now() - interval '1 day' where last_seq < 40").await;
    let output = stage.command(&["prune", "--retention", "1h"]).output().expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
    assert!(self::published(&stage).await.len() < published.len());
}

#[tokio::test]
async fn the_backlog_counts_what_waits_and_since_when() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--event-bytes-max", "1000"]).await;
    stage.enqueue("sent", "a").await;
    stage.sql("select outbox_enqueue('mixed', 't', to_json(repeat('x', 2000)))").await;
    let last = stage.enqueue("mixed", "b").await;
    until_reported(&stage, &mut relay, "mixed", last).await;
    until_reported(&stage, &mut relay, "sent", 1).await;
    eventually("the dead letter", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<i64>("select dead from outbox_backlog where stream = 'mixed'").await == 1
    })
    .await;
    stage
        .sql(
            "select outbox_enqueue('mixed', 't', '1', due_at => '2100-01-01') from generate_series(1, 2);
             select outbox_enqueue('mixed', 't', '1') from generate_series(1, 3);
             update outbox set created_at = now() - interval '1 hour' where seq = (select min(seq) + 2 from outbox where stream = 'mixed');
             update outbox set created_at = now() - interval '2 hours' where id = 'a';
             select outbox_enqueue('new', 't', '1')",
        )
        .await;
    let rows: Vec<(String, i64, Option<f64>, i64, i64, i64, bool)> = sqlx::query_as(
        "select stream, unsent, extract(epoch from oldest_age)::float8, held, dead, sent_seq, sent_at is not null
           from outbox_backlog order by stream",
    )
    .fetch_all(&stage.pool)
    .await
    .expect("a view");
    let numbers: Vec<_> = rows
        .iter()
        .map(|(s, unsent, _, held, dead, sent, at)| (s.as_str(), *unsent, *held, *dead, *sent, *at))
        .collect();
    assert_eq!(numbers, [("mixed", 3, 2, 1, last, true), ("new", 1, 0, 0, 0, false), ("sent", 0, 0, 0, 1, true)]);
    assert_eq!(rows[2].2, None, "nothing waits");
    let young = rows[1].2.expect("one waits");
    assert!((0.0..60.0).contains(&young), "{young}");
}

#[tokio::test]
async fn stuck_shows_what_was_refused_and_has_not_left() {
    let stage = Stage::set().await;
    let flags =
        ["--event-bytes-max", "1000", "--retry-delay-min", "1ms", "--retry-delay-max", "1ms", "--attempts-max", "60"];
    let mut relay = stage.relay(&flags).await;
    stage.redis.command(&["SET", "refused", "in the way"]).await;
    stage.enqueue("refused", "poor").await;
    stage.enqueue("refused", "behind").await;
    stage.sql("select outbox_enqueue('s', 't', to_json(repeat('x', 2000)), id => 'large')").await;
    stage.enqueue("s", "fine").await;
    let stuck = async || {
        sqlx::query_as::<_, (String, String, String, bool)>(
            "select stream, id, last_error, dead_at is not null from outbox_stuck order by stream",
        )
        .fetch_all(&stage.pool)
        .await
        .expect("a view")
    };
    eventually("both to be stuck", async || {
        relay.tick().await.expect("Postgres is there");
        stuck().await.len() == 2
    })
    .await;
    let [poor, large] = stuck().await.try_into().expect("two");
    assert_eq!((poor.0.as_str(), poor.1.as_str(), poor.3), ("refused", "poor", false));
    assert!(poor.2.contains("WRONGTYPE"), "{}", poor.2);
    assert_eq!((large.0.as_str(), large.1.as_str(), large.3), ("s", "large", true));
    stage.redis.command(&["DEL", "refused"]).await;
    stage.until_entries(&mut relay, "refused", 2).await;
    eventually("the refused one to count as sent", async || {
        relay.tick().await.expect("Postgres is there");
        stuck().await.len() == 1
    })
    .await;
    assert!(stage.ask::<bool>("select attempts > 0 from outbox where id = 'poor'").await, "it is not forgotten");
}

#[tokio::test]
async fn throughput_counts_what_left_minute_by_minute() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--batch-rows-max", "7"]).await;
    stage.enqueue_many("a", 50).await;
    stage.enqueue_many("b", 20).await;
    until_reported(&stage, &mut relay, "a", 50).await;
    until_reported(&stage, &mut relay, "b", 70).await;
    let left = "select string_agg(stream || '=' || events, ' ' order by stream)
                  from (select stream, sum(events) as events from outbox_throughput group by stream) s";
    assert_eq!(stage.ask::<String>(left).await, "a=50 b=20");
    stage
        .sql(
            "insert into outbox_stream (stream, sent_seq) values ('s', 400);
             insert into outbox_receipt values ('s', 1, 100, 100, now() - interval '2 hours'),
                ('s', 101, 200, 90, date_trunc('minute', now()) - interval '5 min'),
                ('s', 201, 300, 80, date_trunc('minute', now()) - interval '5 min' + interval '59.9 s'),
                ('s', 301, 400, 70, date_trunc('minute', now()) - interval '4 min')",
        )
        .await;
    let minutes: Vec<(i64, i64)> =
        sqlx::query_as("select events, batches from outbox_throughput where stream = 's' order by minute")
            .fetch_all(&stage.pool)
            .await
            .expect("a view");
    assert_eq!(minutes, [(170, 2), (70, 1)]);
}

// ---- and fast

/// 300,000 events that left in receipts of 500 events at most, and 100 that wait. `stream` names the stream of the nth.
async fn much_was_sent(stream: &str) -> Stage {
    let stage = Stage::set().await;
    stage
        .sql(&format!(
            "insert into outbox (stream, type, id, payload)
             select {stream}, 'order.placed', outbox_new_id(), '{{\"total\": 1999}}' from generate_series(1, 300000) n;
             insert into outbox_stream (stream, sent_seq, sent_at)
             select stream, max(seq), now() from outbox group by stream;
             insert into outbox_receipt
             select stream, min(seq), max(seq), count(*), now() - interval '1 second' * (300000 - max(seq)) / 50
               from (select stream, seq, row_number() over (partition by stream order by seq) / 500 as batch from outbox) o
              group by stream, batch;
             insert into outbox (stream, type, id, payload, attempts, last_error)
             select {stream}, 'order.placed', outbox_new_id(), '1', n % 5, 'WRONGTYPE' from generate_series(1, 97) n;
             insert into outbox (stream, type, id, payload) values ('new', 't', 'new', '1');
             insert into outbox (stream, type, id, payload, due_at) values ('s1', 't', 'held', '1', '2100-01-01');
             insert into outbox (stream, type, id, payload, due_at, dead_at, last_error, attempts)
             values ('s2', 't', 'dead', '1', 'infinity', now(), 'why', 5)"
        ))
        .await;
    stage.sql("vacuum analyze").await;
    stage
}

/// What a query read: rows of `outbox` that were looked at, and blocks of everything.
#[derive(Debug, Default)]
struct Read {
    rows: f64,
    blocks: i64,
}

async fn read(stage: &Stage, query: &str) -> (Read, String) {
    let explain = format!("explain (analyze, buffers, timing off, format json) {query}");
    // As text: the driver is built without JSON.
    let plan: String =
        sqlx::query_scalar::<_, Unchecked>(AssertSqlSafe(explain)).fetch_one(&stage.pool).await.expect("a plan").0;
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    let top = &plan[0]["Plan"];
    let blocks = ["Shared Hit Blocks", "Shared Read Blocks"].map(|kind| top[kind].as_i64().unwrap_or(0)).iter().sum();
    let mut read = Read { rows: 0.0, blocks };
    add_rows(top, &mut read.rows);
    (read, serde_json::to_string_pretty(top).expect("JSON"))
}

fn add_rows(node: &Value, rows: &mut f64) {
    if node["Relation Name"] == "outbox" {
        let a_loop: f64 = ["Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck"]
            .map(|kind| node[kind].as_f64().unwrap_or(0.0))
            .iter()
            .sum();
        *rows += a_loop * node["Actual Loops"].as_f64().unwrap_or(0.0);
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        add_rows(child, rows);
    }
}

/// The text of a value of whatever type.
struct Unchecked(String);

impl sqlx::Type<Postgres> for Unchecked {
    fn type_info() -> sqlx::postgres::PgTypeInfo {
        sqlx::postgres::PgTypeInfo::with_name("json")
    }
}

impl<'r> sqlx::Decode<'r, Postgres> for Unchecked {
    fn decode(value: sqlx::postgres::PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
        Ok(Self(value.as_str()?.to_owned()))
    }
}

/// No query reads more than what waits, and a few blocks for each stream.
async fn nothing_old_is_read(stage: &Stage, rows_max: f64, blocks_max: i64) {
    assert_eq!(stage.ask::<i64>(BACKLOG).await, 100);
    assert_eq!(stage.ask::<i64>(STUCK).await, 20);
    let queries = [
        BACKLOG,
        STUCK,
        "select * from outbox_events where published_at is null order by created_at limit 10",
        "select stream, count(*) from outbox_events where published_at is null group by stream",
        "select * from outbox_events where dead_at is not null",
        "select * from outbox_backlog",
        "select sum(unsent) from outbox_backlog",
        "select * from outbox_backlog where stream = 's1'",
        "select * from outbox_stuck",
        "select * from outbox_throughput",
        "select * from outbox_stream_names",
    ];
    let mut slow = vec![];
    for query in queries {
        let (read, plan) = read(stage, query).await;
        println!("{read:?} {query}");
        if read.rows > rows_max || read.blocks > blocks_max {
            println!("{plan}");
            slow.push(query);
        }
    }
    assert!(slow.is_empty(), "{slow:#?}");
}

#[tokio::test]
async fn no_view_reads_what_was_sent_long_ago() {
    nothing_old_is_read(&much_was_sent("'s' || n / 100000").await, 200.0, 200).await;
}

#[tokio::test]
async fn no_view_reads_what_was_sent_long_ago_to_many_streams() {
    nothing_old_is_read(&much_was_sent("'s' || n % 50").await, 400.0, 1_000).await;
}
