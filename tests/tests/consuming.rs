//! The other half of the promise: each event takes effect once in each group, or lies among the dead letters.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use outbox::{BatchHandler, Entry, Event, Failure, Tick};
use outbox_tests::{Doing, Effects, Seen, Stage, consumer, eventually, letters, pending, until_settled};

#[tokio::test]
async fn each_event_takes_effect_once_in_each_group() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many("s", 50).await;
    stage.until_entries(&mut relay, "s", 50).await;
    for group in ["a", "b"] {
        let mut consumer = consumer(&stage, "s", group).handler(effects.clone()).build().expect("valid");
        until_settled(&mut consumer, 50).await;
        let mut of_group = effects.of(group).await;
        of_group.sort();
        let mut expected: Vec<_> = (0..50).map(|n| format!("s-{n}")).collect();
        expected.sort();
        assert_eq!(of_group, expected);
        assert_eq!(pending(&stage.redis, "s", group).await, 0);
    }
}

#[tokio::test]
async fn a_failed_event_is_tried_again_and_then_buried_with_its_reason() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue("s", "good").await;
    stage.enqueue("s", "bad").await;
    stage.until_entries(&mut relay, "s", 2).await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(file.reopen().expect("there")).finish();
    let _listening = tracing::subscriber::set_default(log);

    let seen = Seen::default();
    let notes = seen.clone();
    let handler = Doing(move |entry: Entry| {
        notes.note(&entry);
        async move { if entry.id == "bad" { Err("it is bad")? } else { Ok(()) } }
    });
    let three = NonZeroU32::new(3).expect("three");
    let mut consumer =
        consumer(&stage, "s", "g").attempts_max(three).version("v7").handler(handler).build().expect("valid");
    until_settled(&mut consumer, 2).await;
    assert_eq!(seen.attempts("bad"), [1, 2, 3]);
    assert_eq!(seen.attempts("good"), [1]);
    assert_eq!(pending(&stage.redis, "s", "g").await, 0);

    let letter = letters(&stage.redis, "s:g:dead").await.remove(0);
    let field = |name: &str| letter.get(name).cloned().unwrap_or_default();
    assert_eq!((field("id"), field("data"), field("type")), ("bad".into(), "\"bad\"".into(), "test.happened".into()));
    assert_eq!(
        (field("dead:stream"), field("dead:group"), field("dead:entry")),
        ("s".into(), "g".into(), "1-2".into())
    );
    assert_eq!(
        (field("dead:attempts"), field("dead:reason"), field("dead:handler")),
        ("3".into(), "it is bad".into(), "v7".into())
    );
    assert_eq!(field("dead:failures").matches("it is bad").count(), 3, "each attempt's error");
    assert!(field("dead:first_failed_at") <= field("dead:last_failed_at"));
    let said = std::fs::read_to_string(file.path()).expect("text");
    let told: Vec<_> = said.lines().filter(|line| line.contains("id=\"bad\"")).collect();
    assert_eq!(told.iter().filter(|line| line.contains("could not be handled")).count(), 2, "{said}");
    assert_eq!(told.iter().filter(|line| line.contains("set aside")).count(), 1, "{said}");
    assert!(!said.contains("µs"), "times are told to the millisecond: {said}");
    let stats = consumer.stats("s");
    assert_eq!((stats.processed, stats.failed, stats.retried, stats.buried), (1, 3, 2, 1));
}

#[tokio::test]
async fn a_rejected_event_is_buried_at_once() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue("s", "a").await;
    stage.until_entries(&mut relay, "s", 1).await;
    let seen = Seen::default();
    let notes = seen.clone();
    let mut consumer = consumer(&stage, "s", "g")
        .handler(Doing(move |entry: Entry| {
            notes.note(&entry);
            async { Err(Failure::reject("never")) }
        }))
        .build()
        .expect("valid");
    until_settled(&mut consumer, 1).await;
    assert_eq!(seen.attempts("a"), [1]);
    assert_eq!(letters(&stage.redis, "s:g:dead").await.len(), 1);
}

#[tokio::test]
async fn a_handler_that_panics_or_hangs_has_failed() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue("s", "panics").await;
    stage.enqueue("s", "hangs").await;
    stage.until_entries(&mut relay, "s", 2).await;
    let handler = Doing(|entry: Entry| async move {
        match entry.id.as_str() {
            "panics" => panic!("oh no"),
            _ => std::future::pending().await,
        }
    });
    let mut consumer = consumer(&stage, "s", "g")
        .handler_timeout(Duration::from_millis(20))
        .attempts_max(NonZeroU32::MIN)
        .handler(handler)
        .build()
        .expect("valid");
    until_settled(&mut consumer, 2).await;
    let mut reasons: Vec<_> =
        letters(&stage.redis, "s:g:dead").await.into_iter().map(|letter| letter["dead:reason"].clone()).collect();
    reasons.sort();
    assert_eq!(reasons, ["the handler panicked: oh no", "the handler took longer than 20ms"]);
}

