//! What comes back, told apart.

use super::*;

#[tokio::test]
async fn a_page_comes_with_what_the_next_request_needs() {
    let server = Server::send(
        "200 OK\r\nContent-Type: text/html; charset=utf-8\r\nETag: \"v1\"\r\nLast-Modified: Wed, 01 May 2024 10:00:00 GMT",
        b"<p>hello",
    )
    .await;
    match page(&server).await {
        Answer::Body { final_url, content_type, etag, last_modified, body } => {
            assert_eq!(final_url, server.at("/"));
            assert_eq!(content_type.as_deref(), Some("text/html; charset=utf-8"));
            assert_eq!(etag.as_deref(), Some("\"v1\""));
            assert_eq!(last_modified.as_deref(), Some("Wed, 01 May 2024 10:00:00 GMT"));
            assert_eq!(body.into_bytes().expect("a body"), b"<p>hello");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn requests_say_who_asks_and_for_what() {
    let server = Server::play(|head| vec![Act::Send(answer("200 OK", head.to_ascii_lowercase().as_bytes()))]).await;
    let url = server.at("/a?b=c");
    let ask = Ask { etag: Some("\"v1\""), last_modified: Some("then"), ..Ask::new(&url, Accept::Page) };
    let head = String::from_utf8(bytes(fetcher().ask(&ask).await)).expect("text");
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        "get /a?b=c http/1.1".to_owned(),
        format!("user-agent: fallah/{version} (+https://example.org/bot)"),
        "accept: text/html,application/xhtml+xml,*/*;q=0.1".to_owned(),
        "if-none-match: \"v1\"".to_owned(),
        "if-modified-since: then".to_owned(),
    ] {
        assert!(head.lines().any(|written| written == line), "{line} in {head}");
    }
    assert!(head.contains("gzip"), "{head}");
    assert!(!head.contains("cookie") && !head.contains("referer"), "{head}");
}

#[tokio::test]
async fn what_did_not_change_is_not_sent_again() {
    let server = Server::send("304 Not Modified", b"").await;
    let url = server.at("/");
    let ask = Ask { etag: Some("\"v1\""), ..Ask::new(&url, Accept::Page) };
    assert!(matches!(fetcher().ask(&ask).await, Answer::NotModified));
    // Nobody asked for that.
    assert!(matches!(page(&server).await, Answer::Unusable(Unusable::Status(304))));
}

#[tokio::test]
async fn each_status_has_its_meaning() {
    let of = async |head: &str| page(&Server::send(head, b"").await).await;
    assert!(matches!(of("404 Not Found").await, Answer::NotFound));
    assert!(matches!(of("410 Gone").await, Answer::Gone));
    assert!(matches!(of("403 Forbidden").await, Answer::Refused { status: 403 }));
    assert!(matches!(of("451 Censored").await, Answer::Refused { status: 451 }));
    assert!(matches!(of("500 Oh").await, Answer::Failed { status: 500 }));
    assert!(matches!(of("204 Nothing").await, Answer::Unusable(Unusable::Status(204))));
    assert!(matches!(of("503 Later").await, Answer::Busy { status: 503, retry_after: None }));
    match of("429 Slow\r\nRetry-After: 120").await {
        Answer::Busy { status: 429, retry_after: Some(wait) } => assert_eq!(wait, Duration::from_secs(120)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_time_to_come_back_may_be_a_date() {
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(90);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&later).expect("a date");
    for (date, seconds) in [(date.as_str(), 30..=90), ("Wed, 01 May 2024 10:00:00 GMT", 0..=0)] {
        let server = Server::send(&format!("503 Later\r\nRetry-After: {date}"), b"").await;
        match page(&server).await {
            Answer::Busy { retry_after: Some(wait), .. } => assert!(seconds.contains(&wait.as_secs()), "{wait:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_compressed_body_is_read() {
    let server = Server::send("200 OK\r\nContent-Encoding: gzip", &gzip(b"<p>hello")).await;
    assert_eq!(bytes(page(&server).await), b"<p>hello");
}

#[tokio::test]
async fn what_was_not_asked_for_is_not_read() {
    let server = Server::play(|head| {
        let media = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
        vec![Act::Send(answer(&format!("200 OK\r\nContent-Type: {media}"), b"x"))]
    })
    .await;
    for (accept, media, fine) in [
        (Accept::Page, "text/html", true),
        (Accept::Page, "TEXT/HTML;charset=utf-8", true),
        (Accept::Page, "application/xhtml+xml", true),
        (Accept::Page, "application/pdf", false),
        (Accept::Page, "image/png", false),
        (Accept::List, "application/rss+xml", true),
        (Accept::List, "application/x-gzip", true),
        (Accept::List, "text/plain", true),
        (Accept::List, "application/json", false),
        (Accept::List, "image/svg", false),
        (Accept::Robots, "text/plain", true),
        (Accept::Robots, "application/octet-stream", true),
        (Accept::Robots, "image/png", false),
    ] {
        let url = server.at(&format!("/{media}"));
        let answer = fetcher().ask(&Ask::new(&url, accept)).await;
        match answer {
            Answer::Body { .. } => assert!(fine, "{accept:?} {media}"),
            Answer::Unusable(Unusable::WrongType(_)) => assert!(!fine, "{accept:?} {media}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn nobody_there_is_no_panic() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let url = Address::parse(&format!("http://127.0.0.1:{port}/")).expect("an address");
    let answer = hasty().ask(&Ask::new(&url, Accept::Page)).await;
    assert!(matches!(answer, Answer::Unreachable(Unreachable::NoConnection(_))), "{answer:?}");
    let url = Address::parse("http://name.invalid/").expect("an address");
    let answer = hasty().ask(&Ask::new(&url, Accept::Page)).await;
    assert!(matches!(answer, Answer::Unreachable(_)), "{answer:?}");
    // A port of TLS that speaks none.
    let server = Server::send("200 OK", b"").await;
    let url = Address::parse(&format!("https://{}/", server.address)).expect("an address");
    let answer = hasty().ask(&Ask::new(&url, Accept::Page)).await;
    assert!(matches!(answer, Answer::Unreachable(_)), "{answer:?}");
}

#[tokio::test]
async fn answers_about_robots_txt_become_its_policy() {
    use crate::robots::Fetched;
    for (head, fetched) in [
        ("200 OK", Fetched::Text(b"x".to_vec())),
        ("200 OK\r\nContent-Type: image/png", Fetched::Text(Vec::new())),
        ("404 Not Found", Fetched::Status(404)),
        ("410 Gone", Fetched::Status(410)),
        ("403 No", Fetched::Status(403)),
        ("429 Slow", Fetched::Status(429)),
        ("500 Oh", Fetched::Status(500)),
        ("302 Found\r\nLocation: /", Fetched::EndlessRedirects),
        ("302 Found", Fetched::Unreachable),
    ] {
        let url = Server::send(head, b"x").await.at("/");
        let ask = Ask::new(&url, Accept::Robots);
        let answer = fetcher().follow(&ask, HOPS_MAX, async |_: Address| Ok(())).await;
        assert_eq!(answer.into_robots(), fetched, "{head}");
    }
}

#[test]
fn a_client_that_cannot_be_built_says_why() {
    let error = Fetcher::new(&Settings { user_agent: "a\nb".into(), ..settings() }).expect_err("no header");
    assert!(error.to_string().starts_with("the client for the web cannot be built: "), "{error}");
}
