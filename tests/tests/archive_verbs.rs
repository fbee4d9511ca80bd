//! The verbs for people: what they answer, and with which exit code.

use outbox_tests::{Cellar, Store, story};
use serde_json::Value;

const PAGE: &str = "https://example.org/a";

/// A page with two editions and its end, and another one with the content of the first edition.
async fn stocked(store: Store) -> Cellar {
    let cellar = Cellar::open(store).await;
    let events = [
        story("a", 1, "first").event(),
        story("a", 2, "second").event(),
        story("a", 3, "second").gone(),
        story("b", 1, "first").event(),
    ];
    cellar.archive(&events).await;
    cellar
}

#[tokio::test]
async fn history_lists_every_version_with_its_status_and_reason() {
    let cellar = stocked(Store::Folder).await;
    let (code, text) = cellar.verb(&["history", PAGE]).await;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((code, lines.len()), (0, 4));
    assert!(lines[0].starts_with("version  status"));
    assert!(lines[3].starts_with("3        deleted (gone_410)"), "{text}");
    let (code, json) = cellar.ask(&["history", PAGE]).await;
    let status: Vec<_> = json.as_array().expect("a list").iter().map(|row| row["status"].as_str()).collect();
    assert_eq!((code, status), (0, vec![Some("superseded"), Some("superseded"), Some("deleted")]));
    assert_eq!(cellar.verb(&["history", "https://example.org/nothing"]).await.0, 1);
}

#[tokio::test]
async fn get_answers_what_a_page_said_at_a_time_byte_for_byte() {
    let cellar = stocked(Store::S3).await;
    let at = |version: u64| story("a", version, "first").origin.fetched_at;
    let (code, bytes) = cellar.verb(&["get", PAGE, "--at", &at(1)]).await;
    assert_eq!((code, bytes.into_bytes()), (0, story("a", 1, "first").bytes()));
    let (code, bytes) = cellar.verb(&["get", PAGE, "--at", &at(2)]).await;
    assert_eq!((code, bytes.into_bytes()), (0, story("a", 2, "second").bytes()));
    assert_eq!(cellar.verb(&["get", PAGE]).await, (1, String::new()), "it is gone");
    assert_eq!(cellar.verb(&["get", PAGE, "--at", "2025-12-31"]).await, (1, String::new()), "not yet there");
    let (code, json) = cellar.ask(&["get", PAGE, "--at", &at(2)]).await;
    assert_eq!((code, &json["version"], &json["event"]), (0, &2.into(), &story("a", 2, "second").payload()));
}

#[tokio::test]
async fn show_prints_a_version_to_read_and_diff_what_an_edit_changed() {
    let cellar = stocked(Store::Folder).await;
    let (code, text) = cellar.verb(&["show", PAGE, "--version", "1"]).await;
    assert!(code == 0 && text.contains("Headline: first") && text.contains("version 1, superseded"), "{text}");
    let (code, text) = cellar.verb(&["diff", PAGE]).await;
    assert_eq!(code, 1, "they differ");
    assert!(text.contains("- Headline: first\n+ Headline: second\n"), "{text}");
    let (code, json) = cellar.ask(&["diff", PAGE, "--from", "1", "--to", "2"]).await;
    let fields: Vec<_> = json.as_array().expect("a list").iter().map(|field| field["field"].as_str()).collect();
    assert_eq!((code, fields), (1, vec![Some("title"), Some("body")]));
    assert_eq!(cellar.verb(&["diff", PAGE, "--from", "1", "--to", "1"]).await.0, 0, "the same");
    assert_eq!(cellar.verb(&["show", PAGE, "--version", "9"]).await.0, 1);
}

