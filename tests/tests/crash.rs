//! A relay may die between any two steps: the next one goes on where Redis is, and nothing is lost or doubled.

use std::collections::BTreeMap;

use outbox::Event;
use outbox_tests::{Child, Proxy, Side, Signal, Stage, Turns, eventually, letters};
use redis::streams::StreamInfoGroupsReply;
use sqlx::{Postgres, Transaction};

// ---- killed

/// Every part of a relay's work within a moment: small batches, quick overtaking, frequent reports, no rest, a short lease, and
/// for what is refused a second attempt that is the last.
const BUSY: [&str; 12] = [
    "run",
    "--lease=200ms",
    "--batch-rows-max=4",
    "--overtake-after=1ms",
    "--report-interval=10ms",
    "--poll-interval=10ms",
    "--sleep-after=20ms",
    "--retention=1h",
    "--trim-after=1h",
    "--attempts-max=2",
    "--retry-delay-min=1ms",
    "--retry-delay-max=1ms",
];

/// What is to be in each stream at last, in this order.
const AT_LAST: [(&str, &[&str]); 5] = [
    ("a", &["a1", "a2", "a3", "a4", "a5", "slow"]),
    // Two were due: they come behind.
    ("b", &["b1", "b2", "b3", "b4", "b5"]),
    // What its group had settled does not come again.
    ("c", &["c3", "c4", "c5"]),
    // The first one is a dead letter.
    ("d", &["d2"]),
    // The old ones are trimmed, and their rows deleted.
    ("e", &["e4", "e5"]),
];

/// One pair of servers for many crashes.
struct Theatre {
    stage: Stage,
    postgres: Proxy,
    redis: Proxy,
}

/// What happens beside a relay, whichever one it is: a row that commits late, and a stream that is mended.
struct Scene {
    slow: Option<Transaction<'static, Postgres>>,
    mended: bool,
    /// Where the group of `c` was.
    settled: i64,
}

impl Theatre {
    async fn open() -> Self {
        let stage = Stage::set().await;
        let (postgres, redis) = (Proxy::to(stage.postgres.port()).await, Proxy::to(stage.redis.port()).await);
        Self { stage, postgres, redis }
    }

    fn relay(&self) -> Child {
        Child::spawn(self.stage.command(&BUSY))
    }

    /// The relay that is to die.
    fn relay_over_wires(&self) -> Child {
        let mut run = self.stage.command(&BUSY);
        run.env("DATABASE_URL", self.stage.database_url_over(&self.postgres));
        run.env("REDIS_URL", self.stage.redis_url_over(&self.redis));
        Child::spawn(run)
    }

    /// Nothing is left of the scene before; then all that a relay has to do with: several streams that must be made, one
    /// that was lost with a group in the middle of it, one that is refused, one of which the older half may go, several
    /// batches, rows that are due, and a transaction that stays open.
    async fn scene(&self) -> Scene {
        // What a dead relay had asked for may still be under way, and stand in the way of an empty stage.
        eventually("the sessions of dead relays to end", async || {
            self.stage.ask::<i64>("select count(*) from pg_stat_activity where application_name like 'relay%'").await
                == 0
        })
        .await;
        self.stage
            .sql(
                "truncate outbox, outbox_stream, outbox_receipt, outbox_group, outbox_overtaken;
                 update outbox_relay set holder = null, lease_until = null;
                 select outbox_enqueue('e', 't', '1', id => 'e' || n) from generate_series(1, 5) n",
            )
            .await;
        self.stage.redis.command(&["FLUSHALL"]).await;
        let mut slow = self.stage.pool.begin().await.expect("Postgres is there");
        let event = Event::draft("a", "test.happened").id("slow").json(&1).expect("valid");
        let _ = outbox::enqueue(&mut slow, &event).await.expect("written");
        self.stage
            .sql(
                "select outbox_enqueue(stream, 't', '1', id => stream || n, due_at => due)
                   from generate_series(1, 5) n, (values ('a'), ('b'), ('c')) as s(stream),
                        lateral (select case when stream = 'b' and n > 3 then timestamptz '2020-01-01' end as due) d;
                 select outbox_enqueue('d', 't', '1', id => 'd1');
                 insert into outbox_stream (stream, sent_seq)
                 select stream, seq from outbox where id in ('c3', 'e5');
                 insert into outbox_receipt (stream, first_seq, last_seq, entries, published_at)
                 select stream, min(seq), max(seq), count(*), now() - interval '2 h' * (stream = 'e' and id < 'e4')::int
                   from outbox where id in ('c1', 'c2', 'c3') or stream = 'e' group by stream, stream = 'e' and id < 'e4';
                 insert into outbox_group (stream, name, delivered_seq, settled_seq, pending, consumers, seen_at)
                 select 'c', 'group', seq, seq, 0, 0, now() from outbox where id = 'c2'",
            )
            .await;
        let of_e: Vec<(i64, String)> = self.rows("e").await;
        for (seq, id) in &of_e {
            let entry = ["type", "t", "ver", "1", "time", "2026-01-01T00:00:00Z", "data", "1"];
            self.stage.redis.command(&[&["XADD", "e", &format!("1-{seq}"), "id", id], &entry[..]].concat()).await;
        }
        let third = format!("1-{}", of_e[2].0);
        self.stage.redis.command(&["XGROUP", "CREATE", "e", "group", &third]).await;
        self.stage.redis.command(&["SET", "d", "in the way"]).await;
        let settled = self.stage.ask("select settled_seq from outbox_group where stream = 'c'").await;
        Scene { slow: Some(slow), mended: false, settled }
    }

