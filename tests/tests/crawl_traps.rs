//! What the web puts in a crawler's way: bombs, loops, lies, broken text. None of it stops the crawl of the rest.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outbox_tests::{Newsroom, Reply, Site, article, eventually, text};
use tokio::net::TcpListener;

/// A site with a trap at /trap and an article at /good; returns what was said of the trap.
async fn outcome_of(trap: Reply) -> String {
    let newsroom = Newsroom::open().await;
    newsroom.site.sitemap("/sitemap.xml", &["/trap", "/good"]);
    newsroom.site.put("/trap", trap);
    newsroom.site.article("/good", "A good headline", &text(1));
    newsroom.once_with(&["--request-timeout", "1s"]).await;
    assert_eq!(newsroom.event_count().await, 1, "the good one is there, and only that");
    newsroom.ask::<String>("select outcome from fallah.page where url like '%/trap'").await
}

fn gzip(text: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(vec![], flate2::Compression::best());
    gzip.write_all(text).expect("memory takes it");
    gzip.finish().expect("memory takes it")
}

#[tokio::test]
async fn a_gzip_bomb_is_left_alone() {
    let bomb = gzip(&vec![b' '; 200 << 20]);
    assert!(bomb.len() < 1 << 20);
    let said = outcome_of(Reply::html(bomb).header("content-encoding", "gzip")).await;
    assert!(said.contains("large"), "{said}");
}

#[tokio::test]
async fn a_page_of_ten_thousand_levels_does_not_take_us_down() {
    let page = format!("<html><body>{}text{}</body></html>", "<div>".repeat(10_000), "</div>".repeat(10_000));
    outcome_of(Reply::html(page)).await;
}

#[tokio::test]
async fn a_page_of_open_tags_does_not_take_us_down() {
    let page = format!("<html><body>{}text", "<b><i><table><tr><td><p>".repeat(20_000));
    outcome_of(Reply::html(page)).await;
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let said = outcome_of(Reply::moved("/trap?again=1").header("x-trap", "1")).await;
    assert!(said.contains("redirect") || said.contains("moved") || said.contains("404"), "{said}");
    let said = outcome_of(Reply::moved("/trap")).await;
    assert!(said.contains("redirect"), "{said}");
}

/// Whoever comes is noted, and answered by nobody.
struct Trap {
    address: SocketAddr,
    visitors: Arc<AtomicUsize>,
}

impl Trap {
    /// At an address of this machine that is not the site's; not every system has many.
    async fn inside() -> Self {
        match TcpListener::bind("127.0.0.2:0").await {
            Ok(listener) => Self::lay(listener),
            Err(_) => Self::lay(TcpListener::bind("[::1]:0").await.expect("one of this machine's addresses")),
        }
    }

    fn lay(listener: TcpListener) -> Self {
        let visitors = Arc::new(AtomicUsize::new(0));
        let noted = Arc::clone(&visitors);
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                noted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, visitors }
    }

    fn visitors(&self) -> usize {
        self.visitors.load(Ordering::SeqCst)
    }
}

/// `fallah once` as somebody runs it who has left one address to it, that of the site.
async fn once_with_leave_for_the_site_alone(newsroom: &Newsroom, more: &[(&str, &str)]) -> String {
    let mut once = tokio::process::Command::new(outbox_tests::binary("fallah"));
    once.args(["once", "--allow-net", "127.0.0.1/32", "--retry-delay-min", "2m", "--sources"]);
    once.arg(newsroom.settings_file()).env("DATABASE_URL", &newsroom.database_url).envs(more.iter().copied());
    let said = once.output().await.expect("it runs");
    String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned()
}

