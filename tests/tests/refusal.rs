//! What one stream alone is refused for holds up no other, and is counted.

use std::time::{Duration, Instant};

use outbox_tests::{Child, Proxy, Stage, attempts, config, eventually, tick, until_arrived};
use relay::Relay;

/// A refusal is tried again at once.
const IMPATIENT: [&str; 6] = ["--retry-delay-min", "1ms", "--retry-delay-max", "1ms", "--attempts-max", "10000"];

#[tokio::test]
async fn a_key_of_the_wrong_type_holds_up_its_own_stream_only() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&IMPATIENT).await;
    stage.redis.command(&["SET", "wrong", "in the way"]).await;
    stage.enqueue_many("wrong", 10).await;
    stage.enqueue_many("right", 10).await;
    stage.until_entries(&mut relay, "right", 10).await;
    eventually("some attempts", async || {
        tick(&mut relay).await;
        attempts(&stage).await >= 3
    })
    .await;
    let blamed: Vec<(String, String)> = sqlx::query_as("select id, last_error from outbox where attempts > 0")
        .fetch_all(&stage.pool)
        .await
        .expect("Postgres is there");
    assert_eq!(blamed.len(), 1, "only the first one is tried: {blamed:?}");
    assert!(blamed[0].0 == "wrong-0" && blamed[0].1.contains("WRONGTYPE"), "{blamed:?}");

    let counted = attempts(&stage).await;
    stage.redis.command(&["DEL", "wrong"]).await;
    until_arrived(&stage, &mut relay, &["wrong", "right"]).await;
    assert_eq!(stage.assert_whole(&["wrong", "right"]).await, 20);
    let kept: i32 = stage.ask("select attempts from outbox where id = 'wrong-0'").await;
    assert!(i64::from(kept) >= counted, "what was counted stays on the row");
}

#[tokio::test]
async fn after_attempts_max_an_event_is_a_dead_letter_with_its_reason_and_a_notice() {
    let stage = Stage::set().await;
    let flags = ["--retry-delay-min", "1ms", "--retry-delay-max", "1ms", "--attempts-max", "3"];
    let mut relay = stage.relay(&flags).await;
    stage.redis.command(&["SET", "s", "in the way"]).await;
    let seq = stage.enqueue("s", "poor").await;
    eventually("the event to be a dead letter", async || {
        tick(&mut relay).await;
        stage.ask::<i64>("select count(*) from outbox where dead_at is not null").await == 1
    })
    .await;
    let (attempts, why): (i32, String) =
        sqlx::query_as("select attempts, last_error from outbox").fetch_one(&stage.pool).await.expect("one row");
    assert!(attempts == 3 && why.contains("WRONGTYPE"), "{attempts} attempts, {why}");

    let notices: Vec<(String, Vec<(String, String)>)> = redis::cmd("XRANGE")
        .arg(&["s:dead", "-", "+"])
        .query_async(&mut stage.redis.connection().await)
        .await
        .expect("a notice was given");
    let [(_, fields)] = &notices[..] else { panic!("one notice: {notices:?}") };
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    assert_eq!(field("id"), Some("poor"));
    assert_eq!(field("seq"), Some(&*seq.to_string()));
    assert_eq!(field("attempts"), Some("3"));
    assert_eq!(field("reason"), Some(&*why));

    stage.redis.command(&["DEL", "s"]).await;
    stage.enqueue("s", "next").await;
    stage.until_entries(&mut relay, "s", 1).await;
    assert_eq!(stage.ids("s").await, ["next"]);
}

