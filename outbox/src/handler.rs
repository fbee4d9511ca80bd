//! What users implement: what to do with an event, and whose fault it is when it cannot be done.

use std::error::Error;
use std::fmt;
use std::future::Future;

use crate::{Entry, Settled};

/// What your application does with an event.
///
/// ```
/// use outbox::{Entry, Failure, Handler};
///
/// struct Greeter;
///
/// impl Handler for Greeter {
///     async fn handle(&self, entry: &Entry) -> Result<(), Failure> {
///         let name: String = entry.payload().map_err(Failure::reject)?; // no retry can make it readable
///         println!("hello {name}");
///         Ok(())
///     }
/// }
/// ```
///
/// An entry may be handled again: a crash can come between your effect and the moment in which Redis learns of it. Put
/// the effect and [`inbox::first_sight`](crate::inbox::first_sight) in one transaction, and it takes place once.
///
/// # Payloads that change
///
/// Events of an older shape are still under way when the shape changes, and come again as replayed dead letters. So the
/// consumer brings them up to date, and is deployed first:
///
/// ```
/// use outbox::{Envelope, Failure};
/// use serde::Deserialize;
///
/// #[derive(Debug, PartialEq, Deserialize)]
/// struct Placed { order: u64, cents: u64 }        // version 2
///
/// #[derive(Deserialize)]
/// struct PlacedV1 { order: u64, euros: u64 }      // version 1
///
/// fn placed(event: &Envelope) -> Result<Placed, Failure> {
///     match event.ver {
///         1 => {
///             let PlacedV1 { order, euros } = event.payload().map_err(Failure::reject)?;
///             Ok(Placed { order, cents: euros * 100 })
///         }
///         2 => event.payload().map_err(Failure::reject),
///         newer => Err(Failure::retry(format!("version {newer} is for a newer program than this one"))),
///     }
/// }
/// # let event = |ver, data: &str| {
/// #     let (id, time) = ("1".to_owned(), std::time::UNIX_EPOCH);
/// #     Envelope::new(id, "order.placed".to_owned(), ver, None, time, data.to_owned(), None)
/// # };
/// # let new = Placed { order: 42, cents: 1_900 };
/// # assert_eq!(placed(&event(1, r#"{"order": 42, "euros": 19}"#)), Ok(new));
/// # assert!(matches!(placed(&event(3, "{}")), Err(Failure::Retry(_))));
///
/// // Where the shapes can be told apart, serde does it:
/// #[derive(Deserialize)]
/// #[serde(untagged)]
/// enum AnyPlaced { V2(Placed), V1(PlacedV1) }
///
/// impl From<AnyPlaced> for Placed {
///     fn from(any: AnyPlaced) -> Self {
///         match any {
///             AnyPlaced::V2(placed) => placed,
///             AnyPlaced::V1(old) => Placed { order: old.order, cents: old.euros * 100 },
///         }
///     }
/// }
/// # let old: AnyPlaced = serde_json::from_str(r#"{"order": 42, "euros": 19}"#).unwrap();
/// # assert_eq!(Placed::from(old), Placed { order: 42, cents: 1_900 });
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Makes the event take effect. `?` on any error means [`Failure::Retry`]; see [`Failure`] for the others.
    fn handle(&self, entry: &Entry) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Nothing up to here will come again: the inbox may forget it. Called now and then; by default nothing happens.
    fn settled(&self, upto: &Settled) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = upto;
        async { Ok(()) }
    }
}

/// A handler for many events at once, so that their effects share one transaction.
///
/// All take effect or none does. When a batch fails it is cut in half again and again, until the event at fault is
/// alone; only then does it cost an attempt, and its neighbours take effect.
pub trait BatchHandler: Send + Sync + 'static {
    /// Makes the events take effect, all or none. They are in their order.
    fn handle(&self, entries: &[Entry]) -> impl Future<Output = Result<(), Failure>> + Send;

    /// As [`Handler::settled`].
    fn settled(&self, upto: &Settled) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = upto;
        async { Ok(()) }
    }
}

