//! What every route has at hand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::pool::PoolConnection;
use tokio::sync::{Semaphore, watch};

use super::history::History;
use super::jobs::Jobs;
use super::problem::{Problem, Result};
use super::settings::Surface;
use super::snapshot::Snapshots;
use super::tokens::{Guessers, Tokens};
use crate::config::Config;
use crate::fault::Error;
use crate::pulse::Pulse;

/// Connections to Postgres for all who ask: the relay's own are beside them.
const POSTGRES_CONNECTIONS_MAX: u32 = 4;
/// No statement of a caller's keeps Postgres busy for longer. Replays and drops have connections of their own.
const STATEMENT_TIME_MAX: Duration = Duration::from_secs(10);
/// So many may listen to `/events` at once.
pub(crate) const LISTENERS_MAX: usize = 32;

pub(crate) struct Desk {
    pub(crate) config: Config,
    pub(crate) surface: Surface,
    pub(crate) tokens: Tokens,
    /// Only who is on this machine can reach us.
    pub(crate) loopback: bool,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) snapshots: Snapshots,
    pub(crate) history: Mutex<History>,
    pub(crate) jobs: Jobs,
    pub(crate) guessers: Mutex<Guessers>,
    /// Answers by route and status.
    pub(crate) answers: Mutex<BTreeMap<(String, u16), u64>>,
    pub(crate) listeners: Arc<Semaphore>,
    pub(crate) stopped: watch::Receiver<bool>,
    pool: PgPool,
}

impl Desk {
    pub(crate) fn new(
        config: Config,
        surface: Surface,
        tokens: Tokens,
        address: SocketAddr,
        pulse: Arc<Pulse>,
        stopped: watch::Receiver<bool>,
    ) -> std::result::Result<Self, Error> {
        Ok(Self {
            pool: config.database.pool(POSTGRES_CONNECTIONS_MAX, STATEMENT_TIME_MAX)?,
            config,
            surface,
            tokens,
            loopback: address.ip().is_loopback(),
            pulse,
            snapshots: Snapshots::default(),
            history: Mutex::default(),
            jobs: Jobs::default(),
            guessers: Mutex::default(),
            answers: Mutex::default(),
            listeners: Arc::new(Semaphore::new(LISTENERS_MAX)),
            stopped,
        })
    }

    /// A connection to Postgres, for one question.
    pub(crate) async fn postgres(&self) -> Result<PoolConnection<sqlx::Postgres>> {
        self.pool.acquire().await.map_err(|error| match error {
            sqlx::Error::PoolTimedOut => {
                Problem::away("Postgres is away, or everybody asks it something at once; try again")
            }
            other => other.into(),
        })
    }
}
