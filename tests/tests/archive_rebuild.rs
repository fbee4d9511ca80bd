//! From the archive to the reader's side without the stream: what the one's binary writes, the other's reads.

use std::process::Stdio;

use contract::{Export, Removal};
use outbox::Event;
use outbox_tests::{Cellar, Reading, Store, dump, told};
use rusqlite::Connection;
use serde_json::Value;

/// Articles with edits, authors who share a page, and ends; each article's versions in their order.
fn history() -> Vec<Export> {
    let page = Some("https://daily.example/people/7");
    let mut said = vec![];
    for version in 1..=3 {
        for path in 0..20 {
            let one =
                told(&format!("{path}"), version, &format!("عنوان {path}"), &format!("النص {version} من {path}"))
                    .lead("مقدمة")
                    .by(["سلمى", "Salma", "عمر"][path % 3], page.filter(|_| path % 3 < 2));
            match (path % 5, version) {
                (4, 3) => said.push(one.gone(Removal::Gone)),
                _ => said.push(one.export()),
            }
        }
    }
    said
}

fn event(export: &Export, nth: usize) -> Event {
    let line = serde_json::to_value(export).expect("JSON");
    let draft = Event::draft(contract::STREAM, export.r#type()).id(format!("event-{nth}"));
    draft.json(&line["data"]).expect("within all limits")
}

#[tokio::test]
async fn what_the_archive_exports_makes_the_same_reader_as_the_stream() {
    let (cellar, reading, events) = (Cellar::open(Store::Folder).await, Reading::open().await, history());
    cellar.archive(&events.iter().enumerate().map(|(nth, one)| event(one, nth)).collect::<Vec<_>>()).await;
    reading.say(&events).await;
    let _bisan = reading.run(&[]);
    reading.until_consumed().await;

    // hasad export-ndjson | bisan rebuild --from-hasad -
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rebuilt.sqlite");
    let (export, rebuild) =
        (cellar.command(&["export-ndjson"]), reading.command_on(&file, &["rebuild", "--json", "--from-hasad", "-"]));
    let summary = tokio::task::spawn_blocking(move || {
        let (mut export, mut rebuild) = (export, rebuild);
        let mut export = export.stdout(Stdio::piped()).spawn().expect("it can be started");
        let lines = export.stdout.take().expect("it was piped");
        let rebuilt = rebuild.stdin(lines).output().expect("it can be started");
        assert!(export.wait().expect("it ends").success());
        assert!(rebuilt.status.success(), "{}", String::from_utf8_lossy(&rebuilt.stderr));
        serde_json::from_slice::<Value>(&rebuilt.stdout).expect("JSON")
    });
    let summary = summary.await.expect("no panic");
    assert_eq!((&summary["lines"], &summary["wrong"]), (&events.len().into(), &0.into()));
    assert_eq!(dump(&Connection::open(&file).expect("it is there")), reading.dump());
}
