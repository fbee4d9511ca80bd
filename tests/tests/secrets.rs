//! A canary in every setting that is a secret and in every URL; then each program is made to fail in all ways that one can think of,
//! while it logs as much as it can. The canary must be found nowhere in what it says.

use std::process::Command;

use futures_util::{StreamExt, stream};
use outbox_tests::{Child, Stage, binary, eventually};
use sqlx::Connection;

const CANARY: &str = "k4n4ry";

/// What can be wrong with a URL whose password is a secret. `{server}` is one that refuses it.
const URLS: [&str; 11] = [
    "{scheme}://me:{canary}@{server}/0",
    "{scheme}://me:{canary}@127.0.0.1:1/0",
    "{scheme}://me:{canary}@nowhere.invalid/0",
    "{scheme}://me:{canary}@127.0.0.1:port/0",
    "{scheme}://me:{canary}@127.0.0.1:1/no/such/place",
    "{scheme}://me:{canary}@[::1/0",
    "{scheme}://me:{canary} x%zz@127.0.0.1:1/0",
    "{scheme}://me:{canary}\n@127.0.0.1:1/0",
    "{scheme}://127.0.0.1:1/0?password={canary}&sslmode=nonsense",
    "wrong://me:{canary}@127.0.0.1:1/0",
    "{canary}",
];

/// A setting that names a server: its variable and the schemes that it takes.
struct Server {
    variable: &'static str,
    scheme: &'static str,
    /// One that answers, and refuses.
    real: String,
    /// What passes every check, and leads nowhere; with the canary where a URL may hold one.
    sound: String,
}

impl Server {
    fn wrong_in(&self, way: &str) -> String {
        way.replace("{scheme}", self.scheme).replace("{canary}", CANARY).replace("{server}", &self.real)
    }
}

