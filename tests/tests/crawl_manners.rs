//! How sites are treated: their rules, their rate, their troubles.

use std::time::Duration;

use outbox_tests::{Child, Newsroom, Reply, Site, Visit, text};

/// From each visit to a page or list to the next one.
fn gaps(visits: &[Visit]) -> Vec<Duration> {
    visits.windows(2).map(|two| two[1].at.duration_since(two[0].at)).collect()
}

async fn with_pages(newsroom: Newsroom, count: u32) -> Newsroom {
    let paths: Vec<_> = (0..count).map(|nth| format!("/{nth}")).collect();
    newsroom.site.sitemap("/sitemap.xml", &paths.iter().map(String::as_str).collect::<Vec<_>>());
    for (nth, path) in (0..).zip(&paths) {
        newsroom.site.article(path, &format!("Headline number {nth}"), &text(nth));
    }
    newsroom
}

/// What the site's own log says must be at least this far apart; our clock and its are read some milliseconds apart.
fn assert_apart(visits: &[Visit], delay: Duration) {
    let tolerance = delay / 10;
    let gaps = gaps(visits);
    assert!(gaps.iter().all(|gap| *gap + tolerance >= delay), "{gaps:?}");
}

#[tokio::test]
async fn the_rate_is_kept_by_the_sites_own_log() {
    let newsroom = with_pages(Newsroom::open_with("delay = \"200ms\"").await, 10).await;
    newsroom.once().await;
    let visits = newsroom.site.visits();
    assert_eq!(visits.len(), 12, "robots.txt, the sitemap and ten pages");
    assert_apart(&visits, Duration::from_millis(200));
}

#[tokio::test]
async fn two_crawlers_keep_one_rate_and_fetch_no_page_twice() {
    let newsroom = with_pages(Newsroom::open_with("delay = \"100ms\"").await, 20).await;
    let (one, other) = tokio::join!(newsroom.crawler(&[]), newsroom.crawler(&[]));
    let (one, other) = tokio::join!(one.once(std::future::pending()), other.once(std::future::pending()));
    one.and(other).expect("Postgres is there");
    assert_apart(&newsroom.site.visits(), Duration::from_millis(100));
    for nth in 0..20 {
        assert_eq!(newsroom.site.visits_to(&format!("/{nth}")), 1);
    }
    assert_eq!(newsroom.event_count().await, 20);
}

#[tokio::test]
async fn a_host_that_another_one_is_just_asking_for_the_first_time_is_waited_for() {
    let newsroom = with_pages(Newsroom::open().await, 2).await;
    let crawler = newsroom.crawler(&[]).await;
    let mut other = newsroom.pool.begin().await.expect("Postgres is there");
    sqlx::query("select from fallah.host for update").execute(&mut *other).await.expect("Postgres is there");
    let crawl = async { crawler.once(std::future::pending()).await.expect("nothing is wrong") };
    let release = async {
        tokio::time::sleep(Duration::from_millis(300)).await; // some looks at a locked row
        other.rollback().await.expect("Postgres is there");
    };
    tokio::join!(crawl, release);
    assert_eq!(newsroom.event_count().await, 2);
}

#[tokio::test]
async fn a_longer_crawl_delay_is_obeyed() {
    let newsroom = with_pages(Newsroom::open().await, 5).await;
    newsroom.site.put("/robots.txt", Reply::body("text/plain", "User-agent: *\nCrawl-delay: 0.3\n"));
    newsroom.once().await;
    assert_apart(&newsroom.site.visits(), Duration::from_millis(300));
}

#[tokio::test]
async fn what_robots_forbids_is_never_asked_for() {
    let newsroom = with_pages(Newsroom::open().await, 4).await;
    let robots = "User-agent: *\nDisallow: /\n\nUser-agent: Fallah\nDisallow: /1\nDisallow: /2\nAllow: /2$\n";
    newsroom.site.put("/robots.txt", Reply::body("text/plain", robots));
    newsroom.once().await;
    assert_eq!(newsroom.site.visits_to("/1"), 0);
    assert_eq!(newsroom.site.visits_to("/2"), 1);
    assert_eq!(newsroom.event_count().await, 3);
    let outcome = newsroom.ask::<String>("select outcome from fallah.page where url like '%/1'").await;
    assert!(outcome.contains("Disallow: /1"), "{outcome}");
}

