//! Every SQL statement of Fallah, one to a function.

mod figures;
mod frontier;
mod hosts;
mod items;
mod lists;
mod removal;
mod runs;
mod schema;
mod sources;

pub(crate) use figures::{Watched, due, watched};
pub(crate) use frontier::{
    After, Found, Lease, Next, Page, Rank, Validators, Vanished, add, end, give_back, is_barren, take, wake,
};
pub(crate) use hosts::{
    Ended, FORBIDDEN, Holds, Host, LeftAlone, Shut, Slots, give_back_slot, left_alone, let_in, reserve, robots, shut,
    slots, still, store_robots, yield_slot,
};
pub(crate) use items::{Seen, Wrote, is_item, write};
pub(crate) use lists::{
    Child, List, ListLease, Read, add_children, all_due, end_list, give_back_list, take_list, wake_lists,
};
pub(crate) use removal::{Tally, Waiting, delete, halt, tallies, waiting};
pub(crate) use runs::{Run, bury};
pub use schema::{Before, migrate};
pub(crate) use schema::{VERSION, migration_sql};
pub(crate) use sources::{Dates, dates, halted, left, register, resume, standing, tell_untold, trust};

/// Hosts of one source: a site has some, and one that names thousands is a trap. What lies on further ones is left out.
const HOSTS_PER_SOURCE_MAX: i64 = 100;
/// Lists of one source: a large site has one for each day of many years. What further ones name is left out.
const LISTS_PER_SOURCE_MAX: i64 = 10_000;

/// Microseconds, as statements take them.
fn us(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
