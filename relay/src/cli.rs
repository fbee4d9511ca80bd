//! The verbs and their flags, and who does what each of them asks for.

mod dead;
mod look;

use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use terminal::{LogFormat, print, unusable};

use crate::config::{Config, Database, Server};
use crate::pausing::Wish;
use crate::progress::Progress;
use crate::running::Running;
use crate::{retention, store, verbs, watch};

/// Headings of flags in `--help`.
const FILTERS: &str = "Filters";
const OUTPUT: &str = "Output";

/// Brings committed events from a Postgres outbox to Redis Streams, each once and in order.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Examples:
  relay migrate                                        make the tables
  relay run                                            relay until SIGTERM
  relay status                                         how much waits, and since when
  relay dead list --stream orders                      what could not be sent, and why
  relay dead replay 0192f7c4-...                       send one of them again
  relay trace 0192f7c4-...                             where an event is
  relay doctor                                         what could lose events here, and the remedy

DATABASE_URL and REDIS_URL are read from the environment; every setting has such a variable
(see `relay run --help`).
Exit codes: 0 done, 1 failed, 64 wrong flags or settings."
)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,

    /// What is logged: off, error, warn, info, debug, trace, or a filter such as relay=debug
    #[arg(long, env = "RELAY_LOG", global = true, default_value = "info", value_parser = terminal::log_filter, value_name = "FILTER",
          help_heading = OUTPUT)]
    log: String,

    /// How log lines look: text or json
    #[arg(long, env = "RELAY_LOG_FORMAT", global = true, default_value = "text", value_name = "FORMAT",
          hide_possible_values = true, help_heading = OUTPUT)]
    log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Relay until SIGTERM or SIGINT, then finish the batch in hand and exit 0
    #[command(after_help = "Examples:
  relay run
  relay run --redis-url rediss://cache --redis-ca-file /ca.pem
  RELAY_LOG_FORMAT=json relay run --retention 7d
  RELAY_LISTEN=0.0.0.0:7654 RELAY_READ_TOKEN_FILE=/run/read RELAY_WRITE_TOKEN_FILE=/run/write relay run

While it runs, http://127.0.0.1:7654 answers /status, /metrics and more: /openapi.json lists it all.")]
    Run(Box<Running>),

    /// Make the outbox's tables, or bring them to this version
    #[command(after_help = "Examples:
  relay migrate
  relay migrate --schema events
  relay migrate --print > migrations/20261121_outbox.sql")]
    Migrate {
        /// Print the SQL of a fresh schema instead, for those who run their own migrations
        #[arg(long, help_heading = OUTPUT)]
        print: bool,

        #[command(flatten)]
        database: Database,
    },

    /// Whether anything is stuck and whose fault it is, how much waits in each stream, and how far each group has come
    #[command(after_help = "Examples:
  relay status
  relay status --watch
  relay status --json | jq '.groups[] | select(.lag > 1000)'
  relay status --json | jq -r '.verdict.findings[].sentence'
  relay status --check > /dev/null || echo 'events are late'

It asks Postgres alone. Whether Redis is there it knows by what a relay that works has written down of it; where that is nothing
or old, it says so.
Exit codes: 0 it was told; 1 Postgres is away, or, with --check, something is stuck or late. A pause and dead letters are neither.

Keys while it watches: q or Esc ends, Space holds the picture still, the arrow keys move through the tables.")]
    Status {
        /// As JSON
        #[arg(long, conflicts_with = "watch", help_heading = OUTPUT)]
        json: bool,

        /// Exit with 1 if something is stuck or late
        #[arg(long, conflicts_with = "watch", help_heading = OUTPUT)]
        check: bool,

        /// Stay on the screen, and show every change
        #[arg(long, help_heading = OUTPUT)]
        watch: bool,

        /// How often it looks while it watches
        #[arg(long, default_value = "1s", value_parser = terminal::duration, requires = "watch", value_name = "DURATION",
              help_heading = OUTPUT)]
        every: Duration,

        #[command(flatten)]
        database: Database,
    },

    /// How far each group has come, and what its consumers do
    #[command(after_help = "Examples:
  relay groups
  relay groups --stream orders --json | jq '.groups[].lag'")]
    Groups {
        /// Only of this stream
        #[arg(long, value_name = "NAME", help_heading = FILTERS)]
        stream: Option<String>,

        /// As JSON
        #[arg(long, help_heading = OUTPUT)]
        json: bool,

        #[command(flatten)]
        database: Database,
    },

    /// Where an event is: its row, its entry, how far each group has come with it, and its dead letters
    #[command(after_help = "Examples:
  relay trace 0192f7c4-...
  relay trace 42                                       by the number of its row
  relay trace 1-42                                     by the number of its entry
  relay trace 0192f7c4-... --json | jq '.rows[0].groups'

