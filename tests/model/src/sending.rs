//! Reading and appending, and what a look at the top brings to light: `Relay::read`, `send.rs`, `append.rs`, `Lanes::told`, `heed.rs`,
//! `rebuild.rs`.

use crate::scenario::Planted;
use crate::steps::{Move, Ways};
use crate::world::*;

/// So many rows are read at once.
const ROWS_MAX: usize = 2;

pub fn ways(ways: &mut Ways, at: usize) {
    let (relay, table, redis) = (ways.from.relays[at], ways.from.table, ways.from.redis);
    // A stream is known once it has a row.
    let is_known = table.sent > 0 || ways.from.rows() != 0;
    match relay.phase {
        Phase::Idle if relay.lane != Lane::Ready && is_known => ways.relay(at, Move::Ask, |world| {
            world.relays[at].watch = Watch::Off;
            hear(world, at, world.seen_top());
        }),
        Phase::Idle if relay.lane == Lane::Ready && relay.cursor < relay.at => read(ways, at),
        Phase::Read(batch) if relay.watch == Watch::Off && !ways.has(Planted::AppendsWithoutCompare) => {
            ways.relay(at, Move::Watch, |world| {
                world.relays[at].watch = Watch::Holds;
                if hear(world, at, world.seen_top()) {
                    world.relays[at].phase = Phase::Appending(batch);
                }
            });
        }
        // What the watch has seen since is not known here.
        Phase::Read(batch) => ways.think(at, Move::Watch, |relay| relay.phase = Phase::Appending(batch)),
        Phase::Appending(batch) => {
            let compares = !ways.has(Planted::AppendsWithoutCompare);
            ways.relay(at, Move::Append, |world| {
                let ran = redis.exists && (relay.watch == Watch::Holds || !compares);
                if ran {
                    xadd(world, batch.rows, at);
                }
                world.relays[at].watch = Watch::Holds; // WATCH and XINFO at the end of the same pipeline
                world.relays[at].phase = Phase::Appended { batch, ran, top: world.seen_top() };
            });
        }
        Phase::Scripting(batch) => ways.relay(at, Move::Script, |world| {
            let ran = redis.exists && redis.top == relay.top;
            if ran {
                xadd(world, batch.rows, at);
            }
            world.relays[at].watch = Watch::Holds;
            world.relays[at].phase = Phase::Appended { batch, ran, top: world.seen_top() };
        }),
        Phase::Appended { batch, ran, top } => {
            ways.relay(at, Move::TakeIn, |world| take_in(world, at, batch, ran, top));
        }
        Phase::Gone | Phase::Making { .. } | Phase::MakingWatched { .. } => make(ways, at),
        Phase::Lost | Phase::Restoring { .. } | Phase::RestoringGroup { .. } => restore(ways, at),
        _ => {}
    }
}

/// `store::rows`: committed, above the cursor, up to the frontier, and not overtaken.
fn read(ways: &mut Ways, at: usize) {
    let (relay, table) = (ways.from.relays[at], ways.from.table);
    let written = if ways.has(Planted::ReadsWhatIsNotCommitted) { ways.from.written() } else { ways.from.rows() };
    let found = between(written & !table.overtaken, relay.cursor, relay.at);
    let rows = members(found).take(ROWS_MAX).fold(0, |set, number| set | one(number));
    let more = members(found).count() >= ROWS_MAX;
    ways.think(at, Move::Read, |relay| {
        if rows == 0 {
            relay.cursor = relay.cursor.max(relay.at); // Relay::pass_over
        } else {
            relay.phase = Phase::Read(Batch { rows, upto: relay.at, more });
        }
    });
}

/// One `XADD ... NOMKSTREAM 1-<seq>` a row. Redis refuses what is not above its top.
pub fn xadd(world: &mut World, rows: Set, by: usize) {
    if !world.redis.exists {
        return;
    }
    for number in members(rows) {
        if number > world.redis.top {
            world.redis.entries |= one(number);
            world.redis.top = number;
        }
    }
    world.touch(by);
}

