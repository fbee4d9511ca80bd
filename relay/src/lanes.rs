//! A lane per stream: what Redis has of it, and from where to read on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use outbox::EntryId;

use crate::Seq;
use crate::store::Checkpoint;

/// What Redis says of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Top {
    /// The newest number it has ever given an entry.
    At(EntryId),
    /// There is no such stream.
    Absent,
    /// It cannot be used, and why.
    Refused(String),
}

/// One stream's way to Redis.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) generation: u64,
    /// The newest number in Redis: of the stream itself once it was asked, before that as the last report had it.
    pub(crate) top: Seq,
    /// Read on above this. It runs ahead of the top where only held rows lie between.
    pub(crate) cursor: Seq,
    pub(crate) state: State,
    /// A person asked that nothing be sent. Everything else goes on.
    pub(crate) paused: bool,
    /// How many entries the last probe found.
    pub(crate) length: i64,
    /// Redis and Postgres tell the same story of it: looked at once a connection to Postgres.
    pub(crate) verified: bool,
    /// Up to here it is gone from Redis, once we have looked.
    pub(crate) trimmed: Option<Seq>,
    /// How often it was refused since it last flowed.
    pub(crate) refusals: i32,
    /// Entries that this relay sent since the last report.
    pub(crate) sent: u64,
    /// The top that the last report wrote down.
    pub(crate) reported: Option<Seq>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Redis has to be asked first.
    Unknown,
    /// The stream has to be made, or made anew.
    Absent,
    /// It flows.
    Ready,
    /// It was refused, and is tried again then.
    Refused { until: Instant },
    /// The part of a cluster in which it lies is away, and is tried again then.
    Away { until: Instant },
}

/// What a look at the top brought to light.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum News {
    None,
    /// Someone else has sent these meanwhile.
    OthersSent {
        from: Seq,
        to: Seq,
    },
    /// Redis has lost these: they will be sent again, under the same numbers.
    Lost {
        from: Seq,
        to: Seq,
    },
    /// The stream does not exist.
    Gone,
    /// The stream cannot be used.
    Refused(String),
}

/// All lanes, by stream. Knows neither Postgres nor Redis: it is told.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: BTreeMap<String, Lane>,
    /// Which lane comes first in the next read, so that a busy one does not starve the others.
    turn: usize,
}

impl Lanes {
    /// Adds a stream that is not known yet, or begins anew with one that somebody gave another generation.
    pub(crate) fn add(&mut self, checkpoint: &Checkpoint) {
        if let Some(lane) = self.lanes.get_mut(&checkpoint.stream) {
            lane.paused = checkpoint.paused;
        }
        let known = self.get(&checkpoint.stream);
        if known.is_some_and(|lane| lane.generation == checkpoint.generation) {
            return;
        }
        // We may have sent more than was written down.
        let top = known.map_or(0, |lane| lane.top).max(checkpoint.sent_seq);
        let lane = Lane {
            generation: checkpoint.generation,
            top,
            cursor: top,
            state: State::Unknown,
            paused: checkpoint.paused,
            verified: known.is_some_and(|lane| lane.verified),
            length: 0,
            trimmed: None,
            refusals: 0,
            sent: 0,
            reported: None,
        };
        self.lanes.insert(checkpoint.stream.clone(), lane);
    }

    pub(crate) fn get(&self, stream: &str) -> Option<&Lane> {
        self.lanes.get(stream)
    }

    /// A lane that is known.
    pub(crate) fn lane(&self, stream: &str) -> &Lane {
        self.lanes.get(stream).expect("only streams of known lanes are in hand")
    }

    pub(crate) fn get_mut(&mut self, stream: &str) -> &mut Lane {
        self.lanes.get_mut(stream).expect("only streams of known lanes are in hand")
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Lane)> {
        self.lanes.iter_mut().map(|(stream, lane)| (stream.as_str(), lane))
    }

    /// Whether a lane flows.
    pub(crate) fn flows(&self, stream: &str) -> bool {
        self.get(stream).is_some_and(|lane| lane.state == State::Ready)
    }

    /// The streams that flow.
    pub(crate) fn flowing(&self) -> Vec<String> {
        self.lanes.iter().filter(|(_, lane)| lane.state == State::Ready).map(|(stream, _)| stream.clone()).collect()
    }