Exit codes: 0 found, 1 nobody knows it (or a store is away).")]
    Trace {
        /// The event's id, the number of its row (42), or that of its entry (1-42)
        event: String,

        /// As JSON
        #[arg(long, help_heading = OUTPUT)]
        json: bool,

        #[command(flatten)]
        database: Database,

        #[command(flatten)]
        server: Server,
    },

    /// Send nothing any more, to one stream or at all, until somebody resumes. Everything else goes on
    #[command(after_help = "Examples:
  relay pause orders
  relay pause --all

It stands in Postgres, so it outlives relays and binds all of them. What is written meanwhile waits, and keeps its order.
When this verb ends, every relay that sends has heard it, and nothing more is sent; or it says that one has not.")]
    Pause(Whole),

    /// End the pause of one stream, or every pause there is
    #[command(after_help = "Examples:
  relay resume orders
  relay resume --all")]
    Resume(Whole),

    /// Compare rows with entries: whether every published event that is still in Redis is what its row says, and none is missing
    #[command(after_help = "Examples:
  relay verify
  relay verify --stream orders --json

It only reads, in pages, while relays work. Exit codes: 0 they agree, 1 they do not (or a store is away).")]
    Verify {
        /// Only this stream
        #[arg(long, value_name = "NAME", help_heading = FILTERS)]
        stream: Option<String>,

        /// As JSON
        #[arg(long, help_heading = OUTPUT)]
        json: bool,

        #[command(flatten)]
        database: Database,

        #[command(flatten)]
        server: Server,
    },

    /// Give one group published events again, on a lane that only it reads
    #[command(after_help = "Examples:
  relay replay --stream orders --group billing --from 2026-11-21T08:00:00Z --to 2026-11-21T09:00:00Z --dry-run
  relay replay --stream orders --group billing --from 1200 --to 1300 --rate 100

Bounds are numbers of rows, or times at which rows were written; both belong to the span. As far back as rows are kept
(RELAY_RETENTION). Each event bears a new id, so that it takes effect once more; its header replay-of says which it was.
Other groups see nothing of it.")]
    Replay(crate::replay::Span),

    /// Look for every setting and version by which events can be lost or held up, and say what to do
    #[command(after_help = "Examples:
  relay doctor
  relay doctor --json | jq '.findings[].name'

It takes the flags and variables of `relay run`, and so sees what that would do. It only reads. `relay run` does the same
when it starts, and writes what it finds to its log.
Exit codes: 0 nothing was found, 1 something was (or a store is away).")]
    Doctor(Box<Examined>),

    /// Who writes to the outbox and has not ended: later events wait for them, until they are overtaken
    #[command(after_help = "Examples:
  relay blockers
  relay blockers --json | jq '.[] | select(.open_seconds > 60) | .pid'")]
    Blockers {
        /// As JSON
        #[arg(long, help_heading = OUTPUT)]
        json: bool,

        #[command(flatten)]
        database: Database,
    },

    /// Dead letters (the dead-letter queue): events that a person has to look at
    #[command(subcommand)]
    #[command(after_help = "Examples:
  relay dead list --group billing                      what its handler could not make take effect
  relay dead show 0192f7c4-...                         one of them, with its payload and all that is known
  relay dead replay --group billing --dry-run          how many would be sent again
  relay dead drop 0192f7c4-...                         forget it")]
    Dead(dead::Dead),

    /// Delete published rows that are older than the retention, now
    #[command(after_help = "Examples:
  relay prune
  relay prune --retention 1h")]
    Prune {
        /// How old
        #[arg(long, env = "RELAY_RETENTION", default_value = "24h", value_parser = terminal::duration,
              value_name = "DURATION", help_heading = FILTERS)]
        retention: Duration,

        #[command(flatten)]
        database: Database,
    },

    /// Print completions for a shell: bash, zsh or fish
    #[command(after_help = "Examples:
  relay completions bash > /etc/bash_completion.d/relay
  relay completions fish > ~/.config/fish/completions/relay.fish")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },

    /// Print the manual page, or write one for each verb into a folder
    #[command(after_help = "Examples:
  relay man | man -l -
  relay man --folder /usr/local/share/man/man1")]
    Man {
        /// Write a page for every verb there
        #[arg(long, value_name = "FOLDER", help_heading = OUTPUT)]
        folder: Option<std::path::PathBuf>,
    },
}

