//! The limit: how fast this client brings the same entries to Redis when there is no Postgres and nothing to decide.

use std::time::Instant;

use anyhow::{Result, ensure};
use outbox::Envelope;
use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, Value};

use crate::ground::{Ground, STREAM, event, id};

const BATCH_ROWS: i64 = 1000;

/// Entries a second. With more than one pipeline in flight the client encodes while Redis works.
pub async fn pipelined_xadd(ground: &mut Ground, rows: i64, in_flight: usize) -> Result<f64> {
    ground.clear_redis().await?;
    // Everything but the numbers is ready beforehand: this is a limit, not a relay.
    let fields = (0..BATCH_ROWS.unsigned_abs()).map(entry).collect::<Result<Vec<_>>>()?;
    redis::cmd("XADD").arg(STREAM).arg("0-1").arg("made").arg("1").exec_async(&mut ground.cache).await?;

    let began = Instant::now();
    let mut flying = std::collections::VecDeque::new();
    for first in (1..=rows).step_by(BATCH_ROWS as usize) {
        let pipeline = encode(&fields, first, rows);
        let mut connection = ground.cache.clone();
        flying.push_back(tokio::spawn(async move {
            let count = pipeline.len();
            connection.req_packed_commands(&pipeline, 0, count).await
        }));
        if flying.len() == in_flight {
            check(&flying.pop_front().expect("it was just counted").await??)?;
        }
    }
    for last in flying {
        check(&last.await??)?;
    }
    Ok(rows as f64 / began.elapsed().as_secs_f64())
}

/// The very commands that the relay sends, without its MULTI.
fn encode(fields: &[Vec<(&'static str, String)>], first: i64, rows: i64) -> Pipeline {
    let numbers = first..=rows.min(first + BATCH_ROWS - 1);
    let mut pipeline = Pipeline::with_capacity(fields.len());
    for (number, fields) in numbers.zip(fields) {
        let mut xadd = Cmd::with_capacity(18, 700);
        xadd.arg("XADD").arg(STREAM).arg("NOMKSTREAM").arg(format!("1-{number}"));
        for (name, value) in fields {
            xadd.arg(name).arg(value);
        }
        pipeline.add_command(xadd);
    }
    pipeline
}

fn entry(nth: u64) -> Result<Vec<(&'static str, String)>> {
    let (event, key) = (event(nth)?, format!("key-{nth}"));
    let (kind, time, data) = ("bench.happened".into(), std::time::SystemTime::now(), event.payload().to_owned());
    let envelope = Envelope::new(id(nth), kind, 1, Some(key), time, data, None);
    Ok(envelope.fields().map(|(name, value)| (name, value.into_owned())).collect())
}

fn check(replies: &[Value]) -> Result<()> {
    let refused = replies.iter().find(|reply| !matches!(reply, Value::BulkString(_)));
    ensure!(refused.is_none(), "XADD was answered by {refused:?}");
    Ok(())
}