#[tokio::test]
async fn a_missing_right_to_one_stream_holds_up_that_stream_only() {
    let stage = Stage::set().await;
    stage.redis.command(&["ACL", "SETUSER", "narrow", "on", ">secret", "+@all", "~open*"]).await;
    let url = format!("redis://narrow:secret@127.0.0.1:{}/", stage.redis.port());
    let flags = [&["--lease", "0"], &IMPATIENT[..]].concat();
    let mut relay = Relay::connect(config(&stage.database_url, &url, &flags)).await.expect("Postgres is there");
    stage.enqueue_many("closed", 10).await;
    stage.enqueue_many("open-1", 10).await;
    stage.enqueue_many("open-2", 10).await;
    stage.until_entries(&mut relay, "open-1", 10).await;
    stage.until_entries(&mut relay, "open-2", 10).await;
    eventually("an attempt", async || {
        tick(&mut relay).await;
        attempts(&stage).await > 0
    })
    .await;
    let blamed: Vec<String> = sqlx::query_scalar("select id from outbox where attempts > 0")
        .fetch_all(&stage.pool)
        .await
        .expect("Postgres is there");
    assert_eq!(blamed, ["closed-0"]);

    stage.redis.command(&["ACL", "SETUSER", "narrow", "~closed"]).await;
    until_arrived(&stage, &mut relay, &["closed", "open-1", "open-2"]).await;
    assert_eq!(stage.assert_whole(&["closed", "open-1", "open-2"]).await, 30);
}

#[tokio::test]
async fn a_refused_stream_with_an_event_that_fell_due_does_not_keep_the_relay_busy() {
    let stage = Stage::set().await;
    let wire = Proxy::to(stage.postgres.port()).await;
    stage.redis.command(&["SET", "s", "in the way"]).await;
    stage.sql("select outbox_enqueue('s', 't', '1', id => 'due', due_at => '2020-01-01')").await;
    let mut run = stage.command(&["run", "--sleep-after", "50ms"]);
    run.env("DATABASE_URL", stage.database_url_over(&wire));
    let relay = Child::spawn(run);
    relay.saw("Redis refuses a stream").await;
    let asleep = "select last_value > extract(epoch from clock_timestamp()) from outbox_doorbell";
    eventually("the relay to sleep", async || stage.ask::<bool>(asleep).await).await;
    // Not a wait for a fact, but the time over which its work is measured.
    let (begun, before) = (Instant::now(), wire.turns());
    eventually("a second to pass", async || begun.elapsed() >= Duration::from_secs(1)).await;
    let turns = wire.turns() - before;
    assert!(turns < 200, "{turns} questions to Postgres in a second of sleep");
}

/// An event that fell due on one stream while another gets events, or has them.
async fn due_event_leaves_beside(backlog: usize) {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--batch-rows-max", "10"]).await;
    stage.enqueue("quiet", "before").await;
    until_arrived(&stage, &mut relay, &["quiet"]).await;
    stage.enqueue_many("busy", backlog).await;
    stage.sql("select outbox_enqueue('quiet', 't', '1', id => 'due', due_at => '2020-01-01')").await;
    let mut n = 0;
    eventually("the event to leave", async || {
        // An append a turn or so, whatever the relay does besides.
        stage.enqueue("busy", &format!("busy-later-{n}")).await;
        n += 1;
        tick(&mut relay).await;
        stage.length("quiet").await == 2
    })
    .await;
    assert!(backlog == 0 || stage.length("busy").await < backlog, "there was no need to wait for the other stream");
}

#[tokio::test]
async fn what_fell_due_leaves_while_another_stream_gets_events() {
    due_event_leaves_beside(0).await;
}

#[tokio::test]
async fn what_fell_due_leaves_while_another_stream_has_a_backlog() {
    due_event_leaves_beside(20_000).await;
}

// ---- numbers that are not ours

/// The statement that the reason of a refusal gives.
async fn remedy(stage: &Stage) -> String {
    let why: String = stage.ask("select last_error from outbox where attempts > 0").await;
    let (_, statement) = why.split_once("run: ").unwrap_or_else(|| panic!("no remedy in {why:?}"));
    statement.to_owned()
}

async fn until_blamed(stage: &Stage, relay: &mut Relay) {
    eventually("a refusal", async || {
        tick(relay).await;
        attempts(stage).await > 0
    })
    .await;
}

