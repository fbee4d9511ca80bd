//! Who wrote, as readers see them: merged names are one person.

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::read::Filter;
use crate::Error;

/// Somebody, with everybody who is the same person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Person {
    #[allow(missing_docs)]
    pub id: i64,
    #[allow(missing_docs)]
    pub name: String,
    #[allow(missing_docs)]
    pub source_name: String,
    /// The author's page at the source.
    pub url: Option<String>,
    /// Live articles.
    pub articles: i64,
    /// Names that were merged into this one.
    pub merged: Vec<Alias>,
}

/// A name that was merged into another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alias {
    #[allow(missing_docs)]
    pub id: i64,
    #[allow(missing_docs)]
    pub name: String,
    #[allow(missing_docs)]
    pub source_name: String,
    /// `url`: both have one author's page. `operator`: somebody said so.
    pub by: String,
}

/// Who somebody is, after all merges.
pub(super) fn root(db: &Connection, author: i64) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached(
        "with recursive chain (id, merged_into) as (
             select id, merged_into from author where id = ?1
             union select p.id, p.merged_into from chain c join author p on p.id = c.merged_into)
         select id from chain where merged_into is null",
    )?
    .query_row([author], |row| row.get(0))
    .optional()
}

/// Somebody, and whoever was merged into them, at whatever distance.
pub(super) fn all_of(db: &Connection, author: i64) -> rusqlite::Result<Vec<i64>> {
    db.prepare_cached(
        "with recursive same (id) as (
             values (?1) union select p.id from same s join author p on p.merged_into = s.id)
         select id from same",
    )?
    .query_map([author], |row| row.get(0))?
    .collect()
}

/// Somebody, as whom they were merged into.
pub fn person(db: &Connection, id: i64) -> Result<Option<Person>, Error> {
    let Some(root) = root(db, id)? else { return Ok(None) };
    let mut query = db.prepare_cached(
        "with recursive same (id) as (
             values (?1) union select p.id from same s join author p on p.merged_into = s.id)
         select p.id, p.name, p.source_name, p.merged_by
           from same s join author p on p.id = s.id
          where p.id <> ?1
          order by p.source_name, p.folded_name",
    )?;
    let merged = query
        .query_map([root], |row| {
            Ok(Alias { id: row.get(0)?, name: row.get(1)?, source_name: row.get(2)?, by: row.get(3)? })
        })?
        .collect::<Result<_, _>>()?;
    let (condition, values) = Filter { author: Some(root), ..Filter::default() }.conditions(db, 1)?;
    let mut count =
        db.prepare_cached(&format!("select count(*) from article a where a.deleted_at is null{condition}"))?;
    let articles = count.query_row(rusqlite::params_from_iter(values), |row| row.get(0))?;
    let mut query = db.prepare_cached("select id, name, source_name, url from author where id = ?1")?;
    let person = query.query_row([root], |row| {
        Ok(Person {
            id: row.get(0)?,
            name: row.get(1)?,
            source_name: row.get(2)?,
            url: row.get(3)?,
            articles,
            merged,
        })
    })?;
    Ok(Some(person))
}

/// People whose folded name holds these letters, those with the most articles first.
pub fn people(db: &Connection, source: Option<&str>, letters: &str, count_max: u32) -> Result<Vec<Person>, Error> {
    let mut query = db.prepare_cached(
        "select p.id
           from author p
          where p.merged_into is null and (?1 is null or p.source_name = ?1) and instr(p.folded_name, ?2) > 0
          order by (select count(*) from article_author w where w.author_id = p.id) desc, p.folded_name, p.id
          limit ?3",
    )?;
    let ids: Vec<i64> = query
        .query_map(params![source, crate::fold::name(letters), count_max], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    ids.into_iter().filter_map(|id| person(db, id).transpose()).collect()
}
