//! The way of a dead letter, with somebody killed between any two of its steps: from its group's tray in Redis to Postgres, from
//! there by a replay to the lane that only its group reads, and to its effect. In the end it took effect once, or it is a
//! dead letter still. And pauses, which a person writes down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use outbox::{Consumer, Entry, Failure};
use outbox_tests::{
    Child, Doing, Effects, Proxy, Side, Stage, Surface, Turns, consume, consume_over, consumer, enqueue_told,
    eventually, pending, until_settled,
};
use relay::Relay;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Each part of a relay's work within a moment, and no lease.
const BUSY: [&str; 7] = [
    "run",
    "--lease=0",
    "--report-interval=10ms",
    "--poll-interval=10ms",
    "--sleep-after=20ms",
    "--publish-timeout=500ms",
    "--trim-after=0",
];

/// Streams are counted here, so nothing goes from them.
const KEEP: [&str; 2] = ["--trim-after", "0"];

/// Servers, a wire to each, and a group that refuses what is bad until it is mended.
struct Theatre {
    stage: Stage,
    effects: Effects,
    postgres: Arc<Proxy>,
    redis: Arc<Proxy>,
    mended: Arc<AtomicBool>,
    relay: Relay,
    /// Of the streams `s` and `t`.
    groups: [Consumer; 2],
}

impl Theatre {
    async fn open() -> Self {
        let stage = Stage::set().await;
        let effects = Effects::on(&stage).await;
        let (postgres, redis) = (Proxy::to(stage.postgres.port()).await, Proxy::to(stage.redis.port()).await);
        let (postgres, redis) = (Arc::new(postgres), Arc::new(redis));
        let mended = Arc::new(AtomicBool::new(false));
        let relay = stage.relay(&KEEP).await;
        let groups = ["s", "t"].map(|stream| {
            let (effects, mended) = (effects.clone(), mended.clone());
            let handler = Doing(move |entry: Entry| {
                let (effects, mended) = (effects.clone(), mended.load(Relaxed));
                async move {
                    if !mended {
                        return Err(Failure::reject("it is bad"));
                    }
                    effects.write(&entry).await.map(drop)
                }
            });
            consumer(&stage, stream, "g").handler(handler).build().expect("valid")
        });
        Self { stage, effects, postgres, redis, mended, relay, groups }
    }

    /// Another relay goes on: it looks into every tray at once.
    async fn next_relay(&mut self) {
        self.relay = self.stage.relay(&KEEP).await;
    }

    /// Two events, the first of which its group has buried for good, and that now waits to be replayed. The second one's group has
    /// buried it just now, and no relay has looked into its tray.
    async fn bury(&mut self, again: &str, tray: &str) {
        self.next_relay().await;
        for (stream, id) in [("s", again), ("t", tray)] {
            enqueue_told(&self.stage, stream, id, "k", &json!({})).await;
        }
        eventually("both to be in their streams", async || {
            self.relay.tick().await.expect("Postgres is there");
            self.stage.has_arrived(&["s", "t"]).await
        })
        .await;
        self.mended.store(false, Relaxed);
        until_settled(&mut self.groups[0], 1).await;
        self.until_letter(again).await;
        until_settled(&mut self.groups[1], 1).await;
    }

    /// Lets another relay work until a letter is in Postgres, and nothing is left in the trays.
    async fn until_letter(&mut self, id: &str) {
        self.next_relay().await;
        eventually("its letter to be in Postgres", async || {
            self.relay.tick().await.expect("Postgres is there");
            let trays = self.stage.length("s:g:dead").await + self.stage.length("t:g:dead").await;
            self.letters(id).await > 0 && trays == 0
        })
        .await;
        assert_eq!(self.letters(id).await, 1, "{id}");
    }

    /// How many letters of an event wait in Postgres.
    async fn letters(&self, id: &str) -> i64 {
        let of = "from outbox_dead_letter where replayed_at is null and dropped_at is null and id";
        self.stage.ask(&format!("select count(*) {of} = '{id}'")).await
    }

    /// How many rows bring an event to its group again. On the lane its id is its replay's; its own is a header.
    async fn replays(&self, id: &str) -> i64 {
        let row =
            format!("select count(*) from outbox where stream = 's:g:replay' and headers ->> 'outbox-id' = '{id}'");
        self.stage.ask(&row).await
    }

    async fn verb(&self, arguments: &[&str]) -> String {
        let mut child = Child::spawn(self.stage.command(arguments));
        let code = child.wait().await;
        format!("{code}: {}", child.log())
    }

