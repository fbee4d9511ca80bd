//! Every SQL statement of Hasad, one to a function.

mod check;
mod figures;
mod gc;
mod import;
mod objects;
mod purge;
mod read;
mod runs;
mod schema;
mod versions;

pub(crate) use check::{
    OfObject, broken_currents, gaps, has_index, is_named, lock_object, mend_currents, mend_index, mend_size,
    object_count, objects_after, size_of, some_objects,
};
pub(crate) use figures::{applied, last_runs, marked_count, silence};
pub(crate) use gc::{adopt, claim, delete_rows, leader, lock_claimed, mark, marked, unclaim, unmarked, without_row};
pub(crate) use import::{Progress, progress, save_progress};
pub(crate) use objects::refer;
pub(crate) use purge::{
    blank, close, is_purged, lift, lock_objects, objects_of, referrers, telling, waive_grace, without_grace,
};
pub use read::Version;
pub(crate) use read::{at, count, export_after, history, id, one, size};
pub(crate) use runs::note_run;
pub use schema::migrate;
pub(crate) use versions::{contradiction, demote, erased, insert, lock_pages};

/// Microseconds, as statements take them.
fn us(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
