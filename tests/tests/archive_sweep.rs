//! Objects that nobody names go, after their grace; objects that somebody names, or is about to name, never go.

use std::time::{Duration, Instant};

use outbox_tests::{Cellar, Chance, Child, Proxy, Side, Store, eventually, story};

const MARKS: &str = "select count(*) from hasad.object where marked_at is not null";

async fn an_orphan_goes_after_its_grace(store: Store) {
    let cellar = Cellar::open(store).await;
    cellar.archive(&[story("a", 1, "named").event()]).await;
    let orphan = story("b", 1, "orphan");
    cellar.plant(&orphan.hash(), &orphan.bytes());
    for expected in [1, 0] {
        let (code, swept) = cellar.ask(&["gc", "--grace", "1h"]).await;
        assert_eq!((code, &swept["orphans"], &swept["deleted"]), (0, &expected.into(), &0.into()));
        assert_eq!(cellar.stage.ask::<i64>(MARKS).await, 1);
        assert!(cellar.objects().contains(&orphan.hash()), "its grace is not over");
    }
    cellar
        .sql("update hasad.object set marked_at = marked_at - interval '61 minutes' where marked_at is not null")
        .await;
    let (code, swept) = cellar.ask(&["gc", "--grace", "1h"]).await;
    assert_eq!((code, &swept["deleted"], &swept["bytes"]), (0, &1.into(), &orphan.bytes().len().into()));
    cellar.assert_sound().await;
    assert_eq!(cellar.rows().await.len(), 1);
}

#[tokio::test]
async fn an_orphan_is_marked_first_and_deleted_after_the_grace() {
    an_orphan_goes_after_its_grace(Store::Folder).await;
}

#[tokio::test]
async fn an_orphan_is_marked_first_and_deleted_after_the_grace_in_s3() {
    an_orphan_goes_after_its_grace(Store::S3).await;
}

#[tokio::test]
async fn naming_a_marked_object_takes_its_mark_away() {
    let cellar = Cellar::open(Store::Folder).await;
    let told = story("a", 1, "one");
    cellar.plant(&told.hash(), &told.bytes());
    let (code, _) = cellar.ask(&["gc"]).await;
    assert_eq!((code, cellar.stage.ask::<i64>(MARKS).await), (0, 1));
    cellar.archive(&[told.event()]).await;
    assert_eq!(cellar.stage.ask::<i64>(MARKS).await, 0);
    cellar.sweep().await;
    cellar.assert_sound().await;
}

#[tokio::test]
async fn half_an_object_that_a_dead_write_left_is_written_anew_when_it_is_named() {
    for store in [Store::Folder, Store::S3] {
        let cellar = Cellar::open(store).await;
        let told = story("a", 1, "one");
        cellar.plant(&told.hash(), &told.bytes()[..10]);
        let (code, _) = cellar.ask(&["gc"]).await;
        assert_eq!(code, 0, "it has a row now, with the wrong size");
        cellar.archive(&[told.event()]).await;
        cellar.assert_sound().await;
    }
}

#[tokio::test]
async fn a_dry_run_tells_and_does_nothing() {
    let cellar = Cellar::open(Store::Folder).await;
    let (one, two) = (story("a", 1, "one"), story("b", 1, "two"));
    cellar.plant(&one.hash(), &one.bytes());
    let (code, _) = cellar.ask(&["gc"]).await;
    assert_eq!(code, 0);
    cellar.plant(&two.hash(), &two.bytes());
    let (code, swept) = cellar.ask(&["gc", "--dry-run", "--grace", "0"]).await;
    assert_eq!((code, &swept["deleted"], &swept["orphans"]), (0, &1.into(), &1.into()));
    assert_eq!(cellar.stage.ask::<i64>(MARKS).await, 1);
    assert_eq!(cellar.objects().len(), 2);
}

