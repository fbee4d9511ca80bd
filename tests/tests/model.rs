//! The model of how events come to Redis (tests/model), looked at wholly in small scope; and faults planted in it, which have to be
//! found. `OUTBOX_MODEL_DEEP=1` looks at the larger scopes, too.

use std::time::{Duration, Instant};

use outbox_model::{Explored, Planted, Promise, Scenario, Set, Trouble, World, check, members, observe, overtaken};
use relay::{Frontier, Mark};

const ONE_RELAY: Scenario = Scenario {
    writers: 2,
    relays: 1,
    second_only_sends: false,
    fine: false,
    rollbacks: false,
    overtakings: 0,
    crashes: 0,
    cuts: 0,
    flushes: 0,
    setbacks: 0,
    group: false,
    planted: None,
};
const TWO_RELAYS: Scenario = Scenario { relays: 2, ..ONE_RELAY };

fn holds(scenario: Scenario) {
    match check(&scenario) {
        Ok(explored) => {
            println!("{explored:?}");
            assert!(explored.settled > 0 && explored.states > 1_000, "there was hardly anything to look at");
        }
        Err(trouble) => panic!("{}", told(&trouble)),
    }
}

/// Larger scopes take minutes, so they are looked at when asked for.
fn holds_deep(scenario: Scenario) {
    if std::env::var_os("OUTBOX_MODEL_DEEP").is_some() {
        holds(scenario);
    }
}

fn told(trouble: &Trouble) -> String {
    let story: Vec<String> = trouble.story.iter().map(|step| format!("  {step:?}")).collect();
    format!("{:?} does not hold:\n{}\n{:#?}", trouble.promise, story.join("\n"), trouble.world)
}

#[test]
fn one_relay_that_dies_loses_nothing_and_doubles_nothing() {
    holds(Scenario { fine: true, rollbacks: true, overtakings: 1, ..ONE_RELAY });
    holds(Scenario { overtakings: 1, crashes: 1, cuts: 1, ..ONE_RELAY });
    holds(Scenario { writers: 3, overtakings: 1, ..ONE_RELAY });
    holds_deep(Scenario { fine: true, rollbacks: true, overtakings: 1, crashes: 1, ..ONE_RELAY });
}

#[test]
fn two_relays_without_a_lock_lose_nothing_and_double_nothing() {
    holds(Scenario { fine: true, ..TWO_RELAYS });
    holds(Scenario { cuts: 1, ..TWO_RELAYS });
    holds_deep(Scenario { crashes: 1, ..TWO_RELAYS });
}

#[test]
fn two_relays_beside_a_slow_writer_lose_nothing_and_double_nothing() {
    holds(Scenario { writers: 1, overtakings: 1, ..TWO_RELAYS });
    holds(Scenario { writers: 1, overtakings: 1, crashes: 1, ..TWO_RELAYS });
    holds_deep(Scenario { second_only_sends: true, overtakings: 1, ..TWO_RELAYS });
}

#[test]
fn a_redis_that_loses_everything_is_sent_it_again() {
    holds(Scenario { overtakings: 1, crashes: 1, flushes: 1, ..ONE_RELAY });
    holds(Scenario { second_only_sends: true, flushes: 1, ..TWO_RELAYS });
    holds(Scenario { crashes: 1, cuts: 1, flushes: 1, setbacks: 1, ..ONE_RELAY });
}

#[test]
fn a_group_behind_its_inbox_takes_one_effect_whatever_redis_loses() {
    holds(Scenario { group: true, overtakings: 1, flushes: 1, ..ONE_RELAY });
    holds(Scenario { group: true, overtakings: 1, setbacks: 1, ..ONE_RELAY });
    holds(Scenario { group: true, crashes: 1, flushes: 1, ..ONE_RELAY });
    holds_deep(Scenario { group: true, writers: 1, second_only_sends: true, crashes: 1, flushes: 1, ..TWO_RELAYS });
}

/// Three things at once, of which docs/reliability.md says that they are not promised. If this fails since nothing is found any
/// more, the page has a bound too many.
#[test]
fn what_is_not_promised_is_what_the_page_says() {
    let scenario = Scenario { writers: 1, second_only_sends: true, overtakings: 1, flushes: 1, ..TWO_RELAYS };
    assert_eq!(found(scenario).promise, Promise::EndsWithAllSent);
    assert_eq!(found(Scenario { group: true, ..scenario }).promise, Promise::OneEffect);
    // None of the three can be left out.
    holds(Scenario { overtakings: 0, ..scenario });
    holds(Scenario { flushes: 0, ..scenario });
    holds(Scenario { relays: 1, second_only_sends: false, writers: 2, ..scenario });
}

fn found(scenario: Scenario) -> Box<Trouble> {
    check(&scenario).expect_err("it has to be found")
}

fn found_planted(planted: Planted, scenario: Scenario) -> Promise {
    let trouble = found(Scenario { planted: Some(planted), ..scenario });
    println!("{:?} after {} steps", trouble.promise, trouble.story.len());
    // The story begins at the beginning, and without the fault nothing is wrong in the same bounds.
    assert!(!trouble.story.is_empty());
    let Explored { states, .. } = check(&scenario).unwrap_or_else(|trouble| panic!("{}", told(&trouble)));
    assert!(states > 0);
    trouble.promise
}

