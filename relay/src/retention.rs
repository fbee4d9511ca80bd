//! Published rows are deleted once they are old enough, some at a time, and never an unsent one.

use std::time::{Duration, Instant};

use sqlx::PgConnection;

use crate::config::{Config, Database};
use crate::schedule::is_time;
use crate::{Error, store};

/// Few enough to take some milliseconds, and never to be in anybody's way.
const CHUNK_ROWS_MAX: i64 = 2_000;
/// Nothing is locked for longer. What would be, because rows are large or triggers slow, is tried again with fewer rows.
const CHUNK_TIME_MAX: Duration = Duration::from_secs(2);
/// Nor does it take longer to find out what is old.
const LOOK_TIME_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What was replayed or dropped stays for so long, so that it is not taken for new if Redis brings it again. What a consumer has
/// done is remembered for as long.
pub(crate) const LETTERS_DAYS: i32 = 30;
/// All letters are looked through for that.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// How many rows go at once: a quarter after a time that was too long, then ever more again.
struct Chunk(i64);

impl Chunk {
    /// `None`: it took too long, and nothing was deleted.
    fn took(&mut self, deleted: Result<i64, sqlx::Error>) -> Result<Option<i64>, sqlx::Error> {
        match deleted {
            Ok(deleted) => {
                self.0 = (self.0 * 2).min(CHUNK_ROWS_MAX);
                Ok(Some(deleted))
            }
            Err(error) if self.0 > 1 && store::took_too_long(&error) => {
                self.0 = (self.0 / 4).max(1);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// What came of pruning.
#[derive(Debug, Default)]
pub(crate) struct Pruned {
    pub(crate) rows: i64,
    /// Streams of which not even one row could be deleted in time: it waits, and what is behind it.
    pub(crate) stuck: Vec<String>,
}

impl Pruned {
    /// What a person has to hear of streams that are stuck.
    pub(crate) const STUCK: &str = "one row takes longer than 2 s to delete (a trigger, or a foreign key without an index?); it waits, and what is behind it";
}

/// Deletes what is older than that, and tells how far it has come after each chunk.
pub(crate) async fn prune(
    db: &mut PgConnection,
    older_than: Duration,
    mut progress: impl FnMut(i64),
) -> Result<Pruned, sqlx::Error> {
    store::limit_statements(db, LOOK_TIME_MAX, false).await?;
    let (mut pruned, mut chunk) = (Pruned::default(), Chunk(CHUNK_ROWS_MAX));
    for upto in store::prunable(db, older_than).await? {
        loop {
            let rows_max = chunk.0;
            let rows = match chunk.took(store::prune(db, &upto, rows_max, CHUNK_TIME_MAX).await) {
                Ok(Some(rows)) => rows,
                Ok(None) => continue,
                // The other streams are not to blame.
                Err(error) if store::took_too_long(&error) => {
                    pruned.stuck.push(upto.stream);
                    break;
                }
                Err(error) => return Err(error),
            };
            pruned.rows += rows;
            progress(pruned.rows);
            if rows < rows_max {
                break;
            }
        }
    }
    Ok(pruned)
}

/// Forgets letters that were replayed or dropped long ago, and consumers that have said nothing since.
async fn forget(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    while store::forget_letters(db, LETTERS_DAYS, CHUNK_ROWS_MAX).await? == CHUNK_ROWS_MAX {}
    store::forget_consumers(db, LETTERS_DAYS).await
}

/// Prunes for ever, beside the engine and on a connection of its own.
pub(crate) async fn keep_pruning(config: &Config) {
    loop {
        if let Err(error) = prune_while_connected(&config.database, config.retention).await {
            tracing::warn!(%error, "retention will be tried again");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn prune_while_connected(database: &Database, retention: Duration) -> Result<(), Error> {
    let mut db = database.connect().await?;
    let (mut forget_at, mut stuck): (_, Vec<String>) = (None, vec![]);
    loop {
        let pruned = if retention.is_zero() { Pruned::default() } else { prune(&mut db, retention, |_| {}).await? };
        if pruned.rows > 0 {
            tracing::info!(deleted = pruned.rows, "published rows are past their retention");
        }
        for stream in pruned.stuck.iter().filter(|stream| !stuck.contains(stream)) {
            tracing::warn!(stream, "retention is stuck: {}", Pruned::STUCK);
        }
        stuck = pruned.stuck;
        if is_time(&mut forget_at, Instant::now(), FORGET_EVERY) {
            forget(&mut db).await?;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
