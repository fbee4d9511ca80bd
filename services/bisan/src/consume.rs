//! From the stream into the file: one transaction for each batch, and only then is it acknowledged.

use std::collections::BTreeSet;
use std::sync::Arc;

use contract::Export;
use outbox::inbox::sqlite as inbox;
use outbox::{BatchHandler, Entry, Failure, Settled};
use rusqlite::ErrorCode;

use crate::store::{self, Store};
use crate::{Error, event};

/// Makes the events of the stream take effect.
#[derive(Debug, Clone)]
pub struct Consume {
    store: Store,
    /// Sources whose events have no effect.
    skipped: Arc<BTreeSet<String>>,
}

impl Consume {
    /// Into this file, without the events of these sources.
    pub fn new(store: Store, skipped: impl IntoIterator<Item = String>) -> Self {
        Self { store, skipped: Arc::new(skipped.into_iter().collect()) }
    }
}

impl BatchHandler for Consume {
    async fn handle(&self, entries: &[Entry]) -> Result<(), Failure> {
        // Read before the transaction begins: whoever else writes need not wait for that.
        let (this, entries) = (self.clone(), entries.to_vec());
        let done = tokio::task::spawn_blocking(move || {
            let events: Vec<Export> = entries
                .iter()
                .map(|entry| event::read(&entry.r#type, entry.ver, &entry.data))
                .collect::<Result<_, Error>>()?;
            this.store.write_now(|tx| {
                for (entry, event) in entries.iter().zip(&events) {
                    if inbox::first_sight(tx, entry)? && !this.skipped.contains(&event::origin(event).source_name) {
                        let applied = store::apply(tx, event)?;
                        tracing::debug!(event = entry.id, r#type = event.r#type(), ?applied, "took effect");
                    }
                }
                Ok(())
            })
        });
        done.await.map_err(Error::from).flatten().map_err(|error| failure(&error))
    }

    async fn settled(&self, upto: &Settled) -> Result<(), Failure> {
        let (store, upto) = (self.store.clone(), upto.clone());
        let done = tokio::task::spawn_blocking(move || store.with_writer(|db| Ok(inbox::prune(db, &upto)?)));
        done.await.map_err(Error::from).flatten().map_err(|error| failure(&error))?;
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
