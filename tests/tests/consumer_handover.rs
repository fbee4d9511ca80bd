//! Partitions and connections that change hands while something is still under way: what was before has ended before its
//! events are begun again, and nothing newer goes first.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox::{BatchHandler, Consumer, Entry, Failure, RetryPolicy};
use outbox_tests::{Doing, Proxy, Running, Seen, Stage, enqueue_told, eventually, pending};
use redis::Value;
use serde_json::json;

/// A handler that holds its thread, and notices whoever is handled twice at once.
#[derive(Clone, Default)]
struct Stubborn(Arc<Hands>);

#[derive(Default)]
struct Hands {
    go: AtomicBool,
    /// What is being handled.
    held: Mutex<BTreeSet<String>>,
    twice: Mutex<BTreeSet<String>>,
    done: Mutex<Vec<String>>,
}

struct Held<'a>(&'a Hands, Vec<String>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut held = self.0.held.lock().expect("nobody panics here");
        self.1.iter().for_each(|id| _ = held.remove(id));
    }
}

impl Stubborn {
    fn take(&self, entries: &[Entry]) -> Held<'_> {
        let ids: Vec<String> = entries.iter().map(|entry| entry.id.clone()).collect();
        let mut held = self.0.held.lock().expect("nobody panics here");
        for id in &ids {
            if !held.insert(id.clone()) {
                self.0.twice.lock().expect("nobody panics here").insert(id.clone());
            }
        }
        drop(held);
        Held(&self.0, ids)
    }

    fn holds(&self, id: &str) -> bool {
        self.0.held.lock().expect("nobody panics here").contains(id)
    }

    fn done(&self) -> Vec<String> {
        let mut done = self.0.done.lock().expect("nobody panics here").clone();
        done.sort();
        done
    }
}

