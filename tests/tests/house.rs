//! The map of the house, read from the sources: who may know whom, and where what may stand.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the workspace: its path from the root, and its code without comments.
struct Source {
    path: String,
    code: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every Rust file below a folder, or the one file.
fn sources(below: &str) -> Vec<Source> {
    let mut found = vec![];
    let mut open = vec![root().join(below)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).expect("readable").map(|entry| entry.expect("readable").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let code = fs::read_to_string(&path).expect("readable");
            let path = path.strip_prefix(root()).expect("below the root").display().to_string();
            found.push(Source { path, code: without_comments(&code) });
        }
    }
    assert!(!found.is_empty(), "there are no sources in {below}");
    found
}

/// Good enough for this house: comments stand on lines of their own, or after two spaces or code.
fn without_comments(code: &str) -> String {
    let line = |line: &str| match line.find("// ") {
        _ if line.trim_start().starts_with("//") => String::new(),
        Some(at) if !line[..at].ends_with(':') => line[..at].to_owned(),
        _ => line.to_owned(),
    };
    code.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Whether code says a word, as a whole.
fn says(code: &str, word: &str) -> bool {
    let part_of_a_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(part_of_a_word) && !after.is_some_and(part_of_a_word)
    })
}

fn nobody_says(word: &str, among: &[&str]) {
    let sayers: Vec<_> =
        among.iter().flat_map(|below| sources(below)).filter(|source| says(&source.code, word)).collect();
    let sayers: Vec<_> = sayers.iter().map(|source| &source.path).collect();
    assert!(sayers.is_empty(), "{word} has no place in {sayers:?}");
}

#[test]
fn the_library_knows_neither_the_relay_nor_the_tests() {
    for word in ["relay", "outbox_tests"] {
        nobody_says(word, &["outbox/src"]);
    }
    // What a consumer says to Redis stands in one folder.
    let strangers: Vec<_> = sources("outbox/src")
        .into_iter()
        .filter(|source| !source.path.starts_with("outbox/src/consumer/stream/") && source.code.contains("redis::"))
        .map(|source| source.path)
        .collect();
    assert!(strangers.is_empty(), "Redis has no place in {strangers:?}");
    for name in ["relay", "outbox-tests"] {
        assert!(!depends_on("outbox", name), "{name}");
    }
}

/// Whether a crate's manifest has a line for another one.
fn depends_on(this: &str, other: &str) -> bool {
    read(&format!("{this}/Cargo.toml"))
        .lines()
        .any(|line| line.strip_prefix(other).is_some_and(|rest| rest.starts_with(['.', ' ', '='])))
}

#[test]
fn the_relay_knows_no_tests() {
    nobody_says("outbox_tests", &["relay/src"]);
    assert!(depends_on("relay", "outbox") && !depends_on("relay", "outbox-tests"));
}

#[test]
fn what_is_about_postgres_knows_no_redis() {
    nobody_says(
        "redis",
        &["relay/src/frontier.rs", "relay/src/hold.rs", "relay/src/store", "relay/src/retention.rs"],
    );
}

#[test]
fn what_is_about_redis_knows_no_postgres() {
    let files =
        ["append", "ask", "change", "groups", "hold", "lanes", "letters", "rebuild", "tallies", "trim", "wires"];
    let files = files.map(|file| format!("relay/src/{file}.rs"));
    nobody_says("sqlx", &files.each_ref().map(String::as_str));
}

#[test]
fn services_know_each_other_only_by_the_contract() {
    nobody_says("outbox_tests", &["services"]);
    // The command line's manners are the same everywhere, and know none of those who have them.
    for word in ["relay", "contract", "fallah", "query"] {
        nobody_says(word, &["services/terminal/src", "services/vitals/src"]);
    }
    // They check the address of a Redis, and speak to none.
    for source in sources("services/terminal/src").iter().chain(&sources("services/vitals/src")) {
        assert!(!source.code.contains("redis::"), "{}", source.path);
    }
    assert!(!depends_on("services/terminal", "redis") && !depends_on("services/vitals", "redis"));
    for word in ["relay", "outbox", "fallah", "sqlx", "redis"] {
        nobody_says(word, &["services/contract/src"]);
    }
    assert!(!depends_on("services/fallah", "relay"));
    nobody_says("sqlx", &["services/fallah/src/extract", "services/fallah/src/fetch", "services/fallah/src/sitemap"]);
    nobody_says("redis", &["services/fallah/src"]);
    assert!(!depends_on("services/hasad", "relay") && !depends_on("services/hasad", "fallah"));
    for word in ["relay", "fallah", "redis"] {
        nobody_says(
            word,
            &["services/hasad/src/store", "services/hasad/src/archive.rs", "services/hasad/src/objects"],
        );
    }
    nobody_says(
        "sqlx",
        &["services/hasad/src/objects", "services/hasad/src/objects.rs", "services/hasad/src/told.rs"],
    );
    nobody_says(
        "object_store",
        &["services/hasad/src/store", "services/hasad/src/verbs", "services/hasad/src/archive.rs"],
    );
    // Private servers are private to whoever starts them: what they are for is not known there.
    for word in ["relay", "contract", "fallah", "hasad", "bisan", "redis::", "sqlx"] {
        nobody_says(word, &["services/servers/src"]);
    }
    // Only the pipeline knows them all, and nobody knows the pipeline.
    for other in ["relay", "services/fallah", "services/hasad", "services/bisan", "services/terminal"] {
        assert!(!depends_on(other, "pipeline") && !depends_on(other, "servers"), "{other}");
    }
    // Bisan knows its file and the consumer, and no server by itself.
    for word in ["relay", "fallah", "hasad", "sqlx", "redis"] {
        let files = ["consume.rs", "event.rs", "fold.rs", "fold", "search.rs", "search", "serve", "store"];
        nobody_says(word, &files.map(|file| format!("services/bisan/src/{file}")).each_ref().map(String::as_str));
    }
}

