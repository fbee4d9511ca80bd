//! What is to be brought to the search index.

use rusqlite::{Transaction, params};

use super::now;
use crate::Error;

/// The number of the next change. It rises with every change of any article, and is never given twice.
pub(super) fn next_change(tx: &Transaction<'_>) -> Result<i64, Error> {
    // Articles are never removed from the table, so the highest number stays.
    let mut last = tx.prepare_cached("select coalesce(max(change), 0) + 1 from article")?;
    Ok(last.query_row([], |row| row.get(0))?)
}

/// An article has changed, and the index does not know it yet. A newer change takes the place of an older one.
pub(super) fn mark(tx: &Transaction<'_>, article: i64, change: i64) -> Result<(), Error> {
    tx.prepare_cached(
        "insert into search_dirty (article_id, change, dirty_at) values (?1, ?2, ?3)
         on conflict (article_id) do update set change = excluded.change",
    )?
    .execute(params![article, change, now()])?;
    Ok(())
}

/// The article itself is as it was, and what is shown of it is not: an author of it was merged, or its text folded anew.
pub(super) fn touch(tx: &Transaction<'_>, article: i64) -> Result<(), Error> {
    let change = next_change(tx)?;
    tx.prepare_cached("update article set change = ?2, changed_at = ?3 where id = ?1")?.execute(params![
        article,
        change,
        now()
    ])?;
    mark(tx, article, change)
}