#[tokio::test]
async fn a_site_whose_robots_cannot_be_had_is_left_alone() {
    let newsroom = with_pages(Newsroom::open().await, 4).await;
    newsroom.site.put("/robots.txt", Reply::status(503));
    newsroom.once().await;
    let paths: Vec<_> = newsroom.site.visits().into_iter().map(|visit| visit.path).collect();
    assert_eq!(paths, ["/robots.txt"]);
}

#[tokio::test]
async fn a_single_crawl_that_could_not_read_a_site_says_so_and_fails() {
    let newsroom = with_pages(Newsroom::open().await, 1).await;
    newsroom.site.put("/robots.txt", Reply::status(503));
    let mut crawl = Child::spawn(newsroom.command("once", &[]));
    assert_eq!(crawl.wait().await, 1);
    assert!(crawl.log().contains("its robots.txt cannot be had"), "{}", crawl.log());
    newsroom.site.put("/robots.txt", Reply::status(404));
    newsroom.sql("update fallah.host set open_until = null, robots_until = null").await;
    let mut crawl = Child::spawn(newsroom.command("once", &[]));
    assert_eq!(crawl.wait().await, 0);
}

#[tokio::test]
async fn who_asks_for_a_wait_instead_of_its_robots_is_waited_for() {
    for status in [429, 503] {
        let newsroom = with_pages(Newsroom::open().await, 1).await;
        newsroom.site.put("/robots.txt", Reply::status(status).header("retry-after", "7200"));
        newsroom.once().await;
        let wait = "select round(extract(epoch from open_until - now()) / 60)::int from fallah.host";
        assert_eq!(newsroom.ask::<i32>(wait).await, 120);
        // Also where an older copy tells what is allowed.
        newsroom
            .sql(
                "update fallah.host set robots = 'User-agent: x', open_until = null, next_at = '-infinity',
                                        robots_until = null, robots_holds = null",
            )
            .await;
        newsroom.once().await;
        assert_eq!(newsroom.ask::<i32>(wait).await, 120);
        assert_eq!(newsroom.site.visits().len(), 2);
    }
}

#[tokio::test]
async fn redirects_of_robots_keep_the_rate() {
    let newsroom = with_pages(Newsroom::open_with("delay = \"300ms\"").await, 1).await;
    newsroom.site.put("/robots.txt", Reply::moved("/robots-2.txt"));
    newsroom.site.put("/robots-2.txt", Reply::moved("/robots-3.txt"));
    newsroom.site.put("/robots-3.txt", Reply::body("text/plain", "User-agent: *\nDisallow: /x\n"));
    newsroom.once().await;
    assert_eq!(newsroom.site.visits().len(), 5);
    assert_apart(&newsroom.site.visits(), Duration::from_millis(300));
}

#[tokio::test]
async fn redirects_of_robots_keep_the_rate_of_the_host_they_lead_to() {
    let other = Site::open().await;
    other.put("/robots.txt", Reply::body("text/plain", "User-agent: *\nDisallow: /x\n"));
    let mut newsroom = with_pages(Newsroom::open_with("delay = \"500ms\"").await, 1).await;
    newsroom
        .settings(|settings| settings.replace("sitemaps = [", &format!("sitemaps = [\"{}\", ", other.url("/s.xml"))));
    other.sitemap("/s.xml", &["/0", "/1"]);
    newsroom.site.put("/robots.txt", Reply::moved(&other.url("/robots.txt")));
    newsroom.once().await;
    assert_eq!(other.visits_to("/robots.txt"), 2);
    assert_apart(&other.visits(), Duration::from_millis(500));
}

