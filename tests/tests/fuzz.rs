//! Everything that reads what others have written is given damaged samples: no panic, no unbounded time, and where there is a way
//! back, it leads back. Some seconds here; `OUTBOX_FUZZ_CASES=100000 ./dev test fuzz` for longer.
//!
//! Beside the code that they are about stand others, with the same rule:
//!
//! | reads | tests |
//! |---|---|
//! | the relay's HTTP surface | `tests/tests/admin.rs: nothing_that_is_sent_to_it_is_answered_with_a_failure_of_ours`, `tests/tests/intruders.rs: nothing_that_anybody_sends_is_a_failure_of_ours` |
//! | the HTTP of all the others: paths, cursors, headers | `tests/tests/fuzz/requests.rs: nothing_that_is_sent_to_readers_pages_is_a_failure_of_ours`, `tests/tests/fuzz/requests.rs: nothing_that_is_sent_to_who_tells_of_itself_is_a_failure_of_ours` |
//! | letters that consumers leave in Redis | `tests/tests/fuzz/left_in_redis.rs: whatever_lies_in_a_tray_is_taken_away_and_the_relay_goes_on` |
//! | what consumers say of themselves there | `tests/tests/fuzz/left_in_redis.rs: whatever_consumers_say_of_themselves_the_relay_goes_on` |
//! | what is masked | `relay/src/mask/cases.rs: whatever_is_masked_stays_what_it_was_but_for_what_is_hidden`, `relay/src/mask/cases.rs: what_is_hidden_is_hidden_wherever_it_stands` |
//! | traces, as producers write them | `relay/src/spans.rs: any_header_is_a_trace_or_none`, `outbox/src/trace.rs: any_header_is_a_trace_or_none` |
//! | dates on pages | `services/fallah/src/extract/date/mod.rs: any_text_is_a_date_or_none` |
//! | payloads, as producers are checked | `outbox/src/json.rs: whatever_passes_can_be_read_back` |
//! | sitemaps, as any bytes | `services/fallah/src/sitemap/tests/bounds.rs: any_bytes_end` |
//! | their dates | `services/fallah/src/sitemap/date.rs: any_text_is_a_date_or_none` |
//! | robots.txt, as any bytes | `services/fallah/src/robots/tests.rs: any_bytes_are_a_robots_txt` |
//! | its patterns | `services/fallah/src/robots/pattern.rs: patterns_match_what_their_meaning_says` |
//! | pages, damaged | `services/fallah/src/extract/tests/mutated.rs: no_damage_makes_it_panic` |
//! | pages, as soup | `services/fallah/src/extract/tests/mutated.rs: no_soup_of_tags_makes_it_panic` |
//! | addresses, as any text | `services/fallah/src/address/tests.rs: normalising_twice_changes_nothing` |
//! | their escapes | `services/fallah/src/address/escapes.rs: tidying_twice_changes_nothing` |
//! | searches | `services/bisan/src/search/query.rs: any_text_is_a_query` |
//! | what is searched | `services/bisan/src/fold.rs: folding_is_safe_for_any_text` |
//! | what was found | `services/bisan/src/search/snippet.rs: marks_lie_within_the_text` |

mod left_in_redis;
mod requests;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fallah::address::Address;
use fallah::extract::{Page, Rules, decode, extract};
use fallah::fetch::{Accept, Ask, Fetcher, Settings};
use fallah::guard::Guard;
use fallah::robots::Robots;
use fallah::sitemap::{self, Limits};
use outbox::{EntryId, Envelope};
use outbox_tests::{Cellar, Reading, Store, address, cases, drawn, fuzzer, get_json, mangled, told};
use proptest::prelude::*;
use proptest::test_runner::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// One case may take so long, in a debug build on a busy machine.
const CASE_TIME_MAX: Duration = Duration::from_secs(10);

