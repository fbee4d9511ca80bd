//! What the reader's side does while its file is not as it should be: nothing is counted, nothing is buried, nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bisan::Consume;
use clap::Parser;
use contract::Removal;
use outbox::{BatchHandler, Entry, Failure, Settled};
use outbox_tests::{Reading, Signal, eventually, exported, letters, told};

const DEAD: &str = "content:scraped:bisan-cg:dead";

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    config: bisan::Config,
}

/// The handler, and how often it has said that something is away.
struct Counted(Consume, Arc<AtomicU32>);

impl BatchHandler for Counted {
    async fn handle(&self, entries: &[Entry]) -> Result<(), Failure> {
        let done = self.0.handle(entries).await;
        self.1.fetch_add(u32::from(matches!(done, Err(Failure::Outage(_)))), Relaxed);
        done
    }

    async fn settled(&self, upto: &Settled) -> Result<(), Failure> {
        self.0.settled(upto).await
    }
}

fn articles(reading: &Reading) -> i64 {
    reading.db().query_row("select count(*) from article", [], |row| row.get(0)).expect("the file is there")
}

/// A writer that never comes back stands in for a disk that hangs: nobody else can write, and nothing says why.
#[tokio::test]
async fn a_disk_that_hangs_costs_no_attempt_and_buries_nothing() {
    let reading = Reading::open().await;
    let store = bisan::Store::open_or_make(&reading.file()).expect("a new file can be made");
    reading.say(&(0..20).map(|n| told(&format!("{n}"), 1, "عنوان", "نص").export()).collect::<Vec<_>>()).await;
    let (release, hanging) = std::sync::mpsc::channel::<()>();
    let (hangs, does_hang) = tokio::sync::oneshot::channel();
    let held = store.clone();
    let writer = tokio::task::spawn_blocking(move || {
        held.with_writer(|_| {
            let _ = hangs.send(());
            let _ = hanging.recv();
            Ok(())
        })
    });
    does_hang.await.expect("it holds the file");

    let url = reading.redis.url();
    let flags = ["bisan", "--redis-url", &url, "--attempts-max", "1", "--write-max", "200ms", "--batch-max", "5"];
    let config = Line::try_parse_from(flags).unwrap_or_else(|error| panic!("{error}")).config;
    let outages = Arc::new(AtomicU32::new(0));
    let handler = Counted(Consume::new(store, [], config.write_max), Arc::clone(&outages));
    let consumer = config.consumer(handler).expect("sound settings");
    let running = tokio::spawn(consumer.run(std::future::pending::<()>()));
    eventually("it to have tried again and again", async || outages.load(Relaxed) >= 4).await;
    assert_eq!(letters(&reading.redis, DEAD).await.len(), 0);
    drop(release);
    writer.await.expect("no panic").expect("it ends");
    reading.until_consumed().await;
    running.abort();
    assert_eq!((articles(&reading), letters(&reading.redis, DEAD).await.len()), (20, 0));
}

#[tokio::test]
async fn what_is_written_to_a_file_that_was_taken_away_is_not_acknowledged() {
    let reading = Reading::open().await;
    let flags = ["--attempts-max", "1", "--log", "bisan=info,outbox=debug"];
    let bisan = reading.run(&flags);
    reading.say(&[told("1", 1, "عنوان", "نص").export()]).await;
    reading.until_consumed().await;
    let (file, elsewhere) = (reading.file(), reading.file().with_extension("elsewhere"));
    std::fs::rename(&file, &elsewhere).expect("it is there");
    reading.say(&[told("2", 1, "عنوان", "نص").export()]).await;
    bisan.saw("is no longer there").await;
    assert_eq!(letters(&reading.redis, DEAD).await.len(), 0);
    std::fs::rename(&elsewhere, &file).expect("it is there");
    reading.until_consumed().await;
    assert_eq!(articles(&reading), 2);
}

#[tokio::test]
async fn a_deleted_article_leaves_no_word_in_the_text_index() {
    let reading = Reading::open().await;
    let _bisan = reading.run(&[]);
    let word = "زمهريرية";
    reading.say(&[told("1", 1, word, &format!("{word} نص")).export(), told("2", 1, "عنوان", "نص").export()]).await;
    reading.until_consumed().await;
    let count = "select count(*) from words where term like '%زمهرير%'";
    let words = |reading: &Reading| -> i64 {
        let db = reading.db();
        db.execute_batch("create virtual table temp.words using fts5vocab('main', 'article_text', 'row')")
            .expect("made");
        db.query_row(count, [], |row| row.get(0)).expect("it can be read")
    };
    assert!(words(&reading) > 0, "the test looks at the right place");
    reading.say(&[told("1", 2, word, "").gone(Removal::Gone)]).await;
    reading.until_consumed().await;
    assert_eq!(words(&reading), 0);
}

