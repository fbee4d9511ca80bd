//! The archive as a handler: objects first, then one transaction, then the acknowledgement.
//!
//! The transaction begins before the objects are put, since it holds the locks under which nobody deletes them; it ends after
//! all of them are safe. So a crash at any moment leaves an object that nobody names, and never a row without its object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryFutureExt, TryStreamExt, stream};
use outbox::{BatchHandler, Entry, Failure, Settled, inbox};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use tokio::sync::OnceCell;

use crate::objects::{Objects, Put};
use crate::told::{self, Heard, Told};
use crate::{Error, store};

/// What the archive does with events.
#[derive(Debug, Clone)]
pub struct Archive {
    /// Where versions are.
    pub db: PgPool,
    /// Where contents are.
    pub objects: Objects,
    /// Sources that are left alone.
    pub skip: Arc<BTreeSet<String>>,
    /// Articles that are larger are buried.
    pub object_bytes_max: usize,
    /// A batch that takes longer is an outage: nothing is counted, and everything comes again.
    pub write_max: Duration,
    /// What it came to.
    pub count: Arc<Count>,
    /// Our id, once the store is known to be ours.
    pub(crate) owned: Arc<OnceCell<String>>,
}

/// What was done, for people.
#[derive(Debug, Default, Serialize)]
pub struct Count {
    /// Versions written.
    pub versions: AtomicU64,
    /// Objects that were not there before.
    pub objects: AtomicU64,
    /// Bytes of those.
    pub bytes: AtomicU64,
    /// Contents that were there already.
    pub saved: AtomicU64,
    /// Objects of a wrong size that were written anew.
    pub rewritten: AtomicU64,
    /// Events that came again, or said nothing new.
    pub repeated: AtomicU64,
    /// Events that are of no use here: authors, sources that are left alone, purged pages.
    pub passed_over: AtomicU64,
    /// Events that this archive cannot take.
    pub refused: AtomicU64,
    /// Batches that failed because of a store.
    pub outages: AtomicU64,
}

/// What a transaction wrote.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Wrote {
    pub(crate) versions: u64,
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    pub(crate) saved: u64,
    pub(crate) rewritten: u64,
    pub(crate) passed_over: u64,
}

impl BatchHandler for Archive {
    async fn handle(&self, entries: &[Entry]) -> Result<(), Failure> {
        let done = self.take(entries).await;
        match &done {
            // A batch that fails is cut in half until the event at fault is alone: only then it is counted.
            Err(Failure::Reject(_)) if entries.len() == 1 => _ = self.count.refused.fetch_add(1, Relaxed),
            Err(Failure::Outage(_)) => _ = self.count.outages.fetch_add(1, Relaxed),
            _ => {}
        }
        done
    }

    async fn settled(&self, upto: &Settled) -> Result<(), Failure> {
        inbox::prune(&mut *self.db.acquire().await?, upto).await?;
        Ok(())
    }
}

impl Archive {
    async fn take(&self, entries: &[Entry]) -> Result<(), Failure> {
        // All of them are checked before anything is asked of anybody: a bad one among many costs no more than that.
        let mut heard = Vec::with_capacity(entries.len());
        for entry in entries {
            heard.push(self.hear(entry).map_err(Failure::reject)?);
        }
        match tokio::time::timeout(self.write_max, self.archive(entries, &heard)).await {
            Ok(done) => done.map_err(|error| error.failure()),
            Err(_) => Err(Error::Slow(self.write_max).failure()),
        }
    }

    /// Makes sure that the store is ours and has what it had, as far as that can be seen at one look: before the first event, for
    /// who wants to know it so early. Without it the first batch looks.
    pub async fn own(&self) -> Result<(), Error> {
        let looking = self.owned.get_or_try_init(|| own(&self.db, &self.objects));
        tokio::time::timeout(self.write_max, looking).await.unwrap_or(Err(Error::Slow(self.write_max))).map(drop)
    }

