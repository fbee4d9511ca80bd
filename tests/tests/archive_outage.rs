//! A store that is away, full or throttled costs no event an attempt, buries none and loses none.

use std::process::Command;

use outbox_tests::{Cellar, Child, Proxy, Reply, Site, Store, eventually, letters, story};

const DEAD: &str = "content:scraped:hasad-cg:dead";

/// Two attempts, and a limit that is soon reached: an outage that counted would bury at once.
const FLAGS: [&str; 4] = ["--attempts-max", "2", "--write-max", "1s"];

async fn stocked(store: Store) -> Cellar {
    let cellar = Cellar::open(store).await;
    cellar.tell(&events(0..30)).await;
    cellar
}

fn events(pages: std::ops::Range<u32>) -> Vec<outbox::Event> {
    pages.map(|nth| story(&format!("p{nth}"), 1, &format!("content {nth}")).event()).collect()
}

/// An archive over a wire that has worked before the store goes away.
async fn at_work(cellar: &Cellar) -> (Proxy, Child) {
    let wire = Proxy::to(cellar.s3.as_ref().expect("it has one").port()).await;
    let archive = cellar.run_over(&FLAGS, None, Some(&wire));
    cellar.tell(&events(0..1)).await;
    cellar.until_settled().await;
    (wire, archive)
}

/// Waits until the archive has tried again and again, and checks that nothing is buried, counted or written by halves.
async fn until_tried(cellar: &Cellar, tries: impl AsyncFn() -> u64) {
    let (before, rows) = (tries().await, cellar.rows().await.len());
    eventually("the archive to try again and again", async || tries().await >= before + 4).await;
    assert_eq!(letters(&cellar.stage.redis, DEAD).await.len(), 0);
    assert_eq!(cellar.rows().await.len(), rows);
}

/// How many transactions Postgres has rolled back: one for each try.
async fn rolled_back(cellar: &Cellar) -> u64 {
    let query = "select xact_rollback from pg_stat_database where datname = current_database()";
    cellar.stage.ask::<i64>(query).await.unsigned_abs()
}

async fn assert_all_is_archived(cellar: &Cellar) {
    cellar.until_settled().await;
    assert_eq!(letters(&cellar.stage.redis, DEAD).await.len(), 0, "nothing is buried");
    assert_eq!(cellar.rows().await.len(), 30);
    cellar.sweep().await;
    cellar.assert_sound().await;
}

#[tokio::test]
async fn an_s3_that_is_away_costs_no_attempt_and_loses_nothing() {
    let cellar = Cellar::open(Store::S3).await;
    let (wire, archive) = at_work(&cellar).await;
    wire.refuse();
    cellar.tell(&events(1..30)).await;
    archive.saw("handlers say that something is away").await;
    until_tried(&cellar, async || rolled_back(&cellar).await).await;
    wire.accept();
    assert_all_is_archived(&cellar).await;
}

#[tokio::test]
async fn an_s3_that_is_frozen_costs_no_attempt_and_loses_nothing() {
    let cellar = Cellar::open(Store::S3).await;
    let (wire, archive) = at_work(&cellar).await;
    wire.freeze();
    cellar.tell(&events(1..30)).await;
    archive.saw("handlers say that something is away").await;
    until_tried(&cellar, async || rolled_back(&cellar).await).await;
    wire.thaw();
    assert_all_is_archived(&cellar).await;
}

/// The site of the scraper's tests stands in for a store that is throttled: no real one can be made to say so.
#[tokio::test]
async fn an_s3_that_is_throttled_costs_no_attempt_and_loses_nothing() {
    let cellar = stocked(Store::S3).await;
    let site = Site::open().await;
    let id: String = cellar.stage.ask("select id from hasad.archive").await;
    site.put(
        "/archive/some/prefix/owner",
        Reply::body("text/plain", id).header("last-modified", "Sat, 21 Nov 2026 00:00:00 GMT"),
    );
    let names: Vec<_> = (0..30).map(|nth| story(&format!("p{nth}"), 1, &format!("content {nth}")).hash()).collect();
    let path = |hash: &str| format!("/archive/some/prefix/v2/{}/{hash}", &hash[..2]);
    for name in &names {
        site.put(&path(name), Reply::status(503));
    }
    let mut command = cellar.command(&[&["run"], &FLAGS[..]].concat());
    command.env("AWS_ENDPOINT_URL", site.url(""));
    let throttled = Child::spawn(command);
    throttled.saw("handlers say that something is away").await;
    until_tried(&cellar, async || names.iter().map(|name| site.visits_to(&path(name)) as u64).sum()).await;
    throttled.kill_9();
    let archive = cellar.run(&FLAGS);
    assert_all_is_archived(&cellar).await;
    drop(archive);
}

