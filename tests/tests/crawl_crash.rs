//! A crawl may die between any two steps: no item is without its event, no event without its item, and the next crawl
//! goes on.

use std::time::{Duration, Instant};

use outbox_tests::{Child, Newsroom, Proxy, Reply, Side, Signal, Turns, eventually, text};

/// A newsroom whose three pages change from round to round: one is edited, one is gone or back.
struct Desk {
    newsroom: Newsroom,
    round: u32,
}

impl Desk {
    async fn open() -> Self {
        let newsroom = Newsroom::open().await;
        newsroom.site.sitemap("/sitemap.xml", &["/a", "/b", "/c"]);
        newsroom.site.article("/c", "One that stays as it is", &text(3));
        let mut desk = Self { newsroom, round: 0 };
        desk.edit();
        desk.newsroom.once().await;
        desk
    }

    /// What the next crawl will find.
    fn edit(&mut self) {
        self.round += 1;
        self.newsroom.site.article("/a", &format!("Edition {} of the first", self.round), &text(self.round));
        if self.round.is_multiple_of(2) {
            self.newsroom.site.put("/b", Reply::status(410));
        } else {
            self.newsroom.site.article("/b", "The second, when it is there", &text(2));
        }
    }

    /// Everything is due and nobody holds anything, as when the leases of the dead have run out.
    async fn wait_for_leases(&self) {
        self.newsroom
            .sql(
                "update fallah.host set busy_until = null, next_at = '-infinity';
                 update fallah.page set due_at = clock_timestamp(), ready = false;
                 update fallah.list set due_at = clock_timestamp()",
            )
            .await;
    }

    async fn assert_up_to_date(&self) {
        self.newsroom.assert_told().await;
        let titles: Vec<Option<String>> = sqlx_titles(&self.newsroom).await;
        let edition = format!("Edition {} of the first", self.round);
        assert_eq!(titles[0].as_deref(), Some(edition.as_str()));
        assert_eq!(titles[1].is_some(), !self.round.is_multiple_of(2), "the second");
        assert!(titles[2].is_some());
    }
}

/// The scraper, which reaches Postgres over a wire only.
fn over(wire: &Proxy, newsroom: &Newsroom, verb: &str, flags: &[&str]) -> Child {
    let port = format!(":{}/", newsroom.postgres.port());
    let mut crawl = newsroom.command(verb, flags);
    crawl.env("DATABASE_URL", newsroom.database_url.replace(&port, &format!(":{}/", wire.port())));
    Child::spawn(crawl)
}

/// The titles of the three items as they stand, none if deleted.
async fn sqlx_titles(newsroom: &Newsroom) -> Vec<Option<String>> {
    newsroom
        .ask(
            "select array_agg(case when deleted_reason is null then payload #>> '{article,title}' end order by source_url)
               from fallah.item",
        )
        .await
}

async fn crash_at_every_turn(side: Side) {
    let mut desk = Desk::open().await;
    let wire = Proxy::to(desk.newsroom.postgres.port()).await;
    let mut turns = Turns::of(&wire, side, 30).one_in(8);
    while turns.another().is_some() {
        desk.edit();
        desk.wait_for_leases().await;
        let crawl = || over(&wire, &desk.newsroom, "once", &["--hosts-max", "1"]);
        let killed = turns.kill(crawl, async |crawl| crawl.has_ended()).await;
        eventually("the dead crawl's transaction is rolled back", async || {
            let query = "select count(*) from pg_stat_activity where application_name = 'fallah'";
            desk.newsroom.ask::<i64>(query).await == 0
        })
        .await;
        desk.newsroom.assert_told().await;
        if killed {
            desk.wait_for_leases().await;
            desk.newsroom.once().await;
        }
        desk.assert_up_to_date().await;
    }
}

#[tokio::test]
async fn killed_before_any_request_arrives_item_and_event_stay_together() {
    crash_at_every_turn(Side::Request).await;
}

#[tokio::test]
async fn killed_before_any_reply_arrives_item_and_event_stay_together() {
    crash_at_every_turn(Side::Reply).await;
}

#[tokio::test]
async fn asked_to_stop_it_ends_what_is_under_way_and_gives_back_the_rest() {
    let newsroom = Newsroom::open().await;
    newsroom.site.sitemap("/sitemap.xml", &["/a", "/b"]);
    for path in ["/a", "/b"] {
        newsroom.site.put(path, Reply::html("late").after(Duration::from_secs(60)));
    }
    let mut crawl = Child::spawn(newsroom.command("run", &["--drain-max", "300ms"]));
    eventually("a page is asked for", async || newsroom.site.visits_to("/a") + newsroom.site.visits_to("/b") > 0)
        .await;
    crawl.signal(Signal::Term);
    assert_eq!(crawl.wait().await, 0);
    for path in ["/a", "/b"] {
        newsroom.site.article(path, &format!("Headline of {path}"), &text(1));
    }
    // Nothing is leased: the next one goes on at once.
    newsroom.once().await;
    assert_eq!(newsroom.event_count().await, 2);
}

#[tokio::test]
async fn what_a_killed_crawl_had_under_way_is_free_at_once() {
    let newsroom = Newsroom::open().await;
    newsroom.site.sitemap("/sitemap.xml", &["/a", "/b"]);
    for path in ["/a", "/b"] {
        newsroom.site.put(path, Reply::html("late").after(Duration::from_secs(60)));
    }
    let mut crawl = Child::spawn(newsroom.command("run", &[]));
    eventually("a page is asked for", async || newsroom.site.visits_to("/a") + newsroom.site.visits_to("/b") > 0)
        .await;
    crawl.kill_9();
    crawl.wait().await;
    for path in ["/a", "/b"] {
        newsroom.site.article(path, &format!("Headline of {path}"), &text(1));
    }
    newsroom.once().await;
    assert_eq!(newsroom.event_count().await, 2);
}

