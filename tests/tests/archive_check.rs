//! The archive's own check finds what is wrong, each fault by its name, and nothing where all is sound.

use std::collections::BTreeSet;

use outbox_tests::{Cellar, Proxy, Store, story};

/// Some pages with edits, shared contents and a deletion.
async fn stocked(store: Store) -> Cellar {
    let cellar = Cellar::open(store).await;
    let mut events = vec![];
    for page in 0..6 {
        for version in 1..=3 {
            events.push(story(&format!("page-{page}"), version, &format!("content {page} {}", version % 2)).event());
        }
    }
    events.push(story("page-0", 4, "content 0 1").gone());
    events.push(story("copy", 1, "content 1 1").event());
    cellar.archive(&events).await;
    cellar
}

fn url(path: &str) -> String {
    format!("https://example.org/{path}")
}

/// The kinds and subjects of what is found.
async fn found(cellar: &Cellar, flags: &[&str]) -> BTreeSet<(String, String)> {
    let (code, found) = cellar.ask(&[&["fsck"], flags].concat()).await;
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let faults: BTreeSet<_> = found["faults"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|fault| (text(&fault["kind"]), text(&fault["what"])))
        .collect();
    assert_eq!(code, i32::from(!faults.is_empty()), "{found:#}");
    faults
}

fn fault(kind: &str, what: impl Into<String>) -> (String, String) {
    (kind.to_owned(), what.into())
}

/// Injects every fault that a store can have, and finds exactly these.
async fn faults_of_objects(store: Store) {
    let cellar = stocked(store).await;
    assert_eq!(found(&cellar, &[]).await, BTreeSet::new(), "a sound archive");

    let hash = |page: u32| story("x", 1, &format!("content {page} 1")).hash();
    let mut flipped = std::fs::read(cellar.file_of(&hash(0))).expect("it is there");
    flipped[20] ^= 1;
    cellar.plant(&hash(0), &flipped);
    let whole = std::fs::read(cellar.file_of(&hash(1))).expect("it is there");
    cellar.plant(&hash(1), &whole[..whole.len() - 1]);
    std::fs::remove_file(cellar.file_of(&hash(2))).expect("it is there");
    let orphan = story("nobody", 1, "orphan");
    cellar.plant(&orphan.hash(), &orphan.bytes());
    cellar.sql(&format!("update hasad.object set bytes = bytes + 7 where hash = '{}'", hash(3))).await;
    let stranger = cellar.file_of(&hash(4)).with_file_name("README");
    std::fs::write(&stranger, "hello").expect("written");

    let expected = BTreeSet::from([
        fault("corrupt", hash(0)),
        fault("wrong_size", hash(1)),
        fault("missing", hash(2)),
        fault("orphan", orphan.hash()),
        fault("wrong_size", hash(3)),
    ]);
    let mut all = found(&cellar, &[]).await;
    let strangers: Vec<_> = all.iter().filter(|(kind, _)| kind == "stranger").cloned().collect();
    assert_eq!(strangers.len(), 1);
    assert!(strangers[0].1.ends_with("/README"), "{strangers:?}");
    all.remove(&strangers[0]);
    assert_eq!(all, expected);
    // Without reading, a flipped bit cannot be seen, and everything else can.
    let unread: BTreeSet<_> = expected.iter().filter(|(kind, _)| kind != "corrupt").cloned().collect();
    assert_eq!(found(&cellar, &["--sample", "0", "--ignore", "stranger"]).await, unread);
    // A look harms nothing: all of it is still as it was.
    assert_eq!(found(&cellar, &["--ignore", "stranger"]).await, expected);

    std::fs::remove_file(stranger).expect("it is there");
    assert_eq!(found(&cellar, &["--repair"]).await, expected, "found, and mended as far as that goes");
    // Wrong bytes were set aside: these objects are missing now, and an export writes them anew.
    let missing = [0, 1, 2].map(|page| fault("missing", hash(page)));
    assert_eq!(found(&cellar, &[]).await, BTreeSet::from(missing));
    let sound = stocked(Store::Folder).await;
    let export = tempfile::NamedTempFile::new().expect("a file");
    let path = export.path().to_str().expect("a plain path");
    assert_eq!(sound.verb(&["export-ndjson", "--file", path]).await.0, 0);
    assert_eq!(cellar.verb(&["import-ndjson", path]).await.0, 0);
    assert_eq!(found(&cellar, &[]).await, BTreeSet::new());
    // The orphan has a row and a mark: it goes with the next sweep.
    cellar.sweep().await;
    cellar.assert_sound().await;
}