/// Where the store's folders should be lies a file: a folder refuses, and an S3 server answers 500.
async fn something_in_the_way(store: Store) {
    let cellar = stocked(store).await;
    let folder = cellar.file_of(&"0".repeat(64)).parent().and_then(std::path::Path::parent).expect("v2").to_owned();
    std::fs::create_dir_all(folder.parent().expect("the store")).expect("made");
    std::fs::write(&folder, "in the way").expect("written");
    let archive = cellar.run(&FLAGS);
    archive.saw("handlers say that something is away").await;
    until_tried(&cellar, async || rolled_back(&cellar).await).await;
    std::fs::remove_file(&folder).expect("it is there");
    assert_all_is_archived(&cellar).await;
}

#[tokio::test]
async fn an_s3_that_fails_by_itself_costs_no_attempt_and_loses_nothing() {
    something_in_the_way(Store::S3).await;
}

#[tokio::test]
async fn a_folder_that_refuses_costs_no_attempt_and_loses_nothing() {
    something_in_the_way(Store::Folder).await;
}

/// A limit on the size of files stands in for a full disk: the write fails half-way, as it does there.
#[tokio::test]
async fn a_folder_that_is_full_costs_no_attempt_and_loses_nothing() {
    let cellar = Cellar::open(Store::Folder).await;
    let long = "a long text ".repeat(500);
    let events: Vec<_> = (0..30).map(|nth| story(&format!("p{nth}"), 1, &format!("{long}{nth}")).event()).collect();
    cellar.tell(&events).await;
    let run = cellar.command(&[&["run"], &FLAGS[..]].concat());
    let mut full = Command::new("sh");
    // So many blocks of 512 or 1,024 bytes; ignored, the signal becomes an error of the write.
    full.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"]).arg(run.get_program()).args(run.get_args());
    full.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let full = Child::spawn(full);
    full.saw("handlers say that something is away").await;
    until_tried(&cellar, async || rolled_back(&cellar).await).await;
    assert!(cellar.objects().is_empty(), "no half object bears a name");
    full.kill_9();
    let archive = cellar.run(&FLAGS);
    assert_all_is_archived(&cellar).await;
    drop(archive);
}

/// What a disk leaves that is not mounted: an empty folder where the store was.
#[tokio::test]
async fn a_store_that_is_not_mounted_is_an_outage_and_nothing_is_archived_beside_it() {
    let cellar = stocked(Store::Folder).await;
    let archive = cellar.run(&FLAGS);
    cellar.until_settled().await;
    let store = cellar.file_of(&"0".repeat(64)).ancestors().nth(3).expect("the store").to_owned();
    let elsewhere = store.with_extension("unmounted");
    std::fs::rename(&store, &elsewhere).expect("it is there");
    std::fs::create_dir(&store).expect("made");
    cellar.tell(&events(30..40)).await;
    archive.saw("the store has no object `owner`").await;
    until_tried(&cellar, async || rolled_back(&cellar).await).await;
    drop(archive);

    // Nor does one that starts then take it for a new one.
    let started = cellar.run(&FLAGS);
    started.saw("is the right store mounted").await;
    assert_eq!(cellar.verb(&["gc"]).await.0, 1);
    assert!(!store.join("owner").exists());
    assert_eq!(letters(&cellar.stage.redis, DEAD).await.len(), 0);

    std::fs::remove_dir_all(&store).expect("it is there");
    std::fs::rename(&elsewhere, &store).expect("it is there");
    cellar.until_settled().await;
    assert_eq!(cellar.rows().await.len(), 40);
    cellar.assert_sound().await;
}

