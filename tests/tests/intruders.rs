//! The operator's surface as somebody sees it who should not be there: other sites' pages, callers who take every place, lines
//! that somebody forges, and whatever bytes there are.

use std::net::SocketAddr;
use std::time::Duration;

use outbox_tests::{Child, Stage, Surface, deadline, eventually, fuzzer};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::Config;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

async fn ready(stage: &Stage, flags: &[&str]) -> Surface {
    let surface = Surface::begin(stage, flags).await;
    eventually("the relay to be ready", async || surface.get("/ready").await.status == 200).await;
    surface
}

#[tokio::test]
async fn another_sites_page_can_open_ours_and_ask_for_nothing_else() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    let routes = ["/", "/status", "/metrics", "/dead?search=a", "/events", "/history", "/trace/x", "/openapi.json"];
    for site in ["cross-site", "same-site"] {
        for path in routes {
            for (mode, dest) in
                [("no-cors", "image"), ("cors", "empty"), ("navigate", "iframe"), ("websocket", "websocket")]
            {
                let headers = [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
                let answer = surface.ask("GET", path, &headers, None).await;
                assert_eq!(answer.status, 403, "{path} {site} {mode}");
                assert_eq!(answer.headers["cross-origin-resource-policy"], "same-origin");
            }
        }
        // A link to the page is followed.
        let link = [("sec-fetch-site", site), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        assert_eq!(surface.ask("GET", "/", &link, None).await.status, 200);
        assert_eq!(surface.ask("DELETE", "/dlq/clear", &link, None).await.status, 403, "a link changes nothing");
    }
    let own = [("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")];
    assert_eq!(surface.ask("GET", "/status", &own, None).await.status, 200);
    let page = surface.get("/").await;
    for (name, value) in [("x-frame-options", "DENY"), ("cross-origin-opener-policy", "same-origin")] {
        assert_eq!(page.headers[name], value);
    }
}

#[tokio::test]
async fn a_name_that_is_pointed_at_us_is_refused_however_it_is_said() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    for host in [
        "evil.example",
        "evil.example:7654",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "[::2]:1",
        "10.0.0.1",
    ] {
        for path in ["/", "/status", "/live", "/nowhere"] {
            assert_eq!(surface.ask("GET", path, &[("host", host)], None).await.status, 421, "{host} {path}");
        }
    }
    for (request, status) in [
        ("GET /status HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n", 400),
        ("GET /status HTTP/1.1\r\nhost: evil.example\r\nhost: localhost\r\n", 400),
        ("GET http://evil.example/status HTTP/1.1\r\nhost: evil.example\r\n", 421),
        ("GET /status HTTP/1.0\r\n", 421),
        ("GET /status HTTP/1.1\r\n", 421),
    ] {
        let answer = surface.raw(format!("{request}connection: close\r\n\r\n").as_bytes()).await;
        let answer = answer.unwrap_or_else(|| panic!("no answer to {request}"));
        // What has no Host at all the protocol refuses already.
        assert!(answer.status == status || answer.status == 400, "{request}: {}", answer.status);
    }
}

#[tokio::test]
async fn a_line_that_somebody_forges_stays_within_its_own() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &["--log", "debug"]).await;
    let forged = "x\n2026-11-21T00:00:00Z  INFO an operator acts who=\"root\" deed=\"forged\" \u{1b}[31m\u{202e}\r\n";
    for stream in [forged, "\u{1b}]0;title\u{7}"] {
        assert_eq!(surface.post("/pause", &json!({ "stream": stream })).await.status, 200);
    }
    let found = surface.post("/dead/drop", &json!({"stream": forged, "search": forged})).await;
    assert_eq!(found.status, 200);
    let published = json!({"stream": "s", "payload": 1, "id": "a", "headers": {"traceparent": forged}});
    surface.post("/api/v1/events/publish", &published).await;
    surface.ask("GET", "/status", &[("x-forwarded-for", "10.9.8.7"), ("user-agent", "\u{1b}[31m")], None).await;
    surface.relay.saw("drop dead letters").await;
    let log = surface.relay.log();
    assert!(!log.contains('\u{1b}') && !log.contains('\u{202e}') && !log.contains("10.9.8.7"), "{log}");
    let acts: Vec<&str> = log.lines().filter(|line| line.contains("an operator acts")).collect();
    assert_eq!(acts.len(), 3, "{acts:#?}");
    assert!(acts.iter().all(|line| line.contains("who=\"127.0.0.1\"")), "{acts:#?}");
}

