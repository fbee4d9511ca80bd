//! Rounds: what chance decides of one before it begins, and what is said of it when it is over.

use std::fmt::Debug;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;

use super::checker::Verdict;
use crate::{Chance, deadline};

/// Something that goes wrong, and is mended a while later.
pub trait Wrong: ValueEnum + Copy + Ord + Debug {
    /// Two of one round do not strike at the same place.
    type Place: PartialEq;

    /// So many strike in a round, if there are so many.
    const EACH_ROUND: usize;
    const TEMPO: Tempo;

    /// What happens, in words.
    fn words(self) -> &'static str;

    fn family(self) -> Family;

    fn place(self) -> Self::Place;

    /// Those of some families.
    fn of(families: &[Family]) -> Vec<Self> {
        Self::value_variants().iter().copied().filter(|wrong| families.contains(&wrong.family())).collect()
    }
}

/// Faults of one kind, for runs that ask one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Family {
    /// Processes die, freeze, and are asked to stop
    Kills,
    /// Connections end, hang, slow down, and lose an answer to what was done
    Wires,
    /// Servers crash, are full or busy, throw everybody out, and deliver again
    Outages,
    /// Redis comes back with less than it had
    Losses,
}

/// The longest pauses of a round, in milliseconds, and in seconds for how long it may stand still.
#[derive(Debug, Clone, Copy)]
pub struct Tempo {
    pub patience: u32,
    /// Before a fault strikes.
    pub strike: u64,
    /// Before the first one is mended.
    pub hold: u64,
    /// Between the last mend and the end of the load.
    pub calm: u64,
}

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Plan<W> {
    pub(super) among: Vec<W>,
    /// A round in which nothing has moved for so long is over.
    pub patience: Duration,
    /// A round is over, too, when the checker says this word of it. Not for `lost`: only time tells that.
    pub until: Option<&'static str>,
}

impl<W: Wrong> Plan<W> {
    /// Rounds of these; of everything there is, if there are none.
    pub fn of(among: &[W]) -> Self {
        let mut among = if among.is_empty() { W::value_variants().to_vec() } else { among.to_vec() };
        among.sort();
        among.dedup();
        // A machine on which tests are to wait for longer is waited for longer here, too.
        Self { among, patience: deadline() * W::TEMPO.patience / 60, until: None }
    }

    /// In so many rounds one after another each fault strikes once, if the first one's seed is a multiple of it.
    pub fn cycle(&self) -> u64 {
        let at = |wrong: &W| self.among.iter().filter(|other| other.place() == wrong.place()).count();
        let crowd = self.among.iter().map(at).max().unwrap_or(1);
        self.among.len().div_ceil(W::EACH_ROUND).max(crowd) as u64
    }

    /// The seed at or below this one with which a cycle begins.
    pub fn first(&self, seed: u64) -> u64 {
        seed - seed % self.cycle()
    }

    /// The faults of a round. Those of a cycle are dealt from one shuffled pack, place by place, so that each comes once
    /// and no two of a round strike at the same place.
    fn dealt(&self, seed: u64) -> Vec<W> {
        let (lap, nth) = (seed / self.cycle(), seed % self.cycle());
        let mut chance = Chance::seeded(!lap);
        let mut pack = self.among.clone();
        chance.shuffle(&mut pack);
        let places: Vec<_> = pack.iter().map(|wrong| wrong.place()).collect();
        pack.sort_by_key(|wrong| places.iter().position(|place| *place == wrong.place()));
        let turn = chance.below(self.cycle());
        (turn..).zip(pack).filter(|(at, _)| at % self.cycle() == nth).map(|(_, wrong)| wrong).collect()
    }

    /// Everything that chance decides of a round.
    pub(super) fn script(&self, seed: u64) -> Script<W> {
        let mut chance = Chance::seeded(seed);
        let mut faults = self.dealt(seed);
        chance.shuffle(&mut faults);
        let mut pause = |most: u64| Duration::from_millis(chance.below(most));
        let (hold, calm) = (pause(W::TEMPO.hold), pause(W::TEMPO.calm));
        let after: Vec<_> = faults.iter().map(|_| pause(W::TEMPO.strike)).collect();
        let cues = faults.into_iter().zip(after);
        let cues = cues.map(|(fault, after)| Cue { fault, after, chance: chance.branch() }).collect();
        Script { cues, hold, calm, load: chance }
    }
}

