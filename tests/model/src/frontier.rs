//! The frontier's moves: `relay/src/frontier.rs`, `Relay::look`, `store::overtake`, `outbox_mark`.

use crate::scenario::Planted;
use crate::steps::{Move, Ways};
use crate::world::*;

pub fn ways(ways: &mut Ways, at: usize) {
    let (relay, table) = (ways.from.relays[at], ways.from.table);
    match relay.phase {
        Phase::Idle => {
            let last = newest(ways);
            let news = last > relay.waits.iter().map(|wait| wait.last).max().unwrap_or(0).max(relay.at);
            if news || relay.waits[0].last > 0 {
                if ways.has(Planted::NumberAfterWriters) {
                    let writers = ways.from.writing(ways.scenario);
                    ways.think(at, Move::MarkWriters, |relay| relay.phase = Phase::MarkedWriters { writers });
                } else {
                    ways.think(at, Move::MarkNumber, |relay| relay.phase = Phase::MarkedNumber { last });
                }
            }
            if ways.from.left.overtakings > 0 && (at == 0 || !ways.scenario.second_only_sends) {
                relay.waits.iter().filter(|wait| wait.last > 0).for_each(|wait| overtake(ways, at, *wait));
            }
            if ways.scenario.crashes > 0 && relay.at > table.frontier {
                ways.relay(at, Move::ReportFrontier, |world| world.table.frontier = relay.at);
            }
        }
        Phase::MarkedNumber { last } => {
            let mut writers = ways.from.writing(ways.scenario);
            if ways.has(Planted::IgnoresOpenTransactions) {
                writers = 0;
            }
            ways.think(at, Move::MarkWriters, |relay| {
                observe(relay, last, writers);
                relay.phase = Phase::Idle;
            });
        }
        Phase::MarkedWriters { writers } => {
            let last = newest(ways);
            ways.think(at, Move::MarkNumber, |relay| {
                observe(relay, last, writers);
                relay.phase = Phase::Idle;
            });
        }
        Phase::Overtaking { to, missing, writers, late } => ways.relay(at, Move::OvertakeStored, |world| {
            for number in members(missing & !world.table.overtaken) {
                world.table.holders[usize::from(number)] = writers;
                let event = world.table.event[usize::from(number)];
                world.late |= if event == NONE || !has(late, number) { 0 } else { one(event) };
            }
            world.table.overtaken |= missing;
            overtaken(&mut world.relays[at], to);
            world.relays[at].phase = Phase::Idle;
        }),
        _ => {}
    }
}

/// `outbox_newest`
fn newest(ways: &Ways) -> u8 {
    let last = ways.from.table.last;
    if ways.has(Planted::NewestShowsTooMuch) && last > 0 { (last + 1).min(NUMBER_MAX) } else { last }
}

/// `Frontier::observe`
pub fn observe(relay: &mut Relay, last: u8, writers: Set) {
    for wait in &mut relay.waits {
        wait.writers &= writers;
    }
    let open = relay.waits.iter().filter(|wait| wait.last > 0).count();
    if last > open.checked_sub(1).map_or(relay.at, |newest| relay.waits[newest].last) {
        // Where there are many, they are thinned: the newest is kept.
        relay.waits[open.min(relay.waits.len() - 1)] = Wait { last, writers };
    }
    while relay.waits[0].last > 0 && relay.waits[0].writers == 0 {
        relay.at = relay.waits[0].last;
        relay.waits.rotate_left(1);
        relay.waits[relay.waits.len() - 1] = Wait::default();
    }
}

/// `Frontier::overtakable` says how far, and `store::overtake` reads which numbers are missing there.
fn overtake(ways: &mut Ways, at: usize, wait: Wait) {
    let above = ways.from.relays[at].at;
    let late = between(!ways.from.rows(), above, wait.last);
    let missing = if ways.has(Planted::OvertakesWhatIsThere) { between(Set::MAX, above, wait.last) } else { late };
    let early = ways.has(Planted::OvertakesBeforeStoring);
    ways.relay(at, Move::Overtake, |world| {
        world.left.overtakings -= 1;
        let relay = &mut world.relays[at];
        if early {
            overtaken(relay, wait.last);
            relay.phase = Phase::Idle;
        } else {
            relay.phase = Phase::Overtaking { to: wait.last, missing, writers: wait.writers, late };
        }
    });
}

/// `Frontier::overtake`
pub fn overtaken(relay: &mut Relay, to: u8) {
    relay.at = relay.at.max(to);
    let mut waits = [Wait::default(); 3];
    for (nth, wait) in relay.waits.into_iter().filter(|wait| wait.last > to).enumerate() {
        waits[nth] = wait;
    }
    relay.waits = waits;
}
