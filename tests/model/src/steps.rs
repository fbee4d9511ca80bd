//! Everything that can happen next. Each step is one that the stores do at once: a statement, a transaction of Redis, or the taking
//! in of an answer. Who does it: producers, Redis and its faults, and the group here; relays in the files beside.

use crate::scenario::{Planted, Scenario};
use crate::world::*;
use crate::{frontier, keeping, releasing, sending};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A producer's transaction: takes the lock, takes its number, commits, lets go of the lock, is rolled back.
    Locks(usize),
    TakesNumber(usize),
    Commits(usize),
    Unlocks(usize),
    RollsBack(usize),
    /// A relay does its next step; what is in its head afterwards tells which.
    Goes(usize, Move),
    /// A relay dies and begins anew. `true`: an append that it had sent is still on its way.
    Dies(usize, bool),
    /// Its connection to Redis breaks. `true`: an append that it had sent is still on its way.
    IsCutOff(usize, bool),
    /// That append arrives, or never does.
    OrphanArrives,
    OrphanIsLost,
    /// Redis loses everything.
    Flush,
    /// Redis goes back to when the stream ended here.
    SetBack(u8),
    /// The group handles its next entry and settles it.
    Consumes,
    /// A consumer makes its group where it finds none.
    MakesGroup,
}

/// A relay's steps, by the function that each stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// `outbox_mark`, its first reading (`outbox_newest`).
    MarkNumber,
    /// Its second (`pg_locks`), and `Frontier::observe`.
    MarkWriters,
    /// `Frontier::overtakable`, and `store::overtake` sees what is missing.
    Overtake,
    /// `store::overtake` has committed, and `Frontier::overtake`.
    OvertakeStored,
    /// `Relay::ask_lanes`
    Ask,
    /// `store::rows`
    Read,
    /// `Relay::watch`
    Watch,
    /// `Appender::append`, as Redis does it.
    Append,
    /// `Relay::take_in`: its answer.
    TakeIn,
    /// `Appender::append_by_script`, as Redis does it.
    Script,
    /// `Relay::make`: `store::group_positions`.
    MakeReadsPosition,
    /// `Appender::watch_only`, before a stream is made.
    MakeWatches,
    /// `Appender::make`
    Make,
    /// `Relay::lost`: `store::cut_back` and `store::group_positions`.
    CutBack,
    /// `Appender::restore` looks at the groups.
    RestoreLooks,
    /// `Appender::restore` puts them back.
    Restore,
    /// `store::overtaken`
    DecideReads,
    /// `store::mark` after it.
    DecideMarks,
    /// `store::appeared`
    DecideFinds,
    /// `Relay::close`: watch and top.
    Close,
    /// `Relay::fates`
    LookUp,
    /// `store::first_unsent`
    FenceAsks,
    /// `Appender::fence`
    Fence,
    /// `store::settle_overtaken`: `outbox_release` takes new numbers.
    Renumber,
    /// `store::settle_overtaken` commits.
    Settle,
    /// `Relay::probe`, its first look at the groups.
    ProbeGroups,
    /// `Relay::whole`
    ProbeStream,
    /// Its second look at the groups.
    ProbeAgain,
    /// `store::report_groups`
    ReportGroups,
    /// `Relay::tell_settled`, and the inbox that forgets.
    Tell,
    /// `store::lease` writes the frontier down.
    ReportFrontier,
    /// `store::report` writes the top down.
    ReportLane,
}

impl Step {
    /// Faults end some day.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Dies(..) | Self::IsCutOff(..) | Self::Flush | Self::SetBack(_))
    }
}

/// The ways on from one state.
pub struct Ways<'a> {
    pub scenario: &'a Scenario,
    pub from: &'a World,
    found: &'a mut Vec<(Step, World)>,
}

impl Ways<'_> {
    /// One way on.
    pub fn to(&mut self, step: Step, change: impl FnOnce(&mut World)) {
        let mut world = *self.from;
        change(&mut world);
        self.found.push((step, world));
    }

    /// One way on by a relay.
    pub fn relay(&mut self, at: usize, what: Move, change: impl FnOnce(&mut World)) {
        self.to(Step::Goes(at, what), change);
    }

    /// One way on by a relay that changes only what is in its head.
    pub fn think(&mut self, at: usize, what: Move, change: impl FnOnce(&mut Relay)) {
        self.relay(at, what, |world| change(&mut world.relays[at]));
    }

    /// Whether this fault is planted.
    pub fn has(&self, planted: Planted) -> bool {
        self.scenario.planted == Some(planted)
    }
}

/// Every way on.
pub fn next(scenario: &Scenario, from: &World, found: &mut Vec<(Step, World)>) {
    let mut ways = Ways { scenario, from, found };
    produce(&mut ways);
    for at in 0..scenario.relays {
        frontier::ways(&mut ways, at);
        sending::ways(&mut ways, at);
        if at == 0 || !scenario.second_only_sends {
            releasing::ways(&mut ways, at);
            keeping::ways(&mut ways, at);
        }
        relay_fails(&mut ways, at);
    }
    redis_fails(&mut ways);
    if scenario.group {
        consume(&mut ways);
    }
}

