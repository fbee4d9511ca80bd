//! `./dev chaos`: rounds of random faults under load, and what became of each event.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use outbox_tests::chaos::{
    Cast, Family, Fault, MUTANTS, Moment, Ours, Plan, Report, Services, Theatre, Verdict, soak,
};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// Kills, freezes, cuts, fills, flushes and restarts everything at random, under load, and checks what became of each
/// event.
#[derive(Debug, Parser)]
#[command(
    name = "./dev chaos",
    max_term_width = 100,
    after_help = "Examples:
  ./dev chaos                                      40 rounds of everything, some two minutes
  ./dev chaos --rounds 1000 --faults kills         processes die, freeze and stop, for most of an hour
  ./dev chaos --seed 4711 --rounds 1               the faults of one round again
  ./dev chaos --cast services --rounds 100         scraper, archive and reader's side, and their stores
  ./dev chaos --soak 30m --rate 2000               does anything grow under a steady load with kills?
  ./dev chaos --mutants                            whether the checker finds what it must find

A round is some 300 events of twelve keys to two groups, with one to three faults. What fails keeps its history and the
logs of all processes in a folder, and says which.
Exit codes: 0 all rounds are clean (or every mutant was found), 1 not so, 64 wrong flags."
)]
struct Options {
    /// How many rounds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,

    /// The seed of the first round; the next ones follow it (none: from the clock)
    #[arg(long, value_name = "S")]
    seed: Option<u64>,

    /// How long: 40 rounds, or 1,000
    #[arg(long, value_enum, default_value_t = Profile::Quick)]
    profile: Profile,