/// Why an event did not take effect, and so what happens to it.
///
/// `?` turns any error into [`Failure::Retry`], but for one kind: an error of sqlx (or rusqlite) that says that the
/// database is away, full or shutting down is [`Failure::Outage`], however deep it lies in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Something that every event needs is away. Costs this event nothing; the consumer pauses.
    Outage(String),
    /// This event did not work this time. Costs an attempt; tried again later.
    Retry(String),
    /// This event will never work. It is a dead letter at once.
    Reject(String),
}

impl Failure {
    /// Something that every event needs is away.
    pub fn outage(cause: impl fmt::Display) -> Self {
        Self::Outage(cause.to_string())
    }

    /// This event did not work this time.
    pub fn retry(cause: impl fmt::Display) -> Self {
        Self::Retry(cause.to_string())
    }

    /// This event will never work.
    pub fn reject(cause: impl fmt::Display) -> Self {
        Self::Reject(cause.to_string())
    }

    /// The reason, in words.
    pub fn reason(&self) -> &str {
        match self {
            Self::Outage(reason) | Self::Retry(reason) | Self::Reject(reason) => reason,
        }
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error: Box<dyn Error + Send + Sync> = error.into();
        let first: &(dyn Error + 'static) = &*error;
        let words = crate::in_words(first);
        let mut chain = std::iter::successors(Some(first), |error: &&(dyn Error + 'static)| (*error).source());
        if chain.any(is_outage) { Self::Outage(words) } else { Self::Retry(words) }
    }
}

/// Whether a database says that it serves nobody just now.
fn is_outage(error: &(dyn Error + 'static)) -> bool {
    #[cfg(feature = "sqlite")]
    if let Some(rusqlite::Error::SqliteFailure(failure, _)) = error.downcast_ref() {
        use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DiskFull, SystemIoFailure};
        return matches!(failure.code, CannotOpen | DatabaseBusy | DiskFull | SystemIoFailure);
    }
    match error.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed) => true,
        // The server hung up before it said whether it speaks TLS: sqlx takes the byte that never came for an answer.
        Some(sqlx::Error::Protocol(words)) => words.contains("response from SSLRequest: 0x00"),
        // Connection exceptions; resources short; operator intervention, but for an idle session that was ended.
        Some(sqlx::Error::Database(error)) => error.code().is_some_and(|code| {
            (code.starts_with("08") || code.starts_with("53") || code.starts_with("57P")) && code != "57P05"
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing<E: Into<Box<dyn Error + Send + Sync>>>(error: E) -> Failure {
        let attempt = || -> Result<(), Failure> { Err(error)? };
        attempt().expect_err("it fails")
    }

    #[test]
    fn any_error_means_retry() {
        assert_eq!(failing("words"), Failure::Retry("words".into()));
        assert!(matches!(failing("x".parse::<u8>().expect_err("no number")), Failure::Retry(_)));
        assert!(matches!(failing(sqlx::Error::RowNotFound), Failure::Retry(_)));
    }

    #[test]
    fn a_database_that_is_away_is_an_outage_however_deep_it_lies() {
        let away = || sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into());
        assert!(matches!(failing(away()), Failure::Outage(_)));
        assert!(matches!(failing(crate::Error::Database(away())), Failure::Outage(_)));
        assert!(matches!(failing(sqlx::Error::PoolTimedOut), Failure::Outage(_)));
        let hung_up = "unexpected response from SSLRequest: 0x00 (sqlx_postgres::connection::tls:95)";
        assert!(matches!(failing(sqlx::Error::Protocol(hung_up.into())), Failure::Outage(_)));
        assert!(matches!(failing(sqlx::Error::Protocol("something else".into())), Failure::Retry(_)));
    }

    #[test]
    fn the_whole_chain_is_the_reason() {
        let error = crate::Error::Database(sqlx::Error::RowNotFound);
        let reason = failing(error).reason().to_owned();
        assert!(reason.starts_with("the outbox could not reach its tables: "), "{reason}");
    }
}
