//! The rights in `docs/rights` are enough, and no more: each that is taken away breaks something.

use std::collections::BTreeSet;

use outbox::Event;
use outbox_tests::{Child, Stage, eventually, rights};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// The roles of the file, each with a user who is nothing else.
async fn stage() -> Stage {
    let stage = Stage::set().await;
    stage.sql(&rights::postgres()).await;
    for role in ["producer", "relay", "operator", "reader"] {
        stage.sql(&format!("create role a_{role} login; grant outbox_{role} to a_{role}")).await;
    }
    stage
}

fn url_of(stage: &Stage, role: &str) -> String {
    stage.database_url.replace("postgres@", &format!("a_{role}@"))
}

async fn connect(stage: &Stage, role: &str) -> PgConnection {
    PgConnection::connect(&url_of(stage, role)).await.expect("a user who may connect")
}

/// Takes each right of a role away, asks whether all still works, and gives it back. Returns those that nobody missed.
async fn not_missed(stage: &Stage, role: &str, works: impl AsyncFn() -> bool) -> Vec<String> {
    assert!(works().await, "with all of its rights a {role} can do its work");
    let mut idle = vec![];
    for (privilege, name) in rights::granted(&stage.pool, role).await {
        stage.sql(&format!("revoke {privilege} on {name} from outbox_{role}")).await;
        if works().await {
            idle.push(format!("{privilege} on {name}"));
        }
        stage.sql(&format!("grant {privilege} on {name} to outbox_{role}")).await;
    }
    idle
}

#[tokio::test]
async fn a_producer_needs_each_of_its_rights_and_has_no_other() {
    let stage = stage().await;
    let publish = async || {
        let mut db = connect(&stage, "producer").await;
        let event = Event::draft("s", "t").json(&1).expect("valid");
        let mut tx = db.begin().await.expect("begun");
        let by_library = outbox::enqueue(&mut tx, &event).await.is_ok();
        let committed = tx.commit().await.is_ok();
        let by_sql = sqlx::raw_sql("select outbox_enqueue('s', 't', '1')").execute(&mut db).await.is_ok();
        by_library && committed && by_sql
    };
    assert_eq!(not_missed(&stage, "producer", publish).await, [""; 0]);
    let mut db = connect(&stage, "producer").await;
    for statement in
        ["delete from outbox", "update outbox set type = 'x'", "truncate outbox", "select * from outbox_dead_letter"]
    {
        assert!(sqlx::raw_sql(statement).execute(&mut db).await.is_err(), "{statement}");
    }
}

/// The whole of a relay's day, by a user with these rights alone: sent, refused, overtaken, trimmed, pruned, reported.
#[tokio::test]
async fn a_relay_with_these_rights_does_all_of_its_work() {
    let stage = stage().await;
    let mut command = stage.command(&[
        "run",
        "--trim-after",
        "1ms",
        "--event-bytes-max",
        "1000",
        "--overtake-after",
        "50ms",
        "--retention",
        "1s",
    ]);
    command.env("DATABASE_URL", url_of(&stage, "relay"));
    let relay = Child::spawn(command);
    let mut slow = stage.pool.begin().await.expect("Postgres is there");
    sqlx::query("insert into outbox (stream, type, id, payload) values ('s', 't', 'slow', '1')")
        .execute(&mut *slow)
        .await
        .expect("inserted");
    stage.enqueue("s", "a").await;
    stage.sql("select outbox_enqueue('s', 't', to_json(repeat('x', 2000)), id => 'large')").await;
    stage.sql("select outbox_enqueue('s', 't', '1', id => 'due', due_at => now())").await;
    stage.until_arrived_by_itself("s", 2).await;
    slow.commit().await.expect("committed");
    stage.until_arrived_by_itself("s", 3).await;
    stage.redis.command(&["XGROUP", "CREATE", "s", "g", "0"]).await;
    stage.redis.command(&["XADD", "s:g:dead", "*", "some", "thing"]).await;
    let known = "select exists (select from outbox_dead_letter) and exists (select from outbox_group)";
    eventually("the letter and the group", async || stage.ask::<bool>(known).await).await;
    eventually("retention", async || stage.ask::<i64>("select count(*) from outbox where due_at is null").await == 0)
        .await;
    assert!(!relay.log().contains("permission denied"), "{}", relay.log());
}

