//! The smaller facts: pictures, section, tags, lead, address.

use serde_json::Value;
use url::Url;

use super::html::Tree;
use super::linked::{self, Linked};
use super::meta::Meta;
use super::rules::Rules;
use super::site::{Site, fold};

const IMAGES_MAX: usize = 50;
const TAGS_MAX: usize = 50;
const TAG_CHARS_MAX: usize = 80;
const LEAD_CHARS_MAX: usize = 1000;

/// Makes an address whole; none when it is none.
pub(super) fn absolute(base: &str, address: &str) -> Option<String> {
    let address = address.trim();
    if address.is_empty() || address.starts_with("data:") || address.starts_with("javascript:") {
        return None;
    }
    let url = Url::parse(address).or_else(|_| Url::parse(base).and_then(|b| b.join(address))).ok()?;
    matches!(url.scheme(), "http" | "https").then(|| url.to_string())
}

/// The address that the page gives itself. One that leads to another site or to a front page is a mistake.
pub(super) fn canonical(tree: &Tree, meta: &Meta, url: &str) -> Option<String> {
    let is = |n: usize| {
        tree.attr(n, "rel").is_some_and(|r| r.split_ascii_whitespace().any(|r| r.eq_ignore_ascii_case("canonical")))
    };
    let links = tree.named("link").filter(|&n| is(n)).filter_map(|n| tree.attr(n, "href"));
    let told = links.chain(meta.first(&["og:url"]));
    let page = Url::parse(url).ok();
    told.filter_map(|address| absolute(url, address)).find(|found| {
        let Ok(found) = Url::parse(found) else { return false };
        let Some(page) = &page else { return true };
        let front = found.path().trim_matches('/').is_empty() && !page.path().trim_matches('/').is_empty();
        same_site(found.host_str(), page.host_str()) && !front
    })
}

fn same_site(one: Option<&str>, other: Option<&str>) -> bool {
    let domain = |host: &str| {
        let labels: Vec<&str> = host.split('.').collect();
        let two = labels.len().saturating_sub(2);
        let short = labels.len() >= 3 && labels[two].len() <= 3 && labels[labels.len() - 1].len() == 2;
        labels[if short { two - 1 } else { two }..].join(".")
    };
    matches!((one, other), (Some(a), Some(b)) if domain(a) == domain(b))
}

/// The picture that stands for the article.
pub(super) fn image(tree: &Tree, meta: &Meta, linked: &Linked, rules: &Rules, url: &str) -> Option<String> {
    let ruled = rules.image.as_ref().and_then(|s| s.values(tree).into_iter().find_map(|v| absolute(url, &v)));
    let of_article =
        || linked.article_values(&["image", "thumbnailUrl"]).into_iter().find_map(|v| absolute(url, &picture(v)?));
    let of_head = || {
        meta.first(&[
            "og:image",
            "og:image:url",
            "og:image:secure_url",
            "twitter:image",
            "twitter:image:src",
            "parsely-image-url",
            "thumbnail",
        ])
    };
    ruled.or_else(|| of_head().and_then(|v| absolute(url, v))).or_else(of_article)
}

fn picture(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Object(o) => ["url", "contentUrl", "@id"].iter().find_map(|k| o.get(*k)?.as_str().map(str::to_owned)),
        _ => None,
    }
}

/// The pictures inside the body, in their order, by their best known address.
pub(super) fn images(tree: &Tree, root: Option<usize>, url: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let Some(root) = root else { return found };
    for at in tree.subtree(root).filter(|&n| matches!(tree.name(n), "img" | "amp-img")) {
        let small = ["width", "height"]
            .iter()
            .any(|k| tree.attr(at, k).and_then(|v| v.parse::<u32>().ok()).is_some_and(|v| v < 60));
        // Pictures that load late keep their address elsewhere.
        let address = ["data-src", "data-lazy-src", "data-original", "src"]
            .iter()
            .find_map(|k| absolute(url, tree.attr(at, k)?));
        if let Some(address) = address.filter(|_| !small)
            && !found.contains(&address)
            && found.len() < IMAGES_MAX
        {
            found.push(address);
        }
    }
    found
}

