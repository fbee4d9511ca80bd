//! Where the consumer groups of a stream are, so that they can be put back there when Redis loses them.

use std::collections::BTreeSet;
use std::time::Duration;

use outbox::{EntryId, keys};
use redis::{Cmd, Value, pipe};

use crate::append::Appender;
use crate::fault::Outage;
use crate::letters::NAME_BYTES_MAX;
use crate::replies::{field, text};
use crate::wires::To;

/// A consumer group as Redis has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) stream: String,
    pub(crate) name: String,
    pub(crate) delivered: EntryId,
    /// Everything up to here is done.
    pub(crate) settled: EntryId,
    pub(crate) pending: u64,
    /// That live, once they were counted.
    pub(crate) consumers: u64,
}

/// Who has not been heard of for so long is no consumer any more, though Redis keeps its name.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The groups of some streams.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    pub(crate) groups: Vec<Group>,
    /// The streams that answered: of the others nothing is known.
    pub(crate) answered: BTreeSet<String>,
    /// Streams with groups whose names Postgres cannot keep. Nothing that these need may go.
    pub(crate) unnamed: BTreeSet<String>,
}

impl Appender {
    /// The groups of these streams, and what is known of the streams.
    pub(crate) async fn groups(&mut self, streams: &[String]) -> Result<Groups, Outage> {
        let replies = self
            .ask_each(streams, |pipeline, stream| {
                pipeline.cmd("XINFO").arg("GROUPS").arg(stream);
            })
            .await?;
        let (mut groups, mut answered, mut unnamed) = (vec![], BTreeSet::new(), BTreeSet::new());
        for (stream, reply) in streams.iter().zip(&replies) {
            if let Value::Array(found) = reply {
                let read = found.iter().map(|group| read_group(stream, group));
                for group in read {
                    match group {
                        Some(group) => groups.push(group),
                        None => _ = unnamed.insert(stream.clone()),
                    }
                }
                answered.insert(stream.clone());
            }
        }
        self.settle_positions(&mut groups).await?;
        Ok(Groups { groups, answered, unnamed })
    }

    /// A group is settled below its oldest pending entry. Asked second: what was settled in between only makes the
    /// position older than it is.
    async fn settle_positions(&mut self, groups: &mut [Group]) -> Result<(), Outage> {
        let mut busy: Vec<&mut Group> = groups.iter_mut().filter(|group| group.pending > 0).collect();
        let replies = self.ask_groups(&busy, &["XPENDING"]).await?;
        for (group, reply) in busy.iter_mut().zip(replies) {
            let Value::Array(summary) = reply else {
                group.settled = EntryId { generation: group.delivered.generation, seq: 0 }; // unknown: from the beginning
                continue;
            };
            let oldest = summary.get(1).and_then(text).and_then(|id| id.parse::<EntryId>().ok());
            if let Some(oldest) = oldest {
                let below = EntryId { seq: oldest.seq.saturating_sub(1), ..oldest };
                group.settled = below.min(group.settled);
            }
        }
        Ok(())
    }

    /// Counts the consumers of each group that live.
    pub(crate) async fn count_consumers(&mut self, groups: &mut [Group]) -> Result<(), Outage> {
        let mut named: Vec<&mut Group> = groups.iter_mut().filter(|group| group.consumers > 0).collect();
        let replies = self.ask_groups(&named, &["XINFO", "CONSUMERS"]).await?;
        for (group, reply) in named.iter_mut().zip(replies) {
            if let Value::Array(consumers) = reply {
                group.consumers = consumers.iter().filter(|consumer| lives(consumer)).count() as u64;
            }
        }
        Ok(())
    }

    /// The same question about each group.
    async fn ask_groups(&mut self, groups: &[&mut Group], question: &[&str]) -> Result<Vec<Value>, Outage> {
        let mut replies = vec![];
        for portion in self.wires.portions(groups, |one, other| one.stream == other.stream) {
            let mut pipeline = pipe();
            for group in portion {
                let mut ask = Cmd::new();
                ask.arg(question).arg(&group.stream).arg(&group.name);
                pipeline.add_command(ask);
            }
            replies.extend(self.wires.send(To::Stream(&portion[0].stream), &pipeline).await?);
        }
        Ok(replies)
    }
}

/// Whether a consumer is more than a name: neither silent for long, nor the one for which given back entries are pending.
fn lives(consumer: &Value) -> bool {
    let is_nobody = field(consumer, "name").and_then(text) == Some(keys::NOBODY);
    let silent_ms = match field(consumer, "idle") {
        Some(Value::Int(ms)) => u128::try_from(*ms).unwrap_or_default(),
        _ => 0,
    };
    !is_nobody && silent_ms < SILENCE_MAX.as_millis()
}

/// Whether Postgres can keep a name: text without NUL, short enough for an index.
pub(crate) fn can_be_kept(name: &str) -> bool {
    !name.contains('\0') && name.len() <= NAME_BYTES_MAX
}

fn read_group(stream: &str, group: &Value) -> Option<Group> {
    let number = |name| match field(group, name) {
        Some(Value::Int(number)) => u64::try_from(*number).unwrap_or_default(),
        _ => 0,
    };
    let delivered = field(group, "last-delivered-id").and_then(text)?.parse().ok()?;
    Some(Group {
        stream: stream.to_owned(),
        name: field(group, "name").and_then(text).filter(|name| can_be_kept(name))?.to_owned(),
        delivered,
        settled: delivered,
        pending: number("pending"),
        consumers: number("consumers"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_nobody_bears_or_that_is_long_silent_is_no_consumer() {
        let text = |text: &str| Value::BulkString(text.into());
        let consumer = |name: &str, idle_ms: i64| {
            Value::Array(vec![
                text("name"),
                text(name),
                text("pending"),
                Value::Int(1),
                text("idle"),
                Value::Int(idle_ms),
            ])
        };
        assert!(lives(&consumer("billing-1", 59_999)));
        assert!(!lives(&consumer("billing-1", 60_000)));
        assert!(!lives(&consumer(keys::NOBODY, 0)));
    }
}
