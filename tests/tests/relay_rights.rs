//! What a relay may do in Postgres: each right of docs/rights is missed by a statement when it is taken away from a relay at work, and
//! named when it is missing before one begins.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use outbox_tests::{Child, Stage, config, eventually, rights};
use redis::Value;
use relay::Relay;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Transaction};

/// Functions are everybody's in a fresh database, so the file does not name them; here they are taken away, too.
const FUNCTIONS: [&str; 3] = ["outbox_newest()", "outbox_mark()", "outbox_release(text[],bigint[])"];

/// `PUBLIC` has nothing, and a user owns nothing and is an `outbox_relay`.
async fn stage() -> Stage {
    let stage = Stage::set().await;
    stage
        .sql("revoke all on schema public from public; revoke execute on all functions in schema public from public")
        .await;
    stage.sql(&rights::postgres()).await;
    stage.sql("create role a_relay login; grant outbox_relay to a_relay").await;
    for function in FUNCTIONS {
        stage.sql(&format!("grant execute on function {function} to outbox_relay")).await;
    }
    stage
}

fn as_relay(url: &str) -> String {
    url.replace("//postgres@", "//a_relay@")
}

/// What a relay says that does not begin, if it does not.
async fn complaint(stage: &Stage) -> Option<String> {
    let settings = config(&as_relay(&stage.database_url), &stage.redis.url(), &["--lease", "0"]);
    Relay::connect(settings).await.map(drop).err().map(|error| error.to_string())
}

#[tokio::test]
async fn every_right_that_is_missing_when_a_relay_begins_is_named() {
    let stage = stage().await;
    assert_eq!(complaint(&stage).await, None, "with all of its rights it works");
    let mut rights: Vec<(String, String, String)> = rights::granted(&stage.pool, "relay")
        .await
        .into_iter()
        .map(|(privilege, name)| (privilege, name.clone(), name))
        .collect();
    rights.extend(FUNCTIONS.map(|name| ("execute".to_owned(), format!("function {name}"), name.to_owned())));
    rights.push(("usage".to_owned(), "schema public".to_owned(), "schema public".to_owned()));
    let mut unnamed = vec![];
    for (privilege, object, name) in rights {
        stage.sql(&format!("revoke {privilege} on {object} from outbox_relay")).await;
        let said = complaint(&stage).await.unwrap_or_default();
        if !said.ends_with(&format!("lacks rights: {privilege} on {name}")) {
            unnamed.push(format!("{privilege} on {name}: {said}"));
        }
        stage.sql(&format!("grant {privilege} on {object} to outbox_relay")).await;
    }
    assert!(unnamed.is_empty(), "{unnamed:#?}");

    stage
        .sql("revoke update, delete on outbox from outbox_relay; revoke insert on outbox_receipt from outbox_relay")
        .await;
    let said = complaint(&stage).await.unwrap_or_default();
    for right in ["update on outbox", "delete on outbox", "insert on outbox_receipt"] {
        assert!(said.contains(right), "{right} is not in: {said}");
    }
}

/// A relay that has no such right ends with that sentence, and is no outage that somebody would wait for.
#[tokio::test]
async fn a_relay_without_a_right_ends_in_one_sentence() {
    let stage = stage().await;
    stage.sql("revoke insert on outbox_group from outbox_relay").await;
    let mut command = stage.command(&["run"]);
    command.env("DATABASE_URL", as_relay(&stage.database_url));
    let mut relay = Child::spawn(command);
    assert_eq!(relay.wait().await, 1);
    let said = relay.log();
    let last = said.lines().last().unwrap_or_default();
    assert_eq!(last, "relay: the relay's Postgres user lacks rights: insert on outbox_group");
}

/// The whole of a relay's day: what is sent, scheduled, refused, overtaken, consumed, lost, kept and forgotten.
struct Day {
    db: PgPool,
    stream: String,
    slow: Option<Transaction<'static, sqlx::Postgres>>,
    step: usize,
}

