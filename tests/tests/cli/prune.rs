//! What was sent long ago.

use super::*;

/// Three events that were sent a day ago, and one that was not sent.
async fn with_old_rows() -> Stage {
    let stage = Stage::set().await;
    let mut relay = stage.relay(&[]).await;
    stage.enqueue_many("s", 3).await;
    stage.until_entries(&mut relay, "s", 3).await;
    eventually("the report", async || {
        relay.tick().await.expect("Postgres is there");
        stage.ask::<i64>("select coalesce(max(sent_seq), 0) from outbox_stream").await == 3
    })
    .await;
    stage.sql("update outbox_receipt set published_at = now() - interval '1 day'").await;
    stage.enqueue("s", "unsent").await;
    stage
}

#[tokio::test]
async fn prune_deletes_what_is_old_and_sent_and_says_how_much() {
    let stage = with_old_rows().await;
    assert_eq!(verb(&stage, &["prune", "--retention", "2d"]), "deleted 0 published rows\n");
    assert_eq!(verb(&stage, &["prune", "--retention", "23h"]), "deleted 3 published rows\n");
    assert_eq!(verb(&stage, &["prune", "--retention", "1ms"]), "deleted 0 published rows\n");
    assert_eq!(stage.ask::<String>("select string_agg(id, ',') from outbox").await, "unsent");
}

/// The same variable means the same to every verb: 0 keeps rows for ever.
#[tokio::test]
async fn a_retention_of_0_keeps_rows_for_ever_also_when_pruning_by_hand() {
    let stage = with_old_rows().await;
    let output = output(stage.command(&["prune"]).env("RELAY_RETENTION", "0"));
    assert_eq!(stage.ask::<i64>("select count(*) from outbox").await, 4, "{}", stdout(&output));
}