fn each<Value: std::fmt::Debug>(few: u32, strategy: &impl Strategy<Value = Value>, read: impl Fn(Value)) {
    let config = Config { cases: cases(few), failure_persistence: None, ..Config::default() };
    let timed = |value| {
        let begun = Instant::now();
        read(value);
        prop_assert!(begun.elapsed() < CASE_TIME_MAX, "it took {:?}", begun.elapsed());
        Ok(())
    };
    fuzzer(config).run(strategy, timed).unwrap_or_else(|error| panic!("{error}"));
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    packed.write_all(bytes).expect("in memory");
    packed.finish().expect("in memory")
}

fn base() -> Address {
    Address::parse("https://daily.example/news/sitemap.xml").expect("an address")
}

#[test]
fn an_envelope_of_anything_is_malformed_or_comes_back_as_it_was() {
    let field = |samples: &[&str]| mangled(samples.iter().copied()).prop_map(|bytes| lossy(&bytes));
    let fields = (
        field(&["0192f0c1-7b1a-7000-8000-000000000000", ""]),
        field(&["1", "42"]),
        field(&["2026-11-21T08:00:00.000001Z", "1969-01-01T00:00:00Z"]),
        field(&[r#"{"total": 1}"#, r#"{"a":[1,2.5,"\u00e9"]}"#]),
        field(&[r#"{"trace":"x"}"#, r#"{"outbox-replayed-id":"a","outbox-replays":"3"}"#]),
        field(&["id", "type", "ver", "key", "time", "data", "headers", "new"]),
    );
    each(3_000, &fields, |(id, ver, time, data, headers, name)| {
        let named =
            [("id", &*id), ("type", "t"), ("ver", &*ver), ("time", &*time), ("data", &*data), ("headers", &*headers)];
        let whole = Envelope::from_fields(named.into_iter().chain([(&*name, "x")]));
        for envelope in [Envelope::from_fields(named), whole].into_iter().flatten() {
            // As it travels: times have microseconds there, and others may say more.
            let travels = |envelope: &Envelope| -> Vec<(&str, String)> {
                envelope.fields().map(|(name, value)| (name, value.into_owned())).collect()
            };
            let fields = travels(&envelope);
            let again = Envelope::from_fields(fields.iter().map(|(name, value)| (*name, &**value)));
            assert_eq!(travels(&again.expect("its own fields")), fields);
            let _ = (envelope.payload::<serde_json::Value>(), envelope.header("trace"), envelope.unwrap_replay());
        }
    });
}

#[test]
fn an_entry_number_of_anything_is_none_or_says_itself() {
    let samples = mangled(["1-42", "18446744073709551615-18446744073709551615", "0-0"]);
    each(3_000, &samples, |bytes| {
        if let Ok(number) = lossy(&bytes).parse::<EntryId>() {
            assert_eq!(number.to_string().parse::<EntryId>().expect("its own text"), number);
        }
    });
}

#[test]
fn an_address_of_anything_is_none_or_is_its_own_normal_form() {
    let samples = mangled([
        "https://user:pw@Daily.Example:8443/a/../b/%D8%A3%20?utm_source=x&id=1#top",
        "//other.example/مقال?a=b&&c",
        "http://[::ffff:127.0.0.1]:80/",
        "http://0x7f.1/%2e%2e/",
        "https://xn--mgba3a4f16a.example./a;b,c",
    ]);
    each(2_000, &samples, |bytes| {
        let text = lossy(&bytes);
        for address in [Address::parse(&text), base().join(&text)].into_iter().flatten() {
            assert_eq!(Address::parse(address.as_str()).expect("its own text"), address, "{text:?}");
            let _ = (Guard::default().check(&address), address.site(), address.robots(), address.is_home());
        }
        let _ = fallah::address::canonical(&base(), &text);
    });
}

const SITEMAP: &str = "<?xml version='1.0' encoding='UTF-8'?><urlset xmlns='http://www.sitemaps.org/schemas/sitemap/0.9' \
    xmlns:news='n'><url><loc>https://daily.example/1</loc><lastmod>2026-01-01T00:00:00+03:00</lastmod><news:news><news:title>A &amp; \
    b</news:title></news:news></url><url><loc><![CDATA[/2]]></loc><priority>0.5</priority></url></urlset>";
const FEED: &str = "<rss version='2.0'><channel><title>x</title><item><link>https://daily.example/1</link><guid>1</guid><pubDate>Sat, 21 \
    Nov 2026 08:00:00 GMT</pubDate></item></channel></rss>";
const INDEX: &str = "<!DOCTYPE x [<!ENTITY a 'b'>]><sitemapindex><sitemap><loc>/s1.xml.gz</loc><lastmod>2026</lastmod></sitemap></sitemapindex>";

#[test]
fn a_list_of_anything_ends_within_its_limits() {
    let packed = [SITEMAP, FEED].map(|text| gzip(text.as_bytes()));
    let plain = [SITEMAP, FEED, INDEX, "https://daily.example/1\n/2\n"].map(|text| text.as_bytes().to_vec());
    each(1_500, &mangled(plain.into_iter().chain(packed)), |bytes| {
        let limits = Limits { entries_max: 50, bytes_max: 100_000, ..Limits::default() };
        let mut entries = 0;
        if let Ok(summary) = sitemap::read(&*bytes, &base(), &limits, |_| entries += 1) {
            assert!(entries <= 50 && summary.notes.len() <= limits.notes_max);
        }
    });
}

#[test]
fn a_robots_txt_of_anything_gives_a_verdict() {
    let samples = mangled([
        "User-agent: *\nDisallow: /a*b$\nAllow: /a/b\nCrawl-delay: 1.5\nSitemap: https://daily.example/s.xml\n",
        "\u{feff}user-agent: Fallah\r\nUser-Agent: other # x\rdisallow: /%D8%A3\nCrawl-delay: 1e9\n",
    ]);
    each(3_000, &samples, |bytes| {
        let robots = Robots::parse(&bytes);
        let _ = robots.verdict("Fallah", &lossy(&bytes));
        let delay = robots.crawl_delay("Fallah");
        assert!(delay.is_none_or(|delay| delay < Duration::MAX));
        let _ = robots.sitemaps();
    });
}

#[test]
fn a_page_of_any_bytes_in_any_encoding_is_text() {
    let page = "<html lang=ar><meta charset=windows-1256><title>مدرسة</title><time datetime='2026-11-21T08:00+03:00'>٢١ نوفمبر</time>\
        <script type='application/ld+json'>{\"@type\":\"NewsArticle\",\"datePublished\":\"2026-11-21\",\"author\":[{\"name\":\"س\"}]}</script>\
        <article><p>قرأ التلاميذ.</p></article>";
    let (utf16, ..) = encoding_rs::UTF_16LE.encode(page);
    let (arabic, ..) = encoding_rs::WINDOWS_1256.encode(page);
    let pages = mangled([page.as_bytes().to_vec(), utf16.into_owned(), arabic.into_owned(), gzip(page.as_bytes())]);
    let types = mangled([
        "text/html; charset=windows-1256",
        "text/html;charset=\"utf-16le\"",
        "text/html; charset=x-user-defined",
    ]);
    each(250, &(pages, prop::option::of(types)), |(bytes, content_type)| {
        let html = decode(&bytes, content_type.map(|bytes| lossy(&bytes)).as_deref());
        assert!(html.len() <= bytes.len() * 3 + 3, "{} from {}", html.len(), bytes.len());
        let _ = extract(&Page { url: "https://daily.example/a/2026/11/21/x", html: &html }, &Rules::default());
    });
}

#[test]
fn a_file_of_sources_of_anything_is_read_or_refused() {
    let samples = mangled([
        "[[source]]\nname = 'daily'\nhome = 'https://daily.example'\nallow = ['^/news/']\ndelay = '2s'\n[source.extract]\nbody = 'article > p'\n",
        "[[source]]\nname = \"weekly\"\nsitemaps = ['https://weekly.example/s.xml']\nfeeds = []\npoll_min = '1m'\npoll_max = '99999999999h'\n",
    ]);
    each(1_000, &samples, |bytes| {
        if let Ok(sources) = fallah::Sources::parse(&lossy(&bytes)) {
            for source in sources.iter() {
                let _ = (source.wants(&base()), source.lists().count(), sources.of(&base()));
            }
        }
    });
}

fn exported() -> Vec<String> {
    let upserted = told("1", 3, "مدرسة", "قرأ التلاميذ الكتاب.").by("Jo Do", Some("https://daily.example/jo"));
    let lines = [
        upserted.clone().export(),
        upserted.gone(contract::Removal::NotFound),
        outbox_tests::told_author("daily", "Jo", None, 1),
    ];
    lines.iter().map(|event| serde_json::to_string(event).expect("JSON")).collect()
}

#[test]
fn an_event_of_anything_is_read_or_refused_and_its_canonical_form_is_stable() {
    each(1_500, &mangled(exported()), |bytes| {
        let text = lossy(&bytes);
        let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) else { return };
        // What is hashed has no other numbers, and says so by a panic.
        if has_integers_alone(&value) {
            let canonical = contract::canonical(&value);
            let again: serde_json::Value = serde_json::from_str(&canonical).expect("JSON");
            assert_eq!(contract::canonical(&again), canonical, "{text}");
        }
        let part = |name: &str| value.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let data = value.get("data").map(ToString::to_string).unwrap_or_default();
        let _ = (bisan::event::read(&part("type"), 1, &data), contract::source_name(&data));
    });
}

fn has_integers_alone(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Number(number) => number.is_i64() || number.is_u64(),
        serde_json::Value::Array(values) => values.iter().all(has_integers_alone),
        serde_json::Value::Object(members) => members.values().all(has_integers_alone),
        _ => true,
    }
}

/// Both programs that import files of lines, each with one file of damaged lines, into what they keep: Postgres and a folder, and
/// SQLite.
#[tokio::test]
async fn lines_of_anything_are_counted_as_read_or_as_bad() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lines.ndjson");
    let lines: Vec<Vec<u8>> = drawn(800, &mangled(exported()));
    std::fs::write(&file, [lines.join(&b'\n'), b"\n".to_vec()].concat()).expect("written");
    let name = file.to_str().expect("a plain path");

    let cellar = Cellar::open(Store::Folder).await;
    let reading = Reading::open().await;
    for command in [
        cellar.command(&["import-ndjson", name, "--without-end", "--json"]),
        reading.command(&["rebuild", "--json", "--without-end", "--from-hasad", name]),
    ] {
        let output = tokio::process::Command::from(command).output().await.expect("the program can be started");
        let said = lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(!said.contains("panicked"), "{said}");
        assert!(!said.contains('\u{1b}') && !said.contains('\0'), "{said:?}");
    }
    // A line that is refused late may leave its object behind, for a sweep: no row of it is without one.
    cellar.assert_nothing_is_missing().await;
    assert!(reading.verb(&["verify", "--full"]).status.success());
}

/// A server that gives one answer after the other, whatever it is asked.
async fn parrot(answers: Vec<Vec<u8>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let answers = Arc::new(Mutex::new(answers.into_iter().cycle()));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answers.lock().expect("no panic holds it").next().unwrap_or_default();
            tokio::spawn(async move {
                let mut heard = [0; 16_384];
                let _ = stream.read(&mut heard).await;
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

fn http(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

#[tokio::test]
async fn whatever_a_site_answers_is_an_answer_in_time() {
    let page = b"<html><p>text</p>".as_slice();
    let answers = drawn(
        300,
        &mangled([
            http(
                "200 OK\r\ncontent-type: text/html\r\netag: \"x\"\r\nlast-modified: Sat, 21 Nov 2026 08:00:00 GMT",
                page,
            ),
            http("200 OK\r\ncontent-type: text/html\r\ncontent-encoding: gzip", &gzip(&page.repeat(50))),
            http("301 Moved\r\nlocation: /else?a=b", b""),
            http("429 Wait\r\nretry-after: 120", b""),
            http("503 Wait\r\nretry-after: Sat, 21 Nov 2026 08:00:00 GMT", b""),
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n<p>ab\r\n0\r\n\r\n".to_vec(),
        ]),
    );
    let count = answers.len();
    let site = parrot(answers).await;
    let url = Address::parse(&format!("http://{site}/page")).expect("an address");
    let guard = Guard::new(["127.0.0.1".parse().expect("a net")]);
    let settings = Settings {
        head_time_max: Duration::from_secs(2),
        total_time_max: Duration::from_secs(3),
        ..Settings::new(fallah::fetch::user_agent("https://daily.example/bot"), guard)
    };
    let fetcher = Fetcher::new(&settings).expect("a client");
    for _ in 0..count {
        let begun = Instant::now();
        let ask = Ask { body_bytes_max: 100_000, ..Ask::new(&url, Accept::Page) };
        let answer = fetcher.ask(&ask).await;
        assert!(begun.elapsed() < CASE_TIME_MAX, "{answer:?}");
    }
}

#[tokio::test]
async fn whatever_a_search_server_answers_a_search_is_answered() {
    let hits = br#"{"hits":[{"id":1,"_formatted":{"title":"x"}}],"offset":0,"limit":20,"estimatedTotalHits":1,"processingTimeMs":1,"query":"x"}"#;
    let task = br#"{"taskUid":1,"indexUid":"articles","status":"enqueued","type":"documentAdditionOrUpdate","enqueuedAt":"2026-11-21T08:00:00Z"}"#;
    let failed = br#"{"message":"no","code":"index_not_found","type":"invalid_request","link":"x"}"#;
    let json = "content-type: application/json";
    let answers = drawn(
        300,
        &mangled([
            http(&format!("200 OK\r\n{json}"), hits),
            http(&format!("202 Accepted\r\n{json}"), task),
            http(&format!("404 Not Found\r\n{json}"), failed),
            http(&format!("503 Wait\r\nretry-after: 1\r\n{json}"), b"{}"),
        ]),
    );
    let asked = answers.len();
    let index = parrot(answers).await;
    let reading = Reading::open().await;
    let url = format!("http://{index}");
    let bisan = reading.run(&["--meili-url", &url, "--meili-search-timeout", "500ms", "--meili-timeout", "2s"]);
    let address = address(&bisan).await;
    reading.say(&[told("1", 1, "school", "pupils read").export()]).await;
    reading.until_consumed().await;
    for _ in 0..asked {
        let answer = get_json(address, "/search?q=school").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json();
    }
    assert!(!bisan.log().contains("panicked"), "{}", bisan.log());
}

#[tokio::test]
async fn a_cursor_of_anything_is_refused_or_leads_on() {
    let reading = Reading::open().await;
    let bisan = reading.run(&[]);
    let address = address(&bisan).await;
    let articles: Vec<_> = (1..=5).map(|nth| told(&nth.to_string(), 1, "a title", "a body").export()).collect();
    reading.say(&articles).await;
    reading.until_consumed().await;

    // The way on, taken as it is, leads past every article once.
    let (mut path, mut seen) = ("/articles?size=2".to_owned(), vec![]);
    loop {
        let page = get_json(address, &path).await.json();
        let ids = page["articles"].as_array().expect("a list").iter().filter_map(|article| article["id"].as_i64());
        seen.extend(ids);
        match page["next"].as_str() {
            Some(next) => path = next.to_owned(),
            None => break,
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4, 5]);

    let cursors = mangled([
        "after=1767225600.3",
        "after=-9223372036854775808.9223372036854775807&size=50",
        "from=2026-01-01&until=9999-12-31",
        "page=50&size=100&q=a",
        "author=4294967295&source=x&language=ar",
    ]);
    for bytes in drawn(250, &cursors) {
        let query: String = bytes
            .iter()
            .map(|byte| match byte {
                b'=' | b'&' | b'.' | b'-' | b'%' | b'+' => char::from(*byte).to_string(),
                byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
                byte => format!("%{byte:02X}"),
            })
            .collect();
        for path in ["/articles", "/search", "/authors/1"] {
            let answer = get_json(address, &format!("{path}?{query}")).await;
            assert!((200..500).contains(&answer.status), "{path}?{query}: {} {}", answer.status, answer.body);
        }
    }
    assert!(!bisan.log().contains("panicked"), "{}", bisan.log());
}
