//! What a group cannot make take effect lies in Postgres with its reason, and is replayed to that group alone.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use outbox::{Consumer, Entry, Event};
use outbox_tests::{Child, Doing, Running, Seen, Stage, consumer, eventually, until_settled};
use relay::Relay;

/// A consumer that refuses events whose id begins with "bad", until it is mended.
fn picky(stage: &Stage, group: &str, seen: &Seen, mended: &Arc<AtomicBool>) -> Consumer {
    let (notes, mended) = (seen.clone(), mended.clone());
    let handler = Doing(move |entry: Entry| {
        let fails = entry.id.starts_with("bad") && !mended.load(Relaxed);
        if !fails {
            notes.note(&entry);
        }
        async move { if fails { Err("it is bad")? } else { Ok(()) } }
    });
    consumer(stage, "s", group).attempts_max(NonZeroU32::MIN).handler(handler).build().expect("valid")
}

/// Turns of the relay until Postgres knows so many letters that wait.
async fn until_letters(stage: &Stage, relay: &mut Relay, count: i64) {
    eventually("the letters to come into Postgres", async || {
        relay.tick().await.expect("Postgres is there");
        let there: i64 = stage
            .ask("select count(*) from outbox_dead_letter where replayed_at is null and dropped_at is null")
            .await;
        there == count
    })
    .await;
}

/// What a verb that succeeded has printed.
fn json(said: &str) -> serde_json::Value {
    serde_json::from_str(said.strip_prefix("0: ").unwrap_or_else(|| panic!("{said}"))).expect("JSON")
}

async fn verb(stage: &Stage, arguments: &[&str]) -> String {
    let mut child = Child::spawn(stage.command(arguments));
    let code = child.wait().await;
    format!("{code}: {}", child.log())
}

#[tokio::test]
async fn a_dead_letter_of_a_group_is_replayed_to_that_group_alone_and_takes_effect_once() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    for id in ["good", "bad"] {
        let event = Event::draft("s", "t").id(id).key("k").header("traceparent", "00-ab").json(&id).expect("valid");
        let _ = outbox::enqueue(&mut tx, &event).await.expect("written");
    }
    tx.commit().await.expect("committed");
    stage.until_entries(&mut relay, "s", 2).await;

    let (broken, whole) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(true)));
    let (seen_by_a, seen_by_b) = (Seen::default(), Seen::default());
    let (mut a, mut b) = (picky(&stage, "a", &seen_by_a, &broken), picky(&stage, "b", &seen_by_b, &whole));
    until_settled(&mut a, 2).await;
    until_settled(&mut b, 2).await;
    until_letters(&stage, &mut relay, 1).await;
    assert_eq!(stage.length("s:a:dead").await, 0, "Redis need not keep it");

    let shown = verb(&stage, &["dead", "show", "bad"]).await;
    let shown = &json(&shown)[0];
    for (field, value) in
        [("stream", "s"), ("group_name", "a"), ("entry", "1-2"), ("last_error", "it is bad"), ("payload", "bad")]
    {
        assert_eq!(shown[field], value, "{field} of {shown}");
    }
    assert_eq!(shown["headers"]["traceparent"], "00-ab");
    assert_eq!(shown["failures"][0]["error"], "it is bad", "{shown}");

    broken.store(true, Relaxed);
    assert_eq!(
        verb(&stage, &["dead", "replay", "--group", "a", "--dry-run"]).await,
        "0: 1 dead letter would be sent again\n"
    );
    assert_eq!(verb(&stage, &["dead", "replay", "--group", "b"]).await, "0: 0 dead letters sent again\n");
    assert_eq!(verb(&stage, &["dead", "replay", "bad"]).await, "0: 1 dead letter sent again\n");
    let twice = verb(&stage, &["dead", "replay", "bad"]).await;
    assert_eq!(twice, "1: relay: there is no dead letter with the id \"bad\"\n", "only once");
    stage.until_entries(&mut relay, "s:a:replay", 1).await;
    until_settled(&mut a, 1).await;
    assert_eq!(seen_by_a.ids(), ["good", "bad"], "under the id that it always had");
    until_idle(&mut b).await;
    assert_eq!(seen_by_b.ids(), ["good", "bad"], "the other group has nothing to do with it");
}

