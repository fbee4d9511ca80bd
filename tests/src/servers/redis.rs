//! A private Redis.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisResult, Value};
use servers::{Keeper, port, programs};
use tokio::time::{Instant, sleep};

use crate::deadline;

/// Durable as in production: what was answered survives [`Redis::kill`], and nothing forks to save.
const SETTINGS: [&str; 10] =
    ["--bind", "127.0.0.1", "--daemonize", "no", "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""];

/// Somebody may take a free port before the server does.
const PORTS_TRIED_MAX: usize = 5;
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// A Redis of its own for one test, empty, on a free port of loopback. It ends with this value, and also with
/// a process that is killed.
pub struct Redis {
    keeper: Keeper,
    program: PathBuf,
    arguments: Vec<String>,
    port: u16,
}

impl Redis {
    /// Starts one that keeps an append-only file.
    ///
    /// # Panics
    /// With one sentence on what to install, if there is no Redis 7.0 or newer.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with more arguments of `redis-server`, such as `["--maxmemory", "3mb"]`; they win.
    pub async fn start_with(arguments: &[&str]) -> Self {
        Self::launch(arguments).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// The same for programs that are no tests: the sentence comes as an error.
    pub async fn launch(arguments: &[&str]) -> Result<Self> {
        let program = programs::redis()?;
        let keeper = Keeper::new("redis", "KILL")?;
        let arguments = SETTINGS.iter().chain(arguments).map(|word| (*word).to_owned()).collect();
        let mut server = Self { keeper, program, arguments, port: 0 };
        for _ in 0..PORTS_TRIED_MAX {
            server.port = port::free()?;
            if server.serve().await? {
                return Ok(server);
            }
        }
        bail!("Redis does not start:\n{}", server.keeper.log_tail())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub fn data_dir(&self) -> PathBuf {
        self.keeper.folder().to_owned()
    }

    /// A new connection; unlike the client's default it waits for slow answers until the [`deadline`].
    pub async fn connection(&self) -> MultiplexedConnection {
        self.connect(deadline()).await.expect("our own Redis lets us in")
    }

    /// Runs one command on a connection of its own: `redis.command(&["XLEN", "s"]).await`.
    ///
    /// # Panics
    /// With Redis's own words if it refuses the command.
    pub async fn command(&self, words: &[&str]) -> Value {
        let (name, arguments) = words.split_first().expect("a command has a name");
        let answer = redis::cmd(name).arg(arguments).query_async(&mut self.connection().await).await;
        answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Ends the server by SIGKILL. What it answered is in the append-only file.
    pub fn kill(&self) {
        self.keeper.end("KILL").expect("the keeper ends with this value, not before");
    }

    /// Ends the server in order.
    pub fn stop(&self) {
        self.keeper.end("TERM").expect("the keeper ends with this value, not before");
    }

    /// Starts the server again on the same port and data, after [`stop`](Self::stop) if it still runs.
    pub async fn restart(&self) {
        self.stop();
        let started = Instant::now();
        while !self.serve().await.unwrap_or_else(|error| panic!("{error:#}")) {
            assert!(started.elapsed() < deadline(), "Redis does not restart:\n{}", self.keeper.log_tail());
        }
    }

    /// Starts the server and waits until it answers; false if it ended instead, as it does on a taken port.
    async fn serve(&self) -> Result<bool> {
        let port = self.port.to_string();
        let mut command: Vec<&OsStr> = vec![self.program.as_ref(), "--port".as_ref(), port.as_ref()];
        command.extend(["--dir".as_ref(), self.keeper.folder().as_os_str()]);
        command.extend(self.arguments.iter().map(OsStr::new));
        self.keeper.start(&command)?;

        let started = Instant::now();
        while started.elapsed() < deadline() {
            if self.answers().await.unwrap_or(false) {
                return Ok(true);
            }
            if !self.keeper.alive()? {
                return Ok(false);
            }
            sleep(POLL_INTERVAL).await;
        }
        bail!("Redis does not answer:\n{}", self.keeper.log_tail())
    }

    /// Whether it is this server that answers, and not another test's on the port that both found free.
    async fn answers(&self) -> RedisResult<bool> {
        let mut connection = self.connect(Duration::from_secs(2)).await?;
        // PING is refused while the data is still being loaded; CONFIG is not.
        redis::cmd("PING").exec_async(&mut connection).await?;
        let (_, folder): (String, String) =
            redis::cmd("CONFIG").arg(&["GET", "dir"]).query_async(&mut connection).await?;
        Ok(Path::new(&folder) == self.keeper.folder())
    }

    async fn connect(&self, answer_max: Duration) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(answer_max))
            .set_response_timeout(Some(answer_max));
        redis::Client::open(self.url())?.get_multiplexed_async_connection_with_config(&config).await
    }
}