    /// The rows of a stream that are or may be sent, in their order.
    async fn rows(&self, stream: &str) -> Vec<(i64, String)> {
        sqlx::query_as("select seq, id from outbox where stream = $1 and due_at is null order by seq")
            .bind(stream)
            .fetch_all(&self.stage.pool)
            .await
            .expect("Postgres is there")
    }

    /// Lets the late transaction commit once it was overtaken and the rows after it were sent, and clears the way once what stood
    /// in it has made a dead letter. Whether all has arrived, was reported, and what is old has gone.
    async fn goes_on(&self, scene: &mut Scene) -> bool {
        if self.stage.length("a").await >= 5
            && let Some(slow) = scene.slow.take()
        {
            slow.commit().await.expect("Postgres is there");
        }
        if !scene.mended {
            if !self.stage.ask::<bool>("select exists (select from outbox where dead_at is not null)").await {
                return false;
            }
            self.stage.redis.command(&["DEL", "d"]).await;
            self.stage.sql("select outbox_enqueue('d', 't', '1', id => 'd2')").await;
            scene.mended = true;
        }
        for (stream, ids) in AT_LAST {
            if self.stage.length(stream).await != ids.len() {
                return false;
            }
        }
        let open = "select exists (select from outbox_overtaken)
                        or exists (select from outbox where id = 'e1')
                        or exists (select from outbox_stream s where sent_seq <
                                   (select max(seq) from outbox o where o.stream = s.stream and due_at is null))";
        !self.stage.ask::<bool>(open).await
    }

    async fn assert_played(&self, scene: &Scene, turn: usize) {
        for (stream, ids) in AT_LAST {
            let entries = self.stage.entries(stream).await;
            assert!(entries.is_sorted_by_key(|(number, _)| *number), "{stream}, turn {turn}");
            let entries: Vec<_> = entries.into_iter().map(|(number, event)| (number.to_string(), event.id)).collect();
            let rows = self.rows(stream).await.into_iter().map(|(seq, id)| (format!("1-{seq}"), id));
            // What is not there any more of `c` is what its group had settled.
            let rows: Vec<_> = rows.filter(|(_, id)| stream != "c" || !["c1", "c2"].contains(&&**id)).collect();
            assert_eq!(entries, rows, "{stream}: each under the number of its row, turn {turn}");
            let mut found: Vec<_> = entries.iter().map(|(_, id)| id.as_str()).collect();
            if stream == "b" {
                // What is due comes behind the rest or before it.
                found.sort_unstable();
            }
            assert_eq!(found, ids, "{stream}, turn {turn}");
        }
        let counted: Vec<(String, i32)> = sqlx::query_as("select id, attempts from outbox where attempts > 0")
            .fetch_all(&self.stage.pool)
            .await
            .expect("Postgres is there");
        assert_eq!(
            counted,
            [("d1".to_owned(), 2)],
            "turn {turn}: what is refused has its attempts, and nothing else"
        );
        let notices = letters(&self.stage.redis, "d:dead").await;
        // Who died between notice and burial has said it already.
        assert!([1, 2].contains(&notices.len()), "{notices:?}, turn {turn}");
        assert!(notices.iter().all(|notice| notice["id"] == "d1" && notice["attempts"] == "2"), "{notices:?}");
        let position = BTreeMap::from([("group".to_owned(), format!("1-{}", scene.settled))]);
        assert_eq!(self.groups("c").await, position, "turn {turn}");
    }

    async fn groups(&self, stream: &str) -> BTreeMap<String, String> {
        let groups: StreamInfoGroupsReply = redis::cmd("XINFO")
            .arg(&["GROUPS", stream])
            .query_async(&mut self.stage.redis.connection().await)
            .await
            .expect("the stream is there");
        groups.groups.into_iter().map(|group| (group.name, group.last_delivered_id)).collect()
    }
}

