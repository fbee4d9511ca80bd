//! One state of everything: Postgres, Redis, the group, and what each relay has in its head.

use crate::scenario::Scenario;

/// Events, one a transaction.
pub const WRITERS_MAX: usize = 3;
/// Relays at once.
pub const RELAYS_MAX: usize = 2;
/// The highest number that is given out.
pub const NUMBER_MAX: u8 = 7;
/// No such thing.
pub const NONE: u8 = u8::MAX;

/// A set of numbers, of events or of transactions: one bit each.
pub type Set = u8;

/// The set with one member.
pub fn one(member: u8) -> Set {
    1 << member
}

/// Whether a set has a member.
pub fn has(set: Set, member: u8) -> bool {
    set & one(member) != 0
}

/// The members of a set, lowest first.
pub fn members(set: Set) -> impl DoubleEndedIterator<Item = u8> {
    (0..8).filter(move |member| has(set, *member))
}

/// The members above one number and up to another.
pub fn between(set: Set, above: u8, upto: u8) -> Set {
    members(set).filter(|number| *number > above && *number <= upto).fold(0, |set, number| set | one(number))
}

/// The highest member, 0 if there is none.
pub fn highest(set: Set) -> u8 {
    members(set).next_back().unwrap_or(0)
}

/// How far a producer's transaction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Writer {
    /// It has not begun.
    Asleep,
    /// It has a number and no lock: a planted fault alone comes here.
    TookUnlocked,
    /// It holds the table's lock for writing (`RowExclusiveLock`).
    Locked,
    /// It has its number, and has not committed.
    Took,
    /// Its commit is visible; its lock is not gone yet.
    Committed,
    /// It has committed and ended.
    Done,
    /// It was rolled back.
    RolledBack,
}

/// A stream's place in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stream {
    /// The key exists.
    pub exists: bool,
    /// The numbers of its entries.
    pub entries: Set,
    /// `last-generated-id`.
    pub top: u8,
    /// Where it began: everything up to here was settled, or went with an older life of Redis.
    pub start: u8,
    /// Up to which number the group has settled; [`NONE`]: there is no group.
    pub group: u8,
}

/// Postgres, as far as it is committed, and its sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Table {
    /// The newest number that was taken.
    pub last: u8,
    /// Each producer's transaction.
    pub writers: [Writer; WRITERS_MAX],
    /// The number that a transaction has taken; with its commit it is its event's row.
    pub taken: [u8; WRITERS_MAX],
    /// The number of each event's committed row, 0 for none.
    pub row: [u8; WRITERS_MAX],
    /// Which event a number was taken for.
    pub event: [u8; NUMBER_MAX as usize + 1],
    /// `outbox_overtaken`: the numbers, and for each the writers that may hold it.
    pub overtaken: Set,
    /// The writers of each.
    pub holders: [Set; NUMBER_MAX as usize + 1],
    /// `outbox_relay.frontier`
    pub frontier: u8,
    /// `outbox_stream.sent_seq`
    pub sent: u8,
    /// `outbox_group.settled_seq`; [`NONE`]: nothing is written down.
    pub settled: u8,
}

/// What the group's handler did, in its own database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Inbox {
    /// How often each event took effect; two stands for more.
    pub effects: [u8; WRITERS_MAX],
    /// Under which number each was seen, 0 for forgotten or never.
    pub seen: [u8; WRITERS_MAX],
    /// Everything up to here counts as seen, and is forgotten.
    pub told: u8,
}

/// A connection's watch on the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Watch {
    /// Nothing is watched.
    Off,
    /// Nothing has changed since.
    Holds,
    /// Something has.
    Broken,
}

/// A mark that still waits for its writers (`Frontier::waits`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Wait {
    /// The newest number when it was made; 0: there is no wait here.
    pub last: u8,
    /// Who was writing then and still is.
    pub writers: Set,
}

/// A lane's state (`lanes::State`), without refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Redis has to be asked first.
    Unknown,
    /// The stream has to be made.
    Absent,
    /// It flows.
    Ready,
}

