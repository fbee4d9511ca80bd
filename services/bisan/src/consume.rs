//! From the stream into the file: one transaction for each batch, and only then is it acknowledged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use contract::Export;
use outbox::inbox::sqlite as inbox;
use outbox::{BatchHandler, Entry, Failure, Settled};
use rusqlite::ErrorCode;
use tokio::sync::Mutex;

use crate::store::{self, Store};
use crate::{Error, event};

/// Makes the events of the stream take effect.
#[derive(Debug, Clone)]
pub struct Consume {
    store: Store,
    /// Sources whose events have no effect.
    skipped: Arc<BTreeSet<String>>,
    /// A write that takes longer is an outage: nothing is counted, and everything comes again.
    write_max: Duration,
    /// One writes at a time. Whoever waits for a disk that hangs waits here, and not in a thread each.
    turn: Arc<Mutex<()>>,
}

impl Consume {
    /// Into this file, without the events of these sources; a write that takes longer than this is an outage.
    pub fn new(store: Store, skipped: impl IntoIterator<Item = String>, write_max: Duration) -> Self {
        Self { store, skipped: Arc::new(skipped.into_iter().collect()), write_max, turn: Arc::default() }
    }

    /// None: it has no effect.
    fn read(&self, entry: &Entry) -> Result<Option<Export>, Error> {
        // First of all: nobody is to be asked about the flaws of what is left alone.
        let skipped = || contract::source_name(&entry.data).is_some_and(|name| self.skipped.contains(&*name));
        match !self.skipped.is_empty() && skipped() {
            true => Ok(None),
            false => event::read(&entry.r#type, entry.ver, &entry.data).map(Some),
        }
    }

    /// Writes on a thread where waiting is allowed, and is waited for so long.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Failure> {
        let store = self.store.clone();
        let done = async {
            let turn = Arc::clone(&self.turn).lock_owned().await;
            tokio::task::spawn_blocking(move || {
                let _turn = turn;
                work(&store)
            })
            .await
            .map_err(Error::from)
            .flatten()
        };
        let done = tokio::time::timeout(self.write_max, done).await;
        done.unwrap_or(Err(Error::TooSlow(self.write_max))).map_err(|error| failure(&error))
    }
}

impl BatchHandler for Consume {
    async fn handle(&self, entries: &[Entry]) -> Result<(), Failure> {
        // Read before anybody waits for the file: meanwhile another batch is written.
        let (this, entries) = (self.clone(), entries.to_vec());
        let read = tokio::task::spawn_blocking(move || {
            let events = entries.iter().map(|entry| this.read(entry)).collect::<Result<Vec<_>, Error>>()?;
            Ok((entries, events))
        });
        let (entries, events) = read.await.map_err(Error::from).flatten().map_err(|error| failure(&error))?;
        self.write(move |store| {
            store.write_now(|tx| {
                for (entry, event) in entries.iter().zip(&events) {
                    let first = inbox::first_sight(tx, entry)?;
                    if let Some(event) = event.as_ref().filter(|_| first) {
                        let applied = store::apply(tx, event)?;
                        tracing::debug!(event = entry.id, r#type = event.r#type(), ?applied, "took effect");
                    }
                }
                Ok(())
            })
        })
        .await
    }

    async fn settled(&self, upto: &Settled) -> Result<(), Failure> {
        let upto = upto.clone();
        self.write(move |store| store.with_writer(|db| Ok(inbox::prune(db, &upto)?))).await?;
        Ok(())
    }
}

/// Whose fault it is. A file that takes nothing takes nothing from anybody, so no event pays for it.
pub(crate) fn failure(error: &Error) -> Failure {
    let words = outbox::in_words(error);
    match error {
        Error::Rejected(_) => Failure::Reject(words),
        Error::Database(rusqlite::Error::SqliteFailure(failure, _)) => match failure.code {
            ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch
            | ErrorCode::TooBig
            | ErrorCode::ApiMisuse
            | ErrorCode::ParameterOutOfRange => Failure::Retry(words),
            _ => Failure::Outage(words),
        },
        // A table or a column is missing: no event can do anything about that.
        Error::Database(rusqlite::Error::SqlInputError { .. }) => Failure::Outage(words),
        Error::TooSlow(_) | Error::Unusable(_) | Error::Index(_) => Failure::Outage(words),
        Error::Database(_) | Error::Thread(_) => Failure::Retry(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: i32) -> Failure {
        failure(&Error::Database(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)))
    }

    #[test]
    fn a_file_that_takes_nothing_is_no_events_fault() {
        use rusqlite::ffi::{SQLITE_BUSY, SQLITE_CORRUPT, SQLITE_FULL, SQLITE_IOERR, SQLITE_LOCKED, SQLITE_READONLY};
        for code in [SQLITE_BUSY, SQLITE_CORRUPT, SQLITE_FULL, SQLITE_IOERR, SQLITE_LOCKED, SQLITE_READONLY] {
            assert!(matches!(of(code), Failure::Outage(_)), "{code}");
        }
        assert!(matches!(of(rusqlite::ffi::SQLITE_CONSTRAINT), Failure::Retry(_)));
        assert!(matches!(failure(&Error::Rejected("no".into())), Failure::Reject(_)));
    }
}
