//! What the relay uses, draining and idle; and what each part of the pipeline uses for many articles, beside its budget.

use std::time::Duration;

use anyhow::{Result, ensure};
use outbox_tests::measure;
use outbox_tests::{Program, Reply, Works, article, text};
use tokio::time::{Instant, sleep};

use crate::drain::{DEFAULT_BATCH_ROWS, drain};
use crate::ground::{Ground, STREAM};
use crate::options::Options;
use crate::progress;
use crate::table::{Line, Section, Target, Unit};
use outbox_tests::Samples;

/// Long enough for the relay to have fallen asleep.
const SETTLE: Duration = Duration::from_secs(4);

pub async fn section(ground: &mut Ground, options: &Options) -> Result<Section> {
    // Not five rounds: nothing here is a ratio, and each one waits.
    let (rows, rounds) = (options.rows(), options.rounds().min(3));
    let time = Duration::from_secs(options.size(10, 3));
    let mut of_a_row = <[Samples; 3]>::default();
    let [mut peak_mb, mut idle_mb, mut without, mut together, mut relay_alone] = <[Samples; 5]>::default();
    for round in 1..=rounds {
        progress::show(&format!("footprint: round {round} of {rounds}, draining"));
        ground.clear().await?;
        ground.load(rows).await?;
        let drained = drain(ground, rows, DEFAULT_BATCH_ROWS).await?;
        for (samples, cpu) in of_a_row.iter_mut().zip(drained.cpu) {
            samples.push(seconds(cpu) * 1e6 / rows as f64);
        }
        peak_mb.push(drained.memory_peak_mb.unwrap_or(f64::NAN));

        progress::show(&format!("footprint: round {round} of {rounds}, idle"));
        // One group, so that its position is looked at, too.
        redis::cmd("XGROUP").arg(&["CREATE", STREAM, "group", "$"]).exec_async(&mut ground.cache).await?;
        sleep(SETTLE).await;
        let [_, postgres] = used(ground, 0, time).await?;
        without.push(postgres);

        let relay = ground.relay(&[]);
        relay.saw("this relay works").await;
        sleep(SETTLE).await;
        let pid = relay.id().unwrap_or_default();
        let [own, postgres] = used(ground, pid, time).await?;
        relay_alone.push(own);
        together.push(own + postgres);
        idle_mb.push(measure::memory(pid).map_or(f64::NAN, |(now, _)| now));
        ground.end(relay).await?;
    }

    let [relay, sessions, redis] = &of_a_row;
    let cpu = |what: &str, samples: &Samples| Line::new(what, Unit::Microseconds, samples);
    Ok(Section {
        name: "footprint",
        conditions: format!(
            "draining {rows} rows at batches of {DEFAULT_BATCH_ROWS}; idle over {} s, asleep, one stream with one group; \
             processor time as Linux counts it, percent of one core",
            time.as_secs()
        ),
        lines: vec![
            cpu("draining, processor time an event, relay", relay),
            cpu("draining, the same, its Postgres sessions", sessions),
            cpu("draining, the same, Redis", redis),
            Line::new("draining, memory at most", Unit::Megabytes, &peak_mb).target(Target::AtMost(30.0)),
            Line::new("idle, Postgres without a relay", Unit::Percent, &without),
            Line::new("idle, relay", Unit::Percent, &relay_alone),
            Line::new("idle, relay and Postgres together", Unit::Percent, &together).target(Target::AtMost(0.5)),
            Line::new("idle, memory", Unit::Megabytes, &idle_mb).target(Target::AtMost(15.0)),
        ],
    })
}

/// Percent of a core that a process and all of Postgres take over some time.
async fn used(ground: &mut Ground, pid: u32, time: Duration) -> Result<[f64; 2]> {
    let before = [measure::cpu(pid), ground.all_postgres_cpu().await?];
    sleep(time).await;
    let after = [measure::cpu(pid), ground.all_postgres_cpu().await?];
    let percent = |at: usize| (seconds(after[at]) - seconds(before[at])) * 100.0 / time.as_secs_f64();
    Ok([percent(0), percent(1)])
}

