//! All of it in one process: from a page to a reader, with servers of its own that fall, end and come back.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use outbox_tests::{Child, Reply, SearchServer, Signal, Site, binary, eventually, get, get_json, text};
use rustix::process::{Pid, kill_process};
use serde_json::Value;

/// A data folder that ends with its test. Servers of another user come in, too.
pub(crate) fn data() -> tempfile::TempDir {
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    tempfile::Builder::new().permissions(open).tempdir().expect("a folder")
}

/// The program, with nothing of this machine's settings.
pub(crate) fn command(data: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(binary("pipeline"));
    let settings = ["RELAY_", "FALLAH_", "HASAD_", "BISAN_", "PIPELINE_", "MEILI_", "DATABASE_URL", "REDIS_"];
    for (name, _) in std::env::vars().filter(|(name, _)| settings.iter().any(|setting| name.starts_with(setting))) {
        command.env_remove(name);
    }
    command.arg("--data").arg(data).args(flags);
    command
}

/// One that runs.
pub(crate) struct Pipeline {
    pub(crate) child: Child,
    pub(crate) home: SocketAddr,
}

impl Pipeline {
    pub(crate) async fn start(data: &Path, flags: &[&str]) -> Self {
        Self::start_as(command(data, flags)).await
    }

    pub(crate) async fn start_as(command: Command) -> Self {
        let child = Child::spawn(command);
        let line = child.saw("open http://").await;
        let home = line.trim().trim_start_matches("open http://").trim_end_matches('/').parse().expect("an address");
        Self { child, home }
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        get_json(self.home, path).await.json()
    }

    pub(crate) async fn stages(&self) -> Value {
        self.json("/stages").await["stages"].take()
    }

    pub(crate) async fn articles(&self) -> Vec<Value> {
        self.json("/articles?size=100").await["articles"].as_array().expect("a list").clone()
    }

    /// Waits until a search finds exactly one article, and returns it.
    pub(crate) async fn finds(&self, words: &str) -> Value {
        let path = format!("/search?q={words}");
        eventually(&format!("{words} to be found"), async || {
            let found = self.json(&path).await;
            (found["total"] == 1).then(|| found["hits"][0].clone())
        })
        .await
    }

    /// The archive's versions of a page, the newest first.
    pub(crate) async fn versions(&self, url: &str) -> Vec<Value> {
        self.json(&format!("/versions?url={url}")).await["versions"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until the archive has so many versions of a page.
    pub(crate) async fn until_versions(&self, url: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} versions of {url}"), async || {
            Some(self.versions(url).await).filter(|versions| versions.len() >= count)
        })
        .await
    }

    pub(crate) async fn end(mut self) {
        self.child.signal(Signal::Int);
        assert_eq!(self.child.wait().await, 0, "{}", self.child.log());
        assert!(self.child.log().contains("pipeline: stopped"), "{}", self.child.log());
    }
}

fn pid_in(file: &Path) -> Pid {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    Pid::from_raw(text.lines().next().and_then(|line| line.trim().parse().ok()).expect("a number"))
        .expect("a process")
}

fn postgres_of(data: &Path) -> Pid {
    pid_in(&data.join("postgres/data/postmaster.pid"))
}

fn redis_of(data: &Path) -> Pid {
    pid_in(&data.join("redis/redis.pid"))
}

fn parent_of(process: Pid) -> Pid {
    let output = Command::new("ps").args(["-o", "ppid=", "-p", &process.to_string()]).output().expect("ps");
    let text = String::from_utf8(output.stdout).expect("text");
    Pid::from_raw(text.trim().parse().expect("a number")).expect("a process")
}

fn kill_9(process: Pid) {
    kill_process(process, rustix::process::Signal::KILL).expect("it is there, and we may");
}

/// The ports of the private servers, as they are remembered.
pub(crate) fn ports(data: &Path) -> [u16; 2] {
    ["postgres.port", "redis.port"]
        .map(|file| std::fs::read_to_string(data.join(file)).expect("it is there").trim().parse().expect("a port"))
}

