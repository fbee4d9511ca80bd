//! What our programs tell Prometheus and whoever asks after their health: every metric that is documented is exported, under names as
//! Prometheus wants them, and the page about them is made from their tables.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use contract::STREAM;
use outbox::Event;
use outbox_tests::{
    Cellar, Child, Newsroom, Proxy, Reading, Signal, Stage, Store, Surface, address, consume, eventually, get, story,
    text, told,
};
use vitals::{Kind, Metric};

const HEAD: &str = "# Metrics

`GET /metrics` of each program, as Prometheus reads it. Made from the programs' own tables: a test compares them
(`tests/tests/metrics.rs`, which writes this page anew with `WRITE_DOCS=1`).

A metric of the *store* is read from where it lies when somebody asks; all who share that store tell the same, so take one, or their
maximum. A metric of the *process* is counted in one process from its start; add them up. Alerts for them lie in
[alerts.yml](../compose/prometheus/alerts.yml); what to do about each stands in [monitoring](monitoring.md#alerts).
";

const PARTS: [(&str, &str, &[&Metric]); 4] = [
    (
        "Relay",
        "`RELAY_LISTEN`, by default `127.0.0.1:7654`. Of the store it asks Postgres at most once a second, and for at most a twentieth of \
         the time.",
        relay::METRICS,
    ),
    (
        "Fallah",
        "`FALLAH_LISTEN`, by default nowhere: `off`. Its store is Postgres, which is asked at most once a second.",
        fallah::METRICS,
    ),
    (
        "Hasad",
        "`HASAD_LISTEN`, by default nowhere: `off`. Its store is Postgres, which is asked at most once a second. How far its group is behind, \
         and its dead letters, are among the relay's figures.",
        hasad::METRICS,
    ),
    ("Bisan", "`BISAN_LISTEN`, by default `127.0.0.1:7656`. Its store is its file.", bisan::METRICS),
];

fn page() -> String {
    let mut page = HEAD.to_owned();
    for (name, words, metrics) in PARTS {
        page += &format!(
            "\n## {name}\n\n{words}\n\n| metric | kind | from | labels | what it says |\n|---|---|---|---|---|\n"
        );
        for Metric { name, kind, source, labels, help } in metrics {
            let labels = labels.join(", ");
            page += &format!("| `{name}` | {} | {} | {labels} | {help} |\n", kind.as_str(), source.as_str());
        }
    }
    page
}

#[test]
fn the_page_about_metrics_is_made_from_their_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).expect("the folder is there");
    }
    let written = std::fs::read_to_string(path).expect("docs/metrics.md");
    assert_eq!(written, page(), "write it anew with WRITE_DOCS=1");
}

#[test]
fn names_are_as_prometheus_wants_them() {
    let mut names = BTreeSet::new();
    for (part, _, metrics) in PARTS {
        for metric in metrics {
            assert!(metric.name.starts_with(&format!("{}_", part.to_lowercase())), "{}", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(metric.help.ends_with('.') && !metric.help.contains('\n'), "{}", metric.name);
            assert!(names.insert(metric.name), "{} is there twice", metric.name);
        }
    }
}

/// Where a program tells of itself, as it says.
pub(crate) async fn told_at(child: &Child) -> SocketAddr {
    let line = child.saw("tells of itself").await;
    let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
    address.expect("it says where").parse().expect("an address")
}

/// Every value that is told, by its name with its labels.
async fn figures(at: SocketAddr) -> BTreeMap<String, f64> {
    let told = get(at, "/metrics", &[]).await;
    assert_eq!(told.status, 200, "{}", told.body);
    assert_eq!(told.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let lines = told.body.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
        })
        .collect()
}

/// The names alone, of a histogram the one that it has.
fn names(figures: &BTreeMap<String, f64>) -> BTreeSet<&str> {
    figures
        .keys()
        .map(|name| name.split('{').next().expect("a name"))
        .map(|name| ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name))
        .collect()
}

