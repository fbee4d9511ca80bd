//! Connections: one that writes, some that read, none of which holds up the other.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::Semaphore;

use super::schema;
use crate::Error;

/// Another process may write, too: a `repair` beside a `run`.
const BUSY_MAX: Duration = Duration::from_secs(5);
/// Whoever reads gives up after so long.
const READ_MAX: Duration = Duration::from_secs(5);
/// Reads at once; more wait for their turn.
const READERS_MAX: usize = 4;
const WRITER_CACHE_KB: i64 = 16 << 10;
const READER_CACHE_KB: i64 = 4 << 10;

/// The file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// Which file that was when it was opened.
    file: Option<(u64, u64)>,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    turns: Semaphore,
}

impl Store {
    /// Opens a file whose tables are there.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if !path.exists() {
            return Err(Error::Unusable(format!("there is no file {}: `bisan migrate` makes it", path.display())));
        }
        let writer = writer(path)?;
        schema::check(&writer)?;
        Ok(Self::of(path, writer))
    }

    /// Opens a file, and makes it and its tables if need be.
    pub fn open_or_make(path: &Path) -> Result<Self, Error> {
        let mut writer = writer(path)?;
        schema::migrate(&mut writer)?;
        Ok(Self::of(path, writer))
    }

    fn of(path: &Path, writer: Connection) -> Self {
        let readers = Mutex::new(vec![]);
        Self(Arc::new(Inner {
            path: path.to_owned(),
            file: identity(path).ok(),
            writer: Mutex::new(writer),
            readers,
            turns: Semaphore::new(READERS_MAX),
        }))
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Writes, in one transaction, on a thread where waiting is allowed.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.write_now(work)).await?
    }

    /// The same on this thread. An error leaves nothing behind.
    pub fn write_now<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Error>) -> Result<T, Error> {
        // A writer that panicked has rolled back.
        let mut db = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = work(&tx)?;
        self.is_still_there()?;
        tx.commit()?;
        Ok(value)
    }

    /// What goes into a file that was deleted or moved away under us is gone with this process, and nothing would say so.
    fn is_still_there(&self) -> Result<(), Error> {
        let path = self.0.path.display();
        match identity(&self.0.path) {
            Ok(file) if Some(file) == self.0.file => Ok(()),
            Ok(_) => Err(Error::Unusable(format!("{path} is another file than was opened: start again"))),
            Err(error) => {
                Err(Error::Unusable(format!("{path} is no longer there ({error}): bring it back, and start again")))
            }
        }
    }

    /// The connection that writes, for what makes its own transactions.
    pub fn with_writer<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T, Error>) -> Result<T, Error> {
        work(&mut self.0.writer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads one state of the file, on a thread where waiting is allowed, and for so long at most.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let reading = async {
            let _turn = self.0.turns.acquire().await.expect("it is never closed");
            let mut db = self.reader()?;
            let cut_off = CutOff(Some(db.get_interrupt_handle()));
            let done = tokio::task::spawn_blocking(move || {
                let value = Self::read_with(&mut db, work);
                (db, value)
            });
            let (db, value) = done.await?;
            // Whoever has it next must not be cut off by us.
            cut_off.not();
            self.put_back(db);
            value
        };
        // Dropped half-way, it is cut off: nobody waits for it any more.
        tokio::time::timeout(READ_MAX, reading).await.unwrap_or(Err(Error::TooSlow(READ_MAX)))
    }

    /// The same on this thread, for as long as it takes.
    pub fn read_now<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let mut db = self.reader()?;
        let value = Self::read_with(&mut db, work);
        self.put_back(db);
        value
    }

    /// Work is done: the log goes back into the file. That it cannot just now is no failure.
    pub fn rest(&self) {
        // Who only reads could not remove the log if it were the last to close.
        self.0.readers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let rested = self.with_writer(|db| {
            db.execute_batch("pragma optimize")?;
            db.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))?;
            Ok(())
        });
        if let Err(error) = rested {
            tracing::debug!(error = outbox::in_words(&error), "the log of the file stays for the next time");
        }
    }

    fn read_with<T>(
        db: &mut Connection,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let tx = db.transaction()?;
        work(&tx)
    }

    fn reader(&self) -> Result<Connection, Error> {
        let idle = self.0.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(db) => Ok(db),
            None => Ok(reader(&self.0.path)?),
        }
    }

    fn put_back(&self, db: Connection) {
        let mut idle = self.0.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < READERS_MAX {
            idle.push(db);
        }
    }
}

/// By what the system knows a file, whatever it is called.
fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    let meta = std::fs::metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

/// Ends a statement that nobody waits for any more.
struct CutOff(Option<rusqlite::InterruptHandle>);

impl CutOff {
    fn not(mut self) {
        self.0 = None;
    }
}

impl Drop for CutOff {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.interrupt();
        }
    }
}

fn writer(path: &Path) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(BUSY_MAX)?;
    db.pragma_update(None, "journal_mode", "wal")?;
    // What was acknowledged must survive a power failure: Redis will not say it again.
    db.pragma_update(None, "synchronous", "full")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "cache_size", -WRITER_CACHE_KB)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY_MAX)?;
    db.pragma_update(None, "query_only", true)?;
    db.pragma_update(None, "cache_size", -READER_CACHE_KB)?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(db)
}
