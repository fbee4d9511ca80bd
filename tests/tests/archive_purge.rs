//! What a purge erases is gone, whatever happens meanwhile, and nothing brings it back.

use outbox_tests::{Cellar, Child, Proxy, Side, Store, story};

const PAGE: &str = "https://example.org/a";

#[tokio::test]
async fn a_purge_that_was_interrupted_is_done_by_the_next_one() {
    let cellar = Cellar::open(Store::S3).await;
    let told = story("a", 1, "first");
    cellar.archive(&[told.event()]).await;
    let wire = Proxy::to(cellar.s3.as_ref().expect("it has one").port()).await;
    // The first request asks whose the store is, the second deletes.
    let halt = wire.halt_at(2, Side::Request);
    let mut purge = Child::spawn(cellar.command_over(&["purge", PAGE], None, Some(&wire)));
    halt.reached().await;
    purge.kill_9();
    purge.wait().await;
    wire.cut();
    assert_eq!(cellar.named().await.len(), 0, "its rows are erased");
    assert_eq!(cellar.objects(), [told.hash()].into(), "and its object still lies there");

    // The request of the dead one may still be on its way, so it has to wait, and says so.
    let (code, again) = cellar.ask(&["purge", PAGE]).await;
    assert_eq!((code, &again["versions"], &again["objects"], &again["left"]), (1, &0.into(), &0.into(), &1.into()));
    cellar.sql("update hasad.object set swept_at = swept_at - interval '1 hour'").await;
    let (code, again) = cellar.ask(&["purge", PAGE]).await;
    assert_eq!((code, &again["objects"], &again["left"]), (0, &1.into(), &0.into()));
    assert!(cellar.objects().is_empty());
    cellar.assert_sound().await;
}

#[tokio::test]
async fn what_was_set_aside_goes_with_its_page() {
    for store in [Store::Folder, Store::S3] {
        let cellar = Cellar::open(store).await;
        let told = story("a", 1, "first");
        cellar.archive(&[told.event(), story("b", 1, "another").event()]).await;
        let mut flipped = told.bytes();
        flipped[20] ^= 1;
        cellar.plant(&told.hash(), &flipped);
        assert_eq!(cellar.verb(&["fsck", "--repair"]).await.0, 1, "it was found");
        let file = cellar.file_of(&told.hash());
        let aside = file.ancestors().nth(3).expect("the store").join("aside").join(told.hash());
        assert!(aside.exists(), "nearly all of the article");
        let (code, purged) = cellar.ask(&["purge", PAGE]).await;
        assert_eq!((code, &purged["left"]), (0, &0.into()));
        assert!(!aside.exists());
        cellar.assert_sound().await;
    }
}

#[tokio::test]
async fn what_was_erased_comes_back_with_no_old_export_though_the_page_may_be_archived_again() {
    let cellar = Cellar::open(Store::Folder).await;
    let events = [story("a", 1, "first").event(), story("a", 2, "second").event(), story("b", 1, "other").event()];
    cellar.archive(&events).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("export.ndjson");
    let path = file.to_str().expect("a plain path");
    assert_eq!(cellar.verb(&["export-ndjson", "--file", path]).await.0, 0);
    assert_eq!(cellar.verb(&["purge", PAGE]).await.0, 0);
    assert_eq!(cellar.verb(&["purge", PAGE, "--lift"]).await.0, 0);

    let (code, read) = cellar.ask(&["import-ndjson", path]).await;
    assert_eq!((code, &read["bad_lines"], &read["versions"], &read["objects"]), (0, &0.into(), &0.into(), &0.into()));
    assert_eq!(cellar.objects(), [story("b", 1, "other").hash()].into(), "not for a moment either");
    cellar.archive(&[story("a", 3, "third").event()]).await;
    assert_eq!(cellar.versions(PAGE).await.last(), Some(&(3, "active".to_owned())));
    cellar.assert_sound().await;
}

#[tokio::test]
async fn purges_beside_writers_of_the_same_contents_end_and_erase() {
    let cellar = Cellar::open(Store::Folder).await;
    let archive = cellar.run(&["--batch-max", "3"]);
    // By then there is a store that can be purged.
    archive.saw("the archive works").await;
    for round in 1..=8_u64 {
        let mut events = vec![];
        for nth in 0..10 {
            events.push(story("a", round * 10 + nth, &format!("content {nth}")).event());
            events.push(story(&format!("other-{round}-{nth}"), 1, &format!("content {}", (nth + 3) % 20)).event());
        }
        let (told, purged) = tokio::join!(cellar.tell(&events), cellar.ask(&["purge", PAGE]));
        let () = told;
        assert!(purged.1["versions"].is_u64(), "{purged:?}");
        cellar.until_settled().await;
        assert_eq!(cellar.rows().await.iter().filter(|row| row.0 == PAGE && row.4.is_some()).count(), 0);
        cellar.assert_nothing_is_missing().await;
        assert_eq!(cellar.verb(&["purge", PAGE, "--lift"]).await.0, 0);
    }
    drop(archive);
    cellar.sweep().await;
    cellar.assert_nothing_is_missing().await;
    assert_eq!(cellar.objects(), cellar.named().await);
}

#[tokio::test]
async fn a_dry_run_claims_no_store_and_makes_none() {
    let cellar = Cellar::open(Store::Folder).await;
    let told = story("a", 1, "first");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let line = serde_json::json!({ "type": "article.upserted", "data": told.payload() });
    std::fs::write(file.path(), line.to_string()).expect("written");
    let path = file.path().to_str().expect("a plain path");
    let store = cellar.file_of(&told.hash()).ancestors().nth(3).expect("the store").to_owned();
    assert_eq!(cellar.verb(&["import-ndjson", path, "--without-end", "--dry-run"]).await.0, 0);
    assert!(!store.exists());

    cellar.plant(&told.hash(), &told.bytes());
    for verb in [
        &["gc", "--dry-run"][..],
        &["purge", PAGE, "--dry-run"],
        &["import-ndjson", path, "--without-end", "--dry-run"],
    ] {
        assert_eq!(cellar.verb(verb).await.0, 0, "{verb:?}");
    }
    assert_eq!(cellar.verb(&["fsck"]).await.0, 1, "an orphan");
    assert!(!store.join("owner").exists(), "whoever only looks takes nothing into possession");
    assert_eq!(cellar.verb(&["gc"]).await.0, 0);
    assert!(store.join("owner").exists());
}
