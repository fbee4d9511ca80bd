//! What tests of the archive need: both its stores, what is told to it, and what it made of that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use contract::{Article, ArticleDeleted, ArticleUpserted, Origin, Removal};
use outbox::Event;
use serde_json::Value;
use sqlx::{Connection, PgConnection};

use crate::{Child, Proxy, S3, Stage, binary, eventually};

/// Where objects lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    Folder,
    S3,
}

/// An archive with private stores, and the stream that it reads.
pub struct Cellar {
    pub stage: Stage,
    pub s3: Option<S3>,
    folder: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Cellar {
    /// All of it, empty.
    pub async fn open(store: Store) -> Self {
        let stage = Stage::set().await;
        let mut db = PgConnection::connect(&stage.database_url).await.expect("the server has just answered");
        hasad::migrate(&mut db).await.expect("a fresh database can be migrated");
        match store {
            Store::Folder => {
                let temporary = tempfile::tempdir().expect("a folder");
                let folder = temporary.path().join("objects");
                Self { stage, s3: None, folder, _temporary: Some(temporary) }
            }
            Store::S3 => {
                let s3 = S3::start().await;
                let folder = s3.folder();
                Self { stage, s3: Some(s3), folder, _temporary: None }
            }
        }
    }

    /// A verb of the archive's binary.
    pub fn command(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(binary("hasad"));
        command.args(verb).env("DATABASE_URL", &self.stage.database_url).env("REDIS_URL", self.stage.redis.url());
        // Quick to notice that others are silent; flags win.
        command.env("HASAD_CLAIM_AFTER", "300ms").env("HASAD_DRAIN_MAX", "5s");
        command.env("AWS_ACCESS_KEY_ID", S3::KEY.0).env("AWS_SECRET_ACCESS_KEY", S3::KEY.1);
        match &self.s3 {
            Some(s3) => {
                command.env("HASAD_STORE", s3.store());
                command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", s3.port()));
            }
            None => _ = command.env("HASAD_STORE", format!("file://{}", self.folder.display())),
        }
        command
    }

    /// The same, with Postgres, or the store, over a wire.
    pub fn command_over(&self, verb: &[&str], postgres: Option<&Proxy>, s3: Option<&Proxy>) -> Command {
        let mut command = self.command(verb);
        if let Some(wire) = postgres {
            command.env("DATABASE_URL", self.stage.database_url_over(wire));
        }
        if let Some(wire) = s3 {
            command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", wire.port()));
        }
        command
    }

    /// The archive at work.
    pub fn run(&self, flags: &[&str]) -> Child {
        self.run_over(flags, None, None)
    }

    /// The same over wires.
    pub fn run_over(&self, flags: &[&str], postgres: Option<&Proxy>, s3: Option<&Proxy>) -> Child {
        let verb = [&["run"], flags].concat();
        Child::spawn(self.command_over(&verb, postgres, s3))
    }

    /// A verb to its end: its exit code and what it printed on stdout.
    pub async fn verb(&self, verb: &[&str]) -> (i32, String) {
        let output = tokio::process::Command::from(self.command(verb)).output().await.expect("it can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        if !said.is_empty() {
            println!("hasad {}: {said}", verb.join(" "));
        }
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The same, with `--json`.
    pub async fn ask(&self, verb: &[&str]) -> (i32, Value) {
        let (code, out) = self.verb(&[verb, &["--json"]].concat()).await;
        (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{verb:?} answered {out:?}: {error}")))
    }

    /// Commits events, in their order, and lets a relay bring them to Redis.
    pub async fn tell(&self, events: &[Event]) {
        let mut tx = self.stage.pool.begin().await.expect("Postgres is there");
        let _ = outbox::enqueue_all(&mut tx, events).await.expect("Postgres is there");
        tx.commit().await.expect("Postgres is there");
        self.publish().await;
    }

    /// Lets a relay bring everything to Redis.
    pub async fn publish(&self) {
        let mut relay = self.stage.relay(&[]).await;
        eventually("everything to be in the stream", async || {
            relay.tick().await.expect("Postgres is there");
            self.stage.has_arrived(&[contract::STREAM]).await
        })
        .await;
    }

    /// Whether the group has settled everything that is in the stream.
    pub async fn is_settled(&self) -> bool {
        let mut redis = self.stage.redis.connection().await;
        let groups: redis::RedisResult<Vec<BTreeMap<String, redis::Value>>> =
            redis::cmd("XINFO").arg("GROUPS").arg(contract::STREAM).query_async(&mut redis).await;
        let stream: redis::RedisResult<BTreeMap<String, redis::Value>> =
            redis::cmd("XINFO").arg("STREAM").arg(contract::STREAM).query_async(&mut redis).await;
        let (Ok(groups), Ok(stream)) = (groups, stream) else { return false };
        let text = |value: &redis::Value| redis::from_redis_value::<String>(value.clone()).unwrap_or_default();
        groups.iter().any(|group| {
            text(&group["name"]) == contract::HASAD
                && text(&group["pending"]) == "0"
                && text(&group["last-delivered-id"]) == text(&stream["last-generated-id"])
        })
    }

    /// Waits for that.
    pub async fn until_settled(&self) {
        eventually("everything to be settled", async || self.is_settled().await).await;
    }

    /// An archive works until everything is settled, and ends in order.
    pub async fn catch_up(&self) {
        let mut archive = self.run(&[]);
        archive.saw("the archive works").await;
        self.until_settled().await;
        archive.signal(crate::Signal::Term);
        assert_eq!(archive.wait().await, 0, "it stops in order");
    }

    /// Tells, and archives.
    pub async fn archive(&self, events: &[Event]) {
        self.tell(events).await;
        self.catch_up().await;
    }

    /// Everything is delivered once more, in this order.
    pub async fn redeliver(&self) {
        self.stage.redis.command(&["XGROUP", "SETID", contract::STREAM, contract::HASAD, "0"]).await;
    }

    /// Every version, without what depends on when it came.
    pub async fn rows(&self) -> Vec<(String, i64, String, Option<String>, Option<String>)> {
        sqlx::query_as(
            "select source_url, version, status, reason, object_hash from hasad.version order by source_url, version",
        )
        .fetch_all(&self.stage.pool)
        .await
        .expect("Postgres is there")
    }

    /// The versions of one page, and their status.
    pub async fn versions(&self, url: &str) -> Vec<(i64, String)> {
        let rows = self.rows().await.into_iter().filter(|row| row.0 == url);
        rows.map(|(_, version, status, _, _)| (version, status)).collect()
    }

    /// The hashes that lie in the store, whatever their bytes are.
    pub fn objects(&self) -> BTreeSet<String> {
        let (mut found, mut open) = (BTreeSet::new(), vec![self.folder.join("v2")]);
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                match entry.path().is_dir() {
                    true => open.push(entry.path()),
                    false if name.len() == 64 => _ = found.insert(name),
                    false => {}
                }
            }
        }
        found
    }

    /// The file of an object.
    pub fn file_of(&self, hash: &str) -> PathBuf {
        self.folder.join("v2").join(&hash[..2]).join(hash)
    }

    /// Puts bytes into the store behind the archive's back.
    pub fn plant(&self, hash: &str, bytes: &[u8]) {
        let file = self.file_of(hash);
        std::fs::create_dir_all(file.parent().expect("a shard")).expect("a folder can be made");
        // In one step, as every store does it: nobody sees half of it.
        let beside = self.folder.join(format!("planting-{hash}"));
        std::fs::write(&beside, bytes).expect("a file can be written");
        std::fs::rename(&beside, &file).expect("a file can be renamed");
        let mut above: Option<&Path> = Some(&file);
        while let Some(path) = above.filter(|path| *path != self.folder) {
            // The server of a test that runs as root is somebody else.
            open_to_all(path);
            above = path.parent();
        }
    }

    /// The hashes that versions name.
    pub async fn named(&self) -> BTreeSet<String> {
        self.rows().await.into_iter().filter_map(|row| row.4).collect()
    }

    /// Checks what must hold at any moment: whatever a version names is in the store, whole.
    pub async fn assert_nothing_is_missing(&self) {
        for hash in self.named().await {
            let bytes = std::fs::read(self.file_of(&hash)).unwrap_or_else(|error| panic!("{hash} is named: {error}"));
            assert_eq!(blake3::hash(&bytes).to_hex().as_str(), hash, "its bytes");
        }
    }

    /// Checks that the archive's own check finds nothing wrong, and that nothing lies in the store that nobody names.
    pub async fn assert_sound(&self) {
        self.assert_nothing_is_missing().await;
        let (code, found) = self.ask(&["fsck"]).await;
        assert_eq!((code, found["faults"].as_array().map(Vec::len)), (0, Some(0)), "{found:#}");
        assert_eq!(self.objects(), self.named().await, "the store holds what is named");
    }

    /// Sweeps without any grace, twice: what the first one marks is gone after the second.
    pub async fn sweep(&self) {
        for _ in 0..2 {
            let (code, swept) = self.ask(&["gc", "--grace", "0"]).await;
            assert_eq!(code, 0, "{swept:#}");
        }
    }

    /// Statements, for what has no function.
    pub async fn sql(&self, statements: &str) {
        self.stage.sql(statements).await;
    }
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    // Not ours to change if somebody else made it, and then it is fine already.
    let _ = std::fs::set_permissions(path, PermissionsExt::from_mode(0o777));
}

/// Tells that a page says something: what it says is its body, and so its content.
pub struct Story {
    pub origin: Origin,
    pub article: Article,
}

/// A version of a page, `https://example.org/<path>`.
pub fn story(path: &str, version: u64, body: &str) -> Story {
    let article = Article { title: format!("Headline: {body}"), body: body.repeat(3), ..Article::default() };
    let minute = version.min(1_000_000);
    let at = format!("2026-01-{:02}T{:02}:{:02}:00Z", 1 + minute / 1_440 % 28, minute / 60 % 24, minute % 60);
    let origin = Origin {
        source_url: format!("https://example.org/{path}"),
        source_name: "daily".to_owned(),
        version,
        content_hash: article.content_hash(),
        raw_hash: "0".repeat(64),
        discovered_at: at.clone(),
        fetched_at: at,
        published_at: None,
        scraper_version: "test".to_owned(),
    };
    Story { origin, article }
}

impl Story {
    /// The hash of what it says.
    pub fn hash(&self) -> String {
        self.origin.content_hash.clone()
    }

