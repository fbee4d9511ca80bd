//! Redis has lost everything, or the end of a stream with where its group was, and the relay that builds it anew is killed
//! between any two of its steps: the next one goes on. In the end each stream holds what its groups had not settled, each group is
//! where it was, and each event takes effect once.

use std::cell::Cell;
use std::collections::BTreeMap;

use outbox_tests::{Child, Effects, Proxy, Side, Stage, Turns, consumer, eventually};
use redis::streams::StreamInfoGroupsReply;

/// Small batches, so that a stream comes again in several; and nothing is trimmed, for streams are counted.
const BUSY: [&str; 7] = [
    "run",
    "--lease=0",
    "--batch-rows-max=5",
    "--report-interval=20ms",
    "--poll-interval=20ms",
    "--publish-timeout=500ms",
    "--trim-after=0",
];

const STREAMS: [&str; 3] = ["a", "b", "t"];
const EACH: usize = 12;

/// Three streams of twelve events. Of `a` the group `g` has settled eight and `h` four, of `b` there is no group, and of `t` the
/// group `k` has settled nine.
struct Theatre {
    stage: Stage,
    effects: Effects,
    postgres: Proxy,
    redis: Proxy,
    /// `t` when it held six, of which its group had settled five.
    older: Vec<u8>,
    /// Where each group was, by stream and name.
    positions: BTreeMap<(String, String), String>,
    /// How many events of `a` were written after the first loss.
    later: Cell<usize>,
}

/// A group reads and settles so many more.
async fn settle(stage: &Stage, stream: &str, group: &str, count: usize) {
    let count = count.to_string();
    stage.redis.command(&["XREADGROUP", "GROUP", group, "c", "COUNT", &count, "STREAMS", stream, ">"]).await;
    let pending: Vec<(String, String, i64, i64)> = redis::cmd("XPENDING")
        .arg(&[stream, group, "-", "+", "100"])
        .query_async(&mut stage.redis.connection().await)
        .await
        .expect("the group is there");
    for (entry, ..) in pending {
        stage.redis.command(&["XACK", stream, group, &entry]).await;
    }
}

impl Theatre {
    async fn open() -> Self {
        let stage = Stage::set().await;
        let effects = Effects::on(&stage).await;
        let (postgres, redis) = (Proxy::to(stage.postgres.port()).await, Proxy::to(stage.redis.port()).await);
        let mut relay = stage.relay(&["--report-interval", "10ms", "--trim-after", "0"]).await;
        for n in 1..=EACH {
            for stream in STREAMS {
                stage.enqueue(stream, &format!("{stream}{n}")).await;
            }
            if n == 6 {
                stage.until_entries(&mut relay, "t", n).await;
                stage.redis.command(&["XGROUP", "CREATE", "t", "k", "0"]).await;
                settle(&stage, "t", "k", 5).await;
            }
        }
        let mut connection = stage.redis.connection().await;
        let older = redis::cmd("DUMP").arg("t").query_async(&mut connection).await.expect("the stream is there");
        for stream in STREAMS {
            stage.until_entries(&mut relay, stream, EACH).await;
        }
        for group in ["g", "h"] {
            stage.redis.command(&["XGROUP", "CREATE", "a", group, "0"]).await;
        }
        for (stream, group, more) in [("a", "g", 8), ("a", "h", 4), ("t", "k", 4)] {
            settle(&stage, stream, group, more).await;
        }
        let mut relay = stage.relay(&["--report-interval", "10ms", "--trim-after", "0"]).await;
        let known =
            "select count(*) from outbox_group g join outbox o on (o.stream, o.seq) = (g.stream, g.settled_seq)
                      where (name, id) in (('g', 'a8'), ('h', 'a4'), ('k', 't9'))";
        eventually("the positions to be written down", async || {
            relay.tick().await.expect("Postgres is there");
            stage.ask::<i64>(known).await == 3
        })
        .await;
        let mut theatre =
            Self { stage, effects, postgres, redis, older, positions: BTreeMap::new(), later: Cell::new(0) };
        theatre.positions = theatre.groups().await;
        theatre
    }

    fn relay(&self, over_wires: bool) -> Child {
        let mut run = self.stage.command(&BUSY);
        if over_wires {
            run.env("DATABASE_URL", self.stage.database_url_over(&self.postgres));
            run.env("REDIS_URL", self.stage.redis_url_over(&self.redis));
        }
        Child::spawn(run)
    }

