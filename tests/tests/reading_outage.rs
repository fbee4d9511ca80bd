//! What the reader's side does while its file is not as it should be: nothing is counted, nothing is buried, nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bisan::Consume;
use clap::Parser;
use contract::Removal;
use outbox::{BatchHandler, Entry, Failure, Settled};
use outbox_tests::{Reading, Signal, eventually, letters, told};

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
    let rebuilt = bisan::rebuild(&store, lines.join("\n").as_bytes(), |so_far| written.push(so_far.lines));
    assert_eq!(rebuilt.expect("it can be read").new, 24);
    assert!(written.len() >= 3 && written.windows(2).all(|two| two[1] - two[0] <= 8), "{written:?}");
}
