//! The same drain while somebody watches: the page is open, as far as the relay sees of it, and metrics are asked for each
//! second. A browser itself would take a core, and not the relay's.

use std::time::Duration;

use anyhow::Result;
use outbox_tests::{Child, Surface, ask_once};
use tokio::time::sleep;

use crate::drain::{DEFAULT_BATCH_ROWS, drain, drain_by};
use crate::ground::{Ground, SERVERS};
use crate::options::Options;
use crate::progress;
use crate::table::{Line, Section, Target, Unit};
use outbox_tests::Samples;

const SCRAPE_EVERY: Duration = Duration::from_secs(1);
/// What the page asks for when it is opened, beside the events to which it listens.
const OPENED: [&str; 3] = ["/", "/history?step=1", "/dead?limit=50"];
/// And so often again for dead letters.
const REREAD_EVERY: Duration = Duration::from_secs(15);

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
    let line = Line::new("relay, its page open, /metrics asked for each second", Unit::PerSecond, &watched);
    let lines = vec![
        Line::new("relay", Unit::PerSecond, &alone),
        line.must("relay", &alone, Target::AtLeast(0.95)).note("its surface has a thread and connections of its own"),
    ];
    let conditions = format!("{rows} rows in one stream, batches of {DEFAULT_BATCH_ROWS}; {SERVERS}");
    Ok(Section { name: "watched", conditions, lines })
}

/// Begins to scrape, and opens the page.
fn watch(surface: Surface) -> (Child, [tokio::task::JoinHandle<()>; 3]) {
    let Surface { relay, address } = surface;
    let scraping = tokio::spawn(async move {
        loop {
            ask_once(address, "/metrics").await;
            sleep(SCRAPE_EVERY).await;
        }
    });
    let listening = tokio::spawn(ask_once(address, "/events"));
    let asking = tokio::spawn(async move {
        for path in OPENED {
            ask_once(address, path).await;
        }
        loop {
            sleep(REREAD_EVERY).await;
            ask_once(address, "/dead?limit=50").await;
        }
    });
    (relay, [scraping, listening, asking])
}
