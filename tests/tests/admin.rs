//! The operator's surface over HTTP: what each route answers, who may ask, and that nothing sent to it breaks it.

use std::collections::BTreeSet;

use outbox_tests::{Child, Stage, Surface, eventually, fuzzer};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::Config;
use serde_json::{Value, json};

const READ: &str = "read-read-read-read-read";
const WRITE: &str = "write-write-write-write";
const PUBLISH: &str = "publish-publish-publish";

/// Every route there is: how it is asked, and by which token.
const ROUTES: [(&str, &str, &str); 23] = [
    ("GET", "/live", ""),
    ("GET", "/ready", ""),
    ("GET", "/metrics", READ),
    ("GET", "/status", READ),
    ("GET", "/streams", READ),
    ("GET", "/groups", READ),
    ("GET", "/consumers", READ),
    ("GET", "/blockers", READ),
    ("GET", "/history", READ),
    ("GET", "/events", READ),
    ("GET", "/trace/{event}", READ),
    ("GET", "/dead", READ),
    ("GET", "/dead/{id}", READ),
    ("GET", "/jobs/{id}", READ),
    ("GET", "/dlq/items", READ),
    ("GET", "/dlq/count", READ),
    ("POST", "/dead/replay", WRITE),
    ("POST", "/dead/drop", WRITE),
    ("POST", "/dlq/retry/{id}", WRITE),
    ("DELETE", "/dlq/clear", WRITE),
    ("POST", "/pause", WRITE),
    ("POST", "/resume", WRITE),
    ("POST", "/api/v1/events/publish", PUBLISH),
];

async fn ready(stage: &Stage, flags: &[&str]) -> Surface {
    let surface = Surface::begin(stage, flags).await;
    eventually("the relay to be ready", async || surface.get("/ready").await.status == 200).await;
    surface
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// A relay with all three tokens.
async fn guarded(stage: &Stage) -> Surface {
    let mut command = stage.command(&["run"]);
    command.env("RELAY_LISTEN", "0.0.0.0:0").env("RELAY_READ_TOKEN", READ).env("RELAY_WRITE_TOKEN", WRITE);
    command.env("RELAY_PUBLISH_TOKEN", PUBLISH);
    let surface = Surface::of(Child::spawn(command)).await;
    eventually("the relay to be ready", async || surface.get("/ready").await.status == 200).await;
    surface
}

#[tokio::test]
async fn every_route_stands_in_the_document_and_nothing_else_does() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    let document = surface.get("/openapi.json").await;
    assert_eq!((document.status, document.headers["content-type"].as_str()), (200, "application/json"));
    let document = document.json();
    let mut told = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{path} says what it is for");
            told.insert((method.to_uppercase(), path.clone()));
        }
    }
    let known = ROUTES.iter().map(|(method, path, _)| (method.to_string(), path.to_string())).collect();
    assert_eq!(told, known);
    // What it speaks of is there.
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().expect("a name");
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}

#[tokio::test]
async fn a_glance_tells_how_it_stands() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &["--environment", "testing"]).await;
    stage.enqueue_many("orders", 3).await;
    eventually("the surface to tell of the stream", async || {
        let status = surface.get("/status").await.json();
        status["streams"][0]["sent_seq"] == 3 && status["unsent"] == 0
    })
    .await;
    stage.redis.command(&["XGROUP", "CREATE", "orders", "billing", "0"]).await;
    eventually("the group's lag", async || surface.get("/groups").await.json()[0]["lag"] == 3).await;
    let status = surface.get("/status").await.json();
    assert_eq!(status["this"]["phase"], "working");
    assert_eq!(status["this"]["environment"], "testing");
    assert_eq!(status["this"]["sent"], 3);
    assert_eq!(status["streams"], surface.get("/streams").await.json());
    assert_eq!(status["lag"], 3);
    assert!(status["relay"]["holder"].is_string() && status["relay"]["frontier"] == 3, "{status}");
    assert_eq!(surface.get("/consumers").await.json(), json!([]));
    assert_eq!(surface.get("/blockers").await.json(), json!([]));
    // The same that the verb says.
    let verb = stage.command(&["status", "--json"]).output().expect("the binary runs");
    let verb: Value = serde_json::from_slice(&verb.stdout).expect("JSON");
    assert_eq!(verb["streams"][0]["stream"], status["streams"][0]["stream"]);
    assert_eq!(verb["groups"][0]["lag"], 3);
}

