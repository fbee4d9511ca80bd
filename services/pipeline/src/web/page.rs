//! The start page and the versions of an article. Whatever comes from outside is escaped by the macro.

use bisan::store::Summary;
use hasad::{Differs, Line, Version};
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

use super::VERSIONS;

pub(super) const STYLE: &str = include_str!("start.css");
pub(super) const SCRIPT: &str = include_str!("start.js");

/// A stage: its key in the state, its name, what its number counts, and which number that is.
const STAGES: [(&str, &str, &str, &str); 5] = [
    ("fallah", "Fallah", "pages fetched", "pages"),
    ("outbox", "Outbox", "events wait", "waits"),
    ("relay", "Relay", "newest event sent", "sent"),
    ("hasad", "Hasad", "versions archived", "versions"),
    ("bisan", "Bisan", "articles to read", "articles"),
];

fn frame(title: &str, script: bool, main: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/style.css";
                link rel="stylesheet" href="/start.css";
                script src="/page.js" defer {}
                @if script { script src="/start.js" defer {} }
            }
            body {
                a.skip href="#main" { "To the text" }
                header.top {
                    a.name href="/" { "Pipeline" }
                    form.search role="search" action="/search" {
                        input type="search" name="q" id="q" dir="auto" autocomplete="off" maxlength="512" placeholder="Search"
                            aria-label="Search articles" accesskey="s";
                        kbd aria-hidden="true" { "/" }
                    }
                }
                main id="main" { (main) }
            }
        }
    }
}

/// The start page: true as it is sent, and kept true by its script.
pub(super) fn start(standing: &Value, newest: &[Summary], operator: Option<&str>) -> Markup {
    let stages = &standing["stages"];
    let state = |key: &str| stages[key]["state"].as_str().unwrap_or("").to_owned();
    frame(
        "Pipeline",
        true,
        html! {
            ol.stages aria-label="Stages, in the order in which an article passes them" {
                @for (key, name, counts, number) in STAGES {
                    li id={ "stage-" (key) } data-state=(state(key)) data-number=(number) {
                        span.stage { (name) }
                        span.number { (number_in_words(&stages[key][number])) }
                        span.counts { (counts) }
                        span.trouble { (stages[key]["last_failure"].as_str().filter(|_| state(key) == "failed").unwrap_or("")) }
                    }
                }
            }
            p.away {
                a href="/articles" { "All articles" }
                @if let Some(url) = operator { " · " a href=(url) { "The operator's page" } }
                " · " a href="/stages" { "The same as JSON" }
            }
            div.halves {
                section {
                    h1.quiet { "Newest articles" }
                    ol.articles id="newest" {
                        @for article in newest {
                            // The title comes first, so it says for all of it which way it is written.
                            li dir="auto" {
                                h2 { a href={ "/articles/" (article.id) } { (article.title) } }
                                p.facts {
                                    bdi { (article.source_name) }
                                    @for author in &article.authors { span.dot { "·" } bdi { (author.name) } }
                                    span.dot { "·" } a href=(versions_of(&article.source_url)) { "version " (article.version) }
                                }
                            }
                        }
                    }
                    p.quiet id="none" hidden[!newest.is_empty()] { "The first article is on its way." }
                }
                section {
                    h1.quiet { "What has happened" }
                    ol.happened id="happened" {
                        @for event in standing["happened"].as_array().into_iter().flatten() {
                            @let (what, how) = happened(event);
                            li {
                                span class={ "what " (how) } { (what) }
                                a dir="auto" href=(versions_of(event["url"].as_str().unwrap_or_default())) {
                                    (event["title"].as_str().or(event["url"].as_str()).unwrap_or_default())
                                }
                            }
                        }
                    }
                }
            }
        },
    )
}

fn number_in_words(number: &Value) -> String {
    number.as_i64().map_or_else(|| "–".to_owned(), |number| number.to_string())
}