/// `Relay::take_in`: the lane moves by what was appended, then the top is heard.
fn take_in(world: &mut World, at: usize, batch: Batch, ran: bool, top: u8) {
    let relay = &mut world.relays[at];
    relay.phase = Phase::Idle;
    if ran {
        relay.top = relay.top.max(highest(batch.rows));
        relay.cursor = relay.cursor.max(relay.top);
        if !batch.more {
            relay.cursor = relay.cursor.max(batch.upto);
        }
        hear(world, at, top);
    } else if hear(world, at, top) {
        // The watch was broken, but nobody appended.
        world.relays[at].phase = Phase::Scripting(batch);
    }
}

/// `Lanes::told` and `Relay::heed`. `true`: the top is what was expected.
pub fn hear(world: &mut World, at: usize, top: u8) -> bool {
    let relay = &mut world.relays[at];
    relay.phase = Phase::Idle;
    if top == NONE {
        (relay.lane, relay.phase) = (Lane::Absent, Phase::Gone);
        return false;
    }
    relay.lane = Lane::Ready;
    let was = std::mem::replace(&mut relay.top, top);
    if top < was {
        (relay.cursor, relay.phase) = (top, Phase::Lost);
    } else {
        relay.cursor = relay.cursor.max(top);
    }
    top == was
}

/// `Relay::make`: a stream that is not there, with its group where it was.
fn make(ways: &mut Ways, at: usize) {
    let table = ways.from.table;
    match ways.from.relays[at].phase {
        Phase::Gone => {
            let too_far = ways.has(Planted::RebuildsAtTheTop);
            let settled = if too_far { table.sent } else { table.settled };
            ways.think(at, Move::MakeReadsPosition, |relay| relay.phase = Phase::Making { settled });
        }
        Phase::Making { settled } => ways.relay(at, Move::MakeWatches, |world| {
            world.relays[at].watch = Watch::Holds;
            match world.seen_top() {
                NONE => world.relays[at].phase = Phase::MakingWatched { settled },
                top => _ = hear(world, at, top),
            }
        }),
        Phase::MakingWatched { settled } => ways.relay(at, Move::Make, |world| {
            if world.relays[at].watch == Watch::Holds {
                let start = if settled == NONE { 0 } else { settled };
                world.redis = Stream { exists: true, entries: 0, top: start, start, group: settled };
                world.touch(at);
            }
            world.relays[at].watch = Watch::Holds;
            // Gone again: the next turn asks anew.
            match world.seen_top() {
                NONE => world.relays[at].phase = Phase::Idle,
                top => _ = hear(world, at, top),
            }
        }),
        _ => {}
    }
}

/// `Relay::lost`: Redis has less than it had. The rows go again; the group is put back, if somebody made it anew further back.
fn restore(ways: &mut Ways, at: usize) {
    let redis = ways.from.redis;
    match ways.from.relays[at].phase {
        Phase::Lost => ways.relay(at, Move::CutBack, |world| {
            world.table.sent = world.table.sent.min(world.relays[at].top);
            world.relays[at].phase = match world.table.settled {
                NONE => Phase::Idle,
                settled => Phase::Restoring { settled },
            };
        }),
        Phase::Restoring { settled } => ways.think(at, Move::RestoreLooks, |relay| {
            let behind = redis.exists && (redis.group == NONE || redis.group < settled);
            relay.phase =
                if behind { Phase::RestoringGroup { settled, make: redis.group == NONE } } else { Phase::Idle };
        }),
        Phase::RestoringGroup { settled, make } => ways.relay(at, Move::Restore, |world| {
            if redis.exists && (!make || redis.group == NONE) {
                world.redis.group = settled;
            }
            world.relays[at].phase = Phase::Idle;
        }),
        _ => {}
    }
}