/// Waits until exactly what is documented is told.
async fn until_all_is_told(at: SocketAddr, metrics: &[&Metric]) -> BTreeMap<String, f64> {
    let documented: BTreeSet<&str> = metrics.iter().map(|metric| metric.name).collect();
    let mut last = BTreeMap::new();
    let what = format!("every metric of {at} to be told");
    eventually(&what, async || {
        last = figures(at).await;
        let told = names(&last);
        let strange: Vec<_> = told.difference(&documented).collect();
        assert!(strange.is_empty(), "not documented: {strange:?}");
        (told == documented).then(|| last.clone())
    })
    .await
}

pub(crate) async fn status(at: SocketAddr, path: &str) -> u16 {
    get(at, path, &[]).await.status
}

#[tokio::test]
async fn fallah_tells_of_its_health_and_of_each_source() {
    let newsroom = Newsroom::open().await;
    newsroom.site.sitemap("/sitemap.xml", &["/a", "/b", "/gone"]);
    newsroom.site.article("/a", "Zanzibar opens a lighthouse", &text(1));
    newsroom.site.article("/b", "Pemba builds a bridge", &text(2));
    let wire = Proxy::to(newsroom.postgres.port()).await;
    let mut command = newsroom.command("run", &["--listen", "127.0.0.1:0"]);
    let port = format!(":{}/", newsroom.postgres.port());
    command.env("DATABASE_URL", newsroom.database_url.replace(&port, &format!(":{}/", wire.port())));
    let mut child = Child::spawn(command);
    let address = told_at(&child).await;
    assert_eq!(status(address, "/live").await, 200);
    assert_eq!(status(address, "/nothing").await, 404);
    eventually("it to be ready", async || status(address, "/ready").await == 200).await;

    let told = eventually("both articles to be written", async || {
        Some(figures(address).await).filter(|told| told.get("fallah_items_total{change=\"new\"}") == Some(&2.0))
    })
    .await;
    assert!(told["fallah_pages_total"] >= 2.0 && told["fallah_lists_total"] >= 1.0, "{told:?}");
    let told = until_all_is_told(address, fallah::METRICS).await;
    assert_eq!(told["fallah_postgres_up"], 1.0);
    assert!(told["fallah_source_silent_seconds{source=\"daily\"}"] < 60.0, "{told:?}");
    assert!(told["fallah_source_unread_seconds{source=\"daily\"}"] < 60.0, "{told:?}");
    assert_eq!(told["fallah_source_halted{source=\"daily\"}"], 0.0);

    // As if nothing new had come for seven hours.
    newsroom.sql("update fallah.item set discovered_at = discovered_at - interval '7 hours'").await;
    newsroom.sql("update fallah.source set halted_at = now(), halted_reason = 'a test'").await;
    eventually("its silence to be told", async || {
        let told = figures(address).await;
        told["fallah_source_silent_seconds{source=\"daily\"}"] > 7.0 * 3600.0
            && told["fallah_source_halted{source=\"daily\"}"] == 1.0
    })
    .await;

    // Postgres is away: it lives, is not ready, and tells what it has counted itself.
    wire.freeze();
    eventually("it to say that it is not ready", async || status(address, "/ready").await == 503).await;
    assert_eq!(status(address, "/live").await, 200);
    let told = figures(address).await;
    assert_eq!(told["fallah_postgres_up"], 0.0);
    assert!(told["fallah_pages_total"] >= 2.0 && !told.contains_key("fallah_source_halted{source=\"daily\"}"));
    wire.thaw();
    eventually("it to be ready again", async || status(address, "/ready").await == 200).await;
    child.signal(Signal::Term);
    assert_eq!(child.wait().await, 0, "{}", child.log());
}

