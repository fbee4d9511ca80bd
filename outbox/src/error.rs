//! What can go wrong: the event is not one, its id is taken, the schema is not ours, or the database failed.

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an event was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The event breaks a limit. Trying again cannot help: mend the code that made it.
    #[error("{field} {why}")]
    Invalid {
        /// The part of the event that is at fault: `stream`, `type`, `key`, `id`, `ver`, `headers`, `payload`.
        field: &'static str,
        /// What is wrong with it, in words.
        why: String,
    },

    /// Another event with this id, but with other content, is already in the outbox. A repeat with equal content is no
    /// error: see [`Enqueued::Repeat`](crate::Enqueued::Repeat).
    #[error("the id {id:?} is taken by an event with other content")]
    IdTaken {
        /// The id in question.
        id: String,
    },

    /// The tables were made by a newer version of this crate.
    #[error("the outbox schema has version {found}, and this program knows versions up to {known}: upgrade it")]
    SchemaTooNew {
        /// The version found in the database.
        found: i32,
        /// The newest version that this program knows.
        known: i32,
    },

    /// Postgres refused or could not be reached. Your transaction is lost, as after any failed statement.
    #[error("the outbox could not reach its tables")]
    Database(#[from] sqlx::Error),
}

/// An error in one line, with its causes, each said once. What Postgres has against a statement stands there in its own words:
/// sqlx adds the line of Postgres's source that says so.
pub fn in_words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words: Vec<String> = vec![];
    for cause in std::iter::successors(Some(error), |error| error.source()) {
        let refusal = match cause.downcast_ref() {
            Some(sqlx::Error::Database(refusal)) => Some(refusal.message().to_owned()),
            _ => None,
        };
        let last = refusal.is_some();
        // Some errors repeat their cause in their own text.
        let said = refusal.unwrap_or_else(|| cause.to_string());
        if !words.iter().any(|words| words.contains(&said)) {
            words.push(said);
        }
        if last {
            break;
        }
    }
    words.join(": ")
}

impl Error {
    pub(crate) fn invalid(field: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { field, why: why.into() }
    }
}
