//! Looks at the streams all the time, for what was trimmed or lost before a round is over.
//!
//! It looks every few milliseconds, so what stood there for less may escape it. Its effects do not: from a ledger nothing goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::history::Entry;

const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// A server that is down is asked again.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Who looks, as long as this value lives.
pub(super) struct Watch {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    streams: Vec<String>,
    /// Of the server that is in use.
    port: AtomicU16,
    seen: Mutex<BTreeSet<Entry>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    pub(super) fn begin(streams: Vec<String>, port: u16) -> Self {
        let shared = Arc::new(Shared { streams, port: port.into(), seen: Mutex::default() });
        let task = tokio::spawn(look(Arc::clone(&shared)));
        Self { shared, task }
    }

    /// Another server has taken over.
    pub(super) fn lead_to(&self, port: u16) {
        self.shared.port.store(port, Ordering::Relaxed);
    }

    /// Everything that was seen since this was asked last.
    pub(super) fn take(&self) -> BTreeSet<Entry> {
        std::mem::take(&mut *self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn look(shared: Arc<Shared>) {
    loop {
        let port = shared.port.load(Ordering::Relaxed);
        // Whatever fails, it begins anew.
        let _ = look_at(&shared, port).await;
        sleep(LOOK_INTERVAL).await;
    }
}

async fn look_at(shared: &Shared, port: u16) -> RedisResult<()> {
    let patience =
        AsyncConnectionConfig::new().set_connection_timeout(Some(ANSWER_MAX)).set_response_timeout(Some(ANSWER_MAX));
    let client = Client::open(format!("redis://127.0.0.1:{port}/"))?;
    let mut redis = client.get_multiplexed_async_connection_with_config(&patience).await?;
    let mut newest: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    while shared.port.load(Ordering::Relaxed) == port {
        for stream in &shared.streams {
            let upto = newest.entry(stream).or_default();
            // Fewer than before: something was lost, and may be there again under other numbers.
            if top(&mut redis, stream).await? < *upto {
                *upto = (0, 0);
            }
            let from = format!("({}-{}", upto.0, upto.1);
            let found: Vec<(String, BTreeMap<String, String>)> =
                redis::cmd("XRANGE").arg(&[stream, &from, "+"]).query_async(&mut redis).await?;
            let mut seen = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
            for (number, mut fields) in found {
                *upto = parts(&number);
                let id = fields.remove("id").unwrap_or_default();
                seen.insert(Entry { stream: stream.clone(), number, id });
            }
        }
        sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// The number of the newest entry.
async fn top(redis: &mut MultiplexedConnection, stream: &str) -> RedisResult<(u64, u64)> {
    let newest: Vec<(String, BTreeMap<String, String>)> =
        redis::cmd("XREVRANGE").arg(&[stream, "+", "-", "COUNT", "1"]).query_async(redis).await?;
    Ok(newest.first().map_or((0, 0), |(number, _)| parts(number)))
}

fn parts(number: &str) -> (u64, u64) {
    let (generation, seq) = number.split_once('-').unwrap_or((number, "0"));
    (generation.parse().unwrap_or(0), seq.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::{History, Written, judge};
    use crate::{Redis, eventually};

    #[tokio::test]
    async fn an_event_that_comes_again_after_its_first_entry_is_gone_is_called_doubled() {
        let redis = Redis::start().await;
        let watch = Watch::begin(vec!["s".into()], redis.port());
        let mut seen = vec![];
        for (number, goes) in [("1-7", &["FLUSHALL"][..]), ("1-3", &["XTRIM", "s", "MINID", "1-9"]), ("1-9", &[])] {
            redis.command(&["XADD", "s", number, "id", "a"]).await;
            eventually("it to be seen", async || {
                seen.extend(watch.take());
                seen.iter().any(|entry| entry.number == number)
            })
            .await;
            if !goes.is_empty() {
                redis.command(goes).await;
            }
        }
        let a = Written {
            id: "a".into(),
            stream: "s".into(),
            key: "k".into(),
            nth: 1,
            bad: false,
            fails: 0,
            slow: false,
        };
        let history = History { committed: vec![a], entries: seen, ..History::default() };
        assert_eq!(judge(&history, &BTreeMap::new()).doubled.len(), 2);
    }

    #[tokio::test]
    async fn it_goes_on_where_another_server_takes_over_and_when_one_comes_back() {
        let (one, other) = (Redis::start().await, Redis::start().await);
        let watch = Watch::begin(vec!["s".into()], one.port());
        let seen = async |number: &str| {
            eventually("it to be seen", async || watch.take().iter().any(|entry| entry.number == number)).await;
        };
        one.command(&["XADD", "s", "1-1", "id", "a"]).await;
        seen("1-1").await;
        one.kill();
        watch.lead_to(other.port());
        other.command(&["XADD", "s", "1-1", "id", "b"]).await;
        seen("1-1").await;
        other.kill();
        other.restart().await;
        other.command(&["XADD", "s", "1-2", "id", "c"]).await;
        seen("1-2").await;
    }
}
