//! Statements of the way to the search index: what is to be brought there, what has been, and what it refused.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Result, Row, Transaction, params};

use crate::meili::{Document, TaskId};

/// The fact under which the last task is kept.
const SEEN_TASK: &str = "search_task";

/// Which of the two indexes something is to be brought to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// The one that answers searches.
    Live,
    /// The one beside it.
    Spare,
}

impl Queue {
    /// Its name in the table of refusals.
    fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Spare => "spare",
        }
    }
}

/// An article that is to be brought to an index, or removed from it.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) id: i64,
    pub(crate) change: i64,
    /// None: it is deleted.
    pub(crate) line: Option<Vec<u8>>,
}

/// An article that an index does not take.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Refused {
    /// Its number.
    pub article_id: i64,
    /// Its address.
    pub source_url: String,
    /// Meilisearch's name for the reason.
    pub code: String,
    /// What it says.
    pub reason: String,
    /// In seconds of Unix.
    pub refused_at: i64,
}

/// How the search index stands, as far as the file knows.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Standing {
    /// Articles that are to be brought to the index.
    pub dirty: u32,
    /// Since when the oldest of them waits, in seconds of Unix.
    pub dirty_since: Option<i64>,
    /// Articles that the index does not take.
    pub refused: u32,
    /// Where the spare index stands, if there is one.
    pub spare: Option<String>,
    /// Articles that the spare index does not have as they are.
    pub behind: u32,
    /// Articles that the spare index does not take.
    pub spare_refused: u32,
}

/// What is to be brought to an index first: so many articles, and so many bytes, but one at least.
pub(crate) fn waiting(db: &Connection, queue: Queue, items_max: usize, bytes_max: usize) -> Result<Vec<Item>> {
    let mut select = db.prepare_cached(match queue {
        Queue::Live => {
            "select s.*, d.change as dirty from search_dirty d join search_document s on s.id = d.article_id
              order by d.change limit ?1"
        }
        Queue::Spare => {
            "select s.*, b.change as dirty from search_behind b join search_document s on s.id = b.article_id
              order by b.change limit ?1"
        }
    })?;
    let mut rows = select.query([items_max as i64])?;
    take(&mut rows, bytes_max)
}

/// Live articles beyond a number, in the order of their numbers.
pub(crate) fn live_after(db: &Connection, id: i64, items_max: usize, bytes_max: usize) -> Result<Vec<Item>> {
    let mut select = db.prepare_cached(
        "select s.*, s.change as dirty from search_document s where s.id > ?1 and s.live order by s.id limit ?2",
    )?;
    let mut rows = select.query(params![id, items_max as i64])?;
    take(&mut rows, bytes_max)
}

/// Reads until there is enough: texts that are not sent now are not held in memory.
fn take(rows: &mut rusqlite::Rows<'_>, bytes_max: usize) -> Result<Vec<Item>> {
    let mut items = vec![];
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let live: bool = row.get("live")?;
        let line = if live { Some(document(row)?.line()) } else { None };
        bytes += line.as_ref().map_or(0, Vec::len);
        if bytes > bytes_max && !items.is_empty() {
            break;
        }
        items.push(Item { id: row.get("id")?, change: row.get("dirty")?, line });
    }
    Ok(items)
}

/// Some articles as the index is to have them; those that are deleted are left out.
pub(crate) fn documents(db: &Connection, ids: &[i64]) -> Result<Vec<Document>> {
    let ids = serde_json::to_string(ids).expect("numbers are JSON");
    db.prepare_cached("select s.* from search_document s where s.live and s.id in (select value from json_each(?1))")?
        .query_map([ids], document)?
        .collect()
}

fn document(row: &Row<'_>) -> Result<Document> {
    let document = Document {
        id: row.get("id")?,
        change: row.get("change")?,
        source_url: row.get("source_url")?,
        source_name: row.get("source_name")?,
        title: row.get("title")?,
        lead: row.get("lead")?,
        body: row.get("body")?,
        authors: list(row, "authors")?,
        author_ids: list(row, "author_ids")?,
        section: row.get("section")?,
        tags: list(row, "tags")?,
        language: row.get("language")?,
        dated_at: row.get("dated_at")?,
        hash: String::new(),
    };
    Ok(document.sealed())
}

fn list<T: serde::de::DeserializeOwned>(row: &Row<'_>, name: &str) -> Result<Vec<T>> {
    let text: String = row.get(name)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into()))
}

/// An index has an article as it was at this change: it no longer waits, unless it has changed again.
pub(crate) fn brought(tx: &Transaction<'_>, queue: Queue, id: i64, change: i64) -> Result<()> {
    if queue == Queue::Live {
        // While they change places nobody knows which of them it is. So it is noted for the other one; and what is noted for
        // one is, when they have changed places, noted for both.
        tx.prepare_cached(
            "insert into search_behind (article_id, change)
             select article_id, change from search_dirty
              where article_id = ?1 and change = ?2 and exists (select 1 from search_spare where step = 'swapping')
             on conflict (article_id) do nothing",
        )?
        .execute([id, change])?;
    }
    tx.prepare_cached(match queue {
        Queue::Live => "delete from search_dirty where article_id = ?1 and change = ?2",
        Queue::Spare => "delete from search_behind where article_id = ?1 and change = ?2",
    })?
    .execute([id, change])?;
    Ok(())
}

