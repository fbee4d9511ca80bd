//! An event, as its producer states it. Limits are checked when it is built, so that a bad one fails in the code that
//! made it and not in somebody's transaction.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use uuid::Uuid;

use crate::{Error, Result, json};

/// How large an event may be, payload, headers and names together: 1 MiB. Put larger things elsewhere and send where
/// they are.
pub const EVENT_BYTES_MAX: usize = 1 << 20;

const NAME_BYTES_MAX: usize = 200;
const KEY_BYTES_MAX: usize = 1000;

/// Something that happened. Made by [`Event::draft`], written by [`enqueue`](crate::enqueue).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub(crate) stream: String,
    pub(crate) r#type: String,
    pub(crate) key: Option<String>,
    pub(crate) id: String,
    pub(crate) ver: u16,
    pub(crate) payload: String,
    pub(crate) headers: String,
    pub(crate) due: Option<Due>,
}

/// When a scheduled event may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    At(SystemTime),
    In(Duration),
}

impl Event {
    /// Begins an event: the stream it goes to and its type, a stable name such as `order.placed`.
    pub fn draft(stream: impl Into<String>, r#type: impl Into<String>) -> Draft {
        Draft {
            stream: stream.into(),
            r#type: r#type.into(),
            key: None,
            id: None,
            ver: 1,
            headers: BTreeMap::new(),
            due: None,
        }
    }

    /// The event's id: the one it was given, else a new UUIDv7.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The payload, as the JSON text that will travel.
    pub fn payload(&self) -> &str {
        &self.payload
    }
}

/// An event that still lacks its payload. [`json`](Draft::json) or [`raw_json`](Draft::raw_json) finishes it.
#[derive(Debug, Clone)]
#[must_use = "a draft is nothing until `json` or `raw_json` makes it an event"]
pub struct Draft {
    stream: String,
    r#type: String,
    key: Option<String>,
    id: Option<String>,
    ver: u16,
    headers: BTreeMap<String, String>,
    due: Option<Due>,
}

impl Draft {
    /// Events with equal keys keep their order. At most 1,000 bytes.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The idempotency key: an event whose id is already in the outbox is not written again. A UUIDv7 if none is given.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The version of the payload's shape, from 1.
    pub fn ver(mut self, ver: u16) -> Self {
        self.ver = ver;
        self
    }

    /// A header: what travels with the event but is not part of what happened.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Holds the event until then. Until it leaves it can be [cancelled](crate::cancel).
    pub fn due_at(mut self, at: SystemTime) -> Self {
        self.due = Some(Due::At(at));
        self
    }

    /// Holds the event for so long, by Postgres's clock.
    pub fn due_in(mut self, delay: Duration) -> Self {
        self.due = Some(Due::In(delay));
        self
    }

    /// Finishes the event with a payload that serde turns into JSON.
    pub fn json<T: Serialize + ?Sized>(self, payload: &T) -> Result<Event> {
        let text = serde_json::to_string(payload)
            .map_err(|e| Error::invalid("payload", format!("cannot be turned into JSON: {e}")))?;
        json::check_valid(&text).map_err(|why| Error::invalid("payload", why))?;
        self.finish(text)
    }

    /// Finishes the event with a payload that is JSON text already. Its bytes are kept exactly.
    pub fn raw_json(self, payload: impl Into<String>) -> Result<Event> {
        let text = payload.into();
        json::check(&text).map_err(|why| Error::invalid("payload", why))?;
        self.finish(text)
    }

    // `mut` is for the trace context, which is a feature.
    #[cfg_attr(not(feature = "trace"), allow(unused_mut))]
    fn finish(mut self, payload: String) -> Result<Event> {
        #[cfg(feature = "trace")]
        crate::trace::write_to(&mut self.headers);

        if let Some(name) = self.headers.keys().find(|name| name.starts_with("outbox-")) {
            return Err(Error::invalid("headers", format!("holds {name:?}: names that begin with outbox- are ours")));
        }
        let headers = serde_json::to_string(&self.headers).expect("a map of strings is always JSON");
        json::check_valid(&headers).map_err(|why| Error::invalid("headers", why))?;
        let id = self.id.unwrap_or_else(|| Uuid::now_v7().to_string());
        check_name("stream", &self.stream, NAME_BYTES_MAX)?;
        for (end, what) in [(":dead", "notices of dead letters go"), (":settled", "positions of groups are kept")] {
            if self.stream.ends_with(end) {
                return Err(Error::invalid("stream", format!("ends with {end}, where {what}")));
            }
        }
        check_name("type", &self.r#type, NAME_BYTES_MAX)?;
        check_name("id", &id, NAME_BYTES_MAX)?;
        if let Some(key) = &self.key {
            check_name("key", key, KEY_BYTES_MAX)?;
        }
        if self.ver == 0 {
            return Err(Error::invalid("ver", "is 0; versions start at 1"));
        }
        let key_bytes = self.key.as_ref().map_or(0, String::len);
        // Postgres prints headers with a space after each colon and comma.
        let header_bytes = headers.len() + 2 * self.headers.len();
        let bytes = payload.len() + header_bytes + self.stream.len() + self.r#type.len() + id.len() + key_bytes;
        if bytes > EVENT_BYTES_MAX {
            let why = format!("makes the event {bytes} bytes large; at most {EVENT_BYTES_MAX} may travel");
            return Err(Error::invalid("payload", why));
        }
        Ok(Event {
            stream: self.stream,
            r#type: self.r#type,
            key: self.key,
            id,
            ver: self.ver,
            payload,
            headers,
            due: self.due,
        })
    }
}

fn check_name(field: &'static str, name: &str, bytes_max: usize) -> Result<()> {
    let why = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > bytes_max {
        format!("has {} bytes; at most {bytes_max} are allowed", name.len())
    } else if name.chars().any(char::is_control) {
        "holds a control character".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::Invalid { field, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(draft: Draft) -> String {
        draft.raw_json("{}").expect_err("must be refused").to_string()
    }

    #[test]
    fn an_event_without_an_id_gets_one_that_rises() {
        let [a, b] = [(); 2].map(|()| Event::draft("s", "t").raw_json("1").expect("valid"));
        assert!(a.id() < b.id());
    }

    #[test]
    fn a_broken_limit_is_named() {
        assert_eq!(refused(Event::draft("", "t")), "stream is empty");
        assert_eq!(refused(Event::draft("s", "")), "type is empty");
        assert_eq!(refused(Event::draft("s", "t").key("")), "key is empty");
        assert_eq!(refused(Event::draft("s", "t").id("a\0b")), "id holds a control character");
        assert_eq!(refused(Event::draft("s", "t").ver(0)), "ver is 0; versions start at 1");
        assert_eq!(refused(Event::draft("x".repeat(201), "t")), "stream has 201 bytes; at most 200 are allowed");
        assert!(refused(Event::draft("s", "t").header("a", "\0")).starts_with("headers holds \\u0000"));
    }

    #[test]
    fn an_event_over_its_size_is_refused_before_the_database_sees_it() {
        let error = Event::draft("s", "t").json(&"x".repeat(EVENT_BYTES_MAX)).expect_err("too large");
        assert!(error.to_string().contains("at most 1048576 may travel"), "{error}");
    }

    #[test]
    fn a_payload_keeps_its_bytes() {
        let text = r#"{"b": 1,  "a": 1.0, "b": 2}"#;
        assert_eq!(Event::draft("s", "t").raw_json(text).expect("valid").payload(), text);
    }

    #[test]
    fn a_typed_payload_with_a_nul_is_refused() {
        assert!(Event::draft("s", "t").json("a\0b").is_err());
    }
}
