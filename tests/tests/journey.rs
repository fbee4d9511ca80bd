//! From a page to a reader, through programs that fall: whoever is killed while the site changes, in the end all is as it should be.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use outbox_tests::{Program, Shown, Works, eventually, get_json, text};

/// Lists and pages are looked at again at once.
const LISTS: &str = "poll_min = \"1s\"\npoll_max = \"1s\"";
const SOON: [(&str, &str); 2] = [("FALLAH_RECHECK_MIN", "0"), ("FALLAH_RECHECK_MAX", "1s")];
/// Articles that never change, so that removals are no sign of a broken site.
const QUIET: usize = 16;
/// Found by a search so soon after they are fetched, on a machine that is busy.
const SEARCHABLE_MAX: Duration = Duration::from_secs(10);

/// Who falls.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Program(Program),
    /// It comes back with what it has written to its disk.
    Redis,
    /// It comes back empty.
    RedisAndItsData,
}

#[tokio::test]
async fn whoever_is_killed_while_the_site_changes_in_the_end_all_is_as_it_should_be() {
    let mut works = Works::open(LISTS).await;
    let mut shown = Shown::default();
    let victims = [
        Victim::Program(Program::Relay),
        Victim::Program(Program::Fallah),
        Victim::Program(Program::Hasad),
        Victim::Program(Program::Bisan),
        Victim::Redis,
        Victim::RedisAndItsData,
    ];
    for nth in 0..QUIET {
        shown.article(&works, &format!("/quiet-{nth}"), &format!("Quiet{nth:02} of the lighthouse"));
    }
    for nth in 0..victims.len() {
        shown.article(&works, &format!("/doomed-{nth}"), &format!("Doomed{nth} of the bridge"));
    }
    shown.article(&works, "/edited", "Edited0 of the harbour");
    shown.article(&works, "/twice", "Heads of the coin");
    for program in Program::ALL {
        works.start(program, if program == Program::Fallah { &SOON } else { &[] });
    }
    shown.until_scraped(&works).await;

    for (nth, victim) in victims.into_iter().enumerate() {
        // While this goes its way, somebody falls.
        shown.article(&works, &format!("/new-{nth}"), &format!("New{nth} of the market"));
        shown.article(&works, "/edited", &format!("Edited{} of the harbour", nth + 1));
        shown.article(&works, "/twice", if nth % 2 == 0 { "Tails of the coin" } else { "Heads of the coin" });
        shown.gone(&works, &format!("/doomed-{nth}"));
        match victim {
            Victim::Program(program) => {
                works.kill_9(program).await;
                // Others go on meanwhile; the scraper is the one without whom nothing is scraped.
                if program != Program::Fallah {
                    shown.until_scraped(&works).await;
                }
                works.start(program, if program == Program::Fallah { &SOON } else { &[] });
                shown.until_scraped(&works).await;
            }
            Victim::Redis => {
                works.stage.redis.kill();
                shown.until_scraped(&works).await;
                works.stage.redis.restart().await;
            }
            Victim::RedisAndItsData => {
                works.stage.redis.kill();
                shown.until_scraped(&works).await;
                let data = works.stage.redis.data_dir().join("appendonlydir");
                std::fs::remove_dir_all(&data).unwrap_or_else(|error| panic!("{}: {error}", data.display()));
                works.stage.redis.restart().await;
            }
        }
        shown.until_read(&works).await;
    }
    shown.until_archived(&works).await;

    // A search says the same as the list.
    let readers = works.readers().await;
    for (path, title, _) in shown.newest() {
        let Some(word) = title.and_then(|title| title.split(' ').next()) else { continue };
        let found = get_json(readers, &format!("/search?q={word}")).await.json();
        assert_eq!(
            (&found["total"], &found["hits"][0]["source_url"]),
            (&1.into(), &works.site.url(path).into()),
            "{word}"
        );
    }
    for nth in 0..victims.len() {
        assert_eq!(get_json(readers, &format!("/search?q=Doomed{nth}")).await.json()["total"], 0, "it was removed");
        let before = if nth == 0 { "Edited0" } else { "Tails" };
        let before = if nth + 1 == victims.len() && before == "Tails" { "Edited5" } else { before };
        assert_eq!(
            get_json(readers, &format!("/search?q={before}")).await.json()["total"],
            0,
            "{before} is of the past"
        );
    }
    // Nobody's fall was an event's fault.
    let dead: i64 = works
        .stage
        .ask("select (select count(*) from outbox where dead_at is not null) + (select count(*) from outbox_dead_letter)")
        .await;
    assert_eq!(dead, 0);
}

