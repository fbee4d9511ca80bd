//! Who saw it: reads ledgers, letters and streams, from where it last stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::sleep;

use super::history::{Buried, Effect, Entry, Written};
use crate::{FileEffects, Redis};

/// A server that was thrown over takes a moment.
const TRIES_MAX: usize = 400;
const TRY_INTERVAL: Duration = Duration::from_millis(25);

pub(super) struct Witness {
    pub(super) pool: PgPool,
    pub(super) file: FileEffects,
    pub(super) path: PathBuf,
    pub(super) groups: Vec<&'static str>,
    pub(super) streams: Vec<String>,
    /// Whether a letter counts that only Redis has: when no relay of ours is there to fetch it.
    pub(super) letters_in_redis: bool,
    pub(super) seen: Seen,
}

/// How far it has read.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    table: i64,
    file: i64,
    letters: i64,
    rows: i64,
    entries: BTreeMap<String, String>,
}

impl Witness {
    /// One value, from a Postgres that may just be coming back.
    pub(super) async fn ask<T>(&self, query: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin + Default,
    {
        let mut refused = None;
        for _ in 0..TRIES_MAX {
            match sqlx::query_scalar(AssertSqlSafe(query)).fetch_optional(&self.pool).await {
                Ok(value) => return value.unwrap_or_default(),
                Err(error) => refused = Some(error),
            }
            sleep(TRY_INTERVAL).await;
        }
        panic!("Postgres does not answer {query}: {refused:?}")
    }

    async fn rows<T>(&self, query: &str, after: i64) -> Vec<T>
    where
        T: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin,
    {
        let mut refused = None;
        for _ in 0..TRIES_MAX {
            match sqlx::query_as(AssertSqlSafe(query)).bind(after).fetch_all(&self.pool).await {
                Ok(rows) => return rows,
                Err(error) => refused = Some(error),
            }
            sleep(TRY_INTERVAL).await;
        }
        panic!("Postgres does not answer {query}: {refused:?}")
    }

    /// The events among these that Postgres has, whatever their producers were told.
    pub(super) async fn present(&self, doubtful: &[Written]) -> BTreeSet<String> {
        if doubtful.is_empty() {
            return BTreeSet::new();
        }
        let rows: Vec<(String,)> = self.rows("select id from outbox where seq > $1", self.seen.rows).await;
        rows.into_iter().map(|(id,)| id).collect()
    }

    /// The effects that are new, in the order of each ledger.
    pub(super) async fn effects(&self) -> Vec<Effect> {
        let query = "select consumer_group, event_id from effects where nth > $1 order by nth";
        let in_table: Vec<(String, String)> = self.rows(query, self.seen.table).await;
        let mut all: Vec<_> = in_table.into_iter().map(|(group, id)| Effect { group, id }).collect();
        if self.groups.contains(&"file") {
            let db = self.file.open().expect("the file is there");
            let query = "select consumer_group, event_id from effects where nth > ?1 order by nth";
            let mut rows = db.prepare(query).expect("valid");
            let rows = rows.query_map([self.seen.file], |row| Ok(Effect { group: row.get(0)?, id: row.get(1)? }));
            all.extend(rows.expect("read").map(|effect| effect.expect("read")));
        }
        all
    }

    /// The dead letters that are new: those of groups, and the relay's own.
    pub(super) async fn letters(&self, redis: &Redis) -> Vec<Buried> {
        let query = "select group_name, coalesce(id, ''), reason from outbox_dead_letter where no > $1";
        let mut all: Vec<(String, String, String)> = self.rows(query, self.seen.letters).await;
        let query = "select '', id, coalesce(last_error, '') from outbox where dead_at is not null and seq > $1";
        all.extend(self.rows::<(String, String, String)>(query, self.seen.rows).await);
        let mut all: Vec<_> = all.into_iter().map(|(group, id, reason)| Buried { group, id, reason }).collect();
        if self.letters_in_redis {
            let mut connection = redis.connection().await;
            for stream in &self.streams {
                for group in &self.groups {
                    for (_, fields) in after(&mut connection, &format!("{stream}:{group}:dead"), "").await {
                        let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
                        all.push(Buried { group: (*group).into(), id: field("id"), reason: field("dead:reason") });
                    }
                }
            }
        }
        all
    }

    /// What is new in the streams.
    pub(super) async fn entries(&self, redis: &Redis) -> Vec<Entry> {
        let mut connection = redis.connection().await;
        let mut all = vec![];
        for stream in &self.streams {
            let from = self.seen.entries.get(stream).map_or("", String::as_str);
            for (number, fields) in after(&mut connection, stream, from).await {
                let id = fields.get("id").cloned().unwrap_or_default();
                all.push(Entry { stream: stream.clone(), number, id });
            }
        }
        all
    }

    /// Events of which an attempt to publish was counted.
    pub(super) async fn attempted(&self) -> Vec<String> {
        let rows: Vec<(String,)> =
            self.rows("select id from outbox where attempts > 0 and seq > $1", self.seen.rows).await;
        rows.into_iter().map(|(id,)| id).collect()
    }

    /// From here on everything is new.
    pub(super) async fn look_ahead(&mut self, redis: &Redis) {
        for Entry { stream, number, .. } in self.entries(redis).await {
            self.seen.entries.insert(stream, number);
        }
        self.seen.table = self.ask("select coalesce(max(nth), 0) from effects").await;
        self.seen.letters = self.ask("select coalesce(max(no), 0) from outbox_dead_letter").await;
        self.seen.rows = self.ask("select coalesce(max(seq), 0) from outbox").await;
        if self.groups.contains(&"file") {
            let db = self.file.open().expect("the file is there");
            let newest = db.query_row("select coalesce(max(nth), 0) from effects", [], |row| row.get(0));
            self.seen.file = newest.expect("read");
        }
    }

    /// Events that took effect more than once in a group, over all rounds.
    pub(super) async fn repeated(&self) -> Vec<String> {
        let query = "select event_id || ' took effect in ' || consumer_group || ' more than once'
                       from effects where nth > $1 group by consumer_group, event_id having count(*) > 1";
        let mut all: Vec<String> = self.rows::<(String,)>(query, -1).await.into_iter().map(|(line,)| line).collect();
        if self.groups.contains(&"file") {
            let db = self.file.open().expect("the file is there");
            let query = "select event_id || ' took effect in ' || consumer_group || ' more than once'
                           from effects group by consumer_group, event_id having count(*) > 1";
            let mut rows = db.prepare(query).expect("valid");
            let rows = rows.query_map([], |row| row.get(0)).expect("read");
            all.extend(rows.map(|line| line.expect("read")));
        }
        all
    }
}

/// The entries of a stream after a number; all of them after the empty one.
async fn after(
    connection: &mut MultiplexedConnection,
    stream: &str,
    number: &str,
) -> Vec<(String, BTreeMap<String, String>)> {
    let from = if number.is_empty() { "-".to_owned() } else { format!("({number}") };
    let read = redis::cmd("XRANGE").arg(&[stream, &from, "+"]).query_async(connection).await;
    read.unwrap_or_else(|error| panic!("{stream} cannot be read: {error}"))
}