#[tokio::test]
async fn an_export_is_the_events_as_they_came_and_makes_the_same_archive_elsewhere() {
    let cellar = stocked(Store::S3).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("export.ndjson");
    let path = file.to_str().expect("a plain path");
    assert_eq!(cellar.verb(&["export-ndjson", "--file", path]).await.0, 0);
    let lines: Vec<Value> = std::fs::read_to_string(&file)
        .expect("written")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0]["data"], story("a", 1, "first").payload());
    assert_eq!(lines[2]["type"], "article.deleted");
    let other = Cellar::open(Store::Folder).await;
    let (code, read) = other.ask(&["import-ndjson", path]).await;
    assert_eq!((code, &read["versions"], &read["objects"]), (0, &4.into(), &2.into()));
    assert_eq!(other.rows().await, cellar.rows().await);
    other.assert_sound().await;
    // Once more: what is there stays as it is.
    let (code, read) = other.ask(&["import-ndjson", path, "--from-start"]).await;
    assert_eq!((code, &read["versions"], &read["objects"]), (0, &0.into(), &0.into()));
    let (code, current) = cellar.verb(&["export-ndjson", "--current", "--source", "daily"]).await;
    assert_eq!((code, current.lines().count()), (0, 3));
    let end: Value = serde_json::from_str(current.lines().last().expect("a line")).expect("JSON");
    let said = serde_json::json!({ "lines": 2, "left_out": 0, "source": "daily", "current": true });
    assert_eq!((&end["type"], &end["data"]), (&"export.end".into(), &said));
}

#[tokio::test]
async fn an_export_that_was_cut_off_is_refused_before_anything_is_imported() {
    let cellar = stocked(Store::Folder).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("export.ndjson");
    let path = file.to_str().expect("a plain path");
    assert_eq!(cellar.verb(&["export-ndjson", "--file", path]).await.0, 0);
    let whole = std::fs::read_to_string(&file).expect("written");
    let lines: Vec<&str> = whole.lines().collect();
    let other = Cellar::open(Store::Folder).await;
    // Behind a line, in the middle of one, in the middle of the last one, and nothing at all.
    let end = whole.len() - lines.last().expect("the end").len() / 2;
    for part in [&whole[..lines[0].len() + 1], &whole[..lines[0].len() + 90], &whole[..end], ""] {
        std::fs::write(&file, part).expect("written");
        for flags in [&["import-ndjson", path][..], &["import-ndjson", path, "--dry-run"]] {
            let output = tokio::process::Command::from(other.command(flags)).output().await.expect("it runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
            assert!(said.contains("is cut off") && said.contains("--without-end"), "{said}");
        }
        assert_eq!(other.rows().await.len(), 0);
    }
    // Lines that are missing in the middle are counted.
    std::fs::write(&file, [&lines[..1], &lines[2..]].concat().join("\n")).expect("written");
    let (code, said) = import(&other, &[path]).await;
    assert!(code == Some(1) && said.contains("says that 4 lines stand before it, and there are 3"), "{said}");
    // Two exports, one behind the other, are both whole.
    std::fs::write(&file, whole.repeat(2)).expect("written");
    let (code, read) = other.ask(&["import-ndjson", path, "--from-start"]).await;
    assert_eq!((code, &read["lines"], &read["bad_lines"]), (0, &10.into(), &0.into()));
    assert_eq!(other.rows().await, cellar.rows().await);
}

#[tokio::test]
async fn an_import_tells_bad_lines_by_their_number_and_goes_on_where_it_was() {
    let cellar = Cellar::open(Store::Folder).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("legacy.ndjson");
    let path = file.to_str().expect("a plain path").to_owned();
    let line = |page: u32| {
        let told = story(&format!("p{page}"), 1, &format!("content {page}"));
        serde_json::json!({ "type": "article.upserted", "data": told.payload() }).to_string() + "\n"
    };
    let mut text: String = (0..700).map(line).collect();
    text += "this is no event\n\n";
    text += &line(700).replace("\"content_hash\":\"", "\"content_hash\":\"0");
    text += &line(701);
    std::fs::write(&file, &text).expect("written");

    let (code, dry) = cellar.ask(&["import-ndjson", &path, "--without-end", "--dry-run"]).await;
    assert_eq!((code, &dry["events"], &dry["bad_lines"]), (1, &701.into(), &2.into()));
    assert_eq!(cellar.rows().await.len(), 0);

    let output = tokio::process::Command::from(cellar.command(&["import-ndjson", &path, "--without-end"]))
        .output()
        .await
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("line 701: is not an event") && said.contains("line 703: content_hash"), "{said}");
    assert_eq!(cellar.rows().await.len(), 701);

    // More was added behind: only that is read.
    std::fs::write(&file, text.clone() + &line(800)).expect("written");
    let (_, more) = cellar.ask(&["import-ndjson", &path, "--without-end"]).await;
    assert_eq!((&more["already"], &more["lines"], &more["versions"]), (&704.into(), &705.into(), &1.into()));
    // Another file under that name is not taken for this one.
    std::fs::write(&file, text.replace("content 0", "content x") + &line(801)).expect("written");
    assert_eq!(cellar.verb(&["import-ndjson", &path, "--without-end"]).await.0, 64);
    cellar.assert_sound().await;
}

