//! What the archive makes of what it is told: versions, their status, and each content once.

use std::collections::BTreeSet;

use outbox::Event;
use outbox_tests::{Cellar, Chance, Store, story};

fn url(path: &str) -> String {
    format!("https://example.org/{path}")
}

fn status(versions: &[(i64, &str)]) -> Vec<(i64, String)> {
    versions.iter().map(|(version, status)| (*version, (*status).to_owned())).collect()
}

/// In a folder and in an S3-compatible store.
async fn same_content_at_two_pages(store: Store) {
    let cellar = Cellar::open(store).await;
    cellar.archive(&[story("a", 1, "one").event(), story("b", 1, "one").event()]).await;
    assert_eq!(cellar.versions(&url("a")).await, status(&[(1, "active")]));
    assert_eq!(cellar.versions(&url("b")).await, status(&[(1, "active")]));
    assert_eq!(cellar.objects(), BTreeSet::from([story("a", 1, "one").hash()]));
    cellar.assert_sound().await;
}

#[tokio::test]
async fn the_same_content_at_two_pages_is_one_object_and_two_versions() {
    same_content_at_two_pages(Store::Folder).await;
}

#[tokio::test]
async fn the_same_content_at_two_pages_is_one_object_and_two_versions_in_s3() {
    same_content_at_two_pages(Store::S3).await;
}

/// Told one by one, and all together in one batch.
async fn an_edit_and_back(store: Store) {
    let cellar = Cellar::open(store).await;
    let edits = |page: &str| [(1, "A"), (2, "B"), (3, "A")].map(|(version, body)| story(page, version, body).event());
    for event in edits("one-by-one") {
        cellar.archive(&[event]).await;
    }
    cellar.archive(&edits("together")).await;
    for page in ["one-by-one", "together"] {
        let expected = status(&[(1, "superseded"), (2, "superseded"), (3, "active")]);
        assert_eq!(cellar.versions(&url(page)).await, expected, "{page}");
    }
    assert_eq!(cellar.objects().len(), 2);
    cellar.assert_sound().await;
}

#[tokio::test]
async fn an_edit_that_is_taken_back_is_three_versions_and_two_objects() {
    an_edit_and_back(Store::Folder).await;
}

#[tokio::test]
async fn an_edit_that_is_taken_back_is_three_versions_and_two_objects_in_s3() {
    an_edit_and_back(Store::S3).await;
}

#[tokio::test]
async fn what_is_stored_is_the_canonical_article_under_its_own_hash() {
    let cellar = Cellar::open(Store::Folder).await;
    let told = story("a", 1, "what it says");
    cellar.archive(&[told.event()]).await;
    assert_eq!(std::fs::read(cellar.file_of(&told.hash())).expect("it is there"), told.bytes());
    assert_eq!(blake3::hash(&told.bytes()).to_hex().as_str(), told.hash());
}

#[tokio::test]
async fn an_older_event_after_a_newer_one_is_history_and_never_active() {
    let cellar = Cellar::open(Store::Folder).await;
    cellar.archive(&[story("a", 3, "new").event()]).await;
    cellar.archive(&[story("a", 1, "old").event(), story("a", 2, "less old").event()]).await;
    let expected = status(&[(1, "superseded"), (2, "superseded"), (3, "active")]);
    assert_eq!(cellar.versions(&url("a")).await, expected);
    cellar.assert_sound().await;
}

#[tokio::test]
async fn an_old_article_after_a_deletion_does_not_bring_the_page_back() {
    let cellar = Cellar::open(Store::Folder).await;
    cellar.archive(&[story("a", 1, "one").event(), story("a", 3, "one").gone()]).await;
    cellar.archive(&[story("a", 2, "two").event()]).await;
    let expected = status(&[(1, "superseded"), (2, "superseded"), (3, "deleted")]);
    assert_eq!(cellar.versions(&url("a")).await, expected);
    let reason: Option<String> = cellar.stage.ask("select reason from hasad.version where status = 'deleted'").await;
    assert_eq!(reason.as_deref(), Some("gone_410"));
    // A newer one does.
    cellar.archive(&[story("a", 4, "one").event()]).await;
    let expected = status(&[(1, "superseded"), (2, "superseded"), (3, "superseded"), (4, "active")]);
    assert_eq!(cellar.versions(&url("a")).await, expected);
    cellar.assert_sound().await;
}