    /// No rounds, but a steady load for so long (such as 30m), with kills: does anything grow?
    #[arg(long, value_name = "DURATION", value_parser = terminal::duration,
          conflicts_with_all = ["rounds", "profile", "cast", "faults", "only", "keep", "json", "mutants"])]
    soak: Option<Duration>,

    /// Events a second of a soak
    #[arg(long, default_value = "2000", value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,

    /// Who is put on trial
    #[arg(long, value_enum, default_value_t = Players::Outbox)]
    cast: Players,

    /// Only these kinds of faults
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND,...")]
    faults: Vec<Family>,

    /// Only these faults, by their names, such as flush or kill-relay
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FAULT,...", hide_possible_values = true)]
    only: Vec<Fault>,

    /// Put known faulty programs on trial instead: each must be found
    #[arg(long, conflicts_with_all = ["rounds", "profile", "cast", "faults", "only", "keep", "json"])]
    mutants: bool,

    /// Where the history of a round that failed is kept
    #[arg(long, value_name = "FOLDER", default_value = "target/chaos")]
    keep: PathBuf,

    /// Write the results to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Players {
    /// Relays and consumers
    Outbox,
    /// Scraper, archive and reader's side, with a relay between them; faults are their own
    Services,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    Quick,
    Nightly,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::try_parse().unwrap_or_else(|error| {
        let _ = error.print();
        std::process::exit(if error.use_stderr() { 64 } else { 0 })
    });
    let from_clock = || std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_secs() % 1_000_000 * 1_000);
    let seed = options.seed.unwrap_or_else(from_clock);
    let run = async {
        match options.cast {
            _ if options.soak.is_some() => Ok(soaked(options.soak.unwrap_or_default(), options.rate, seed).await),
            _ if options.mutants => mutants(seed).await,
            Players::Outbox => ours(&options, seed).await,
            Players::Services => services(&options, seed).await,
        }
    };
    // Dropped, so that every server and process of ours ends with it.
    let mut term = signal(SignalKind::terminate())?;
    let good = tokio::select! {
        good = run => good?,
        _ = tokio::signal::ctrl_c() => return Ok(ExitCode::from(130)),
        _ = term.recv() => return Ok(ExitCode::from(143)),
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What came together over all rounds.
#[derive(Default)]
struct Tally {
    rounds: u64,
    failed: Vec<u64>,
    events: usize,
    effects: usize,
    letters: usize,
    rests: Vec<Duration>,
    /// Of each fault: in how many rounds, and the longest rest after it.
    faults: BTreeMap<Fault, (u64, Duration)>,
    verdict: Verdict,
}

impl Tally {
    fn add(&mut self, seed: u64, report: &Report) {
        self.rounds += 1;
        self.events += report.events;
        self.effects += report.history.effects.len();
        self.letters += report.history.buried.len();
        self.rests.push(report.rest);
        for fault in &report.faults {
            let (times, longest) = self.faults.entry(*fault).or_default();
            *times += 1;
            *longest = (*longest).max(report.rest);
        }
        if !report.verdict.is_clean() {
            self.failed.push(seed);
        }
        self.verdict.add(report.verdict.clone());
    }

    /// The rest that so many percent of the rounds did not exceed.
    fn rest(&self, percent: usize) -> Duration {
        let mut rests = self.rests.clone();
        rests.sort();
        rests.get((rests.len() * percent / 100).min(rests.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    fn print(&self, seed: u64, took: Duration) {
        println!("\n{:<34} {:>7} {:>14}", "fault", "rounds", "longest rest");
        for (fault, (times, longest)) in &self.faults {
            println!("{:<34} {times:>7} {:>12.2} s", fault.words(), longest.as_secs_f64());
        }
        println!("\n{:<34} {:>7}", "finding", "events");
        for (word, found) in self.verdict.findings() {
            println!("{word:<34} {:>7}", found.len());
        }
        println!(
            "\n{} rounds from seed {seed} in {:.0} s: {} events, {} effects, {} dead letters; {} rounds failed",
            self.rounds,
            took.as_secs_f64(),
            self.events,
            self.effects,
            self.letters,
            self.failed.len(),
        );
        println!(
            "from the last mend until everything was as it should be: p50 {:.2} s, p99 {:.2} s, longest {:.2} s",
            self.rest(50).as_secs_f64(),
            self.rest(99).as_secs_f64(),
            self.rest(100).as_secs_f64(),
        );
        if !self.failed.is_empty() {
            println!("seeds of failed rounds: {:?}", self.failed);
        }
    }

    fn json(&self, seed: u64, took: Duration) -> serde_json::Value {
        let faults: BTreeMap<&str, u64> =
            self.faults.iter().map(|(fault, (times, _))| (fault.words(), *times)).collect();
        let findings: BTreeMap<&str, usize> =
            self.verdict.findings().into_iter().map(|(word, found)| (word, found.len())).collect();
        json!({ "seed": seed, "rounds": self.rounds, "failed": self.failed, "events": self.events,
                "effects": self.effects, "dead_letters": self.letters, "faults": faults, "findings": findings,
                "rest_p50_s": self.rest(50).as_secs_f64(), "rest_p99_s": self.rest(99).as_secs_f64(),
                "rest_max_s": self.rest(100).as_secs_f64(), "took_s": took.as_secs_f64() })
    }
}

async fn ours(options: &Options, seed: u64) -> Result<bool> {
    let rounds = options.rounds.unwrap_or(if options.profile == Profile::Quick { 40 } else { 1_000 });
    let faults = match (options.faults.is_empty(), options.only.is_empty()) {
        (true, true) => Fault::ALL.to_vec(),
        _ => [Fault::of(&options.faults), options.only.clone()].concat(),
    };
    let plan = Plan { faults, patience: Duration::from_secs(30) };
    println!("{rounds} rounds from seed {seed}");
    let (began, mut tally, mut theatre) = (Instant::now(), Tally::default(), Theatre::open(Ours).await);
    let on_terminal = std::io::stdout().is_terminal();
    for nth in 0..rounds {
        let seed = seed + nth;
        let report = theatre.round(seed, &plan).await;
        tally.add(seed, &report);
        let line = line(seed, &report);
        if report.verdict.is_clean() {
            // On a terminal the last line is enough; a log keeps one in ten.
            if on_terminal {
                print!("\r\x1b[2K{}/{rounds}  {line}", nth + 1);
                let _ = std::io::Write::flush(&mut std::io::stdout());
            } else if nth % 10 == 9 || nth + 1 == rounds {
                println!("{}/{rounds}  {line}", nth + 1);
            }
        } else {
            let folder = keep(&options.keep, seed, &report, &theatre)?;
            println!("{}{line}\n  kept in {}", if on_terminal { "\r\x1b[2K" } else { "" }, folder.display());
            for (word, found) in report.verdict.findings() {
                for sentence in found.iter().take(5) {
                    println!("  {word}: {sentence}");
                }
            }
        }
    }
    tally.verdict.add(theatre.close().await);
    tally.print(seed, began.elapsed());
    if let Some(file) = &options.json {
        std::fs::write(file, format!("{:#}\n", tally.json(seed, began.elapsed())))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(tally.verdict.is_clean())
}

/// A steady load, and whether anything grows.
async fn soaked(length: Duration, rate: u64, seed: u64) -> bool {
    println!("{rate} events a second for {length:?}, from seed {seed}\n{}", Moment::head());
    let soaked = soak(length, rate, seed, |moment| println!("{moment}")).await;
    println!("{} events, {} kills", soaked.written, soaked.kills);
    for wrong in &soaked.wrong {
        println!("wrong: {wrong}");
    }
    match soaked.grew.as_slice() {
        [] => println!("flat, by the rule of thirds"),
        grew => println!("not flat, by the rule of thirds: {}", grew.join("; ")),
    }
    soaked.wrong.is_empty() && soaked.grew.is_empty()
}

/// Rounds of the services, each with what happened to whom.
async fn services(options: &Options, seed: u64) -> Result<bool> {
    let rounds = options.rounds.unwrap_or(if options.profile == Profile::Quick { 20 } else { 500 });
    println!("{rounds} rounds of the services from seed {seed}");
    let (began, mut services, mut failed, mut changes) = (Instant::now(), Services::open().await, vec![], 0);
    let mut rests = vec![];
    for nth in 0..rounds {
        let seed = seed + nth;
        let report = services.round(seed, Duration::from_secs(30)).await;
        let mishaps: Vec<_> = report.mishaps.iter().map(|mishap| mishap.words()).collect();
        let rest = report.rest.as_secs_f64();
        println!("{}/{rounds}  seed {seed}: {}; all is right after {rest:.2} s", nth + 1, mishaps.join(", "));
        changes += report.changes;
        rests.push(rest);
        if !report.findings.is_empty() {
            failed.push(seed);
            let folder = options.keep.join(format!("seed-{seed}"));
            std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            for (name, log) in services.logs() {
                std::fs::write(folder.join(format!("{name}.log")), log)?;
            }
            println!("  not so; kept in {}", folder.display());
            report.findings.iter().take(10).for_each(|finding| println!("  {finding}"));
        }
    }
    let left = services.close().await;
    left.iter().for_each(|finding| println!("at the end: {finding}"));
    rests.sort_by(f64::total_cmp);
    println!(
        "{rounds} rounds from seed {seed} in {:.0} s: {changes} changes of the site; {} rounds failed; from the last mend until all was right: p50 {:.2} s, longest {:.2} s",
        began.elapsed().as_secs_f64(),
        failed.len(),
        rests.get(rests.len() / 2).copied().unwrap_or_default(),
        rests.last().copied().unwrap_or_default(),
    );
    if !failed.is_empty() {
        println!("seeds of failed rounds: {failed:?}");
    }
    Ok(failed.is_empty() && left.is_empty())
}

fn line(seed: u64, report: &Report) -> String {
    let faults: Vec<_> = report.faults.iter().map(|fault| fault.words()).collect();
    format!(
        "seed {seed}: {} events, {}; {} after {:.2} s",
        report.events,
        faults.join(", "),
        report.verdict,
        report.rest.as_secs_f64()
    )
}

/// The history as JSON, and what each process said.
fn keep<C: Cast>(below: &Path, seed: u64, report: &Report, theatre: &Theatre<C>) -> Result<PathBuf> {
    let folder = below.join(format!("seed-{seed}"));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let told = json!({ "verdict": report.verdict, "history": report.history });
    std::fs::write(folder.join("history.json"), format!("{told:#}\n"))?;
    for (name, log) in theatre.logs() {
        std::fs::write(folder.join(format!("{name}.log")), log)?;
    }
    Ok(folder)
}

async fn mutants(seed: u64) -> Result<bool> {
    let mut overlooked = 0;
    for mutant in MUTANTS {
        let trial = mutant.trial(seed).await;
        let verdict = if trial.is_found() { "found" } else { "OVERLOOKED" };
        overlooked += u32::from(!trial.is_found());
        println!("{verdict:<11} {mutant}, after {} rounds: {}", trial.rounds, trial.verdict);
    }
    Ok(overlooked == 0)
}
