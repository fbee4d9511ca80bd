//! Whether a file has ever been read into: one that has not, under a group that has been somewhere, lacks what came before.

use rusqlite::{Connection, Result, Transaction};

/// Whether the stream was ever read into this file, or an archive. A file that was only made has not begun.
pub(crate) fn has_begun(db: &Connection) -> Result<bool> {
    db.query_row(
        "select exists (select 1 from fact where name = 'reading_begun') or exists (select 1 from article)
             or exists (select 1 from inbox_seen) or exists (select 1 from inbox_floor)",
        [],
        |row| row.get(0),
    )
}

/// From here on the stream is read into this file. Said before anything is read: whoever dies behind it has lost nothing.
pub(crate) fn begin_reading(tx: &Transaction<'_>) -> Result<()> {
    tx.execute(
        "insert into fact (name, value) values ('reading_begun', strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
         on conflict (name) do nothing",
        [],
    )?;
    Ok(())
}