fn happened(event: &Value) -> (String, &'static str) {
    match (event["deleted"].as_bool(), event["version"].as_i64()) {
        (Some(true), _) => ("removed".to_owned(), "gone"),
        (_, Some(version @ 2..)) => (format!("version {version}"), "edited"),
        _ => ("new".to_owned(), "new"),
    }
}

fn versions_of(url: &str) -> String {
    format!("{VERSIONS}?url={}", bisan::escaped(url))
}

/// A version as the archive has it: its article, and what differs from the article before it.
pub(super) struct Told {
    pub(super) version: Version,
    pub(super) article: Option<contract::Article>,
    pub(super) differs: Option<Vec<Differs>>,
}

/// Every version of a page, the newest first.
pub(super) fn versions(url: &str, told: &[Told]) -> Markup {
    let title = told.iter().find_map(|told| Some(told.article.as_ref()?.title.as_str())).unwrap_or(url);
    let web = url.starts_with("https://") || url.starts_with("http://");
    frame(
        &format!("Versions of {title}"),
        false,
        html! {
            header.person {
                h1 dir="auto" { (title) }
                p.quiet { "At its source: " @if web { a href=(url) rel="noopener noreferrer nofollow external" { bdi { (url) } } } @else { bdi { (url) } } }
            }
            @for told in told {
                section.version {
                    h2 {
                        "Version " (told.version.version) " "
                        span class={ "what " (told.version.status) } {
                            (told.version.status)
                            @if let Some(reason) = &told.version.reason { " (" (reason) ")" }
                        }
                    }
                    p.facts {
                        "fetched " (moment(&told.version.fetched_at)) ", archived " (moment(&told.version.archived_at))
                        @if let Some(hash) = &told.version.object_hash { ", object " code title=(hash) { (hash.get(..12).unwrap_or(hash)) } }
                    }
                    @match &told.differs {
                        Some(differs) if differs.is_empty() => p.quiet { "It says what the version before it says." },
                        Some(differs) => @for field in differs {
                            div.differs {
                                p.facts { (field.field) }
                                @for line in &field.lines { (changed(line)) }
                            }
                        },
                        None => {}
                    }
                    @if let Some(article) = &told.article {
                        details {
                            summary { "The whole article" }
                            div.whole dir="auto" {
                                h3 { (article.title) }
                                @for paragraph in article.body.split("\n\n") { p dir="auto" { (paragraph) } }
                            }
                        }
                    }
                }
            }
        },
    )
}

fn changed(line: &Line) -> Markup {
    match line {
        Line::Same(_) => html! {},
        Line::Removed(text) if !text.trim().is_empty() => html! { p dir="auto" { del { (text) } } },
        Line::Added(text) if !text.trim().is_empty() => html! { p dir="auto" { ins { (text) } } },
        Line::Removed(_) | Line::Added(_) => html! {},
    }
}

fn moment(text: &str) -> Markup {
    html! { time datetime=(text) { (text.get(..19).unwrap_or(text).replace('T', " ")) } }
}

/// A sentence and nothing else.
pub(super) fn sentence(title: &str, words: &str) -> Markup {
    frame(
        title,
        false,
        html! { div.problem { h1 { (title) } p { bdi { (words) } } p { a href="/" { "To the start" } } } },
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_has_happened_is_said_in_a_word() {
        assert_eq!(happened(&json!({ "deleted": false, "version": 1 })).0, "new");
        assert_eq!(happened(&json!({ "deleted": false, "version": 3 })).0, "version 3");
        assert_eq!(happened(&json!({ "deleted": true, "version": 4 })).0, "removed");
    }

    #[test]
    fn nothing_from_outside_is_markup() {
        let standing =
            json!({ "stages": {}, "happened": [{ "url": "http://x/\"><script>", "title": "<b>", "version": 1 }] });
        let page = start(&standing, &[], Some("http://127.0.0.1:7654/")).into_string();
        assert!(page.contains("&lt;b&gt;") && !page.contains("\"><script>"), "{page}");
        assert!(!versions("javascript:alert(1)", &[]).into_string().contains("href=\"javascript"));
    }
}
