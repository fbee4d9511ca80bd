//! The file in numbers, for whoever watches it.

use rusqlite::Connection;

use crate::Error;

/// The file in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) articles: i64,
    pub(crate) deleted: i64,
    /// Articles that are to be brought to the search index, and how long the oldest of them has waited.
    pub(crate) waiting: i64,
    pub(crate) oldest_seconds: i64,
    /// Articles that the search index does not take.
    pub(crate) refused: i64,
    /// Of each stream the newest entry that took effect: stream, generation, number.
    pub(crate) applied: Vec<(String, i64, i64)>,
}

/// Counts.
pub(crate) fn figures(db: &Connection) -> Result<Figures, Error> {
    let mut query = db.prepare_cached(
        "select (select count(*) from article where deleted_at is null),
                (select count(*) from article where deleted_at is not null),
                (select count(*) from search_dirty),
                (select coalesce(max(unixepoch() - min(dirty_at), 0), 0) from search_dirty),
                (select count(*) from search_refused where queue = 'live')",
    )?;
    let figures = query.query_row([], |row| {
        Ok(Figures {
            articles: row.get(0)?,
            deleted: row.get(1)?,
            waiting: row.get(2)?,
            oldest_seconds: row.get(3)?,
            refused: row.get(4)?,
            applied: vec![],
        })
    })?;
    // What is settled by the whole group has left the inbox, and its position has stayed.
    let mut query = db.prepare_cached(
        "select lane, generation, max(seq) from (
             select lane, generation, seq from inbox_seen union all select lane, generation, seq from inbox_floor) all_of_it
          group by lane, generation
         having generation = (select max(generation) from (
             select lane, generation from inbox_seen union all select lane, generation from inbox_floor) other
              where other.lane = all_of_it.lane)
          order by lane",
    )?;
    let applied = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(Figures { applied: applied.collect::<Result<_, _>>()?, ..figures })
}
