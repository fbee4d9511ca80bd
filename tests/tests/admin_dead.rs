//! Dead letters over HTTP: found, looked at, sent again, forgotten, and every deed written down.

use std::collections::BTreeSet;

use outbox_tests::{Response, Stage, Surface, eventually};
use serde_json::{Value, json};

/// So many that could not be sent, and so many that a group could not take.
async fn stage_with(unsent: usize, of_group: usize) -> (Stage, Surface) {
    let stage = Stage::set().await;
    stage
        .sql(&format!(
            "insert into outbox (stream, id, type, key, payload, due_at, dead_at, last_error)
             select 's', 'unsent-' || n, 't', 'key-' || n, json_build_object('n', n), 'infinity', now(), 'WRONGTYPE is the reason'
               from generate_series(1, {unsent}) n;
             insert into outbox_dead_letter (stream, group_name, lane, entry, origin, id, type, ver, time, payload, fields, replayable,
                                             attempts, reason, buried_at)
             select 's', 'billing', 's', '1-' || n, '1-' || n, 'left-' || n, 't', 1, now(), '{{\"n\": ' || n || '}}', '{{}}', true,
                    5, 'no such account', now() + n * interval '1 ms'
               from generate_series(1, {of_group}) n"
        ))
        .await;
    let surface = Surface::begin(&stage, &[]).await;
    eventually("the relay to be ready", async || surface.get("/ready").await.status == 200).await;
    (stage, surface)
}

async fn total(surface: &Surface, filter: &str) -> i64 {
    surface.get(&format!("/dead?{filter}")).await.json()["total"].as_i64().expect("a number")
}

