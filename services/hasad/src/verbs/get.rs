//! `hasad get`: the article as it is stored.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;

use super::{CONNECTIONS, content, no};
use crate::config::{Database, OUTPUT, Place, WHICH};
use crate::store;
use crate::{Error, told};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hasad get https://example.org/news/1 > article.json
  hasad get https://example.org/news/1 --at 2026-11-01
  hasad get https://example.org/news/1 --at 2026-11-01T12:00:00+03:00 | jq -r .body
  hasad get https://example.org/news/1 --json | jq .version

What is printed is what is stored, byte for byte: its BLAKE3 is its name. Exit codes: 0, and 1 if the page had no article
then, or none is archived.")]
pub(crate) struct Arguments {
    /// The page
    url: String,

    /// What it said then: a day (its end, UTC) or a time as RFC 3339; now, if nothing is said
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = WHICH)]
    at: Option<jiff::Timestamp>,

    /// The row and the whole event instead, as JSON
    #[arg(long, help_heading = OUTPUT)]
    json: bool,

    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    place: Place,
}

fn time(text: &str) -> Result<jiff::Timestamp, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time);
    }
    let day: jiff::civil::Date =
        text.parse().map_err(|_| "a time is a day such as 2026-11-01, or RFC 3339 with its zone".to_owned())?;
    let last = day.at(23, 59, 59, 999_999_999).to_zoned(jiff::tz::TimeZone::UTC);
    last.map(|last| last.timestamp()).map_err(|error| error.to_string())
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let objects = arguments.place.open_shared()?;
    let db = arguments.database.pool(CONNECTIONS).await?;
    let version = match arguments.at {
        Some(time) => store::at(&db, &arguments.url, &time.to_string()).await,
        None => store::one(&db, &arguments.url, None).await,
    };
    let Some(version) = version.map_err(Error::Database)? else {
        return Ok(no("nothing of that page was archived by then"));
    };
    let bytes = content(&objects, &version).await?;
    if arguments.json {
        let mut value = serde_json::to_value(&version)?;
        value["event"] = told::again(&version.about, bytes.as_deref()).map(|(_, event)| event).unwrap_or_default();
        terminal::print_json(&value)?;
    } else if let Some(bytes) = &bytes {
        // A closed pipe is no failure.
        let _ = std::io::stdout().write_all(bytes);
    }
    if bytes.is_none() {
        return Ok(no(&format!(
            "the page was deleted then: {}",
            version.reason.as_deref().unwrap_or("no reason is known")
        )));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::time;

    #[test]
    fn a_day_means_its_end() {
        assert_eq!(time("2026-11-01").expect("a day").to_string(), "2026-11-01T23:59:59.999999999Z");
        assert_eq!(time("2026-11-01T03:00:00+03:00").expect("a time").to_string(), "2026-11-01T00:00:00Z");
        assert!(time("yesterday").is_err());
    }
}
