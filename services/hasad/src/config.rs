//! Settings: a field is a flag, an environment variable, a default and a line of `--help`. Checked before anything connects.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use object_store::ClientOptions;
use object_store::RetryConfig;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool};
use terminal::{Address, CannotListen, Secret, Streams, Unusable};
use tokio::net::TcpListener;
use url::Url;
use vitals::Listen;

use crate::{Error, Objects};

/// Headings of `--help`.
pub(crate) const STORES: &str = "Stores";
pub(crate) const S3: &str = "S3-compatible stores";
pub(crate) const CONSUMER: &str = "Consumer";
pub(crate) const LIMITS: &str = "Limits";
pub(crate) const OUTPUT: &str = "Output";
pub(crate) const WHICH: &str = "Which";

/// A statement or a lock may take so long.
const STATEMENT_MAX: &str = "60s";
/// A statement that looks at all there is.
const SCAN_MAX: &str = "1h";
const LOCK_MAX: &str = "30s";
/// One request to the store, and all tries of it together.
const REQUEST_MAX: Duration = Duration::from_secs(10);
const REQUESTS_MAX: Duration = Duration::from_secs(15);
const RETRIES_MAX: usize = 2;

/// Where versions are.
#[derive(Debug, Clone, Args)]
pub struct Database {
    /// Postgres, as postgres://user:password@host:5432/database?sslmode=verify-full
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL", help_heading = STORES)]
    pub database_url: Option<Secret>,
}

impl Database {
    /// How to connect; checked, not connected.
    pub fn options(&self) -> Result<PgConnectOptions, Unusable> {
        self.options_with(STATEMENT_MAX)
    }

    fn options_with(&self, statement_max: &str) -> Result<PgConnectOptions, Unusable> {
        Ok(terminal::postgres(self.database_url.as_ref(), "hasad")?.options([
            // The inbox lies beside the rows that it guards.
            ("search_path", "hasad"),
            ("lock_timeout", LOCK_MAX),
            ("statement_timeout", statement_max),
            // A transaction waits for objects; longer than any of them may take, it has been forgotten.
            ("idle_in_transaction_session_timeout", "120s"),
            ("client_min_messages", "warning"),
            ("jit", "off"),
        ]))
    }

    /// One connection.
    pub(crate) async fn open(&self) -> anyhow::Result<PgConnection> {
        Ok(terminal::open(&self.options()?).await.map_err(Error::Database)?)
    }

    /// Some connections. The first one is made at once, so that what stands in the way is told.
    pub(crate) async fn pool(&self, connections: u32) -> anyhow::Result<PgPool> {
        self.pool_with(connections, self.options()?).await
    }

    /// The same, for verbs that look at all there is.
    pub(crate) async fn pool_for_scans(&self, connections: u32) -> anyhow::Result<PgPool> {
        self.pool_with(connections, self.options_with(SCAN_MAX)?).await
    }

    async fn pool_with(&self, connections: u32, options: PgConnectOptions) -> anyhow::Result<PgPool> {
        drop(terminal::open(&options).await.map_err(Error::Database)?);
        Ok(pool(options, connections))
    }
}

/// Connections that are made when they are needed.
pub(crate) fn pool(options: PgConnectOptions, connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(5))
        .connect_lazy_with(options)
}

