//! The file, and every statement: nowhere else is SQLite spoken to.
//!
//! One connection writes, and each write is `begin immediate`: a transaction that reads first and writes later may be
//! refused at once, whatever the busy timeout says. Readers have connections of their own and wait for nobody.

mod article;
mod author;
mod dirty;
mod open;
mod schema;
mod text;

pub use article::Applied;
pub use open::Store;
pub use schema::{SCHEMA_VERSION, migrate};

pub(crate) use article::apply;

/// Now, in seconds of Unix.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