/// An export to its end: its exit code, what it wrote and what it said.
async fn exported(command: Command) -> (Option<i32>, String, String) {
    let output = tokio::process::Command::from(command).output().await.expect("it can be started");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

const EXPORT: [&str; 1] = ["export-ndjson"];
const END: &str = "export.end";

#[tokio::test]
async fn an_export_does_not_pass_for_whole_if_the_store_goes_away_and_names_what_is_lost_for_good() {
    let cellar = Cellar::open(Store::S3).await;
    cellar.archive(&events(0..30)).await;
    let wire = Proxy::to(cellar.s3.as_ref().expect("it has one").port()).await;
    let export = || exported(cellar.command_over(&[&EXPORT[..], &["--json"]].concat(), None, Some(&wire)));
    wire.refuse();
    let (code, lines, said) = export().await;
    assert!(code == Some(1) && lines.is_empty() && said.contains("the object store"), "{lines}{said}");

    // In the middle of it.
    wire.accept();
    let half = wire.halt_at(7, outbox_tests::Side::Reply);
    let away = async {
        half.reached().await;
        wire.refuse();
    };
    let ((code, lines, said), ()) = tokio::join!(export(), away);
    assert!(code == Some(1) && !lines.contains(END) && said.contains("the object store"), "{lines}{said}");

    wire.accept();
    let (code, lines, said) = export().await;
    assert!(code == Some(0) && lines.lines().count() == 31 && lines.contains(END), "{said}");
    // An object that is not there is lost, however often one asks.
    std::fs::remove_file(cellar.file_of(&story("p7", 1, "content 7").hash())).expect("it is there");
    let (code, lines, said) = export().await;
    assert!(code == Some(1) && lines.lines().count() == 30 && lines.contains(r#""left_out":1"#), "{lines}{said}");
}

#[tokio::test]
async fn a_store_that_is_not_mounted_is_told_before_anything_is_to_be_archived_and_ends_an_export() {
    let cellar = Cellar::open(Store::Folder).await;
    // A fresh one has no owner, either.
    let fresh = cellar.run(&["--listen", "127.0.0.1:0"]);
    fresh.saw("the archive works").await;
    let at = crate::metrics::told_at(&fresh).await;
    assert_eq!(crate::metrics::status(at, "/ready").await, 200);
    drop(fresh);
    cellar.archive(&events(0..3)).await;

    let store = cellar.file_of(&"0".repeat(64)).ancestors().nth(3).expect("the store").to_owned();
    let elsewhere = store.with_extension("unmounted");
    std::fs::rename(&store, &elsewhere).expect("it is there");
    std::fs::create_dir(&store).expect("made");
    let archive = cellar.run(&["--listen", "127.0.0.1:0"]);
    archive.saw("is the right store mounted").await;
    let at = crate::metrics::told_at(&archive).await;
    assert_eq!(crate::metrics::status(at, "/ready").await, 503);
    let (code, lines, said) = exported(cellar.command(&EXPORT)).await;
    assert!(code == Some(1) && lines.is_empty() && said.contains("is the right store mounted"), "{lines}{said}");
    assert!(!archive.log().contains("the archive works"), "{}", archive.log());

    std::fs::remove_dir(&store).expect("nobody wrote there");
    std::fs::rename(&elsewhere, &store).expect("it is there");
    archive.saw("the archive works").await;
    eventually("it to be ready", async || crate::metrics::status(at, "/ready").await == 200).await;
    assert_eq!(exported(cellar.command(&EXPORT)).await.0, Some(0));
}

#[tokio::test]
async fn a_postgres_that_is_away_costs_no_attempt_and_loses_nothing() {
    let cellar = stocked(Store::Folder).await;
    let wire = Proxy::to(cellar.stage.postgres.port()).await;
    wire.refuse();
    let archive = cellar.run_over(&FLAGS, Some(&wire), None);
    archive.saw("handlers say that something is away").await;
    assert_eq!(letters(&cellar.stage.redis, DEAD).await.len(), 0);
    wire.accept();
    // It goes away once more, in the middle of what it does.
    eventually("something to be archived", async || !cellar.rows().await.is_empty()).await;
    let more: Vec<_> = (30..300).map(|nth| story(&format!("p{nth}"), 1, &format!("content {nth}")).event()).collect();
    for part in more.chunks(30) {
        cellar.tell(part).await;
        wire.cut();
    }
    cellar.until_settled().await;
    assert_eq!(letters(&cellar.stage.redis, DEAD).await.len(), 0, "nothing is buried");
    assert_eq!(cellar.rows().await.len(), 300);
    drop(archive);
    cellar.sweep().await;
    cellar.assert_sound().await;
}

#[tokio::test]
async fn a_postgres_that_is_frozen_costs_no_attempt_and_loses_nothing() {
    let cellar = stocked(Store::Folder).await;
    let wire = Proxy::to(cellar.stage.postgres.port()).await;
    let halt = wire.halt_at(8, outbox_tests::Side::Reply);
    let archive = cellar.run_over(&FLAGS, Some(&wire), None);
    halt.reached().await;
    archive.saw("it took longer than").await;
    assert_eq!(letters(&cellar.stage.redis, DEAD).await.len(), 0);
    wire.thaw();
    assert_all_is_archived(&cellar).await;
}

#[tokio::test]
async fn missing_tables_and_missing_rights_bury_nothing() {
    let cellar = stocked(Store::Folder).await;
    cellar.sql("alter table hasad.version rename to elsewhere").await;
    let archive = cellar.run(&FLAGS);
    archive.saw("handlers say that something is away").await;
    let tries = until_no_rows(&cellar);
    tries.await;
    cellar.sql("alter table hasad.elsewhere rename to version").await;
    assert_all_is_archived(&cellar).await;
}

async fn until_no_rows(cellar: &Cellar) {
    let before = rolled_back(cellar).await;
    eventually("the archive to try again", async || rolled_back(cellar).await >= before + 3).await;
    assert_eq!(letters(&cellar.stage.redis, DEAD).await.len(), 0);
}

/// Every reply of the store is lost once, and every reply of Postgres, the commit's too.
async fn lost_replies(of_postgres: bool) {
    let cellar = Cellar::open(Store::S3).await;
    let (s3, postgres) = (cellar.s3.as_ref().expect("it has one").port(), cellar.stage.postgres.port());
    let wire = Proxy::to(if of_postgres { postgres } else { s3 }).await;
    let (over_postgres, over_s3) = if of_postgres { (Some(&wire), None) } else { (None, Some(&wire)) };
    let archive = cellar.run_over(&["--attempts-max", "2"], over_postgres, over_s3);
    archive.saw("the archive works").await;
    for turn in 1..=12_u64 {
        let lost = wire.lose_reply(usize::try_from(turn).expect("small"));
        let events: Vec<_> = (0..5)
            .map(|nth| story(&format!("p{nth}"), turn, &format!("content {turn} {}", nth % 3)).event())
            .collect();
        cellar.tell(&events).await;
        cellar.until_settled().await;
        cellar.assert_nothing_is_missing().await;
        assert!(lost.is_reached() || turn > 3, "turn {turn} came");
    }
    assert_eq!(letters(&cellar.stage.redis, DEAD).await.len(), 0, "nothing is buried");
    assert_eq!(cellar.rows().await.len(), 60);
    drop(archive);
    cellar.sweep().await;
    cellar.assert_sound().await;
}

#[tokio::test]
async fn lost_replies_of_s3_neither_lose_nor_double_anything() {
    lost_replies(false).await;
}

#[tokio::test]
async fn lost_replies_of_postgres_neither_lose_nor_double_anything() {
    lost_replies(true).await;
}

#[tokio::test]
async fn it_says_that_it_works_when_postgres_the_store_and_redis_have_answered_and_not_before() {
    let cellar = Cellar::open(Store::S3).await;
    let (s3, postgres) = (cellar.s3.as_ref().expect("it has one").port(), cellar.stage.postgres.port());
    let wires = [Proxy::to(postgres).await, Proxy::to(s3).await, Proxy::to(cellar.stage.redis.port()).await];
    for (away, words) in wires.iter().zip(["Postgres", "the object store", "Redis is away"]) {
        let mut command = cellar.command_over(&["run"], Some(&wires[0]), Some(&wires[1]));
        command.env("REDIS_URL", cellar.stage.redis_url_over(&wires[2]));
        away.refuse();
        let archive = Child::spawn(command);
        archive.saw("the archive begins").await;
        archive.saw(words).await;
        assert!(!archive.log().contains("the archive works"), "{words}: {}", archive.log());
        away.accept();
        archive.saw("the archive works").await;
    }
}
