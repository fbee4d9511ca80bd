//! A private S3-compatible store: the program `s3s-fs`, which keeps each object as a file.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::deadline;
use servers::{Keeper, port, programs};

/// Somebody may take a free port before the server does.
const PORTS_TRIED_MAX: usize = 5;
const POLL_INTERVAL: Duration = Duration::from_millis(2);
const BUCKET: &str = "archive";
const PREFIX: &str = "some/prefix";

/// A store of its own for one test, with one empty bucket. It ends with this value, and also with a process that is killed.
pub struct S3 {
    keeper: Keeper,
    program: PathBuf,
    port: u16,
}

impl S3 {
    /// The name of the key, and the key.
    pub const KEY: (&str, &str) = ("test-key", "test-secret");

    /// Starts one.
    ///
    /// # Panics
    /// With one sentence on what to install, if there is no `s3s-fs`.
    pub async fn start() -> Self {
        Self::launch().await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// The same for programs that are no tests: the sentence comes as an error.
    pub async fn launch() -> Result<Self> {
        let keeper = Keeper::new("s3", "KILL")?;
        // The server's user may not be allowed into our folder.
        let program = keeper.folder().join("s3s-fs");
        std::fs::copy(installed()?, &program).context("cannot copy s3s-fs")?;
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755))?;
        // All of it made by the server's user: tests put files there as somebody else.
        let below = keeper.folder().join("data").join(BUCKET).join(PREFIX);
        keeper.run(&["mkdir".as_ref(), "-p".as_ref(), below.as_os_str()])?;
        let mut server = Self { keeper, program, port: 0 };
        for _ in 0..PORTS_TRIED_MAX {
            server.port = port::free()?;
            if server.serve().await? {
                return Ok(server);
            }
        }
        bail!("s3s-fs does not start:\n{}", server.keeper.log_tail())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The store as settings name it.
    pub fn store(&self) -> String {
        format!("s3://{BUCKET}/{PREFIX}")
    }

    /// The folder below which objects lie as files.
    pub fn folder(&self) -> PathBuf {
        self.keeper.folder().join("data").join(BUCKET).join(PREFIX)
    }

    /// Ends the server at once. The data stays.
    pub fn kill(&self) {
        self.keeper.end("KILL").expect("the keeper ends with this value, not before");
    }

    /// Starts it again on the same port and data.
    pub async fn restart(&self) {
        self.kill();
        assert!(self.serve().await.expect("it has started before"), "s3s-fs does not restart");
    }

    async fn serve(&self) -> Result<bool> {
        let (port, data) = (self.port.to_string(), self.keeper.folder().join("data"));
        let flags: [&OsStr; 8] = [
            "--access-key".as_ref(),
            Self::KEY.0.as_ref(),
            "--secret-key".as_ref(),
            Self::KEY.1.as_ref(),
            "--host".as_ref(),
            "127.0.0.1".as_ref(),
            "--port".as_ref(),
            port.as_ref(),
        ];
        let command = [&[self.program.as_os_str()], &flags[..], &[data.as_os_str()]].concat();
        self.keeper.start(&command)?;
        let started = Instant::now();
        while started.elapsed() < deadline() {
            if !self.keeper.alive()? {
                return Ok(false);
            }
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return Ok(true);
            }
            sleep(POLL_INTERVAL).await;
        }
        bail!("s3s-fs does not answer:\n{}", self.keeper.log_tail())
    }
}

/// `$S3S_FS`, else the one that `./dev` has built below the target folder, else the one in `PATH`.
fn installed() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("S3S_FS") {
        return Ok(PathBuf::from(program));
    }
    let here = std::env::current_exe()?;
    let built = here.ancestors().map(|folder| folder.join("tools/bin/s3s-fs")).find(|path| path.is_file());
    built.or_else(|| programs::folder_in_path("s3s-fs").map(|folder| folder.join("s3s-fs"))).context(
        "s3s-fs, the store of the tests, is needed: `./dev test` builds it, or cargo install s3s-fs --version 0.14.1 --features binary --locked",
    )
}
