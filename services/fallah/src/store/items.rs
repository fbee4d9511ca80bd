//! The one transaction that all of this is for: item, authors, the page's state, and the events.

use contract::{Article, ArticleUpserted, Author, AuthorUpserted, Origin};
use outbox::Event;
use sqlx::{PgConnection, PgPool};

use super::frontier::{self, After, Lease};
use crate::fold::fold;

/// An article as a fetch has shown it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) source_url: String,
    pub(crate) source_name: String,
    pub(crate) article: Article,
    pub(crate) lead: Option<String>,
    pub(crate) language: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) raw_hash: String,
    pub(crate) discovered_at: String,
    pub(crate) fetched_at: String,
    /// Whether its source publishes events yet.
    pub(crate) publish: bool,
}

/// What writing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrote {
    /// It was not known, or had been deleted.
    New,
    /// The next version.
    Changed,
    /// Nothing: it says what it said before.
    Same,
    /// Nothing: somebody else has fetched the page since.
    Overtaken,
}

/// Writes what a fetch has shown. Item, authors, the page's state and the events stand or fall together.
pub(crate) async fn write(db: &PgPool, lease: &Lease, after: &After, seen: &Seen) -> Result<Wrote, crate::Error> {
    let mut tx = db.begin().await?;
    if !frontier::end(&mut tx, lease, after).await? {
        return Ok(Wrote::Overtaken);
    }
    let known = lock(&mut tx, &seen.source_url).await?;
    let content_hash = seen.article.content_hash();
    let there = known.as_ref().filter(|known| !known.deleted);
    let same = there.filter(|known| known.content_hash == content_hash);
    // What was written while its source was tried out is told once that is over.
    let untold = seen.publish && same.is_some_and(|known| known.told_version < known.version);
    if same.is_some() && !untold {
        tx.commit().await?;
        return Ok(Wrote::Same);
    }
    let version = same.map_or_else(|| known.as_ref().map_or(0, |known| known.version) + 1, |known| known.version);
    let origin = Origin {
        source_url: seen.source_url.clone(),
        source_name: seen.source_name.clone(),
        version: version.unsigned_abs(),
        content_hash,
        raw_hash: seen.raw_hash.clone(),
        discovered_at: seen.discovered_at.clone(),
        fetched_at: seen.fetched_at.clone(),
        published_at: seen.article.published_at.clone(),
        scraper_version: crate::VERSION.to_owned(),
    };
    let authors = author_changes(&mut tx, seen, &origin).await?;
    let event = ArticleUpserted {
        origin,
        article: seen.article.clone(),
        lead: seen.lead.clone(),
        language: seen.language.clone(),
        tags: seen.tags.clone(),
    };
    put(&mut tx, &event, seen.publish).await?;
    sign(&mut tx, seen).await?;
    if seen.publish {
        let mut events = vec![];
        for author in &authors {
            events.push(draft(AuthorUpserted::TYPE, &author.origin).json(author)?);
        }
        events.push(draft(ArticleUpserted::TYPE, &event.origin).json(&event)?);
        let _ = outbox::enqueue_all(&mut tx, &events).await?;
    }
    tx.commit().await?;
    Ok(match there {
        None => Wrote::New,
        Some(_) if same.is_some() => Wrote::Same,
        Some(_) => Wrote::Changed,
    })
}

/// Whether there is an item at an address.
pub(crate) async fn is_item(db: &PgPool, source_url: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("select exists (select from fallah.item where source_url = $1 and deleted_reason is null)")
        .bind(source_url)
        .fetch_one(db)
        .await
}

/// An event about one state of one thing: its id says which, so it can be in the outbox only once.
pub(super) fn draft(r#type: &str, origin: &Origin) -> outbox::Draft {
    let address = blake3::hash(origin.source_url.as_bytes()).to_hex();
    Event::draft(contract::STREAM, r#type).key(key(&origin.source_url)).id(format!(
        "{}-{}",
        &address[..32],
        origin.version
    ))
}

/// Keys have a limit, and addresses do not.
fn key(source_url: &str) -> String {
    if source_url.len() <= 1000 { source_url.to_owned() } else { blake3::hash(source_url.as_bytes()).to_string() }
}

/// What is known of an item.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Known {
    pub(super) version: i64,
    pub(super) told_version: i64,
    pub(super) content_hash: String,
    pub(super) deleted: bool,
}