#[tokio::test]
async fn what_is_not_ours_is_never_deleted() {
    let cellar = Cellar::open(Store::Folder).await;
    cellar.archive(&[story("a", 1, "one").event()]).await;
    let strange = cellar.file_of(&story("a", 1, "one").hash()).with_file_name("notes.txt");
    std::fs::write(&strange, "mine").expect("written");
    let (code, swept) = cellar.ask(&["gc", "--grace", "0"]).await;
    assert_eq!((code, &swept["strangers"], &swept["deleted"]), (0, &1.into(), &0.into()));
    assert!(strange.exists());
}

/// A sweeper dies in the middle of a deletion, while somebody wants to name that very object.
async fn a_sweeper_dies(side: Side) {
    let cellar = Cellar::open(Store::S3).await;
    let told = story("a", 1, "one");
    cellar.plant(&told.hash(), &told.bytes());
    let (code, _) = cellar.ask(&["gc"]).await;
    assert_eq!(code, 0);
    let wire = Proxy::to(cellar.s3.as_ref().expect("it has one").port()).await;
    // The first request asks whose the store is, the second lists, the third deletes.
    let halt = wire.halt_at(3, side);
    let mut sweeper = Child::spawn(cellar.command_over(&["gc", "--grace", "0"], None, Some(&wire)));
    halt.reached().await;
    assert_eq!(cellar.objects().is_empty(), side == Side::Reply, "deleted, or not yet");

    cellar.tell(&[told.event()]).await;
    let archive = cellar.run(&["--write-max", "2s"]);
    eventually("the archive to wait for the sweeper's lock", async || {
        let query =
            "select count(*) from pg_stat_activity where application_name = 'hasad' and wait_event_type = 'Lock'";
        cellar.stage.ask::<i64>(query).await > 0
    })
    .await;
    sweeper.kill_9();
    sweeper.wait().await;
    // Its last request may still be on the way: nothing is named before that cannot be any more.
    archive.saw("objects are being swept").await;
    assert_eq!(cellar.rows().await.len(), 0);
    wire.thaw();
    wire.cut();
    cellar.sql("update hasad.object set swept_at = swept_at - interval '1 hour'").await;
    cellar.until_settled().await;
    drop(archive);
    assert_eq!(cellar.rows().await.len(), 1);
    cellar.sweep().await;
    cellar.assert_sound().await;
}

#[tokio::test]
async fn a_sweeper_that_dies_before_it_deletes_takes_nothing_that_is_named_meanwhile() {
    a_sweeper_dies(Side::Request).await;
}

#[tokio::test]
async fn a_sweeper_that_dies_after_it_deleted_takes_nothing_that_is_named_meanwhile() {
    a_sweeper_dies(Side::Reply).await;
}

#[tokio::test]
async fn what_a_writer_is_about_to_name_is_not_swept_however_long_it_takes() {
    let cellar = Cellar::open(Store::S3).await;
    let told = story("a", 1, "one");
    cellar.plant(&told.hash(), &told.bytes());
    let (code, _) = cellar.ask(&["gc"]).await;
    assert_eq!((code, cellar.stage.ask::<i64>(MARKS).await), (0, 1));
    let wire = Proxy::to(cellar.s3.as_ref().expect("it has one").port()).await;
    let archive = cellar.run_over(&["--write-max", "60s"], None, Some(&wire));
    archive.saw("the archive works").await;
    // The writer has asked whose the store is, and has looked: the object is there. The answer hangs.
    let halt = wire.halt_at(2, Side::Reply);
    cellar.tell(&[told.event()]).await;
    halt.reached().await;
    let (code, swept) = cellar.ask(&["gc", "--grace", "0"]).await;
    assert_eq!((code, &swept["deleted"]), (0, &0.into()), "its row is locked");
    wire.thaw();
    cellar.until_settled().await;
    drop(archive);
    cellar.assert_sound().await;
}

