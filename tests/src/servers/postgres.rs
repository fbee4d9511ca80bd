//! A private Postgres.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use servers::{Keeper, port, programs};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tokio::time::{Instant, sleep, timeout};

use crate::{binary, deadline};

/// Nothing here outlives the machine, so nothing waits for the disk.
const SETTINGS: [(&str, &str); 4] =
    [("listen_addresses", "127.0.0.1"), ("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off")];

/// Somebody may take a free port before the server does.
const PORTS_TRIED_MAX: usize = 5;
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Whoever listens on the port instead of us may never answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// A Postgres of its own for one test: a fresh cluster on a free port of loopback, superuser `postgres`, no
/// password. It ends with this value, and also with a process that is killed.
pub struct Postgres {
    keeper: Arc<Keeper>,
    program: PathBuf,
    settings: Vec<(String, String)>,
    port: u16,
    databases: AtomicU32,
}

impl Postgres {
    /// Starts one with settings that are fast rather than safe: a machine that crashes loses it all, and
    /// [`kill`](Self::kill) may lose the last commits.
    ///
    /// # Panics
    /// With one sentence on what to install, if there is no Postgres 15 or newer.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with more settings; they win. A test that kills the server and counts commits wants
    /// `("synchronous_commit", "on")`.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::launch(settings).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// The same for programs that are no tests: the sentence comes as an error.
    pub async fn launch(settings: &[(&str, &str)]) -> Result<Self> {
        let folder = programs::postgres()?;
        // Immediate shutdown: the data is wanted no more.
        let keeper = Arc::new(Keeper::new("postgres", "QUIT")?);
        let settings = SETTINGS.iter().chain(settings);
        let settings = settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();

        let (kept, programs) = (Arc::clone(&keeper), folder.clone());
        tokio::task::spawn_blocking(move || create_cluster(&kept, &programs)).await??;

        let program = folder.join("postgres");
        let mut server = Self { keeper, program, settings, port: 0, databases: AtomicU32::new(0) };
        for _ in 0..PORTS_TRIED_MAX {
            server.port = port::free()?;
            if server.serve().await? {
                return Ok(server);
            }
        }
        bail!("Postgres does not start:\n{}", server.keeper.log_tail())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The database `postgres`; see [`database`](Self::database) for one of your own.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    pub fn data_dir(&self) -> PathBuf {
        self.keeper.folder().join("data")
    }

    /// Creates an empty database and returns its URL.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed) + 1);
        let mut connection = self.options().connect().await.expect("our own Postgres lets us in");
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name}")))
            .execute(&mut connection)
            .await
            .expect("a fresh name can be created");
        self.url_of(&name)
    }

    /// Ends the server as a crash does: no goodbye to any session, recovery at the next start. The data stays.
    pub fn kill(&self) {
        // Not SIGKILL: sessions would outlive their server for a while and keep the next one from starting.
        self.keeper.end("QUIT").expect("the keeper ends with this value, not before");
    }

    /// Ends the server in order; open sessions are closed and their transactions rolled back.
    pub fn stop(&self) {
        self.keeper.end("INT").expect("the keeper ends with this value, not before");
    }

    /// Starts the server again on the same port and data, after [`stop`](Self::stop) if it still runs.
    pub async fn restart(&self) {
        self.stop();
        let started = Instant::now();
        while !self.serve().await.unwrap_or_else(|error| panic!("{error:#}")) {
            assert!(started.elapsed() < deadline(), "Postgres does not restart:\n{}", self.keeper.log_tail());
        }
    }

    /// Copies the data as they are, with the server stopped meanwhile.
    pub async fn back_up(&self) {
        self.stop();
        self.copy(&self.data_dir(), &self.keeper.folder().join("backup"));
        self.restart().await;
    }

    /// Goes back to what [`back_up`](Self::back_up) copied; what was committed since is lost.
    pub async fn restore(&self) {
        self.stop();
        self.copy(&self.keeper.folder().join("backup"), &self.data_dir());
        self.restart().await;
    }

    fn copy(&self, from: &Path, to: &Path) {
        let run = |command: &[&OsStr]| self.keeper.run(command).unwrap_or_else(|error| panic!("{error:#}"));
        run(&["rm".as_ref(), "-rf".as_ref(), to.as_os_str()]);
        run(&["cp".as_ref(), "-Rp".as_ref(), from.as_os_str(), to.as_os_str()]);
    }

    /// Starts the server and waits until it answers; false if it ended instead, as it does on a taken port.
    async fn serve(&self) -> Result<bool> {
        let mut arguments: Vec<String> = vec!["-p".into(), self.port.to_string()];
        for (name, value) in &self.settings {
            arguments.push("-c".into());
            arguments.push(format!("{name}={value}"));
        }
        let data = self.data_dir();
        let mut command: Vec<&OsStr> = vec![self.program.as_ref(), "-D".as_ref(), data.as_ref()];
        command.extend(["-k".as_ref(), self.keeper.folder().as_os_str()]);
        command.extend(arguments.iter().map(OsStr::new));
        self.keeper.start(&command)?;

        let started = Instant::now();
        while started.elapsed() < deadline() {
            if timeout(ANSWER_MAX, self.answers_on(&data)).await.is_ok_and(|answer| answer.unwrap_or(false)) {
                return Ok(true);
            }
            if !self.keeper.alive()? {
                return Ok(false);
            }
            sleep(POLL_INTERVAL).await;
        }
        bail!("Postgres does not answer:\n{}", self.keeper.log_tail())
    }

    /// Whether it is this server that answers, and not another test's on the port that both found free.
    async fn answers_on(&self, data: &Path) -> Result<bool, sqlx::Error> {
        let mut connection = self.options().connect().await?;
        let serving: String = sqlx::query_scalar("show data_directory").fetch_one(&mut connection).await?;
        Ok(Path::new(&serving) == data)
    }

    fn options(&self) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username("postgres")
            .database("postgres")
            .ssl_mode(PgSslMode::Disable)
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

