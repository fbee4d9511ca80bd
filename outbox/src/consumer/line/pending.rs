//! An entry that is ours and not settled yet.

use std::time::Instant;

use crate::{EntryId, Envelope};

#[derive(Debug)]
pub(crate) struct Pending {
    /// None: it is fetched when it starts.
    pub(crate) envelope: Option<Envelope>,
    pub(crate) key: Option<String>,
    pub(crate) bytes: usize,
    /// Attempts that are known to have begun.
    pub(crate) attempts: u32,
    /// Just read, and never begun: Redis has counted the delivery, which stands for the first attempt.
    pub(crate) fresh: bool,
    /// Somebody may have died of it: handled with no other beside it.
    pub(crate) alone: bool,
    /// Of one that is replayed: its number in the stream.
    pub(crate) origin: Option<EntryId>,
    /// At most so many together in one batch: halved each time that a batch fails.
    pub(crate) together_max: usize,
    /// Outages in a row that it ran into.
    pub(crate) outages: u32,
    /// Somebody deleted it from its stream: this attempt is its last.
    pub(crate) deleted: bool,
    /// How its attempts failed.
    pub(crate) failures: Vec<Failed>,
    pub(crate) state: State,
}

/// How an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Failed {
    /// RFC 3339.
    pub(crate) at: String,
    pub(crate) consumer: String,
    pub(crate) error: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It may start as soon as its key is free.
    Ready,
    Running,
    /// It is tried again then. Its key waits with it.
    Waiting(Instant),
}

impl Pending {
    pub(crate) fn new(envelope: Option<Envelope>, attempts: u32) -> Self {
        Self {
            key: envelope.as_ref().and_then(|envelope| envelope.key.clone()),
            bytes: envelope.as_ref().map_or(0, Envelope::bytes),
            envelope,
            attempts,
            fresh: false,
            alone: false,
            origin: None,
            together_max: usize::MAX,
            outages: 0,
            deleted: false,
            failures: vec![],
            state: State::Ready,
        }
    }

    /// The event's id, while it is in memory.
    pub(crate) fn id(&self) -> Option<&str> {
        self.envelope.as_ref().map(|envelope| envelope.id.as_str())
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state == State::Running
    }
}
