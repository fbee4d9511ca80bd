//! Handlers for tests, and what consumers leave behind.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox::{Consumer, ConsumerBuilder, ConsumerError, Entry, Event, Failure, Handler, Settled, Tick, inbox};
use sqlx::PgPool;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::{Child, Redis, Stage, binary, deadline, eventually};

/// A handler from a closure.
pub struct Doing<F>(pub F);

impl<F, A> Handler for Doing<F>
where
    F: Fn(Entry) -> A + Send + Sync + 'static,
    A: Future<Output = Result<(), Failure>> + Send,
{
    fn handle(&self, entry: &Entry) -> impl Future<Output = Result<(), Failure>> + Send {
        self.0(entry.clone())
    }
}

/// What handlers were given, in order: ids of events with their attempts.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<(String, u32)>>>);

impl Seen {
    pub fn note(&self, entry: &Entry) {
        self.0.lock().expect("nobody panics here").push((entry.id.clone(), entry.attempt));
    }

    pub fn all(&self) -> Vec<(String, u32)> {
        self.0.lock().expect("nobody panics here").clone()
    }

    pub fn ids(&self) -> Vec<String> {
        self.all().into_iter().map(|(id, _)| id).collect()
    }

    /// The attempts that an event has seen.
    pub fn attempts(&self, id: &str) -> Vec<u32> {
        self.all().into_iter().filter(|(seen, _)| seen == id).map(|(_, attempt)| attempt).collect()
    }
}

/// A ledger of effects in Postgres, with the inbox beside it. Nothing in it is unique, so that it cannot hide a duplicate.
#[derive(Clone)]
pub struct Effects {
    pub db: PgPool,
}

impl Effects {
    pub async fn on(stage: &Stage) -> Self {
        Self::make(&stage.pool).await
    }

    /// Makes the ledger and the inbox, unless they are there.
    pub async fn make(db: &PgPool) -> Self {
        inbox::migrate(&mut db.acquire().await.expect("Postgres is there")).await.expect("made");
        let ledger = "create table if not exists effects (nth bigserial, consumer_group text, event_id text, key text, seq bigint)";
        sqlx::query(ledger).execute(db).await.expect("made");
        Self { db: db.clone() }
    }

    /// The effects of a group, in their order.
    pub async fn of(&self, group: &str) -> Vec<String> {
        sqlx::query_scalar("select event_id from effects where consumer_group = $1 order by nth")
            .bind(group)
            .fetch_all(&self.db)
            .await
            .expect("Postgres is there")
    }

    /// The effects of a group on each key, in their order: the numbers of the entries.
    pub async fn by_key(&self, group: &str) -> BTreeMap<String, Vec<i64>> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("select key, seq from effects where consumer_group = $1 and key is not null order by nth")
                .bind(group)
                .fetch_all(&self.db)
                .await
                .expect("Postgres is there");
        keyed(rows)
    }

    /// Lets an event take effect, once. `false`: it had.
    pub async fn write(&self, entry: &Entry) -> Result<bool, Failure> {
        let mut tx = self.db.begin().await?;
        let new = inbox::first_sight(&mut tx, entry).await?;
        if new {
            sqlx::query("insert into effects (consumer_group, event_id, key, seq) values ($1, $2, $3, $4)")
                .bind(&*entry.group)
                .bind(&entry.id)
                .bind(&entry.key)
                .bind(entry.number.seq.cast_signed())
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(new)
    }
}

impl Handler for Effects {
    async fn handle(&self, entry: &Entry) -> Result<(), Failure> {
        self.write(entry).await?;
        Ok(())
    }

    async fn settled(&self, upto: &Settled) -> Result<(), Failure> {
        inbox::prune(&mut *self.db.acquire().await?, upto).await?;
        Ok(())
    }
}

/// The same ledger in a file of SQLite, which processes share.
#[derive(Clone)]
pub struct FileEffects {
    file: PathBuf,
}

impl FileEffects {
    /// Makes the file, unless it is there.
    pub fn at(file: &Path) -> Self {
        let effects = Self { file: file.to_owned() };
        let db = effects.open().expect("the folder is there");
        inbox::sqlite::migrate(&db).expect("made");
        db.execute_batch(
            "create table if not exists effects (nth integer primary key, consumer_group, event_id, key, seq integer)",
        )
        .expect("made");
        effects
    }

    pub fn open(&self) -> rusqlite::Result<rusqlite::Connection> {
        let db = rusqlite::Connection::open(&self.file)?;
        db.busy_timeout(Duration::from_secs(5))?;
        // A wait for the disk at each effect shows nothing here.
        db.execute_batch("pragma journal_mode = wal; pragma synchronous = off")?;
        Ok(db)
    }

    /// The effects of a group, in their order.
    pub fn of(&self, group: &str) -> Vec<String> {
        let db = self.open().expect("the file is there");
        let mut ids =
            db.prepare("select event_id from effects where consumer_group = ?1 order by nth").expect("valid");
        ids.query_map([group], |row| row.get(0)).expect("read").collect::<Result<_, _>>().expect("read")
    }

