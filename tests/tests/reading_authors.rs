//! Who wrote: people of one name, names of one person, and names that go with their last article.

use contract::Removal;
use outbox_tests::{Reading, Signal, address, get_json, told, told_author};

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
