//! `fallah test-source`: one page, and everything that would be made of it.

use std::process::ExitCode;

use serde::Serialize;
use terminal::{Unusable, print, print_json, printable_lines};

use crate::address::{Address, canonical};
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

/// What is shown, in this order.
#[derive(Serialize)]
struct Report<'a> {
    source: Option<&'a str>,
    /// Why no source would read it, if none would.
    not_wanted: Option<String>,
    robots: String,
    robots_rule: Option<String>,
    source_url: String,
    bytes: usize,
    title: Option<String>,
    authors: Vec<String>,
    published_at: Option<String>,
    modified_at: Option<String>,
    section: Option<String>,
    language: Option<String>,
    tags: Vec<String>,
    image: Option<String>,
    lead: Option<String>,
    body: String,
}

/// Asks its robots.txt, fetches the page, and shows what would be made of it. Nothing is written.
pub(crate) async fn run(trial: &Trial) -> anyhow::Result<ExitCode> {
    let address = Address::parse(&trial.url).map_err(|error| Unusable(format!("{}: {error}", trial.url)))?;
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
    let report = Report {
        source: source.map(|source| source.name()),
        not_wanted: match source {
            Some(_) => None,
            None => trial.sources.as_ref().map(|sources| sources.why_not(&address)),
        },
        robots: asked,
        robots_rule: rule,
        source_url: own.as_ref().unwrap_or(&final_url).to_string(),
        bytes: bytes.len(),
        title: found.title,
        authors: found.authors.into_iter().map(|author| author.name).collect(),
        published_at: found.published_at.map(|at| at.to_string()),
        modified_at: found.modified_at.map(|at| at.to_string()),
        section: found.section,
        language: found.language,
        tags: found.tags,
        image: found.image,
        lead: found.lead,
        body: found.body,
    };
    if trial.json {
        print_json(&report)?;
    } else {
        show(&report);
    }
    if let Some(why) = &report.not_wanted {
        eprintln!("fallah: no source would read it: {why}");
        return Ok(ExitCode::FAILURE);
    }
    if report.title.is_none() || report.body.is_empty() {
        eprintln!("fallah: no article was found on it; a [source.extract] may say where it is");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn show(report: &Report) {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let list = |texts: &[String]| if texts.is_empty() { "-".to_owned() } else { texts.join(", ") };
    let robots = match &report.robots_rule {
        Some(rule) => format!("allowed by {rule}"),
        None => format!("allowed ({})", report.robots),
    };
    let lines = [
        ("source", report.source.unwrap_or("-").to_owned()),
        ("robots.txt", robots),
        ("address", report.source_url.clone()),
        ("bytes", report.bytes.to_string()),
        ("title", or_none(&report.title)),
        ("authors", list(&report.authors)),
        ("published at", or_none(&report.published_at)),
        ("modified at", or_none(&report.modified_at)),
        ("section", or_none(&report.section)),
        ("language", or_none(&report.language)),
        ("tags", list(&report.tags)),
        ("image", or_none(&report.image)),
        ("lead", or_none(&report.lead)),
        ("body", format!("{} characters", report.body.chars().count())),
    ];
    for (name, text) in lines {
        print(&format!("{name:<13} {}\n", printable_lines(&text)));
    }
    if !report.body.is_empty() {
        print(&format!("\n{}\n", printable_lines(&report.body)));
    }
}
