//! A usual relay: one at a time it reads rows, adds entries, each once, and marks rows. Each habit but the first one is one fault.

use std::time::Duration;

use anyhow::Result;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, Pipeline, RedisResult, Value};
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// None, as long as Redis keeps what it has: what Redis has once it is taken to have for ever.
    Sound,
    /// Adds without a look, and marks rows in a transaction that may not come to its end after entries were added.
    MarksAfter,
    /// Marks rows, and dies before it adds the entries.
    MarksBefore,
    /// Reads what is above the last number: what commits late stands below it.
    FollowsLast,
    /// The same, and asks whether the row's transaction is visible: it is, or the row would not be there.
    AsksSnapshot,
    /// The same, and commits after each row, and so gives up the locks on the others.
    CommitsInside,
    /// Counts an attempt of every row while Redis is away, and sets them aside at the fifth.
    CountsOutages,
    /// Takes a pipeline that came back for one that succeeded.
    ReadsNoReplies,
    /// Adds with MAXLEN.
    KeepsShort,
}

const BATCH: i64 = 50;
const REST: Duration = Duration::from_millis(5);

/// Whoever has it relays; it goes with the transaction.
const LOCK: &str = "select pg_try_advisory_xact_lock(4711)";

/// Adds what was never added: both or neither.
const ONCE: &str = "
    if redis.call('HSETNX', KEYS[2], ARGV[1], '1') == 0 then return false end
    return redis.call('XADD', KEYS[1], unpack(ARGV, 2))";

/// Its books. Two start at once, so that one may find the tables half made.
const BOOKS: &str = "
    create table if not exists mutant_sent (seq bigint primary key);
    create table if not exists mutant_last (one integer primary key, seq bigint);
    insert into mutant_last values (1, 0) on conflict do nothing";

/// What stands below it, by habit: rows that are not marked, or rows above the last number.
const UNMARKED: &str = "select seq, stream, id, key, payload::text from outbox o
    where dead_at is null and not exists (select from mutant_sent s where s.seq = o.seq)
    order by seq limit $1 for update skip locked";
const ABOVE: &str = "select seq, stream, id, key, payload::text from outbox
    where seq > (select seq from mutant_last) order by seq limit $1";
const ABOVE_AND_VISIBLE: &str = "select seq, stream, id, key, payload::text from outbox
    where seq > (select seq from mutant_last) and pg_visible_in_snapshot(xmin::text::xid8, pg_current_snapshot())
    order by seq limit $1";

type Row = (i64, String, String, Option<String>, String);

pub(super) async fn run(habit: Habit, database_url: &str, redis_url: &str) -> Result<()> {
    loop {
        // Whatever happens, it starts anew.
        if let Err(error) = work(habit, database_url, redis_url).await {
            println!("{error:#}");
        }
        sleep(REST).await;
    }
}

async fn work(habit: Habit, database_url: &str, redis_url: &str) -> Result<()> {
    let mut db = PgConnection::connect(database_url).await?;
    let _ = sqlx::raw_sql(BOOKS).execute(&mut db).await;
    let patience = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_millis(500)));
    let mut redis = redis::Client::open(redis_url)?.get_multiplexed_async_connection_with_config(&patience).await;
    loop {
        if habit == Habit::CountsOutages {
            count(&mut db, &mut redis).await?;
            if redis.is_err() {
                redis = redis::Client::open(redis_url)?.get_multiplexed_async_connection_with_config(&patience).await;
            }
        } else {
            let redis = redis.as_mut().map_err(|error| anyhow::anyhow!("{error}"))?;
            turn(habit, &mut db, redis).await?;
        }
        sleep(REST).await;
    }
}

async fn turn(habit: Habit, db: &mut PgConnection, redis: &mut MultiplexedConnection) -> Result<()> {
    if habit == Habit::CommitsInside {
        return commit_inside(db, redis).await;
    }
    let mut tx = db.begin().await?;
    if !sqlx::query_scalar::<_, bool>(LOCK).fetch_one(&mut *tx).await? {
        return Ok(());
    }
    let query = match habit {
        Habit::FollowsLast => ABOVE,
        Habit::AsksSnapshot => ABOVE_AND_VISIBLE,
        _ => UNMARKED,
    };
    let rows: Vec<Row> = sqlx::query_as(query).bind(BATCH).fetch_all(&mut *tx).await?;
    let Some((last, ..)) = rows.last() else { return Ok(()) };
    match habit {
        Habit::FollowsLast | Habit::AsksSnapshot => {
            add_all(&rows, redis).await?;
            sqlx::query("update mutant_last set seq = $1").bind(last).execute(&mut *tx).await?;
            return Ok(tx.commit().await?);
        }
        Habit::MarksBefore => {
            mark(&mut tx, &rows).await?;
            tx.commit().await?;
            return add_all(&rows, redis).await;
        }
        Habit::ReadsNoReplies => {
            let mut all = redis::pipe();
            for row in &rows {
                all.add_command(once(row, &[]));
            }
            heard(all, redis).await?;
        }
        Habit::MarksAfter => {
            for row in &rows {
                let _: Value = add(row).query_async(redis).await?;
            }
        }
        Habit::KeepsShort => {
            for row in &rows {
                let _: Value = once(row, &["MAXLEN", "5"]).query_async(redis).await?;
            }
        }
        Habit::Sound | Habit::CommitsInside | Habit::CountsOutages => add_all(&rows, redis).await?,
    }
    mark(&mut tx, &rows).await?;
    Ok(tx.commit().await?)
}

