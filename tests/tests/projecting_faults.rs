//! The way to the search index, with faults that only the double has: what a real server answers seldom, and not on demand.

use std::time::{Duration, Instant};

use bisan::search::{Engine, Query, Request, search_by};
use bisan::store::Filter;
use bisan::{Goal, Searcher, Tick};
use outbox_tests::{SearchServer, Shelf, binary, eventually, said};

async fn paused(projector: &mut bisan::Projector) -> (String, Option<Duration>) {
    match projector.tick().await.expect("the file is there") {
        Tick::Paused { why, retry_after } => (why, retry_after),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_bad_document_in_a_thousand_is_set_aside_with_its_reason_and_999_are_searchable() {
    let (server, shelf) = (SearchServer::open_double().await, Shelf::with(1_000));
    server.double().refuse(617, "invalid_request");
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    let refused = shelf.refused();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].0, 617);
    assert!(refused[0].1.contains("invalid_document_fields: document 617 is not to its taste"), "{refused:?}");
    assert_eq!(server.documents(&server.index).await.len(), 999);
    shelf.assert_same(&server).await;
    let requests = server.double().seen("/documents?");
    assert!(requests <= 30, "found in {requests} requests");

    // Its next edition is tried anew.
    server.double().take_again(617);
    let url: String = shelf.ask("select source_url from article where id = 617");
    let number = url.rsplit('/').next().expect("a number").parse().expect("a number");
    shelf.put([said(number, 2, "Mended")]);
    shelf.bring_all(&mut projector).await;
    assert_eq!(shelf.refused(), []);
    shelf.assert_same(&server).await;
}

#[tokio::test]
async fn several_bad_documents_are_all_found() {
    let (server, shelf) = (SearchServer::open_double().await, Shelf::with(300));
    for id in [1, 2, 150, 299, 300] {
        server.double().refuse(id, "invalid_request");
    }
    shelf.bring_all(&mut shelf.projector(&server, &[])).await;
    let refused: std::collections::BTreeSet<i64> = shelf.refused().into_iter().map(|(id, _)| id).collect();
    assert_eq!(refused, [1, 2, 150, 299, 300].into());
    shelf.assert_same(&server).await;
}

#[tokio::test]
async fn a_document_that_takes_the_indexer_down_is_set_aside_too() {
    let (server, shelf) = (SearchServer::open_double().await, Shelf::with(100));
    server.double().refuse(42, "internal");
    shelf.bring_all(&mut shelf.projector(&server, &[])).await;
    assert_eq!(shelf.refused().into_iter().map(|(id, _)| id).collect::<Vec<_>>(), [42]);
    shelf.assert_same(&server).await;
}

#[tokio::test]
async fn a_server_on_which_every_task_fails_is_blamed_on_no_document() {
    let (server, shelf) = (SearchServer::open_double().await, Shelf::with(100));
    server.double().fail_tasks("no_space_left_on_device", "system", 40);
    let mut projector = shelf.projector(&server, &[]);
    for _ in 0..4 {
        let (why, _) = paused(&mut projector).await;
        assert!(why.contains("no_space_left_on_device"), "{why}");
    }
    assert_eq!((shelf.dirty(), shelf.refused()), (100, vec![]));
    shelf.bring_all(&mut projector).await;
    assert_eq!(shelf.refused(), []);
    shelf.assert_same(&server).await;
}

#[tokio::test]
async fn a_task_that_failed_once_is_brought_again() {
    let (server, shelf) = (SearchServer::open_double().await, Shelf::with(10));
    server.double().fail_tasks("internal", "internal", 1);
    let mut projector = shelf.projector(&server, &[]);
    assert!(paused(&mut projector).await.0.contains("internal"));
    assert_eq!(shelf.dirty(), 10);
    shelf.bring_all(&mut projector).await;
    shelf.assert_same(&server).await;
}