impl Day {
    async fn go_on(&mut self, stage: &Stage) {
        let (stream, step) = (self.stream.clone(), self.step);
        self.step += 1;
        let sql = async |statement: String| {
            sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&self.db).await.expect(&statement);
        };
        let enqueue =
            |id: &str, more: &str| format!("select outbox_enqueue('{stream}', 't', '1', id => '{id}-{step}'{more})");
        match step % 9 {
            0 => sql(enqueue("event", "")).await,
            1 => sql(enqueue("due", ", due_at => now()")).await,
            2 => {
                sql(format!(
                    "select outbox_enqueue('{stream}', 't', to_json(repeat('x', 2000)), id => 'large-{step}')"
                ))
                .await
            }
            3 => {
                let mut slow = self.db.begin().await.expect("Postgres is there");
                sqlx::raw_sql(AssertSqlSafe(enqueue("slow", ""))).execute(&mut *slow).await.expect("written");
                self.slow = Some(slow);
                sql(enqueue("quick", "")).await;
            }
            5 => {
                if let Some(slow) = self.slow.take() {
                    slow.commit().await.expect("committed");
                }
            }
            6 => {
                let tally =
                    r#"{"processed":1,"failed":0,"retried":0,"buried":0,"handling_mean_us":1,"handling_p99_us":1}"#;
                let tally = tally.replace("\"processed\":1", &format!("\"processed\":{step}"));
                stage.redis.command(&["HSET", &outbox::keys::stats(&stream, "g"), "me", &tally]).await;
                stage.redis.command(&["XADD", &outbox::keys::dead(&stream, "g"), "*", "some", "thing"]).await;
                let mut redis = stage.redis.connection().await;
                // It may be there, and its stream may not.
                let made: redis::RedisResult<Value> =
                    redis::cmd("XGROUP").arg(&["CREATE", &stream, "g", "0"]).query_async(&mut redis).await;
                drop(made);
            }
            7 => sql("update outbox_receipt set published_at = now() - interval '1 day'".to_owned()).await,
            8 if step % 2 == 0 => _ = stage.redis.command(&["DEL", &stream]).await,
            _ => {}
        }
    }
}

/// The list that a relay checks when it begins names rights that nothing else would miss, if some were too many there. So all
/// are there when it begins, and one goes while it works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_right_that_is_taken_from_a_relay_at_work_is_missed_by_a_statement() {
    let stage = Stage::set_with(&[("max_connections", "300")], &[]).await;
    let template = stage.postgres.database().await;
    let mut db = PgConnection::connect(&template).await.expect("Postgres is there");
    outbox::migrate(&mut db, "public").await.expect("a fresh database can be migrated");
    let made = format!("{}; create role a_relay login; grant outbox_relay to a_relay", rights::postgres());
    sqlx::raw_sql(AssertSqlSafe(made)).execute(&mut db).await.expect("roles can be made");
    db.close().await.expect("closed");
    let name_of = |url: &str| url.rsplit('/').next().expect("a name").to_owned();
    let look = PgPool::connect(&template).await.expect("Postgres is there");
    let mut all = rights::granted(&look, "relay").await;
    look.close().await;
    // It says of which version the tables are, which is asked when a relay begins and never again.
    all.retain(|(privilege, name)| (privilege.as_str(), name.as_str()) != ("select", "outbox_schema"));
    let mut databases = vec![];
    for nth in 0..all.len() {
        let name = format!("day_{nth}");
        stage.sql(&format!("create database {name} template {}", name_of(&template))).await;
        databases.push(template.replace(&name_of(&template), &name));
    }
    let days = all.iter().zip(&databases).enumerate();
    stream::iter(days)
        .for_each_concurrent(10, async |(nth, ((privilege, name), url))| {
            is_missed(&stage, url, &format!("s{nth}"), privilege, name).await;
        })
        .await;
}

async fn is_missed(stage: &Stage, url: &str, stream: &str, privilege: &str, name: &str) {
    let db = PgPoolOptions::new().max_connections(4).connect(url).await.expect("Postgres is there");
    // What is kept long is looked at once a minute, and first when a relay begins: until the right is gone, that has to wait.
    let mut taking = db.begin().await.expect("Postgres is there");
    if ["outbox_dead_letter", "outbox_consumer"].contains(&name) {
        let lock = format!("lock table {name} in access exclusive mode");
        sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *taking).await.expect("locked");
    }
    let flags = ["--trim-after", "1ms", "--event-bytes-max", "1000", "--overtake-after", "50ms", "--retention", "1s"];
    let pace = [
        "--sleep-after",
        "50ms",
        "--poll-interval",
        "20ms",
        "--lease",
        "400ms",
        "--report-interval",
        "100ms",
        "--publish-timeout",
        "1s",
    ];
    let mut command = stage.command(&[&["run"], &flags[..], &pace].concat());
    command.env("DATABASE_URL", as_relay(url));
    let relay = Child::spawn(command);
    relay.saw("the relay is up").await;
    let revoke = format!("revoke {privilege} on {name} from outbox_relay");
    sqlx::raw_sql(AssertSqlSafe(revoke)).execute(&mut *taking).await.expect("revoked");
    taking.commit().await.expect("committed");

    let mut day = Day { db, stream: stream.to_owned(), slow: None, step: 0 };
    let mut pace = tokio::time::interval(Duration::from_millis(150));
    let denied = |log: &str| {
        log.match_indices("permission denied for ").any(|(at, _)| {
            let object = log[at..].split(|c: char| c.is_whitespace() || c == '"').nth(4);
            object.is_some_and(|object| object.trim_matches(|c: char| !c.is_alphanumeric()) == name)
        })
    };
    eventually(&format!("{privilege} on {name} to be missed"), async || {
        pace.tick().await;
        day.go_on(stage).await;
        denied(&relay.log())
    })
    .await;
}
