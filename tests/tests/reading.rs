//! From the stream into the reader's file: each event once, the newest version wins, and nothing goes away without a word.

use contract::{Export, Removal};
use outbox_tests::{
    Chance, Child, Reading, Signal, address, dump, eventually, export_end, get_json, letters, told, told_author,
};
use rusqlite::Connection;

const DEAD: &str = "content:scraped:bisan-cg:dead";

/// Versions of many articles, with authors who change, move and go; in an order that respects each article's own. What a source
/// says of somebody goes with their last article, so it says something only of those who keep theirs.
fn history(chance: &mut Chance, articles: u64, events: usize) -> Vec<Export> {
    let names = ["سلمى حداد", "سَلمى حدّاد", "Omar Said", "ليلى", "Layla", "عمر", "نور", "Zoë Khan"];
    let columnists = ["Columnist", "كاتبة", "Dr. Khan"];
    let sources = ["daily", "weekly", "wire"];
    let mut versions = vec![0; articles as usize];
    let mut author_versions = [0; 3];
    let mut said = vec![];
    while said.len() < events {
        if chance.once_in(20) {
            let source = chance.below(3) as usize;
            author_versions[source] += 1;
            let name = columnists[chance.below(3) as usize];
            let url = (!chance.once_in(2))
                .then(|| format!("https://{}.example/people/{}", sources[source], chance.below(4)));
            said.push(told_author(sources[source], name, url.as_deref(), author_versions[source]));
            continue;
        }
        let article = chance.below(articles);
        let version = &mut versions[article as usize];
        let is_column = article.is_multiple_of(10);
        if is_column && *version > 0 {
            continue;
        }
        *version += 1;
        let source = sources[(article % 3) as usize];
        let mut one = told(
            &format!("{article}"),
            *version,
            &format!("عنوان {article}"),
            &format!("النص رقم {version} من الخبر {article}"),
        )
        .source(source);
        for _ in 0..chance.below(4) {
            let url = chance.once_in(3).then(|| format!("https://{source}.example/people/{}", chance.below(4)));
            let name = if is_column { columnists[chance.below(3) as usize] } else { names[chance.below(8) as usize] };
            one = one.by(name, url.as_deref());
        }
        said.push(if chance.once_in(8) && !is_column { one.gone(Removal::Gone) } else { one.export() });
    }
    said
}

fn shuffled<T>(chance: &mut Chance, mut all: Vec<T>) -> Vec<T> {
    for at in (1..all.len()).rev() {
        all.swap(at, chance.below(at as u64 + 1) as usize);
    }
    all
}

#[tokio::test]
async fn ten_thousand_events_shuffled_and_doubled_converge_to_the_state_of_their_order() {
    let mut chance = Chance::from_environment();
    let events = history(&mut chance, 2_000, 10_000);
    let in_order = Reading::open().await;
    in_order.say(&events).await;
    let mut bisan = in_order.run(&[]);
    in_order.until_consumed().await;
    bisan.signal(Signal::Term);
    assert_eq!(bisan.wait().await, 0);

    let any_order = Reading::open().await;
    let mut doubled = events.clone();
    doubled.extend(events.iter().filter(|_| chance.once_in(3)).cloned().collect::<Vec<_>>());
    any_order.say(&shuffled(&mut chance, doubled)).await;
    let _bisan = any_order.run(&[]);
    any_order.until_consumed().await;

    let (expected, found) = (in_order.dump(), any_order.dump());
    let differ = expected.lines().zip(found.lines()).find(|(one, other)| one != other);
    assert!(expected == found, "the first difference: {differ:#?}");
    let health = any_order.json(&["verify", "--full", "--json"]);
    assert_eq!(health["sound"], true, "{health}");
    assert_eq!(letters(&any_order.redis, DEAD).await.len(), 0);
}

#[tokio::test]
async fn killed_at_random_moments_each_event_takes_effect_once() {
    let mut chance = Chance::from_environment();
    let reading = Reading::open().await;
    let events = history(&mut chance, 600, 4_000);
    let mut doubled = events.clone();
    doubled.extend(events.iter().take(1_000).cloned());
    let mut left = shuffled(&mut chance, doubled).into_iter().peekable();
    let start = || reading.run(&["--claim-after", "300ms", "--batch-max", "20"]);
    let mut kills = 0;
    let mut bisan = start();
    while left.peek().is_some() {
        let next: Vec<_> = left.by_ref().take(50 + chance.below(150) as usize).collect();
        reading.say(&next).await;
        // At whatever it does after so many changes.
        let before = changes(&reading);
        let enough = before + chance.below(60) as i64;
        eventually("some of it to take effect", async || changes(&reading) >= enough || reading.is_consumed().await)
            .await;
        bisan.kill_9();
        bisan.wait().await;
        kills += 1;
        bisan = start();
    }
    reading.until_consumed().await;
    assert!(kills >= 20, "{kills}");

    let quiet = Reading::open().await;
    quiet.say(&events).await;
    let _quiet_bisan = quiet.run(&[]);
    quiet.until_consumed().await;
    assert_eq!(reading.dump(), quiet.dump());
    assert_eq!(reading.json(&["verify", "--full", "--json"])["sound"], true);
    let doubled: i64 = reading
        .db()
        .query_row("select count(*) - count(distinct source_name || ' ' || folded_name) from author", [], |row| {
            row.get(0)
        })
        .expect("read");
    assert_eq!(doubled, 0);
}

