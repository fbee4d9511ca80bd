//! What a page says about itself in `<meta>` tags.

use std::collections::HashMap;

use super::html::{Tree, entities::unescape, squeeze};

/// So many values of one name are kept.
const VALUES_MAX: usize = 32;
/// So many tags are read.
const TAGS_MAX: usize = 2000;

/// The `<meta>` tags of a page, by lower-case name.
#[derive(Default)]
pub(super) struct Meta(HashMap<String, Vec<String>>);

impl Meta {
    pub(super) fn read(tree: &Tree) -> Self {
        let mut all: HashMap<String, Vec<String>> = HashMap::new();
        for at in tree.named("meta").take(TAGS_MAX) {
            let Some(content) = tree.attr(at, "content").or_else(|| tree.attr(at, "value")) else { continue };
            let content = squeeze(&unescape(content));
            // A template that was not filled in says nothing.
            if content.is_empty() || content.starts_with("{{") || content.starts_with("${") {
                continue;
            }
            for key in ["property", "name", "itemprop", "http-equiv"] {
                // Itemprops outside the head belong to pictures and to other articles.
                let nested = key == "itemprop" && tree.ancestors(at).any(|n| tree.has_attr(n, "itemprop"));
                if let Some(name) = tree.attr(at, key).filter(|_| !nested) {
                    let values = all.entry(name.to_ascii_lowercase()).or_default();
                    if values.len() < VALUES_MAX && !values.contains(&content) {
                        values.push(content.clone());
                    }
                }
            }
        }
        Meta(all)
    }

    /// The first value of the first of these names that the page has.
    pub(super) fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|n| self.0.get(*n)?.first()).map(String::as_str)
    }

    /// All values of one name.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::html::parse;

    #[test]
    fn names_are_read_in_any_case_and_under_any_attribute() {
        let page = parse(
            "<meta PROPERTY=OG:Title content='a &amp;amp; b'><meta itemprop=datePublished content=x><meta name=t content='{{x}}'>",
        );
        let meta = Meta::read(&page.tree);
        assert_eq!(meta.first(&["t", "og:title"]), Some("a & b"));
        assert_eq!(meta.first(&["datepublished"]), Some("x"));
    }
}
