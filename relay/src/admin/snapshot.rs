//! How it stands, as Postgres tells it: read at most once a second, however many ask, and for at most a twentieth of the time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Mutex;

use super::desk::Desk;
use super::problem::Result;
use crate::standing::Standing;

/// A snapshot is good for so long.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// One that was dear is good for so many times what it cost.
const COST_SHARE: u32 = 20;

/// How it stands, and when that was.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// When it was read.
    pub(crate) at: String,
    /// How long that took.
    pub(crate) read_ms: f64,
    pub(crate) standing: Standing,
}

/// The newest one, for all who ask.
#[derive(Default)]
pub(crate) struct Snapshots(Mutex<Option<Taken>>);

struct Taken {
    at: Instant,
    good_for: Duration,
    outcome: Result<Arc<Snapshot>>,
}

impl Desk {
    /// How it stands. Who asks while somebody else's question is on its way gets the same answer.
    pub(crate) async fn snapshot(&self) -> Result<Arc<Snapshot>> {
        let mut newest = self.snapshots.0.lock().await;
        if let Some(taken) = &*newest
            && taken.at.elapsed() < taken.good_for
        {
            return taken.outcome.clone();
        }
        let outcome = self.read().await.map(Arc::new);
        // A failure is remembered, too: a Postgres that is away need not be asked by everybody.
        let cost = outcome.as_ref().map_or(0.0, |snapshot| snapshot.read_ms / 1e3);
        let good_for = FRESH_FOR.max(Duration::from_secs_f64(cost) * COST_SHARE);
        *newest = Some(Taken { at: Instant::now(), good_for, outcome: outcome.clone() });
        outcome
    }

    /// The newest one that was read, if that is not long ago. Asks nobody.
    pub(crate) fn recent(&self) -> Option<Arc<Snapshot>> {
        let newest = self.snapshots.0.try_lock().ok()?;
        let taken = newest.as_ref()?;
        (taken.at.elapsed() < FRESH_FOR * 2).then(|| taken.outcome.clone().ok())?
    }

    async fn read(&self) -> Result<Snapshot> {
        let mut db = self.postgres().await?;
        let begun = Instant::now();
        Ok(Snapshot {
            standing: Standing::read(&mut db).await?,
            read_ms: begun.elapsed().as_secs_f64() * 1e3,
            at: now(),
        })
    }
}

/// The time, as every answer tells it.
pub(crate) fn now() -> String {
    format!("{:.3}", Timestamp::now())
}
