//! What neighbours do without meaning harm: flushes at the worst moment, locks that are never released, names nobody thought
//! of, numbers that begin again. Each of these once lost an event, sent one twice, or stopped streams that had no part in it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use outbox::Event;
use outbox_tests::{Child, Stage, attempts, config, eventually, settle, tick, until_arrived};
use redis::streams::StreamInfoGroupsReply;
use relay::Relay;
use sqlx::{PgConnection, Postgres, Transaction};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

const IMPATIENT: [&str; 4] = ["--retry-delay-min", "1ms", "--retry-delay-max", "1ms"];

/// A transaction that has written to the outbox and stays open.
async fn open_writer(stage: &Stage, stream: &str, id: &str) -> Transaction<'static, Postgres> {
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    let event = Event::draft(stream, "test.happened").id(id).json(id).expect("valid");
    let _ = outbox::enqueue(&mut tx, &event).await.expect("written");
    tx
}

async fn run(db: &mut PgConnection, statement: &'static str) {
    sqlx::raw_sql(statement).execute(db).await.expect(statement);
}

/// An event over the limit of one megabyte, which SQL takes and a relay does not.
async fn insert_oversized(stage: &Stage, stream: &str, bytes: usize) {
    let values = format!("'{stream}', 'big', 't', to_json(repeat('x', {bytes}))");
    stage.sql(&format!("insert into outbox (stream, id, type, payload) select {values}")).await;
}

async fn dead_letters(stage: &Stage) -> i64 {
    stage.ask("select count(*) from outbox where dead_at is not null").await
}

/// Lets the relay look at the groups of a stream once more: it has seen one that was made just now.
async fn until_groups_are_looked_at(stage: &Stage, relay: &mut Relay, stream: &str) {
    stage.redis.command(&["XGROUP", "CREATE", stream, "latest", "$", "MKSTREAM"]).await;
    eventually("the newest group to be written down", async || {
        tick(relay).await;
        stage.ask::<bool>("select exists (select from outbox_group where name = 'latest')").await
    })
    .await;
}

/// The groups of a stream in Redis, with their last delivered entries.
async fn groups(stage: &Stage, stream: &str) -> Vec<(String, String)> {
    let reply: StreamInfoGroupsReply = redis::cmd("XINFO")
        .arg(&["GROUPS", stream])
        .query_async(&mut stage.redis.connection().await)
        .await
        .expect("the stream is there");
    reply.groups.into_iter().map(|group| (group.name, group.last_delivered_id)).collect()
}

// ---- Redis

/// A wire that knows where a transaction ends. Once armed it delivers the next `EXEC`, and the rest only when it is told
/// to: networks deliver in pieces, and other clients come in between.
#[derive(Default)]
struct Splitter {
    armed: AtomicBool,
    split: Notify,
    go_on: Notify,
}

impl Splitter {
    async fn carry(self: Arc<Self>, client: TcpStream, upstream: u16) -> std::io::Result<()> {
        let (mut server_reads, mut server_writes) = TcpStream::connect(("127.0.0.1", upstream)).await?.into_split();
        let (mut client_reads, mut client_writes) = client.into_split();
        tokio::spawn(async move { copy(&mut server_reads, &mut client_writes).await });
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = client_reads.read(&mut buffer).await?;
            let bytes = &buffer[..read];
            let exec = bytes.windows(6).position(|word| word == b"EXEC\r\n").map_or(read, |at| at + 6);
            server_writes.write_all(&bytes[..exec]).await?;
            if exec < read && self.armed.swap(false, Ordering::SeqCst) {
                self.split.notify_one();
                self.go_on.notified().await;
            }
            server_writes.write_all(&bytes[exec..]).await?;
            if read == 0 {
                return Ok(());
            }
        }
    }
}

#[tokio::test]
async fn a_flush_between_an_append_and_the_next_look_loses_nothing() {
    let stage = Stage::set().await;
    let wire = Arc::new(Splitter::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let url = format!("redis://{}/", listener.local_addr().expect("it is bound"));
    let (carrier, upstream) = (wire.clone(), stage.redis.port());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(carrier.clone().carry(client, upstream));
        }
    });
    let config = config(&stage.database_url, &url, &["--lease", "0"]);
    let mut relay = Relay::connect(config).await.expect("both stores are there");
    stage.enqueue_many("s", 100).await;
    stage.until_entries(&mut relay, "s", 100).await;
    settle(&mut relay).await;

    wire.armed.store(true, Ordering::SeqCst);
    stage.enqueue("s", "one more").await;
    let flushed = Cell::new(false);
    let flush = async {
        wire.split.notified().await;
        eventually("the append", async || stage.length("s").await == 101).await;
        stage.redis.command(&["FLUSHALL"]).await;
        flushed.set(true);
        wire.go_on.notify_one();
    };
    let work = eventually("the flush", async || {
        tick(&mut relay).await;
        flushed.get()
    });
    tokio::join!(work, flush);
    stage.enqueue("s", "later").await;
    until_arrived(&stage, &mut relay, &["s"]).await;
    assert_eq!(stage.assert_whole(&["s"]).await, 102);
}