fn changes(reading: &Reading) -> i64 {
    let Ok(db) = Connection::open(reading.file()) else { return 0 };
    db.query_row("select coalesce(max(change), 0) from article", [], |row| row.get(0)).unwrap_or_default()
}

#[tokio::test]
async fn an_old_version_cannot_undo_a_newer_one_nor_bring_back_what_is_deleted() {
    let reading = Reading::open().await;
    let newer = told("a", 3, "الثالثة", "النص الثالث").export();
    reading.say(&[newer, told("a", 2, "الثانية", "النص الثاني").export()]).await;
    reading.say(&[told("b", 5, "ب", "نص").gone(Removal::Takedown), told("b", 4, "سر", "مكتوم").export()]).await;
    reading.say(&[told("c", 1, "عاد", "قديم").gone(Removal::NotFound), told("c", 2, "عاد", "جديد").export()]).await;
    let bisan = reading.run(&[]);
    let address = address(&bisan).await;
    reading.until_consumed().await;
    let titles: Vec<String> = get_json(address, "/articles").await.json()["articles"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|article| article["title"].as_str().expect("a title").to_owned())
        .collect();
    assert_eq!(titles.len(), 2);
    assert!(titles.contains(&"الثالثة".to_owned()) && titles.contains(&"عاد".to_owned()), "{titles:?}");
    assert_eq!(get_json(address, "/search?q=%D9%85%D9%83%D8%AA%D9%88%D9%85").await.json()["total"], 0);
    // Nothing of what somebody had the right to have deleted is kept, in whatever order it came.
    assert!(!reading.dump().contains("مكتوم"));
    assert_eq!(reading.json(&["show", "https://daily.example/b", "--json"])["deleted_reason"], "takedown");
}

#[tokio::test]
async fn what_cannot_be_what_it_says_is_buried_at_once_with_its_reason_and_its_neighbours_take_effect() {
    let reading = Reading::open().await;
    let payload = |event: &Export| serde_json::to_value(event).expect("JSON")["data"].clone();
    let good = payload(&told("good", 1, "عنوان", "نص").export());
    let changed = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad.to_string()
    };
    let long = told("long", 1, "عنوان", &"نص ".repeat(1_500_000)).export();
    let bad = [
        (
            "no-url",
            "article.upserted",
            1,
            changed(&|bad| bad["source_url"] = "".into()),
            "source_url is not an address",
        ),
        (
            "endless-date",
            "article.upserted",
            1,
            changed(&|bad| bad["published_at"] = "2026 ".repeat(100).into()),
            "published_at: 500 is more than 64",
        ),
        (
            "missing-url",
            "article.upserted",
            1,
            changed(&|bad| _ = bad.as_object_mut().expect("an object").remove("source_url")),
            "source_url",
        ),
        (
            "an-authors-url",
            "article.upserted",
            1,
            changed(&|bad| bad["source_url"] = "urn:author:daily:x".into()),
            "no address of an article",
        ),
        ("hash", "article.upserted", 1, changed(&|bad| bad["article"]["body"] = "other".into()), "content_hash says"),
        ("version", "article.upserted", 1, changed(&|bad| bad["version"] = 0.into()), "version is 0"),
        ("type", "article.exploded", 1, good.to_string(), "the type \"article.exploded\" is unknown"),
        ("ver", "article.upserted", 2, good.to_string(), "version 2 of article.upserted is unknown"),
        ("json", "article.upserted", 1, "[1]".to_owned(), "not of its shape"),
        ("limit", "article.upserted", 1, payload(&long).to_string(), "body: "),
        ("nobody", "author.upserted", 1, payload(&told_author("daily", "***", None, 1)).to_string(), "nobody's name"),
    ];
    reading.say(&(0..20).map(|n| told(&format!("before-{n}"), 1, "قبل", "نص").export()).collect::<Vec<_>>()).await;
    for (id, r#type, ver, data, _) in &bad {
        reading.say_raw(id, r#type, *ver, data).await;
    }
    reading.say(&(0..20).map(|n| told(&format!("after-{n}"), 1, "بعد", "نص").export()).collect::<Vec<_>>()).await;
    let _bisan = reading.run(&[]);
    eventually("the bad ones to be buried", async || letters(&reading.redis, DEAD).await.len() == bad.len()).await;
    reading.until_consumed().await;
    let letters = letters(&reading.redis, DEAD).await;
    for (id, _, _, _, reason) in &bad {
        let letter =
            letters.iter().find(|letter| letter["id"] == *id).unwrap_or_else(|| panic!("{id} is not buried"));
        assert_eq!(letter["dead:attempts"], "1", "{id}");
        assert!(letter.values().any(|value| value.contains(reason)), "{id}: {letter:?}");
    }
    let count: i64 = reading.db().query_row("select count(*) from article", [], |row| row.get(0)).expect("read");
    assert_eq!(count, 40);
}

