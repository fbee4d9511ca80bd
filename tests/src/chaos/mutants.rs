//! Programs with one fault each, as it stands in published designs and relays. The checker must find every one of them:
//! a checker that overlooks one shows nothing by finding our own programs clean.

mod consumer;
mod relay;

use std::fmt;
use std::process::Command;

use anyhow::{Context, Result};

use super::cast::{Cast, Ours, Places};
use super::checker::Verdict;
use super::fault::Fault;
use super::rounds::{Plan, Rounds};
use super::theatre::Theatre;
use crate::binary;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    pub name: &'static str,
    /// Which program it stands in for. The other one is ours.
    plays: Part,
    /// What it would be without its fault: one of [`BASES`], or our own.
    pub base: &'static str,
    /// What brings it out. Some need no fault at all, only a load.
    pub faults: &'static [Fault],
    /// What the checker must say of it.
    pub is: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Relay(relay::Habit),
    Consumer(consumer::Habit),
}

const fn relay(name: &'static str, habit: relay::Habit, faults: &'static [Fault], is: &'static str) -> Mutant {
    Mutant { name, plays: Part::Relay(habit), base: "sound-relay", faults, is }
}

const fn consumer(name: &'static str, habit: consumer::Habit, faults: &'static [Fault], is: &'static str) -> Mutant {
    Mutant { name, plays: Part::Consumer(habit), base: "sound-consumer", faults, is }
}

use Fault::{
    CutWire, DeliverAgain, FillRedis, Flush, FreezeWire, KillConsumer, KillPostgres, KillRedis, KillRelay,
    StopConsumer,
};
use consumer::Habit as C;
use relay::Habit as R;

/// All of them.
pub const MUTANTS: [Mutant; 20] = [
    relay("marks-after-publishing", R::MarksAfter, &[KillRelay], "doubled"),
    relay("marks-before-publishing", R::MarksBefore, &[KillRelay], "lost"),
    relay("follows-the-last-number", R::FollowsLast, &[CutWire], "lost"),
    relay("asks-the-snapshot", R::AsksSnapshot, &[CutWire], "lost"),
    // As long as no relay dies, a lock makes up for marks that come late.
    Mutant {
        base: "relay-that-marks-after",
        ..relay("commits-inside-the-batch", R::CommitsInside, &[StopConsumer], "doubled")
    },
    relay("counts-outages", R::CountsOutages, &[KillRedis, FillRedis], "spent"),
    relay("reads-no-replies", R::ReadsNoReplies, &[FillRedis], "lost"),
    relay("keeps-streams-short", R::KeepsShort, &[FreezeWire, StopConsumer], "lost"),
    // So does its base. Whoever does not is ours.
    Mutant { base: "ours", ..relay("trusts-redis", R::Sound, &[Flush], "lost") },
    consumer("acknowledges-first", C::AcknowledgesFirst, &[KillConsumer], "lost"),
    consumer("has-no-inbox", C::NoInbox, &[KillConsumer, DeliverAgain], "duplicated"),
    consumer("notes-in-another-transaction", C::NotesApart, &[KillConsumer], "lost"),
    consumer("reads-only-what-is-new", C::OnlyNew, &[KillConsumer], "lost"),
    consumer("leaves-with-its-entries", C::LeavesWithEntries, &[StopConsumer], "lost"),
    consumer("buries-in-two-commands", C::BuriesInTwo, &[FillRedis], "lost"),
    consumer("handles-keys-side-by-side", C::KeysSideBySide, &[CutWire], "out of order"),
    consumer("blames-the-event", C::BlamesTheEvent, &[KillConsumer], "spent"),
    consumer("pays-for-outages", C::PaysForOutages, &[KillPostgres], "spent"),
    // What it remembers dies with it, too; but long before, it comes behind what is newer.
    consumer("remembers-failures-in-memory", C::RemembersInMemory, &[KillConsumer], "out of order"),
    consumer("acknowledges-what-failed", C::AcknowledgesFailures, &[CutWire], "lost"),
];

/// What they would be without their faults. The checker must find nothing in these, under the same faults and more at once.
pub const BASES: [Mutant; 3] = [
    relay("sound-relay", R::Sound, &[KillRelay, CutWire, FreezeWire, KillRedis, FillRedis, StopConsumer], "clean"),
    relay("relay-that-marks-after", R::MarksAfter, &[StopConsumer], "clean"),
    consumer(
        "sound-consumer",
        C::Sound,
        &[KillConsumer, StopConsumer, DeliverAgain, FillRedis, CutWire, KillPostgres],
        "clean",
    ),
];