/// An index has an article after all.
pub(crate) fn accepted(tx: &Transaction<'_>, queue: Queue, id: i64) -> Result<()> {
    tx.prepare_cached("delete from search_refused where queue = ?1 and article_id = ?2")?
        .execute(params![queue.as_str(), id])?;
    Ok(())
}

/// An index does not take an article, and says why.
pub(crate) fn refused(
    tx: &Transaction<'_>,
    queue: Queue,
    id: i64,
    change: i64,
    code: &str,
    reason: &str,
) -> Result<()> {
    tx.prepare_cached(
        "insert into search_refused (queue, article_id, change, code, reason, refused_at)
         values (?1, ?2, ?3, ?4, ?5, unixepoch())
         on conflict (queue, article_id) do update
            set change = excluded.change, code = excluded.code, reason = excluded.reason, refused_at = excluded.refused_at",
    )?
    .execute(params![queue.as_str(), id, change, code, reason])?;
    Ok(())
}

/// An index is another one than the one that refused something.
pub(super) fn refused_nothing(tx: &Transaction<'_>, queue: Queue) -> Result<()> {
    tx.execute("delete from search_refused where queue = ?1", [queue.as_str()])?;
    Ok(())
}

/// The indexes have changed places, and what each has refused with them.
pub(super) fn refusals_swapped(tx: &Transaction<'_>) -> Result<()> {
    for (from, to) in [("live", "swapping"), ("spare", "live"), ("swapping", "spare")] {
        tx.execute("update search_refused set queue = ?2 where queue = ?1", [from, to])?;
    }
    Ok(())
}

/// The articles that the index that answers searches does not take, the newest refusal first.
pub fn refusals(db: &Connection, items_max: usize) -> Result<Vec<Refused>> {
    db.prepare_cached(
        "select r.article_id, a.source_url, r.code, r.reason, r.refused_at
           from search_refused r join article a on a.id = r.article_id
          where r.queue = 'live'
          order by r.refused_at desc, r.article_id limit ?1",
    )?
    .query_map([items_max as i64], |row| {
        Ok(Refused {
            article_id: row.get(0)?,
            source_url: row.get(1)?,
            code: row.get(2)?,
            reason: row.get(3)?,
            refused_at: row.get(4)?,
        })
    })?
    .collect()
}

/// How the search index stands.
pub fn standing(db: &Connection) -> Result<Standing> {
    db.query_row(
        "select (select count(*) from search_dirty), (select min(dirty_at) from search_dirty),
                (select count(*) from search_refused where queue = 'live'), (select step from search_spare),
                (select count(*) from search_behind), (select count(*) from search_refused where queue = 'spare')",
        [],
        |row| {
            Ok(Standing {
                dirty: row.get(0)?,
                dirty_since: row.get(1)?,
                refused: row.get(2)?,
                spare: row.get(3)?,
                behind: row.get(4)?,
                spare_refused: row.get(5)?,
            })
        },
    )
}

/// An index is ours from now on, and nobody can tell what is in it: everything is to be brought to it, and what is deleted
/// removed from it. Until that is done it answers no search.
/// The task is the last one that its server is known to have done.
pub(crate) fn fill(tx: &Transaction<'_>, made_at: &str, task: TaskId) -> Result<usize> {
    set(tx, "search_index", made_at)?;
    set(tx, SEEN_TASK, &task.to_string())?;
    let last: i64 = tx.query_row("select coalesce(max(change), 0) from article", [], |row| row.get(0))?;
    set(tx, "search_filling", &last.to_string())?;
    refused_nothing(tx, Queue::Live)?;
    tx.execute(
        "insert into search_dirty (article_id, change, dirty_at)
         select id, change, unixepoch() from article where true
         on conflict (article_id) do nothing",
        [],
    )
}

/// Whether the index still lacks articles that were there when it became ours.
pub(crate) fn is_filling(db: &Connection) -> Result<bool> {
    db.prepare_cached(
        "select exists (select 1 from fact f join search_dirty d on d.change <= cast(f.value as integer)
                         where f.name = 'search_filling')",
    )?
    .query_row([], |row| row.get(0))
}

/// How many articles are to be in an index once nothing waits: those that are live, and that it has not refused.
pub(crate) fn expected(db: &Connection, queue: Queue) -> Result<u64> {
    db.query_row(
        "select (select count(*) from article where deleted_at is null)
              - (select count(*) from search_refused r join article a on a.id = r.article_id
                  where r.queue = ?1 and a.deleted_at is null)",
        [queue.as_str()],
        |row| row.get::<_, u32>(0).map(u64::from),
    )
}