#[tokio::test]
async fn two_contents_under_one_version_are_told_and_the_first_one_stays() {
    let reading = Reading::open().await;
    reading.say(&[told("a", 1, "الأول", "نص").export()]).await;
    let _bisan = reading.run(&[]);
    reading.until_consumed().await;
    let other = told("a", 1, "الآخر", "نص").export();
    let data = serde_json::to_value(&other).expect("JSON")["data"].to_string();
    reading.say_raw("other", "article.upserted", 1, &data).await;
    eventually("it to be buried", async || letters(&reading.redis, DEAD).await.len() == 1).await;
    assert_eq!(reading.json(&["show", "https://daily.example/a", "--json"])["title"], "الأول");
}

#[tokio::test]
async fn a_file_that_is_locked_costs_no_attempt_and_buries_nothing() {
    let reading = Reading::open().await;
    assert!(reading.verb(&["migrate"]).status.success());
    let db = reading.db();
    db.execute_batch("begin immediate").expect("nobody else writes");
    reading.say(&(0..50).map(|n| told(&format!("{n}"), 1, "عنوان", "نص").export()).collect::<Vec<_>>()).await;
    let bisan = reading.run(&["--attempts-max", "1", "--log", "bisan=info,outbox=debug"]);
    // Longer than the file is waited for.
    bisan.saw("database is locked").await;
    db.execute_batch("rollback").expect("it is ours");
    reading.until_consumed().await;
    assert_eq!(letters(&reading.redis, DEAD).await.len(), 0);
    let count: i64 = reading.db().query_row("select count(*) from article", [], |row| row.get(0)).expect("read");
    assert_eq!(count, 50);
}

#[tokio::test]
async fn a_disk_that_is_full_costs_no_attempt_and_buries_nothing() {
    let reading = Reading::open().await;
    assert!(reading.verb(&["migrate"]).status.success());
    let body = "نص طويل ".repeat(2_000);
    reading.say(&(0..200).map(|n| told(&format!("{n}"), 1, "عنوان", &body).export()).collect::<Vec<_>>()).await;
    // No file of this process may grow beyond 512 KiB: the write fails, as on a full disk.
    let bisan = reading.command(&["run", "--attempts-max", "1", "--batch-max", "20"]);
    let mut full = std::process::Command::new("sh");
    full.args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$0\" \"$@\""])
        .arg(bisan.get_program())
        .args(bisan.get_args());
    full.envs(bisan.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut full = Child::spawn(full);
    eventually("it to say so", async || {
        ["disk I/O error", "disk is full"].iter().any(|words| full.log().contains(words))
    })
    .await;
    assert_eq!(letters(&reading.redis, DEAD).await.len(), 0);
    full.signal(Signal::Term);
    assert_eq!(full.wait().await, 0);

    let _bisan = reading.run(&["--attempts-max", "1", "--claim-after", "300ms"]);
    reading.until_consumed().await;
    assert_eq!(letters(&reading.redis, DEAD).await.len(), 0);
    let count: i64 = reading.db().query_row("select count(*) from article", [], |row| row.get(0)).expect("read");
    assert_eq!(count, 200);
    assert_eq!(reading.json(&["verify", "--full", "--json"])["sound"], true);
}

