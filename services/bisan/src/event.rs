//! What may come into the file: known types, within limits, and with the hash of their own content.

use contract::{Article, ArticleDeleted, ArticleUpserted, AuthorUpserted, Export, Origin};
use serde::de::DeserializeOwned;

use crate::Error;

/// The shape of payloads that this program knows.
const VER: u32 = 1;

const URL_BYTES_MAX: usize = 4_096;
const NAME_BYTES_MAX: usize = 512;
const TITLE_BYTES_MAX: usize = 8_192;
const LEAD_BYTES_MAX: usize = 64 << 10;
const BODY_BYTES_MAX: usize = 4 << 20;
const WORD_BYTES_MAX: usize = 512;
const TIME_BYTES_MAX: usize = 64;
const AUTHORS_MAX: usize = 100;
const IMAGES_MAX: usize = 1_000;
const TAGS_MAX: usize = 500;
/// What SQLite can count up to.
const VERSION_MAX: u64 = i64::MAX.unsigned_abs();

/// An event of this type and shape, read and checked.
pub fn read(r#type: &str, ver: u32, data: &str) -> Result<Export, Error> {
    if ver != VER {
        return Err(Error::Rejected(format!("version {ver} of {type} is unknown; this program knows {VER}")));
    }
    let event = match r#type {
        ArticleUpserted::TYPE => Export::ArticleUpserted(payload(data)?),
        ArticleDeleted::TYPE => Export::ArticleDeleted(payload(data)?),
        AuthorUpserted::TYPE => Export::AuthorUpserted(payload(data)?),
        other => return Err(Error::Rejected(format!("the type {other:?} is unknown"))),
    };
    check(&event)?;
    Ok(event)
}

/// Whether an event is what it says it is.
fn check(event: &Export) -> Result<(), Error> {
    let flaw = match event {
        Export::ArticleUpserted(event) => event.check(),
        Export::ArticleDeleted(event) => event.check(),
        Export::AuthorUpserted(event) => event.check(),
    };
    flaw.map_err(|flaw| Error::Rejected(flaw.to_string()))?;
    match event {
        Export::ArticleUpserted(event) => {
            web_address(&event.origin)?;
            limits(&event.origin)?;
            article(&event.article)?;
            at_most("lead", event.lead.as_ref().map_or(0, String::len), LEAD_BYTES_MAX)?;
            at_most("language", event.language.as_ref().map_or(0, String::len), WORD_BYTES_MAX)?;
            at_most("tags", event.tags.len(), TAGS_MAX)?;
            event.tags.iter().try_for_each(|tag| at_most("a tag", tag.len(), WORD_BYTES_MAX))
        }
        Export::ArticleDeleted(event) => {
            web_address(&event.origin)?;
            limits(&event.origin)
        }
        Export::AuthorUpserted(event) => {
            limits(&event.origin)?;
            person(&event.author.name, event.author.url.as_deref())?;
            match crate::fold::name(&event.author.name).is_empty() {
                true => Err(Error::Rejected(format!("{:?} is nobody's name", event.author.name))),
                false => Ok(()),
            }
        }
    }
}

fn payload<T: DeserializeOwned>(data: &str) -> Result<T, Error> {
    serde_json::from_str(data).map_err(|error| {
        Error::Rejected(format!("the payload is not of its shape: {}", contract::why_unread(&error)))
    })
}

/// The contract lets authors be called by a name; an article has to stand somewhere.
fn web_address(origin: &Origin) -> Result<(), Error> {
    let url = &origin.source_url;
    match url.starts_with("http://") || url.starts_with("https://") {
        true => Ok(()),
        false => Err(Error::Rejected(format!("source_url is no address of an article: {url:?}"))),
    }
}

fn limits(origin: &Origin) -> Result<(), Error> {
    at_most("source_url", origin.source_url.len(), URL_BYTES_MAX)?;
    at_most("source_name", origin.source_name.len(), NAME_BYTES_MAX)?;
    at_most("content_hash", origin.content_hash.len(), NAME_BYTES_MAX)?;
    at_most("discovered_at", origin.discovered_at.len(), TIME_BYTES_MAX)?;
    at_most("fetched_at", origin.fetched_at.len(), TIME_BYTES_MAX)?;
    at_most("published_at", origin.published_at.as_ref().map_or(0, String::len), TIME_BYTES_MAX)?;
    match origin.version > VERSION_MAX {
        true => Err(Error::Rejected(format!("version {} is beyond {VERSION_MAX}", origin.version))),
        false => Ok(()),
    }
}

fn article(article: &Article) -> Result<(), Error> {
    at_most("title", article.title.len(), TITLE_BYTES_MAX)?;
    at_most("body", article.body.len(), BODY_BYTES_MAX)?;
    at_most("section", article.section.as_ref().map_or(0, String::len), WORD_BYTES_MAX)?;
    at_most("canonical_url", article.canonical_url.as_ref().map_or(0, String::len), URL_BYTES_MAX)?;
    at_most("published_at", article.published_at.as_ref().map_or(0, String::len), TIME_BYTES_MAX)?;
    at_most("modified_at", article.modified_at.as_ref().map_or(0, String::len), TIME_BYTES_MAX)?;
    at_most("images", article.images.len(), IMAGES_MAX)?;
    article.images.iter().try_for_each(|url| at_most("an image's address", url.len(), URL_BYTES_MAX))?;
    at_most("authors", article.authors.len(), AUTHORS_MAX)?;
    article.authors.iter().try_for_each(|author| person(&author.name, author.url.as_deref()))
}

fn person(name: &str, url: Option<&str>) -> Result<(), Error> {
    at_most("an author's name", name.len(), NAME_BYTES_MAX)?;
    at_most("an author's address", url.map_or(0, str::len), URL_BYTES_MAX)
}

fn at_most(what: &str, is: usize, max: usize) -> Result<(), Error> {
    if is <= max { Ok(()) } else { Err(Error::Rejected(format!("{what}: {is} is more than {max}"))) }
}