fn produce(ways: &mut Ways) {
    let (table, fine) = (&ways.from.table, ways.scenario.fine);
    for at in 0..ways.scenario.writers {
        let to = |writer| move |world: &mut World| world.table.writers[at] = writer;
        match table.writers[at] {
            // They are alike, so they begin in their order.
            Writer::Asleep if at > 0 && table.writers[at - 1] == Writer::Asleep => {}
            Writer::Asleep if ways.has(Planted::NumberBeforeLock) => {
                ways.to(Step::TakesNumber(at), |world| take_number(world, at, Writer::TookUnlocked));
            }
            Writer::Asleep if ways.scenario.fine => ways.to(Step::Locks(at), to(Writer::Locked)),
            Writer::Asleep => ways.to(Step::TakesNumber(at), |world| take_number(world, at, Writer::Took)),
            Writer::TookUnlocked => ways.to(Step::Locks(at), to(Writer::Took)),
            Writer::Locked => ways.to(Step::TakesNumber(at), |world| take_number(world, at, Writer::Took)),
            Writer::Took => {
                ways.to(Step::Commits(at), |world| {
                    world.table.writers[at] = if fine { Writer::Committed } else { Writer::Done };
                    world.table.row[at] = world.table.taken[at];
                });
                if ways.scenario.rollbacks {
                    ways.to(Step::RollsBack(at), to(Writer::RolledBack));
                }
            }
            Writer::Committed => ways.to(Step::Unlocks(at), to(Writer::Done)),
            Writer::Done | Writer::RolledBack => {}
        }
    }
}

/// The insert: its number comes from the sequence, whoever commits first.
fn take_number(world: &mut World, at: usize, writer: Writer) {
    let table = &mut world.table;
    table.last += 1;
    table.writers[at] = writer;
    table.taken[at] = table.last;
    table.event[usize::from(table.last)] = at as u8;
    world.before[at] =
        (0..WRITERS_MAX).filter(|other| table.row[*other] > 0).fold(0, |set, other| set | one(other as u8));
}

fn relay_fails(ways: &mut Ways, at: usize) {
    let relay = ways.from.relays[at];
    let on_its_way = match relay.phase {
        Phase::Appending(batch) if ways.from.orphan.rows == 0 => {
            Some(Orphan { rows: batch.rows, watch: relay.watch })
        }
        _ => None,
    };
    for orphan in [None, on_its_way].into_iter().take(if on_its_way.is_some() { 2 } else { 1 }) {
        if ways.from.left.crashes > 0 {
            ways.to(Step::Dies(at, orphan.is_some()), |world| {
                world.left.crashes -= 1;
                world.relays[at] = Relay::new(&world.table);
                world.orphan = orphan.unwrap_or(world.orphan);
            });
        }
        if ways.from.left.cuts > 0 && speaks_to_redis(relay.phase) {
            ways.to(Step::IsCutOff(at, orphan.is_some()), |world| {
                world.left.cuts -= 1;
                world.relays[at].forget();
                world.orphan = orphan.unwrap_or(world.orphan);
            });
        }
    }
    if at == 0 && ways.from.orphan.rows != 0 {
        ways.to(Step::OrphanIsLost, |world| world.orphan = Orphan { rows: 0, watch: Watch::Off });
        let holds = ways.from.orphan.watch == Watch::Holds || ways.has(Planted::AppendsWithoutCompare);
        ways.to(Step::OrphanArrives, |world| {
            if holds {
                sending::xadd(world, world.orphan.rows, ORPHAN);
            }
            world.orphan = Orphan { rows: 0, watch: Watch::Off };
        });
    }
}

fn speaks_to_redis(phase: Phase) -> bool {
    !matches!(
        phase,
        Phase::Idle
            | Phase::MarkedNumber { .. }
            | Phase::MarkedWriters { .. }
            | Phase::Overtaking { .. }
            | Phase::Renumbering { .. }
    )
}

fn redis_fails(ways: &mut Ways) {
    let redis = ways.from.redis;
    if !redis.exists {
        return;
    }
    if ways.from.left.flushes > 0 {
        let forgets = ways.has(Planted::RemembersInRedis);
        ways.to(Step::Flush, |world| {
            world.left.flushes -= 1;
            if forgets {
                (world.inbox.seen, world.inbox.told) = ([0; WRITERS_MAX], 0);
            }
            world.redis = Stream { exists: false, entries: 0, top: 0, start: 0, group: NONE };
            world.touch(SOMEBODY);
        });
    }
    if ways.from.left.setbacks > 0 {
        for top in redis.start..redis.top {
            ways.to(Step::SetBack(top), |world| {
                world.left.setbacks -= 1;
                world.redis.top = top;
                world.redis.entries = between(redis.entries, redis.start, top);
                if redis.group != NONE {
                    world.redis.group = redis.group.min(top);
                }
                // It is another server, or a new process: every connection ends.
                for relay in world.relays.iter_mut() {
                    if speaks_to_redis(relay.phase) {
                        relay.forget();
                    } else {
                        (relay.lane, relay.watch) = (Lane::Unknown, Watch::Off);
                    }
                }
                world.orphan = Orphan { rows: 0, watch: Watch::Off };
            });
        }
    }
}

/// The group: reads its next entry, takes effect once by its inbox, settles.
fn consume(ways: &mut Ways) {
    let redis = ways.from.redis;
    if redis.group == NONE {
        ways.to(Step::MakesGroup, |world| {
            if !world.redis.exists {
                world.redis.exists = true;
                world.touch(SOMEBODY);
            }
            world.redis.group = 0;
        });
        return;
    }
    let Some(number) = members(between(redis.entries, redis.group, NUMBER_MAX)).next() else { return };
    ways.to(Step::Consumes, |world| {
        let event = usize::from(world.table.event[usize::from(number)]);
        let inbox = &mut world.inbox;
        if number > inbox.told && inbox.seen[event] == 0 {
            inbox.effects[event] = (inbox.effects[event] + 1).min(2);
            inbox.seen[event] = number;
        }
        world.redis.group = number;
    });
}
