//! What readers see: pages and JSON, safe whatever an article says, whatever is asked.

use contract::Removal;
use outbox_tests::{Child, Reading, Signal, Told, address, ask, eventually, get, get_json, told};
use select::document::Document;
use select::predicate::{Attr, Class, Name, Predicate};
use std::collections::BTreeSet;
use std::net::SocketAddr;

const HOSTILE: &str =
    "<script>alert(1)</script><img src=x onerror=alert(2)>\" onmouseover=\"alert(3)' <b>&amp;</b> </title></article>";

async fn with(events: &[contract::Export]) -> (Reading, Child, SocketAddr) {
    let reading = Reading::open().await;
    reading.say(events).await;
    let bisan = reading.run(&[]);
    let address = address(&bisan).await;
    reading.until_consumed().await;
    (reading, bisan, address)
}

fn arabic() -> Told {
    told("a", 1, "افتتاح مدرسة", "الفقرة الأولى.\n\nالفقرة الثانية،\nسطر ثان.").lead("مقدمة").by("سلمى حداد", None)
}

#[tokio::test]
async fn hostile_text_stays_text_on_every_page() {
    let one = told("x", 1, HOSTILE, &format!("{HOSTILE}\n\nword {HOSTILE}")).lead(HOSTILE).source("s\"'<i>").with(
        |event| {
            event.origin.source_url = "https://evil.example/\"><script>alert(4)</script>".to_owned();
            event.article.canonical_url = Some("javascript:alert(5)".to_owned());
            event.article.images = vec!["https://evil.example/pixel.gif".to_owned()];
            event.article.section = Some(HOSTILE.to_owned());
            event.tags = vec![HOSTILE.to_owned()];
            event.language = Some("ar\" onload=\"x".to_owned());
        },
    );
    let (_reading, _bisan, address) = with(&[one.by(HOSTILE, Some("javascript:alert(6)")).export()]).await;
    let query = "/search?q=word+%3Cscript%3Ealert%3C%2Fscript%3E&source=%22%3E%3Cscript%3E&language=%3Cb%3E";
    for path in
        ["/", "/articles/1", "/authors/1", "/search?q=alert", query, "/%3Cscript%3E", "/articles?after=%3Cscript%3E"]
    {
        let answer = get(address, path, &[]).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("inline"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let page = Document::from(answer.body.as_str());
        for script in page.find(Name("script")) {
            assert_eq!((script.attr("src"), script.text().as_str()), (Some("/page.js"), ""), "{path}");
        }
        assert_eq!(
            page.find(Name("img")).count() + page.find(Name("b")).count() + page.find(Name("i")).count(),
            0,
            "{path}"
        );
        for node in page.find(|node: &select::node::Node<'_>| node.name().is_some()) {
            for (name, value) in node.attrs() {
                assert!(!name.starts_with("on"), "{path}: {name}={value}");
                let link = ["href", "src", "action"].contains(&name);
                assert!(
                    !link || value.starts_with(['/', '#']) || value.starts_with("https://evil.example/"),
                    "{path}: {name}={value}"
                );
            }
        }
    }
    let page = get(address, "/articles/1", &[]).await.body;
    let page = Document::from(page.as_str());
    let body: String = page.find(Class("body")).map(|node| node.text()).collect();
    assert!(body.contains("<script>alert(1)</script>"), "it is there, as text: {body}");
}

#[tokio::test]
async fn an_article_is_written_in_its_own_direction() {
    let english = told("e", 1, "The old port", "A text.").language("en");
    let nobody_knows = told("n", 1, "?", "A text.").with(|event| event.language = None);
    let (_reading, _bisan, address) = with(&[arabic().export(), english.export(), nobody_knows.export()]).await;
    for (path, direction) in [("/articles/1", "rtl"), ("/articles/2", "ltr"), ("/articles/3", "auto")] {
        let page = get(address, path, &[]).await.body;
        let page = Document::from(page.as_str());
        let article = page.find(Name("article")).next().expect("an article");
        assert_eq!(article.attr("dir"), Some(direction), "{path}");
    }
    let page = get(address, "/articles/1", &[]).await.body;
    let page = Document::from(page.as_str());
    let paragraphs: Vec<_> = page.find(Class("body").descendant(Name("p"))).map(|p| p.text()).collect();
    assert_eq!(paragraphs, ["الفقرة الأولى.", "الفقرة الثانية،سطر ثان."]);
    assert_eq!(page.find(Attr("rel", "author")).next().expect("an author").text(), "سلمى حداد");
    let source = page.find(Name("footer").descendant(Name("a"))).next().expect("its source");
    assert_eq!(
        (source.attr("href"), source.attr("rel")),
        (Some("https://daily.example/a"), Some("noopener noreferrer nofollow external"))
    );
}

#[tokio::test]
async fn a_page_loads_nothing_from_anywhere_else_and_needs_no_script() {
    let (_reading, _bisan, address) = with(&[arabic().export()]).await;
    let page = get(address, "/", &[]).await.body;
    let page = Document::from(page.as_str());
    let files: BTreeSet<_> = page
        .find(Name("link"))
        .filter_map(|link| link.attr("href"))
        .chain(page.find(Name("script")).filter_map(|script| script.attr("src")))
        .collect();
    assert_eq!(files, ["/icon.svg", "/page.js", "/style.css"].into());
    for file in files {
        let answer = get(address, file, &[]).await;
        assert_eq!(answer.status, 200, "{file}");
        assert!(!answer.body.contains("url(") && !answer.body.contains("@import"), "{file}");
    }
    let form = page.find(Attr("role", "search")).next().expect("a search");
    assert_eq!((form.attr("action"), form.attr("method")), (Some("/search"), None), "it is sent without a script");
}

#[tokio::test]
async fn who_asks_for_json_gets_it() {
    let (_reading, _bisan, address) = with(&[arabic().export()]).await;
    let article = get_json(address, "/articles/1").await;
    assert_eq!(article.header("content-type"), "application/json");
    let article = article.json();
    assert_eq!(
        (&article["title"], &article["authors"][0]["name"], &article["version"]),
        (&"افتتاح مدرسة".into(), &"سلمى حداد".into(), &1.into())
    );
    assert!(get(address, "/articles/1", &[]).await.header("content-type").starts_with("text/html"));
    let found = get_json(address, "/search?q=%D8%A7%D9%84%D9%85%D8%AF%D8%B1%D8%B3%D8%A9").await.json();
    assert_eq!((&found["total"], &found["hits"][0]["id"]), (&1.into(), &1.into()));
    assert_eq!(get_json(address, "/authors/1").await.json()["author"]["articles"], 1);
    assert_eq!(get_json(address, "/").await.json()["articles"][0]["id"], 1);
}

#[tokio::test]
async fn a_list_is_paged_without_leaving_anything_out_though_articles_come_in_between() {
    let of = |n: u64| told(&format!("{n}"), 1, "خبر", "نص").published(&format!("2026-01-{:02}", 1 + n % 7)).export();
    let (reading, _bisan, address) = with(&(0..50).map(of).collect::<Vec<_>>()).await;
    let (mut seen, mut next) = (vec![], "/articles?size=7&source=daily".to_owned());
    loop {
        let page = get_json(address, &next).await.json();
        seen.extend(
            page["articles"].as_array().expect("a list").iter().map(|one| one["id"].as_i64().expect("an id")),
        );
        if seen.len() == 14 {
            reading.say(&[told("new", 1, "جديد", "نص").published("2026-01-31").export()]).await;
            reading.until_consumed().await;
        }
        match page["next"].as_str() {
            Some(link) => next = link.to_owned(),
            None => break,
        }
    }
    let different: BTreeSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), different.len()), (50, 50));
}

