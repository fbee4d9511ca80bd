//! Requests that were damaged, to everybody who answers over HTTP but the relay (`admin.rs` and `intruders.rs` are about that).

use std::net::SocketAddr;
use std::time::Instant;

use outbox_tests::{Cellar, Child, Newsroom, Reading, Store, address, deadline, drawn, get, mangled, told};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{CASE_TIME_MAX, lossy};
use crate::pipeline::{Pipeline, data};

fn request(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n{headers}connection: close\r\n\r\n")
}

/// Some are whole but for what they ask for, and some are broken anywhere.
fn requests(targets: &[&str]) -> impl Strategy<Value = Vec<u8>> {
    let headers = [
        "accept: application/json;q=0.9, text/html\r\n",
        "if-none-match: W/\"abc\", \"def\"\r\nif-modified-since: Sat, 21 Nov 2026 08:00:00 GMT\r\n",
        "range: bytes=0-9\r\naccept-encoding: gzip\r\naccept-language: ar\r\n",
        "expect: 100-continue\r\ncontent-length: 5\r\n",
        "transfer-encoding: chunked\r\nupgrade: h2c\r\n",
    ];
    let whole: Vec<String> =
        targets.iter().enumerate().map(|(nth, target)| request(target, headers[nth % headers.len()])).collect();
    let escaped = |bytes: Vec<u8>| -> String {
        let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"/?=&.-_~%".contains(&byte);
        bytes
            .iter()
            .map(|byte| if kept(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") })
            .collect()
    };
    let sound = (mangled(targets), prop::sample::select(headers.to_vec()), mangled(["x"])).prop_map(
        move |(target, headers, value)| {
            let value: Vec<u8> = value.into_iter().filter(|byte| *byte >= b' ' && *byte != 0x7f).collect();
            let head = request(
                &format!("/{}", escaped(target).trim_start_matches('/')),
                &format!("{headers}x-odd: {{}}\r\n"),
            );
            let (before, after) = head.split_once("{}").expect("it is there");
            [before.as_bytes(), &value, after.as_bytes()].concat()
        },
    );
    prop_oneof![2 => sound, 1 => mangled(whole)]
}

/// Sends each, and asserts that what comes back is no failure of ours and comes in time. What is no HTTP may be hung up on.
async fn none_fails(at: SocketAddr, requests: Vec<Vec<u8>>) {
    let mut answered = 0;
    for request in requests {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(at).await.expect("it listens");
        let _ = stream.write_all(&request).await;
        let _ = stream.shutdown().await;
        let mut answer = vec![];
        // Who hangs up before all was read resets the connection.
        let read = timeout(deadline(), stream.read_to_end(&mut answer)).await;
        drop(read.unwrap_or_else(|_| panic!("neither an answer nor an end to {:?}", lossy(&request))));
        assert!(begun.elapsed() < CASE_TIME_MAX, "{:?}", lossy(&request));
        let head = lossy(&answer);
        let status: Option<u16> = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        assert!(status.is_none_or(|status| status < 500), "{:?} to {:?}", head.lines().next(), lossy(&request));
        answered += usize::from(status.is_some());
    }
    assert!(answered > 0, "somebody has read them");
}

#[tokio::test]
async fn nothing_that_is_sent_to_readers_pages_is_a_failure_of_ours() {
    let reading = Reading::open().await;
    let bisan = reading.run(&[]);
    let at = address(&bisan).await;
    reading.say(&[told("1", 1, "a title", "a body").by("Jo Do", None).export()]).await;
    reading.until_consumed().await;
    let targets = [
        "/",
        "/articles?after=1767225600.3&size=2",
        "/articles/1",
        "/authors?after=a.1&q=x",
        "/authors/1?after=1767225600.3",
        "/search?q=%D9%85%D8%AF%D8%B1%D8%B3%D8%A9&page=2&size=100&from=2026-01-01",
        "/style.css",
        "/live",
        "/ready",
        "/metrics",
        "/no/such/place",
    ];
    none_fails(at, drawn(400, &requests(&targets))).await;
    assert_eq!(get(at, "/articles/1", &[]).await.status, 200);
    assert!(!bisan.log().contains("panicked"), "{}", bisan.log());

    let folder = data();
    let pipeline = Pipeline::start(folder.path(), &[]).await;
    let own = [
        "/",
        "/stages",
        "/versions?url=https://daily.example/1&version=1&with=2",
        "/start.css",
        "/start.js",
        "/search?q=a",
    ];
    none_fails(pipeline.home, drawn(200, &requests(&own))).await;
    assert_eq!(get(pipeline.home, "/versions?url=https://a.example/%00", &[]).await.status, 404);
    assert_eq!(get(pipeline.home, "/stages", &[]).await.status, 200);
    assert!(!pipeline.child.log().contains("panicked"), "{}", pipeline.child.log());
    pipeline.end().await;
}

/// Where a program tells of itself, as it says.
async fn tells_at(child: &Child) -> SocketAddr {
    let line = child.saw("tells of itself").await;
    let at = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
    at.expect("it says where").parse().expect("an address")
}

#[tokio::test]
async fn nothing_that_is_sent_to_who_tells_of_itself_is_a_failure_of_ours() {
    let newsroom = Newsroom::open().await;
    newsroom.site.sitemap("/sitemap.xml", &[]);
    let cellar = Cellar::open(Store::Folder).await;
    let listen = ["--listen", "127.0.0.1:0"];
    for child in [Child::spawn(newsroom.command("run", &listen)), cellar.run(&listen)] {
        let at = tells_at(&child).await;
        none_fails(at, drawn(150, &requests(&["/live", "/metrics?x=y", "/other"]))).await;
        assert_eq!(get(at, "/live", &[]).await.status, 200);
        assert!(!child.log().contains("panicked"), "{}", child.log());
    }
}
