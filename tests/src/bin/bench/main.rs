//! `./dev bench`: the figures that this project promises, measured beside their limits in the same run.
//!
//! | section | file |
//! |---|---|
//! | how fast a backlog goes | `drain`, beside `limits` and `baseline` |
//! | whether that depends on what else is there | `history` |
//! | whether it depends on who watches | `watched` |
//! | commit to readable | `latency` |
//! | what producers pay | `enqueue`, `producers` |
//! | what the relay uses, and each part of the pipeline beside its budget | `footprint` |
//! | what consumers cost | `consume` |
//! | what archiving costs beside the bare store | `archive` |
//! | what a page and a site cost the scraper | `extract`, `crawl` |
//! | what articles cost the reader's side | `read` |
//!
//! Everything runs on private servers (`ground`), with the relay as the process that users run.

mod archive;
mod baseline;
mod consume;
mod crawl;
mod drain;
mod enqueue;
mod extract;
mod footprint;
mod ground;
mod history;
mod latency;
mod limits;
mod machine;
mod options;
mod producers;
mod progress;
mod read;
mod slow_disk;
mod table;
mod watched;

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::ground::Ground;
use crate::machine::Machine;
use crate::options::{Name, Options};

fn main() -> Result<()> {
    let options = Options::parse();
    if cfg!(debug_assertions) {
        eprintln!("bench: this is a debug build, its figures mean nothing (./dev bench makes a release build)");
    }
    let _slow_disk = slow_disk::enter();
    // One thread, as in the relay: the limit and the baseline are measured in here.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // An interrupted run ends here and not at once, so that no relay outlives it.
        tokio::select! {
            result = measure(&options) => result,
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    })
}

async fn measure(options: &Options) -> Result<()> {
    progress::show("starting servers");
    let mut ground = Ground::new().await?;
    let machine = Machine::look_at(&mut ground).await?;
    let mut sections = vec![];
    for name in options.sections() {
        let section = match name {
            Name::Drain => drain::section(&mut ground, options).await?,
            Name::History => history::section(&mut ground, options).await?,
            Name::Watched => watched::section(&mut ground, options).await?,
            Name::Latency => latency::section(&mut ground, options).await?,
            Name::Enqueue => enqueue::section(&mut ground, options).await?,
            Name::Producers => producers::section(options).await?,
            Name::Consume => consume::section(&mut ground, options).await?,
            Name::Archive => archive::section(&mut ground, options).await?,
            Name::Extract => extract::section(options)?,
            Name::Crawl => crawl::section(options).await?,
            Name::Read => read::section(options).await?,
            Name::Footprint => {
                sections.push(footprint::section(&mut ground, options).await?);
                footprint::parts(options).await?
            }
        };
        sections.push(section);
    }
    progress::clear();
    print!("{}", table::print(&machine.line(), &sections));
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&table::json(&machine.json(), &sections))?;
        std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