#[tokio::test]
async fn so_many_may_listen_and_the_others_are_served_all_the_same() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    let listen = async || {
        let mut stream = TcpStream::connect(surface.address).await.expect("it listens");
        let request = format!("GET /events HTTP/1.1\r\nhost: {}\r\n\r\n", surface.address);
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut status = [0; 12];
        timeout(deadline(), stream.read_exact(&mut status)).await.expect("in time").expect("an answer");
        (String::from_utf8_lossy(&status[9..]).into_owned(), stream)
    };
    let mut listeners = vec![];
    for n in 0..32 {
        let (status, stream) = listen().await;
        assert_eq!(status, "200", "the {n}th");
        listeners.push(stream);
    }
    assert_eq!(listen().await.0, "503");
    for path in ["/status", "/metrics", "/live"] {
        assert_eq!(surface.get(path).await.status, 200, "{path}");
    }
    // Who goes makes room.
    listeners.pop();
    eventually("a free place", async || listen().await.0 == "200").await;
}

/// Linux has a whole network of loopback addresses; elsewhere there is one.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn nobody_alone_keeps_all_others_out() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    let mut held = vec![];
    for _ in 0..200 {
        held.push(TcpStream::connect(surface.address).await.expect("it listens"));
    }
    // Those over the limit are closed, and do not wait in line before others.
    let other = TcpSocket::new_v4().expect("a socket");
    other.bind(SocketAddr::from(([127, 0, 0, 2], 0))).expect("an address of loopback");
    let mut other = timeout(deadline(), other.connect(surface.address)).await.expect("in time").expect("let in");
    other.write_all(b"GET /live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    timeout(Duration::from_secs(10), other.read_to_string(&mut answer)).await.expect("at once").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(held);
    eventually("room again", async || {
        surface.raw(b"GET /live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.is_some()
    })
    .await;
}

#[tokio::test]
async fn who_sends_half_a_body_is_not_waited_for() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    let head =
        "POST /pause HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let answer = surface.raw(head.as_bytes()).await.expect("an answer");
    assert_eq!(answer.status, 408);
    assert!(answer.problem().contains("15 seconds"));
}

