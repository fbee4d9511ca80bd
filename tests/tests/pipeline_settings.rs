//! What the pipeline is told: phases that are turned on and off, settings that are wrong, and whose servers they name.

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use outbox_tests::{Child, SearchServer, Signal, Stage, eventually, text};
use rustix::process::Pid;

use crate::pipeline::{Pipeline, command, data, reading, site};

#[tokio::test]
async fn each_phase_of_a_migration_can_be_undone() {
    let data = data();
    let (_site, file) = site(data.path()).await;
    let start = |flags: &'static [&'static str]| Pipeline::start_as(reading(data.path(), &file, flags));

    // Read, and nobody is told.
    let pipeline = start(&["--publish-events", "off"]).await;
    eventually("an item", async || pipeline.stages().await["fallah"]["items"] == 1).await;
    let stages = pipeline.stages().await;
    assert_eq!((&stages["outbox"]["waits"], &stages["outbox"]["sent"]), (&0.into(), &0.into()), "{stages}");
    pipeline.end().await;

    // Told, and the archive rests: what it has not seen waits for it.
    let pipeline = start(&["--hasad-consume", "off"]).await;
    pipeline.finds("zanzibar").await;
    eventually("an event that waits for the archive", async || {
        let hasad = &pipeline.stages().await["hasad"];
        hasad["state"] == "off" && hasad["lag"].as_i64() >= Some(1) && hasad["versions"] == 0
    })
    .await;
    pipeline.end().await;

    // It catches up, while the reader's side rests and goes on to serve.
    let pipeline = start(&["--bisan-consume", "off"]).await;
    eventually("the archive to catch up", async || pipeline.stages().await["hasad"]["versions"] == 1).await;
    assert_eq!(pipeline.stages().await["bisan"]["state"], "off");
    assert_eq!(pipeline.articles().await.len(), 1);
    pipeline.end().await;
}

#[tokio::test]
async fn the_search_index_is_written_by_phase_and_asked_only_when_it_is_on() {
    let data = data();
    let (site, file) = site(data.path()).await;
    let index = SearchServer::open().await;
    let start = async |phase: &'static str| {
        let mut command = reading(data.path(), &file, &["--search-write", phase]);
        command
            .env("MEILI_URL", &index.url)
            .env("MEILI_KEY", index.key.as_deref().unwrap_or_default())
            .env("BISAN_MEILI_INDEX", &index.index);
        Pipeline::start_as(command).await
    };
    let engine = async |pipeline: &Pipeline, words: &str| {
        pipeline.json(&format!("/search?q={words}")).await["engine"].as_str().expect("an engine").to_owned()
    };
    // Off: nobody asks for it, and nobody writes there.
    let pipeline = start("off").await;
    pipeline.finds("zanzibar").await;
    assert_eq!(engine(&pipeline, "zanzibar").await, "fts5");
    pipeline.end().await;
    assert!(index.documents(&index.index).await.is_empty());

    // Shadow: it is written, what came before included, and SQLite answers.
    let pipeline = start("shadow").await;
    eventually("the index to have the article", async || index.documents(&index.index).await.len() == 1).await;
    assert_eq!(engine(&pipeline, "zanzibar").await, "fts5");
    pipeline.end().await;

    // On: it answers.
    let pipeline = start("on").await;
    eventually("the index to answer", async || engine(&pipeline, "zanzibar").await == "meilisearch").await;
    site.article("/a", "Zanzibar paints a lighthouse", &text(1));
    pipeline.finds("paints").await;
    pipeline.end().await;

    // And back: one setting.
    let pipeline = start("off").await;
    assert_eq!(engine(&pipeline, "paints").await, "fts5");
    pipeline.end().await;
}

#[tokio::test]
async fn two_pipelines_never_share_their_data() {
    let data = data();
    let start = || {
        let mut command = command(data.path(), &["--demo", "on"]);
        // Nobody listens there, so it waits for as long as it takes.
        command.env("DATABASE_URL", "postgres://127.0.0.1:1/x").env("REDIS_URL", "redis://127.0.0.1:1");
        Child::spawn(command)
    };
    let mut first = start();
    first.saw("waiting for Postgres").await;
    let mut second = start();
    assert_eq!(second.wait().await, 64);
    assert_eq!(second.log().lines().count(), 1, "one sentence: {}", second.log());
    assert!(second.log().contains("another pipeline works with"), "{}", second.log());
    first.signal(Signal::Term);
    assert_eq!(first.wait().await, 0);
}

