//! What travels: an event as an entry of a Redis stream. The only file that knows the names of an entry's fields, which
//! readers in other languages rely on (`docs/contract.md`, pinned by a golden file).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::de::DeserializeOwned;

/// Headers of a row that replays an event for one group: what the event was.
const REPLAYED_ID: &str = "outbox-id";
const REPLAYED_TIME: &str = "outbox-time";
const REPLAYS: &str = "outbox-replays";
const REPLAYED_ENTRY: &str = "outbox-entry";

/// The number of an entry: `1-42` is row 42 in generation 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Rises only when Postgres itself lost rows that Redis has, so that no number is used twice.
    pub generation: u64,
    /// The row's `seq`.
    pub seq: u64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.generation, self.seq)
    }
}

impl FromStr for EntryId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let parse = || {
            let (generation, seq) = text.split_once('-')?;
            Some(Self { generation: generation.parse().ok()?, seq: seq.parse().ok()? })
        };
        parse().ok_or_else(|| Malformed(format!("{text:?} is not the number of an entry")))
    }
}

/// What an event was before it was replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    /// How often it has been replayed.
    pub count: u32,
    /// Its number in its stream.
    pub origin: Option<EntryId>,
}

/// An event in transit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// The event's id.
    pub id: String,
    /// The event's type.
    pub r#type: String,
    /// The version of the payload's shape.
    pub ver: u32,
    /// Events with equal keys keep their order.
    pub key: Option<String>,
    /// When the event was written.
    pub time: SystemTime,
    /// The payload: JSON text, the producer's own bytes.
    pub data: String,
    /// The headers: a JSON object as text, if there are any.
    pub headers: Option<String>,
}

/// An entry that is no envelope: a field is missing or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

#[cfg(feature = "consumer")]
impl Malformed {
    pub(crate) fn new(why: &str) -> Self {
        Self(why.to_owned())
    }
}

impl Envelope {
    /// An envelope from its parts. `headers` that are empty (`{}`) are left out.
    pub fn new(
        id: String,
        r#type: String,
        ver: u32,
        key: Option<String>,
        time: SystemTime,
        data: String,
        headers: Option<String>,
    ) -> Self {
        Self { id, r#type, ver, key, time, data, headers: headers.filter(|h| h != "{}") }
    }

    /// The payload, read into a type.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.data)
    }