/// A program with its verbs and secrets.
struct Program {
    name: &'static str,
    verbs: Vec<Vec<&'static str>>,
    servers: Vec<Server>,
    /// Further settings; in those that are secrets stands the canary.
    settings: Vec<(&'static str, String)>,
}

impl Program {
    fn command(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(binary(self.name));
        command.args(verb).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env(format!("{}_LOG", self.name.to_uppercase()), "trace");
        for server in &self.servers {
            command.env(server.variable, &server.sound);
        }
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Every verb with every server wrong in every way; and its help.
    async fn keeps_its_secrets(&self) {
        let mut commands = vec![];
        for (nth, verb) in self.verbs.iter().enumerate() {
            // All of them read their settings alike, so one verb tries everything.
            let ways = if nth == 0 { &URLS[..] } else { &URLS[..3] };
            commands.push(self.command(&[&verb[..], &["--help"]].concat()));
            commands.push(self.command(&[&verb[..], &["--no-such-flag", CANARY]].concat()));
            for server in &self.servers {
                for way in ways {
                    let mut command = self.command(verb);
                    command.env(server.variable, server.wrong_in(way));
                    commands.push(command);
                }
            }
        }
        stream::iter(commands).for_each_concurrent(4, said_nothing).await;
    }
}

/// Runs until it has ended, or has complained; `run` goes on trying.
async fn said_nothing(command: Command) {
    let told = format!("{command:?}");
    let child = Child::spawn(command);
    eventually(&format!("an end or a complaint of {told}"), async || {
        let log = child.log();
        child.has_ended() || log.lines().any(is_complaint)
    })
    .await;
    child.kill_9();
    let log = child.log();
    // Whoever types a secret where none belongs is told what was typed; the flag above is the only such place.
    let log = log.replace(&format!("'--no-such-flag' {CANARY}"), "");
    let at = log.find(CANARY);
    assert!(at.is_none(), "{told} says {:?}", at.map(|at| &log[at.saturating_sub(200)..log.len().min(at + 50)]));
}

/// What a program says of a server that it goes on asking; not what it says of settings that any test has.
fn is_complaint(line: &str) -> bool {
    let waits = line.ends_with("; waiting") || line.starts_with("pipeline: waiting for");
    waits || ((line.contains(" WARN ") || line.contains(" ERROR ")) && !line.contains("relay doctor"))
}

fn server(variable: &'static str, scheme: &'static str, real: impl Into<String>) -> Server {
    let sound = match scheme {
        "postgres" | "redis" => format!("{scheme}://me:{CANARY}@127.0.0.1:1/0"),
        "s3" => "s3://archive/folder".to_owned(),
        _ => "http://127.0.0.1:1".to_owned(),
    };
    Server { variable, scheme, real: real.into(), sound }
}

/// Redis asks for a password that we do not have; Postgres knows nobody who is called `me`.
async fn stage() -> (Stage, Server, Server) {
    let stage = Stage::set().await;
    stage.redis.command(&["CONFIG", "SET", "requirepass", "another"]).await;
    // The one takes any password, so that what comes after it is reached, too.
    let database = stage.database_url.replace("//postgres@", &format!("//postgres:{CANARY}@"));
    let postgres = server("DATABASE_URL", "postgres", format!("127.0.0.1:{}", stage.postgres.port()));
    let postgres = Server { sound: database, ..postgres };
    let redis = server("REDIS_URL", "redis", format!("127.0.0.1:{}", stage.redis.port()));
    (stage, postgres, redis)
}

fn secret() -> String {
    format!("{CANARY}-{}", "0123456789abcdef".repeat(3))
}

#[tokio::test]
async fn the_relay_keeps_its_secrets_however_it_fails() {
    let (_stage, postgres, redis) = stage().await;
    Program {
        name: "relay",
        verbs: vec![vec!["run"], vec!["status"], vec!["doctor"], vec!["migrate"], vec!["dead", "list"]],
        servers: vec![postgres, redis, server("OTEL_EXPORTER_OTLP_ENDPOINT", "http", "127.0.0.1:1")],
        settings: vec![
            ("RELAY_LISTEN", "127.0.0.1:0".to_owned()),
            ("RELAY_READ_TOKEN", format!("read-{}", secret())),
            ("RELAY_WRITE_TOKEN", format!("write-{}", secret())),
            ("RELAY_PUBLISH_TOKEN", format!("publish-{}", secret())),
            ("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer {}", secret())),
        ],
    }
    .keeps_its_secrets()
    .await;
}

#[tokio::test]
async fn the_scraper_keeps_its_secrets_however_it_fails() {
    let (_stage, postgres, _redis) = stage().await;
    let folder = tempfile::tempdir().expect("a folder");
    let sources = folder.path().join("sources.toml");
    std::fs::write(&sources, "[[source]]\nname = 'daily'\nsitemaps = ['http://127.0.0.1:1/s.xml']\n")
        .expect("written");
    Program {
        name: "fallah",
        verbs: vec![vec!["run"], vec!["once"], vec!["sources"], vec!["migrate"]],
        servers: vec![postgres],
        settings: vec![("FALLAH_SOURCES", sources.display().to_string())],
    }
    .keeps_its_secrets()
    .await;
}

#[tokio::test]
async fn the_archive_keeps_its_secrets_however_it_fails() {
    let (stage, postgres, redis) = stage().await;
    let mut db = sqlx::PgConnection::connect(&stage.database_url).await.expect("Postgres is there");
    hasad::migrate(&mut db).await.expect("a fresh database can be migrated");
    Program {
        name: "hasad",
        verbs: vec![vec!["run"], vec!["migrate"], vec!["history", "https://daily.example/1"], vec!["fsck"]],
        servers: vec![
            postgres,
            redis,
            server("AWS_ENDPOINT_URL", "http", "127.0.0.1:1"),
            server("HASAD_STORE", "s3", "bucket"),
        ],
        settings: vec![
            ("AWS_ACCESS_KEY_ID", secret()),
            ("AWS_SECRET_ACCESS_KEY", secret()),
            ("AWS_SESSION_TOKEN", secret()),
        ],
    }
    .keeps_its_secrets()
    .await;
}

#[tokio::test]
async fn the_readers_side_keeps_its_secrets_however_it_fails() {
    let (_stage, _postgres, redis) = stage().await;
    let folder = tempfile::tempdir().expect("a folder");
    Program {
        name: "bisan",
        verbs: vec![vec!["run"], vec!["status"], vec!["reindex"], vec!["index-settings"], vec!["settings"]],
        servers: vec![redis, server("MEILI_URL", "http", "127.0.0.1:1")],
        settings: vec![
            ("BISAN_DATABASE", folder.path().join("bisan.sqlite").display().to_string()),
            ("BISAN_LISTEN", "127.0.0.1:0".to_owned()),
            ("MEILI_KEY", secret()),
        ],
    }
    .keeps_its_secrets()
    .await;
}

#[tokio::test]
async fn the_pipeline_keeps_its_secrets_however_it_fails() {
    let (_stage, postgres, redis) = stage().await;
    let folder = tempfile::tempdir().expect("a folder");
    Program {
        name: "pipeline",
        verbs: vec![vec![]],
        servers: vec![postgres, redis, server("MEILI_URL", "http", "127.0.0.1:1")],
        settings: vec![
            ("PIPELINE_DATA", folder.path().display().to_string()),
            ("PIPELINE_LISTEN", "127.0.0.1:0".to_owned()),
            ("MEILI_KEY", secret()),
            ("AWS_ACCESS_KEY_ID", secret()),
            ("AWS_SECRET_ACCESS_KEY", secret()),
        ],
    }
    .keeps_its_secrets()
    .await;
}
