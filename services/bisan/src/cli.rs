//! The verbs, and what they print.

mod authors;
mod check;
mod look;
mod settings;
mod status;

use std::io::{BufRead, BufReader, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::{Parser, Subcommand};
use terminal::{LogFormat, asked_to_stop, log_filter, print, print_json, trace, unusable};
use tokio::net::TcpListener;

use crate::config::{Config, Database};
use crate::{
    Consume, Error, Rebuilt, ReindexArgs, Searcher, SettingsArgs, Store, WithoutEnd, consume, rebuild, serve,
};

/// What is said of an export without its last line.
const CUT_OFF: &str = "the export is cut off: it lacks lines, or its last one, which says that all is there. What it has was read, and \
                       the file does not count as rebuilt; bring a whole one, or say --without-end if it is of an older Hasad or \
                       from elsewhere";

/// Keeps the newest state of each article, searches it, and serves it to readers.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Examples:
  bisan run                                      read the stream, serve http://127.0.0.1:7656
  bisan search وزارة الصحة                        what a reader would find
  bisan search '\"prime minister\" budget' --language en --from 2026-11-01 --json
  bisan show 42                                  one article; or its address instead of the number
  bisan authors list سلمى                         who writes under such a name
  bisan authors merge 17 4                       both are one person, called as 4 is
  bisan verify --full                            whether articles and search tell one story
  bisan status                                   what waits for the search index, and what it does not take
  bisan reindex                                  build the search index anew, and nobody notices
  hasad export-ndjson | bisan rebuild --from-hasad -

Every flag has a variable (see `bisan run --help`); `bisan settings` shows what holds.
Exit codes: 0 done, 1 failed, not found or not sound, 64 wrong flags or settings."
)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,

    /// What is logged: off, error, warn, info, debug, trace, or a filter such as bisan=debug
    #[arg(long, env = "BISAN_LOG", global = true, default_value = "info", value_parser = log_filter, value_name = "FILTER", help_heading = "Log")]
    log: String,

    /// How log lines look
    #[arg(
        long,
        env = "BISAN_LOG_FORMAT",
        global = true,
        default_value = "text",
        value_name = "FORMAT",
        help_heading = "Log"
    )]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read the stream and serve readers until SIGTERM or SIGINT, then end what is under way and exit 0
    Run(Box<Config>),

    /// Search as readers do
    Search(look::SearchArgs),

    /// Show one article
    Show(look::ShowArgs),

    /// Who wrote: list, merge, split
    #[command(subcommand)]
    Authors(authors::AuthorsVerb),

    /// Look through the file: damage, counts, and whether what is searched is what the articles say
    Verify(check::VerifyArgs),

    /// Make the search anew from the articles, and mend what points to nothing
    Repair(check::RepairArgs),

    /// Read an export of the archive into the file; what is newer there stays
    Rebuild(RebuildArgs),

    /// How the search index stands: what waits for it, what it does not take
    Status(Box<status::StatusArgs>),

    /// Build the search index anew beside the one that answers, and let them change places
    Reindex {
        #[command(flatten)]
        database: Database,
        #[command(flatten)]
        reindex: Box<ReindexArgs>,
    },

    /// How the search index's settings differ from ours; exit code 1 if they do
    IndexSettings(Box<SettingsArgs>),

    /// Make the tables, or bring them to this version (`run` does so by itself)
    Migrate {
        #[command(flatten)]
        database: Database,
    },

    /// The settings that hold for `run` as the environment stands, and where each comes from
    Settings {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct RebuildArgs {
    #[command(flatten)]
    database: Database,

    /// What `hasad export-ndjson` has written; `-` reads from stdin
    #[arg(long, value_name = "FILE")]
    from_hasad: PathBuf,

    /// The export is of an older Hasad or from elsewhere: it has no last line that says that it is whole, and is taken as it is
    #[arg(long)]
    without_end: bool,

    /// The summary as JSON
    #[arg(long)]
    json: bool,
}

/// Runs a verb.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.verb {
        Verb::Run(config) => {
            config.check()?;
            trace(&cli.log, cli.log_format);
            work(&config).await?;
        }
        Verb::Search(arguments) => {
            trace(&cli.log, cli.log_format);
            return look::search(&arguments).await;
        }
        Verb::Show(arguments) => return look::show(&arguments),
        Verb::Authors(verb) => return authors::run(&verb),
        Verb::Verify(arguments) => return check::verify(&arguments),
        Verb::Repair(arguments) => return check::repair(&arguments),
        Verb::Rebuild(arguments) => return from_hasad(&arguments),
        Verb::Status(arguments) => return status::status(&arguments).await,
        Verb::Reindex { database, reindex } => {
            let stop = asked_to_stop();
            trace(&cli.log, cli.log_format);
            return reindex.run(&made(&database)?, stop).await;
        }
        Verb::IndexSettings(arguments) => return arguments.run().await,
        Verb::Migrate { database } => {
            made(&database)?;
            print("the tables are there\n");
        }
        Verb::Settings { json } => settings::show(json)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads the stream and serves, until it is asked to stop.
async fn work(config: &Config) -> anyhow::Result<()> {
    let stop = asked_to_stop();
    let store = made(&config.database)?;
    let listener = TcpListener::from_std(terminal::listen("--listen (BISAN_LISTEN)", config.listen)?)?;
    let consumer = config.consumer(Consume::new(store.clone(), config.skip_sources.clone(), config.write_max))?;
    tracing::info!(
        address = %listener.local_addr()?, database = %store.path().display(), consumer = consumer.name(),
        "Bisan reads the stream and serves readers"
    );
    let searcher = Searcher::new(&config.index).map_err(told)?;
    let (stopping, stopped) = tokio::sync::watch::channel(false);
    let until = |mut stopped: tokio::sync::watch::Receiver<bool>| async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let mut serving = tokio::spawn(serve(listener, store.clone(), searcher, config.drain_max, until(stopped)));
    // A reader's side that nobody can read must not look as if it lived.
    let mut ended = None;
    let enough = async {
        tokio::select! {
            () = stop => {}
            early = &mut serving => ended = Some(early),
        }
    };
    let consumed = consume(config, consumer, &store, enough).await;
    let _ = stopping.send(true);
    let served = match ended {
        None => serving.await?.map_err(Into::into),
        Some(early) => Err(early?.err().map_or_else(|| anyhow!("by itself"), Into::into)),
    };
    store.rest();
    consumed?;
    served.context("the HTTP server has ended")?;
    tracing::info!("Bisan has stopped");
    Ok(())
}

/// The file of a verb that only looks.
fn opened(database: &Database) -> anyhow::Result<Store> {
    Store::open(&database.database).map_err(told)
}

/// The file of a verb that writes; made if need be.
fn made(database: &Database) -> anyhow::Result<Store> {
    Store::open_or_make(&database.database).map_err(told)
}

fn told(error: Error) -> anyhow::Error {
    match error {
        Error::Unusable(sentence) => unusable(sentence),
        other => other.into(),
    }
}

fn from_hasad(arguments: &RebuildArgs) -> anyhow::Result<ExitCode> {
    let lines: Box<dyn BufRead> = if arguments.from_hasad.as_os_str() == "-" {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        let file = std::fs::File::open(&arguments.from_hasad)
            .map_err(|error| unusable(format!("--from-hasad {}: {error}", arguments.from_hasad.display())))?;
        Box::new(BufReader::with_capacity(1 << 16, file))
    };
    let store = made(&arguments.database)?;
    let shown = std::io::stderr().is_terminal() && !arguments.json;
    let without_end = if arguments.without_end { WithoutEnd::Taken } else { WithoutEnd::CutOff };
    let rebuilt = rebuild(&store, lines, without_end, |so_far| {
        if shown {
            eprint!("\r{} lines", so_far.lines);
        }
    })?;
    if shown {
        eprint!("\r");
    }
    store.rest();
    if arguments.json {
        print_json(&rebuilt)?;
    } else {
        print(&format!("{}\n", sentence(&rebuilt)));
        for (line, reason) in &rebuilt.complaints {
            eprintln!("bisan: line {line}: {}", terminal::printable(reason));
        }
    }
    if rebuilt.left_out > 0 {
        eprintln!(
            "bisan: {} versions are missing in the export: the archive could not read them, see `hasad fsck`",
            rebuilt.left_out
        );
    }
    if !rebuilt.whole && !arguments.without_end {
        eprintln!("bisan: {CUT_OFF}");
        return Ok(ExitCode::FAILURE);
    }
    if !rebuilt.is_of_use() {
        let why = match rebuilt.lines {
            0 => "the export has no articles".to_owned(),
            _ => format!("{} lines of the export are wrong", rebuilt.wrong),
        };
        eprintln!("bisan: {why}, so the file does not count as rebuilt");
        return Ok(ExitCode::FAILURE);
    }
    if !rebuilt.is_all() && !arguments.without_end {
        let sources = terminal::printable(&rebuilt.sources.join(", "));
        eprintln!("bisan: the export is of {sources} alone, so the file does not count as rebuilt from the archive");
    }
    Ok(if rebuilt.left_out == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn sentence(rebuilt: &Rebuilt) -> String {
    let Rebuilt { lines, new, changed, deleted, older, wrong, .. } = rebuilt;
    format!("{lines} lines: {new} new, {changed} changed, {deleted} deleted, {older} said nothing new, {wrong} wrong")
}
