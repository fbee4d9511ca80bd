//! An event as a handler is given it: the envelope, and where it was read.

use std::ops::Deref;
use std::sync::Arc;

use crate::{EntryId, Envelope};

/// An event in the hands of a consumer. Everything that the producer said is in its [`Envelope`], to which this
/// dereferences: `entry.id`, `entry.key`, `entry.payload::<T>()`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The stream that the event was published to.
    pub stream: Arc<str>,
    /// The group that it is handled for.
    pub group: Arc<str>,
    /// The number under which it was read.
    pub number: EntryId,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The event.
    pub envelope: Envelope,
    /// Where it was read: its stream, or the lane on which the group's dead letters are replayed.
    pub(crate) lane: Arc<str>,
    /// Of one that is replayed: its number in the stream.
    pub(crate) origin: Option<EntryId>,
}

impl Entry {
    /// An entry of a stream, for tests of handlers and of effects.
    pub fn new(stream: &str, group: &str, number: EntryId, envelope: Envelope) -> Self {
        let stream: Arc<str> = stream.into();
        Self { lane: stream.clone(), stream, group: group.into(), number, attempt: 1, envelope, origin: None }
    }
}

impl Deref for Entry {
    type Target = Envelope;

    fn deref(&self) -> &Envelope {
        &self.envelope
    }
}

/// Everything up to here is settled for a group, and the relay has written that down: none of it is needed again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settled {
    /// Where the entries were read.
    pub lane: Arc<str>,
    /// The group that has settled them.
    pub group: Arc<str>,
    /// The newest of them.
    pub upto: EntryId,
}

impl Settled {
    /// A position, for who keeps an inbox without our consumer.
    pub fn new(lane: &str, group: &str, upto: EntryId) -> Self {
        Self { lane: lane.into(), group: group.into(), upto }
    }
}