#[tokio::test]
async fn a_task_that_somebody_cancels_is_brought_again() {
    let (server, shelf) = (SearchServer::open_double().await, Shelf::with(10));
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    server.double().hold();
    let looked = server.double().seen("GET /tasks/");
    shelf.put([said(1, 2, "Second")]);
    let bringing = tokio::spawn(async move {
        let tick = projector.tick().await;
        (projector, tick)
    });
    eventually("its task waits", async || server.double().seen("GET /tasks/") > looked + 2).await;
    server.double().cancel_tasks();
    server.double().release();
    let (mut projector, tick) = bringing.await.expect("it does not panic");
    assert!(matches!(tick, Ok(Tick::Paused { .. })), "{tick:?}");
    shelf.bring_all(&mut projector).await;
    shelf.assert_same(&server).await;
}

#[tokio::test]
async fn a_slow_task_is_waited_for_and_not_sent_again() {
    let (server, shelf) = (SearchServer::open_double().await, Shelf::with(10));
    let mut projector = shelf.projector(&server, &["--meili-timeout", "200ms"]);
    shelf.bring_all(&mut projector).await;
    let before = server.double().seen("/documents?");
    let looked = server.double().seen("GET /tasks/");
    server.double().hold();
    shelf.put([said(1, 2, "Second")]);
    let running = tokio::spawn(projector.run(std::future::pending()));
    // Much longer than any request may take.
    eventually("it was looked at often", async || server.double().seen("GET /tasks/") > looked + 6).await;
    shelf.put([said(2, 2, "Second, too")]);
    assert_eq!(server.double().seen("/documents?"), before + 1);
    assert_eq!(shelf.dirty(), 2, "nothing is cleared before its task has succeeded");
    server.double().release();
    eventually("both are brought", async || shelf.dirty() == 0).await;
    running.abort();
    shelf.assert_same(&server).await;
}

#[tokio::test]
async fn a_task_that_the_server_has_forgotten_is_brought_again() {
    let (server, shelf) = (SearchServer::open_double().await, Shelf::with(10));
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    server.double().hold();
    shelf.put([said(1, 2, "Second")]);
    let running = tokio::spawn(projector.run(std::future::pending()));
    eventually("its task waits", async || server.double().seen("/documents?") == 2).await;
    // A new disk: its tasks begin at 0 again, so other ones will bear the numbers of ours.
    server.double().lose_everything();
    server.double().release();
    eventually("everything is brought anew", async || {
        shelf.dirty() == 0 && shelf.differs(&server, &server.index).await.is_empty()
    })
    .await;
    running.abort();
}

#[tokio::test]
async fn too_large_a_request_is_halved_and_no_larger_one_is_sent_again() {
    let (server, shelf) = (SearchServer::open_double().await, Shelf::with(64));
    server.double().bytes_max(16_000);
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    assert_eq!(shelf.refused(), []);
    shelf.assert_same(&server).await;
    let learned = server.double().seen("/documents?");
    shelf.put((1..=64).map(|number| said(number, 2, "Second")));
    shelf.bring_all(&mut projector).await;
    let then = server.double().seen("/documents?") - learned;
    assert!(then < learned, "first {learned} requests, then {then}");
    shelf.assert_same(&server).await;
}

#[tokio::test]
async fn an_article_that_alone_is_too_large_is_set_aside() {
    let (server, shelf) = (SearchServer::open_double().await, Shelf::with(8));
    shelf.put([said(9, 1, &"long ".repeat(1_500))]);
    server.double().bytes_max(6_000);
    shelf.bring_all(&mut shelf.projector(&server, &[])).await;
    let refused = shelf.refused();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].0 == 9 && refused[0].1.contains("payload_too_large"), "{refused:?}");
    shelf.assert_same(&server).await;
}

#[tokio::test]
async fn who_says_429_or_503_is_left_alone_for_as_long_as_it_asks() {
    let (server, shelf) = (SearchServer::open_double().await, Shelf::with(5));
    let mut projector = shelf.projector(&server, &[]);
    for status in [429, 503] {
        server.double().answer("/documents?", status, Some(1), 1);
        let (why, retry_after) = paused(&mut projector).await;
        assert!(why.contains(&status.to_string()), "{why}");
        assert_eq!(retry_after, Some(Duration::from_secs(1)));
        assert_eq!(shelf.dirty(), 5);
    }
    server.double().answer("/documents?", 429, Some(1), 2);
    let begun = Instant::now();
    let running = tokio::spawn(projector.run(std::future::pending()));
    eventually("everything is brought", async || shelf.dirty() == 0).await;
    assert!(begun.elapsed() >= Duration::from_secs(2), "it was asked to wait twice: {:?}", begun.elapsed());
    assert_eq!(server.double().seen("/documents?"), 5, "and was not asked meanwhile");
    running.abort();
    shelf.assert_same(&server).await;
}