#[tokio::test]
async fn every_injected_fault_of_an_object_is_found_and_nothing_else() {
    faults_of_objects(Store::Folder).await;
}

#[tokio::test]
async fn every_injected_fault_of_an_object_is_found_and_nothing_else_in_s3() {
    faults_of_objects(Store::S3).await;
}

#[tokio::test]
async fn every_injected_fault_of_a_row_is_found_and_nothing_else() {
    let cellar = stocked(Store::Folder).await;
    cellar
        .sql(
            "delete from hasad.version where source_url = 'https://example.org/page-1' and version = 2;
             drop index hasad.version_current;
             update hasad.version set status = 'active' where source_url = 'https://example.org/page-2' and version = 1;
             update hasad.version set status = 'superseded' where source_url = 'https://example.org/page-3';
             update hasad.version set status = case version when 3 then 'superseded' when 1 then 'active' else status end
              where source_url = 'https://example.org/page-4'",
        )
        .await;
    let gap = fault("gap", url("page-1"));
    let expected = BTreeSet::from([
        gap.clone(),
        fault("no_constraint", "hasad.version_current"),
        fault("two_current", url("page-2")),
        fault("wrong_current", url("page-3")),
        fault("wrong_current", url("page-4")),
    ]);
    assert_eq!(found(&cellar, &[]).await, expected);
    assert_eq!(found(&cellar, &["--repair"]).await, expected);
    // What never came nobody can invent.
    assert_eq!(found(&cellar, &[]).await, BTreeSet::from([gap]));
    assert_eq!(found(&cellar, &["--ignore", "gap"]).await, BTreeSet::new());
    let sound = stocked(Store::Folder).await;
    let mut expected = sound.rows().await;
    expected.retain(|row| (row.0.as_str(), row.1) != ("https://example.org/page-1", 2));
    assert_eq!(cellar.rows().await, expected);
}

#[tokio::test]
async fn what_is_ignored_is_not_mended_either() {
    let cellar = stocked(Store::Folder).await;
    cellar
        .sql(
            "drop index hasad.version_current;
             update hasad.version set status = 'active' where source_url = 'https://example.org/page-2' and version = 1",
        )
        .await;
    let orphan = story("nobody", 1, "orphan");
    cellar.plant(&orphan.hash(), &orphan.bytes());
    let expected = BTreeSet::from([
        fault("no_constraint", "hasad.version_current"),
        fault("two_current", url("page-2")),
        fault("orphan", orphan.hash()),
    ]);
    assert_eq!(found(&cellar, &["--repair", "--ignore", "two_current,no_constraint,orphan"]).await, BTreeSet::new());
    // What rests on what was left alone cannot be mended, and is told.
    let told = found(&cellar, &["--repair", "--ignore", "two_current,orphan"]).await;
    assert_eq!(told, BTreeSet::from([fault("no_constraint", "hasad.version_current")]));
    assert_eq!(found(&cellar, &[]).await, expected, "all of it is as it was");
    assert_eq!(found(&cellar, &["--repair"]).await, expected);
    assert_eq!(found(&cellar, &[]).await, BTreeSet::new());
}

