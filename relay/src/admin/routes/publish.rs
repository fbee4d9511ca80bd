//! The gateway for producers without SQL. What is answered with 200 lies in the outbox, committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use outbox::{Enqueued, Event};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::Connection;
use utoipa::ToSchema;

use crate::admin::asked::{Body, read};
use crate::admin::desk::Desk;
use crate::admin::guard::Operator;
use crate::admin::problem::{Problem, Result};

/// So many events in one request.
const EVENTS_MAX: usize = 1_000;

/// An event to be published.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Publish {
    stream: String,
    /// A stable name, such as `order.placed`. Without it, the stream's name.
    r#type: Option<String>,
    /// Any JSON. Its bytes are kept exactly.
    #[schema(value_type = serde_json::Value)]
    payload: Box<RawValue>,
    /// Events with equal keys keep their order.
    key: Option<String>,
    /// The idempotency key: an event whose id is already there is not written again. Without it, a new one.
    id: Option<String>,
    /// The version of the payload's shape.
    ver: Option<u16>,
    /// Holds the event: until a time (`2026-11-21T20:00:00Z`), or for so long (`10m`).
    due: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// One event, or many: all of them are written, or none.
#[derive(ToSchema)]
#[schema(description = "One event, or an array of at most 1,000")]
#[allow(dead_code, reason = "only the document about the routes speaks of it")]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(Publish),
    Many(Vec<Publish>),
}

/// An event that lies in the outbox.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Published {
    id: String,
    stream: String,
    /// Whether it was written now; else it was there already.
    new: bool,
    /// The number of its row, if it is new and not held.
    seq: Option<i64>,
}

/// Writes events to the outbox, in one transaction. One is answered with one object, an array with an array.
#[utoipa::path(post, path = "/api/v1/events/publish", tag = "publish", request_body = OneOrMany,
    responses((status = 200, body = Published, description = "It lies in the outbox. For an array: an array of these"),
              (status = 400, body = Problem),
              (status = 409, body = Problem, description = "An id is taken by an event with other content"),
              (status = 413, body = Problem), (status = 422, body = Problem, description = "An event is over a limit"),
              (status = 503, body = Problem, description = "Nothing was written; try again with the same ids")))]
pub(crate) async fn publish(
    State(desk): State<Arc<Desk>>,
    Extension(operator): Extension<Operator>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response> {
    let many = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let wished: Vec<Publish> = if many { read(&body)? } else { vec![read(&body)?] };
    if wished.len() > EVENTS_MAX {
        return Err(Problem::bad(format!("publish at most {EVENTS_MAX} events at once")));
    }
    let trace =
        headers.get("traceparent").and_then(|parent| parent.to_str().ok()).filter(|parent| is_traceparent(parent));
    let mut events = Vec::with_capacity(wished.len());
    for (at, wish) in wished.into_iter().enumerate() {
        let stream = wish.stream.clone();
        match event(wish, trace) {
            Ok(event) => events.push((stream, event)),
            Err(why) if many => return Err(over(format!("event {at}: {why}"))),
            Err(why) => return Err(over(why)),
        }
    }
    let published = write(&desk, events).await?;
    let new = published.iter().filter(|published| published.new).count();
    tracing::debug!(who = operator.0, new, repeats = published.len() - new, "events came over HTTP");
    Ok(match many {
        true => Json(published).into_response(),
        false => Json(published.into_iter().next()).into_response(),
    })
}

fn over(why: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why)
}

fn event(wish: Publish, trace: Option<&str>) -> std::result::Result<Event, String> {
    let Publish { stream, r#type, payload, key, id, ver, due, headers } = wish;
    let r#type = r#type.unwrap_or_else(|| stream.clone());
    let mut draft = Event::draft(stream, r#type);
    if let Some(key) = key {
        draft = draft.key(key);
    }
    if let Some(id) = id {
        draft = draft.id(id);
    }
    if let Some(ver) = ver {
        draft = draft.ver(ver);
    }
    if let Some(parent) = trace {
        draft = draft.header("traceparent", parent);
    }
    for (name, value) in headers {
        draft = draft.header(name, value);
    }
    if let Some(due) = due {
        draft = match (due.parse::<Timestamp>(), terminal::duration(&due)) {
            (Ok(at), _) => draft.due_at(SystemTime::from(at)),
            (_, Ok(delay)) => draft.due_in(delay),
            _ => return Err("due is a time such as 2026-11-21T20:00:00Z, or a duration such as 10m".to_owned()),
        };
    }
    draft.raw_json(Box::<str>::from(payload)).map_err(|error| error.to_string())
}

/// `00-<trace>-<span>-<flags>`, as its standard says.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lower_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    parts.iter().map(|part| part.len()).eq([2, 32, 16, 2]) && parts.iter().all(|part| lower_hex(part))
}

async fn write(desk: &Desk, events: Vec<(String, Event)>) -> Result<Vec<Published>> {
    let mut db = desk.postgres().await?;
    let mut tx = db.begin().await?;
    let (streams, events): (Vec<_>, Vec<_>) = events.into_iter().unzip();
    let enqueued = outbox::enqueue_all(&mut tx, &events).await.map_err(refused)?;
    tx.commit().await?;
    let published = |((stream, event), enqueued): ((String, Event), Enqueued)| {
        let seq = match enqueued {
            Enqueued::New { seq } => Some(seq),
            Enqueued::Repeat => None,
        };
        Published { id: event.id().to_owned(), stream, new: seq.is_some(), seq }
    };
    Ok(streams.into_iter().zip(events).zip(enqueued).map(published).collect())
}

fn refused(error: outbox::Error) -> Problem {
    match error {
        outbox::Error::Database(error) => error.into(),
        error @ outbox::Error::IdTaken { .. } => Problem::new(StatusCode::CONFLICT, error.to_string()),
        error => over(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_a_trace_is_carried_on() {
        assert!(is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        for other in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert!(!is_traceparent(other), "{other}");
        }
    }

    #[test]
    fn an_event_without_a_type_bears_its_streams_name() {
        let wish: Publish = read(br#"{"stream": "email.received", "payload": {"a":  1}}"#).expect("JSON");
        let event = event(wish, None).expect("within all limits");
        assert_eq!(event.payload(), r#"{"a":  1}"#);
    }

    #[test]
    fn due_is_a_time_or_a_duration() {
        let with = |due: &str| {
            let text = format!(r#"{{"stream": "s", "payload": 1, "due": {due:?}}}"#);
            event(read(text.as_bytes()).expect("JSON"), None)
        };
        assert!(with("10m").is_ok() && with("2030-01-01T00:00:00Z").is_ok());
        assert!(with("soon").expect_err("no time").contains("such as 10m"));
    }
}