pub(crate) fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// A scripted site with one article, and the file that names it as a source.
pub(crate) async fn site(data: &Path) -> (Site, PathBuf) {
    let site = Site::open().await;
    site.sitemap("/sitemap.xml", &["/a"]);
    site.article("/a", "Zanzibar opens a lighthouse", &text(1));
    let file = data.join("sources.toml");
    let lists =
        format!("sitemaps = [\"{}\"]\ndelay = \"0\"\npoll_min = \"1s\"\npoll_max = \"1s\"", site.url("/sitemap.xml"));
    std::fs::write(&file, format!("[[source]]\nname = \"daily\"\n{lists}\n")).expect("written");
    (site, file)
}

/// With what it takes to read a site of this machine, and soon again.
pub(crate) fn reading(data: &Path, file: &Path, flags: &[&str]) -> Command {
    let mut command = command(data, &[&["--sources", file.to_str().expect("a name")], flags].concat());
    command
        .env("FALLAH_ALLOW_NETS", "127.0.0.1")
        .env("FALLAH_RECHECK_MIN", "0")
        .env("FALLAH_RECHECK_MAX", "1s")
        .env("FALLAH_REMOVAL_INTERVAL", "100ms");
    command.env("FALLAH_RETRY_DELAY_MIN", "100ms").env("FALLAH_CONTACT", "https://example.org/bot");
    command
}

#[tokio::test]
async fn a_newcomer_reads_and_finds_articles_without_any_setting() {
    let data = data();
    let pipeline = Pipeline::start(data.path(), &[]).await;
    let crane = pipeline.finds("crane+quay").await;
    assert_eq!(crane["source_name"], "harbour-post");
    assert_eq!(crane["authors"][0]["name"], "Tom Ellery");
    let library = pipeline.finds("%D9%85%D9%83%D8%AA%D8%A8%D8%A9").await;
    assert_eq!(library["language"], "ar");

    let start = get(pipeline.home, "/", &[]).await;
    assert_eq!(start.status, 200);
    assert!(start.body.contains("crane") && start.body.contains("stage-fallah"), "{}", start.body);
    assert!(start.header("content-security-policy").contains("default-src 'none'"));
    for path in ["/start.js", "/start.css", "/style.css", "/articles", "/live"] {
        assert_eq!(get(pipeline.home, path, &[]).await.status, 200, "{path}");
    }
    let url = crane["source_url"].as_str().expect("an address").to_owned();
    // Archive and reader are given an event at once, and neither waits for the other.
    pipeline.until_versions(&url, 1).await;
    let versions = get(pipeline.home, &format!("/versions?url={url}"), &[]).await;
    assert!(versions.status == 200 && versions.body.contains("Version 1"), "{}", versions.body);
    assert_eq!(get_json(pipeline.home, "/versions?url=http://nowhere/").await.status, 404);
    assert_eq!(get_json(pipeline.home, "/versions").await.status, 400);

    let stages = eventually("every stage to have seen two articles", async || {
        let stages = pipeline.stages().await;
        let seen = [("fallah", "pages"), ("relay", "sent"), ("hasad", "versions"), ("bisan", "articles")];
        seen.iter().all(|(stage, number)| stages[stage][number].as_i64() >= Some(2)).then_some(stages)
    })
    .await;
    for part in ["fallah", "relay", "hasad", "bisan", "postgres", "redis"] {
        assert_eq!(
            (&stages[part]["state"], &stages[part]["failures"]),
            (&"working".into(), &0.into()),
            "{part}: {stages}"
        );
    }
    let operator = stages["relay"]["url"].as_str().expect("an address");
    let operator = operator.trim_start_matches("http://").trim_end_matches('/').parse().expect("an address");
    assert_eq!(get(operator, "/live", &[]).await.status, 200);
    // What the other programs need lies in a file for a shell, which nobody else may read.
    let env = std::fs::read_to_string(data.path().join("env")).expect("it is there");
    assert!(env.contains("export DATABASE_URL='postgres://") && env.contains("export REDIS_URL='redis://"), "{env}");

    eventually("an article to be edited", async || {
        let versions = pipeline.versions(&url).await;
        (versions.len() >= 2).then(|| assert_eq!(versions[0]["differs"][0]["field"], "title", "{versions:?}"))
    })
    .await;
    eventually("an article to be removed", async || {
        let state = pipeline.json("/stages").await;
        let events = state["happened"].as_array().cloned().unwrap_or_default();
        events.iter().any(|event| {
            event["deleted"] == true && event["url"].as_str().is_some_and(|url| url.ends_with("ferry-fares"))
        })
    })
    .await;
    let ports = ports(data.path());
    pipeline.end().await;
    assert!(!ports.into_iter().any(answers), "the servers have ended, too");
}

