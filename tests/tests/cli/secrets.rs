//! What is secret is shown by no help, no complaint and no log.

use super::*;

#[test]
fn no_help_and_no_complaint_ever_shows_a_credential() {
    let url = format!("postgres://me:{PASSWORD}@127.0.0.1:1/db");
    for arguments in [
        &["--help"][..],
        &["run", "--help"],
        &["dead", "replay", "--help"],
        // Where people put it by mistake.
        &[&url],
        &["run", &url],
        &["status", &url],
        &["--database-url", &url, "status"],
        &["status", "--database", &url],
        &["run", "--schema"],
        &["migrate", "--print"],
        &["status"],
    ] {
        let mut command = relay(arguments);
        command.env("DATABASE_URL", &url).env("REDIS_URL", format!("redis://me:{PASSWORD}@127.0.0.1:1"));
        let output = output(&mut command);
        let said = stdout(&output) + &stderr(&output);
        assert!(!said.contains(PASSWORD), "{arguments:?}: {said}");
    }
}

/// A Postgres user and a Redis user whose passwords are needed: `hunter2`, said as `hunt%65r2` in URLs.
async fn with_passwords() -> (Stage, String, String) {
    let stage = Stage::set().await;
    stage.sql(&format!("create role locked superuser login password '{PASSWORD}'")).await;
    let rules = stage.postgres.data_dir().join("pg_hba.conf");
    let before = std::fs::read_to_string(&rules).expect("readable");
    std::fs::write(&rules, format!("host all locked 127.0.0.1/32 scram-sha-256\n{before}")).expect("writable");
    stage.sql("select pg_reload_conf()").await;
    let open = stage.database_url.replace("//postgres@", "//locked@");
    eventually("a password to be needed", async || sqlx::PgPool::connect(&open).await.is_err()).await;
    stage.redis.command(&["ACL", "SETUSER", "locked", "on", &format!(">{PASSWORD}"), "~*", "&*", "+@all"]).await;
    let postgres = stage.database_url.replace("//postgres@", "//locked:hunt%65r2@");
    let redis = stage.redis.url().replace("//", "//locked:hunt%65r2@");
    (stage, postgres, redis)
}

fn assert_nothing_secret(log: &str) {
    for secret in [PASSWORD, "hunt%65r2", "locked:", "payload of Mrs"] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}

#[tokio::test]
async fn credentials_and_payloads_are_in_no_log_at_any_level() {
    let (stage, postgres, redis) = with_passwords().await;
    stage.redis.command(&["SET", "refused", "in the way"]).await;
    for (format, level) in [("text", "trace"), ("json", "debug")] {
        let mut command = stage.command(&["run", "--attempts-max", "1", "--log-format", format]);
        command.env("DATABASE_URL", &postgres).env("REDIS_URL", &redis).env("RELAY_LOG", level);
        let mut relay = Child::spawn(command);
        for stream in ["s", "refused"] {
            let event = Event::draft(stream, "t").key("payload of Mrs K").json("payload of Mrs X").expect("valid");
            let mut tx = stage.pool.begin().await.expect("Postgres is there");
            let _ = outbox::enqueue(&mut tx, &event).await.expect("written");
            tx.commit().await.expect("committed");
        }
        let count = if level == "trace" { 1 } else { 2 };
        eventually("the entry", async || stage.length("s").await == count).await;
        relay.saw("a dead letter").await;
        relay.signal(Signal::Term);
        assert_eq!(relay.wait().await, 0);
        assert!(!relay.log().contains('\x1b'), "no colour where nobody looks");
        if format == "json" {
            for line in relay.log().lines() {
                assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
            }
        }
        assert_nothing_secret(&relay.log());
    }
}

#[tokio::test]
async fn a_server_that_refuses_the_password_does_not_make_it_known() {
    let (stage, postgres, redis) = with_passwords().await;
    let wrong = |url: &str| url.replace("hunt%65r2", "hunt%65r2-wrong");
    for database in [wrong(&postgres), postgres.replace("/test_", "/nowhere_")] {
        for verb in [&["status"][..], &["migrate"], &["dead", "list"], &["prune"]] {
            let output = output(stage.command(verb).env("DATABASE_URL", &database));
            let sentence = sentence(&output, FAILED);
            assert_nothing_secret(&sentence);
            assert!(sentence.contains("locked") || sentence.contains("nowhere"), "{sentence}");
            assert!(!sentence.contains("at line"), "{sentence}");
            assert!(sentence.matches("authentication failed").count() <= 1, "said twice: {sentence}");
        }
    }

    for (database, cache, sign) in [
        (wrong(&postgres), redis.clone(), "Postgres does not let the relay in"),
        (postgres, wrong(&redis), "Redis does not let the relay in"),
    ] {
        let mut command = stage.command(&["run"]);
        command.env("DATABASE_URL", database).env("REDIS_URL", cache).env("RELAY_LOG", "trace");
        let mut relay = Child::spawn(command);
        relay.saw(sign).await;
        relay.signal(Signal::Term);
        assert_eq!(relay.wait().await, 0, "an outage is waited out, also at the end");
        assert_nothing_secret(&relay.log());
    }
}

#[test]
fn a_password_that_tears_its_url_is_hinted_at_and_not_shown() {
    for (variable, url) in [
        ("DATABASE_URL", format!("postgres://me:{PASSWORD}/x@localhost/db")),
        ("REDIS_URL", format!("redis://me:{PASSWORD}#x@localhost/0")),
    ] {
        let mut command = relay(&["run"]);
        command.env("DATABASE_URL", "postgres://localhost/db").env(variable, url);
        let sentence = sentence(&output(&mut command), USAGE);
        assert!(sentence.contains(variable) && sentence.contains("/ as %2F"), "{sentence}");
        assert!(!sentence.contains(PASSWORD), "{sentence}");
    }
}
