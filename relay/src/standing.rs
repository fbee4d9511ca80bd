//! How it stands, in the words of `relay status`: a verdict, sentences, and tables.

use serde::Serialize;
use sqlx::PgConnection;
use terminal::{age, table};

use crate::store::people::{self, Blocker, ConsumerStatus, GroupStatus, RelayStatus, StreamStatus};

/// Up to here nobody needs to know; from there on it is a delay; a group may take longer. The page has the same.
const WELL_SECONDS: f64 = 2.0;
const BEHIND_SECONDS: f64 = 10.0;
const GROUP_SECONDS: f64 = 60.0;

/// How it stands, as Postgres tells it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Standing {
    pub(crate) relay: RelayStatus,
    pub(crate) streams: Vec<StreamStatus>,
    pub(crate) groups: Vec<GroupStatus>,
    pub(crate) consumers: Vec<ConsumerStatus>,
    pub(crate) blockers: Vec<Blocker>,
}

/// From the worst to the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Stuck,
    Paused,
    Behind,
    Look,
    Well,
}

impl Standing {
    pub(crate) async fn read(db: &mut PgConnection) -> Result<Self, sqlx::Error> {
        Ok(Self {
            relay: people::relay(db).await?,
            streams: people::streams(db).await?,
            groups: people::groups(db).await?,
            consumers: people::consumers(db).await?,
            blockers: people::blockers(db).await?,
        })
    }

    /// All of it as text.
    pub(crate) fn told(&self) -> String {
        let mut text = self.sentences().join("\n") + "\n\n";
        text.push_str(&table(&stream_rows(&self.streams)));
        text.push_str(&of_groups(&self.groups, &self.consumers));
        text
    }

    pub(crate) fn sentences(&self) -> Vec<String> {
        let mut sentences = vec![format!("{}; {}", who_works(&self.relay), how_far(&self.relay))];
        let somebody = |who: &Option<String>| who.clone().unwrap_or_else(|| "somebody".to_owned());
        if let Some(at) = &self.relay.paused_at {
            sentences.push(format!("everything is paused since {at} by {}", somebody(&self.relay.paused_by)));
            return sentences;
        }
        sentences.extend(self.streams.iter().filter_map(|stream| {
            let at = stream.paused_at.as_ref()?;
            Some(format!("{} is paused since {at} by {}", stream.stream, somebody(&stream.paused_by)))
        }));
        sentences
    }

    /// Events that are committed and not sent, of all streams.
    pub(crate) fn unsent(&self) -> i64 {
        self.streams.iter().map(|stream| stream.unsent).sum()
    }

    /// Events that groups have not settled, of all groups.
    pub(crate) fn lag(&self) -> i64 {
        self.groups.iter().map(|group| group.lag).sum()
    }

    /// Events a second that were sent, of all streams.
    pub(crate) fn sent_per_second(&self) -> f64 {
        self.streams.iter().map(|stream| stream.sent_per_second).sum()
    }

    /// Of all that a person should know, the worst: is anything stuck, since when, and whose fault is it?
    pub(crate) fn verdict(&self) -> (Level, String) {
        let flowing = || self.streams.iter().filter(|stream| stream.paused_at.is_none());
        let waits = flowing().filter_map(|stream| stream.oldest_unsent_seconds).fold(0.0, f64::max);
        let unsent = flowing().map(|stream| stream.unsent).sum::<i64>();
        let blocker = self.blockers.iter().find(|one| one.open_seconds.is_some_and(|open| open > WELL_SECONDS));
        let late = self.groups.iter().filter(|group| group.oldest_seconds.is_some_and(|age| age > GROUP_SECONDS));
        let late = late.min_by_key(|group| group.consumers > 0);

        if self.relay.holder.is_none() {
            return (Level::Stuck, format!("{}; {unsent} events wait, and nothing is lost", who_works(&self.relay)));
        }
        if let Some(blocker) = blocker
            && self.relay.frontier < self.relay.last
            && waits > WELL_SECONDS
        {
            let open = blocker.open_seconds.map_or_else(|| "long".to_owned(), age);
            let who = if blocker.application.is_empty() { "a transaction" } else { &blocker.application };
            let pid = blocker.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            return (
                Level::Stuck,
                format!("stuck for {}: {who}{pid} holds the frontier, open for {open}", age(waits)),
            );
        }
        if let Some((stream, why)) = flowing().find_map(|one| Some((&one.stream, one.refusal.as_ref()?))) {
            return (
                Level::Stuck,
                format!("stuck for {}: Redis refuses the next event of {stream}: {why}", age(waits)),
            );
        }
        if waits > BEHIND_SECONDS && self.sent_per_second() == 0.0 {
            return (
                Level::Stuck,
                format!(
                    "stuck for {}: {unsent} events wait, and nothing is sent; see the relay's log, and `relay doctor`",
                    age(waits)
                ),
            );
        }
        if let Some(group) = late.filter(|group| group.consumers == 0) {
            return (Level::Stuck, format!("{}; none of its consumers was heard of within a minute", behind(group)));
        }
        if self.relay.paused_at.is_some() || self.streams.iter().any(|stream| stream.paused_at.is_some()) {
            let waiting = self.unsent();
            return (Level::Paused, format!("paused by a person; {waiting} events wait"));
        }
        if waits > BEHIND_SECONDS {
            return (Level::Behind, format!("behind by {}: {unsent} events wait", age(waits)));
        }
        if let Some(group) = late {
            return (Level::Behind, behind(group));
        }
        if self.relay.dead > 0 {
            return (Level::Look, format!("{} dead letters wait for a person: relay dead list", self.relay.dead));
        }
        (Level::Well, format!("all is well: nothing waits longer than {}", age(waits.ceil().max(WELL_SECONDS))))
    }
}

