//! A pooler between programs and Postgres: in session mode a relay works; where sessions are given away between transactions it
//! does not begin, says why, and leaves nothing behind. Producers in SQL may use any mode.

use outbox::Event;
use outbox_tests::{Child, Pooler, Stage, eventually};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Row};

/// A Postgres and a Redis about which a doctor has nothing to say.
async fn sound() -> Stage {
    let postgres = [("fsync", "on"), ("full_page_writes", "on"), ("synchronous_commit", "on")];
    Stage::set_with(&postgres, &["--maxmemory-policy", "noeviction"]).await
}

/// The names of what a doctor finds, and what it says of the first.
fn found(stage: &Stage, url: &str) -> (Vec<String>, String) {
    let output = stage.command(&["doctor", "--json"]).env("DATABASE_URL", url).output().expect("the binary runs");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = told["findings"].as_array().expect("findings");
    let names = findings.iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect();
    (names, told["findings"][0]["found"].as_str().unwrap_or_default().to_owned())
}

/// The answer to a question in plain text.
async fn plainly(db: &mut PgConnection, statement: &str) -> String {
    let row = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).fetch_one(db).await.expect("an answer");
    row.try_get(0).expect("text")
}

#[tokio::test]
async fn in_session_mode_a_relay_works_and_is_woken() {
    let stage = sound().await;
    let pooler = Pooler::start(&stage.postgres, "session").await;
    let url = pooler.url(&stage.database_url);
    assert_eq!(found(&stage, &url).0, [""; 0]);
    let mut command = stage.command(&["run", "--sleep-after", "1ms", "--sleep-poll-interval", "1h"]);
    let _relay = Child::spawn({
        command.env("DATABASE_URL", &url);
        command
    });
    for n in 1..=5 {
        let asleep = "select last_value > extract(epoch from now()) from outbox_doorbell";
        eventually("it to sleep", async || stage.ask::<bool>(asleep).await).await;
        stage.enqueue("s", &format!("event-{n}")).await;
        eventually("the entry, by the bell alone", async || stage.length("s").await == n).await;
    }
}

#[tokio::test]
async fn where_sessions_are_given_away_a_relay_does_not_begin_and_leaves_nothing_behind() {
    let stage = sound().await;
    for mode in ["transaction", "statement"] {
        let pooler = Pooler::start(&stage.postgres, mode).await;
        let url = pooler.url(&stage.database_url);
        let (names, said) = found(&stage, &url);
        assert_eq!(names, ["postgres-pooler"], "{mode}: {said}");
        assert!(said.contains("session mode"), "{said}");
        let output = stage.command(&["run"]).env("DATABASE_URL", &url).output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(1), "{mode}");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = log.lines().last().unwrap_or_default();
        assert!(last.starts_with("relay: ") && last.contains("in session mode"), "{log}");
        // Nobody inherits a setting of ours.
        let mut next = PgConnection::connect(&url).await.expect("let in");
        assert_eq!(plainly(&mut next, "show lock_timeout").await, "0", "{mode}");
        assert_eq!(plainly(&mut next, "show enable_seqscan").await, "on", "{mode}");
    }
}

#[tokio::test]
async fn a_pooler_with_one_session_for_all_is_not_waited_for() {
    let stage = sound().await;
    let pooler = Pooler::start_with(&stage.postgres, "transaction", 1).await;
    let url = pooler.url(&stage.database_url);
    assert_eq!(found(&stage, &url).0, ["postgres-pooler"]);
    // Nothing of ours keeps the session from others.
    let mut next = PgConnection::connect(&url).await.expect("let in");
    assert_eq!(plainly(&mut next, "show lock_timeout").await, "0");
}

/// Why it is refused: what a relay would lose.
#[tokio::test]
async fn in_transaction_mode_settings_leak_and_what_was_prepared_is_gone() {
    let stage = sound().await;
    let pooler = Pooler::start(&stage.postgres, "transaction").await;
    let url = pooler.url(&stage.database_url);
    let mut one = PgConnection::connect(&url).await.expect("let in");
    let mut other = PgConnection::connect(&url).await.expect("let in");
    plainly(&mut one, "select set_config('lock_timeout', '5s', false)").await;
    assert_eq!(plainly(&mut other, "show lock_timeout").await, "5s", "a setting of one is the other's");
    let prepared = async |db: &mut PgConnection| {
        sqlx::query_scalar::<_, i32>("select $1::int").bind(1).fetch_one(db).await.map_err(|error| error.to_string())
    };
    assert_eq!(prepared(&mut one).await, Ok(1));
    sqlx::raw_sql("begin").execute(&mut other).await.expect("begun");
    plainly(&mut other, "select 'busy'").await;
    let lost = prepared(&mut one).await.expect_err("another server, which knows nothing of it");
    assert!(lost.contains("prepared statement") && lost.contains("does not exist"), "{lost}");
}

#[tokio::test]
async fn producers_in_sql_may_use_any_mode_and_those_in_rust_session_mode() {
    let stage = sound().await;
    let pooler = Pooler::start(&stage.postgres, "transaction").await;
    let url = pooler.url(&stage.database_url);
    let mut producers = tokio::task::JoinSet::new();
    for producer in 0..6 {
        let mut db = PgConnection::connect(&url).await.expect("let in");
        producers.spawn(async move {
            for n in 0..20 {
                let enqueue = format!("begin; select outbox_enqueue('s', 't', '1', id => '{producer}-{n}'); commit");
                sqlx::raw_sql(AssertSqlSafe(enqueue)).execute(&mut db).await.expect("committed");
            }
        });
    }
    producers.join_all().await;
    let pooler = Pooler::start(&stage.postgres, "session").await;
    let pool = PgPool::connect(&pooler.url(&stage.database_url)).await.expect("let in");
    for n in 0..20 {
        let event = Event::draft("s", "t").id(format!("rust-{n}")).json(&n).expect("valid");
        let mut tx = pool.begin().await.expect("begun");
        let _ = outbox::enqueue(&mut tx, &event).await.expect("written");
        tx.commit().await.expect("committed");
    }
    stage.until_entries(&mut stage.relay(&[]).await, "s", 140).await;
}
