//! A load that goes on through every failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::{Stage, attempts, eventually};

/// Writers that go on through every failure, and remember what was acknowledged.
pub struct Load {
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    pub fn on(stage: &Arc<Stage>, streams: &[&'static str]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let writers = streams.iter().map(|stream| tokio::spawn(write(stage.clone(), stream, stop.clone()))).collect();
        Self { stop, writers }
    }

    /// The ids that were acknowledged.
    pub async fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut acknowledged = vec![];
        for writer in self.writers {
            acknowledged.extend(writer.await.expect("no writer panics"));
        }
        acknowledged
    }
}

async fn write(stage: Arc<Stage>, stream: &'static str, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut acknowledged = vec![];
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("{stream}-load-{n}");
        let written = sqlx::query("select outbox_enqueue($1, 'test.happened', '1', id => $2)");
        if written.bind(stream).bind(&id).execute(&stage.pool).await.is_ok() {
            acknowledged.push(id);
        }
        // Some load, not as much as the machine can bear.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    acknowledged
}

/// Waits until more has arrived than there was.
pub async fn until_progress(stage: &Stage, stream: &str) {
    let before = stage.length(stream).await;
    eventually("some progress", async || stage.length(stream).await > before + 20).await;
}

/// The end of a load over the given streams: everything that was acknowledged is there, and nothing was counted.
pub async fn assert_bore(stage: &Stage, load: Load, streams: &[&str]) {
    let acknowledged = load.end().await;
    eventually("everything to arrive", async || stage.has_arrived(streams).await).await;
    assert!(stage.assert_whole(streams).await >= acknowledged.len());
    let kept: i64 = sqlx::query_scalar("select count(*) from outbox where id = any($1)")
        .bind(&acknowledged)
        .fetch_one(&stage.pool)
        .await
        .expect("Postgres is there");
    assert_eq!(usize::try_from(kept), Ok(acknowledged.len()), "Postgres keeps what it acknowledged");
    assert_eq!(attempts(stage).await, 0);
}
