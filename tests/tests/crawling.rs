//! From a page to an item and its event: what is new, changed, moved, gone and back again.

use contract::Removal;
use outbox_tests::{Child, Newsroom, Reply, Signal, article, eventually, text};

/// One article that has been read.
async fn newsroom_with_one() -> Newsroom {
    let newsroom = Newsroom::open().await;
    newsroom.site.sitemap("/sitemap.xml", &["/a"]);
    newsroom.site.article("/a", "The first headline", &text(1));
    newsroom.once().await;
    newsroom
}

/// So many articles that have been read.
async fn newsroom_with(count: u32) -> Newsroom {
    let newsroom = Newsroom::open().await;
    let paths: Vec<_> = (0..count).map(|nth| format!("/{nth}")).collect();
    newsroom.site.sitemap("/sitemap.xml", &paths.iter().map(String::as_str).collect::<Vec<_>>());
    for (nth, path) in (0..).zip(&paths) {
        newsroom.site.article(path, &format!("Headline number {nth}"), &text(nth));
    }
    newsroom.once().await;
    newsroom
}

#[tokio::test]
async fn a_new_page_becomes_an_item_and_an_event() {
    let newsroom = newsroom_with_one().await;
    assert_eq!(newsroom.event_count().await, 1);
    let event = newsroom.upserted().await;
    assert_eq!(event.article.title, "The first headline");
    assert_eq!(event.article.authors[0].name, "Salma Haddad");
    assert_eq!(event.article.body, text(1));
    assert_eq!(event.language.as_deref(), Some("en"));
    assert_eq!(event.origin.source_url, newsroom.site.url("/a"));
    assert_eq!((event.origin.source_name.as_str(), event.origin.version), ("daily", 1));
    assert_eq!(newsroom.ask::<i64>("select count(*) from outbox where type = 'author.upserted'").await, 1);
    assert_eq!(newsroom.ask::<String>("select distinct stream from outbox").await, "content:scraped");
    newsroom.assert_told().await;
}

