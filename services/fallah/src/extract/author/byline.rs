//! Bylines that only look like one: by the name of a class, by where a link leads, by their first word.

use super::{Author, BYLINE_CHARS_MAX, named};
use crate::extract::hints::is_elsewhere;
use crate::extract::html::{Tree, squeeze};
use crate::extract::names::{self, people};
use crate::extract::site::Site;

/// Bylines are looked for in this many elements at most.
pub(super) const BYLINES_MAX: usize = 60;

/// A place that looks like a byline, and whom it names.
struct Byline {
    at: usize,
    points: i32,
    authors: Vec<Author>,
}

/// Elements whose class says byline, links to people's pages behind the title, and short lines that begin with "By".
pub(super) fn from_bylines(tree: &Tree, site: &Site, title: usize) -> Vec<Author> {
    let mut found: Vec<Byline> = Vec::new();
    let (mut looked, mut behind) = (0, 0);
    for at in tree.elements() {
        if looked >= BYLINES_MAX {
            break;
        }
        let Some(kind) = byline_kind(tree, at).filter(|_| at >= behind && !is_elsewhere(tree, at)) else { continue };
        if helped(tree, at) {
            continue;
        }
        let text = tree.text(at);
        let count = text.chars().count();
        if count == 0 || count > BYLINE_CHARS_MAX {
            continue;
        }
        // A link stands in a line of its own, not in a sentence.
        let line =
            tree.parent(at).map(|up| tree.text(up)).filter(|_| kind == Kind::Link).unwrap_or_else(|| text.clone());
        if kind == Kind::Link && (at < title || at > title + 400 || line.chars().count() > 120) {
            continue;
        }
        // A link to a person who is written about has no "by" before it.
        let href = tree.attr(at, "href").unwrap_or_default();
        let about = kind == Kind::Link && (href.contains("/people/") || href.contains("/person/"));
        if about && !names::has_prefix(&line) {
            continue;
        }
        looked += 1;
        let authors = in_byline(tree, site, at);
        if authors.is_empty() {
            continue;
        }
        behind = tree.end(at);
        let mut points = match kind {
            Kind::Byline => 4,
            Kind::Name | Kind::Link => 3,
            Kind::Author => 2,
        };
        points += if names::has_prefix(&line) { 3 } else { 0 };
        points += if count < 80 { 1 } else { 0 };
        points += if at > title { 2 } else { 0 };
        points += if authors.iter().all(|a| a.name.contains(' ')) { 2 } else { -1 };
        found.push(Byline { at, points, authors });
    }
    let best = found.iter().enumerate().max_by_key(|(n, b)| (b.points, std::cmp::Reverse(*n))).map(|(n, _)| n);
    match best.filter(|n| found[*n].points >= 6) {
        Some(best) => with_twins(tree, found, best),
        None => from_words(tree, site, title),
    }
}

/// Those in a list of contributors helped another who signs.
pub(super) fn helped(tree: &Tree, at: usize) -> bool {
    std::iter::once(at)
        .chain(tree.ancestors(at))
        .take(4)
        .any(|n| tree.attr(n, "class").is_some_and(|c| c.contains("contributor-") || c.contains("contributors")))
}

/// Inside a byline, links to people's pages name them best, then elements named for names, then its first line.
fn in_byline(tree: &Tree, site: &Site, at: usize) -> Vec<Author> {
    let linked =
        tree.subtree(at).filter(|&n| tree.name(n) == "a" && tree.attr(n, "href").is_some_and(leads_to_person));
    let links: Vec<Author> = linked
        .flat_map(|n| {
            let url = tree.attr(n, "href").map(str::to_owned);
            people(&tree.text(n), site).into_iter().map(move |name| Author { name, url: url.clone() })
        })
        .collect();
    if !links.is_empty() {
        return links;
    }
    let mut behind = 0;
    let mut parts = Vec::new();
    for n in tree.subtree(at).skip(1) {
        if n >= behind && byline_kind(tree, n) == Some(Kind::Name) {
            parts.extend(named(&tree.text(n), site));
            behind = tree.end(n);
        }
    }
    if !parts.is_empty() {
        return parts;
    }
    let lines = lines(tree, at);
    let prefixed = names::has_prefix(&lines.replace('|', " "));
    let line = lines.split('|').map(|line| named(line, site)).find(|names| !names.is_empty()).unwrap_or_default();
    // One word alone is more often a button than a person.
    if prefixed || line.iter().any(|a| a.name.contains(' ')) { line } else { Vec::new() }
}

