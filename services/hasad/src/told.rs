//! What an event tells the archive: checked whole, before anything is written.

use std::collections::BTreeSet;

use contract::{Article, ArticleDeleted, ArticleUpserted, AuthorUpserted, Flawed, Origin, Removal, canonical};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::objects::hash;

/// A longer address has no place in an index of Postgres.
pub(crate) const URL_BYTES_MAX: usize = 2_000;
/// Of a title, this much stands in the row; the object has all of it.
const TITLE_CHARS_MAX: usize = 500;
/// The version of the payloads' shapes that we know.
pub(crate) const SHAPE: u32 = 1;

/// One version of a page, as it is to be archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// The page.
    pub(crate) source_url: String,
    /// Which version of it.
    pub(crate) version: i64,
    /// The hash of its content; of a deletion: of its last content.
    pub(crate) content_hash: String,
    /// What is stored: exactly these bytes have that hash. None: the page was deleted.
    pub(crate) object: Option<Vec<u8>>,
    /// Why it was deleted.
    pub(crate) reason: Option<&'static str>,
    /// Whose page it is.
    pub(crate) source_name: String,
    /// The headline.
    pub(crate) title: Option<String>,
    /// When this state was fetched.
    pub(crate) fetched_at: String,
    /// Everything that the event says but the article, as JSON.
    pub(crate) about: String,
    /// The event's id.
    pub(crate) event_id: String,
}

impl Told {
    /// Which version of which page it is.
    pub(crate) fn place(&self) -> (String, i64) {
        (self.source_url.clone(), self.version)
    }
}

/// What is to be done with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Archive it.
    Version(Box<Told>),
    /// Nothing: the archive has no use for it, and knows that.
    Nothing,
}

/// What an event says of a page beside the article, also what is newer than this program: a row keeps it, so that the event
/// can be told again.
#[derive(Deserialize)]
struct Beside {
    #[serde(rename = "article")]
    _article: Option<IgnoredAny>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Whether a payload, of whatever shape, is of one of these sources.
pub(crate) fn is_of(payload: &str, sources: &BTreeSet<String>) -> bool {
    // Most archives leave nothing alone, and need not look.
    !sources.is_empty() && contract::source_name(payload).is_some_and(|name| sources.contains(&*name))
}

/// Reads an event. The reason of an error is for people: the event is buried with it.
pub(crate) fn read(
    r#type: &str,
    shape: u32,
    payload: &str,
    event_id: &str,
    object_bytes_max: usize,
) -> Result<Heard, String> {
    if r#type == AuthorUpserted::TYPE {
        return Ok(Heard::Nothing);
    }
    if ![ArticleUpserted::TYPE, ArticleDeleted::TYPE].contains(&r#type) {
        return Err(format!("the archive does not know events of the type {type:?}"));
    }
    if shape != SHAPE {
        return Err(format!("the archive knows version {SHAPE} of {type}, and this is version {shape}"));
    }
    let unreadable =
        |error: serde_json::Error| format!("the payload is not that of {type}: {}", contract::why_unread(&error));
    let (origin, article, reason) = if r#type == ArticleUpserted::TYPE {
        let event: ArticleUpserted = serde_json::from_str(payload).map_err(unreadable)?;
        (event.origin, Some(event.article), None)
    } else {
        let event: ArticleDeleted = serde_json::from_str(payload).map_err(unreadable)?;
        (event.origin, None, Some(event.reason))
    };
    let told = told(origin, article, reason, payload, event_id)?;
    let size = told.object.as_ref().map_or(0, Vec::len);
    if size > object_bytes_max {
        return Err(format!("the article has {size} bytes, and HASAD_OBJECT_BYTES_MAX is {object_bytes_max}"));
    }
    Ok(Heard::Version(Box::new(told)))
}

fn told(
    origin: Origin,
    article: Option<Article>,
    reason: Option<Removal>,
    payload: &str,
    event_id: &str,
) -> Result<Told, String> {
    origin.check().map_err(|flaw| flaw.to_string())?;
    let url = &origin.source_url;
    if !(url.starts_with("https://") || url.starts_with("http://")) {
        return Err(format!("source_url is not an address of a page: {url:?}"));
    }
    if url.len() > URL_BYTES_MAX {
        return Err(format!("source_url has {} bytes, and at most {URL_BYTES_MAX} can be archived", url.len()));
    }
    for (what, text) in [("source_url", url), ("source_name", &origin.source_name)] {
        if text.chars().any(char::is_control) {
            return Err(format!("{what} has control characters: {text:?}"));
        }
    }
    if !crate::objects::is_hash(&origin.content_hash) {
        return Err(format!("content_hash is no BLAKE3 in hexadecimal digits: {:?}", origin.content_hash));
    }
    let version = i64::try_from(origin.version).map_err(|_| format!("version {} is too high", origin.version))?;
    let fetched: jiff::Timestamp = origin
        .fetched_at
        .parse()
        .map_err(|_| format!("fetched_at is not a time as RFC 3339 has it: {:?}", origin.fetched_at))?;
    let object = article
        .as_ref()
        .map(|article| canonical(&serde_json::to_value(article).expect("strings and lists are JSON")).into_bytes());
    // The same sentence as from `ArticleUpserted::check`, which would compute all of it once more.
    if let Some(is) = object.as_deref().map(hash)
        && is != origin.content_hash
    {
        return Err(Flawed::OtherContent { said: origin.content_hash, is }.to_string());
    }
    let beside: Beside = serde_json::from_str(payload)
        .map_err(|error| format!("the payload cannot be read: {}", contract::why_unread(&error)))?;
    Ok(Told {
        version,
        content_hash: origin.content_hash,
        object,
        reason: reason.map(Removal::as_str),
        source_name: origin.source_name,
        title: article.map(|article| short(&article.title)),
        fetched_at: fetched.to_string(),
        about: serde_json::to_string(&beside.rest).expect("strings and lists are JSON"),
        event_id: event_id.to_owned(),
        source_url: origin.source_url,
    })
}

