//! The command line, as people and scripts meet it: the real program, its words and its exit codes.

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

// ---- wrong flags and settings

/// Both stores, as one port on which nobody may ever connect.
struct NobodyConnects(TcpListener);

impl NobodyConnects {
    fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("can be set");
        Self(listener)
    }

    fn relay(&self, arguments: &[&str]) -> Command {
        let at = self.0.local_addr().expect("bound");
        let mut command = relay(arguments);
        command.env("DATABASE_URL", format!("postgres://me:{PASSWORD}@{at}/db"));
        command.env("REDIS_URL", format!("redis://me:{PASSWORD}@{at}/"));
        command
    }

    /// Runs a command that must be refused before anything connects.
    async fn refusal(&self, command: Command) -> String {
        let mut child = Child::spawn(command);
        let (code, said) = (child.wait().await, child.log());
        assert_eq!(Some(code), USAGE, "{said}");
        assert!(self.0.accept().is_err(), "something connected before the settings were checked: {said}");
        assert!(!said.contains(PASSWORD), "{said}");
        one_sentence(&said)
    }
}

/// Of every flag of `relay run` that is more than a text: its name and its variable.
fn typed_flags() -> Vec<(String, String)> {
    const TEXTS: [&str; 17] = [
        "database-url",
        "schema",
        "redis-url",
        "redis-ca-file",
        "help",
        "version",
        "read-token",
        "read-token-file",
        "write-token",
        "write-token-file",
        "publish-token",
        "publish-token-file",
        "environment",
        "mask",
        "otlp-endpoint",
        "otlp-headers",
        "service-name",
    ];
    let mut command = relay::Cli::command();
    command.build();
    let run = command.find_subcommand("run").expect("a verb");
    let flags = run.get_arguments().filter_map(|argument| {
        let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned());
        argument
            .get_long()
            .filter(|name| !TEXTS.contains(name))
            .map(|name| (format!("--{name}"), variable.unwrap_or_else(|| panic!("--{name} has no variable"))))
    });
    flags.collect()
}

#[tokio::test]
async fn a_wrong_value_is_one_sentence_with_its_flag_and_its_variable() {
    let stores = NobodyConnects::listen();
    let flags = typed_flags();
    assert!(flags.len() >= 15, "{flags:?}");
    for (flag, variable) in &flags {
        for wrong in ["rubbish", "-1", "", "99999999999999999999999"] {
            let mut sentences = vec![stores.refusal(stores.relay(&["run", &format!("{flag}={wrong}")])).await];
            // A variable that is empty is not set.
            if !wrong.is_empty() {
                let mut command = stores.relay(&["run"]);
                command.env(variable, wrong);
                sentences.push(stores.refusal(command).await);
            }
            for sentence in sentences {
                assert!(
                    sentence.contains(flag.as_str()) && sentence.contains(variable.as_str()),
                    "{wrong:?}: {sentence}"
                );
            }
        }
    }
}

