//! `./dev chaos`: rounds of random faults under load, and what became of each event.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use outbox_tests::Samples;
use outbox_tests::chaos::{
    BASES, Family, Growth, MUTANTS, Moment, Mutant, Ours, Plan, Report, Rounds, Services, Theatre, Verdict, Wrong,
    soak,
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
  ./dev chaos --only flush,kill-relay              these faults and no others
  ./dev chaos --cast services --rounds 100         scraper, archive and reader's side, and their stores
  ./dev chaos --soak 30m --rate 2000               does anything grow under a steady load with kills?
  ./dev chaos --mutants                            whether the checker finds what it must find
  ./dev chaos --fuzz 30m                           damaged samples for every reader of what others wrote

A round is some 300 events of twelve keys to two groups, with three faults; of the services it is a handful of changes of a
site, with five. What fails keeps its history and the logs of all processes in a folder, and says which.
Exit codes: 0 all rounds are clean (or every mutant was found), 1 not so, 64 wrong flags."
)]
struct Options {
    /// How many rounds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,

    /// The seed of the first round; the next ones follow it (none: from the clock, and a cycle of all faults begins)
    #[arg(long, value_name = "S")]
    seed: Option<u64>,

    /// How long: 40 rounds (20 of the services), or 1,000 (500)
    #[arg(long, value_enum, default_value_t = Profile::Quick)]
    profile: Profile,

    /// No rounds, but a steady load for so long (such as 30m), with kills: does anything grow?
    #[arg(long, value_name = "DURATION", value_parser = terminal::duration,
          conflicts_with_all = ["rounds", "profile", "cast", "faults", "only", "keep", "json", "mutants"])]
    soak: Option<Duration>,

    /// Events a second of a soak (none: 2000)
    #[arg(long, value_name = "EVENTS", requires = "soak", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,

    /// Who is put on trial: outbox (relays and consumers), services (scraper, archive and reader's side), or one of the mutants
    #[arg(long, value_name = "CAST", default_value = "outbox", value_parser = players)]
    cast: Players,

    /// Only these kinds of faults
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND,...")]
    faults: Vec<Family>,

    /// Only these faults, by their names, such as flush or kill-relay; of the services kill-hasad or busy-store
    #[arg(long, value_delimiter = ',', value_name = "FAULT,...")]
    only: Vec<String>,

    /// Put known faulty programs on trial instead: each must be found, and nothing in what they would be without their faults
    #[arg(long, conflicts_with_all = ["rounds", "profile", "cast", "faults", "only", "keep", "json"])]
    mutants: bool,

    /// Where the history of a round that failed is kept
    #[arg(long, value_name = "FOLDER", default_value = "target/chaos")]
    keep: PathBuf,

    /// Write the results to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy)]
enum Players {
    Outbox,
    Services,
    Mutant(Mutant),
}

