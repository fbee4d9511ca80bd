//! The rights in Redis that the documentation lists are enough, and are what is really needed: users with these and no others.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use outbox::{Consumer, Entry, Failure, RetryPolicy};
use outbox_tests::{Child, Doing, Stage, eventually, rights, until_settled};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Makes the user of that name, and returns the URL with which to come as that user.
async fn user(stage: &Stage, name: &str) -> String {
    let rule = rights::redis_rule(name, "secret");
    let words = ["ACL", "SETUSER", name].into_iter().chain(rule.iter().map(String::as_str));
    stage.redis.command(&words.collect::<Vec<_>>()).await;
    stage.redis.url().replace("redis://", &format!("redis://{name}:secret@"))
}

/// Everything that a Redis is told, by whom.
struct Monitor {
    lines: Arc<Mutex<Vec<String>>>,
    /// From where the user came, as far as we have looked.
    places: Mutex<BTreeSet<String>>,
}

impl Monitor {
    async fn begin(stage: &Stage) -> Self {
        let mut stream =
            BufReader::new(TcpStream::connect(("127.0.0.1", stage.redis.port())).await.expect("Redis is there"));
        stream.get_mut().write_all(b"MONITOR\r\n").await.expect("sent");
        let mut line = String::new();
        stream.read_line(&mut line).await.expect("an answer");
        assert_eq!(line.trim(), "+OK");
        let lines = Arc::new(Mutex::new(vec![]));
        let kept = Arc::clone(&lines);
        tokio::spawn(async move {
            let mut line = String::new();
            while stream.read_line(&mut line).await.is_ok_and(|length| length > 0) {
                kept.lock().expect("nobody panics here").push(std::mem::take(&mut line));
            }
        });
        Self { lines, places: Mutex::new(BTreeSet::from(["lua".to_owned()])) }
    }

    /// The rights of a user that nothing it did has needed. Scripts are somebody's, so what they say counts for all.
    async fn unused(&self, stage: &Stage, user: &str, rights: &[String]) -> Vec<String> {
        let redis::Value::BulkString(clients) = stage.redis.command(&["CLIENT", "LIST"]).await else {
            panic!("no list")
        };
        let clients = String::from_utf8(clients).expect("text");
        let ours = clients.lines().filter(|client| client.split(' ').any(|word| word == format!("user={user}")));
        let mut places = self.places.lock().expect("nobody panics here");
        places.extend(
            ours.filter_map(|client| {
                client.split(' ').find_map(|word| word.strip_prefix("addr=")).map(str::to_owned)
            }),
        );
        let said = self.lines.lock().expect("nobody panics here");
        let by_us = |line: &&String| {
            line.split(['[', ']'])
                .nth(1)
                .and_then(|place| place.split(' ').nth(1))
                .is_some_and(|at| places.contains(at))
        };
        let used: BTreeSet<String> =
            said.iter().filter(by_us).filter_map(|line| Some(line.split('"').nth(1)?.to_lowercase())).collect();
        let needed = |right: &&String| used.contains(&right[1..]);
        rights.iter().filter(|right| !needed(right)).cloned().collect()
    }
}