#[tokio::test]
async fn a_table_that_is_missing_costs_no_attempt_and_buries_nothing() {
    let reading = Reading::open().await;
    assert!(reading.verb(&["migrate"]).status.success());
    let mut bisan = reading.run(&["--attempts-max", "1", "--log", "bisan=info,outbox=debug"]);
    bisan.saw("serves readers").await;
    reading.db().execute_batch("alter table author rename to elsewhere").expect("done");
    let by = |n: u32| told(&format!("{n}"), 1, "عنوان", "نص").by("سلمى", None).export();
    reading.say(&(0..20).map(by).collect::<Vec<_>>()).await;
    bisan.saw("no such table").await;
    assert_eq!(letters(&reading.redis, DEAD).await.len(), 0);
    reading.db().execute_batch("alter table elsewhere rename to author").expect("done");
    reading.until_consumed().await;
    assert_eq!((articles(&reading), letters(&reading.redis, DEAD).await.len()), (20, 0));
    bisan.signal(Signal::Term);
    assert_eq!(bisan.wait().await, 0);
}

#[tokio::test]
async fn an_inbox_of_an_older_program_is_brought_to_this_one() {
    let reading = Reading::open().await;
    assert!(reading.verb(&["migrate"]).status.success());
    // The tables of Bisan are those of this version; the inbox has versions of its own.
    reading.db().execute_batch("drop table inbox_content").expect("done");
    assert!(reading.verb(&["migrate"]).status.success());
    let there: bool = reading
        .db()
        .query_row("select exists (select 1 from sqlite_schema where name = 'inbox_content')", [], |row| row.get(0))
        .expect("read");
    assert!(there);
    // Where nothing is to be done, nobody is waited for.
    let db = reading.db();
    db.execute_batch("begin immediate").expect("nobody else writes");
    assert!(reading.verb(&["migrate"]).status.success());
}

#[tokio::test]
async fn a_rebuild_holds_only_so_many_bytes_at_once() {
    let reading = Reading::open().await;
    let store = bisan::Store::open_or_make(&reading.file()).expect("a new file can be made");
    let long = "نص طويل ".repeat(100_000);
    let one = |n: u32| serde_json::to_string(&told(&format!("{n}"), 1, "عنوان", &long).export()).expect("JSON");
    let lines: Vec<_> = (0..24).map(one).collect();
    let mut written = vec![];
    let lines = lines.join("\n");
    let rebuilt =
        bisan::rebuild(&store, lines.as_bytes(), bisan::WithoutEnd::CutOff, |so_far| written.push(so_far.lines));
    assert_eq!(rebuilt.expect("it can be read").new, 24);
    assert!(written.len() >= 3 && written.windows(2).all(|two| two[1] - two[0] <= 8), "{written:?}");
}

/// Its file is gone, as with a disk that is not mounted.
fn unmount(reading: &Reading) {
    for end in ["", "-wal", "-shm"] {
        let mut file = reading.file().into_os_string();
        file.push(end);
        let _ = std::fs::remove_file(file);
    }
}

/// Starts, and is refused: what it said.
async fn refused(reading: &Reading) -> String {
    let mut bisan = reading.run(&[]);
    let line = bisan.saw("is new, but the group").await;
    assert_eq!(bisan.wait().await, 1);
    line
}

