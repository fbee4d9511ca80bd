//! What can go wrong, by who has to do something about it.

/// Why Bisan cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting or a file is wrong: the sentence says which, and how.
    #[error("{0}")]
    Unusable(String),
    /// An event cannot be what it says it is. No waiting will mend it.
    #[error("{0}")]
    Rejected(String),
    /// The search index is not there, or not as it should be. Searches go on in the file.
    #[error("{0}")]
    Index(String),
    /// The file did not do what it was asked: it is full, locked, damaged or away.
    #[error("SQLite")]
    Database(#[from] rusqlite::Error),
    /// It took longer than anybody waits.
    #[error("it took longer than {0:?}")]
    TooSlow(std::time::Duration),
    /// A thread of ours ended before its work.
    #[error("a thread ended")]
    Thread(#[from] tokio::task::JoinError),
}