    fn over_wires(&self, arguments: &[&str]) -> Child {
        let mut command = self.stage.command(arguments);
        command.env("DATABASE_URL", self.stage.database_url_over(&self.postgres));
        command.env("REDIS_URL", self.stage.redis_url_over(&self.redis));
        Child::spawn(command)
    }

    /// The mended group takes what is on its lane, once.
    async fn until_effect(&mut self, id: &str) {
        self.mended.store(true, Relaxed);
        self.next_relay().await;
        eventually("it to take effect", async || {
            self.relay.tick().await.expect("Postgres is there");
            let _ = self.groups[0].tick().await.expect("usable");
            self.effects.of("g").await.iter().any(|done| done == id)
        })
        .await;
        let times = self.effects.of("g").await.iter().filter(|done| *done == id).count();
        assert_eq!((times, self.letters(id).await, self.replays(id).await), (1, 0, 1), "{id}");
    }
}

#[derive(Clone, Copy)]
enum Behind {
    Postgres,
    Redis,
}

/// A relay that fetches a letter from its tray, and publishes one that is replayed.
async fn relay_killed(behind: Behind, side: Side) {
    let mut theatre = Theatre::open().await;
    let (postgres, redis) = (theatre.postgres.clone(), theatre.redis.clone());
    let mut turns = match behind {
        // A relay takes more than a hundred turns, most of which have nothing to do with letters.
        Behind::Postgres => Turns::of(&postgres, side, 30).one_in(6),
        Behind::Redis => Turns::of(&redis, side, 8).one_in(2),
    };
    while let Some(turn) = turns.another() {
        let (again, tray) = (format!("again-{turn}"), format!("tray-{turn}"));
        theatre.bury(&again, &tray).await;
        assert_eq!(theatre.verb(&["dead", "replay", &again]).await, "0: 1 dead letter sent again\n");
        let on_lane = theatre.stage.length("s:g:replay").await;
        let is_done = async |_: &Child| {
            theatre.letters(&tray).await == 1
                && theatre.stage.length("t:g:dead").await == 0
                && theatre.stage.length("s:g:replay").await > on_lane
        };
        turns.kill(|| theatre.over_wires(&BUSY), is_done).await;
        theatre.until_letter(&tray).await;
        theatre.until_effect(&again).await;
        assert_eq!(theatre.stage.length("s:g:replay").await, on_lane + 1, "after turn {turn}");
    }
}

#[tokio::test]
async fn a_relay_that_is_killed_before_any_request_to_postgres_arrives_loses_and_doubles_no_letter() {
    relay_killed(Behind::Postgres, Side::Request).await;
}

#[tokio::test]
async fn a_relay_that_is_killed_before_any_reply_of_postgres_arrives_loses_and_doubles_no_letter() {
    relay_killed(Behind::Postgres, Side::Reply).await;
}

#[tokio::test]
async fn a_relay_that_is_killed_before_any_request_to_redis_arrives_loses_and_doubles_no_letter() {
    relay_killed(Behind::Redis, Side::Request).await;
}

#[tokio::test]
async fn a_relay_that_is_killed_before_any_reply_of_redis_arrives_loses_and_doubles_no_letter() {
    relay_killed(Behind::Redis, Side::Reply).await;
}

#[derive(Clone, Copy)]
enum By {
    /// `relay dead replay`.
    Verb,
    /// `POST /dead/replay`, to a relay at work.
    Http,
}

/// Asks a relay over HTTP, and does not care whether it lives to answer.
async fn ask_to_replay(address: SocketAddr, id: String) {
    let body = json!({"ids": [id]}).to_string();
    let head = format!(
        "POST /dead/replay HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json"
    );
    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let _ = stream.write_all(request.as_bytes()).await;
    let _ = stream.read_to_end(&mut vec![]).await;
}