    /// The bytes that are stored.
    pub fn bytes(&self) -> Vec<u8> {
        contract::canonical(&serde_json::to_value(&self.article).expect("JSON")).into_bytes()
    }

    /// Its payload.
    pub fn payload(&self) -> Value {
        let event = ArticleUpserted {
            origin: self.origin.clone(),
            article: self.article.clone(),
            lead: Some("lead".to_owned()),
            language: Some("en".to_owned()),
            tags: vec!["tag".to_owned()],
        };
        serde_json::to_value(event).expect("JSON")
    }

    /// As an event, with the id that Fallah would give it.
    pub fn event(&self) -> Event {
        let id = format!("{}-{}", self.origin.source_url, self.origin.version);
        let draft = Event::draft(contract::STREAM, ArticleUpserted::TYPE).key(&self.origin.source_url).id(id);
        draft.json(&self.payload()).expect("within all limits")
    }

    /// The event that the page is gone, as of this version.
    pub fn gone(&self) -> Event {
        let id = format!("{}-{}", self.origin.source_url, self.origin.version);
        let event = ArticleDeleted { origin: self.origin.clone(), reason: Removal::Gone };
        let draft = Event::draft(contract::STREAM, ArticleDeleted::TYPE).key(&self.origin.source_url).id(id);
        draft.json(&event).expect("within all limits")
    }
}