fn players(name: &str) -> Result<Players, String> {
    match name {
        "outbox" => Ok(Players::Outbox),
        "services" => Ok(Players::Services),
        name => Mutant::named(name)
            .map(Players::Mutant)
            .ok_or_else(|| "it is outbox, services, or a mutant that --mutants names".to_owned()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    Quick,
    Nightly,
}

impl Options {
    fn rounds(&self, quick: u64, nightly: u64) -> u64 {
        self.rounds.unwrap_or(if self.profile == Profile::Quick { quick } else { nightly })
    }

    /// What is to strike.
    fn plan<W: Wrong>(&self, unless_said: &[W]) -> Plan<W> {
        let mut among = W::of(&self.faults);
        for name in &self.only {
            among.push(W::from_str(name, false).unwrap_or_else(|_| {
                let all: Vec<_> = W::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
                let all: Vec<_> = all.iter().map(clap::builder::PossibleValue::get_name).collect();
                refuse(&format!("--only: there is no fault {name} in this cast, but {}", all.join(", ")))
            }));
        }
        Plan::of(if among.is_empty() { unless_said } else { &among })
    }
}

fn refuse(sentence: &str) -> ! {
    let _ = Options::command().error(ErrorKind::InvalidValue, sentence).print();
    std::process::exit(64)
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::try_parse().unwrap_or_else(|error| {
        let _ = error.print();
        std::process::exit(if error.use_stderr() { 64 } else { 0 })
    });
    let run = async {
        match options.cast {
            _ if options.soak.is_some() => Ok(soaked(&options).await),
            _ if options.mutants => Ok(mutants(options.seed.unwrap_or_else(clock)).await),
            Players::Outbox => {
                let (plan, rounds) = (options.plan(&[]), options.rounds(40, 1_000));
                play(&options, rounds, &plan, Theatre::open(Ours)).await
            }
            Players::Mutant(mutant) => {
                let (plan, rounds) = (options.plan(mutant.faults), options.rounds(40, 1_000));
                play(&options, rounds, &plan, Theatre::open(mutant)).await
            }
            Players::Services => {
                let (plan, rounds) = (options.plan(&[]), options.rounds(20, 500));
                play(&options, rounds, &plan, Services::open()).await
            }
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

fn clock() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_secs() % 1_000_000 * 1_000)
}

/// Rounds one after another, and what came of them.
async fn play<R: Rounds>(
    options: &Options,
    rounds: u64,
    plan: &Plan<R::Fault>,
    open: impl Future<Output = R>,
) -> Result<bool> {
    let first = options.seed.unwrap_or_else(|| plan.first(clock()));
    println!("{rounds} rounds from seed {first}");
    let (began, mut tally, mut stage) = (Instant::now(), Tally::default(), open.await);
    let on_terminal = std::io::stdout().is_terminal();
    for nth in 0..rounds {
        let seed = first + nth;
        let report = stage.round(seed, plan).await;
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
            let folder = keep(&options.keep, seed, &report, stage.logs())?;
            println!("{}{line}\n  kept in {}", if on_terminal { "\r\x1b[2K" } else { "" }, folder.display());
            tell(&report.verdict);
        }
    }
    let over_all = stage.close().await;
    if !over_all.is_clean() {
        println!("at the end: {over_all}");
        tell(&over_all);
    }
    tally.verdict.add(over_all);
    tally.print(first, began.elapsed());
    if let Some(file) = &options.json {
        std::fs::write(file, format!("{:#}\n", tally.json(first, began.elapsed())))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(tally.verdict.is_clean())
}

fn line<W: Wrong>(seed: u64, report: &Report<W>) -> String {
    let faults: Vec<_> = report.faults.iter().map(|fault| fault.words()).collect();
    let (what, amount) = report.amounts.first().copied().unwrap_or_default();
    let rest = report.rest.as_secs_f64();
    format!("seed {seed}: {amount} {what}, {}; {} after {rest:.2} s", faults.join(", "), report.verdict)
}

fn tell(verdict: &Verdict) {
    for (word, found) in verdict.findings() {
        found.iter().take(5).for_each(|sentence| println!("  {word}: {sentence}"));
    }
}

/// The history as JSON, and what each process said.
fn keep<W>(below: &Path, seed: u64, report: &Report<W>, logs: Vec<(String, String)>) -> Result<PathBuf> {
    let folder = below.join(format!("seed-{seed}"));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let seen = report.seen.clone().unwrap_or_else(|| json!({ "verdict": report.verdict }));
    std::fs::write(folder.join("history.json"), format!("{seen:#}\n"))?;
    for (name, log) in logs {
        std::fs::write(folder.join(format!("{name}.log")), log)?;
    }
    Ok(folder)
}

/// What came together over all rounds.
#[derive(Default)]
struct Tally {
    rounds: u64,
    failed: Vec<u64>,
    amounts: Vec<(&'static str, usize)>,
    /// In seconds.
    rests: Samples,
    /// Of each fault: in how many rounds, and the longest rest after it.
    faults: BTreeMap<&'static str, (u64, f64)>,
    verdict: Verdict,
}

impl Tally {
    fn add<W: Wrong>(&mut self, seed: u64, report: &Report<W>) {
        self.rounds += 1;
        for (what, amount) in &report.amounts {
            match self.amounts.iter_mut().find(|(name, _)| name == what) {
                Some((_, sum)) => *sum += amount,
                None => self.amounts.push((what, *amount)),
            }
        }
        let rest = report.rest.as_secs_f64();
        self.rests.push(rest);
        for fault in &report.faults {
            let (times, longest) = self.faults.entry(fault.words()).or_default();
            *times += 1;
            *longest = longest.max(rest);
        }
        if !report.verdict.is_clean() {
            self.failed.push(seed);
        }
        self.verdict.add(report.verdict.clone());
    }

    fn print(&self, seed: u64, took: Duration) {
        println!("\n{:<54} {:>7} {:>14}", "fault", "rounds", "longest rest");
        for (fault, (times, longest)) in &self.faults {
            println!("{fault:<54} {times:>7} {longest:>12.2} s");
        }
        println!("\n{:<54} {:>7}", "finding", "number");
        for (word, found) in self.verdict.findings() {
            println!("{word:<54} {:>7}", found.len());
        }
        let amounts: Vec<_> = self.amounts.iter().map(|(what, amount)| format!("{amount} {what}")).collect();
        println!(
            "\n{} rounds from seed {seed} in {:.0} s: {}; {} rounds failed",
            self.rounds,
            took.as_secs_f64(),
            amounts.join(", "),
            self.failed.len(),
        );
        println!(
            "from the last mend until everything was as it should be: p50 {:.2} s, p99 {:.2} s, longest {:.2} s",
            self.rests.percentile(0.5),
            self.rests.percentile(0.99),
            self.rests.max(),
        );
        if !self.failed.is_empty() {
            println!("seeds of failed rounds: {:?}", self.failed);
        }
    }

    fn json(&self, seed: u64, took: Duration) -> serde_json::Value {
        let faults: BTreeMap<&str, u64> = self.faults.iter().map(|(fault, (times, _))| (*fault, *times)).collect();
        let findings: BTreeMap<&str, usize> =
            self.verdict.findings().into_iter().map(|(word, found)| (word, found.len())).collect();
        let amounts: BTreeMap<_, _> = self.amounts.iter().copied().collect();
        json!({ "seed": seed, "rounds": self.rounds, "failed": self.failed, "amounts": amounts, "faults": faults,
                "findings": findings, "rest_p50_s": self.rests.percentile(0.5),
                "rest_p99_s": self.rests.percentile(0.99), "rest_max_s": self.rests.max(),
                "took_s": took.as_secs_f64() })
    }
}

/// A steady load, and whether anything grows.
async fn soaked(options: &Options) -> bool {
    let (length, rate) = (options.soak.unwrap_or_default(), options.rate.unwrap_or(2_000));
    let seed = options.seed.unwrap_or_else(clock);
    println!("{rate} events a second for {length:?}, from seed {seed}\n{}", Moment::head());
    let soaked = soak(length, rate, seed, |moment| println!("{moment}")).await;
    println!("{} events, {} kills", soaked.written, soaked.kills);
    for wrong in &soaked.wrong {
        println!("wrong: {wrong}");
    }
    println!("{}", soaked.growth);
    soaked.wrong.is_empty() && soaked.growth == Growth::Flat
}

async fn mutants(seed: u64) -> bool {
    let mut wrong = 0;
    for mutant in MUTANTS.into_iter().chain(BASES) {
        let trial = mutant.trial(seed).await;
        let verdict = if trial.is_right() { "found" } else { "NOT SO" };
        wrong += u32::from(!trial.is_right());
        println!("{verdict:<8} {mutant}, after {} rounds: {}", trial.rounds, trial.verdict);
    }
    wrong == 0
}
