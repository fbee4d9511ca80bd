//! Questions to Redis that change nothing: what is there, under which number, and how much.

use outbox::EntryId;
use redis::{Value, pipe};

use crate::append::Appender;
use crate::fault::{Fault, Outage};
use crate::lanes::Top;
use crate::replies::{as_error, field, read_top, text};

impl Appender {
    /// A stream's top, and for each number whether the entry is there (none: Redis does not say). In this order, so that
    /// "below the top and not there" is an answer for good.
    pub(crate) async fn look_up(
        &mut self,
        stream: &str,
        ids: &[EntryId],
    ) -> Result<(Top, Vec<Option<bool>>), Outage> {
        let mut pipeline = pipe();
        pipeline.cmd("XINFO").arg("STREAM").arg(stream);
        for id in ids {
            pipeline.cmd("XRANGE").arg(stream).arg(id.to_string()).arg(id.to_string());
        }
        let replies = self.send(stream, &pipeline).await?;
        let there = replies[1..].iter().map(|reply| match (reply, as_error(reply)) {
            (Value::Array(entries), _) => Ok(Some(!entries.is_empty())),
            (_, Some(Fault::Outage(outage))) => Err(outage),
            // No answer is not the answer "no".
            _ => Ok(None),
        });
        Ok((read_top(&replies[0])?, there.collect::<Result<_, _>>()?))
    }

    /// The newest entries of a generation below a number, newest first: each with its number and the event's id.
    pub(crate) async fn newest(
        &mut self,
        stream: &str,
        below: EntryId,
        count: usize,
    ) -> Result<Vec<(EntryId, String)>, Outage> {
        let mut pipeline = pipe();
        let lowest = EntryId { seq: 0, ..below };
        pipeline
            .cmd("XREVRANGE")
            .arg(stream)
            .arg(format!("({below}"))
            .arg(lowest.to_string())
            .arg("COUNT")
            .arg(count);
        let replies = self.send(stream, &pipeline).await?;
        numbers_and_ids(&replies[0])
    }

    /// Entries of a generation from one number to another, oldest first: each with its number and the event's id.
    pub(crate) async fn page(
        &mut self,
        stream: &str,
        from: EntryId,
        upto: u64,
        count: usize,
    ) -> Result<Vec<(EntryId, String)>, Outage> {
        let mut pipeline = pipe();
        let highest = EntryId { seq: upto, ..from };
        let mut page = pipeline.cmd("XRANGE").arg(stream).arg(from.to_string()).arg(highest.to_string());
        page = page.arg("COUNT").arg(count);
        numbers_and_ids(&self.send(stream, page).await?[0])
    }

    /// The oldest entry of a generation that is still there.
    pub(crate) async fn oldest(&mut self, stream: &str, generation: u64) -> Result<Option<EntryId>, Outage> {
        let lowest = EntryId { generation, seq: 0 };
        let mut pipeline = pipe();
        pipeline.cmd("XRANGE").arg(stream).arg(lowest.to_string()).arg("+").arg("COUNT").arg(1);
        let replies = self.send(stream, &pipeline).await?;
        let number = |entry: &Value| match entry {
            Value::Array(parts) => text(parts.first()?)?.parse().ok(),
            _ => None,
        };
        match (&replies[0], as_error(&replies[0])) {
            (_, Some(Fault::Outage(outage))) => Err(outage),
            (Value::Array(entries), _) => Ok(entries.first().and_then(number)),
            _ => Ok(None),
        }
    }

    /// Who of a group has an entry in hand, for how many milliseconds without a sign of life, and how often it was handed out.
    pub(crate) async fn in_hand(
        &mut self,
        stream: &str,
        group: &str,
        id: EntryId,
    ) -> Result<Option<(String, i64, i64)>, Outage> {
        let mut pipeline = pipe();
        pipeline.cmd("XPENDING").arg(stream).arg(group).arg(id.to_string()).arg(id.to_string()).arg(1);
        let replies = self.send(stream, &pipeline).await?;
        let Value::Array(entries) = &replies[0] else { return Ok(None) };
        Ok(entries.first().and_then(|entry| match entry {
            Value::Array(parts) => match parts.as_slice() {
                [_, consumer, Value::Int(idle_ms), Value::Int(deliveries), ..] => {
                    Some((text(consumer)?.to_owned(), *idle_ms, *deliveries))
                }
                _ => None,
            },
            _ => None,
        }))
    }

    /// How many entries each stream has; none where there is no such stream.
    pub(crate) async fn lengths(&mut self, streams: &[String]) -> Result<Vec<Option<i64>>, Outage> {
        let replies = self
            .ask_each(streams, |pipeline, stream| {
                pipeline.cmd("XLEN").arg(stream);
            })
            .await?;
        let length = |reply: &Value| match reply {
            Value::Int(length) if *length > 0 => Some(*length),
            _ => None,
        };
        Ok(replies.iter().map(length).collect())
    }
}

/// What XRANGE answers, without what the events say.
fn numbers_and_ids(reply: &Value) -> Result<Vec<(EntryId, String)>, Outage> {
    let entry = |entry: &Value| {
        let Value::Array(parts) = entry else { return None };
        let number = text(parts.first()?)?.parse().ok()?;
        Some((number, field(parts.get(1)?, "id").and_then(text).unwrap_or_default().to_owned()))
    };
    match (reply, as_error(reply)) {
        (_, Some(Fault::Outage(outage))) => Err(outage),
        (Value::Array(entries), _) => Ok(entries.iter().filter_map(entry).collect()),
        _ => Ok(vec![]),
    }
}
