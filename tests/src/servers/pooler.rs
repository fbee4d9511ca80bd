//! A private PgBouncer before a private Postgres.

use std::ffi::OsStr;
use std::time::Duration;

use servers::{Keeper, port, programs};
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep, timeout};

use super::Postgres;
use crate::deadline;

/// Somebody may take a free port before the server does.
const PORTS_TRIED_MAX: usize = 5;
const POLL_INTERVAL: Duration = Duration::from_millis(5);
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// A PgBouncer on a free port of loopback. It ends with this value, and also with a process that is killed.
pub struct Pooler {
    /// Held: with it the server ends.
    _keeper: Keeper,
    from: u16,
    port: u16,
}

impl Pooler {
    /// Starts one in a mode (`session`, `transaction`) before a Postgres.
    ///
    /// # Panics
    /// With one sentence on what to install, if there is no PgBouncer.
    pub async fn start(postgres: &Postgres, mode: &str) -> Self {
        Self::start_with(postgres, mode, 20).await
    }

    /// The same, with so many sessions of Postgres for all.
    pub async fn start_with(postgres: &Postgres, mode: &str, sessions: u32) -> Self {
        let program = programs::pgbouncer().unwrap_or_else(|error| panic!("{error:#}"));
        let keeper = Keeper::new("pgbouncer", "QUIT").expect("a shell starts it");
        let users = keeper.folder().join("users");
        std::fs::write(&users, "\"postgres\" \"\"\n").expect("written");
        for _ in 0..PORTS_TRIED_MAX {
            let port = port::free().expect("a port");
            let settings = format!(
                "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
                 unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\nmax_client_conn = 200\n\
                 default_pool_size = {sessions}\nignore_startup_parameters = extra_float_digits\n",
                postgres.port(),
                users.display()
            );
            let file = keeper.folder().join(format!("{port}.ini"));
            std::fs::write(&file, settings).expect("written");
            let command: [&OsStr; 2] = [program.as_ref(), file.as_ref()];
            keeper.start(&command).expect("the keeper is there");
            if answers(&keeper, &postgres.url().replace(&format!(":{}/", postgres.port()), &format!(":{port}/")))
                .await
            {
                return Self { _keeper: keeper, from: postgres.port(), port };
            }
        }
        panic!("PgBouncer does not start:\n{}", keeper.log_tail())
    }

    /// The same database, through the pooler.
    pub fn url(&self, database_url: &str) -> String {
        database_url.replace(&format!(":{}/", self.from), &format!(":{}/", self.port))
    }
}

/// Waits until the server lets one in; false if it ended instead, as it does on a taken port.
async fn answers(keeper: &Keeper, url: &str) -> bool {
    let started = Instant::now();
    while started.elapsed() < deadline() {
        if let Ok(Ok(connection)) = timeout(ANSWER_MAX, PgConnection::connect(url)).await {
            let _ = connection.close().await;
            return true;
        }
        if !keeper.alive().expect("the keeper is there") {
            return false;
        }
        sleep(POLL_INTERVAL).await;
    }
    panic!("PgBouncer does not answer:\n{}", keeper.log_tail())
}
