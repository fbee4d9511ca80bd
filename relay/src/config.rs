//! One struct: a field is a flag, an environment variable, a default and a line of `--help`. Everything is checked before
//! anything connects.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool};
use terminal::{Secret, Unusable, duration, unreadable};

use crate::Error;
use crate::store;

/// The heading of such flags in `--help`.
const CONNECTION: &str = "Connection";

/// Why a relay does not begin behind such a pooler.
const POOLED: &str = "a pooler stands before Postgres that gives sessions away between transactions, and a relay needs its own: \
                      connect it directly, or in session mode";

/// How long one waits for a free connection of a pool, and how long an idle one is kept.
const POOL_WAIT_MAX: Duration = Duration::from_secs(2);
const POOL_IDLE_MAX: Duration = Duration::from_secs(60);

/// Where the outbox lies.
#[derive(Debug, Clone, Args)]
pub struct Database {
    /// Postgres, as postgres://user:password@host:5432/database?sslmode=verify-full
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL", help_heading = CONNECTION)]
    pub database_url: Option<Secret>,

    /// The schema that holds the outbox's tables
    #[arg(long, env = "RELAY_SCHEMA", default_value = "public", value_name = "NAME", help_heading = CONNECTION)]
    pub schema: String,
}

/// Where the streams lie.
#[derive(Debug, Clone, Args)]
pub struct Server {
    /// Redis, as redis://user:password@host:6379/0, or rediss:// for TLS
    #[arg(
        long,
        env = "REDIS_URL",
        hide_env_values = true,
        default_value = "redis://127.0.0.1:6379",
        value_name = "URL",
        help_heading = CONNECTION
    )]
    pub redis_url: Secret,

    /// A PEM file with the certificate authority of a rediss:// server (else the public ones)
    #[arg(long, env = "REDIS_CA_FILE", value_name = "FILE", help_heading = CONNECTION)]
    pub redis_ca_file: Option<PathBuf>,

    /// Redis has so long to answer before it counts as away
    #[arg(long, env = "RELAY_PUBLISH_TIMEOUT", default_value = "5s", value_parser = duration, value_name = "DURATION",
          help_heading = CONNECTION)]
    pub publish_timeout: Duration,
}

/// Everything that `relay run` needs to know.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Pace and limits")]
pub struct Config {
    #[allow(missing_docs)]
    #[command(flatten)]
    pub database: Database,

    #[allow(missing_docs)]
    #[command(flatten)]
    pub server: Server,

    /// Rows that are read and sent at once
    #[arg(long, env = "RELAY_BATCH_ROWS_MAX", default_value = "1000", value_name = "ROWS")]
    pub batch_rows_max: NonZeroU16,

    /// Bytes that are read and sent at once
    #[arg(long, env = "RELAY_BATCH_BYTES_MAX", default_value = "8388608", value_name = "BYTES")]
    pub batch_bytes_max: NonZeroU32,

    /// A larger event is a dead letter at once
    #[arg(long, env = "RELAY_EVENT_BYTES_MAX", default_value = "1048576", value_name = "BYTES")]
    pub event_bytes_max: NonZeroU32,

    /// Refusals after which an event is a dead letter. Outages never count
    #[arg(long, env = "RELAY_ATTEMPTS_MAX", default_value = "5", value_name = "TIMES")]
    pub attempts_max: NonZeroU16,

    /// The wait after a first refusal; it doubles with each further one
    #[arg(long, env = "RELAY_RETRY_DELAY_MIN", default_value = "1s", value_parser = duration, value_name = "DURATION")]
    pub retry_delay_min: Duration,

    /// The longest wait after a refusal
    #[arg(long, env = "RELAY_RETRY_DELAY_MAX", default_value = "1m", value_parser = duration, value_name = "DURATION")]
    pub retry_delay_max: Duration,

    /// How often to look while events come in
    #[arg(long, env = "RELAY_POLL_INTERVAL", default_value = "2ms", value_parser = duration, value_name = "DURATION")]
    pub poll_interval: Duration,

    /// Without an event for so long the relay sleeps, and the next insert wakes it
    #[arg(long, env = "RELAY_SLEEP_AFTER", default_value = "1s", value_parser = duration, value_name = "DURATION")]
    pub sleep_after: Duration,

