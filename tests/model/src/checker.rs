//! Looks at every state that can be reached, nearest first, so the first trouble it finds is told by the shortest story.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::promises::{Promise, broken, is_settled};
use crate::scenario::Scenario;
use crate::steps::{Step, next};
use crate::world::World;

/// What was looked at.
#[derive(Debug, Clone, Copy)]
pub struct Explored {
    /// How many different states.
    pub states: usize,
    /// How many ways lead from one to another.
    pub ways: usize,
    /// In how many of them everything is settled.
    pub settled: usize,
}

/// A promise that does not hold, and the shortest story that ends there.
#[derive(Debug)]
pub struct Trouble {
    /// Which one.
    pub promise: Promise,
    /// What happened, step by step.
    pub story: Vec<Step>,
    /// Where that led.
    pub world: World,
}

/// States are many and nobody chooses them to our harm, so a quick hash will do: multiply and rotate.
#[derive(Default)]
struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for eight in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..eight.len()].copy_from_slice(eight);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }
}

/// Where a state was come from.
type Origin = Option<(u32, Step)>;

/// Looks at everything that can happen in a scenario.
///
/// A promise about states is looked at in each of them. "It ends with all sent" is one about the future: from each state, whatever
/// has gone wrong before, a way without further faults must lead to where all is settled.
pub fn check(scenario: &Scenario) -> Result<Explored, Box<Trouble>> {
    let mut numbers: HashMap<World, u32, BuildHasherDefault<Quick>> = HashMap::default();
    let (mut worlds, mut origins): (Vec<World>, Vec<Origin>) = (vec![], vec![]);
    let mut calm: Vec<(u32, u32)> = vec![];
    let (mut found, mut ways) = (vec![], 0);

    let begin = World::new(scenario);
    numbers.insert(begin, 0);
    worlds.push(begin);
    origins.push(None);
    let mut at = 0;
    while at < worlds.len() {
        let world = worlds[at];
        let here = u32::try_from(at).expect("fewer states than that");
        next(scenario, &world, &mut found);
        ways += found.len();
        for (step, reached) in found.drain(..) {
            let there = *numbers.entry(reached).or_insert_with(|| {
                worlds.push(reached);
                origins.push(Some((here, step)));
                u32::try_from(worlds.len() - 1).expect("fewer states than that")
            });
            if there as usize == worlds.len() - 1
                && let Some(promise) = broken(scenario, &reached)
            {
                return Err(trouble(promise, there, &worlds, &origins));
            }
            if !step.is_fault() {
                calm.push((there, here));
            }
        }
        at += 1;
    }

    let settled: Vec<bool> = worlds.iter().map(|world| is_settled(scenario, world)).collect();
    match first_dead_end(&settled, calm) {
        Some(dead_end) => Err(trouble(Promise::EndsWithAllSent, dead_end, &worlds, &origins)),
        None => {
            Ok(Explored { states: worlds.len(), ways, settled: settled.iter().filter(|settled| **settled).count() })
        }
    }
}

/// The nearest state from which no calm way leads to a settled one. Walks the ways backwards.
fn first_dead_end(settled: &[bool], mut calm: Vec<(u32, u32)>) -> Option<u32> {
    calm.sort_unstable();
    let mut good = settled.to_vec();
    let mut open: Vec<u32> = (0..).zip(settled).filter(|(_, settled)| **settled).map(|(at, _)| at).collect();
    while let Some(at) = open.pop() {
        let first = calm.partition_point(|(there, _)| *there < at);
        for (_, from) in calm[first..].iter().take_while(|(there, _)| *there == at) {
            if !std::mem::replace(&mut good[*from as usize], true) {
                open.push(*from);
            }
        }
    }
    (0..).zip(good).find(|(_, good)| !good).map(|(at, _)| at)
}

fn trouble(promise: Promise, at: u32, worlds: &[World], origins: &[Origin]) -> Box<Trouble> {
    let (mut story, mut back) = (vec![], at as usize);
    while let Some((before, step)) = &origins[back] {
        story.push(*step);
        back = *before as usize;
    }
    story.reverse();
    Box::new(Trouble { promise, story, world: worlds[at as usize] })
}
