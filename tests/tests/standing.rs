//! How it stands, as a relay's surface tells it, which knows its relay, and as `relay status` does, which asks Postgres alone. They
//! never say different things; what the one cannot know, it says that it does not.

use outbox_tests::{Stage, Surface, eventually};
use serde_json::Value;

/// The level of a verdict, and the kinds of what was found.
fn found(told: &Value) -> (String, Vec<String>) {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let findings = told["verdict"]["findings"].as_array().expect("findings");
    (text(&told["verdict"]["level"]), findings.iter().map(|one| text(&one["kind"])).collect())
}

fn status(stage: &Stage) -> Value {
    let output = stage.command(&["status", "--json"]).output().expect("the binary runs");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test]
async fn while_redis_is_away_nobody_says_that_all_is_well() {
    let stage = Stage::set().await;
    let surface = Surface::begin(&stage, &[]).await;
    stage.enqueue("s", "a").await;
    stage.until_arrived_by_itself("s", 1).await;
    stage.redis.command(&["XGROUP", "CREATE", "s", "g", "$"]).await;
    let well = ("well".to_owned(), vec!["well".to_owned()]);
    let page = async || found(&surface.get("/status").await.json());
    let both_are_well = async || page().await == well && found(&status(&stage)) == well;
    eventually("the group to be known", async || stage.ask::<bool>("select exists (select from outbox_group)").await)
        .await;
    eventually("both to say that all is well", both_are_well).await;
    // Long after anything was sent: the relay goes on to hear of Redis.
    stage.sql("update outbox_stream set sent_at = now() - interval '1 hour'").await;
    eventually("both to say that all is well", both_are_well).await;

    stage.redis.stop();
    eventually("the page to know", async || page().await == ("stuck".to_owned(), vec!["redis".to_owned()])).await;
    // The relay holds its lease for a while, gives it up and takes it again. Whenever it is asked:
    eventually("the verb not to know", async || found(&status(&stage)).0 != "well").await;
    let mut seen = std::collections::BTreeSet::new();
    eventually("it to have been asked with and without a lease", async || {
        let told = status(&stage);
        let (level, kinds) = found(&told);
        let sentence = &told["verdict"]["findings"][0];
        match kinds[0].as_str() {
            "redis unknown" => {
                assert_eq!(level, "look");
                assert!(
                    sentence["sentence"].as_str().expect("text").contains("does not know whether Redis is there")
                );
            }
            "nobody" => {
                assert_eq!(level, "stuck");
                assert!(sentence["reason"].as_str().expect("a reason").contains("cannot reach Redis"), "{sentence}");
            }
            _ => panic!("{told}"),
        }
        seen.insert(kinds[0].clone());
        seen.len() == 2
    })
    .await;
    // What waits is late, as both say; who asks Postgres alone still counts what was sent within the last minute.
    stage.enqueue("s", "b").await;
    stage.sql("update outbox set created_at = now() - interval '1 minute' where id = 'b'").await;
    eventually("the page to count it", async || {
        surface.get("/status").await.text().contains("1 event waits; nothing is lost.")
    })
    .await;
    let (_, kinds) = found(&status(&stage));
    assert!(["silent s", "behind s", "nobody"].contains(&kinds[0].as_str()), "{kinds:?}");

    stage.redis.restart().await;
    stage.until_arrived_by_itself("s", 2).await;
    // Nobody reads this group; it is not what is late here.
    stage.redis.command(&["XGROUP", "SETID", "s", "g", "$"]).await;
    eventually("both to say that all is well", both_are_well).await;
}