/// Values that are wrong in themselves, or with another.
const WRONG: [(&[&str], &[&str]); 27] = [
    (&["--database-url", "mysql://me:hunter2@h/db"], &["--database-url", "DATABASE_URL"]),
    (&["--database-url", "me:hunter2@h/db"], &["--database-url", "DATABASE_URL"]),
    (&["--database-url", "postgres://me:hunter2@h:port/db"], &["--database-url", "DATABASE_URL"]),
    (&["--database-url", "postgres://me:hunter2@h/db?sslmode=maybe"], &["--database-url", "DATABASE_URL"]),
    (&["--database-url", ""], &["--database-url", "DATABASE_URL"]),
    (&["--schema", ""], &["--schema", "RELAY_SCHEMA"]),
    (&["--redis-url", "http://me:hunter2@h"], &["--redis-url", "REDIS_URL"]),
    (&["--redis-url", "hunter2"], &["--redis-url", "REDIS_URL"]),
    (&["--redis-url", "redis://me:hunter2@h:port"], &["--redis-url", "REDIS_URL"]),
    (&["--redis-url", "redis://me:hunter2@h/database"], &["--redis-url", "REDIS_URL"]),
    (&["--redis-ca-file", "/nowhere/ca.pem"], &["--redis-ca-file", "REDIS_CA_FILE", "/nowhere/ca.pem"]),
    (&["--batch-rows-max", "0"], &["--batch-rows-max", "RELAY_BATCH_ROWS_MAX"]),
    (
        &["--retry-delay-min", "2m"],
        &["--retry-delay-min", "RELAY_RETRY_DELAY_MIN", "--retry-delay-max", "RELAY_RETRY_DELAY_MAX"],
    ),
    (&["--retry-delay-min", "0"], &["--retry-delay-min", "RELAY_RETRY_DELAY_MIN"]),
    (&["--poll-interval", "0"], &["--poll-interval", "RELAY_POLL_INTERVAL"]),
    (&["--sleep-poll-interval", "0"], &["--sleep-poll-interval", "RELAY_SLEEP_POLL_INTERVAL"]),
    (&["--publish-timeout", "0"], &["--publish-timeout", "RELAY_PUBLISH_TIMEOUT"]),
    (&["--report-interval", "0"], &["--report-interval", "RELAY_REPORT_INTERVAL"]),
    (
        &["--event-bytes-max", "9999999"],
        &["--event-bytes-max", "RELAY_EVENT_BYTES_MAX", "--batch-bytes-max", "RELAY_BATCH_BYTES_MAX"],
    ),
    (&["--lease", "300ms"], &["--lease", "RELAY_LEASE", "--report-interval", "RELAY_REPORT_INTERVAL"]),
    (&["--listen", "0.0.0.0:0"], &["--listen", "RELAY_LISTEN", "RELAY_READ_TOKEN"]),
    (&["--read-token", "hunter2"], &["--read-token", "RELAY_READ_TOKEN", "fewer than 16"]),
    (&["--write-token-file", "/nowhere/token"], &["--write-token-file", "RELAY_WRITE_TOKEN_FILE", "/nowhere/token"]),
    (&["--publish-token", "with blanks in the middle"], &["--publish-token", "RELAY_PUBLISH_TOKEN"]),
    (
        &["--read-token", "the-same-the-same", "--write-token", "the-same-the-same"],
        &["RELAY_READ_TOKEN", "RELAY_WRITE_TOKEN", "the same"],
    ),
    (&["--otlp-endpoint", "localhost:4318"], &["--otlp-endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT"]),
    (
        &["--otlp-endpoint", "http://localhost:4318", "--otlp-headers", "hunter2"],
        &["--otlp-headers", "OTEL_EXPORTER_OTLP_HEADERS"],
    ),
];

#[tokio::test]
async fn settings_that_do_not_fit_are_one_sentence_with_their_flags_and_variables() {
    let stores = NobodyConnects::listen();
    let mut unnamed = vec![];
    for (arguments, named) in WRONG {
        let sentence = stores.refusal(stores.relay(&[&["run"], arguments].concat())).await;
        unnamed
            .extend(named.iter().filter(|name| !sentence.contains(**name)).map(|name| format!("{name}: {sentence}")));
    }
    assert!(unnamed.is_empty(), "{unnamed:#?}");
}

#[tokio::test]
async fn a_wrong_log_filter_is_a_wrong_setting() {
    let stores = NobodyConnects::listen();
    let mut command = stores.relay(&["run"]);
    command.env("RELAY_LOG", "relay=loud");
    let sentence = stores.refusal(command).await;
    assert!(sentence.contains("RELAY_LOG"), "{sentence}");
}

