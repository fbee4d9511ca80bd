//! The whole way from a page to a reader, of separate programs: a scripted site, both servers, and relay, Fallah, Hasad and Bisan as
//! the processes that users run.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::{Connection, PgConnection};

use crate::{Child, Proxy, S3, SearchServer, Site, Stage, address, binary};

/// One of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    Relay,
    Fallah,
    Hasad,
    Bisan,
}

impl Program {
    pub const ALL: [Self; 4] = [Self::Relay, Self::Fallah, Self::Hasad, Self::Bisan];

    pub fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Fallah => "fallah",
            Self::Hasad => "hasad",
            Self::Bisan => "bisan",
        }
    }
}

/// An S3-compatible store instead of a folder, and a double of Meilisearch, each over a wire.
pub struct Far {
    pub s3: S3,
    pub s3_wire: Proxy,
    pub search: SearchServer,
    pub search_wire: Proxy,
}

/// All that they share, and those that run.
pub struct Works {
    pub stage: Stage,
    pub site: Site,
    /// What stands behind wires, if it was asked for.
    pub far: Option<Far>,
    folder: tempfile::TempDir,
    running: BTreeMap<Program, Child>,
}

impl Works {
    /// Servers, tables and one source, `daily`, with these lines in its settings beside its sitemap `/sitemap.xml`. Nothing runs yet.
    pub async fn open(lines: &str) -> Self {
        Self::open_on(Stage::set().await, lines).await
    }

    /// The same over wires, with an S3-compatible store and a search server, and a Postgres that forgets nothing when it crashes.
    pub async fn open_far(lines: &str) -> Self {
        let stage = Stage::set_with(&[("synchronous_commit", "on")], &[]).await;
        let mut works = Self::open_on(stage, lines).await;
        let (s3, search) = (S3::start().await, SearchServer::open_double().await);
        let (s3_wire, search_wire) = (Proxy::to(s3.port()).await, Proxy::to(search.port()).await);
        works.far = Some(Far { s3, s3_wire, search, search_wire });
        works
    }

    async fn open_on(stage: Stage, lines: &str) -> Self {
        let site = Site::open().await;
        let mut db = PgConnection::connect(&stage.database_url).await.expect("the server has just answered");
        fallah::migrate(&mut db).await.expect("a fresh database can be migrated");
        hasad::migrate(&mut db).await.expect("a fresh database can be migrated");
        let folder = tempfile::tempdir().expect("a folder");
        let source = format!("sitemaps = [\"{}\"]\ndelay = \"0\"\n{lines}\n", site.url("/sitemap.xml"));
        let sources = format!("[[source]]\nname = \"daily\"\n{source}");
        std::fs::write(folder.path().join("sources.toml"), sources).expect("there is room for a small file");
        Self { stage, site, far: None, folder, running: BTreeMap::new() }
    }

    /// One of the files that they share.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the archive's objects lie.
    pub fn objects(&self) -> PathBuf {
        match &self.far {
            None => self.file("objects/v2"),
            Some(far) => far.s3.folder().join("v2"),
        }
    }

    /// A verb of its binary.
    pub fn command(&self, program: Program, verb: &[&str]) -> Command {
        let mut command = Command::new(binary(program.name()));
        command.args(verb);
        let database = ("DATABASE_URL", self.stage.database_url.clone());
        let redis = ("REDIS_URL", self.stage.redis.url());
        let path = |path: &Path| path.display().to_string();
        let settings = match program {
            Program::Relay => vec![database, redis, ("RELAY_LISTEN", "127.0.0.1:0".to_owned())],
            Program::Fallah => vec![
                database,
                ("FALLAH_SOURCES", path(&self.file("sources.toml"))),
                ("FALLAH_ALLOW_NETS", "127.0.0.0/8".to_owned()),
                ("FALLAH_CONTACT", "https://example.org/bot".to_owned()),
                ("FALLAH_RETRY_DELAY_MIN", "100ms".to_owned()),
                ("FALLAH_REMOVAL_INTERVAL", "100ms".to_owned()),
            ],
            Program::Hasad => vec![
                database,
                redis,
                ("HASAD_STORE", format!("file://{}", self.file("objects").display())),
                ("HASAD_CLAIM_AFTER", "1s".to_owned()),
            ],
            Program::Bisan => vec![
                redis,
                ("BISAN_DATABASE", path(&self.file("bisan.sqlite"))),
                ("BISAN_LISTEN", "127.0.0.1:0".to_owned()),
                ("BISAN_CLAIM_AFTER", "1s".to_owned()),
            ],
        };
        command.envs(settings);
        if let Some(far) = &self.far {
            command.env("AWS_ACCESS_KEY_ID", S3::KEY.0).env("AWS_SECRET_ACCESS_KEY", S3::KEY.1);
            command.env("HASAD_STORE", far.s3.store());
            command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", far.s3_wire.port()));
            command.env("MEILI_URL", format!("http://127.0.0.1:{}", far.search_wire.port()));
            command.env("MEILI_KEY", far.search.key.as_deref().unwrap_or_default());
            command.env("BISAN_MEILI_INDEX", &far.search.index);
        }
        command
    }

    /// Starts one, with more settings.
    pub fn start(&mut self, program: Program, settings: &[(&str, &str)]) {
        let mut command = self.command(program, &["run"]);
        command.envs(settings.iter().copied());
        self.running.insert(program, Child::spawn(command));
    }

    /// One that runs.
    ///
    /// # Panics
    /// If it was not started.
    pub fn running(&self, program: Program) -> &Child {
        self.running.get(&program).unwrap_or_else(|| panic!("{} was not started", program.name()))
    }

    /// The same, to be waited for.
    ///
    /// # Panics
    /// If it was not started.
    pub fn running_mut(&mut self, program: Program) -> &mut Child {
        self.running.get_mut(&program).unwrap_or_else(|| panic!("{} was not started", program.name()))
    }

    /// A verb to its end: its exit code and what it printed on stdout.
    pub async fn verb(&self, program: Program, verb: &[&str]) -> (i32, String) {
        let output =
            tokio::process::Command::from(self.command(program, verb)).output().await.expect("it can be started");
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Ends one as a crash of the machine would.
    pub async fn kill_9(&mut self, program: Program) {
        let mut child = self.running.remove(&program).expect("it was started");
        child.kill_9();
        child.wait().await;
    }

    /// Where readers look.
    pub async fn readers(&self) -> SocketAddr {
        address(self.running(Program::Bisan)).await
    }
}