/// The section: the innermost that the page names.
pub(super) fn section(tree: &Tree, meta: &Meta, linked: &Linked, rules: &Rules) -> Option<String> {
    let ruled = rules.section.as_ref().and_then(|s| s.values(tree).into_iter().next());
    ruled
        .or_else(|| linked.article_values(&["articleSection"]).into_iter().find_map(linked::text))
        .or_else(|| {
            meta.first(&[
                "article:section",
                "og:article:section",
                "parsely-section",
                "section",
                "category",
                "dc.subject",
            ])
            .map(str::to_owned)
        })
        .or_else(|| {
            let is = |n: &usize| tree.attr(*n, "itemprop").is_some_and(|p| p.eq_ignore_ascii_case("articleSection"));
            tree.elements().find(is).map(|n| tree.attr(n, "content").map_or_else(|| tree.text(n), str::to_owned))
        })
        .filter(|s| !s.is_empty() && s.chars().count() <= TAG_CHARS_MAX)
}

/// Tags, in the order of the page, each once.
pub(super) fn tags(tree: &Tree, meta: &Meta, linked: &Linked, site: &Site) -> Vec<String> {
    let mut raw: Vec<String> = linked.article_values(&["keywords"]).into_iter().filter_map(linked::text).collect();
    raw.extend(meta.all("article:tag").iter().cloned());
    if raw.is_empty() {
        raw.extend(
            ["news_keywords", "keywords", "parsely-tags", "sailthru.tags"]
                .iter()
                .find_map(|n| meta.first(&[n]))
                .map(str::to_owned),
        );
    }
    if raw.is_empty() {
        let is = |n: usize| {
            tree.name(n) == "a" && tree.attr(n, "rel").is_some_and(|r| r.split_ascii_whitespace().any(|r| r == "tag"))
        };
        raw.extend(tree.elements().filter(|&n| is(n)).map(|n| tree.text(n)));
    }
    let mut tags: Vec<String> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for tag in raw.iter().flat_map(|list| list.split([',', '،', ';', '؛', '|'])) {
        let tag = super::html::squeeze(tag.trim().trim_start_matches('#'));
        if tags.len() >= TAGS_MAX {
            break;
        }
        // Prefixes like "type:story" are the machine's.
        let fits = !tag.is_empty() && tag.chars().count() <= TAG_CHARS_MAX && !tag.contains(':');
        if fits && !site.is(&tag) && seen.insert(fold(&tag)) {
            tags.push(tag);
        }
    }
    tags
}

/// All descriptions that the page gives of its article.
pub(super) fn leads(meta: &Meta, linked: &Linked) -> Vec<String> {
    let told = ["og:description", "description", "twitter:description", "dc.description"];
    let told = told.iter().filter_map(|n| meta.first(&[n])).map(str::to_owned);
    told.chain(linked.article_text(&["description", "alternativeHeadline"]))
        .chain(linked.article_text(&["alternativeHeadline"]))
        .collect()
}

/// The description that the page gives of its article.
pub(super) fn lead(meta: &Meta, linked: &Linked, title: Option<&str>) -> Option<String> {
    let told =
        meta.first(&["og:description", "description", "twitter:description", "dc.description"]).map(str::to_owned);
    told.or_else(|| linked.article_text(&["description"])).filter(|l| {
        let count = l.chars().count();
        (20..=LEAD_CHARS_MAX).contains(&count) && Some(fold(l)) != title.map(fold)
    })
}

/// Whether the page asks not to be indexed.
pub(super) fn noindex(meta: &Meta) -> bool {
    let robots = meta.all("robots").iter().chain(meta.all("googlebot"));
    robots
        .flat_map(|v| v.split([',', ' ']))
        .any(|word| matches!(word.trim().to_ascii_lowercase().as_str(), "noindex" | "none"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::html::parse;

    #[test]
    fn a_canonical_address_of_another_site_is_a_mistake() {
        let of = |href: &str| {
            let html = format!("<link rel=canonical href='{href}'>");
            let page = parse(&html);
            canonical(&page.tree, &Meta::read(&page.tree), "https://www.n.test/a?utm=1")
        };
        assert_eq!(of("/a").as_deref(), Some("https://www.n.test/a"));
        assert_eq!(of("https://n.test/a").as_deref(), Some("https://n.test/a"));
        assert_eq!(of("https://other.example/a"), None);
        assert_eq!(of("https://www.n.test/"), None);
    }

    #[test]
    fn tags_are_split_and_told_once() {
        let page = parse("<meta name=keywords content='Rain, rain، مطر; type:story'>");
        let meta = Meta::read(&page.tree);
        assert_eq!(tags(&page.tree, &meta, &Linked::default(), &Site::default()), ["Rain", "مطر"]);
    }
}