/// What an import says, and its exit code.
async fn import(cellar: &Cellar, arguments: &[&str]) -> (Option<i32>, String) {
    let verb = [&["import-ndjson"], arguments].concat();
    let output = tokio::process::Command::from(cellar.command(&verb)).output().await.expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn a_line_that_postgres_does_not_take_and_one_that_contradicts_are_told_by_their_numbers() {
    let cellar = Cellar::open(Store::Folder).await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let line = |id: &str, page: &str, body: &str| {
        let data = story(page, 1, body).payload();
        serde_json::json!({ "type": "article.upserted", "id": id, "data": data }).to_string() + "\n"
    };
    let lines = [
        line("1", "a", "first"),
        line("no\u{0}name", "b", "second"),
        line("3", "a", "not the first"),
        line("4", "c", "third"),
    ];
    std::fs::write(file.path(), lines.concat()).expect("written");
    let (code, said) = import(&cellar, &["--without-end", file.path().to_str().expect("a plain path")]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("line 2: Postgres: "), "{said}");
    assert!(said.contains("line 3: version 1 of https://example.org/a is archived already"), "{said}");
    let pages: Vec<_> = cellar.rows().await.into_iter().map(|row| row.0).collect();
    assert_eq!(pages, ["https://example.org/a", "https://example.org/c"]);
    cellar.sweep().await;
    cellar.assert_sound().await;
}

#[tokio::test]
async fn half_a_line_at_the_end_waits_for_its_other_half() {
    let cellar = Cellar::open(Store::Folder).await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a plain path").to_owned();
    let line = |page: &str| {
        let data = story(page, 1, page).payload();
        serde_json::json!({ "type": "article.upserted", "data": data }).to_string() + "\n"
    };
    let (one, other) = (line("a"), line("b"));
    std::fs::write(&file, format!("{one}{}", &other[..other.len() / 2])).expect("written");
    for already in [0, 1] {
        let (code, read) = cellar.ask(&["import-ndjson", &path, "--without-end"]).await;
        assert_eq!((code, &read["already"], &read["lines"]), (1, &already.into(), &1.into()));
        assert_eq!((&read["unfinished"], &read["bad_lines"]), (&true.into(), &0.into()));
    }
    std::fs::write(&file, format!("{one}{other}")).expect("written");
    let (code, read) = cellar.ask(&["import-ndjson", &path, "--without-end"]).await;
    assert_eq!((code, &read["already"], &read["lines"], &read["versions"]), (0, &1.into(), &2.into(), &1.into()));
    cellar.assert_sound().await;
}

#[tokio::test]
async fn an_export_that_fails_leaves_the_last_one_as_it_was() {
    let cellar = Cellar::open(Store::Folder).await;
    let long = "a long text ".repeat(500);
    let events: Vec<_> = (0..30).map(|nth| story(&format!("p{nth}"), 1, &format!("{long}{nth}")).event()).collect();
    cellar.archive(&events).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("export.ndjson");
    std::fs::write(&file, "the last one\n").expect("written");
    let export = cellar.command(&["export-ndjson", "--file", file.to_str().expect("a plain path")]);
    // A limit on the size of files stands in for a full disk: the write fails half-way, as it does there.
    let mut full = tokio::process::Command::new("sh");
    full.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"])
        .arg(export.get_program())
        .args(export.get_args());
    full.envs(export.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = full.output().await.expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("the export cannot be written"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "the last one\n");
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 1, "and no half of the new one");
    assert_eq!(cellar.verb(&["export-ndjson", "--file", file.to_str().expect("a plain path")]).await.0, 0);
    assert_eq!(std::fs::read_to_string(&file).expect("it is there").lines().count(), 31);
}

#[tokio::test]
async fn an_import_that_is_killed_goes_on_and_doubles_nothing() {
    let cellar = Cellar::open(Store::Folder).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("many.ndjson");
    let path = file.to_str().expect("a plain path").to_owned();
    let line = |page: u32| {
        let told = story(&format!("p{page}"), 1, &format!("content {page}"));
        serde_json::json!({ "type": "article.upserted", "data": told.payload() }).to_string() + "\n"
    };
    std::fs::write(&file, (0..3_000).map(line).collect::<String>()).expect("written");
    let mut import = outbox_tests::Child::spawn(cellar.command(&["import-ndjson", &path, "--without-end"]));
    outbox_tests::eventually("some of it to be there", async || !cellar.rows().await.is_empty()).await;
    import.kill_9();
    import.wait().await;
    cellar.assert_nothing_is_missing().await;
    let (code, rest) = cellar.ask(&["import-ndjson", &path, "--without-end"]).await;
    assert_eq!((code, &rest["lines"]), (0, &3_000.into()));
    assert!(rest["already"].as_u64() > Some(0) && rest["versions"].as_u64() < Some(3_000), "{rest}");
    assert_eq!(cellar.rows().await.len(), 3_000);
    cellar.sweep().await;
    cellar.assert_sound().await;
}

#[tokio::test]
async fn a_purge_leaves_nothing_of_a_page_and_keeps_it_out() {
    let cellar = stocked(Store::S3).await;
    let (code, dry) = cellar.ask(&["purge", PAGE, "--dry-run"]).await;
    assert_eq!((code, &dry["versions"], &dry["objects"]), (1, &3.into(), &1.into()));
    assert_eq!(cellar.named().await.len(), 2, "nothing has happened");

    let (code, purged) = cellar.ask(&["purge", PAGE, "--reason", "gdpr 17"]).await;
    assert_eq!((code, &purged["objects"]), (1, &1.into()), "one content is another page's, too");
    assert_eq!(purged["stay"][0]["pages"][0], "https://example.org/b");
    assert_eq!(cellar.objects(), [story("b", 1, "first").hash()].into());
    let left: String = cellar
        .stage
        .ask("select string_agg(concat_ws('|', title, content_hash, event_id, about::text, object_hash), ',') from hasad.version where source_url like '%/a'")
        .await;
    assert_eq!(left, "||{},||{},||{}");
    cellar.assert_sound().await;

    // Neither what comes again nor what is new brings it back.
    cellar.sql("truncate hasad.inbox_seen").await;
    cellar.redeliver().await;
    cellar.archive(&[story("a", 4, "third").event()]).await;
    assert_eq!(cellar.named().await.len(), 1);
    cellar.assert_sound().await;
    let (code, text) = cellar.verb(&["history", PAGE]).await;
    assert!(code == 0 && text.contains("deleted (gdpr 17)"), "{text}");

    assert_eq!(cellar.verb(&["purge", PAGE, "--lift"]).await.0, 0);
    assert_eq!(cellar.verb(&["purge", PAGE, "--lift"]).await.0, 1);
    cellar.archive(&[story("a", 5, "fourth").event()]).await;
    assert_eq!(cellar.versions(PAGE).await.last(), Some(&(5, "active".to_owned())));
}

#[tokio::test]
async fn wrong_flags_and_settings_are_one_sentence_and_exit_with_64() {
    let cellar = Cellar::open(Store::Folder).await;
    let wrong: &[(&[&str], &str)] = &[
        (&["run", "--store", "ftp://x"], "--store (HASAD_STORE) must begin with file:, s3:// or memory:"),
        (&["run", "--write-max", "soon"], "(HASAD_WRITE_MAX)"),
        (&["run", "--write-max", "0"], "--write-max (HASAD_WRITE_MAX) must not be 0"),
        (&["run", "--database-url", "mysql://x"], "--database-url (DATABASE_URL) must begin with postgres://"),
        (&["run", "--redis-url", "http://x"], "--redis-url (REDIS_URL) must begin with redis://"),
        (&["run", "--redis-url", "redisfoo"], "--redis-url (REDIS_URL) must begin with redis://"),
        (&["run", "--store", "s3://key:hunter2@archive"], "--store (HASAD_STORE) must hold no key"),
        (
            &["run", "--store", "s3://archive?key=hunter2"],
            "--store (HASAD_STORE) must be a bucket and a prefix alone",
        ),
        (
            &["run", "--store", "s3://archive", "--s3-endpoint", "http://me:hunter2@x"],
            "--s3-endpoint (AWS_ENDPOINT_URL) must be a plain address",
        ),
        (
            &["run", "--store", "s3://archive", "--s3-endpoint", "hunter2"],
            "--s3-endpoint (AWS_ENDPOINT_URL) must begin with http://",
        ),
        (&["import-ndjson", "x", "--object-bytes-max", "0"], "it must be at least 1 (HASAD_OBJECT_BYTES_MAX)"),
        (&["fsck", "--sample", "many"], "a sample is a number of objects, or a percentage such as 5%"),
        (&["fsck", "--store", "memory:"], "is gone with the process"),
        (&["fsck", "--store", "file:///not/there"], "names a folder that is not there: /not/there"),
        (&["gc", "--grace=-1h"], "a duration cannot be negative (HASAD_GRACE)"),
        (&["get", PAGE, "--at", "yesterday"], "a time is a day"),
        (&["purge", "example.org"], "is not an address of a page"),
        (&["fsk"], "did you mean 'fsck'?"),
    ];
    for (flags, sentence) in wrong {
        let output = tokio::process::Command::from(cellar.command(flags)).output().await.expect("it can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{flags:?}: {said}");
        assert!(
            said.starts_with("hasad: ")
                && said.contains(sentence)
                && said.lines().count() == 1
                && !said.contains("hunter2"),
            "{flags:?}: {said}"
        );
    }
}

#[tokio::test]
async fn missing_tables_are_told_with_the_remedy() {
    let cellar = Cellar::open(Store::Folder).await;
    let url = cellar.stage.postgres.database().await;
    let mut command = cellar.command(&["history", PAGE]);
    command.env("DATABASE_URL", &url);
    let output = tokio::process::Command::from(command).output().await.expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("`hasad migrate` makes them"), "{said}");
    for _ in 0..2 {
        let mut command = cellar.command(&["migrate"]);
        command.env("DATABASE_URL", &url);
        let output = tokio::process::Command::from(command).output().await.expect("it can be started");
        assert!(output.status.success());
    }
}