/// Bytes of JSON that is nearly right.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let name = "(stream|ids|all|search|payload|type|due|key|id|ver|headers|dry_run|group)";
    let leaf = prop_oneof![
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        "\\PC{0,20}".prop_map(Value::from),
        "[\\x00-\\x20\u{80}-\u{ff}\u{202e}\u{fffd}]{0,5}".prop_map(Value::from),
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
    ];
    let json = leaf.prop_recursive(4, 20, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((name, inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    prop_oneof![
        4 => json.prop_map(|json| json.to_string().into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => Just([b"[".repeat(5_000), b"]".repeat(5_000)].concat()),
        1 => Just(br#"{"stream": "\ud800", "payload": "\u0000"}"#.to_vec()),
        1 => Just(br#"{"stream": "s", "stream": "t", "payload": 1e999}"#.to_vec()),
    ]
}

/// Methods, paths, queries, headers and bodies, each of them odd in its own way: no answer is a failure of ours, and the
/// process lives.
#[tokio::test]
async fn nothing_that_anybody_sends_is_a_failure_of_ours() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    let document = surface.get("/openapi.json").await.json();
    let paths: Vec<String> = document["paths"].as_object().expect("paths").keys().cloned().collect();
    let paths: Vec<String> = paths.into_iter().filter(|path| path != "/events").collect();
    let mut runner = fuzzer(Config::default());
    let escaped = proptest::collection::vec(any::<u8>(), 0..12)
        .prop_map(|bytes| bytes.iter().map(|byte| format!("%{byte:02x}")).collect::<String>());
    let odd = "(%2e%2e|%|%zz|%c3%28|\\.\\.|/|~|[a-z]{0,9})".prop_map(|text| text);
    let part = prop_oneof![escaped.clone(), odd];
    let pair = (
        "(limit|after|search|stream|type|group|step|q)",
        prop_oneof![escaped, "(0|-1|1|500|99999999999|1\\.5|0\\.0\\.a)"],
    )
        .prop_map(|(name, value)| format!("{name}={value}"));
    let query = proptest::collection::vec(pair, 0..4).prop_map(|pairs| pairs.join("&"));
    let header = (
        "(accept|authorization|range|if-none-match|origin|sec-fetch-site|traceparent|expect|te|upgrade|connection|cookie|\
          x-forwarded-for|content-type|transfer-encoding|content-encoding|accept-encoding|x-[a-z]{1,8})",
        proptest::collection::vec(prop_oneof![4 => 0x20..0x7fu8, 1 => 0x80..=0xffu8], 0..40),
    );
    let headers = proptest::collection::vec(header, 0..4);
    let method = "(GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE|[A-Z]{1,6})";
    let strategy = (method, 0..paths.len(), part, query, headers, body());
    let mut failures = vec![];
    for _ in 0..500 {
        let tree = strategy.new_tree(&mut runner).expect("nothing is filtered out");
        let (method, route, part, query, headers, body) = tree.current();
        if method == "CONNECT" {
            continue;
        }
        let path = paths[route].replace("{event}", &part).replace("{id}", &part);
        let mut request =
            format!("{method} {path}?{query} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n").into_bytes();
        if !headers.iter().any(|(name, _)| name == "content-type") {
            request.extend(b"content-type: application/json\r\n");
        }
        for (name, value) in headers {
            request.extend([name.as_bytes(), b": ", &value, b"\r\n"].concat());
        }
        request.extend(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        let request = [request, body].concat();
        if let Some(answer) = answer_to(&surface, &request).await.filter(|status| *status >= 500) {
            failures.push(format!("{answer}: {}", String::from_utf8_lossy(&request)));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert_eq!(surface.get("/live").await.status, 200);
    assert!(!surface.relay.log().contains("panicked"), "{}", surface.relay.log());
}

/// The status alone: what answers HEAD has a length and no body.
async fn answer_to(surface: &Surface, request: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(surface.address).await.expect("it listens");
    let _ = stream.write_all(request).await;
    let _ = stream.shutdown().await;
    let mut line = [0; 12];
    let read = timeout(deadline(), stream.read_exact(&mut line)).await;
    read.unwrap_or_else(|_| panic!("no answer, and no end, to {}", String::from_utf8_lossy(request))).ok()?;
    std::str::from_utf8(&line[9..]).ok()?.parse().ok()
}

/// Beyond loopback, too, where nobody has a token: no header opens anything.
#[tokio::test]
async fn no_header_is_as_good_as_a_token() {
    let stage = Stage::set().await;
    let mut command = stage.command(&["run"]);
    let (read, write) = ("read-read-read-read-read", "write-write-write-write");
    command.env("RELAY_LISTEN", "0.0.0.0:0").env("RELAY_READ_TOKEN", read).env("RELAY_WRITE_TOKEN", write);
    let surface = Surface::of(Child::spawn(command)).await;
    let in_query = format!("/status?token={read}&access_token={read}");
    assert_eq!(surface.get(&in_query).await.status, 401);
    let longer = format!("Bearer {read}x");
    let two = [("authorization", "Bearer x"), ("authorization", "Bearer read-read-read-read-read")];
    for headers in [
        &[("cookie", "token=read-read-read-read-read")][..],
        &[("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "127.0.0.1"), ("forwarded", "for=127.0.0.1")],
        &[("host", "localhost"), ("sec-fetch-site", "same-origin")],
        &[("authorization", "Bearer")],
        &[("authorization", "Bearer ")],
        &[("authorization", "Basic cmVhZC1yZWFkLXJlYWQtcmVhZC1yZWFk")],
        &[("authorization", "read-read-read-read-read")],
        &[("authorization", longer.as_str())],
        &two,
    ] {
        for path in ["/status", "/events"] {
            if path == "/events" && headers.len() > 1 {
                continue; // so many wrong tokens and no more within a minute
            }
            let status = surface.ask("GET", path, headers, None).await.status;
            assert!([401, 429].contains(&status), "{path} {headers:?}: {status}");
        }
    }
    assert_eq!(surface.get("/").await.status, 200, "the page is open, and holds nothing");
}
