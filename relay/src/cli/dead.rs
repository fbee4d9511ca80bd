//! Dead letters on the command line: which, and what becomes of them.

use clap::{Args, Subcommand};
use terminal::{print, print_json, table, unusable};

use super::{FILTERS, OUTPUT, connect};
use crate::config::Database;
use crate::mask::Mask;
use crate::progress::Progress;
use crate::store::dead::{self, DeadLetter, Filter};

#[derive(Debug, Subcommand)]
pub(super) enum Dead {
    /// List them, the newest first
    #[command(after_help = "Examples:
  relay dead list
  relay dead list --stream orders --type order.placed
  relay dead list --group billing --limit 1000 --json")]
    List {
        #[command(flatten)]
        which: Which,

        /// At most so many
        #[arg(long, default_value = "50", value_name = "ROWS", help_heading = FILTERS)]
        limit: u32,

        /// As JSON
        #[arg(long, help_heading = OUTPUT)]
        json: bool,

        #[command(flatten)]
        database: Database,
    },
    /// Show an event's letters, one for each group, with its payload and how its attempts failed: a JSON array
    #[command(after_help = "Examples:
  relay dead show 0192f7c4-...
  relay dead show 0192f7c4-... | jq '.[].payload'
  relay dead show 0192f7c4-... --mask 'email,*token*,order.*:customer.address'

A payload that is no JSON is shown as a string. `earlier` are the rounds before, if it was replayed in vain.")]
    Show {
        /// The event's id
        id: String,

        /// Hide values in payload and headers by these rules, as `relay run` does for its surface. Without it all is shown
        #[arg(long, env = "RELAY_MASK", value_name = "RULES", help_heading = OUTPUT)]
        mask: Option<Mask>,

        #[command(flatten)]
        database: Database,
    },
    /// Send them again: to the end of their stream, or, if only a group could not take them, to that group alone
    #[command(after_help = "Examples:
  relay dead replay 0192f7c4-...
  relay dead replay --group billing --dry-run
  relay dead replay --stream orders --type order.placed
  relay dead replay --all")]
    Replay(Change),
    /// Forget them for good
    #[command(after_help = "Examples:
  relay dead drop 0192f7c4-...
  relay dead drop 0192f7c4-... --group billing
  relay dead drop --stream orders --dry-run")]
    Drop(Change),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// Only of this stream
    #[arg(long, value_name = "NAME", help_heading = FILTERS)]
    stream: Option<String>,

    /// Only of this type
    #[arg(long = "type", value_name = "NAME", help_heading = FILTERS)]
    r#type: Option<String>,

    /// Only of this group: what its handler could not make take effect
    #[arg(long, value_name = "NAME", help_heading = FILTERS)]
    group: Option<String>,

    /// Only those that hold this text: in their id, key, payload, or why they failed
    #[arg(long, value_name = "TEXT", help_heading = FILTERS)]
    search: Option<String>,
}

impl Which {
    fn is_everything(&self) -> bool {
        self.stream.is_none() && self.r#type.is_none() && self.group.is_none() && self.search.is_none()
    }

