//! Rounds of random faults, and the trial of the checker that judges them. `./dev chaos` runs as many as one likes.

use std::time::Duration;

use outbox_tests::chaos::{Fault, MUTANTS, Mutant, Ours, Plan, Services, Theatre};
use outbox_tests::{Chance, binary};

/// Also with `OUTBOX_TEST_ROUNDS`; `OUTBOX_TEST_SEED` repeats the faults of a run.
const ROUNDS: u64 = 15;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn randomized_rounds_of_every_fault_leave_each_event_accounted_for() {
    let mut chance = Chance::from_environment();
    let rounds = std::env::var("OUTBOX_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let plan = Plan { faults: Fault::ALL.to_vec(), patience: Duration::from_secs(30) };
    let mut theatre = Theatre::open(Ours).await;
    let mut events = 0;
    for _ in 0..rounds {
        let seed = chance.below(u64::from(u32::MAX));
        let report = theatre.round(seed, &plan).await;
        let faults: Vec<_> = report.faults.iter().map(|fault| fault.words()).collect();
        println!("seed {seed}: {} events, {}: {}", report.events, faults.join(", "), report.verdict);
        assert!(report.verdict.is_clean(), "{:#?}\n{:#?}", report.verdict, theatre.logs());
        events += report.events;
    }
    let verdict = theatre.close().await;
    assert!(verdict.is_clean(), "{verdict:#?}");
    assert!(events > 0, "the load was what it says");
}

/// Also with `OUTBOX_TEST_ROUNDS`.
const SERVICE_ROUNDS: u64 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn randomized_rounds_of_the_services_leave_readers_archive_and_search_as_the_site_is() {
    let mut chance = Chance::from_environment();
    let rounds =
        std::env::var("OUTBOX_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(SERVICE_ROUNDS);
    let mut services = Services::open().await;
    for _ in 0..rounds {
        let seed = chance.below(u64::from(u32::MAX));
        let report = services.round(seed, Duration::from_secs(30)).await;
        let mishaps: Vec<_> = report.mishaps.iter().map(|mishap| mishap.words()).collect();
        println!("seed {seed}: {} changes, {}: {:?} to rest", report.changes, mishaps.join(", "), report.rest);
        assert!(report.findings.is_empty(), "{:#?}\n{:#?}", report.findings, services.logs());
    }
    let findings = services.close().await;
    assert!(findings.is_empty(), "{findings:#?}");
}

async fn is_found(name: &str) {
    let mutant = Mutant::named(name).expect("it is one of them");
    let trial = mutant.trial(Chance::from_environment().below(u64::from(u32::MAX))).await;
    println!("{mutant}, after {} rounds: {}", trial.rounds, trial.verdict);
    assert!(trial.is_found(), "{mutant} was overlooked: {:#?}", trial.verdict);
}

macro_rules! trials {
    ($($test:ident: $mutant:literal,)*) => {
        const TRIALS: &[&str] = &[$($mutant),*];
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                is_found($mutant).await;
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
    a_relay_that_sends_again_blindly_is_found: "sends-again-blindly",
    a_consumer_that_acknowledges_first_is_found: "acknowledges-first",
    a_consumer_that_has_no_inbox_is_found: "has-no-inbox",
    a_consumer_that_notes_in_another_transaction_is_found: "notes-in-another-transaction",
    a_consumer_that_reads_only_what_is_new_is_found: "reads-only-what-is-new",
    a_consumer_that_leaves_with_its_entries_is_found: "leaves-with-its-entries",
    a_consumer_that_buries_in_two_commands_is_found: "buries-in-two-commands",
    a_consumer_that_handles_keys_side_by_side_is_found: "handles-keys-side-by-side",
    a_consumer_that_blames_the_event_is_found: "blames-the-event",
    a_consumer_that_remembers_failures_in_memory_is_found: "remembers-failures-in-memory",
    a_consumer_that_acknowledges_what_failed_is_found: "acknowledges-what-failed",
}

#[test]
fn each_mutant_is_put_on_trial() {
    assert_eq!(MUTANTS.map(|mutant| mutant.name), TRIALS);
}

#[test]
fn a_round_can_be_asked_for_by_its_seed_and_wrong_flags_are_told() {
    let chaos =
        |arguments: &[&str]| std::process::Command::new(binary("chaos")).args(arguments).output().expect("runs");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("results.json");
    let run =
        chaos(&["--rounds", "2", "--seed", "4711", "--faults", "wires", "--json", file.to_str().expect("plain")]);
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("2 rounds from seed 4711"), "{said}");
    let results: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).expect("written")).expect("JSON");
    assert_eq!((&results["rounds"], &results["seed"]), (&2.into(), &4711.into()));
    assert_eq!(chaos(&["--faults", "weather"]).status.code(), Some(64));
}