/// Where objects lie.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// The store: file:///var/lib/hasad, s3://bucket/prefix, or memory: (gone with the process, for `run` alone)
    #[arg(long, env = "HASAD_STORE", hide_env_values = true, default_value = "file:./.data/objects", value_name = "URL", help_heading = STORES)]
    pub store: Address,

    /// Requests to the store at once, of one batch
    #[arg(long, env = "HASAD_REQUESTS_MAX", default_value = "32", value_name = "REQUESTS", help_heading = LIMITS)]
    pub requests_max: NonZeroU16,

    /// Where the store is, if it is not Amazon's: http://127.0.0.1:9000
    #[arg(long, env = "AWS_ENDPOINT_URL", hide_env_values = true, value_name = "URL", help_heading = S3)]
    pub s3_endpoint: Option<Address>,

    /// Its region; most stores take any
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1", value_name = "REGION", help_heading = S3)]
    pub s3_region: String,

    /// The key's name
    #[arg(long, env = "AWS_ACCESS_KEY_ID", hide_env_values = true, value_name = "KEY", help_heading = S3)]
    pub s3_access_key: Option<Secret>,

    /// The key
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true, value_name = "SECRET", help_heading = S3)]
    pub s3_secret_key: Option<Secret>,

    /// The token that belongs to a key for a while
    #[arg(long, env = "AWS_SESSION_TOKEN", hide_env_values = true, value_name = "TOKEN", help_heading = S3)]
    pub s3_token: Option<Secret>,

    /// The bucket's name stands before the host, and not in the path
    #[arg(long, env = "HASAD_S3_VIRTUAL_HOST", help_heading = S3)]
    pub s3_virtual_host: bool,

    /// The store does not know `If-None-Match: *`: look first, then write
    #[arg(long, env = "HASAD_S3_UNCONDITIONAL", help_heading = S3)]
    pub s3_unconditional: bool,
}

