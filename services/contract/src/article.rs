//! Articles: what they are, and that they changed or went away.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Flawed, Origin, canonical};

/// What an article says. Two states with equal content are one state, whenever and however they were fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Article {
    /// The headline, without the site's name.
    pub title: String,
    /// The text: paragraphs with an empty line between them.
    pub body: String,
    /// Who wrote it, in the page's order.
    pub authors: Vec<Byline>,
    /// When it was published, as the page says: RFC 3339, or only a date.
    pub published_at: Option<String>,
    /// When it was last changed, as the page says.
    pub modified_at: Option<String>,
    /// The part of the site it stands in.
    pub section: Option<String>,
    /// The address that the page gives as its own.
    pub canonical_url: Option<String>,
    /// Its pictures, the first one first.
    pub images: Vec<String>,
}

/// One name under a headline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Byline {
    /// The name as it is written there.
    pub name: String,
    /// The author's page.
    pub url: Option<String>,
}

impl Article {
    /// BLAKE3 of the canonical JSON (RFC 8785) of all of it, as 64 hexadecimal digits.
    pub fn content_hash(&self) -> String {
        let value = serde_json::to_value(self).expect("strings and lists are JSON");
        blake3::hash(canonical(&value).as_bytes()).to_hex().to_string()
    }
}

/// An article is new, or has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArticleUpserted {
    #[allow(missing_docs)]
    #[serde(flatten)]
    pub origin: Origin,
    /// All of its content: whoever has the highest version needs no other.
    pub article: Article,
    /// Its first sentences, for lists.
    pub lead: Option<String>,
    /// Of the text, as a code such as `ar`.
    pub language: Option<String>,
    /// What the site files it under.
    pub tags: Vec<String>,
}

impl ArticleUpserted {
    /// The event's type.
    pub const TYPE: &str = "article.upserted";

    /// Whether content and hash belong together.
    pub fn check(&self) -> Result<(), Flawed> {
        self.origin.check()?;
        let is = self.article.content_hash();
        if is != self.origin.content_hash {
            return Err(Flawed::OtherContent { said: self.origin.content_hash.clone(), is });
        }
        Ok(())
    }
}

/// An article is no longer there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArticleDeleted {
    #[allow(missing_docs)]
    #[serde(flatten)]
    pub origin: Origin,
    /// How we know.
    pub reason: Removal,
}

impl ArticleDeleted {
    /// The event's type.
    pub const TYPE: &str = "article.deleted";

    /// Whether it says what it is about.
    pub fn check(&self) -> Result<(), Flawed> {
        self.origin.check()
    }
}

/// Why an article went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Removal {
    /// The site says that it is gone for good.
    #[serde(rename = "gone_410")]
    Gone,
    /// It was not found again and again, for days.
    NotFound,
    /// It stands at another address now, as an article of its own.
    Moved,
    /// Somebody has the right to demand it.
    Takedown,
    /// Its source is no longer read.
    SourceRemoved,
}

impl Removal {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone_410",
            Self::NotFound => "not_found",
            Self::Moved => "moved",
            Self::Takedown => "takedown",
            Self::SourceRemoved => "source_removed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn article() -> Article {
        Article {
            title: "عاجل \u{1F600}".to_owned(),
            body: "one\n\ntwo \"quoted\" \u{7f}\u{1}".to_owned(),
            authors: vec![Byline { name: "سلمى".to_owned(), url: None }],
            ..Article::default()
        }
    }

    #[test]
    fn the_hash_is_of_exactly_these_bytes() {
        // Computed by hand from RFC 8785: names in order, nothing between them, only what must be is escaped.
        let bytes = "{\"authors\":[{\"name\":\"سلمى\",\"url\":null}],\"body\":\"one\\n\\ntwo \\\"quoted\\\" \u{7f}\\u0001\",\
                     \"canonical_url\":null,\"images\":[],\"modified_at\":null,\"published_at\":null,\"section\":null,\
                     \"title\":\"عاجل \u{1F600}\"}";
        assert_eq!(article().content_hash(), blake3::hash(bytes.as_bytes()).to_hex().to_string());
    }

    #[test]
    fn a_hash_that_is_not_its_contents_is_refused() {
        let mut event = ArticleUpserted {
            origin: Origin {
                source_url: "https://example.org/a".to_owned(),
                source_name: "example".to_owned(),
                version: 1,
                content_hash: article().content_hash(),
                raw_hash: String::new(),
                discovered_at: "2026-01-01T00:00:00Z".to_owned(),
                fetched_at: "2026-01-01T00:00:00Z".to_owned(),
                published_at: None,
                scraper_version: "0".to_owned(),
            },
            article: article(),
            lead: None,
            language: Some("ar".to_owned()),
            tags: vec![],
        };
        event.check().expect("as it should be");
        event.article.body.push('!');
        assert!(matches!(event.check(), Err(Flawed::OtherContent { .. })));
        event.origin.source_url = String::new();
        assert!(matches!(event.check(), Err(Flawed::NoAddress(_))));
    }

    #[test]
    fn a_removals_name_is_the_one_on_the_wire() {
        for reason in [Removal::Gone, Removal::NotFound, Removal::Moved, Removal::Takedown, Removal::SourceRemoved] {
            assert_eq!(serde_json::to_value(reason).expect("a string"), reason.as_str());
        }
    }
}
