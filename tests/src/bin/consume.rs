//! A consumer as a process of its own, for tests that kill, freeze and stop it.
//!
//! What its handler does each event's payload says: `{"do":"ok"}` (anything else means the same), `{"do":"reject"}`, `{"do":"fail"}`,
//! `{"do":"flaky"}` (fails once), `{"do":"abort"}`, `{"do":"sleep","ms":50}`, `{"do":"wait","until":"/a/file/exists"}`. The effect is one line of a ledger,
//! beside an inbox. It says `begin ID attempt N` and `effect ID` or `repeat ID`, and `blame ID REASON` where the
//! effect failed and the event pays for it, unless its own session was ended because it stood still in a transaction.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use outbox::{Consumer, Entry, Failure, Handler, RetryPolicy, Settled};
use outbox_tests::{Effects, FileEffects};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

#[derive(Parser)]
struct Options {
    #[arg(long)]
    redis_url: String,
    #[arg(long)]
    database_url: Option<String>,
    /// The ledger lies in this file, and not in Postgres.
    #[arg(long)]
    sqlite: Option<PathBuf>,
    #[arg(long)]
    stream: Vec<String>,
    /// As `stream:count`.
    #[arg(long)]
    partitions: Option<String>,
    #[arg(long)]
    group: String,
    #[arg(long, default_value = "consume")]
    name: String,
    #[arg(long, default_value_t = 1_000)]
    claim_after_ms: u64,
    #[arg(long, default_value_t = 5_000)]
    drain_max_ms: u64,
    #[arg(long, default_value = "5")]
    attempts_max: NonZeroU32,
    #[arg(long, default_value_t = 8)]
    concurrency: usize,
    /// Says nothing of single events.
    #[arg(long)]
    quiet: bool,
    #[arg(long, default_value = "info")]
    log: LevelFilter,
}

enum Ledger {
    Postgres(Effects),
    File(FileEffects),
}

struct Obedient {
    ledger: Ledger,
    quiet: bool,
}

impl Obedient {
    fn say(&self, what: &str) {
        if !self.quiet {
            println!("{what}");
        }
    }
}

impl Handler for Obedient {
    async fn handle(&self, entry: &Entry) -> Result<(), Failure> {
        self.say(&format!("begin {} attempt {}", entry.id, entry.attempt));
        let told: serde_json::Value = entry.payload().map_err(Failure::reject)?;
        match told["do"].as_str() {
            Some("reject") => return Err(Failure::reject("told to reject it")),
            Some("fail") => return Err(Failure::retry("told to fail")),
            Some("flaky") if entry.attempt == 1 => return Err(Failure::retry("told to fail once")),
            Some("abort") => std::process::abort(),
            Some("sleep") => tokio::time::sleep(Duration::from_millis(told["ms"].as_u64().unwrap_or(0))).await,
            Some("wait") => {
                while !told["until"].as_str().is_some_and(|file| Path::new(file).exists()) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            _ => {}
        }
        let written = match &self.ledger {
            Ledger::Postgres(effects) => effects.write(entry).await,
            Ledger::File(effects) => effects.write(entry).await,
        };
        if let Err(Failure::Retry(reason)) = &written
            && !reason.contains("idle-in-transaction")
        {
            self.say(&format!("blame {} {reason}", entry.id));
        }
        let new = written?;
        self.say(&format!("{} {}", if new { "effect" } else { "repeat" }, entry.id));
        Ok(())
    }

    async fn settled(&self, upto: &Settled) -> Result<(), Failure> {
        match &self.ledger {
            Ledger::Postgres(effects) => effects.settled(upto).await,
            Ledger::File(effects) => effects.settled(upto).await,
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    tracing_subscriber::fmt().with_ansi(false).with_max_level(options.log).init();
    let ledger = match (&options.sqlite, &options.database_url) {
        (Some(file), _) => Ledger::File(FileEffects::at(file)),
        (None, Some(url)) => {
            // A process that is frozen in a transaction would keep others from repeating it.
            let connect = url.parse::<PgConnectOptions>()?.options([("idle_in_transaction_session_timeout", "500")]);
            Ledger::Postgres(Effects { db: PgPoolOptions::new().connect_lazy_with(connect) })
        }
        (None, None) => anyhow::bail!("a ledger is needed: --database-url or --sqlite"),
    };
    let mut builder = Consumer::builder(&options.redis_url)
        .group(&options.group)
        .name(&options.name)
        .claim_after(Duration::from_millis(options.claim_after_ms))
        .drain_max(Duration::from_millis(options.drain_max_ms))
        .settle_interval(Duration::from_millis(500))
        .concurrency(options.concurrency)
        .retry(RetryPolicy {
            attempts_max: options.attempts_max,
            delay_min: Duration::from_millis(1),
            delay_max: Duration::from_millis(20),
        })
        .handler(Obedient { ledger, quiet: options.quiet });
    for stream in &options.stream {
        builder = builder.stream(stream);
    }
    if let Some((stream, count)) = options.partitions.as_deref().and_then(|partitions| partitions.rsplit_once(':')) {
        builder = builder.partitions(stream, count.parse()?);
    }
    let mut term = signal(SignalKind::terminate())?;
    let consumer = builder.build()?;
    println!("called {}", consumer.name());
    consumer.run(async { _ = term.recv().await }).await?;
    Ok(())
}