    fn filter(self, ids: Vec<String>) -> Filter {
        let Self { stream, r#type, group, search } = self;
        Filter { ids, stream, r#type, group, search, found: None }
    }
}

#[derive(Debug, Args)]
pub(super) struct Change {
    /// The events' ids
    #[arg(conflicts_with = "all")]
    ids: Vec<String>,

    #[command(flatten)]
    which: Which,

    /// All of them
    #[arg(long, conflicts_with_all = ["stream", "type", "group", "search"], help_heading = FILTERS)]
    all: bool,

    /// Only say how many it would be
    #[arg(long, help_heading = OUTPUT)]
    dry_run: bool,

    #[command(flatten)]
    database: Database,
}

pub(super) async fn run(verb: Dead) -> anyhow::Result<()> {
    match verb {
        Dead::List { database, which, limit, json } => {
            let filter = which.filter(vec![]);
            let letters = dead::list(&mut connect(&database).await?, &filter, None, i64::from(limit), false).await?;
            if json {
                print_json(&letters)?;
            } else if letters.is_empty() {
                print("no dead letters\n");
            } else {
                let heads = ["id", "stream", "group", "type", "attempts", "replays", "since", "why"];
                let mut rows = vec![heads.map(str::to_owned)];
                let row = |d: DeadLetter| {
                    let [group, r#type] = [d.group_name, d.r#type].map(|text| text.unwrap_or("-".into()));
                    let [attempts, replays] = [d.attempts, d.replays].map(|n| n.to_string());
                    [d.id, d.stream, group, r#type, attempts, replays, d.dead_at, d.last_error]
                };
                rows.extend(letters.into_iter().map(row));
                print(&table(&rows));
            }
        }
        Dead::Show { database, id, mask } => {
            let filter = Filter { ids: vec![id], ..Filter::default() };
            let letters = dead::list(&mut connect(&database).await?, &filter, None, i64::MAX, true).await?;
            if letters.is_empty() {
                return Err(nobody(&filter.ids));
            }
            let mask = mask.unwrap_or_else(Mask::off);
            print_json(&letters.into_iter().map(|letter| mask.letter(letter)).collect::<Vec<_>>())?;
        }
        Dead::Replay(change) => carry_out(change, Deed::Replay).await?,
        Dead::Drop(change) => carry_out(change, Deed::Drop).await?,
    }
    Ok(())
}

/// What is done to dead letters.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Replay,
    Drop,
}

async fn carry_out(change: Change, deed: Deed) -> anyhow::Result<()> {
    // To name nothing must not mean everything.
    if change.ids.is_empty() && change.which.is_everything() && !change.all {
        return Err(unusable(
            "say which: `relay dead replay` and `relay dead drop` take ids, --stream, --type, --group, --search or --all",
        ));
    }
    let filter = change.which.filter(change.ids);
    let mut db = connect(&change.database).await?;
    let (count, left, done) = match deed {
        Deed::Replay if change.dry_run => {
            let would = dead::replayable(&mut db, &filter).await?;
            (would.replayed, left_alone(would), "would be sent again")
        }
        Deed::Drop if change.dry_run => (dead::count(&mut db, &filter).await?, String::new(), "would be dropped"),
        Deed::Replay => {
            let mut progress = Progress::new("replayed");
            let replayed = dead::replay(&mut db, &filter, |count| progress.show(count)).await?;
            progress.clear();
            (replayed.replayed, left_alone(replayed), "sent again")
        }
        Deed::Drop => (dead::drop(&mut db, &filter).await?, String::new(), "dropped"),
    };
    // Who names events and hits none should notice.
    match filter.ids.as_slice() {
        [] => {}
        _ if count > 0 => {}
        ids if left.is_empty() => return Err(nobody(ids)),
        _ => return Err(anyhow::anyhow!("{}", left.trim_end())),
    }
    print(&format!("{} {done}\n{left}", letters(count)));
    Ok(())
}

fn nobody(ids: &[String]) -> anyhow::Error {
    match ids {
        [id] => anyhow::anyhow!("there is no dead letter with the id {id:?}"),
        ids => anyhow::anyhow!("there is no dead letter with any of these {} ids", ids.len()),
    }
}

fn letters(count: i64) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}

/// What no replay touches, and why.
fn left_alone(replayed: dead::Replayed) -> String {
    let mut sentences = String::new();
    if replayed.no_events > 0 {
        sentences = format!("{} left: no events, so nothing can be sent\n", letters(replayed.no_events));
    }
    if replayed.looping > 0 {
        let (left, times) = (letters(replayed.looping), dead::REPLAYS_MAX);
        sentences += &format!("{left} left: replayed {times} times in vain; name them by id to replay them anyway\n");
    }
    sentences
}