impl Place {
    /// The store. A folder is made; of others only what can be known without asking is checked.
    pub fn open(&self) -> Result<Objects, Unusable> {
        let bad = |why: &str| Unusable(format!("--store (HASAD_STORE) {why}"));
        let at_once = usize::from(self.requests_max.get());
        if let Some(folder) = self.folder()? {
            if folder.is_empty() {
                return Err(bad("names no folder: file:///var/lib/hasad"));
            }
            let opened = Objects::in_folder(std::path::Path::new(&folder), at_once);
            return opened.map_err(|error| bad(&format!("cannot be used: {}", outbox::in_words(&error))));
        }
        if self.is_memory() {
            return Ok(Objects::in_memory());
        }
        let url = Url::parse(self.store.reveal()).ok().filter(|url| url.scheme() == "s3");
        let url = url.ok_or_else(|| bad("must begin with file:, s3:// or memory:"))?;
        // It appears in the log.
        if self.store.has_credentials() {
            return Err(bad("must hold no key: it goes into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("must be a bucket and a prefix alone: s3://bucket/prefix"));
        }
        let bucket = url.host_str().ok_or_else(|| bad("names no bucket: s3://bucket/prefix"))?;
        let root = Path::from_url_path(url.path()).map_err(|_| bad("has a prefix that no store takes"))?;
        self.check_endpoint()?;
        self.check_keys()?;
        let store = self.s3(bucket).build().map_err(|error| bad(&outbox::in_words(&error)))?;
        Ok(Objects::new(Arc::new(store), root, !self.s3_unconditional, at_once))
    }

    /// What goes wrong on the way there is told with the whole address.
    fn check_endpoint(&self) -> Result<(), Unusable> {
        let Some(endpoint) = &self.s3_endpoint else { return Ok(()) };
        let bad = |why: &str| Unusable(format!("--s3-endpoint (AWS_ENDPOINT_URL) {why}"));
        let url = Url::parse(endpoint.reveal()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| bad("must begin with http:// or https://"))?;
        if endpoint.has_credentials() || url.query().is_some() {
            return Err(bad(
                "must be a plain address, without a user or a password: keys go into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ));
        }
        Ok(())
    }

    /// Only machines of Amazon may be given keys by others; every other store must be told them.
    fn check_keys(&self) -> Result<(), Unusable> {
        const KEY: &str = "--s3-access-key (AWS_ACCESS_KEY_ID)";
        const SECRET: &str = "--s3-secret-key (AWS_SECRET_ACCESS_KEY)";
        match (&self.s3_access_key, &self.s3_secret_key) {
            (Some(_), Some(_)) => Ok(()),
            (Some(_), None) => Err(Unusable(format!("{SECRET} is not set, and belongs to {KEY}"))),
            (None, Some(_)) => Err(Unusable(format!("{KEY} is not set, and belongs to {SECRET}"))),
            (None, None) if self.s3_token.is_some() => {
                Err(Unusable(format!("{KEY} and {SECRET} are not set, and belong to --s3-token (AWS_SESSION_TOKEN)")))
            }
            (None, None) if self.is_amazons() => Ok(()),
            (None, None) => {
                Err(Unusable(format!("{KEY} and {SECRET} are not set, and a store that is not Amazon's needs them")))
            }
        }
    }

    fn is_amazons(&self) -> bool {
        let Some(endpoint) = &self.s3_endpoint else { return true };
        let url = Url::parse(endpoint.reveal()).ok();
        let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
        [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"].iter().any(|domain| host.ends_with(domain))
    }

    fn s3(&self, bucket: &str) -> AmazonS3Builder {
        // The one provider that is compiled in; whoever has chosen already is not overruled.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = ClientOptions::new()
            .with_allow_http(true)
            .with_timeout(REQUEST_MAX)
            .with_connect_timeout(Duration::from_secs(5))
            .with_pool_idle_timeout(Duration::from_secs(30));
        // The consumer tries again by itself, and says so; in here there is only time for a hiccup.
        let retry = RetryConfig { max_retries: RETRIES_MAX, retry_timeout: REQUESTS_MAX, ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&self.s3_region)
            .with_virtual_hosted_style_request(self.s3_virtual_host)
            .with_conditional_put(if self.s3_unconditional {
                S3ConditionalPut::Disabled
            } else {
                S3ConditionalPut::ETagMatch
            })
            // One request an object: the sweeper deletes few, and every store knows it.
            .with_disable_bulk_delete(true)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(endpoint) = &self.s3_endpoint {
            builder = builder.with_endpoint(endpoint.reveal());
        }
        if let (Some(key), Some(secret)) = (&self.s3_access_key, &self.s3_secret_key) {
            builder = builder.with_access_key_id(key.reveal()).with_secret_access_key(secret.reveal());
        }
        if let Some(token) = &self.s3_token {
            builder = builder.with_token(token.reveal());
        }
        builder
    }

    /// The same, for verbs whose objects must outlast them.
    pub(crate) fn open_lasting(&self) -> Result<Objects, Unusable> {
        if self.is_memory() {
            return Err(Unusable("--store (HASAD_STORE) memory: is gone with the process that wrote it".to_owned()));
        }
        self.open()
    }

    /// The same, for verbs that look at what another process wrote: a folder that is not there is a mistake.
    pub(crate) fn open_shared(&self) -> Result<Objects, Unusable> {
        let folder = self.folder()?.filter(|folder| !std::path::Path::new(folder).is_dir());
        match folder {
            Some(folder) if !folder.is_empty() => {
                Err(Unusable(format!("--store (HASAD_STORE) names a folder that is not there: {folder}")))
            }
            _ => self.open_lasting(),
        }
    }

    fn is_memory(&self) -> bool {
        self.store.reveal() == "memory:"
    }

    fn folder(&self) -> Result<Option<String>, Unusable> {
        let Some(folder) = self.store.reveal().strip_prefix("file:") else { return Ok(None) };
        let folder = decoded(folder.strip_prefix("//").unwrap_or(folder));
        let folder = folder.ok_or_else(|| Unusable("--store (HASAD_STORE) names no folder in UTF-8".to_owned()))?;
        Ok(Some(folder))
    }
}

/// A path as it stands in a URL: `%20` is a blank there. None: it is not UTF-8.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, left @ ..] = rest {
        let digit = |at: usize| left.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &left[2..];
            }
            _ => {
                bytes.push(*first);
                rest = left;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// Everything that `run` needs to know.
#[derive(Debug, Clone, Args)]
pub struct Config {
    #[allow(missing_docs)]
    #[command(flatten)]
    pub database: Database,

    #[allow(missing_docs)]
    #[command(flatten, next_help_heading = STORES)]
    pub streams: Streams,

    #[allow(missing_docs)]
    #[command(flatten)]
    pub place: Place,

    /// Where it tells of itself (/live, /ready, /metrics), such as 127.0.0.1:7658, or off
    #[arg(long, env = "HASAD_LISTEN", default_value = "off", value_name = "ADDRESS", help_heading = OUTPUT)]
    pub listen: Listen,

    /// The stream that is archived
    #[arg(long, env = "HASAD_STREAM", default_value = contract::STREAM, value_name = "STREAM", help_heading = CONSUMER)]
    pub stream: String,

    /// The group that this archive is
    #[arg(long, env = "HASAD_GROUP", default_value = contract::HASAD, value_name = "GROUP", help_heading = CONSUMER)]
    pub group: String,

    /// Sources that are left alone, for a migration in phases: their events are settled and not archived
    #[arg(long = "skip-source", env = "HASAD_SKIP_SOURCES", value_delimiter = ',', value_name = "NAME,...",
          help_heading = CONSUMER)]
    pub skip_sources: Vec<String>,

    /// A consumer that has not been heard of for so long has lost its entries to others
    #[arg(long, env = "HASAD_CLAIM_AFTER", default_value = "30s", value_parser = terminal::duration, value_name = "DURATION",
          help_heading = CONSUMER)]
    pub claim_after: Duration,

    /// After so many failed attempts an event is a dead letter; outages are no attempts
    #[arg(long, env = "HASAD_ATTEMPTS_MAX", default_value = "5", value_name = "ATTEMPTS", help_heading = CONSUMER)]
    pub attempts_max: NonZeroU32,

    /// When asked to stop: so long for what is under way
    #[arg(long, env = "HASAD_DRAIN_MAX", default_value = "10s", value_parser = terminal::duration, value_name = "DURATION",
          help_heading = CONSUMER)]
    pub drain_max: Duration,

    /// Events that share one transaction
    #[arg(long, env = "HASAD_BATCH_MAX", default_value = "200", value_name = "EVENTS", help_heading = LIMITS)]
    pub batch_max: NonZeroU16,

    /// Batches at once
    #[arg(long, env = "HASAD_BATCHES_MAX", default_value = "2", value_name = "BATCHES", help_heading = LIMITS)]
    pub batches_max: NonZeroU16,

    /// About so many bytes of events are in memory at once
    #[arg(long, env = "HASAD_PREFETCH_BYTES_MAX", default_value = "8388608", value_name = "BYTES", help_heading = LIMITS)]
    pub prefetch_bytes_max: NonZeroU64,

    /// An article with more bytes is buried
    #[arg(long, env = "HASAD_OBJECT_BYTES_MAX", default_value = "4194304", value_name = "BYTES", help_heading = LIMITS)]
    pub object_bytes_max: NonZeroU64,

    /// A batch that takes longer is an outage of a store: it is tried again, and costs no attempt
    #[arg(long, env = "HASAD_WRITE_MAX", default_value = "30s", value_parser = terminal::duration, value_name = "DURATION",
          help_heading = LIMITS)]
    pub write_max: Duration,
}

