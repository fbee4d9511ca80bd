//! Several relays at once, with a lease and without: they get in each other's way, and that is all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use outbox::Event;
use outbox_tests::{Chance, Child, Proxy, Signal, Stage, config, deadline, eventually, settle};
use relay::{Relay, Tick};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

// ---- without a lease

const STREAMS: [&str; 2] = ["a", "b"];
const WRITERS: u64 = 6;
const SECONDS: u64 = 12;

#[derive(Default)]
struct Load {
    stop: AtomicBool,
    committed: AtomicU64,
    rolled_back: AtomicU64,
    repeated: AtomicU64,
}

async fn write(stage: Arc<Stage>, load: Arc<Load>, mut chance: Chance) {
    while !load.stop.load(Ordering::Relaxed) {
        let mut tx = stage.pool.begin().await.expect("Postgres is there");
        for _ in 0..=chance.below(3) {
            // An id belongs to one stream, so that meeting it again is a repeat.
            let id = chance.below(20_000);
            let event = Event::draft(STREAMS[(id % 2) as usize], "test.happened").id(id.to_string()).json(&id);
            let enqueued = outbox::enqueue(&mut tx, &event.expect("valid")).await.expect("Postgres is there");
            if enqueued == outbox::Enqueued::Repeat {
                load.repeated.fetch_add(1, Ordering::Relaxed);
            }
            // Numbers are to be committed in another order than they were taken.
            sleep(Duration::from_millis(chance.below(8))).await;
        }
        let (end, count) = if chance.once_in(4) {
            (tx.rollback().await, &load.rolled_back)
        } else {
            (tx.commit().await, &load.committed)
        };
        end.expect("Postgres is there");
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Relays that all work, and are stopped and let go on at random, while writers write.
async fn race(relays: usize) {
    let mut chance = Chance::from_environment();
    let stage = Arc::new(Stage::set().await);
    let load = Arc::new(Load::default());
    let writers: Vec<_> =
        (0..WRITERS).map(|_| tokio::spawn(write(stage.clone(), load.clone(), chance.branch()))).collect();
    let flags = ["run", "--lease", "0", "--overtake-after", "10ms", "--batch-rows-max", "50"];
    let relays: Vec<Child> = (0..relays).map(|_| Child::spawn(stage.command(&flags))).collect();

    let (begun, mut stops) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(SECONDS) {
        let victim = &relays[chance.below(relays.len() as u64) as usize];
        sleep(Duration::from_millis(chance.below(30))).await;
        victim.signal(Signal::Stop);
        sleep(Duration::from_millis(chance.below(200))).await;
        victim.signal(Signal::Cont);
        stops += 1;
    }
    load.stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("no writer fails");
    }
    eventually("everything to arrive", async || stage.has_arrived(&STREAMS).await).await;

    let entries = stage.assert_whole(&STREAMS).await;
    let [committed, rolled_back, repeated] =
        [&load.committed, &load.rolled_back, &load.repeated].map(|count| count.load(Ordering::Relaxed));
    println!("{entries} entries, {committed} commits, {rolled_back} rollbacks, {repeated} repeats, {stops} stops");
    assert!(committed > 0 && rolled_back > 0 && repeated > 0 && stops > 0, "the load was what it says");
    assert_eq!(stage.ask::<i64>("select sum(attempts)::bigint from outbox").await, 0, "nobody is blamed for a race");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_relays_at_once_lose_nothing_and_double_nothing() {
    race(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_relays_at_once_lose_nothing_and_double_nothing() {
    race(3).await;
}

// ---- with a lease

/// Who holds the lease: the process id is the first half of a holder's name.
async fn holder(stage: &Stage) -> Option<u32> {
    let holder: Option<String> = stage.ask("select holder from outbox_relay").await;
    holder?.split('-').next()?.parse().ok()
}

/// A relay that works, and one that rests.
async fn two(stage: &Stage, lease: &str) -> (Child, Child) {
    let first = Child::spawn(stage.command(&["run", "--lease", lease]));
    first.saw("this relay works").await;
    let second = Child::spawn(stage.command(&["run", "--lease", lease]));
    second.saw("the relay is up").await;
    (first, second)
}

#[tokio::test]
async fn the_second_relay_rests_and_says_so() {
    let stage = Stage::set().await;
    let (first, second) = two(&stage, "3s").await;
    for n in 0..20 {
        stage.enqueue("s", &format!("event-{n}")).await;
        eventually("the event to arrive", async || stage.length("s").await == n + 1).await;
    }
    assert_eq!(holder(&stage).await, first.id());
    assert!(!second.log().contains("this relay works"));
    second.saw("another relay works; this one rests").await;
    eventually("Redis to have two clients, the first relay and this question", async || {
        let clients = stage.redis.command(&["CLIENT", "LIST"]).await;
        redis::from_redis_value::<String>(clients).expect("text").lines().count() == 2
    })
    .await;
}

#[tokio::test]
async fn a_relay_that_rests_says_once_that_it_could_not_reach_redis() {
    let stage = Stage::set().await;
    let first = Child::spawn(stage.command(&["run"]));
    first.saw("this relay works").await;
    let wire = Proxy::to(stage.redis.port()).await;
    wire.refuse();
    let mut run = stage.command(&["run"]);
    run.env("REDIS_URL", stage.redis_url_over(&wire));
    let second = Child::spawn(run);
    let said = second.saw("this relay rests, and could not take over").await;
    assert!(said.contains(&format!("127.0.0.1:{}", wire.port())), "{said}");
    stage.enqueue("s", "event").await;
    eventually("the event to arrive", async || stage.has_arrived(&["s"]).await).await;
    wire.accept();
    second.saw("Redis can be reached again").await;
    assert_eq!(second.log().matches("could not take over").count(), 1);
    assert_eq!(holder(&stage).await, first.id(), "nothing has changed");
}

#[tokio::test]
async fn the_second_relay_takes_over_within_the_lease_when_the_first_is_killed() {
    let stage = Stage::set().await;
    let (first, second) = two(&stage, "3s").await;
    stage.enqueue("s", "before").await;
    eventually("the event to arrive", async || stage.has_arrived(&["s"]).await).await;
    first.kill_9();
    let killed = Instant::now();
    stage.enqueue("s", "after").await;
    eventually("the next event to arrive", async || stage.has_arrived(&["s"]).await).await;
    let took = killed.elapsed();
    // The lease of 3 seconds, the third of it after which the second looks again, and time to work on a busy machine.
    assert!(took < Duration::from_secs(15), "it took {took:?}");
    assert_eq!(holder(&stage).await, second.id());
    assert_eq!(stage.assert_whole(&["s"]).await, 2);
}

#[tokio::test]
async fn the_second_relay_takes_over_at_its_next_look_when_the_first_is_asked_to_stop() {
    let stage = Stage::set().await;
    let (mut first, second) = two(&stage, "21s").await;
    first.signal(Signal::Term);
    assert_eq!(first.wait().await, 0);
    let ended = Instant::now();
    stage.enqueue("s", "after").await;
    eventually("the event to arrive", async || stage.has_arrived(&["s"]).await).await;
    let took = ended.elapsed();
    // It looks every 7 seconds; a lease that was not given back would have lasted for 14 seconds or more.
    assert!(took < Duration::from_secs(14), "it took {took:?}");
    assert_eq!(holder(&stage).await, second.id());
}

#[tokio::test]
async fn a_frozen_leader_that_wakes_up_does_no_harm() {
    let stage = Stage::set().await;
    let (first, second) = two(&stage, "3s").await;
    // It freezes at work, with a batch in its hands.
    stage.enqueue_many("s", 20_000).await;
    eventually("some to arrive", async || stage.length("s").await > 0).await;
    first.signal(Signal::Stop);
    assert!(stage.length("s").await < 20_000, "there is still work");
    second.saw("this relay works").await;
    eventually("some more to arrive", async || stage.length("s").await > 10_000).await;
    first.signal(Signal::Cont);
    first.saw("another relay works; this one rests").await;
    for n in 0..20 {
        stage.enqueue("s", &format!("later-{n}")).await;
    }
    eventually("everything to arrive", async || stage.has_arrived(&["s"]).await).await;
    assert_eq!(stage.assert_whole(&["s"]).await, 20_020);
    assert_eq!(holder(&stage).await, second.id());
}

#[tokio::test]
async fn a_leader_that_cannot_reach_redis_lets_another_relay_work() {
    let stage = Stage::set().await;
    let wire = Proxy::to(stage.redis.port()).await;
    let mut run = stage.command(&["run"]);
    run.env("REDIS_URL", stage.redis_url_over(&wire));
    let first = Child::spawn(run);
    first.saw("this relay works").await;
    let second = Child::spawn(stage.command(&["run"]));
    wire.refuse();
    stage.enqueue("s", "event").await;
    eventually("the event to arrive", async || stage.has_arrived(&["s"]).await).await;
    assert_eq!(holder(&stage).await, second.id());
}

// ---- one step between two relays

/// Whether Postgres has a session of a relay like that.
async fn postgres_shows(stage: &Stage, session: &str) -> bool {
    stage
        .ask(&format!("select exists (select from pg_stat_activity where application_name = 'relay' and {session})"))
        .await
}

/// A relay that has read all events there are, and whose append of them hangs on the wire.
async fn freeze_at_append(stage: &Stage, wire: &Proxy, ids: &[String]) -> JoinHandle<Relay> {
    let flags = ["--lease", "0", "--publish-timeout", "60s", "--turn-timeout", "90s"];
    let config = config(&stage.database_url, &stage.redis_url_over(wire), &flags);
    let mut relay = Relay::connect(config).await.expect("Postgres is there");
    stage.enqueue("s", "first").await;
    stage.until_entries(&mut relay, "s", 1).await;
    settle(&mut relay).await;
    // A look at the groups once a second: the next one is not in our way.
    stage.redis.command(&["XGROUP", "CREATE", "s", "group", "0"]).await;
    eventually("a look at the groups", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<i64>("select count(*) from outbox_group").await == 1
    })
    .await;

    wire.freeze();
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    for id in ids {
        let event = Event::draft("s", "test.happened").id(id).json(&1).expect("valid");
        let _ = outbox::enqueue(&mut tx, &event).await.expect("written");
    }
    tx.commit().await.expect("committed");
    let hanging = tokio::spawn(async move {
        while relay.tick().await.expect("Postgres is there") == Tick::Idle {}
        relay
    });
    eventually("the relay to have read the events", async || {
        postgres_shows(stage, "state = 'idle' and query like 'select lane.nth%'").await
    })
    .await;
    assert_eq!(stage.length("s").await, 1);
    assert!(!hanging.is_finished());
    hanging
}

/// Another relay finds events too large and buries them; a person has them replayed.
async fn bury_and_replay(stage: &Stage, events: i64) {
    let mut strict = stage.relay(&["--event-bytes-max", "100"]).await;
    eventually("the events to be dead letters", async || {
        strict.tick().await.expect("Postgres is there");
        stage.ask::<i64>("select count(*) from outbox where dead_at is not null").await == events
    })
    .await;
    let replay = stage.command(&["dead", "replay", "--all"]).output().expect("the binary runs");
    assert!(replay.status.success(), "{replay:?}");
}

fn long_id(n: u32) -> String {
    format!("{n:0>150}")
}

#[tokio::test]
async fn an_event_in_the_hands_of_a_frozen_relay_is_not_sent_again_under_a_new_number() {
    let stage = Stage::set().await;
    let wire = Proxy::to(stage.redis.port()).await;
    let hanging = freeze_at_append(&stage, &wire, &[long_id(1)]).await;
    bury_and_replay(&stage, 1).await;
    let mut third = stage.relay(&[]).await;
    eventually("the event to have a new number", async || {
        third.tick().await.expect("Postgres is there");
        stage.ask::<bool>("select seq > 2 from outbox where id like '0%'").await
    })
    .await;
    assert_eq!(stage.length("s").await, 1, "it is released, and not sent yet");

    wire.thaw();
    let mut frozen = timeout(deadline(), hanging).await.expect("it goes on").expect("no panic");
    settle(&mut frozen).await;
    settle(&mut third).await;
    assert_eq!(stage.assert_whole(&["s"]).await, 2);
}

#[tokio::test]
async fn events_that_a_frozen_relay_sends_while_they_are_released_are_not_sent_again() {
    let stage = Stage::set().await;
    let wire = Proxy::to(stage.redis.port()).await;
    let hanging = freeze_at_append(&stage, &wire, &[long_id(1), long_id(2), long_id(3)]).await;
    bury_and_replay(&stage, 3).await;

    // A third relay asks Redis for the events, which are not there. Its next word is long on its way; meanwhile they are.
    let slow = Proxy::to(stage.redis.port()).await;
    slow.slow(Duration::from_millis(300));
    let asked = count_calls(&stage, "xrange").await;
    let config = config(&stage.database_url, &stage.redis_url_over(&slow), &["--lease", "0"]);
    let mut third = Relay::connect(config).await.expect("Postgres is there");
    let releasing = tokio::spawn(async move {
        for _ in 0..20 {
            third.tick().await.expect("Postgres is there");
        }
        third
    });
    eventually("the third relay to have asked", async || count_calls(&stage, "xrange").await >= asked + 3).await;
    wire.thaw();
    eventually("the frozen relay's events to be there", async || stage.length("s").await == 4).await;

    slow.slow(Duration::ZERO);
    let mut third = timeout(deadline(), releasing).await.expect("it goes on").expect("no panic");
    let mut frozen = timeout(deadline(), hanging).await.expect("it goes on").expect("no panic");
    settle(&mut third).await;
    settle(&mut frozen).await;
    eventually("the events to count as sent", async || {
        third.tick().await.expect("Postgres is there");
        stage.ask::<bool>("select not exists (select from outbox where due_at is not null)").await
    })
    .await;
    settle(&mut third).await;
    assert_eq!(stage.assert_whole(&["s"]).await, 4);
}

/// How often Redis has executed a command.
async fn count_calls(stage: &Stage, command: &str) -> u64 {
    let stats = stage.redis.command(&["INFO", "commandstats"]).await;
    let stats: String = redis::from_redis_value(stats).expect("text");
    let calls = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    calls.and_then(|calls| calls.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn an_event_is_not_blamed_when_another_relay_made_the_stream_and_is_further_on() {
    let stage = Stage::set().await;
    stage.enqueue("s", "first").await;
    let mut relay = stage.relay(&[]).await;
    // It knows of one event and has seen that there is no stream; before it makes one it asks for the groups, and waits.
    let mut lock = stage.pool.begin().await.expect("Postgres is there");
    let statement = "lock table outbox_group in access exclusive mode";
    sqlx::query(statement).execute(&mut *lock).await.expect("nobody has it");
    let turn = tokio::spawn(async move {
        relay.tick().await.expect("Postgres is there");
        relay
    });
    eventually("the relay to wait", async || postgres_shows(&stage, "wait_event_type = 'Lock'").await).await;
    // Meanwhile another relay makes the stream, and sends this event and the next.
    stage.enqueue("s", "second").await;
    for (number, id) in [("1-1", "first"), ("1-2", "second")] {
        let time = "2026-01-01T00:00:00Z";
        let entry = ["XADD", "s", number, "id", id, "type", "t", "ver", "1", "time", time, "data", "1"];
        stage.redis.command(&entry).await;
    }
    lock.rollback().await.expect("still open");
    let mut relay = timeout(deadline(), turn).await.expect("it goes on").expect("no panic");
    settle(&mut relay).await;
    let blamed: Option<String> = stage.ask("select max(last_error) from outbox").await;
    assert_eq!(blamed, None);
    stage.enqueue("s", "third").await;
    stage.until_entries(&mut relay, "s", 3).await;
    assert_eq!(stage.assert_whole(&["s"]).await, 3);
}
