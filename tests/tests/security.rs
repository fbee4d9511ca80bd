//! What docs/security.md says of threats that no other file is about.

use std::net::SocketAddr;

use outbox_tests::{
    Cellar, Newsroom, Reading, Reply, Response, Stage, Store, Surface, article, ask, eventually, story, text,
};
use serde_json::json;

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

/// The headers that a scraper sends, and no others.
const OURS: [&str; 6] = ["host", "accept", "user-agent", "accept-encoding", "if-none-match", "if-modified-since"];

/// A list may name any address, a redirect may lead to any, and what a page says of its own age is sent back to it. Whatever stands
/// there, what is asked is one line, and the headers are ours.
#[tokio::test]
async fn a_line_break_in_what_a_site_says_starts_no_header() {
    let newsroom = Newsroom::open().await;
    let site = &newsroom.site;
    let breaks = [
        "/a\r\nx-evil: 1",
        "/b\nx-evil: 2",
        "/c%0d%0ax-evil:3",
        "/d&#13;&#10;x-evil: 4",
        "/e HTTP/1.1&#10;x-evil: 5",
    ];
    site.sitemap("/sitemap.xml", &[&breaks[..], &["/moved", "/good"]].concat());
    site.put("/moved", Reply::moved("/f%0d%0ax-evil:6"));
    let good = Reply::html(article("A headline", "Salma Haddad", &text(1)));
    site.put("/good", good.header("etag", "\"a\tb\u{e9}\"").header("last-modified", "Sat, 21 Nov 2026 08:00:00 GMT"));
    newsroom.once().await;
    let asked = site.visits();
    assert!(asked.iter().any(|visit| visit.path.starts_with("/c%0")), "{asked:?}");
    assert!(asked.iter().any(|visit| visit.path.starts_with("/f%0")), "{asked:?}");
    // Such a value comes with no answer; somebody wrote it there.
    newsroom.sql("update fallah.page set etag = E'\"x\"\\r\\nx-evil: 7', last_modified = E'x\\r\\nx-evil: 8'").await;
    site.forget();
    newsroom.again().await;
    assert!(site.visits_to("/good") > 0);
    for visit in asked.iter().chain(&site.visits()) {
        assert!(!visit.path.contains(char::is_control), "{visit:?}");
        let foreign: Vec<_> = visit.headers.keys().filter(|name| !OURS.contains(&name.as_str())).collect();
        assert!(foreign.is_empty(), "{foreign:?} in {visit:?}");
        let values = visit.headers.values().any(|value| value.contains("x-evil"));
        assert!(!values, "{visit:?}");
    }
}

/// What is asked for comes back in some of our own headers: where a job is to be found, where a list goes on.
#[tokio::test]
async fn a_line_break_in_what_is_asked_ends_no_header_of_ours() {
    let stage = Stage::set().await;
    let surface = Surface::begin(&stage, &[]).await;
    let reading = Reading::open().await;
    let bisan = reading.run(&[]);
    let readers: SocketAddr = outbox_tests::address(&bisan).await;
    for name in ["a%0d%0ax-evil:%201", "a%0ax-evil:%202", "%E5%98%8A%E5%98%8Dx-evil:%203"] {
        for way in [format!("/trace/{name}"), format!("/dead?stream={name}"), format!("/jobs/{name}")] {
            let head = format!("GET {way} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
            let answer: Response = surface.raw(head.as_bytes()).await.expect("answered");
            assert!(!answer.headers.keys().any(|name| name.contains("evil")), "{way}: {:?}", answer.headers);
        }
        for way in [format!("/articles?after={name}"), format!("/search?q={name}"), format!("/{name}")] {
            let answer = ask(readers, "GET", &way, &[("if-none-match", "\"x\"")]).await;
            assert!(!answer.headers.keys().any(|name| name.contains("evil")), "{way}: {:?}", answer.headers);
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
