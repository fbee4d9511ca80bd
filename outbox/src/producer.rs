//! Writing events, inside the caller's transaction.

use std::collections::{HashMap, HashSet};
use std::time::UNIX_EPOCH;

use sqlx::{Postgres, Transaction};

use crate::event::Due;
use crate::{Error, Event, Result};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// It is written, as this row. Its entry in Redis will bear this number, unless the row has to wait first.
    New {
        /// The row's number.
        seq: i64,
    },
    /// The same event was there already: nothing was written.
    Repeat,
}

/// Writes one event in the caller's transaction.
///
/// An event whose id is already there is a [`Enqueued::Repeat`] when it has the same stream, type, key, version and
/// payload, else [`Error::IdTaken`]. Headers and the time it is due are not compared: a retry may carry another trace.
pub async fn enqueue(tx: &mut Transaction<'_, Postgres>, event: &Event) -> Result<Enqueued> {
    let (relative, due_us) = due(event);
    let seq: Option<i64> = sqlx::query_scalar(
        "insert into outbox (stream, type, key, id, ver, payload, headers, due_at)
         values ($1, $2, $3, $4, $5, $6::json, $7::jsonb,
                 case when $8 then clock_timestamp() else timestamptz 'epoch' end + $9 * interval '1 microsecond')
         on conflict (id) do nothing
         returning seq",
    )
    .bind(&event.stream)
    .bind(&event.r#type)
    .bind(&event.key)
    .bind(&event.id)
    .bind(i32::from(event.ver))
    .bind(&event.payload)
    .bind(&event.headers)
    .bind(relative)
    .bind(due_us)
    .fetch_optional(&mut **tx)
    .await?;
    match seq {
        Some(seq) => Ok(Enqueued::New { seq }),
        None => {
            let others = with_other_content(tx, &[event]).await?;
            others.into_iter().next().map_or(Ok(Enqueued::Repeat), |id| Err(Error::IdTaken { id }))
        }
    }
}

/// Writes many events with one statement, in their order. The answers are in the same order.
///
/// All or nothing: if one id is taken by other content, the error says so and the transaction should be rolled back.
pub async fn enqueue_all(tx: &mut Transaction<'_, Postgres>, events: &[Event]) -> Result<Vec<Enqueued>> {
    let column = |of: fn(&Event) -> &str| events.iter().map(of).collect::<Vec<_>>();
    let (relative, due_us): (Vec<_>, Vec<_>) = events.iter().map(due).unzip();
    // Numbers are taken in the order of the query below, so the events keep their order.
    let written: Vec<(String, i64)> = sqlx::query_as(
        "insert into outbox (stream, type, key, id, ver, payload, headers, due_at)
         select stream, type, key, id, ver, payload::json, headers::jsonb,
                case when relative then clock_timestamp() else timestamptz 'epoch' end + due * interval '1 microsecond'
           from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::text[], $7::text[], $8::bool[],
                       $9::bigint[])
                with ordinality as e(stream, type, key, id, ver, payload, headers, relative, due, nth)
          order by nth
         on conflict (id) do nothing
         returning id, seq",
    )
    .bind(column(|e| &e.stream))
    .bind(column(|e| &e.r#type))
    .bind(events.iter().map(|e| e.key.as_deref()).collect::<Vec<_>>())
    .bind(column(|e| &e.id))
    .bind(events.iter().map(|e| i32::from(e.ver)).collect::<Vec<_>>())
    .bind(column(|e| &e.payload))
    .bind(column(|e| &e.headers))
    .bind(relative)
    .bind(due_us)
    .fetch_all(&mut **tx)
    .await?;

    let mut written: HashMap<String, i64> = written.into_iter().collect();
    let mut repeats = Vec::new();
    let answers = events
        .iter()
        .map(|event| match written.remove(&event.id) {
            Some(seq) => Enqueued::New { seq },
            None => {
                repeats.push(event);
                Enqueued::Repeat
            }
        })
        .collect();
    if !repeats.is_empty()
        && let Some(id) = with_other_content(tx, &repeats).await?.into_iter().next()
    {
        return Err(Error::IdTaken { id });
    }
    Ok(answers)
}

/// Takes a scheduled event back. `false`: there is none with this id, or it is no longer waiting for its time.
pub async fn cancel(tx: &mut Transaction<'_, Postgres>, id: &str) -> Result<bool> {
    let gone = sqlx::query("delete from outbox where id = $1 and due_at is not null and dead_at is null")
        .bind(id)
        .execute(&mut **tx)
        .await?;
    Ok(gone.rows_affected() == 1)
}

/// Whether the due time counts from now, and its microseconds (from now, or from the epoch); none if it is not held.
fn due(event: &Event) -> (bool, Option<i64>) {
    let (relative, duration) = match event.due {
        None => return (false, None),
        Some(Due::In(delay)) => (true, delay),
        Some(Due::At(at)) => (false, at.duration_since(UNIX_EPOCH).unwrap_or_default()),
    };
    // About 3,000 years is as good as never, and still a time that Postgres can add.
    const FAR: u128 = 100_000_000_000_000_000;
    (relative, Some(i64::try_from(duration.as_micros().min(FAR)).expect("bounded above")))
}

/// Of events whose ids are already there: the ids that stand for something else.
async fn with_other_content(tx: &mut Transaction<'_, Postgres>, events: &[&Event]) -> Result<HashSet<String>> {
    let column = |of: fn(&Event) -> &str| events.iter().map(|e| of(e)).collect::<Vec<_>>();
    let ids: Vec<String> = sqlx::query_scalar(
        "select o.id
           from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::text[])
                as e(stream, type, key, id, ver, payload)
           join outbox o on o.id = e.id
          where (o.stream, o.type, o.ver, o.payload::text) is distinct from (e.stream, e.type, e.ver, e.payload)
             or o.key is distinct from e.key",
    )
    .bind(column(|e| &e.stream))
    .bind(column(|e| &e.r#type))
    .bind(events.iter().map(|e| e.key.as_deref()).collect::<Vec<_>>())
    .bind(column(|e| &e.id))
    .bind(events.iter().map(|e| i32::from(e.ver)).collect::<Vec<_>>())
    .bind(column(|e| &e.payload))
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids.into_iter().collect())
}