/// Of each part, what one server of 4 GB has for it.
const BUDGETS_MB: [(Program, f64); 4] =
    [(Program::Relay, 40.0), (Program::Fallah, 120.0), (Program::Hasad, 80.0), (Program::Bisan, 100.0)];
/// A sitemap that Fallah reads in one go.
const OF_ONE_LIST: u32 = 10_000;
/// Nothing new for so long: something is broken.
const STALL_MAX: Duration = Duration::from_secs(60);

/// The separate programs over the scripted site, until every article is archived and can be read.
pub async fn parts(options: &Options) -> Result<Section> {
    let articles = options.articles();
    let mut works = Works::open("").await;
    let mut index = String::new();
    for first in (0..articles).step_by(OF_ONE_LIST as usize) {
        let numbers = first..(first + OF_ONE_LIST).min(articles);
        let paths: Vec<_> = numbers.clone().map(|number| format!("/{number}")).collect();
        let list = format!("/sitemap-{first}.xml");
        works.site.sitemap(&list, &paths.iter().map(String::as_str).collect::<Vec<_>>());
        index += &format!("<sitemap><loc>{}</loc></sitemap>", works.site.url(&list));
        for (number, path) in numbers.zip(&paths) {
            let page = article(&format!("Headline {number}"), "Salma Haddad", &text(number));
            works.site.put(path, Reply::html(page));
        }
    }
    works.site.put("/sitemap.xml", Reply::body("text/xml", format!("<sitemapindex>{index}</sitemapindex>")));
    let began = Instant::now();
    for program in Program::ALL {
        works.start(program, &[]);
    }
    let readers = works.readers().await;
    let mut peaks = BUDGETS_MB.map(|_| f64::NAN);
    let (mut done, mut changed_at) = (0, Instant::now());
    while done < articles {
        sleep(Duration::from_millis(500)).await;
        for (peak, (program, _)) in peaks.iter_mut().zip(BUDGETS_MB) {
            if let Some((_, at_most)) = measure::memory(works.running(program).id().unwrap_or_default()) {
                *peak = at_most;
            }
        }
        let archived: i64 = works.stage.ask("select count(*) from hasad.version").await;
        let read = readable(readers).await;
        let now = u32::try_from(archived.min(read)).unwrap_or(0);
        if now > done {
            (done, changed_at) = (now, Instant::now());
        }
        ensure!(changed_at.elapsed() < STALL_MAX, "{done} of {articles} articles, and nothing moves any more");
        progress::show(&format!("parts: {done} of {articles} articles archived and readable"));
    }
    let mut rate = Samples::default();
    rate.push(f64::from(articles) / began.elapsed().as_secs_f64());
    let mut lines = vec![Line::new("from the site to archive and readers", Unit::PerSecond, &rate)];
    for ((program, budget), peak) in BUDGETS_MB.into_iter().zip(peaks) {
        let mut samples = Samples::default();
        samples.push(peak);
        let what = format!("{}, memory at most", program.name());
        lines.push(Line::new(&what, Unit::Megabytes, &samples).target(Target::AtMost(budget)));
    }
    Ok(Section {
        name: "parts",
        conditions: format!(
            "{articles} articles of one host without a delay, the separate programs with their defaults, objects in a folder; the \
             target of each is its budget"
        ),
        lines,
    })
}

/// How many articles readers see, as Bisan tells it.
async fn readable(readers: std::net::SocketAddr) -> i64 {
    let told = outbox_tests::get(readers, "/metrics", &[]).await.body;
    let line = told.lines().find_map(|line| line.strip_prefix("bisan_articles "));
    line.and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn seconds(cpu: Option<Duration>) -> f64 {
    cpu.map_or(f64::NAN, |cpu| cpu.as_secs_f64())
}