/// Small segments: nearly all of them stay empty, and each is copied.
const INITDB: [&str; 9] =
    ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync", "--wal-segsize=1"];

/// A fresh cluster. All of one version begin alike, and making one takes longer than many a test: the first is kept beside the
/// programs that are tested, and the others are copies of it.
fn create_cluster(keeper: &Keeper, programs: &Path) -> Result<()> {
    let data = keeper.folder().join("data");
    let kept = kept_cluster(programs)?;
    if kept.exists() && copied(&kept, &data) {
        return Ok(());
    }
    let initdb = programs.join("initdb");
    let mut command: Vec<&OsStr> = vec![initdb.as_ref(), "-D".as_ref(), data.as_ref()];
    command.extend(INITDB.map(OsStr::new));
    keeper.run(&command).context("cannot create a Postgres cluster")?;
    // Several tests may be the first. A name of its own, and then the kept one in a single step: nobody copies half a cluster.
    let mine = kept.with_extension(std::process::id().to_string());
    if !copied(&data, &mine) || std::fs::rename(&mine, &kept).is_err() {
        let _ = std::fs::remove_dir_all(&mine);
    }
    Ok(())
}

/// Where the first cluster of this version, made in this way, lies if it was made.
fn kept_cluster(programs: &Path) -> Result<PathBuf> {
    let said = Command::new(programs.join("postgres")).arg("--version").output().context("postgres does not run")?;
    let version: String =
        String::from_utf8_lossy(&said.stdout).chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    Ok(binary("relay").with_file_name(format!("cluster-{version}")))
}

/// Copies a cluster with its owner and rights. False if that cannot be done, for example as somebody else; then nothing is left.
fn copied(from: &Path, to: &Path) -> bool {
    let done = copy(from, to);
    if done.is_err() {
        let _ = std::fs::remove_dir_all(to);
    }
    done.is_ok()
}

/// Not by `cp`: that would go on when this process is killed, while the keeper cleans up. And a folder is its owner's before anything
/// lies in it: the keeper, who is nobody special, could not empty one of root's.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let of = from.metadata()?;
    let hand_over = || std::os::unix::fs::chown(to, Some(of.uid()), Some(of.gid()));
    if of.is_dir() {
        std::fs::create_dir(to)?;
        hand_over()?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        std::fs::set_permissions(to, of.permissions())
    } else {
        std::fs::copy(from, to)?;
        hand_over()
    }
}

/// The folder of Postgres's programs, for what is given to `psql`.
///
/// # Panics
/// With one sentence on what to install, if there is none.
pub fn programs_of_postgres() -> PathBuf {
    programs::postgres().unwrap_or_else(|error| panic!("{error:#}"))
}
