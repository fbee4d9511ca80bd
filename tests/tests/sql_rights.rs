//! What rights a producer, a relay and people need in the database, and that they need no more.

use outbox::{Enqueued, Event};
use outbox_tests::{Child, Stage, eventually, rights};
use sqlx::{AssertSqlSafe, PgPool};

use crate::sql::{connect, refusal};

/// The fewest rights of a producer that writes plain SQL. The numbers' sequence needs none: it is an identity.
const PRODUCER_GRANTS: &str = "grant usage on schema app to producer; grant insert on app.outbox to producer;";

/// For `outbox_enqueue`, which looks for a repeat and returns the number.
const ENQUEUE_GRANTS: &str = "grant select (id, seq) on app.outbox to producer;";

/// For the crate's `enqueue`, which compares a repeat with what is there; and for its `cancel`.
const CRATE_GRANTS: &str = "grant select on app.outbox to producer;";
const CANCEL_GRANTS: &str = "grant delete on app.outbox to producer;";

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
    // The roles of the documentation, for tables that lie elsewhere.
    stage.sql(&format!("begin; set local search_path = app; {}; commit", rights::postgres())).await;
    stage.sql("grant outbox_relay to relay").await;
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
    stage.sql("grant outbox_operator, outbox_reader to relay").await;
    verb(&["dead", "replay", "large"]);
    verb(&["status"]);
}
