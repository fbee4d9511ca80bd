//! The file, and every statement: nowhere else is SQLite spoken to.
//!
//! One connection writes, and each write is `begin immediate`: a transaction that reads first and writes later may be
//! refused at once, whatever the busy timeout says. Readers have connections of their own and wait for nobody.

mod article;
mod author;
mod begun;
mod check;
mod dirty;
mod figures;
mod open;
mod people;
mod projecting;
mod read;
mod rebuilding;
mod schema;
mod search;
mod text;

pub use article::Applied;
pub use author::{merge, split};
pub use check::{Finding, Health, check_index, repair, verify};
pub use open::Store;
pub use people::{Alias, Person, people, person};
pub use projecting::{Refused, Standing, refusals, standing};
pub use read::{
    Choices, Cursor, Filter, Full, Order, Signature, Summary, article, choices, count, id_of, list, newest_change,
};
pub use schema::{SCHEMA_VERSION, migrate};

pub use search::RANKED_MAX;

pub(crate) use article::{apply, seconds};
pub(crate) use begun::{Begun, begin_reading, begun, rebuilt};
pub(crate) use figures::{Figures, figures};
pub(crate) use projecting::{
    Item, Queue, accepted, all_behind, bring_again, brought, changes, documents, expected, fill, is_filling,
    is_indexed, known_index, live_after, refused, same_person, sample, saw_task, seen_task, waiting, waiting_bytes,
    waiting_count, waits,
};
pub(crate) use read::hit;
pub(crate) use rebuilding::{
    Spare, Step, about_to_swap, begin, begin_back, behind, dropped, extent, keep, loaded, made, spare, step, swapped,
    swaps,
};
pub(crate) use search::ranked;

/// Now, in seconds of Unix.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
