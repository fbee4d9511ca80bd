//! The verbs, and what they print.

use std::io::IsTerminal;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sqlx::{Connection, PgConnection, PgPool};

use crate::address::NormalizeArgs;
use crate::config::{Config, Database, Manners, Which};
use crate::crawl::{Count, Crawler};
use crate::extract::verb::ExtractArgs;
use crate::robots::CheckArgs;
use crate::sitemap::ParseArgs;
use crate::sources::Sources;
use crate::trial::{self, Trial};
use crate::{Error, store};

/// Pages that wait are counted up to here: counting a million takes longer than it is worth, twice a second.
const LEFT_MAX: i64 = 10_000;

/// Reads news sites politely, and writes each article and its event in one transaction.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Examples:
  fallah migrate                                       make the tables
  fallah test-source https://example.org/news/1        what would be read there, and by which rules
  fallah once                                          read every source once, and end
  fallah run                                           read them until SIGTERM
  fallah sources                                       how each source stands
  fallah robots check robots.txt fallah https://example.org/a
  fallah sitemap parse sitemap.xml --base https://example.org/ --json

DATABASE_URL is read from the environment, the sources from sources.toml; every flag has such a variable
(see `fallah run --help`). Exit codes: 0 done, 1 failed or \"no\", 64 wrong flags, settings or sources."
)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,

    /// What is logged: off, error, warn, info, debug, trace, or a filter such as fallah=debug
    #[arg(long, env = "FALLAH_LOG", global = true, default_value = "info", value_name = "FILTER")]
    log: tracing_subscriber::filter::Directive,

    /// How log lines look
    #[arg(long, env = "FALLAH_LOG_FORMAT", global = true, default_value = "text", value_name = "FORMAT")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read all sources until SIGTERM or SIGINT, then end what is under way and exit 0
    Run(Box<Config>),

    /// Read all sources once: every list, every page that is due; then say what was found
    Once {
        #[command(flatten)]
        config: Box<Config>,

        /// The summary as JSON
        #[arg(long)]
        json: bool,
    },

    /// How each source stands: pages, items, what waits, what fails
    Sources {
        #[command(flatten)]
        database: Database,

        /// As JSON
        #[arg(long)]
        json: bool,
    },

    /// Let a source go on that was halted because too much had vanished at once
    Resume(Resume),

    /// Make the tables, the outbox's too, or bring them to this version
    Migrate {
        #[command(flatten)]
        database: Database,
    },

    /// Fetch one page and show what would be made of it; nothing is written
    TestSource {
        /// The page
        url: String,

        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        manners: Manners,

        /// As JSON
        #[arg(long)]
        json: bool,
    },

    /// Extract articles from pages that are at hand: JSON lines in, JSON lines out
    Extract(ExtractArgs),

    /// Ask a robots.txt
    #[command(subcommand)]
    Robots(RobotsVerb),

    /// Read a sitemap or feed
    #[command(subcommand)]
    Sitemap(SitemapVerb),

    /// Addresses
    #[command(subcommand)]
    Url(UrlVerb),
}

#[derive(Debug, Subcommand)]
enum RobotsVerb {
    /// Whether an agent may fetch addresses, and which rule says so
    Check(CheckArgs),
}

#[derive(Debug, Subcommand)]
enum SitemapVerb {
    /// What a sitemap or feed lists
    Parse(ParseArgs),
}

#[derive(Debug, Subcommand)]
enum UrlVerb {
    /// The one identity of an address
    Normalize(NormalizeArgs),
}

#[derive(Debug, Args)]
struct Resume {
    #[command(flatten)]
    database: Database,

    /// The source
    name: String,

    /// It is true: what has vanished has vanished, and is deleted now. Else every such page is looked at again
    #[arg(long)]
    delete: bool,
}

