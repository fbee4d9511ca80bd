//! Who wrote: one row for each name in each source, and which of them are one person.
//!
//! A source is believed about its own people: equal names are one person there, and so are names that share one author's
//! page. Between sources nothing is believed; an operator may merge, and take it back.
//!
//! What is known of somebody is what the articles that are there say, and what their source says of them. A name is personal
//! data: it goes with the last article that bears it.

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

/// The letters of a rank before the value that it ranks.
const RANK_LETTERS: i64 = 34;

/// A name under a headline, and what it says of its author.
#[derive(Debug)]
pub(super) struct Signature<'a> {
    author: i64,
    /// As it is written there.
    pub(super) name: &'a str,
    name_rank: String,
    url_rank: String,
}

/// What an article no longer says of somebody.
#[derive(Debug)]
pub(super) struct Unsaid {
    author: i64,
    name_rank: String,
    url_rank: String,
}

/// An author that something was said of.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) id: i64,
    pub(super) applied: Applied,
    name_rank: String,
    url_rank: String,
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
        return Ok(Said { id, applied: Applied::New, name_rank, url_rank });
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
        moved(tx, id, source, known_url.as_deref(), url)?;
    }
    Ok(Said { id, applied, name_rank, url_rank })
}

/// Somebody's page is another one than was known.
fn moved(tx: &Transaction<'_>, id: i64, source: &str, from: Option<&str>, to: Option<&str>) -> Result<(), Error> {
    if from == to {
        return Ok(());
    }
    for url in [from, to].into_iter().flatten() {
        join(tx, source, url)?;
    }
    leave(tx, id)
}

/// Who stands under a headline, each person once, with the name as it is first written there.
pub(super) fn bylines<'a>(
    tx: &Transaction<'_>,
    source: &str,
    bylines: &'a [contract::Byline],
    rank: &Rank,
) -> Result<Vec<Signature<'a>>, Error> {
    let mut signatures: Vec<Signature<'a>> = vec![];
    for byline in bylines.iter().filter(|byline| !fold::name(&byline.name).is_empty()) {
        let Said { id, name_rank, url_rank, .. } = say(tx, source, &byline.name, byline.url.as_deref(), rank)?;
        match signatures.iter_mut().find(|known| known.author == id) {
            Some(known) => {
                known.name_rank = name_rank.max(std::mem::take(&mut known.name_rank));
                known.url_rank = url_rank.max(std::mem::take(&mut known.url_rank));
            }
            None => signatures.push(Signature { author: id, name: &byline.name, name_rank, url_rank }),
        }
    }
    Ok(signatures)
}

/// Who signs an article, in their order. What it said before is returned: it is to be taken back when all else is done.
pub(super) fn sign(tx: &Transaction<'_>, article: i64, signatures: &[Signature<'_>]) -> Result<Vec<Unsaid>, Error> {
    let unsaid = tx
        .prepare_cached("delete from article_author where article_id = ?1 returning author_id, name_rank, url_rank")?
        .query_map([article], |row| {
            Ok(Unsaid { author: row.get(0)?, name_rank: row.get(1)?, url_rank: row.get(2)? })
        })?
        .collect::<Result<_, _>>()?;
    let mut insert = tx.prepare_cached(
        "insert into article_author (article_id, position, author_id, name, name_rank, url_rank)
         values (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (position, one) in (1_i64..).zip(signatures) {
        insert.execute(params![article, position, one.author, one.name, one.name_rank, one.url_rank])?;
    }
    Ok(unsaid)
}

/// Takes back what an article said: whoever signs nothing any more is forgotten, and what is known of the others is what
/// their other articles say. So the order in which things were said and taken back means nothing.
pub(super) fn unsay(tx: &Transaction<'_>, unsaid: &[Unsaid]) -> Result<(), Error> {
    for one in unsaid {
        if !signs(tx, one.author)? {
            forget(tx, one.author)?;
            continue;
        }
        let mut author =
            tx.prepare_cached("select source_name, name_rank, url_rank, url from author where id = ?1")?;
        let (source, name_rank, url_rank, url) = author.query_row([one.author], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, Option<String>>(3)?,
            ))
        })?;
        if name_rank == one.name_rank {
            tx.prepare_cached(
                "update author set (name_rank, name) =
                        (select max(name_rank), substr(max(name_rank), ?2 + 1) from article_author where author_id = ?1)
                  where id = ?1",
            )?
            .execute([one.author, RANK_LETTERS])?;
        }
        if url_rank == one.url_rank && !url_rank.is_empty() {
            let mut update = tx.prepare_cached(
                "update author set (url_rank, url) =
                        (select max(url_rank), nullif(substr(max(url_rank), ?2 + 1), '')
                           from article_author where author_id = ?1)
                  where id = ?1
                 returning url",
            )?;
            let now: Option<String> = update.query_row([one.author, RANK_LETTERS], |row| row.get(0))?;
            moved(tx, one.author, &source, url.as_deref(), now.as_deref())?;
        }
    }
    Ok(())
}

fn signs(tx: &Transaction<'_>, author: i64) -> Result<bool, Error> {
    Ok(tx.prepare_cached("select 1 from article_author where author_id = ?1")?.exists([author])?)
}

/// Forgets somebody who signs nothing. Who was merged by hand stays as long as the person they are signs anything, under
/// whatever name, and goes with the last of it.
fn forget(tx: &Transaction<'_>, author: i64) -> Result<(), Error> {
    // Gone with somebody else.
    let Some(root) = root(tx, author)? else { return Ok(()) };
    let by_hand = |id: i64| -> Result<bool, Error> {
        let mut select =
            tx.prepare_cached("select 1 from author where merged_by = 'operator' and (id = ?1 or merged_into = ?1)")?;
        Ok(select.exists([id])?)
    };
    let mut gone = vec![author];
    if by_hand(author)? {
        for id in all_of(tx, root)? {
            if signs(tx, id)? {
                return Ok(());
            }
            if id != author && by_hand(id)? {
                gone.push(id);
            }
        }
    }
    let mut pages = vec![];
    for id in &gone {
        let mut followers = tx.prepare_cached("select id from author where merged_into = ?1")?;
        let followers: Vec<i64> = followers.query_map([id], |row| row.get(0))?.collect::<Result<_, _>>()?;
        followers.into_iter().try_for_each(|follower| link(tx, follower, None, "url"))?;
    }
    for id in &gone {
        let mut delete = tx.prepare_cached("delete from author where id = ?1 returning source_name, url")?;
        let (source, url): (String, Option<String>) = delete.query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        pages.extend(url.map(|url| (source, url)));
    }
    // Whoever shares a page with them may be one person now, or another one's.
    pages.iter().try_for_each(|(source, url)| join(tx, source, url))
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