    /// The streams that flow and may be sent to.
    pub(crate) fn sending(&self) -> Vec<String> {
        let sends = |lane: &Lane| lane.state == State::Ready && !lane.paused;
        self.lanes.iter().filter(|(_, lane)| sends(lane)).map(|(stream, _)| stream.clone()).collect()
    }

    /// Streams of which Redis has to be asked, or asked again.
    pub(crate) fn to_ask(&self, now: Instant) -> Vec<String> {
        let due = |lane: &Lane| match &lane.state {
            State::Unknown | State::Absent => true,
            State::Ready => false,
            State::Refused { until } | State::Away { until } => *until <= now,
        };
        self.lanes.iter().filter(|(_, lane)| due(lane)).map(|(stream, _)| stream.clone()).collect()
    }

    /// Whether rows of a lane may be sent.
    pub(crate) fn may_send(&self, stream: &str) -> bool {
        self.flows(stream) && !self.lane(stream).paused
    }

    /// The lanes that flow and may be sent to, with the number to read on above, another one first each time.
    pub(crate) fn ready(&mut self) -> Vec<(String, Seq)> {
        let mut ready: Vec<_> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.state == State::Ready && !lane.paused)
            .map(|(stream, lane)| (stream.clone(), lane.cursor))
            .collect();
        if !ready.is_empty() {
            self.turn = self.turn.wrapping_add(1) % ready.len();
            ready.rotate_left(self.turn);
        }
        ready
    }

    /// Redis was lost sight of: nothing that is known of it holds any longer. What is set aside stays so.
    pub(crate) fn forget(&mut self) {
        for lane in self.lanes.values_mut().filter(|lane| !matches!(lane.state, State::Away { .. })) {
            lane.state = State::Unknown;
        }
    }

    /// Sets the lanes aside that lie where somebody is away, each until then. `false`: there is none, or no other would be left,
    /// and nothing was done.
    pub(crate) fn set_aside(&mut self, is_away: impl Fn(&str) -> bool, until: impl Fn(&Lane) -> Instant) -> bool {
        let is_left =
            |(stream, lane): (&String, &Lane)| !is_away(stream) && !matches!(lane.state, State::Away { .. });
        if !self.lanes.keys().any(|stream| is_away(stream)) || !self.lanes.iter().any(is_left) {
            return false;
        }
        for (_, lane) in self.lanes.iter_mut().filter(|(stream, _)| is_away(stream)) {
            lane.state = State::Away { until: until(lane) };
            lane.refusals = lane.refusals.saturating_add(1);
        }
        true
    }

    /// Takes in what Redis says of a stream. `last` is the newest number that Postgres has given out.
    pub(crate) fn told(&mut self, stream: &str, top: &Top, last: Seq) -> News {
        let lane = self.get_mut(stream);
        let was = lane.top;
        let top = match top {
            Top::Refused(reason) => return News::Refused(reason.clone()),
            Top::Absent => {
                lane.state = State::Absent;
                return News::Gone;
            }
            // Made by a consumer, and never sent to since.
            Top::At(EntryId { generation: 0, .. }) => 0,
            // What was sent in an older generation need not go again in this one.
            Top::At(id) if id.generation < lane.generation => was,
            Top::At(id) if id.generation > lane.generation => return News::Refused(foreign(stream, *id, lane)),
            Top::At(id) => match Seq::try_from(id.seq) {
                Ok(seq) if seq <= last => seq,
                _ => return News::Refused(ahead(stream, *id, last)),
            },
        };
        lane.state = State::Ready;
        lane.refusals = 0;
        lane.top = top;
        if top < was {
            lane.cursor = top;
            return News::Lost { from: top + 1, to: was };
        }
        lane.cursor = lane.cursor.max(top);
        if top > was { News::OthersSent { from: was + 1, to: top } } else { News::None }
    }

    /// A loss was heard, and could not be acted upon: it is heard again.
    pub(crate) fn unhear(&mut self, stream: &str, was: Seq) {
        let lane = self.get_mut(stream);
        (lane.top, lane.cursor, lane.state) = (was, was, State::Unknown);
    }

    /// Everything that is known of a stream is void.
    pub(crate) fn remove(&mut self, stream: &str) {
        self.lanes.remove(stream);
    }

    /// An appended batch moved the top.
    pub(crate) fn sent(&mut self, stream: &str, top: Seq, entries: u64) {
        let lane = self.get_mut(stream);
        lane.top = lane.top.max(top);
        lane.cursor = lane.cursor.max(top);
        lane.sent += entries;
    }

    /// The lane stands still until then.
    pub(crate) fn refuse(&mut self, stream: &str, until: Instant) {
        let lane = self.get_mut(stream);
        lane.state = State::Refused { until };
        lane.refusals = lane.refusals.saturating_add(1);
    }

    /// When the next refused lane is to be tried again.
    pub(crate) fn next_try(&self, now: Instant) -> Option<Duration> {
        self.lanes
            .values()
            .filter_map(|lane| match &lane.state {
                State::Refused { until } | State::Away { until } => Some(until.saturating_duration_since(now)),
                _ => None,
            })
            .min()
    }
}