#[derive(Clone, Copy)]
enum Behind {
    Postgres,
    Redis,
}

async fn crash_at_every_turn(behind: Behind, side: Side) {
    let theatre = Theatre::open().await;
    // With Postgres a relay takes some two hundred turns.
    let mut turns = match behind {
        Behind::Postgres => Turns::of(&theatre.postgres, side, 60).one_in(8),
        Behind::Redis => Turns::of(&theatre.redis, side, 20).one_in(3),
    };
    while let Some(turn) = turns.another() {
        let mut scene = theatre.scene().await;
        turns.kill(|| theatre.relay_over_wires(), async |_| theatre.goes_on(&mut scene).await).await;
        let _next = theatre.relay();
        eventually("everything to arrive", async || theatre.goes_on(&mut scene).await).await;
        theatre.assert_played(&scene, turn).await;
    }
}

#[tokio::test]
async fn killed_before_any_request_to_redis_arrives_nothing_is_lost_or_doubled() {
    crash_at_every_turn(Behind::Redis, Side::Request).await;
}

#[tokio::test]
async fn killed_before_any_reply_of_redis_arrives_nothing_is_lost_or_doubled() {
    crash_at_every_turn(Behind::Redis, Side::Reply).await;
}

#[tokio::test]
async fn killed_before_any_request_to_postgres_arrives_nothing_is_lost_or_doubled() {
    crash_at_every_turn(Behind::Postgres, Side::Request).await;
}

#[tokio::test]
async fn killed_before_any_reply_of_postgres_arrives_nothing_is_lost_or_doubled() {
    crash_at_every_turn(Behind::Postgres, Side::Reply).await;
}

// ---- asked to stop

#[tokio::test]
async fn sigterm_finishes_the_batch_in_hand_and_gives_the_lease_back() {
    let stage = Stage::set().await;
    stage.enqueue_many("s", 30_000).await;
    let flags = ["run", "--lease", "1h", "--batch-rows-max", "100"];
    let mut first = Child::spawn(stage.command(&flags));
    eventually("the relay to be at work", async || stage.length("s").await > 0).await;
    first.signal(Signal::Term);
    assert_eq!(first.wait().await, 0);
    let sent = stage.length("s").await;
    assert!(sent < 30_000, "it stopped on the way");
    assert_eq!(sent % 100, 0, "no batch was left half done");
    let entries = stage.entries("s").await;
    let reported: i64 = stage.ask("select sent_seq from outbox_stream").await;
    assert_eq!(entries.last().map(|(number, _)| number.seq), Some(reported.unsigned_abs()), "its last word is true");

    let _second = Child::spawn(stage.command(&flags));
    eventually("everything to arrive", async || stage.has_arrived(&["s"]).await).await;
    assert_eq!(stage.assert_whole(&["s"]).await, 30_000);
}

#[tokio::test]
async fn sigterm_ends_a_relay_that_waits_for_redis() {
    for frozen in [false, true] {
        let stage = Stage::set().await;
        let wire = Proxy::to(stage.redis.port()).await;
        let mut run = stage.command(&["run", "--publish-timeout", "1s"]);
        run.env("REDIS_URL", stage.redis_url_over(&wire));
        let mut relay = Child::spawn(run);
        stage.enqueue("s", "before").await;
        eventually("the event to arrive", async || stage.has_arrived(&["s"]).await).await;
        if frozen {
            wire.freeze()
        } else {
            wire.refuse()
        }
        stage.enqueue("s", "meanwhile").await;
        relay.saw("Redis is away").await;
        relay.signal(Signal::Term);
        assert_eq!(relay.wait().await, 0, "frozen: {frozen}");
    }
}

#[tokio::test]
async fn sigterm_ends_a_relay_whose_postgres_is_away() {
    let stage = Stage::set().await;
    let mut relay = Child::spawn(stage.command(&["run"]));
    relay.saw("this relay works").await;
    stage.postgres.stop();
    relay.saw("Postgres is away").await;
    relay.signal(Signal::Term);
    assert_eq!(relay.wait().await, 0);
}

#[tokio::test]
async fn sigterm_ends_a_relay_whose_postgres_does_not_answer() {
    let stage = Stage::set().await;
    let wire = Proxy::to(stage.postgres.port()).await;
    let mut run = stage.command(&["run"]);
    run.env("DATABASE_URL", stage.database_url_over(&wire));
    let mut relay = Child::spawn(run);
    relay.saw("this relay works").await;
    wire.freeze();
    relay.signal(Signal::Term);
    assert_eq!(relay.wait().await, 0);
}