#[tokio::test]
async fn dates_that_have_lied_are_measured_anew_some_at_a_time() {
    let newsroom = Newsroom::open_with("delay = \"0\"").await;
    let paths: Vec<_> = (0..30).map(|nth| format!("/{nth}")).collect();
    let dated = |day: &'static str| paths.iter().map(|path| (path.as_str(), Some(day))).collect::<Vec<_>>();
    newsroom.site.dated_sitemap("/sitemap.xml", &dated("2026-01-01T00:00:00Z"));
    let write = |edition: &str| {
        for path in &paths {
            newsroom.site.article(path, &format!("{edition} of {path}"), &text(1));
        }
    };
    write("First edition");
    newsroom.once().await;
    newsroom.sql("update fallah.source set lastmod_false = 50, lastmod_at = now()").await;
    newsroom.site.dated_sitemap("/sitemap.xml", &dated("2026-02-01T00:00:00Z"));
    write("Second edition");
    newsroom.site.forget();
    newsroom.once().await;
    assert_eq!(newsroom.site.visits().len(), 1, "they are not believed");
    newsroom
        .sql("update fallah.source set lastmod_at = now() - interval '8 days'; update fallah.list set hash = null")
        .await;
    newsroom.once().await;
    assert_eq!(newsroom.site.visits().len(), 2 + 20, "some are asked whether they are true by now");
    newsroom.sql("update fallah.list set hash = null").await;
    newsroom.once().await;
    assert_eq!(newsroom.site.visits().len(), 23 + 10, "they are, so the others are believed");
}

#[tokio::test]
async fn robots_is_asked_for_once_a_day() {
    let newsroom = with_pages(Newsroom::open().await, 2).await;
    newsroom.once().await;
    newsroom.again().await;
    assert_eq!(newsroom.site.visits_to("/robots.txt"), 1);
    newsroom.sql("update fallah.host set robots_until = clock_timestamp()").await;
    newsroom.again().await;
    assert_eq!(newsroom.site.visits_to("/robots.txt"), 2);
}

#[tokio::test]
async fn a_site_without_lists_names_them_in_its_robots() {
    let newsroom = Newsroom::open_home().await;
    let robots = format!("Sitemap: {}\n", newsroom.site.url("/index.xml"));
    newsroom.site.put("/robots.txt", Reply::body("text/plain", robots));
    let index =
        format!("<sitemapindex><sitemap><loc>{}</loc></sitemap></sitemapindex>", newsroom.site.url("/news.xml"));
    newsroom.site.put("/index.xml", Reply::body("text/xml", index));
    newsroom.site.sitemap("/news.xml", &["/a"]);
    newsroom.site.article("/a", "Found through robots", &text(1));
    newsroom.once().await;
    assert_eq!(newsroom.event_count().await, 1);
}

#[tokio::test]
async fn who_asks_to_wait_is_waited_for() {
    for status in [429, 503] {
        let newsroom = with_pages(Newsroom::open().await, 3).await;
        newsroom.site.put("/1", Reply::status(status).header("retry-after", "1"));
        newsroom.once().await;
        let visits = newsroom.site.visits();
        let busy = visits.iter().position(|visit| visit.path == "/1").expect("it was asked for");
        assert!(gaps(&visits)[busy] >= Duration::from_millis(990), "nothing else was asked for meanwhile, either");
        assert_eq!(newsroom.event_count().await, 2, "one page that is busy does not keep the others");
        newsroom.site.article("/1", "Headline number 1", &text(1));
        newsroom.again().await;
        assert_eq!(newsroom.event_count().await, 3);
    }
}

#[tokio::test]
async fn redirects_without_an_end_keep_nobody_else_waiting() {
    let newsroom = with_pages(Newsroom::open().await, 3).await;
    for hop in 0..20 {
        newsroom.site.put(&format!("/hop-{hop}"), Reply::moved(&format!("/hop-{}", hop + 1)));
    }
    newsroom.site.sitemap("/sitemap.xml", &["/hop-0", "/0", "/1", "/2"]);
    newsroom.once().await;
    assert_eq!(newsroom.event_count().await, 3);
    assert_eq!((newsroom.site.visits_to("/hop-5"), newsroom.site.visits_to("/hop-6")), (1, 0));
}

#[tokio::test]
async fn a_host_that_fails_again_and_again_is_left_alone() {
    let newsroom = with_pages(Newsroom::open().await, 12).await;
    for nth in 0..12 {
        newsroom.site.put(&format!("/{nth}"), Reply::status(500));
    }
    newsroom.once_with(&["--retry-delay-min", "2m"]).await;
    let pages = newsroom.site.visits().iter().filter(|visit| !visit.path.contains('.')).count();
    assert_eq!(pages, 5, "then the circuit is open");
    assert_eq!(newsroom.ask::<i64>("select count(*) from fallah.host where open_until > clock_timestamp()").await, 1);
}

