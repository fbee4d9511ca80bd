//! One struct: a field is a flag, an environment variable, a default and a line of `--help`. Checked before anything connects.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use crate::Error;
use crate::fetch::{Fetcher, PAGE_BYTES_MAX, Settings, user_agent};
use crate::guard::{Guard, Net};

/// A value that must not be seen: a URL with credentials.
#[derive(Clone)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Where items and the outbox lie.
#[derive(Debug, Clone, Args)]
pub struct Database {
    /// Postgres, as postgres://user:password@host:5432/database?sslmode=verify-full
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<Secret>,
}

impl Database {
    /// How to connect; checked, not connected.
    pub fn options(&self) -> Result<PgConnectOptions, Error> {
        let bad = |why: &str| Error::Unusable(format!("--database-url (DATABASE_URL) {why}"));
        let url = &self.database_url.as_ref().ok_or_else(|| bad("is not set"))?.0;
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(bad("must begin with postgres://"));
        }
        let options = PgConnectOptions::from_str(url).map_err(|_| bad("cannot be read"))?;
        // A statement that waits for a lock for ever would hold up its host for ever.
        let options = options.options([
            ("lock_timeout", "30s"),
            ("statement_timeout", "60s"),
            ("client_min_messages", "warning"),
            // Statistics from when the tables were empty must not talk Postgres into reading all pages for each turn.
            ("enable_seqscan", "off"),
            ("enable_bitmapscan", "off"),
            ("jit", "off"),
        ]);
        Ok(options.application_name("fallah").disable_statement_logging())
    }
}

/// Which sources.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The file that names them
    #[arg(long, env = "FALLAH_SOURCES", default_value = "sources.toml", value_name = "FILE")]
    pub sources: PathBuf,
}

/// How pages are asked for.
#[derive(Debug, Clone, Args)]
pub struct Manners {
    /// Whom to write to: goes into the User-Agent, so that a site's owner finds you
    #[arg(long, env = "FALLAH_CONTACT", value_name = "URL-OR-MAIL")]
    pub contact: Option<String>,

    /// A longer Crawl-delay in a robots.txt is shortened to this
    #[arg(long, env = "FALLAH_CRAWL_DELAY_MAX", default_value = "1m", value_parser = duration, value_name = "DURATION")]
    pub crawl_delay_max: Duration,

    /// One request may take so long, redirects and all
    #[arg(long, env = "FALLAH_REQUEST_TIMEOUT", default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub request_timeout: Duration,

    /// A larger page is left alone
    #[arg(long, env = "FALLAH_PAGE_BYTES_MAX", default_value_t = PAGE_BYTES_MAX, value_name = "BYTES")]
    pub page_bytes_max: u64,

    /// Private nets that may be asked all the same, such as 127.0.0.0/8 (none: only public addresses)
    #[arg(long = "allow-net", env = "FALLAH_ALLOW_NETS", value_delimiter = ',', value_name = "NET,...")]
    pub allow_net: Vec<Net>,
}

impl Manners {
    /// A client that behaves so.
    pub(crate) fn fetcher(&self) -> Result<Fetcher, Error> {
        let agent =
            self.contact.as_deref().map_or_else(|| format!("{}/{}", crate::AGENT, crate::VERSION), user_agent);
        let guard = Guard::new(self.allow_net.clone());
        let settings = Settings { total_time_max: self.request_timeout, ..Settings::new(agent, guard) };
        Fetcher::new(&settings).map_err(|error| Error::Unusable(error.to_string()))
    }
}

/// How a crawl goes.
#[derive(Debug, Clone, Args)]
pub struct Pace {
    /// Hosts that are asked at once
    #[arg(long, env = "FALLAH_HOSTS_MAX", default_value = "16", value_name = "HOSTS")]
    pub hosts_max: std::num::NonZeroU16,

    /// A page that is younger counts as news: it comes first, and is looked at again
    #[arg(long, env = "FALLAH_NEWS_FOR", default_value = "48h", value_parser = duration, value_name = "DURATION")]
    pub news_for: Duration,

    /// How soon news are looked at again; the older, the later
    #[arg(long, env = "FALLAH_RECHECK_MIN", default_value = "15m", value_parser = duration, value_name = "DURATION")]
    pub recheck_min: Duration,

    /// How seldom everything else is looked at again
    #[arg(long, env = "FALLAH_RECHECK_MAX", default_value = "30d", value_parser = duration, value_name = "DURATION")]
    pub recheck_max: Duration,

    /// A page must be missing (404) three times, and for so long, before its item is deleted
    #[arg(long, env = "FALLAH_MISSING_FOR", default_value = "48h", value_parser = duration, value_name = "DURATION")]
    pub missing_for: Duration,

    /// How often it is asked what has vanished; and whether more than half of what was looked at has
    #[arg(long, env = "FALLAH_REMOVAL_INTERVAL", default_value = "1m", value_parser = duration, value_name = "DURATION")]
    pub removal_interval: Duration,

    /// The wait after a first failure; it doubles with each further one
    #[arg(long, env = "FALLAH_RETRY_DELAY_MIN", default_value = "1m", value_parser = duration, value_name = "DURATION")]
    pub retry_delay_min: Duration,

    /// The longest wait after a failure, and for what a Retry-After asks
    #[arg(long, env = "FALLAH_RETRY_DELAY_MAX", default_value = "6h", value_parser = duration, value_name = "DURATION")]
    pub retry_delay_max: Duration,

    /// When asked to stop: so long for what is under way
    #[arg(long, env = "FALLAH_DRAIN_MAX", default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub drain_max: Duration,
}

/// Everything that `run` and `once` need to know.
#[derive(Debug, Clone, Args)]
pub struct Config {
    #[allow(missing_docs)]
    #[command(flatten)]
    pub database: Database,
    #[allow(missing_docs)]
    #[command(flatten)]
    pub which: Which,
    #[allow(missing_docs)]
    #[command(flatten)]
    pub manners: Manners,
    #[allow(missing_docs)]
    #[command(flatten)]
    pub pace: Pace,
}

impl Config {
    /// What is wrong with the settings taken together, in one sentence.
    pub fn check(&self) -> Result<(), Error> {
        self.database.options()?;
        let pace = &self.pace;
        let rules = [
            (pace.recheck_min <= pace.recheck_max, "--recheck-min is longer than --recheck-max"),
            (pace.retry_delay_min <= pace.retry_delay_max, "--retry-delay-min is longer than --retry-delay-max"),
            (self.manners.request_timeout * 6 < crate::crawl::LEASE, "--request-timeout must be shorter than 50s"),
            (!self.manners.request_timeout.is_zero(), "--request-timeout must not be 0"),
            (!pace.removal_interval.is_zero(), "--removal-interval must not be 0"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, sentence)) => Err(Error::Unusable(sentence.to_owned())),
            None => Ok(()),
        }
    }
}

/// `300ms`, `2s`, `24h`, `7d`, or `0`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if text.trim() == "0" {
        return Ok(Duration::ZERO);
    }
    let span: jiff::Span = text.parse().map_err(|_| "a duration is a number and a unit, such as 300ms, 2s or 24h")?;
    let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
    Duration::try_from(duration).map_err(|_| "a duration cannot be negative".to_owned())
}
