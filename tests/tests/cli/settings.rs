//! Wrong flags and settings: each is one sentence, before anything connects.

use super::*;

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