async fn until_idle(consumer: &mut Consumer) {
    eventually("nothing to do", async || consumer.tick().await.expect("usable") == outbox::Tick::Idle).await;
}

#[tokio::test]
async fn a_letter_that_comes_back_again_and_again_is_replayed_only_by_its_id() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue("s", "bad").await;
    stage.until_entries(&mut relay, "s", 1).await;
    let mut group = picky(&stage, "g", &Seen::default(), &Arc::new(AtomicBool::new(false)));
    until_settled(&mut group, 1).await;
    for replays in 1..=3 {
        until_letters(&stage, &mut relay, 1).await;
        assert_eq!(verb(&stage, &["dead", "replay", "--all"]).await, "0: 1 dead letter sent again\n");
        stage.until_entries(&mut relay, "s:g:replay", replays).await;
        until_settled(&mut group, 1).await;
    }
    until_letters(&stage, &mut relay, 1).await;
    let said = verb(&stage, &["dead", "replay", "--all"]).await;
    assert!(said.starts_with("0: 0 dead letters sent again\n1 dead letter left: replayed 3 times in vain"), "{said}");
    assert_eq!(stage.ask::<i32>("select max(replays) from outbox_dead_letter").await, 3);
    let shown = json(&verb(&stage, &["dead", "show", "bad"]).await);
    assert_eq!((&shown[0]["replays"], &shown[0]["lane"]), (&3.into(), &"s:g:replay".into()));
    let rounds = shown[0]["earlier"].as_array().expect("the rounds before");
    assert_eq!(rounds.iter().map(|round| &round["replays"]).collect::<Vec<_>>(), [2, 1, 0]);
    assert!(rounds.iter().all(|round| round["failures"][0]["error"] == "it is bad"), "{shown}");
    assert_eq!(verb(&stage, &["dead", "replay", "bad"]).await, "0: 1 dead letter sent again\n");
}

#[tokio::test]
async fn what_a_group_buried_survives_a_redis_that_loses_everything() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    for n in 0..3 {
        stage.enqueue("s", &format!("bad-{n}")).await;
    }
    stage.until_entries(&mut relay, "s", 3).await;
    let (seen, mended) = (Seen::default(), Arc::new(AtomicBool::new(false)));
    let mut group = picky(&stage, "g", &seen, &mended);
    until_settled(&mut group, 3).await;
    // Lost before the relay has looked: the group's position was not written down either, so all of it comes again.
    stage.redis.command(&["FLUSHALL"]).await;
    eventually("the letters to come into Postgres", async || {
        relay.tick().await.expect("Postgres is there");
        let _ = group.tick().await.expect("usable");
        stage.ask::<i64>("select count(*) from outbox_dead_letter").await == 3
    })
    .await;
    until_letters(&stage, &mut relay, 3).await;
}

#[tokio::test]
async fn an_entry_that_is_no_event_is_listed_and_dropped_and_cannot_be_replayed() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue("s", "good").await;
    stage.until_entries(&mut relay, "s", 1).await;
    stage.redis.command(&["XGROUP", "CREATE", "s", "g", "0"]).await;
    // What Postgres cannot store, and what lies in the tray without being a letter of ours.
    stage.redis.command(&["XADD", "s:g:dead", "*", "a\0b", "c\0d", "headers", "{\"x\":\"\\u0000\"}"]).await;
    until_letters(&stage, &mut relay, 1).await;
    let listed = verb(&stage, &["dead", "list"]).await;
    assert!(listed.contains("letter-1  s       g      -"), "{listed}");
    let named = verb(&stage, &["dead", "replay", "letter-1"]).await;
    assert_eq!(named, "1: relay: 1 dead letter left: no events, so nothing can be sent\n");
    let said = verb(&stage, &["dead", "replay", "--group", "g"]).await;
    assert_eq!(said, "0: 0 dead letters sent again\n1 dead letter left: no events, so nothing can be sent\n");
    assert_eq!(verb(&stage, &["dead", "drop", "letter-1"]).await, "0: 1 dead letter dropped\n");
    assert_eq!(verb(&stage, &["dead", "list"]).await, "0: no dead letters\n");
}

