//! What may happen, and how often: the bounds that make "everything" finite. And faults of our own that are planted to see
//! whether they are found.

/// The bounds of one exploration.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scenario {
    /// Transactions that each write one event. At most [`WRITERS_MAX`](crate::WRITERS_MAX).
    pub writers: usize,
    /// Relays at once, without a lock. At most [`RELAYS_MAX`](crate::RELAYS_MAX).
    pub relays: usize,
    /// The second relay only looks, reads and appends: it decides nothing and writes nothing down.
    pub second_only_sends: bool,
    /// Between lock and number, and between commit and the lock's end, others may go on, too.
    pub fine: bool,
    /// Whether transactions may also be rolled back.
    pub rollbacks: bool,
    /// How often slow writers may be overtaken. When is left open: the model has no clock, so "slow" is whoever is still writing.
    pub overtakings: u8,
    /// How often a relay dies, at any step. What it has asked for may still be done after its death.
    pub crashes: u8,
    /// How often a relay's connection to Redis breaks: a request or a reply is lost, or arrives late.
    pub cuts: u8,
    /// How often Redis loses everything.
    pub flushes: u8,
    /// How often Redis goes back to an older state (a replica that lagged, a log without its end).
    pub setbacks: u8,
    /// A group consumes, and relays write its position down.
    pub group: bool,
    /// What is wrong.
    pub planted: Option<Planted>,
}

/// Faults that the checker has to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// The newest number is read from the sequence as from a table, which shows numbers that nobody has taken.
    NewestShowsTooMuch,
    /// Open transactions are not asked for.
    IgnoresOpenTransactions,
    /// Who is writing is read first, and the newest number afterwards.
    NumberAfterWriters,
    /// A producer takes its number before it holds the table's lock.
    NumberBeforeLock,
    /// The frontier goes past slow writers before the missing numbers are stored.
    OvertakesBeforeStoring,
    /// Overtaken numbers are forgotten while a writer may still hold one.
    DecidesTooEarly,
    /// What appeared among overtaken numbers gets new ones without a question to Redis.
    ReleasesWithoutAsking,
    /// A number that Redis has not passed yet is given up without raising the top.
    ReleasesWithoutFence,
    /// The batch is appended without a watch.
    AppendsWithoutCompare,
    /// A lost stream is made where the relay had sent up to, not where its group had settled.
    RebuildsAtTheTop,
    /// What a transaction has written is read, whatever becomes of it.
    ReadsWhatIsNotCommitted,
    /// The frontier goes past slow writers, and takes for missing what has committed there, too.
    OvertakesWhatIsThere,
    /// What a group has done is remembered in Redis, not beside its effects.
    RemembersInRedis,
}
