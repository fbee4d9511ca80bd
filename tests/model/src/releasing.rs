//! Overtaken numbers whose rows appeared: `release.rs`, `hold.rs`, `Appender::fence`, `store::settle_overtaken`, `outbox_release`.

use crate::scenario::Planted;
use crate::sending::hear;
use crate::steps::{Move, Ways};
use crate::world::*;

pub fn ways(ways: &mut Ways, at: usize) {
    let (relay, table) = (ways.from.relays[at], ways.from.table);
    match relay.phase {
        // One for all numbers of the same writers.
        Phase::Idle if table.overtaken != 0 => {
            let mut seen: Vec<Set> = vec![];
            for number in members(table.overtaken) {
                let writers = table.holders[usize::from(number)];
                if !seen.contains(&writers) {
                    seen.push(writers);
                    let same = |number: &u8| table.holders[usize::from(*number)] == writers;
                    let numbers = members(table.overtaken).filter(same).fold(0, |set, number| set | one(number));
                    ways.think(at, Move::DecideReads, |relay| relay.phase = Phase::Deciding { numbers, writers });
                }
            }
        }
        Phase::Deciding { numbers, writers } => {
            let ended = writers & ways.from.writing(ways.scenario) == 0 || ways.has(Planted::DecidesTooEarly);
            ways.think(at, Move::DecideMarks, |relay| relay.phase = Phase::DecidingMarked { numbers, ended });
        }
        Phase::DecidingMarked { numbers, ended } => {
            let appeared = ways.from.rows() & numbers;
            let flows = relay.lane == Lane::Ready;
            let decision = Decision { numbers, ended, appeared, late: 0, sent: 0 };
            let unasked = ways.has(Planted::ReleasesWithoutAsking);
            ways.think(at, Move::DecideFinds, |relay| {
                relay.phase = match (appeared, ended) {
                    (0, false) => Phase::Idle,
                    (0, true) => Phase::Decided(decision),
                    // Rows of a stream that does not flow are decided when it does.
                    _ if !flows => Phase::Idle,
                    _ if unasked => Phase::Decided(Decision { late: appeared, ..decision }),
                    _ => Phase::Appeared(decision),
                }
            });
        }
        Phase::Appeared(decision) => ways.relay(at, Move::Close, |world| {
            world.relays[at].watch = Watch::Holds;
            let flows = {
                hear(world, at, world.seen_top());
                world.relays[at].phase == Phase::Idle
            };
            if flows {
                world.relays[at].phase = Phase::Closing(decision);
            }
        }),
        Phase::Closing(decision) => look_up(ways, at, decision),
        Phase::Fencing { decision, ahead } => fence_asks(ways, at, decision, ahead),
        Phase::FencingAsked { decision, ahead } => ways.relay(at, Move::Fence, |world| {
            let done = world.relays[at].watch == Watch::Holds;
            let mut late = decision.late;
            if done {
                let raised = highest(ahead).max(world.relays[at].top);
                world.redis.top = raised;
                world.touch(at);
                world.relays[at].top = raised;
                world.relays[at].cursor = world.relays[at].cursor.max(raised);
                late |= ahead;
            }
            world.relays[at].watch = Watch::Holds;
            hear(world, at, world.seen_top());
            if world.relays[at].phase == Phase::Idle {
                world.relays[at].phase = Phase::Decided(Decision { late, ..decision });
            }
        }),
        Phase::Decided(decision) => settle(ways, at, decision),
        Phase::Renumbering { decision, rows, first } => ways.relay(at, Move::Settle, |world| {
            for (new, old) in (first..).zip(members(rows)) {
                world.table.row[usize::from(world.table.event[usize::from(old)])] = new;
            }
            if rows == decision.late {
                forget(world, decision);
            }
            world.relays[at].phase = Phase::Idle;
        }),
        _ => {}
    }
}

/// `Relay::fates`, with `hold::fate` for each.
fn look_up(ways: &mut Ways, at: usize, mut decision: Decision) {
    let (redis, unfenced) = (ways.from.redis, ways.has(Planted::ReleasesWithoutFence));
    let mut ahead = 0;
    for number in members(decision.appeared) {
        if redis.exists && has(redis.entries, number) {
            decision.sent |= one(number);
        } else if (redis.exists && number <= redis.top) || unfenced {
            decision.late |= one(number);
        } else {
            ahead |= one(number);
        }
    }
    ways.think(at, Move::LookUp, |relay| {
        relay.phase = if ahead == 0 { Phase::Decided(decision) } else { Phase::Fencing { decision, ahead } }
    });
}

/// `Relay::fence`: only numbers below which everything is sent.
fn fence_asks(ways: &mut Ways, at: usize, decision: Decision, ahead: Set) {
    let (relay, table) = (ways.from.relays[at], ways.from.table);
    let above = relay.top.max(relay.cursor);
    let unsent = members(between(ways.from.rows() & !table.overtaken, above, relay.at)).next();
    let free = |number: &u8| *number <= relay.at && unsent.is_none_or(|unsent| *number < unsent);
    let ahead = members(ahead).filter(free).fold(0, |set, number| set | one(number));
    ways.think(at, Move::FenceAsks, |relay| {
        relay.phase = if ahead == 0 { Phase::Decided(decision) } else { Phase::FencingAsked { decision, ahead } }
    });
}

/// `store::settle_overtaken`: what came too late gets new numbers, under the table's lock and the rows' own.
fn settle(ways: &mut Ways, at: usize, decision: Decision) {
    let locked = ways.from.relays.iter().fold(0, |set, other| match other.phase {
        Phase::Renumbering { rows, .. } => set | rows,
        _ => set,
    });
    let rows = decision.late & ways.from.rows() & !locked;
    if rows == 0 {
        ways.relay(at, Move::Settle, |world| {
            if decision.late == 0 {
                forget(world, decision);
            }
            world.relays[at].phase = Phase::Idle;
        });
        return;
    }
    let first = ways.from.table.last + 1;
    if usize::from(first) + members(rows).count() > usize::from(NUMBER_MAX) + 1 {
        return;
    }
    ways.relay(at, Move::Renumber, |world| {
        for (new, old) in (first..).zip(members(rows)) {
            world.table.event[usize::from(new)] = world.table.event[usize::from(old)];
            world.table.last = new;
        }
        world.relays[at].phase = Phase::Renumbering { decision, rows, first };
    });
}

/// All that appeared is decided, and nothing more can appear.
fn forget(world: &mut World, decision: Decision) {
    if decision.ended && decision.late | decision.sent == decision.appeared {
        world.table.overtaken &= !decision.numbers;
        members(decision.numbers).for_each(|number| world.table.holders[usize::from(number)] = 0);
    }
}
