//! Reading what Redis answers. Every reply is looked at: an error that is taken for success is a lost event.

use redis::Value;

use crate::fault::{Fault, Outage};
use crate::lanes::Top;

/// What became of a batch.
#[derive(Debug)]
pub(crate) enum Appended {
    /// Every entry is in its stream.
    All,
    /// The watch was broken: none is.
    None,
    /// One answer an entry.
    Some(Vec<Landed>),
}

impl Appended {
    /// What became of several transactions, each with its count of entries.
    pub(crate) fn joined(mut parts: Vec<(usize, Self)>) -> Self {
        if parts.len() == 1 {
            return parts.remove(0).1;
        }
        if parts.iter().all(|(_, part)| matches!(part, Self::All)) {
            return Self::All;
        }
        if parts.iter().all(|(_, part)| matches!(part, Self::None)) {
            return Self::None;
        }
        let landed = parts.into_iter().flat_map(|(count, part)| match part {
            Self::All => vec![Landed::Yes; count],
            Self::None => vec![Landed::Disturbed; count],
            Self::Some(landed) => landed,
        });
        Self::Some(landed.collect())
    }

    /// Whether the entry at this place of the batch is in its stream.
    pub(crate) fn landed(&self, at: usize) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Some(landed) => landed[at] == Landed::Yes,
        }
    }

    /// Whether the entry at this place of the batch was not tried, since the watch on its stream was broken.
    pub(crate) fn was_disturbed(&self, at: usize) -> bool {
        match self {
            Self::All => false,
            Self::None => true,
            Self::Some(landed) => landed[at] == Landed::Disturbed,
        }
    }
}

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Landed {
    /// It is in the stream.
    Yes,
    /// Its number is taken: another relay has sent it, or fenced it off.
    Passed,
    /// It is not in the stream, and not to blame.
    No,
    /// The watch on its stream was broken, so nothing was tried.
    Disturbed,
    /// Redis does not take it.
    Refused(String),
}

/// What became of a few commands on one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Transacted {
    /// They are done.
    Done,
    /// The watch was broken: none is.
    Broken,
    /// Redis does not take them.
    Refused(String),
}

/// `MULTI`, one reply a command, `EXEC`.
pub(crate) fn read_transaction(replies: &[Value]) -> Result<Appended, Outage> {
    let (exec, queued) = replies.split_last().expect("a transaction has at least MULTI and EXEC");
    match exec {
        Value::Nil => Ok(Appended::None),
        Value::Array(results) => {
            if results.iter().all(|result| matches!(result, Value::BulkString(_) | Value::SimpleString(_))) {
                return Ok(Appended::All);
            }
            results.iter().map(landed).collect::<Result<_, _>>().map(Appended::Some)
        }
        // Redis took nothing: the reason stands with the command that it would not even queue.
        error => {
            if let Some(Fault::Outage(outage)) = as_error(error) {
                return Err(outage);
            }
            if let Some(Fault::Outage(outage)) = as_error(&queued[0]) {
                return Err(outage);
            }
            let answers = queued[1..].iter().map(|reply| match as_error(reply) {
                None => Ok(Landed::No),
                Some(Fault::Outage(outage)) => Err(outage),
                Some(Fault::Refusal(reason)) => Ok(Landed::Refused(reason)),
                Some(Fault::Passed) => Ok(Landed::Passed),
            });
            answers.collect::<Result<_, _>>().map(Appended::Some)
        }
    }
}

fn landed(result: &Value) -> Result<Landed, Outage> {
    match result {
        Value::BulkString(_) | Value::SimpleString(_) => Ok(Landed::Yes),
        Value::Nil => Ok(Landed::No),
        other => match as_error(other) {
            Some(Fault::Passed) => Ok(Landed::Passed),
            Some(Fault::Refusal(reason)) => Ok(Landed::Refused(reason)),
            Some(Fault::Outage(outage)) => Err(outage),
            None => Err(Outage("an answer to XADD that is neither a number nor an error".to_owned())),
        },
    }
}

pub(crate) fn as_error(value: &Value) -> Option<Fault> {
    match value {
        Value::ServerError(error) => Some(Fault::of(error)),
        _ => None,
    }
}

pub(crate) fn read_top(reply: &Value) -> Result<Top, Outage> {
    match as_error(reply) {
        Some(Fault::Refusal(reason)) if reason.contains("no such key") => return Ok(Top::Absent),
        Some(Fault::Refusal(reason)) => return Ok(Top::Refused(reason)),
        Some(Fault::Outage(outage)) => return Err(outage),
        Some(Fault::Passed) | None => {}
    }
    field(reply, "last-generated-id")
        .and_then(text)
        .and_then(|id| id.parse().ok())
        .map(Top::At)
        .ok_or_else(|| Outage("XINFO STREAM named no last-generated-id".to_owned()))
}

/// One field of an answer that Redis gives as name, value, name, value (or, since protocol 3, as a map).
pub(crate) fn field<'a>(reply: &'a Value, name: &str) -> Option<&'a Value> {
    match reply {
        Value::Array(pairs) => pairs.chunks_exact(2).find(|pair| text(&pair[0]) == Some(name)).map(|pair| &pair[1]),
        Value::Map(pairs) => pairs.iter().find(|(key, _)| text(key) == Some(name)).map(|(_, value)| value),
        _ => None,
    }
}

pub(crate) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}
