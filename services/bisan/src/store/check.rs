//! Whether the file tells one story, and how it is mended where it does not.

use std::collections::BTreeMap;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction};
use serde::Serialize;

use super::dirty::touch;
use super::projecting::{Refused, is_indexed, refusals, standing};
use super::text::{self, ORIGINALS};
use crate::Error;

/// Of one kind of finding so many are named; all are counted.
const EXAMPLES_MAX: usize = 20;
/// So many articles are named that the search index does not take.
const REFUSED_MAX: usize = 100;

/// What was looked at, and what was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Health {
    /// Live articles.
    pub articles: i64,
    /// Tombstones.
    pub deleted: i64,
    #[allow(missing_docs)]
    pub authors: i64,
    /// Articles in the text index.
    pub searchable: i64,
    /// Articles that are to be brought to the search index.
    pub dirty: i64,
    /// Articles that the search index does not take. The file is sound with them.
    pub refused: u32,
    /// The newest of them, each with the reason.
    pub refused_articles: Vec<Refused>,
    /// There is a search index, or was one.
    pub indexed: bool,
    /// Articles whose text was compared with the index, word for word.
    pub compared: u64,
    /// What is wrong, by kind.
    pub findings: BTreeMap<&'static str, Finding>,
}

/// Everything of one kind that is wrong.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Finding {
    /// How often.
    pub count: u64,
    /// Some of them.
    pub examples: Vec<String>,
}

impl Health {
    /// Nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, kind: &'static str, example: String) {
        let finding = self.findings.entry(kind).or_default();
        finding.count += 1;
        if finding.examples.len() < EXAMPLES_MAX {
            finding.examples.push(example);
        }
    }
}

/// Looks through the file. Of the texts, one in `one_in` is compared with the index; 1: all of them.
pub fn verify(tx: &Transaction<'_>, one_in: u32) -> Result<Health, Error> {
    let count = |query: &str| -> Result<i64, Error> { Ok(tx.query_row(query, [], |row| row.get(0))?) };
    let mut health = Health {
        articles: count("select count(*) from article where deleted_at is null")?,
        deleted: count("select count(*) from article where deleted_at is not null")?,
        authors: count("select count(*) from author")?,
        searchable: text::count(tx)?,
        dirty: count("select count(*) from search_dirty")?,
        refused: standing(tx)?.refused,
        indexed: is_indexed(tx)?,
        refused_articles: refusals(tx, REFUSED_MAX)?,
        ..Health::default()
    };
    for sentence in texts(tx, "pragma integrity_check")? {
        if sentence != "ok" {
            health.find("damaged", sentence);
        }
    }
    for sentence in texts(
        tx,
        "select \"table\" || ' row ' || coalesce(rowid, '') || ' points to nothing in ' || parent
                                 from pragma_foreign_key_check",
    )? {
        health.find("dangling", sentence);
    }
    for sentence in texts(tx, MISSING)? {
        health.find("not_searchable", sentence);
    }
    for sentence in texts(tx, STRAY)? {
        health.find("searchable_but_gone", sentence);
    }
    for sentence in texts(tx, UNORDERED)? {
        health.find("authors_out_of_order", sentence);
    }
    for sentence in texts(tx, AHEAD)? {
        health.find("dirty_ahead", sentence);
    }
    compare(tx, one_in, &mut health)?;
    Ok(health)
}

/// Whether the index of the text agrees with its own text.
pub fn check_index(db: &Connection, health: &mut Health) -> Result<(), Error> {
    match db.execute("insert into article_text (article_text, rank) values ('integrity-check', 1)", []) {
        Err(rusqlite::Error::SqliteFailure(failure, _)) if failure.code == ErrorCode::DatabaseCorrupt => {
            health.find("damaged_index", "the index of the text differs from the text".to_owned());
            Ok(())
        }
        checked => Ok(checked.map(|_| ())?),
    }
}

const MISSING: &str = "select 'article ' || id || ' cannot be found' from article
    where deleted_at is null and id not in (select rowid from article_text)";
const STRAY: &str = "select 'article ' || rowid || ' is found and is not there' from article_text
    where rowid not in (select id from article where deleted_at is null)";
