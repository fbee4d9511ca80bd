//! What the relay uses: draining, and idle.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use crate::drain::{DEFAULT_BATCH_ROWS, drain};
use crate::ground::{Ground, STREAM};
use crate::options::Options;
use crate::samples::Samples;
use crate::table::{Line, Section, Target, Unit};
use crate::{process, progress};

/// Long enough for the relay to have fallen asleep.
const SETTLE: Duration = Duration::from_secs(4);

pub async fn section(ground: &mut Ground, options: &Options) -> Result<Section> {
    // Not five rounds: nothing here is a ratio, and each one waits.
    let (rows, rounds) = (options.rows(), options.rounds().min(3));
    let time = Duration::from_secs(options.size(10, 3));
    let mut of_a_row = <[Samples; 3]>::default();
    let [mut peak_mb, mut idle_mb, mut without, mut together, mut relay_alone] = <[Samples; 5]>::default();
    for round in 1..=rounds {
        progress::show(&format!("footprint: round {round} of {rounds}, draining"));
        ground.clear().await?;
        ground.load(rows).await?;
        let drained = drain(ground, rows, DEFAULT_BATCH_ROWS).await?;
        for (samples, cpu) in of_a_row.iter_mut().zip(drained.cpu) {
            samples.push(seconds(cpu) * 1e6 / rows as f64);
        }
        peak_mb.push(drained.memory_peak_mb.unwrap_or(f64::NAN));

        progress::show(&format!("footprint: round {round} of {rounds}, idle"));
        // One group, so that its position is looked at, too.
        redis::cmd("XGROUP").arg(&["CREATE", STREAM, "group", "$"]).exec_async(&mut ground.cache).await?;
        sleep(SETTLE).await;
        let [_, postgres] = used(ground, 0, time).await?;
        without.push(postgres);

        let relay = ground.relay(&[]);
        relay.saw("this relay works").await;
        sleep(SETTLE).await;
        let pid = relay.id().unwrap_or_default();
        let [own, postgres] = used(ground, pid, time).await?;
        relay_alone.push(own);
        together.push(own + postgres);
        idle_mb.push(process::memory(pid).map_or(f64::NAN, |(now, _)| now));
        ground.end(relay).await?;
    }

    let [relay, sessions, redis] = &of_a_row;
    let cpu = |what: &str, samples: &Samples| Line::new(what, Unit::Microseconds, samples);
    Ok(Section {
        name: "footprint",
        conditions: format!(
            "draining {rows} rows at batches of {DEFAULT_BATCH_ROWS}; idle over {} s, asleep, one stream with one group; \
             processor time as Linux counts it, percent of one core",
            time.as_secs()
        ),
        lines: vec![
            cpu("draining, processor time an event, relay", relay),
            cpu("draining, the same, its Postgres sessions", sessions),
            cpu("draining, the same, Redis", redis),
            Line::new("draining, memory at most", Unit::Megabytes, &peak_mb).target(Target::AtMost(30.0)),
            Line::new("idle, Postgres without a relay", Unit::Percent, &without),
            Line::new("idle, relay", Unit::Percent, &relay_alone),
            Line::new("idle, relay and Postgres together", Unit::Percent, &together).target(Target::AtMost(0.5)),
            Line::new("idle, memory", Unit::Megabytes, &idle_mb).target(Target::AtMost(15.0)),
        ],
    })
}

/// Percent of a core that a process and all of Postgres take over some time.
async fn used(ground: &mut Ground, pid: u32, time: Duration) -> Result<[f64; 2]> {
    let before = [process::cpu(pid), ground.all_postgres_cpu().await?];
    sleep(time).await;
    let after = [process::cpu(pid), ground.all_postgres_cpu().await?];
    let percent = |at: usize| (seconds(after[at]) - seconds(before[at])) * 100.0 / time.as_secs_f64();
    Ok([percent(0), percent(1)])
}

fn seconds(cpu: Option<Duration>) -> f64 {
    cpu.map_or(f64::NAN, |cpu| cpu.as_secs_f64())
}