#[tokio::test]
async fn an_overtaken_event_that_a_consumer_deletes_arrives_once() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--overtake-after", "1ms"]).await;
    let mut consumed = vec![];
    for n in 1..=5 {
        let slow = open_writer(&stage, "s", &format!("slow-{n}")).await;
        stage.enqueue("other", &format!("quick-{n}")).await;
        stage.until_entries(&mut relay, "other", n).await;
        slow.commit().await.expect("committed");
        eventually("the overtaken event to be consumed and decided", async || {
            tick(&mut relay).await;
            for (number, event) in stage.entries("s").await {
                stage.redis.command(&["XDEL", "s", &number.to_string()]).await;
                consumed.push(event.id);
            }
            consumed.len() >= n && stage.ask("select not exists (select from outbox_overtaken)").await
        })
        .await;
    }
    settle(&mut relay).await;
    consumed.extend(stage.ids("s").await);
    assert_eq!(consumed, ["slow-1", "slow-2", "slow-3", "slow-4", "slow-5"]);
}

#[tokio::test]
async fn all_groups_come_back_although_a_consumer_made_one_of_them_first() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many("a", 10).await;
    stage.enqueue_many("b", 10).await;
    until_arrived(&stage, &mut relay, &["a", "b"]).await;
    for group in ["g", "h"] {
        stage.redis.command(&["XGROUP", "CREATE", "b", group, "$"]).await;
    }
    eventually("both positions to be written down", async || {
        tick(&mut relay).await;
        stage.ask::<i64>("select count(*) from outbox_group where settled_seq = 20").await == 2
    })
    .await;

    stage.redis.command(&["FLUSHALL"]).await;
    // What clients do when they are told NOGROUP.
    stage.redis.command(&["XGROUP", "CREATE", "b", "g", "0", "MKSTREAM"]).await;
    until_groups_are_looked_at(&stage, &mut relay, "b").await;
    assert!(groups(&stage, "b").await.contains(&("h".into(), "1-20".into())));
    assert_eq!(stage.ask::<i64>("select settled_seq from outbox_group where name = 'h'").await, 20);
}

#[tokio::test]
async fn a_group_whose_name_holds_a_nul_disturbs_nothing() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue("tenant", "a").await;
    stage.until_entries(&mut relay, "tenant", 1).await;
    stage.redis.command(&["XGROUP", "CREATE", "tenant", "a\0b", "0"]).await;
    until_groups_are_looked_at(&stage, &mut relay, "tenant").await;
    stage.enqueue("tenant", "b").await;
    stage.until_entries(&mut relay, "tenant", 2).await;
}

#[tokio::test]
async fn a_group_ahead_of_its_stream_does_not_take_the_stream_with_it_when_redis_is_flushed() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&IMPATIENT).await;
    stage.enqueue_many("s", 10).await;
    stage.until_entries(&mut relay, "s", 10).await;
    stage.redis.command(&["XGROUP", "CREATE", "s", "ahead", "1-1000000"]).await;
    until_groups_are_looked_at(&stage, &mut relay, "s").await;
    stage.redis.command(&["FLUSHALL"]).await;
    stage.enqueue("s", "later").await;
    eventually("the next event to arrive", async || {
        tick(&mut relay).await;
        stage.ids("s").await.contains(&"later".to_owned())
    })
    .await;
    assert_eq!(attempts(&stage).await, 0);
}

#[tokio::test]
async fn an_event_that_is_larger_than_redis_is_buried_and_holds_up_nobody() {
    let stage = Stage::set_with(&[], &["--maxmemory", "10mb"]).await;
    let mut relay = stage.relay(&IMPATIENT).await;
    insert_oversized(&stage, "big", 20_000_000).await;
    stage.enqueue("other", "a").await;
    stage.until_entries(&mut relay, "other", 1).await;
    eventually("the dead letter", async || {
        tick(&mut relay).await;
        dead_letters(&stage).await == 1
    })
    .await;
    assert_eq!(stage.length("big:dead").await, 1, "a notice says so, without what is too large");
}