impl Config {
    /// Takes the address at which the archive tells of itself, if there is one.
    pub fn listener(&self) -> Result<Option<TcpListener>, CannotListen> {
        vitals::open("--listen (HASAD_LISTEN)", self.listen)
    }

    /// What is wrong with the settings taken together, in one sentence.
    pub fn check(&self) -> Result<(), Unusable> {
        self.database.options()?;
        self.streams.server()?;
        let rules = [
            (!self.claim_after.is_zero(), "--claim-after (HASAD_CLAIM_AFTER) must not be 0"),
            (!self.write_max.is_zero(), "--write-max (HASAD_WRITE_MAX) must not be 0"),
            (
                self.write_max <= Duration::from_secs(60),
                "--write-max (HASAD_WRITE_MAX) must not be longer than 60s: Postgres ends what waits for longer",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, sentence)) => Err(Unusable(sentence.to_owned())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        place: Place,
    }

    /// Whatever the environment of the tests says of keys.
    fn place(flags: &[&str]) -> Place {
        let line = ["hasad", "--store", "s3://archive"].iter().chain(flags);
        let Place { store, requests_max, s3_endpoint, s3_region, .. } =
            Line::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).place;
        let of = |flag: &str| flags.iter().skip_while(|word| **word != flag).nth(1).map(|value| Secret::from(*value));
        Place {
            store,
            requests_max,
            s3_endpoint,
            s3_region,
            s3_access_key: of("--s3-access-key"),
            s3_secret_key: of("--s3-secret-key"),
            s3_token: of("--s3-token"),
            s3_virtual_host: false,
            s3_unconditional: false,
        }
    }

