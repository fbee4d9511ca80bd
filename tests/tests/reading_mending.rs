//! The file is looked through, and mended from the articles themselves.

use outbox_tests::{Reading, Signal, told};

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