    fn hear(&self, entry: &Entry) -> Result<Heard, String> {
        // First of all: nobody is to be asked about the flaws of what is left alone.
        if told::is_of(&entry.data, &self.skip) {
            return Ok(Heard::Nothing);
        }
        told::read(&entry.r#type, entry.ver, &entry.data, &entry.id, self.object_bytes_max)
    }

    async fn archive(&self, entries: &[Entry], heard: &[Heard]) -> Result<(), Error> {
        let (mut of_use, mut told) = (vec![], vec![]);
        for (entry, heard) in entries.iter().zip(heard) {
            if let Heard::Version(version) = heard {
                of_use.push(entry);
                told.push(&**version);
            }
        }
        self.count.passed_over.fetch_add((entries.len() - told.len()) as u64, Relaxed);
        if told.is_empty() {
            return Ok(());
        }
        let id = self.owned.get_or_try_init(|| own(&self.db, &self.objects)).await?;
        let mut tx = self.db.begin().await?;
        let first = match of_use.len() == entries.len() {
            true => inbox::first_sight_of_each(&mut tx, entries).await?,
            false => {
                let of_use: Vec<Entry> = of_use.into_iter().cloned().collect();
                inbox::first_sight_of_each(&mut tx, &of_use).await?
            }
        };
        let seen = told.len();
        let told: Vec<_> = told.into_iter().zip(first).filter_map(|(told, first)| first.then_some(told)).collect();
        let wrote = write(&mut tx, &self.objects, &told).await?;
        // Asked after the objects were put: a disk that is no longer mounted took them into the folder below.
        ours(&self.db, self.objects.owner().await?, id).await?;
        tx.commit().await?;
        self.count.take_in(&wrote, seen as u64);
        Ok(())
    }
}

impl Count {
    fn take_in(&self, wrote: &Wrote, told: u64) {
        self.versions.fetch_add(wrote.versions, Relaxed);
        self.objects.fetch_add(wrote.objects, Relaxed);
        self.bytes.fetch_add(wrote.bytes, Relaxed);
        self.saved.fetch_add(wrote.saved, Relaxed);
        self.rewritten.fetch_add(wrote.rewritten, Relaxed);
        self.passed_over.fetch_add(wrote.passed_over, Relaxed);
        self.repeated.fetch_add(told - wrote.versions - wrote.passed_over, Relaxed);
    }
}

/// Makes sure that the store belongs to this archive and to no other, and returns our id. A store that is nobody's becomes ours,
/// unless the database has named objects before: then it is another store than they lie in.
pub(crate) async fn own(db: &PgPool, objects: &Objects) -> Result<String, Error> {
    let id = store::id(db).await?;
    let owner = match objects.owner().await? {
        None if store::object_count(db).await? == 0 => {
            objects.claim(&id).await?;
            // Where a store cannot refuse, another archive may have written over it in the same moment.
            objects.owner().await?
        }
        owner => owner,
    };
    ours(db, owner, &id).await?;
    Ok(id)
}

/// Whether what the store says of its owner means us.
async fn ours(db: &PgPool, owner: Option<String>, id: &str) -> Result<(), Error> {
    match owner {
        Some(owner) if owner == id => Ok(()),
        Some(owner) => Err(Error::OtherOwner(owner, id.to_owned())),
        None => Err(Error::OwnerMissing(store::object_count(db).await?, id.to_owned())),
    }
}

/// Makes sure that the store belongs to no other archive, and has not lost what the database names; and writes nothing.
pub(crate) async fn look_whose(db: &PgPool, objects: &Objects) -> Result<(), Error> {
    let id = store::id(db).await?;
    match objects.owner().await? {
        // The first event makes it ours.
        None if store::object_count(db).await? == 0 => Ok(()),
        owner => ours(db, owner, &id).await,
    }
}

/// Writes versions and what they say, in the caller's transaction. When this returns, every object is safe in the store, and
/// nobody deletes it before the transaction has ended.
pub(crate) async fn write(db: &mut PgConnection, objects: &Objects, told: &[&Told]) -> Result<Wrote, Error> {
    let mut wrote = Wrote::default();
    if told.is_empty() {
        return Ok(wrote);
    }
    let all = told.len();
    let erased = store::erased(db, told).await?;
    let told: Vec<&Told> = told.iter().copied().filter(|told| !erased.contains(&told.place())).collect();
    wrote.passed_over = (all - told.len()) as u64;

    let contents: BTreeMap<&str, &[u8]> =
        told.iter().filter_map(|told| Some((told.content_hash.as_str(), told.object.as_deref()?))).collect();
    if !contents.is_empty() {
        let hashes: Vec<_> = contents.keys().copied().collect();
        let sizes: Vec<_> = contents.values().map(|bytes| bytes.len() as i64).collect();
        let sweeping = store::refer(db, &hashes, &sizes).await?;
        if sweeping > 0 {
            return Err(Error::Sweeping(sweeping));
        }
        // Boxed: the compiler cannot see that futures of borrowed names may go to another thread.
        let puts: Vec<_> = contents
            .into_iter()
            .map(|(hash, bytes)| objects.put(hash, bytes).map_ok(|put| (put, bytes.len() as u64)).boxed())
            .collect();
        let puts: Vec<(Put, u64)> = stream::iter(puts).buffer_unordered(objects.at_once).try_collect().await?;
        let of = |what: Put| puts.iter().filter(|(put, _)| *put == what).count() as u64;
        wrote.bytes = puts.iter().filter(|(put, _)| *put == Put::New).map(|(_, size)| size).sum();
        (wrote.objects, wrote.rewritten) = (of(Put::New), of(Put::Rewritten));
        wrote.saved =
            told.iter().filter(|told| told.object.is_some()).count() as u64 - wrote.objects - wrote.rewritten;
        if wrote.rewritten > 0 {
            tracing::warn!(objects = wrote.rewritten, "objects of a wrong size were written anew");
        }
    }
    if !told.is_empty() {
        store::lock_pages(db, &told).await?;
        store::demote(db, &told).await?;
        wrote.versions = store::insert(db, &told).await?;
        if wrote.versions < told.len() as u64 {
            if let Some((source_url, version)) = store::contradiction(db, &told).await? {
                return Err(Error::Contradiction { source_url, version });
            }
            // A page was purged while we waited for its lock: what was put for it goes without a grace.
            let erased = store::erased(db, &told).await?;
            let in_vain = told.iter().filter(|told| told.object.is_some() && erased.contains(&told.place()));
            let in_vain: Vec<_> = in_vain.map(|told| told.content_hash.clone()).collect();
            if !in_vain.is_empty() {
                store::waive_grace(db, &in_vain).await?;
            }
        }
    }
    Ok(wrote)
}
