//! Programs with one fault each, as it stands in published designs and relays. The checker must find every one of them:
//! a checker that overlooks one shows nothing by finding our own programs clean.

mod consumer;
mod relay;

use std::fmt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::cast::{Cast, Ours, Places};
use super::checker::Verdict;
use super::fault::Fault;
use super::theatre::{Plan, Theatre};
use crate::binary;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    pub name: &'static str,
    /// Which program it stands in for. The other one is ours.
    plays: Part,
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
    Mutant { name, plays: Part::Relay(habit), faults, is }
}

const fn consumer(name: &'static str, habit: consumer::Habit, faults: &'static [Fault], is: &'static str) -> Mutant {
    Mutant { name, plays: Part::Consumer(habit), faults, is }
}

/// All of them.
pub const MUTANTS: [Mutant; 20] = {
    use Fault::{
        CutWire, DeliverAgain, FillRedis, Flush, FreezeWire, KillConsumer, KillRedis, KillRelay, LoseReply,
        StopConsumer,
    };
    use consumer::Habit as C;
    use relay::Habit as R;
    [
        relay("marks-after-publishing", R::MarksAfter, &[KillRelay], "doubled"),
        relay("marks-before-publishing", R::MarksBefore, &[KillRelay], "lost"),
        relay("follows-the-last-number", R::FollowsLast, &[CutWire], "lost"),
        relay("asks-the-snapshot", R::AsksSnapshot, &[CutWire], "lost"),
        relay("commits-inside-the-batch", R::CommitsInside, &[CutWire], "doubled"),
        relay("counts-outages", R::CountsOutages, &[KillRedis, FillRedis], "spent"),
        relay("reads-no-replies", R::ReadsNoReplies, &[FillRedis], "lost"),
        relay("keeps-streams-short", R::KeepsShort, &[FreezeWire, StopConsumer], "lost"),
        relay("trusts-redis", R::TrustsRedis, &[Flush], "lost"),
        relay("sends-again-blindly", R::SendsAgain, &[LoseReply], "doubled"),
        consumer("acknowledges-first", C::AcknowledgesFirst, &[KillConsumer], "lost"),
        consumer("has-no-inbox", C::NoInbox, &[KillConsumer, DeliverAgain], "duplicated"),
        consumer("notes-in-another-transaction", C::NotesApart, &[KillConsumer], "lost"),
        consumer("reads-only-what-is-new", C::OnlyNew, &[KillConsumer], "lost"),
        consumer("leaves-with-its-entries", C::LeavesWithEntries, &[StopConsumer], "lost"),
        consumer("buries-in-two-commands", C::BuriesInTwo, &[FillRedis], "lost"),
        consumer("handles-keys-side-by-side", C::KeysSideBySide, &[CutWire], "out of order"),
        consumer("blames-the-event", C::BlamesTheEvent, &[KillConsumer], "spent"),
        consumer("remembers-failures-in-memory", C::RemembersInMemory, &[CutWire], "lost"),
        consumer("acknowledges-what-failed", C::AcknowledgesFailures, &[CutWire], "lost"),
    ]
};

/// So many rounds has a mutant to show what it is.
const ROUNDS_MAX: u64 = 30;

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
    /// Whether the checker has found it, by its own fault.
    pub fn is_found(&self) -> bool {
        self.verdict.says(self.is) && self.effects > 0
    }
}

impl Mutant {
    /// Rounds with what brings it out, until the checker says what it is.
    pub async fn trial(self, seed: u64) -> Trial {
        let mut theatre = Theatre::open(self).await;
        let plan = Plan { faults: self.faults.to_vec(), patience: Duration::from_secs(3) };
        let mut trial = Trial { is: self.is, rounds: 0, effects: 0, verdict: Verdict::default() };
        while trial.rounds < ROUNDS_MAX && !trial.is_found() {
            let report = theatre.round(seed + trial.rounds, &plan).await;
            trial.effects += report.history.effects.len();
            trial.verdict.add(report.verdict);
            trial.rounds += 1;
        }
        trial
    }

    pub fn named(name: &str) -> Option<Self> {
        MUTANTS.into_iter().find(|mutant| mutant.name == name)
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
