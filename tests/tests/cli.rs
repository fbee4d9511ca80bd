//! The command line, as people and scripts meet it: the real program, its words and its exit codes.

mod dead;
mod prune;
mod secrets;
mod settings;
mod status;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use clap::CommandFactory;
use outbox::Event;
use outbox_tests::{Child, Postgres, Signal, Stage, Surface, binary, eventually, settle};
use serde_json::Value;

const DONE: Option<i32> = Some(0);
const FAILED: Option<i32> = Some(1);
const USAGE: Option<i32> = Some(64);
const PASSWORD: &str = "hunter2";

/// The program with nothing set, whatever the environment of the tests.
fn relay(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("relay"));
    let ours =
        |name: &str| name.starts_with("RELAY_") || ["DATABASE_URL", "REDIS_URL", "REDIS_CA_FILE"].contains(&name);
    for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    // Relays of many tests run side by side on this machine.
    command.args(arguments).stdin(Stdio::null()).env("RELAY_LISTEN", "off");
    command
}

fn output(command: &mut Command) -> Output {
    command.output().expect("the binary runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// Runs a verb on a stage that must succeed without a word on stderr.
fn verb(stage: &Stage, arguments: &[&str]) -> String {
    let output = output(&mut stage.command(arguments));
    assert_eq!((output.status.code(), stderr(&output).as_str()), (DONE, ""), "{arguments:?}: {}", stdout(&output));
    let said = stdout(&output);
    assert!(!said.contains('\x1b') && !said.contains('\r'), "no colour and no progress: {said:?}");
    said
}

fn json(stage: &Stage, arguments: &[&str]) -> Value {
    serde_json::from_str(&verb(stage, arguments)).expect("JSON")
}

/// The one sentence with which a run ended.
fn sentence(output: &Output, code: Option<i32>) -> String {
    assert_eq!(output.status.code(), code, "{}", stderr(output));
    assert_eq!(stdout(output), "", "{}", stderr(output));
    one_sentence(&stderr(output))
}

fn one_sentence(said: &str) -> String {
    let lines: Vec<_> = said.lines().collect();
    let [line] = lines[..] else { panic!("not one line: {said:?}") };
    assert!(!line.ends_with(':') && !line.contains("panicked"), "not a sentence: {line}");
    line.strip_prefix("relay: ").unwrap_or_else(|| panic!("not from the relay: {line}")).to_owned()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("not an object: {value}")).keys().map(String::as_str).collect()
}

// ---- help

#[test]
fn help_has_examples_and_no_verb_hides_its_own() {
    let help = output(&mut relay(&["--help"]));
    assert_eq!(help.status.code(), DONE);
    let said = stdout(&help);
    for part in [
        "Examples:",
        "relay migrate",
        "relay run",
        "relay status",
        "relay dead replay",
        "Exit codes: 0",
        "DATABASE_URL",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    for verb in [
        &["run"][..],
        &["migrate"],
        &["status"],
        &["blockers"],
        &["prune"],
        &["dead"],
        &["dead", "list"],
        &["dead", "show"],
        &["dead", "replay"],
        &["dead", "drop"],
    ] {
        let help = output(&mut relay(&[verb, &["--help"]].concat()));
        assert_eq!((help.status.code(), stderr(&help).as_str()), (DONE, ""), "{verb:?}");
        assert!(stdout(&help).contains("Usage:"), "{verb:?}");
        assert!(stdout(&help).contains(&format!("Examples:\n  relay {}", verb.join(" "))), "{verb:?}");
        assert!(!stdout(&help).contains('\x1b'), "no colour: {verb:?}");
    }
    assert!(stdout(&output(&mut relay(&["--version"]))).starts_with("relay "));
    let list = stdout(&output(&mut relay(&["dead", "list", "--help"])));
    let at = |part: &str| list.find(part).unwrap_or_else(|| panic!("{part} is missing:\n{list}"));
    let parts = ["Filters:", "--stream", "Output:", "--json", "Connection:", "--database-url"].map(at);
    assert!(parts.is_sorted(), "{list}");
}

#[test]
fn without_a_verb_it_says_what_there_is() {
    let output = output(&mut relay(&[]));
    assert_eq!(output.status.code(), USAGE);
    assert!(stderr(&output).contains("Usage: relay"), "{}", stderr(&output));
}

// ---- what is not there

#[tokio::test]
async fn without_tables_every_verb_says_how_to_make_them() {
    let postgres = Postgres::start().await;
    let database = postgres.database().await;
    for verb in [&["run"][..], &["status"], &["blockers"], &["dead", "list"], &["dead", "replay", "a"], &["prune"]] {
        let sentence = sentence(&output(relay(verb).env("DATABASE_URL", &database)), FAILED);
        assert!(sentence.contains("relay migrate") && sentence.contains("public"), "{verb:?}: {sentence}");
    }
}

#[test]
fn a_postgres_that_is_away_is_one_sentence() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    for verb in [&["status"][..], &["migrate"], &["blockers"], &["dead", "list"], &["dead", "drop", "a"], &["prune"]]
    {
        let mut command = relay(verb);
        command.env("DATABASE_URL", format!("postgres://me:{PASSWORD}@{nobody}/db"));
        let sentence = sentence(&output(&mut command), FAILED);
        assert!(sentence.contains("refused") && sentence.contains("Postgres"), "{verb:?}: {sentence}");
        assert!(sentence.contains(&nobody.to_string()), "{verb:?}: {sentence}");
        assert!(!sentence.contains(PASSWORD), "{sentence}");
    }
}

#[tokio::test]
async fn only_run_needs_redis() {
    let stage = Stage::set().await;
    stage.redis.stop();
    for arguments in [&["migrate"][..], &["status"], &["blockers"], &["dead", "list"], &["prune"]] {
        verb(&stage, arguments);
    }
}

// ---- migrate

#[tokio::test]
async fn migrate_says_from_where_to_where() {
    let postgres = Postgres::start().await;
    let database = postgres.database().await;
    let migrate = |arguments: &[&str]| {
        let output = output(relay(&[&["migrate"], arguments].concat()).env("DATABASE_URL", &database));
        assert_eq!((output.status.code(), stderr(&output).as_str()), (DONE, ""));
        stdout(&output)
    };
    let newest = outbox::SCHEMA_VERSION;
    assert_eq!(migrate(&[]), format!("schema \"public\" went from version 0 to {newest}\n"));
    assert_eq!(migrate(&[]), format!("schema \"public\" has version {newest} already\n"));
    assert_eq!(migrate(&["--schema", "events"]), format!("schema \"events\" went from version 0 to {newest}\n"));
}

#[test]
fn migrate_print_prints_the_script_and_needs_no_database() {
    for schema in ["public", "odd \"one\""] {
        let output = output(&mut relay(&["migrate", "--print", "--schema", schema]));
        assert_eq!((output.status.code(), stderr(&output).as_str()), (DONE, ""), "{schema}");
        assert_eq!(stdout(&output), outbox::migration_sql(schema));
    }
}

// ---- blockers

#[tokio::test]
async fn blockers_names_who_writes_and_has_not_ended() {
    let stage = Stage::set_with(&[("max_prepared_transactions", "10")], &[]).await;
    assert_eq!(verb(&stage, &["blockers"]), "nobody is writing to the outbox\n");
    assert_eq!(json(&stage, &["blockers", "--json"]), Value::Array(vec![]));

    let mut open = stage.pool.begin().await.expect("Postgres is there");
    sqlx::raw_sql("set local application_name = 'slow importer'; select outbox_enqueue('s', 't', '\"the payload\"')")
        .execute(&mut *open)
        .await
        .expect("written");
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *open).await.expect("a pid");
    stage.sql("begin; select outbox_enqueue('s', 't', '1'); prepare transaction 'two phases'").await;

    let blockers = json(&stage, &["blockers", "--json"]);
    let blockers = blockers.as_array().expect("an array");
    assert_eq!(blockers.len(), 2, "{blockers:?}");
    let live = blockers.iter().find(|blocker| blocker["pid"] == pid).expect("the open one");
    assert_eq!(keys(live), ["pid", "application", "client", "state", "open_seconds"].into());
    assert_eq!((&live["application"], &live["client"]), (&"slow importer".into(), &"127.0.0.1".into()));
    assert_eq!(live["state"], "idle in transaction");
    assert!(live["open_seconds"].as_f64().is_some_and(|age| (0.0..60.0).contains(&age)), "{live}");
    let prepared = blockers.iter().find(|blocker| blocker["pid"].is_null()).expect("the prepared one");
    assert!(prepared["application"].as_str().is_some_and(|name| name.contains("two phases")), "{prepared}");
    assert_eq!(prepared["state"], "prepared");

    let text = verb(&stage, &["blockers"]);
    for part in ["slow importer", &pid.to_string(), "two phases", "idle in transaction"] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    assert!(!text.contains("the payload"));
    open.rollback().await.expect("still open");
    stage.sql("rollback prepared 'two phases'").await;
    assert_eq!(verb(&stage, &["blockers"]), "nobody is writing to the outbox\n");
}

/// Postgres shows others' sessions in full only to who may read all statistics.
#[tokio::test]
async fn blockers_does_not_take_a_session_it_may_not_see_for_a_prepared_transaction() {
    let stage = Stage::set().await;
    stage
        .sql(
            "create role watcher login;
             grant usage on schema public to watcher;
             grant select, insert, update, delete on all tables in schema public to watcher;
             grant select, update on all sequences in schema public to watcher",
        )
        .await;
    let mut open = stage.pool.begin().await.expect("Postgres is there");
    sqlx::raw_sql("select outbox_enqueue('s', 't', '1')").execute(&mut *open).await.expect("written");
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *open).await.expect("a pid");
    let url = stage.database_url.replace("//postgres@", "//watcher@");
    let output = output(stage.command(&["blockers", "--json"]).env("DATABASE_URL", url));
    assert_eq!(output.status.code(), DONE, "{}", stderr(&output));
    let blockers: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(blockers[0]["pid"], pid, "{blockers}");
    assert_ne!(blockers[0]["state"], "prepared", "{blockers}");
    assert_ne!(blockers[0]["client"], "local", "unknown is not local: {blockers}");
}
