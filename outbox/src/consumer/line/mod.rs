//! Which entries may be handled now: those whose key is not waiting for an earlier one. Pure: it is told and answers.

mod memory;
mod pending;
mod queues;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use self::memory::Memory;
pub(crate) use self::pending::{Failed, Pending, State};
use self::queues::Queues;
use crate::{EntryId, Envelope};

/// An entry's place: its lane and its number in it.
pub(crate) type Place = (Arc<str>, EntryId);

/// Everything that a consumer holds, in its order.
#[derive(Debug, Default)]
pub(crate) struct Line {
    pending: BTreeMap<Place, Pending>,
    queues: Queues,
    /// What may start now, by age: no lane that is always full may keep the others waiting.
    ready: BTreeSet<(EntryId, Arc<str>)>,
    /// What waits, by when it is due.
    waiting: BTreeSet<(Instant, Place)>,
    memory: Memory,
    running: usize,
    /// What is running is alone.
    solo: bool,
}

impl Line {
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// How many more events go into so many bytes, as far as one can tell.
    pub(crate) fn room(&self, bytes_max: usize) -> usize {
        self.memory.room(bytes_max)
    }

    pub(crate) fn get(&self, place: &Place) -> Option<&Pending> {
        self.pending.get(place)
    }

    pub(crate) fn get_mut(&mut self, place: &Place) -> Option<&mut Pending> {
        self.pending.get_mut(place)
    }

    /// A batch failed, and nobody knows by whose fault: its entries come back in halves.
    pub(crate) fn halve(&mut self, places: &[Place]) {
        for place in places {
            if let Some(pending) = self.pending.get_mut(place) {
                pending.together_max = places.len().div_ceil(2).min(pending.together_max);
            }
            self.again(place);
        }
    }

    /// How many events are in memory.
    pub(crate) fn loaded(&self) -> usize {
        self.memory.loaded
    }

    pub(crate) fn has_nothing_to_begin(&self) -> bool {
        self.ready.is_empty()
    }

    /// What cannot begin yet need not lie in memory: it is fetched when its turn comes.
    pub(crate) fn unload(&mut self) {
        for (place, pending) in &mut self.pending {
            if pending.state == State::Ready && !self.ready.contains(&age(place)) {
                self.memory.unload(pending);
            }
        }
    }

    /// The event was fetched.
    pub(crate) fn load(&mut self, place: &Place, envelope: Envelope) {
        if let Some(pending) = self.pending.get_mut(place) {
            self.memory.load(pending, envelope);
        }
    }