#[tokio::test]
async fn what_a_living_crawl_has_under_way_stays_its_own() {
    let newsroom = Newsroom::open().await;
    newsroom.site.sitemap("/sitemap.xml", &["/a"]);
    newsroom
        .site
        .put("/a", Reply::html(outbox_tests::article("Late", "Salma", &text(1))).after(Duration::from_secs(3)));
    let mut crawl = Child::spawn(newsroom.command("once", &[]));
    eventually("the page is asked for", async || newsroom.site.visits_to("/a") > 0).await;
    newsroom.once().await;
    assert_eq!(crawl.wait().await, 0);
    assert_eq!((newsroom.site.visits_to("/a"), newsroom.event_count().await), (1, 1));
}

#[tokio::test]
async fn asked_to_stop_while_postgres_is_away_it_ends_in_time() {
    for silent in [true, false] {
        let newsroom = Newsroom::open().await;
        let wire = Proxy::to(newsroom.postgres.port()).await;
        newsroom.site.sitemap("/sitemap.xml", &["/a"]);
        newsroom.site.put("/a", Reply::html("late").after(Duration::from_secs(60)));
        let mut crawl = over(&wire, &newsroom, "run", &["--drain-max", "2s"]);
        eventually("a page is asked for", async || newsroom.site.visits_to("/a") > 0).await;
        if silent {
            wire.freeze();
        } else {
            wire.refuse();
        }
        let begun = Instant::now();
        crawl.signal(Signal::Term);
        assert_eq!(crawl.wait().await, 0);
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn asked_to_stop_before_it_has_begun_it_ends() {
    let newsroom = Newsroom::open().await;
    let wire = Proxy::to(newsroom.postgres.port()).await;
    let halt = wire.halt_at(1, Side::Reply);
    let mut crawl = over(&wire, &newsroom, "run", &[]);
    halt.reached().await;
    crawl.signal(Signal::Term);
    assert_eq!(crawl.wait().await, 0);
}

#[tokio::test]
async fn asked_to_stop_it_leaves_the_hosts_delay_to_the_next() {
    let newsroom = Newsroom::open().await;
    newsroom.site.put("/robots.txt", Reply::body("text/plain", "User-agent: *\nCrawl-delay: 30\n"));
    newsroom.site.put("/sitemap.xml", Reply::status(404).after(Duration::from_secs(60)));
    let mut crawl = Child::spawn(newsroom.command("run", &["--drain-max", "300ms"]));
    let ended = "select next_at > now() from fallah.host where robots_holds is not null and busy_until is null";
    eventually("its rules are read", async || {
        newsroom.ask::<bool>(&format!("select coalesce(({ended}), false)")).await
    })
    .await;
    newsroom.sql("update fallah.host set next_at = '-infinity'").await;
    eventually("its list is asked for", async || newsroom.site.visits_to("/sitemap.xml") > 0).await;
    crawl.signal(Signal::Term);
    assert_eq!(crawl.wait().await, 0);
    assert!(
        newsroom.ask::<bool>("select next_at > clock_timestamp() + interval '25 seconds' from fallah.host").await
    );
    assert!(newsroom.ask::<bool>("select ready from fallah.list").await, "and its list is given back");
}

#[tokio::test]
async fn who_wakes_up_late_overwrites_nothing() {
    let newsroom = Newsroom::open().await;
    newsroom.site.sitemap("/sitemap.xml", &["/a"]);
    newsroom.site.put("/sitemap.xml", Reply::status(500).after(Duration::from_secs(1)));
    let crawler = newsroom.crawler(&[]).await;
    let late = async { crawler.once(std::future::pending()).await.expect("Postgres is there") };
    let early = async {
        eventually("its list is asked for", async || newsroom.site.visits_to("/sitemap.xml") > 0).await;
        newsroom.sql("update fallah.list set lease = lease + 1, note = 'of its successor'").await;
    };
    tokio::join!(late, early);
    assert_eq!(newsroom.ask::<String>("select note from fallah.list").await, "of its successor");
}

#[tokio::test]
async fn two_that_fetch_one_page_write_it_once() {
    let newsroom = Newsroom::open().await;
    newsroom.site.sitemap("/sitemap.xml", &["/a"]);
    newsroom.site.article("/a", "The one headline", &text(1));
    newsroom.once().await;
    newsroom.site.article("/a", "The other headline", &text(1));
    let slow = newsroom.site.url("/a");
    let (one, other) = tokio::join!(newsroom.crawler(&[]), newsroom.crawler(&[]));
    // The first one's lease runs out while it is still at it.
    newsroom.all_due().await;
    let late = async {
        let _ = one.once(std::future::pending()).await;
    };
    let early = async {
        newsroom.sql(&format!("update fallah.page set lease = lease + 1, ready = true where url = '{slow}'")).await;
        newsroom.sql("update fallah.host set busy_until = null").await;
        let _ = other.once(std::future::pending()).await;
    };
    tokio::join!(late, early);
    assert_eq!(newsroom.upserted().await.origin.version, 2);
    newsroom.assert_told().await;
}