#[tokio::test]
async fn pages_hold_every_letter_once_however_small_they_are() {
    let (_stage, surface) = stage_with(20, 17).await;
    for limit in [1, 7, 36, 37, 100] {
        let (mut seen, mut pages, mut after) = (BTreeSet::new(), 0, String::new());
        loop {
            let page = surface.get(&format!("/dead?limit={limit}{after}")).await.json();
            assert_eq!(page["total"], 37);
            let items = page["items"].as_array().expect("items");
            assert!(items.len() <= limit);
            for item in items {
                assert!(seen.insert(item["id"].as_str().expect("an id").to_owned()), "{item} comes twice");
                assert!(item.get("payload").is_none(), "the list is without payloads");
            }
            pages += 1;
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!((seen.len(), pages), (37, 37usize.div_ceil(limit)), "{limit}");
    }
}

#[tokio::test]
async fn as_many_are_counted_as_listed_also_when_their_group_is_gone() {
    let (stage, surface) = stage_with(2, 3).await;
    assert_eq!(stage.ask::<i64>("select count(*) from outbox_group").await, 0, "the group of the letters");
    assert_eq!(total(&surface, "").await, 5);
    eventually("the status to say so", async || surface.get("/status").await.json()["dead"] == 5).await;
    let said = stage.command(&["status", "--json"]).output().expect("the binary runs");
    let said: Value = serde_json::from_slice(&said.stdout).expect("JSON");
    assert_eq!(said["relay"]["dead"], 5);
}

#[tokio::test]
async fn letters_are_found_by_what_they_are_and_what_they_hold() {
    let (_stage, surface) = stage_with(3, 2).await;
    for (filter, count) in [
        ("", 5),
        ("stream=s", 5),
        ("stream=other", 0),
        ("type=t", 5),
        ("group=billing", 2),
        ("search=wrongtype", 3),
        ("search=NO+SUCH", 2),
        ("search=key-2", 1),
        ("search=left-1", 1),
        ("search=%22n%22%3A+2", 1),
        ("search=%25", 0),
    ] {
        assert_eq!(total(&surface, filter).await, count, "{filter}");
    }
    let shown = surface.get("/dead/left-2").await.json();
    assert_eq!(shown[0]["payload"], json!({"n": 2}));
    assert_eq!(shown[0]["last_error"], "no such account");
}

#[tokio::test]
async fn a_dry_run_says_what_a_replay_then_does() {
    let (stage, surface) = stage_with(3, 2).await;
    let wish = |dry_run: bool| json!({"search": "reason", "dry_run": dry_run});
    let would = surface.post("/dead/replay", &wish(true)).await.json();
    assert_eq!((would["state"].as_str(), would["done"].as_i64()), (Some("dry_run"), Some(3)));
    assert_eq!(total(&surface, "").await, 5, "nothing was done");
    let done = surface.post("/dead/replay", &wish(false)).await.json();
    assert_eq!(
        (done["state"].as_str(), done["done"].as_i64(), done["meant"].as_i64()),
        (Some("done"), Some(3), Some(3))
    );
    stage.until_arrived_by_itself("s", 3).await;
    assert_eq!(total(&surface, "").await, 2);
    // The job is remembered.
    let id = done["id"].as_str().expect("an id");
    assert_eq!(surface.get(&format!("/jobs/{id}")).await.json()["done"], 3);
    let line = surface.relay.saw("an operator acts").await;
    assert!(line.contains("127.0.0.1") && line.contains("replay dead letters") && line.contains("count=3"), "{line}");
    // What a group left goes to that group alone.
    assert_eq!(surface.post("/dead/replay", &json!({"group": "billing"})).await.json()["done"], 2);
    stage.until_arrived_by_itself("s:billing:replay", 2).await;
}

#[tokio::test]
async fn what_is_dropped_is_named_and_the_rest_stays() {
    let (_stage, surface) = stage_with(3, 2).await;
    let dropped = surface.post("/dead/drop", &json!({"ids": ["unsent-1", "left-1"]})).await.json();
    assert_eq!(dropped["done"], 2);
    assert_eq!(total(&surface, "").await, 3);
    assert_eq!(surface.get("/dead/unsent-1").await.status, 404);
    assert_eq!(surface.post("/dead/drop", &json!({"all": true})).await.json()["done"], 3);
    assert_eq!(total(&surface, "").await, 0);
}

#[tokio::test]
async fn what_takes_long_goes_on_by_itself_and_tells_how_far_it_is() {
    let (stage, surface) = stage_with(0, 5_000).await;
    // Somebody holds a letter of each portion but the first ones; `for update skip locked` passes over it, so hold the table.
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    sqlx::query("lock table outbox_dead_letter in share row exclusive mode").execute(&mut *tx).await.expect("locked");
    let begun = surface.post("/dead/replay", &json!({"all": true})).await;
    assert_eq!(begun.status, 202, "{}", begun.text());
    let at = begun.headers["location"].clone();
    assert_eq!(surface.get(&at).await.json()["state"], "running");
    tx.rollback().await.expect("let go");
    let job = eventually("the job to end", async || {
        let job = surface.get(&at).await.json();
        (job["state"] != "running").then_some(job)
    })
    .await;
    assert_eq!((job["state"].as_str(), job["done"].as_i64()), (Some("done"), Some(5_000)), "{job}");
    stage.until_arrived_by_itself("s:billing:replay", 5_000).await;
}

#[tokio::test]
async fn a_dead_letter_queues_own_routes_work_too() {
    let (stage, surface) = stage_with(3, 2).await;
    assert_eq!(surface.get("/dlq/count").await.json(), json!({"count": 5}));
    let items = surface.get("/dlq/items?limit=2").await.json();
    assert_eq!(items["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(items["count"], 5);
    assert!(items["items"][0]["payload"].is_object());
    let bare = async |method, path| -> Response { surface.ask(method, path, &[], None).await };
    assert_eq!(bare("POST", "/dlq/retry/unsent-2").await.json()["done"], 1);
    stage.until_arrived_by_itself("s", 1).await;
    assert_eq!(bare("DELETE", "/dlq/clear").await.json()["done"], 4);
    assert_eq!(surface.get("/dlq/count").await.json(), json!({"count": 0}));
    let line: Value = json!(surface.relay.log().lines().filter(|line| line.contains("an operator acts")).count());
    assert_eq!(line, 2);
}
