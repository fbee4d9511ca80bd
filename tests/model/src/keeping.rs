//! What is written down: `Relay::probe`, `Relay::report_lanes`.

use crate::sending::hear;
use crate::steps::{Move, Ways};
use crate::world::*;

pub fn ways(ways: &mut Ways, at: usize) {
    let (relay, table, redis) = (ways.from.relays[at], ways.from.table, ways.from.redis);
    match relay.phase {
        Phase::Idle if relay.lane == Lane::Ready => {
            if relay.top > table.sent {
                ways.relay(at, Move::ReportLane, |world| world.table.sent = relay.top);
            }
            // A look that would find nothing new is left out.
            let moved = ways.scenario.group && redis.group != NONE && redis.group != table.settled;
            if moved || ways.from.seen_top() != relay.top {
                ways.think(at, Move::ProbeGroups, |relay| relay.phase = Phase::Probing { group: redis.group });
            }
        }
        Phase::Probing { group } => ways.relay(at, Move::ProbeStream, |world| {
            let length = members(world.redis.entries).count() as u8;
            let grown = length > 0 && length >= relay.length;
            world.relays[at].length = length;
            let whole = grown || {
                world.relays[at].watch = Watch::Off;
                hear(world, at, world.seen_top())
            };
            if whole {
                world.relays[at].phase = Phase::ProbingWhole { group };
            }
        }),
        Phase::ProbingWhole { group } => {
            // A group that is not there the second time is left out.
            let group = if redis.group == NONE { NONE } else { group.min(redis.group) };
            ways.think(at, Move::ProbeAgain, |relay| relay.phase = Phase::ProbedTwice { group });
        }
        Phase::ProbedTwice { group } => ways.relay(at, Move::ReportGroups, |world| {
            let settled = if group == NONE { NONE } else { group.min(relay.at.max(relay.top)) };
            world.table.settled = settled;
            world.relays[at].phase = if settled == NONE { Phase::Idle } else { Phase::Telling { settled } };
        }),
        Phase::Telling { settled } => ways.relay(at, Move::Tell, |world| {
            let inbox = &mut world.inbox;
            inbox.told = inbox.told.max(settled);
            for seen in inbox.seen.iter_mut().filter(|seen| **seen <= settled) {
                *seen = 0;
            }
            world.relays[at].phase = Phase::Idle;
        }),
        _ => {}
    }
}
