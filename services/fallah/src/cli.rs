//! The verbs, and what they print.

use std::io::IsTerminal;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgPool};
use terminal::{LogFormat, Unusable, age, print, print_json, table};

use crate::address::NormalizeArgs;
use crate::config::{Config, Database, Manners, Which};
use crate::crawl::{Count, Crawler};
use crate::extract::verb::ExtractArgs;
use crate::robots::CheckArgs;
use crate::run::Run;
use crate::sitemap::ParseArgs;
use crate::sources::Sources;
use crate::trial::{self, Trial};
use crate::{Error, store};

/// Pages that wait are counted up to here: counting a million takes longer than it is worth, twice a second.
const LEFT_MAX: i64 = 10_000;
/// Heading of flags in `--help`.
const OUTPUT: &str = "Output";

/// Reads news sites politely, and writes each article and its event in one transaction.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Examples:
  fallah migrate                                       make the tables
  fallah test-source https://example.org/news/1        what would be read there
  fallah once                                          read every source once, and end
  fallah run                                           read them until SIGTERM
  fallah sources                                       how each source stands
  fallah robots check robots.txt fallah https://example.org/a
  fallah sitemap parse sitemap.xml --base https://example.org/ --json

DATABASE_URL is read from the environment, the sources from sources.toml; every setting
has such a variable (see `fallah run --help`).

Exit codes: 0 done, 1 failed or \"no\", 64 wrong flags, settings or sources, 66 pages or lists
that cannot be read."
)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,

    /// What is logged: off, error, warn, info, debug, trace, or a filter such as fallah=debug
    #[arg(long, env = "FALLAH_LOG", global = true, default_value = "info", value_parser = terminal::log_filter,
          value_name = "FILTER", help_heading = OUTPUT)]
    log: String,

    /// How log lines look: text or json
    #[arg(long, env = "FALLAH_LOG_FORMAT", global = true, default_value = "text", value_name = "FORMAT",
          hide_possible_values = true, help_heading = OUTPUT)]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read all sources until SIGTERM or SIGINT, then end what is under way and exit 0
    #[command(after_help = "Examples:
  fallah run
  fallah run --sources /etc/fallah/sources.toml --contact https://example.org/bot
  FALLAH_LOG_FORMAT=json fallah run --hosts-max 64")]
    Run(Box<Run>),

    /// Read all sources once: every list, every page that is due; then say what was found
    #[command(after_help = "Examples:
  fallah once
  fallah once --json | jq .new
  fallah once --allow-net 127.0.0.0/8                  a site on this machine

Exit codes: 0 every list was read, and every page that was due was asked for; 1 it was stopped, a
source is halted, a site is left alone, or a list could not be read; 64 wrong settings.")]
    Once {
        #[command(flatten)]
        config: Box<Config>,

        /// The summary as JSON
        #[arg(long, help_heading = OUTPUT)]
        json: bool,
    },

    /// How each source stands: pages, items, what waits, what fails
    #[command(after_help = "Examples:
  fallah sources
  fallah sources --json | jq '.sources[] | select(.halted_reason != null)'")]
    Sources {
        #[command(flatten)]
        database: Database,

        /// As JSON
        #[arg(long, help_heading = OUTPUT)]
        json: bool,
    },

    /// Let a source go on that was halted because too much had vanished at once
    #[command(after_help = "Examples:
  fallah resume daily                                  look at every page that had vanished again
  fallah resume daily --delete                         they have gone: delete their items, and tell it")]
    Resume(Resume),

    /// Make the tables, the outbox's too, or bring them to this version
    #[command(after_help = "Examples:
  fallah migrate
  fallah migrate --print > migrations/20261121_fallah.sql

What is printed begins and commits transactions of its own.")]
    Migrate {
        #[command(flatten)]
        database: Database,

        /// Print the SQL of fresh tables instead, for those who run their own migrations
        #[arg(long, help_heading = OUTPUT)]
        print: bool,
    },

    /// Fetch one page and show what would be made of it; nothing is written
    #[command(after_help = "Examples:
  fallah test-source https://example.org/news/1
  fallah test-source https://example.org/news/1 --json | jq .authors

