//! Lines that somebody forges, colours and titles for a terminal: whatever is said by events, articles and sites, logs and verbs show
//! it as text.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use outbox::Event;
use outbox_tests::{
    Cellar, Newsroom, Reading, Reply, Signal, Stage, Store, Surface, article, eventually, story, text, told,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

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

/// A site may say anything anywhere: in its lists, robots.txt, headers, addresses and pages.
#[tokio::test]
async fn what_a_site_says_forges_no_line_of_the_scrapers_log_and_nothing_on_a_terminal() {
    let mut newsroom = Newsroom::open().await;
    let site = &newsroom.site;
    let lists = ["type", "html", "xml", "cut", "moved", "text", "dates"];
    let urls: Vec<String> = lists.iter().map(|name| format!("{:?}", site.url(&format!("/{name}.xml")))).collect();
    let urls = urls.join(", ");
    // A header has one line; all that can stand there does.
    let in_header = "a\u{1b}[31m\u{1b}]0;title\u{7}\u{202e}";
    let escaped = FORGED.replace('\n', "&#10;").replace('\r', "&#13;").replace('\u{1b}', "&#27;");
    site.put(
        "/robots.txt",
        Reply::body(
            "text/plain",
            format!("User-agent: *\nDisallow: /no{in_header}\nSitemap: {FORGED}\nCrawl-delay: {FORGED}\n"),
        ),
    );
    site.put("/type.xml", Reply::body(&format!("image/png{in_header}"), "x"));
    site.put("/html.xml", Reply::html(format!("<html><title>{FORGED}</title>")));
    site.put("/xml.xml", Reply::body("text/xml", format!("<{in_header}><loc>{FORGED}</loc>")));
    site.put("/cut.xml", Reply::body("text/xml", format!("<urlset><url><loc>{FORGED}</loc></url><url {in_header}")));
    site.put("/moved.xml", Reply::moved(&format!("http://{in_header}/")));
    site.put("/text.xml", Reply::body("text/plain", format!("{FORGED}\nhttp://{in_header}/\n")));
    let entry = |path: &str| format!("<url><loc>{}</loc><lastmod>{escaped}</lastmod></url>", site.url(path));
    let pages = ["/page", "/type", "/moved", "/loop", "/busy", "/no", &format!("/x{escaped}")].map(entry).concat();
    site.put("/dates.xml", Reply::body("text/xml", format!("<urlset>{pages}<{in_header}/></urlset>")));
    let page = article(FORGED, FORGED, &text(1));
    let page = page.replace(
        "<head>",
        &format!(
            "<head><link rel=canonical href='http://{escaped}/'><meta property='article:section' content='{escaped}'>"
        ),
    );
    site.put("/page", Reply::html(page));
    site.put("/type", Reply::body(in_header, "x"));
    site.put("/moved", Reply::moved(in_header));
    site.put("/loop", Reply::moved(&format!("/loop{in_header}")));
    site.put("/busy", Reply::status(429).header("retry-after", in_header));
    let page = site.url("/page");
    let moved = site.url("/moved");
    newsroom.settings(|_| format!("[[source]]\nname = \"daily\"\ndelay = \"0\"\nsitemaps = [{urls}]\n"));

    let once = newsroom.command("once", &["--log", "debug"]);
    let said = assert_all_tame(once).await;
    assert!(said.contains("could not be read") && said.contains("read"), "{said}");
    assert!(newsroom.event_count().await > 0, "the page was read: {said}");
    let mut sources = std::process::Command::new(outbox_tests::binary("fallah"));
    sources.arg("sources").env("DATABASE_URL", &newsroom.database_url);
    assert_all_tame(sources).await;
    for url in [&page, &moved] {
        let mut tried = newsroom.command("test-source", &[url]);
        tried.env_remove("DATABASE_URL");
        assert_all_tame(tried).await;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, format!("User-agent: *\nDisallow: /no{in_header}\n")).expect("written");
    let file = file.to_str().expect("a plain path");
    for verb in [
        &["robots", "check", file, "fallah", &page, &format!("/no{FORGED}")][..],
        &["sitemap", "parse", file, "--base", &page],
        &["url", "normalize", FORGED, &format!("{page}{FORGED}")],
    ] {
        let mut command = std::process::Command::new(outbox_tests::binary("fallah"));
        command.args(verb);
        assert_all_tame(command).await;
    }
}

async fn assert_all_tame(command: std::process::Command) -> String {
    let output = tokio::process::Command::from(command).output().await.expect("it can be started");
    let [out, err] = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert_tame(&out);
    assert_tame(&err);
    out + &err
}

/// An archive keeps what was said for ever, and shows it to whoever looks.
#[tokio::test]
async fn what_is_archived_does_nothing_to_a_log_and_a_terminal() {
    let cellar = Cellar::open(Store::Folder).await;
    let one_line = FORGED.replace('\n', " ");
    let hostile = |version: u64, body: &str| {
        let mut story = story("a", version, &format!("{body} {one_line}"));
        story.article.title = one_line.clone();
        story.origin.content_hash = story.article.content_hash();
        story
    };
    let mut events = vec![hostile(1, "first").event(), hostile(2, "second").event()];
    // What cannot be archived is told, too.
    for part in ["source_url", "content_hash", "version", "source_name"] {
        let mut payload = hostile(3, "third").payload();
        payload[part] = json!(FORGED);
        let event = Event::draft(contract::STREAM, contract::ArticleUpserted::TYPE).id(part);
        events.push(event.json(&payload).expect("JSON"));
    }
    // By SQL, which takes any name.
    sqlx::query("insert into outbox (stream, type, id, payload) values ($1, $2, $2, '1')")
        .bind(contract::STREAM)
        .bind(FORGED)
        .execute(&cellar.stage.pool)
        .await
        .expect("any text is a name");
    cellar.tell(&events).await;
    let mut archive = cellar.run(&["--log", "debug"]);
    cellar.until_settled().await;
    archive.signal(Signal::Term);
    archive.wait().await;
    assert_tame(&archive.log());

    let url = story("a", 1, "").origin.source_url;
    let folder = tempfile::tempdir().expect("a folder");
    let export = folder.path().join("lines.ndjson");
    std::fs::write(
        &export,
        format!("{{\"type\":\"{}\",\"data\":\"\u{1b}[31m\"}}\n{FORGED}\n", contract::ArticleUpserted::TYPE),
    )
    .expect("written");
    let export = export.to_str().expect("a plain path");
    for verb in [
        &["history", &url][..],
        &["history", FORGED],
        &["show", &url],
        &["diff", &url],
        &["fsck"],
        &["gc", "--dry-run"],
        &["purge", "--dry-run", &url],
        &["purge", "--dry-run", FORGED],
        &["import-ndjson", export, "--without-end", "--dry-run"],
    ] {
        assert_all_tame(cellar.command(verb)).await;
    }
}

/// A server that answers everybody with one of these after the other, as JSON; and how often it was asked.
async fn answers(bodies: Vec<(&'static str, String)>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (status, body) = bodies[count.fetch_add(1, Ordering::SeqCst) % bodies.len()].clone();
            tokio::spawn(async move {
                let mut heard = [0; 16_384];
                let _ = stream.read(&mut heard).await;
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).await;
            });
        }
    });
    (address, asked)
}

