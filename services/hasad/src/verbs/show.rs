//! `hasad show`: one version of a page, to read.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use contract::Article;
use terminal::{printable, printable_lines};

use super::{CONNECTIONS, article, no};
use crate::config::{Database, OUTPUT, Place, WHICH};
use crate::store::{self, Version};
use crate::{Error, told};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hasad show https://example.org/news/1
  hasad show https://example.org/news/1 --version 3
  hasad show https://example.org/news/1 --json | jq .event

Exit codes: 0, and 1 if there is no such version.")]
pub(crate) struct Arguments {
    /// The page
    url: String,

    /// Which version; the newest, if none is named
    #[arg(long, value_name = "NUMBER", help_heading = WHICH)]
    version: Option<i64>,

    /// As JSON: the row, and the event that it was made of
    #[arg(long, help_heading = OUTPUT)]
    json: bool,

    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    place: Place,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let objects = arguments.place.open_shared()?;
    let db = arguments.database.pool(CONNECTIONS).await?;
    let Some(version) = store::one(&db, &arguments.url, arguments.version).await.map_err(Error::Database)? else {
        return Ok(no("there is no such version of that page in the archive"));
    };
    if arguments.json {
        let object = super::content(&objects, &version).await?;
        let event = told::again(&version.about, object.as_deref()).map(|(_, event)| event);
        let mut value = serde_json::to_value(&version)?;
        value["event"] = event.unwrap_or_default();
        terminal::print_json(&value)?;
        return Ok(ExitCode::SUCCESS);
    }
    terminal::print(&page(&version, article(&objects, &version).await?.as_ref()));
    Ok(ExitCode::SUCCESS)
}

fn page(version: &Version, article: Option<&Article>) -> String {
    let mut text = format!("{} version {}, {}", printable(&version.source_url), version.version, version.status);
    if let Some(reason) = &version.reason {
        let _ = write!(text, " ({})", printable(reason));
    }
    let _ = writeln!(
        text,
        "\nfetched {}, archived {}",
        super::moment(&version.fetched_at),
        super::moment(&version.archived_at)
    );
    let Some(article) = article else { return text };
    let authors: Vec<_> = article.authors.iter().map(|author| printable(&author.name)).collect();
    let _ = writeln!(text, "\n{}", printable(&article.title));
    if !authors.is_empty() {
        let _ = writeln!(text, "{}", authors.join(", "));
    }
    if let Some(published) = &article.published_at {
        let _ = writeln!(text, "{}", printable(published));
    }
    let _ = writeln!(text, "\n{}", printable_lines(&article.body));
    text
}
