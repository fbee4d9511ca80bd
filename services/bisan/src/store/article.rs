//! What an event does to an article. The highest version is the truth, in whatever order they come.

use contract::{ArticleDeleted, ArticleUpserted, Export, Origin};
use rusqlite::{OptionalExtension, Transaction, params};

use super::author::{self, Rank};
use super::dirty::{mark, next_change};
use super::now;
use super::text::{self, Text};
use crate::Error;

/// What an event came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Applied {
    /// An article, or an author, that was not known.
    New,
    /// A newer state took the place of an older one.
    Changed,
    /// The article is deleted now.
    Deleted,
    /// A newer state was there already, or this very one.
    Older,
}

/// What is known of an address.
struct Known {
    id: i64,
    version: u64,
    content_hash: String,
    live: bool,
}

/// Lets an event take effect. All of it becomes part of the caller's transaction.
pub(crate) fn apply(tx: &Transaction<'_>, event: &Export) -> Result<Applied, Error> {
    match event {
        Export::ArticleUpserted(event) => upsert(tx, event),
        Export::ArticleDeleted(event) => delete(tx, event),
        Export::AuthorUpserted(event) => {
            let rank = Rank::of(event.origin.version, &event.origin.fetched_at);
            author::say(tx, &event.origin.source_name, &event.author.name, event.author.url.as_deref(), &rank)
                .map(|said| said.applied)
        }
    }
}

fn upsert(tx: &Transaction<'_>, event: &ArticleUpserted) -> Result<Applied, Error> {
    let (origin, article) = (&event.origin, &event.article);
    let known = known(tx, &origin.source_url)?;
    if !is_newer(origin, known.as_ref(), true)? {
        return Ok(Applied::Older);
    }
    let rank = Rank::of(0, &origin.fetched_at);
    let authors = author::bylines(tx, &origin.source_name, &article.authors, &rank)?;
    let change = next_change(tx)?;
    let id: i64 = tx
        .prepare_cached(
            "insert into article (source_url, source_name, version, content_hash, change, changed_at, dated_at,
                                  language, section, published_at, modified_at, discovered_at, fetched_at,
                                  canonical_url, image, images, tags, title, lead, body)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
             on conflict (source_url) do update
                set source_name = excluded.source_name, version = excluded.version,
                    content_hash = excluded.content_hash, change = excluded.change, changed_at = excluded.changed_at,
                    deleted_at = null, deleted_reason = null, dated_at = excluded.dated_at,
                    language = excluded.language, section = excluded.section, published_at = excluded.published_at,
                    modified_at = excluded.modified_at, discovered_at = excluded.discovered_at,
                    fetched_at = excluded.fetched_at, canonical_url = excluded.canonical_url, image = excluded.image,
                    images = excluded.images, tags = excluded.tags, title = excluded.title, lead = excluded.lead,
                    body = excluded.body
              where excluded.version > article.version
             returning id",
        )?
        .query_row(
            params![
                origin.source_url,
                origin.source_name,
                origin.version.cast_signed(),
                origin.content_hash,
                change,
                now(),
                dated_at(origin, article.published_at.as_deref()),
                event.language,
                article.section,
                article.published_at,
                article.modified_at,
                origin.discovered_at,
                origin.fetched_at,
                article.canonical_url,
                article.images.first(),
                json(&article.images),
                json(&event.tags),
                article.title,
                event.lead.as_deref().unwrap_or_default(),
                article.body,
            ],
            |row| row.get(0),
        )?;
    if known.as_ref().is_some_and(|known| known.live) {
        text::remove(tx, id)?;
    }
    let unsaid = author::sign(tx, id, &authors)?;
    let names: Vec<_> = authors.iter().map(|author| author.name).collect();
    let lead = event.lead.as_deref().unwrap_or_default();
    text::put(tx, id, &Text { title: &article.title, lead, authors: &names.join(" "), body: &article.body })?;
    mark(tx, id, change)?;
    author::unsay(tx, &unsaid)?;
    Ok(if known.is_some() { Applied::Changed } else { Applied::New })
}