#[tokio::test]
async fn an_entry_that_is_no_event_is_buried_and_its_neighbours_are_handled() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let add = async |number: &str, fields: &[&str]| {
        stage.redis.command(&[&["XADD", "s", number], fields].concat()).await;
    };
    let event = |id| ["id", id, "type", "t", "ver", "1", "time", "2026-01-01T00:00:00Z", "data", "1"];
    add("1-1", &event("a")).await;
    add("1-2", &["rubbish", "x"]).await;
    add("1-3", &event("c")).await;
    let mut consumer = consumer(&stage, "s", "g").handler(effects.clone()).build().expect("valid");
    until_settled(&mut consumer, 3).await;
    let mut done = effects.of("g").await;
    done.sort();
    assert_eq!(done, ["a", "c"]);
    let letter = letters(&stage.redis, "s:g:dead").await.remove(0);
    assert_eq!(letter["rubbish"], "x", "the entry is kept as it was");
    assert_eq!(letter["dead:reason"], "the field \"id\" is missing");
}

#[tokio::test]
async fn an_outage_that_handlers_report_costs_no_attempt_and_buries_nothing() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many("s", 20).await;
    stage.until_entries(&mut relay, "s", 20).await;
    let (away, calls) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let seen = Seen::default();
    let (notes, is_away, called) = (seen.clone(), away.clone(), calls.clone());
    let handler = Doing(move |entry: Entry| {
        called.fetch_add(1, Relaxed);
        let away = is_away.load(Relaxed);
        if !away {
            notes.note(&entry);
        }
        async move { if away { Err(Failure::outage("the disk is full")) } else { Ok(()) } }
    });
    let mut consumer =
        consumer(&stage, "s", "g").attempts_max(NonZeroU32::MIN).handler(handler).build().expect("valid");
    eventually("many tries in vain", async || {
        assert!(!matches!(consumer.tick().await.expect("usable"), Tick::Settled(_)));
        calls.load(Relaxed) > 4
    })
    .await;
    away.store(false, Relaxed);
    until_settled(&mut consumer, 20).await;
    assert!(seen.all().iter().all(|(_, attempt)| *attempt == 1), "{:?}", seen.all());
    assert!(letters(&stage.redis, "s:g:dead").await.is_empty());
}

#[tokio::test]
async fn equal_keys_are_handled_one_after_another_and_a_key_that_waits_holds_up_no_other() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    for n in 0..40 {
        let event = Event::draft("s", "t").key(format!("k{}", n % 4)).id(n.to_string()).json(&n).expect("valid");
        let _ = outbox::enqueue(&mut tx, &event).await.expect("written");
    }
    tx.commit().await.expect("committed");
    stage.until_entries(&mut relay, "s", 40).await;

    // The first event of k0 fails twice, and everything of k0 waits for it.
    let (seen, done) = (Seen::default(), Seen::default());
    let (notes, dones) = (seen.clone(), done.clone());
    let handler = Doing(move |entry: Entry| {
        notes.note(&entry);
        let fails = entry.id == "0" && entry.attempt < 3;
        let dones = dones.clone();
        async move {
            tokio::task::yield_now().await;
            if fails {
                Err("not yet")?
            }
            dones.note(&entry);
            Ok(())
        }
    });
    let mut consumer = consumer(&stage, "s", "g").concurrency(8).handler(handler).build().expect("valid");
    until_settled(&mut consumer, 40).await;
    for key in 0..4 {
        let of_key: Vec<usize> =
            done.ids().iter().map(|id| id.parse().expect("a number")).filter(|n| n % 4 == key).collect();
        assert!(of_key.is_sorted() && of_key.len() == 10, "k{key}: {of_key:?}");
    }
    assert_eq!(seen.attempts("0"), [1, 2, 3]);
}

/// Refuses whole batches that hold the bad one.
struct Picky(Seen, Arc<AtomicUsize>);

impl BatchHandler for Picky {
    async fn handle(&self, entries: &[Entry]) -> Result<(), Failure> {
        self.1.fetch_max(entries.len(), Relaxed);
        if entries.iter().any(|entry| entry.id == "s-13") {
            Err("one of these is bad")?;
        }
        entries.iter().for_each(|entry| self.0.note(entry));
        Ok(())
    }
}

#[tokio::test]
async fn of_a_batch_that_fails_only_the_event_at_fault_is_buried() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many("s", 64).await;
    stage.until_entries(&mut relay, "s", 64).await;
    let (seen, largest) = (Seen::default(), Arc::new(AtomicUsize::new(0)));
    let picky = Picky(seen.clone(), largest.clone());
    let two = NonZeroU32::new(2).expect("two");
    let mut consumer = consumer(&stage, "s", "g").batch_handler(64, picky).attempts_max(two).build().expect("valid");
    until_settled(&mut consumer, 64).await;
    assert_eq!(largest.load(Relaxed), 64);
    let mut ids = seen.ids();
    ids.sort();
    let mut expected: Vec<_> = (0..64).filter(|n| *n != 13).map(|n| format!("s-{n}")).collect();
    expected.sort();
    assert_eq!(ids, expected);
    assert!(seen.all().iter().all(|(_, attempt)| *attempt == 1), "neighbours pay nothing");
    assert_eq!(letters(&stage.redis, "s:g:dead").await.len(), 1);
}
