//! Servers of our own: begun with us, begun again when they fall, ended with us. Their data stay, and are safe as in production.
//!
//! Whoever was killed leaves a keeper, which ends the server; and who was killed together with the keeper leaves a server, which
//! the next start ends in order before it begins another one on the same data.

mod postgres;
mod redis;

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use servers::{Claim, Keeper, port};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

pub(crate) use self::postgres::postgres;
pub(crate) use self::redis::redis;
use crate::folder::write_secret;
use crate::part::{Look, Part, SOUND_AFTER, State, Stop, delay, watch};

/// Somebody may take a free port before the server does.
const PORTS_TRIED_MAX: usize = 5;
/// A server has so long to begin; after a crash it reads its logs first.
const START_MAX: Duration = Duration::from_secs(120);
/// To be begun again, with the wait before it, the end of whoever had its folder, and the start.
const BEGIN_AGAIN_MAX: Duration = Duration::from_secs(300);
const START_LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Whoever listens on the port instead of it may never answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How often one looks whether it runs.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// What it has to say begins anew at a start, if it is more than this.
const LOG_BYTES_MAX: u64 = 1 << 20;

/// What a server is.
#[derive(Debug, Clone)]
enum Kind {
    Postgres { program: PathBuf, password: String },
    Redis { program: PathBuf, password: String },
}

/// A server of our own.
#[derive(Debug)]
pub(crate) struct Kept {
    kind: Kind,
    part: Part,
    /// Below it: the server's own folder, its lock and its port.
    data: PathBuf,
    port: u16,
    /// None: it has been ended for good.
    keeper: Mutex<Option<Arc<Keeper>>>,
}

impl Kept {
    /// Begins it on the port of the last time, or another one if that is taken.
    async fn begin(kind: Kind, part: Part, data: &Path, keeper: Keeper) -> Result<Arc<Self>> {
        let remembered = data.join(format!("{}.port", part.name));
        let last = std::fs::read_to_string(&remembered).ok().and_then(|text| text.trim().parse().ok());
        let keeper = Mutex::new(Some(Arc::new(keeper)));
        let mut kept = Self { kind, part, data: data.to_owned(), port: 0, keeper };
        for candidate in 0..PORTS_TRIED_MAX {
            kept.port = match last {
                Some(last) if candidate == 0 => last,
                _ => port::free()?,
            };
            if kept.serve().await? {
                write_secret(&remembered, kept.port.to_string().as_bytes())?;
                kept.part.is(State::Working);
                return Ok(Arc::new(kept));
            }
        }
        bail!(
            "{} does not start:\n{}",
            kept.part.name,
            kept.keeper().map_or_else(String::new, |keeper| keeper.log_tail())
        )
    }

    pub(crate) fn part(&self) -> &Part {
        &self.part
    }

    /// Its name for people.
    pub(crate) fn title(&self) -> &'static str {
        match &self.kind {
            Kind::Postgres { .. } => "Postgres",
            Kind::Redis { .. } => "Redis",
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        match &self.kind {
            Kind::Postgres { password, .. } => {
                format!("postgres://postgres:{password}@127.0.0.1:{}/postgres", self.port)
            }
            Kind::Redis { password, .. } => format!("redis://default:{password}@127.0.0.1:{}/0", self.port),
        }
    }

    /// Watches over it, and begins it again when it has ended, until the wish to stop is there. It does not end it: others may
    /// still need it then.
    pub(crate) async fn watch(self: Arc<Self>, stop: Stop) {
        let watcher = Watcher { kept: self, failures: 0, sound_since: Instant::now() };
        watch(stop, LOOK_INTERVAL, BEGIN_AGAIN_MAX, watcher).await;
    }

    /// Ends it in order, for good.
    pub(crate) async fn end(&self) -> Result<()> {
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(keeper) = keeper else { return Ok(()) };
        let signal = self.kind.last_signal();
        spawn_blocking(move || keeper.end(signal)).await??;
        self.part.is(State::Stopped);
        Ok(())
    }

    fn keeper(&self) -> Option<Arc<Keeper>> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn runs(&self) -> bool {
        let Some(keeper) = self.keeper() else { return true };
        spawn_blocking(move || keeper.alive()).await.is_ok_and(|alive| alive.unwrap_or(false))
    }