#[tokio::test]
async fn a_redirect_into_the_private_net_is_not_followed() {
    let newsroom = Newsroom::open().await;
    let inside = Trap::inside().await;
    let port = inside.address.port();
    let ways_in = [
        format!("http://{}/", inside.address),
        format!("http://2130706434:{port}/"),
        format!("//0x7f.2:{port}/latest/meta-data/"),
        format!("http://[::ffff:127.0.0.2]:{port}/"),
        format!("http://[::1]:{port}/"),
        "http://169.254.169.254/latest/".to_owned(),
        "file:///etc/passwd".to_owned(),
    ];
    let traps: Vec<String> = (0..ways_in.len()).map(|nth| format!("/trap{nth}")).collect();
    for (path, way_in) in traps.iter().zip(&ways_in) {
        newsroom.site.put(path, Reply::moved(way_in));
    }
    newsroom.site.article("/good", "A good headline", &text(1));
    let paths: Vec<&str> = traps.iter().map(String::as_str).chain(["/good"]).collect();
    newsroom.site.sitemap("/sitemap.xml", &paths);
    once_with_leave_for_the_site_alone(&newsroom, &[]).await;

    assert_eq!(inside.visitors(), 0, "nobody came where the redirects lead");
    assert_eq!(newsroom.event_count().await, 1, "the good one is there, and only that");
    for (path, way_in) in traps.iter().zip(&ways_in) {
        assert_eq!(newsroom.site.visits_to(path), 1, "{way_in}");
        let said: String = newsroom.ask(&format!("select outcome from fallah.page where url like '%{path}'")).await;
        println!("{way_in}: {said}");
        assert!(!said.contains("read"), "{way_in}: {said}");
    }
}

/// A proxy would resolve names in our place, and go where we must not.
#[tokio::test]
async fn no_proxy_of_the_environment_is_asked() {
    let newsroom = Newsroom::open().await;
    newsroom.site.sitemap("/sitemap.xml", &["/a"]);
    newsroom.site.article("/a", "A headline", &text(1));
    let proxy = Trap::lay(TcpListener::bind("127.0.0.1:0").await.expect("a port"));
    let url = format!("http://{}", proxy.address);
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let mut settings: Vec<(&str, &str)> = names.iter().map(|name| (*name, url.as_str())).collect();
    settings.extend([("NO_PROXY", ""), ("no_proxy", "")]);
    once_with_leave_for_the_site_alone(&newsroom, &settings).await;
    assert_eq!(newsroom.event_count().await, 1, "the site was read");
    assert_eq!(proxy.visitors(), 0);
}

#[tokio::test]
async fn a_site_in_the_private_net_is_not_asked() {
    let newsroom = Newsroom::open().await;
    newsroom.site.sitemap("/sitemap.xml", &["/a"]);
    // Without the flag that tests have.
    let mut once = std::process::Command::new(outbox_tests::binary("fallah"));
    once.args(["once", "--retry-delay-min", "2m", "--sources"])
        .arg(newsroom.settings_file())
        .env("DATABASE_URL", &newsroom.database_url);
    let said = once.output().expect("it runs");
    assert_eq!(said.status.code(), Some(1), "not everything was read");
    assert!(String::from_utf8_lossy(&said.stderr).contains("is left alone"), "{said:?}");
    assert_eq!(newsroom.site.visits().len(), 0);

    // The refusal was ours, so it does not outlive the settings that it came from.
    newsroom.site.article("/a", "A headline", &text(1));
    newsroom.once().await;
    assert_eq!(newsroom.event_count().await, 1);
}

#[tokio::test]
async fn what_is_no_page_is_not_read() {
    for kind in ["application/pdf", "image/png", "video/mp4"] {
        outcome_of(Reply::body(kind, article("No headline", "Nobody", &text(1)))).await;
    }
}

#[tokio::test]
async fn a_page_that_does_not_end_in_time_is_given_up() {
    let page = article("Late headline", "Nobody", &text(1));
    let newsroom = Newsroom::open().await;
    newsroom.site.sitemap("/sitemap.xml", &["/slow", "/good"]);
    newsroom.site.put("/slow", Reply::html(page).after(Duration::from_secs(60)));
    newsroom.site.article("/good", "A good headline", &text(1));
    newsroom.once_with(&["--request-timeout", "500ms"]).await;
    assert_eq!(newsroom.event_count().await, 1);
}

#[tokio::test]
async fn arabic_in_windows_1256_is_read_whatever_is_said_of_it() {
    let title = "الأخبار العاجلة من القاهرة اليوم";
    let paragraph = "قال المتحدث الرسمي إن الاجتماع الذي عقد أمس في العاصمة تناول عددا من القضايا المهمة التي تخص \
                     المواطنين في مختلف المحافظات، وأكد أن القرارات الجديدة سوف تدخل حيز التنفيذ ابتداء من الأسبوع المقبل.";
    let page = article(title, "سلمى حداد", &[paragraph; 4].join("\n\n")).replace("<meta charset=\"utf-8\">", "");
    let (bytes, _, unmappable) = encoding_rs::WINDOWS_1256.encode(&page);
    assert!(!unmappable);
    for said in ["text/html; charset=windows-1256", "text/html"] {
        let newsroom = Newsroom::open().await;
        newsroom.site.sitemap("/sitemap.xml", &["/a"]);
        newsroom.site.put("/a", Reply::body(said, bytes.to_vec()));
        newsroom.once().await;
        let event = newsroom.upserted().await;
        assert_eq!((event.article.title.as_str(), event.language.as_deref()), (title, Some("ar")), "{said}");
        assert_eq!(event.article.authors[0].name, "سلمى حداد");
    }
}