#[tokio::test]
async fn strangers_of_one_name_stay_apart_until_somebody_merges_them_and_that_can_be_taken_back() {
    let reading = Reading::open().await;
    let by =
        |source: &str, path: &str, name: &str| told(path, 1, "عنوان", "نص").source(source).by(name, None).export();
    reading.say(&[by("daily", "a", "أحمد علي"), by("daily", "b", "احمد علي"), by("weekly", "c", "أحمد علي")]).await;
    let bisan = reading.run(&[]);
    let address = address(&bisan).await;
    reading.until_consumed().await;

    let people = reading.json(&["authors", "list", "احمد", "--json"]);
    let people: Vec<_> = people
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| {
            (
                one["id"].as_i64().expect("id"),
                one["source_name"].as_str().expect("a name").to_owned(),
                one["articles"].as_i64().expect("a count"),
            )
        })
        .collect();
    let of = |source: &str| people.iter().find(|(_, name, _)| name == source).expect(source);
    assert_eq!((of("daily").2, of("weekly").2), (2, 1), "two spellings of one source are one person: {people:?}");

    let (daily, weekly) = (of("daily").0.to_string(), of("weekly").0.to_string());
    assert_eq!(reading.verb(&["authors", "merge", &weekly, &weekly]).status.code(), Some(1));
    assert!(reading.verb(&["authors", "merge", &weekly, &daily]).status.success());
    let merged = get_json(address, &format!("/authors/{weekly}")).await.json();
    assert_eq!((&merged["author"]["id"], &merged["author"]["articles"]), (&of("daily").0.into(), &3.into()));
    assert_eq!(
        get_json(address, &format!("/articles?author={daily}")).await.json()["articles"]
            .as_array()
            .expect("a list")
            .len(),
        3
    );
    let dirty = "select count(*) from search_dirty d join article a on a.id = d.article_id and a.change = d.change";
    assert_eq!(reading.db().query_row(dirty, [], |row| row.get::<_, i64>(0)).expect("read"), 3);
    assert!(reading.verb(&["authors", "split", &weekly]).status.success());
    assert_eq!(get_json(address, &format!("/authors/{weekly}")).await.json()["author"]["articles"], 1);
}

#[tokio::test]
async fn names_that_share_an_authors_page_are_one_person_and_a_newsroom_is_nobody() {
    let reading = Reading::open().await;
    let page = Some("https://daily.example/people/7");
    let newsroom = Some("https://daily.example/about");
    let mut events = vec![
        told("a", 1, "عنوان", "نص").by("سلمى", page).export(),
        told("b", 1, "عنوان", "نص").by("Salma", page).export(),
        told("c", 1, "عنوان", "نص").source("weekly").by("Salma", page).export(),
    ];
    events.extend(
        (0..5).map(|n| told(&format!("n{n}"), 1, "عنوان", "نص").by(&format!("Reporter {n}"), newsroom).export()),
    );
    reading.say(&events).await;
    let _bisan = reading.run(&[]);
    reading.until_consumed().await;
    let people = reading.json(&["authors", "list", "--json"]);
    let counts: Vec<_> = people
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (one["source_name"].as_str().expect("a name"), one["articles"].as_i64().expect("a count")))
        .collect();
    assert_eq!(counts.iter().filter(|(_, count)| *count == 2).count(), 1, "{counts:?}");
    assert_eq!(counts.len(), 7, "one of two names, one in the other source, five reporters: {counts:?}");
}

#[tokio::test]
async fn a_merge_is_taken_back_with_all_who_follow() {
    let reading = Reading::open().await;
    let page = Some("https://daily.example/people/7");
    reading
        .say(&[
            told("a", 1, "عنوان", "نص").by("سلمى", page).export(),
            told("b", 1, "عنوان", "نص").by("Salma", page).export(),
            told("c", 1, "عنوان", "نص").by("Hadi", None).export(),
            told("d", 1, "عنوان", "نص").source("weekly").by("Salma Haddad", None).export(),
            told("e", 1, "عنوان", "نص").source("wire").by("S. Haddad", None).export(),
        ])
        .await;
    let bisan = reading.run(&[]);
    let address = address(&bisan).await;
    reading.until_consumed().await;
    let id = |name: &str| -> String {
        let found =
            reading.db().query_row("select id from author where name = ?1", [name], |row| row.get::<_, i64>(0));
        found.expect(name).to_string()
    };
    let who = async |name: &str| {
        let person = get_json(address, &format!("/authors/{}", id(name))).await.json()["author"].clone();
        (person["id"].to_string(), person["articles"].as_i64().expect("a count"))
    };
    let before = reading.dump();
    let salma = who("Salma").await.0;
    let merge = |one: &str, other: &str| assert!(reading.verb(&["authors", "merge", one, other]).status.success());
    // The weekly's is the daily's, who bears two names; all of them are the wire's.
    merge(&id("Salma Haddad"), &salma);
    merge(&salma, &id("S. Haddad"));
    for name in ["سلمى", "Salma", "Salma Haddad", "S. Haddad"] {
        assert_eq!(who(name).await, (id("S. Haddad"), 4), "{name}");
    }
    // Whoever turns up under the same address goes with them.
    reading.say(&[told("f", 1, "عنوان", "نص").by("A. Salma", page).export()]).await;
    reading.until_consumed().await;
    assert_eq!(who("A. Salma").await, (id("S. Haddad"), 5));
    reading.say(&[told("f", 2, "عنوان", "نص").gone(Removal::Gone)]).await;
    reading.until_consumed().await;

    let split = |one: &str| assert!(reading.verb(&["authors", "split", one]).status.success());
    split(&salma);
    assert_eq!(who("S. Haddad").await.1, 1);
    assert_eq!(who("سلمى").await.0, who("Salma").await.0);
    assert_eq!((who("Salma").await.1, who("Salma Haddad").await), (3, who("Salma").await));
    split(&id("Salma Haddad"));
    assert_eq!((who("Salma").await.1, who("Salma Haddad").await.1), (2, 1));
    let merged = |dump: &str| dump.lines().filter(|line| line.contains("operator")).count();
    assert_eq!((merged(&before), merged(&reading.dump())), (0, 0));
}