#[tokio::test]
async fn a_large_backlog_is_told_in_a_moment_and_nearly_right() {
    let stage = Stage::set().await;
    stage.sql("insert into outbox (stream, id, type, payload) select 's', 'e' || n, 't', 'null' from generate_series(1, 250000) n").await;
    stage.sql("insert into outbox_stream (stream, paused_at) values ('s', now())").await;
    let surface = ready(&stage, &[]).await;
    let streams = surface.get("/streams").await.json();
    assert_eq!(streams[0]["unsent"], 250_000, "numbers without gaps are told exactly");
    stage.sql("delete from outbox where seq % 2 = 0").await;
    eventually("what is left", async || {
        let unsent = surface.get("/streams").await.json()[0]["unsent"].as_i64().expect("a number");
        (120_000..=130_000).contains(&unsent)
    })
    .await;
}

#[tokio::test]
async fn a_blocker_is_named() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    sqlx::query("insert into outbox (stream, type, id, payload) values ('s', 't', 'slow', '1')")
        .execute(&mut *tx)
        .await
        .expect("inserted");
    eventually("the blocker", async || {
        let blockers = surface.get("/blockers").await.json();
        blockers[0]["pid"].is_number() && blockers[0]["state"] == "idle in transaction"
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_redis_refuses_says_why() {
    let stage = Stage::set().await;
    stage.redis.command(&["SET", "refunds", "a plain value"]).await;
    let surface = ready(&stage, &["--retry-delay-min", "1h", "--retry-delay-max", "1h"]).await;
    stage.enqueue("refunds", "a").await;
    stage.enqueue("orders", "b").await;
    eventually("the refusal", async || {
        let streams = surface.get("/streams").await.json();
        let of = |name: &str| streams.as_array()?.iter().find(|one| one["stream"] == name)?.get("refusal").cloned();
        of("orders") == Some(Value::Null)
            && of("refunds").is_some_and(|why| why.as_str().is_some_and(|why| why.contains("WRONGTYPE")))
    })
    .await;
}

#[tokio::test]
async fn live_and_ready_mean_different_things() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &["--publish-timeout", "300ms"]).await;
    stage.redis.kill();
    stage.enqueue("s", "a").await;
    eventually("the relay not to be ready", async || surface.get("/ready").await.status == 503).await;
    let answer = surface.get("/ready").await;
    assert!(answer.problem().contains("Redis"), "{}", answer.text());
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(surface.get("/live").await.status, 200, "a restart would not help");
    let this = surface.get("/status").await.json()["this"].take();
    assert_eq!((&this["trouble"]["away"], &this["hangs"]), (&json!("redis"), &json!(false)), "{this}");
    assert!(this["trouble"]["reason"].as_str().is_some_and(|why| !why.is_empty()), "{this}");
    let since = this["trouble"]["since"].clone();
    let turns = this["sent"].clone();
    eventually("the clock to go on", async || {
        let status = surface.get("/status").await.json();
        assert_eq!((&status["this"]["trouble"]["since"], &status["this"]["sent"]), (&since, &turns));
        status["at"].as_str() > since.as_str()
    })
    .await;
    stage.redis.restart().await;
    eventually("the relay to be ready again", async || surface.get("/ready").await.status == 200).await;
    assert_eq!(surface.get("/status").await.json()["this"]["trouble"], Value::Null);
}

#[tokio::test]
async fn a_postgres_that_is_away_is_told_in_a_sentence_and_metrics_go_on() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    stage.postgres.kill();
    eventually("Postgres to be missed", async || surface.get("/ready").await.status == 503).await;
    eventually("the sentence", async || {
        let answer = surface.get("/status").await;
        answer.status == 503 && answer.problem().contains("Postgres")
    })
    .await;
    // Who listens hears that, too, and what this relay knows by itself.
    let heard = surface.listen(1).await;
    let (name, told) = &heard[0];
    assert_eq!((name.as_str(), &told["status"]), ("problem", &json!(503)), "{told}");
    assert!(told["detail"].is_string() && told["this"]["trouble"]["away"] == "postgres", "{told}");
    let metrics = surface.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.text().contains("\nrelay_postgres_up 0\n"), "{}", metrics.text());
    assert!(!metrics.text().contains("relay_unsent_events"));
    assert_eq!(surface.get("/live").await.status, 200);
    assert_eq!(surface.get("/history").await.status, 200);
}

