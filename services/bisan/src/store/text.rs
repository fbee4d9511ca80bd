//! The folded text of live articles, always in the transaction that changes the article.

use rusqlite::{Connection, Transaction, params};

use crate::{Error, fold};

/// What of an article is searched, as it was written.
#[derive(Debug)]
pub(super) struct Text<'a> {
    pub(super) title: &'a str,
    pub(super) lead: &'a str,
    pub(super) authors: &'a str,
    pub(super) body: &'a str,
}

impl Text<'_> {
    /// Title, lead, authors and body as they lie in the index.
    pub(super) fn folded(&self) -> [String; 4] {
        [self.title, self.lead, self.authors, self.body].map(fold::text)
    }
}

pub(super) fn put(tx: &Transaction<'_>, article: i64, text: &Text<'_>) -> Result<(), Error> {
    let [title, lead, authors, body] = text.folded();
    tx.prepare_cached("insert into article_text (rowid, title, lead, authors, body) values (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![article, title, lead, authors, body])?;
    Ok(())
}

pub(super) fn remove(tx: &Transaction<'_>, article: i64) -> Result<(), Error> {
    tx.prepare_cached("delete from article_text where rowid = ?1")?.execute([article])?;
    Ok(())
}

/// Folds every live article anew.
pub(super) fn fold_all(tx: &Transaction<'_>) -> Result<usize, Error> {
    tx.execute("delete from article_text", [])?;
    let mut count = 0;
    let mut articles = tx.prepare(&format!("{ORIGINALS} order by a.id"))?;
    let mut rows = articles.query([0])?;
    while let Some(row) = rows.next()? {
        original(row, |id, text| put(tx, id, text))??;
        count += 1;
    }
    Ok(count)
}

/// Live articles from this id on, with what is searched of them.
pub(super) const ORIGINALS: &str = "
    select a.id, a.title, a.lead, a.body,
           coalesce((select group_concat(name, ' ' order by position) from article_author where article_id = a.id), '')
      from article a
     where a.deleted_at is null and a.id >= ?1";

/// A row of [`ORIGINALS`].
pub(super) fn original<T>(row: &rusqlite::Row<'_>, with: impl FnOnce(i64, &Text<'_>) -> T) -> rusqlite::Result<T> {
    let text = |at: usize| -> rusqlite::Result<&str> { Ok(row.get_ref(at)?.as_str()?) };
    let text = Text { title: text(1)?, lead: text(2)?, body: text(3)?, authors: text(4)? };
    Ok(with(row.get(0)?, &text))
}

/// How many articles can be found.
pub(super) fn count(db: &Connection) -> Result<i64, Error> {
    Ok(db.query_row("select count(*) from article_text", [], |row| row.get(0))?)
}
