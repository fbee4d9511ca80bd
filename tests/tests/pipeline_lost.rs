//! Parts of the pipeline's data that are lost: each loss is made good by itself, or is said with the way out, and none is taken for
//! a beginning.

use std::path::Path;
use std::process::Command;

use outbox_tests::{Child, binary, eventually, text};

use crate::pipeline::{Pipeline, data, reading, site};

/// One run of the pipeline over a site with one article, which is found and archived; then the pipeline has ended.
async fn first_run(data: &Path, file: &Path, url: &str) {
    let pipeline = Pipeline::start_as(reading(data, file, &[])).await;
    pipeline.finds("zanzibar").await;
    pipeline.until_versions(url, 1).await;
    pipeline.end().await;
}

#[tokio::test]
async fn a_redis_that_is_lost_comes_back_by_itself_and_nothing_is_done_twice() {
    let (data, place) = (data(), tempfile::tempdir().expect("a folder"));
    let (site, file) = site(place.path()).await;
    let url = site.url("/a");
    first_run(data.path(), &file, &url).await;

    std::fs::remove_dir_all(data.path().join("redis")).expect("it was there");
    let pipeline = Pipeline::start_as(reading(data.path(), &file, &[])).await;
    site.article("/a", "Zanzibar paints a lighthouse", &text(1));
    pipeline.finds("paints").await;
    assert_eq!(pipeline.until_versions(&url, 2).await.len(), 2);
    assert_eq!(pipeline.articles().await.len(), 1);
    let stages = pipeline.stages().await;
    for part in ["relay", "fallah", "hasad", "bisan", "redis"] {
        assert_eq!(stages[part]["failures"], 0, "{part}: {stages}");
    }
    pipeline.end().await;
}

#[tokio::test]
async fn objects_that_are_lost_are_told_at_once_with_the_way_out() {
    let (data, place) = (data(), tempfile::tempdir().expect("a folder"));
    let (site, file) = site(place.path()).await;
    let url = site.url("/a");
    first_run(data.path(), &file, &url).await;

    std::fs::remove_dir_all(data.path().join("objects")).expect("it was there");
    let pipeline = Pipeline::start_as(reading(data.path(), &file, &[])).await;
    // Nothing has happened meanwhile, and it is said all the same.
    let stages = eventually("the archive to have looked", async || {
        let stages = pipeline.stages().await;
        stages["hasad"]["last_failure"].is_string().then_some(stages)
    })
    .await;
    let why = stages["hasad"]["last_failure"].as_str().expect("text");
    assert!(why.contains("no object `owner`") && why.contains("hasad fsck"), "{why}");
    for part in ["relay", "fallah", "bisan"] {
        assert_eq!(stages[part]["failures"], 0, "{part}");
    }
    // What happens now waits for it, and the reader's side goes on.
    site.article("/a", "Zanzibar paints a lighthouse", &text(1));
    pipeline.finds("paints").await;
    assert_eq!(pipeline.versions(&url).await.len(), 1);

    // The way out, as it is said.
    let id = why.split("put the text ").nth(1).and_then(|rest| rest.split(' ').next()).expect("the text");
    std::fs::write(data.path().join("objects/owner"), id).expect("written");
    let versions = pipeline.until_versions(&url, 2).await;
    assert_eq!(versions[0]["article"]["title"], "Zanzibar paints a lighthouse");
    assert!(versions[1]["unreadable"].as_str().is_some_and(|why| why.contains("hasad fsck")), "{versions:?}");
    pipeline.end().await;
}

#[tokio::test]
async fn what_is_left_without_its_postgres_is_no_beginning_and_is_left_as_it_is() {
    let (data, place) = (data(), tempfile::tempdir().expect("a folder"));
    let (site, file) = site(place.path()).await;
    let url = site.url("/a");
    first_run(data.path(), &file, &url).await;

    let aside = place.path().join("postgres");
    std::fs::rename(data.path().join("postgres"), &aside).expect("both are temporary");
    let mut refused = Child::spawn(reading(data.path(), &file, &[]));
    assert_eq!(refused.wait().await, 64, "{}", refused.log());
    let said = refused.log();
    assert!(said.contains("has lost its Postgres") && said.contains("bisan.db"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(!data.path().join("postgres").exists(), "nothing was begun");

    // Put back without its password.
    std::fs::rename(&aside, data.path().join("postgres")).expect("both are temporary");
    let password = data.path().join("postgres/password");
    std::fs::rename(&password, &aside).expect("it is there");
    let mut refused = Child::spawn(reading(data.path(), &file, &[]));
    assert_eq!(refused.wait().await, 64, "{}", refused.log());
    assert!(refused.log().contains("password is lost"), "{}", refused.log());
    std::fs::rename(&aside, &password).expect("both are temporary");

    let pipeline = Pipeline::start_as(reading(data.path(), &file, &[])).await;
    assert_eq!((pipeline.articles().await.len(), pipeline.versions(&url).await.len()), (1, 1));
    pipeline.end().await;
}

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
    // The way out, as it is said, in a shell of the guide; then the part goes on by itself.
    let mut rebuild = Command::new("sh");
    rebuild.args(["-euc", ". ./env; hasad export-ndjson | bisan rebuild --from-hasad -"]).current_dir(data.path());
    let programs = binary("hasad").parent().expect("a folder").display().to_string();
    rebuild.env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap_or_default()));
    let output = rebuild.output().expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    pipeline.finds("zanzibar").await;
    eventually("the reader's side to work again", async || pipeline.stages().await["bisan"]["state"] == "working")
        .await;
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