#[tokio::test]
async fn who_asks_again_and_again_for_no_wait_at_all_is_left_alone() {
    let newsroom = with_pages(Newsroom::open().await, 12).await;
    for nth in 0..12 {
        newsroom.site.put(&format!("/{nth}"), Reply::status(503).header("retry-after", "0"));
    }
    newsroom.once_with(&["--retry-delay-min", "2m"]).await;
    let pages = newsroom.site.visits().iter().filter(|visit| !visit.path.contains('.')).count();
    assert_eq!(pages, 5, "then the circuit is open");
}

#[tokio::test]
async fn a_single_crawl_that_could_not_read_a_list_says_so_and_fails() {
    let newsroom = Newsroom::open().await;
    newsroom.site.put("/sitemap.xml", Reply::status(500));
    let mut crawl = Child::spawn(newsroom.command("once", &[]));
    assert_eq!(crawl.wait().await, 1);
    assert!(crawl.log().contains("lists could not be read: 1"), "{}", crawl.log());
}

#[tokio::test]
async fn pages_of_a_source_that_is_not_read_leave_their_host_to_the_others() {
    let newsroom = with_pages(Newsroom::open().await, 3).await;
    newsroom.once().await;
    newsroom.sql("insert into fallah.source (name) values ('former')").await;
    newsroom
        .sql(
            "insert into fallah.page (url, source_name, origin, rank, newest_at, ready)
             select origin || '/former/' || n, 'former', origin, 3, now(), true
               from fallah.host, generate_series(1, 50) n",
        )
        .await;
    newsroom.site.forget();
    newsroom.again().await;
    assert_eq!(newsroom.site.visits().iter().filter(|visit| visit.path.contains("former")).count(), 0);
    assert_eq!(newsroom.site.visits().iter().filter(|visit| !visit.path.contains('.')).count(), 3);
}

#[tokio::test]
async fn news_come_before_what_is_old() {
    let newsroom = Newsroom::open().await;
    let now = newsroom.ask::<String>("select to_json(now() - interval '1 hour') #>> '{}'").await;
    newsroom.site.dated_sitemap(
        "/sitemap.xml",
        &[("/older", Some("2020-01-01")), ("/old", Some("2021-01-01")), ("/undated", None), ("/news", Some(&now))],
    );
    for path in ["/older", "/old", "/undated", "/news"] {
        newsroom.site.article(path, &format!("Headline of {path}"), &text(1));
    }
    newsroom.once().await;
    let pages: Vec<_> =
        newsroom.site.visits().into_iter().map(|visit| visit.path).filter(|path| !path.contains('.')).collect();
    assert_eq!(pages, ["/news", "/undated", "/old", "/older"]);
}

#[tokio::test]
async fn a_source_whose_dates_lie_is_no_longer_believed() {
    let newsroom = Newsroom::open().await;
    newsroom.site.article("/a", "The same headline", &text(1));
    for day in 1..=23 {
        newsroom.site.dated_sitemap("/sitemap.xml", &[("/a", Some(&format!("2026-01-{day:02}T00:00:00Z")))]);
        newsroom.once_with(&["--recheck-min", "1d"]).await;
    }
    assert_eq!(newsroom.site.visits_to("/a"), 21, "once, and twenty times for nothing");
}

#[tokio::test]
async fn a_list_that_does_not_change_is_asked_for_more_seldom() {
    let newsroom = with_pages(Newsroom::open_with("delay = \"0\"\npoll_min = \"2m\"").await, 1).await;
    let interval = "select interval_s from fallah.list";
    newsroom.once().await;
    assert_eq!(newsroom.ask::<i32>(interval).await, 120);
    newsroom.once().await;
    assert_eq!(newsroom.ask::<i32>(interval).await, 180);
    newsroom.site.article("/new", "Another headline", &text(2));
    newsroom.site.sitemap("/sitemap.xml", &["/0", "/new"]);
    newsroom.once().await;
    assert_eq!(newsroom.ask::<i32>(interval).await, 120);
    assert_eq!(newsroom.event_count().await, 2);
}

#[tokio::test]
async fn we_say_who_we_are_and_whom_to_write_to() {
    let newsroom = with_pages(Newsroom::open().await, 1).await;
    newsroom.once_with(&["--contact", "https://example.org/bot"]).await;
    for visit in newsroom.site.visits() {
        let agent = visit.headers.get("user-agent").expect("it is said");
        assert!(agent.starts_with("Fallah/") && agent.contains("https://example.org/bot"), "{agent}");
    }
}
