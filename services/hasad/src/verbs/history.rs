//! `hasad history`: every version of a page.

use std::process::ExitCode;

use clap::Args;

use super::{CONNECTIONS, no};
use crate::Error;
use crate::config::{Database, OUTPUT};
use crate::store::{self, Version};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hasad history https://example.org/news/1
  hasad history https://example.org/news/1 --json | jq '.[] | select(.status == \"active\")'

Exit codes: 0, and 1 if nothing of that page is archived.")]
pub(crate) struct Arguments {
    /// The page
    url: String,

    /// As JSON
    #[arg(long, help_heading = OUTPUT)]
    json: bool,

    #[command(flatten)]
    database: Database,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let db = arguments.database.pool(CONNECTIONS).await?;
    let versions = store::history(&db, &arguments.url).await.map_err(Error::Database)?;
    if arguments.json {
        terminal::print_json(&versions)?;
    } else if !versions.is_empty() {
        let head = ["version", "status", "fetched", "object", "title"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head).chain(versions.iter().map(row)).collect();
        terminal::print(&terminal::table(&rows));
    }
    if versions.is_empty() {
        return Ok(match store::is_purged(&db, &arguments.url).await.map_err(Error::Database)? {
            Some(true) => no("that page is purged, and nothing of it is kept"),
            _ => no("nothing of that page is archived"),
        });
    }
    Ok(ExitCode::SUCCESS)
}

fn row(version: &Version) -> [String; 5] {
    let status = match &version.reason {
        Some(reason) => format!("{} ({reason})", version.status),
        None => version.status.clone(),
    };
    [
        version.version.to_string(),
        status,
        super::moment(&version.fetched_at),
        version.object_hash.as_deref().and_then(|hash| hash.get(..12)).unwrap_or("-").to_owned(),
        version.title.clone().unwrap_or_default(),
    ]
}
