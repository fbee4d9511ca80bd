//! What readers see: lists and articles.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::Serialize;

use super::people::root;
use crate::Error;

/// Which articles are meant. Nothing said: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The source's name.
    pub source: Option<String>,
    /// The language's code.
    pub language: Option<String>,
    /// Somebody's id, also of one who was merged.
    pub author: Option<i64>,
    /// Dated then or later, in seconds of Unix.
    pub from: Option<i64>,
    /// Dated before then.
    pub until: Option<i64>,
}

impl Filter {
    /// Conditions on `article a`, each with an `and` before it, and their values, to be bound from this number on.
    pub(super) fn conditions(&self, db: &Connection, first: usize) -> Result<(String, Vec<Value>), Error> {
        let author = self.author.map(|id| root(db, id)).transpose()?;
        // Nobody wrote what an unknown author wrote.
        let author = author.map(|root| root.unwrap_or(-1));
        let all: [(&str, Option<Value>); 5] = [
            ("a.source_name = ?", self.source.clone().map(Value::from)),
            ("a.language = ?", self.language.clone().map(Value::from)),
            (WRITTEN_BY, author.map(Value::from)),
            ("a.dated_at >= ?", self.from.map(Value::from)),
            ("a.dated_at < ?", self.until.map(Value::from)),
        ];
        let (mut text, mut values) = (String::new(), vec![]);
        for (condition, value) in all {
            let Some(value) = value else { continue };
            let number = format!("?{}", first + values.len());
            text += &format!(" and {}", condition.replace('?', &number));
            values.push(value);
        }
        Ok((text, values))
    }
}

/// By somebody, or by who was merged into them, at whatever distance.
const WRITTEN_BY: &str = "a.id in (
    with recursive same (id) as (values (?) union select p.id from same s join author p on p.merged_into = s.id)
    select w.article_id from same s join article_author w on w.author_id = s.id)";

/// How many articles there are; counted no further than this.
pub fn count(db: &Connection, most: i64) -> Result<i64, Error> {
    let counted = "select count(*) from (select 1 from article where deleted_at is null limit ?1)";
    Ok(db.query_row(counted, [most], |row| row.get(0))?)
}

/// An article in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    #[allow(missing_docs)]
    pub id: i64,
    /// Where it was read.
    pub source_url: String,
    #[allow(missing_docs)]
    pub source_name: String,
    #[allow(missing_docs)]
    pub title: String,
    /// Its first sentences; may be empty.
    pub lead: String,
    /// Who wrote it, in the page's order.
    pub authors: Vec<Signature>,
    #[allow(missing_docs)]
    pub language: Option<String>,
    #[allow(missing_docs)]
    pub section: Option<String>,
    /// As the page says.
    pub published_at: Option<String>,
    /// What it is sorted by, in seconds of Unix.
    pub dated_at: i64,
    /// The first of its pictures.
    pub image: Option<String>,
    /// Rises with each edit at its source.
    pub version: i64,
}

/// A name under a headline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// Whose it is.
    pub id: i64,
    /// As it is written there.
    pub name: String,
}

/// A whole article.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Full {
    #[allow(missing_docs)]
    #[serde(flatten)]
    pub summary: Summary,
    /// Paragraphs with an empty line between them. Text, never markup.
    pub body: String,
    #[allow(missing_docs)]
    pub modified_at: Option<String>,
    /// The address that the page gives as its own.
    pub canonical_url: Option<String>,
    #[allow(missing_docs)]
    pub images: Vec<String>,
    #[allow(missing_docs)]
    pub tags: Vec<String>,
    /// Of its content, as its source computes it.
    pub content_hash: String,
    #[allow(missing_docs)]
    pub discovered_at: String,
    #[allow(missing_docs)]
    pub fetched_at: String,
    /// When it was deleted, and why; of such an article there is nothing else.
    pub deleted_at: Option<String>,
    #[allow(missing_docs)]
    pub deleted_reason: Option<String>,
    /// Bisan's count of changes when it last changed here.
    pub change: i64,
    /// When that was, in seconds of Unix.
    pub changed_at: i64,
}

const SUMMARY: &str = "a.id, a.source_url, a.source_name, a.title, a.lead, a.language, a.section, a.published_at,
                       a.dated_at, a.image, a.version";

fn summary(db: &Connection, row: &Row<'_>) -> Result<Summary, Error> {
    let id = row.get(0)?;
    Ok(Summary {
        id,
        source_url: row.get(1)?,
        source_name: row.get(2)?,
        title: row.get(3)?,
        lead: row.get(4)?,
        authors: signatures(db, id)?,
        language: row.get(5)?,
        section: row.get(6)?,
        published_at: row.get(7)?,
        dated_at: row.get(8)?,
        image: row.get(9)?,
        version: row.get(10)?,
    })
}

