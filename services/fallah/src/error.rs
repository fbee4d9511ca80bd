//! What can go wrong with all of Fallah. What goes wrong with one page is written down beside it instead.

/// Why Fallah cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting or a file is wrong: the sentence says which, and how.
    #[error("{0}")]
    Unusable(String),
    /// Postgres did not do what it was asked.
    #[error("Postgres")]
    Database(#[from] sqlx::Error),
    /// An event cannot be written.
    #[error("the outbox")]
    Outbox(#[from] outbox::Error),
}

impl From<terminal::Unusable> for Error {
    fn from(unusable: terminal::Unusable) -> Self {
        Self::Unusable(unusable.0)
    }
}