#[tokio::test]
async fn a_foreign_stream_is_refused_with_a_remedy_that_works() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&IMPATIENT).await;
    stage.redis.command(&["XADD", "s", "*", "their", "field"]).await;
    stage.enqueue_many("s", 10).await;
    stage.enqueue_many("other", 10).await;
    stage.until_entries(&mut relay, "other", 10).await;
    until_blamed(&stage, &mut relay).await;
    assert_eq!(stage.length("s").await, 1, "nothing is mixed into a foreign stream");

    let remedy = remedy(&stage).await;
    stage.sql(&remedy).await;
    let mut relay = stage.relay(&IMPATIENT).await;
    stage.until_entries(&mut relay, "s", 11).await;
    stage.redis.command(&["XTRIM", "s", "MAXLEN", "10"]).await;
    let entries = stage.entries("s").await;
    let generation: i64 = stage.ask("select generation from outbox_stream where stream = 's'").await;
    assert!(generation > 1 && remedy.contains(&generation.to_string()), "{remedy}");
    assert!(entries.iter().all(|(number, _)| number.generation == generation.unsigned_abs()));
    assert_eq!(stage.ids("s").await, (0..10).map(|n| format!("s-{n}")).collect::<Vec<_>>());

    stage.enqueue("s", "later").await;
    stage.until_entries(&mut relay, "s", 11).await;
}

#[tokio::test]
async fn a_number_that_postgres_never_gave_out_is_refused_and_not_skipped() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&IMPATIENT).await;
    stage.enqueue("s", "before").await;
    stage.until_entries(&mut relay, "s", 1).await;
    stage.redis.command(&["XADD", "s", "1-1000", "their", "field"]).await;
    for n in 0..5 {
        stage.enqueue("s", &format!("event-{n}")).await;
    }
    until_blamed(&stage, &mut relay).await;
    assert_eq!(stage.length("s").await, 2, "nothing is sent");
    assert_eq!(stage.ask::<String>("select id from outbox where attempts > 0").await, "event-0");

    stage.sql(&remedy(&stage).await).await;
    let mut relay = stage.relay(&IMPATIENT).await;
    eventually("the events to arrive", async || {
        tick(&mut relay).await;
        let range: Vec<(String, Vec<(String, String)>)> = redis::cmd("XRANGE")
            .arg(&["s", "2-0", "+"])
            .query_async(&mut stage.redis.connection().await)
            .await
            .expect("the stream is there");
        let ids = range.iter().flat_map(|(_, fields)| fields).filter(|(name, _)| name == "id").map(|(_, id)| id);
        ids.filter(|id| id.starts_with("event-")).eq(["event-0", "event-1", "event-2", "event-3", "event-4"])
    })
    .await;
}

#[tokio::test]
async fn a_short_refusal_of_the_only_stream_is_forgotten_when_it_is_over() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&IMPATIENT).await;
    stage.enqueue("s", "before").await;
    stage.until_entries(&mut relay, "s", 1).await;
    // While its top is under watch, the key is another one for a moment.
    stage.sql("select outbox_enqueue('s', 't', '1', id => 'refused')").await;
    stage.redis.command(&["RENAME", "s", "aside"]).await;
    stage.redis.command(&["SET", "s", "in the way"]).await;
    eventually("it to be refused", async || {
        tick(&mut relay).await;
        attempts(&stage).await > 0
    })
    .await;
    stage.redis.command(&["RENAME", "aside", "s"]).await;
    let before = attempts(&stage).await;
    stage.until_entries(&mut relay, "s", 2).await;
    assert!(attempts(&stage).await <= before + 1, "what is over is not counted on and on");
    stage.enqueue("s", "after").await;
    stage.until_entries(&mut relay, "s", 3).await;
    assert_eq!(stage.ids("s").await, ["before", "refused", "after"]);
}

// ---- refused in the middle