#[tokio::test]
async fn what_consumers_do_is_told_in_postgres() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    for id in ["good", "bad", "fine"] {
        stage.enqueue("s", id).await;
    }
    stage.until_entries(&mut relay, "s", 3).await;
    let mut group = picky(&stage, "g", &Seen::default(), &Arc::new(AtomicBool::new(false)));
    until_settled(&mut group, 3).await;
    eventually("the tally to come into Postgres", async || {
        relay.tick().await.expect("Postgres is there");
        let _ = group.tick().await.expect("usable");
        stage
            .ask::<bool>(
                "select exists (select from stream_consumer_stats
                                 where stream_name = 's' and consumer_group = 'g' and messages_processed = 2
                                   and messages_failed = 1 and messages_dead_lettered = 1 and last_active_at is not null)",
            )
            .await
    })
    .await;
    let consumer: String = stage.ask("select consumer_name from stream_consumer_stats").await;
    assert_eq!(consumer, group.name());
    let status = verb(&stage, &["status"]).await;
    assert!(status.contains(&consumer) && status.contains("ms"), "{status}");
    assert_eq!(stage.ask::<i64>("select messages_processed from stream_processing_metrics").await, 2);
    assert_eq!(stage.ask::<i64>("select dead from outbox_lag where stream = 's'").await, 1);
    // A group whose consumers say nothing is shown, too.
    stage.redis.command(&["XGROUP", "CREATE", "s", "silent", "0"]).await;
    let silent = "from stream_processing_metrics where consumer_group = 'silent'";
    eventually("the group to be known", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<bool>(&format!("select exists (select {silent})")).await
    })
    .await;
    let row = format!(
        "select concat_ws('|', stream_name, consumers, messages_processed, messages_failed, messages_dead_lettered,
                          coalesce(avg_processing_time_ms::text, '-'), lag) {silent}"
    );
    assert_eq!(stage.ask::<String>(&row).await, "s|0|0|0|0|-|3");
    let names = "select string_agg(consumer_group, ' ' order by consumer_group) from stream_processing_metrics";
    assert_eq!(stage.ask::<String>(names).await, "g silent", "a lane for replays is no group of its own");
    let rounded =
        "select scale(avg_processing_time_ms) <= 3 and scale(p99_processing_time_ms) <= 3 from stream_consumer_stats";
    assert!(stage.ask::<bool>(rounded).await);
}