#[tokio::test]
async fn the_remedy_for_a_foreign_entry_works_at_once_and_sends_nothing_twice() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[&IMPATIENT[..], &["--attempts-max", "10000"]].concat()).await;
    stage.enqueue_many("s", 3).await;
    stage.until_entries(&mut relay, "s", 3).await;
    eventually("what was sent to be written down", async || {
        tick(&mut relay).await;
        stage.ask::<bool>("select exists (select from outbox_stream where sent_seq = 3)").await
    })
    .await;
    let theirs =
        ["XADD", "s", "*", "id", "theirs", "type", "x", "ver", "1", "time", "2020-01-01T00:00:00Z", "data", "1"];
    stage.redis.command(&theirs).await;
    stage.enqueue("s", "later").await;
    eventually("a refusal", async || {
        tick(&mut relay).await;
        attempts(&stage).await > 0
    })
    .await;
    let why: String = stage.ask("select last_error from outbox where attempts > 0").await;
    let (_, remedy) = why.split_once("run: ").unwrap_or_else(|| panic!("no remedy in {why:?}"));
    stage.sql(remedy).await;
    stage.until_entries(&mut relay, "s", 5).await;
    settle(&mut relay).await;
    assert_eq!(stage.ids("s").await, ["s-0", "s-1", "s-2", "theirs", "later"]);
}

#[tokio::test]
async fn a_stream_cannot_take_the_name_of_anothers_notices() {
    let refused = Event::draft("a:dead", "t").json(&1).expect_err("refused by the crate");
    assert!(refused.to_string().contains(":dead"), "{refused}");
    let stage = Stage::set().await;
    let by_sql = sqlx::query("select outbox_enqueue('a:dead', 't', '1')").execute(&stage.pool).await;
    assert!(by_sql.expect_err("refused by Postgres").to_string().contains("outbox_stream_no_notice"));
}

// ---- Postgres

#[tokio::test]
async fn a_locked_row_stops_nobody_else_and_is_dealt_with_once_it_is_free() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[&IMPATIENT[..], &["--overtake-after", "1ms"]].concat()).await;
    // One that is to be buried, and one that is to pay attempts.
    insert_oversized(&stage, "big", 2_000_000).await;
    stage.redis.command(&["SET", "refused", "in the way"]).await;
    stage.enqueue("refused", "refused").await;
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    run(&mut tx, "delete from outbox where stream in ('big', 'refused')").await;
    for n in 1..=3 {
        stage.enqueue("other", &format!("event-{n}")).await;
        stage.until_entries(&mut relay, "other", n).await;
    }
    tx.rollback().await.expect("still open");
    eventually("both rows to be dealt with", async || {
        tick(&mut relay).await;
        dead_letters(&stage).await >= 1 && attempts(&stage).await > 1
    })
    .await;
}

#[tokio::test]
async fn locked_rows_that_fell_due_do_not_starve_other_streams() {
    let stage = Stage::set().await;
    let due = "select outbox_enqueue('s', 't', '1', due_at => '2020-01-01') from generate_series(1, 600)";
    stage.sql(due).await;
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    run(&mut tx, "delete from outbox where stream = 's'").await;
    stage.sql("select outbox_enqueue('other', 't', '1', due_at => '2020-01-02')").await;
    let mut relay = stage.relay(&["--overtake-after", "1ms"]).await;
    stage.until_entries(&mut relay, "other", 1).await;
    tx.rollback().await.expect("still open");
    stage.until_entries(&mut relay, "s", 600).await;
}

#[tokio::test]
async fn a_transaction_can_be_prepared_while_the_relay_sleeps() {
    let stage = Stage::set_with(&[("max_prepared_transactions", "10")], &[]).await;
    let flags = ["run", "--sleep-after", "10ms", "--sleep-poll-interval", "100ms"];
    let _relay = Child::spawn(stage.command(&flags));
    let asleep = "select last_value > extract(epoch from clock_timestamp()) from outbox_doorbell";
    eventually("the relay to sleep", async || stage.ask::<bool>(asleep).await).await;
    stage.sql("begin; select outbox_enqueue('s', 't', '1', id => 'prepared'); prepare transaction 'p'").await;
    stage.sql("commit prepared 'p'").await;
    // Nobody rang: the relay looks by itself.
    eventually("the event to arrive", async || stage.length("s").await == 1).await;
}

#[tokio::test]
async fn overtaken_numbers_take_room_in_proportion_while_a_writer_stays_open() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&["--overtake-after", "1ms"]).await;
    let forgotten = open_writer(&stage, "forgotten", "forgotten").await;
    let size = async || stage.ask::<i64>("select pg_total_relation_size('outbox_overtaken')").await;
    let mut sizes = vec![size().await];
    for half in 0..2 {
        for round in 1..=20 {
            // Every second number is a gap: a repeat takes one too.
            stage
                .sql(
                    "insert into outbox (stream, id, type, payload)
                     select 's', case when n % 2 = 0 then outbox_new_id() else 'repeat' end, 't', '1'
                       from generate_series(1, 400) n
                         on conflict (id) do nothing",
                )
                .await;
            stage.until_entries(&mut relay, "s", (half * 20 + round) * 200 + 1).await;
        }
        sizes.push(size().await);
    }
    let [first, second] = [sizes[1] - sizes[0], sizes[2] - sizes[1]];
    assert!(second < first * 2, "{first} bytes for 8,000 numbers, then {second} for as many");
    forgotten.rollback().await.expect("still open");
}