#[tokio::test]
async fn every_verb_checks_what_it_is_given() {
    let stores = NobodyConnects::listen();
    for (arguments, named) in [
        (&["migrate", "--schema", ""][..], "--schema"),
        (&["status", "--database-url", "http://x"], "DATABASE_URL"),
        (&["blockers", "--database-url", "http://x"], "DATABASE_URL"),
        (&["prune", "--retention", "soon"], "RELAY_RETENTION"),
        (&["dead", "list", "--limit", "many"], "--limit"),
        (&["dead", "list", "--database-url", "http://x"], "DATABASE_URL"),
        (&["dead", "replay", "a", "--all"], "--all"),
        (&["dead", "drop", "--stream", "s", "--all"], "--all"),
        (&["dead", "replay"], "--all"),
        (&["dead", "drop", "--dry-run"], "--all"),
        (&["dead", "show"], "ID"),
        (&["status", "--jsno"], "did you mean '--json'?"),
        (&["statsu"], "did you mean 'status'?"),
        (&["run", "--log-format", "jsno"], "did you mean 'json'?"),
    ] {
        let sentence = stores.refusal(stores.relay(arguments)).await;
        assert!(sentence.contains(named), "{arguments:?}: {sentence}");
    }
    for verb in [
        &["run"][..],
        &["migrate"],
        &["status"],
        &["blockers"],
        &["prune"],
        &["dead", "list"],
        &["dead", "drop", "a"],
    ] {
        let sentence = sentence(&output(&mut relay(verb)), USAGE);
        assert!(sentence.contains("--database-url") && sentence.contains("DATABASE_URL"), "{verb:?}: {sentence}");
    }
}

// ---- secrets

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

// ---- status

#[tokio::test]
async fn status_tells_how_much_waits_and_how_far_each_group_has_come() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    assert_eq!(json(&stage, &["status", "--json"])["streams"], Value::Array(vec![]));
    assert_eq!(status_line(&stage), "no relay is running (none was ever seen); nothing was written yet");
    stage.enqueue_many("orders", 3).await;
    stage.until_entries(&mut relay, "orders", 3).await;
    stage.redis.command(&["XGROUP", "CREATE", "orders", "billing", "0"]).await;
    stage.redis.command(&["XREADGROUP", "GROUP", "billing", "me", "COUNT", "2", "STREAMS", "orders", ">"]).await;
    stage.redis.command(&["XACK", "orders", "billing", "1-1"]).await;
    stage.redis.command(&["XCLAIM", "orders", "billing", "outbox:nobody", "0", "1-2", "JUSTID"]).await;
    eventually("the group's position to be written down", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<i64>("select coalesce(max(settled_seq), 0) from outbox_group").await == 1
    })
    .await;
    settle(&mut relay).await;
    stage.sql("select outbox_enqueue('orders', 't', '1', due_at => '2100-01-01')").await;
    stage
        .sql(
            "insert into outbox (stream, id, type, payload, due_at, dead_at, last_error)
             values ('orders', 'd', 't', '1', 'infinity', now(), 'why')",
        )
        .await;
    stage.sql("select outbox_enqueue(E'empty \\x1b[31m lane', 't', '1')").await;

    let status = json(&stage, &["status", "--json"]);
    assert_eq!(keys(&status), ["verdict", "relay", "streams", "groups", "consumers", "blockers"].into());
    let fields = [
        "holder",
        "last_seen_seconds",
        "redis_seen_seconds",
        "frontier",
        "last",
        "overtaken",
        "left_behind",
        "dead",
        "paused_at",
        "paused_by",
    ];
    assert_eq!(keys(&status["relay"]), fields.into());
    assert_eq!(status["relay"]["last"], 6);
    assert_eq!(status["relay"]["overtaken"], 0);
    let [odd, orders] = &status["streams"].as_array().expect("an array")[..] else { panic!("{status}") };
    let fields = [
        "stream",
        "unsent",
        "oldest_unsent_seconds",
        "held",
        "dead",
        "sent_seq",
        "sent_at",
        "sent_per_second",
        "paused_at",
        "paused_by",
        "refusal",
    ];
    assert_eq!(keys(orders), fields.into());
    assert_eq!([&orders["unsent"], &orders["held"], &orders["dead"], &orders["sent_seq"]], [0, 1, 1, 3]);
    assert!(orders["oldest_unsent_seconds"].is_null() && orders["sent_at"].is_string(), "{orders}");
    assert_eq!(odd["unsent"], 1);
    assert!(odd["oldest_unsent_seconds"].as_f64().is_some_and(|age| (0.0..60.0).contains(&age)), "{odd}");
    let [group] = &status["groups"].as_array().expect("an array")[..] else { panic!("{status}") };
    let fields =
        ["stream", "name", "delivered_seq", "settled_seq", "pending", "dead", "consumers", "lag", "oldest_seconds"];
    assert_eq!(keys(group), fields.into());
    assert_eq!(group["lag"], 2, "one is pending, one was never delivered");
    assert_eq!(
        [&group["delivered_seq"], &group["settled_seq"], &group["pending"], &group["dead"], &group["consumers"]],
        [2, 1, 1, 0, 1],
        "for whom entries were given back is no consumer"
    );
    let oldest = group["oldest_seconds"].as_f64().expect("one is pending");
    assert_eq!(oldest, (oldest * 1e3).round() / 1e3, "to the millisecond");

    // `verb` sees that nothing in a name reaches the terminal.
    let text = verb(&stage, &["status"]);
    for part in ["stream", "unsent", "oldest", "held", "dead", "orders", "billing", "empty"] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
}

