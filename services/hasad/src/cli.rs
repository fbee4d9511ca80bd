//! The verbs, and what goes wrong with them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use terminal::LogFormat;

use crate::config::{Config, Database, OUTPUT};
use crate::verbs::{diff, export, fsck, gc, get, history, import, purge, show};
use crate::{Error, store};

/// Archives articles: every version of every page, each content stored once.
#[derive(Debug, Parser)]
#[command(
    name = "hasad",
    version,
    max_term_width = 100,
    after_help = "Examples:
  hasad migrate                                        make the tables
  hasad run                                            archive until SIGTERM
  hasad history https://example.org/news/1             every version of a page
  hasad diff https://example.org/news/1                what its last edit changed
  hasad get https://example.org/news/1 --at 2026-11-01 what it said then
  hasad fsck --sample 5%                               whether rows and objects belong together
  hasad gc --dry-run                                   what nobody names any more

DATABASE_URL, REDIS_URL and HASAD_STORE are read from the environment; every flag has such a variable (see
`hasad run --help`). Exit codes: 0 done, 1 failed or found something, 64 wrong flags or settings."
)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,

    /// What is logged: off, error, warn, info, debug, trace, or a filter such as hasad=debug
    #[arg(long, env = "HASAD_LOG", global = true, default_value = "info", value_parser = terminal::log_filter,
          value_name = "FILTER", help_heading = OUTPUT)]
    log: String,

    /// How log lines look
    #[arg(long, env = "HASAD_LOG_FORMAT", global = true, default_value = "text", value_name = "FORMAT",
          help_heading = OUTPUT)]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Archive until SIGTERM or SIGINT, then end what is under way and exit 0
    #[command(after_help = "Examples:
  hasad run
  hasad run --store file:///var/lib/hasad
  AWS_ENDPOINT_URL=http://127.0.0.1:9000 hasad run --store s3://archive
  HASAD_SKIP_SOURCES=daily,weekly hasad run")]
    Run(Box<Config>),

    /// Make the tables, or bring them to this version
    #[command(after_help = "Examples:
  hasad migrate")]
    Migrate {
        #[command(flatten)]
        database: Database,
    },

    /// Every version of a page
    History(history::Arguments),

    /// One version of a page, to read
    Show(show::Arguments),

    /// What changed between two versions of a page
    Diff(diff::Arguments),

    /// The article as it is stored, byte for byte
    Get(get::Arguments),

    /// Check whether rows and objects belong together
    Fsck(Box<fsck::Arguments>),

    /// Delete objects that nobody names any more
    Gc(Box<gc::Arguments>),

    /// Read events from a file of JSON lines into the archive
    ImportNdjson(Box<import::Arguments>),

    /// Write what is archived as JSON lines
    ExportNdjson(Box<export::Arguments>),

    /// Erase a page for good, and keep it from being archived again
    Purge(Box<purge::Arguments>),
}

/// Runs a verb.
pub async fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    // A bar would be torn apart by lines that are no trouble.
    let quiet = !matches!(cli.verb, Verb::Run(_)) && cli.log == "info";
    terminal::trace(if quiet { "warn" } else { &cli.log }, cli.log_format);
    match cli.verb {
        Verb::Run(config) => {
            config.check()?;
            let stop = terminal::asked_to_stop();
            let archive = crate::archive(&config)?;
            let listener = config.listener()?;
            crate::run(&config, archive, listener, stop).await?;
        }
        Verb::Migrate { database } => {
            store::migrate(&mut database.open().await?).await?;
            terminal::print("the tables are there\n");
        }
        Verb::History(arguments) => return history::run(&arguments).await,
        Verb::Show(arguments) => return show::run(&arguments).await,
        Verb::Diff(arguments) => return diff::run(&arguments).await,
        Verb::Get(arguments) => return get::run(&arguments).await,
        Verb::Fsck(arguments) => return fsck::run(&arguments).await,
        Verb::Gc(arguments) => return gc::run(&arguments).await,
        Verb::ImportNdjson(arguments) => return import::run(&arguments).await,
        Verb::ExportNdjson(arguments) => return export::run(&arguments).await,
        Verb::Purge(arguments) => return purge::run(&arguments).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what went wrong, and returns the code to leave with.
pub fn complain(error: &anyhow::Error) -> ExitCode {
    let code = terminal::complain("hasad", error);
    if error.chain().filter_map(|cause| cause.downcast_ref::<Error>()).any(Error::no_tables) {
        eprintln!("hasad: are the tables there? `hasad migrate` makes them");
    }
    code
}
