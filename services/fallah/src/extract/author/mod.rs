//! Who wrote the article, by the first source that names a person.

mod byline;

use serde_json::Value;

use super::hints::is_elsewhere;
use super::html::Tree;
use super::linked::{self, Linked};
use super::meta::Meta;
use super::names::{self, people};
use super::rules::Rules;
use super::site::{Site, fold};
use byline::{BYLINES_MAX, from_bylines, helped};

/// A person who wrote an article.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Author {
    /// The name as the page writes it.
    pub name: String,
    /// The person's page, where there is one.
    pub url: Option<String>,
}

const BYLINE_CHARS_MAX: usize = 300;

/// The authors in the order of the byline; none rather than an invented one.
pub(super) fn authors(
    tree: &Tree,
    meta: &Meta,
    linked: &Linked,
    site: &Site,
    rules: &Rules,
    title: usize,
) -> Vec<Author> {
    let sources: [&dyn Fn() -> Vec<Author>; 7] = [
        &|| {
            rules
                .authors
                .as_ref()
                .map(|s| s.values(tree).iter().flat_map(|v| named(v, site)).collect())
                .unwrap_or_default()
        },
        &|| from_linked(&linked.article_values(&["author", "creator"]), site),
        &|| {
            let told = from_meta(meta, site);
            if told.is_empty() || is_shown(tree, &told) {
                return told;
            }
            // A name in the head that readers never see is often who runs the site; a byline they see is better.
            let seen = from_links(tree, site, title);
            if seen.iter().any(|a| a.name.contains(' ')) { seen } else { told }
        },
        &|| from_links(tree, site, title),
        &|| from_bylines(tree, site, title),
        &|| from_linked(&linked.page_values(&["author", "creator"]), site),
        &|| {
            // A person with a page on the site wrote for it; others are who the article is about.
            let mut one = linked.only_of_kind("Person");
            let own = |url: &str| ["author", "writer", "contributor", "journalist"].iter().any(|w| url.contains(w));
            one.retain(|p| p.get("url").and_then(Value::as_str).is_some_and(own));
            from_linked(&one, site)
        },
    ];
    let mut found = sources.iter().map(|source| source()).find(|authors| !authors.is_empty()).unwrap_or_default();
    let mut seen = Vec::new();
    found.retain(|a| {
        let name = fold(&a.name);
        let new = !seen.contains(&name);
        seen.push(name);
        new
    });
    found.truncate(names::AUTHORS_MAX);
    found
}

/// Whether readers see one of the names.
fn is_shown(tree: &Tree, authors: &[Author]) -> bool {
    let names: Vec<String> = authors.iter().map(|a| fold(&a.name)).collect();
    tree.elements()
        .filter(|&n| tree.end(n) - n < 12 && !matches!(tree.name(n), "title" | "meta" | "link" | "head"))
        .any(|n| {
            let text = fold(&tree.text(n));
            names.iter().any(|name| text.contains(name.as_str()))
        })
}

fn named(text: &str, site: &Site) -> Vec<Author> {
    people(text, site).into_iter().map(|name| Author { name, url: None }).collect()
}

fn from_linked(values: &[&Value], site: &Site) -> Vec<Author> {
    let mut authors = Vec::new();
    for value in values {
        let of_site = linked::kinds(value).any(|k| k.ends_with("Organization") || k == "Corporation" || k == "Brand");
        let name = match value {
            Value::Object(o) => o
                .get("name")
                .and_then(|n| match n {
                    // Names in a list are names of several people.
                    Value::Array(names) => Some(names.iter().filter_map(linked::text).collect::<Vec<_>>().join("; ")),
                    one => linked::text(one),
                })
                .or_else(|| {
                    let part = |k: &str| o.get(k).and_then(linked::text);
                    Some(format!("{} {}", part("givenName")?, part("familyName")?))
                }),
            other => linked::text(other),
        };
        let Some(name) = name else { continue };
        if of_site && (site.is_like(&name) || name.split_whitespace().count() < 2) {
            continue;
        }
        let names = people(&name, site);
        let url = value
            .get("url")
            .or_else(|| value.get("sameAs"))
            .and_then(linked::text)
            .filter(|u| u.starts_with("http") && names.len() == 1);
        authors.extend(names.into_iter().map(|name| Author { name, url: url.clone() }));
    }
    authors
}

