//! The producers: one for each key, so that a key's events are committed in the order of their numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use outbox::Event;
use serde_json::json;
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::cast::{OVERTAKE_AFTER, PARTITIONS, TOPIC};
use super::history::Written;
use crate::Chance;

const KEYS: usize = 12;
const REST_MS_MAX: u64 = 40;
/// Some stay open for longer than a relay waits for them.
const SLOW_MS_MAX: u64 = OVERTAKE_AFTER.as_millis() as u64 * 3;

/// What the producers of a round know in the end.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) acknowledged: Vec<Written>,
    /// Nobody told whether it was committed.
    pub(super) doubtful: Vec<Written>,
}

/// Producers that go on through every failure.
pub(super) struct Pens {
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Told>>,
}

impl Pens {
    pub(super) fn write(pool: &PgPool, round: u64, mut chance: Chance) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let writers = (0..KEYS)
            .map(|key| {
                let pen = Pen { pool: pool.clone(), round, key: format!("k{key}"), chance: chance.branch() };
                tokio::spawn(pen.write_until(stop.clone()))
            })
            .collect();
        Self { stop, writers }
    }

    pub(super) async fn rest(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        let mut told = Told::default();
        for writer in self.writers {
            let more = writer.await.expect("no producer panics");
            told.acknowledged.extend(more.acknowledged);
            told.doubtful.extend(more.doubtful);
        }
        told
    }
}

struct Pen {
    pool: PgPool,
    round: u64,
    key: String,
    chance: Chance,
}

impl Pen {
    async fn write_until(mut self, stop: Arc<AtomicBool>) -> Told {
        let (mut told, mut nth) = (Told::default(), 0);
        while !stop.load(Ordering::Relaxed) {
            let mut events: Vec<_> = (0..=self.chance.below(2)).map(|more| self.event(nth + more)).collect();
            nth += events.len() as u64;
            let keep = !self.chance.once_in(8);
            let begun = Instant::now();
            let ended = self.transact(&events, keep).await;
            let slow = begun.elapsed() >= OVERTAKE_AFTER;
            events.iter_mut().for_each(|event| event.slow = slow);
            match ended {
                // What was rolled back is not even in doubt: if it shows up, nobody committed it.
                Ok(()) if keep => told.acknowledged.extend(events),
                Ok(()) => {}
                Err(_) => told.doubtful.extend(events),
            }
            sleep(Duration::from_millis(self.chance.below(REST_MS_MAX))).await;
        }
        told
    }

    fn event(&mut self, nth: u64) -> Written {
        Written {
            id: format!("r{}-{}-{nth}", self.round, self.key),
            stream: outbox::partition(TOPIC, PARTITIONS, &self.key),
            key: self.key.clone(),
            nth,
            bad: self.chance.once_in(30),
            slow: false,
        }
    }

    async fn transact(&mut self, events: &[Written], keep: bool) -> outbox::Result<()> {
        let mut tx = self.pool.begin().await?;
        for event in events {
            let payload = match (event.bad, self.chance.below(20)) {
                (true, _) => json!({"do": "reject"}),
                (false, 0) => json!({"do": "flaky"}),
                (false, 1) => json!({"do": "sleep", "ms": self.chance.below(60)}),
                (false, _) => json!({}),
            };
            let draft = Event::draft(&event.stream, "chaos.happened").id(&event.id).key(&event.key);
            let _ = outbox::enqueue(&mut tx, &draft.json(&payload).expect("within all limits")).await?;
            if self.chance.once_in(10) {
                sleep(Duration::from_millis(self.chance.below(20))).await;
            }
        }
        if self.chance.once_in(25) {
            sleep(Duration::from_millis(self.chance.below(SLOW_MS_MAX))).await;
        }
        if keep {
            tx.commit().await?
        } else {
            tx.rollback().await?
        }
        Ok(())
    }
}