    /// Begins it anew on its port; with a new keeper if the old one is gone, too.
    async fn again(&self) -> Result<bool> {
        let Some(keeper) = self.keeper() else { return Ok(true) };
        if spawn_blocking(move || keeper.alive()).await?.is_err() {
            let new =
                take(self.part.name, self.kind.last_signal(), &self.data, &self.kind.pid_file(&self.data)).await?;
            *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(new));
        }
        self.serve().await
    }

    /// Starts it and waits until it answers; false if it ended instead, as it does on a taken port.
    async fn serve(&self) -> Result<bool> {
        let Some(keeper) = self.keeper() else { bail!("it has been ended") };
        let command = self.kind.command(keeper.folder(), self.port)?;
        let words: Vec<&OsStr> = command.iter().map(OsString::as_os_str).collect();
        let url = self.url();
        keeper.start(&words)?;
        let began = Instant::now();
        while began.elapsed() < START_MAX {
            let answers = self.kind.answers(keeper.folder(), &url);
            if timeout(ANSWER_MAX, answers).await.unwrap_or(false) {
                return Ok(true);
            }
            if !keeper.alive()? {
                return Ok(false);
            }
            sleep(START_LOOK_INTERVAL).await;
        }
        bail!("{} does not answer:\n{}", self.part.name, keeper.log_tail())
    }
}

/// Whoever watches over a server.
struct Watcher {
    kept: Arc<Kept>,
    failures: u32,
    sound_since: Instant,
}

impl Look for Watcher {
    async fn look(&mut self) {
        let kept = &self.kept;
        if kept.runs().await {
            if self.sound_since.elapsed() > SOUND_AFTER {
                self.failures = 0;
            }
            return;
        }
        self.failures += 1;
        let wait = if self.failures == 1 { Duration::ZERO } else { delay(self.failures - 1) };
        kept.part.failed("the server has ended", wait);
        sleep(wait).await;
        match kept.again().await {
            Ok(true) => kept.part.is(State::Working),
            Ok(false) => {}
            Err(error) => tracing::warn!(part = kept.part.name, %error, "cannot be begun again"),
        }
        self.sound_since = Instant::now();
    }
}

/// The server's folder, whoever had it before, and a keeper in it.
async fn take(name: &'static str, signal: &'static str, data: &Path, pid_file: &Path) -> Result<Keeper> {
    let (folder, lock, pid_file) = (data.join(name), data.join(format!("{name}.lock")), pid_file.to_owned());
    let taking = spawn_blocking(move || {
        let sent = if signal == "INT" { Signal::INT } else { Signal::TERM };
        let claim = Claim::take_over(&lock, &pid_file, sent)?;
        let log = folder.join("log");
        if std::fs::metadata(&log).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
            std::fs::remove_file(&log)?;
        }
        Keeper::of(&folder, signal, &claim)
    });
    taking.await?.with_context(|| format!("the data of {name} in {}", data.join(name).display()))
}

/// Whether a URL is that of a server of this data folder. Passwords are random, so nobody else's server has the same.
pub(crate) fn is_ours(data: &Path, server: &str, url: &str) -> bool {
    let password = std::fs::read_to_string(data.join(server).join("password")).unwrap_or_default();
    !password.trim().is_empty() && url.contains(&format!(":{}@127.0.0.1:", password.trim()))
}

/// A server's password: nobody else of this machine is let in. Made once.
fn password(folder: &Path) -> Result<String> {
    let file = folder.join("password");
    if let Ok(password) = std::fs::read_to_string(&file) {
        return Ok(password.trim().to_owned());
    }
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("no randomness")?;
    let password: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    write_given(&file, password.as_bytes())?;
    Ok(password)
}

/// A file for the server, which may be another user than we are: it belongs to whom its folder belongs to.
fn write_given(file: &Path, content: &[u8]) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    write_secret(file, content)?;
    let folder = file.parent().context("a file lies in a folder")?;
    let owner = std::fs::metadata(folder)?;
    if std::fs::metadata(file)?.uid() != owner.uid() {
        std::os::unix::fs::chown(file, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

impl Kind {
    fn last_signal(&self) -> &'static str {
        match self {
            Self::Postgres { .. } => postgres::LAST_SIGNAL,
            Self::Redis { .. } => redis::LAST_SIGNAL,
        }
    }

    fn pid_file(&self, data: &Path) -> PathBuf {
        match self {
            Self::Postgres { .. } => postgres::pid_file(data),
            Self::Redis { .. } => redis::pid_file(data),
        }
    }

    fn command(&self, folder: &Path, port: u16) -> Result<Vec<OsString>> {
        match self {
            Self::Postgres { program, .. } => Ok(postgres::command(program, folder, port)),
            Self::Redis { program, password } => redis::command(program, folder, port, password),
        }
    }

    async fn answers(&self, folder: &Path, url: &str) -> bool {
        match self {
            Self::Postgres { .. } => postgres::answers(folder, url).await,
            Self::Redis { .. } => redis::answers(folder, url).await,
        }
    }
}
