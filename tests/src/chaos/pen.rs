//! The producers: one for each key, so that a key's events are committed in the order of their numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use outbox::Event;
use serde_json::{Value, json};
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
                let pen = Pen { round, key: format!("k{key}"), nth: 0, chance: chance.branch() };
                tokio::spawn(pen.write_until(pool.clone(), stop.clone()))
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
    round: u64,
    key: String,
    /// So many events it has thought of.
    nth: u64,
    chance: Chance,
}

/// Everything that chance decides of a transaction, before it begins.
#[derive(Debug, PartialEq)]
struct Draft {
    events: Vec<Line>,
    /// It stays open for so long once all is written.
    open: Duration,
    keep: bool,
    /// After it.
    rest: Duration,
}

#[derive(Debug, PartialEq)]
struct Line {
    event: Written,
    payload: Value,
    /// After it was written.
    pause: Duration,
}

impl Pen {
    async fn write_until(mut self, pool: PgPool, stop: Arc<AtomicBool>) -> Told {
        let mut told = Told::default();
        while !stop.load(Ordering::Relaxed) {
            let draft = self.draft();
            let begun = Instant::now();
            let ended = write(&pool, &draft).await;
            let slow = begun.elapsed() >= OVERTAKE_AFTER;
            let events = draft.events.into_iter().map(|line| Written { slow, ..line.event });
            match ended {
                // What was rolled back is not even in doubt: if it shows up, nobody committed it.
                Ok(()) if draft.keep => told.acknowledged.extend(events),
                Ok(()) => {}
                Err(_) => told.doubtful.extend(events),
            }
            sleep(draft.rest).await;
        }
        told
    }

    fn draft(&mut self) -> Draft {
        let events = (0..=self.chance.below(2)).map(|_| self.line()).collect();
        let open = if self.chance.once_in(25) { self.chance.below(SLOW_MS_MAX) } else { 0 };
        Draft {
            events,
            open: Duration::from_millis(open),
            keep: !self.chance.once_in(8),
            rest: Duration::from_millis(self.chance.below(REST_MS_MAX)),
        }
    }

    fn line(&mut self) -> Line {
        let bad = self.chance.once_in(30);
        let (payload, fails) = match (bad, self.chance.below(20)) {
            (true, _) => (json!({"do": "reject"}), 0),
            (false, 0) => (json!({"do": "flaky"}), 1),
            (false, 1) => (json!({"do": "sleep", "ms": self.chance.below(60)}), 0),
            (false, _) => (json!({}), 0),
        };
        let pause = if self.chance.once_in(10) { self.chance.below(20) } else { 0 };
        let event = Written {
            id: format!("r{}-{}-{}", self.round, self.key, self.nth),
            stream: outbox::partition(TOPIC, PARTITIONS, &self.key),
            key: self.key.clone(),
            nth: self.nth,
            bad,
            fails,
            slow: false,
        };
        self.nth += 1;
        Line { event, payload, pause: Duration::from_millis(pause) }
    }
}

async fn write(pool: &PgPool, draft: &Draft) -> outbox::Result<()> {
    let mut tx = pool.begin().await?;
    for Line { event, payload, pause } in &draft.events {
        let draft = Event::draft(&event.stream, "chaos.happened").id(&event.id).key(&event.key);
        let _ = outbox::enqueue(&mut tx, &draft.json(payload).expect("within all limits")).await?;
        sleep(*pause).await;
    }
    sleep(draft.open).await;
    if draft.keep {
        tx.commit().await?;
    } else {
        tx.rollback().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_writes_the_same() {
        let drafts = |seed| {
            let mut pen = Pen { round: 1, key: "k".into(), nth: 0, chance: Chance::seeded(seed) };
            std::iter::repeat_with(|| pen.draft()).take(200).collect::<Vec<_>>()
        };
        assert_eq!(drafts(7), drafts(7));
        assert_ne!(drafts(7), drafts(8));
        let some = |what: &dyn Fn(&Draft) -> bool| drafts(7).iter().any(what);
        assert!(some(&|draft| !draft.keep) && some(&|draft| draft.open >= OVERTAKE_AFTER), "all that there may be");
        assert!(some(&|draft| draft.events.iter().any(|line| line.event.bad)));
    }
}