#[tokio::test]
async fn a_new_file_under_a_group_that_has_been_somewhere_is_refused_with_the_ways_out() {
    let reading = Reading::open().await;
    let events: Vec<_> = (1..=3).map(|n| told(&format!("{n}"), 1, "عنوان", "نص").export()).collect();
    let mut bisan = reading.run(&[]);
    reading.say(&events).await;
    reading.until_consumed().await;
    bisan.signal(Signal::Term);
    assert_eq!(bisan.wait().await, 0);

    unmount(&reading);
    for word in ["mount", "rebuild --from-hasad", "--begin-anew (BISAN_BEGIN_ANEW)", "bisan-cg", "bisan.sqlite"] {
        assert!(refused(&reading).await.contains(word), "{word}");
    }
    // A start that was refused has made a file, and so has who makes the tables by hand: it is as new as it was.
    assert!(reading.verb(&["migrate"]).status.success());
    refused(&reading).await;

    // Way out: everything again from the archive.
    let export = reading.file().with_extension("ndjson");
    std::fs::write(&export, exported(&events)).expect("written");
    assert!(reading.verb(&["rebuild", "--from-hasad", export.to_str().expect("a name")]).status.success());
    let mut bisan = reading.run(&[]);
    reading.say(&[told("4", 1, "عنوان", "نص").export()]).await;
    reading.until_consumed().await;
    assert_eq!(articles(&reading), 4);
    bisan.signal(Signal::Term);
    assert_eq!(bisan.wait().await, 0);

    // Way out: what comes next. It is said once, and holds for this file.
    unmount(&reading);
    let mut bisan = reading.run(&["--begin-anew"]);
    bisan.saw("serves readers").await;
    eventually("it has begun", async || {
        let begun = "select exists (select 1 from fact where name = 'reading_begun')";
        reading.db().query_row(begun, [], |row| row.get::<_, bool>(0)).unwrap_or_default()
    })
    .await;
    bisan.kill_9();
    bisan.wait().await;
    let _bisan = reading.run(&[]);
    reading.say(&[told("5", 1, "عنوان", "نص").export()]).await;
    reading.until_consumed().await;
    assert_eq!(articles(&reading), 1);
}

#[tokio::test]
async fn a_first_start_is_one_whatever_was_there_before_it_and_wherever_it_died() {
    // Somebody made the group, and nobody was given anything.
    let reading = Reading::open().await;
    reading.redis.command(&["XGROUP", "CREATE", contract::STREAM, contract::BISAN, "0", "MKSTREAM"]).await;
    reading.say(&[told("1", 1, "عنوان", "نص").export()]).await;
    let mut bisan = reading.run(&[]);
    reading.until_consumed().await;
    assert_eq!(articles(&reading), 1);
    bisan.signal(Signal::Term);
    assert_eq!(bisan.wait().await, 0);

    // All that it was ever given is a dead letter, or without an effect.
    let reading = Reading::open().await;
    reading.say_raw("bad", "article.upserted", 1, "{}").await;
    let bisan = reading.run(&[]);
    eventually("it is set aside", async || letters(&reading.redis, DEAD).await.len() == 1).await;
    bisan.kill_9();
    let bisan = reading.run(&[]);
    reading.say(&[told("1", 1, "عنوان", "نص").export()]).await;
    reading.until_consumed().await;
    drop(bisan);

    // It dies with events in hand, the file still empty.
    let reading = Reading::open().await;
    assert!(reading.verb(&["migrate"]).status.success());
    let locked = reading.db();
    let begun = "select exists (select 1 from fact where name = 'reading_begun')";
    let bisan = reading.run(&[]);
    eventually("it has begun", async || locked.query_row(begun, [], |row| row.get::<_, bool>(0)).unwrap_or_default())
        .await;
    locked.execute_batch("begin immediate").expect("nobody else writes");
    reading.say(&[told("1", 1, "عنوان", "نص").export()]).await;
    eventually("it is given the event", async || {
        outbox_tests::pending(&reading.redis, contract::STREAM, contract::BISAN).await == 1
    })
    .await;
    bisan.kill_9();
    locked.execute_batch("rollback").expect("it is ours");
    let _bisan = reading.run(&["--claim-after", "1s"]);
    reading.until_consumed().await;
    assert_eq!(articles(&reading), 1);
}

#[tokio::test]
async fn a_new_file_waits_for_a_redis_that_is_away_before_it_believes_anything() {
    let reading = Reading::open().await;
    reading.say(&[told("1", 1, "عنوان", "نص").export()]).await;
    let mut first = reading.run(&[]);
    reading.until_consumed().await;
    first.signal(Signal::Term);
    assert_eq!(first.wait().await, 0);
    unmount(&reading);
    let wire = outbox_tests::Proxy::to(reading.redis.port()).await;
    wire.refuse();
    let mut command = reading.command(&["run"]);
    command.env("REDIS_URL", format!("redis://127.0.0.1:{}", wire.port()));
    let mut bisan = outbox_tests::Child::spawn(command);
    bisan.saw("Redis is away").await;
    wire.accept();
    bisan.saw("is new, but the group").await;
    assert_eq!(bisan.wait().await, 1);
}