/// A tombstone keeps the address and the version, so that an older state that comes later cannot bring it back.
fn delete(tx: &Transaction<'_>, event: &ArticleDeleted) -> Result<Applied, Error> {
    let origin = &event.origin;
    let known = known(tx, &origin.source_url)?;
    if !is_newer(origin, known.as_ref(), false)? {
        return Ok(Applied::Older);
    }
    let change = next_change(tx)?;
    let id: i64 = tx
        .prepare_cached(
            "insert into article (source_url, source_name, version, content_hash, change, changed_at, deleted_at,
                                  deleted_reason, dated_at, discovered_at, fetched_at)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?7)
             on conflict (source_url) do update
                set source_name = excluded.source_name, version = excluded.version,
                    content_hash = excluded.content_hash, change = excluded.change, changed_at = excluded.changed_at,
                    deleted_at = excluded.deleted_at, deleted_reason = excluded.deleted_reason,
                    dated_at = excluded.dated_at, language = null, section = null, published_at = null,
                    modified_at = null, discovered_at = excluded.discovered_at, fetched_at = excluded.fetched_at,
                    canonical_url = null, image = null, images = '[]', tags = '[]', title = '', lead = '', body = ''
              where excluded.version > article.version
             returning id",
        )?
        .query_row(
            params![
                origin.source_url,
                origin.source_name,
                origin.version.cast_signed(),
                origin.content_hash,
                change,
                now(),
                origin.fetched_at,
                event.reason.as_str(),
                dated_at(origin, None),
                origin.discovered_at,
            ],
            |row| row.get(0),
        )?;
    if known.is_some_and(|known| known.live) {
        text::remove(tx, id)?;
    }
    let unsaid = author::sign(tx, id, &[])?;
    mark(tx, id, change)?;
    author::unsay(tx, &unsaid)?;
    Ok(Applied::Deleted)
}

fn known(tx: &Transaction<'_>, url: &str) -> Result<Option<Known>, Error> {
    let mut query =
        tx.prepare_cached("select id, version, content_hash, deleted_at is null from article where source_url = ?1")?;
    let known = query.query_row([url], |row| {
        let version: i64 = row.get(1)?;
        Ok(Known { id: row.get(0)?, version: version.unsigned_abs(), content_hash: row.get(2)?, live: row.get(3)? })
    });
    Ok(known.optional()?)
}

/// Whether there is something to do. Two states under one version are a fault of who numbers them: none of them may go
/// away without a word.
fn is_newer(origin: &Origin, known: Option<&Known>, live: bool) -> Result<bool, Error> {
    let Some(known) = known else { return Ok(true) };
    if origin.version == known.version && (known.live != live || known.content_hash != origin.content_hash) {
        return Err(Error::Rejected(format!(
            "version {} of {} is known with other content (article {})",
            origin.version, origin.source_url, known.id
        )));
    }
    Ok(origin.version > known.version)
}

/// Seconds of Unix: its own date, if that is one and it is not in the future; else when it was found.
fn dated_at(origin: &Origin, published_at: Option<&str>) -> i64 {
    let fetched = seconds(&origin.fetched_at);
    let own = published_at.or(origin.published_at.as_deref()).and_then(seconds);
    let own = own.filter(|own| fetched.is_none_or(|fetched| *own <= fetched));
    own.or_else(|| seconds(&origin.discovered_at)).or(fetched).unwrap_or_default()
}

/// Of a time, or of the beginning of a day, in UTC if it does not say where.
pub(crate) fn seconds(text: &str) -> Option<i64> {
    let time = text.parse::<jiff::Timestamp>().ok();
    let civil = || {
        text.parse::<jiff::civil::DateTime>().ok().or_else(|| Some(text.parse::<jiff::civil::Date>().ok()?.into()))
    };
    let time = time.or_else(|| Some(civil()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp()))?;
    Some(time.as_second())
}

fn json(list: &[String]) -> String {
    serde_json::to_string(list).expect("strings are JSON")
}