/// Where statements may stand, and how many: none given is any number.
const STATEMENTS: [(&str, Option<usize>); 9] = [
    ("services/pipeline/src/store.rs", None),
    ("services/fallah/src/store/", None),
    ("services/hasad/src/store/", None),
    ("outbox/src/inbox.rs", None),
    ("outbox/src/producer.rs", None),
    ("outbox/src/schema.rs", None),
    ("relay/src/store/", None),
    ("relay/src/config.rs", Some(1)),
    ("relay/src/relay.rs", Some(2)),
];

#[test]
fn statements_stand_where_one_looks_for_them() {
    for source in sources("outbox/src").iter().chain(&sources("relay/src")).chain(&sources("services")) {
        let calls = ["query", "query_as", "query_scalar", "query_with", "raw_sql"];
        let count: usize = calls.iter().map(|call| source.code.matches(&format!("sqlx::{call}(")).count()).sum();
        let imported = calls.iter().any(|call| says(&source.code, &format!("use sqlx::{call}")));
        let place = STATEMENTS.iter().find(|(place, _)| source.path.starts_with(place));
        match place {
            None => assert!(count == 0 && !imported, "{} has {count} statements", source.path),
            Some((_, Some(count_max))) => assert_eq!(count, *count_max, "{}", source.path),
            Some((_, None)) => {}
        }
    }
    assert!(read("relay/src/config.rs").contains("set_config('search_path'"));
    assert_eq!(read("relay/src/relay.rs").matches("\"set synchronous_commit = ").count(), 2, "one a connection");
}

/// Statements of SQLite: beside the inbox, in Bisan's store alone.
#[test]
fn only_bisans_store_speaks_to_its_file() {
    for source in sources("services/bisan/src").iter().filter(|source| !source.path.contains("/store/")) {
        for call in [".prepare", ".execute", ".query_row", ".query_map", "pragma"] {
            assert!(!source.code.contains(call), "{} says {call}", source.path);
        }
    }
}

#[test]
fn nothing_is_unfinished_unchecked_or_passed_over() {
    // In two halves, so that this file does not say them.
    for (first, second) in [("un", "safe"), ("to", "do!"), ("unimpl", "emented!"), ("db", "g!")] {
        nobody_says(&format!("{first}{second}"), &["outbox", "relay", "services", "tests"]);
    }
    let passed_over = format!("#[{}", "ignore");
    for source in ["outbox", "relay", "services", "tests"].iter().flat_map(|below| sources(below)) {
        assert!(!source.code.contains(&passed_over), "{} passes a test over", source.path);
    }
}

#[test]
fn every_crate_forbids_what_is_not_safe() {
    let forbids = "unsafe_code = \"forbid\"";
    let workspace = read("Cargo.toml");
    assert!(workspace.contains(forbids));
    let members = workspace.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).expect("members");
    for member in members.split('"').skip(1).step_by(2) {
        let manifest = read(&format!("{member}/Cargo.toml"));
        let inherits = manifest.contains("[lints]\nworkspace = true");
        assert!(inherits || manifest.contains(forbids), "{member}");
    }
}

/// What a dependency may be is written down, and looked at with everything else.
#[test]
fn what_may_come_in_is_checked_before_each_commit() {
    assert!(read("dev").contains("cargo deny check bans licenses sources"));
    let rules = read("deny.toml");
    for rule in
        ["unknown-registry = \"deny\"", "unknown-git = \"deny\"", "wildcards = \"deny\"", "crate = \"openssl-sys\""]
    {
        assert!(rules.contains(rule), "{rule}");
    }
    let lock = read("Cargo.lock");
    let sources = lock.lines().filter_map(|line| line.strip_prefix("source = "));
    let strangers: Vec<_> =
        sources.filter(|source| !source.contains("github.com/rust-lang/crates.io-index")).collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}

