//! All of it in one process: from a page to a reader.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use outbox_tests::{Child, Reply, Signal, Site, binary, eventually, get, get_json, text};
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