/// Locks an item, so that versions rise one by one whoever writes them. What is not there yet is locked by its name.
pub(super) async fn lock(db: &mut PgConnection, source_url: &str) -> sqlx::Result<Option<Known>> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended('fallah ' || $1, 0))")
        .bind(source_url)
        .execute(&mut *db)
        .await?;
    sqlx::query_as(
        "select version, told_version, content_hash, deleted_reason is not null as deleted from fallah.item where source_url = $1
            for no key update",
    )
    .bind(source_url)
    .fetch_optional(db)
    .await
}

async fn put(db: &mut PgConnection, event: &ArticleUpserted, told: bool) -> Result<(), crate::Error> {
    let origin = &event.origin;
    let payload = serde_json::to_string(event).expect("strings and lists are JSON");
    sqlx::query(
        "insert into fallah.item as i (source_url, source_name, version, content_hash, raw_hash, payload, discovered_at,
                                       fetched_at, told_version)
         values ($1, $2, $3, $4, $5, $6::jsonb, $7::timestamptz, $8::timestamptz, case when $9 then $3 else 0 end)
         on conflict (source_url) do update
            set told_version = greatest(i.told_version, excluded.told_version), source_name = excluded.source_name, version = excluded.version, content_hash = excluded.content_hash,
                raw_hash = excluded.raw_hash, payload = excluded.payload, fetched_at = excluded.fetched_at,
                deleted_reason = null, changed_at = clock_timestamp()",
    )
    .bind(&origin.source_url)
    .bind(&origin.source_name)
    .bind(i64::try_from(origin.version).unwrap_or(i64::MAX))
    .bind(&origin.content_hash)
    .bind(&origin.raw_hash)
    .bind(payload)
    .bind(&origin.discovered_at)
    .bind(&origin.fetched_at)
    .bind(told)
    .execute(db)
    .await?;
    Ok(())
}

/// Authors that are new, or of whom more is known now: written, and to be told.
async fn author_changes(
    db: &mut PgConnection,
    seen: &Seen,
    origin: &Origin,
) -> Result<Vec<AuthorUpserted>, crate::Error> {
    let mut changes = vec![];
    // In one order, whoever writes: two articles with the same authors must not wait for each other in a circle.
    let mut bylines: Vec<_> =
        seen.article.authors.iter().map(|byline| (author_url(seen, &byline.name), byline)).collect();
    bylines.sort_by(|(one, _), (other, _)| one.cmp(other));
    bylines.dedup_by(|(one, _), (other, _)| one == other);
    for (source_url, byline) in bylines {
        let author = Author { name: byline.name.clone(), url: byline.url.clone() };
        let version: Option<i64> = sqlx::query_scalar(
            "insert into fallah.author as a (source_url, source_name, version, content_hash, name, url, told)
             values ($1, $2, 1, $3, $4, $5, $6)
             on conflict (source_url) do update
                set version = a.version + (a.url is null and excluded.url is not null)::int,
                    content_hash = excluded.content_hash, name = excluded.name,
                    url = coalesce(excluded.url, a.url), told = a.told or excluded.told
              where (a.url is null and excluded.url is not null) or (excluded.told and not a.told)
             returning version",
        )
        .bind(&source_url)
        .bind(&seen.source_name)
        .bind(author.content_hash())
        .bind(&author.name)
        .bind(&author.url)
        .bind(seen.publish)
        .fetch_optional(&mut *db)
        .await?;
        if let Some(version) = version {
            changes.push(AuthorUpserted {
                origin: Origin {
                    source_url,
                    version: version.unsigned_abs(),
                    content_hash: author.content_hash(),
                    published_at: None,
                    ..origin.clone()
                },
                author,
            });
        }
    }
    Ok(changes)
}

/// `urn:author:<source>:<folded name>`: one person of one source, however the name is spelled there today.
fn author_url(seen: &Seen, name: &str) -> String {
    let part = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("urn:author:{}:{}", part(&seen.source_name), part(&fold(name)))
}

/// Who wrote it, in order.
async fn sign(db: &mut PgConnection, seen: &Seen) -> sqlx::Result<()> {
    sqlx::query("delete from fallah.item_author where source_url = $1")
        .bind(&seen.source_url)
        .execute(&mut *db)
        .await?;
    let mut authors: Vec<String> = vec![];
    for byline in &seen.article.authors {
        let author = author_url(seen, &byline.name);
        if !authors.contains(&author) {
            authors.push(author);
        }
    }
    sqlx::query(
        "insert into fallah.item_author (source_url, nth, author)
         select $1, nth, author from unnest($2::text[]) with ordinality as a(author, nth)",
    )
    .bind(&seen.source_url)
    .bind(authors)
    .execute(db)
    .await?;
    Ok(())
}