#[tokio::test]
async fn hasad_tells_what_it_archives_what_it_refuses_and_when_a_store_is_away() {
    let cellar = Cellar::open(Store::S3).await;
    let store = Proxy::to(cellar.s3.as_ref().expect("an S3 store").port()).await;
    let (first, again) =
        (story("a", 1, "Zanzibar opens a lighthouse. "), story("b", 1, "Zanzibar opens a lighthouse. "));
    let nonsense =
        Event::draft(STREAM, "article.upserted").key("x").id("nonsense").json(&serde_json::json!({"no": 1}));
    cellar.tell(&[first.event(), again.event(), nonsense.expect("an event")]).await;
    let mut child = cellar.run_over(&["--listen", "127.0.0.1:0"], None, Some(&store));
    let at = told_at(&child).await;
    assert_eq!(status(at, "/live").await, 200);
    eventually("it to be ready", async || status(at, "/ready").await == 200).await;
    cellar.until_settled().await;
    let told = figures(at).await;
    assert_eq!((told["hasad_versions_total"], told["hasad_refused_events_total"]), (2.0, 1.0), "{told:?}");
    // The same content is one object, told once with its size.
    assert_eq!((told["hasad_objects_total"], told["hasad_saved_objects_total"]), (1.0, 1.0), "{told:?}");
    assert_eq!(told["hasad_object_bytes_total"], first.bytes().len() as f64);
    assert!(told["hasad_source_silent_seconds{source=\"daily\"}"] < 60.0, "{told:?}");
    let applied = told[&format!("hasad_applied_seq{{lane=\"{STREAM}\",generation=\"1\"}}")];
    assert!(applied >= 2.0, "what is set aside counts once its group has settled it: {told:?}");

    // Before any check or sweep there is nothing to tell of them.
    assert!(!told.contains_key("hasad_run_found{verb=\"fsck\"}"), "{told:?}");
    assert_eq!(cellar.verb(&["fsck"]).await.0, 0);
    let told = until_all_is_told(at, hasad::METRICS).await;
    assert_eq!(told["hasad_run_found{verb=\"fsck\"}"], 0.0);
    assert!(told["hasad_run_age_seconds{verb=\"fsck\"}"] < 60.0);

    store.refuse();
    cellar.tell(&[story("c", 1, "Pemba builds a bridge. ").event()]).await;
    eventually("an outage to be counted", async || figures(at).await["hasad_outages_total"] >= 1.0).await;
    assert_eq!((status(at, "/live").await, status(at, "/ready").await), (200, 503));
    store.accept();
    cellar.until_settled().await;
    let told = figures(at).await;
    assert_eq!((told["hasad_versions_total"], told["hasad_refused_events_total"]), (3.0, 1.0), "{told:?}");
    child.signal(Signal::Term);
    assert_eq!(child.wait().await, 0, "{}", child.log());
}

#[tokio::test]
async fn bisan_and_the_relay_tell_what_is_documented() {
    let reading = Reading::open().await;
    let bisan = reading.run(&[]);
    let at = address(&bisan).await;
    reading.say(&[told("a", 1, "Zanzibar", "A lighthouse.").export()]).await;
    until_all_is_told(at, bisan::METRICS).await;

    let stage = Stage::set().await;
    let surface = Surface::begin(&stage, &[]).await;
    stage.enqueue("orders", "one").await;
    let _consumer = consume(&stage, &["--stream", "orders", "--group", "billing"]);
    until_all_is_told(surface.address, relay::METRICS).await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_in_one_sentence() {
    let newsroom = Newsroom::open().await;
    let cellar = Cellar::open(Store::Folder).await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = listener.local_addr().expect("bound").to_string();
    for (mut child, variable) in [
        (Child::spawn(newsroom.command("run", &["--listen", &taken])), "FALLAH_LISTEN"),
        (cellar.run(&["--listen", &taken]), "HASAD_LISTEN"),
    ] {
        assert_eq!(child.wait().await, 1, "{}", child.log());
        let log = child.log();
        assert!(log.contains(variable) && log.contains(&taken), "{log}");
    }
}
