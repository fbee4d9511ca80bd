//! Dead letters of groups, as consumers leave them in Redis. They are on their way to Postgres: a Redis that is lost must not
//! take them with it.

use outbox::{Envelope, Event, keys};
use redis::{Value, pipe};
use serde::Serialize;

use crate::append::Appender;
use crate::fault::{Fault, Outage};
use crate::groups::Group;
use crate::replies::as_error;
use crate::wires::To;

/// So many are fetched of each group at once: few, since each may be a megabyte.
pub(crate) const LETTERS_MAX: usize = 16;

/// A dead letter of a group.
#[derive(Debug, Serialize)]
pub(crate) struct Letter {
    pub(crate) stream: String,
    pub(crate) group_name: String,
    lane: String,
    entry: String,
    /// Its number in its stream, where it was read first.
    origin: String,
    id: Option<String>,
    r#type: Option<String>,
    key: Option<String>,
    ver: Option<i32>,
    time: Option<String>,
    payload: Option<String>,
    headers: Option<serde_json::Value>,
    fields: Vec<(String, String)>,
    replayable: bool,
    attempts: i32,
    reason: String,
    failures: serde_json::Value,
    first_failed_at: Option<String>,
    last_failed_at: Option<String>,
    consumer: String,
    handler: String,
    replays: i32,
    /// Its number among the dead letters in Redis.
    #[serde(skip)]
    at: String,
}

/// Names of ours are no longer; others are nobody's to keep.
pub(crate) const NAME_BYTES_MAX: usize = 400;

/// Where a group's dead letters are left.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tray {
    pub(crate) stream: String,
    pub(crate) group: String,
}

impl Tray {
    /// The tray of a group; that of a lane for replays is its stream's.
    pub(crate) fn of(group: &Group) -> Self {
        Self { stream: keys::stream_of(&group.stream, &group.name).to_owned(), group: group.name.clone() }
    }

    fn key(&self) -> String {
        keys::dead(&self.stream, &self.group)
    }
}

impl Appender {
    /// The trays in which something lies, or of which Redis does not say.
    pub(crate) async fn full_trays(&mut self, trays: &[Tray]) -> Result<Vec<Tray>, Outage> {
        let mut full = vec![];
        for portion in self.wires.portions(trays, |_, _| false) {
            let mut pipeline = pipe();
            for tray in portion {
                pipeline.cmd("XLEN").arg(tray.key());
            }
            let replies = self.wires.send(To::Key(&portion[0].key()), &pipeline).await?;
            full.extend(
                portion
                    .iter()
                    .zip(replies)
                    .filter(|(_, reply)| *reply != Value::Int(0))
                    .map(|(tray, _)| tray.clone()),
            );
        }
        Ok(full)
    }

    /// The oldest letters in a tray. None: Redis does not let us read it.
    pub(crate) async fn letters(&mut self, tray: &Tray) -> Result<Option<Vec<Letter>>, Outage> {
        let mut pipeline = pipe();
        pipeline.cmd("XRANGE").arg(tray.key()).arg("-").arg("+").arg("COUNT").arg(LETTERS_MAX);
        let replies = self.wires.send(To::Key(&tray.key()), &pipeline).await?;
        match (&replies[0], as_error(&replies[0])) {
            (Value::Array(entries), _) => {
                Ok(Some(entries.iter().filter_map(|entry| read_letter(tray, entry)).collect()))
            }
            // No stream, so no letters.
            (_, Some(Fault::Refusal(reason))) if reason.starts_with("WRONGTYPE") => Ok(Some(vec![])),
            (_, Some(Fault::Outage(outage))) if !outage.0.starts_with("NOPERM") => Err(outage),
            _ => Ok(None),
        }
    }

    /// Takes letters away that lie in Postgres by now. `false`: Redis does not let us.
    pub(crate) async fn clear(&mut self, tray: &Tray, letters: &[Letter]) -> Result<bool, Outage> {
        if letters.is_empty() {
            return Ok(true);
        }
        let mut pipeline = pipe();
        let xdel = pipeline.cmd("XDEL").arg(tray.key());
        for letter in letters {
            xdel.arg(&letter.at);
        }
        let replies = self.wires.send(To::Key(&tray.key()), &pipeline).await?;
        match as_error(&replies[0]) {
            None => Ok(true),
            // Taken away or turned into something else meanwhile: then it is not there any more.
            Some(Fault::Refusal(reason)) if reason.starts_with("WRONGTYPE") => Ok(true),
            Some(Fault::Outage(outage)) if !outage.0.starts_with("NOPERM") => Err(outage),
            Some(_) => Ok(false),
        }
    }
}