#[tokio::test]
async fn wrong_settings_end_it_before_anything_begins() {
    let data = data();
    let below = data.path().join("below");
    for (flags, word) in [
        (&["--sources", "/nowhere.toml"][..], "/nowhere.toml"),
        (&["--hasad-consume", "perhaps"], "PIPELINE_HASAD_CONSUME"),
        (&["--database-url", "mysql://x"], "DATABASE_URL"),
    ] {
        let output = command(&below, flags).output().expect("it can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.lines().count() == 1 && said.contains(word), "{said}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    assert!(!below.exists(), "nothing was made");
    let output = command(&below, &["--listen", &address]).output().expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("PIPELINE_LISTEN") && said.contains(&address), "{said}");
}

#[tokio::test]
async fn what_is_made_up_goes_into_a_postgres_of_yours_only_if_you_say_so() {
    let (data, stage) = (data(), Stage::set().await);
    let below = data.path().join("below");
    let start = |flags: &[&str]| {
        let mut command = command(&below, flags);
        command.env("DATABASE_URL", &stage.database_url);
        command
    };
    let output = start(&[]).output().expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.lines().count() == 1 && said.contains("DATABASE_URL") && said.contains("--demo on"), "{said}");
    assert!(!below.exists(), "nothing was made");
    let tables: i64 = stage.ask("select count(*) from pg_namespace where nspname = 'fallah'").await;
    assert_eq!(tables, 0, "and nothing there either");

    let pipeline = Pipeline::start_as(start(&["--demo", "on"])).await;
    pipeline.finds("crane+quay").await;
    let said = pipeline.child.log();
    let (_, at) = stage.database_url.rsplit_once('@').expect("a user");
    assert!(
        said.contains(&format!("Postgres: yours, {at}")) && said.contains("Redis: private, 127.0.0.1:"),
        "{said}"
    );
    let items: i64 = stage.ask("select count(*) from fallah.item").await;
    assert!(items > 0);
    pipeline.end().await;
}

#[tokio::test]
async fn a_shell_with_the_pipelines_own_addresses_names_nothing_of_yours() {
    let data = data();
    let pipeline = Pipeline::start(data.path(), &[]).await;
    pipeline.finds("crane+quay").await;
    pipeline.end().await;

    let own = std::fs::read_to_string(data.path().join("env")).expect("it was written");
    let mut again = command(data.path(), &[]);
    for line in own.lines() {
        let (name, value) = line.trim_start_matches("export ").split_once('=').expect("a variable");
        again.env(name, value.trim_matches('\''));
    }
    let pipeline = Pipeline::start_as(again).await;
    let said = pipeline.child.log();
    assert!(
        said.contains("Postgres: private") && said.contains("Redis: private") && !said.contains("yours"),
        "{said}"
    );
    assert!(!pipeline.articles().await.is_empty());
    pipeline.end().await;
}

/// Whether a server asks within half a minute of silence if the other side of a connection of loopback is there; yes where the
/// system does not tell (Linux does).
fn asks_soon(server: u16, client: u16) -> bool {
    let Ok(table) = std::fs::read_to_string("/proc/net/tcp") else { return true };
    let (from, to) = (format!("0100007F:{server:04X}"), format!("0100007F:{client:04X}"));
    let fields: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let Some(line) = fields.iter().find(|fields| fields.get(1..3) == Some(&[from.as_str(), to.as_str()])) else {
        return false;
    };
    // Timer 2 is this one; times are in hundredths of a second.
    let (timer, left) = line[5].split_once(':').expect("a timer");
    timer == "02" && u64::from_str_radix(left, 16).expect("a number") <= 30 * 100
}

/// All processes of a Postgres, stopped until this goes.
struct Frozen(Vec<Pid>);