#[tokio::test]
async fn nul_bytes_do_not_reach_postgres() {
    let newsroom = Newsroom::open().await;
    newsroom.site.sitemap("/sitemap.xml", &["/a"]);
    newsroom
        .site
        .put("/a", Reply::html(article("A head\0line", "Salma Had\0dad", &text(1).replace("text", "te\0xt"))));
    newsroom.once().await;
    assert_eq!(newsroom.event_count().await, 1);
}

/// What a list leads to: how many articles.
async fn articles_of(list: Reply, name: &str) -> usize {
    let lines = "delay = \"0\"".to_owned();
    let newsroom = Newsroom::open_with(&lines).await;
    let list_at = |path: &str| newsroom.site.put(path, list.clone());
    list_at("/sitemap.xml");
    for path in ["/a", "/b"] {
        newsroom.site.article(path, &format!("Headline of {path}"), &text(1));
    }
    newsroom.once().await;
    let count = newsroom.event_count().await;
    println!("{name}: {count}");
    count
}

#[tokio::test]
async fn lists_of_all_kinds_are_read() {
    let rss = "<rss><channel><item><link>/a</link></item><item><link><![CDATA[/b]]></link></item></channel></rss>";
    let atom = "<feed xmlns='http://www.w3.org/2005/Atom'><entry><link href='/a'/></entry><entry><link href='/b'/></entry></feed>";
    let set =
        "\u{feff}<urlset><url><loc> /a\u{a0}</loc></url><url><loc>/b</loc><lastmod>soon</lastmod></url></urlset>";
    for (name, list) in [
        ("RSS", Reply::body("application/rss+xml", rss)),
        ("Atom", Reply::body("application/atom+xml", atom)),
        ("a set", Reply::body("text/xml", set)),
        ("a set in gzip", Reply::body("application/gzip", gzip(set.as_bytes()))),
        (
            "a set in gzip, said in a header",
            Reply::body("text/xml", gzip(set.as_bytes())).header("content-encoding", "gzip"),
        ),
        ("a set that breaks off", Reply::body("text/xml", format!("{}<url><loc>/c", &set[..set.len() - 9]))),
    ] {
        assert_eq!(articles_of(list, name).await, 2, "{name}");
    }
}

#[tokio::test]
async fn what_is_no_list_gives_nothing_and_is_said() {
    let newsroom = Newsroom::open().await;
    newsroom.site.put("/sitemap.xml", Reply::html("<html><body>404</body></html>"));
    newsroom.once().await;
    let note = newsroom.ask::<String>("select note from fallah.list").await;
    assert!(note.contains("HTML"), "{note}");
}

/// An index of these, each with this date.
fn index(newsroom: &Newsroom, paths: &[String], lastmod: &str) -> Reply {
    let entry = |path: &String| {
        format!("<sitemap><loc>{}</loc><lastmod>{lastmod}</lastmod></sitemap>", newsroom.site.url(path))
    };
    let entries: String = paths.iter().map(entry).collect();
    Reply::body("text/xml", format!("<sitemapindex>{entries}</sitemapindex>"))
}

#[tokio::test]
async fn indexes_that_name_each_other_are_read_once_in_a_poll() {
    let newsroom = Newsroom::open_with("delay = \"0\"\npoll_min = \"1s\"").await;
    let now = newsroom.ask::<String>("select to_json(now() + interval '1 hour') #>> '{}'").await;
    newsroom.site.put("/sitemap.xml", index(&newsroom, &["/second.xml".to_owned()], &now));
    newsroom.site.put("/second.xml", index(&newsroom, &["/sitemap.xml".to_owned()], &now));
    let visits =
        |newsroom: &Newsroom| (newsroom.site.visits_to("/sitemap.xml"), newsroom.site.visits_to("/second.xml"));
    newsroom.once().await;
    assert_eq!(visits(&newsroom), (1, 1));
    // Long since they were read, as far as they can tell.
    newsroom.sql("update fallah.list set read_at = read_at - interval '1 hour', lastmod = null").await;
    newsroom.once().await;
    assert_eq!(visits(&newsroom), (2, 2));
}

