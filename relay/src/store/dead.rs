//! Dead letters: what could not be sent, and what a group's handler could not make take effect. Set aside for a person. Here: what
//! they are, and which are meant. Beside it: looking at them, and what becomes of them.
//!
//! Those that could not be sent are rows of `outbox` that are due never; those of groups lie in `outbox_dead_letter`. Each
//! statement takes a [`Filter`] as its first parameters, and one that is null or empty leaves all.

mod change;
mod look;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use sqlx::postgres::PgArguments;
use sqlx::{FromRow, Postgres};
use utoipa::ToSchema;

pub(crate) use change::{drop, replay, replayable};
pub(crate) use look::{count, found_in_payload, list};

/// An event that was replayed so often and came back each time is replayed only by its id.
pub(crate) const REPLAYS_MAX: i32 = 3;

/// Which dead letters are meant. Without any field: all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) ids: Vec<String>,
    pub(crate) stream: Option<String>,
    pub(crate) r#type: Option<String>,
    pub(crate) group: Option<String>,
    /// Only those that hold this text, in whichever case: in their id, key, payload, or why they failed.
    pub(crate) search: Option<String>,
    /// Where it has been looked in payloads for that text already: those in which it may be found. None: look in all.
    pub(crate) found: Option<Vec<String>>,
}

/// Where a page of the list ends, and the next one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    dead_us: i64,
    no: i64,
    entry: String,
}

impl std::str::FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let mut parts = text.splitn(3, '.');
        let mut number = || parts.next()?.parse().ok();
        let (dead_us, no) = (number().ok_or(())?, number().ok_or(())?);
        // What no letter bears would be refused by Postgres.
        let entry = parts.next().filter(|entry| !entry.contains('\0')).ok_or(())?.to_owned();
        // Beyond a century around our time no letter was buried, and Postgres cannot add so much.
        let sane = (0..=10_000_000_000_000_000).contains(&dead_us);
        if sane { Ok(Self { dead_us, no, entry }) } else { Err(()) }
    }
}

/// A dead letter.
#[derive(Debug, Clone, Serialize, FromRow, ToSchema)]
pub(crate) struct DeadLetter {
    /// Where the list goes on behind it.
    #[serde(skip)]
    pub(crate) cursor: String,
    pub(crate) id: String,
    pub(crate) stream: String,
    /// The group whose handler it could not pass; none: it could not be sent.
    pub(crate) group_name: Option<String>,
    /// Its number where it was read: in the lane if there is one, else in the stream.
    pub(crate) entry: Option<String>,
    #[serde(rename = "type")]
    #[sqlx(rename = "type")]
    pub(crate) r#type: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) ver: Option<i32>,
    pub(crate) attempts: i32,
    pub(crate) last_error: String,
    pub(crate) replays: i32,
    pub(crate) created_at: Option<String>,
    pub(crate) dead_at: String,
    /// From here on only when one is shown. Of one that was replayed: the lane on which it failed again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lane: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_json")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_json")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) headers: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_json")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) failures: Option<String>,
    /// The rounds before, the last one first, as far as they are remembered.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_json")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) earlier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) consumer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) handler: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_json")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) fields: Option<String>,
    /// Something of it is not shown (RELAY_MASK): where "***" stands.
    #[sqlx(default)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) masked: bool,
}

/// JSON as it was written; what is none, as a string.
fn as_json<S: Serializer>(text: &Option<String>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    match text.as_deref().map(serde_json::from_str::<&RawValue>) {
        Some(Ok(json)) => json.serialize(serializer),
        _ => text.serialize(serializer),
    }
}

/// What became of letters that were to be replayed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Replayed {
    pub(crate) replayed: i64,
    /// They are no events, so nothing can be sent.
    pub(crate) no_events: i64,
    /// They came back too often.
    pub(crate) looping: i64,
}

type Query<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

/// A statement about letters that are meant: $1 their ids, $2 stream, $3 type, $4 group, $5 what they hold, $6 those in whose
/// payloads it was found.
fn about<'q>(statement: &'static str, filter: &'q Filter) -> Query<'q> {
    sqlx::query(statement)
        .bind(&filter.ids)
        .bind(&filter.stream)
        .bind(&filter.r#type)
        .bind(&filter.group)
        .bind(&filter.search)
        .bind(&filter.found)
}