/// Whoever replays a letter.
async fn replay_killed(by: By, side: Side) {
    let mut theatre = Theatre::open().await;
    let (mut sent, mut kept) = (0, 0);
    let wire = theatre.postgres.clone();
    let mut turns = match by {
        By::Verb => Turns::of(&wire, side, 4).one_in(2),
        // Those of the relay beside it are among them.
        By::Http => Turns::of(&wire, side, 8).one_in(6),
    };
    while let Some(turn) = turns.another() {
        let (again, tray) = (format!("again-{turn}"), format!("tray-{turn}"));
        theatre.bury(&again, &tray).await;
        match by {
            By::Verb => {
                let verb = || theatre.over_wires(&["dead", "replay", &again]);
                turns.kill(verb, async |verb| verb.has_ended()).await;
            }
            By::Http => {
                let calm = ["run", "--lease=0", "--trim-after=0", "--sleep-after=10ms", "--listen=127.0.0.1:0"];
                let Surface { relay, address } = Surface::of(theatre.over_wires(&calm)).await;
                let mut asking = None;
                let answered = async |_: &Child| {
                    asking.get_or_insert_with(|| tokio::spawn(ask_to_replay(address, again.clone()))).is_finished()
                };
                turns.kill(|| relay, answered).await;
            }
        }
        eventually("its transaction to be over", async || {
            theatre
                .stage
                .ask::<bool>("select count(*) = 0 from pg_stat_activity where state like '%in transaction%'")
                .await
        })
        .await;
        // One of two, and never both or none.
        match (theatre.letters(&again).await, theatre.replays(&again).await) {
            (1, 0) => {
                kept += 1;
                assert_eq!(theatre.verb(&["dead", "replay", &again]).await, "0: 1 dead letter sent again\n");
            }
            (0, 1) => {
                sent += 1;
                let twice = theatre.verb(&["dead", "replay", &again]).await;
                assert!(twice.starts_with("1: relay: there is no dead letter"), "{twice}");
            }
            other => panic!("after turn {turn}: {other:?} letters and replays"),
        }
        theatre.until_effect(&again).await;
    }
    assert!(kept > 0 && sent > 0, "{sent} were sent again, {kept} were letters still");
}

#[tokio::test]
async fn a_replay_that_is_killed_before_any_request_arrives_sends_once_or_not_at_all() {
    replay_killed(By::Verb, Side::Request).await;
}

#[tokio::test]
async fn a_replay_that_is_killed_before_any_reply_arrives_sends_once_or_not_at_all() {
    replay_killed(By::Verb, Side::Reply).await;
}

#[tokio::test]
async fn a_relay_that_is_killed_before_any_request_of_a_replay_over_http_arrives_sends_once_or_not_at_all() {
    replay_killed(By::Http, Side::Request).await;
}

#[tokio::test]
async fn a_relay_that_is_killed_before_any_reply_to_a_replay_over_http_arrives_sends_once_or_not_at_all() {
    replay_killed(By::Http, Side::Reply).await;
}

/// Whoever replays a span is killed; what it did is looked up, and another one goes on behind it.
async fn span_killed(side: Side) {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&KEEP).await;
    stage.enqueue_many("s", 12).await;
    stage.until_entries(&mut relay, "s", 12).await;
    stage.redis.command(&["XGROUP", "CREATE", "s", "g", "0"]).await;
    let mut relay = stage.relay(&KEEP).await;
    eventually("the group to be known", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<bool>("select exists (select from outbox_group)").await
    })
    .await;
    drop(relay);
    let told: Vec<String> = stage.ask("select array_agg('1-' || seq order by seq) from outbox").await;
    let on_lane = async || -> Vec<String> {
        let lane = "select coalesce(array_agg(headers ->> 'outbox-entry' order by seq), '{}') from outbox where stream = 's:g:replay'";
        stage.ask(lane).await
    };
    let wire = Proxy::to(stage.postgres.port()).await;
    let mut turns = Turns::of(&wire, side, 10).one_in(5);
    while let Some(turn) = turns.another() {
        stage.sql("delete from outbox where stream = 's:g:replay'").await;
        // Two portions of six.
        let start = || {
            let span = ["replay", "--stream", "s", "--group", "g", "--from", "1", "--rate", "6"];
            let mut command = stage.command(&span);
            command.env("DATABASE_URL", stage.database_url_over(&wire));
            Child::spawn(command)
        };
        let killed = turns.kill(start, async |replay| replay.has_ended()).await;
        eventually("its transaction to be over", async || {
            stage.ask::<bool>("select count(*) = 0 from pg_stat_activity where state like '%in transaction%'").await
        })
        .await;
        let done = on_lane().await;
        assert_eq!(done, told[..done.len()], "a beginning of the span, each once, turn {turn}");
        assert!(done.len() % 6 == 0 && (killed || done.len() == 12), "whole portions, turn {turn}: {done:?}");
        let last = done.last().map_or(0, |last| last[2..].parse().expect("a number"));
        let from = (last + 1).to_string();
        let rest = ["replay", "--stream", "s", "--group", "g", "--from", &from, "--rate", "100000"];
        let mut next = Child::spawn(stage.command(&rest));
        assert_eq!(next.wait().await, 0, "{}", next.log());
        assert_eq!(on_lane().await, told, "turn {turn}");
    }
}