#[tokio::test]
async fn history_and_events_tell_what_happens_second_by_second() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    stage.enqueue_many("s", 10).await;
    stage.until_arrived_by_itself("s", 10).await;
    let heard = surface.listen(2).await;
    assert!(
        heard.iter().all(|(name, status)| name == "status" && status["streams"][0]["stream"] == "s"),
        "{heard:?}"
    );
    eventually("a second in which something was sent", async || {
        let past = surface.get("/history?step=1").await.json();
        let samples = past["samples"].as_array().expect("samples");
        samples.iter().any(|s| s["sent_per_second"].as_f64() > Some(0.0) && s["latency_p99_ms"].is_number())
    })
    .await;
    assert_eq!(surface.get("/history").await.json()["step_seconds"], 10);
    assert!(surface.get("/history?step=7").await.problem().contains("1 or 10"));
}

#[tokio::test]
async fn metrics_are_what_their_table_says() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    stage.enqueue_many("orders", 5).await;
    stage.until_arrived_by_itself("orders", 5).await;
    stage.redis.command(&["XGROUP", "CREATE", "orders", "billing", "0"]).await;
    let told = "relay_group_lag_events{stream=\"orders\",group=\"billing\"} 5\n";
    eventually("the group in the metrics", async || surface.get("/metrics").await.text().contains(told)).await;
    let answer = surface.get("/metrics").await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text();
    for line in [
        "relay_sent_events_total{stream=\"orders\"} 5",
        "relay_unsent_events{stream=\"orders\"} 0",
        "relay_sent_seq{stream=\"orders\"} 5",
        "relay_latency_seconds_count 5",
        "relay_latency_seconds_bucket{le=\"+Inf\"} 5",
        "relay_working 1",
        "relay_holders 1",
        "relay_postgres_up 1",
        "relay_dead_letters{stream=\"orders\",group=\"\"} 0",
    ] {
        assert!(text.lines().any(|told| told == line), "{line}: {text}");
    }
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md")).expect("the page");
    let mut families = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().expect("a name");
        assert!(families.insert(name), "{name} is told in one piece");
        assert!(page.contains(&format!("| `{name}` |")), "{name} stands in docs/metrics.md");
    }
    // Each metric of the page that has something to tell is told.
    let silent = ["relay_group_handling_p99_seconds"];
    for row in page.lines().filter_map(|line| line.strip_prefix("| `relay_")) {
        let name = format!("relay_{}", row.split('`').next().expect("a name"));
        assert!(families.contains(name.as_str()) || silent.contains(&name.as_str()), "{name}");
    }
}

#[tokio::test]
async fn an_event_is_followed_from_its_row_to_its_groups() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    let seq = stage.enqueue("s", "followed").await;
    stage.until_arrived_by_itself("s", 1).await;
    stage.redis.command(&["XGROUP", "CREATE", "s", "slow", "0"]).await;
    stage.redis.command(&["XGROUP", "CREATE", "s", "quick", "0"]).await;
    let followed = async || {
        let trail = surface.get("/trace/followed").await.json();
        let groups = trail["rows"][0]["groups"].as_array().cloned().unwrap_or_default();
        let state = |name: &str| {
            let group = groups.iter().find(|group| group["name"] == name);
            group.map_or(String::new(), |group| group["state"].as_str().expect("a state").to_owned())
        };
        (trail["rows"][0]["entry"].clone(), trail["rows"][0]["in_redis"].clone(), state("slow"), state("quick"))
    };
    eventually("the entry", async || followed().await.1 == true).await;
    let entry = format!("1-{seq}");
    assert_eq!(followed().await, (json!(entry), json!(true), "waiting".into(), "waiting".into()));
    for group in ["slow", "quick"] {
        stage.redis.command(&["XREADGROUP", "GROUP", group, "me", "STREAMS", "s", ">"]).await;
    }
    stage.redis.command(&["XACK", "s", "quick", &entry]).await;
    assert_eq!(followed().await, (json!(entry), json!(true), "pending".into(), "settled".into()));
    let verb = stage.command(&["trace", "followed"]).output().expect("the binary runs");
    let said = String::from_utf8(verb.stdout).expect("text");
    assert!(said.contains(&entry) && said.contains("pending") && said.contains("settled"), "{said}");
    assert!(surface.get("/trace/nobody").await.problem().contains("nobody knows an event"));
}