/// A wire to Redis on which one entry is aimed at another key, so that Redis takes what comes before it and behind it in its
/// transaction, and refuses it alone. No Redis does that by itself to entries as small as ours.
async fn wire_that_misleads(redis: u16, entry: &str, to: &str) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let bulk =
        |key: &str| format!("\r\n${}\r\n{key}\r\n$10\r\nNOMKSTREAM\r\n${}\r\n{entry}\r\n", key.len(), entry.len());
    let (from, to) = (bulk("s"), bulk(to));
    assert_eq!(from.len(), to.len());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = tokio::net::TcpStream::connect(("127.0.0.1", redis)).await else { continue };
            let ((mut asks, mut hears), (mut answers, mut takes)) = (client.into_split(), server.into_split());
            let (from, to) = (from.clone(), to.clone());
            tokio::spawn(async move { tokio::io::copy(&mut answers, &mut hears).await });
            tokio::spawn(async move {
                let mut bytes = vec![0; 1 << 16];
                while let Ok(count @ 1..) = asks.read(&mut bytes).await {
                    if let Some(at) = bytes[..count].windows(from.len()).position(|part| part == from.as_bytes()) {
                        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
                    }
                    if takes.write_all(&bytes[..count]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

/// Redis has refused `s-1` and taken `s-2`, while somebody has `s-1` locked.
async fn refused_and_locked(stage: &Stage) -> (Relay, sqlx::Transaction<'static, sqlx::Postgres>) {
    let port = wire_that_misleads(stage.redis.port(), "1-3", "w").await;
    stage.redis.command(&["SET", "w", "in the way"]).await;
    let url = format!("redis://127.0.0.1:{port}/");
    let config = config(&stage.database_url, &url, &["--lease", "0"]);
    let mut relay = Relay::connect(config).await.expect("Postgres is there");
    stage.enqueue("s", "before").await;
    stage.until_entries(&mut relay, "s", 1).await;
    let mut lock = stage.pool.begin().await.expect("Postgres is there");
    stage.enqueue_many("s", 3).await;
    sqlx::query("select from outbox where id = 's-1' for update")
        .execute(&mut *lock)
        .await
        .expect("Postgres is there");
    stage.until_entries(&mut relay, "s", 3).await;
    assert_eq!(stage.ids("s").await, ["before", "s-0", "s-2"]);
    (relay, lock)
}

#[tokio::test]
async fn what_redis_refused_in_the_middle_is_set_aside_once_nobody_has_it_locked() {
    let stage = Stage::set().await;
    let (mut relay, lock) = refused_and_locked(&stage).await;
    for _ in 0..10 {
        tick(&mut relay).await;
    }
    // No transaction was overtaken, and nobody is sent to look for one.
    let status = stage.command(&["status"]).output().expect("the binary runs");
    let status = String::from_utf8(status.stdout).expect("text");
    assert!(status.contains("1 event that Redis refused is locked by somebody"), "{status}");
    assert!(!status.contains("overtaken"), "{status}");
    lock.rollback().await.expect("still open");
    eventually("it to be a dead letter", async || {
        tick(&mut relay).await;
        stage
            .ask::<bool>("select dead_at is not null and last_error like 'WRONGTYPE%' from outbox where id = 's-1'")
            .await
    })
    .await;
    assert_eq!(
        stage.length("s").await,
        3,
        "a person decides whether it goes behind those that were to come after it"
    );
    let notices = stage.length("s:dead").await;
    assert!((1..=2).contains(&notices), "{notices} notices: when it was refused, and when it was set aside");
    eventually("nothing to be undecided", async || {
        tick(&mut relay).await;
        stage.ask::<bool>("select not exists (select from outbox_overtaken)").await
    })
    .await;
}

#[tokio::test]
async fn what_redis_refused_in_the_middle_is_not_forgotten_by_a_restart() {
    let stage = Stage::set().await;
    let (relay, lock) = refused_and_locked(&stage).await;
    drop(relay);
    let mut relay = stage.relay(&[]).await;
    lock.rollback().await.expect("still open");
    stage.until_entries(&mut relay, "s", 4).await;
    assert_eq!(stage.ids("s").await, ["before", "s-0", "s-2", "s-1"]);
}
