//! Numbers, schemas of any name, and the functions that a relay calls.

use outbox::{Enqueued, Event, SCHEMA_VERSION};
use outbox_tests::{Child, Postgres, Stage, eventually, settle};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::sql::{connect, refusal, run};

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
pub(crate) const ODD: &str = "Ödd \"Shop\"; -- 'x";

pub(crate) async fn enter(db: &mut PgConnection, schema: &str) {
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
