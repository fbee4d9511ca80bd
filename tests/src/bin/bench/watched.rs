//! The same drain while somebody watches: metrics and status are asked for each second, and somebody listens.

use std::time::Duration;

use anyhow::Result;
use outbox_tests::{Child, Surface};

use crate::drain::{DEFAULT_BATCH_ROWS, drain, drain_by};
use crate::ground::{Ground, SERVERS};
use crate::options::Options;
use crate::progress;
use crate::samples::Samples;
use crate::table::{Line, Section, Target, Unit};

const ASK_EVERY: Duration = Duration::from_secs(1);

pub async fn section(ground: &mut Ground, options: &Options) -> Result<Section> {
    // So many that it takes some seconds.
    let (rows, rounds) = (options.rows() * 5, options.rounds());
    let [mut alone, mut watched] = <[Samples; 2]>::default();
    for round in 1..=rounds {
        progress::show(&format!("watched: round {round} of {rounds}"));
        // By turns, so that neither always comes first.
        for turn in 0..2 {
            ground.clear().await?;
            ground.load(rows).await?;
            rustix::fs::sync();
            if (round + turn) % 2 == 0 {
                alone.push(drain(ground, rows, DEFAULT_BATCH_ROWS).await?.rate);
            } else {
                let surface = Surface::of(ground.relay_that_listens(&["--batch-rows-max", DEFAULT_BATCH_ROWS])).await;
                let (relay, watching) = watch(surface);
                watched.push(drain_by(ground, rows, relay, 0, None).await?.rate);
                watching.iter().for_each(tokio::task::JoinHandle::abort);
            }
        }
    }
    let line =
        Line::new("relay, asked for /metrics and /status each second, with a listener", Unit::PerSecond, &watched);
    let lines = vec![
        Line::new("relay", Unit::PerSecond, &alone),
        line.must("relay", &alone, Target::AtLeast(0.95)).note("its surface has a thread and connections of its own"),
    ];
    let conditions = format!("{rows} rows in one stream, batches of {DEFAULT_BATCH_ROWS}; {SERVERS}");
    Ok(Section { name: "watched", conditions, lines })
}

/// Begins to ask and to listen.
fn watch(surface: Surface) -> (Child, [tokio::task::JoinHandle<()>; 2]) {
    let Surface { relay, address } = surface;
    let asking = tokio::spawn(async move {
        loop {
            for path in ["/metrics", "/status"] {
                outbox_tests::ask_once(address, path).await;
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    });
    let listening = tokio::spawn(async move { outbox_tests::ask_once(address, "/events").await });
    (relay, [asking, listening])
}