/// One stream, or everything.
#[derive(Debug, Args)]
struct Whole {
    /// Which stream
    #[arg(required_unless_present = "all")]
    stream: Option<String>,

    /// Everything
    #[arg(long, conflicts_with = "stream", help_heading = FILTERS)]
    all: bool,

    #[command(flatten)]
    database: Database,
}

/// What a doctor looks at.
#[derive(Debug, Args)]
struct Examined {
    /// As JSON
    #[arg(long, help_heading = OUTPUT)]
    json: bool,

    #[command(flatten)]
    config: Config,
}

/// Runs a verb.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.verb {
        Verb::Run(running) => {
            let asked_to_stop = terminal::asked_to_stop();
            running.check()?;
            terminal::trace(&cli.log, cli.log_format);
            running.run(asked_to_stop).await?;
        }
        Verb::Migrate { database, print: true } => print(&outbox::migration_sql(&database.schema)),
        Verb::Migrate { database, print: false } => {
            database.options()?;
            let mut db = database.open().await?;
            let (before, now) = (outbox::migrate(&mut db, &database.schema).await?, outbox::SCHEMA_VERSION);
            let schema = &database.schema;
            print(&if before == now {
                format!("schema {schema:?} has version {now} already\n")
            } else {
                format!("schema {schema:?} went from version {before} to {now}\n")
            });
        }
        Verb::Status { database, watch: true, every, .. } => {
            database.options()?;
            watch::watch(database, every).await?;
        }
        Verb::Status { database, json, check, .. } => look::status(&database, json, check).await?,
        Verb::Blockers { database, json } => look::blockers(&database, json).await?,
        Verb::Groups { stream, json, database } => look::groups(&database, stream.as_deref(), json).await?,
        Verb::Trace { event, json, database, server } => {
            server.client()?;
            verbs::trace(&mut connect(&database).await?, &server, &event, json).await?;
        }
        Verb::Pause(whole) => verbs::pause(&mut connect(&whole.database).await?, Wish::Pause, whole.stream).await?,
        Verb::Resume(whole) => verbs::pause(&mut connect(&whole.database).await?, Wish::Resume, whole.stream).await?,
        Verb::Verify { stream, json, database, server } => {
            server.client()?;
            verbs::verify(&mut connect(&database).await?, &server, stream.as_deref(), json).await?;
        }
        Verb::Replay(span) => {
            span.check()?;
            verbs::replay(&mut connect(&span.database).await?, &span).await?;
        }
        Verb::Doctor(examined) => {
            examined.config.check()?;
            verbs::doctor(&examined.config, examined.json).await?;
        }
        Verb::Completions { shell } => {
            // Written as everything else is: whoever reads may have read enough.
            let mut script = vec![];
            clap_complete::generate(shell, &mut Cli::command(), "relay", &mut script);
            terminal::print(&String::from_utf8_lossy(&script));
        }
        Verb::Man { folder } => verbs::man(Cli::command(), folder.as_deref())?,
        Verb::Dead(verb) => dead::run(verb).await?,
        Verb::Prune { retention, .. } if retention.is_zero() => {
            return Err(unusable(
                "--retention (RELAY_RETENTION) is 0, which keeps rows for ever; say how old, such as 1h",
            ));
        }
        Verb::Prune { database, retention } => {
            let mut db = connect(&database).await?;
            let mut progress = Progress::new("deleted");
            let pruned = retention::prune(&mut db, retention, |deleted| progress.show(deleted)).await?;
            progress.clear();
            print(&format!("deleted {} published rows\n", pruned.rows));
            if !pruned.stuck.is_empty() {
                let streams: Vec<_> = pruned.stuck.iter().map(|stream| terminal::printable(stream)).collect();
                return Err(anyhow::anyhow!("{}: {}", streams.join(", "), retention::Pruned::STUCK));
            }
        }
    }
    Ok(())
}

/// A connection for a verb that needs the tables to be there and of our version.
async fn connect(database: &Database) -> anyhow::Result<sqlx::PgConnection> {
    database.options()?;
    let mut db = database.connect().await?;
    store::tables(&mut db, &database.schema).await?;
    Ok(db)
}

#[cfg(test)]
mod tests {
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
}
