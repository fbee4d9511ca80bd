//! A file that is built again from the archive's export: it counts as rebuilt when all of it was read, and not before.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output};

use contract::Export;
use outbox_tests::{Child, Reading, Signal, eventually, export_end, exported, told};

/// So many lines share a transaction of a rebuild.
const BATCH: usize = 500;

fn articles(from: usize, upto: usize) -> Vec<Export> {
    (from..upto).map(|n| told(&format!("{n}"), 1, "عنوان", "نص").export()).collect()
}

fn lines(events: &[Export]) -> String {
    events.iter().map(|event| serde_json::to_string(event).expect("JSON") + "\n").collect()
}

fn count(reading: &Reading) -> i64 {
    reading.db().query_row("select count(*) from article", [], |row| row.get(0)).unwrap_or_default()
}

/// A rebuild whose export comes through a pipe, so that it is as far as the test lets it be.
struct Piped {
    bisan: Child,
    pipe: File,
}

impl Piped {
    async fn begin(reading: &Reading, nth: usize) -> Self {
        let fifo: PathBuf = reading.file().with_extension(format!("{nth}.fifo"));
        assert!(Command::new("mkfifo").arg(&fifo).status().expect("it can be started").success());
        let name = fifo.to_str().expect("UTF-8").to_owned();
        let bisan = Child::spawn(reading.command(&["rebuild", "--from-hasad", &name]));
        // Opened when both ends are there.
        let pipe = tokio::task::spawn_blocking(move || File::options().write(true).open(fifo));
        let pipe = pipe.await.expect("no panic").expect("the other end is there");
        Self { bisan, pipe }
    }

    async fn write(&mut self, text: String) {
        let mut pipe = self.pipe.try_clone().expect("a file");
        let written = tokio::task::spawn_blocking(move || pipe.write_all(text.as_bytes()));
        written.await.expect("no panic").expect("somebody reads");
    }

    async fn kill(mut self) {
        self.bisan.kill_9();
        self.bisan.wait().await;
    }
}

/// `run` is refused with the ways out.
async fn is_refused(reading: &Reading, why: &str) {
    let mut bisan = reading.run(&[]);
    let line = bisan.saw(why).await;
    assert_eq!(bisan.wait().await, 1);
    for word in ["hasad export-ndjson", "bisan rebuild --from-hasad -", "--begin-anew (BISAN_BEGIN_ANEW)"] {
        assert!(line.contains(word), "{line}");
    }
}

async fn begins(reading: &Reading, flags: &[&str]) {
    let mut bisan = reading.run(flags);
    bisan.saw("serves readers").await;
    eventually("it has begun", async || {
        let begun = "select exists (select 1 from fact where name = 'reading_begun')";
        reading.db().query_row(begun, [], |row| row.get::<_, bool>(0)).unwrap_or_default()
    })
    .await;
    bisan.signal(Signal::Term);
    assert_eq!(bisan.wait().await, 0);
}

/// Bisan's group has been given something, and its file is gone.
async fn bereft() -> Reading {
    let reading = Reading::open().await;
    reading.say(&articles(0, 3)).await;
    let mut bisan = reading.run(&[]);
    reading.until_consumed().await;
    bisan.signal(Signal::Term);
    assert_eq!(bisan.wait().await, 0);
    std::fs::remove_file(reading.file()).expect("it was there");
    reading
}