    /// All of `a` and `b` is lost and the later half of `t`, and something more was written meanwhile.
    async fn lose(&self) {
        self.later.set(self.later.get() + 1);
        self.stage.enqueue("a", &format!("a{}", EACH + self.later.get())).await;
        self.stage.redis.command(&["FLUSHALL"]).await;
        let mut connection = self.stage.redis.connection().await;
        let mut restore = redis::cmd("RESTORE");
        restore.arg("t").arg(0).arg(&self.older);
        restore.exec_async(&mut connection).await.expect("it was dumped here");
    }

    /// Whether all is there again, and written down.
    async fn is_rebuilt(&self) -> bool {
        // Of `a` what its slower group had not settled.
        for (stream, entries) in [("a", EACH - 4 + self.later.get()), ("b", EACH), ("t", EACH)] {
            if self.stage.length(stream).await != entries {
                return false;
            }
        }
        let all = "select bool_and(sent_seq >= (select max(seq) from outbox o where o.stream = s.stream)) from outbox_stream s";
        self.stage.ask(all).await
    }

    async fn assert_rebuilt(&self, turn: usize) {
        for (stream, left_out) in [("a", 4), ("b", 0), ("t", 0)] {
            let query = format!(
                "select array_agg('1-' || seq || ' ' || id order by seq) from outbox where stream = '{stream}'"
            );
            let rows: Vec<String> = self.stage.ask(&query).await;
            let entries = self.stage.entries(stream).await;
            let entries: Vec<_> =
                entries.into_iter().map(|(number, event)| format!("{number} {}", event.id)).collect();
            assert_eq!(entries, rows[left_out..], "{stream} after turn {turn}");
        }
        assert_eq!(self.groups().await, self.positions, "after turn {turn}");
        assert_eq!(self.stage.ask::<i64>("select coalesce(sum(attempts), 0)::bigint from outbox").await, 0);
    }

    async fn groups(&self) -> BTreeMap<(String, String), String> {
        let mut found = BTreeMap::new();
        for stream in STREAMS {
            let groups: StreamInfoGroupsReply = redis::cmd("XINFO")
                .arg(&["GROUPS", stream])
                .query_async(&mut self.stage.redis.connection().await)
                .await
                .expect("the stream is there");
            found.extend(
                groups.groups.into_iter().map(|group| ((stream.to_owned(), group.name), group.last_delivered_id)),
            );
        }
        found
    }

    /// What was settled before the first loss does not come again, and everything else takes effect once.
    async fn assert_one_effect_each(&self, stream: &str, group: &str, settled: usize) {
        let query = format!("select array_agg(id::text order by seq) from outbox where stream = '{stream}'");
        let mut expected = self.stage.ask::<Vec<String>>(&query).await.split_off(settled);
        let handler = self.effects.clone();
        let mut consumer = consumer(&self.stage, stream, group).handler(handler).build().expect("valid");
        eventually("the rest to take effect", async || {
            let _ = consumer.tick().await.expect("usable");
            self.effects.of(group).await.len() >= expected.len()
        })
        .await;
        let mut done = self.effects.of(group).await;
        done.sort();
        expected.sort();
        assert_eq!(done, expected, "{group}");
    }
}

#[derive(Clone, Copy)]
enum Behind {
    Postgres,
    Redis,
}

async fn killed_while_rebuilding(behind: Behind, side: Side) {
    let theatre = Theatre::open().await;
    let mut turns = match behind {
        Behind::Postgres => Turns::of(&theatre.postgres, side, 20).one_in(12),
        Behind::Redis => Turns::of(&theatre.redis, side, 10).one_in(4),
    };
    while let Some(turn) = turns.another() {
        theatre.lose().await;
        turns.kill(|| theatre.relay(true), async |_| theatre.is_rebuilt().await).await;
        let mut next = theatre.relay(false);
        eventually("all of it to be there again", async || theatre.is_rebuilt().await).await;
        next.kill_9();
        next.wait().await;
        theatre.assert_rebuilt(turn).await;
    }
    theatre.assert_one_effect_each("a", "g", 8).await;
    theatre.assert_one_effect_each("t", "k", 9).await;
}

#[tokio::test]
async fn killed_before_any_request_to_redis_arrives_a_rebuild_is_ended_by_the_next() {
    killed_while_rebuilding(Behind::Redis, Side::Request).await;
}

#[tokio::test]
async fn killed_before_any_reply_of_redis_arrives_a_rebuild_is_ended_by_the_next() {
    killed_while_rebuilding(Behind::Redis, Side::Reply).await;
}

#[tokio::test]
async fn killed_before_any_request_to_postgres_arrives_a_rebuild_is_ended_by_the_next() {
    killed_while_rebuilding(Behind::Postgres, Side::Request).await;
}

#[tokio::test]
async fn killed_before_any_reply_of_postgres_arrives_a_rebuild_is_ended_by_the_next() {
    killed_while_rebuilding(Behind::Postgres, Side::Reply).await;
}
