//! What the events of pending entries take up, and which of them lie in memory.

use crate::Envelope;

use super::Pending;

/// What events are taken for until some were seen.
const EVENT_BYTES: usize = 4_096;

#[derive(Debug)]
pub(super) struct Memory {
    pub(super) loaded: usize,
    pub(super) bytes: usize,
    /// How large events are, as a rule.
    event_bytes: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self { loaded: 0, bytes: 0, event_bytes: EVENT_BYTES }
    }
}

impl Memory {
    /// How many more events go into so many bytes, as far as one can tell.
    pub(super) fn room(&self, bytes_max: usize) -> usize {
        bytes_max.saturating_sub(self.bytes) / self.event_bytes.max(1)
    }

    /// An entry comes, with its event or without it.
    pub(super) fn comes(&mut self, pending: &Pending) {
        self.bytes += pending.bytes;
        if let Some(envelope) = &pending.envelope {
            self.loaded += 1;
            self.event_bytes = (self.event_bytes * 15 + envelope.bytes()) / 16;
        }
    }

    /// An entry goes.
    pub(super) fn goes(&mut self, pending: &Pending) {
        self.bytes -= pending.bytes;
        self.loaded -= usize::from(pending.envelope.is_some());
    }

    /// Its event was fetched.
    pub(super) fn load(&mut self, pending: &mut Pending, envelope: Envelope) {
        if pending.envelope.is_none() {
            pending.bytes = envelope.bytes();
            self.bytes += pending.bytes;
            self.loaded += 1;
            pending.envelope = Some(envelope);
        }
    }

    /// Its event is fetched again when its turn comes.
    pub(super) fn unload(&mut self, pending: &mut Pending) {
        self.loaded -= usize::from(pending.envelope.take().is_some());
        self.bytes -= std::mem::take(&mut pending.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn event(bytes: usize) -> Envelope {
        Envelope::new("1".into(), "t".into(), 1, None, UNIX_EPOCH, "x".repeat(bytes), None)
    }

    #[test]
    fn what_is_unloaded_takes_up_nothing_and_can_come_back() {
        let mut memory = Memory::default();
        let mut pending = Pending::new(Some(event(10_000)), 0);
        memory.comes(&pending);
        let taken = (memory.loaded, memory.bytes);
        assert!(taken.0 == 1 && taken.1 >= 10_000);
        for _ in 0..2 {
            memory.unload(&mut pending);
            assert_eq!((memory.loaded, memory.bytes), (0, 0));
        }
        for _ in 0..2 {
            memory.load(&mut pending, event(10_000));
            assert_eq!((memory.loaded, memory.bytes), taken);
        }
        memory.goes(&pending);
        assert_eq!((memory.loaded, memory.bytes), (0, 0));
    }

    #[test]
    fn it_learns_how_large_events_are() {
        let mut memory = Memory::default();
        assert_eq!(memory.room(10 * EVENT_BYTES), 10);
        for _ in 0..200 {
            let pending = Pending::new(Some(event(100)), 0);
            memory.comes(&pending);
            memory.goes(&pending);
        }
        assert!(memory.room(10 * EVENT_BYTES) > 100);
        memory.bytes = 20 * EVENT_BYTES;
        assert_eq!(memory.room(10 * EVENT_BYTES), 0);
    }
}