#[tokio::test]
async fn a_name_goes_with_the_last_article_that_bears_it() {
    let reading = Reading::open().await;
    let page = Some("https://daily.example/people/7");
    let two = told("two", 1, "عنوان", "نص").by("Zenobia Quill", page);
    reading
        .say(&[
            told_author("daily", "Zenobia Quill", page, 3),
            told("one", 1, "عنوان", "نص").by("Zenobia Quill", None).by("Omar Said", None).export(),
            two.clone().export(),
            told("three", 1, "عنوان", "نص").by("Xanthe Marlow", None).export(),
        ])
        .await;
    let mut bisan = reading.run(&[]);
    reading.until_consumed().await;
    let knows = |name: &str| -> bool {
        reading.db().query_row("select 1 from author where name = ?1", [name], |_| Ok(())).is_ok()
    };
    reading.say(&[told("one", 2, "عنوان", "نص").gone(Removal::Takedown)]).await;
    reading.until_consumed().await;
    assert!(knows("Zenobia Quill") && !knows("Omar Said"), "one has another article, and one has none");
    // Another name takes the place of this one.
    reading.say(&[told("two", 2, "عنوان", "نص").by("Layla", None).export()]).await;
    reading.say(&[told("three", 2, "عنوان", "نص").gone(Removal::Gone)]).await;
    reading.until_consumed().await;
    assert!(knows("Layla") && !knows("Zenobia Quill") && !knows("Xanthe Marlow"));
    // What comes too late brings nobody back.
    reading
        .say(&[two
            .with(|event| event.article.title = "older".into())
            .with(|event| event.origin.version = 1)
            .export()])
        .await;
    reading
        .say(&[
            told("four", 2, "", "").gone(Removal::Gone),
            told("four", 1, "عنوان", "نص").by("Yorick", None).export(),
        ])
        .await;
    bisan.signal(Signal::Term);
    assert_eq!(bisan.wait().await, 0);
    let _bisan = reading.run(&[]);
    reading.until_consumed().await;
    assert!(!knows("Yorick") && !knows("Zenobia Quill"));
    assert_eq!(reading.json(&["verify", "--full", "--json"])["sound"], true);
    // Not in the file either, once the free pages are used again or gone.
    // The ids of events are this test's own words; the inbox forgets them when they are settled everywhere.
    reading.db().execute_batch("delete from inbox_seen; vacuum").expect("done");
    reading.db().query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())).expect("done");
    let bytes = std::fs::read(reading.file()).expect("it is there");
    for name in ["Zenobia Quill", "zenobia quill", "Xanthe Marlow", "Yorick"] {
        assert!(!bytes.windows(name.len()).any(|part| part == name.as_bytes()), "{name}");
    }
}

