//! Chaos: rounds of random faults under load, on real servers and real processes, and a checker that says in plain words
//! what became of each event.
//!
//! - [`History`]: what was seen from outside, by those who wrote and by ledgers that cannot hide a duplicate
//! - [`judge`]: the checker; it knows nothing of how anything works
//! - [`Rounds`]: one round after another by a [`Plan`], each with its [`Report`]
//! - [`Theatre`]: rounds of a relay and consumers, their wires and servers, and their [`Fault`]s
//! - [`Cast`]: which programs play there: [`Ours`], a [`Mutant`], or your own
//! - [`Services`]: rounds of a site and the programs that bring it to its readers, and their [`Mishap`]s
//! - [`soak`]: steady load for long, and whether anything grows
//!
//! Everything that chance decides comes from the round's seed. What the machine decides (who is how far when a fault
//! strikes) does not: the same seed strikes with the same faults in the same order, and may meet another moment.

mod cast;
mod checker;
mod fault;
mod heard;
mod history;
mod mutants;
mod pen;
mod rounds;
mod services;
mod soak;
mod theatre;
mod watch;
mod witness;

pub use cast::{Cast, GROUPS, Ours, PARTITIONS, Places, TOPIC};
pub use checker::{Verdict, judge};
pub use fault::Fault;
pub use history::{Begun, Blamed, Buried, Effect, Entry, History, Written};
pub use mutants::{BASES, MUTANTS, Mutant, Trial, play};
pub use rounds::{Family, Plan, Report, Rounds, Wrong};
pub use services::{Mishap, Services};
pub use soak::{Growth, Moment, Soaked, growth, soak};
pub use theatre::Theatre;