fn read_letter(tray: &Tray, entry: &Value) -> Option<Letter> {
    let Value::Array(parts) = entry else { return None };
    let (at, Value::Array(fields)) = (lossy(parts.first()?), parts.get(1)?) else { return None };
    let all: Vec<(String, String)> = fields.chunks_exact(2).map(|pair| (lossy(&pair[0]), lossy(&pair[1]))).collect();
    let (about, original): (Vec<_>, Vec<_>) = all.into_iter().partition(|(name, _)| name.starts_with("dead:"));
    let about = |name: &str| about.iter().find(|(field, _)| field[5..] == *name).map(|(_, value)| value.clone());
    let time = |name: &str| storable_time(&about(name)?);

    let (lane, entry) =
        (about("lane").unwrap_or_else(|| tray.stream.clone()), about("entry").unwrap_or_else(|| at.clone()));
    let event = Envelope::from_fields(original.iter().map(|(name, value)| (name.as_str(), value.as_str()))).ok();
    // Names that Postgres cannot index make it none of ours.
    let event = event.filter(|event| event.id.len() <= NAME_BYTES_MAX && event.r#type.len() <= NAME_BYTES_MAX);
    let (event, replay) = match event {
        Some(event) if keys::stream_of(&lane, &tray.group) != lane => {
            let (event, replay) = event.unwrap_replay();
            (Some(event), replay)
        }
        event => (event, None),
    };
    let origin = replay.and_then(|replay| replay.origin).map_or_else(|| entry.clone(), |origin| origin.to_string());
    let of_event = |part: fn(&Envelope) -> String| event.as_ref().map(part);
    Some(Letter {
        stream: tray.stream.clone(),
        group_name: tray.group.clone(),
        lane: short(lane),
        entry: short(entry),
        origin: short(origin),
        id: of_event(|event| event.id.clone()),
        r#type: of_event(|event| event.r#type.clone()),
        key: event.as_ref().and_then(|event| event.key.clone()),
        ver: event.as_ref().and_then(|event| i32::try_from(event.ver).ok()),
        time: event
            .as_ref()
            .and_then(|event| storable_time(&jiff::Timestamp::try_from(event.time).ok()?.to_string())),
        payload: of_event(|event| event.data.clone()),
        headers: event.as_ref().and_then(|event| serde_json::from_str(event.headers.as_deref()?).ok()).map(storable),
        replayable: event.as_ref().is_some_and(|event| can_be_written(tray, event)),
        fields: original,
        attempts: about("attempts").and_then(|attempts| attempts.parse().ok()).unwrap_or(0),
        reason: about("reason").unwrap_or_else(|| "no reason was given".to_owned()),
        failures: about("failures")
            .and_then(|failures| serde_json::from_str(&failures).ok())
            .map(storable)
            .unwrap_or_default(),
        first_failed_at: time("first_failed_at"),
        last_failed_at: time("last_failed_at"),
        consumer: about("consumer").unwrap_or_default(),
        handler: about("handler").unwrap_or_default(),
        replays: replay.map_or(0, |replay| i32::try_from(replay.count).unwrap_or(i32::MAX)),
        at,
    })
}

/// Whether it can be a row again: whoever else wrote it may have known other limits.
fn can_be_written(tray: &Tray, event: &Envelope) -> bool {
    let mut draft = Event::draft(keys::replay(&tray.stream, &tray.group), &event.r#type)
        .id(&event.id)
        .ver(u16::from(event.ver > 0)); // SQL knows more versions than the library
    if let Some(key) = &event.key {
        draft = draft.key(key);
    }
    let headers = event.headers.as_deref().unwrap_or("{}");
    let flat = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(headers).is_ok();
    flat && draft.raw_json(event.data.clone()).is_ok()
}

/// What an index of Postgres takes in any case.
fn short(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(NAME_BYTES_MAX));
    text
}

/// Text that Postgres can store, whatever it was.
fn lossy(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}"),
        Value::SimpleString(text) => text.replace('\0', "\u{fffd}"),
        _ => String::new(),
    }
}

/// JSON that Postgres can store as jsonb.
fn storable(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value::{Array, Object, String};
    match value {
        String(text) => String(text.replace('\0', "\u{fffd}")),
        Array(values) => values.into_iter().map(storable).collect(),
        Object(fields) => {
            fields.into_iter().map(|(name, value)| (name.replace('\0', "\u{fffd}"), storable(value))).collect()
        }
        other => other,
    }
}

/// A time of this era, if it is one.
pub(crate) fn storable_time(time: &str) -> Option<String> {
    let parsed = time.parse::<jiff::Timestamp>().ok().filter(|time| *time >= jiff::Timestamp::UNIX_EPOCH)?;
    Some(parsed.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(stream: &str, name: &str) -> Group {
        let zero = "0-0".parse().expect("a number");
        Group { stream: stream.into(), name: name.into(), delivered: zero, settled: zero, pending: 0, consumers: 0 }
    }

    #[test]
    fn a_lane_for_replays_shares_the_tray_of_its_stream() {
        assert_eq!(Tray::of(&group("orders", "billing")).key(), "orders:billing:dead");
        assert_eq!(Tray::of(&group("orders:billing:replay", "billing")).key(), "orders:billing:dead");
        assert_eq!(Tray::of(&group("orders:billing:replay", "other")).key(), "orders:billing:replay:other:dead");
    }

    #[test]
    fn what_postgres_cannot_store_is_not_sent_to_it() {
        let headers = serde_json::from_str(r#"{"a\u0000": ["b\u0000", 1]}"#).expect("JSON");
        assert_eq!(storable(headers).to_string(), "{\"a\u{fffd}\":[\"b\u{fffd}\",1]}");
        assert_eq!(storable_time("-000001-01-01T00:00:00Z"), None);
        assert_eq!(storable_time("rubbish"), None);
    }

    #[test]
    fn whatever_lies_in_a_tray_is_a_letter() {
        let text = |text: &str| Value::BulkString(text.into());
        let entry = Value::Array(vec![text("5-1"), Value::Array(vec![text("rubb\0ish"), text("x")])]);
        let tray = Tray { stream: "s".into(), group: "g".into() };
        let letter = read_letter(&tray, &entry).expect("a letter");
        assert_eq!((letter.entry.as_str(), letter.id.clone(), letter.replayable), ("5-1", None, false));
        assert_eq!(letter.fields, [("rubb\u{fffd}ish".to_owned(), "x".to_owned())]);
    }
}
