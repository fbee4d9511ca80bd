//! What can go wrong, and whose fault it is.

use outbox::Failure;

/// Why Hasad cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tables were made by a newer program.
    #[error("the tables are of version {is}, and this program knows {known}: use a newer one")]
    NewerTables {
        /// The tables'.
        is: i32,
        /// Ours.
        known: i32,
    },
    /// Postgres did not do what it was asked.
    #[error("Postgres")]
    Database(#[from] sqlx::Error),
    /// The store of objects did not do what it was asked.
    #[error("the object store")]
    Objects(#[source] object_store::Error),
    /// Nobody gives us keys for the store of objects.
    #[error(
        "the object store: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, and this machine was given no role in \
         their place"
    )]
    NoKeys(#[source] object_store::Error),
    /// The inbox, or what it lies in.
    #[error("the inbox")]
    Inbox(#[from] outbox::Error),
    /// The consumer cannot work.
    #[error("the consumer")]
    Consumer(#[from] outbox::ConsumerError),
    /// A file or the output.
    #[error("{what}")]
    File {
        /// Which, and what was to be done with it.
        what: String,
        #[allow(missing_docs)]
        #[source]
        source: std::io::Error,
    },
    /// Two events claim one version of a page, and say different things.
    #[error("version {version} of {source_url} is archived already, with other content")]
    Contradiction {
        /// The page.
        source_url: String,
        /// The version that both claim.
        version: i64,
    },
    /// An object is being deleted at this moment: in a while it may be written anew.
    #[error("{0} objects are being swept at this moment")]
    Sweeping(usize),
    /// A page whose versions became more each time that it was looked at.
    #[error("{0} is written all the time: call it again")]
    Restless(String),
    /// The store is another archive's: a sweep would take what only the other one names.
    #[error(
        "the store belongs to another archive: its object `owner` says {0}, and this one is {1}. \
         If that archive is no more, delete that object"
    )]
    OtherOwner(String, String),
    /// The store is nobody's, although the database names objects in it.
    #[error(
        "the store has no object `owner`, and the database names {0} objects that ought to lie there: is the right store \
         mounted, and is that its address? If it is the right one, put the text {1} there as `owner`; `hasad fsck` then says what is \
         missing, and `hasad import-ndjson --from-start` of an export brings it back"
    )]
    OwnerMissing(i64, String),
    /// Everything together took longer than it may.
    #[error("it took longer than {0:?}")]
    Slow(std::time::Duration),
}

/// Where Amazon's machines are given their keys: told in what goes wrong on the way there.
const ROLES: [&str; 2] = ["/latest/api/token", "/latest/meta-data/"];

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        let words = outbox::in_words(&error);
        match ROLES.iter().any(|path| words.contains(path)) {
            true => Self::NoKeys(error),
            false => Self::Objects(error),
        }
    }
}

impl Error {
    /// Whose fault it is: the event's (buried at once), or that of what every event needs (nothing is counted).
    ///
    /// Only what Postgres says about the values themselves is an event's fault. Everything else (away, full, read-only, no
    /// rights, no tables) would bury one event after the other for nothing that they did.
    pub(crate) fn failure(&self) -> Failure {
        let words = outbox::in_words(self);
        match self {
            Self::Contradiction { .. } => Failure::reject(words),
            Self::Database(error) | Self::Inbox(outbox::Error::Database(error)) => match code(error).as_deref() {
                // Data exceptions, and limits of the program such as an index row that is too large.
                Some(code) if code.starts_with("22") || code.starts_with("54") => Failure::reject(words),
                // Integrity, serialization, deadlock: another try may end otherwise, and not for ever.
                Some(code) if code.starts_with("23") || code.starts_with("40") => Failure::retry(words),
                _ => Failure::outage(words),
            },
            _ => Failure::outage(words),
        }
    }

    /// Whether the tables are missing.
    pub(crate) fn no_tables(&self) -> bool {
        let (Self::Database(error) | Self::Inbox(outbox::Error::Database(error))) = self else { return false };
        code(error).is_some_and(|code| ["42P01", "3F000"].contains(&code.as_str()))
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(std::borrow::Cow::into_owned)
}