#[tokio::test]
async fn an_unchanged_page_gives_neither_item_nor_event() {
    let newsroom = newsroom_with_one().await;
    let before = newsroom.ask::<String>("select i::text from fallah.item i").await;
    let crawler = newsroom.again().await;
    assert_eq!(newsroom.site.visits_to("/a"), 2, "it was looked at again");
    assert_eq!(crawler.count().unchanged.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert_eq!(newsroom.event_count().await, 1);
    assert_eq!(newsroom.ask::<String>("select i::text from fallah.item i").await, before);
}

#[tokio::test]
async fn what_surrounds_an_article_may_change_without_an_event() {
    let newsroom = newsroom_with_one().await;
    let page = article("The first headline", "Salma Haddad", &text(1)).replace("Something else", "Yet another thing");
    newsroom.site.put("/a", Reply::html(page));
    newsroom.again().await;
    assert_eq!(newsroom.event_count().await, 1);
}

#[tokio::test]
async fn a_page_that_says_not_modified_is_not_read_again() {
    let newsroom = Newsroom::open().await;
    newsroom.site.sitemap("/sitemap.xml", &["/a"]);
    let page = article("A headline", "Salma Haddad", &text(1));
    newsroom.site.put("/a", Reply::html(page).header("etag", "\"one\""));
    newsroom.once().await;
    newsroom.again().await;
    let asked = newsroom.site.visits().pop().expect("a visit");
    assert_eq!(asked.headers.get("if-none-match").map(String::as_str), Some("\"one\""));
    assert_eq!(newsroom.event_count().await, 1);
    assert_eq!(newsroom.ask::<String>("select outcome from fallah.page").await, "not modified");
}

#[tokio::test]
async fn an_edited_page_is_the_next_version() {
    let newsroom = newsroom_with_one().await;
    newsroom.site.article("/a", "A better headline", &text(1));
    newsroom.again().await;
    let event = newsroom.upserted().await;
    assert_eq!((event.article.title.as_str(), event.origin.version), ("A better headline", 2));
    newsroom.assert_told().await;
}

#[tokio::test]
async fn an_edit_that_is_taken_back_is_three_versions() {
    let newsroom = newsroom_with_one().await;
    for title in ["A better headline", "The first headline"] {
        newsroom.site.article("/a", title, &text(1));
        newsroom.again().await;
    }
    let hashes: Vec<_> =
        newsroom.events().await.into_iter().map(|(_, event)| event["content_hash"].clone()).collect();
    assert_eq!(hashes.len(), 3);
    assert!(hashes[0] == hashes[2] && hashes[0] != hashes[1]);
    newsroom.assert_told().await;
}

#[tokio::test]
async fn a_newer_lastmod_brings_a_page_back_to_the_front() {
    let newsroom = Newsroom::open().await;
    let old = Some("2026-01-01T00:00:00Z");
    newsroom.site.dated_sitemap("/sitemap.xml", &[("/a", old), ("/b", old)]);
    newsroom.site.article("/a", "Headline of the first", &text(1));
    newsroom.site.article("/b", "Headline of the second", &text(2));
    newsroom.once_with(&["--recheck-min", "1d"]).await;
    newsroom.site.article("/a", "Edited headline of the first", &text(1));
    newsroom.site.dated_sitemap("/sitemap.xml", &[("/a", Some("2026-01-02T00:00:00Z")), ("/b", old)]);
    newsroom.once_with(&["--recheck-min", "1d"]).await;
    assert_eq!((newsroom.site.visits_to("/a"), newsroom.site.visits_to("/b")), (2, 1));
    assert_eq!(newsroom.upserted().await.origin.version, 2);
}

#[tokio::test]
async fn a_page_that_says_it_is_gone_is_deleted_at_once() {
    let newsroom = newsroom_with(4).await;
    newsroom.site.put("/0", Reply::status(410));
    newsroom.again().await;
    let event = newsroom.deleted().await;
    assert_eq!((event.reason, event.origin.version), (Removal::Gone, 2));
    assert_eq!(event.origin.source_url, newsroom.site.url("/0"));
    newsroom.assert_told().await;
    newsroom.site.forget();
    newsroom.again().await;
    assert_eq!(newsroom.site.visits_to("/0"), 0, "who says gone is not asked again");
}

#[tokio::test]
async fn a_page_that_is_missing_is_deleted_after_three_times_and_two_days() {
    let newsroom = newsroom_with(4).await;
    newsroom.site.put("/0", Reply::status(404));
    newsroom.again().await;
    newsroom.again().await;
    assert_eq!(newsroom.event_count().await, 4, "twice is not enough");
    newsroom.again().await;
    assert_eq!(newsroom.event_count().await, 4, "three times at once is not enough");
    newsroom.sql("update fallah.page set missing_since = missing_since - interval '48 hours'").await;
    newsroom.again().await;
    assert_eq!(newsroom.deleted().await.reason, Removal::NotFound);
    newsroom.assert_told().await;
}

#[tokio::test]
async fn errors_of_a_server_delete_nothing() {
    let newsroom = newsroom_with(3).await;
    for status in [500, 502, 503, 403, 429, 451] {
        newsroom.site.put("/0", Reply::status(status));
        newsroom.sql("update fallah.host set open_until = null").await;
        newsroom.all_due().await;
        newsroom.once_with(&["--retry-delay-min", "2m"]).await;
    }
    assert_eq!(newsroom.event_count().await, 3);
    assert_eq!(newsroom.ask::<i64>("select count(*) from fallah.page where vanished_at is not null").await, 0);
}

#[tokio::test]
async fn a_page_that_comes_back_is_there_again() {
    let newsroom = newsroom_with(4).await;
    newsroom.site.put("/0", Reply::status(410));
    newsroom.again().await;
    assert_eq!(newsroom.deleted().await.origin.version, 2);
    newsroom.site.article("/0", "Headline number 0", &text(0));
    newsroom.sql("update fallah.page set due_at = clock_timestamp()").await;
    newsroom.once().await;
    assert_eq!(newsroom.upserted().await.origin.version, 3);
    newsroom.assert_told().await;
}

#[tokio::test]
async fn what_comes_back_or_is_read_by_better_rules_is_not_kept_out_by_its_validators() {
    let mut newsroom = newsroom_with(4).await;
    let page = Reply::html(article("A headline", "Salma Haddad", &text(9))).header("etag", "\"same\"");
    newsroom.site.put("/0", page.clone());
    newsroom.again().await;
    newsroom.site.put("/0", Reply::status(410));
    newsroom.again().await;
    assert_eq!(newsroom.deleted().await.origin.version, 3);
    newsroom.site.put("/0", page);
    newsroom.sql("update fallah.page set due_at = clock_timestamp()").await;
    newsroom.once().await;
    assert_eq!(newsroom.upserted().await.origin.version, 4);
    let odd = "<html><body><div class='x'>Odd</div><div class='y'>Few words.</div></body></html>";
    newsroom.site.put("/1", Reply::html(odd).header("etag", "\"odd\""));
    newsroom.again().await;
    newsroom.settings(|settings| format!("{settings}[source.extract]\ntitle = \".x\"\nbody = \".y\"\n"));
    newsroom.again().await;
    assert_eq!(
        newsroom.ask::<i64>("select count(*) from fallah.item where payload #>> '{article,title}' = 'Odd'").await,
        1
    );
}

#[tokio::test]
async fn when_most_pages_vanish_nothing_is_deleted_and_the_source_halts() {
    let newsroom = newsroom_with(8).await;
    for nth in 0..5 {
        newsroom.site.put(&format!("/{nth}"), Reply::status(410));
    }
    newsroom.again().await;
    assert_eq!(newsroom.event_count().await, 8, "nothing was deleted");
    assert_eq!(newsroom.ask::<String>("select halted_reason from fallah.source").await, "5 of 8 pages have vanished");
    newsroom.site.forget();
    newsroom.again().await;
    assert_eq!(newsroom.site.visits().len(), 0, "a source that halts is not asked");
}

/// A crawl that runs while a test goes on; it ends with the test.
async fn running(newsroom: &Newsroom) -> tokio::task::JoinHandle<Result<(), fallah::Error>> {
    let crawler = newsroom.crawler(&[]).await;
    tokio::spawn(async move { crawler.run(std::future::pending()).await })
}

const DELETED: &str = "select count(*) from fallah.item where deleted_reason is not null";
const HALTED: &str = "select halted_at is not null from fallah.source";

/// Sets these pages due, and waits until they have been looked at and what follows from that has followed.
async fn looked_at(newsroom: &Newsroom, paths: &[String]) {
    let urls: Vec<_> = paths.iter().map(|path| format!("'{}'", newsroom.site.url(path))).collect();
    let these = format!("url in ({})", urls.join(", "));
    newsroom.sql(&format!("update fallah.page set due_at = clock_timestamp() where {these}")).await;
    let settled = format!(
        "select (select halted_at is not null from fallah.source)
             or bool_and(due_at > clock_timestamp() + interval '10 minutes' and not ready
                         and (vanished_at is null
                              or exists (select from fallah.item i
                                          where i.source_url = p.source_url and deleted_reason is not null)))
           from fallah.page p where {these}"
    );
    eventually("they are looked at", async || newsroom.ask::<bool>(&settled).await).await;
}

#[tokio::test]
async fn a_site_that_breaks_slowly_halts_before_most_of_it_is_deleted() {
    let newsroom = newsroom_with(60).await;
    let crawl = running(&newsroom).await;
    let paths: Vec<_> = (0..60).map(|nth| format!("/{nth}")).collect();
    // Sixty in a hundred are gone, some at a time, each time with a look at what has vanished.
    for five in paths.chunks(5) {
        for path in &five[..3] {
            newsroom.site.put(path, Reply::status(410));
        }
        looked_at(&newsroom, five).await;
        if newsroom.ask::<bool>(HALTED).await {
            break;
        }
    }
    crawl.abort();
    assert!(newsroom.ask::<bool>(HALTED).await, "it goes on");
    let deleted = newsroom.ask::<i64>(DELETED).await;
    assert!((1..15).contains(&deleted), "{deleted} were deleted before that");
}

#[tokio::test]
async fn a_quiet_site_that_breaks_over_days_halts_all_the_same() {
    let newsroom = newsroom_with(20).await;
    let crawl = running(&newsroom).await;
    let paths: Vec<_> = (0..20).map(|nth| format!("/{nth}")).collect();
    // Two looks a day: no day by itself tells anything.
    for two in paths.chunks(2) {
        for path in two {
            newsroom.site.put(path, Reply::status(410));
        }
        looked_at(&newsroom, two).await;
        if newsroom.ask::<bool>(HALTED).await {
            break;
        }
        newsroom.sql("update fallah.page set fetched_at = fetched_at - interval '25 hours'").await;
    }
    crawl.abort();
    assert!(newsroom.ask::<bool>(HALTED).await, "it goes on");
    assert!(newsroom.ask::<i64>(DELETED).await < 6);
    newsroom.assert_told().await;
}

#[tokio::test]
async fn a_few_removals_a_day_halt_nothing() {
    let newsroom = newsroom_with(30).await;
    let crawl = running(&newsroom).await;
    let paths: Vec<_> = (0..24).map(|nth| format!("/{nth}")).collect();
    for six in paths.chunks(6) {
        newsroom.site.put(&six[0], Reply::status(410));
        newsroom.site.put(&six[1], Reply::status(410));
        looked_at(&newsroom, six).await;
    }
    crawl.abort();
    assert_eq!((newsroom.ask::<i64>(DELETED).await, newsroom.ask::<bool>(HALTED).await), (8, false));
}

#[tokio::test]
async fn a_site_that_sends_everybody_to_one_page_has_not_moved_its_articles() {
    let newsroom = newsroom_with(20).await;
    newsroom.site.article("/notice", "Everything is somewhere else now", &text(99));
    for nth in 0..8 {
        newsroom.site.put(&format!("/{nth}"), Reply::moved("/notice"));
    }
    newsroom.again().await;
    newsroom.again().await;
    newsroom.again().await;
    assert_eq!(newsroom.ask::<i64>(DELETED).await, 0);
    for nth in 8..12 {
        newsroom.site.put(&format!("/{nth}"), Reply::moved("/notice"));
    }
    newsroom.again().await;
    // Nothing of it would be deleted, so there is nothing to stop for; a person sees them in `fallah sources`.
    assert_eq!((newsroom.ask::<i64>(DELETED).await, newsroom.ask::<bool>(HALTED).await), (0, false));
    assert_eq!(newsroom.ask::<i64>("select vanished from fallah.sources").await, 12);
    newsroom.assert_told().await;
}

#[tokio::test]
async fn an_article_that_is_said_to_stand_elsewhere_is_deleted_as_one_that_was_redirected() {
    let newsroom = newsroom_with(4).await;
    newsroom.site.article("/new-home", "Headline number 0", &text(0));
    let canonical = format!("<link rel=\"canonical\" href=\"{}\"></head>", newsroom.site.url("/new-home"));
    let page = article("Headline number 0", "Salma Haddad", &text(0)).replace("</head>", &canonical);
    newsroom.site.put("/0", Reply::html(page));
    newsroom.site.put("/1", Reply::moved("/new-home"));
    newsroom.again().await;
    let waits = "select count(distinct due_at - fetched_at < interval '31 days')::int from fallah.page
                  where url like '%/0' or url like '%/1'";
    assert_eq!(newsroom.ask::<i32>(waits).await, 1, "both wait as long");
    newsroom.again().await;
    let reasons =
        "select array_agg(deleted_reason order by source_url) from fallah.item where deleted_reason is not null";
    assert_eq!(newsroom.ask::<Vec<String>>(reasons).await, ["moved", "moved"]);
    newsroom.assert_told().await;
}

#[tokio::test]
async fn a_single_crawl_deletes_everything_that_has_vanished() {
    let newsroom = newsroom_with(1).await;
    newsroom
        .sql(
            "insert into fallah.page (url, source_name, origin, rank, newest_at, lease, fetched_at, source_url)
             select 'https://example.org/' || n, 'daily', origin, 0, now(), 2, now(), 'https://example.org/' || n
               from fallah.host, generate_series(1, 2000) n;
             insert into fallah.item (source_url, source_name, version, content_hash, raw_hash, payload, discovered_at, fetched_at, told_version)
             select source_url, 'daily', 1, '', '', '{}', now(), now(), 1 from fallah.page where lease = 2;
             update fallah.page set vanished_at = now(), vanished_reason = 'gone_410', fetched_at = now() - interval '2 hours'
              where url like '%.org/%' and substr(url, 21)::int <= 600",
        )
        .await;
    newsroom.once().await;
    assert_eq!(newsroom.ask::<Option<String>>("select halted_reason from fallah.source").await, None);
    assert_eq!(newsroom.ask::<i64>(DELETED).await, 600);
}

#[tokio::test]
async fn who_refuses_a_page_is_asked_again_in_an_hour_then_two() {
    let newsroom = newsroom_with_one().await;
    newsroom.site.put("/a", Reply::status(403));
    for hours in [1, 2, 4] {
        newsroom.again().await;
        let wait = "select round(extract(epoch from due_at - fetched_at) / 3600)::int from fallah.page";
        assert_eq!(newsroom.ask::<i32>(wait).await, hours);
    }
    assert_eq!(newsroom.event_count().await, 1);
}

#[tokio::test]
async fn a_halted_source_goes_on_as_a_person_decides() {
    for delete in [true, false] {
        let newsroom = newsroom_with(8).await;
        for nth in 0..5 {
            newsroom.site.put(&format!("/{nth}"), Reply::status(410));
        }
        newsroom.again().await;
        let mut resume = newsroom.command("resume", &[]);
        resume = std::process::Command::new(resume.get_program());
        resume
            .args(["resume", "daily"])
            .args(delete.then_some("--delete"))
            .env("DATABASE_URL", &newsroom.database_url);
        let said = resume.output().expect("it runs");
        assert!(said.status.success(), "{said:?}");
        for nth in 0..5 {
            newsroom.site.article(&format!("/{nth}"), &format!("Headline number {nth}"), &text(nth));
        }
        newsroom.again().await;
        let deleted = newsroom.ask::<i64>("select count(*) from outbox where type = 'article.deleted'").await;
        assert_eq!(deleted, if delete { 5 } else { 0 });
        assert_eq!(newsroom.ask::<i64>("select count(*) from fallah.source where halted_at is null").await, 1);
        newsroom.assert_told().await;
    }
}

#[tokio::test]
async fn one_page_under_many_addresses_is_one_item() {
    let newsroom = Newsroom::open().await;
    newsroom.site.sitemap("/sitemap.xml", &["/a", "/a?utm_source=mail", "/old", "/amp/a"]);
    newsroom.site.article("/a", "The one headline", &text(1));
    newsroom.site.put("/old", Reply::moved("/a"));
    let canonical = format!("<link rel=\"canonical\" href=\"{}\">", newsroom.site.url("/a"));
    let amp =
        article("The one headline", "Salma Haddad", &text(1)).replace("</head>", &format!("{canonical}</head>"));
    newsroom.site.put("/amp/a", Reply::html(amp));
    newsroom.once().await;
    assert_eq!(newsroom.ask::<i64>("select count(*) from fallah.item").await, 1);
    for _ in 0..2 {
        newsroom.again().await;
    }
    assert_eq!(
        newsroom.ask::<i64>("select version from fallah.item").await,
        1,
        "no two pages take turns in changing it"
    );
    newsroom.assert_told().await;
}

#[tokio::test]
async fn an_article_that_moves_for_good_is_deleted_where_it_was() {
    let newsroom = newsroom_with(4).await;
    newsroom.site.article("/new-home", "Headline number 0", &text(0));
    newsroom.site.put("/0", Reply::moved("/new-home"));
    newsroom.again().await;
    assert_eq!(newsroom.upserted().await.origin.source_url, newsroom.site.url("/new-home"));
    newsroom.again().await;
    let event = newsroom.deleted().await;
    assert_eq!((event.reason, event.origin.source_url), (Removal::Moved, newsroom.site.url("/0")));
    newsroom.assert_told().await;
}

#[tokio::test]
async fn a_canonical_address_that_leads_nowhere_is_not_believed() {
    let newsroom = Newsroom::open().await;
    newsroom.site.sitemap("/sitemap.xml", &["/a"]);
    let canonical = format!("<link rel=\"canonical\" href=\"{}\"></head>", newsroom.site.url("/nowhere"));
    let page = article("A headline", "Salma Haddad", &text(1)).replace("</head>", &canonical);
    newsroom.site.put("/a", Reply::html(page));
    newsroom.once().await;
    newsroom.again().await;
    assert_eq!(newsroom.upserted().await.origin.source_url, newsroom.site.url("/a"));
}

#[tokio::test]
async fn a_source_that_is_tried_out_publishes_nothing() {
    let newsroom = Newsroom::open_with("delay = \"0\"\npublish_events = false").await;
    newsroom.site.sitemap("/sitemap.xml", &["/a"]);
    newsroom.site.article("/a", "A quiet headline", &text(1));
    newsroom.once().await;
    assert_eq!(newsroom.ask::<i64>("select count(*) from fallah.item").await, 1);
    assert_eq!(newsroom.ask::<i64>("select count(*) from outbox").await, 0);
}

#[tokio::test]
async fn what_was_written_while_a_source_was_tried_out_is_told_afterwards() {
    let mut newsroom = Newsroom::open_with("delay = \"0\"\npublish_events = false").await;
    newsroom.site.sitemap("/sitemap.xml", &["/a"]);
    newsroom.site.put("/a", Reply::html(article("A headline", "Salma Haddad", &text(1))).header("etag", "\"one\""));
    newsroom.once().await;
    newsroom.settings(|settings| settings.replace("false", "true"));
    newsroom.once().await;
    assert_eq!(newsroom.upserted().await.origin.version, 1);
    assert_eq!(newsroom.ask::<i64>("select count(*) from outbox where type = 'author.upserted'").await, 1);
    newsroom.again().await;
    assert_eq!(newsroom.event_count().await, 1);
    newsroom.assert_told().await;
}

#[tokio::test]
async fn a_source_that_is_taken_out_and_put_back_goes_on() {
    let mut newsroom = newsroom_with_one().await;
    newsroom.settings(|settings| settings.replace("daily", "weekly").replace("/sitemap.xml", "/other.xml"));
    newsroom.site.article("/a", "A better headline", &text(1));
    newsroom.again().await;
    assert_eq!(newsroom.event_count().await, 1, "who is not named is not read");
    newsroom.settings(|settings| settings.replace("weekly", "daily").replace("/other.xml", "/sitemap.xml"));
    newsroom.again().await;
    assert_eq!(newsroom.upserted().await.origin.version, 2);
}

#[tokio::test]
async fn other_patterns_hold_for_what_is_known_already() {
    let mut newsroom = Newsroom::open_with("delay = \"0\"\nallow = [\"/a\"]").await;
    newsroom.site.sitemap("/sitemap.xml", &["/a", "/b"]);
    for path in ["/a", "/b"] {
        newsroom.site.article(path, &format!("Headline of {path}"), &text(1));
    }
    newsroom.once().await;
    assert_eq!(newsroom.event_count().await, 1);
    newsroom.settings(|settings| settings.replace("[\"/a\"]", "[\"/b\"]"));
    newsroom.again().await;
    assert_eq!((newsroom.site.visits_to("/a"), newsroom.site.visits_to("/b")), (1, 1));
    assert_eq!(newsroom.event_count().await, 2, "what is no longer wanted is not deleted");
}

#[tokio::test]
async fn pages_without_an_article_give_none_and_delete_none() {
    let newsroom = newsroom_with_one().await;
    newsroom.site.put("/a", Reply::html("<html><body><a href='/'>Home</a></body></html>"));
    newsroom.again().await;
    assert_eq!(newsroom.event_count().await, 1, "a broken layout is no reason to delete");
    newsroom.assert_told().await;
}

#[tokio::test]
async fn a_crawl_that_runs_sees_what_is_new_by_itself() {
    let newsroom = Newsroom::open_with("delay = \"0\"\npoll_min = \"100ms\"").await;
    newsroom.site.sitemap("/sitemap.xml", &[]);
    let crawler = newsroom.crawler(&[]).await;
    let running = tokio::spawn(async move { crawler.run(std::future::pending()).await });
    eventually("the sitemap is read", async || newsroom.site.visits_to("/sitemap.xml") > 0).await;
    newsroom.site.article("/a", "Fresh headline", &text(1));
    newsroom.site.sitemap("/sitemap.xml", &["/a"]);
    eventually("the article is told", async || newsroom.event_count().await == 1).await;
    running.abort();
}

#[tokio::test]
async fn a_scraper_that_starts_before_its_postgres_waits_for_it() {
    let newsroom = Newsroom::open().await;
    newsroom.site.sitemap("/sitemap.xml", &["/a"]);
    newsroom.site.article("/a", "The first headline", &text(1));
    newsroom.postgres.stop();
    let mut scraper = Child::spawn(newsroom.command("run", &[]));
    scraper.saw("Postgres is away; everything waits").await;
    newsroom.postgres.restart().await;
    eventually("the article to be told", async || newsroom.event_count().await == 1).await;
    scraper.signal(Signal::Term);
    assert_eq!(scraper.wait().await, 0);

    // It can be asked to stop while it waits; and what no waiting mends it does not wait for.
    newsroom.postgres.stop();
    let mut scraper = Child::spawn(newsroom.command("run", &[]));
    scraper.saw("Postgres is away; everything waits").await;
    scraper.signal(Signal::Term);
    assert_eq!(scraper.wait().await, 0);
    newsroom.postgres.restart().await;
    let mut command = newsroom.command("run", &[]);
    command.env("DATABASE_URL", newsroom.database_url.replace("/test_1", "/elsewhere"));
    let mut scraper = Child::spawn(command);
    assert_eq!(scraper.wait().await, 1);
    assert!(scraper.log().contains("database \"elsewhere\" does not exist"), "{}", scraper.log());
}
