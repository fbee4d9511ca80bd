//! `hasad diff`: what changed between two versions.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use terminal::printable;

use super::{CONNECTIONS, article, no};
use crate::Error;
use crate::config::{Database, OUTPUT, Place, WHICH};
use crate::look::{Differs, Line, compare};
use crate::store;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hasad diff https://example.org/news/1                    what the last edit changed
  hasad diff https://example.org/news/1 --from 1 --to 4
  hasad diff https://example.org/news/1 --json | jq -r '.[].field'

Exit codes: 0 if both say the same, 1 if they differ, or one of them is not there.")]
pub(crate) struct Arguments {
    /// The page
    url: String,

    /// The older version; the last article before the newer one, if none is named
    #[arg(long, value_name = "NUMBER", help_heading = WHICH)]
    from: Option<i64>,

    /// The newer version; the last article, if none is named
    #[arg(long, value_name = "NUMBER", help_heading = WHICH)]
    to: Option<i64>,

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
    let db = arguments.database.pool(CONNECTIONS).await?;
    let mut versions = store::history(&db, &arguments.url).await.map_err(Error::Database)?;
    versions.retain(|version| version.object_hash.is_some());
    let newer = match arguments.to {
        Some(to) => versions.iter().position(|version| version.version == to),
        None => versions.len().checked_sub(1),
    };
    let older = match (arguments.from, newer) {
        (Some(from), _) => versions.iter().position(|version| version.version == from),
        (None, Some(newer)) => newer.checked_sub(1),
        (None, None) => None,
    };
    let (Some(older), Some(newer)) = (older, newer) else {
        return Ok(no("that page has no two such versions with an article"));
    };
    let (older, newer) = (&versions[older], &versions[newer]);
    let (Some(from), Some(to)) = (article(&objects, older).await?, article(&objects, newer).await?) else {
        return Ok(no("that page has no two such versions with an article"));
    };
    let differs = compare(&from, &to);
    if arguments.json {
        terminal::print_json(&differs)?;
    } else {
        let mut text = format!("--- version {}, {}\n", older.version, super::moment(&older.fetched_at));
        let _ = writeln!(text, "+++ version {}, {}", newer.version, super::moment(&newer.fetched_at));
        differs.iter().for_each(|field| text.push_str(&show(field)));
        terminal::print(&text);
    }
    Ok(if differs.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Lines that stay are shown only beside those that do not.
fn show(differs: &Differs) -> String {
    let mut text = format!("@@ {}\n", differs.field);
    let changed = |at: usize| differs.lines.get(at).is_some_and(|line| !matches!(line, Line::Same(_)));
    let near = |at: usize| changed(at) || changed(at + 1) || at.checked_sub(1).is_some_and(changed);
    for (_, line) in differs.lines.iter().enumerate().filter(|(at, _)| near(*at)) {
        let (mark, line) = match line {
            Line::Same(line) => (' ', line),
            Line::Removed(line) => ('-', line),
            Line::Added(line) => ('+', line),
        };
        let _ = writeln!(text, "{mark} {}", printable(line));
    }
    text
}

#[cfg(test)]
mod tests {
    use contract::Article;

    use super::*;

    fn article(title: &str, body: &str) -> Article {
        Article { title: title.to_owned(), body: body.to_owned(), ..Article::default() }
    }

    #[test]
    fn only_what_differs_is_told_line_by_line() {
        let (from, to) = (article("One", "a\n\nb\n\nc"), article("One", "a\n\nB\n\nc\n\nd"));
        let differs = compare(&from, &to);
        assert_eq!(differs.len(), 1);
        assert_eq!(show(&differs[0]), "@@ body\n  \n- b\n+ B\n  \n  c\n+ \n+ d\n");
        assert!(compare(&from, &from).is_empty());
    }
}
