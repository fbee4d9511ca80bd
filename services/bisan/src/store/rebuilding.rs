//! Statements about the spare index: how far it is, and what happens when it changes places with the other one.

use rusqlite::{Connection, OptionalExtension, Result, Transaction};

use super::projecting::{Queue, refusals_swapped, refused_nothing};

/// What is being done with the spare index. The order is that of a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// It is emptied and given its settings.
    Making,
    /// All articles are brought to it.
    Loading,
    /// What has changed since is brought to it.
    CatchingUp,
    /// It changes places with the other one.
    Swapping,
    /// It is the one that was before, and kept.
    Swapped,
    /// It is deleted.
    Dropping,
}

impl Step {
    const ALL: [(Self, &str); 6] = [
        (Self::Making, "making"),
        (Self::Loading, "loading"),
        (Self::CatchingUp, "catching_up"),
        (Self::Swapping, "swapping"),
        (Self::Swapped, "swapped"),
        (Self::Dropping, "dropping"),
    ];

    /// Its name in the table.
    pub(crate) fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(step, _)| *step == self).expect("all are named").1
    }
}

impl rusqlite::types::FromSql for Step {
    fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
        let name = value.as_str()?;
        let known = Self::ALL.iter().find(|(_, known)| *known == name);
        known.map(|(step, _)| *step).ok_or(rusqlite::types::FromSqlError::InvalidType)
    }
}

/// The spare index as it stands.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Spare {
    pub(crate) step: Step,
    /// All live articles up to this number have been brought there.
    pub(crate) loaded_upto: i64,
    pub(crate) made_at: Option<String>,
    pub(crate) live_made_at: Option<String>,
    pub(crate) begun_at: i64,
    /// It was before, and is to answer again.
    pub(crate) back: bool,
}

/// The spare index, if there is one.
pub(crate) fn spare(db: &Connection) -> Result<Option<Spare>> {
    db.query_row("select step, loaded_upto, made_at, live_made_at, begun_at, back from search_spare", [], |row| {
        Ok(Spare {
            step: row.get(0)?,
            loaded_upto: row.get(1)?,
            made_at: row.get(2)?,
            live_made_at: row.get(3)?,
            begun_at: row.get(4)?,
            back: row.get(5)?,
        })
    })
    .optional()
}

/// A rebuild begins: from here on, every change is noted for the spare index. `back`: it takes the place of one that was to
/// answer again, and is lost.
pub(crate) fn begin(tx: &Transaction<'_>, back: bool) -> Result<()> {
    tx.execute("delete from search_behind", [])?;
    refused_nothing(tx, Queue::Spare)?;
    tx.execute(
        "insert into search_spare (one, step, begun_at, stepped_at, back) values (1, 'making', unixepoch(), unixepoch(), ?1)
         on conflict (one) do update
            set step = excluded.step, loaded_upto = 0, made_at = null, live_made_at = null,
                begun_at = excluded.begun_at, stepped_at = excluded.stepped_at, back = excluded.back",
        [back],
    )?;
    Ok(())
}

/// The index that was before is to answer again.
pub(crate) fn begin_back(tx: &Transaction<'_>) -> Result<()> {
    tx.execute("update search_spare set back = 1", [])?;
    step(tx, Step::CatchingUp)
}

/// It is kept after all, and does not answer.
pub(crate) fn keep(tx: &Transaction<'_>) -> Result<()> {
    tx.execute("update search_spare set back = 0", [])?;
    step(tx, Step::Swapped)
}

/// The spare index is there, and empty.
pub(crate) fn made(tx: &Transaction<'_>, made_at: &str) -> Result<()> {
    tx.execute(
        "update search_spare set step = 'loading', made_at = ?1, loaded_upto = 0, stepped_at = unixepoch()",
        [made_at],
    )?;
    Ok(())
}

/// All live articles up to this number have been brought to it.
pub(crate) fn loaded(tx: &Transaction<'_>, upto: i64) -> Result<()> {
    tx.execute("update search_spare set loaded_upto = max(loaded_upto, ?1)", [upto])?;
    Ok(())
}

/// On to another step.
pub(crate) fn step(tx: &Transaction<'_>, step: Step) -> Result<()> {
    tx.execute("update search_spare set step = ?1, stepped_at = unixepoch()", [step.as_str()])?;
    Ok(())
}

/// They are about to change places. Afterwards it can be told by these whether they have.
pub(crate) fn about_to_swap(tx: &Transaction<'_>, live_made_at: &str) -> Result<()> {
    tx.execute(
        "update search_spare set step = 'swapping', live_made_at = ?1, stepped_at = unixepoch()",
        [live_made_at],
    )?;
    Ok(())
}

/// They have changed places.
///
/// What was under way at that moment may have reached either of them. So whatever waits for one of them waits for both from
/// here on: an index that is told a second time is none the worse for it.
pub(crate) fn swapped(tx: &Transaction<'_>) -> Result<()> {
    tx.execute(
        "insert into search_behind (article_id, change) select article_id, change from search_dirty where true
         on conflict (article_id) do nothing",
        [],
    )?;
    tx.execute(
        "insert into search_dirty (article_id, change, dirty_at)
         select article_id, change, unixepoch() from search_behind where true
         on conflict (article_id) do nothing",
        [],
    )?;
    tx.execute(
        "insert into fact (name, value) select 'search_index', made_at from search_spare where true
         on conflict (name) do update set value = excluded.value",
        [],
    )?;
    tx.execute(
        "update search_spare
            set step = 'swapped', made_at = live_made_at, live_made_at = made_at, stepped_at = unixepoch(), back = 0",
        [],
    )?;
    refusals_swapped(tx)?;
    tx.execute(
        "insert into fact (name, value) values ('search_swaps', '1')
         on conflict (name) do update set value = value + 1",
        [],
    )?;
    Ok(())
}

/// How often they have changed places: who has begun before and ends after has written to another index than it meant.
pub(crate) fn swaps(db: &Connection) -> Result<i64> {
    let swaps =
        db.query_row("select cast(value as integer) from fact where name = 'search_swaps'", [], |row| row.get(0));
    Ok(swaps.optional()?.unwrap_or(0))
}

/// There is no spare index any more, and nothing is noted for it.
pub(crate) fn dropped(tx: &Transaction<'_>) -> Result<()> {
    tx.execute("delete from search_behind", [])?;
    refused_nothing(tx, Queue::Spare)?;
    tx.execute("delete from search_spare", [])?;
    Ok(())
}

/// How many live articles there are up to a number.
pub(crate) fn extent(db: &Connection, upto: i64) -> Result<u64> {
    db.query_row("select count(*) from article where deleted_at is null and id <= ?1", [upto], |row| {
        row.get::<_, u32>(0).map(u64::from)
    })
}

/// Notes an article for the spare index, which turned out not to have it as it is.
pub(crate) fn behind(tx: &Transaction<'_>, id: i64) -> Result<()> {
    tx.execute(
        "insert into search_behind (article_id, change) select id, change from article where id = ?1
         on conflict (article_id) do nothing",
        [id],
    )?;
    Ok(())
}
