//! Reading what Redis answers. Bytes that are no text are their entry's failure, and no one else's.

use std::collections::HashMap;

use redis::Value;

use crate::{EntryId, Envelope, Malformed};

/// An entry as Redis gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) lane: String,
    pub(crate) number: EntryId,
    pub(crate) envelope: Result<Envelope, Malformed>,
    /// How often it was delivered, as far as Redis says so.
    pub(crate) count: u32,
    /// What its failed attempts left behind, as text.
    pub(crate) tries: Option<String>,
}

/// What was claimed from others, or is pending for us.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) entries: Vec<Delivered>,
    /// Pending, and no longer in the stream: somebody deleted them before they were settled.
    pub(crate) lost: Vec<String>,
    /// Where to look on.
    pub(crate) next: String,
}

/// What became of an attempt that was to begin.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It was counted.
    Ours(Result<Envelope, Malformed>),
    /// Somebody else has the entry.
    NotOurs,
    /// Somebody deleted it from the stream.
    Deleted,
}

/// What is no longer to be renewed.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Somebody else has them.
    pub(crate) lost: Vec<EntryId>,
    /// Somebody deleted them from the stream.
    pub(crate) deleted: Vec<EntryId>,
}

/// The last entry that one of these groups was given; none: nothing, or there is no such group.
pub(super) fn read_delivered(reply: &Value, group: &str) -> Option<Option<EntryId>> {
    let groups: Vec<HashMap<String, Value>> = redis::from_redis_value(reply.clone()).ok()?;
    let text = |fields: &HashMap<String, Value>, name: &str| -> Option<String> {
        redis::from_redis_value(fields.get(name)?.clone()).ok()
    };
    let Some(ours) = groups.iter().find(|fields| text(fields, "name").as_deref() == Some(group)) else {
        return Some(None);
    };
    let upto = text(ours, "last-delivered-id")?;
    if upto == "0-0" { Some(None) } else { upto.parse().ok().map(Some) }
}

/// Streams, each with its entries; nil when nothing came.
pub(super) fn read_streams(reply: &Value) -> Option<Vec<Delivered>> {
    let streams: Vec<(&Value, &Value)> = match reply {
        Value::Nil => return Some(vec![]),
        Value::Array(streams) => streams
            .iter()
            .map(|stream| match stream {
                Value::Array(pair) if pair.len() == 2 => Some((&pair[0], &pair[1])),
                _ => None,
            })
            .collect::<Option<_>>()?,
        Value::Map(streams) => streams.iter().map(|(name, entries)| (name, entries)).collect(),
        _ => return None,
    };
    let mut delivered = vec![];
    for (name, entries) in streams {
        let (Some(lane), Value::Array(entries)) = (text(name), entries) else { return None };
        for entry in entries {
            let Value::Array(parts) = entry else { return None };
            let [number, fields] = parts.as_slice() else { return None };
            let number = text(number)?.parse().ok()?;
            delivered.push(Delivered {
                lane: lane.clone(),
                number,
                envelope: read_envelope(fields),
                count: 1,
                tries: None,
            });
        }
    }
    Some(delivered)
}

/// `next, [[number, count, fields, tries]], [lost]`.
pub(super) fn read_found(lane: &str, reply: &Value) -> Option<Found> {
    let Value::Array(parts) = reply else { return None };
    let [next, Value::Array(found), Value::Array(lost)] = parts.as_slice() else { return None };
    let entry = |entry: &Value| {
        let Value::Array(parts) = entry else { return None };
        let number = text(parts.first()?)?.parse().ok()?;
        let Value::Int(count) = parts.get(1)? else { return None };
        Some(Delivered {
            lane: lane.to_owned(),
            number,
            count: u32::try_from(*count).unwrap_or(u32::MAX),
            envelope: read_envelope(parts.get(2)?),
            tries: parts.get(3).and_then(text),
        })
    };
    Some(Found {
        entries: found.iter().map(entry).collect::<Option<_>>()?,
        lost: lost.iter().filter_map(text).collect(),
        next: text(next)?,
    })
}

/// Bytes that are no text are that entry's failure, and no one else's.
pub(super) fn read_envelope(fields: &Value) -> Result<Envelope, Malformed> {
    let Value::Array(fields) = fields else { return Err(Malformed::new("the entry has no fields")) };
    let texts: Option<Vec<&str>> = fields
        .iter()
        .map(|field| match field {
            Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
            Value::SimpleString(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    let texts = texts.ok_or_else(|| Malformed::new("the entry holds bytes that are not UTF-8"))?;
    Envelope::from_fields(texts.chunks_exact(2).map(|pair| (pair[0], pair[1])))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}
