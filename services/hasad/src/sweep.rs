//! Deleting objects that nobody names: mark, wait for the grace, look again under the lock, delete.
//!
//! Why no object can go that somebody names, also while it is being written: docs/decisions.md.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use sqlx::PgPool;

use crate::objects::{Listed, Objects};
use crate::{Error, store};

/// So many objects are deleted under one lock.
const BATCH: i64 = 100;
/// So many are looked up together.
const CHUNK: usize = 1_000;
/// All requests of one batch together; far less than what writers wait for after a sweeper has died.
const DELETE_MAX: Duration = Duration::from_secs(60);

/// What a sweep found and did.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Swept {
    /// Objects in the store.
    pub(crate) listed: u64,
    /// Of them, without a row: they have one now, with a mark.
    pub(crate) orphans: u64,
    /// Objects that lost their last name, and are marked now.
    pub(crate) marked: u64,
    /// Deleted: marked, and their grace was over.
    pub(crate) deleted: u64,
    /// Bytes that were freed.
    pub(crate) bytes: u64,
    /// Marked, and named again when it was looked once more.
    pub(crate) spared: u64,
    /// Files that writes which died had left in a folder.
    pub(crate) leftovers: u64,
    /// Names that are not ours, which are never touched.
    pub(crate) strangers: u64,
}

/// A sweep, and who wants to know how far it is.
pub(crate) struct Sweep<'a> {
    pub(crate) db: &'a PgPool,
    pub(crate) objects: &'a Objects,
    /// None: only what has no grace, being what a purge left.
    pub(crate) grace: Option<Duration>,
    pub(crate) tell: &'a (dyn Fn(&Swept) + Sync),
}

impl Sweep<'_> {
    /// All of it.
    pub(crate) async fn run(&self) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        self.adopt_orphans(&mut swept).await?;
        swept.marked = store::mark(self.db).await?.len() as u64;
        (self.tell)(&swept);
        self.delete(&mut swept).await?;
        swept.leftovers = self.objects.tidy(self.grace.unwrap_or_default()).await?;
        Ok(swept)
    }

    /// What it would delete now, and what it would mark: nothing is written.
    pub(crate) async fn dry_run(&self) -> Result<Swept, Error> {
        let (deleted, bytes) = store::marked(self.db, self.grace.unwrap_or_default()).await?;
        let mut swept = Swept { deleted: deleted.unsigned_abs(), bytes: bytes.unsigned_abs(), ..Swept::default() };
        swept.marked = store::unmarked(self.db).await?.unsigned_abs();
        let mut chunks = self.objects.list().try_chunks(CHUNK);
        while let Some(chunk) = chunks.next().await {
            let ours = self.take_in(&chunk.map_err(|failed| failed.1)?, &mut swept);
            let hashes: Vec<_> = ours.into_iter().map(|(hash, _)| hash).collect();
            swept.orphans += store::without_row(self.db, &hashes).await?.unsigned_abs();
        }
        Ok(swept)
    }

    /// Objects without a row: a write that died put them there. They get a row with a mark, and so their grace begins.
    async fn adopt_orphans(&self, swept: &mut Swept) -> Result<(), Error> {
        let mut chunks = self.objects.list().try_chunks(CHUNK);
        while let Some(chunk) = chunks.next().await {
            let ours = self.take_in(&chunk.map_err(|failed| failed.1)?, swept);
            let (hashes, bytes): (Vec<_>, Vec<_>) = ours.into_iter().unzip();
            swept.orphans += store::adopt(self.db, &hashes, &bytes).await?.len() as u64;
            (self.tell)(swept);
        }
        Ok(())
    }

    fn take_in(&self, listed: &[Listed], swept: &mut Swept) -> Vec<(String, i64)> {
        swept.listed += listed.len() as u64;
        let ours = listed.iter().filter_map(|one| Some((one.hash.clone()?, one.bytes as i64)));
        let ours: Vec<_> = ours.collect();
        swept.strangers += (listed.len() - ours.len()) as u64;
        ours
    }

    /// Deletes what is marked and whose grace is over.
    pub(crate) async fn delete(&self, swept: &mut Swept) -> Result<(), Error> {
        loop {
            let claimed = store::claim(self.db, self.grace, BATCH).await?;
            if claimed.is_empty() {
                return Ok(());
            }
            let hashes: Vec<String> = claimed.iter().map(|one| one.hash.clone()).collect();
            let begun = Instant::now();
            let mut tx = self.db.begin().await?;
            let locked = store::lock_claimed(&mut tx, &hashes).await?;
            let named = store::unclaim(&mut tx, &locked).await?;
            let free: Vec<String> = locked.into_iter().filter(|hash| !named.contains(hash)).collect();
            let deletes = stream::iter(&free).map(|hash| async move {
                // A process that was frozen meanwhile may have lost its lock without knowing.
                if begun.elapsed() > DELETE_MAX {
                    Err(Error::Slow(DELETE_MAX))
                } else {
                    Ok(self.objects.erase(hash).await?)
                }
            });
            let deletes = deletes.buffer_unordered(self.objects.at_once).try_collect::<Vec<()>>();
            tokio::time::timeout(DELETE_MAX, deletes).await.map_err(|_| Error::Slow(DELETE_MAX))??;
            swept.deleted += store::delete_rows(&mut tx, &free).await?;
            tx.commit().await?;
            swept.spared += named.len() as u64;
            swept.bytes += claimed
                .iter()
                .filter(|one| free.contains(&one.hash))
                .map(|one| one.bytes.unsigned_abs())
                .sum::<u64>();
            (self.tell)(swept);
        }
    }
}
