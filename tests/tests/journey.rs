//! From a page to a reader, through programs that fall: whoever is killed while the site changes, in the end all is as it should be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use outbox_tests::{Program, Reply, Works, eventually, get_json, text};
use serde_json::Value;

/// Lists and pages are looked at again at once.
const LISTS: &str = "poll_min = \"1s\"\npoll_max = \"1s\"";
const SOON: [(&str, &str); 2] = [("FALLAH_RECHECK_MIN", "0"), ("FALLAH_RECHECK_MAX", "1s")];
/// Articles that never change, so that removals are no sign of a broken site.
const QUIET: usize = 16;
/// Found by a search so soon after they are fetched, on a machine that is busy.
const SEARCHABLE_MAX: Duration = Duration::from_secs(10);

/// What each address has shown, one after the other; none: it was removed.
#[derive(Default)]
struct Shown(BTreeMap<String, Vec<Option<String>>>);

impl Shown {
    fn article(&mut self, works: &Works, path: &str, title: &str) {
        works.site.article(path, title, &text(1));
        self.0.entry(path.to_owned()).or_default().push(Some(title.to_owned()));
        self.list(works);
    }

    fn gone(&mut self, works: &Works, path: &str) {
        works.site.put(path, Reply::status(410));
        self.0.entry(path.to_owned()).or_default().push(None);
    }

    fn list(&self, works: &Works) {
        works.site.sitemap("/sitemap.xml", &self.0.keys().map(String::as_str).collect::<Vec<_>>());
    }

    /// Every address with its newest title; none: it was removed.
    fn newest(&self) -> impl Iterator<Item = (&str, Option<&str>, usize)> {
        self.0.iter().map(|(path, shown)| (path.as_str(), shown.last().and_then(Option::as_deref), shown.len()))
    }

    /// Waits until the scraper has seen the newest of all, and exactly so many versions.
    async fn until_scraped(&self, works: &Works) {
        let mut last = vec![];
        eventually("everything that the site shows to be scraped", async || {
            let items: Vec<(String, i64, Option<String>)> = sqlx::query_as(
                "select source_url, version, case when deleted_reason is null then payload -> 'article' ->> 'title' end from fallah.item",
            )
            .fetch_all(&works.stage.pool)
            .await
            .expect("Postgres is there");
            let items: BTreeMap<_, _> = items.into_iter().map(|(url, version, title)| (url, (version, title))).collect();
            let late: Vec<_> = self.newest().filter_map(|(path, title, versions)| {
                let known = items.get(&works.site.url(path));
                let right = known.is_some_and(|(version, is)| *version == versions as i64 && is.as_deref() == title);
                (!right).then(|| format!("{path} shows {title:?} as version {versions}, and {known:?} is known"))
            }).collect();
            // If it waits in vain this says for what.
            if late != last {
                println!("{late:#?}");
                last.clone_from(&late);
            }
            late.is_empty()
        })
        .await;
    }

    /// Waits until readers see exactly what the site shows.
    async fn until_read(&self, works: &Works) {
        let readers = works.readers().await;
        let mut expected: Vec<(String, i64, String)> = vec![];
        for (path, title, versions) in self.newest() {
            if let Some(title) = title {
                expected.push((works.site.url(path), versions as i64, title.to_owned()));
            }
        }
        expected.sort();
        eventually("readers to see what the site shows", async || {
            let mut answer = get_json(readers, "/articles?size=100").await.json();
            let Value::Array(articles) = answer["articles"].take() else { panic!("a list") };
            let text = |article: &Value, field: &str| article[field].as_str().unwrap_or_default().to_owned();
            // The version stands with the article itself.
            let mut seen = vec![];
            for article in &articles {
                let whole = get_json(readers, &format!("/articles/{}", article["id"])).await;
                let version = if whole.status == 200 { whole.json()["version"].as_i64() } else { None };
                seen.push((text(article, "source_url"), version.unwrap_or_default(), text(article, "title")));
            }
            seen.sort();
            seen == expected
        })
        .await;
    }

    /// Waits until the archive has every version of everything, in order, and each content once.
    async fn until_archived(&self, works: &Works) {
        let mut expected = vec![];
        for (path, shown) in &self.0 {
            for (nth, title) in (1_i64..).zip(shown) {
                let newest = nth as usize == shown.len();
                let status = match (newest, title) {
                    (false, _) => "superseded",
                    (true, Some(_)) => "active",
                    (true, None) => "deleted",
                };
                expected.push((works.site.url(path), nth, status.to_owned(), title.clone()));
            }
        }
        expected.sort();
        eventually("the archive to have every version", async || {
            let rows: Vec<(String, i64, String, Option<String>)> = sqlx::query_as(
                "select source_url, version, status, case when object_hash is not null then title end from hasad.version
                  order by source_url, version",
            )
            .fetch_all(&works.stage.pool)
            .await
            .expect("Postgres is there");
            let mut rows = rows;
            rows.sort();
            rows == expected
        })
        .await;
        let hashes: Vec<String> =
            sqlx::query_scalar("select distinct object_hash from hasad.version where object_hash is not null")
                .fetch_all(&works.stage.pool)
                .await
                .expect("Postgres is there");
        let hashes: BTreeSet<_> = hashes.into_iter().collect();
        assert_eq!(objects(&works.objects()), hashes, "each content lies there once, and nothing else");
        // Titles are all that differs here: so many titles, so many contents.
        let titles: BTreeSet<_> = self.0.values().flatten().flatten().collect();
        assert_eq!(hashes.len(), titles.len());
    }
}

/// The names of all files below a folder.
fn objects(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found = BTreeSet::new();
    for entry in entries {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(objects(&path));
        } else {
            found.insert(path.file_name().expect("a name").to_string_lossy().into_owned());
        }
    }
    found
}

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
        shown.0.insert(format!("/{word}"), vec![Some(word.clone())]);
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