fn rebuild(reading: &Reading, export: &str, flags: &[&str]) -> (Option<i32>, String) {
    let file = reading.file().with_extension("ndjson");
    std::fs::write(&file, export).expect("written");
    let arguments = [&["rebuild", "--from-hasad", file.to_str().expect("UTF-8")], flags].concat();
    let Output { status, stderr, .. } = reading.verb(&arguments);
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[tokio::test]
async fn a_rebuild_that_is_killed_anywhere_does_not_pass_for_one() {
    let reading = bereft().await;
    let all = articles(0, 3 * BATCH + 10);

    // Before its first line, and before its first commit: the file is as new as it was.
    let piped = Piped::begin(&reading, 0).await;
    piped.kill().await;
    is_refused(&reading, "is new, but the group").await;
    let mut piped = Piped::begin(&reading, 1).await;
    piped.write(lines(&all[..BATCH - 1])).await;
    piped.kill().await;
    is_refused(&reading, "is new, but the group").await;

    // Behind some commits, and when all is read but the last line.
    let mut piped = Piped::begin(&reading, 2).await;
    piped.write(lines(&all[..2 * BATCH + 7])).await;
    eventually("two batches", async || count(&reading) >= 2 * BATCH as i64).await;
    piped.kill().await;
    is_refused(&reading, "has not come to its end").await;
    let mut piped = Piped::begin(&reading, 3).await;
    piped.write(lines(&all)).await;
    eventually("three batches", async || count(&reading) >= 3 * BATCH as i64).await;
    piped.kill().await;
    is_refused(&reading, "has not come to its end").await;

    // To its end.
    let (code, said) = rebuild(&reading, &exported(&all), &[]);
    assert_eq!((code, count(&reading)), (Some(0), all.len() as i64), "{said}");
    begins(&reading, &[]).await;
    // Once begun, it has begun, whatever becomes of a later rebuild.
    let mut piped = Piped::begin(&reading, 4).await;
    piped.write(lines(&all)).await;
    piped.kill().await;
    begins(&reading, &[]).await;
}

#[tokio::test]
async fn a_half_rebuilt_file_is_refused_also_under_a_group_that_was_given_nothing() {
    let reading = Reading::open().await;
    let (code, said) = rebuild(&reading, &lines(&articles(0, 3)), &[]);
    assert!(code == Some(1) && said.contains("the export is cut off"), "{said}");
    is_refused(&reading, "has not come to its end").await;
    begins(&reading, &["--begin-anew"]).await;
    begins(&reading, &[]).await;
}

#[tokio::test]
async fn an_export_that_was_cut_off_is_told_in_one_sentence_and_the_file_does_not_count_as_rebuilt() {
    let reading = bereft().await;
    let whole = exported(&articles(0, 4));
    let all: Vec<&str> = whole.lines().collect();
    let middle = [&all[..1], &all[2..]].concat().join("\n");
    let half = &whole[..whole.len() - all[4].len() / 2];
    for export in [lines(&articles(0, 4)), middle, half.to_owned(), exported(&articles(0, 4)) + all[0]] {
        let (code, said) = rebuild(&reading, &export, &[]);
        let sentences: Vec<_> = said.lines().filter(|line| line.contains("the export is cut off")).collect();
        assert!(code == Some(1) && sentences.len() == 1 && said.contains("--without-end"), "{said}");
        is_refused(&reading, "has not come to its end").await;
    }
    // Whoever has lines of an older archive says so.
    let (code, said) = rebuild(&reading, &lines(&articles(0, 4)), &["--without-end"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    begins(&reading, &[]).await;
}

#[tokio::test]
async fn an_export_without_lines_or_with_wrong_ones_does_not_count_as_rebuilt() {
    let reading = bereft().await;
    let lost_all = export_end(0, None).replace("\"left_out\":0", "\"left_out\":7");
    let wrong = lines(&articles(0, 2)) + "{\"type\": \"article.upserted\", \"data\": {}}\n" + &export_end(3, None);
    for flags in [&[][..], &["--without-end"]] {
        for empty in [&export_end(0, None), &lost_all] {
            let (code, said) = rebuild(&reading, empty, flags);
            assert!(code == Some(1) && said.contains("has no articles, so the file does not count"), "{said}");
        }
    }
    is_refused(&reading, "is new, but the group").await;
    for flags in [&[][..], &["--without-end"]] {
        let (code, said) = rebuild(&reading, &wrong, flags);
        assert!(code == Some(1) && said.contains("1 lines of the export are wrong, so the file does not"), "{said}");
        is_refused(&reading, "has not come to its end").await;
    }
    let (code, said) = rebuild(&reading, &exported(&articles(0, 3)), &[]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    begins(&reading, &[]).await;
}

#[tokio::test]
async fn an_export_of_one_source_or_with_gaps_is_told() {
    let reading = bereft().await;
    let daily = lines(&articles(0, 2)) + &export_end(2, Some("daily"));
    let (code, said) = rebuild(&reading, &daily, &[]);
    assert!(code == Some(0) && said.contains("is of daily alone"), "{said}");
    is_refused(&reading, "has not come to its end").await;
    // What the archive itself cannot read no rebuild brings back: it is told, and nobody waits for it.
    let end = export_end(2, None).replace("\"left_out\":0", "\"left_out\":7");
    let (code, said) = rebuild(&reading, &(daily + &lines(&articles(0, 2)) + &end), &[]);
    assert!(code == Some(1) && said.contains("7 versions are missing"), "{said}");
    begins(&reading, &[]).await;
}