#[tokio::test]
async fn success_with_rubbish_in_it_is_no_success() {
    let (server, shelf) = (SearchServer::open_double().await, Shelf::with(5));
    let mut projector = shelf.projector(&server, &[]);
    for part in ["POST /indexes ", "GET /indexes/", "/documents?", "GET /tasks/"] {
        server.double().answer_rubbish(part, 1);
        shelf.put([said(1, server.double().seen("") as u64 + 2, part)]);
        shelf.bring_all(&mut projector).await;
        shelf.assert_same(&server).await;
    }
}

#[tokio::test]
async fn a_search_that_is_refused_or_answered_with_rubbish_is_answered_by_the_file() {
    let (server, shelf) = (SearchServer::open_double().await, Shelf::with(5));
    shelf.bring_all(&mut shelf.projector(&server, &[])).await;
    let searcher = || Searcher::new(&Shelf::settings(&server, None, &[])).expect("sound").expect("it is on");
    let found = async |searcher: &Searcher| {
        let request = Request { query: Query::parse("headline"), filter: Filter::default(), page: 1, size: 20 };
        let found = search_by(&shelf.store, Some(searcher), request).await.expect("the file is there");
        assert_eq!(found.hits.len(), 5);
        found.engine
    };
    for status in [429, 500, 502, 503] {
        server.double().answer("/search", status, None, 1);
        let searcher = searcher();
        assert_eq!(found(&searcher).await, Engine::Fts5, "{status}");
        let asked = server.double().seen("/search");
        assert_eq!(found(&searcher).await, Engine::Fts5, "it is left alone for a moment");
        assert_eq!(server.double().seen("/search"), asked);
    }
    server.double().answer("/search", 400, None, 1);
    let one = searcher();
    assert_eq!(found(&one).await, Engine::Fts5);
    assert_eq!(found(&one).await, Engine::Meilisearch, "one question that it refuses does not speak for the next");
    server.double().answer_rubbish("/search", 1);
    assert_eq!(found(&searcher()).await, Engine::Fts5);
    assert_eq!(found(&searcher()).await, Engine::Meilisearch);
}

#[tokio::test]
async fn a_wrong_key_stops_nothing_and_is_told() {
    let (server, shelf) = (SearchServer::open_double().await, Shelf::with(5));
    let settings = Shelf::settings(&server, None, &["--meili-key", "another-key"]);
    let mut projector = bisan::Projector::new(&shelf.store, &settings).expect("sound").expect("it is on");
    let (why, _) = paused(&mut projector).await;
    assert!(why.contains("API key") && !why.contains("another-key"), "{why}");
    shelf.put([said(6, 1, "Sixth")]);
    assert_eq!(shelf.dirty(), 6);
}

#[tokio::test]
async fn a_bad_document_stops_no_rebuild() {
    let (server, shelf) = (SearchServer::open_double().await, Shelf::with(100));
    server.double().refuse(33, "invalid_request");
    shelf.bring_all(&mut shelf.projector(&server, &[])).await;
    let summary =
        shelf.reindex_with(&server, Goal::Rebuild, &["--batch-documents-max", "40"]).await.expect("swapped");
    assert_eq!((summary.documents, summary.refused), (99, 1));
    shelf.assert_same(&server).await;
}

#[tokio::test]
async fn a_spare_index_that_lost_a_document_is_mended_before_the_swap() {
    let (server, shelf) = (SearchServer::open_double().await, Shelf::with(60));
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    shelf.reindex(&server, Goal::Rebuild).await.expect("swapped");
    server.double().lose(&server.spare(), 7);
    let summary = shelf.reindex(&server, Goal::SwapBack).await.expect("mended and swapped back");
    assert_eq!(summary.documents, 60);
    shelf.assert_same(&server).await;
}

