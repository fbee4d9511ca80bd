//! Whether a file has ever been read into: one that has not, under a group that has been somewhere, lacks what came before.

use rusqlite::{Connection, Result, Transaction};

/// What a file is before anything is read into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begun {
    /// The stream was read into it, or a whole export of the archive.
    Yes,
    /// It has articles of an export that was not read to its end.
    HalfRebuilt,
    /// It was made, and that is all.
    No,
}

/// How far it has come. What lies in it says nothing: a rebuild that was cut off leaves articles, too.
pub(crate) fn begun(db: &Connection) -> Result<Begun> {
    db.query_row(
        "select exists (select 1 from fact where name in ('reading_begun', 'rebuilt'))
             or exists (select 1 from inbox_seen) or exists (select 1 from inbox_floor),
                exists (select 1 from article) or exists (select 1 from author)",
        [],
        |row| {
            Ok(match (row.get(0)?, row.get(1)?) {
                (true, _) => Begun::Yes,
                (false, true) => Begun::HalfRebuilt,
                (false, false) => Begun::No,
            })
        },
    )
}

/// From here on the stream is read into this file. Said before anything is read: whoever dies behind it has lost nothing.
pub(crate) fn begin_reading(tx: &Transaction<'_>) -> Result<()> {
    note(tx, "reading_begun")
}

/// All of an export is in this file. Said after the last line was written: whoever dies before it has to read it again.
pub(crate) fn rebuilt(tx: &Transaction<'_>) -> Result<()> {
    note(tx, "rebuilt")
}

fn note(tx: &Transaction<'_>, name: &str) -> Result<()> {
    tx.execute(
        "insert into fact (name, value) values (?1, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
         on conflict (name) do nothing",
        [name],
    )?;
    Ok(())
}
