//! How fast a backlog goes to Redis: beside its limit, and beside the row-at-a-time relay.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use outbox_tests::Child;
use outbox_tests::measure;

use crate::ground::{Ground, PAYLOAD_BYTES, SERVERS};
use crate::options::Options;
use crate::table::{Line, Section, Target, Unit};
use crate::{baseline, limits, progress};
use outbox_tests::Samples;

pub const DEFAULT_BATCH_ROWS: &str = "1000";
const BATCHES_ROWS: [&str; 4] = ["100", "500", DEFAULT_BATCH_ROWS, "5000"];
/// XLEN so often: some hundred cheap commands a second beside a hundred thousand dear ones.
const LOOK_EVERY: Duration = Duration::from_millis(2);
const STALLED_AFTER: Duration = Duration::from_secs(60);

pub async fn section(ground: &mut Ground, options: &Options) -> Result<Section> {
    let (rows, rounds) = (options.rows(), options.rounds());
    let baseline_rows = options.size(10_000, 2_000);
    let [mut limit, mut overlapped, mut old] = <[Samples; 3]>::default();
    let mut ours = BATCHES_ROWS.map(|_| Samples::default());
    for round in 1..=rounds {
        progress::show(&format!("drain: round {round} of {rounds}"));
        limit.push(limits::pipelined_xadd(ground, rows, 1).await?);
        overlapped.push(limits::pipelined_xadd(ground, rows, 2).await?);
        old.push(baseline::row_at_a_time(ground, baseline_rows).await?);
        for (batch, samples) in BATCHES_ROWS.iter().zip(&mut ours) {
            ground.clear().await?;
            ground.load(rows).await?;
            samples.push(drain(ground, rows, batch).await?.rate);
        }
    }
    let (slow_old, slow_ours) = with_slow_commits(options).await?;

    let alone = "pipelined XADD alone";
    let mut lines = vec![
        Line::new(alone, Unit::PerSecond, &limit),
        Line::new("the same, two batches in flight", Unit::PerSecond, &overlapped).beside(alone, &limit),
        Line::new("row at a time", Unit::PerSecond, &old).beside(alone, &limit),
    ];
    for (batch, samples) in BATCHES_ROWS.iter().zip(&ours) {
        let line = Line::new(format!("relay, batches of {batch}"), Unit::PerSecond, samples);
        lines.push(if *batch == DEFAULT_BATCH_ROWS {
            let [part, times] = [0.6, 50.0].map(Target::AtLeast);
            line.must(alone, &limit, part).must("row at a time", &old, times)
        } else {
            line.beside(alone, &limit)
        });
    }
    lines.push(Line::new("row at a time, slow commits", Unit::PerSecond, &slow_old));
    lines.push(
        Line::new("relay, slow commits", Unit::PerSecond, &slow_ours)
            .must("row at a time, the same", &slow_old, Target::AtLeast(50.0))
            .note("an fsync of about 1 ms, as in `producers`: it is paid by a relay that writes back"),
    );
    let conditions = format!(
        "{rows} rows ({baseline_rows} row at a time) of {PAYLOAD_BYTES} B in one stream, fsync off but where commits \
         are said to be slow; {SERVERS}"
    );
    Ok(Section { name: "drain", conditions, lines })
}

/// Row at a time, and ours, where each commit waits for a disk.
async fn with_slow_commits(options: &Options) -> Result<(Samples, Samples)> {
    let mut ground = Ground::with_slow_commits().await?;
    let (rows, rounds) = (options.rows(), options.rounds());
    let [mut old, mut ours] = <[Samples; 2]>::default();
    for round in 1..=rounds {
        progress::show(&format!("drain, slow commits: round {round} of {rounds}"));
        old.push(baseline::row_at_a_time(&mut ground, options.size(2_000, 500)).await?);
        ground.clear().await?;
        ground.load(rows).await?;
        ours.push(drain(&mut ground, rows, DEFAULT_BATCH_ROWS).await?.rate);
    }
    Ok((old, ours))
}

/// What one drain came to.
pub struct Drained {
    /// Entries a second, from the first entry to the last: the start of the process is not in it.
    pub rate: f64,
    /// From the start of the process to the first entry.
    pub first_after: Duration,
    /// Processor time of the relay, of the Postgres sessions that served it, and of Redis.
    pub cpu: [Option<Duration>; 3],
    pub memory_peak_mb: Option<f64>,
}

/// Starts a relay, waits until it has sent so many rows, and kills it.
pub async fn drain(ground: &mut Ground, rows: i64, batch_rows: &str) -> Result<Drained> {
    // What loading has written goes to the disk now, and not while we measure.
    rustix::fs::sync();
    let (before, redis_before) = (ground.entries().await?, ground.redis_cpu().await?);
    let relay = ground.relay(&["--batch-rows-max", batch_rows]);
    drain_by(ground, rows, relay, before, redis_before).await
}

/// The same by a relay that was started a moment ago, where there were so many entries before.
pub async fn drain_by(
    ground: &mut Ground,
    rows: i64,
    relay: Child,
    before: i64,
    redis_before: Option<Duration>,
) -> Result<Drained> {
    let pid = relay.id().unwrap_or_default();
    let started = Instant::now();
    let (mut first, mut last) = (None, (started, before));
    while last.1 < before + rows {
        tokio::time::sleep(LOOK_EVERY).await;
        let (entries, now) = (ground.entries().await?, Instant::now());
        if entries > last.1 {
            last = (now, entries);
            first.get_or_insert(last);
        } else if now - last.0 > STALLED_AFTER {
            bail!("the relay sent {} of {rows} rows and then nothing; it said:\n{}", entries - before, relay.log());
        }
    }
    let redis = ground.redis_cpu().await?.zip(redis_before).map(|(after, before)| after - before);
    let cpu = [measure::cpu(pid), ground.relay_sessions_cpu().await?, redis];
    let memory = measure::memory(pid);
    ground.end(relay).await?;

    let (first_at, first_entries) = first.unwrap_or(last);
    Ok(Drained {
        rate: (last.1 - first_entries) as f64 / (last.0 - first_at).as_secs_f64(),
        first_after: first_at - started,
        cpu,
        memory_peak_mb: memory.map(|(_, peak)| peak),
    })
}
