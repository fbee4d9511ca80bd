//! Every bound on size and time.

use std::io::Read as _;

use super::*;

/// One gzip member of many MiB of zeros, without the time to pack them: a block between two flushes repeats the one before,
/// as often as it is written.
fn bomb(mebibytes: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1024 * 1024];
    let mut ends = Vec::new();
    for _ in 0..2 {
        encoder.write_all(&zeros).expect("memory can be written");
        encoder.flush().expect("memory can be written");
        ends.push(encoder.get_ref().len());
    }
    let whole = encoder.get_ref().clone();
    let mut bomb = whole[..ends[0]].to_vec();
    (1..mebibytes).for_each(|_| bomb.extend_from_slice(&whole[ends[0]..ends[1]]));
    bomb
}

/// The most memory that this process ever held.
fn peak_kibibytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[tokio::test]
async fn a_bomb_is_read_no_further_than_its_bound() {
    let packed = bomb(200);
    assert!(packed.len() < 500_000, "{}", packed.len());
    let server = Server::send("200 OK\r\nContent-Encoding: gzip", &packed).await;
    let before = peak_kibibytes();
    for accept in [Accept::Page, Accept::List] {
        let url = server.at("/");
        match fetcher().ask(&Ask::new(&url, accept)).await {
            Answer::Unusable(Unusable::TooLarge { bytes_max }) => assert_eq!(bytes_max, accept.body_bytes_max()),
            other => panic!("{other:?}"),
        }
    }
    if let (Some(before), Some(after)) = (before, peak_kibibytes()) {
        assert!(after - before < 60 * 1024, "{} KiB more", after - before);
    }
}

#[tokio::test]
async fn a_large_list_waits_outside_of_memory() {
    let entry = b"<url><loc>https://example.org/a</loc></url>\n";
    let mut text = b"<urlset>".to_vec();
    (0..50_000).for_each(|_| text.extend_from_slice(entry));
    text.extend_from_slice(b"</urlset>");
    let server =
        Server::send("200 OK\r\nContent-Type: application/xml\r\nContent-Encoding: gzip", &gzip(&text)).await;
    let url = server.at("/sitemap.xml");
    match fetcher().ask(&Ask::new(&url, Accept::List)).await {
        Answer::Body { body, final_url, .. } => {
            assert_eq!(body.bytes(), text.len() as u64);
            let reader = body.into_reader().expect("a file");
            let mut entries = 0;
            let limits = crate::sitemap::Limits::default();
            let summary = crate::sitemap::read(reader, &final_url, &limits, |_| entries += 1).expect("a sitemap");
            assert_eq!((entries, summary.cut), (50_000, None));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_body_is_refused_at_one_byte_too_many() {
    let server = Server::send("200 OK", &[b'a'; 1_000]).await;
    let url = server.at("/");
    let ask = |body_bytes_max| {
        let (fetcher, url) = (fetcher(), url.clone());
        async move { fetcher.ask(&Ask { body_bytes_max, ..Ask::new(&url, Accept::Page) }).await }
    };
    assert_eq!(bytes(ask(1_000).await).len(), 1_000);
    assert!(matches!(ask(999).await, Answer::Unusable(Unusable::TooLarge { bytes_max: 999 })));
    // A body that does not tell its length is counted.
    let endless = Server::play(|_| {
        vec![
            Act::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
            Act::Repeat(b"1000\r\n".iter().copied().chain([b'a'; 4096]).chain(*b"\r\n").collect()),
        ]
    })
    .await;
    assert!(matches!(page(&endless).await, Answer::Unusable(Unusable::TooLarge { .. })));
}

#[tokio::test]
async fn a_long_robots_txt_is_cut_and_not_refused() {
    let mut text = b"User-agent: *\nDisallow: /a\n".to_vec();
    text.resize(2_000_000, b'#');
    let server = Server::send("200 OK\r\nContent-Type: text/plain", &text).await;
    let url = server.at("/robots.txt");
    let fetched = fetcher().ask(&Ask::new(&url, Accept::Robots)).await.into_robots();
    let standing = crate::robots::decide(fetched, &crate::robots::Memory::default(), jiff::Timestamp::now());
    assert!(!standing.policy.verdict(PRODUCT, "/a").allowed);
}

#[tokio::test]
async fn slow_servers_are_left() {
    fn head() -> Act {
        Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec())
    }
    let scripts: [fn() -> Vec<Act>; 4] = [
        || vec![Act::Wait(Duration::from_secs(60))],
        || vec![Act::Send(b"HTTP/1.1 200 OK\r\nX-A: ".to_vec()), Act::Drip(Duration::from_millis(50))],
        || vec![head(), Act::Wait(Duration::from_secs(60))],
        || vec![head(), Act::Drip(Duration::from_millis(200))],
    ];
    for (index, script) in scripts.into_iter().enumerate() {
        let server = Server::play(move |_| script()).await;
        let began = std::time::Instant::now();
        let answer = hasty().ask(&Ask::new(&server.at("/"), Accept::Page)).await;
        assert!(matches!(answer, Answer::Unreachable(Unreachable::Timeout)), "{index}: {answer:?}");
        assert!(began.elapsed() < Duration::from_secs(20), "{index}");
    }
}

#[tokio::test]
async fn headers_without_end_are_left() {
    let line = format!("X-A: {}\r\n", "a".repeat(1_000));
    let server = Server::play(move |_| {
        vec![Act::Send(b"HTTP/1.1 200 OK\r\n".to_vec()), Act::Repeat(line.clone().into_bytes())]
    })
    .await;
    assert!(matches!(page(&server).await, Answer::Unreachable(Unreachable::Broken(_))));
    let long = format!("200 OK\r\nX-A: {}", "a".repeat(70_000));
    assert!(matches!(page(&Server::send(&long, b"").await).await, Answer::Unusable(Unusable::HeadTooLarge)));
}

#[tokio::test]
async fn half_a_body_is_no_body() {
    for script in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"no HTTP at all\r\n\r\n",
        b"",
    ] {
        let server = Server::play(move |_| vec![Act::Send(script.to_vec())]).await;
        let answer = page(&server).await;
        assert!(matches!(answer, Answer::Unreachable(Unreachable::Broken(_))), "{answer:?}");
    }
    let packed = gzip(&[b'a'; 100_000]);
    let server = Server::send("200 OK\r\nContent-Encoding: gzip", &packed[..packed.len() / 2]).await;
    assert!(matches!(page(&server).await, Answer::Unreachable(Unreachable::Broken(_))));
}

#[test]
fn a_body_can_be_read_from_both_places() {
    for mut body in [Body::in_memory(), Body::spooled()] {
        (0..3).for_each(|_| body.push(&[b'a'; 700_000]).expect("room"));
        assert_eq!(body.bytes(), 2_100_000);
        let mut text = Vec::new();
        body.into_reader().expect("a file").read_to_end(&mut text).expect("a file");
        assert_eq!(text, vec![b'a'; 2_100_000]);
    }
}