#[tokio::test]
async fn lists_stand_ten_deep_and_no_deeper() {
    let newsroom = Newsroom::open().await;
    newsroom.site.put("/sitemap.xml", index(&newsroom, &["/1.xml".to_owned()], ""));
    for depth in 1..20 {
        newsroom.site.put(&format!("/{depth}.xml"), index(&newsroom, &[format!("/{}.xml", depth + 1)], ""));
    }
    newsroom.once().await;
    assert_eq!((newsroom.site.visits_to("/10.xml"), newsroom.site.visits_to("/11.xml")), (1, 0));
}

#[tokio::test]
async fn an_index_without_an_end_is_read_up_to_a_bound() {
    let newsroom = Newsroom::open().await;
    let many: Vec<_> = (0..12_000).map(|nth| format!("/{nth}.xml")).collect();
    newsroom.site.put("/sitemap.xml", index(&newsroom, &many, ""));
    let crawler = newsroom.crawler(&[]).await;
    let read = async {
        eventually("the index is read", async || {
            newsroom.ask::<bool>("select read_at is not null from fallah.list where url like '%/sitemap.xml'").await
        })
        .await;
    };
    let _ = crawler.once(read).await;
    assert_eq!(newsroom.ask::<i64>("select count(*) from fallah.list").await, 10_000);
}

#[tokio::test]
async fn a_site_of_many_hosts_is_bounded_and_leaves_turns_to_the_others() {
    let mut newsroom = Newsroom::open().await;
    let other = Site::open().await;
    newsroom.settings(|settings| {
        let list = other.url("/weekly.xml");
        format!(
            "{settings}\n[[source]]\nname = \"weekly\"\nsitemaps = [\"{list}\"]\ndelay = \"0\"\npoll_min = \"1s\""
        )
    });
    other.sitemap("/weekly.xml", &[]);
    // All of them take a request and keep silent.
    let silent: Vec<_> = (0..150).map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    let port = |silent: &std::net::TcpListener| silent.local_addr().expect("it is bound").port();
    let pages: String =
        silent.iter().map(|host| format!("<url><loc>http://127.0.0.1:{}/a</loc></url>", port(host))).collect();
    newsroom.site.put("/sitemap.xml", Reply::body("text/xml", format!("<urlset>{pages}</urlset>")));
    let crawler = newsroom.crawler(&["--request-timeout", "45s"]).await;
    let crawl = tokio::spawn(async move { crawler.run(std::future::pending()).await });
    eventually("its share of turns is taken", async || {
        newsroom.ask::<i64>("select count(*) from fallah.host where busy_until > now()").await >= 8
    })
    .await;
    let begun = std::time::Instant::now();
    other.article("/late", "A headline that comes late", &text(1));
    other.sitemap("/weekly.xml", &["/late"]);
    eventually("the other source's article is told", async || newsroom.event_count().await == 1).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "it did not wait for those that keep silent");
    crawl.abort();
    assert_eq!(newsroom.ask::<i64>("select count(*) from fallah.host where source_name = 'daily'").await, 100);
}

#[tokio::test]
async fn an_index_that_names_itself_ends() {
    let newsroom = Newsroom::open().await;
    let index = |paths: &[&str]| {
        let entries: String =
            paths.iter().map(|path| format!("<sitemap><loc>{}</loc></sitemap>", newsroom.site.url(path))).collect();
        Reply::body("text/xml", format!("<sitemapindex>{entries}</sitemapindex>"))
    };
    newsroom.site.put("/sitemap.xml", index(&["/sitemap.xml", "/second.xml"]));
    newsroom.site.put("/second.xml", index(&["/sitemap.xml", "/third.xml"]));
    newsroom.site.sitemap("/third.xml", &["/a"]);
    newsroom.site.article("/a", "At the end of the circle", &text(1));
    newsroom.once().await;
    assert_eq!(newsroom.event_count().await, 1);
    assert_eq!(newsroom.site.visits_to("/sitemap.xml"), 1);
}
