//! Entries of one key stand in a queue: only the first may run, and none beside another one.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use super::Place;
use crate::EntryId;

/// One for each key of each lane. What has no key stands in none.
#[derive(Debug, Default)]
pub(super) struct Queues(HashMap<(Arc<str>, String), Queue>);

#[derive(Debug, Default)]
struct Queue {
    entries: BTreeSet<EntryId>,
    running: usize,
}

impl Queues {
    /// Takes an entry in. Returns who was first until now, if this one is older.
    pub(super) fn add(&mut self, (lane, number): &Place, key: &str) -> Option<Place> {
        let queue = self.0.entry((lane.clone(), key.to_owned())).or_default();
        let overtaken = queue.entries.first().filter(|first| *first > number).copied();
        queue.entries.insert(*number);
        overtaken.map(|first| (lane.clone(), first))
    }

    /// Takes an entry out. Returns who is first now.
    pub(super) fn remove(&mut self, (lane, number): &Place, key: &str) -> Option<Place> {
        let name = (lane.clone(), key.to_owned());
        let queue = self.0.get_mut(&name).expect("every pending entry is in its key's queue");
        queue.entries.remove(number);
        let first = queue.entries.first().copied();
        if first.is_none() {
            self.0.remove(&name);
        }
        first.map(|first| (lane.clone(), first))
    }

    /// One of a key begins to run.
    pub(super) fn begins(&mut self, (lane, _): &Place, key: &str) {
        self.of(lane, key).running += 1;
    }

    /// One of a key does not run any more. Returns who is first.
    pub(super) fn ends(&mut self, (lane, _): &Place, key: &str) -> Option<Place> {
        let queue = self.of(lane, key);
        queue.running -= 1;
        queue.entries.first().map(|first| (lane.clone(), *first))
    }

    /// Whether it is an entry's turn.
    pub(super) fn is_turn(&self, (lane, number): &Place, key: &str) -> bool {
        let queue = &self.0[&(lane.clone(), key.to_owned())];
        queue.running == 0 && queue.entries.first() == Some(number)
    }

    /// The next entry of the same key.
    pub(super) fn after(&self, (lane, number): &Place, key: &str) -> Option<Place> {
        let queue = &self.0[&(lane.clone(), key.to_owned())];
        queue.entries.range((Excluded(number), Unbounded)).next().map(|next| (lane.clone(), *next))
    }

    #[cfg(test)]
    pub(super) fn is_first(&self, (lane, number): &Place, key: &str) -> bool {
        self.0[&(lane.clone(), key.to_owned())].entries.first() == Some(number)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn of(&mut self, lane: &Arc<str>, key: &str) -> &mut Queue {
        self.0.get_mut(&(lane.clone(), key.to_owned())).expect("every pending entry is in its key's queue")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(seq: u64) -> Place {
        ("s".into(), EntryId { generation: 1, seq })
    }

    #[test]
    fn the_oldest_has_its_turn_as_long_as_none_of_its_key_runs() {
        let mut queues = Queues::default();
        assert_eq!(queues.add(&place(2), "k"), None);
        assert_eq!(queues.add(&place(3), "k"), None);
        assert!(queues.is_turn(&place(2), "k") && !queues.is_turn(&place(3), "k"));
        assert_eq!(queues.add(&place(1), "k"), Some(place(2)), "an older one came later");
        assert_eq!(queues.after(&place(1), "k"), Some(place(2)));
        queues.begins(&place(1), "k");
        assert!(!queues.is_turn(&place(1), "k"));
        assert_eq!(queues.ends(&place(1), "k"), Some(place(1)));
        assert_eq!(queues.remove(&place(1), "k"), Some(place(2)));
        assert_eq!(queues.remove(&place(2), "k"), Some(place(3)));
        assert_eq!(queues.remove(&place(3), "k"), None);
        assert_eq!(queues.len(), 0, "a key without entries is forgotten");
    }
}