#[tokio::test]
async fn each_index_has_its_own_refusals() {
    let (server, shelf) = (SearchServer::open_double().await, Shelf::with(12));
    server.double().refuse(3, "invalid_request");
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    let refused = || shelf.refused().into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(refused(), [3]);
    // The spare index takes what the other one has refused, and refuses what the other one has; it does not answer yet.
    server.double().take_again(3);
    server.double().refuse(7, "invalid_request");
    let settings = Shelf::settings(&server, None, &[]);
    let reindex = bisan::Reindex::new(&shelf.store, &settings, vec!["zeppelin".to_owned()], outbox_tests::deadline());
    let reindex = reindex.expect("sound settings");
    reindex.run(Goal::Rebuild, &mut |_| {}).await.expect_err("it finds no zeppelin");
    drop(reindex);
    assert_eq!(refused(), [3], "it is still not there");
    shelf.assert_same(&server).await;

    shelf.reindex(&server, Goal::Rebuild).await.expect("swapped");
    assert_eq!(refused(), [7]);
    shelf.assert_same(&server).await;
    let summary = shelf.reindex(&server, Goal::SwapBack).await.expect("swapped back");
    assert_eq!((summary.documents, summary.refused, refused()), (11, 1, vec![3]));
    shelf.assert_same(&server).await;
    shelf.reindex(&server, Goal::Drop).await.expect("dropped");
    assert_eq!(shelf.ask::<u32>("select count(*) from search_refused"), 1, "the other one's are gone with it");
}

#[tokio::test]
async fn while_something_waits_to_share_a_request_nothing_is_read_and_nobody_is_asked() {
    let (server, shelf) = (SearchServer::open_double().await, Shelf::with(10));
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    let mut projector = shelf.projector(&server, &["--batch-wait-max", "1h"]);
    shelf.put([said(1, 2, "Changed")]);
    // Whoever read an article now would stumble.
    let db = rusqlite::Connection::open(shelf.file()).expect("the file is there");
    let view: String = shelf.ask("select sql from sqlite_schema where name = 'search_document'");
    db.execute_batch("drop view search_document").expect("done");
    let asked = server.double().seen("");
    for _ in 0..50 {
        assert_eq!(projector.tick().await.expect("nothing is read"), Tick::Idle);
    }
    assert_eq!(server.double().seen(""), asked, "nobody is asked");
    db.execute_batch(&view).expect("done");
    // As many as a request takes wait for nobody.
    let mut projector = shelf.projector(&server, &["--batch-wait-max", "1h", "--batch-documents-max", "3"]);
    shelf.put([said(2, 2, "Changed"), said(3, 2, "Changed")]);
    assert_eq!(projector.tick().await.expect("the file is there"), Tick::Brought(3));
    shelf.assert_same(&server).await;
}

#[tokio::test]
async fn verify_names_what_the_index_does_not_take_and_why() {
    let (server, shelf) = (SearchServer::open_double().await, Shelf::with(10));
    server.double().refuse(7, "invalid_request");
    shelf.bring_all(&mut shelf.projector(&server, &[])).await;
    let verify = |flags: &[&str]| {
        let mut command = std::process::Command::new(binary("bisan"));
        let output = command.arg("verify").args(flags).env("BISAN_DATABASE", shelf.file()).output().expect("it runs");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let url: String = shelf.ask("select source_url from article where id = 7");
    let (code, said) = verify(&[]);
    let line = said.lines().find(|line| line.contains(&url)).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("article 7") && line.contains("document 7 is not to its taste"), "{line}");
    assert!(code == Some(0) && said.contains("all is well"), "the file is sound: {said}");
    let json: serde_json::Value = serde_json::from_str(&verify(&["--json"]).1).expect("JSON");
    assert_eq!((&json["sound"], &json["health"]["refused"]), (&true.into(), &1.into()));
    assert_eq!(json["health"]["refused_articles"][0]["code"], "invalid_document_fields");
}
