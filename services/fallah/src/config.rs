//! One struct: a field is a flag, an environment variable, a default and a line of `--help`. Checked before anything connects.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sqlx::postgres::PgConnectOptions;
use terminal::{Secret, Unusable, duration};

use crate::fetch::{Fetcher, PAGE_BYTES_MAX, Settings, user_agent};
use crate::guard::{Guard, Net};
use crate::sources::Sources;

/// The file that names the sources, if none is said.
const SOURCES: &str = "sources.toml";

/// Postgres has so long to give a connection before it counts as away.
pub(crate) const ACQUIRE_TIME_MAX: Duration = Duration::from_secs(5);

/// Headings of flags in `--help`.
const CONNECTION: &str = "Connection";
const MANNERS: &str = "Manners";
const PACE: &str = "Pace";

/// Where items and the outbox lie.
#[derive(Debug, Clone, Args)]
pub struct Database {
    /// Postgres, as postgres://user:password@host:5432/database?sslmode=verify-full
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL", help_heading = CONNECTION)]
    pub database_url: Option<Secret>,
}

impl Database {
    /// How to connect; checked, not connected.
    pub fn options(&self) -> Result<PgConnectOptions, Unusable> {
        let options = terminal::postgres(self.database_url.as_ref(), "fallah")?;
        // A statement that waits for a lock for ever would hold up its host for ever.
        Ok(options.options([
            ("lock_timeout", "30s"),
            ("statement_timeout", "60s"),
            // Nor must others wait for a program that was frozen in the middle of a transaction.
            ("idle_in_transaction_session_timeout", "30s"),
            ("client_min_messages", "warning"),
            // Statistics from when the tables were empty must not talk Postgres into reading all pages for each turn.
            ("enable_seqscan", "off"),
            ("enable_bitmapscan", "off"),
            ("jit", "off"),
        ]))
    }
}

/// Which sources.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The file that names them
    #[arg(long, env = "FALLAH_SOURCES", default_value = SOURCES, value_name = "FILE")]
    pub sources: PathBuf,
}

impl Which {
    /// The sources, if there is such a file. One that is named and not there is a mistake.
    pub(crate) fn read_if_any(&self) -> Result<Option<Sources>, Unusable> {
        let by_default = self.sources.as_os_str() == SOURCES;
        if by_default && !self.sources.exists() { Ok(None) } else { self.read().map(Some) }
    }

    /// The sources, checked whole.
    pub fn read(&self) -> Result<Sources, Unusable> {
        if !self.sources.exists() {
            return Err(Unusable(format!(
                "{} (--sources, FALLAH_SOURCES) is not there; three lines are enough to begin with: [[source]], \
                 name = \"daily\", home = \"https://example.org\"",
                self.sources.display()
            )));
        }
        Sources::read(&self.sources).map_err(|wrong| Unusable(wrong.to_string()))
    }
}

/// How pages are asked for.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = MANNERS)]
pub struct Manners {
    /// Whom to write to: goes into the User-Agent, so that a site's owner finds you
    #[arg(long, env = "FALLAH_CONTACT", value_name = "URL-OR-MAIL")]
    pub contact: Option<String>,

    /// A longer Crawl-delay in a robots.txt is shortened to this
    #[arg(long, env = "FALLAH_CRAWL_DELAY_MAX", default_value = "1m", value_parser = duration, value_name = "DURATION")]
    pub crawl_delay_max: Duration,

    /// One request may take so long (less than 50s)
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
    /// Whom to write to, if that is said.
    pub(crate) fn contact(&self) -> Option<&str> {
        self.contact.as_deref().map(str::trim).filter(|contact| !contact.is_empty())
    }

    /// A client that behaves so.
    pub(crate) fn fetcher(&self) -> Result<Fetcher, Unusable> {
        if self.request_timeout.is_zero() {
            return Err(Unusable("--request-timeout (FALLAH_REQUEST_TIMEOUT) must not be 0".to_owned()));
        }
        let agent = self.contact().map_or_else(|| format!("{}/{}", crate::AGENT, crate::VERSION), user_agent);
        let guard = Guard::new(self.allow_net.clone());
        let settings = Settings { total_time_max: self.request_timeout, ..Settings::new(agent, guard) };
        Fetcher::new(&settings).map_err(|error| Unusable(error.to_string()))
    }
}

/// How a crawl goes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = PACE)]
pub struct Pace {
    /// Hosts that are asked at once
    #[arg(long, env = "FALLAH_HOSTS_MAX", default_value = "16", value_name = "HOSTS")]
    pub hosts_max: NonZeroU16,

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
    pub fn check(&self) -> Result<(), Unusable> {
        self.database.options()?;
        let (pace, manners) = (&self.pace, &self.manners);
        let named = |flag: &str| format!("{flag} (FALLAH_{})", flag[2..].replace('-', "_").to_uppercase());
        let positive =
            [("--request-timeout", manners.request_timeout), ("--removal-interval", pace.removal_interval)];
        if let Some((flag, _)) = positive.iter().find(|(_, duration)| duration.is_zero()) {
            return Err(Unusable(format!("{} must not be 0", named(flag))));
        }
        let ordered = [
            ("--recheck-min", pace.recheck_min, "--recheck-max", pace.recheck_max),
            ("--retry-delay-min", pace.retry_delay_min, "--retry-delay-max", pace.retry_delay_max),
        ];
        if let Some((min, _, max, _)) = ordered.iter().find(|(_, min, _, max)| min > max) {
            return Err(Unusable(format!("{} is longer than {}", named(min), named(max))));
        }
        if manners.request_timeout >= crate::crawl::REQUEST_TIME_MAX {
            let seconds = crate::crawl::REQUEST_TIME_MAX.as_secs();
            return Err(Unusable(format!("{} must be shorter than {seconds}s", named("--request-timeout"))));
        }
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

    fn complaint(flags: &[&str]) -> String {
        let base = ["fallah", "--database-url", "postgres://me:hunter2@localhost/db"];
        let line = Line::try_parse_from(base.iter().chain(flags)).expect("flags");
        line.config.check().expect_err("must be refused").to_string()
    }

    #[test]
    fn a_wrong_setting_is_named_in_one_sentence() {
        assert_eq!(
            complaint(&["--recheck-min", "40d"]),
            "--recheck-min (FALLAH_RECHECK_MIN) is longer than --recheck-max (FALLAH_RECHECK_MAX)"
        );
        assert_eq!(
            complaint(&["--removal-interval", "0"]),
            "--removal-interval (FALLAH_REMOVAL_INTERVAL) must not be 0"
        );
        assert_eq!(
            complaint(&["--request-timeout", "50s"]),
            "--request-timeout (FALLAH_REQUEST_TIMEOUT) must be shorter than 50s"
        );
    }
}