impl BatchHandler for Stubborn {
    async fn handle(&self, entries: &[Entry]) -> Result<(), Failure> {
        let held = self.take(entries);
        // Whoever cuts it off meanwhile is heard only afterwards.
        tokio::task::block_in_place(|| {
            while !self.0.go.load(Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        tokio::task::yield_now().await;
        self.0.done.lock().expect("nobody panics here").extend(held.1.iter().cloned());
        Ok(())
    }
}

/// Waits until a consumer has looked after its partitions so many times more.
async fn until_it_has_looked(stage: &Stage, name: &str, times: usize) {
    let last = async || -> String {
        let score = stage.redis.command(&["ZSCORE", "t:{0}:g:consumers", name]).await;
        redis::from_redis_value(score).unwrap_or_default()
    };
    for _ in 0..times {
        let before = last().await;
        eventually("it to look after its partitions", async || last().await != before).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_attempt_that_is_cut_off_has_ended_before_its_events_are_begun_again() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    for (stream, id) in [("t:{0}", "lost"), ("t:{1}", "kept")] {
        enqueue_told(&stage, stream, id, "k", &json!({})).await;
        stage.until_entries(&mut relay, stream, 1).await;
    }
    let handler = Stubborn::default();
    let consumer = Consumer::builder(stage.redis.url())
        .partitions("t", 2)
        .group("g")
        .claim_after(Duration::from_millis(600))
        .batch_handler(10, handler.clone())
        .build()
        .expect("valid");
    let name = consumer.name().to_owned();
    let running = Running::start(consumer);
    eventually("both to be begun", async || handler.holds("lost") && handler.holds("kept")).await;

    // Somebody else has a partition of the batch; then nobody has, and it is taken again.
    stage.redis.command(&["SET", "t:{0}:g:holder", "somebody else", "PX", "60000"]).await;
    until_it_has_looked(&stage, &name, 3).await;
    stage.redis.command(&["DEL", "t:{0}:g:holder"]).await;
    eventually("the partition to be taken again", async || {
        stage.redis.command(&["GET", "t:{0}:g:holder"]).await == Value::BulkString(name.clone().into_bytes())
    })
    .await;
    until_it_has_looked(&stage, &name, 3).await;
    assert_eq!(handler.done(), [""; 0], "the attempt is not over yet");

    handler.0.go.store(true, Relaxed);
    for stream in ["t:{0}", "t:{1}"] {
        eventually("both to be settled", async || {
            handler.done() == ["kept", "lost"] && pending(&stage.redis, stream, "g").await == 0
        })
        .await;
    }
    running.stop().await;
    let twice = handler.0.twice.lock().expect("nobody panics here").clone();
    assert!(twice.is_empty(), "handled twice at once: {twice:?}");
    assert_eq!(handler.done(), ["kept", "lost"], "what was cut off did not count, and what follows it did");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_was_somebody_elses_while_the_network_was_gone_is_looked_at_before_anything_newer() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    let wire = Proxy::to(stage.redis.port()).await;
    let (seen, others) = (Seen::default(), Seen::default());
    // The first in the order of names has the only partition as long as it is heard of.
    let begin = |name: &str, url: String| {
        let builder = Consumer::builder(url).name(name).partitions("t", 1).group("g");
        builder.claim_after(Duration::from_secs(1)).redis_timeout(Duration::from_secs(30))
    };
    let notes = seen.clone();
    let notes = Doing(move |entry: Entry| {
        notes.note(&entry);
        async { Ok(()) }
    });
    let one = Running::start(begin("a", stage.redis_url_over(&wire)).handler(notes).build().expect("valid"));
    enqueue_told(&stage, "t:{0}", "e0", "k", &json!({})).await;
    stage.until_entries(&mut relay, "t:{0}", 1).await;
    eventually("e0 to be handled", async || seen.ids() == ["e0"]).await;

    // Its connections end, and the next ones say nothing: it tries to connect while its right to read runs out.
    wire.cut();
    wire.freeze();
    let hour = Duration::from_secs(3_600);
    let notes = others.clone();
    let fails = Doing(move |entry: Entry| {
        notes.note(&entry);
        async { Err(Failure::retry("not now")) }
    });
    let other = begin("b", stage.redis.url()).retry(RetryPolicy {
        delay_min: hour,
        delay_max: hour,
        ..RetryPolicy::default()
    });
    let other = Running::start(other.handler(fails).build().expect("valid"));
    enqueue_told(&stage, "t:{0}", "e1", "k", &json!({})).await;
    stage.until_entries(&mut relay, "t:{0}", 2).await;
    eventually("e1 to have failed", async || others.ids() == ["e1"]).await;
    // It gives e1 back, to be tried in an hour, and the partition with it.
    other.stop().await;
    enqueue_told(&stage, "t:{0}", "e2", "k", &json!({})).await;
    stage.until_entries(&mut relay, "t:{0}", 3).await;
    wire.thaw();
    eventually("both to be handled", async || seen.ids().len() == 3).await;
    assert_eq!(seen.ids(), ["e0", "e1", "e2"]);
    one.stop().await;
}

/// The connections that read under this name and wait, by their numbers.
async fn waiting_readers(stage: &Stage, name: &str) -> BTreeSet<u64> {
    let list: String = redis::from_redis_value(stage.redis.command(&["CLIENT", "LIST"]).await).expect("text");
    let field = |line: &str, name: &str| -> String {
        line.split(' ').find_map(|field| field.strip_prefix(name)).unwrap_or_default().to_owned()
    };
    let readers =
        list.lines().filter(|line| field(line, "name=").ends_with(name) && field(line, "flags=").contains('b'));
    readers.map(|line| field(line, "id=").parse().expect("a number")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_left_behind_is_given_nothing_wherever_the_next_one_fails() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    for turn in 1..=9 {
        let far = Proxy::to(stage.redis.port()).await;
        let near = Proxy::to(far.port()).await;
        let seen = Seen::default();
        let notes = seen.clone();
        let notes = Doing(move |entry: Entry| {
            notes.note(&entry);
            async { Ok(()) }
        });
        let (stream, url) = (format!("s{turn}"), stage.redis_url_over(&near));
        let builder = Consumer::builder(url).stream(&stream).group("g").claim_after(Duration::from_secs(3));
        let consumer = builder.handler(notes).build().expect("valid");
        let name = consumer.name().to_owned();
        let running = Running::start(consumer);
        let ids = [1, 2, 3].map(|nth| format!("e{turn}-{nth}"));
        let mut tell = async |nth: usize| {
            enqueue_told(&stage, &stream, &ids[nth], "k", &json!({})).await;
            stage.until_entries(&mut relay, &stream, nth + 1).await;
        };
        tell(0).await;
        eventually("the first to be handled", async || seen.ids() == ids[..1]).await;
        let left = eventually("it to wait for more", async || waiting_readers(&stage, &name).await.pop_first()).await;

        // Redis does not hear that these connections are over; and the next ones fail at some request.
        far.freeze();
        near.lead_to(stage.redis.port());
        let _lost = near.lose_reply(turn);
        eventually("it to read anew", async || waiting_readers(&stage, &name).await.iter().any(|id| *id > left))
            .await;
        tell(1).await;
        tell(2).await;
        eventually("both to be handled", async || seen.ids().len() == 3).await;
        assert_eq!(seen.ids(), ids, "after turn {turn}");
        running.stop().await;
    }
}

/// Lets a handler go on at the end, so that no test waits for its thread.
struct LetGo(Stubborn);

impl Drop for LetGo {
    fn drop(&mut self) {
        self.0.0.go.store(true, Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_holds_its_thread_does_not_hold_the_stop_and_its_event_is_given_back_at_once() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    enqueue_told(&stage, "s", "held", "k", &json!({})).await;
    stage.until_entries(&mut relay, "s", 1).await;
    let consumer = |handler: &Stubborn| {
        let builder =
            Consumer::builder(stage.redis.url()).stream("s").group("g").drain_max(Duration::from_millis(100));
        // Nobody may claim it for want of a heartbeat.
        let builder = builder.claim_after(Duration::from_secs(3600)).batch_handler(10, handler.clone());
        Running::start(builder.build().expect("valid"))
    };
    let holds = LetGo(Stubborn::default());
    let running = consumer(&holds.0);
    eventually("it to be begun", async || holds.0.holds("held")).await;
    running.stop().await;
    assert!(holds.0.holds("held"), "it holds its thread still");

    let other = Stubborn::default();
    other.0.go.store(true, Relaxed);
    let running = consumer(&other);
    eventually("another one to handle it", async || other.done() == ["held"]).await;
    running.stop().await;
    assert_eq!(pending(&stage.redis, "s", "g").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_foreign_key_where_the_reader_is_noted_stops_one_partition_alone() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.redis.command(&["RPUSH", "t:{0}:g:reader", "somebody's"]).await;
    for (stream, id) in [("t:{0}", "waits"), ("t:{1}", "goes on")] {
        enqueue_told(&stage, stream, id, "k", &json!({})).await;
        stage.until_entries(&mut relay, stream, 1).await;
    }
    let handler = Stubborn::default();
    handler.0.go.store(true, Relaxed);
    let consumer = Consumer::builder(stage.redis.url())
        .partitions("t", 2)
        .group("g")
        .claim_after(Duration::from_millis(600))
        .batch_handler(10, handler.clone())
        .build()
        .expect("valid");
    let name = consumer.name().to_owned();
    let running = Running::start(consumer);
    eventually("the other one to be read", async || handler.done() == ["goes on"]).await;
    until_it_has_looked(&stage, &name, 3).await;
    assert_eq!(handler.done(), ["goes on"], "nobody could end who read it before");
    assert_eq!(stage.redis.command(&["LLEN", "t:{0}:g:reader"]).await, Value::Int(1), "what is not ours stays");
    stage.redis.command(&["DEL", "t:{0}:g:reader"]).await;
    eventually("both to be read", async || handler.done() == ["goes on", "waits"]).await;

    // Also at the end, and while it is held.
    stage.redis.command(&["DEL", "t:{1}:g:reader"]).await;
    stage.redis.command(&["RPUSH", "t:{1}:g:reader", "somebody's"]).await;
    until_it_has_looked(&stage, &name, 3).await;
    running.stop().await;
    assert_eq!(stage.redis.command(&["LLEN", "t:{1}:g:reader"]).await, Value::Int(1), "what is not ours stays");
}