const ONE_EVENT: Scenario = Scenario { writers: 1, overtakings: 1, ..TWO_RELAYS };

/// The second event is lost before it is written: the lane has gone past its number.
#[test]
fn a_newest_number_that_shows_too_much_is_found() {
    assert_eq!(found_planted(Planted::NewestShowsTooMuch, ONE_RELAY), Promise::EndsWithAllSent);
}

#[test]
fn a_frontier_that_ignores_open_transactions_is_found() {
    assert_eq!(found_planted(Planted::IgnoresOpenTransactions, ONE_RELAY), Promise::NeverLost);
}

#[test]
fn a_number_that_is_read_after_the_writers_is_found() {
    let promise = found_planted(Planted::NumberAfterWriters, ONE_RELAY);
    assert!([Promise::NeverLost, Promise::EndsWithAllSent].contains(&promise), "{promise:?}");
}

#[test]
fn a_number_that_is_taken_before_the_lock_is_found() {
    assert_eq!(found_planted(Planted::NumberBeforeLock, ONE_RELAY), Promise::NeverLost);
}

#[test]
fn a_frontier_that_overtakes_before_it_stores_is_found() {
    let scenario = Scenario { overtakings: 1, ..ONE_RELAY };
    assert_eq!(found_planted(Planted::OvertakesBeforeStoring, scenario), Promise::NeverLost);
}

#[test]
fn overtaken_numbers_that_are_forgotten_too_early_are_found() {
    let scenario = Scenario { overtakings: 1, ..ONE_RELAY };
    assert_eq!(found_planted(Planted::DecidesTooEarly, scenario), Promise::NeverLost);
}

#[test]
fn a_release_that_does_not_ask_redis_is_found() {
    assert_eq!(found_planted(Planted::ReleasesWithoutAsking, ONE_EVENT), Promise::NeverDoubled);
}

#[test]
fn a_release_without_a_fence_is_found() {
    assert_eq!(found_planted(Planted::ReleasesWithoutFence, ONE_EVENT), Promise::NeverDoubled);
}

#[test]
fn an_append_without_compare_is_found() {
    let scenario = Scenario { crashes: 1, flushes: 1, ..ONE_RELAY };
    assert_eq!(found_planted(Planted::AppendsWithoutCompare, scenario), Promise::NeverLost);
}

#[test]
fn a_rebuild_at_the_wrong_position_is_found() {
    let scenario = Scenario { group: true, flushes: 1, ..ONE_RELAY };
    assert_eq!(found_planted(Planted::RebuildsAtTheTop, scenario), Promise::NeverLost);
}

/// It is read when nobody who could have committed it is left.
#[test]
fn a_read_of_what_is_not_committed_is_found() {
    let scenario = Scenario { rollbacks: true, ..ONE_RELAY };
    assert_eq!(found_planted(Planted::ReadsWhatIsNotCommitted, scenario), Promise::OnlyCommitted);
}

/// What had committed in time is sent behind what was written after it.
#[test]
fn an_overtaking_that_takes_along_what_has_committed_is_found() {
    let scenario = Scenario { writers: 3, overtakings: 1, ..ONE_RELAY };
    assert_eq!(found_planted(Planted::OvertakesWhatIsThere, scenario), Promise::OrderKept);
}

#[test]
fn an_inbox_that_is_lost_with_redis_is_found() {
    let scenario = Scenario { group: true, flushes: 1, ..ONE_RELAY };
    assert_eq!(found_planted(Planted::RemembersInRedis, scenario), Promise::OneEffect);
}

/// The model's frontier is written anew, in bits. Whatever it is shown, the relay's own says the same.
#[test]
fn the_models_frontier_is_the_relays() {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    let names = |writers: Set| members(writers).map(|writer| writer.to_string()).collect();
    let mark = (0..3_u8, any::<Set>());
    let overtakes = prop::option::weighted(0.2, 0..3_usize);
    let steps = prop::collection::vec((mark, overtakes), 1..12);
    TestRunner::new(Config { failure_persistence: None, ..Config::default() })
        .run(&steps, |steps| {
            let (mut model, mut real) = (World::new(&ONE_RELAY).relays[0], Frontier::at_least(0));
            let (mut last, start) = (0, Instant::now());
            for (nth, ((more, writers), overtakes)) in steps.into_iter().enumerate() {
                last = (last + more).min(7);
                let now = start + Duration::from_secs(nth as u64);
                if model.waits.iter().all(|wait| wait.last > 0) {
                    break; // more waits than the model keeps: both thin them, each in its way
                }
                observe(&mut model, last, writers);
                real.observe(&Mark { last: last.into(), writers: names(writers) }, now);
                prop_assert_eq!(i64::from(model.at), real.at());
                let overtakable = real.overtakable(now, Duration::ZERO);
                let newest = model.waits.iter().rev().find(|wait| wait.last > 0);
                prop_assert_eq!(overtakable.as_ref().map(|way| way.to), newest.map(|wait| wait.last.into()));
                if overtakes.is_some()
                    && let Some(way) = overtakable
                {
                    real.overtake(&way);
                    overtaken(&mut model, u8::try_from(way.to).expect("a small number"));
                    prop_assert_eq!(i64::from(model.at), real.at());
                }
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}