fn signatures(db: &Connection, article: i64) -> Result<Vec<Signature>, Error> {
    let mut query = db.prepare_cached(
        "select (with recursive chain (id, merged_into) as (
                     select id, merged_into from author where id = w.author_id
                     union select p.id, p.merged_into from chain c join author p on p.id = c.merged_into)
                 select id from chain where merged_into is null), w.name
           from article_author w
          where w.article_id = ?1
          order by w.position",
    )?;
    let mut all: Vec<Signature> = vec![];
    for row in query.query_map([article], |row| Ok(Signature { id: row.get(0)?, name: row.get(1)? }))? {
        let one = row?;
        // Two of one article may have become one person.
        if !all.iter().any(|other| other.id == one.id) {
            all.push(one);
        }
    }
    Ok(all)
}

/// The place in a list behind which it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The last one's.
    pub dated_at: i64,
    /// The last one's.
    pub id: i64,
}

/// In which order articles are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The newest first. An article whose date changes moves, past whoever pages through them.
    #[default]
    Newest,
    /// As they were first seen. Nothing ever moves.
    FirstSeen,
}

/// Live articles.
pub fn list(
    db: &Connection,
    filter: &Filter,
    order: Order,
    after: Option<Cursor>,
    size: u32,
) -> Result<Vec<Summary>, Error> {
    let first = match order {
        Order::Newest => Cursor { dated_at: i64::MAX, id: i64::MAX },
        Order::FirstSeen => Cursor { dated_at: 0, id: 0 },
    };
    let after = after.unwrap_or(first);
    let (behind, order) = match order {
        Order::Newest => ("(a.dated_at, a.id) < (?1, ?2)", "a.dated_at desc, a.id desc"),
        // Numbers are given once, and rows are never removed. The date is bound, and says nothing.
        Order::FirstSeen => ("?1 is not null and a.id > ?2", "a.id"),
    };
    let (conditions, more) = filter.conditions(db, 4)?;
    let mut query = db.prepare_cached(&format!(
        "select {SUMMARY} from article a
          where a.deleted_at is null and {behind}{conditions}
          order by {order}
          limit ?3"
    ))?;
    let mut values: Vec<Value> = vec![after.dated_at.into(), after.id.into(), i64::from(size).into()];
    values.extend(more);
    let mut rows = query.query(rusqlite::params_from_iter(values))?;
    let mut all = vec![];
    while let Some(row) = rows.next()? {
        all.push(summary(db, row)?);
    }
    Ok(all)
}

/// A live article and its text, for what was found.
pub(crate) fn hit(db: &Connection, id: i64) -> Result<Option<(Summary, String)>, Error> {
    let mut query = db.prepare_cached(&format!(
        "select {SUMMARY}, a.body from article a where a.id = ?1 and a.deleted_at is null"
    ))?;
    let mut rows = query.query([id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some((summary(db, row)?, row.get(11)?)))
}

/// An article, also a deleted one.
pub fn article(db: &Connection, id: i64) -> Result<Option<Full>, Error> {
    let mut query = db.prepare_cached(&format!(
        "select {SUMMARY}, a.body, a.modified_at, a.canonical_url, a.images, a.tags, a.content_hash, a.discovered_at,
                a.fetched_at, a.deleted_at, a.deleted_reason, a.change, a.changed_at
           from article a where a.id = ?1"
    ))?;
    let mut rows = query.query([id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let list = |at: usize| -> Result<Vec<String>, Error> {
        Ok(serde_json::from_str(row.get_ref(at)?.as_str().map_err(rusqlite::Error::from)?).unwrap_or_default())
    };
    Ok(Some(Full {
        summary: summary(db, row)?,
        body: row.get(11)?,
        modified_at: row.get(12)?,
        canonical_url: row.get(13)?,
        images: list(14)?,
        tags: list(15)?,
        content_hash: row.get(16)?,
        discovered_at: row.get(17)?,
        fetched_at: row.get(18)?,
        deleted_at: row.get(19)?,
        deleted_reason: row.get(20)?,
        change: row.get(21)?,
        changed_at: row.get(22)?,
    }))
}

/// The id of the article at an address.
pub fn id_of(db: &Connection, url: &str) -> Result<Option<i64>, Error> {
    let mut query = db.prepare_cached("select id from article where source_url = ?1")?;
    Ok(query.query_row([url], |row| row.get(0)).optional()?)
}

/// The number of the newest change: what was answered is still true as long as it is the same.
pub fn newest_change(db: &Connection) -> Result<i64, Error> {
    let mut query = db.prepare_cached("select coalesce(max(change), 0) from article")?;
    Ok(query.query_row([], |row| row.get(0))?)
}

/// What can be chosen from: the sources and languages of live articles.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Choices {
    #[allow(missing_docs)]
    pub sources: Vec<String>,
    #[allow(missing_docs)]
    pub languages: Vec<String>,
}

/// From value to value, without reading what lies between them.
pub fn choices(db: &Connection) -> Result<Choices, Error> {
    let distinct = |column: &str| -> Result<Vec<String>, Error> {
        let mut query = db.prepare_cached(&format!(
            "with recursive one (value) as (
                 select min({column}) from article where deleted_at is null
                 union all
                 select (select min({column}) from article where deleted_at is null and {column} > one.value)
                   from one where one.value is not null
             )
             select value from one where value is not null"
        ))?;
        let values = query.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(values)
    };
    Ok(Choices { sources: distinct("source_name")?, languages: distinct("language")? })
}
