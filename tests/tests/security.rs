//! What docs/security.md says of threats that no other file is about.

use std::net::SocketAddr;

use outbox_tests::{Cellar, Reading, Response, Stage, Store, Surface, ask, eventually, story, told};
use serde_json::json;

/// A name that would begin a line of its own in a log, and colour a terminal.
const FORGED: &str = "a\n2026-11-21T08:00:00Z ERROR forged: a dead letter\r\u{1b}[31m\u{1b}]0;title\u{7}\u{202e}";

#[tokio::test]
async fn what_events_are_called_forges_no_line_of_a_log_and_nothing_on_a_terminal() {
    let stage = Stage::set().await;
    stage.redis.command(&["SET", FORGED, "in the way: this stream is refused"]).await;
    let surface = Surface::begin(&stage, &["--attempts-max", "1"]).await;
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    sqlx::query("insert into outbox (stream, type, key, id, payload) values ($1, $1, $1, $1, '1')")
        .bind(FORGED)
        .execute(&mut *tx)
        .await
        .expect("any text is a name");
    tx.commit().await.expect("committed");
    surface.relay.saw("a dead letter").await;
    surface.get("/trace/a%0aforged%1b%5b31m").await;
    assert_tame(&surface.relay.log());

    for verb in
        [&["status"][..], &["dead", "list"], &["dead", "show", FORGED], &["trace", FORGED], &["doctor"], &["groups"]]
    {
        let output = tokio::process::Command::from(stage.command(verb)).output().await.expect("it can be started");
        for said in [output.stdout, output.stderr] {
            assert_tame(&String::from_utf8_lossy(&said));
        }
    }
}

fn assert_tame(said: &str) {
    assert!(!said.lines().any(|line| line.trim_start().starts_with("2026-11-21T08:00:00Z ERROR forged")), "{said}");
    // JSON is for programs: it escapes what JSON asks for, and keeps text.
    let is_json = said.starts_with(['[', '{']);
    let wild = |c: char| (c.is_control() && c != '\n') || (c == '\u{202e}' && !is_json);
    assert!(!said.contains(wild), "{said:?}");
}

/// What a page says of itself goes through two stores and one more program; then it is read on a terminal.
#[tokio::test]
async fn what_an_article_says_does_nothing_to_a_terminal() {
    let reading = Reading::open().await;
    let mut bisan = reading.run(&[]);
    // A text has lines of its own; whatever stands beside it has one.
    let text = FORGED.replace('\n', " ");
    let hostile = told("1", 1, FORGED, &text).lead(&text).by(FORGED, None);
    reading.say(&[hostile.export()]).await;
    reading.until_consumed().await;
    assert_tame(&bisan.log());
    bisan.signal(outbox_tests::Signal::Term);
    bisan.wait().await;
    for verb in [&["show", "1"][..], &["search", "forged"], &["authors", "list"]] {
        let output = reading.verb(verb);
        assert_tame(&String::from_utf8_lossy(&output.stdout));
        assert_tame(&String::from_utf8_lossy(&output.stderr));
    }
}

const WAYS_OUT: [&str; 8] = [
    "/../../../../etc/passwd",
    "/..%2f..%2f..%2fetc%2fpasswd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/style.css/../../../etc/passwd",
    "//etc/passwd",
    "/..\\..\\etc\\passwd",
    "/page.js%00.html",
    "/articles/..%2f..%2fetc%2fpasswd",
];

/// Their pages and styles are in the programs; no address names a file.
#[tokio::test]
async fn no_address_leads_to_a_file() {
    let stage = Stage::set().await;
    let surface = Surface::begin(&stage, &[]).await;
    let reading = Reading::open().await;
    let bisan = reading.run(&[]);
    let readers: SocketAddr = outbox_tests::address(&bisan).await;
    for way in WAYS_OUT {
        let head = format!("GET {way} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let answer: Response = surface.raw(head.as_bytes()).await.expect("answered");
        assert!((400..500).contains(&answer.status), "{way}: {}", answer.status);
        let answer = ask(readers, "GET", way, &[]).await;
        assert!((400..500).contains(&answer.status) && !answer.body.contains("root:"), "{way}: {}", answer.status);
    }
}

/// Objects are named by us, from a hash that is computed here. What an event claims is compared with it, never used.
#[tokio::test]
async fn no_event_names_a_file_of_the_archive() {
    let cellar = Cellar::open(Store::Folder).await;
    let claims =
        ["../../outside", "/etc/passwd", "..", "a/../../b", &"A".repeat(64), &format!("{}/..", "a".repeat(61))];
    let mut events = vec![story("honest", 1, "text").event()];
    for (nth, claim) in claims.iter().enumerate() {
        let mut payload = story(&format!("../..%2f{nth}"), 1, "text").payload();
        payload["content_hash"] = json!(claim);
        payload["raw_hash"] = json!(claim);
        payload["source_name"] = json!(claim);
        let event =
            outbox::Event::draft(contract::STREAM, contract::ArticleUpserted::TYPE).id(format!("claim {nth}"));
        events.push(event.json(&payload).expect("JSON"));
    }
    cellar.archive(&events).await;
    let honest = story("honest", 1, "text").hash();
    assert_eq!(cellar.objects(), [honest.clone()].into());
    let folder = cellar.file_of(&honest).ancestors().nth(3).expect("the store").to_owned();
    let outside: Vec<_> = std::fs::read_dir(folder.parent().expect("above it")).expect("readable").collect();
    assert_eq!(outside.len(), 1, "{outside:?}");
}

/// A sitemap may name any address; what is asked of its server is one line.
#[test]
fn a_line_break_in_an_address_starts_no_header() {
    for text in [
        "https://daily.example/a\r\nx-evil: 1",
        "https://daily.example/a\nb",
        "https://daily.example/%0d%0ax-evil:1",
        "https://daily.exa\nmple/",
    ] {
        if let Ok(address) = fallah::address::Address::parse(text) {
            assert!(!address.as_str().contains(char::is_control), "{address:?}");
            assert!(!address.path_and_query().contains(char::is_control));
        }
    }
}

/// Statements have places for values, and SQL is written by us alone. Where a statement is put together, only pieces of our own
/// and numbers are (tests/tests/house.rs says where statements stand).
#[tokio::test]
async fn no_name_of_an_event_becomes_a_statement() {
    let stage = Stage::set().await;
    let evil = "x'); drop table outbox cascade; --\"\\ $1 {0} %s";
    let surface = Surface::begin(&stage, &[]).await;
    let body = json!({ "stream": evil, "type": evil, "key": evil, "id": evil, "payload": { evil: evil } });
    assert_eq!(surface.post("/api/v1/events/publish", &body).await.status, 200);
    eventually("its entry", async || stage.length(evil).await == 1).await;
    let encoded: String = evil.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for path in [
        format!("/trace/{encoded}"),
        format!("/dead?stream={encoded}&type={encoded}&group={encoded}&search={encoded}"),
    ] {
        let answer = surface.get(&path).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    for verb in [&["trace", evil][..], &["dead", "list", "--stream", evil], &["pause", evil], &["resume", evil]] {
        let output = tokio::process::Command::from(stage.command(verb)).output().await.expect("it can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("syntax") && !said.contains("at character"), "{verb:?}: {said}");
    }
    assert_eq!(stage.ask::<i64>("select count(*) from outbox").await, 1);
}