#[tokio::test]
async fn who_was_merged_is_forgotten_with_the_whole_person() {
    let reading = Reading::open().await;
    let page = Some("https://daily.example/people/7");
    let of = |path: &str, source: &str, name: &str, url| told(path, 1, "عنوان", "نص").source(source).by(name, url);
    let (salma, other) = (of("a", "daily", "Salma", page), of("b", "daily", "سلمى", page));
    let (weekly, third) = (of("c", "weekly", "Salma H.", None), of("d", "daily", "Zalma", page));
    reading.say(&[&salma, &other, &weekly, &third].map(|one| one.clone().export())).await;
    let _bisan = reading.run(&[]);
    reading.until_consumed().await;
    let id = |name: &str| -> Option<i64> {
        reading.db().query_row("select id from author where name = ?1", [name], |row| row.get(0)).ok()
    };
    let end = async |one: &outbox_tests::Told| {
        reading.say(&[one.clone().with(|event| event.origin.version = 2).gone(Removal::Gone)]).await;
        reading.until_consumed().await;
    };
    // Salma is the first of three who share a page. Without her the others are one person all the same.
    end(&salma).await;
    assert_eq!(id("Salma"), None);
    let person = reading.json(&["authors", "list", "zalma", "--json"]);
    let known = if person[0].is_null() { reading.json(&["authors", "list", "سلمى", "--json"]) } else { person };
    assert_eq!((&known[0]["articles"], known[0]["merged"].as_array().map(Vec::len)), (&2.into(), Some(1)), "{known}");

    // A person said that these are one. What is left of the one keeps the other.
    let root = known[0]["id"].to_string();
    let follower = id("Salma H.").expect("known").to_string();
    assert!(reading.verb(&["authors", "merge", &root, &follower]).status.success());
    end(&weekly).await;
    assert_eq!(reading.json(&["authors", "list", "salma h", "--json"])[0]["articles"], 2, "it is their name");
    end(&other).await;
    end(&third).await;
    let left: i64 = reading.db().query_row("select count(*) from author", [], |row| row.get(0)).expect("read");
    assert_eq!(left, 0, "{}", reading.dump());
    assert_eq!(reading.json(&["verify", "--full", "--json"])["sound"], true);
}

#[tokio::test]
async fn names_that_were_left_behind_by_an_older_program_are_gone_after_it() {
    let reading = Reading::open().await;
    let mut bisan = reading.run(&[]);
    reading.say(&[told("a", 1, "عنوان", "نص").by("Salma", None).by("Omar", None).export()]).await;
    reading.until_consumed().await;
    bisan.signal(Signal::Term);
    assert_eq!(bisan.wait().await, 0);
    // As version 4 had it.
    let dump = reading.dump();
    reading
        .db()
        .execute_batch(
            "insert into author (source_name, folded_name, name, name_rank) values ('daily', 'gone', 'Gone', '0');
             insert into author (source_name, folded_name, name, name_rank, merged_into, merged_by)
                values ('daily', 'kept', 'Kept', '0', 1, 'operator');
             alter table article_author drop column name_rank;
             alter table article_author drop column url_rank;
             pragma user_version = 4;",
        )
        .expect("done");
    assert!(reading.verb(&["migrate"]).status.success());
    let names: String = reading
        .db()
        .query_row("select group_concat(name, ' ') from (select name from author order by id)", [], |row| row.get(0))
        .expect("read");
    assert_eq!(names, "Salma Omar Kept");
    reading.db().execute_batch("delete from author where name = 'Kept'").expect("done");
    assert_eq!(reading.dump(), dump, "nothing else has changed");
    let rank = "select name_rank = (select name_rank from author where id = author_id) from article_author";
    assert!(reading.db().query_row(rank, [], |row| row.get::<_, bool>(0)).expect("read"));
}

#[tokio::test]
async fn a_sqlite_of_a_distribution_can_look_into_the_file_and_vacuum_it() {
    let reading = Reading::open().await;
    let _bisan = reading.run(&[]);
    reading.say(&[told("a", 1, "عنوان", "نص").by("Salma", None).by("Omar", None).export()]).await;
    reading.until_consumed().await;
    let schema: String = reading
        .db()
        .query_row("select group_concat(lower(sql), ';') from sqlite_schema", [], |row| row.get(0))
        .expect("read");
    // Known since 3.44 only: whoever reads the schema stumbles over it.
    let within = schema.split("json_group_array(").skip(1).filter_map(|rest| rest.split(')').next());
    assert!(within.clone().count() == 2 && !within.clone().any(|inner| inner.contains("order by")), "{schema}");
    let ask = |words: &str| std::process::Command::new("sqlite3").arg(reading.file()).arg(words).output();
    let Ok(vacuumed) = ask("vacuum") else {
        println!("there is no sqlite3 here: the schema alone was looked at");
        return;
    };
    assert!(vacuumed.status.success(), "{}", String::from_utf8_lossy(&vacuumed.stderr));
    let told = ask("select authors || ' ' || author_ids from search_document").expect("it is there");
    assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), "[\"Salma\",\"Omar\"] [1,2]");
}

#[tokio::test]
async fn authors_keep_the_order_of_the_page() {
    let reading = Reading::open().await;
    let one = told("a", 1, "عنوان", "نص").by("ب", None).by("أ", None).by("ا", None).by("  ", None);
    reading.say(&[one.export()]).await;
    let _bisan = reading.run(&[]);
    reading.until_consumed().await;
    let shown = reading.json(&["show", "1", "--json"]);
    let names: Vec<_> = shown["authors"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, ["ب", "أ"], "one person is named once, and nobody is nobody");
}