/// Rows in a relay's hands (`Batch`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Batch {
    /// Their numbers.
    pub rows: Set,
    /// Below this nothing else is left, unless there is more.
    pub upto: u8,
    /// There may be more rows than these.
    pub more: bool,
}

/// What is being decided about overtaken numbers of the same writers (`Relay::decide`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decision {
    /// The numbers that were stored.
    pub numbers: Set,
    /// All who may have held one have ended.
    pub ended: bool,
    /// Rows that appeared among them.
    pub appeared: Set,
    /// Those that nobody can send any more.
    pub late: Set,
    /// Those that are in the stream.
    pub sent: Set,
}

/// What a relay is in the middle of. Between two of these anything else may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Between two moves.
    Idle,
    /// `outbox_mark`: the newest number is read, the writers are not.
    MarkedNumber { last: u8 },
    /// The other way round: a planted fault alone comes here.
    MarkedWriters { writers: Set },
    /// `store::overtake`: it has its snapshot, and has not committed.
    /// What is late is what is missing, but for a planted fault.
    Overtaking { to: u8, missing: Set, writers: Set, late: Set },
    /// `store::rows` has answered.
    Read(Batch),
    /// The append is on its way to Redis (`Appender::append`).
    Appending(Batch),
    /// Its answer is on its way back, with the top as it is then ([`NONE`]: no stream).
    Appended { batch: Batch, ran: bool, top: u8 },
    /// The script is on its way (`Appender::append_by_script`).
    Scripting(Batch),
    /// The stream is not there.
    Gone,
    /// `Relay::make`: the position is read.
    Making { settled: u8 },
    /// `Appender::make` is on its way, under a watch that saw no stream.
    MakingWatched { settled: u8 },
    /// The stream has less than it had.
    Lost,
    /// `Relay::lost`: the checkpoint is cut back and the position read.
    Restoring { settled: u8 },
    /// `Appender::restore`: the group was looked at, and is to be made or put forward to here.
    RestoringGroup { settled: u8, make: bool },
    /// `store::overtaken` has answered.
    Deciding { numbers: Set, writers: Set },
    /// The mark after it, too.
    DecidingMarked { numbers: Set, ended: bool },
    /// `store::appeared` has answered.
    Appeared(Decision),
    /// `Relay::close`: the stream is under watch, its top is what was expected.
    Closing(Decision),
    /// `Relay::fence`: these are still ahead of the top.
    Fencing { decision: Decision, ahead: Set },
    /// `Appender::fence` is on its way: raises the top to the highest of these.
    FencingAsked { decision: Decision, ahead: Set },
    /// Redis has answered for all.
    Decided(Decision),
    /// `store::settle_overtaken`: numbers are taken, and not committed.
    Renumbering { decision: Decision, rows: Set, first: u8 },
    /// `Relay::probe`: where the group is.
    Probing { group: u8 },
    /// The stream was found whole.
    ProbingWhole { group: u8 },
    /// The second look at the group, too.
    ProbedTwice { group: u8 },
    /// It is written down, and consumers are to be told.
    Telling { settled: u8 },
}

/// A relay's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Relay {
    /// `Frontier::at`
    pub at: u8,
    /// `Frontier::waits`
    pub waits: [Wait; 3],
    /// What is known of Redis.
    pub lane: Lane,
    /// `Lane::top`
    pub top: u8,
    /// `Lane::cursor`
    pub cursor: u8,
    /// `Lane::length`
    pub length: u8,
    /// Of its connection.
    pub watch: Watch,
    /// What it is doing.
    pub phase: Phase,
}

/// An append whose sender is gone, and that may still arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Orphan {
    /// Its rows; none: there is no such request.
    pub rows: Set,
    /// The watch of its connection.
    pub watch: Watch,
}

/// How often what may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Left {
    pub overtakings: u8,
    pub crashes: u8,
    pub cuts: u8,
    pub flushes: u8,
    pub setbacks: u8,
}

/// Everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct World {
    pub table: Table,
    pub redis: Stream,
    pub inbox: Inbox,
    pub relays: [Relay; RELAYS_MAX],
    pub orphan: Orphan,
    /// For each event, the events that had committed before it was written.
    pub before: [Set; WRITERS_MAX],
    /// Events that were overtaken at some time.
    pub late: Set,
    pub left: Left,
}

impl World {
    /// The beginning: nothing is written and nothing known.
    pub fn new(scenario: &Scenario) -> Self {
        let table = Table {
            last: 0,
            writers: [Writer::Asleep; WRITERS_MAX],
            taken: [0; WRITERS_MAX],
            row: [0; WRITERS_MAX],
            event: [NONE; NUMBER_MAX as usize + 1],
            overtaken: 0,
            holders: [0; NUMBER_MAX as usize + 1],
            frontier: 0,
            sent: 0,
            settled: NONE,
        };
        Self {
            relays: [Relay::new(&table); RELAYS_MAX],
            table,
            redis: Stream { exists: false, entries: 0, top: 0, start: 0, group: NONE },
            inbox: Inbox { effects: [0; WRITERS_MAX], seen: [0; WRITERS_MAX], told: 0 },
            orphan: Orphan { rows: 0, watch: Watch::Off },
            before: [0; WRITERS_MAX],
            late: 0,
            left: Left {
                overtakings: scenario.overtakings,
                crashes: scenario.crashes,
                cuts: scenario.cuts,
                flushes: scenario.flushes,
                setbacks: scenario.setbacks,
            },
        }
    }

    /// Who holds the table's lock for writing: producers, and relays that give new numbers.
    pub fn writing(&self, scenario: &Scenario) -> Set {
        let producers = (0..scenario.writers)
            .filter(|at| matches!(self.table.writers[*at], Writer::Locked | Writer::Took | Writer::Committed));
        let relays = (0..scenario.relays)
            .filter(|at| matches!(self.relays[*at].phase, Phase::Renumbering { .. }))
            .map(|at| at + WRITERS_MAX);
        producers.chain(relays).fold(0, |set, at| set | one(at as u8))
    }

    /// The numbers of committed rows.
    pub fn rows(&self) -> Set {
        self.table.row.iter().filter(|number| **number > 0).fold(0, |set, number| set | one(*number))
    }

    /// The numbers that were taken, committed or not: a planted fault alone reads these.
    pub fn written(&self) -> Set {
        self.table.taken.iter().filter(|number| **number > 0).fold(0, |set, number| set | one(*number))
    }

    /// The stream has changed: watches of others break.
    pub fn touch(&mut self, by: usize) {
        for (at, relay) in self.relays.iter_mut().enumerate() {
            if at != by && relay.watch == Watch::Holds {
                relay.watch = Watch::Broken;
            }
        }
        if by != ORPHAN && self.orphan.watch == Watch::Holds {
            self.orphan.watch = Watch::Broken;
        }
    }

    /// Whether Redis has lost something by now.
    pub fn redis_has_lost(&self, scenario: &Scenario) -> bool {
        (self.left.flushes, self.left.setbacks) != (scenario.flushes, scenario.setbacks)
    }

    /// What XINFO STREAM answers.
    pub fn seen_top(&self) -> u8 {
        if self.redis.exists { self.redis.top } else { NONE }
    }
}

/// In [`World::touch`]: the orphan did it.
pub const ORPHAN: usize = RELAYS_MAX;
/// In [`World::touch`]: nobody that has a watch did it.
pub const SOMEBODY: usize = RELAYS_MAX + 1;

impl Relay {
    /// A relay that starts: it knows what is written down.
    pub fn new(table: &Table) -> Self {
        Self {
            at: table.frontier,
            waits: [Wait::default(); 3],
            lane: Lane::Unknown,
            top: table.sent,
            cursor: table.sent,
            length: 0,
            watch: Watch::Off,
            phase: Phase::Idle,
        }
    }

    /// Redis was lost sight of (`Relay::forget_redis`).
    pub fn forget(&mut self) {
        (self.lane, self.watch, self.phase) = (Lane::Unknown, Watch::Off, Phase::Idle);
    }
}