    /// How often to look while asleep, in case nobody rings (make it short where prepared transactions are allowed)
    #[arg(long, env = "RELAY_SLEEP_POLL_INTERVAL", default_value = "1s", value_parser = duration, value_name = "DURATION")]
    pub sleep_poll_interval: Duration,

    /// How long later events wait for a transaction that wrote to the outbox and stays open
    #[arg(long, env = "RELAY_OVERTAKE_AFTER", default_value = "2s", value_parser = duration, value_name = "DURATION")]
    pub overtake_after: Duration,

    /// How long published rows are kept. It is also how far back a lost Redis can be rebuilt. 0 keeps them for ever
    #[arg(long, env = "RELAY_RETENTION", default_value = "24h", value_parser = duration, value_name = "DURATION")]
    pub retention: Duration,

    /// How long entries stay in Redis once every group has settled them. 0 keeps them for ever
    #[arg(long, env = "RELAY_TRIM_AFTER", default_value = "1m", value_parser = duration, value_name = "DURATION")]
    pub trim_after: Duration,

    /// How often positions are written down for views and dashboards
    #[arg(long, env = "RELAY_REPORT_INTERVAL", default_value = "250ms", value_parser = duration, value_name = "DURATION")]
    pub report_interval: Duration,

    /// Postgres has so long to let a turn end before it counts as away
    #[arg(long, env = "RELAY_TURN_TIMEOUT", default_value = "1m", value_parser = duration, value_name = "DURATION")]
    pub turn_timeout: Duration,

    /// Of several relays one works and the others rest, until it has been silent for so long. 0: all work (safe, but
    /// they only get in each other's way)
    #[arg(long, env = "RELAY_LEASE", default_value = "3s", value_parser = duration, value_name = "DURATION")]
    pub lease: Duration,
}

impl Config {
    /// What is wrong with the settings taken together, in one sentence.
    pub fn check(&self) -> Result<(), Unusable> {
        self.database.options()?;
        self.server.client()?;
        let named = |flag: &str| format!("{flag} (RELAY_{})", flag[2..].replace('-', "_").to_uppercase());
        let positive = [
            ("--retry-delay-min", self.retry_delay_min),
            ("--poll-interval", self.poll_interval),
            ("--sleep-poll-interval", self.sleep_poll_interval),
            ("--publish-timeout", self.server.publish_timeout),
            ("--report-interval", self.report_interval),
        ];
        if let Some((flag, _)) = positive.iter().find(|(_, duration)| duration.is_zero()) {
            return Err(Unusable(format!("{} must not be 0", named(flag))));
        }
        let rules = [
            (
                self.retry_delay_min <= self.retry_delay_max,
                "--retry-delay-min",
                "is longer than",
                "--retry-delay-max",
            ),
            (
                self.turn_timeout > self.server.publish_timeout,
                "--turn-timeout",
                "is not longer than",
                "--publish-timeout",
            ),
            (
                self.event_bytes_max <= self.batch_bytes_max,
                "--event-bytes-max",
                "is larger than",
                "--batch-bytes-max",
            ),
            (
                self.lease.is_zero() || self.lease >= self.report_interval * 4,
                "--lease",
                "is neither 0 nor at least four times",
                "--report-interval",
            ),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, one, is, other)) => Err(Unusable(format!("{} {is} {}", named(one), named(other)))),
            None => Ok(()),
        }
    }
}

impl Server {
    /// A client that has not connected yet.
    pub(crate) fn client(&self) -> Result<redis::Client, Unusable> {
        let bad = |why: &str| Unusable(format!("--redis-url (REDIS_URL) {why}"));
        let terminal::Redis { url, ca } = terminal::redis(&self.redis_url, self.redis_ca_file.as_deref())?;
        let url = url.reveal();
        // The library's own message may quote the URL, and with it the password.
        match ca {
            None => redis::Client::open(url).map_err(|_| bad(unreadable(url))),
            Some(pem) => {
                let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(pem) };
                redis::Client::build_with_tls(url, certificates).map_err(|_| {
                    bad("and --redis-ca-file do not go together: a PEM file and a rediss:// URL are needed")
                })
            }
        }
    }
}

impl Database {
    /// How to connect; checked, not connected.
    pub(crate) fn options(&self) -> Result<PgConnectOptions, Unusable> {
        let options = terminal::postgres(self.database_url.as_ref(), "relay")?;
        if self.schema.is_empty() {
            return Err(Unusable("--schema (RELAY_SCHEMA) is empty".to_owned()));
        }
        Ok(options)
    }