    /// Every place that is pending, in its order.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&Place, &Pending)> {
        self.pending.iter()
    }

    /// Takes an entry in. One that is here already stays as it is.
    pub(crate) fn add(&mut self, place: Place, pending: Pending) {
        if self.pending.contains_key(&place) {
            return;
        }
        self.memory.comes(&pending);
        let state = pending.state;
        // Something older of this key came later: who was first and has not begun waits behind it.
        if let Some(key) = &pending.key
            && let Some(first) = self.queues.add(&place, key)
        {
            self.ready.remove(&age(&first));
        }
        self.pending.insert(place.clone(), pending);
        match state {
            State::Waiting(until) => _ = self.waiting.insert((until, place)),
            _ => self.make_ready(&place),
        }
    }

    /// Takes out what may start now: at most so many, in their order, as one batch. Empty: nothing may.
    pub(crate) fn start(&mut self, together_max: usize, now: Instant) -> Vec<Place> {
        self.wake(now);
        let (mut batch, mut limit) = (vec![], together_max.max(1));
        while batch.len() < limit
            && let Some((number, lane)) = self.ready.first().cloned()
        {
            let place = (lane, number);
            let pending = &self.pending[&place];
            let fits = if pending.alone { self.running == 0 && batch.is_empty() } else { !self.solo };
            if !fits || (!batch.is_empty() && batch.len() >= pending.together_max) {
                break;
            }
            limit = limit.min(pending.together_max.max(1));
            self.solo = pending.alone;
            self.ready.remove(&age(&place));
            let pending = self.pending.get_mut(&place).expect("what is ready is pending");
            pending.state = State::Running;
            if let Some(key) = &pending.key {
                self.queues.begins(&place, key);
            }
            // Its successor may come along in the same batch, after it.
            if let Some(next) = self.after(&place)
                && self.pending[&next].state == State::Ready
                && !self.solo
            {
                self.ready.insert(age(&next));
            }
            batch.push(place);
            if self.solo {
                break;
            }
        }
        for place in &batch {
            if let Some(next) = self.after(place) {
                self.ready.remove(&age(&next));
            }
        }
        self.running += batch.len();
        batch
    }

    /// It is settled, or no longer ours.
    pub(crate) fn remove(&mut self, place: &Place) -> Option<Pending> {
        if self.pending.get(place)?.is_running() {
            self.has_ended(place);
        }
        let pending = self.pending.remove(place)?;
        self.memory.goes(&pending);
        self.ready.remove(&age(place));
        self.waits_no_longer(place, pending.state);
        if let Some(key) = &pending.key
            && let Some(first) = self.queues.remove(place, key)
        {
            self.make_ready(&first);
        }
        Some(pending)
    }

    /// What was running is tried again then; until then its event need not lie in memory.
    pub(crate) fn wait(&mut self, place: &Place, until: Instant) {
        let Some(pending) = self.pending.get_mut(place) else { return };
        let was = std::mem::replace(&mut pending.state, State::Waiting(until));
        self.memory.unload(pending);
        self.ready.remove(&age(place));
        self.waits_no_longer(place, was);
        self.waiting.insert((until, place.clone()));
        if was == State::Running {
            self.has_ended(place);
        }
    }

    /// What was running may start again at once.
    pub(crate) fn again(&mut self, place: &Place) {
        let Some(pending) = self.pending.get_mut(place) else { return };
        let was = std::mem::replace(&mut pending.state, State::Ready);
        self.waits_no_longer(place, was);
        if was == State::Running {
            self.has_ended(place);
        }
        self.make_ready(place);
    }

    /// When the next one that waits is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.waiting.first().map(|(until, _)| *until)
    }

    fn wake(&mut self, now: Instant) {
        while let Some((until, place)) = self.waiting.pop_first() {
            if until > now {
                self.waiting.insert((until, place));
                return;
            }
            self.pending.get_mut(&place).expect("what waits is pending").state = State::Ready;
            self.make_ready(&place);
        }
    }

    fn waits_no_longer(&mut self, place: &Place, was: State) {
        if let State::Waiting(until) = was {
            self.waiting.remove(&(until, place.clone()));
        }
    }

    /// It does not run any more: the first of its key may.
    fn has_ended(&mut self, place: &Place) {
        self.running -= 1;
        self.solo = false;
        if let Some(key) = &self.pending[place].key
            && let Some(first) = self.queues.ends(place, key)
        {
            self.make_ready(&first);
        }
    }

    fn make_ready(&mut self, place: &Place) {
        let pending = &self.pending[place];
        let first = pending.key.as_ref().is_none_or(|key| self.queues.is_turn(place, key));
        if first && pending.state == State::Ready {
            self.ready.insert(age(place));
        }
    }

    /// The next entry of the same key.
    fn after(&self, place: &Place) -> Option<Place> {
        self.queues.after(place, self.pending[place].key.as_ref()?)
    }
}