#[tokio::test]
async fn an_operator_needs_each_of_its_rights() {
    let stage = stage().await;
    let url = url_of(&stage, "operator");
    let run = |words: &[&str]| {
        let output = stage.command(words).env("DATABASE_URL", &url).output().expect("the binary runs");
        output.status.code() == Some(0)
    };
    let works = async || {
        stage
            .sql(
                "insert into outbox (stream, type, id, payload, due_at, dead_at, last_error)
                 select 's', 't', gen_random_uuid()::text, '1', 'infinity', now(), 'x' from generate_series(1, 2);
                 insert into outbox_dead_letter (stream, group_name, lane, entry, id, type, ver, time, payload, fields, replayable, attempts, reason)
                 select 's', 'g', 's', '1-' || n, gen_random_uuid()::text, 't', 1, now(), '1', '{}', true, 5, 'x' from generate_series(1, 2) n",
            )
            .await;
        // Each by itself: what one does must not spare the next.
        [
            &["dead", "list"][..],
            &["dead", "replay", "--all"],
            &["dead", "drop", "--all"],
            &["pause", "s"],
            &["pause", "fresh"],
            &["resume", "--all"],
        ]
        .iter()
        .all(|words| run(words))
            && stage.ask::<bool>("select count(*) >= 0 from outbox_stream").await
    };
    let work = async || {
        stage.sql("delete from outbox; delete from outbox_dead_letter; delete from outbox_stream").await;
        works().await
            && {
                // Something to drop, too.
                stage
                .sql("insert into outbox (stream, type, id, payload, due_at, dead_at, last_error) values ('s', 't', 'd', '1', 'infinity', now(), 'x')")
                .await;
                run(&["dead", "drop", "d"])
            }
    };
    assert_eq!(not_missed(&stage, "operator", work).await, [""; 0]);
}

#[tokio::test]
async fn a_reader_needs_each_of_its_rights_and_cannot_write() {
    let stage = stage().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue("s", "a").await;
    stage.until_entries(&mut relay, "s", 1).await;
    let url = url_of(&stage, "reader");
    let views: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relkind = 'v' and relnamespace = 'public'::regnamespace order by 1",
    )
    .fetch_all(&stage.pool)
    .await
    .expect("the catalogue can be read");
    let works = async || {
        let verbs = [&["status"][..], &["groups"], &["blockers"], &["dead", "list"], &["trace", "a"], &["verify"]];
        let verbs_work = verbs.iter().all(|words| {
            stage.command(words).env("DATABASE_URL", &url).output().expect("it runs").status.code() == Some(0)
        });
        let mut db = connect(&stage, "reader").await;
        for view in &views {
            let statement = format!("select * from {view}");
            if sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut db).await.is_err() {
                return false;
            }
        }
        verbs_work
    };
    assert_eq!(not_missed(&stage, "reader", works).await, [""; 0]);
    let mut db = connect(&stage, "reader").await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relkind in ('r', 'S') and relnamespace = 'public'::regnamespace",
    )
    .fetch_all(&stage.pool)
    .await
    .expect("the catalogue can be read");
    for table in tables {
        for statement in [
            format!("delete from {table}"),
            format!("insert into {table} default values"),
            format!("truncate {table}"),
        ] {
            assert!(sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&mut db).await.is_err(), "{statement}");
        }
    }
    for statement in [
        "select outbox_enqueue('s', 't', '1')",
        "select nextval('outbox_seq_seq')",
        "select setval('outbox_doorbell', 9)",
        "select outbox_release('{s}', '{1}')",
        "select outbox_cancel('a')",
    ] {
        let refused = sqlx::raw_sql(statement).execute(&mut db).await.is_err();
        let harmless = statement.contains("outbox_release"); // it finds no row that it may touch
        assert!(refused || harmless, "{statement}");
    }
}

#[test]
fn the_rules_for_redis_are_those_of_the_documentation() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md")).expect("the page");
    for (user, row) in [("relay", "| the relay in Redis |"), ("consumer", "| a consumer in Redis |")] {
        let row = page.lines().find(|line| line.starts_with(row)).expect("the row is there");
        let told: BTreeSet<&str> = row
            .split('`')
            .skip(1)
            .step_by(2)
            .flat_map(str::split_whitespace)
            .filter(|word| word.starts_with('+'))
            .collect();
        // In a table a bar is written with a backslash.
        let told: Vec<String> = told.iter().map(|right| right.replace('\\', "")).collect();
        let told: BTreeSet<&str> = told.iter().map(String::as_str).collect();
        let given = rights::redis(user);
        let given: BTreeSet<&str> = given.iter().map(String::as_str).collect();
        let elsewhere = BTreeSet::from(["+cluster", "+select"]);
        assert_eq!(told.difference(&elsewhere).collect::<Vec<_>>(), given.iter().collect::<Vec<_>>(), "{user}");
    }
}
