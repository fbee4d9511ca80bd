//! What was seen of a round from outside. Nobody who could be at fault is asked.

use std::collections::BTreeMap;

use serde::Serialize;

/// An event as its producer knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    pub id: String,
    pub stream: String,
    pub key: String,
    /// The how-manieth of its key it is: events of one key are committed in this order.
    pub nth: u64,
    /// It can never take effect, and belongs among the dead letters.
    pub bad: bool,
    /// So often it is told to fail before it takes effect.
    pub fails: u32,
    /// Its transaction stayed open for so long that it may have been overtaken. Then its place is behind what came meanwhile.
    pub slow: bool,
}

/// A line of a group's ledger. In a ledger nothing is unique.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effect {
    pub group: String,
    pub id: String,
}

/// A dead letter of a group, or of the relay itself (then the group is empty).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Buried {
    pub group: String,
    pub id: String,
    pub reason: String,
}

/// The highest attempt of a group at an event, by the number that the group gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Begun {
    pub group: String,
    pub id: String,
    pub attempt: u32,
}

/// A failure that a handler blamed on an event that was not told to fail, so that it cost an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blamed {
    pub group: String,
    pub id: String,
    pub reason: String,
}

/// What stood in a stream during the round: what it held at the end, and what was seen there before it was trimmed or lost.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Entry {
    pub stream: String,
    pub number: String,
    pub id: String,
}

/// One round.
#[derive(Debug, Default, Serialize)]
pub struct History {
    pub groups: Vec<String>,
    /// What was acknowledged as committed, and what was found to be when its producer could not know.
    pub committed: Vec<Written>,
    /// In the order of each ledger.
    pub effects: Vec<Effect>,
    pub buried: Vec<Buried>,
    pub entries: Vec<Entry>,
    /// Events of which an attempt to publish was counted. None was at fault.
    pub attempted: Vec<String>,
    /// What the groups said of their attempts. Who says nothing is not judged by them.
    pub begun: Vec<Begun>,
    pub blamed: Vec<Blamed>,
    /// So often a consumer of the group took over what another one had left, that had fallen silent: killed, frozen, starved, or cut
    /// off from Redis for longer than others wait. Nobody knows how far it had come, so that counts as an attempt.
    pub taken_over: BTreeMap<String, u32>,
}