fn foreign(stream: &str, top: EntryId, lane: &Lane) -> String {
    format!(
        "the stream holds entry {top}, which is newer than anything of generation {}: somebody else writes to it, or did. \
         To adopt it, stop them and run: update outbox_stream set generation = {} where stream = '{}'",
        lane.generation,
        top.generation.saturating_add(1),
        stream.replace('\'', "''")
    )
}

fn ahead(stream: &str, top: EntryId, last: Seq) -> String {
    format!(
        "the stream holds entry {top}, but Postgres has given out numbers only up to {last}: it was restored to an older \
         state. To go on under fresh numbers run: update outbox_stream set generation = {} where stream = '{}'",
        top.generation.saturating_add(1),
        stream.replace('\'', "''")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(sent_seq: Seq) -> Lanes {
        let mut lanes = Lanes::default();
        lanes.add(&Checkpoint { stream: "s".into(), generation: 7, sent_seq, paused: false });
        lanes
    }

    fn at(generation: u64, seq: u64) -> Top {
        Top::At(EntryId { generation, seq })
    }

    #[test]
    fn the_stream_is_the_cursor_not_the_checkpoint() {
        let mut lanes = lanes(5);
        assert_eq!(lanes.told("s", &at(7, 9), 100), News::OthersSent { from: 6, to: 9 });
        assert_eq!(lanes.get("s").map(|lane| lane.cursor), Some(9));
        assert_eq!(lanes.told("s", &at(7, 3), 100), News::Lost { from: 4, to: 9 });
        assert_eq!(lanes.get("s").map(|lane| lane.cursor), Some(3));
    }

    #[test]
    fn a_stream_of_an_older_generation_goes_on_above_what_was_sent() {
        let mut lanes = lanes(0);
        assert_eq!(lanes.told("s", &at(6, 1_000), 10), News::None);
        assert_eq!(lanes.get("s").map(|lane| (lane.top, lane.cursor)), Some((0, 0)));
    }

    #[test]
    fn a_foreign_stream_is_refused_with_the_way_to_adopt_it() {
        let News::Refused(why) = lanes(0).told("s", &at(1_700_000_000_000, 3), 10) else { panic!("must be refused") };
        assert!(why.contains("set generation = 1700000000001 where stream = 's'"), "{why}");
    }

    #[test]
    fn numbers_that_postgres_never_gave_out_are_refused() {
        assert!(matches!(lanes(0).told("s", &at(7, 11), 10), News::Refused(_)));
    }

    #[test]
    fn a_lane_that_is_set_aside_is_asked_again_when_it_is_time_and_the_last_one_never_is() {
        let mut lanes = Lanes::default();
        for stream in ["a", "b"] {
            lanes.add(&Checkpoint { stream: stream.into(), generation: 1, sent_seq: 0, paused: false });
            lanes.told(stream, &at(1, 0), 0);
        }
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        assert!(!lanes.set_aside(|_| false, |_| now + second), "nobody is to blame, so all of Redis is away");
        assert!(lanes.set_aside(|stream| stream == "a", |_| now + second));
        lanes.forget();
        assert_eq!((lanes.to_ask(now), lanes.next_try(now)), (vec!["b".to_owned()], Some(second)));
        assert_eq!(lanes.to_ask(now + second), ["a", "b"]);
        assert!(!lanes.set_aside(|stream| stream == "b", |_| now + second), "then all of Redis is away");
    }

    #[test]
    fn every_lane_comes_first_in_turn() {
        let mut lanes = Lanes::default();
        for stream in ["a", "b", "c"] {
            lanes.add(&Checkpoint { stream: stream.into(), generation: 1, sent_seq: 0, paused: false });
            lanes.told(stream, &at(1, 0), 0);
        }
        let first: std::collections::BTreeSet<_> = (0..3).map(|_| lanes.ready()[0].0.clone()).collect();
        assert_eq!(first.len(), 3);
    }
}