/// So many rounds has a mutant to show what it is.
const ROUNDS_MAX: u64 = 30;
/// So often a base meets each of its faults.
const CYCLES: u64 = 2;

/// What came of a mutant's trial.
#[derive(Debug)]
pub struct Trial {
    is: &'static str,
    pub rounds: u64,
    /// One that does nothing at all is easily found, and shows nothing.
    pub effects: usize,
    pub verdict: Verdict,
}

impl Trial {
    /// Whether the checker has found it, by its own fault; of a base, whether it has found nothing.
    pub fn is_right(&self) -> bool {
        let said = if self.is == "clean" { self.verdict.is_clean() } else { self.verdict.says(self.is) };
        said && self.effects > 0
    }
}

impl Mutant {
    /// Rounds with what brings it out, until the checker says what it is; of a base, until all its faults have struck.
    pub async fn trial(self, seed: u64) -> Trial {
        let mut theatre = Theatre::open(self).await;
        let is_base = self.is == "clean";
        // Who has lost something is not known by it until everybody has had the time to bring it.
        let until = (!is_base && self.is != "lost").then_some(self.is);
        let plan = Plan { until, ..Plan::of(self.faults) };
        let rounds_max = if is_base { plan.cycle() * CYCLES } else { ROUNDS_MAX };
        let first = plan.first(seed);
        let mut trial = Trial { is: self.is, rounds: 0, effects: 0, verdict: Verdict::default() };
        while trial.rounds < rounds_max && (trial.rounds == 0 || trial.is_right() == is_base) {
            let report = theatre.round(first + trial.rounds, &plan).await;
            trial.effects += report.amount("effects");
            trial.verdict.add(report.verdict);
            trial.rounds += 1;
        }
        trial
    }

    pub fn named(name: &str) -> Option<Self> {
        MUTANTS.into_iter().chain(BASES).find(|mutant| mutant.name == name)
    }

    fn command(&self, places: &Places) -> Command {
        let mut command = Command::new(binary("mutant"));
        command.arg(self.name).env("DATABASE_URL", &places.database_url).env("REDIS_URL", &places.redis_url);
        command
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.is)
    }
}

impl Cast for Mutant {
    fn relay(&self, places: &Places) -> Command {
        match self.plays {
            Part::Relay(_) => self.command(places),
            Part::Consumer(_) => Ours.relay(places),
        }
    }

    fn consumer(&self, places: &Places, group: &str) -> Command {
        match self.plays {
            Part::Relay(_) => Ours.consumer(places, group),
            Part::Consumer(_) => self.command(places),
        }
    }

    /// One is enough.
    fn groups(&self) -> Vec<&'static str> {
        vec!["table"]
    }

    fn letters_in_redis(&self) -> bool {
        matches!(self.plays, Part::Relay(_))
    }
}

/// The life of a mutant, as a process of its own.
pub async fn play(name: &str) -> Result<()> {
    let mutant = Mutant::named(name).with_context(|| format!("there is no mutant {name}"))?;
    let url = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let (database_url, redis_url) = (url("DATABASE_URL")?, url("REDIS_URL")?);
    match mutant.plays {
        Part::Relay(habit) => relay::run(habit, &database_url, &redis_url).await,
        Part::Consumer(habit) => consumer::run(habit, &database_url, &redis_url, "table").await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mutant_has_a_base_that_meets_its_faults() {
        for mutant in MUTANTS {
            // Ours meets all there are.
            let Some(base) = Mutant::named(mutant.base) else {
                assert_eq!(mutant.base, "ours", "{mutant}");
                continue;
            };
            assert_eq!(base.is, "clean");
            assert!(mutant.faults.iter().all(|fault| base.faults.contains(fault)), "{mutant}");
        }
    }

    #[test]
    fn no_two_mutants_have_one_habit() {
        let habits = MUTANTS.map(|mutant| format!("{:?}", mutant.plays));
        let different: std::collections::BTreeSet<_> = habits.iter().collect();
        assert_eq!(different.len(), MUTANTS.len());
    }
}
