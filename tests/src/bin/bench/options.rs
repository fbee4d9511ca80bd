//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures the relay and the crate on private servers, each figure beside its limit in the same run.
#[derive(Debug, Parser)]
#[command(
    name = "./dev bench",
    max_term_width = 100,
    after_help = "Examples:
  ./dev bench                           everything, on a quiet machine (about half an hour)
  ./dev bench --quick                   whether it all still runs; the figures mean little
  ./dev bench --only drain,latency
  ./dev bench --only drain --rounds 9 --json drain.json

Rates are medians of rounds in which everything that is compared takes its turn; min .. max is their spread.
Read ratios, not rates: machines differ, and the same one differs from hour to hour."
)]
pub struct Options {
    /// Small sizes and one round: a smoke test of some seconds a section
    #[arg(long)]
    pub quick: bool,

    /// Rows that the relay drains
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1_000..))]
    rows: Option<u32>,

    /// Rows that were sent before, for the section `history`
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1_000..))]
    sent_rows: Option<u32>,

    /// Articles that go through the separate programs, for the section `footprint`
    #[arg(long, value_name = "ARTICLES", value_parser = clap::value_parser!(u32).range(1..))]
    articles: Option<u32>,

    /// A folder of pages for the section `extract`, instead of made ones
    #[arg(long, value_name = "FOLDER")]
    pub pages: Option<PathBuf>,

    /// How often everything takes its turn
    #[arg(long, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,

    /// Only these sections
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    only: Vec<Name>,

    /// Write the figures to this file, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// A section of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// A backlog goes to Redis: its limit, the row-at-a-time relay, and ours by batch size
    Drain,
    /// The same with many rows sent before, many unsent, and transactions that stay open
    History,
    /// The same with the page open, and metrics asked for each second
    Watched,
    /// From commit to readable in Redis
    Latency,
    /// What `enqueue` adds to a transaction
    Enqueue,
    /// What the outbox costs 16 producers
    Producers,
    /// A consumer with an inbox, beside the effect alone and beside reading alone
    Consume,
    /// The archive in a folder and in an S3-compatible store, beside the bare stores
    Archive,
    /// What it takes the scraper to understand a page, beside parsing it alone
    Extract,
    /// What it takes to crawl a whole site
    Crawl,
    /// What it takes to bring articles into the reader's file, and to find them
    Read,
    /// Processor time and memory of the relay, idle and draining; memory of each part of the pipeline
    Footprint,
}

impl Options {
    pub fn sections(&self) -> Vec<Name> {
        let all = Name::value_variants().iter().copied();
        all.filter(|name| self.only.is_empty() || self.only.contains(name)).collect()
    }

    pub fn rows(&self) -> i64 {
        i64::from(self.rows.unwrap_or(if self.quick { 20_000 } else { 200_000 }))
    }

    pub fn sent_rows(&self) -> i64 {
        i64::from(self.sent_rows.unwrap_or(if self.quick { 100_000 } else { 10_000_000 }))
    }

    pub fn articles(&self) -> u32 {
        self.articles.unwrap_or(self.size(10_000, 200))
    }

    pub fn unsent_rows(&self) -> i64 {
        self.rows() * 5
    }

    pub fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 5 })
    }

    /// A size that has no flag of its own.
    pub fn size<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}