    /// A connection as it comes.
    pub(crate) async fn open(&self) -> Result<PgConnection, Error> {
        Ok(terminal::open(&self.options()?).await?)
    }

    /// A connection that finds the outbox's tables.
    pub(crate) async fn connect(&self) -> Result<PgConnection, Error> {
        let mut db = self.open().await?;
        self.settle(&mut db, None).await?;
        Ok(db)
    }

    /// Two such connections whose sessions are ours alone. A pooler that gives sessions away between transactions is refused
    /// before any setting of ours could be left in somebody else's.
    pub(crate) async fn connect_two(&self) -> Result<(PgConnection, PgConnection), Error> {
        let (mut one, mut other) = (self.open().await?, self.open().await?);
        if store::doctor::sessions_wander(&mut one, &mut other).await? {
            return Err(Error::Unusable(POOLED.to_owned()));
        }
        self.settle(&mut one, None).await?;
        self.settle(&mut other, None).await?;
        Ok((one, other))
    }

    /// Connections for those who answer people: few, made when they are needed, and no statement takes longer than this. What
    /// they commit is durable: who was told that it is done must be able to rely on it.
    pub(crate) fn pool(&self, connections_max: u32, statement_time_max: Duration) -> Result<PgPool, Unusable> {
        let options = self.options()?.application_name("relay http");
        let database = self.clone();
        Ok(PgPoolOptions::new()
            .max_connections(connections_max)
            .acquire_timeout(POOL_WAIT_MAX)
            .idle_timeout(POOL_IDLE_MAX)
            .after_connect(move |db, _| {
                let database = database.clone();
                Box::pin(async move { database.settle(db, Some(statement_time_max)).await })
            })
            .connect_lazy_with(options))
    }

    async fn settle(&self, db: &mut PgConnection, statement_time_max: Option<Duration>) -> Result<(), sqlx::Error> {
        // The plans we need never change, and statistics gathered while the table was empty must not talk Postgres out
        // of them. A row that somebody keeps locked must not stop every lane. And a session whose program is gone with
        // its machine must not seem to be at work for hours.
        sqlx::query(
            "select set_config('search_path', quote_ident($1), false), set_config('enable_seqscan', 'off', false),
                    set_config('enable_bitmapscan', 'off', false), set_config('jit', 'off', false),
                    set_config('lock_timeout', '5s', false), set_config('row_security', 'off', false),
                    set_config('default_transaction_isolation', 'read committed', false),
                    set_config('tcp_keepalives_idle', '30', false), set_config('tcp_keepalives_interval', '10', false),
                    set_config('tcp_keepalives_count', '3', false),
                    set_config('statement_timeout', coalesce($2, current_setting('statement_timeout')), false),
                    set_config('synchronous_commit', case when $2 is not null and current_setting('synchronous_commit') = 'off'
                                                          then 'on' else current_setting('synchronous_commit') end, false)",
        )
        .bind(&self.schema)
        .bind(statement_time_max.map(|limit| limit.as_millis().to_string()))
        .execute(db)
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        config: Config,
    }

    fn config(flags: &[&str]) -> Config {
        let base = ["relay", "--database-url", "postgres://me:hunter2@localhost/db"];
        Line::try_parse_from(base.iter().chain(flags)).expect("flags").config
    }

    fn complaint(flags: &[&str]) -> String {
        config(flags).check().expect_err("must be refused").to_string()
    }

    #[test]
    fn the_defaults_are_sound() {
        config(&[]).check().expect("sound");
    }

    #[test]
    fn a_wrong_setting_is_named_in_one_sentence() {
        assert_eq!(
            complaint(&["--retry-delay-min", "2m"]),
            "--retry-delay-min (RELAY_RETRY_DELAY_MIN) is longer than --retry-delay-max (RELAY_RETRY_DELAY_MAX)"
        );
        assert!(complaint(&["--redis-url", "http://x"]).contains("REDIS_URL"));
        assert!(complaint(&["--redis-ca-file", "/nowhere.pem"]).contains("/nowhere.pem"));
    }

    #[test]
    fn no_credential_is_ever_shown() {
        let config = config(&["--redis-url", "redis://me:hunter2@localhost:notaport"]);
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(!config.check().expect_err("bad port").to_string().contains("hunter2"));
    }
}