#[tokio::test]
async fn in_the_order_in_which_they_were_first_seen_nothing_is_left_out_though_dates_change_in_between() {
    let of = |n: u64| told(&format!("{n}"), 1, "خبر", "نص").published(&format!("2026-01-{:02}", 1 + n % 7));
    let (reading, _bisan, address) = with(&(0..30).map(|n| of(n).export()).collect::<Vec<_>>()).await;
    let (mut seen, mut next) = (vec![], "/articles?size=7&order=first_seen&source=daily".to_owned());
    loop {
        let page = get_json(address, &next).await.json();
        seen.extend(
            page["articles"].as_array().expect("a list").iter().map(|one| one["id"].as_i64().expect("an id")),
        );
        if seen.len() == 7 {
            // What is still to come gets the newest date of all, and one more comes.
            let redated = |n: u64| of(n).published("2026-01-31").with(|event| event.origin.version = 2).export();
            reading.say(&(20..30).map(redated).chain([of(99).export()]).collect::<Vec<_>>()).await;
            reading.until_consumed().await;
        }
        match page["next"].as_str() {
            Some(link) => next = link.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, (1..=31).collect::<Vec<i64>>());
    assert_eq!(get_json(address, "/articles?order=sideways").await.status, 400);
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let (reading, _bisan, address) = with(&[arabic().export()]).await;
    for path in ["/", "/articles/1", "/search?q=%D9%85%D8%AF%D8%B1%D8%B3%D8%A9", "/authors/1", "/style.css"] {
        let first = get(address, path, &[]).await;
        let again = get(address, path, &[("if-none-match", first.header("etag"))]).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
        assert_eq!(get(address, path, &[("if-none-match", "\"other\"")]).await.status, 200, "{path}");
    }
    let dated = eventually("the article to be quiet", async || {
        let answer = get(address, "/articles/1", &[]).await;
        (!answer.header("last-modified").is_empty()).then_some(answer)
    });
    let since = dated.await.header("last-modified").to_owned();
    assert_eq!(get(address, "/articles/1", &[("if-modified-since", &since)]).await.status, 304);
    let before = get(address, "/articles/1", &[]).await;
    reading
        .say(&[arabic()
            .with(|event| event.origin.version = 2)
            .with(|event| event.article.title = "آخر".to_owned())
            .export()])
        .await;
    reading.until_consumed().await;
    let after = get(address, "/articles/1", &[("if-none-match", before.header("etag"))]).await;
    assert!(after.status == 200 && after.body.contains("آخر"));
}

#[tokio::test]
async fn every_error_is_one_sentence_that_helps() {
    let (_reading, _bisan, address) = with(&[arabic().export(), told("b", 2, "ب", "نص").gone(Removal::Gone)]).await;
    let long = format!("/search?q={}", "%D8%A7".repeat(300));
    let longer = format!("/articles?x={}", "x".repeat(5_000));
    for (path, status, words) in [
        ("/articles/99", 404, "there is no article 99"),
        ("/articles/x", 404, "there is no article x"),
        ("/articles/99999999999999999999", 404, "there is no article"),
        ("/authors/99", 404, "there is no author 99"),
        ("/nothing", 404, "there is nothing at /nothing"),
        ("/articles/2", 410, "deleted at"),
        ("/articles?size=0", 400, "size is a number from 1 to 100"),
        ("/articles?size=1000", 400, "size is a number from 1 to 100"),
        ("/articles?from=yesterday", 400, "from is a day such as"),
        ("/articles?after=x", 400, "after is what an earlier answer called next"),
        ("/articles?author=me", 400, "author is a number"),
        ("/search?q=a&page=51", 400, "page is a number from 1 to 50"),
        ("/search", 400, "q has no word in it"),
        ("/search?q=%F0%9F%98%80", 400, "q has no word in it"),
        (&long, 400, "q is longer than 512 bytes"),
        (&longer, 414, "the address has"),
    ] {
        let answer = get_json(address, path).await;
        assert_eq!((answer.status, answer.header("content-type")), (status, "application/problem+json"), "{path}");
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{path}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{path}: {problem}");
        let page = get(address, path, &[]).await;
        assert!(page.header("content-type").starts_with("text/html"), "{path}");
    }
    let answer = ask(address, "POST", "/articles", &[("accept", "application/json")]).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"));
    assert_eq!(ask(address, "HEAD", "/articles/1", &[]).await.status, 200);
    assert_eq!([get(address, "/live", &[]).await.status, get(address, "/ready", &[]).await.status], [200, 200]);
}

#[tokio::test]
async fn any_query_is_answered() {
    let (_reading, _bisan, address) = with(&[arabic().export()]).await;
    let queries = [
        "\"",
        "\"\"",
        "\"\"\"",
        "'",
        "*",
        "a*",
        "^a",
        "-a",
        "a - b",
        "NOT a",
        "a AND",
        "OR",
        "NEAR(a b, 2)",
        "title:a",
        "{title body}:a",
        "a+b",
        "(a",
        "a)",
        "();--",
        "' or 1=1 --",
        "\\",
        "%",
        "a\u{0}b",
        "😀",
        "😀 مدرسة",
        "«",
        "»«",
        "\u{202e}abc",
        "ـــ",
        "َُِ",
        "ﷺ",
        "ال",
        "و",
        "1.5",
        "a.b.c",
        "\t\n",
        "مدرسة\"",
        "\"مدرسة",
        "مدرسة*",
        "\u{feff}",
        "١٢٣",
    ];
    for query in queries {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let page = get(address, &format!("/search?q={encoded}"), &[]).await;
        assert_eq!(page.status, 200, "{query:?}");
        let json = get_json(address, &format!("/search?q={encoded}")).await;
        assert!([200, 400].contains(&json.status), "{query:?}: {}", json.body);
    }
}

#[tokio::test]
async fn a_search_without_words_or_without_hits_says_what_to_do() {
    let (_reading, _bisan, address) = with(&[arabic().export()]).await;
    let empty = get(address, "/search", &[]).await;
    assert!(empty.status == 200 && empty.body.contains("What are you looking for?"));
    let nothing = get(address, "/search?q=xyzzy", &[]).await;
    assert!(nothing.status == 200 && nothing.body.contains("No article has all of these words."));
    let nobody = Reading::open().await;
    let bisan = nobody.run(&[]);
    let page = get(self::address(&bisan).await, "/", &[]).await;
    assert!(page.body.contains("No article has arrived yet."));
}

#[tokio::test]
async fn an_answer_under_way_is_ended_before_it_stops() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (_reading, mut bisan, address) = with(&[arabic().export()]).await;
    let mut slow = tokio::net::TcpStream::connect(address).await.expect("it listens");
    slow.write_all(b"GET /articles/1 HTTP/1.1\r\nhost: x\r\n").await.expect("sent");
    // Half a request is on its way when it is asked to stop.
    get(address, "/live", &[]).await;
    bisan.signal(Signal::Term);
    eventually("it to listen no more", async || tokio::net::TcpStream::connect(address).await.is_err()).await;
    slow.write_all(b"connection: close\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(bisan.wait().await, 0);
}

#[tokio::test]
async fn metrics_tell_what_there_is_and_how_long_what_changed_has_waited() {
    let (reading, _bisan, address) = with(&[
        arabic().export(),
        told("b", 1, "عنوان", "نص").export(),
        arabic().with(|event| event.origin.version = 2).gone(Removal::Gone),
    ])
    .await;
    let figure = async |name: &str| {
        let answer = get(address, "/metrics", &[]).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/plain; version=0.0.4; charset=utf-8"));
        let line = answer.body.lines().find(|line| line.split([' ', '{']).next() == Some(name)).map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok()))
    };
    assert_eq!(figure("bisan_articles").await, Some(1));
    assert_eq!(figure("bisan_deleted_articles").await, Some(1));
    assert_eq!(figure("bisan_waiting_changes").await, Some(2));
    assert_eq!(figure("bisan_refused_articles").await, Some(0));
    reading.db().execute_batch("update search_dirty set dirty_at = dirty_at - 100").expect("done");
    assert!(figure("bisan_oldest_waiting_seconds").await.is_some_and(|seconds| (100..200).contains(&seconds)));
    reading.db().execute_batch("delete from search_dirty").expect("done");
    assert_eq!(figure("bisan_oldest_waiting_seconds").await, Some(0));
    // The newest entry, also when it has left the inbox.
    let newest =
        "select seq from (select generation, seq from inbox_seen union all select generation, seq from inbox_floor)
                   order by generation desc, seq desc limit 1";
    let newest: i64 = reading.db().query_row(newest, [], |row| row.get(0)).expect("an entry");
    assert_eq!(figure("bisan_applied_seq").await, Some(newest.unsigned_abs()));
    reading
        .db()
        .execute_batch("alter table article_author rename to elsewhere; alter table search_dirty rename to waits")
        .expect("done");
    assert_eq!((figure("bisan_file_up").await, figure("bisan_articles").await), (Some(0), None));
}
