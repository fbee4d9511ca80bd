//! Redirects, and where they may not lead.

use std::sync::atomic::Ordering;

use super::*;
use crate::guard::Forbidden;

#[tokio::test]
async fn redirects_are_told_and_not_followed_unasked() {
    let server = Server::send("301 Moved\r\nLocation: /b?utm_source=x#top", b"").await;
    match page(&server).await {
        Answer::Moved { to, status: 301 } => assert_eq!(to, server.at("/b")),
        other => panic!("{other:?}"),
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    for head in
        ["302 Found", "302 Found\r\nLocation: file:///etc/passwd", "302 Found\r\nLocation: https://u:p@a.org/"]
    {
        let answer = page(&Server::send(head, b"").await).await;
        assert!(matches!(answer, Answer::Unusable(Unusable::BadRedirect(_))), "{answer:?}");
    }
}

/// `/5` redirects to `/4` and so on; `/0` is a page; `/loop` goes in a circle.
async fn stairs() -> Server {
    Server::play(|head| {
        let path = head.split(' ').nth(1).unwrap_or_default();
        vec![Act::Send(match path {
            "/0" => answer("200 OK\r\nContent-Type: text/html", b"down"),
            "/loop" => answer("302 Found\r\nLocation: /pool", b""),
            "/pool" => answer("302 Found\r\nLocation: /loop", b""),
            "/self" => answer("302 Found\r\nLocation: /self#again", b""),
            _ => {
                let step: u32 = path.trim_start_matches('/').parse().expect("a step");
                answer(&format!("302 Found\r\nLocation: /{}", step - 1), b"")
            }
        })]
    })
    .await
}

#[tokio::test]
async fn redirects_are_followed_up_to_a_bound() {
    let server = stairs().await;
    match followed(&server.at("/5")).await {
        Answer::Body { final_url, .. } => assert_eq!(final_url, server.at("/0")),
        other => panic!("{other:?}"),
    }
    assert!(matches!(followed(&server.at("/6")).await, Answer::Unusable(Unusable::TooManyRedirects)));
    assert!(matches!(followed(&server.at("/loop")).await, Answer::Unusable(Unusable::RedirectLoop)));
    assert!(matches!(followed(&server.at("/self")).await, Answer::Unusable(Unusable::RedirectLoop)));
}

#[tokio::test]
async fn each_hop_needs_leave() {
    let server = stairs().await;
    let url = server.at("/3");
    // On another task, as the crawler does it: the future can be sent.
    let (asked, answer) = tokio::spawn(async move {
        let mut asked = Vec::new();
        let may = |at: Address| {
            asked.push(at.path_and_query().to_owned());
            async move {
                tokio::task::yield_now().await;
                if at.path_and_query() == "/1" { Err("robots.txt forbids it".to_owned()) } else { Ok(()) }
            }
        };
        let answer = fetcher().follow(&Ask::new(&url, Accept::Page), HOPS_MAX, may).await;
        (asked, answer)
    })
    .await
    .expect("no panic");
    assert_eq!(asked, ["/3", "/2", "/1"]);
    match answer {
        Answer::Unusable(Unusable::Stopped { at, why }) => {
            assert_eq!((at, why.as_str()), (server.at("/1"), "robots.txt forbids it"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn no_redirect_leads_into_a_private_net() {
    for target in [
        "http://127.0.0.2/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://2130706434/",
        "http://0x7f.2/",
        "http://[::ffff:10.0.0.1]:8080/",
        "//10.0.0.1/",
    ] {
        let server = Server::send(&format!("302 Found\r\nLocation: {target}"), b"").await;
        let answer = followed(&server.at("/")).await;
        assert!(
            matches!(answer, Answer::Unusable(Unusable::Forbidden(Forbidden::Ip { .. }))),
            "{target}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_is_never_connected_to() {
    let server = Server::send("200 OK", b"secret").await;
    let strict = Fetcher::new(&Settings { guard: Guard::default(), ..settings() }).expect("a client");
    let port = server.address.port();
    for host in ["localhost", "LOCALHOST.", "127.0.0.1", "2130706433", "[::ffff:127.0.0.1]"] {
        let url = Address::parse(&format!("http://{host}:{port}/")).expect("an address");
        let answer = strict.ask(&Ask::new(&url, Accept::Page)).await;
        assert!(matches!(answer, Answer::Unusable(Unusable::Forbidden(Forbidden::Ip { .. }))), "{host}: {answer:?}");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
    // With leave for its net the same name is fetched.
    let url = Address::parse(&format!("http://localhost:{port}/")).expect("an address");
    assert_eq!(bytes(fetcher().ask(&Ask::new(&url, Accept::Page)).await), b"secret");
}

/// It was public when it was asked for the first time, and is not when it is asked for the second. What was found is asked for once a
/// connection, and that connection goes there and nowhere else.
#[tokio::test]
async fn a_name_that_changes_its_mind_is_connected_to_where_it_was_checked() {
    let public = Server::send("200 OK\r\nConnection: close", b"public").await;
    let private = Server::send_elsewhere(public.address.port(), "200 OK", b"private").await;
    let (here, there) = (public.address.ip(), private.address.ip());
    let guard = Guard::new([here.to_string().parse().expect("a net")]);
    let (guard, names) = guard.with_names([vec![here], vec![there], vec![there, here], vec![here]]);
    let fetcher = Fetcher::new(&Settings { guard, ..settings() }).expect("a client");
    let url = Address::parse(&format!("http://rebound.example:{}/", public.address.port())).expect("an address");
    for (left, leads_on) in [(3, true), (2, false), (1, true)] {
        let answer = fetcher.ask(&Ask::new(&url, Accept::Page)).await;
        match leads_on {
            true => assert_eq!(bytes(answer), b"public"),
            false => {
                assert!(matches!(answer, Answer::Unusable(Unusable::Forbidden(Forbidden::Ip { .. }))), "{answer:?}");
            }
        }
        assert_eq!(names.left(), left, "it is asked for once");
    }
    assert_eq!(public.connections.load(Ordering::SeqCst), 2);
    assert_eq!(private.connections.load(Ordering::SeqCst), 0);
}
