//! A news site that does what its script says: pages, sitemaps, errors and traps, and a log of every visit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use servers::port;

/// A site on loopback. It lives in the runtime that made it.
pub struct Site {
    port: u16,
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    replies: BTreeMap<String, Reply>,
    visits: Vec<Visit>,
}

/// One request that the site saw.
#[derive(Debug, Clone)]
pub struct Visit {
    pub at: Instant,
    pub path: String,
    /// Lower-case names.
    pub headers: BTreeMap<String, String>,
}

/// What the site answers at one address.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Before it answers.
    pause: Duration,
}

impl Reply {
    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self { status, headers: vec![], body: vec![], pause: Duration::ZERO }
    }

    /// A body of some type.
    pub fn body(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::status(200) }.header("content-type", content_type)
    }

    /// A page.
    pub fn html(html: impl Into<Vec<u8>>) -> Self {
        Self::body("text/html; charset=utf-8", html)
    }

    /// Somewhere else.
    pub fn moved(to: &str) -> Self {
        Self::status(301).header("location", to)
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// After a pause.
    #[must_use]
    pub fn after(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }
}

impl Site {
    /// Opens a site at which there is nothing yet.
    pub async fn open() -> Self {
        let listener = port::listener().expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        listener.set_nonblocking(true).expect("sockets can be made so");
        let listener = tokio::net::TcpListener::from_std(listener).expect("it is not blocking");
        let script: Arc<Mutex<Script>> = Arc::default();
        let at_work = Arc::clone(&script);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&at_work)));
            }
        });
        Self { port, script }
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// From now on this is what there is.
    pub fn put(&self, path: &str, reply: Reply) {
        self.script().replies.insert(path.to_owned(), reply);
    }

    /// An article.
    pub fn article(&self, path: &str, title: &str, text: &str) {
        self.put(path, Reply::html(article(title, "Salma Haddad", text)));
    }

    /// A sitemap of paths, without dates.
    pub fn sitemap(&self, path: &str, paths: &[&str]) {
        let dated: Vec<_> = paths.iter().map(|path| (*path, None)).collect();
        self.dated_sitemap(path, &dated);
    }

    /// A sitemap of paths with their dates.
    pub fn dated_sitemap(&self, path: &str, paths: &[(&str, Option<&str>)]) {
        let entry = |(path, date): &(&str, Option<&str>)| {
            let date = date.map_or_else(String::new, |date| format!("<lastmod>{date}</lastmod>"));
            format!("<url><loc>{}</loc>{date}</url>", self.url(path))
        };
        let entries: String = paths.iter().map(entry).collect();
        let xml = format!(
            "<?xml version=\"1.0\"?><urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">{entries}</urlset>"
        );
        self.put(path, Reply::body("application/xml", xml));
    }

    /// Every visit so far, in order.
    pub fn visits(&self) -> Vec<Visit> {
        self.script().visits.clone()
    }

    /// How often a path was asked for.
    pub fn visits_to(&self, path: &str) -> usize {
        self.script().visits.iter().filter(|visit| visit.path == path).count()
    }

    /// Forgets the visits.
    pub fn forget(&self) {
        self.script().visits.clear();
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("nobody panics with it in hand")
    }
}

/// A page as a news site makes it, with what surrounds every article.
pub fn article(title: &str, author: &str, text: &str) -> String {
    let paragraphs: String = text.split("\n\n").map(|paragraph| format!("<p>{paragraph}</p>\n")).collect();
    format!(
        r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title} - The Daily Test</title>
<meta property="og:site_name" content="The Daily Test"><meta property="og:title" content="{title}">
<meta property="article:published_time" content="2026-03-04T05:06:07+00:00">
<meta name="author" content="{author}"></head><body>
<header><nav><a href="/">Home</a> <a href="/world">World</a> <a href="/sport">Sport</a></nav></header>
<main><article><h1>{title}</h1><p class="byline">By {author}</p>{paragraphs}</article></main>
<aside><h2>Most read</h2><ul><li><a href="/x">Something else</a></li><li><a href="/y">And more</a></li></ul></aside>
<footer>Copyright The Daily Test</footer></body></html>"#
    )
}

/// Some sentences, enough for an article, that differ by their number.
pub fn text(number: u32) -> String {
    let sentence = |nth: u32| {
        format!(
            "This is paragraph {nth} of text {number}, and it tells at some length what happened on that day, \
             who was there, what they said about it, and what is expected to follow from it in the weeks to come."
        )
    };
    (1..=4).map(sentence).collect::<Vec<_>>().join("\n\n")
}

async fn serve(socket: TcpStream, script: Arc<Mutex<Script>>) {
    let mut socket = BufReader::new(socket);
    while let Some(visit) = request(&mut socket).await {
        let reply = {
            let mut script = script.lock().expect("nobody panics with it in hand");
            script.visits.push(visit.clone());
            script.replies.get(&visit.path).cloned().unwrap_or_else(|| Reply::status(404))
        };
        tokio::time::sleep(reply.pause).await;
        let header = |name: &str| reply.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value);
        let fresh = header("etag").is_some_and(|etag| visit.headers.get("if-none-match") == Some(etag));
        let (status, body) = if fresh { (304, &[][..]) } else { (reply.status, &reply.body[..]) };
        let mut head = format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in &reply.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        // In one piece: a head that waits for its body costs 40 ms. Whoever has gone away needs no answer.
        let answer = [head.as_bytes(), body].concat();
        if socket.write_all(&answer).await.is_err() {
            return;
        }
    }
}

async fn request(socket: &mut BufReader<TcpStream>) -> Option<Visit> {
    let mut line = String::new();
    socket.read_line(&mut line).await.ok()?;
    let at = Instant::now();
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        socket.take(64 * 1024).read_line(&mut line).await.ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    // What somebody wants to put here is read, and forgotten.
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = socket.take(length);
    tokio::io::copy(&mut body, &mut tokio::io::sink()).await.ok()?;
    Some(Visit { at, path, headers })
}
