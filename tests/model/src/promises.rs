//! What docs/guarantees.md promises, said of one state.

use crate::scenario::Scenario;
use crate::world::*;

/// A promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// A committed event is never lost: its number is not passed without it.
    NeverLost,
    /// An event is never twice in its stream.
    NeverDoubled,
    /// It takes effect once in the group, behind its inbox.
    OneEffect,
    /// What was rolled back, or is not committed, publishes nothing.
    OnlyCommitted,
    /// An event stands behind every event that had committed before it was written, but for one that was overtaken.
    OrderKept,
    /// When faults end, all is sent.
    EndsWithAllSent,
}

/// The first promise that does not hold here.
pub fn broken(scenario: &Scenario, world: &World) -> Option<Promise> {
    let (table, redis) = (&world.table, &world.redis);
    let stands_for = |event: usize| {
        members(redis.entries).filter(move |number| usize::from(table.event[usize::from(*number)]) == event)
    };
    for event in 0..scenario.writers {
        let row = table.row[event];
        if row == 0 && stands_for(event).count() > 0 {
            return Some(Promise::OnlyCommitted);
        }
        // A Redis that has lost something has lost what it was forbidden, too: then the inbox alone sees to it.
        if stands_for(event).count() > 1 && !world.redis_has_lost(scenario) {
            return Some(Promise::NeverDoubled);
        }
        if world.inbox.effects[event] > 1 {
            return Some(Promise::OneEffect);
        }
        let passed = row > 0 && redis.exists && redis.top >= row && !is_sent(scenario, world, event);
        if passed && !has(table.overtaken, row) && !is_in_hand(world, row) {
            return Some(Promise::NeverLost);
        }
        for first in members(world.before[event] & !world.late) {
            let number = table.row[usize::from(first)];
            let in_order = |later: u8| number < later && (has(redis.entries, number) || number <= redis.start);
            if !stands_for(event).all(in_order) {
                return Some(Promise::OrderKept);
            }
        }
    }
    None
}

/// A relay is about to give it a new number.
fn is_in_hand(world: &World, row: u8) -> bool {
    world.relays.iter().any(|relay| match relay.phase {
        Phase::Decided(decision) | Phase::Renumbering { decision, .. } => has(decision.late, row),
        _ => false,
    })
}

/// It is in the stream; or the stream began above it, since the group had settled it.
fn is_sent(scenario: &Scenario, world: &World, event: usize) -> bool {
    let row = world.table.row[event];
    has(world.redis.entries, row) || (scenario.group && row <= world.redis.start && world.inbox.effects[event] > 0)
}

/// Everybody has ended, and everything that was committed is sent, and has taken effect.
pub fn is_settled(scenario: &Scenario, world: &World) -> bool {
    let ended = |event: usize| match world.table.writers[event] {
        Writer::RolledBack => true,
        Writer::Done => {
            world.redis.exists
                && is_sent(scenario, world, event)
                && (!scenario.group || world.inbox.effects[event] == 1)
        }
        _ => false,
    };
    world.table.overtaken == 0 && (0..scenario.writers).all(ended)
}
