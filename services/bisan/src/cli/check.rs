//! Whether the file tells one story, and mending it.

use std::num::NonZeroU32;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use terminal::{print, print_json, printable, table};

use super::opened;
use super::status::{NOT_USED, refusals};
use crate::config::Database;
use crate::store::{self, Health};

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    database: Database,

    /// Compare the text of every article with the index, and not only of some
    #[arg(long, conflicts_with = "one_in")]
    full: bool,

    /// Compare the text of one article in so many
    #[arg(long, default_value = "20", value_name = "ARTICLES")]
    one_in: NonZeroU32,

    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct RepairArgs {
    #[command(flatten)]
    database: Database,

    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn verify(arguments: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let store = opened(&arguments.database)?;
    let one_in = if arguments.full { 1 } else { arguments.one_in.get() };
    let mut health = store.read_now(|tx| store::verify(tx, one_in))?;
    // FTS5 looks through its own index only where it may write.
    store.with_writer(|db| store::check_index(db, &mut health))?;
    if arguments.json {
        print_json(&json!({ "sound": health.is_sound(), "health": health }))?;
    } else {
        print(&report(&health));
    }
    Ok(if health.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) fn repair(arguments: &RepairArgs) -> anyhow::Result<ExitCode> {
    let store = opened(&arguments.database)?;
    let mended = store.write_now(store::repair)?;
    let health = store.read_now(|tx| store::verify(tx, 1))?;
    store.rest();
    if arguments.json {
        print_json(&json!({ "mended": mended, "sound": health.is_sound(), "health": health }))?;
    } else {
        print(&format!("the search was made anew; {mended} articles were mended\n{}", report(&health)));
    }
    Ok(if health.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// So many of the counts are about the search index.
const OF_THE_INDEX: usize = 2;

fn report(health: &Health) -> String {
    let counts = [
        ("live articles", health.articles.to_string()),
        ("deleted", health.deleted.to_string()),
        ("searchable", health.searchable.to_string()),
        ("compared word for word", health.compared.to_string()),
        ("authors", health.authors.to_string()),
        ("to be brought to the index", health.dirty.to_string()),
        ("not taken by the index", health.refused.to_string()),
    ];
    // Without a search index nothing waits for one.
    let counts = if health.indexed { &counts[..] } else { &counts[..counts.len() - OF_THE_INDEX] };
    let rows: Vec<_> = counts.iter().map(|(what, count)| [(*what).to_owned(), count.clone()]).collect();
    let mut text = table(&rows);
    if !health.indexed {
        text += &format!("{NOT_USED}\n");
    }
    text += &refusals(&health.refused_articles);
    for (kind, finding) in &health.findings {
        text += &format!("{kind}: {}\n", finding.count);
        for example in &finding.examples {
            text += &format!("    {}\n", printable(example));
        }
    }
    text += if health.is_sound() { "all is well\n" } else { "NOT SOUND; `bisan repair` mends what can be mended\n" };
    text
}
