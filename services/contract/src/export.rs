//! What the archive gives out: every version it has, one to a line.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{ArticleDeleted, ArticleUpserted, AuthorUpserted};

/// One line of an export in NDJSON: `{"type": "article.upserted", "ver": 1, "id": "...", "data": {...}}`, the event as it came.
///
/// Lines may stand in any order, and twice: the version says what is newer. What else a line says is left alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line<'a> {
    /// The event's type.
    #[serde(borrow)]
    pub r#type: Cow<'a, str>,
    /// The version of the payload's shape.
    #[serde(default = "first")]
    pub ver: u32,
    /// The event's id; a line from elsewhere may have none.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    /// The event's own payload.
    #[serde(borrow)]
    pub data: &'a RawValue,
}

fn first() -> u32 {
    1
}

/// What the last line of an export says: whoever has read as far as this has read all of it. Several exports one behind the other
/// have such a line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportEnd {
    /// Lines before it, those of other exports and empty ones left out.
    pub lines: u64,
    /// Versions that the archive names and could not read: they are missing.
    pub left_out: u64,
    /// The only source that it is of; none: it is of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// It has the current version of each page alone.
    pub current: bool,
}

impl ExportEnd {
    /// The type of such a line. No event has it.
    pub const TYPE: &str = "export.end";
}

/// An event of any of our types. Written as JSON it is a [`Line`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", content = "data")]
#[allow(clippy::large_enum_variant, reason = "nearly all are of the large one")]
pub enum Export {
    #[allow(missing_docs)]
    #[serde(rename = "article.upserted")]
    ArticleUpserted(ArticleUpserted),
    #[allow(missing_docs)]
    #[serde(rename = "article.deleted")]
    ArticleDeleted(ArticleDeleted),
    #[allow(missing_docs)]
    #[serde(rename = "author.upserted")]
    AuthorUpserted(AuthorUpserted),
}

impl Export {
    /// The event's type.
    pub fn r#type(&self) -> &'static str {
        match self {
            Self::ArticleUpserted(_) => ArticleUpserted::TYPE,
            Self::ArticleDeleted(_) => ArticleDeleted::TYPE,
            Self::AuthorUpserted(_) => AuthorUpserted::TYPE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Author, Origin};

    #[test]
    fn a_line_says_its_type_and_the_events_payload() {
        let author = Author { name: "سلمى".to_owned(), url: None };
        let origin = Origin {
            source_url: "urn:author:daily:سلمي".to_owned(),
            source_name: "daily".to_owned(),
            version: 1,
            content_hash: author.content_hash(),
            raw_hash: String::new(),
            discovered_at: "2026-01-01T00:00:00Z".to_owned(),
            fetched_at: "2026-01-01T00:00:00Z".to_owned(),
            published_at: None,
            scraper_version: "0".to_owned(),
        };
        let line = Export::AuthorUpserted(AuthorUpserted { origin, author });
        let mut json = serde_json::to_value(&line).expect("JSON");
        assert_eq!(json["type"], line.r#type());
        assert_eq!(json["data"]["author"]["name"], "سلمى");
        json["archived_at"] = "2026-01-02T00:00:00Z".into();
        let text = json.to_string();
        let read: Line<'_> = serde_json::from_str(&text).expect("a line");
        assert_eq!((&*read.r#type, read.ver, read.id), (line.r#type(), 1, None));
        assert_eq!(serde_json::from_value::<Export>(json).expect("an event"), line);
    }
}
