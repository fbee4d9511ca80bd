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

#[tokio::test]
async fn without_a_search_server_nothing_waits_for_one_and_nobody_is_alarmed() {
    let reading = Reading::open().await;
    reading.say(&(0..3).map(|n| told(&format!("{n}"), 1, "عنوان", "نص").export()).collect::<Vec<_>>()).await;
    let _bisan = reading.run(&[]);
    reading.until_consumed().await;
    let said = |arguments: &[&str], url: &str| {
        let output = reading.command(arguments).env("MEILI_URL", url).output().expect("started");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let not_used = "search index: not used; SQLite answers every search\n";
    assert_eq!(said(&["status"], ""), not_used);
    let verified = said(&["verify"], "");
    assert!(verified.contains(not_used) && !verified.contains("to be brought"), "{verified}");
    assert!(said(&["status", "--json"], "").contains("\"used\": \"no\""));
    // With one they wait; and where there was one, it is told that none is set here.
    assert!(said(&["status"], "http://127.0.0.1:1").contains("to be brought to the index  3"));
    reading.db().execute_batch("insert into fact (name, value) values ('search_index', 'x')").expect("done");
    let before = said(&["status"], "");
    assert!(
        before.contains("MEILI_URL is not set here") && before.contains("to be brought to the index"),
        "{before}"
    );
    assert!(said(&["verify"], "").contains("to be brought to the index"));
}