Exit codes: 0 it would become an item, 1 it would not (stderr says why), 64 wrong settings.")]
    TestSource {
        /// The page
        url: String,

        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        manners: Manners,

        /// As JSON
        #[arg(long, help_heading = OUTPUT)]
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
        Verb::Run(run) => {
            let mut stop = pin!(terminal::asked_to_stop());
            let sources = check(&run.config)?;
            terminal::trace(&cli.log, cli.log_format);
            let listener = run.listener()?;
            tokio::select! {
                biased;
                () = stop.as_mut() => return Ok(ExitCode::SUCCESS),
                there = run.until_postgres_is_there() => there?,
            }
            let Some(crawler) = connect(&run.config, sources, stop.as_mut()).await? else {
                return Ok(ExitCode::SUCCESS);
            };
            run.crawl(&crawler, listener, stop).await?;
        }
        Verb::Once { config, json } => {
            let asked_to_stop = terminal::asked_to_stop();
            let sources = check(&config)?;
            terminal::trace(quiet(&cli.log), cli.log_format);
            return once(&config, sources, json, asked_to_stop).await;
        }
        Verb::Sources { database, json } => sources(&database, json).await?,
        Verb::Resume(resume) => return self::resume(resume).await,
        Verb::Migrate { print: true, .. } => print(&store::migration_sql()),
        Verb::Migrate { database, print: false } => migrate(&database).await?,
        Verb::TestSource { url, which, manners, json } => {
            let sources = which.read_if_any()?;
            return trial::run(&Trial { url, manners, sources, json }).await;
        }
        Verb::Extract(arguments) => return Ok(crate::extract::verb::run(&arguments)?),
        Verb::Robots(RobotsVerb::Check(arguments)) => return Ok(crate::robots::check(&arguments)),
        Verb::Sitemap(SitemapVerb::Parse(arguments)) => return Ok(crate::sitemap::parse(&arguments)),
        Verb::Url(UrlVerb::Normalize(arguments)) => return Ok(crate::address::normalize(&arguments)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what went wrong, and returns the code to leave with.
pub fn complain(error: &anyhow::Error) -> ExitCode {
    let code = terminal::complain("fallah", error);
    let missing = error.chain().filter_map(|cause| cause.downcast_ref::<sqlx::Error>()).any(|error| {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        code.is_some_and(|code| ["42P01", "3F000"].contains(&code.as_ref()))
    });
    if missing {
        eprintln!("fallah: are the tables there? `fallah migrate` makes them");
    }
    code
}

fn check(config: &Config) -> Result<Sources, Unusable> {
    config.check()?;
    config.which.read()
}

/// The bar says what goes on; log lines would tear it apart, unless something is wrong.
fn quiet(log: &str) -> &str {
    if std::io::stderr().is_terminal() && log == "info" { "warn" } else { log }
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

/// For a verb that asks a little and ends. A pool by itself would try for long, and only say that it took too long.
async fn one_connection(database: &Database) -> anyhow::Result<PgPool> {
    // Told as what it is, so that the exit code is that of a wrong setting.
    let options = database.options()?;
    let connect = async {
        terminal::open(&options).await?.close().await?;
        PgPoolOptions::new().max_connections(1).connect_with(options).await
    };
    Ok(connect.await.map_err(Error::Database)?)
}

async fn migrate(database: &Database) -> anyhow::Result<()> {
    let mut db = terminal::open(&database.options()?).await.map_err(Error::Database)?;
    let before = store::migrate(&mut db).await?;
    let moved = |what: &str, from: i32, to: i32| match from == to {
        true => format!("{what} has version {to} already\n"),
        false => format!("{what} went from version {from} to {to}\n"),
    };
    print(&moved("schema \"public\" (the outbox)", before.outbox, outbox::SCHEMA_VERSION));
    print(&moved("schema \"fallah\"", before.fallah, store::VERSION));
    Ok(())
}

async fn once(
    config: &Config,
    sources: Sources,
    json: bool,
    asked_to_stop: impl Future<Output = ()>,
) -> anyhow::Result<ExitCode> {
    let mut stop = pin!(asked_to_stop);
    let Some(crawler) = connect(config, sources, stop.as_mut()).await? else {
        eprintln!("fallah: stopped before it began");
        return Ok(ExitCode::FAILURE);
    };
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}").expect("a sound template"));
    bar.enable_steady_tick(Duration::from_millis(200));
    let shown = {
        let (bar, crawler) = (bar.clone(), Arc::clone(&crawler));
        tokio::spawn(async move {
            loop {
                let left = crawler.left(LEFT_MAX).await.unwrap_or_default();
                let left = if left > LEFT_MAX { format!("more than {LEFT_MAX}") } else { left.to_string() };
                let done = sentence(crawler.count()).unwrap_or_else(|| "beginning".to_owned());
                bar.set_message(format!("{done}; {left} pages left"));
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        })
    };
    let done = crawler.once(stop).await;
    shown.abort();
    bar.finish_and_clear();
    let ended = done?;
    // Who is asked to stop does not begin to ask Postgres this and that.
    let (alone, halted, left) = match ended {
        true => (crawler.left_alone().await?, crawler.halted().await?, crawler.left(LEFT_MAX).await?),
        false => <_>::default(),
    };
    if json {
        print_json(crawler.count())?;
    } else {
        let nothing = if alone.is_empty() { "nothing was due" } else { "nothing could be asked for" };
        print(&format!("{}\n", sentence(crawler.count()).unwrap_or_else(|| nothing.to_owned())));
    }
    if !ended {
        eprintln!("fallah: stopped before everything was read");
    }
    for alone in &alone {
        eprintln!("fallah: {}", left_alone(alone));
    }
    let lists_failed = crawler.count().lists_failed.load(Relaxed);
    if lists_failed > 0 {
        eprintln!("fallah: lists could not be read: {lists_failed}; the log says why");
    }
    if left > 0 {
        eprintln!("fallah: pages are left that nobody may ask for now: {left}");
    }
    for name in &halted {
        eprintln!("fallah: {name} is halted; `fallah sources` says why, `fallah resume {name}` lets it go on");
    }
    // Not everything that was due was asked for: whoever calls this from a script wants to know.
    let all = ended && halted.is_empty() && alone.is_empty() && lists_failed == 0 && left == 0;
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn left_alone(alone: &store::LeftAlone) -> String {
    format!("{} is left alone for {}: {}", alone.host, age(alone.seconds as f64), alone.why)
}

/// What was done, in one line; what did not happen is not said.
fn sentence(count: &Count) -> Option<String> {
    let of = |count: &AtomicU64, one: &str, many: &str| match count.load(Relaxed) {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {many}")),
    };
    let parts = [
        of(&count.lists, "list", "lists"),
        of(&count.pages, "page", "pages"),
        of(&count.new, "new", "new"),
        of(&count.changed, "changed", "changed"),
        of(&count.unchanged, "as before", "as before"),
        of(&count.missing, "not there", "not there"),
        of(&count.deleted, "deleted", "deleted"),
        of(&count.disallowed, "disallowed", "disallowed"),
        of(&count.barren, "without an article", "without an article"),
        of(&count.failed, "failed", "failed"),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

async fn sources(database: &Database, json: bool) -> anyhow::Result<()> {
    let db = one_connection(database).await?;
    let (standing, alone) = (store::standing(&db).await?, store::left_alone(&db).await?);
    if json {
        return Ok(print_json(&serde_json::json!({ "sources": standing, "left_alone": alone }))?);
    }
    if standing.is_empty() {
        print("no source has been read yet\n");
        return Ok(());
    }
    let heads = [
        "source",
        "items",
        "pages",
        "ready",
        "backfill",
        "failing",
        "vanished",
        "last fetched",
        "last change",
        "state",
    ];
    let mut rows = vec![heads.map(str::to_owned)];
    rows.extend(standing.iter().map(|source| {
        let [items, pages, ready] = [source.items, source.pages, source.ready].map(|count| count.to_string());
        let [backfill, failing, vanished] =
            [source.backfill, source.failing, source.vanished].map(|count| count.to_string());
        let [fetched, changed] = [&source.last_fetch_at, &source.last_change_at]
            .map(|at| at.clone().unwrap_or_else(|| "never".to_owned()));
        let state = if source.halted_reason.is_some() { "HALTED" } else { "-" }.to_owned();
        [source.name.clone(), items, pages, ready, backfill, failing, vanished, fetched, changed, state]
    }));
    print(&table(&rows));
    for source in &standing {
        if let Some(reason) = &source.halted_reason {
            let name = &source.name;
            print(&format!(
                "\n{name} is halted: {reason}. Look at the site, then: fallah resume {name} [--delete]\n"
            ));
        }
    }
    for alone in alone {
        print(&format!("\n{}\n", left_alone(&alone)));
    }
    Ok(())
}

async fn resume(resume: Resume) -> anyhow::Result<ExitCode> {
    let db = one_connection(&resume.database).await?;
    let Some(deleted) = store::resume(&db, &resume.name, resume.delete).await? else {
        let name = &resume.name;
        let known = store::standing(&db).await?.iter().any(|source| source.name == *name);
        eprintln!(
            "fallah: {}",
            match known {
                true => format!("{name} is not halted"),
                false => format!("there is no source with the name {name:?}; `fallah sources` lists them"),
            }
        );
        return Ok(ExitCode::FAILURE);
    };
    let items = if deleted == 1 { "1 item was".to_owned() } else { format!("{deleted} items were") };
    print(&match resume.delete {
        true => format!("{} goes on; {items} deleted\n", resume.name),
        false => format!("{} goes on; every page that had vanished is looked at again\n", resume.name),
    });
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_of_run_has_a_variable() {
        let command = Cli::command();
        let run = command.find_subcommand("run").expect("a verb");
        for argument in run.get_arguments().filter(|argument| argument.get_long().is_some()) {
            assert!(argument.get_env().is_some(), "{argument}");
        }
    }

    #[test]
    fn the_page_lists_every_variable() {
        let page = include_str!("../../../docs/fallah.md");
        let command = Cli::command();
        let run = command.find_subcommand("run").expect("a verb");
        for variable in run.get_arguments().chain(command.get_arguments()).filter_map(clap::Arg::get_env) {
            assert!(page.contains(&format!("`{}`", variable.display())), "{}", variable.display());
        }
    }

    #[test]
    fn a_summary_counts_in_words() {
        let count = Count::default();
        assert_eq!(sentence(&count), None);
        count.lists.store(1, Relaxed);
        count.pages.store(2, Relaxed);
        assert_eq!(sentence(&count).as_deref(), Some("1 list, 2 pages"));
    }
}