#[tokio::test]
async fn an_article_travels_is_edited_taken_back_and_removed() {
    let data = data();
    let (site, file) = site(data.path()).await;
    let pipeline = Pipeline::start_as(reading(data.path(), &file, &[])).await;
    let first = pipeline.finds("zanzibar").await;
    let url = site.url("/a");
    assert_eq!((&first["source_url"], &first["version"]), (&url.as_str().into(), &1.into()));

    site.article("/a", "Zanzibar closes a lighthouse", &text(1));
    let versions = pipeline.until_versions(&url, 2).await;
    assert_eq!(versions[0]["version"]["version"], 2);
    assert_eq!(versions[0]["article"]["title"], "Zanzibar closes a lighthouse");
    eventually("the edit to be found", async || pipeline.finds("closes").await["version"] == 2).await;

    site.article("/a", "Zanzibar opens a lighthouse", &text(1));
    let versions = pipeline.until_versions(&url, 3).await;
    let object = |nth: usize| versions[nth]["version"]["object_hash"].as_str().map(str::to_owned);
    assert!(object(0).is_some() && object(0) == object(2) && object(0) != object(1), "{versions:?}");
    let objects: usize = walk(&data.path().join("objects/v2"));
    assert_eq!(objects, 2, "the same content is kept once");

    site.put("/a", Reply::status(410));
    eventually("it to be found no more", async || pipeline.json("/search?q=zanzibar").await["total"] == 0).await;
    let versions = pipeline.until_versions(&url, 4).await;
    assert_eq!(
        (&versions[0]["version"]["status"], &versions[0]["version"]["reason"]),
        (&"deleted".into(), &"gone_410".into())
    );
    assert_eq!(get_json(pipeline.home, &format!("/articles/{}", first["id"])).await.status, 410);
    pipeline.end().await;
}

/// The files below a folder.
fn walk(folder: &Path) -> usize {
    std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| if path.is_dir() { walk(&path) } else { 1 })
        .sum()
}

#[tokio::test]
async fn a_kill_leaves_no_server_behind_and_loses_nothing() {
    let data = data();
    let (site, file) = site(data.path()).await;
    let url = site.url("/a");
    let start = || Pipeline::start_as(reading(data.path(), &file, &[]));
    let mut pipeline = start().await;
    pipeline.finds("zanzibar").await;
    let versions = pipeline.until_versions(&url, 1).await;
    let event = versions[0]["version"]["event_id"].clone();

    // Killed: the keepers end the servers.
    let before = ports(data.path());
    pipeline.child.kill_9();
    pipeline.child.wait().await;
    eventually("the servers to end by themselves", async || !before.into_iter().any(answers)).await;

    // All of it is there at once, and nothing comes a second time.
    let mut pipeline = start().await;
    assert_eq!(pipeline.articles().await.len(), 1);
    let versions = pipeline.versions(&url).await;
    assert_eq!(versions.len(), 1);
    assert_eq!(versions[0]["version"]["event_id"], event);

    // Killed together with the keepers: the servers are left, and the next start takes their place.
    let (postgres, redis) = (postgres_of(data.path()), redis_of(data.path()));
    pipeline.child.signal(Signal::Stop);
    [postgres, redis].map(parent_of).into_iter().for_each(kill_9);
    pipeline.child.kill_9();
    pipeline.child.wait().await;
    assert!(ports(data.path()).into_iter().all(answers), "nobody has ended them");
    let pipeline = start().await;
    assert!(postgres_of(data.path()) != postgres && redis_of(data.path()) != redis);
    assert_eq!(pipeline.versions(&url).await[0]["version"]["event_id"], event);
    site.sitemap("/sitemap.xml", &["/a", "/b"]);
    site.article("/b", "Pemba builds a bridge", &text(2));
    pipeline.finds("pemba").await;
    pipeline.end().await;
}

