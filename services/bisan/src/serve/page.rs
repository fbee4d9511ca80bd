//! The pages: a list, an article, a person, what was found, and what went wrong. Everything that comes from outside is escaped
//! by the macro; nothing of it is ever written as markup.

mod parts;

use maud::{Markup, html};

use self::parts::{
    FILTERS, articles_in_words, count, direction, empty, facts, filters, frame, headline, host, item, items,
    language, marked, marked_text, moment, outside, pager, sentence, signed,
};
use super::Site;
use super::asked::{Asked, escaped};
use crate::search::Found;
use crate::store::{Choices, Full, Person, Summary};

pub(super) const STYLE: &str = include_str!("style.css");
pub(super) const SCRIPT: &str = include_str!("page.js");
pub(super) const ICON: &str = include_str!("icon.svg");

/// The newest articles.
pub(super) fn list(site: Site, asked: &Asked, choices: &Choices, articles: &[Summary], next: Option<&str>) -> Markup {
    let filtered = FILTERS.iter().any(|name| asked.get(name).is_some());
    frame(
        site.name,
        "Newest articles",
        asked.get("q"),
        html! {
            (filters("/articles", asked, choices, None))
            h1.quiet { "Newest articles" }
            @if articles.is_empty() {
                @if filtered {
                    (empty("Nothing fits these filters.", html! { a href="/articles" { "Show everything" } }))
                } @else {
                    (empty("No article has arrived yet.", html! { "What the scraper finds appears here by itself." }))
                }
            }
            (items(articles))
            (pager(None, next, "Newer", "Older"))
        },
    )
}

/// What was found; nothing was looked for yet: `None`.
pub(super) fn search(
    site: Site,
    asked: &Asked,
    choices: &Choices,
    found: Option<&Found>,
    previous: Option<&str>,
    next: Option<&str>,
) -> Markup {
    let query = asked.get("q").unwrap_or_default();
    let title = if query.is_empty() { "Search".to_owned() } else { format!("{query} · Search") };
    frame(
        site.name,
        &title,
        Some(query),
        html! {
            (filters("/search", asked, choices, Some(query)))
            @match found {
                None => {
                    h1.quiet { "Search" }
                    (empty("What are you looking for?", html! {
                        "Every word must be there; words in quotes stand side by side. Vowel marks, hamzas and the article make no "
                        "difference: " bdi lang="ar" { "المدرسة" } " finds " bdi lang="ar" { "مَدْرَسَة" } "."
                    }))
                }
                Some(found) if found.hits.is_empty() => {
                    h1.quiet { "Nothing found for “" bdi { (query) } "”" }
                    (empty("No article has all of these words.", html! {
                        "Try fewer or other words, or without filters. " a href="/articles" { "Read the newest articles" }
                    }))
                }
                Some(found) => {
                    h1.quiet {
                        (count(found)) " for “" bdi { (query) } "”"
                    }
                    ol.articles {
                        @for hit in &found.hits {
                            li {
                                (item(&hit.article, marked(&hit.article.title, &hit.title_marks), html! {
                                    p.lead { (marked_text(&hit.snippet)) }
                                }))
                            }
                        }
                    }
                }
            }
            (pager(previous, next, "Previous", "Next"))
        },
    )
}

/// One article, with a link to its earlier versions where they are shown.
pub(super) fn article(site: Site, article: &Full) -> Markup {
    let summary = &article.summary;
    let paragraphs = || article.body.split("\n\n").map(str::trim).filter(|text| !text.is_empty());
    let repeats_lead =
        paragraphs().next().is_some_and(|first| first.starts_with(summary.lead.trim_end_matches('…').trim()));
    frame(
        site.name,
        &headline(&summary.title),
        None,
        html! {
            article.full dir=(direction(summary)) lang=[language(summary)] {
                header {
                    (facts(summary))
                    h1 { (headline(&summary.title)) }
                    (signed(&summary.authors))
                    @if !summary.lead.is_empty() && !repeats_lead { p.standfirst { (summary.lead) } }
                }
                div.body {
                    @for paragraph in paragraphs() {
                        p { @for (nth, line) in paragraph.lines().enumerate() { @if nth > 0 { br; } (line) } }
                    }
                    @if article.body.trim().is_empty() { p.quiet { "This article has no text of its own." } }
                }
                @if !article.tags.is_empty() {
                    ul.tags { @for tag in &article.tags { li { (tag) } } }
                }
            }
            footer.about {
                p {
                    "Read at its source: "
                    (outside(&summary.source_url, html! { bdi { (host(&summary.source_url)) } }))
                }
                p.quiet {
                    "Version " (summary.version) ", fetched " (moment(&article.fetched_at))
                    @if let Some(modified) = &article.modified_at { ", changed there " (moment(modified)) }
                    "."
                    @if let Some(path) = site.history {
                        " " a href={ (path) "?url=" (escaped(&summary.source_url)) } { "All versions" }
                    }
                }
            }
        },
    )
}

/// Somebody, and what they wrote.
pub(super) fn author(site: Site, person: &Person, articles: &[Summary], next: Option<&str>) -> Markup {
    frame(
        site.name,
        &person.name,
        None,
        html! {
            header.person {
                h1 { bdi { (person.name) } }
                p.quiet {
                    (articles_in_words(person.articles)) " · " bdi { (person.source_name) }
                    @if let Some(url) = &person.url { " · " (outside(url, html! { "Page at the source" })) }
                }
                @if !person.merged.is_empty() {
                    p.quiet { "Also " @for (nth, alias) in person.merged.iter().enumerate() {
                        @if nth > 0 { ", " }
                        bdi { (alias.name) }
                        @if alias.source_name != person.source_name { " (" bdi { (alias.source_name) } ")" }
                    } }
                }
            }
            @if articles.is_empty() { (empty("Nothing of theirs is there.", html! { a href="/articles" { "Read the newest articles" } })) }
            (items(articles))
            (pager(None, next, "Newer", "Older"))
        },
    )
}

/// What went wrong.
pub(super) fn problem(site: Site, status: u16, title: &str, detail: &str) -> Markup {
    frame(
        site.name,
        title,
        None,
        html! {
            div.problem {
                p.status { (status) }
                h1 { (title) }
                p { bdi { (sentence(detail)) } }
                p { a href="/" { "Read the newest articles" } }
            }
        },
    )
}