#[tokio::test]
async fn numbers_that_begin_again_lose_no_slow_transaction() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many("s", 100).await;
    stage.until_entries(&mut relay, "s", 100).await;
    eventually("the frontier to be written down", async || {
        tick(&mut relay).await;
        stage.ask::<i64>("select frontier from outbox_relay").await == 100
    })
    .await;
    drop(relay);
    stage.sql("truncate outbox restart identity; delete from outbox_stream").await;
    stage.redis.command(&["FLUSHALL"]).await;

    let mut relay = stage.relay(&["--overtake-after", "1h"]).await;
    let slow = open_writer(&stage, "s", "slow").await;
    stage.enqueue("s", "quick").await;
    for _ in 0..20 {
        tick(&mut relay).await;
    }
    assert_eq!(stage.length("s").await, 0, "nothing is final that the slow one may still precede");
    slow.commit().await.expect("committed");
    stage.until_entries(&mut relay, "s", 2).await;
    assert_eq!(stage.ids("s").await, ["slow", "quick"]);
}

#[tokio::test]
async fn rows_that_row_security_hides_are_an_error_and_no_silent_loss() {
    let stage = Stage::set().await;
    stage
        .sql(
            "create role relay login;
             grant all on all tables in schema public to relay;
             grant all on all sequences in schema public to relay;
             alter table outbox enable row level security;
             create policy p on outbox to relay using (key is distinct from 'hidden');
             select outbox_enqueue('s', 't', '1', key => 'hidden', id => 'a');
             select outbox_enqueue('s', 't', '1', key => 'b', id => 'b')",
        )
        .await;
    let url = stage.database_url.replace("//postgres@", "//relay@");
    let connect = async || Relay::connect(config(&url, &stage.redis.url(), &["--lease", "0"])).await;
    let error = eventually("an error that names the cause", async || match connect().await {
        Ok(mut relay) => relay.tick().await.err(),
        Err(error) => Some(error),
    })
    .await;
    assert!(format!("{error:?}").contains("row-level security"), "{error:?}");
    assert_eq!(stage.length("s").await, 0);
    stage.sql("alter table outbox disable row level security").await;
    let mut relay = connect().await.expect("both stores are there");
    stage.until_entries(&mut relay, "s", 2).await;
}

#[tokio::test]
async fn a_group_whose_row_is_locked_stops_no_stream() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue("s", "a").await;
    stage.until_entries(&mut relay, "s", 1).await;
    stage.redis.command(&["XGROUP", "CREATE", "s", "g", "0"]).await;
    eventually("the group to be known", async || {
        tick(&mut relay).await;
        stage.ask::<bool>("select exists (select from outbox_group)").await
    })
    .await;
    let mut locked = stage.pool.begin().await.expect("Postgres is there");
    run(&mut locked, "select from outbox_group for update").await;
    run(&mut locked, "select from outbox_stream for update").await;
    // No wait for it ends in a failure, and what was lost meanwhile is mended when it is over.
    stage.redis.command(&["DEL", "s"]).await;
    for n in 0..20 {
        stage.enqueue("t", &format!("other-{n}")).await;
        stage.until_entries(&mut relay, "t", n + 1).await;
    }
    locked.rollback().await.expect("still open");
    stage.until_entries(&mut relay, "s", 1).await;
}

#[tokio::test]
async fn a_published_row_that_is_locked_stops_no_other_streams_retention() {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    for stream in ["a", "b"] {
        stage.enqueue_many(stream, 10).await;
        stage.until_entries(&mut relay, stream, 10).await;
    }
    eventually("the receipts", async || {
        tick(&mut relay).await;
        stage.ask::<bool>("select count(*) = 2 from outbox_stream where sent_seq > 0").await
            && stage.ask::<i64>("select sum(sent_seq)::bigint from outbox_stream").await == 30
    })
    .await;
    let mut locked = stage.pool.begin().await.expect("Postgres is there");
    run(&mut locked, "select from outbox where id = 'a-4' for update").await;
    let prune = || Child::spawn(stage.command(&["prune", "--retention", "1us"]));
    assert_eq!(prune().wait().await, 0);
    let left = async || stage.ask::<String>("select string_agg(id, ' ' order by seq) from outbox").await;
    assert_eq!(left().await, "a-4 a-5 a-6 a-7 a-8 a-9", "what lies above it stays, too");
    locked.rollback().await.expect("still open");
    assert_eq!(prune().wait().await, 0);
    assert_eq!(stage.ask::<i64>("select count(*) from outbox").await, 0);
}