#[tokio::test]
async fn a_private_server_that_falls_is_begun_again() {
    let data = data();
    let (site, file) = site(data.path()).await;
    let pipeline = Pipeline::start_as(reading(data.path(), &file, &[])).await;
    pipeline.finds("zanzibar").await;

    kill_9(redis_of(data.path()));
    eventually("a new Redis", async || {
        let redis = &pipeline.stages().await["redis"];
        redis["failures"].as_i64() >= Some(1) && redis["state"] == "working"
    })
    .await;
    site.article("/a", "Zanzibar repairs a lighthouse", &text(1));
    pipeline.finds("repairs").await;

    kill_9(postgres_of(data.path()));
    eventually("a new Postgres", async || {
        let postgres = &pipeline.stages().await["postgres"];
        postgres["failures"].as_i64() >= Some(1) && postgres["state"] == "working"
    })
    .await;
    site.article("/a", "Zanzibar paints a lighthouse", &text(1));
    pipeline.finds("paints").await;
    pipeline.until_versions(&site.url("/a"), 3).await;

    // Its keeper falls: a server that nobody keeps is replaced by one that is kept.
    let left = redis_of(data.path());
    kill_9(parent_of(left));
    eventually("a Redis that is kept", async || {
        let redis = &pipeline.stages().await["redis"];
        redis["failures"].as_i64() >= Some(2) && redis["state"] == "working" && redis_of(data.path()) != left
    })
    .await;
    site.article("/a", "Zanzibar lights a lighthouse", &text(1));
    pipeline.finds("lights").await;
    pipeline.end().await;
}

#[tokio::test]
async fn a_part_that_fails_is_begun_again_while_the_others_go_on() {
    let data = data();
    let (_site, file) = site(data.path()).await;
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut command = reading(data.path(), &file, &[]);
    command.env("RELAY_LISTEN", taken.local_addr().expect("bound").to_string());
    let pipeline = Pipeline::start_as(command).await;
    let stages = eventually("events that wait for a relay that cannot begin", async || {
        let stages = pipeline.stages().await;
        let waits = stages["outbox"]["waits"].as_i64() >= Some(1) && stages["relay"]["failures"].as_i64() >= Some(1);
        waits.then_some(stages)
    });
    let stages = stages.await;
    assert!(stages["relay"]["last_failure"].as_str().is_some_and(|why| !why.contains('\n')), "{stages}");
    for part in ["fallah", "hasad", "bisan"] {
        assert_eq!((&stages[part]["state"], &stages[part]["failures"]), (&"working".into(), &0.into()), "{part}");
    }
    let said = pipeline.child.log().matches("part=\"relay\"").count();
    assert_eq!(said, 1, "a failure is said once: {}", pipeline.child.log());
    drop(taken);
    pipeline.finds("zanzibar").await;
    pipeline.end().await;
}

