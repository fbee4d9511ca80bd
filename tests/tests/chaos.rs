//! Rounds of random faults, and the trial of the checker that judges them. `./dev chaos` runs as many as one likes.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use clap::ValueEnum;
use outbox_tests::chaos::{BASES, Fault, MUTANTS, Mishap, Mutant, Ours, Plan, Rounds, Services, Theatre};
use outbox_tests::{Chance, binary};

/// Rounds of everything; at least so many that each fault strikes. Also with `OUTBOX_TEST_ROUNDS`; `OUTBOX_TEST_SEED` repeats the
/// faults of a run.
async fn play<R: Rounds>(mut stage: R, cycles: u64) {
    let plan = Plan::<R::Fault>::of(&[]);
    let asked = std::env::var("OUTBOX_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let rounds = asked.unwrap_or(plan.cycle() * cycles);
    let first = plan.first(Chance::from_environment().below(u64::from(u32::MAX)));
    let (mut met, mut load) = (BTreeSet::new(), 0);
    for seed in first..first + rounds {
        let report = stage.round(seed, &plan).await;
        println!(
            "seed {seed}: {:?}, {:?}: {} after {:?}",
            report.amounts, report.faults, report.verdict, report.rest
        );
        assert!(report.verdict.is_clean(), "{:#?}\n{:#?}", report.verdict, stage.logs());
        met.extend(report.faults);
        load += report.amounts[0].1;
    }
    let verdict = stage.close().await;
    assert!(verdict.is_clean(), "{verdict:#?}");
    assert!(load > 0, "the load was what it says");
    assert!(asked.is_some() || met == R::Fault::value_variants().iter().copied().collect(), "only {met:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn randomized_rounds_of_every_fault_leave_each_event_accounted_for() {
    play(Theatre::open(Ours).await, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn randomized_rounds_of_the_services_leave_readers_archive_and_search_as_the_site_is() {
    play(Services::open().await, 1).await;
}

async fn is_right(name: &str) {
    let mutant = Mutant::named(name).expect("it is one of them");
    let trial = mutant.trial(Chance::from_environment().below(u64::from(u32::MAX))).await;
    println!("{mutant}, after {} rounds: {}", trial.rounds, trial.verdict);
    assert!(trial.is_right(), "{mutant}: {:#?}", trial.verdict);
}

macro_rules! trials {
    ($($test:ident: $mutant:literal,)*) => {
        const TRIALS: &[&str] = &[$($mutant),*];
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                is_right($mutant).await;
            }
        )*
    };
}

trials! {
    a_relay_that_marks_after_publishing_is_found: "marks-after-publishing",
    a_relay_that_marks_before_publishing_is_found: "marks-before-publishing",
    a_relay_that_follows_the_last_number_is_found: "follows-the-last-number",
    a_relay_that_asks_the_snapshot_is_found: "asks-the-snapshot",
    a_relay_that_commits_inside_the_batch_is_found: "commits-inside-the-batch",
    a_relay_that_counts_outages_is_found: "counts-outages",
    a_relay_that_reads_no_replies_is_found: "reads-no-replies",
    a_relay_that_keeps_streams_short_is_found: "keeps-streams-short",
    a_relay_that_trusts_redis_is_found: "trusts-redis",
    a_consumer_that_acknowledges_first_is_found: "acknowledges-first",
    a_consumer_that_has_no_inbox_is_found: "has-no-inbox",
    a_consumer_that_notes_in_another_transaction_is_found: "notes-in-another-transaction",
    a_consumer_that_reads_only_what_is_new_is_found: "reads-only-what-is-new",
    a_consumer_that_leaves_with_its_entries_is_found: "leaves-with-its-entries",
    a_consumer_that_buries_in_two_commands_is_found: "buries-in-two-commands",
    a_consumer_that_handles_keys_side_by_side_is_found: "handles-keys-side-by-side",
    a_consumer_that_blames_the_event_is_found: "blames-the-event",
    a_consumer_that_pays_for_outages_is_found: "pays-for-outages",
    a_consumer_that_remembers_failures_in_memory_is_found: "remembers-failures-in-memory",
    a_consumer_that_acknowledges_what_failed_is_found: "acknowledges-what-failed",
    in_a_relay_without_these_faults_nothing_is_found: "sound-relay",
    in_a_relay_that_marks_after_publishing_nothing_is_found_while_no_relay_dies: "relay-that-marks-after",
    in_a_consumer_without_these_faults_nothing_is_found: "sound-consumer",
}

#[test]
fn each_mutant_and_each_base_is_put_on_trial() {
    let all: Vec<_> = MUTANTS.iter().chain(&BASES).map(|mutant| mutant.name).collect();
    assert_eq!(all, TRIALS);
}

fn chaos(arguments: &[&str]) -> Output {
    Command::new(binary("chaos")).args(arguments).output().expect("it runs")
}

fn json(file: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(file).expect("written")).expect("JSON")
}

#[test]
fn a_round_can_be_asked_for_by_its_seed_and_by_its_faults() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("results.json");
    let file_name = file.to_str().expect("plain");
    let run = chaos(&["--rounds", "2", "--seed", "4711", "--only", "flush,kill-relay", "--json", file_name]);
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("2 rounds from seed 4711"), "{said}");
    let results = json(&file);
    assert_eq!((&results["rounds"], &results["seed"]), (&2.into(), &4711.into()));
    let struck = serde_json::json!({ "Redis is flushed": 2, "a relay is killed": 2 });
    assert_eq!(results["faults"], struck);
}

#[test]
fn a_round_that_fails_keeps_its_history_and_its_logs_and_says_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let below = folder.path().to_str().expect("plain");
    let run = chaos(&["--cast", "handles-keys-side-by-side", "--rounds", "1", "--seed", "7", "--keep", below]);
    let (said, kept) = (String::from_utf8_lossy(&run.stdout), folder.path().join("seed-7"));
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("kept in {}", kept.display())) && said.contains("out of order:"), "{said}");
    let history = json(&kept.join("history.json"));
    let some = |of: &str, what: &str| history[of][what].as_array().is_some_and(|list| !list.is_empty());
    assert!(some("verdict", "disordered") && some("history", "committed") && some("history", "effects"), "{history}");
    let log = |name: &str| std::fs::read_to_string(kept.join(name)).expect("text");
    assert!(["0-relay.log", "1-relay.log"].iter().all(|name| kept.join(name).is_file()));
    // One of them works, and the other one waits.
    assert!((log("2-table.log") + &log("3-table.log")).contains("begin r1-"));
}

#[test]
fn flags_that_mean_nothing_are_refused_in_a_sentence() {
    for (flags, sentence) in [
        (&["--faults", "weather"][..], "weather"),
        (&["--only", "kill-hasad"], "there is no fault kill-hasad in this cast"),
        (&["--cast", "services", "--only", "kill-consumer"], "there is no fault kill-consumer in this cast"),
        (&["--cast", "nobody"], "a mutant that --mutants names"),
        (&["--rate", "5"], "--soak"),
        (&["--soak", "5s", "--json", "file"], "--json"),
        (&["--mutants", "--keep", "folder"], "--keep"),
    ] {
        let run = chaos(flags);
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.code() == Some(64) && said.contains(sentence), "{flags:?}: {said}");
    }
    let (faults, mishaps) = (Fault::value_variants().len(), Mishap::value_variants().len());
    assert_eq!((faults, mishaps), (18, 29), "as the docs say");
}
