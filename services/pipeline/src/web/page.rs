//! The start page and the versions of an article. Whatever comes from outside is escaped by the macro.

use bisan::store::Summary;
use hasad::{Differs, Line, Version};
use maud::{DOCTYPE, Markup, html};

use super::{NAME, VERSIONS};
use crate::part::{self, Standing};
use crate::stages::{All, Fetched, State};
use crate::store::Happened;

pub(super) const STYLE: &str = include_str!("start.css");
pub(super) const SCRIPT: &str = include_str!("start.js");

/// A stage as the page shows it.
struct Shown<'a> {
    /// Its key in the state, for the script.
    key: &'static str,
    name: &'static str,
    counts: &'static str,
    /// The key of its number.
    number_key: &'static str,
    number: Option<i64>,
    /// None: it is a table, and always there.
    standing: Option<&'a Standing>,
}

impl Shown<'_> {
    fn state(&self) -> &'static str {
        self.standing.map_or("", |standing| standing.state.word())
    }

    fn trouble(&self) -> &str {
        let failed = self.standing.filter(|standing| standing.state == part::State::Failed);
        failed.and_then(|standing| standing.last_failure.as_deref()).unwrap_or("")
    }
}

/// The stages in the order in which an article passes them.
fn shown(all: &All) -> [Shown<'_>; 5] {
    let one = |(key, name): (&'static str, &'static str), counts, (number_key, number), standing| Shown {
        key,
        name,
        counts,
        number_key,
        number,
        standing,
    };
    let pages = all.fallah.fetched.as_ref().map(Fetched::pages);
    let waits = all.outbox.map(|outbox| outbox.waits);
    [
        one(("fallah", "Fallah"), "pages fetched", ("pages", pages), Some(&all.fallah.standing)),
        one(("outbox", "Outbox"), "events wait", ("waits", waits), None),
        one(("relay", "Relay"), "newest event sent", ("sent", all.relay.sent), Some(&all.relay.standing)),
        one(("hasad", "Hasad"), "versions archived", ("versions", all.hasad.versions), Some(&all.hasad.standing)),
        one(("bisan", "Bisan"), "articles to read", ("articles", all.bisan.articles), Some(&all.bisan.standing)),
    ]
}

fn frame(title: &str, script: bool, main: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) @if title != NAME { " · " (NAME) } }
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/style.css";
                link rel="stylesheet" href="/start.css";
                script src="/page.js" defer {}
                @if script { script src="/start.js" defer {} }
            }
            body {
                a.skip href="#main" { "To the text" }
                header.top {
                    a.name href="/" { (NAME) }
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
pub(super) fn start(state: &State, newest: &[Summary]) -> Markup {
    frame(
        NAME,
        true,
        html! {
            ol.stages aria-label="Stages, in the order in which an article passes them" {
                @for stage in shown(&state.stages) {
                    li id={ "stage-" (stage.key) } data-state=(stage.state()) data-number=(stage.number_key) {
                        span.stage { (stage.name) }
                        span.number { @match stage.number { Some(number) => (number), None => "–" } }
                        span.counts { (stage.counts) }
                    }
                }
            }
            @for stage in shown(&state.stages) {
                p.trouble id={ "trouble-" (stage.key) } {
                    @if !stage.trouble().is_empty() { (stage.name) ": " (stage.trouble()) }
                }
            }
            p.away {
                a href="/articles" { "All articles" }
                @if let Some(url) = &state.stages.relay.url { " · " a href=(url) { "The operator's page" } }
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
                        @for event in state.happened.iter().flatten() {
                            @let (what, how) = happened(event);
                            li {
                                span class={ "what " (how) } { (what) }
                                a dir="auto" href=(versions_of(&event.url)) { (event.title.as_ref().unwrap_or(&event.url)) }
                            }
                        }
                    }
                }
            }
        },
    )
}

fn happened(event: &Happened) -> (String, &'static str) {
    match (event.deleted, event.version) {
        (true, _) => ("removed".to_owned(), "gone"),
        (false, Some(version @ 2..)) => (format!("version {version}"), "edited"),
        (false, _) => ("new".to_owned(), "new"),
    }
}

fn versions_of(url: &str) -> String {
    format!("{VERSIONS}?url={}", bisan::escaped(url))
}

/// A version as the archive has it: its article, and what differs from the article before it.
pub(super) struct Told {
    pub(super) version: Version,
    pub(super) article: Option<contract::Article>,
    /// Why its article cannot be read, if there ought to be one.
    pub(super) unreadable: Option<String>,
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
                    @if let Some(why) = &told.unreadable { p.trouble { "What it said cannot be read: " (why) } }
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

/// As Bisan's pages have it, and to the second: edits may follow closely upon each other.
fn moment(text: &str) -> Markup {
    match text.parse::<jiff::Timestamp>() {
        Ok(at) => html! { time datetime=(text) title=(text) { (at.strftime("%-d %B %Y, %H:%M:%S")) } },
        Err(_) => html! { bdi { (text) } },
    }
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
    use super::*;
    use crate::part::Part;
    use crate::stages;

    fn event(url: &str, version: i64, deleted: bool) -> Happened {
        Happened {
            url: url.to_owned(),
            version: Some(version),
            deleted,
            title: Some("<b>".to_owned()),
            at: String::new(),
        }
    }

    #[test]
    fn what_has_happened_is_said_in_a_word() {
        assert_eq!(happened(&event("x", 1, false)).0, "new");
        assert_eq!(happened(&event("x", 3, false)).0, "version 3");
        assert_eq!(happened(&event("x", 4, true)).0, "removed");
    }

    #[test]
    fn nothing_from_outside_is_markup() {
        let standing = Part::new("x").standing();
        let stages = All {
            fallah: stages::Fallah { standing: standing.clone(), fetched: None, items: None },
            outbox: None,
            relay: stages::Relay { standing: standing.clone(), sent: Some(1), url: None },
            hasad: stages::Hasad { standing: standing.clone(), lag: None, versions: None, active: None },
            bisan: stages::Bisan { standing, lag: None, articles: None },
            postgres: None,
            redis: None,
        };
        let state = State { stages, happened: Some(vec![event("http://x/\"><script>", 1, false)]) };
        let page = start(&state, &[]).into_string();
        assert!(page.contains("&lt;b&gt;") && !page.contains("\"><script>"), "{page}");
        assert!(!versions("javascript:alert(1)", &[]).into_string().contains("href=\"javascript"));
    }
}