    /// One header, if it is there.
    pub fn header(&self, name: &str) -> Option<String> {
        let headers: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(self.headers.as_ref()?).ok()?;
        Some(match headers.get(name)? {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    /// An event that is replayed for one group travels as a new row, whose headers say what it was. This makes it what it
    /// was. None: it never was another one.
    pub fn unwrap_replay(mut self) -> (Self, Option<Replay>) {
        let Some(id) = self.header(REPLAYED_ID) else { return (self, None) };
        self.id = id;
        if let Some(time) = self.header(REPLAYED_TIME).and_then(|time| time.parse::<Timestamp>().ok()) {
            self.time = time.into();
        }
        let replay = Replay {
            count: self.header(REPLAYS).and_then(|replays| replays.parse().ok()).unwrap_or(1),
            origin: self.header(REPLAYED_ENTRY).and_then(|entry| entry.parse().ok()),
        };
        let headers = self.headers.as_deref().and_then(|headers| serde_json::from_str(headers).ok());
        let mut headers: serde_json::Map<String, serde_json::Value> = headers.unwrap_or_default();
        headers.retain(|name, _| ![REPLAYED_ID, REPLAYED_TIME, REPLAYS, REPLAYED_ENTRY].contains(&name.as_str()));
        self.headers = (!headers.is_empty()).then(|| serde_json::Value::from(headers).to_string());
        (self, Some(replay))
    }

    /// Bytes of everything that travels, the stream's name and Redis's own overhead left out.
    pub fn bytes(&self) -> usize {
        let optional = |field: &Option<String>| field.as_ref().map_or(0, String::len);
        self.id.len() + self.r#type.len() + self.data.len() + optional(&self.key) + optional(&self.headers)
    }

    /// The entry's fields, in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let time = Timestamp::try_from(self.time).unwrap_or(Timestamp::MAX);
        [
            Some(("id", Cow::Borrowed(self.id.as_str()))),
            Some(("type", Cow::Borrowed(self.r#type.as_str()))),
            Some(("ver", Cow::Owned(self.ver.to_string()))),
            self.key.as_deref().map(|key| ("key", Cow::Borrowed(key))),
            Some(("time", Cow::Owned(format!("{time:.6}")))),
            Some(("data", Cow::Borrowed(self.data.as_str()))),
            self.headers.as_deref().map(|headers| ("headers", Cow::Borrowed(headers))),
        ]
        .into_iter()
        .flatten()
    }

    /// Reads an entry's fields back. Fields that we do not know are passed over, so that new ones can be added.
    pub fn from_fields<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Malformed> {
        let (mut id, mut r#type, mut ver, mut key, mut time, mut data, mut headers) = <_>::default();
        for (name, value) in fields {
            let slot: &mut Option<&str> = match name {
                "id" => &mut id,
                "type" => &mut r#type,
                "ver" => &mut ver,
                "key" => &mut key,
                "time" => &mut time,
                "data" => &mut data,
                "headers" => &mut headers,
                _ => continue,
            };
            *slot = Some(value);
        }
        let need = |name: &str, value: Option<&str>| {
            value.map(str::to_owned).ok_or_else(|| Malformed(format!("the field {name:?} is missing")))
        };
        let bad = |name: &str| Malformed(format!("the field {name:?} cannot be read"));
        Ok(Self {
            id: need("id", id)?,
            r#type: need("type", r#type)?,
            ver: need("ver", ver)?.parse().map_err(|_| bad("ver"))?,
            key: key.map(str::to_owned),
            time: need("time", time)?.parse::<Timestamp>().map_err(|_| bad("time"))?.into(),
            data: need("data", data)?,
            headers: headers.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn full() -> Envelope {
        Envelope::new(
            "0192-a".into(),
            "order.placed".into(),
            2,
            Some("order-42".into()),
            UNIX_EPOCH + Duration::from_micros(1_760_000_000_123_456),
            r#"{"total": 1999,  "é":"\u00e9"}"#.into(),
            Some(r#"{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}"#.into()),
        )
    }

    /// Readers in other languages rely on these very bytes.
    #[test]
    fn the_contract_is_pinned() {
        let bare = Envelope::new("b".into(), "t".into(), 1, None, UNIX_EPOCH, "null".into(), Some("{}".into()));
        let mut text = String::new();
        for envelope in [full(), bare] {
            for (name, value) in envelope.fields() {
                text.push_str(&format!("{name}\t{value}\n"));
            }
            text.push('\n');
        }
        assert_eq!(text, include_str!("../tests/contract.golden"));
    }

    #[test]
    fn fields_read_back_equal() {
        let envelope = full();
        let fields: Vec<_> = envelope.fields().collect();
        let read = Envelope::from_fields(fields.iter().map(|(n, v)| (*n, v.as_ref())));
        assert_eq!(read, Ok(envelope));
    }

    #[test]
    fn a_missing_field_is_named_and_an_unknown_one_is_passed_over() {
        let error = Envelope::from_fields([("id", "a"), ("new", "field")]).expect_err("incomplete");
        assert_eq!(error.to_string(), "the field \"type\" is missing");
    }

    #[test]
    fn entry_ids_compare_by_number_and_read_back() {
        let [a, b]: [EntryId; 2] = ["1-9", "1-10"].map(|id| id.parse().expect("an id"));
        assert!(a < b);
        assert_eq!(b.to_string(), "1-10");
        for rubbish in ["", "1", "1-", "-1", "a-b", "1-2-3", "1--2"] {
            assert!(rubbish.parse::<EntryId>().is_err(), "{rubbish}");
        }
    }

    #[test]
    fn what_is_replayed_becomes_what_it_was() {
        let headers = r#"{"a": "b", "outbox-id": "0192-a", "outbox-replays": "2", "outbox-entry": "1-7",
                          "outbox-time": "1970-01-01T00:00:01Z"}"#;
        let replayed = Envelope { id: "new".into(), headers: Some(headers.into()), ..full() };
        let (was, replay) = replayed.unwrap_replay();
        let origin = Some(EntryId { generation: 1, seq: 7 });
        assert_eq!((was.id.as_str(), replay), ("0192-a", Some(Replay { count: 2, origin })));
        assert_eq!(was.time, UNIX_EPOCH + Duration::from_secs(1));
        assert_eq!(was.headers.as_deref(), Some(r#"{"a":"b"}"#));
        assert_eq!(full().unwrap_replay(), (full(), None));
    }

    #[test]
    fn headers_are_read_one_by_one() {
        assert!(full().header("traceparent").expect("there").starts_with("00-4bf9"));
        assert_eq!(full().header("other"), None);
    }
}