/// A headline as a row can hold it: on one line, without what Postgres does not take, and not without an end.
fn short(title: &str) -> String {
    title.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TITLE_CHARS_MAX).collect()
}

/// The event that a row and its object were made of, as one JSON value. None: it cannot be made any more (purged).
pub(crate) fn again(about: &str, object: Option<&[u8]>) -> Option<(&'static str, Value)> {
    let Ok(Value::Object(mut payload)) = serde_json::from_str(about) else { return None };
    if payload.is_empty() {
        return None;
    }
    let Some(object) = object else { return Some((ArticleDeleted::TYPE, Value::Object(payload))) };
    payload.insert("article".to_owned(), serde_json::from_slice(object).ok()?);
    Some((ArticleUpserted::TYPE, Value::Object(payload)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn payload() -> Value {
        let article =
            Article { title: "One\u{0}\nheadline".to_owned(), body: "text".to_owned(), ..Article::default() };
        let mut payload = json!({
            "source_url": "https://example.org/a", "source_name": "daily", "version": 3,
            "content_hash": article.content_hash(), "raw_hash": "", "discovered_at": "2026-01-01T00:00:00Z",
            "fetched_at": "2026-01-02T03:00:00+03:00", "published_at": null, "scraper_version": "1",
            "lead": "text", "language": "ar", "tags": ["one"], "later": { "field": true },
        });
        payload["article"] = serde_json::to_value(article).expect("JSON");
        payload
    }

    fn read_it(payload: &Value) -> Result<Heard, String> {
        read(ArticleUpserted::TYPE, 1, &payload.to_string(), "e", 1 << 20)
    }

    fn refused(change: impl FnOnce(&mut Value)) -> String {
        let mut payload = payload();
        change(&mut payload);
        read_it(&payload).expect_err("it is refused")
    }

    #[test]
    fn the_bytes_that_are_stored_have_the_hash_that_the_event_says() {
        let Ok(Heard::Version(told)) = read_it(&payload()) else { panic!("it is sound") };
        assert_eq!(hash(told.object.as_ref().expect("an article")), told.content_hash);
        assert_eq!((told.version, told.title.as_deref()), (3, Some("One  headline")));
        assert_eq!(told.fetched_at, "2026-01-02T00:00:00Z");
    }

    #[test]
    fn an_event_can_be_told_again_from_row_and_object() {
        let Ok(Heard::Version(told)) = read_it(&payload()) else { panic!("it is sound") };
        let again = again(&told.about, told.object.as_deref()).expect("nothing is missing");
        assert_eq!(again, (ArticleUpserted::TYPE, payload()));
    }

    #[test]
    fn each_flaw_is_named() {
        assert!(refused(|event| event["source_url"] = json!("")).contains("source_url is not an address"));
        assert!(refused(|event| event["source_url"] = json!("urn:author:a:b")).contains("address of a page"));
        assert!(refused(|event| event["source_url"] = json!("https://a/\u{0}")).contains("control characters"));
        let long = format!("https://a/{}", "x".repeat(URL_BYTES_MAX));
        assert!(refused(|event| event["source_url"] = json!(long)).contains("at most 2000"));
        assert!(
            refused(|event| _ = event.as_object_mut().and_then(|event| event.remove("source_url")))
                .contains("source_url")
        );
        assert!(refused(|event| event["content_hash"] = json!("0".repeat(64))).contains("content_hash says"));
        assert!(refused(|event| event["article"]["body"] = json!("other")).contains("content_hash says"));
        assert!(refused(|event| event["version"] = json!(0)).contains("version is 0"));
        assert!(refused(|event| event["version"] = json!(u64::MAX)).contains("too high"));
        assert!(refused(|event| event["fetched_at"] = json!("yesterday")).contains("fetched_at"));
        let small = read(ArticleUpserted::TYPE, 1, &payload().to_string(), "e", 10).expect_err("too large");
        assert!(small.contains("HASAD_OBJECT_BYTES_MAX"), "{small}");
        let of = |r#type, shape| read(r#type, shape, &payload().to_string(), "e", 1 << 20);
        assert!(of("article.praised", 1).expect_err("unknown").contains("article.praised"));
        assert!(of(ArticleUpserted::TYPE, 2).expect_err("unknown").contains("version 2"));
        assert_eq!(of(AuthorUpserted::TYPE, 9), Ok(Heard::Nothing));
    }
}