const UNORDERED: &str = "select 'article ' || article_id || ' has authors ' || group_concat(position)
    from article_author group by article_id having max(position) <> count(*) or min(position) <> 1";
const AHEAD: &str = "select 'article ' || d.article_id || ' is dirty with change ' || d.change || ' of ' || a.change
    from search_dirty d join article a on a.id = d.article_id where d.change > a.change";

fn texts(tx: &Transaction<'_>, query: &str) -> Result<Vec<String>, Error> {
    let mut query = tx.prepare(query)?;
    Ok(query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// The text of each article, folded again, beside what lies in the index.
fn compare(tx: &Transaction<'_>, one_in: u32, health: &mut Health) -> Result<(), Error> {
    let mut articles = tx.prepare(&format!("{ORIGINALS} and a.id % ?2 = 0 order by a.id"))?;
    let mut rows = articles.query([0, i64::from(one_in.max(1))])?;
    while let Some(row) = rows.next()? {
        let (id, folded) = text::original(row, |id, text| (id, text.folded()))?;
        health.compared += 1;
        match indexed(tx, id)? {
            Some(indexed) if indexed != folded => {
                health.find("other_text", format!("article {id} is found by other words than it has"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn indexed(db: &Connection, id: i64) -> Result<Option<[String; 4]>, Error> {
    let mut query = db.prepare_cached("select title, lead, authors, body from article_text where rowid = ?1")?;
    let row = query.query_row([id], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]));
    Ok(row.optional()?)
}

/// Mends what can be mended from the articles themselves: the index is made anew, what differed is dirty again, and
/// authors stand in order. Returns how many articles were mended.
pub fn repair(tx: &Transaction<'_>) -> Result<u64, Error> {
    // First of all an index that can be worked with.
    tx.execute("insert into article_text (article_text) values ('rebuild')", [])?;
    let mut wrong: Vec<i64> = ids(
        tx,
        "select id from article where deleted_at is null and id not in (select rowid from article_text)
         union select article_id from article_author group by article_id
                having max(position) <> count(*) or min(position) <> 1
         union select d.article_id from search_dirty d join article a on a.id = d.article_id where d.change > a.change",
    )?;
    let stray = ids(
        tx,
        "select rowid from article_text where rowid not in (select id from article where deleted_at is null)",
    )?;
    {
        let mut articles = tx.prepare(&format!("{ORIGINALS} order by a.id"))?;
        let mut rows = articles.query([0])?;
        while let Some(row) = rows.next()? {
            let (id, folded) = text::original(row, |id, text| (id, text.folded()))?;
            if indexed(tx, id)?.is_some_and(|indexed| indexed != folded) {
                wrong.push(id);
            }
        }
    }
    // Whatever points to nothing says nothing.
    tx.execute("delete from article_author where article_id not in (select id from article)", [])?;
    tx.execute("delete from article_author where author_id not in (select id from author)", [])?;
    tx.execute("delete from search_dirty where article_id not in (select id from article)", [])?;
    renumber(tx)?;
    // Not row by row: an index that differs from its own text cannot be trusted to forget it.
    text::fold_all(tx)?;
    tx.execute("insert into article_text (article_text) values ('optimize')", [])?;
    tx.execute("delete from search_dirty where change > (select change from article where id = article_id)", [])?;
    wrong.sort_unstable();
    wrong.dedup();
    for id in &wrong {
        touch(tx, *id)?;
    }
    Ok((wrong.len() + stray.len()) as u64)
}

/// Authors of each article, from 1 on, in the order that is left of them.
fn renumber(tx: &Transaction<'_>) -> Result<(), Error> {
    tx.execute_batch(
        "create temp table signed as
             select article_id, row_number() over (partition by article_id order by position) as position, author_id, name
               from article_author
              where article_id in (select article_id from article_author group by article_id
                                   having max(position) <> count(*) or min(position) <> 1);
         delete from article_author where article_id in (select article_id from temp.signed);
         insert into article_author (article_id, position, author_id, name) select * from temp.signed;
         drop table temp.signed;",
    )?;
    Ok(())
}

fn ids(tx: &Transaction<'_>, query: &str) -> Result<Vec<i64>, Error> {
    let mut query = tx.prepare(query)?;
    Ok(query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}
