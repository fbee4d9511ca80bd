//! Who wrote: one row for each name in each source, and which of them are one person.
//!
//! A source is believed about its own people: equal names are one person there, and so are names that share one author's
//! page. Between sources nothing is believed; an operator may merge, and take it back.

use rusqlite::{OptionalExtension, Transaction, params};

use super::Applied;
use super::dirty::touch;
use super::people::{all_of, root};
use crate::{Error, fold};

/// More names than this do not share an author's page, but the address of a newsroom or of the site.
const SPELLINGS_MAX: i64 = 4;

/// Which of two statements about an author is the later one, in whatever order they come.
#[derive(Debug)]
pub(super) struct Rank(String);

impl Rank {
    /// What is said of an author (its version) outranks what stands under a headline (0), and then the later one counts.
    pub(super) fn of(version: u64, fetched_at: &str) -> Self {
        let seconds = super::article::seconds(fetched_at).unwrap_or_default().max(0);
        Self(format!("{version:020} {seconds:012}"))
    }

    fn with(&self, value: &str) -> String {
        format!("{} {value}", self.0)
    }
}

/// An author that something was said of.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) id: i64,
    pub(super) applied: Applied,
}

/// Notes what is said of somebody: the latest spelling, the latest address.
pub(super) fn say(
    tx: &Transaction<'_>,
    source: &str,
    name: &str,
    url: Option<&str>,
    rank: &Rank,
) -> Result<Said, Error> {
    let folded = fold::name(name);
    let name_rank = rank.with(name);
    let url = url.filter(|url| !url.is_empty());
    let url_rank = url.map(|url| rank.with(url)).unwrap_or_default();
    let known = tx
        .prepare_cached(
            "select id, name_rank, url_rank, url from author where source_name = ?1 and folded_name = ?2",
        )?
        .query_row([source, &folded], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, Option<String>>(3)?,
            ))
        })
        .optional()?;
    let Some((id, known_name_rank, known_url_rank, known_url)) = known else {
        let mut insert = tx.prepare_cached(
            "insert into author (source_name, folded_name, name, name_rank, url, url_rank)
             values (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        let id = insert.insert(params![source, folded, name, name_rank, url, url_rank])?;
        if let Some(url) = url {
            join(tx, source, url)?;
        }
        return Ok(Said { id, applied: Applied::New });
    };
    let mut applied = Applied::Older;
    if name_rank > known_name_rank {
        tx.prepare_cached("update author set name = ?2, name_rank = ?3 where id = ?1")?
            .execute(params![id, name, name_rank])?;
        applied = Applied::Changed;
    }
    if url_rank > known_url_rank {
        tx.prepare_cached("update author set url = ?2, url_rank = ?3 where id = ?1")?
            .execute(params![id, url, url_rank])?;
        applied = Applied::Changed;
        if known_url.as_deref() != url {
            for url in [known_url.as_deref(), url].into_iter().flatten() {
                join(tx, source, url)?;
            }
            leave(tx, id)?;
        }
    }
    Ok(Said { id, applied })
}

/// Who signs an article, in their order.
pub(super) fn sign(tx: &Transaction<'_>, article: i64, authors: &[(i64, &str)]) -> Result<(), Error> {
    tx.prepare_cached("delete from article_author where article_id = ?1")?.execute([article])?;
    let mut insert = tx.prepare_cached(
        "insert into article_author (article_id, position, author_id, name) values (?1, ?2, ?3, ?4)",
    )?;
    for (position, (author, name)) in (1_i64..).zip(authors) {
        insert.execute(params![article, position, author, name])?;
    }
    Ok(())
}

/// Makes somebody the same person as somebody else, because a person says so. Whoever has been merged into them before
/// follows them, and goes back with them.
pub fn merge(tx: &Transaction<'_>, id: i64, into: i64) -> Result<(), Error> {
    let unknown = |id: i64| Error::Rejected(format!("there is no author {id}"));
    let from = root(tx, id)?.ok_or_else(|| unknown(id))?;
    let into = root(tx, into)?.ok_or_else(|| unknown(into))?;
    if from == into {
        return Err(Error::Rejected(format!("{id} and {into} are one person already")));
    }
    link(tx, from, Some(into), "operator")
}

/// Takes a merge back: somebody is a person of their own again, with whoever follows them.
pub fn split(tx: &Transaction<'_>, id: i64) -> Result<(), Error> {
    let merged_by: Option<Option<String>> = tx
        .prepare_cached("select merged_by from author where id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    match merged_by {
        None => Err(Error::Rejected(format!("there is no author {id}"))),
        Some(None) => Err(Error::Rejected(format!("author {id} was not merged into anybody"))),
        Some(Some(by)) if by == "url" => Err(Error::Rejected(format!(
            "author {id} was merged because the source gives both names one address; merge it into somebody else instead"
        ))),
        Some(Some(_)) => {
            link(tx, id, None, "operator")?;
            let place = tx
                .prepare_cached("select source_name, url from author where id = ?1 and url is not null")?
                .query_row([id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
                .optional()?;
            // Its address may say more than nobody.
            place.map_or(Ok(()), |(source, url)| join(tx, &source, &url))
        }
    }
}

/// Names that share an author's page become one person: the first of them, by its letters, so that the order in which they
/// were met means nothing.
fn join(tx: &Transaction<'_>, source: &str, url: &str) -> Result<(), Error> {
    // One of them whom a person has merged into somebody stays there, and the others follow.
    let mut members = tx.prepare_cached(
        "select id, merged_into, merged_by is 'operator' as placed from author
          where source_name = ?1 and url = ?2 order by placed desc, folded_name",
    )?;
    let members: Vec<(i64, Option<i64>, bool)> = members
        .query_map([source, url], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let shared = (2..=SPELLINGS_MAX).contains(&(members.len() as i64));
    let first = members.first().map(|(id, ..)| *id);
    for (id, merged_into, placed) in members {
        if placed {
            continue;
        }
        let mut into = first.filter(|first| shared && *first != id);
        // Whom the first one was merged into cannot follow them.
        if let Some(first) = into
            && root(tx, first)? == Some(id)
        {
            into = None;
        }
        if into != merged_into {
            link(tx, id, into, "url")?;
        }
    }
    Ok(())
}

/// Somebody whose address changed may share none any more.
fn leave(tx: &Transaction<'_>, id: i64) -> Result<(), Error> {
    let stale: bool = tx
        .prepare_cached(
            "select exists (select 1 from author a join author b on b.id = a.merged_into
                             where a.id = ?1 and a.merged_by = 'url' and a.url is not b.url)",
        )?
        .query_row([id], |row| row.get(0))?;
    if stale { link(tx, id, None, "url") } else { Ok(()) }
}

/// Makes somebody the same person as somebody else, or a person of their own; what they, and who follows them, have signed
/// has changed.
fn link(tx: &Transaction<'_>, id: i64, into: Option<i64>, by: &str) -> Result<(), Error> {
    tx.prepare_cached("update author set merged_into = ?2, merged_by = iif(?2 is null, null, ?3) where id = ?1")?
        .execute(params![id, into, by])?;
    for author in all_of(tx, id)? {
        let mut signed = tx.prepare_cached("select article_id from article_author where author_id = ?1")?;
        let signed: Vec<i64> = signed.query_map([author], |row| row.get(0))?.collect::<Result<_, _>>()?;
        signed.into_iter().try_for_each(|article| touch(tx, article))?;
    }
    Ok(())
}