#[tokio::test]
async fn a_relay_with_the_documented_rights_in_redis_can_do_all_of_its_work() {
    let stage = Stage::set().await;
    let rights = rights::redis("relay");
    let url = user(&stage, "relay").await;
    let monitor = Monitor::begin(&stage).await;
    let mut command = stage.command(&["run", "--trim-after", "1ms", "--event-bytes-max", "1000"]);
    command.env("REDIS_URL", url);
    let relay = Child::spawn(command);
    let arrived = async |count: usize| {
        eventually(&format!("{count} entries"), async || stage.length("s").await == count).await;
    };
    stage.enqueue("s", "a").await;
    arrived(1).await;
    // Held, fenced, released; a notice; a group, its letters, its loss.
    stage.sql("select outbox_enqueue('s', 't', '1', id => 'due', due_at => now())").await;
    stage.sql("select outbox_enqueue('s', 't', to_json(repeat('x', 2000)), id => 'large')").await;
    arrived(2).await;
    eventually("the notice", async || stage.length("s:dead").await == 1).await;
    stage.redis.command(&["XGROUP", "CREATE", "s", "g", "0"]).await;
    stage.redis.command(&["XADD", "s:g:dead", "*", "some", "thing"]).await;
    // Its position is written down after its letters.
    let known = "select exists (select from outbox_dead_letter) and exists (select from outbox_group)";
    eventually("the letter and the group's position", async || stage.ask::<bool>(known).await).await;
    stage.redis.command(&["FLUSHALL"]).await;
    arrived(2).await;
    stage.redis.command(&["XREADGROUP", "GROUP", "g", "me", "COUNT", "10", "STREAMS", "s", ">"]).await;
    let numbers: Vec<String> = stage.entries("s").await.iter().map(|(number, _)| number.to_string()).collect();
    for number in &numbers {
        stage.redis.command(&["XACK", "s", "g", number]).await;
    }
    arrived(1).await;
    stage.redis.command(&["XDEL", "s", &numbers[1]]).await;
    stage.enqueue("s", "b").await;
    arrived(1).await;
    assert!(!relay.log().contains("NOPERM"), "{}", relay.log());
    // An entry that stays in hand; and a Postgres that comes back, of which nobody knows whether it is the same.
    stage.redis.command(&["XREADGROUP", "GROUP", "g", "me", "COUNT", "10", "STREAMS", "s", ">"]).await;
    monitor.unused(&stage, "relay", &rights).await;
    stage.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'relay'").await;
    eventually("each right to be needed for something", async || {
        monitor.unused(&stage, "relay", &rights).await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_consumer_with_the_documented_rights_in_redis_can_do_all_of_its_work() {
    let stage = Stage::set().await;
    let url = user(&stage, "consumer").await;
    let mut relay = stage.relay(&[]).await;
    let lane = outbox::partition("s", 2, "k");
    for (stream, id) in [("s", "good"), ("s", "bad"), (&lane, "fine"), (&lane, "bad-too")] {
        let statement = format!("select outbox_enqueue('{stream}', 't', '1', id => '{id}', key => 'k')");
        stage.sql(&statement).await;
    }
    stage.until_entries(&mut relay, "s", 2).await;
    stage.until_entries(&mut relay, &lane, 2).await;
    let handler = || {
        Doing(
            |entry: Entry| async move { if entry.id.starts_with("bad") { Err(Failure::retry("bad")) } else { Ok(()) } },
        )
    };
    let retry = RetryPolicy {
        attempts_max: NonZeroU32::new(2).expect("two"),
        delay_min: std::time::Duration::from_millis(1),
        ..RetryPolicy::default()
    };
    for consumer in [
        Consumer::builder(&url).stream("s").group("g").handler(handler()).retry(retry),
        Consumer::builder(&url).partitions("s", 2).group("g").handler(handler()).retry(retry),
    ] {
        let mut consumer = consumer.build().expect("valid");
        until_settled(&mut consumer, 2).await;
        // Stopping is work, too.
        consumer.run(async {}).await.expect("it may");
    }
    for stream in ["s", &lane] {
        assert_eq!(stage.length(&format!("{stream}:g:dead")).await, 1);
        let left = stage.redis.command(&["XINFO", "CONSUMERS", stream, "g"]).await;
        assert_eq!(left, redis::Value::Array(vec![]), "it has left");
    }
}

/// What may be refused: a day goes on.
async fn attempt(stage: &Stage, words: &[&str]) -> Option<redis::Value> {
    let mut redis = stage.redis.connection().await;
    redis::cmd(words[0]).arg(&words[1..]).query_async(&mut redis).await.ok()
}

/// Whether Redis has refused a command to a user, by what it has written down itself.
async fn was_refused(stage: &Stage, user: &str, right: &str) -> bool {
    let Some(redis::Value::Array(entries)) = attempt(stage, &["ACL", "LOG", "100"]).await else { return false };
    let text = |value: &redis::Value| match value {
        redis::Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        redis::Value::SimpleString(text) => text.clone(),
        _ => String::new(),
    };
    entries.iter().any(|entry| {
        let redis::Value::Array(parts) = entry else { return false };
        let said = |name: &str| parts.chunks_exact(2).find(|pair| text(&pair[0]) == name).map(|pair| text(&pair[1]));
        let command = said("object").unwrap_or_default();
        said("reason").as_deref() == Some("command")
            && said("username").as_deref() == Some(user)
            && (command == right[1..] || command.split('|').next() == Some(&right[1..]))
    })
}

/// Takes each right of a user away in turn, lets a day go on until it is missed, and gives it back.
async fn each_is_missed(stage: &Stage, user: &str, rights: &[String], mut day: impl AsyncFnMut(usize)) {
    let mut step = 0;
    for right in rights {
        let gone = format!("-{}", &right[1..]);
        stage.redis.command(&["ACL", "SETUSER", user, &gone]).await;
        stage.redis.command(&["ACL", "LOG", "RESET"]).await;
        stage.redis.command(&["CLIENT", "KILL", "USER", user]).await;
        eventually(&format!("{user} to miss {right}"), async || {
            step += 1;
            day(step).await;
            was_refused(stage, user, right).await
        })
        .await;
        stage.redis.command(&["ACL", "SETUSER", user, right]).await;
    }
}

#[tokio::test]
async fn each_right_in_redis_that_is_taken_from_a_relay_is_missed() {
    let stage = Stage::set().await;
    let rights = rights::redis("relay");
    let mut command =
        stage.command(&["run", "--trim-after", "1ms", "--event-bytes-max", "1000", "--publish-timeout", "1s"]);
    command.env("REDIS_URL", user(&stage, "relay").await);
    let relay = Child::spawn(command);
    stage.enqueue("s", "first").await;
    eventually("the first entry", async || stage.length("s").await == 1).await;
    // Everything that a relay meets, again and again; a few steps each time that somebody looks.
    each_is_missed(&stage, "relay", &rights, async |step| {
        let id = format!("event-{step}");
        match step % 40 {
            0 => _ = stage.enqueue("s", &id).await,
            5 => stage.sql(&format!("select outbox_enqueue('s', 't', '1', id => '{id}', due_at => now())")).await,
            10 => {
                stage.sql(&format!("select outbox_enqueue('s', 't', to_json(repeat('x', 2000)), id => '{id}')")).await
            }
            15 => _ = attempt(&stage, &["XGROUP", "CREATE", "s", "g", "0"]).await,
            18 => _ = attempt(&stage, &["XADD", "s:g:dead", "*", "some", "thing"]).await,
            20 | 30 => {
                attempt(&stage, &["XREADGROUP", "GROUP", "g", "me", "COUNT", "3", "STREAMS", "s", ">"]).await;
            }
            25 => {
                for (number, _) in stage.entries("s").await.iter().take(2) {
                    attempt(&stage, &["XACK", "s", "g", &number.to_string()]).await;
                }
            }
            35 if step % 200 == 35 => _ = attempt(&stage, &["FLUSHALL"]).await,
            35 if step % 200 == 75 => {
                if let Some((number, _)) = stage.entries("s").await.last() {
                    attempt(&stage, &["XDEL", "s", &number.to_string()]).await;
                }
            }
            35 if step % 200 == 115 => {
                let end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'relay'";
                stage.sql(end).await;
            }
            _ => {}
        }
    })
    .await;
    assert!(relay.log().contains("NOPERM"), "the relay says it, too");
}

#[tokio::test]
async fn each_right_in_redis_that_is_taken_from_a_consumer_is_missed() {
    let stage = Stage::set().await;
    let url = user(&stage, "consumer").await;
    let _relay = Child::spawn(stage.command(&["run"]));
    let lane = outbox::partition("s", 2, "k");
    let days = tokio::spawn(async move {
        let handler = || {
            Doing(|entry: Entry| async move {
                if entry.id.starts_with("bad") { Err(Failure::retry("bad")) } else { Ok(()) }
            })
        };
        let retry = RetryPolicy {
            attempts_max: NonZeroU32::new(2).expect("two"),
            delay_min: std::time::Duration::from_millis(1),
            ..RetryPolicy::default()
        };
        loop {
            // Coming and going is work, too.
            let day = std::time::Duration::from_millis(800);
            for consumer in [
                Consumer::builder(&url).stream("s").group("g").handler(handler()).retry(retry),
                Consumer::builder(&url).partitions("s", 2).group("g").handler(handler()).retry(retry),
            ] {
                if let Ok(consumer) = consumer.drain_max(day).build() {
                    let _ = tokio::time::timeout(day * 5, consumer.run(tokio::time::sleep(day))).await;
                }
            }
        }
    });
    // A reader that outlives its consumer's other connection is ended only where a wire breaks unseen, which no day here brings.
    let mut rights = rights::redis("consumer");
    rights.retain(|right| right != "+client|kill");
    each_is_missed(&stage, "consumer", &rights, async |step| {
        if step % 40 == 21 {
            // The connection that does not read breaks, and the other one has to be ended.
            let clients = attempt(&stage, &["CLIENT", "LIST"]).await;
            let Some(redis::Value::BulkString(clients)) = clients else { return };
            for client in String::from_utf8_lossy(&clients).lines() {
                let said =
                    |name: &str| client.split(' ').find_map(|word| word.strip_prefix(name)).unwrap_or_default();
                if said("user=") == "consumer" && said("name=").is_empty() {
                    attempt(&stage, &["CLIENT", "KILL", "ID", said("id=")]).await;
                }
            }
        }
        if step % 40 == 1 {
            for (stream, id) in [("s", "good"), ("s", "bad"), (&lane, "good-on-a-lane"), (&lane, "bad-on-a-lane")] {
                let statement =
                    format!("select outbox_enqueue('{stream}', 't', '1', id => '{id}-{step}', key => 'k')");
                stage.sql(&statement).await;
            }
        }
    })
    .await;
    days.abort();
}