#[tokio::test]
async fn beyond_loopback_each_route_asks_for_its_token_and_no_more() {
    let stage = Stage::set().await;
    let surface = guarded(&stage).await;
    for (method, path, token) in ROUTES {
        let path = path.replace("{event}", "x").replace("{id}", "x");
        let with = async |token: Option<&str>| {
            let authorization = token.map(bearer);
            let mut headers = vec![("content-type", "application/json")];
            headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
            if path == "/events" && token.is_some_and(|token| [READ, WRITE].contains(&token)) {
                return 200; // it does not end; listened to elsewhere
            }
            surface.ask(method, &path, &headers, Some(b"{}")).await.status
        };
        if token.is_empty() {
            assert_eq!(with(None).await, 200, "{path}");
            continue;
        }
        assert_eq!(with(None).await, 401, "{path}");
        for other in [READ, WRITE, PUBLISH] {
            let may = other == token || other == WRITE;
            let status = with(Some(other)).await;
            assert_eq!([401, 403].contains(&status), !may, "{method} {path} with {other}: {status}");
        }
    }
    for path in ["/openapi.json", "/nowhere/x"] {
        let status = surface.ask("GET", path, &[("authorization", &bearer(READ))], None).await.status;
        assert_eq!(status, if path == "/openapi.json" { 200 } else { 404 });
    }
    let refusal = surface.get("/status").await;
    assert_eq!(refusal.headers["www-authenticate"], "Bearer");
    assert!(refusal.problem().contains("RELAY_READ_TOKEN"));
}

#[tokio::test]
async fn who_guesses_tokens_has_to_wait() {
    let stage = Stage::set().await;
    let surface = guarded(&stage).await;
    let with = async |token: &str| surface.ask("GET", "/status", &[("authorization", &bearer(token))], None).await;
    assert_eq!(surface.get("/status").await.status, 401, "who shows nothing does not guess");
    for n in 0..10 {
        assert_eq!(with(&format!("guess-guess-guess-{n}")).await.status, 401);
    }
    let waits = with(READ).await;
    assert_eq!(waits.status, 429, "also with the right one, or the guess would tell");
    assert!(waits.headers["retry-after"].parse::<u64>().is_ok_and(|seconds| (1..=61).contains(&seconds)));
    assert_eq!(surface.get("/live").await.status, 200);
    assert!(!surface.relay.log().contains(READ));
}

#[tokio::test]
async fn other_sites_pages_can_neither_look_nor_act() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    let status = async |method, path, headers: &[(&str, &str)]| {
        surface.ask(method, path, headers, Some(b"{\"all\":true}")).await.status
    };
    // By another name: a page that gives its own name our address.
    assert_eq!(status("GET", "/status", &[("host", "evil.example")]).await, 421);
    assert_eq!(status("GET", "/status", &[("host", "localhost")]).await, 200);
    let json = ("content-type", "application/json");
    for stranger in
        [("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site"), ("origin", "https://evil.example")]
    {
        assert_eq!(status("POST", "/resume", &[json, stranger]).await, 403, "{stranger:?}");
        assert_eq!(status("DELETE", "/dlq/clear", &[stranger]).await, 403, "{stranger:?}");
    }
    let home = format!("http://{}", surface.address);
    for friend in [("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none"), ("origin", home.as_str())] {
        assert_eq!(status("POST", "/resume", &[json, friend]).await, 200, "{friend:?}");
    }
    // A form cannot say that it is JSON.
    assert_eq!(status("POST", "/resume", &[("content-type", "text/plain")]).await, 415);
    for path in ["/status", "/nowhere", "/metrics", "/openapi.json"] {
        let answer = surface.get(path).await;
        assert!(answer.headers["content-security-policy"].starts_with("default-src 'none'"), "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(answer.headers["cache-control"], "no-store", "{path}");
    }
}

#[tokio::test]
async fn what_is_asked_wrongly_is_answered_in_a_sentence() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    for (path, words) in [
        ("/dead?limit=0", "1 to 500"),
        ("/dead?limit=501", "1 to 500"),
        ("/dead?limit=many", "limit"),
        ("/dead?streams=a", "streams"),
        ("/dead?after=nonsense", "next"),
        ("/dead?search=%00", "NUL"),
        ("/dlq/items?limit=1001", "1 to 1000"),
        ("/history?step=-1", "step"),
    ] {
        let answer = surface.get(path).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.problem().contains(words), "{path}: {}", answer.text());
    }
    for (path, body, status) in [
        ("/dead/replay", json!({}), 400),
        ("/dead/replay", json!({"all": true, "stream": "s"}), 400),
        ("/dead/drop", json!({"idz": []}), 400),
        ("/dead/drop", json!({"ids": ["nobody"]}), 404),
        ("/pause", json!({}), 400),
        ("/pause", json!({"stream": ""}), 400),
        ("/pause", json!({"stream": "s", "all": true}), 400),
        ("/resume", json!([]), 400),
        ("/api/v1/events/publish", json!({"stream": "s"}), 400),
        ("/api/v1/events/publish", json!("s"), 400),
    ] {
        let answer = surface.post(path, &body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        answer.problem();
    }
    assert_eq!(surface.get("/dead/nobody").await.status, 404);
    assert_eq!(surface.get("/jobs/nobody").await.status, 404);
    assert_eq!(surface.ask("POST", "/dlq/retry/nobody", &[], None).await.status, 404);
    assert_eq!(surface.ask("PUT", "/status", &[], None).await.status, 405);
    surface.ask("PUT", "/status", &[], None).await.problem();
}

