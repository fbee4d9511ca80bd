//! What is found, one trouble after the other. What hits every stream explains every delay; a refusal explains that of its
//! own stream, and of no other.

use jiff::Timestamp;

use super::words::{age, count, events, rate, redis_in_words, that_wait, who_is};
use super::{About, Finding, LIMITS, Level, Own, REDIS_UNKNOWN};
use crate::fault::postgres_in_words;
use crate::pulse::{Away, Phase};
use crate::standing::Standing;
use crate::store::people::{Blocker, GroupStatus, RelayStatus, StreamStatus};

/// So many late streams are named; of the others it is said how many they are.
const LATE_NAMED_MAX: usize = 5;

#[derive(Default)]
pub(super) struct Found(Vec<Finding>);

impl Found {
    pub(super) fn add(&mut self, level: Level, kind: impl Into<String>, sentence: impl Into<String>) -> &mut Finding {
        let finding = Finding { level, kind: kind.into(), sentence: sentence.into(), reason: None, about: None };
        self.0.push(finding);
        self.0.last_mut().expect("it was just added")
    }

    /// The worst first; of equal ones, those that were found first.
    pub(super) fn sorted(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|finding| finding.level);
        self.0
    }

    pub(super) fn of_this_relay(&mut self, own: Option<&Own>, another_works: bool, waiting: i64) {
        let Some(own) = own else { return };
        if own.hangs {
            let sentence = "Stuck: the relay's loop hangs. A restart helps, and loses nothing.";
            self.add(Level::Stuck, "hangs", sentence);
        }
        let rests = own.phase == Phase::Resting && another_works;
        if let Some((away, words, seconds)) = own.trouble.as_ref().filter(|_| !rests) {
            let (kind, what) = match away {
                Away::Redis => ("redis", redis_in_words(words)),
                Away::Postgres => ("postgres", postgres_in_words(words)),
            };
            let sentence = format!("Stuck for {}: {what}.{}", age(*seconds), that_wait(waiting));
            self.add(Level::Stuck, kind, sentence).reason = Some(words.clone());
        }
        if rests && !own.redis_is_there {
            let sentence = "This relay rests, and could not take over: it cannot reach Redis.";
            self.add(Level::Look, "rests", sentence);
        }
    }

    /// Returns for how long the oldest event waits that should not.
    pub(super) fn of_standing(&mut self, standing: &Standing, own: Option<&Own>, now: Timestamp) -> f64 {
        let known = self.0.iter().any(|finding| finding.level == Level::Stuck);
        let nobody_works = self.of_nobody(standing, own);
        let flowing = standing.streams.iter().filter(|stream| stream.paused_at.is_none());
        let (refused, mut open): (Vec<_>, Vec<_>) = flowing.partition(|stream| stream.refusal.is_some());
        let waits = refused.iter().chain(&open).map(|stream| oldest(stream)).fold(0.0, f64::max);
        if !known && !nobody_works {
            open = self.of_transactions(standing, open);
        }
        refused.into_iter().for_each(|stream| self.of_refusal(stream));
        self.of_pauses(standing, now);
        if !known && !nobody_works {
            self.of_delays(open, own);
        }
        if own.is_none() && !nobody_works {
            self.of_redis(&standing.relay);
        }
        standing.groups.iter().for_each(|group| self.of_group(group));
        self.of_dead_letters(standing.relay.dead);
        waits
    }

    /// `true`: no relay works.
    fn of_nobody(&mut self, standing: &Standing, own: Option<&Own>) -> bool {
        let relay = &standing.relay;
        if relay.holder.is_some() || own.is_some_and(|own| own.phase == Phase::Working || own.trouble.is_some()) {
            return false;
        }
        let seen = relay.last_seen_seconds.map_or_else(
            || "; none was ever seen".to_owned(),
            |seconds| format!("; the last one was seen {} ago", age(seconds)),
        );
        let sentence = format!("Stuck: no relay works{seen}.{}", that_wait(standing.unsent()));
        self.add(Level::Stuck, "nobody", sentence).reason = match own {
            // A relay from which Redis stays away gives its lease up, as one that ends does.
            None if relay.last_seen_seconds.is_some() => {
                Some("It has ended, or cannot reach Redis: Postgres does not know which.".to_owned())
            }
            Some(own) if !own.redis_is_there => Some("This one could not: it cannot reach Redis.".to_owned()),
            _ => None,
        };
        true
    }

    /// Returns those streams whose delay no transaction explains.
    fn of_transactions<'s>(&mut self, standing: &Standing, streams: Vec<&'s StreamStatus>) -> Vec<&'s StreamStatus> {
        // While events leave, nothing holds them.
        let held = standing.relay.frontier < standing.relay.last
            && streams.iter().map(|stream| stream.sent_per_second).sum::<f64>() == 0.0;
        // What waits for longer than it is open waits for something else.
        let open_for = |blocker: &Blocker| blocker.open_seconds.unwrap_or(f64::NEG_INFINITY);
        let longest = standing.blockers.iter().max_by(|one, other| open_for(one).total_cmp(&open_for(other)));
        let Some(blocker) = longest.filter(|_| held) else { return streams };
        let waits_for_it =
            |stream: &&StreamStatus| oldest(stream) > LIMITS.well_seconds && oldest(stream) <= open_for(blocker);
        let (waiting, others): (Vec<_>, Vec<_>) = streams.into_iter().partition(waits_for_it);
        if !waiting.is_empty() {
            let seconds = waiting.iter().map(|stream| oldest(stream)).fold(0.0, f64::max);
            let unsent = waiting.iter().map(|stream| stream.unsent).sum();
            let sentence =
                format!("Stuck for {}: a transaction holds the frontier.{}", age(seconds), that_wait(unsent));
            let finding = self.add(Level::Stuck, "frontier", sentence);
            (finding.reason, finding.about) = (Some(who_is(blocker)), Some(About::Frontier));
        }
        others
    }

    fn of_refusal(&mut self, stream: &StreamStatus) {
        let name = &stream.stream;
        let sentence = format!(
            "Stuck for {}: Redis refuses the next event of {name}, and the rest waits behind it.",
            age(oldest(stream))
        );
        let finding = self.add(Level::Stuck, format!("refused {name}"), sentence);
        (finding.reason, finding.about) = (stream.refusal.clone(), Some(About::Lanes));
    }

    fn of_pauses(&mut self, standing: &Standing, now: Timestamp) {
        let since = |at: &str| {
            let at = at.parse::<Timestamp>().unwrap_or(now);
            age(now.duration_since(at).as_secs_f64())
        };
        let by = |who: &Option<String>| who.clone().unwrap_or_else(|| "somebody".to_owned());
        if let Some(at) = &standing.relay.paused_at {
            let (since, by) = (since(at), by(&standing.relay.paused_by));
            let sentence = format!("Everything is paused for {since}, by {by}.{}", that_wait(standing.unsent()));
            self.add(Level::Paused, "paused", sentence).about = Some(About::Lanes);
            return;
        }
        for stream in &standing.streams {
            let Some(at) = &stream.paused_at else { continue };
            let (name, since, by) = (&stream.stream, since(at), by(&stream.paused_by));
            let sentence = format!("{name} is paused for {since}, by {by}.{}", that_wait(stream.unsent));
            self.add(Level::Paused, format!("paused {name}"), sentence).about = Some(About::Lanes);
        }
    }

    /// Streams that are late for no reason that is known, each by itself: while one flows, another may stand still.
    fn of_delays(&mut self, mut streams: Vec<&StreamStatus>, own: Option<&Own>) {
        streams.retain(|stream| oldest(stream) > LIMITS.behind_seconds);
        streams.sort_by(|one, other| oldest(other).total_cmp(&oldest(one)));
        let (named, others) = streams.split_at(streams.len().min(LATE_NAMED_MAX));
        for stream in named {
            let (name, waits) = (&stream.stream, age(oldest(stream)));
            let wait = if stream.unsent == 1 { "waits" } else { "wait" };
            let unsent = events(stream.unsent);
            let finding = if stream.sent_per_second > 0.0 {
                let speed = rate(stream.sent_per_second);
                let sentence = format!("Behind by {waits}: {unsent} of {name} {wait}, and {speed} are sent.");
                self.add(Level::Behind, format!("behind {name}"), sentence)
            } else {
                let sentence = format!("Stuck for {waits}: {unsent} of {name} {wait}, and nothing is sent.");
                let finding = self.add(Level::Stuck, format!("silent {name}"), sentence);
                finding.reason = Some(why_silent(own).to_owned());
                finding
            };
            finding.about = Some(About::Lanes);
        }
        if let Some(first) = others.first() {
            let silent = others.iter().filter(|stream| stream.sent_per_second == 0.0).count();
            let level = if silent > 0 { Level::Stuck } else { Level::Behind };
            let number = match others.len() {
                1 => "1 more stream is".to_owned(),
                many => format!("{} more streams are", count(many as i64)),
            };
            let waits = age(oldest(first));
            let sentence =
                format!("{number} late, by {waits} at most; to {} of them nothing is sent.", count(silent as i64));
            self.add(level, "late", sentence).about = Some(About::Lanes);
        }
    }

    /// Who asks Postgres alone hears of Redis what a relay has written down, and when it did.
    fn of_redis(&mut self, relay: &RelayStatus) {
        let silence = match relay.redis_seen_seconds {
            Some(seconds) if seconds <= LIMITS.redis_seconds => return,
            Some(seconds) => format!("nothing that it said was written down for {}", age(seconds)),
            None => "nothing that it said was ever written down".to_owned(),
        };
        let sentence = format!("Postgres does not know whether Redis is there: {silence}.");
        self.add(Level::Look, REDIS_UNKNOWN, sentence).reason =
            Some("A relay's page or its `GET /status`, its log and `relay doctor` know.".to_owned());
    }

    fn of_group(&mut self, group: &GroupStatus) {
        let Some(oldest) = group.oldest_seconds.filter(|oldest| *oldest > LIMITS.group_seconds) else { return };
        let (level, alone) = match group.consumers {
            0 => (Level::Stuck, "; none of its consumers was heard of within a minute"),
            _ => (Level::Behind, ""),
        };
        let (name, stream, lag) = (&group.name, &group.stream, events(group.lag));
        let sentence = format!("The group {name} of {stream} is behind by {} ({lag}){alone}.", age(oldest));
        self.add(level, format!("group {stream} {name}"), sentence).about = Some(About::Groups);
    }

    fn of_dead_letters(&mut self, dead: i64) {
        if dead > 0 {
            let (letters, s) = match dead {
                1 => ("1 dead letter".to_owned(), "s"),
                many => (format!("{} dead letters", count(many)), ""),
            };
            self.add(Level::Look, "dead", format!("{letters} wait{s} for a person.")).about = Some(About::Dead);
        }
    }
}

/// For how long a stream's oldest event waits.
fn oldest(stream: &StreamStatus) -> f64 {
    stream.oldest_unsent_seconds.unwrap_or_default()
}

fn why_silent(own: Option<&Own>) -> &'static str {
    match own {
        Some(_) => "The relay's log and `relay doctor` know more.",
        None => "Postgres does not know why: Redis may be away. The relay's log and `relay doctor` know more.",
    }
}
