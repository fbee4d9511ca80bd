//! Parts of the pipeline's data that are lost.

use crate::pipeline::{Pipeline, data, reading, site};
use outbox_tests::eventually;

#[tokio::test]
async fn a_file_of_articles_that_is_lost_is_told_and_data_that_are_gone_wholly_begin_anew() {
    let (data, place) = (data(), tempfile::tempdir().expect("a folder"));
    let (_site, file) = site(place.path()).await;
    let start = || Pipeline::start_as(reading(data.path(), &file, &[]));
    let pipeline = start().await;
    pipeline.finds("zanzibar").await;
    pipeline.end().await;

    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(data.path().join(format!("bisan.db{end}")));
    }
    let pipeline = start().await;
    let stages = eventually("the reader's side to have looked", async || {
        let stages = pipeline.stages().await;
        stages["bisan"]["last_failure"].is_string().then_some(stages)
    })
    .await;
    let why = stages["bisan"]["last_failure"].as_str().expect("text");
    assert!(why.contains("is new, but the group") && why.contains("rebuild --from-hasad"), "{why}");
    for part in ["relay", "fallah", "hasad"] {
        assert_eq!(stages[part]["failures"], 0, "{part}");
    }
    pipeline.end().await;

    // All of it together tells one story again.
    for entry in std::fs::read_dir(data.path()).expect("it is there") {
        let path = entry.expect("readable").path();
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.expect("removed");
    }
    let pipeline = start().await;
    pipeline.finds("zanzibar").await;
    pipeline.end().await;
}
