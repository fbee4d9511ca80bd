//! Every SQL statement of Fallah, one to a function.

mod frontier;
mod hosts;
mod items;
mod lists;
mod removal;
mod schema;
mod sources;

pub(crate) use frontier::{
    After, Found, Lease, Next, Page, Rank, Validators, Vanished, add, end, give_back, is_barren, take, wake,
};
pub(crate) use hosts::{Host, LeftAlone, left_alone, robots, shut, slots, still, store_robots, yield_slot};
pub(crate) use items::{Seen, Wrote, is_item, write};
pub(crate) use lists::{Child, List, Read, add_children, all_due, end_list, give_back_list, take_list, wake_lists};
pub(crate) use removal::{Tally, Waiting, delete, halt, tallies, waiting};
pub use schema::migrate;
pub(crate) use sources::{State, halted, left, register, resume, standing, tell_untold, trust};

/// Microseconds, as statements take them.
fn us(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