fn behind(group: &GroupStatus) -> String {
    let GroupStatus { name, stream, lag, oldest_seconds, .. } = group;
    format!("the group {name} of {stream} is behind by {} ({lag} events)", age(oldest_seconds.unwrap_or_default()))
}

pub(crate) fn stream_rows(streams: &[StreamStatus]) -> Vec<[String; 7]> {
    let mut rows = vec![["stream", "unsent", "oldest", "held", "dead", "sent up to", "last sent"].map(str::to_owned)];
    rows.extend(streams.iter().map(|s| {
        let oldest = s.oldest_unsent_seconds.map_or("-".into(), age);
        let [unsent, held, dead, sent_seq] = [s.unsent, s.held, s.dead, s.sent_seq].map(|n| n.to_string());
        [s.stream.clone(), unsent, oldest, held, dead, sent_seq, s.sent_at.clone().unwrap_or("-".into())]
    }));
    rows
}

pub(crate) fn group_rows(groups: &[GroupStatus]) -> Vec<[String; 9]> {
    let heads = ["stream", "group", "lag", "oldest", "pending", "dead", "consumers", "delivered", "settled"];
    let mut rows = vec![heads.map(str::to_owned)];
    rows.extend(groups.iter().map(|g| {
        let oldest = g.oldest_seconds.map_or("-".into(), age);
        let [lag, pending, dead, consumers, delivered, settled] =
            [g.lag, g.pending, g.dead, g.consumers, g.delivered_seq, g.settled_seq].map(|n| n.to_string());
        [g.stream.clone(), g.name.clone(), lag, oldest, pending, dead, consumers, delivered, settled]
    }));
    rows
}

pub(crate) fn consumer_rows(consumers: &[ConsumerStatus]) -> Vec<[String; 9]> {
    let heads = ["stream", "group", "consumer", "processed", "failed", "buried", "mean", "p99", "last active"];
    let mut rows = vec![heads.map(str::to_owned)];
    rows.extend(consumers.iter().map(|c| {
        let [mean, p99] = [c.handling_mean_us, c.handling_p99_us].map(|us| format!("{:.1}ms", us as f64 / 1e3));
        let active = c.last_active_seconds.map_or("-".into(), |seconds| format!("{} ago", age(seconds)));
        let [processed, failed, buried] = [c.processed, c.failed, c.buried].map(|n| n.to_string());
        [c.stream.clone(), c.group_name.clone(), c.consumer.clone(), processed, failed, buried, mean, p99, active]
    }));
    rows
}

pub(crate) fn blocker_rows(blockers: &[Blocker]) -> Vec<[String; 5]> {
    let mut rows = vec![["pid", "application", "client", "state", "open for"].map(str::to_owned)];
    rows.extend(blockers.iter().map(|b| {
        let pid = b.pid.map_or("-".into(), |pid| pid.to_string());
        [pid, b.application.clone(), b.client.clone(), b.state.clone(), b.open_seconds.map_or("-".into(), age)]
    }));
    rows
}

/// The tables of groups and consumers, each after an empty line; nothing where there are none.
pub(crate) fn of_groups(groups: &[GroupStatus], consumers: &[ConsumerStatus]) -> String {
    let mut text = String::new();
    if !groups.is_empty() {
        text.push('\n');
        text.push_str(&table(&group_rows(groups)));
    }
    if !consumers.is_empty() {
        text.push('\n');
        text.push_str(&table(&consumer_rows(consumers)));
    }
    text
}

fn who_works(relay: &RelayStatus) -> String {
    match (&relay.holder, relay.last_seen_seconds) {
        (Some(holder), _) => format!("relay {holder} works"),
        (None, Some(seconds)) => format!("no relay is running (last seen {} ago)", age(seconds)),
        (None, None) => "no relay is running (none was ever seen)".to_owned(),
    }
}