/// Runs a verb.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    // The one provider that is compiled in; a second call has nothing to do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match cli.verb {
        Verb::Run(config) => {
            let mut stop = pin!(asked_to_stop());
            let sources = check(&config)?;
            trace(cli.log, cli.log_format);
            let Some(crawler) = connect(&config, sources, stop.as_mut()).await? else { return Ok(ExitCode::SUCCESS) };
            crawler.run(stop).await?;
        }
        Verb::Once { config, json } => {
            let sources = check(&config)?;
            trace(quiet(cli.log), cli.log_format);
            return once(&config, sources, json).await;
        }
        Verb::Sources { database, json } => sources(&database, json).await?,
        Verb::Resume(resume) => return self::resume(resume).await,
        Verb::Migrate { database } => {
            let mut db = PgConnection::connect_with(&database.options()?).await.map_err(Error::Database)?;
            store::migrate(&mut db).await?;
            print("the tables are there\n");
        }
        Verb::TestSource { url, which, manners, json } => {
            let sources =
                which.sources.exists().then(|| Sources::read(&which.sources)).transpose().map_err(unusable)?;
            return trial::run(&Trial { url, manners, sources, json }).await;
        }
        Verb::Extract(arguments) => {
            let (out, err) = (std::io::stdout().lock(), std::io::stderr().lock());
            let all_read = crate::extract::verb::run(&arguments, std::io::BufWriter::new(out), err)?;
            return Ok(if all_read { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Verb::Robots(RobotsVerb::Check(arguments)) => return Ok(crate::robots::check(&arguments)),
        Verb::Sitemap(SitemapVerb::Parse(arguments)) => return Ok(crate::sitemap::parse(&arguments)),
        Verb::Url(UrlVerb::Normalize(arguments)) => return Ok(crate::address::normalize(&arguments)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what went wrong, and returns the code to leave with.
pub fn complain(error: &anyhow::Error) -> ExitCode {
    eprintln!("fallah: {}", outbox::in_words(error.as_ref()));
    let missing = error.chain().filter_map(|cause| cause.downcast_ref::<sqlx::Error>()).any(|error| {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        code.is_some_and(|code| ["42P01", "3F000"].contains(&code.as_ref()))
    });
    if missing {
        eprintln!("fallah: are the tables there? `fallah migrate` makes them");
    }
    let usage = matches!(error.downcast_ref::<Error>(), Some(Error::Unusable(_)));
    ExitCode::from(if usage { 64 } else { 1 })
}

fn check(config: &Config) -> Result<Sources, Error> {
    config.check()?;
    Sources::read(&config.which.sources).map_err(unusable)
}

fn unusable(error: impl ToString) -> Error {
    Error::Unusable(error.to_string())
}

/// The bar says what goes on; log lines would tear it apart, unless something is wrong.
fn quiet(log: tracing_subscriber::filter::Directive) -> tracing_subscriber::filter::Directive {
    let shown = std::io::stderr().is_terminal() && log.to_string() == "info";
    if shown { "warn".parse().expect("a level") } else { log }
}

/// Connects, unless asked to stop before that.
async fn connect(
    config: &Config,
    sources: Sources,
    stop: impl Future<Output = ()>,
) -> Result<Option<Arc<Crawler>>, Error> {
    tokio::select! {
        biased;
        () = stop => Ok(None),
        crawler = Crawler::connect(config, sources) => crawler.map(Some),
    }
}

async fn once(config: &Config, sources: Sources, json: bool) -> anyhow::Result<ExitCode> {
    let mut stop = pin!(asked_to_stop());
    let Some(crawler) = connect(config, sources, stop.as_mut()).await? else { return Ok(ExitCode::SUCCESS) };
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}").expect("a sound template"));
    bar.enable_steady_tick(Duration::from_millis(200));
    let shown = {
        let (bar, crawler) = (bar.clone(), Arc::clone(&crawler));
        tokio::spawn(async move {
            loop {
                let left = crawler.left(LEFT_MAX).await.unwrap_or_default();
                let left = if left > LEFT_MAX { format!("more than {LEFT_MAX}") } else { left.to_string() };
                bar.set_message(format!("{}; {left} pages left", sentence(crawler.count())));
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        })
    };
    let done = crawler.once(stop).await;
    shown.abort();
    bar.finish_and_clear();
    done?;
    if json {
        print(&format!("{}\n", serde_json::to_string_pretty(crawler.count())?));
    } else {
        print(&format!("{}\n", sentence(crawler.count())));
    }
    let alone = crawler.left_alone().await?;
    for alone in &alone {
        eprintln!("fallah: {}", left_alone(alone));
    }
    let halted = crawler.halted().await?;
    for name in &halted {
        eprintln!("fallah: {name} is halted; `fallah sources` says why, `fallah resume {name}` lets it go on");
    }
    // Not everything that was due was asked for: whoever calls this from a script wants to know.
    Ok(if halted.is_empty() && alone.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn left_alone(alone: &store::LeftAlone) -> String {
    format!("{} is left alone for {} s: {}", alone.host, alone.seconds, alone.why)
}

fn sentence(count: &Count) -> String {
    let of = |count: &std::sync::atomic::AtomicU64, what: &str| match count.load(Relaxed) {
        0 => None,
        count => Some(format!("{count} {what}")),
    };
    let parts = [
        of(&count.lists, "lists"),
        of(&count.pages, "pages"),
        of(&count.new, "new"),
        of(&count.changed, "changed"),
        of(&count.unchanged, "as before"),
        of(&count.deleted, "deleted"),
        of(&count.disallowed, "disallowed"),
        of(&count.barren, "without an article"),
        of(&count.failed, "failed"),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "nothing was due".to_owned() } else { parts.join(", ") }
}

async fn sources(database: &Database, json: bool) -> anyhow::Result<()> {
    let db = PgPool::connect_with(database.options()?).await.map_err(Error::Database)?;
    let (standing, alone) = (store::standing(&db).await?, store::left_alone(&db).await?);
    if json {
        let all = serde_json::json!({ "sources": standing, "left_alone": alone });
        print(&format!("{}\n", serde_json::to_string_pretty(&all)?));
        return Ok(());
    }
    if standing.is_empty() {
        print("no source has been read yet\n");
    }
    for source in standing {
        let never = || "never".to_owned();
        print(&format!(
            "{}: {} items of {} pages; {} ready, {} of them backfill; {} failing, {} vanished; last fetched {}, last change {}\n",
            source.name,
            source.items,
            source.pages,
            source.ready,
            source.backfill,
            source.failing,
            source.vanished,
            source.last_fetch_at.unwrap_or_else(never),
            source.last_change_at.unwrap_or_else(never),
        ));
        if let Some(reason) = source.halted_reason {
            print(&format!("  HALTED: {reason}. Look at the site, then: fallah resume {} [--delete]\n", source.name));
        }
    }
    for alone in alone {
        print(&format!("{}\n", left_alone(&alone)));
    }
    Ok(())
}

async fn resume(resume: Resume) -> anyhow::Result<ExitCode> {
    let db = PgPool::connect_with(resume.database.options()?).await.map_err(Error::Database)?;
    let Some(deleted) = store::resume(&db, &resume.name, resume.delete).await? else {
        eprintln!("fallah: no source with the name {:?} is halted", resume.name);
        return Ok(ExitCode::FAILURE);
    };
    print(&match resume.delete {
        true => format!("{} goes on; {deleted} items were deleted\n", resume.name),
        false => format!("{} goes on; every page that had vanished is looked at again\n", resume.name),
    });
    Ok(ExitCode::SUCCESS)
}

/// A closed pipe (`fallah sources | head -1`) is no failure.
pub(crate) fn print(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// From now on signals are heard; the future ends with the first of them.
fn asked_to_stop() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("signal handlers can be set");
    let mut interrupt = signal(SignalKind::interrupt()).expect("signal handlers can be set");
    async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

fn trace(filter: tracing_subscriber::filter::Directive, format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::default().add_directive(filter);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}
