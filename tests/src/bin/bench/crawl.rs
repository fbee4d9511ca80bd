//! A whole site, crawled: how fast without a delay, and in how much memory.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use outbox_tests::measure;
use outbox_tests::{Child, Newsroom, Reply, article, text};
use tokio::time::sleep;

use crate::options::Options;
use crate::progress;
use crate::table::{Line, Section, Target, Unit};
use outbox_tests::Samples;

/// A sitemap holds no more.
const OF_ONE_LIST: u64 = 10_000;

pub async fn section(options: &Options) -> Result<Section> {
    let pages = options.size(50_000, 500);
    let newsroom = Newsroom::open().await;
    fill(&newsroom, pages);
    let mut once = newsroom.command("once", &[]);
    once.arg("--log=warn");
    let (began, crawl) = (Instant::now(), Child::spawn(once));
    let pid = crawl.id().unwrap_or_default();
    let (mut rate, mut peak, mut early) = <(Samples, Samples, Samples)>::default();
    let mut done = 0_u64;
    while done < pages {
        sleep(Duration::from_millis(500)).await;
        done = newsroom.ask::<i64>("select count(*) from fallah.item").await.unsigned_abs();
        progress::show(&format!("crawl: {done} of {pages} pages"));
        let Some((_, at_most)) = measure::memory(pid) else { break };
        if done * 10 < pages {
            early = Samples::default();
            early.push(at_most);
        }
        peak = Samples::default();
        peak.push(at_most);
    }
    ensure!(done == pages, "{done} of {pages} pages became items: {}", crawl.log());
    rate.push(pages as f64 / began.elapsed().as_secs_f64());
    newsroom.assert_told().await;
    Ok(Section {
        name: "crawl",
        conditions: format!(
            "{pages} pages of one host without a delay; site, scraper and Postgres on the same cores"
        ),
        lines: vec![
            Line::new("pages fetched, read, written and told", Unit::PerSecond, &rate),
            Line::new("memory at most", Unit::Megabytes, &peak).target(Target::AtMost(120.0)),
            Line::new("memory at most, after a tenth of them", Unit::Megabytes, &early),
        ],
    })
}

fn fill(newsroom: &Newsroom, pages: u64) {
    let site = &newsroom.site;
    let mut index = String::new();
    for (nth, first) in (0..pages).step_by(usize::try_from(OF_ONE_LIST).expect("small")).enumerate() {
        let paths: Vec<_> = (first..(first + OF_ONE_LIST).min(pages)).map(|page| format!("/{page}")).collect();
        let list = format!("/sitemap-{nth}.xml");
        site.sitemap(&list, &paths.iter().map(String::as_str).collect::<Vec<_>>());
        index += &format!("<sitemap><loc>{}</loc></sitemap>", site.url(&list));
        for (page, path) in (first..).zip(&paths) {
            let number = u32::try_from(page).expect("small");
            site.put(path, Reply::html(article(&format!("Headline {page}"), "Salma Haddad", &text(number))));
        }
    }
    site.put("/sitemap.xml", Reply::body("text/xml", format!("<sitemapindex>{index}</sitemapindex>")));
}
