//! A canary in every setting that is a secret and in every URL; then each program is made to fail in all ways that one can think of,
//! while it logs as much as it can. The canary must be found nowhere in what it says.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use outbox::Event;
use outbox_tests::{Cellar, Child, Reading, Signal, Stage, Store, binary, consume, eventually, story, told};
use serde_json::{Value, json};
use sqlx::Connection;

const CANARY: &str = "k4n4ry";
/// Who goes on trying is listened to for so long.
const COMPLAINING_MAX: Duration = Duration::from_millis(700);

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

const PAGE: &str = "https://daily.example/1";

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
    /// Further settings that are secrets, each with the canary in it.
    secrets: Vec<(&'static str, String)>,
    /// And those that are none.
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
        command.envs(self.settings.iter().chain(&self.secrets).map(|(name, value)| (name, value)));
        command
    }

    /// Everything that is a secret, or may hold one, as it is when nothing is wrong with it.
    fn hidden(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let servers = self.servers.iter().map(|server| (server.variable, server.sound.as_str()));
        servers.chain(self.secrets.iter().map(|(name, value)| (*name, value.as_str())))
    }

    /// One secret after the other wrong in every way, and every one of them in a file, which may be wrong, too.
    fn commands_of_secrets(&self, folder: &Path) -> Vec<Command> {
        let verb = &self.verbs[0];
        let file = |name: &str, bytes: &[u8]| {
            let file = folder.join(name);
            std::fs::write(&file, bytes).expect("written");
            file
        };
        let mut commands = vec![];
        for (name, value) in &self.secrets {
            for wrong in
                [CANARY, &format!("{value}\n{value}"), &format!("{value}\u{e9}\u{202e}"), &format!(" {value} ")]
            {
                let mut command = self.command(verb);
                command.env(name, wrong);
                commands.push(command);
            }
        }
        let mut all = self.command(verb);
        for (name, value) in self.hidden() {
            let named = format!("{name}_FILE");
            all.env_remove(name).env(&named, file(&format!("{}-{name}", self.name), format!("{value}\n").as_bytes()));
            let two_lines = format!("{value}\n{value}\n").into_bytes();
            for (nth, wrong) in [two_lines, CANARY.into(), [value.as_bytes(), b"\xff"].concat()].iter().enumerate() {
                let mut command = self.command(verb);
                command.env_remove(name).env(&named, file(&format!("{}-{name}-{nth}", self.name), wrong));
                commands.push(command);
            }
            let mut no_text = self.command(verb);
            no_text.env(name, OsStr::from_bytes(&[value.as_bytes(), b"\xff"].concat()));
            let mut both = self.command(verb);
            both.env(&named, file(&format!("{}-{name}-both", self.name), value.as_bytes()));
            commands.extend([no_text, both]);
        }
        commands.push(all);
        commands
    }

    /// Every verb with every server wrong in every way, every secret in every way; and its help.
    async fn keeps_its_secrets(&self) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut commands = self.commands_of_secrets(folder.path());
        for (nth, verb) in self.verbs.iter().enumerate() {
            // All of them read their settings alike, so one verb tries everything.
            let ways = if nth == 0 { &URLS[..] } else { &URLS[..2] };
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

/// Runs until it has ended, or has complained. `run` goes on trying, so it is let complain for a while, and asked to stop: what it says
/// then is heard, too.
async fn said_nothing(command: Command) {
    let told = format!("{command:?}");
    let mut child = Child::spawn(command);
    let complaints = |child: &Child| child.log().lines().filter(|line| is_complaint(line)).count();
    eventually(&format!("an end or a complaint of {told}"), async || child.has_ended() || complaints(&child) > 0)
        .await;
    let more = eventually("its end, or more complaints", async || child.has_ended() || complaints(&child) > 2);
    // Not everybody says the same thing twice.
    let _ = tokio::time::timeout(COMPLAINING_MAX, more).await;
    child.signal(Signal::Term);
    child.wait().await;
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
        verbs: vec![
            vec!["run"],
            vec!["status"],
            vec!["doctor"],
            vec!["migrate"],
            vec!["groups"],
            vec!["blockers"],
            vec!["trace", "a"],
            vec!["pause", "s"],
            vec!["resume", "s"],
            vec!["verify"],
            vec!["replay", "--stream", "s", "--group", "g", "--from", "1", "--to", "2"],
            vec!["prune"],
            vec!["dead", "list"],
            vec!["dead", "show", "a"],
            vec!["dead", "replay", "--all"],
            vec!["dead", "drop", "--all"],
        ],
        servers: vec![postgres, redis, server("OTEL_EXPORTER_OTLP_ENDPOINT", "http", "127.0.0.1:1")],
        settings: vec![("RELAY_LISTEN", "127.0.0.1:0".to_owned())],
        secrets: vec![
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
        verbs: vec![vec!["run"], vec!["once"], vec!["sources"], vec!["resume", "daily"], vec!["migrate"]],
        servers: vec![postgres],
        secrets: vec![],
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
        verbs: vec![
            vec!["run"],
            vec!["migrate"],
            vec!["history", PAGE],
            vec!["show", PAGE],
            vec!["diff", PAGE],
            vec!["get", PAGE],
            vec!["fsck"],
            vec!["gc"],
            vec!["export-ndjson"],
            vec!["import-ndjson", "/dev/null", "--without-end"],
            vec!["purge", "--dry-run", PAGE],
        ],
        servers: vec![
            postgres,
            redis,
            server("AWS_ENDPOINT_URL", "http", "127.0.0.1:1"),
            server("HASAD_STORE", "s3", "bucket"),
        ],
        settings: vec![],
        secrets: vec![
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
        verbs: vec![
            vec!["run"],
            vec!["status"],
            vec!["reindex"],
            vec!["index-settings"],
            vec!["settings"],
            vec!["search", "a"],
            vec!["verify", "--full"],
            vec!["repair"],
            vec!["rebuild", "--without-end", "--from-hasad", "/dev/null"],
        ],
        servers: vec![redis, server("MEILI_URL", "http", "127.0.0.1:1")],
        settings: vec![
            ("BISAN_DATABASE", folder.path().join("bisan.sqlite").display().to_string()),
            ("BISAN_LISTEN", "127.0.0.1:0".to_owned()),
        ],
        secrets: vec![("MEILI_KEY", secret())],
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
        servers: vec![
            postgres,
            redis,
            server("MEILI_URL", "http", "127.0.0.1:1"),
            server("AWS_ENDPOINT_URL", "http", "127.0.0.1:1"),
            server("HASAD_STORE", "s3", "bucket"),
            server("OTEL_EXPORTER_OTLP_ENDPOINT", "http", "127.0.0.1:1"),
        ],
        settings: vec![
            ("PIPELINE_DATA", folder.path().display().to_string()),
            ("PIPELINE_LISTEN", "127.0.0.1:0".to_owned()),
        ],
        secrets: vec![
            ("MEILI_KEY", secret()),
            ("AWS_ACCESS_KEY_ID", secret()),
            ("AWS_SECRET_ACCESS_KEY", secret()),
            ("AWS_SESSION_TOKEN", secret()),
            ("RELAY_READ_TOKEN", format!("read-{}", secret())),
            ("RELAY_WRITE_TOKEN", format!("write-{}", secret())),
            ("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer {}", secret())),
        ],
    }
    .keeps_its_secrets()
    .await;
}

/// What an event says is for its readers. None of those who handle it, take effect by it or bury it puts it into a log. Where it comes
/// from (its address, its hash, its times) is no content: of that it is told what is wrong.
#[tokio::test]
async fn no_payload_is_in_the_log_of_who_consumes_it() {
    let cellar = Cellar::open(Store::Folder).await;
    let upserted = contract::ArticleUpserted::TYPE;
    let whole = story("2", 1, CANARY).payload();
    let mut told_of =
        vec![(upserted, story("1", 1, CANARY).payload()), (upserted, json!(CANARY)), ("of.nobody", json!(CANARY))];
    for part in ["version", "article", "fetched_at", "content_hash", "tags", "language", "source_url"] {
        let is_told = ["fetched_at", "content_hash", "source_url"].contains(&part);
        let text = if is_told { json!({ CANARY: CANARY }) } else { json!(CANARY) };
        for wrong in [json!([CANARY, { CANARY: CANARY }]), text] {
            let mut odd = whole.clone();
            odd[part] = wrong;
            told_of.push((upserted, odd));
        }
    }
    let event = |(nth, (r#type, payload)): (usize, &(&str, Value))| {
        Event::draft(contract::STREAM, *r#type)
            .id(format!("event-{nth}"))
            .header("x", CANARY)
            .json(payload)
            .expect("JSON")
    };
    let events: Vec<Event> = told_of.iter().enumerate().map(event).collect();
    cellar.tell(&events).await;
    let mut archive = Child::spawn(cellar.command(&["run", "--log", "trace", "--attempts-max", "1"]));
    cellar.until_settled().await;

    let reading = Reading::open().await;
    reading.say(&[told("1", 1, CANARY, CANARY).by(CANARY, None).export()]).await;
    for (nth, (r#type, payload)) in told_of.iter().enumerate() {
        reading.say_raw(&format!("event-{nth}"), r#type, 1, &payload.to_string()).await;
    }
    let mut readers = reading.run(&["--log", "trace", "--attempts-max", "1"]);
    reading.until_consumed().await;

    let ledger = outbox_tests::Effects::on(&cellar.stage).await;
    let flags =
        ["--stream", contract::STREAM, "--group", "others", "--attempts-max", "1", "--quiet", "--log", "trace"];
    let mut others = consume(&cellar.stage, &flags);
    eventually("all of them to have taken effect", async || ledger.of("others").await.len() == events.len()).await;
    for child in [&mut archive, &mut readers, &mut others] {
        child.signal(Signal::Term);
        child.wait().await;
        let log = child.log();
        let at = log.find(CANARY);
        assert!(at.is_none(), "{:?}", at.map(|at| &log[at.saturating_sub(300)..log.len().min(at + 50)]));
    }
    assert!(archive.log().len() > 1_000 && readers.log().len() > 1_000, "they said a lot");
}