#[tokio::test]
async fn the_store_of_another_archive_is_neither_written_nor_swept() {
    for store in [Store::Folder, Store::S3] {
        let cellar = Cellar::open(store).await;
        cellar.archive(&[story("a", 1, "one").event()]).await;
        let (owner, objects) = (cellar.stage.ask::<String>("select id from hasad.archive").await, cellar.objects());
        // To an archive with other tables all of it looks like orphans.
        cellar.sql("drop schema hasad cascade").await;
        assert_eq!(cellar.verb(&["migrate"]).await.0, 0);
        for verb in [&["gc", "--grace", "0"][..], &["fsck"], &["purge", "https://example.org/a"]] {
            let output = tokio::process::Command::from(cellar.command(verb)).output().await.expect("it runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(1) && said.contains(&owner), "{verb:?}: {said}");
        }
        cellar.tell(&[story("b", 1, "two").event()]).await;
        let archive = cellar.run(&[]);
        archive.saw("the store belongs to another archive").await;
        assert_eq!((cellar.objects(), cellar.rows().await.len()), (objects, 0));
        drop(archive);
    }
}

#[tokio::test]
async fn one_sweeper_works_at_a_time() {
    let cellar = Cellar::open(Store::S3).await;
    let wire = Proxy::to(cellar.s3.as_ref().expect("it has one").port()).await;
    // It has made the store its own by three requests, and is at work with the fourth.
    let halt = wire.halt_at(4, Side::Request);
    let first = Child::spawn(cellar.command_over(&["gc"], None, Some(&wire)));
    halt.reached().await;
    assert_eq!(cellar.verb(&["gc"]).await.0, 1);
    drop(first);
}

/// Contents lose their last name and are named again, orphans appear under contents that are about to be told, and somebody
/// sweeps all the time, without any grace.
///
/// `OUTBOX_TEST_SECONDS` sets how long (15), `OUTBOX_TEST_SEED` repeats a run's choices.
async fn sweeps_under_load(store: Store) {
    let mut chance = Chance::from_environment();
    let seconds = std::env::var("OUTBOX_TEST_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(15);
    let cellar = Cellar::open(store).await;
    let archives = [cellar.run(&["--batch-max", "7"]), cellar.run(&["--batch-max", "7"])];
    let stop = std::sync::atomic::AtomicBool::new(false);
    let sweeping = async {
        let (mut sweeps, mut deleted) = (0, 0);
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            let (code, swept) = cellar.ask(&["gc", "--grace", "0"]).await;
            assert_eq!(code, 0, "{swept:#}");
            sweeps += 1;
            deleted += swept["deleted"].as_u64().expect("a number");
        }
        (sweeps, deleted)
    };
    let telling = async {
        let (begun, mut told, mut pages) = (Instant::now(), 0, 0_u64);
        while begun.elapsed() < Duration::from_secs(seconds) {
            let mut events = vec![];
            for _ in 0..chance.below(30) {
                pages += 1;
                let told = story(&format!("page-{pages}"), 1, &format!("content {}", chance.below(20)));
                if chance.below(3) == 0 {
                    // What a writer leaves that dies between the object and the row.
                    cellar.plant(&told.hash(), &told.bytes());
                }
                events.push(told.event());
            }
            told += events.len();
            cellar.tell(&events).await;
            // Pages lose their content, so that contents lose their names.
            cellar
                .sql(
                    "delete from hasad.version where source_url in
                         (select source_url from hasad.version order by random() limit (select count(*) * 2 / 3 from hasad.version))",
                )
                .await;
            cellar.assert_nothing_is_missing().await;
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        told
    };
    let ((sweeps, deleted), told) = tokio::join!(sweeping, telling);
    cellar.until_settled().await;
    println!("{told} events, {sweeps} sweeps, {deleted} objects deleted");
    assert!(deleted > 10, "the sweeps had something to do");
    drop(archives);
    cellar.assert_nothing_is_missing().await;
    cellar.sweep().await;
    cellar.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn randomized_sweeps_under_load_delete_no_object_that_is_named() {
    sweeps_under_load(Store::Folder).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn randomized_sweeps_under_load_delete_no_object_that_is_named_in_s3() {
    sweeps_under_load(Store::S3).await;
}
