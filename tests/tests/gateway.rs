//! Events from producers without SQL: over HTTP, into the outbox, each once.

use outbox_tests::{Stage, Surface, eventually};
use serde_json::{Value, json};

const PUBLISH: &str = "/api/v1/events/publish";

async fn gateway() -> (Stage, Surface) {
    let stage = Stage::set().await;
    let surface = Surface::begin(&stage, &[]).await;
    eventually("the relay to be ready", async || surface.get("/ready").await.status == 200).await;
    (stage, surface)
}

#[tokio::test]
async fn what_is_answered_with_200_is_in_the_outbox_and_arrives() {
    let (stage, surface) = gateway().await;
    let event = json!({"stream": "orders", "type": "order.placed", "payload": {"cents": 1999}, "key": "order-42", "id": "o-42",
                       "ver": 2, "headers": {"tenant": "acme"}});
    let answer = surface.post(PUBLISH, &event).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json(), json!({"id": "o-42", "stream": "orders", "new": true, "seq": 1}));
    let row: String = stage
        .ask("select concat_ws('|', stream, type, key, ver, payload, headers) from outbox where id = 'o-42'")
        .await;
    assert_eq!(row, r#"orders|order.placed|order-42|2|{"cents":1999}|{"tenant": "acme"}"#);
    stage.until_arrived_by_itself("orders", 1).await;
    assert_eq!(stage.ids("orders").await, ["o-42"]);
}

#[tokio::test]
async fn an_event_published_twice_with_one_id_is_one_event() {
    let (stage, surface) = gateway().await;
    let event = json!({"stream": "s", "type": "t", "payload": 1, "id": "once"});
    assert_eq!(surface.post(PUBLISH, &event).await.json()["new"], true);
    let again = surface.post(PUBLISH, &event).await;
    assert_eq!((again.status, again.json()["new"].clone()), (200, json!(false)));
    let race = json!({"stream": "s", "type": "t", "payload": 2, "id": "race"});
    let (one, other) = tokio::join!(surface.post(PUBLISH, &race), surface.post(PUBLISH, &race));
    let news = [one.json(), other.json()].iter().filter(|answer| answer["new"] == true).count();
    assert_eq!(news, 1);
    assert_eq!(stage.ask::<i64>("select count(*) from outbox").await, 2);
    // The same id for something else is no repetition.
    let taken = surface.post(PUBLISH, &json!({"stream": "s", "type": "t", "payload": 3, "id": "once"})).await;
    assert_eq!(taken.status, 409);
    assert!(taken.problem().contains("\"once\" is taken"));
}

#[tokio::test]
async fn many_are_written_all_or_none_and_answered_in_their_order() {
    let (stage, surface) = gateway().await;
    let many: Vec<Value> =
        (0..3).map(|n| json!({"stream": "s", "type": "t", "payload": n, "id": format!("e-{n}")})).collect();
    let answer = surface.post(PUBLISH, &json!(many)).await.json();
    let ids: Vec<&str> =
        answer.as_array().expect("an array").iter().map(|one| one["id"].as_str().expect("an id")).collect();
    assert_eq!(ids, ["e-0", "e-1", "e-2"]);
    let bad =
        json!([{"stream": "s", "type": "t", "payload": 1, "id": "good"}, {"stream": "", "type": "t", "payload": 1}]);
    let answer = surface.post(PUBLISH, &bad).await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.problem(), "event 1: stream is empty");
    assert_eq!(surface.post(PUBLISH, &json!([])).await.json(), json!([]));
    let crowd: Vec<Value> = (0..1001).map(|_| json!({"stream": "s", "payload": 1})).collect();
    assert!(surface.post(PUBLISH, &json!(crowd)).await.problem().contains("at most 1000"));
    assert_eq!(stage.ask::<i64>("select count(*) from outbox").await, 3);
}

#[tokio::test]
async fn a_payload_that_is_too_large_is_refused_with_a_sentence() {
    let (stage, surface) = gateway().await;
    let answer = surface.post(PUBLISH, &json!({"stream": "s", "payload": "x".repeat(1 << 20)})).await;
    assert_eq!(answer.status, 422);
    assert!(answer.problem().contains("at most 1048576 may travel"), "{}", answer.text());
    assert_eq!(stage.ask::<i64>("select count(*) from outbox").await, 0);
}

#[tokio::test]
async fn a_payload_keeps_its_bytes_and_what_no_reader_can_parse_is_refused() {
    let (stage, surface) = gateway().await;
    let send = async |payload: &str| {
        let body = format!(r#"{{"stream": "s", "payload": {payload}, "id": "p"}}"#);
        surface.ask("POST", PUBLISH, &[("content-type", "application/json")], Some(body.as_bytes())).await
    };
    assert_eq!(send(r#"{"b": 1,  "a": 1.0, "n": 123456789012345678901234567890}"#).await.status, 200);
    let kept: String = stage.ask("select payload::text from outbox").await;
    assert_eq!(kept, r#"{"b": 1,  "a": 1.0, "n": 123456789012345678901234567890}"#);
    for bad in [r#""\u0000""#, r#""\ud800""#] {
        assert!([400, 422].contains(&send(bad).await.status), "{bad}");
    }
}

#[tokio::test]
async fn a_scheduled_event_waits_and_one_without_a_type_bears_its_streams_name() {
    let (stage, surface) = gateway().await;
    for (id, due) in [("by-time", "2100-01-01T00:00:00Z"), ("by-delay", "1h")] {
        let event = json!({"stream": "later", "payload": 1, "id": id, "due": due});
        assert_eq!(surface.post(PUBLISH, &event).await.status, 200);
    }
    assert_eq!(stage.ask::<i64>("select count(*) from outbox where due_at > now() and type = 'later'").await, 2);
    let wrong = surface.post(PUBLISH, &json!({"stream": "later", "payload": 1, "due": "soon"})).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.problem().contains("such as 10m"));
}

#[tokio::test]
async fn the_callers_trace_goes_on_with_the_event() {
    let (stage, surface) = gateway().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [("content-type", "application/json"), ("traceparent", parent)];
    assert_eq!(surface.ask("POST", PUBLISH, &headers, Some(br#"{"stream": "s", "payload": 1}"#)).await.status, 200);
    assert_eq!(stage.ask::<String>("select headers ->> 'traceparent' from outbox").await, parent);
}

#[tokio::test]
async fn while_redis_is_away_events_are_taken_and_while_postgres_is_they_are_not() {
    let (stage, surface) = gateway().await;
    stage.redis.kill();
    let event = |id: &str| json!({"stream": "s", "payload": 1, "id": id});
    assert_eq!(surface.post(PUBLISH, &event("a")).await.status, 200);
    stage.postgres.kill();
    let refused = surface.post(PUBLISH, &event("b")).await;
    assert_eq!(refused.status, 503);
    assert!(refused.problem().contains("Postgres"), "{}", refused.text());
    stage.postgres.restart().await;
    eventually("the gateway to take events again", async || surface.post(PUBLISH, &event("b")).await.status == 200)
        .await;
    stage.redis.restart().await;
    stage.until_arrived_by_itself("s", 2).await;
    assert_eq!(stage.ids("s").await, ["a", "b"]);
}
