//! Chaos: rounds of random faults under load, on real servers and real processes, and a checker that says in plain words
//! what became of each event.
//!
//! - [`History`]: what was seen from outside, by those who wrote and by ledgers that cannot hide a duplicate
//! - [`judge`]: the checker; it knows nothing of how anything works
//! - [`Cast`]: which programs play the relay and the consumers: [`Ours`], a [`Mutant`], or your own
//! - [`Theatre`]: the servers, the wires and the processes, and one [`round`](Theatre::round) after another
//! - [`Fault`]: what can happen to them
//! - [`Services`]: the same for a site and the programs that bring it to its readers, and their [`Mishap`]s
//! - [`soak`]: steady load for long, and whether anything grows
//!
//! Everything that chance decides comes from the round's seed. What the machine decides (who is how far when a fault
//! strikes) does not: the same seed strikes with the same faults in the same order, and may meet another moment.

mod cast;
mod checker;
mod fault;
mod history;
mod mutants;
mod pen;
mod services;
mod soak;
mod theatre;
mod watch;
mod witness;

pub use cast::{Cast, GROUPS, Ours, PARTITIONS, Places, TOPIC};
pub use checker::{Verdict, judge};
pub use fault::{Family, Fault};
pub use history::{Buried, Effect, Entry, History, Written};
pub use mutants::{MUTANTS, Mutant, Trial, play};
pub use services::{Mishap, Service, Services};
pub use soak::{Moment, Soaked, grew, soak};
pub use theatre::{Plan, Report, Theatre};
