//! How the search index stands: as far as the file knows; or compared with it, document by document.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use terminal::{age, print, print_json, printable, table};

use super::{opened, told};
use crate::SearchServer;
use crate::config::Database;
use crate::meili::{Comparison, compare};
use crate::store::{self, Refused, Standing};

/// So many refused articles are listed.
const LISTED_MAX: usize = 100;

/// What is said where there is no search index.
pub(super) const NOT_USED: &str = "search index: not used; SQLite answers every search";

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    database: Database,

    /// Ask Meilisearch, and compare each of its documents with the file; exit code 1 if they differ
    #[arg(long)]
    compare: bool,

    /// And mend it: bring again what is missing or stale, remove what is stray
    #[arg(long, requires = "compare")]
    mend: bool,

    #[command(flatten, next_help_heading = "Search index")]
    index: SearchServer,

    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn status(arguments: &StatusArgs) -> anyhow::Result<ExitCode> {
    let store = opened(&arguments.database)?;
    let (standing, refused, known) =
        store.read_now(|tx| Ok((store::standing(tx)?, store::refusals(tx, LISTED_MAX)?, store::is_indexed(tx)?)))?;
    let used = Used::of(&arguments.index, known);
    let compared = if arguments.compare {
        arguments.index.check()?;
        Some(compare(&store, &arguments.index, arguments.mend).await.map_err(told)?)
    } else {
        None
    };
    if arguments.json {
        print_json(&json!({ "used": used, "index": standing, "refused": refused, "compared": compared }))?;
    } else {
        print(&words(used, &standing, &refused));
        print(&compared.as_ref().map_or_else(String::new, differences));
    }
    let same = compared.is_none_or(|compared| compared.is_same());
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn differences(compared: &Comparison) -> String {
    let mut text = format!("{} documents were compared\n", compared.documents);
    for (kind, count, first) in compared.findings() {
        if count > 0 {
            let first: Vec<_> = first.iter().map(i64::to_string).collect();
            text += &format!("{kind}: {count} (articles {})\n", first.join(", "));
        }
    }
    text
}

/// Whether there is a search index at all. Without one the file answers, and what waits for it is no backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Used {
    /// An address is set.
    Yes,
    /// None is set here; and the file was brought to one.
    NotHere,
    /// There is none, and there was none.
    No,
}

impl Used {
    fn of(index: &SearchServer, known: bool) -> Self {
        match (index.is_set(), known) {
            (true, _) => Self::Yes,
            (false, true) => Self::NotHere,
            (false, false) => Self::No,
        }
    }
}

fn words(used: Used, standing: &Standing, refused: &[Refused]) -> String {
    let not_set = match used {
        Used::No => return format!("{NOT_USED}\n"),
        Used::NotHere => "MEILI_URL is not set here; what waits is remembered for the index that was there\n",
        Used::Yes => "",
    };
    let since = standing.dirty_since.map_or_else(String::new, |since| {
        let seconds = jiff::Timestamp::now().as_second() - since;
        format!(", the oldest for {}", age(seconds.max(0) as f64))
    });
    let spare = standing.spare.as_deref().map_or("none".to_owned(), |step| {
        let (step, refused) = (step.replace('_', " "), standing.spare_refused);
        format!("{step}, {} behind, {refused} not taken", standing.behind)
    });
    let rows = [
        ["to be brought to the index".to_owned(), format!("{}{since}", standing.dirty)],
        ["not taken by the index".to_owned(), standing.refused.to_string()],
        ["spare index".to_owned(), spare],
    ];
    not_set.to_owned() + &table(&rows) + &refusals(refused)
}

/// Articles that the index does not take, a line each.
pub(super) fn refusals(refused: &[Refused]) -> String {
    let line = |one: &Refused| format!("    article {} ({}): {}", one.article_id, one.source_url, one.reason);
    refused.iter().map(|one| format!("{}\n", printable(&line(one)))).collect()
}
