//! Handlers for tests, and what consumers leave behind.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox::{Builder, Consumer, Entry, Failure, Handler, Settled, Turn, inbox};
use sqlx::PgPool;

use crate::{Stage, eventually};

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
        let mut db = stage.pool.acquire().await.expect("Postgres is there");
        inbox::migrate(&mut db).await.expect("made");
        stage
            .sql(
                "create table if not exists effects (nth bigserial, consumer_group text, event_id text, key text, seq bigint)",
            )
            .await;
        Self { db: stage.pool.clone() }
    }

    /// The effects of a group, in their order.
    pub async fn of(&self, group: &str) -> Vec<String> {
        sqlx::query_scalar("select event_id from effects where consumer_group = $1 order by nth")
            .bind(group)
            .fetch_all(&self.db)
            .await
            .expect("Postgres is there")
    }

    /// Lets an event take effect, once.
    pub async fn write(&self, entry: &Entry) -> Result<(), Failure> {
        let mut tx = self.db.begin().await?;
        if inbox::first_sight(&mut tx, entry).await? {
            sqlx::query("insert into effects (consumer_group, event_id, key, seq) values ($1, $2, $3, $4)")
                .bind(&*entry.group)
                .bind(&entry.id)
                .bind(&entry.key)
                .bind(entry.number.seq.cast_signed())
                .execute(&mut *tx)
                .await?;
        }
        Ok(tx.commit().await?)
    }
}

impl Handler for Effects {
    async fn handle(&self, entry: &Entry) -> Result<(), Failure> {
        self.write(entry).await
    }

    async fn settled(&self, upto: &Settled) -> Result<(), Failure> {
        inbox::prune(&mut *self.db.acquire().await?, upto).await?;
        Ok(())
    }
}

/// A consumer that is quick to try again and quick to notice that others are silent.
pub fn consumer(stage: &Stage, stream: &str, group: &str) -> Builder {
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
        if let Turn::Settled(more) = consumer.tick().await.expect("Redis is usable") {
            settled += more;
        }
        settled >= count
    })
    .await;
    assert_eq!(settled, count);
}