/// Everything that chance decides of a round, before it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Script<W> {
    pub(super) cues: Vec<Cue<W>>,
    pub(super) hold: Duration,
    pub(super) calm: Duration,
    /// What the load is made from.
    pub(super) load: Chance,
}

/// When a fault strikes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cue<W> {
    pub(super) fault: W,
    pub(super) after: Duration,
    /// Whom it strikes, and how hard.
    pub(super) chance: Chance,
}

/// The end of a round.
#[derive(Debug)]
pub struct Report<W> {
    pub faults: Vec<W>,
    /// How much there was of what.
    pub amounts: Vec<(&'static str, usize)>,
    /// From when the last fault was mended until everything was as it should be.
    pub rest: Duration,
    pub verdict: Verdict,
    /// What was seen, of a round that is not clean.
    pub seen: Option<Value>,
}

impl<W> Report<W> {
    /// How much there was of something.
    pub fn amount(&self, what: &str) -> usize {
        self.amounts.iter().find(|(name, _)| *name == what).map_or(0, |(_, amount)| *amount)
    }
}

/// Servers and processes that live through all rounds of a run.
pub trait Rounds {
    type Fault: Wrong;

    /// One round: load, faults under load, everything mended, rest, and the verdict.
    fn round(&mut self, seed: u64, plan: &Plan<Self::Fault>) -> impl Future<Output = Report<Self::Fault>>;

    /// What each process has said.
    fn logs(&self) -> Vec<(String, String)>;

    /// The end of a run: what only shows over all rounds.
    fn close(self) -> impl Future<Output = Verdict>;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Fault, Mishap};
    use super::*;

    fn each_comes_once_in_a_cycle<W: Wrong>(plan: &Plan<W>) {
        for first in [0, 7, 4_711].map(|lap| lap * plan.cycle()) {
            let rounds: Vec<_> = (first..first + plan.cycle()).map(|seed| plan.dealt(seed)).collect();
            let all: Vec<W> = rounds.iter().flatten().copied().collect();
            let different: BTreeSet<W> = all.iter().copied().collect();
            assert_eq!((all.len(), different.len()), (plan.among.len(), plan.among.len()));
            for round in rounds {
                assert!((1..=W::EACH_ROUND).contains(&round.len()), "{round:?}");
                let alone = |wrong: &W| round.iter().filter(|other| other.place() == wrong.place()).count() == 1;
                assert!(round.iter().all(alone), "{round:?}");
            }
        }
    }

    #[test]
    fn a_cycle_of_rounds_has_each_fault_once_and_no_two_at_one_place() {
        let (faults, mishaps) = (Plan::<Fault>::of(&[]), Plan::<Mishap>::of(&[]));
        assert_eq!(faults.cycle(), (Fault::value_variants().len() as u64).div_ceil(3));
        assert_eq!(mishaps.cycle(), (Mishap::value_variants().len() as u64).div_ceil(5));
        each_comes_once_in_a_cycle(&faults);
        each_comes_once_in_a_cycle(&mishaps);
        each_comes_once_in_a_cycle(&Plan::of(&[Fault::Flush, Fault::KillRedis, Fault::FillRedis, Fault::KillRelay]));
        each_comes_once_in_a_cycle(&Plan::of(&[Fault::Flush]));
        assert_eq!((faults.first(4_711) % faults.cycle(), faults.first(4_711) + faults.cycle() > 4_711), (0, true));
    }

    #[test]
    fn every_choice_of_a_round_comes_from_its_seed() {
        let (faults, mishaps) = (Plan::<Fault>::of(&[]), Plan::<Mishap>::of(&[]));
        for seed in 0..50 {
            assert_eq!(faults.script(seed), faults.script(seed));
            assert_eq!(mishaps.script(seed), mishaps.script(seed));
            assert_ne!(faults.script(seed), faults.script(seed + faults.cycle()), "another seed, another round");
        }
    }
}
