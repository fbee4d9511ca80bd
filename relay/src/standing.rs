//! How it stands, in the words of `relay status`: sentences and tables. What that means judges `verdict.rs`.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::PgConnection;
use terminal::{age, printable, printable_lines, table};

use crate::store::people::{self, Blocker, ConsumerStatus, GroupStatus, RelayStatus, StreamStatus};
use crate::verdict::{Finding, Told, Verdict, judge};

/// How it stands, as Postgres tells it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Standing {
    pub(crate) relay: RelayStatus,
    pub(crate) streams: Vec<StreamStatus>,
    pub(crate) groups: Vec<GroupStatus>,
    pub(crate) consumers: Vec<ConsumerStatus>,
    pub(crate) blockers: Vec<Blocker>,
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

    /// What this means, as far as Postgres knows.
    pub(crate) fn verdict(&self) -> Verdict {
        judge(Told::Standing(self), None, Timestamp::now())
    }

    /// All of it as text.
    pub(crate) fn told(&self, verdict: &Verdict) -> String {
        let mut text: String = verdict.findings.iter().map(|finding| printable(&in_a_line(finding)) + "\n").collect();
        text.push_str(&printable_lines(&self.sentences().join("\n")));
        text.push_str("\n\n");
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
}

/// A finding with the words of its cause.
pub(crate) fn in_a_line(finding: &Finding) -> String {
    match &finding.reason {
        Some(reason) => format!("{} {reason}", finding.sentence),
        None => finding.sentence.clone(),
    }
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
    let left = match relay.left_behind {
        0 => String::new(),
        1 => "; 1 event that Redis refused is locked by somebody, and is set aside once it is free".to_owned(),
        many => {
            format!("; {many} events that Redis refused are locked by somebody, and are set aside once they are free")
        }
    };
    format!("{final_upto} (the newest is {newest}){overtaken}{left}")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A relay at work, one stream and one group, and nothing that waits.
    pub(crate) fn quiet() -> Standing {
        let relay = RelayStatus {
            holder: Some("7-a".into()),
            last_seen_seconds: None,
            redis_seen_seconds: Some(0.4),
            frontier: 41,
            last: 42,
            overtaken: 0,
            left_behind: 0,
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
}
