//! The title as the page shows it, without the site's name.

use super::html::Tree;
use super::linked::Linked;
use super::meta::Meta;
use super::site::{Site, fold};

/// Longer headings are paragraphs in disguise.
const TITLE_CHARS_MAX: usize = 300;

/// What the page calls itself in its head, as it stands there: title, OpenGraph, Twitter.
pub(super) fn named(tree: &Tree, meta: &Meta) -> Vec<String> {
    let mut titles: Vec<String> = Vec::new();
    let names = [
        "og:title",
        "twitter:title",
        "title",
        "dc.title",
        "parsely-title",
        "sailthru.title",
        "headline",
        "citation_title",
    ];
    titles.extend(names.iter().filter_map(|n| meta.first(&[n])).map(str::to_owned));
    titles.extend(tree.named("title").map(|n| tree.text(n)).filter(|t| !t.is_empty()));
    titles
}

/// Where the title stands on the page: what is above is the site's, what is right below is the byline.
pub(super) fn place(tree: &Tree, title: Option<&str>) -> usize {
    let h1 = || tree.named("h1").next();
    let Some(title) = title.map(fold).filter(|t| !t.is_empty()) else { return h1().unwrap_or(0) };
    let is_title = |n: &usize| tree.end(*n) - *n < 12 && fold(&tree.text(*n)).contains(&title);
    let small = |n: &usize| !matches!(tree.name(*n), "" | "title" | "a" | "option");
    let exact = |n: &usize| small(n) && tree.end(*n) - *n < 12 && fold(&tree.text(*n)) == title;
    tree.named("h1").find(is_title).or_else(|| tree.elements().find(exact)).or_else(h1).unwrap_or(0)
}

/// The title: the heading that the head of the page confirms, else what the head says.
pub(super) fn title(tree: &Tree, meta: &Meta, linked: &Linked, site: &Site) -> Option<String> {
    let headline = linked.article_text(&["headline", "name"]);
    let mut told: Vec<String> = Vec::new();
    told.extend(meta.first(&["og:title"]).map(|t| strip(t, site)));
    told.extend(headline.as_deref().map(|t| strip(t, site)));
    told.extend(meta.first(&["twitter:title"]).map(|t| strip(t, site)));
    told.extend(tree.named("title").map(|n| strip(&tree.text(n), site)).find(|t| !t.is_empty()));
    told.extend(meta.first(&["title", "dc.title", "headline", "parsely-title"]).map(|t| strip(t, site)));
    told.retain(|t| !t.is_empty() && !site.is(t) && t.chars().count() <= TITLE_CHARS_MAX);

    let mut best: Option<(f32, String)> = None;
    let headings = headings(tree);
    let alone = headings.iter().filter(|&&n| tree.name(n) == "h1").count() == 1;
    for (rank, at) in headings.into_iter().enumerate() {
        let text = tree.text(at);
        let length = text.chars().count();
        if !(4..=TITLE_CHARS_MAX).contains(&length) || site.is(&text) {
            continue;
        }
        let alike = told.iter().map(|t| alike(&text, t)).fold(0.0, f32::max);
        let h1 = tree.name(at) == "h1";
        let marked = is_marked(tree, at);
        let words = text.split_whitespace().count();
        let lonely = h1 && (marked && length > 20 && words > 1 || alone && words > 3);
        let points = alike + if h1 { 0.2 } else { 0.0 } + if marked { 0.15 } else { 0.0 } - rank as f32 * 0.01;
        let good = if h1 { alike >= 0.4 || lonely || told.is_empty() } else { alike >= 0.75 };
        if good && best.as_ref().is_none_or(|(most, _)| points > *most) {
            best = Some((points, text));
        }
    }
    let found = best.map(|(_, text)| strip_site_only(&text, site));
    found.or_else(|| shown_part(tree, &told)).or_else(|| told.into_iter().next())
}

/// On a page without headings: the part of its title between bars or dashes that stands on the page by itself.
fn shown_part(tree: &Tree, told: &[String]) -> Option<String> {
    let mut parts: Vec<&str> = told
        .iter()
        .flat_map(|t| t.split(['|', '»', '«', '•', '·', '-', '–', '—']))
        .flat_map(|t| t.split("::"))
        .map(str::trim)
        .collect();
    parts.retain(|p| p.split_whitespace().count() >= 3);
    let parts: Vec<(String, &str)> = parts.into_iter().map(|p| (fold(p), p)).collect();
    let shown =
        tree.elements().filter(|&n| !matches!(tree.name(n), "title" | "a" | "html" | "head") && tree.end(n) - n < 6);
    let texts = shown.map(|n| tree.text(n)).filter(|t| t.chars().count() <= TITLE_CHARS_MAX).map(|t| fold(&t));
    let known: std::collections::HashSet<String> = texts.collect();
    parts
        .into_iter()
        .filter(|(folded, _)| known.contains(folded))
        .max_by_key(|(folded, _)| folded.chars().count())
        .map(|(_, part)| part.to_owned())
}