    /// The effects of a group on each key, in their order: the numbers of the entries.
    pub fn by_key(&self, group: &str) -> BTreeMap<String, Vec<i64>> {
        let db = self.open().expect("the file is there");
        let query = "select key, seq from effects where consumer_group = ?1 and key is not null order by nth";
        let mut rows = db.prepare(query).expect("valid");
        let rows = rows.query_map([group], |row| Ok((row.get(0)?, row.get(1)?))).expect("read");
        keyed(rows.collect::<Result<_, _>>().expect("read"))
    }

    /// Lets an event take effect, once. `false`: it had.
    pub async fn write(&self, entry: &Entry) -> Result<bool, Failure> {
        let (effects, entry) = (self.clone(), entry.clone());
        tokio::task::spawn_blocking(move || {
            let mut db = effects.open()?;
            let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let new = inbox::sqlite::first_sight(&tx, &entry)?;
            if new {
                tx.execute(
                    "insert into effects (consumer_group, event_id, key, seq) values (?1, ?2, ?3, ?4)",
                    rusqlite::params![&*entry.group, entry.id, entry.key, entry.number.seq.cast_signed()],
                )?;
            }
            tx.commit()?;
            Ok(new)
        })
        .await?
    }

    pub async fn settled(&self, upto: &Settled) -> Result<(), Failure> {
        let (effects, upto) = (self.clone(), upto.clone());
        tokio::task::spawn_blocking(move || {
            inbox::sqlite::prune(&mut effects.open()?, &upto)?;
            Ok(())
        })
        .await?
    }
}

fn keyed(rows: Vec<(String, i64)>) -> BTreeMap<String, Vec<i64>> {
    let mut keys: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (key, seq) in rows {
        keys.entry(key).or_default().push(seq);
    }
    keys
}

/// Checks that the effects on each key came in the order of its events.
pub fn assert_key_order(keys: &BTreeMap<String, Vec<i64>>) {
    for (key, seqs) in keys {
        assert!(seqs.is_sorted_by(|one, next| one < next), "{key} is out of order: {seqs:?}");
    }
}

/// The consumer as a process, with its flags; its ledger is in the stage's Postgres unless they say otherwise.
pub fn consume(stage: &Stage, flags: &[&str]) -> Child {
    consume_over(&stage.redis.url(), stage, flags)
}

/// The same, with a Redis somewhere else.
pub fn consume_over(redis_url: &str, stage: &Stage, flags: &[&str]) -> Child {
    consume_between(redis_url, &stage.database_url, flags)
}

/// The same, with both somewhere else.
pub fn consume_between(redis_url: &str, database_url: &str, flags: &[&str]) -> Child {
    let mut command = Command::new(binary("consume"));
    command.args(["--redis-url", redis_url, "--database-url", database_url]).args(flags);
    Child::spawn(command)
}

/// A consumer that runs in this process until it is stopped.
pub struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ConsumerError>>,
}

impl Running {
    pub fn start(consumer: Consumer) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { stop, task: tokio::spawn(consumer.run(async { _ = stopped.await })) }
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let ended =
            tokio::time::timeout(deadline(), self.task).await.expect("a consumer that is asked to stop stops");
        ended.expect("no panic").expect("Redis is usable");
    }
}

/// How many entries are delivered to a group and not settled.
pub async fn pending(redis: &Redis, stream: &str, group: &str) -> i64 {
    match redis.command(&["XPENDING", stream, group]).await {
        redis::Value::Array(summary) => match summary[0] {
            redis::Value::Int(count) => count,
            ref other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// What lies in a stream, as it lies there.
pub async fn letters(redis: &Redis, stream: &str) -> Vec<BTreeMap<String, String>> {
    let mut redis = redis.connection().await;
    let found: Vec<(String, BTreeMap<String, String>)> =
        redis::cmd("XRANGE").arg(stream).arg("-").arg("+").query_async(&mut redis).await.expect("a stream");
    found.into_iter().map(|(_, fields)| fields).collect()
}

/// One event with a key (if it is not empty) and a payload, committed.
pub async fn enqueue_told(stage: &Stage, stream: &str, id: &str, key: &str, payload: &serde_json::Value) {
    let mut draft = Event::draft(stream, "test.happened").id(id);
    if !key.is_empty() {
        draft = draft.key(key);
    }
    let event = draft.json(payload).expect("within all limits");
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    let _ = outbox::enqueue(&mut tx, &event).await.expect("Postgres is there");
    tx.commit().await.expect("Postgres is there");
}

/// A consumer that is quick to try again and quick to notice that others are silent.
pub fn consumer(stage: &Stage, stream: &str, group: &str) -> ConsumerBuilder {
    Consumer::builder(stage.redis.url())
        .stream(stream)
        .group(group)
        .claim_after(Duration::from_millis(500))
        .settle_interval(Duration::from_millis(100))
        .retry(outbox::RetryPolicy {
            delay_min: Duration::from_millis(1),
            delay_max: Duration::from_millis(20),
            ..outbox::RetryPolicy::default()
        })
}

/// Turns until so many events are settled.
pub async fn until_settled(consumer: &mut Consumer, count: usize) {
    let mut settled = 0;
    eventually(&format!("{count} events to be settled"), async || {
        if let Tick::Settled(more) = consumer.tick().await.expect("Redis is usable") {
            settled += more;
        }
        settled >= count
    })
    .await;
    assert_eq!(settled, count);
}