#[tokio::test]
async fn every_help_has_examples_and_no_credential_is_ever_shown() {
    let cellar = Cellar::open(Store::Folder).await;
    let verbs =
        ["run", "migrate", "history", "show", "diff", "get", "fsck", "gc", "import-ndjson", "export-ndjson", "purge"];
    for verb in verbs {
        let mut command = cellar.command(&[verb, "--help"]);
        command.env("DATABASE_URL", "postgres://me:hunter2@db/x").env("AWS_SECRET_ACCESS_KEY", "hunter2");
        let output = tokio::process::Command::from(command).output().await.expect("it can be started");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("Examples:"), "{verb}");
        assert!(!said.contains("hunter2"), "{verb}");
    }
}

#[tokio::test]
async fn a_password_in_an_address_of_a_store_is_nowhere_in_what_is_said() {
    let cellar = Cellar::open(Store::Folder).await;
    // Nothing answers there.
    let endpoints = [
        "http://me:canary-in-a-cage@127.0.0.1:9",
        "http://me:canary-in-a-cage@127.0.0.1:9?x=canary-in-a-cage",
        "http://me:canary/in#a-cage canary-in-a-cage@127.0.0.1:9",
        "ftp://canary-in-a-cage@127.0.0.1:9",
    ];
    for (endpoint, store) in endpoints
        .map(|endpoint| (endpoint, "s3://bucket/x"))
        .into_iter()
        .chain([(endpoints[0], "s3://me:canary-in-a-cage@b")])
    {
        for verb in [&["run", "--log", "trace"][..], &["fsck"], &["gc"], &["run", "--help"], &["get", "http://x/y"]] {
            let mut command = cellar.command(verb);
            command.env("AWS_ENDPOINT_URL", endpoint).env("HASAD_STORE", store);
            let output = tokio::process::Command::from(command).output().await.expect("it can be started");
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(!said.contains("canary"), "{verb:?} {said}");
            let help = verb.contains(&"--help");
            assert_eq!(output.status.code(), Some(if help { 0 } else { 64 }), "{verb:?} {said}");
            let names_the_setting = ["AWS_ENDPOINT_URL", "HASAD_STORE"].iter().any(|name| said.contains(name));
            assert!(help || names_the_setting, "{said}");
        }
    }
    // One without a password is shown, and an outage is told with the place where nothing answers.
    let mut command = cellar.command(&["fsck"]);
    command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9").env("HASAD_STORE", "s3://bucket/x");
    let output = tokio::process::Command::from(command).output().await.expect("it can be started");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("127.0.0.1:9"));
}
