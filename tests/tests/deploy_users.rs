//! The users of Postgres and Redis and their rights, as `compose.yaml` makes them.

use std::fs;
use std::process::Command;

use outbox_tests::{Child, Redis, Stage, binary, programs_of_postgres};
use redis::RedisResult;

use crate::deploy::{assert_done, root};

#[tokio::test]
async fn each_user_of_postgres_can_do_its_work_and_make_no_tables() {
    let stage = Stage::set().await;
    let folder = tempfile::tempdir().expect("a folder");
    let secret = |name: &str| folder.path().join(format!("{name}_database_url"));
    let rest = stage.database_url.split_once('@').expect("a URL with a user").1.to_owned();
    for user in ["relay", "fallah", "hasad"] {
        fs::write(secret(user), format!("postgres://{user}:pass-{user}@{rest}\n")).expect("written");
    }
    fs::write(secret("owner"), format!("postgres://postgres:unused@{rest}\n")).expect("written");

    let ours = |program: &str, user: &str, arguments: &[&str]| {
        let mut command = Command::new(binary(program));
        command.args(arguments).env_remove("DATABASE_URL").env("DATABASE_URL_FILE", secret(user));
        command.env("HASAD_STORE", format!("file://{}", folder.path().display())).output().expect("a program of ours")
    };
    let users = |names: &[&str]| {
        let path = format!("{}:{}", programs_of_postgres().display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("sh");
        command.arg(root().join("compose/postgres/users.sh")).args(names).env("PATH", path);
        command.env("SECRETS", folder.path()).env("RIGHTS", root().join("docs/rights/postgres.sql"));
        command.env("TMPDIR", folder.path()).output().expect("a shell")
    };
    for program in ["relay", "fallah", "hasad"] {
        assert_done(program, &ours(program, "owner", &["migrate"]));
    }
    // Again and again: it is run at each start.
    for _ in 0..2 {
        assert_done("users.sh", &users(&["relay"]));
        assert_done("users.sh", &users(&["fallah", "hasad"]));
    }
    assert_eq!(users(&["stranger"]).status.code(), Some(64));

    assert_done("relay status", &ours("relay", "relay", &["status"]));
    assert_done("relay blockers", &ours("relay", "relay", &["blockers"]));
    assert_done("relay dead list", &ours("relay", "relay", &["dead", "list"]));
    // The same questions by which fallah and hasad are known to be well.
    assert_done("fallah sources", &ours("fallah", "fallah", &["sources", "--json"]));
    assert_done("hasad export-ndjson", &ours("hasad", "hasad", &["export-ndjson", "--source", "nobody"]));
    for (program, user) in [("fallah", "hasad"), ("hasad", "fallah")] {
        let asked = if program == "fallah" { vec!["sources"] } else { vec!["export-ndjson", "--source", "nobody"] };
        assert!(!ours(program, user, &asked).status.success(), "{user} reads what is {program}'s");
    }

    for user in ["relay", "fallah", "hasad"] {
        let db = sqlx::PgPool::connect(fs::read_to_string(secret(user)).expect("written").trim()).await;
        let db = db.expect("the user may connect");
        let may = async |statement: &str| sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&db).await.is_ok();
        assert!(!may("create table public.mine ()").await, "{user} makes tables");
        assert!(!may("alter table outbox set unlogged").await, "{user} changes tables");
        let produces = may("select outbox_enqueue('s', 't', '1')").await;
        assert_eq!(produces, user != "hasad", "{user}: whether it may write events");
    }
}

#[tokio::test]
async fn each_user_of_redis_can_do_its_work_and_nobody_comes_in_without_a_name() {
    // It only lends its folder and its free port.
    let lender = Redis::start().await;
    let (port, folder) = (lender.port(), tempfile::tempdir().expect("a folder"));
    lender.kill();
    for user in ["relay", "consumer"] {
        let url = format!("redis://{user}:pass-{user}@redis:6379\n");
        fs::write(folder.path().join(format!("{user}_redis_url")), url).expect("written");
    }
    let mut command = Command::new("sh");
    command.arg(root().join("compose/redis/start.sh")).args(["--maxmemory", "160mb", "--bind", "127.0.0.1"]);
    command.args(["--port", &port.to_string(), "--dir"]).arg(folder.path());
    command.env("SECRETS", folder.path()).env("RIGHTS", root().join("docs/rights/redis.acl"));
    command.env("USERS", folder.path().join("users.acl"));
    let server = Child::spawn(command);
    let _ = server.saw("Ready to accept connections").await;

    let ask = async |who: &str, words: &[&str]| -> RedisResult<redis::Value> {
        let client = redis::Client::open(format!("redis://{who}127.0.0.1:{port}/"))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await
    };
    let (relay, consumer, watcher) = ("relay:pass-relay@", "consumer:pass-consumer@", "watcher:none@");
    ask(relay, &["XADD", "s", "1-1", "a", "b"]).await.expect("the relay appends");
    ask(consumer, &["XGROUP", "CREATE", "s", "g", "0"]).await.expect("a consumer makes its group");
    ask(watcher, &["PING"]).await.expect("the health check");
    let memory = ask(watcher, &["INFO", "memory"]).await.expect("the exporter");
    let memory = format!("{memory:?}");
    assert!(memory.contains("maxmemory:167772160") && memory.contains("maxmemory_policy:noeviction"), "{memory}");
    let persistence = format!("{:?}", ask(watcher, &["INFO", "persistence"]).await.expect("the exporter"));
    assert!(persistence.contains("aof_enabled:1"), "{persistence}");

    for who in ["", "relay:wrong@", "consumer:@"] {
        assert!(ask(who, &["PING"]).await.is_err(), "{who:?} came in");
    }
    for (who, words) in [(watcher, ["XLEN", "s"]), (consumer, ["DEL", "s"]), (relay, ["DEL", "s"])] {
        let refused = ask(who, &words).await;
        let may = who == consumer;
        assert_eq!(refused.is_ok(), may, "{who} {words:?}: {refused:?}");
    }
    for who in [relay, consumer, watcher] {
        assert!(ask(who, &["FLUSHALL"]).await.is_err(), "{who} empties Redis");
        assert!(ask(who, &["CONFIG", "SET", "maxmemory", "0"]).await.is_err(), "{who} changes settings");
    }
    server.kill_9();
}
