//! A relay may die between any two steps: the next one goes on where Redis is, and nothing is lost or doubled.

use outbox::Event;
use outbox_tests::{Child, Halt, Proxy, Side, Signal, Stage, eventually};
use redis::streams::StreamInfoGroupsReply;
use sqlx::{Postgres, Transaction};

// ---- killed

const STREAMS: [&str; 3] = ["a", "b", "c"];

/// Every part of a relay's work within a moment: small batches, quick overtaking, frequent reports, no rest.
const BUSY: [&str; 10] = [
    "run",
    "--lease=0",
    "--batch-rows-max=4",
    "--overtake-after=1ms",
    "--report-interval=10ms",
    "--poll-interval=10ms",
    "--sleep-after=20ms",
    "--retention=1h",
    "--retry-delay-min=1ms",
    "--retry-delay-max=1ms",
];

/// One pair of servers for many crashes.
struct Theatre {
    stage: Stage,
    postgres: Proxy,
    redis: Proxy,
}

/// Rows of each kind, and one that commits late.
struct Scene {
    slow: Option<Transaction<'static, Postgres>>,
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

    /// Nothing is left of the scene before; then all that a relay has to do with: several streams that must be made,
    /// one with a group that was lost, several batches, rows that are due, and a transaction that stays open.
    async fn scene(&self) -> Scene {
        // What a dead relay had asked for may still be under way, and stand in the way of an empty stage.
        eventually("the sessions of dead relays to end", async || {
            self.stage.ask::<i64>("select count(*) from pg_stat_activity where application_name like 'relay%'").await
                == 0
        })
        .await;
        self.stage.sql("truncate outbox, outbox_stream, outbox_receipt, outbox_group, outbox_overtaken").await;
        self.stage.redis.command(&["FLUSHALL"]).await;
        let mut slow = self.stage.pool.begin().await.expect("Postgres is there");
        let event = Event::draft("a", "test.happened").id("slow").json(&1).expect("valid");
        let _ = outbox::enqueue(&mut slow, &event).await.expect("written");
        self.stage
            .sql(
                "select outbox_enqueue(stream, 't', '1', id => stream || n, due_at => due)
                   from generate_series(1, 5) n, (values ('a'), ('b'), ('c')) as s(stream),
                        lateral (select case when stream = 'b' and n > 3 then timestamptz '2020-01-01' end as due) d;
                 insert into outbox_stream (stream) values ('c');
                 insert into outbox_group values ('c', 'group', 0, 0, 0, 0, now())",
            )
            .await;
        Scene { slow: Some(slow) }
    }

    /// Lets the late transaction commit once it was overtaken and the rows after it were sent; then waits for all.
    async fn play(&self, scene: &mut Scene) {
        if scene.slow.is_some() {
            eventually("the others to be sent", async || self.stage.length("a").await >= 5).await;
            let slow = scene.slow.take().expect("it is still open");
            slow.commit().await.expect("Postgres is there");
        }
        eventually("everything to arrive", async || self.stage.has_arrived(&STREAMS).await).await;
        eventually("the last report", async || {
            let behind = "select exists (select from outbox_stream s where sent_seq <
                                         (select max(seq) from outbox o where o.stream = s.stream))";
            !self.stage.ask::<bool>(behind).await
        })
        .await;
    }

    /// The turns that a relay takes over both wires, when nothing happens to it.
    async fn turns_of_a_healthy_run(&self) -> (usize, usize) {
        let mut scene = self.scene().await;
        let before = (self.postgres.turns(), self.redis.turns());
        let relay = self.relay_over_wires();
        self.play(&mut scene).await;
        let turns = (self.postgres.turns() - before.0, self.redis.turns() - before.1);
        relay.kill_9();
        self.assert_played().await;
        let last = self.stage.ids("a").await.pop();
        assert_eq!(last.as_deref(), Some("slow"), "it was overtaken and came late, as it was meant to");
        turns
    }

    async fn assert_played(&self) {
        assert_eq!(self.stage.assert_whole(&STREAMS).await, 16);
        let attempts: i64 = self.stage.ask("select sum(attempts)::bigint from outbox").await;
        assert_eq!(attempts, 0);
        let groups: StreamInfoGroupsReply = redis::cmd("XINFO")
            .arg(&["GROUPS", "c"])
            .query_async(&mut self.stage.redis.connection().await)
            .await
            .expect("the stream is there");
        let groups: Vec<_> = groups.groups.iter().map(|group| (&*group.name, &*group.last_delivered_id)).collect();
        assert_eq!(groups, [("group", "1-0")]);
    }

    /// Kills a relay where the wire halts, and lets another one go on.
    async fn crash_at(&self, halt: impl FnOnce() -> Halt) {
        let mut scene = self.scene().await;
        let halt = halt();
        let mut relay = self.relay_over_wires();
        tokio::select! {
            // A poll more or less: the run may have been shorter than the healthy one was.
            () = async { self.play(&mut scene).await; halt.reached().await } => {}
            () = halt.reached() => {}
        }
        relay.kill_9();
        relay.wait().await;
        self.postgres.thaw();
        self.redis.thaw();

        let _next = self.relay();
        self.play(&mut scene).await;
        self.assert_played().await;
    }
}

async fn crash_at_every_turn_of_redis(side: Side) {
    let theatre = Theatre::open().await;
    let (_, turns) = theatre.turns_of_a_healthy_run().await;
    println!("{turns} turns");
    for turn in 1..=turns {
        theatre.crash_at(|| theatre.redis.halt_at(turn, side)).await;
    }
}

async fn crash_at_every_turn_of_postgres(side: Side) {
    let theatre = Theatre::open().await;
    let (turns, _) = theatre.turns_of_a_healthy_run().await;
    println!("{turns} turns");
    for turn in 1..=turns {
        theatre.crash_at(|| theatre.postgres.halt_at(turn, side)).await;
    }
}

#[tokio::test]
async fn killed_before_any_request_to_redis_arrives_nothing_is_lost_or_doubled() {
    crash_at_every_turn_of_redis(Side::Request).await;
}

#[tokio::test]
async fn killed_before_any_reply_of_redis_arrives_nothing_is_lost_or_doubled() {
    crash_at_every_turn_of_redis(Side::Reply).await;
}

#[tokio::test]
async fn killed_before_any_request_to_postgres_arrives_nothing_is_lost_or_doubled() {
    crash_at_every_turn_of_postgres(Side::Request).await;
}

#[tokio::test]
async fn killed_before_any_reply_of_postgres_arrives_nothing_is_lost_or_doubled() {
    crash_at_every_turn_of_postgres(Side::Reply).await;
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
