//! What is read: streams, and beside each the lane on which the group's dead letters of it are replayed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::{EntryId, keys};

/// What is read, by name.
#[derive(Debug)]
pub(super) struct Lanes {
    group: Arc<str>,
    by_name: BTreeMap<Arc<str>, Lane>,
}

/// One stream that is read, or one on which the group's dead letters are replayed.
#[derive(Debug)]
pub(super) struct Lane {
    /// The stream that it belongs to.
    pub(super) stream: Arc<str>,
    /// Where to look on for what others have left.
    pub(super) cursor: String,
    /// The group was there when we last looked.
    pub(super) known: bool,
    pub(super) missing_since: Option<Instant>,
    /// Nothing of it is begun any more.
    pub(super) leaving: bool,
    pub(super) settled: Option<EntryId>,
    /// Of a partition: whatever was pending for others is ours.
    pub(super) claimed: bool,
}

impl Lane {
    fn of(stream: Arc<str>) -> Self {
        Self {
            stream,
            cursor: "0-0".to_owned(),
            known: false,
            missing_since: None,
            leaving: false,
            settled: None,
            claimed: false,
        }
    }

    /// Whether it is to be looked what is ours before anything of it begins.
    pub(super) fn is_unknown(&self) -> bool {
        !self.known && !self.leaving
    }
}

impl Lanes {
    pub(super) fn of(group: Arc<str>) -> Self {
        Self { group, by_name: BTreeMap::new() }
    }

    /// Reads a stream, too.
    pub(super) fn add(&mut self, stream: &Arc<str>) {
        for lane in [stream.clone(), keys::replay(stream, &self.group).into()] {
            self.by_name.entry(lane).or_insert_with(|| Lane::of(stream.clone()));
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Lane> {
        self.by_name.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Lane> {
        self.by_name.get_mut(name)
    }

    /// One that is ours.
    pub(super) fn known(&self, name: &str) -> &Lane {
        self.get(name).expect("lanes are let go of only between two turns")
    }

    /// The same, to be changed.
    pub(super) fn known_mut(&mut self, name: &str) -> &mut Lane {
        self.get_mut(name).expect("lanes are let go of only between two turns")
    }

    /// The name itself, to be shared.
    pub(super) fn name(&self, name: &str) -> Option<Arc<str>> {
        self.by_name.get_key_value(name).map(|(name, _)| name.clone())
    }

    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.by_name.keys().cloned().collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Lane)> {
        self.by_name.iter()
    }

    /// Those of which something may be begun.
    pub(super) fn open(&self) -> impl Iterator<Item = (&Arc<str>, &Lane)> {
        self.iter().filter(|(_, lane)| !lane.leaving)
    }

    /// The streams that lanes belong to, each once.
    pub(super) fn streams(&self) -> Vec<Arc<str>> {
        let streams: BTreeSet<_> = self.by_name.values().map(|lane| lane.stream.clone()).collect();
        streams.into_iter().collect()
    }

    /// The lanes that belong to a stream.
    pub(super) fn of_stream(&self, stream: &str) -> Vec<Arc<str>> {
        self.iter().filter(|(_, lane)| *lane.stream == *stream).map(|(name, _)| name.clone()).collect()
    }

    /// The stream that a lane belongs to, also one that is no longer ours.
    pub(super) fn stream_of(&self, lane: &str) -> Arc<str> {
        match self.get(lane) {
            Some(lane) => lane.stream.clone(),
            None => keys::stream_of(lane, &self.group).into(),
        }
    }

    /// Whether one of them is to be looked at before anything begins.
    pub(super) fn has_unknown(&self) -> bool {
        self.by_name.values().any(Lane::is_unknown)
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// After a loss each is looked at anew. Nobody else could give a group back to a partition that we hold, so none leaves.
    pub(super) fn look_again(&mut self) {
        for lane in self.by_name.values_mut() {
            lane.cursor = "0-0".to_owned();
            (lane.known, lane.leaving) = (false, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[Arc<str>]) -> Vec<&str> {
        names.iter().map(|name| &**name).collect()
    }

    #[test]
    fn each_stream_has_a_lane_for_its_replays() {
        let mut lanes = Lanes::of("g".into());
        lanes.add(&"a".into());
        lanes.add(&"b".into());
        lanes.known_mut("a").known = true;
        lanes.add(&"a".into());
        assert!(lanes.known("a").known, "one that is there stays as it is");
        assert_eq!(names(&lanes.names()), ["a", "a:g:replay", "b", "b:g:replay"]);
        assert_eq!(names(&lanes.of_stream("a")), ["a", "a:g:replay"]);
        assert_eq!(names(&lanes.streams()), ["a", "b"], "each once");
        lanes.remove("b:g:replay");
        for (lane, stream) in [("a", "a"), ("a:g:replay", "a"), ("b:g:replay", "b"), ("c", "c")] {
            assert_eq!(&*lanes.stream_of(lane), stream);
        }
    }

    #[test]
    fn what_leaves_is_neither_read_nor_waited_for_until_all_is_looked_at_anew() {
        let mut lanes = Lanes::of("g".into());
        lanes.add(&"a".into());
        assert!(lanes.has_unknown());
        for name in lanes.names() {
            lanes.known_mut(&name).leaving = true;
        }
        assert!(!lanes.has_unknown() && lanes.open().count() == 0);
        lanes.look_again();
        assert!(lanes.has_unknown() && lanes.open().count() == 2);
    }
}
