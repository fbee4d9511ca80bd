//! Looking: what a reader would find, and one article.

use std::process::ExitCode;

use clap::Args;
use terminal::{print, print_json, printable, printable_lines, unusable};

use super::{opened, told};
use crate::config::Database;
use crate::search::{self, PAGE_MAX, Query, Request};
use crate::serve::{PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, time};
use crate::store::{self, Filter, Full, Signature, Summary};
use crate::{SearchServer, Searcher};

#[derive(Debug, Args)]
pub(super) struct SearchArgs {
    /// Words that must all be there; words in quotes stand side by side; the last one may go on
    #[arg(required = true, value_name = "WORD")]
    words: Vec<String>,

    #[command(flatten)]
    database: Database,

    /// Only of this source
    #[arg(long, value_name = "NAME", help_heading = "Which articles")]
    source: Option<String>,

    /// Only in this language
    #[arg(long, value_name = "CODE", help_heading = "Which articles")]
    language: Option<String>,

    /// Only by this author, by number
    #[arg(long, value_name = "ID", help_heading = "Which articles")]
    author: Option<i64>,

    /// Only from this day or time on
    #[arg(long, value_name = "DATE", help_heading = "Which articles")]
    from: Option<String>,

    /// Only until this day (all of it) or time
    #[arg(long, value_name = "DATE", help_heading = "Which articles")]
    until: Option<String>,

    /// Which page of what was found
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(PAGE_MAX)), value_name = "NUMBER")]
    page: u32,

    /// How many on a page
    #[arg(long, default_value_t = PAGE_SIZE_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=i64::from(PAGE_SIZE_MAX)), value_name = "ARTICLES")]
    size: u32,

    #[command(flatten, next_help_heading = "Search index")]
    index: Box<SearchServer>,

    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Its number or its address
    #[arg(value_name = "ID|URL")]
    which: String,

    #[command(flatten)]
    database: Database,

    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn search(arguments: &SearchArgs) -> anyhow::Result<ExitCode> {
    let when = |flag: &str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => time(text).map(Some).ok_or_else(|| {
            unusable(format!("{flag} {text:?} is not a day such as 2026-11-21, or a time with its zone"))
        }),
    };
    let from = when("--from", &arguments.from)?.map(|(seconds, _)| seconds);
    let until = when("--until", &arguments.until)?.map(|(seconds, day)| if day { seconds + 86_400 } else { seconds });
    // A word of the shell has ended only if another one follows.
    let query = Query::parse(&arguments.words.join(" "));
    if query.is_empty() {
        return Err(unusable("there is no word to look for"));
    }
    arguments.index.check()?;
    let searcher = Searcher::new(&arguments.index).map_err(told)?;
    let filter = Filter {
        source: arguments.source.clone(),
        language: arguments.language.clone(),
        author: arguments.author,
        from,
        until,
    };
    let store = opened(&arguments.database)?;
    let request = Request { query, filter, page: arguments.page, size: arguments.size };
    let found = search::search_by(&store, searcher.as_ref(), request).await?;
    if arguments.json {
        print_json(&found)?;
    } else if found.hits.is_empty() {
        print("nothing was found\n");
    } else {
        for hit in &found.hits {
            print(&format!("{}\n    {}\n", head(&hit.article), printable(&hit.snippet.text)));
        }
        let more = if found.more { "more than " } else { "" };
        print(&format!("{more}{} found, {} shown ({})\n", found.total, found.hits.len(), found.engine.as_str()));
    }
    Ok(if found.hits.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

pub(super) fn show(arguments: &ShowArgs) -> anyhow::Result<ExitCode> {
    let store = opened(&arguments.database)?;
    let article = store.read_now(|db| {
        let id = match arguments.which.parse() {
            Ok(id) => Some(id),
            Err(_) => store::id_of(db, &arguments.which)?,
        };
        id.map_or(Ok(None), |id| store::article(db, id))
    })?;
    let Some(article) = article else {
        eprintln!("bisan: there is no article {}", printable(&arguments.which));
        return Ok(ExitCode::FAILURE);
    };
    if arguments.json {
        print_json(&article)?;
    } else {
        print(&text(&article));
    }
    Ok(ExitCode::SUCCESS)
}

fn head(article: &Summary) -> String {
    let published = article.published_at.as_deref().unwrap_or("undated");
    let head = format!("{}  {}  {}  {}", article.id, published, article.source_name, article.title);
    printable(&head)
}

fn text(article: &Full) -> String {
    let Summary { source_url, version, authors, lead, .. } = &article.summary;
    let names: Vec<_> = authors.iter().map(|Signature { id, name }| format!("{} ({id})", printable(name))).collect();
    let mut lines = vec![head(&article.summary), format!("{}  version {version}", printable(source_url))];
    if let (Some(at), Some(reason)) = (&article.deleted_at, &article.deleted_reason) {
        lines.push(format!("DELETED at {at}: {reason}"));
    }
    lines.push(names.join(", "));
    for part in [lead, &article.body] {
        if !part.is_empty() {
            lines.push(String::new());
            lines.push(part.clone());
        }
    }
    printable_lines(&lines.join("\n")) + "\n"
}