/// What all.rs does not name, or the file above a folder, would be neither built nor run, and nobody would miss it.
#[test]
fn every_file_of_tests_is_run() {
    let mut open = vec![("tests/tests/all.rs".to_owned(), root().join("tests/tests"))];
    while let Some((above, folder)) = open.pop() {
        let named = read(&above);
        for file in fs::read_dir(folder).expect("readable") {
            let path = file.expect("readable").path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
            let is_named = named.lines().any(|line| line == format!("mod {name};"));
            assert!(name == "all" || is_named, "{above} lacks mod {name}");
            if path.is_dir() {
                open.push((format!("tests/tests/{name}.rs"), path));
            }
        }
    }
}

/// A promise, and what stands against a threat, is linked as `tests/tests/outage.rs: redis_away_costs_no_attempt`.
#[test]
fn every_promise_is_linked_to_a_test_that_exists() {
    for (page, least) in [("docs/guarantees.md", 50), ("docs/security.md", 40), ("docs/reliability.md", 10)] {
        let links = links(&read(page));
        assert!(links.len() >= least, "{page} links {} tests", links.len());
        let missing: Vec<_> = links.iter().filter(|(file, test)| !is_test(file, test)).collect();
        assert!(missing.is_empty(), "{page} links tests that do not exist: {missing:#?}");
        // A number of tests without their names is no link.
        let unnamed = |rest: &str| rest.starts_with("the same of") || rest.split(' ').nth(1) == Some("more");
        for line in read(page).lines().filter(|line| line.contains(".rs: ")) {
            assert!(!line.split(", and ").skip(1).any(unnamed), "{page} names not all: {line}");
        }
    }
    // The list of what is fuzzed is one, too.
    let missing: Vec<_> =
        links(&read("tests/tests/fuzz.rs")).into_iter().filter(|(file, test)| !is_test(file, test)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// A threat without a test is a hope.
#[test]
fn every_threat_has_a_test() {
    let page = read("docs/security.md");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| **")).collect();
    assert!(rows.len() >= 12, "{} threats", rows.len());
    for row in rows {
        assert!(!links(row).is_empty(), "{row}");
    }
}

/// Each test that is named, with its file. A name that stands alone is one of the file that its line named last.
fn links(page: &str) -> Vec<(String, String)> {
    let is_name = |code: &str| {
        code.matches('_').count() >= 3
            && code.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let mut links = vec![];
    for line in page.lines() {
        let mut last: Option<&str> = None;
        for code in line.split('`').skip(1).step_by(2) {
            if let Some((file, test)) = code.split_once(".rs: ") {
                last = Some(file);
                links.push((file.to_owned(), test.trim().to_owned()));
            } else if let Some(file) = code.strip_suffix(".rs").filter(|file| file.contains('/')) {
                last = Some(file);
            } else if let Some(file) = last.filter(|_| is_name(code)) {
                links.push((file.to_owned(), code.to_owned()));
            }
        }
    }
    links
}

#[test]
fn names_that_stand_alone_are_tests_of_the_file_before_them() {
    let page = "| x | `a/b.rs: one_test`, `and_one_more_test`, `some_word` | `c/d.rs`, such as `yet_one_more_test` |\n`of_no_file_at_all`";
    let found = links(page);
    let found: Vec<_> = found.iter().map(|(file, test)| (file.as_str(), test.as_str())).collect();
    assert_eq!(found, [("a/b", "one_test"), ("a/b", "and_one_more_test"), ("c/d", "yet_one_more_test")]);
}

fn is_test(file: &str, test: &str) -> bool {
    let code = fs::read_to_string(root().join(format!("{file}.rs"))).unwrap_or_default();
    // The trials of the checker are alike but for their names, and one macro makes them.
    if code.contains("\ntrials! {") && code.contains(&format!("\n    {test}: \"")) {
        return true;
    }
    let at = code.find(&format!("fn {test}("));
    // Its attribute stands close above it; a property's may stand above its whole block.
    at.is_some_and(|at| {
        code[..at].lines().rev().take(6).any(|line| line.contains("test")) || code[..at].contains("proptest! {")
    })
}

/// Its place in the lock file would forbid an application every newer rusqlite, even if it is never compiled.
#[test]
fn the_lock_file_has_no_sqlx_sqlite() {
    let lock = read("Cargo.lock");
    assert!(lock.contains("name = \"sqlx-postgres\"") && !lock.contains("sqlx-sqlite"));
}