/// Edits, deletions and returns of many pages, with contents that they share.
fn many() -> Vec<Event> {
    let mut events = vec![];
    for page in 0..12_u64 {
        for version in 1..=8 {
            let told = story(&format!("page-{page}"), version, &format!("content {}", (page * version) % 9));
            events.push(if (page + version) % 5 == 0 { told.gone() } else { told.event() });
        }
    }
    events
}

#[tokio::test]
async fn told_three_times_and_in_any_order_the_rows_are_those_of_once_and_in_order() {
    let in_order = Cellar::open(Store::Folder).await;
    in_order.archive(&many()).await;
    let expected = in_order.rows().await;
    assert_eq!(expected.len(), many().len());

    let mut chance = Chance::from_environment();
    for round in 0..3 {
        let shuffled = Cellar::open(Store::Folder).await;
        // In an order of chance, as no producer that keeps its keys in order would tell it.
        let mut events = many();
        for at in (1..events.len()).rev() {
            events.swap(at, usize::try_from(chance.below(at as u64 + 1)).expect("small"));
        }
        for part in events.chunks(17) {
            shuffled.archive(part).await;
        }
        assert_eq!(shuffled.rows().await, expected, "round {round}");
        for _ in 0..2 {
            shuffled.redeliver().await;
            shuffled.catch_up().await;
        }
        // And with nothing that remembers the events themselves.
        shuffled.sql("truncate hasad.inbox_seen, hasad.inbox_floor").await;
        shuffled.redeliver().await;
        shuffled.catch_up().await;
        assert_eq!(shuffled.rows().await, expected, "round {round}, told again");
        shuffled.assert_sound().await;
    }
}

#[tokio::test]
async fn two_archives_at_once_leave_one_current_version_of_each_page() {
    let cellar = Cellar::open(Store::Folder).await;
    // Small batches, so that both have a share of each page.
    let mut archives: Vec<_> = (0..2).map(|_| cellar.run(&["--batch-max", "3", "--batches-max", "4"])).collect();
    for archive in &archives {
        archive.saw("the archive works").await;
    }
    for part in many().chunks(24) {
        cellar.tell(part).await;
    }
    cellar.until_settled().await;
    for archive in &mut archives {
        archive.signal(outbox_tests::Signal::Term);
        assert_eq!(archive.wait().await, 0);
    }
    let in_order = Cellar::open(Store::Folder).await;
    in_order.archive(&many()).await;
    assert_eq!(cellar.rows().await, in_order.rows().await);
    cellar.assert_sound().await;
}

#[tokio::test]
async fn the_constraint_allows_one_current_version_whoever_writes() {
    let cellar = Cellar::open(Store::Folder).await;
    cellar.archive(&[story("a", 1, "one").event(), story("a", 2, "two").event()]).await;
    let second = sqlx::raw_sql("update hasad.version set status = 'active'").execute(&cellar.stage.pool).await;
    let refused = second.expect_err("refused").to_string();
    assert!(refused.contains("version_current"), "{refused}");
}

#[tokio::test]
async fn sources_that_are_left_alone_are_settled_and_not_archived() {
    let cellar = Cellar::open(Store::Folder).await;
    let mut other = story("b", 1, "two");
    other.origin.source_name = "weekly".to_owned();
    cellar.tell(&[story("a", 1, "one").event(), other.event()]).await;
    let mut archive = cellar.run(&["--skip-source", "weekly,monthly"]);
    cellar.until_settled().await;
    archive.signal(outbox_tests::Signal::Term);
    assert_eq!(archive.wait().await, 0);
    assert_eq!(cellar.rows().await.len(), 1);
    assert_eq!(cellar.objects().len(), 1);
}