#[tokio::test]
async fn what_was_replayed_does_not_take_effect_again_where_it_was_buried() {
    let stage = Stage::set().await;
    let effects = outbox_tests::Effects::on(&stage).await;
    let mut relay = stage.relay(&[]).await;
    for id in ["slow", "bad"] {
        stage.enqueue("s", id).await;
    }
    stage.until_entries(&mut relay, "s", 2).await;
    // The first event keeps the group's position where it is; the second is set aside, mended, replayed and settled.
    let (mended, done) = (Arc::new(AtomicBool::new(false)), effects.clone());
    let fate = mended.clone();
    let handler = Doing(move |entry: Entry| {
        let (effects, mended) = (done.clone(), fate.load(Relaxed));
        async move {
            match entry.id.as_str() {
                "slow" if !mended => Err(outbox::Failure::retry("not yet")),
                "bad" if !mended => Err(outbox::Failure::reject("it is bad")),
                _ => effects.write(&entry).await.map(drop),
            }
        }
    });
    let attempts = NonZeroU32::new(1_000_000).expect("many");
    let mut group = consumer(&stage, "s", "g").attempts_max(attempts).handler(handler).build().expect("valid");
    until_settled(&mut group, 1).await;
    until_letters(&stage, &mut relay, 1).await;
    let slow_waits = async || stage.ask::<i64>("select settled_seq from outbox_group where stream = 's'").await == 0;
    assert!(slow_waits().await);
    drop(group);
    assert_eq!(verb(&stage, &["dead", "replay", "bad"]).await, "0: 1 dead letter sent again\n");
    stage.until_entries(&mut relay, "s:g:replay", 1).await;
    mended.store(true, Relaxed);
    let only_replays = Doing({
        let effects = effects.clone();
        move |entry: Entry| {
            let effects = effects.clone();
            async move {
                if entry.id == "slow" {
                    Err(outbox::Failure::outage("later"))
                } else {
                    effects.write(&entry).await.map(drop)
                }
            }
        }
    });
    let mut group = consumer(&stage, "s", "g").handler(only_replays).build().expect("valid");
    eventually("the replay to take effect", async || {
        let _ = group.tick().await.expect("usable");
        effects.of("g").await == ["bad"]
    })
    .await;
    // Its lane is settled for good, and the inbox is told so.
    eventually("the lane's position to be written down", async || {
        relay.tick().await.expect("Postgres is there");
        stage
            .ask::<bool>("select exists (select from outbox_group where stream = 's:g:replay' and settled_seq > 0)")
            .await
    })
    .await;
    let lane: i64 = stage.ask("select settled_seq from outbox_group where stream = 's:g:replay'").await;
    let upto = outbox::Settled::new("s:g:replay", "g", format!("1-{lane}").parse().expect("a number"));
    outbox::inbox::prune(&mut stage.pool.acquire().await.expect("there"), &upto).await.expect("pruned");
    drop(group);

    // Redis loses everything: the stream comes back from before the letter.
    assert!(slow_waits().await);
    stage.redis.command(&["FLUSHALL"]).await;
    let all = Doing({
        let effects = effects.clone();
        move |entry: Entry| {
            let effects = effects.clone();
            async move { effects.write(&entry).await.map(drop) }
        }
    });
    let mut group = consumer(&stage, "s", "g").handler(all).build().expect("valid");
    eventually("the slow one to take effect", async || {
        relay.tick().await.expect("Postgres is there");
        let _ = group.tick().await.expect("usable");
        effects.of("g").await.contains(&"slow".to_owned())
    })
    .await;
    until_idle(&mut group).await;
    assert_eq!(effects.of("g").await, ["bad", "slow"], "once each");
}

#[tokio::test]
async fn a_producers_headers_make_no_event_another_one() {
    let stage = Stage::set().await;
    let effects = outbox_tests::Effects::on(&stage).await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue("s", "one").await;
    stage.sql("select outbox_enqueue('s', 't', '1', id => 'two', headers => '{\"outbox-id\": \"one\"}')").await;
    stage.until_entries(&mut relay, "s", 2).await;
    let mut group = consumer(&stage, "s", "g").handler(effects.clone()).build().expect("valid");
    until_settled(&mut group, 2).await;
    let mut done = effects.of("g").await;
    done.sort();
    assert_eq!(done, ["one", "two"]);
}