/// Some live articles, picked by chance, that an index has not refused.
pub(crate) fn sample(db: &Connection, queue: Queue, items_max: usize) -> Result<Vec<Document>> {
    // Numbers first: to put whole texts in order by chance would read all of them.
    let ids: Vec<i64> = db
        .prepare_cached(
            "select id from article
              where deleted_at is null and id not in (select article_id from search_refused where queue = ?2)
              order by random() limit ?1",
        )?
        .query_map(params![items_max as i64, queue.as_str()], |row| row.get(0))?
        .collect::<Result<_>>()?;
    documents(db, &ids)
}

/// Every article that is to be in the index that answers searches, with its change.
pub(crate) fn changes(db: &Connection) -> Result<Vec<(i64, i64)>> {
    db.prepare(
        "select id, change from article
          where deleted_at is null and id not in (select article_id from search_refused where queue = 'live')
          order by id",
    )?
    .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
    .collect()
}

/// An article is to be brought to the index although it has not changed.
pub(crate) fn bring_again(tx: &Transaction<'_>, id: i64) -> Result<()> {
    tx.prepare_cached(
        "insert into search_dirty (article_id, change, dirty_at) select id, change, unixepoch() from article where id = ?1
         on conflict (article_id) do nothing",
    )?
    .execute([id])?;
    Ok(())
}

/// Whether an article waits to be brought to an index.
pub(crate) fn waits(db: &Connection, queue: Queue, id: i64) -> Result<bool> {
    db.prepare_cached(match queue {
        Queue::Live => "select 1 from search_dirty where article_id = ?1",
        Queue::Spare => "select 1 from search_behind where article_id = ?1",
    })?
    .exists([id])
}

/// How many articles wait to be brought to an index.
pub(crate) fn waiting_count(db: &Connection, queue: Queue) -> Result<u64> {
    db.query_row(
        match queue {
            Queue::Live => "select count(*) from search_dirty",
            Queue::Spare => "select count(*) from search_behind",
        },
        [],
        |row| row.get::<_, u32>(0).map(u64::from),
    )
}

/// How many bytes the texts come to that are to be brought to an index: less than their documents have, and told without
/// reading them.
pub(crate) fn waiting_bytes(db: &Connection, queue: Queue) -> Result<u64> {
    db.prepare_cached(match queue {
        Queue::Live => {
            "select coalesce(sum(octet_length(a.title) + octet_length(a.lead) + octet_length(a.body)), 0)
               from search_dirty d join article a on a.id = d.article_id"
        }
        Queue::Spare => {
            "select coalesce(sum(octet_length(a.title) + octet_length(a.lead) + octet_length(a.body)), 0)
               from search_behind b join article a on a.id = b.article_id"
        }
    })?
    .query_row([], |row| row.get::<_, i64>(0).map(i64::unsigned_abs))
}

/// The index that we know as ours, by when it was made.
pub(crate) fn known_index(db: &Connection) -> Result<Option<String>> {
    db.query_row("select value from fact where name = 'search_index'", [], |row| row.get(0)).optional()
}

/// Whether the file was ever brought to an index, or is being so.
pub(crate) fn is_indexed(db: &Connection) -> Result<bool> {
    db.query_row(
        "select exists (select 1 from fact where name = 'search_index') or exists (select 1 from search_spare)",
        [],
        |row| row.get(0),
    )
}

/// Whoever is the same person as this one, by their numbers.
pub(crate) fn same_person(db: &Connection, author: i64) -> Result<Vec<i64>> {
    let Some(root) = super::people::root(db, author)? else { return Ok(vec![]) };
    super::people::all_of(db, root)
}

/// The last task that the server is known to have done.
pub(crate) fn seen_task(db: &Connection) -> Result<Option<TaskId>> {
    let text = db
        .prepare_cached("select value from fact where name = ?1")?
        .query_row([SEEN_TASK], |row| row.get::<_, String>(0))
        .optional()?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// The server has done a task. Should it not know of it one day, it is an older copy of itself.
pub(crate) fn saw_task(tx: &Transaction<'_>, task: TaskId) -> Result<()> {
    match seen_task(tx)? {
        Some(last) if !task.is_after(last) => Ok(()),
        _ => set(tx, SEEN_TASK, &task.to_string()),
    }
}

/// Nobody can tell what is in the spare index, if there is one.
pub(crate) fn all_behind(tx: &Transaction<'_>) -> Result<()> {
    tx.execute(
        "insert into search_behind (article_id, change)
         select id, change from article where exists (select 1 from search_spare)
         on conflict (article_id) do nothing",
        [],
    )?;
    Ok(())
}

fn set(tx: &Transaction<'_>, name: &str, value: &str) -> Result<()> {
    tx.prepare_cached(
        "insert into fact (name, value) values (?1, ?2) on conflict (name) do update set value = excluded.value",
    )?
    .execute([name, value])?;
    Ok(())
}