#[tokio::test]
async fn too_much_of_anything_is_refused_and_the_next_caller_is_served() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    let long = "x".repeat(20_000);
    assert_eq!(surface.ask("GET", "/live", &[("x-long", &long)], None).await.status, 431);
    let many: Vec<(String, String)> = (0..100).map(|n| (format!("x-{n}"), n.to_string())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(surface.ask("GET", "/live", &many, None).await.status, 431);
    let large = vec![b' '; (8 << 20) + 1];
    let json = [("content-type", "application/json")];
    let answer = surface.ask("POST", "/api/v1/events/publish", &json, Some(&large)).await;
    assert_eq!(answer.status, 413);
    assert!(answer.problem().contains("8388608 bytes"));
    assert_eq!(surface.get("/live").await.status, 200);
}

/// Anything at all, in path, headers and body: 4xx or 2xx, and the process lives.
/// So nothing that is asked here takes a turn or a connection from what is sent.
#[tokio::test]
async fn it_has_a_thread_and_connections_of_its_own() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    assert_eq!(surface.get("/status").await.status, 200);
    let connections = "select count(*) from pg_stat_activity where application_name = ";
    assert!(stage.ask::<i64>(&format!("{connections}'relay http'")).await > 0);
    assert!(stage.ask::<i64>(&format!("{connections}'relay'")).await > 0);
    // Only Linux tells of a process's threads by their names.
    if cfg!(target_os = "linux") {
        let tasks = format!("/proc/{}/task", surface.relay.id().expect("it runs"));
        let threads: Vec<String> = std::fs::read_dir(tasks)
            .expect("its threads")
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
            .collect();
        assert!(threads.iter().any(|name| name.trim() == "relay-http") && threads.len() > 1, "{threads:?}");
    }
}

#[tokio::test]
async fn nothing_that_is_sent_to_it_is_answered_with_a_failure_of_ours() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    let mut runner = fuzzer(Config::default());
    let routes: Vec<_> = ROUTES.iter().filter(|(_, path, _)| *path != "/events").copied().collect();
    let scrap = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        "\\PC{0,60}".prop_map(String::into_bytes),
        r#"\{"(stream|ids|all|search|payload|type|due|key|id|ver|headers)": ?("\PC{0,10}"|[0-9]{1,20}|null|true|\[\]|\{\})\}"#
            .prop_map(String::into_bytes),
    ];
    let strategy = (0..routes.len(), "[ -~]{0,20}", "[!-~]{0,12}", "[ -~]{0,40}", scrap);
    let mut failures = vec![];
    for _ in 0..300 {
        let tree = strategy.new_tree(&mut runner).expect("nothing is filtered out");
        let (route, name, header, value, body) = tree.current();
        let (method, path, _) = routes[route];
        let name: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let path = path.replace("{event}", &name).replace("{id}", &name);
        let header = header.replace([':', ' '], "");
        let head = format!(
            "{method} {path}?{name} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             x{header}: {value}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let answer = surface.raw(&[head.as_bytes(), &body].concat()).await;
        if let Some(answer) = answer.filter(|answer| answer.status >= 500) {
            failures.push(format!("{head}{body:?}: {}", answer.text()));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert_eq!(surface.get("/live").await.status, 200);
    assert!(!surface.relay.log().contains("panicked"), "{}", surface.relay.log());
}

#[tokio::test]
async fn an_address_that_is_taken_ends_the_relay_with_a_sentence() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    let taken = surface.address.to_string();
    let output = stage.command(&["run", "--listen", &taken]).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains("--listen (RELAY_LISTEN)") && said.contains(&taken), "{said}");
}

#[tokio::test]
async fn an_address_that_others_can_reach_is_refused_without_tokens() {
    let stage = Stage::set().await;
    let output = stage.command(&["run", "--listen", "0.0.0.0:0"]).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("RELAY_READ_TOKEN"));
}

#[tokio::test]
async fn the_relay_stops_in_order_while_somebody_listens() {
    let stage = Stage::set().await;
    let mut surface = ready(&stage, &[]).await;
    let (heard, ()) = tokio::join!(surface.listen(1), async {});
    assert_eq!(heard.len(), 1);
    surface.relay.signal(outbox_tests::Signal::Term);
    assert_eq!(surface.relay.wait().await, 0);
}