#[tokio::test]
async fn verify_finds_what_differs_and_repair_mends_it() {
    let reading = Reading::open().await;
    reading
        .say(
            &(0..30)
                .map(|n| {
                    told(&format!("{n}"), 1, &format!("عنوان {n}"), "نص الخبر")
                        .by("سلمى", None)
                        .by("عمر", None)
                        .export()
                })
                .collect::<Vec<_>>(),
        )
        .await;
    let mut bisan = reading.run(&[]);
    reading.until_consumed().await;
    bisan.signal(Signal::Term);
    assert_eq!(bisan.wait().await, 0);
    assert!(reading.verb(&["verify"]).status.success());
    let whole = reading.dump();

    let db = reading.db();
    db.execute_batch(
        "pragma foreign_keys = off;
         delete from article_text where rowid = 3;
         update article_text set body = 'something else' where rowid = 4;
         insert into article_text (rowid, title) values (999, 'nothing');
         update article set title = 'عنوان آخر' where id = 5;
         delete from article_author where article_id = 6 and position = 1;
         insert into article_author (article_id, position, author_id, name) values (7, 3, 12345, 'nobody');
         update search_dirty set change = 1000000 where article_id = 8;",
    )
    .expect("done");
    let health = reading.json(&["verify", "--full", "--json"]);
    assert_eq!(health["sound"], false);
    let found: Vec<_> = health["health"]["findings"].as_object().expect("kinds").keys().map(String::as_str).collect();
    assert_eq!(
        found,
        ["authors_out_of_order", "dangling", "dirty_ahead", "not_searchable", "other_text", "searchable_but_gone"]
    );
    assert_eq!(health["health"]["findings"]["other_text"]["count"], 4, "two texts, two that lost and won an author");
    assert_eq!(reading.verb(&["verify", "--full"]).status.code(), Some(1));

    assert!(reading.verb(&["repair"]).status.success());
    assert_eq!(reading.json(&["verify", "--full", "--json"])["sound"], true);
    db.execute_batch(
        "update article set title = 'عنوان 4' where id = 5;
         update article_text set title = (select title from article_text where rowid = 5) where rowid = 5;",
    )
    .expect("done");
    drop(db);
    assert!(reading.verb(&["repair"]).status.success());
    let signed = |dump: &str| {
        dump.lines()
            .filter(|line| line.starts_with("Text(\"text") || line.starts_with("Text(\"article"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let differ: Vec<_> =
        signed(&whole).into_iter().zip(signed(&reading.dump())).filter(|(one, other)| one != other).collect();
    assert!(differ.len() <= 1, "only the article that lost an author is another one: {differ:#?}");
}

#[tokio::test]
async fn an_index_that_is_damaged_is_found_out_and_made_anew() {
    let reading = Reading::open().await;
    reading
        .say(&(0..30).map(|n| told(&format!("{n}"), 1, "افتتاح مدرسة", "نص الخبر").export()).collect::<Vec<_>>())
        .await;
    let mut bisan = reading.run(&[]);
    reading.until_consumed().await;
    bisan.signal(Signal::Term);
    assert_eq!(bisan.wait().await, 0);
    reading.db().execute_batch("delete from article_text_data where id > 10").expect("done");
    let health = reading.json(&["verify", "--json"]);
    assert!(health["health"]["findings"]["damaged_index"]["count"] == 1, "{health}");
    assert!(reading.verb(&["repair"]).status.success());
    assert!(reading.verb(&["verify", "--full"]).status.success());
    assert_eq!(reading.json(&["search", "مدرسة", "--json"])["total"], 30);
}

#[tokio::test]
async fn an_export_of_the_archive_makes_the_same_file_and_twice_is_once() {
    let mut chance = Chance::from_environment();
    let reading = Reading::open().await;
    let events = history(&mut chance, 200, 1_000);
    reading.say(&events).await;
    let _bisan = reading.run(&[]);
    reading.until_consumed().await;

    let folder = tempfile::tempdir().expect("a folder");
    let (export, other) = (folder.path().join("export.ndjson"), folder.path().join("other.sqlite"));
    let lines: Vec<_> =
        shuffled(&mut chance, events).iter().map(|event| serde_json::to_string(event).expect("JSON")).collect();
    let end = export_end(lines.len(), None);
    std::fs::write(&export, format!("{}\n\n{end}\n", lines.join("\n"))).expect("written");
    let rebuild = |file: &std::path::Path| {
        let arguments = ["rebuild", "--json", "--from-hasad", file.to_str().expect("UTF-8")];
        let output = reading.command_on(&other, &arguments).output().expect("started");
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (output.status.code(), summary)
    };
    let (code, summary) = rebuild(&export);
    assert_eq!((code, summary["lines"].as_u64(), summary["wrong"].as_u64()), (Some(0), Some(1_000), Some(0)));
    assert_eq!(dump(&Connection::open(&other).expect("there")), reading.dump());
    let (_, summary) = rebuild(&export);
    assert_eq!((summary["new"].as_u64(), summary["changed"].as_u64()), (Some(0), Some(0)), "{summary}");

    let bad = folder.path().join("bad.ndjson");
    let hash = lines[0].replacen("\"content_hash\":\"", "\"content_hash\":\"0", 1);
    std::fs::write(&bad, format!("no json\n{hash}\n{}\n{{\"type\":\"x\",\"data\":{{}}}}\n", lines[1]))
        .expect("written");
    let (code, summary) = rebuild(&bad);
    assert_eq!((code, summary["lines"].as_u64()), (Some(1), Some(4)));
    let numbers: Vec<_> =
        summary["complaints"].as_array().expect("a list").iter().map(|one| one[0].as_u64()).collect();
    assert!(numbers.starts_with(&[Some(1)]) && numbers.contains(&Some(4)), "{summary}");
}

#[tokio::test]
async fn a_source_that_is_left_alone_has_no_effect_and_the_others_have() {
    let reading = Reading::open().await;
    let of = |source: &str| told("a", 1, "عنوان", "نص").source(source).by("سلمى", None).export();
    reading.say(&[of("daily"), of("weekly"), told_author("weekly", "عمر", None, 1)]).await;
    // Nor is anybody asked about its flaws.
    reading.say_raw("flawed", "article.upserted", 1, r#"{"source_name": "weekly", "source_url": ""}"#).await;
    let _bisan = reading.run(&["--skip-sources", "weekly,other"]);
    reading.until_consumed().await;
    assert_eq!(letters(&reading.redis, DEAD).await.len(), 0);
    let sources: Vec<String> = {
        let db = reading.db();
        let mut query =
            db.prepare("select source_name from article union all select source_name from author").expect("valid");
        query.query_map([], |row| row.get(0)).expect("read").collect::<Result<_, _>>().expect("read")
    };
    assert_eq!(sources, ["daily", "daily"]);
}

#[tokio::test]
async fn asked_to_stop_it_ends_what_it_does_and_leaves_nothing_pending() {
    let reading = Reading::open().await;
    reading.say(&(0..2_000).map(|n| told(&format!("{n}"), 1, "عنوان", "نص").export()).collect::<Vec<_>>()).await;
    let mut bisan = reading.run(&[]);
    eventually("it to be busy", async || changes(&reading) > 0).await;
    bisan.signal(Signal::Term);
    assert_eq!(bisan.wait().await, 0);
    assert!(bisan.log().contains("Bisan has stopped"));
    assert!(!reading.file().with_extension("sqlite-wal").exists(), "the log went back into the file");
    let before = changes(&reading);
    let _bisan = reading.run(&[]);
    reading.until_consumed().await;
    assert_eq!(changes(&reading), 2_000, "{before} before");
}

#[tokio::test]
async fn wrong_settings_are_one_sentence_and_64() {
    let reading = Reading::open().await;
    for (arguments, words) in [
        (&["run", "--listen", "nowhere"][..], "(BISAN_LISTEN)"),
        (&["run", "--redis-url", "http://x"], "must begin with redis://"),
        (&["run", "--batch-max", "60000"], "(BISAN_BATCH_MAX)"),
        (&["run", "--write-max", "0"], "(BISAN_WRITE_MAX) must not be 0"),
        (&["run", "--drain-max", "soon"], "(BISAN_DRAIN_MAX)"),
        (&["search", "--from", "yesterday", "x"], "--from"),
        (&["search", "😀"], "no word"),
        (&["verify"], "bisan migrate"),
        (&["rebuild", "--from-hasad", "/nowhere/at/all"], "--from-hasad"),
        (&["serach"], "did you mean 'search'"),
    ] {
        let output = reading.verb(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {said}");
        assert!(said.contains(words) && said.lines().count() == 1, "{arguments:?}: {said}");
    }
    let settings = reading.json(&["settings", "--json"]);
    let of =
        |flag: &str| settings.as_array().expect("a list").iter().find(|one| one["flag"] == flag).expect(flag).clone();
    assert_eq!((&of("--batch-max")["value"], &of("--batch-max")["from"]), (&"200".into(), &"default".into()));
    assert_eq!((&of("--redis-url")["value"], &of("--redis-url")["from"]), (&"...".into(), &"environment".into()));
}