fn age((lane, number): &Place) -> (EntryId, Arc<str>) {
    (*number, lane.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn place(seq: u64) -> Place {
        ("s".into(), EntryId { generation: 1, seq })
    }

    fn pending(key: Option<&str>) -> Pending {
        Pending { key: key.map(Into::into), ..Pending::new(None, 0) }
    }

    fn seqs(batch: &[Place]) -> Vec<u64> {
        batch.iter().map(|(_, id)| id.seq).collect()
    }

    #[test]
    fn equal_keys_go_one_after_another_and_others_beside_them() {
        let (mut line, now) = (Line::default(), Instant::now());
        for (seq, key) in [(1, Some("a")), (2, Some("a")), (3, Some("b")), (4, None)] {
            line.add(place(seq), pending(key));
        }
        let started: Vec<_> = std::iter::from_fn(|| line.start(1, now).pop()).collect();
        assert_eq!(seqs(&started), [1, 3, 4]);
        line.remove(&place(1));
        assert_eq!(seqs(&line.start(1, now)), [2]);
    }

    #[test]
    fn a_key_whose_entry_waits_waits_too_and_other_keys_go_on() {
        let (mut line, now) = (Line::default(), Instant::now());
        for (seq, key) in [(1, "a"), (2, "a"), (3, "b")] {
            line.add(place(seq), pending(Some(key)));
        }
        assert_eq!(seqs(&line.start(1, now)), [1]);
        let later = now + Duration::from_secs(1);
        line.wait(&place(1), later);
        assert_eq!(seqs(&line.start(1, now)), [3]);
        assert!(line.start(1, now).is_empty());
        assert_eq!(line.next_due(), Some(later));
        assert_eq!(seqs(&line.start(1, later)), [1]);
    }

    /// Of what is buried the last word is to wait for ever, until it is among the dead letters.
    #[test]
    fn what_is_settled_while_it_waits_leaves_nothing_behind() {
        let (mut line, now) = (Line::default(), Instant::now());
        for seq in 0..3 {
            line.add(place(seq), pending(None));
            line.start(1, now);
            line.wait(&place(seq), now + Duration::from_secs(1 << 32));
        }
        line.remove(&place(0));
        line.again(&place(1));
        assert_eq!(seqs(&line.start(1, now)), [1]);
        line.remove(&place(1));
        line.remove(&place(2));
        assert_eq!((line.next_due(), line.len()), (None, 0));
    }

    #[test]
    fn a_batch_may_hold_a_whole_key_in_its_order() {
        let (mut line, now) = (Line::default(), Instant::now());
        for (seq, key) in [(1, "a"), (2, "a"), (3, "b"), (4, "a"), (5, "b")] {
            line.add(place(seq), pending(Some(key)));
        }
        assert_eq!(seqs(&line.start(4, now)), [1, 2, 3, 4]);
        assert!(line.start(4, now).is_empty(), "b waits for its first");
        for seq in [1, 2, 3, 4] {
            line.remove(&place(seq));
        }
        assert_eq!(seqs(&line.start(4, now)), [5]);
    }

    #[test]
    fn a_batch_that_failed_comes_back_in_halves() {
        let (mut line, now) = (Line::default(), Instant::now());
        for seq in 1..=4 {
            line.add(place(seq), pending(None));
        }
        let batch = line.start(4, now);
        line.halve(&batch);
        assert_eq!(seqs(&line.start(4, now)), [1, 2]);
        assert_eq!(seqs(&line.start(4, now)), [3, 4]);
    }

    #[test]
    fn lanes_take_turns_by_age() {
        let (mut line, now) = (Line::default(), Instant::now());
        for seq in [1, 3, 5] {
            line.add(place(seq), pending(None));
        }
        line.add(("another".into(), EntryId { generation: 1, seq: 4 }), pending(None));
        assert_eq!(seqs(&line.start(4, now)), [1, 3, 4, 5]);
    }

    #[test]
    fn a_suspect_is_handled_alone() {
        let (mut line, now) = (Line::default(), Instant::now());
        line.add(place(1), pending(None));
        line.add(place(2), Pending { alone: true, ..pending(None) });
        line.add(place(3), pending(None));
        assert_eq!(seqs(&line.start(10, now)), [1]);
        assert!(line.start(10, now).is_empty(), "the suspect waits until nothing runs, and the others behind it");
        line.remove(&place(1));
        assert_eq!(seqs(&line.start(10, now)), [2]);
        assert!(line.start(10, now).is_empty());
        line.remove(&place(2));
        assert_eq!(seqs(&line.start(10, now)), [3]);
    }

    proptest! {
        /// Whatever comes in whatever order and fails however often: of each key only the oldest pending one runs, and all
        /// are settled in the end.
        #[test]
        fn no_entry_overtakes_its_key(choices in proptest::collection::vec((0..40u64, 0..4u8, 0..3u8), 1..200)) {
            let (mut line, mut now) = (Line::default(), Instant::now());
            let mut running: Vec<Place> = vec![];
            let check = |line: &Line, running: &[Place]| {
                for place in running {
                    let key = &line.pending[place].key;
                    let older = line.places().filter(|(other, pending)| {
                        key.is_some() && pending.key == *key && other.1 < place.1 && pending.state != State::Running
                    });
                    // Older ones may have come after it had begun; they must not run beside it unless they were first.
                    for (other, _) in older {
                        assert!(!line.ready.contains(&age(other)) || line.queues.is_first(other, key.as_ref().expect("keyed")));
                    }
                }
            };
            for (seq, action, key) in choices {
                match action {
                    0 | 1 => line.add(place(seq), pending(["a", "b", ""].get(key as usize).copied().filter(|key| !key.is_empty()))),
                    2 => {
                        let batch = line.start(1 + key as usize, now);
                        for place in batch.iter().filter(|place| line.pending[*place].key.is_some()) {
                            let beside = running.iter().find(|other| line.pending[*other].key == line.pending[place].key);
                            prop_assert!(beside.is_none(), "{:?} runs beside {:?}", place, beside);
                        }
                        running.extend(batch);
                    }
                    _ if running.is_empty() => {}
                    _ => {
                        let place = running.remove(seq as usize % running.len());
                        match key {
                            0 => _ = line.remove(&place),
                            1 => line.wait(&place, now + Duration::from_secs(1)),
                            _ => line.again(&place),
                        }
                    }
                }
                check(&line, &running);
                now += Duration::from_millis(100);
            }
            now += Duration::from_secs(10);
            for place in running {
                line.remove(&place);
            }
            for _ in 0..1_000 {
                for place in line.start(7, now) {
                    line.remove(&place);
                }
            }
            prop_assert_eq!(line.len(), 0);
            let left = (line.running, line.memory.bytes, line.queues.len(), line.ready.len(), line.waiting.len());
            prop_assert_eq!(left, (0, 0, 0, 0, 0));
        }
    }
}
