//! `hasad diff`: what changed between two versions.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use contract::Article;
use serde::Serialize;
use terminal::printable;

use super::{CONNECTIONS, article, no};
use crate::Error;
use crate::config::{Database, OUTPUT, Place, WHICH};
use crate::store;

/// Above so many pairs of lines, what differs is told as a whole.
const PAIRS_MAX: usize = 4_000_000;

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

/// A field that differs, line by line.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Differs {
    field: &'static str,
    lines: Vec<Line>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "is", content = "line", rename_all = "snake_case")]
enum Line {
    Same(String),
    Removed(String),
    Added(String),
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
        let mut text = format!("--- version {}, {}\n", older.version, older.fetched_at);
        let _ = writeln!(text, "+++ version {}, {}", newer.version, newer.fetched_at);
        differs.iter().for_each(|field| text.push_str(&show(field)));
        terminal::print(&text);
    }
    Ok(if differs.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The fields that differ, in the order in which a reader looks for them.
fn compare(from: &Article, to: &Article) -> Vec<Differs> {
    let one = |text: &Option<String>| text.iter().cloned().collect::<Vec<_>>();
    let names = |article: &Article| article.authors.iter().map(|author| author.name.clone()).collect::<Vec<_>>();
    let fields = |article: &Article| {
        [
            ("title", vec![article.title.clone()]),
            ("authors", names(article)),
            ("published_at", one(&article.published_at)),
            ("modified_at", one(&article.modified_at)),
            ("section", one(&article.section)),
            ("canonical_url", one(&article.canonical_url)),
            ("images", article.images.clone()),
            ("body", article.body.lines().map(str::to_owned).collect()),
        ]
    };
    let pairs = fields(from).into_iter().zip(fields(to));
    let mut differs: Vec<_> = pairs
        .filter(|((_, from), (_, to))| from != to)
        .map(|((field, from), (_, to))| Differs { field, lines: lines(from, to) })
        .collect();
    // An author's page may change beside the name.
    if from.authors != to.authors && names(from) == names(to) {
        let pages = |article: &Article| article.authors.iter().filter_map(|author| author.url.clone()).collect();
        differs.push(Differs { field: "author_urls", lines: lines(pages(from), pages(to)) });
    }
    differs
}

/// The shortest way from one list of lines to another.
fn lines(from: Vec<String>, to: Vec<String>) -> Vec<Line> {
    let (rows, columns) = (from.len(), to.len());
    if rows.saturating_mul(columns) > PAIRS_MAX {
        return from.into_iter().map(Line::Removed).chain(to.into_iter().map(Line::Added)).collect();
    }
    // How many lines the rests from here on have in common.
    let mut common = vec![vec![0_u32; columns + 1]; rows + 1];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            common[row][column] = if from[row] == to[column] {
                common[row + 1][column + 1] + 1
            } else {
                common[row + 1][column].max(common[row][column + 1])
            };
        }
    }
    let (mut row, mut column, mut way) = (0, 0, vec![]);
    while row < rows || column < columns {
        if row < rows && column < columns && from[row] == to[column] {
            way.push(Line::Same(from[row].clone()));
            (row, column) = (row + 1, column + 1);
        } else if column == columns || (row < rows && common[row + 1][column] >= common[row][column + 1]) {
            way.push(Line::Removed(from[row].clone()));
            row += 1;
        } else {
            way.push(Line::Added(to[column].clone()));
            column += 1;
        }
    }
    way
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

    #[test]
    fn an_authors_page_counts_too() {
        let by = |url: Option<&str>| Article {
            authors: vec![contract::Byline { name: "Salma".to_owned(), url: url.map(str::to_owned) }],
            ..Article::default()
        };
        let differs = compare(&by(None), &by(Some("https://example.org/salma")));
        assert_eq!(differs[0].field, "author_urls");
    }
}