/// The first commit lets go of the lock, and of all rows.
async fn commit_inside(db: &mut PgConnection, redis: &mut MultiplexedConnection) -> Result<()> {
    sqlx::query("begin").execute(&mut *db).await?;
    let locked: bool = sqlx::query_scalar(LOCK).fetch_one(&mut *db).await?;
    let rows: Vec<Row> =
        if locked { sqlx::query_as(UNMARKED).bind(BATCH).fetch_all(&mut *db).await? } else { vec![] };
    for row in &rows {
        let _: Value = add(row).query_async(redis).await?;
        mark(db, std::slice::from_ref(row)).await?;
        sqlx::query("commit").execute(&mut *db).await?;
    }
    if rows.is_empty() {
        sqlx::query("commit").execute(db).await?;
    }
    Ok(())
}

async fn count(db: &mut PgConnection, redis: &mut RedisResult<MultiplexedConnection>) -> Result<()> {
    let mut tx = db.begin().await?;
    if !sqlx::query_scalar::<_, bool>(LOCK).fetch_one(&mut *tx).await? {
        return Ok(());
    }
    let rows: Vec<Row> = sqlx::query_as(UNMARKED).bind(BATCH).fetch_all(&mut *tx).await?;
    let mut sent = vec![];
    for row in rows {
        let added: RedisResult<Value> = match redis {
            Ok(redis) => once(&row, &[]).query_async(redis).await,
            Err(_) => Err((ErrorKind::Io, "Redis is away").into()),
        };
        let Err(error) = added else {
            sent.push(row);
            continue;
        };
        sqlx::query(
            "update outbox set attempts = attempts + 1, last_error = $2,
                    due_at = case when attempts >= 4 then 'infinity'::timestamptz end,
                    dead_at = case when attempts >= 4 then now() end
              where seq = $1",
        )
        .bind(row.0)
        .bind(error.to_string())
        .execute(&mut *tx)
        .await?;
        if error.is_io_error() {
            *redis = Err(error);
        }
    }
    mark(&mut tx, &sent).await?;
    Ok(tx.commit().await?)
}

async fn mark(db: &mut PgConnection, rows: &[Row]) -> Result<()> {
    let seqs: Vec<i64> = rows.iter().map(|row| row.0).collect();
    let mark = "insert into mutant_sent select unnest($1::bigint[]) on conflict do nothing";
    sqlx::query(mark).bind(seqs).execute(db).await?;
    Ok(())
}

async fn add_all(rows: &[Row], redis: &mut MultiplexedConnection) -> Result<()> {
    for row in rows {
        let _: Value = once(row, &[]).query_async(redis).await?;
    }
    Ok(())
}

fn add(row: &Row) -> redis::Cmd {
    let mut add = redis::cmd("XADD");
    add.arg(&row.1).arg("*").arg(fields(row));
    add
}

/// The same, for what was never added, with more words for the stream.
fn once(row: &Row, more: &[&str]) -> redis::Cmd {
    let mut once = redis::cmd("EVAL");
    once.arg(&[ONCE, "2", &row.1, "mutant:sent", &row.2]).arg(more).arg("*").arg(fields(row));
    once
}

fn fields((_, _, id, key, payload): &Row) -> Vec<&str> {
    let mut fields =
        vec!["id", id, "type", "chaos.happened", "ver", "1", "time", "2026-01-01T00:00:00Z", "data", payload];
    fields.extend(key.iter().flat_map(|key| ["key", key]));
    fields
}

/// Something came back, and that is all it wants to know.
async fn heard(all: Pipeline, redis: &mut MultiplexedConnection) -> RedisResult<()> {
    match all.query_async::<Vec<Value>>(redis).await {
        Err(error) if error.is_io_error() || error.is_timeout() => Err(error),
        _ => Ok(()),
    }
}