fn status_line(stage: &Stage) -> String {
    // Under the verdict.
    let said = verb(stage, &["status"]);
    said.lines()
        .find(|line| line.starts_with("relay ") || line.starts_with("no relay "))
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn status_begins_with_the_verdict_as_json_and_the_surface_have_it() {
    let stage = Stage::set().await;
    let surface = Surface::begin(&stage, &[]).await;
    stage.enqueue("orders", "a").await;
    stage.until_arrived_by_itself("orders", 1).await;
    let sentences = |told: &Value| {
        let findings = told["verdict"]["findings"].as_array().expect("findings").clone();
        findings.iter().map(|one| one["sentence"].as_str().expect("a sentence").to_owned()).collect::<Vec<_>>()
    };
    let said = async |first: &str| {
        eventually(first, async || {
            let surface = sentences(&surface.get("/status").await.json());
            let json = sentences(&json(&stage, &["status", "--json"]));
            let text = verb(&stage, &["status"]);
            surface == json && json.iter().eq(text.lines().take(json.len())) && json[0].starts_with(first)
        })
        .await;
    };
    said("All is well: nothing waits longer than 2 s.").await;
    stage
        .sql(
            "insert into outbox (stream, id, type, payload, due_at, dead_at, last_error)
             values ('orders', 'dead', 't', '1', 'infinity', now(), 'x');
             update outbox_relay set paused_at = now() - interval '1 hour', paused_by = 'ann'",
        )
        .await;
    said("Everything is paused for 60 min, by ann.").await;
}

#[tokio::test]
async fn a_check_of_the_status_fails_when_something_is_stuck_or_late_and_not_otherwise() {
    let stage = Stage::set().await;
    let check = |flags: &[&str]| output(&mut stage.command(&[&["status", "--check"], flags].concat()));
    let nobody = check(&[]);
    assert_eq!((nobody.status.code(), stderr(&nobody).as_str()), (FAILED, "relay: something is stuck or late\n"));
    assert!(stdout(&nobody).starts_with("Stuck: no relay works"), "{}", stdout(&nobody));
    let surface = Surface::begin(&stage, &[]).await;
    stage.enqueue("orders", "a").await;
    stage.until_arrived_by_itself("orders", 1).await;
    eventually("all to be well", async || check(&[]).status.code() == DONE).await;
    // What was asked for, and what waits for a person, is no failure.
    stage
        .sql(
            "insert into outbox (stream, id, type, payload, due_at, dead_at, last_error)
             values ('orders', 'dead', 't', '1', 'infinity', now(), 'x')",
        )
        .await;
    assert_eq!(surface.post("/pause", &serde_json::json!({"all": true})).await.status, 200);
    let json = check(&["--json"]);
    assert_eq!((json.status.code(), stderr(&json).as_str()), (DONE, ""));
    let told: Value = serde_json::from_str(&stdout(&json)).expect("JSON");
    assert_eq!(told["verdict"]["level"], "paused");
    assert_eq!(surface.post("/resume", &serde_json::json!({"all": true})).await.status, 200);
    stage.redis.command(&["SET", "refused", "in the way"]).await;
    stage.enqueue("refused", "b").await;
    eventually("a refusal to be told", async || {
        let json = check(&["--json"]);
        stdout(&json).contains("refused refused") && json.status.code() == FAILED
    })
    .await;
    let help = stdout(&output(&mut relay(&["status", "--help"])));
    for part in
        ["--check", "Exit codes: 0 it was told; 1 Postgres is away, or, with --check, something is stuck or late"]
    {
        assert!(help.contains(part), "{part} is missing:\n{help}");
    }
}

#[tokio::test]
async fn an_event_is_followed_by_its_id_the_number_of_its_row_or_that_of_its_entry() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue("other", "first").await;
    let seq = stage.enqueue("s", "followed").await;
    // An id that looks like a number is an id.
    let odd = stage.enqueue("s", &format!("{}", seq + 50)).await;
    stage.until_entries(&mut relay, "s", 2).await;
    settle(&mut relay).await;
    let by_id = verb(&stage, &["trace", "followed"]);
    assert!(by_id.starts_with(&format!("event followed\nrow {seq} of s")), "{by_id}");
    for name in [format!("{seq}"), format!("1-{seq}")] {
        assert_eq!(verb(&stage, &["trace", &name]), by_id);
    }
    assert!(verb(&stage, &["trace", &format!("{}", seq + 50)]).contains(&format!("row {odd} of s")));
    for nobody in [format!("2-{seq}"), format!("{}", seq + 70), "1-x".to_owned(), "99999999999999999999".to_owned()] {
        let said = sentence(&output(&mut stage.command(&["trace", &nobody])), FAILED);
        assert!(said.contains("nobody knows") && said.contains(&nobody), "{said}");
    }
    // A row that replays it leads to it.
    stage
        .sql("insert into outbox (stream, id, type, payload, headers) values ('s:g:replay', 'again', 't', '1', '{\"outbox-id\": \"followed\"}')")
        .await;
    let seq: i64 = stage.ask("select seq from outbox where id = 'again'").await;
    assert!(verb(&stage, &["trace", &format!("{seq}")]).starts_with("event followed\n"));
    // On a stream that replays nothing that header is its writer's, and names nobody.
    stage
        .sql("insert into outbox (stream, id, type, payload, headers) values ('s', 'own', 't', '1', '{\"outbox-id\": \"followed\"}')")
        .await;
    let seq: i64 = stage.ask("select seq from outbox where id = 'own'").await;
    assert!(verb(&stage, &["trace", &format!("{seq}")]).starts_with("event own\n"));
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

#[tokio::test]
async fn status_names_the_relay_that_works() {
    let stage = Stage::set().await;
    let mut relay = Child::spawn(stage.command(&["run"]));
    relay.saw("this relay works").await;
    let holder = json(&stage, &["status", "--json"])["relay"]["holder"].as_str().expect("somebody works").to_owned();
    assert!(relay.log().contains(&holder), "{holder}");
    assert!(verb(&stage, &["status"]).contains(&holder));
    relay.signal(Signal::Term);
    assert_eq!(relay.wait().await, 0);
    assert!(json(&stage, &["status", "--json"])["relay"]["holder"].is_null(), "it gave its lease back");
    let said = status_line(&stage);
    assert!(said.starts_with("no relay is running (last seen ") && said.contains("s ago); "), "{said}");
    stage.enqueue("s", "event").await;
    assert!(status_line(&stage).ends_with("; nothing is final yet (the newest is 1)"), "{}", status_line(&stage));
}

/// `relay status | head -1`
#[tokio::test]
async fn a_reader_that_hangs_up_is_no_failure() {
    let stage = Stage::set().await;
    stage.enqueue_many("orders", 3).await;
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["blockers"],
        &["dead", "list"],
        &["migrate", "--print"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output =
            stage.command(arguments).stdout(writer).stderr(Stdio::piped()).output().expect("the binary runs");
        assert_eq!((output.status.code(), stderr(&output).as_str()), (DONE, ""), "{arguments:?}");
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

// ---- dead letters

/// Four dead letters, a held row and a plain one.
async fn with_dead_letters() -> Stage {
    let stage = Stage::set().await;
    stage
        .sql(
            "insert into outbox (stream, id, type, key, payload, headers, attempts, last_error, due_at, dead_at)
             select s, id, t, 'k', '{\"n\":  1.0}', '{\"tenant\": \"7\"}', 5, 'WRONGTYPE ' || id, 'infinity', now() - n * interval '1 hour'
               from (values ('a', 'a1', 't', 4), ('a', 'a2', 'u', 3), ('b', 'b1', 't', 2), ('b', 'b2', 'u', 1)) v(s, id, t, n);
             select outbox_enqueue('a', 't', '1', id => 'held', due_at => '2100-01-01');
             select outbox_enqueue('a', 't', '1', id => 'plain')",
        )
        .await;
    stage
}

fn listed(stage: &Stage, arguments: &[&str]) -> Vec<String> {
    let letters = json(stage, &[&["dead", "list", "--json"], arguments].concat());
    let ids = letters.as_array().expect("an array").iter();
    ids.map(|letter| letter["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn dead_letters_are_listed_newest_first_and_by_stream_and_type() {
    let stage = with_dead_letters().await;
    assert_eq!(listed(&stage, &[]), ["b2", "b1", "a2", "a1"]);
    assert_eq!(listed(&stage, &["--stream", "a"]), ["a2", "a1"]);
    assert_eq!(listed(&stage, &["--type", "t"]), ["b1", "a1"]);
    assert_eq!(listed(&stage, &["--stream", "b", "--type", "u"]), ["b2"]);
    assert_eq!(listed(&stage, &["--limit", "3"]), ["b2", "b1", "a2"]);
    assert_eq!(listed(&stage, &["--stream", "nowhere"]), [""; 0]);
    let letters = json(&stage, &["dead", "list", "--json"]);
    let fields = [
        "id",
        "stream",
        "group_name",
        "entry",
        "type",
        "key",
        "ver",
        "attempts",
        "last_error",
        "replays",
        "created_at",
        "dead_at",
    ];
    assert_eq!(keys(&letters[0]), fields.into(), "payloads are not listed");
    assert_eq!((&letters[0]["attempts"], &letters[0]["last_error"]), (&5.into(), &"WRONGTYPE b2".into()));

    let text = verb(&stage, &["dead", "list"]);
    assert!(text.starts_with("id  stream  group  type  attempts  replays  since"), "{text}");
    let ids: Vec<_> = text.lines().skip(1).map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(ids, ["b2", "b1", "a2", "a1"], "{text}");
    assert!(text.contains("WRONGTYPE a1"), "{text}");
    assert_eq!(verb(&stage, &["dead", "list", "--stream", "nowhere"]), "no dead letters\n");
}

#[tokio::test]
async fn a_dead_letter_is_shown_with_its_payload() {
    let stage = with_dead_letters().await;
    let shown = verb(&stage, &["dead", "show", "a1"]);
    assert!(shown.contains(r#""payload": {"n":  1.0}"#), "as it was written: {shown}");
    let letters: Value = serde_json::from_str(&shown).expect("JSON");
    let [letter] = &letters.as_array().expect("an array")[..] else { panic!("{shown}") };
    assert_eq!((&letter["id"], &letter["key"]), (&"a1".into(), &"k".into()));
    assert_eq!(letter["headers"]["tenant"], "7");
    assert!(letter.get("lane").is_none() && letter.get("earlier").is_none(), "{shown}");
    for id in ["nobody", "held", "plain", ""] {
        let sentence = sentence(&output(&mut stage.command(&["dead", "show", id])), FAILED);
        assert!(sentence.contains(&format!("{id:?}")), "{sentence}");
    }
}

#[tokio::test]
async fn a_dry_run_says_how_many_and_changes_nothing() {
    let stage = with_dead_letters().await;
    let rows = async || stage.ask::<String>("select string_agg(o::text, '|' order by seq) from outbox o").await;
    let before = rows().await;
    for change in ["replay", "drop"] {
        for (which, count) in [
            (&["a1"][..], 1),
            (&["a1", "b1"], 2),
            (&["--stream", "a"], 2),
            (&["--stream", "a", "--type", "t"], 1),
            (&["--all"], 4),
        ] {
            let said = verb(&stage, &[&["dead", change], which, &["--dry-run"]].concat());
            assert!(said.starts_with(&format!("{count} dead letter")) && said.contains("would"), "{said}");
        }
        let sentence = sentence(&output(&mut stage.command(&["dead", change, "nobody", "--dry-run"])), FAILED);
        assert_eq!(sentence, "there is no dead letter with the id \"nobody\"");
    }
    assert_eq!(rows().await, before);
}

#[tokio::test]
async fn replayed_dead_letters_leave_in_their_order() {
    let stage = with_dead_letters().await;
    let mut relay = stage.relay(&[]).await;
    stage.until_entries(&mut relay, "a", 1).await;
    assert!(verb(&stage, &["dead", "replay", "b2"]).starts_with("1 dead letter "));
    stage.until_entries(&mut relay, "b", 1).await;
    assert!(verb(&stage, &["dead", "replay", "--stream", "a"]).starts_with("2 dead letters "));
    stage.until_entries(&mut relay, "a", 3).await;
    assert!(verb(&stage, &["dead", "replay", "--all"]).starts_with("1 dead letter "));
    stage.until_entries(&mut relay, "b", 2).await;
    settle(&mut relay).await;
    assert_eq!(stage.ids("a").await, ["plain", "a1", "a2"], "and what is held stays held");
    assert_eq!(stage.ids("b").await, ["b2", "b1"]);
    assert_eq!(stage.entries("a").await[1].1.data, r#"{"n":  1.0}"#);
    assert_eq!(listed(&stage, &[]), [""; 0]);
    assert!(verb(&stage, &["dead", "replay", "--all"]).starts_with("0 dead letters "));
}

#[tokio::test]
async fn a_dropped_dead_letter_is_gone_for_good() {
    let stage = with_dead_letters().await;
    assert!(verb(&stage, &["dead", "drop", "a1", "b1"]).starts_with("2 dead letters dropped"));
    assert_eq!(listed(&stage, &[]), ["b2", "a2"]);
    assert!(verb(&stage, &["dead", "drop", "--type", "u", "--stream", "a"]).starts_with("1 dead letter dropped"));
    assert!(verb(&stage, &["dead", "drop", "--all"]).starts_with("1 dead letter dropped"));
    let left: String = stage.ask("select string_agg(id, ',' order by id) from outbox").await;
    assert_eq!(left, "held,plain", "only dead letters can be dropped");
}

#[tokio::test]
async fn an_id_that_is_no_dead_letter_is_a_failure_and_changes_nothing() {
    let stage = with_dead_letters().await;
    for change in ["replay", "drop"] {
        for id in ["nobody", "held", "plain"] {
            let sentence = sentence(&output(&mut stage.command(&["dead", change, id])), FAILED);
            assert_eq!(sentence, format!("there is no dead letter with the id {id:?}"));
        }
        let sentence = sentence(&output(&mut stage.command(&["dead", change, "held", "plain"])), FAILED);
        assert_eq!(sentence, "there is no dead letter with any of these 2 ids");
    }
    assert_eq!(listed(&stage, &[]).len(), 4);
    assert_eq!(stage.ask::<i64>("select count(*) from outbox").await, 6);
}

// ---- prune

/// Three events that were sent a day ago, and one that was not sent.
async fn with_old_rows() -> Stage {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many("s", 3).await;
    stage.until_entries(&mut relay, "s", 3).await;
    eventually("the report", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<i64>("select coalesce(max(sent_seq), 0) from outbox_stream").await == 3
    })
    .await;
    stage.sql("update outbox_receipt set published_at = now() - interval '1 day'").await;
    stage.enqueue("s", "unsent").await;
    stage
}

#[tokio::test]
async fn prune_deletes_what_is_old_and_sent_and_says_how_much() {
    let stage = with_old_rows().await;
    assert_eq!(verb(&stage, &["prune", "--retention", "2d"]), "deleted 0 published rows\n");
    assert_eq!(verb(&stage, &["prune", "--retention", "23h"]), "deleted 3 published rows\n");
    assert_eq!(verb(&stage, &["prune", "--retention", "1ms"]), "deleted 0 published rows\n");
    assert_eq!(stage.ask::<String>("select string_agg(id, ',') from outbox").await, "unsent");
}

/// The same variable means the same to every verb: 0 keeps rows for ever.
#[tokio::test]
async fn a_retention_of_0_keeps_rows_for_ever_also_when_pruning_by_hand() {
    let stage = with_old_rows().await;
    let output = output(stage.command(&["prune"]).env("RELAY_RETENTION", "0"));
    assert_eq!(stage.ask::<i64>("select count(*) from outbox").await, 4, "{}", stdout(&output));
}