/// What a search server says is no more to be trusted than what a page says.
#[tokio::test]
async fn what_a_search_server_says_forges_no_line_and_does_nothing_to_a_terminal() {
    let failed = json!({ "message": FORGED, "code": FORGED, "type": FORGED, "link": FORGED }).to_string();
    let task = json!({ "taskUid": 1, "uid": 1, "indexUid": FORGED, "status": "failed", "type": FORGED, "enqueuedAt": FORGED,
        "error": { "message": FORGED, "code": FORGED, "type": FORGED, "link": FORGED } });
    let odd =
        json!({ "status": FORGED, "commitSha": FORGED, "pkgVersion": FORGED, "results": [task], "hits": FORGED })
            .to_string();
    let (server, asked) = answers(vec![
        ("400 Bad Request", failed.clone()),
        ("200 OK", odd),
        ("404 Not Found", failed.clone()),
        ("202 Accepted", task.to_string()),
        ("500 Broken", failed),
        ("200 OK", format!("{FORGED} no JSON")),
    ])
    .await;
    let url = format!("http://{server}");
    let reading = Reading::open().await;
    let mut bisan = reading.run(&["--meili-url", &url, "--log", "debug"]);
    reading.say(&[told("1", 1, "a title", "a body").export()]).await;
    reading.until_consumed().await;
    eventually("it to have been answered in each way", async || asked.load(Ordering::SeqCst) >= 6).await;
    for verb in [&["status"][..], &["verify"], &["search", "title"], &["reindex"]] {
        let mut command = reading.command(verb);
        command.env("MEILI_URL", &url);
        assert_all_tame(command).await;
    }
    bisan.signal(Signal::Term);
    bisan.wait().await;
    assert_tame(&bisan.log());
}