/// The best byline and those just like it right behind it.
fn with_twins(tree: &Tree, found: Vec<Byline>, best: usize) -> Vec<Author> {
    let (first, class) = (found[best].at, tree.attr(found[best].at, "class"));
    let up: Vec<usize> = tree.ancestors(first).take(3).collect();
    let is_twin = |b: &Byline| {
        b.at > first
            && b.at < first + 80
            && tree.attr(b.at, "class") == class
            && tree.ancestors(b.at).take(3).any(|n| up.contains(&n))
    };
    found.into_iter().skip(best).filter(|b| b.at == first || is_twin(b)).flat_map(|b| b.authors).collect()
}

/// A short line behind the title that begins with "By" or its like.
fn from_words(tree: &Tree, site: &Site, title: usize) -> Vec<Author> {
    const LINE_CHARS_MAX: usize = 90;
    const LINES_MAX: usize = 400;
    let lines = tree.elements().filter(|&n| {
        n > title
            && matches!(
                tree.name(n),
                "p" | "div"
                    | "span"
                    | "li"
                    | "h2"
                    | "h3"
                    | "h4"
                    | "h5"
                    | "h6"
                    | "em"
                    | "strong"
                    | "td"
                    | "address"
                    | "small"
                    | "font"
                    | "b"
            )
    });
    for at in lines.take(LINES_MAX) {
        if tree.end(at) - at > 20 || is_elsewhere(tree, at) {
            continue;
        }
        let text = tree.text(at);
        let count = text.chars().count();
        let word =
            text.split_whitespace().next().unwrap_or_default().trim_end_matches([':', '،', '.']).to_lowercase();
        let by = matches!(
            word.as_str(),
            "by" | "submitted"
                | "بقلم"
                | "كتب"
                | "كتبت"
                | "كتبه"
                | "إعداد"
                | "اعداد"
                | "بواسطة"
                | "von"
                | "par"
                | "por"
                | "автор"
        );
        // These begin sentences, too: "تقرير يكشف".
        let colon = text.split_whitespace().take(2).any(|w| w.ends_with(':'));
        let by = by || colon && matches!(word.as_str(), "تقرير" | "حوار" | "تحقيق" | "الكاتب" | "الكاتبة");
        if (6..=LINE_CHARS_MAX).contains(&count) && by && names::has_prefix(&text) {
            let found = in_byline(tree, site, at);
            if !found.is_empty() && found.iter().all(|a| a.name.contains(' ')) {
                return found;
            }
        }
    }
    Vec::new()
}

/// The text with a bar where a block or a time begins, so that a date beside a name is not part of it.
fn lines(tree: &Tree, at: usize) -> String {
    let mut out = String::new();
    let mut n = at;
    while n < tree.end(at) {
        let name = tree.name(n);
        if matches!(name, "time" | "figure" | "img" | "button") {
            out.push('|');
            n = tree.end(n);
            continue;
        }
        if matches!(name, "div" | "p" | "li" | "br" | "ul" | "section" | "header" | "h1" | "h2" | "h3" | "h4") {
            out.push('|');
        }
        out.push_str(tree.own_text(n).unwrap_or_default());
        n += 1;
    }
    // "By" may stand in a block of its own.
    let parts: Vec<String> = out.split('|').map(squeeze).filter(|p| !p.is_empty()).collect();
    parts.join("|")
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Name,
    Byline,
    Author,
    Link,
}

fn byline_kind(tree: &Tree, at: usize) -> Option<Kind> {
    if !tree.is_element(at) || matches!(tree.name(at), "body" | "html" | "img" | "article" | "main" | "meta" | "link")
    {
        return None;
    }
    let mut kind = None;
    for key in ["class", "id", "data-testid", "data-test", "data-component", "data-qa", "data-tb-author"] {
        let Some(value) = tree.attr(at, key) else { continue };
        let value = value.to_ascii_lowercase();
        if value.contains("author-name")
            || value.contains("author_name")
            || value.contains("authorname")
            || value.contains("author__name")
            || value.contains("byline-name")
            || value.contains("byline__name")
        {
            return Some(Kind::Name);
        }
        if value.contains("byline") || value.contains("by-line") || value.contains("writer") {
            kind = Some(Kind::Byline);
        } else if kind.is_none() && value.contains("author") && !value.contains("authority") {
            kind = Some(Kind::Author);
        }
    }
    let leads = || tree.name(at) == "a" && tree.attr(at, "href").is_some_and(leads_to_person);
    kind.or_else(|| leads().then_some(Kind::Link))
}

fn leads_to_person(href: &str) -> bool {
    const PLACES: &[&str] = &[
        "/author",
        "/people/",
        "/person/",
        "/staff/",
        "/profile/",
        "/profiles/",
        "/writer",
        "/contributor",
        "/by/",
        "/journalist",
        "/reporter",
        "/columnist",
        "/team/",
        "/creators/",
    ];
    let href = href.to_ascii_lowercase();
    PLACES.iter().any(|p| href.contains(p)) || href.contains("author=")
}
