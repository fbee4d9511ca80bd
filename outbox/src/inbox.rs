//! What a group has done already, kept where it does it: in the handler's own transaction.
//!
//! ```no_run
//! # use outbox::{Entry, Failure, Handler, Settled, inbox};
//! # struct Billing { db: sqlx::PgPool }
//! impl Handler for Billing {
//!     async fn handle(&self, entry: &Entry) -> Result<(), Failure> {
//!         let mut tx = self.db.begin().await?;
//!         if inbox::first_sight(&mut tx, entry).await? {
//!             sqlx::query("update accounts set due = due + 1999").execute(&mut *tx).await?;
//!         }
//!         tx.commit().await?; // seen and done, or neither
//!         Ok(())
//!     }
//!
//!     async fn settled(&self, upto: &Settled) -> Result<(), Failure> {
//!         inbox::prune(&mut *self.db.acquire().await?, upto).await?; // keeps the inbox small
//!         Ok(())
//!     }
//! }
//! ```
//!
//! Two levels. [`first_sight`] tells whether an *event* was seen, so that a repetition has no effect. [`content`] tells
//! whether a *page* changed, so that an event that says nothing new has none, and an old one cannot undo a newer one.
//!
//! An event is known by its id until its position is settled for good ([`prune`]); from then on everything up to that
//! position counts as seen, whatever a Redis that was restored from yesterday may deliver again.
//!
//! The module `sqlite` (feature `sqlite`) has the same functions for a database in a file.

#[cfg(feature = "sqlite")]
pub mod sqlite;

use std::collections::{BTreeMap, HashSet};

use sqlx::{Connection, PgConnection, Postgres, Transaction};

use crate::{Entry, Error, Result, Settled};

const SCHEMA: &str = include_str!("../migrations/inbox/postgres.sql");

/// One lock for everyone who makes the tables; the number says nothing.
const LOCK: i64 = 6_873_522_870_211_842_108;

/// What a version of a page is to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The group has never seen this page.
    New,
    /// It says something else than the newest version so far.
    Changed,
    /// It says what the newest version so far says: there is nothing to do.
    Same,
    /// The group knows a newer version: there is nothing to do.
    Older,
}

impl Change {
    /// Whether there is something to do.
    pub fn is_news(self) -> bool {
        matches!(self, Self::New | Self::Changed)
    }
}

/// Makes the inbox's tables, in the schema that comes first in the connection's `search_path`. Again: nothing happens.
pub async fn migrate(db: &mut PgConnection) -> Result<()> {
    let mut tx = db.begin_with("begin isolation level read committed").await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
    // That something is there already is no news.
    sqlx::query("set local client_min_messages = warning").execute(&mut *tx).await?;
    sqlx::raw_sql(SCHEMA).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}

/// Whether the entry's group sees this event for the first time. `false`: its effect is there already; do nothing.
///
/// What is seen becomes part of the caller's transaction: it is remembered if and only if the effect is.
pub async fn first_sight(tx: &mut Transaction<'_, Postgres>, entry: &Entry) -> Result<bool> {
    Ok(first_sight_of_each(tx, std::slice::from_ref(entry)).await? == [true])
}

/// [`first_sight`] of many, with one statement for each lane. The answers are in the same order; of an event that is there
/// twice the first is the first sight.
pub async fn first_sight_of_each(tx: &mut Transaction<'_, Postgres>, entries: &[Entry]) -> Result<Vec<bool>> {
    let mut lanes: BTreeMap<(&str, &str), Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        lanes.entry((&entry.group, &entry.lane)).or_default().push(entry);
    }
    let mut new: HashSet<(&str, String)> = HashSet::new();
    for ((group, lane), entries) in lanes {
        let column = |of: fn(&Entry) -> Option<u64>| {
            entries.iter().map(|entry| of(entry).map(u64::cast_signed)).collect::<Vec<_>>()
        };
        let ids: Vec<String> = sqlx::query_scalar("select inbox_first_sight($1, $2, $3, $4, $5, $6, $7, $8)")
            .bind(group)
            .bind(lane)
            .bind(entries.iter().map(|entry| entry.envelope.id.as_str()).collect::<Vec<_>>())
            .bind(column(|entry| Some(entry.number.generation)))
            .bind(column(|entry| Some(entry.number.seq)))
            .bind(&*entries[0].stream)
            .bind(column(|entry| Some(entry.origin?.generation)))
            .bind(column(|entry| Some(entry.origin?.seq)))
            .fetch_all(&mut **tx)
            .await?;
        new.extend(ids.into_iter().map(|id| (group, id)));
    }
    Ok(entries.iter().map(|entry| new.remove(&(&*entry.group, entry.envelope.id.clone()))).collect())
}

/// Forgets what is settled. Returns how many events that were.
pub async fn prune(db: &mut PgConnection, upto: &Settled) -> Result<u64> {
    let forgotten: i64 = sqlx::query_scalar("select inbox_prune($1, $2, $3, $4)")
        .bind(&*upto.group)
        .bind(&*upto.lane)
        .bind(upto.upto.generation.cast_signed())
        .bind(upto.upto.seq.cast_signed())
        .fetch_one(db)
        .await?;
    Ok(forgotten.unsigned_abs())
}

/// What this version of a page is to the entry's group. The newest version is remembered, in the caller's transaction.
///
/// Versions only rise: of two with the same number and other content the first one counts. A producer that has no versions
/// of its own can take the entry's number, `entry.number.seq`.
pub async fn content(
    tx: &mut Transaction<'_, Postgres>,
    entry: &Entry,
    source_url: &str,
    content_hash: &str,
    version: u64,
) -> Result<Change> {
    let change: String = sqlx::query_scalar("select inbox_content($1, $2, $3, $4)")
        .bind(&*entry.group)
        .bind(source_url)
        .bind(content_hash)
        .bind(version.cast_signed())
        .fetch_one(&mut **tx)
        .await?;
    match change.as_str() {
        "new" => Ok(Change::New),
        "changed" => Ok(Change::Changed),
        "same" => Ok(Change::Same),
        "older" => Ok(Change::Older),
        other => Err(Error::Database(sqlx::Error::Protocol(format!("inbox_content answered {other:?}")))),
    }
}
