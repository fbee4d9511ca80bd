//! `fallah test-source`: one page, and everything that would be made of it.

use std::process::ExitCode;

use serde_json::json;

use crate::Error;
use crate::address::{Address, canonical};
use crate::cli::print;
use crate::config::Manners;
use crate::extract::{self, Rules};
use crate::fetch::{Accept, Answer, Ask, HOPS_MAX};
use crate::robots::{Memory, decide};
use crate::sources::Sources;

pub(crate) struct Trial {
    pub(crate) url: String,
    pub(crate) manners: Manners,
    pub(crate) sources: Option<Sources>,
    pub(crate) json: bool,
}

/// Asks its robots.txt, fetches the page, and shows what would be made of it. Nothing is written.
pub(crate) async fn run(trial: &Trial) -> anyhow::Result<ExitCode> {
    let address = Address::parse(&trial.url).map_err(|error| Error::Unusable(format!("{}: {error}", trial.url)))?;
    let source = trial.sources.as_ref().and_then(|sources| sources.of(&address));
    let fetcher = trial.manners.fetcher()?;
    let robots = fetcher.follow(&Ask::new(&address.robots(), Accept::Robots), HOPS_MAX, async |_| Ok(())).await;
    let asked = robots.to_string();
    let policy = decide(robots.into_robots(), &Memory::default(), jiff::Timestamp::now()).policy;
    let verdict = policy.verdict(crate::AGENT, address.path_and_query());
    let rule = verdict.rule.as_ref().map(|rule| format!("line {}: {}", rule.line, rule.text));
    if !verdict.allowed {
        let why = rule.unwrap_or(asked);
        eprintln!("fallah: robots.txt forbids it ({why}), so it is not fetched");
        return Ok(ExitCode::FAILURE);
    }
    let ask = Ask { body_bytes_max: trial.manners.page_bytes_max, ..Ask::new(&address, Accept::Page) };
    let (final_url, content_type, bytes) = match fetcher.follow(&ask, HOPS_MAX, async |_| Ok(())).await {
        Answer::Body { final_url, content_type, body, .. } => (final_url, content_type, body.into_bytes()?),
        other => {
            eprintln!("fallah: {address} could not be read: {other}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let html = extract::decode(&bytes, content_type.as_deref());
    let rules = source.map_or_else(Rules::default, |source| source.extract.clone());
    let page = extract::Page { url: final_url.as_str(), html: &html };
    let found = match extract::extract(&page, &rules) {
        Ok(found) => found,
        Err(unreadable) => {
            eprintln!("fallah: {address} could not be understood: {unreadable}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let own = found.canonical_url.as_deref().and_then(|claimed| canonical(&final_url, claimed));
    let report = json!({
        "source": source.map(|source| source.name()),
        "robots": { "answer": asked, "rule": rule },
        "source_url": own.as_ref().unwrap_or(&final_url).to_string(),
        "bytes": bytes.len(),
        "title": found.title,
        "authors": found.authors.iter().map(|author| &author.name).collect::<Vec<_>>(),
        "published_at": found.published_at.as_ref().map(ToString::to_string),
        "modified_at": found.modified_at.as_ref().map(ToString::to_string),
        "section": found.section,
        "language": found.language,
        "tags": found.tags,
        "image": found.image,
        "lead": found.lead,
        "body": found.body,
    });
    if trial.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&report)?));
        return Ok(fit(&found));
    }
    for (name, value) in report.as_object().expect("it is one") {
        let text = match value {
            serde_json::Value::String(text) if name == "body" => {
                format!("{} characters\n\n{text}", text.chars().count())
            }
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Null => "-".to_owned(),
            other => other.to_string(),
        };
        print(&format!("{name:<13} {}\n", crate::exit::printable_lines(&text)));
    }
    Ok(fit(&found))
}

/// Whether it would become an item.
fn fit(found: &extract::Extracted) -> ExitCode {
    if found.title.is_some() && !found.body.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("fallah: no article was found on it; a [source.extract] may say where it is");
    ExitCode::FAILURE
}