#[tokio::test]
async fn names_that_postgres_cannot_keep_hold_up_no_letter_and_no_position() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--trim-after", "1ms"]).await;
    stage.enqueue_many("s", 10).await;
    stage.until_entries(&mut relay, "s", 10).await;
    let long = "x".repeat(5_000);
    stage.redis.command(&["XGROUP", "CREATE", "s", &long, "0"]).await;
    stage.redis.command(&["XGROUP", "CREATE", "s", "g", "0"]).await;
    stage.redis.command(&["HSET", "s:g:stats", &long, "{}", "a\0", "{}"]).await;
    stage.redis.command(&["XADD", "s:g:dead", "*", "dead:entry", &long, "id", &long, "type", "t", "ver", "1"]).await;
    stage.redis.command(&["XREADGROUP", "GROUP", "g", "me", "COUNT", "10", "STREAMS", "s", ">"]).await;
    for seq in 1..=10 {
        stage.redis.command(&["XACK", "s", "g", &format!("1-{seq}")]).await;
    }
    until_letters(&stage, &mut relay, 1).await;
    eventually("the position to be written down", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<bool>("select exists (select from outbox_group where name = 'g' and settled_seq = 10)").await
    })
    .await;
    assert_eq!(stage.length("s").await, 10, "what a group of an odd name needs stays");
}

#[tokio::test]
async fn letters_that_cannot_be_left_hold_up_those_of_no_other_stream() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    for stream in ["s", "t"] {
        stage.enqueue(stream, &format!("bad-{stream}")).await;
        stage.until_entries(&mut relay, stream, 1).await;
    }
    stage.redis.command(&["SET", "s:g:dead", "in the way"]).await;
    let rejects = Doing(|_: Entry| async { Err(outbox::Failure::reject("it is bad")) });
    let mut group = consumer(&stage, "s", "g").stream("t").handler(rejects).build().expect("valid");
    until_settled(&mut group, 1).await;
    assert_eq!(stage.length("t:g:dead").await, 1);
    stage.redis.command(&["DEL", "s:g:dead"]).await;
    until_settled(&mut group, 1).await;
    assert_eq!(stage.length("s:g:dead").await, 1);
}

#[tokio::test]
async fn a_tray_that_the_relay_may_not_empty_is_told_and_emptied_when_it_may() {
    let stage = Stage::set().await;
    stage.redis.command(&["ACL", "SETUSER", "narrow", "on", ">secret", "~*", "+@all", "-xdel"]).await;
    let mut run = stage.command(&["run"]);
    run.env("REDIS_URL", stage.redis.url().replace("//", "//narrow:secret@"));
    let relay = Child::spawn(run);
    stage.enqueue("s", "a").await;
    stage.until_arrived_by_itself("s", 1).await;
    stage.redis.command(&["XGROUP", "CREATE", "s", "g", "0"]).await;
    // More than are fetched at once.
    for n in 0..20 {
        stage.redis.command(&["XADD", "s:g:dead", "*", "id", &format!("odd-{n}")]).await;
    }
    relay.saw("does not let the relay take away").await;
    let count = "select count(*) from outbox_dead_letter";
    assert!(stage.ask::<i64>(count).await < 20);
    stage.redis.command(&["ACL", "SETUSER", "narrow", "+xdel"]).await;
    eventually("all of them to come", async || {
        stage.ask::<i64>(count).await == 20 && stage.length("s:g:dead").await == 0
    })
    .await;
}

#[tokio::test]
async fn a_consumer_that_leaves_takes_what_it_said_of_itself_with_it() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue("s", "good").await;
    stage.until_entries(&mut relay, "s", 1).await;
    let group = picky(&stage, "g", &Seen::default(), &Arc::new(AtomicBool::new(false)));
    let running = Running::start(group);
    let told = async || stage.redis.command(&["HLEN", "s:g:stats"]).await;
    eventually("it to say what it has done", async || told().await == redis::Value::Int(1)).await;
    eventually("the relay to copy it", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<i64>("select count(*) from outbox_consumer").await == 1
    })
    .await;
    running.stop().await;
    assert_eq!(told().await, redis::Value::Int(0));
    assert_eq!(stage.ask::<i64>("select processed from outbox_consumer").await, 1, "Postgres keeps it");
}