/// Headings that can be titles: all of first rank, and of second rank when marked as one.
fn headings(tree: &Tree) -> Vec<usize> {
    let aside = |at: usize| tree.ancestors(at).any(|n| matches!(tree.name(n), "nav" | "footer" | "aside"));
    tree.elements()
        .filter(|&n| match tree.name(n) {
            "h1" => true,
            "h2" => true,
            "h3" | "div" | "p" | "span" => is_marked(tree, n),
            _ => false,
        })
        .filter(|&n| !aside(n))
        .take(80)
        .collect()
}

fn is_marked(tree: &Tree, at: usize) -> bool {
    let words = |key: &str| {
        tree.attr(at, key).is_some_and(|v| {
            let v = v.to_ascii_lowercase();
            v.contains("headline") || v.contains("title") && !v.contains("subtitle") && !v.contains("sub-title")
        })
    };
    words("class") || words("id") || tree.attr(at, "itemprop").is_some_and(|v| v.contains("headline") || v == "name")
}

/// How much of the shorter text's words the other has, scaled down when much is left over.
fn alike(one: &str, other: &str) -> f32 {
    let words = |t: &str| t.split_whitespace().map(fold).filter(|w| !w.is_empty()).collect::<Vec<_>>();
    let (a, b) = (words(one), words(other));
    if a.is_empty() || b.is_empty() {
        return 0.0;
    }
    let common = a.iter().filter(|w| b.contains(w)).count() as f32;
    let (short, long) = (a.len().min(b.len()) as f32, a.len().max(b.len()) as f32);
    (common / short).min(1.0) * 0.7 + (common / long).min(1.0) * 0.3
}

const BARS: &[&str] = &[" | ", " :: ", " » ", " « ", " • ", " · ", " ― ", " ‹ ", "|"];
const DASHES: &[&str] = &[" - ", " – ", " — ", " -", "- "];

/// Cuts the site's name, and sections between bars, off both ends.
pub(super) fn strip(title: &str, site: &Site) -> String {
    let mut text = strip_site_only(title, site);
    // Behind a bar stands a section or a site; the title itself is the longest part before the last bar.
    for &bar in BARS {
        while let Some((head, tail)) = text.rsplit_once(bar) {
            let (head, tail) = (head.trim(), tail.trim());
            let short = tail.split_whitespace().count() <= 5;
            if short && head.split_whitespace().count() >= 3 {
                text = head.to_owned();
            } else {
                break;
            }
        }
    }
    strip_site_only(&text, site)
}

/// Cuts off only what is surely the site's name.
fn strip_site_only(title: &str, site: &Site) -> String {
    let mut text = title.trim().to_owned();
    'again: loop {
        for separator in BARS.iter().chain(DASHES) {
            if let Some((head, tail)) = text.rsplit_once(separator)
                && !head.trim().is_empty()
                && (site.is(tail) || (tail.split_whitespace().count() <= 4 && site.is_like(tail)))
            {
                text = head.trim().to_owned();
                continue 'again;
            }
            if let Some((head, tail)) = text.split_once(separator)
                && !tail.trim().is_empty()
                && site.is(head)
            {
                text = tail.trim().to_owned();
                continue 'again;
            }
        }
        if let Some((head, tail)) = text.split_once(": ")
            && site.is(head)
            && tail.split_whitespace().count() > 3
        {
            text = tail.trim().to_owned();
            continue 'again;
        }
        return text;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::html::parse;

    fn of(html: &str) -> Option<String> {
        let page = parse(html);
        let meta = Meta::read(&page.tree);
        let linked = Linked::read(&page.json_ld, "https://www.example-times.test/a", &named(&page.tree, &meta));
        let site = Site::read("https://www.example-times.test/a", &page.tree, &meta, &linked, &[]);
        title(&page.tree, &meta, &linked, &site)
    }

    #[test]
    fn the_heading_that_the_head_confirms_is_the_title() {
        let html = "<title>Rain falls on dry land | Weather | Example Times</title><h1>Example Times</h1>\
                    <h1>Rain falls on dry land</h1><h1>More news</h1>";
        assert_eq!(of(html).as_deref(), Some("Rain falls on dry land"));
    }

    #[test]
    fn the_sites_name_is_cut_off_at_either_end() {
        for title in [
            "Rain falls on dry land - Example Times",
            "Example Times: Rain falls on dry land",
            "Example Times | Rain falls on dry land",
        ] {
            let html = format!("<meta property=og:site_name content='Example Times'><title>{title}</title>");
            assert_eq!(of(&html).as_deref(), Some("Rain falls on dry land"), "{title}");
        }
    }

    #[test]
    fn a_dash_of_the_titles_own_stays() {
        let html = "<meta property=og:title content='Rain - at last - falls'>";
        assert_eq!(of(html).as_deref(), Some("Rain - at last - falls"));
    }

    #[test]
    fn an_arabic_title_loses_its_affix() {
        let html =
            "<meta property=og:site_name content='صحيفة الغد'><title>الأمطار تعود إلى الجنوب - صحيفة الغد</title>";
        assert_eq!(of(html).as_deref(), Some("الأمطار تعود إلى الجنوب"));
    }

    #[test]
    fn a_page_without_any_title_has_none() {
        assert_eq!(of("<p>text"), None);
    }
}
