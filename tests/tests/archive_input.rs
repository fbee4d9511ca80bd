//! Events that cannot be archived are buried at once, each with its reason, and hold up nobody.

use contract::{ArticleUpserted, AuthorUpserted};
use outbox::Event;
use outbox_tests::{Cellar, Store, eventually, letters, story};
use serde_json::{Value, json};

const DEAD: &str = "content:scraped:hasad-cg:dead";

fn event(id: &str, r#type: &str, ver: u16, payload: &Value) -> Event {
    Event::draft(contract::STREAM, r#type).id(id).ver(ver).json(payload).expect("within the outbox's limits")
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut payload = story("bad", 1, "bad").payload();
    change(&mut payload);
    payload
}

#[tokio::test]
async fn what_cannot_be_archived_is_buried_at_once_with_its_reason_and_its_neighbours_are_archived() {
    let cellar = Cellar::open(Store::Folder).await;
    let large = json!("x".repeat(70_000));
    let bad: Vec<(&str, &str, u16, Value, &str)> = vec![
        ("no-url", ArticleUpserted::TYPE, 1, changed(|event| event["source_url"] = json!("")), "source_url"),
        ("no-field", ArticleUpserted::TYPE, 1, json!({"article": {}}), "payload"),
        ("no-object", ArticleUpserted::TYPE, 1, json!("text"), "payload"),
        (
            "hash",
            ArticleUpserted::TYPE,
            1,
            changed(|event| event["article"]["body"] = json!("other")),
            "content_hash",
        ),
        ("type", "article.praised", 1, changed(|_| {}), "article.praised"),
        ("ver", ArticleUpserted::TYPE, 2, changed(|_| {}), "version 2"),
        ("time", ArticleUpserted::TYPE, 1, changed(|event| event["fetched_at"] = json!("then")), "fetched_at"),
        (
            "size",
            ArticleUpserted::TYPE,
            1,
            changed(|event| {
                event["article"]["body"] = large;
                let article: contract::Article =
                    serde_json::from_value(event["article"].clone()).expect("an article");
                event["content_hash"] = json!(article.content_hash());
            }),
            "HASAD_OBJECT_BYTES_MAX",
        ),
    ];
    // Among good ones, so that a batch holds both.
    let mut events = vec![];
    for (nth, (id, r#type, ver, payload, _)) in bad.iter().enumerate() {
        events.push(story(&format!("good-{nth}"), 1, &format!("content {nth}")).event());
        events.push(event(id, r#type, *ver, payload));
    }
    cellar.tell(&events).await;
    let archive = cellar.run(&["--object-bytes-max", "65536"]);
    cellar.until_settled().await;
    drop(archive);
    assert_eq!(cellar.rows().await.len(), bad.len(), "the good ones");
    let buried = letters(&cellar.stage.redis, DEAD).await;
    assert_eq!(buried.len(), bad.len());
    for (id, _, _, _, reason) in &bad {
        let letter = buried.iter().find(|letter| letter["id"] == *id).unwrap_or_else(|| panic!("{id} is not buried"));
        assert!(letter["dead:reason"].contains(reason), "{id}: {}", letter["dead:reason"]);
        assert_eq!(letter["dead:attempts"], "1", "{id}");
    }
    cellar.assert_sound().await;
}

#[tokio::test]
async fn a_second_content_under_one_version_is_buried_and_the_first_one_stays() {
    let cellar = Cellar::open(Store::Folder).await;
    cellar.archive(&[story("a", 1, "first").event()]).await;
    let second = event("other-id", ArticleUpserted::TYPE, 1, &story("a", 1, "second").payload());
    let same = event("same-again", ArticleUpserted::TYPE, 1, &story("a", 1, "first").payload());
    cellar.archive(&[second, same, story("b", 1, "neighbour").event()]).await;
    let buried = letters(&cellar.stage.redis, DEAD).await;
    assert_eq!(buried.len(), 1, "what says the same is no contradiction");
    assert_eq!(buried[0]["id"], "other-id");
    assert!(
        buried[0]["dead:reason"].contains("archived already, with other content"),
        "{}",
        buried[0]["dead:reason"]
    );
    assert_eq!(cellar.rows().await[0].4, Some(story("a", 1, "first").hash()));
    assert_eq!(cellar.rows().await.len(), 2);
    // Its object came first, and is an orphan now: nobody names it.
    cellar.sweep().await;
    cellar.assert_sound().await;
}

#[tokio::test]
async fn authors_are_settled_and_not_archived() {
    let cellar = Cellar::open(Store::Folder).await;
    let author = event("author", AuthorUpserted::TYPE, 1, &json!({"source_url": "urn:author:daily:salma"}));
    cellar.archive(&[author, story("a", 1, "one").event()]).await;
    eventually("nothing to be buried", async || letters(&cellar.stage.redis, DEAD).await.is_empty()).await;
    assert_eq!(cellar.rows().await.len(), 1);
}

#[tokio::test]
async fn what_postgres_cannot_hold_in_a_name_harms_nobody() {
    let cellar = Cellar::open(Store::Folder).await;
    // The outbox takes no such text, and a file may hold it: it is in the object, and in no column.
    let mut told = story("a", 1, "one");
    told.article.title = "a \u{0} b \u{1b}[31m".to_owned();
    told.article.body = "with \u{0}".to_owned();
    told.origin.content_hash = told.article.content_hash();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let line = json!({ "type": ArticleUpserted::TYPE, "data": told.payload() });
    std::fs::write(file.path(), line.to_string()).expect("written");
    assert_eq!(
        cellar.verb(&["import-ndjson", "--without-end", file.path().to_str().expect("a plain path")]).await.0,
        0
    );
    assert_eq!(cellar.rows().await.len(), 1);
    let (code, shown) = cellar.ask(&["show", "https://example.org/a"]).await;
    assert_eq!((code, &shown["event"]), (0, &told.payload()));
}

#[tokio::test]
async fn a_source_that_is_left_alone_is_settled_whatever_is_wrong_with_its_events() {
    let cellar = Cellar::open(Store::Folder).await;
    let flawed = |source: &str| {
        changed(|event| {
            event["source_name"] = json!(source);
            event["source_url"] = json!("");
        })
    };
    let events = [
        event("left-alone", ArticleUpserted::TYPE, 1, &flawed("weekly")),
        event("unknown", "article.praised", 7, &flawed("weekly")),
        event("ours", ArticleUpserted::TYPE, 1, &flawed("daily")),
        story("a", 1, "one").event(),
    ];
    cellar.tell(&events).await;
    let archive = cellar.run(&["--skip-source", "weekly"]);
    cellar.until_settled().await;
    drop(archive);
    let buried = letters(&cellar.stage.redis, DEAD).await;
    assert_eq!(buried.iter().map(|letter| letter["id"].as_str()).collect::<Vec<_>>(), ["ours"]);
    assert_eq!(cellar.rows().await.len(), 1);
}