#[tokio::test]
async fn a_replay_of_a_span_that_is_killed_before_any_request_arrives_goes_on_behind_what_is_on_the_lane() {
    span_killed(Side::Request).await;
}

#[tokio::test]
async fn a_replay_of_a_span_that_is_killed_before_any_reply_arrives_goes_on_behind_what_is_on_the_lane() {
    span_killed(Side::Reply).await;
}

/// Whoever makes it take effect at last.
async fn consumer_killed(side: Side) {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    let wire = Proxy::to(stage.redis.port()).await;
    let flags =
        |attempts_max| ["--stream", "s", "--group", "g", "--claim-after-ms", "400", "--attempts-max", attempts_max];
    let lane = "s:g:replay";
    let mut turns = Turns::of(&wire, side, 10).one_in(2);
    while let Some(turn) = turns.another() {
        let id = format!("again-{turn}");
        // It fails at its first attempt, which is one too many only for the first consumer.
        enqueue_told(&stage, "s", &id, "k", &json!({"do": "flaky"})).await;
        let first = consume(&stage, &flags("1"));
        let mut relay = stage.relay(&KEEP).await;
        let letter = format!("select count(*) from outbox_dead_letter where id = '{id}'");
        eventually("its letter to be in Postgres", async || {
            relay.tick().await.expect("Postgres is there");
            stage.ask::<i64>(&letter).await == 1
        })
        .await;
        first.kill_9();
        let mut verb = Child::spawn(stage.command(&["dead", "replay", &id]));
        assert_eq!(verb.wait().await, 0, "{}", verb.log());
        eventually("it to be on its lane", async || {
            relay.tick().await.expect("Postgres is there");
            stage.has_arrived(&[lane]).await
        })
        .await;

        let settled = async || effects.of("g").await.contains(&id) && pending(&stage.redis, lane, "g").await == 0;
        let start = || consume_over(&stage.redis_url_over(&wire), &stage, &flags("1000"));
        turns.kill(start, async |_| settled().await).await;
        let mut heir = consume(&stage, &flags("1000"));
        eventually("it to be settled", settled).await;
        let times = effects.of("g").await.iter().filter(|done| **done == id).count();
        assert_eq!((times, stage.length("s:g:dead").await), (1, 0), "after turn {turn}");
        heir.kill_9();
        heir.wait().await;
    }
}

#[tokio::test]
async fn a_consumer_that_is_killed_before_any_request_arrives_makes_a_replayed_letter_take_effect_once() {
    consumer_killed(Side::Request).await;
}

#[tokio::test]
async fn a_consumer_that_is_killed_before_any_reply_arrives_makes_a_replayed_letter_take_effect_once() {
    consumer_killed(Side::Reply).await;
}

/// A pause, and its end: whoever asked for it is killed, and asks again.
#[tokio::test]
async fn a_pause_whose_asker_is_killed_is_there_or_not_and_can_be_asked_for_again() {
    let stage = Stage::set().await;
    let _relay = Child::spawn(stage.command(&["run", "--lease=0", "--poll-interval=10ms", "--sleep-after=20ms"]));
    let paused = async || -> bool {
        stage.ask("select exists (select from outbox_stream where stream = 's' and paused_at is not null)").await
    };
    let wire = Proxy::to(stage.postgres.port()).await;
    let mut sent = 0;
    for side in [Side::Request, Side::Reply] {
        let mut turns = Turns::of(&wire, side, 4).one_in(3);
        while let Some(turn) = turns.another() {
            for (verb, is_done) in [("pause", true), ("resume", false)] {
                let start = || {
                    let mut command = stage.command(&[verb, "s"]);
                    command.env("DATABASE_URL", stage.database_url_over(&wire));
                    Child::spawn(command)
                };
                turns.kill(start, async |asker| asker.has_ended()).await;
                let mut again = Child::spawn(stage.command(&[verb, "s"]));
                assert_eq!(again.wait().await, 0, "{}", again.log());
                assert_eq!(paused().await, is_done, "{verb}, after turn {turn}");
                if is_done {
                    stage.enqueue("s", &format!("{side:?}-{turn}")).await;
                    assert_eq!(stage.length("s").await, sent, "nothing is sent");
                }
            }
            sent += 1;
            stage.until_arrived_by_itself("s", sent).await;
        }
    }
    assert_eq!(stage.assert_whole(&["s"]).await, sent);
}