#[tokio::test]
async fn what_is_being_written_while_it_is_checked_is_no_fault() {
    let cellar = stocked(Store::Folder).await;
    // The object is there, and its row is not committed yet.
    let wire = Proxy::to(cellar.stage.postgres.port()).await;
    let told = story("late", 1, "late");
    cellar.tell(&[told.event()]).await;
    let archive = cellar.run_over(&[], Some(&wire), None);
    outbox_tests::eventually("the object to be there", async || {
        let there = cellar.objects().contains(&told.hash());
        if there {
            wire.freeze();
        }
        there
    })
    .await;
    let checking = tokio::spawn({
        let command = cellar.command(&["fsck", "--json"]);
        async move { tokio::process::Command::from(command).output().await.expect("it can be started") }
    });
    outbox_tests::eventually("the check to wait for the writer, or the writer to have been quicker", async || {
        let waits =
            "select count(*) from pg_stat_activity where application_name = 'hasad' and wait_event_type = 'Lock'";
        cellar.stage.ask::<i64>(waits).await > 0 || !cellar.versions(&url("late")).await.is_empty()
    })
    .await;
    wire.thaw();
    let output = checking.await.expect("no panic");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    cellar.until_settled().await;
    drop(archive);
    cellar.assert_sound().await;
}

#[tokio::test]
async fn what_was_written_anew_before_it_could_be_set_aside_is_no_fault() {
    let cellar = stocked(Store::Folder).await;
    let told = story("x", 1, "content 0 1");
    let mut flipped = told.bytes();
    flipped[20] ^= 1;
    cellar.plant(&told.hash(), &flipped);
    // A writer has the object in hand when the check wants to mend it.
    let mut writer = cellar.stage.pool.begin().await.expect("Postgres is there");
    let lock = sqlx::query("select from hasad.object where hash = $1 for update").bind(told.hash());
    lock.execute(&mut *writer).await.expect("Postgres is there");
    let command = cellar.command(&["fsck", "--repair", "--json"]);
    let checking =
        tokio::spawn(
            async move { tokio::process::Command::from(command).output().await.expect("it can be started") },
        );
    outbox_tests::eventually("the check to wait for the writer", async || {
        let waits =
            "select count(*) from pg_stat_activity where application_name = 'hasad' and wait_event_type = 'Lock'";
        cellar.stage.ask::<i64>(waits).await > 0
    })
    .await;
    cellar.plant(&told.hash(), &told.bytes());
    writer.commit().await.expect("Postgres is there");
    let output = checking.await.expect("no panic");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    cellar.assert_sound().await;
}

#[tokio::test]
async fn a_sample_reads_as_many_objects_as_it_says() {
    let cellar = stocked(Store::Folder).await;
    let (_, all) = cellar.ask(&["fsck"]).await;
    assert_eq!((&all["objects"], &all["hashed"]), (&12.into(), &12.into()));
    let (_, some) = cellar.ask(&["fsck", "--sample", "5"]).await;
    assert_eq!((&some["objects"], &some["hashed"]), (&12.into(), &5.into()));
    let (_, none) = cellar.ask(&["fsck", "--sample", "0%"]).await;
    assert_eq!(none["hashed"], 0);
    let runs: Vec<i64> = sqlx::query_scalar("select found from hasad.run where verb = 'fsck'")
        .fetch_all(&cellar.stage.pool)
        .await
        .expect("Postgres is there");
    assert_eq!(runs, [0, 0, 0], "each check is remembered");
}

