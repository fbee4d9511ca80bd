//! Published rows are deleted once they are old enough, some at a time, and never an unsent one.

use std::time::Duration;

use sqlx::PgConnection;

use crate::config::{Config, Database};
use crate::{Error, store};

/// Few enough to take some milliseconds, and never to be in anybody's way.
const CHUNK_ROWS: i64 = 2_000;
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What was replayed or dropped stays for so long, so that it is not taken for new if Redis brings it again.
const LETTERS_DAYS: i32 = 30;

/// Deletes what is older than that, and tells how far it has come after each chunk. Returns how many rows went.
pub(crate) async fn prune(
    db: &mut PgConnection,
    older_than: Duration,
    mut progress: impl FnMut(i64),
) -> Result<i64, sqlx::Error> {
    let mut deleted = 0;
    for upto in store::prunable(db, older_than).await? {
        loop {
            let chunk = store::prune(db, &upto, CHUNK_ROWS).await?;
            deleted += chunk;
            progress(deleted);
            if chunk < CHUNK_ROWS {
                break;
            }
        }
    }
    Ok(deleted)
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
    loop {
        let deleted = if retention.is_zero() { 0 } else { prune(&mut db, retention, |_| {}).await? };
        if deleted > 0 {
            tracing::info!(deleted, "published rows are past their retention");
        }
        store::forget_letters(&mut db, LETTERS_DAYS).await?;
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
