//! `hasad gc`: deletes objects that nobody names any more.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::progress::bar;
use super::{CONNECTIONS, no};
use crate::archive::{look_whose, own};
use crate::config::{Database, LIMITS, OUTPUT, Place};
use crate::sweep::{Sweep, Swept};
use crate::{Error, store};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hasad gc --dry-run                                   what it would do
  hasad gc                                             once a day, from cron or a timer
  hasad gc --grace 7d --json

What nobody names is marked first, and deleted by a later run, once the grace is over. Writers may be at work meanwhile. Exit
codes: 0, and 1 if it failed, or another gc is at work.")]
pub(crate) struct Arguments {
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// How long an object must have been marked
    #[arg(long, env = "HASAD_GRACE", default_value = "24h", value_parser = terminal::duration, value_name = "DURATION",
          help_heading = LIMITS)]
    grace: Duration,

    /// As JSON
    #[arg(long, help_heading = OUTPUT)]
    json: bool,

    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    place: Place,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let objects = arguments.place.open_shared()?;
    let db = arguments.database.pool_for_scans(CONNECTIONS).await?;
    if arguments.dry_run {
        look_whose(&db, &objects).await?;
    } else {
        own(&db, &objects).await?;
    }
    // Held by this connection until the process ends.
    let mut leader = arguments.database.open().await?;
    if !arguments.dry_run && !store::leader(&mut leader).await.map_err(Error::Database)? {
        return Ok(no("another gc is at work"));
    }
    let began = jiff::Timestamp::now();
    let bar = bar(0, "{spinner} {elapsed_precise}  {msg}");
    let tell = |swept: &Swept| bar.set_message(sentence(swept));
    let sweep = Sweep { db: &db, objects: &objects, grace: Some(arguments.grace), tell: &tell };
    let swept = if arguments.dry_run { sweep.dry_run().await } else { sweep.run().await };
    bar.finish_and_clear();
    let swept = swept?;
    if !arguments.dry_run {
        let report = serde_json::to_string(&swept)?;
        store::note_run(&db, "gc", began, swept.deleted as i64, &report).await.map_err(Error::Database)?;
    }
    if arguments.json {
        let mut value = serde_json::to_value(&swept)?;
        value["dry_run"] = json!(arguments.dry_run);
        terminal::print_json(&value)?;
    } else {
        let would = if arguments.dry_run { "nothing was done; it would be: " } else { "" };
        terminal::print(&format!("{would}{}\n", sentence(&swept)));
    }
    Ok(ExitCode::SUCCESS)
}

fn sentence(swept: &Swept) -> String {
    let mut parts = vec![
        format!("{} objects listed", swept.listed),
        format!("{} marked", swept.marked + swept.orphans),
        format!("{} deleted ({} bytes)", swept.deleted, swept.bytes),
    ];
    let more = [
        (swept.orphans, "of the marked had no row"),
        (swept.spared, "are named again"),
        (swept.leftovers, "left-over files removed"),
        (swept.strangers, "names are not ours"),
    ];
    parts.extend(more.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    parts.join(", ")
}