/// Microseconds of Unix.
fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    i64::try_from(now.as_micros()).expect("it is long before then")
}

#[tokio::test]
async fn an_article_is_found_within_seconds_and_each_stage_tells_its_time() {
    let mut works = Works::open(LISTS).await;
    let mut shown = Shown::default();
    // An empty list would count as one that failed, and be read again ever later.
    shown.article(&works, "/first", "First of all");
    for program in Program::ALL {
        // What was published is written down so often: that far the receipts' times are off.
        works.start(program, if program == Program::Relay { &[("RELAY_REPORT_INTERVAL", "10ms")] } else { &[] });
    }
    shown.until_read(&works).await;
    let readers = works.readers().await;
    let words: Vec<String> = (0..12).map(|nth| format!("Zanzibar{nth:02}")).collect();
    for word in &words {
        works.site.article(&format!("/{word}"), &format!("{word} opens a lighthouse"), &text(1));
        shown.expect(&format!("/{word}"), word);
    }
    shown.list(&works);
    let mut found: BTreeMap<String, i64> = BTreeMap::new();
    eventually("every article to be found", async || {
        for word in &words {
            if !found.contains_key(word) && get_json(readers, &format!("/search?q={word}")).await.json()["total"] == 1
            {
                found.insert(works.site.url(&format!("/{word}")), now_us());
                found.insert(word.clone(), now_us());
            }
        }
        words.iter().all(|word| found.contains_key(word))
    })
    .await;
    let query = "select o.key,
               (extract(epoch from (o.payload ->> 'fetched_at')::timestamptz) * 1e6)::bigint,
               (extract(epoch from o.created_at) * 1e6)::bigint,
               (select (extract(epoch from min(r.published_at)) * 1e6)::bigint from outbox_receipt r
                 where r.stream = o.stream and o.seq between r.first_seq and r.last_seq),
               (select (extract(epoch from v.archived_at) * 1e6)::bigint from hasad.version v where v.event_id = o.id)
          from outbox o where o.type = 'article.upserted' and o.key like '%/Zanzibar%'";
    let rows = eventually("every receipt and every version", async || {
        let rows: Vec<(String, i64, i64, Option<i64>, Option<i64>)> =
            sqlx::query_as(query).fetch_all(&works.stage.pool).await.expect("Postgres is there");
        (rows.len() == words.len() && rows.iter().all(|row| row.3.is_some() && row.4.is_some())).then_some(rows)
    })
    .await;

    let stages = [
        "fetched -> committed",
        "committed -> published",
        "published -> archived",
        "published -> searchable",
        "fetched -> searchable",
    ];
    let mut took: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for (url, fetched, committed, published, archived) in rows {
        let (published, archived) = (published.expect("asked for"), archived.expect("asked for"));
        let searchable = found[&url];
        let times = [
            committed - fetched,
            published - committed,
            archived - published,
            searchable - published,
            searchable - fetched,
        ];
        for (stage, us) in stages.iter().zip(times) {
            took.entry(stage).or_default().push(us);
        }
        assert!(fetched <= committed && committed <= published, "{url}: {fetched} {committed} {published}");
        assert!(
            searchable - fetched <= SEARCHABLE_MAX.as_micros() as i64,
            "{url} was found after {} us",
            searchable - fetched
        );
    }
    println!("{:<26} {:>10} {:>10}", "stage", "median ms", "most ms");
    for stage in stages {
        let mut times = took.remove(stage).expect("measured");
        times.sort_unstable();
        let ms = |us: i64| us as f64 / 1e3;
        println!("{stage:<26} {:>10.1} {:>10.1}", ms(times[times.len() / 2]), ms(times[times.len() - 1]));
    }
}