#[tokio::test]
async fn a_check_that_cannot_reach_the_store_says_so_and_finds_nothing() {
    let cellar = stocked(Store::S3).await;
    let wire = Proxy::to(cellar.s3.as_ref().expect("it has one").port()).await;
    wire.refuse();
    let output = tokio::process::Command::from(cellar.command_over(&["fsck", "--json"], None, Some(&wire)))
        .output()
        .await
        .expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.starts_with("hasad: the object store: ") && said.lines().count() == 1, "{said}");
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn a_check_that_looks_through_no_more_rows_says_so_and_is_not_sound() {
    let cellar = stocked(Store::Folder).await;
    // A page of which every other version is missing, and as many pages that have no current version.
    cellar
        .sql(
            "insert into hasad.page (source_url, newest)
             select 'https://example.org/gaps', 20003 union all select 'https://example.org/bare-' || n, 1 from generate_series(1, 10001) n;
             insert into hasad.version (source_url, version, status, content_hash, source_name, fetched_at, about, event_id)
             select 'https://example.org/gaps', n, 'superseded', repeat('0', 64), 's', now(), '{}'::json, 'g' || n
               from generate_series(1, 20003, 2) n
             union all
             select 'https://example.org/bare-' || n, 1, 'superseded', repeat('0', 64), 's', now(), '{}'::json, 'b' || n
               from generate_series(1, 10001) n",
        )
        .await;
    let (code, all) = cellar.ask(&["fsck", "--sample", "0"]).await;
    assert_eq!((code, &all["more"]), (1, &true.into()));
    assert_eq!((&all["counts"]["gap"], &all["counts"]["wrong_current"]), (&10_000.into(), &10_000.into()));
    let (code, said) = cellar.verb(&["fsck", "--sample", "0"]).await;
    let end: Vec<_> = said.lines().rev().take(2).collect();
    assert!(code == 1 && end[0].contains("at least 20000 faults"), "{end:?}");
    assert!(end[1].contains("up to 10000 faults, and there are more"), "{end:?}");
    // What is ignored takes nobody's place.
    let (code, rest) = cellar.ask(&["fsck", "--sample", "0", "--ignore", "gap,wrong_current"]).await;
    assert_eq!((code, &rest["more"], &rest["faults"]), (0, &false.into(), &serde_json::json!([])));
    cellar.sql("drop index hasad.version_current").await;
    let two = "insert into hasad.version (source_url, version, status, status_at, reason, content_hash, source_name, fetched_at, about, event_id)
               select source_url, 100, 'deleted', now(), 'gone', content_hash, source_name, fetched_at, about, 'two'
                 from hasad.version where source_url = 'https://example.org/page-3' and status = 'active'";
    cellar.sql(two).await;
    let faults = found(&cellar, &["--sample", "0", "--ignore", "gap,wrong_current,no_constraint"]).await;
    assert_eq!(faults, BTreeSet::from([fault("two_current", url("page-3"))]));
    // The constraint rests on what was left alone, and comes back when that is mended.
    let repair = ["--sample", "0", "--repair", "--ignore"];
    let constraint = fault("no_constraint", "hasad.version_current");
    for _ in 0..2 {
        let faults = found(&cellar, &[&repair[..], &["gap,wrong_current,two_current"]].concat()).await;
        assert_eq!(faults, BTreeSet::from([constraint.clone()]));
    }
    let faults = found(&cellar, &[&repair[..], &["gap,wrong_current"]].concat()).await;
    assert_eq!(faults, BTreeSet::from([constraint, fault("two_current", url("page-3"))]));
    assert_eq!(found(&cellar, &["--sample", "0", "--ignore", "gap,wrong_current"]).await, BTreeSet::new());
}

#[tokio::test]
async fn a_sample_of_few_objects_reads_one_at_least() {
    let cellar = Cellar::open(Store::Folder).await;
    cellar.archive(&[story("a", 1, "first").event(), story("b", 1, "second").event()]).await;
    // By chance alone one in ten thousand would read none a hundred times in a row.
    let (code, found) = cellar.ask(&["fsck", "--sample", "0.01%"]).await;
    assert_eq!((code, &found["objects"], &found["hashed"]), (0, &2.into(), &1.into()));
    let (code, text) = cellar.verb(&["fsck", "--sample", "0.01%"]).await;
    assert!(code == 0 && text.contains("2 objects, 1 of them read"), "{text}");
    for none in ["0", "0%"] {
        assert_eq!(cellar.ask(&["fsck", "--sample", none]).await.1["hashed"], 0);
    }
    // What is read is looked at.
    for one in ["first", "second"] {
        let hash = story("a", 1, one).hash();
        let bytes = std::fs::read(cellar.file_of(&hash)).expect("it is there");
        std::fs::write(cellar.file_of(&hash), vec![b'x'; bytes.len()]).expect("written");
    }
    let (code, found) = cellar.ask(&["fsck", "--sample", "0.01%"]).await;
    assert_eq!((code, &found["counts"]["corrupt"]), (1, &1.into()), "{found}");
}