fn how_far(relay: &RelayStatus) -> String {
    let newest = relay.last;
    let final_upto = match relay.frontier {
        _ if newest == 0 => return "nothing was written yet".to_owned(),
        0 => "nothing is final yet".to_owned(),
        frontier => format!("everything is final up to number {frontier}"),
    };
    let overtaken = if relay.overtaken > 0 { "; slow transactions were overtaken, see `relay blockers`" } else { "" };
    format!("{final_upto} (the newest is {newest}){overtaken}")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A relay at work, one stream and one group, and nothing that waits.
    pub(crate) fn quiet() -> Standing {
        let relay = RelayStatus {
            holder: Some("7-a".into()),
            last_seen_seconds: None,
            frontier: 41,
            last: 42,
            overtaken: 0,
            dead: 0,
            paused_at: None,
            paused_by: None,
        };
        let stream = StreamStatus {
            stream: "orders".into(),
            unsent: 0,
            oldest_unsent_seconds: None,
            held: 0,
            dead: 0,
            sent_seq: 42,
            sent_at: Some("2026-11-21T10:00:00.000Z".into()),
            sent_per_second: 0.0,
            paused_at: None,
            paused_by: None,
            refusal: None,
        };
        let group = GroupStatus {
            stream: "orders".into(),
            name: "billing".into(),
            delivered_seq: 42,
            settled_seq: 42,
            pending: 0,
            dead: 0,
            consumers: 1,
            lag: 0,
            oldest_seconds: None,
        };
        Standing { relay, streams: vec![stream], groups: vec![group], consumers: vec![], blockers: vec![] }
    }

    fn verdict(change: impl FnOnce(&mut Standing)) -> (Level, String) {
        let mut standing = quiet();
        change(&mut standing);
        standing.verdict()
    }

    fn waiting(standing: &mut Standing, seconds: f64) {
        standing.streams[0].unsent = 7;
        standing.streams[0].oldest_unsent_seconds = Some(seconds);
    }

    /// The page judges by itself, since it knows its relay as well; but not by other limits.
    #[test]
    fn the_page_has_the_same_limits() {
        let page = include_str!("admin/page/verdict.js");
        for (name, seconds) in [("WELL", WELL_SECONDS), ("BEHIND", BEHIND_SECONDS), ("GROUP", GROUP_SECONDS)] {
            assert!(page.contains(&format!("const {name}_SECONDS = {seconds};")), "{name}");
        }
    }

    #[test]
    fn what_goes_well_is_told_in_one_sentence() {
        assert_eq!(verdict(|_| ()), (Level::Well, "all is well: nothing waits longer than 2.0s".into()));
    }

    #[test]
    fn whose_fault_it_is_that_events_wait() {
        let blocker = Blocker {
            pid: Some(99),
            application: "import".into(),
            client: "local".into(),
            state: "idle in transaction".into(),
            open_seconds: Some(240.0),
        };
        let (level, why) = verdict(|standing| {
            waiting(standing, 200.0);
            standing.blockers.push(blocker);
        });
        assert_eq!(
            (level, why.as_str()),
            (Level::Stuck, "stuck for 3m: import (pid 99) holds the frontier, open for 4m")
        );

        let (level, why) = verdict(|standing| {
            waiting(standing, 20.0);
            standing.relay.holder = None;
            standing.relay.last_seen_seconds = Some(19.0);
        });
        assert_eq!(
            (level, why.as_str()),
            (Level::Stuck, "no relay is running (last seen 19.0s ago); 7 events wait, and nothing is lost")
        );

        let (level, why) = verdict(|standing| {
            waiting(standing, 3.0);
            standing.streams[0].refusal = Some("WRONGTYPE".into());
        });
        assert_eq!(
            (level, why.as_str()),
            (Level::Stuck, "stuck for 3.0s: Redis refuses the next event of orders: WRONGTYPE")
        );
        let (level, why) = verdict(|standing| waiting(standing, 20.0));
        assert!(level == Level::Stuck && why.contains("nothing is sent"), "{why}");
        let (level, why) = verdict(|standing| {
            waiting(standing, 20.0);
            standing.streams[0].sent_per_second = 5.0;
        });
        assert!(level == Level::Behind && why.contains("7 events wait"), "{why}");
    }

    #[test]
    fn a_group_without_consumers_is_worse_than_one_that_is_slow() {
        let slow = |group: &mut GroupStatus| {
            group.lag = 1_200;
            group.oldest_seconds = Some(180.0);
        };
        let (level, why) = verdict(|standing| slow(&mut standing.groups[0]));
        assert_eq!(
            (level, why.as_str()),
            (Level::Behind, "the group billing of orders is behind by 3m (1200 events)")
        );
        let (level, why) = verdict(|standing| {
            slow(&mut standing.groups[0]);
            standing.groups[0].consumers = 0;
        });
        assert!(level == Level::Stuck && why.contains("none of its consumers"), "{why}");
    }

    #[test]
    fn dead_letters_and_pauses_are_told() {
        assert_eq!(verdict(|standing| standing.relay.dead = 3).0, Level::Look);
        let (level, why) = verdict(|standing| {
            waiting(standing, 300.0);
            standing.streams[0].paused_at = Some("2026-11-21T10:00:00.000Z".into());
        });
        assert_eq!((level, why.as_str()), (Level::Paused, "paused by a person; 7 events wait"));
    }
}