    #[test]
    fn a_store_without_keys_is_refused_unless_the_machine_may_be_given_some() {
        let elsewhere = ["--s3-endpoint", "http://127.0.0.1:9000"];
        for (flags, missing) in [
            (&[][..], &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"][..]),
            (&["--s3-access-key", "hunter2"], &["(AWS_SECRET_ACCESS_KEY) is not set"]),
            (&["--s3-secret-key", "hunter2"], &["(AWS_ACCESS_KEY_ID) is not set"]),
            (&["--s3-token", "hunter2"], &["AWS_SESSION_TOKEN"]),
        ] {
            let said = place(&[&elsewhere[..], flags].concat()).open().expect_err("refused").0;
            assert!(missing.iter().all(|name| said.contains(name)) && !said.contains("hunter2"), "{said}");
        }
        let both = ["--s3-access-key", "one", "--s3-secret-key", "two"];
        for sound in [
            &[][..],
            &["--s3-endpoint", "https://s3.eu-central-1.amazonaws.com"],
            &[&elsewhere[..], &both[..]].concat(),
        ] {
            assert!(place(sound).open().is_ok(), "{sound:?}");
        }
        assert!(place(&["--s3-access-key", "one"]).open().is_err(), "half a key is a mistake everywhere");
    }

    #[tokio::test]
    async fn a_machine_that_is_given_no_keys_is_told_what_to_set() {
        // Nobody gives keys there.
        let store = place(&[]).s3("archive").with_metadata_endpoint("http://127.0.0.1:1").build().expect("sound");
        let objects = Objects::new(Arc::new(store), Path::default(), true, 1);
        let error = Error::from(objects.get("0").await.expect_err("there are no keys"));
        let words = outbox::in_words(&error);
        assert!(words.contains("AWS_ACCESS_KEY_ID") && words.contains("AWS_SECRET_ACCESS_KEY"), "{words}");
        assert!(matches!(error.failure(), outbox::Failure::Outage(_)));
    }

    #[test]
    fn what_looks_at_everything_may_take_longer_than_one_statement() {
        let database = Database { database_url: Some("postgres://db/news".into()) };
        let said = |options: PgConnectOptions| options.get_options().unwrap_or_default().to_owned();
        assert!(said(database.options().expect("sound")).contains("statement_timeout=60s"));
        assert!(said(database.options_with(SCAN_MAX).expect("sound")).contains("statement_timeout=1h"));
    }

    #[test]
    fn a_folder_is_read_as_a_url_says_it() {
        assert_eq!(decoded("/var/lib/my%20objects").as_deref(), Some("/var/lib/my objects"));
        assert_eq!(decoded("./%D8%A7/100%/%zz").as_deref(), Some("./ا/100%/%zz"));
        assert_eq!(decoded("/%ff"), None);
    }
}