impl Frozen {
    fn all_of(stage: &Stage) -> Self {
        let file = std::fs::read_to_string(stage.postgres.data_dir().join("postmaster.pid")).expect("it runs");
        let first = file.lines().next().expect("a number").trim().to_owned();
        // The first one begins no others then.
        let mut this = Self(vec![pid(&first)]);
        this.send(rustix::process::Signal::STOP);
        let output = Command::new("ps").args(["-o", "pid=", "--ppid", &first]).output().expect("ps");
        this.0.extend(String::from_utf8(output.stdout).expect("text").lines().map(pid));
        assert!(this.0.len() > 1);
        this.send(rustix::process::Signal::STOP);
        this
    }

    fn send(&self, signal: rustix::process::Signal) {
        self.0.iter().for_each(|process| _ = rustix::process::kill_process(*process, signal));
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.send(rustix::process::Signal::CONT);
    }
}

fn pid(text: &str) -> Pid {
    Pid::from_raw(text.trim().parse().expect("a number")).expect("a process")
}

#[tokio::test]
async fn a_pipeline_ends_while_the_postgres_that_was_named_is_frozen() {
    let (data, stage) = (data(), Stage::set().await);
    let (_site, file) = site(data.path()).await;
    let mut command = reading(data.path(), &file, &["--drain-max", "2s"]);
    command.env("DATABASE_URL", &stage.database_url).env("REDIS_URL", stage.redis.url());
    let mut pipeline = Pipeline::start_as(command).await;
    pipeline.finds("zanzibar").await;
    let frozen = Frozen::all_of(&stage);
    // Its lock is looked at every five seconds: by now it waits for an answer, or has given that up.
    let since = Instant::now();
    eventually("the lock to be looked at", async || since.elapsed() > Duration::from_secs(6)).await;
    let asked = Instant::now();
    pipeline.child.signal(Signal::Term);
    assert_eq!(pipeline.child.wait().await, 0, "{}", pipeline.child.log());
    assert!(asked.elapsed() < Duration::from_secs(15), "it took {:?}", asked.elapsed());
    drop(frozen);
}

#[tokio::test]
async fn a_second_pipeline_at_one_postgres_is_refused_and_a_first_one_that_was_killed_is_no_hindrance() {
    let (data, stage, others) = (data(), Stage::set().await, crate::pipeline::data());
    let (_site, file) = site(data.path()).await;
    let with = |mut command: Command| {
        command.env("DATABASE_URL", &stage.database_url).env("REDIS_URL", stage.redis.url());
        command
    };
    let mut first = Pipeline::start_as(with(reading(data.path(), &file, &[]))).await;
    first.finds("zanzibar").await;

    let mut second = Child::spawn(with(reading(others.path(), &file, &[])));
    // It may be over in a moment: a unit begins again after 1, and not after 64.
    assert_eq!(second.wait().await, 1, "{}", second.log());
    assert!(second.log().contains("another pipeline works with the Postgres 127.0.0.1:"), "{}", second.log());

    // A session that is lost is followed by another one.
    let holder = "select coalesce(max(pid), 0) from pg_locks where locktype = 'advisory' and granted and objsubid = 1
                     and database = (select oid from pg_database where datname = current_database())
                     and objid = (hashtext('pipeline')::bigint & 4294967295)::oid";
    let before: i32 = stage.ask(holder).await;
    assert!(before > 0, "somebody holds it");
    // A machine that is gone hangs nothing up: Postgres asks soon whether it is there, and not after the two hours of a system.
    let soon = async |holder: i32| {
        eventually("its keepalive", async || {
            let port = format!("select client_port from pg_stat_activity where pid = {holder}");
            asks_soon(stage.postgres.port(), u16::try_from(stage.ask::<i32>(&port).await).expect("over TCP"))
        })
        .await;
    };
    soon(before).await;
    let ended: bool = stage.ask(&format!("select pg_terminate_backend({before})")).await;
    assert!(ended);
    let now = eventually("another session to hold it", async || {
        let now: i32 = stage.ask(holder).await;
        (now > 0 && now != before).then_some(now)
    })
    .await;
    soon(now).await;

    first.child.kill_9();
    first.child.wait().await;
    let first = Pipeline::start_as(with(reading(data.path(), &file, &[]))).await;
    first.finds("zanzibar").await;
    first.end().await;
}