#[tokio::test]
async fn a_file_of_articles_that_is_lost_is_told_and_data_that_are_gone_wholly_begin_anew() {
    let (data, place) = (data(), tempfile::tempdir().expect("a folder"));
    let (_site, file) = site(place.path()).await;
    let start = || Pipeline::start_as(reading(data.path(), &file, &[]));
    let pipeline = start().await;
    pipeline.finds("zanzibar").await;
    pipeline.end().await;

    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(data.path().join(format!("bisan.db{end}")));
    }
    let pipeline = start().await;
    let stages = eventually("the reader's side to have looked", async || {
        let stages = pipeline.stages().await;
        stages["bisan"]["last_failure"].is_string().then_some(stages)
    })
    .await;
    let why = stages["bisan"]["last_failure"].as_str().expect("text");
    assert!(why.contains("is new, but the group") && why.contains("rebuild --from-hasad"), "{why}");
    for part in ["relay", "fallah", "hasad"] {
        assert_eq!(stages[part]["failures"], 0, "{part}");
    }
    pipeline.end().await;

    // All of it together tells one story again.
    for entry in std::fs::read_dir(data.path()).expect("it is there") {
        let path = entry.expect("readable").path();
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.expect("removed");
    }
    let pipeline = start().await;
    pipeline.finds("zanzibar").await;
    pipeline.end().await;
}

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
async fn two_pipelines_never_share_their_data() {
    let data = data();
    let start = || {
        let mut command = command(data.path(), &[]);
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
    assert!(
        output.status.code() == Some(64) && said.contains("PIPELINE_LISTEN") && said.contains(&address),
        "{said}"
    );
}

#[tokio::test]
async fn a_second_ctrl_c_ends_it_at_once() {
    let data = data();
    let (_site, file) = site(data.path()).await;
    // What is under way could take as long as it likes.
    let mut command = reading(data.path(), &file, &["--drain-max", "1h"]);
    command.env("FALLAH_DRAIN_MAX", "1h").env("HASAD_DRAIN_MAX", "1h").env("BISAN_DRAIN_MAX", "1h");
    let mut pipeline = Pipeline::start_as(command).await;
    pipeline.finds("zanzibar").await;
    // A reader who never ends its request keeps the pages from ending in order.
    let mut slow = TcpStream::connect(pipeline.home).expect("it listens");
    std::io::Write::write_all(&mut slow, b"GET /articles HTTP/1.1\r\nhost: localhost\r\n").expect("sent");
    get(pipeline.home, "/live", &[]).await;
    let servers = ports(data.path());
    pipeline.child.signal(Signal::Int);
    pipeline.child.saw("stopping").await;
    pipeline.child.signal(Signal::Int);
    assert_eq!(pipeline.child.wait().await, 130, "{}", pipeline.child.log());
    assert!(pipeline.child.log().contains("pipeline: ended at once"), "{}", pipeline.child.log());
    // Nobody asked the servers to end, and they do.
    eventually("the servers to end by themselves", async || !servers.into_iter().any(answers)).await;
    drop(slow);
}

#[tokio::test]
async fn a_path_that_is_too_long_for_a_socket_is_no_hindrance() {
    let data = data();
    // Sockets have addresses of at most 107 bytes, and Postgres wants one.
    let deep = (0..6).fold(data.path().to_owned(), |path, nth| path.join(format!("{nth}-a-folder-with-a-long-name")));
    open_to_all(data.path(), &deep);
    assert!(deep.as_os_str().len() > 150);
    let pipeline = Pipeline::start(&deep, &[]).await;
    pipeline.finds("crane+quay").await;
    pipeline.end().await;
}

/// Makes folders that servers of another user may come into.
fn open_to_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for folder in to.ancestors().take_while(|folder| *folder != from) {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        std::fs::set_permissions(folder, open).expect("ours");
    }
}

/// As root, private servers run as another user. Where that one may not come in, a folder that nobody has named lies elsewhere, and
/// one that somebody has named is refused.
#[tokio::test]
async fn data_that_the_servers_may_not_enter_lie_elsewhere_or_are_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root has servers that run as another user: not checked here");
        return;
    }
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    let closed = tempfile::Builder::new().permissions(closed).tempdir().expect("a folder that is closed to others");
    let below = closed.path().join("below");
    std::fs::create_dir(&below).expect("made");
    let mut refused = Child::spawn(command(&below.join("data"), &[]));
    assert_eq!(refused.wait().await, 64, "{}", refused.log());
    assert!(refused.log().contains("PIPELINE_DATA"), "{}", refused.log());

    let mut command = command(&below, &[]);
    command.current_dir(&below);
    let by_default = without_data(&command);
    let pipeline = Pipeline::start_as(by_default).await;
    pipeline.finds("crane+quay").await;
    let said = pipeline.child.log();
    let name = said.split("/var/tmp/").nth(1).unwrap_or_else(|| panic!("it does not say where: {said}"));
    let name: String = name.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    assert!(name.starts_with("pipeline-"), "{name}");
    let place = Path::new("/var/tmp").join(name);
    pipeline.end().await;
    assert!(place.join("postgres").is_dir() && !below.join(".data/postgres").exists(), "{}", place.display());
    std::fs::remove_dir_all(&place).expect("ours");
}

/// The same command, which names no data folder.
fn without_data(command: &Command) -> Command {
    let mut same = Command::new(command.get_program());
    let rest: Vec<_> = command.get_args().collect();
    assert_eq!(rest[0], "--data");
    same.args(&rest[2..]);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => same.env(name, value),
            None => same.env_remove(name),
        };
    }
    same.current_dir(command.get_current_dir().expect("it was said"));
    same
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
