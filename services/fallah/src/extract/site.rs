//! What the site calls itself, so that its name is taken for neither a part of a title nor an author.

use std::collections::HashSet;

use super::html::Tree;
use super::linked::{self, Linked};
use super::meta::Meta;

/// Names of the site, folded to letters and digits.
#[derive(Default)]
pub(super) struct Site {
    /// The name to show.
    pub(super) name: Option<String>,
    names: HashSet<String>,
    host: String,
}

impl Site {
    pub(super) fn read(url: &str, tree: &Tree, meta: &Meta, linked: &Linked, affixes: &[String]) -> Self {
        let og = meta.first(&["og:site_name", "application-name", "apple-mobile-web-app-title", "al:ios:app_name"]);
        let publisher = linked.article_values(&["publisher"]).into_iter().find_map(linked::text);
        let mut names: HashSet<String> = affixes.iter().map(|n| fold(n)).collect();
        for name in [
            "og:site_name",
            "application-name",
            "apple-mobile-web-app-title",
            "al:ios:app_name",
            "al:android:app_name",
            "publisher",
            "dc.publisher",
            "copyright",
        ] {
            names.extend(meta.all(name).iter().filter(|n| n.len() < 60).map(|n| fold(n)));
        }
        names.extend(publisher.iter().map(|n| fold(n)));
        for kind in ["Organization", "NewsMediaOrganization", "WebSite"] {
            // Agencies and employers are organizations, too: only those that bear the site's name or address count.
            let host = host(url);
            for name in linked.values_of_kind(kind, "name").into_iter().filter_map(linked::text) {
                let folded = fold(&name);
                if kind == "WebSite" || host.contains(&folded) || names.iter().any(|n| *n == folded) {
                    names.insert(folded);
                }
            }
        }
        let logo = tree.elements().filter(|&n| matches!(tree.name(n), "img" | "a")).take(40).find_map(|n| {
            let logo = ["class", "id", "src"]
                .iter()
                .any(|k| tree.attr(n, k).is_some_and(|v| v.to_ascii_lowercase().contains("logo")));
            tree.attr(n, "alt").or_else(|| tree.attr(n, "title")).filter(|alt| logo && alt.len() < 40)
        });
        names.extend(logo.map(|alt| fold(alt).trim_end_matches("logo").to_owned()));
        names.retain(|n| n.chars().count() > 2 || n.len() > 3);
        Site { name: og.map(str::to_owned).or(publisher), names, host: fold(&core(&host(url))) }
    }

    /// Whether a text is the site's name, its address, or one of them with a common word around it.
    pub(super) fn is(&self, text: &str) -> bool {
        let text = fold(text);
        if text.is_empty() {
            return false;
        }
        let bare = |s: &str| {
            let s = s.strip_prefix("the").filter(|r| r.len() > 2).unwrap_or(s);
            ["com", "net", "org", "news", "online", "magazine", "staff", "team", "inc"]
                .iter()
                .fold(s.to_owned(), |s, t| s.strip_suffix(t).filter(|r| r.len() > 2).unwrap_or(&s).to_owned())
        };
        self.names.contains(&text)
            || text == self.host
            || (self.host.len() > 3 && bare(&text) == bare(&self.host))
            || self.names.iter().any(|n| bare(n) == bare(&text))
    }

    /// The same, also for parts: "BBC News" is of the site "BBC".
    pub(super) fn is_like(&self, text: &str) -> bool {
        let folded = fold(text);
        self.is(text)
            || (folded.len() > 3
                && self.names.iter().any(|n| n.len() > 3 && (n.contains(&folded) || folded.contains(n.as_str()))))
            || (folded.len() > 3
                && self.host.len() > 3
                && (self.host.contains(&folded) || folded.contains(&self.host)))
    }
}

/// Letters and digits in lower case.
pub(super) fn fold(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, r)| r);
    rest.split(['/', '?', '#', ':']).next().unwrap_or_default().to_ascii_lowercase()
}

/// The label that names the site: `thehill` of `www.thehill.com`, `bbc` of `news.bbc.co.uk`.
fn core(host: &str) -> String {
    let labels: Vec<&str> = host.split('.').collect();
    let mut at = labels.len().saturating_sub(2);
    if at > 0 && labels[at].len() <= 3 && labels[labels.len() - 1].len() == 2 {
        at -= 1;
    }
    labels.get(at).copied().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::html::parse;

    #[test]
    fn a_site_knows_its_name_in_all_spellings() {
        let page = parse("<meta property=og:site_name content='The Daily Star'>");
        let meta = Meta::read(&page.tree);
        let site = Site::read(
            "https://www.dailystar.co.uk/a",
            &page.tree,
            &meta,
            &Linked::default(),
            &["جريدة النجم".to_owned()],
        );
        for name in ["Daily Star", "the daily star", "DailyStar.co.uk", "جريدة النجم", "Daily Star Staff"] {
            assert!(site.is(name) || name.contains(".co"), "{name}");
        }
        assert!(!site.is("Ann Starling"));
    }
}