fn from_meta(meta: &Meta, site: &Site) -> Vec<Author> {
    const NAMES: &[&str] = &[
        "article:author",
        "author",
        "parsely-author",
        "sailthru.author",
        "byl",
        "dc.creator",
        "dcterms.creator",
        "article:author_name",
        "article.author",
        "citation_author",
        "cxenseparse:author",
        "og:article:author",
        "byline",
        "dc.contributor",
        "og:author",
    ];
    let listed = NAMES.iter().map(|name| meta.all(name).iter().flat_map(|v| named(v, site)).collect::<Vec<_>>());
    if let Some(found) = listed.into_iter().find(|f| !f.is_empty()) {
        return found;
    }
    // A card of two labelled facts, as a widespread plugin writes it: "Written by", then the name.
    for n in ["1", "2"] {
        let label = meta.first(&[&format!("twitter:label{n}")]).unwrap_or_default().to_lowercase();
        if ["written by", "author", "by", "كُتب بواسطة", "كتب بواسطة", "verfasst von", "écrit par", "escrito por"]
            .contains(&label.as_str())
        {
            return meta.first(&[&format!("twitter:data{n}")]).map(|v| named(v, site)).unwrap_or_default();
        }
    }
    Vec::new()
}

/// Links that say they lead to the author, as the markup of pages has it since long.
fn from_links(tree: &Tree, site: &Site, title: usize) -> Vec<Author> {
    let mut groups: Vec<(usize, Vec<Author>)> = Vec::new();
    for at in tree.elements() {
        let rel = tree.attr(at, "rel").is_some_and(|r| r.split_ascii_whitespace().any(|r| r == "author"));
        let prop = tree
            .attr(at, "itemprop")
            .is_some_and(|p| p.split_ascii_whitespace().any(|p| p == "author" || p == "creator"));
        if !(rel || prop) || is_elsewhere(tree, at) || helped(tree, at) {
            continue;
        }
        let name = tree.subtree(at).find(|&n| n != at && tree.attr(n, "itemprop") == Some("name"));
        let text = match name {
            Some(n) => tree.attr(n, "content").map_or_else(|| tree.text(n), str::to_owned),
            None => tree.attr(at, "content").map_or_else(|| tree.text(at), str::to_owned),
        };
        if text.chars().count() > BYLINE_CHARS_MAX {
            continue;
        }
        let href = tree.attr(at, "href").or_else(|| tree.subtree(at).find_map(|n| tree.attr(n, "href")));
        let mut found = named(&text, site);
        if let [one] = found.as_mut_slice() {
            one.url = href.map(str::to_owned);
        }
        if !found.is_empty() {
            groups.push((at, found));
        }
        if groups.len() >= BYLINES_MAX {
            break;
        }
    }
    neighbours(tree, groups, title)
}

/// Authors whose elements stand together belong to one byline; those further down are other articles' or biographies.
fn neighbours(tree: &Tree, groups: Vec<(usize, Vec<Author>)>, title: usize) -> Vec<Author> {
    let Some((first, _)) = groups.first() else { return Vec::new() };
    // The byline behind the title counts more than one before it, in a menu of columnists.
    let start = groups.iter().position(|(at, _)| *at > title).unwrap_or(0);
    let first = groups.get(start).map_or(*first, |(at, _)| *at);
    let near = |at: usize| {
        let up: Vec<usize> = tree.ancestors(first).take(4).collect();
        tree.ancestors(at).take(5).any(|n| up.contains(&n)) && at < first + 120
    };
    groups.into_iter().skip(start).filter(|(at, _)| near(*at)).flat_map(|(_, authors)| authors).collect()
}
