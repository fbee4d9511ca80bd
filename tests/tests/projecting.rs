//! The way to the search index: on the double, or on a real Meilisearch where `MEILI_URL` names one.

use std::time::Duration;

use bisan::search::{Engine, Query, Request, search_by};
use bisan::store::Filter;
use bisan::{Searcher, Tick};
use outbox_tests::{Proxy, SearchServer, Shelf, eventually, said, said_by};

fn request(words: &str) -> Request {
    Request { query: Query::parse(words), filter: Filter::default(), page: 1, size: 20 }
}

/// The engine that answered, and the titles that were found.
async fn search(shelf: &Shelf, searcher: &Searcher, request: Request) -> (Engine, Vec<String>) {
    let found = search_by(&shelf.store, Some(searcher), request).await.expect("the file is there");
    (found.engine, found.hits.into_iter().map(|hit| hit.article.title).collect())
}

fn searcher(server: &SearchServer, port: Option<u16>) -> Searcher {
    Searcher::new(&Shelf::settings(server, port, &[])).expect("sound settings").expect("it is on")
}

#[tokio::test]
async fn what_changes_and_what_is_deleted_reaches_the_index() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(30));
    let mut projector = shelf.projector(&server, &["--batch-documents-max", "7"]);
    shelf.bring_all(&mut projector).await;
    shelf.assert_same(&server).await;

    shelf.put([said(3, 2, "Another headline"), said(31, 1, "A new one")]);
    shelf.delete(4, 2);
    shelf.bring_all(&mut projector).await;
    shelf.assert_same(&server).await;
    let documents = server.documents(&server.index).await;
    assert_eq!(documents.len(), 30);
    assert!(documents.values().any(|document| document["title"] == "Another headline"));
    server.close().await;
}

#[tokio::test]
async fn an_index_is_made_with_our_settings_before_its_first_document() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(1));
    shelf.bring_all(&mut shelf.projector(&server, &[])).await;
    let (status, settings) = server.ask("GET", &format!("indexes/{}/settings", server.index), None).await;
    assert_eq!(status, 200);
    assert_eq!(settings["searchableAttributes"][0], "title");
    assert_eq!(settings["localizedAttributes"][0]["locales"][0], "ara");
    let (_, index) = server.ask("GET", &format!("indexes/{}", server.index), None).await;
    assert_eq!(index["primaryKey"], "id");
    server.close().await;
}

#[tokio::test]
async fn meilisearch_away_for_long_stops_nothing_and_catches_up() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(50));
    let wire = Proxy::to(server.port()).await;
    let projector = shelf.projector_over(&server, Some(wire.port()), &[]);
    wire.refuse();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(projector.run(async {
        let _ = stopped.await;
    }));
    // Everything else goes on: articles come, change and go.
    for round in 1..=5 {
        shelf.put((1..=50).map(|number| said(number, 1 + round, &format!("Edition {round} of {number}"))));
        assert_eq!(shelf.dirty(), 50, "each article waits once, however often it changes");
    }
    shelf.delete(7, 9);
    wire.accept();
    eventually("everything is caught up with", async || shelf.dirty() == 0).await;
    shelf.assert_same(&server).await;
    stop.send(()).expect("it runs");
    running.await.expect("it ends in peace");
    server.close().await;
}

#[tokio::test]
async fn whatever_stands_in_the_projectors_way_it_goes_on_when_that_is_gone() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(5));
    let mut lock = shelf.file().into_os_string();
    lock.push(".projector.lock");
    // Where its lock should be there is a folder.
    std::fs::create_dir(&lock).expect("made");
    let running = tokio::spawn(shelf.projector(&server, &[]).run(std::future::pending::<()>()));
    tokio::task::yield_now().await;
    assert!(!running.is_finished());
    std::fs::remove_dir(&lock).expect("it is there");
    eventually("everything is brought", async || shelf.dirty() == 0).await;

    // A table that is not there, and then is.
    let db = rusqlite::Connection::open(shelf.file()).expect("the file is there");
    db.execute_batch("alter table search_refused rename to elsewhere").expect("done");
    shelf.put([said(1, 2, "Changed")]);
    eventually("it to have tried", async || server.documents(&server.index).await[&1]["title"] == "Changed").await;
    db.execute_batch("alter table elsewhere rename to search_refused").expect("done");
    eventually("everything is brought", async || shelf.dirty() == 0).await;
    running.abort();
    shelf.assert_same(&server).await;
    server.close().await;
}

#[tokio::test]
async fn a_lost_reply_to_any_request_neither_loses_nor_falsifies() {
    let server = SearchServer::open().await;
    let wire = Proxy::to(server.port()).await;
    let shelf = Shelf::with(10);
    let mut projector = shelf.projector_over(&server, Some(wire.port()), &[]);
    for turn in 1..=25 {
        let halt = wire.lose_reply(turn);
        shelf.put((1..=10).map(|number| said(number, 10 * turn as u64, &format!("Edition {turn} of {number}"))));
        if turn % 3 == 0 {
            shelf.delete(11 - (turn as u32 % 10), 10 * turn as u64 + 5);
        }
        shelf.bring_all(&mut projector).await;
        // So many requests are seldom needed for one round: the next one loses the next.
        let more = eventually("the turn has come", async || {
            projector.tick().await.expect("the file is there");
            shelf.put([said(99, wire.turns() as u64 + 1, &format!("Turn {}", wire.turns()))]);
            halt.is_reached()
        });
        more.await;
        shelf.bring_all(&mut projector).await;
        shelf.assert_same(&server).await;
    }
    server.close().await;
}

#[tokio::test]
async fn an_article_that_changes_while_it_is_on_its_way_stays_to_be_brought() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(5));
    let wire = Proxy::to(server.port()).await;
    let mut projector = shelf.projector_over(&server, Some(wire.port()), &[]);
    shelf.bring_all(&mut projector).await;
    shelf.put([said(1, 2, "Second")]);
    // The request is answered late; meanwhile there is a third edition.
    wire.slow(Duration::from_millis(150));
    let bringing = tokio::spawn(async move {
        let tick = projector.tick().await;
        (projector, tick)
    });
    let turns = wire.turns();
    eventually("it is on its way", async || wire.turns() > turns).await;
    shelf.put([said(1, 3, "Third")]);
    let (mut projector, tick) = bringing.await.expect("it does not panic");
    assert_eq!(tick.expect("the file is there"), Tick::Brought(1));
    assert_eq!(shelf.dirty(), 1, "the third edition is still to be brought");
    wire.slow(Duration::ZERO);
    shelf.bring_all(&mut projector).await;
    shelf.assert_same(&server).await;
    server.close().await;
}

#[tokio::test]
async fn an_index_that_was_lost_is_filled_anew() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(20));
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    server.task("DELETE", &format!("indexes/{}", server.index), None).await;
    shelf.put([said(21, 1, "After the loss")]);
    shelf.bring_all(&mut projector).await;
    shelf.assert_same(&server).await;
    let (_, settings) = server.ask("GET", &format!("indexes/{}/settings", server.index), None).await;
    assert_eq!(settings["searchableAttributes"][0], "title", "with its settings");
    server.close().await;
}

#[tokio::test]
async fn an_index_that_somebody_made_anew_is_filled_anew() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(20));
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    server.task("DELETE", &format!("indexes/{}", server.index), None).await;
    server.task("POST", "indexes", Some(serde_json::json!({"uid": server.index, "primaryKey": "id"}))).await;
    // A projector that has just been started knows of it from the file alone.
    shelf.bring_all(&mut shelf.projector(&server, &[])).await;
    shelf.assert_same(&server).await;
    server.close().await;
}

#[tokio::test]
async fn two_projectors_take_turns() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(3));
    let (stop_one, one_stopped) = tokio::sync::oneshot::channel::<()>();
    let one = tokio::spawn(shelf.projector(&server, &[]).run(async {
        let _ = one_stopped.await;
    }));
    eventually("the first has brought all", async || shelf.dirty() == 0).await;
    let other = tokio::spawn(shelf.projector(&server, &[]).run(std::future::pending()));
    shelf.put([said(4, 1, "Fourth")]);
    eventually("one of them has brought it", async || shelf.dirty() == 0).await;
    stop_one.send(()).expect("it runs");
    one.await.expect("it ends in peace");
    shelf.put([said(5, 1, "Fifth")]);
    eventually("the other has brought it", async || shelf.dirty() == 0).await;
    other.abort();
    shelf.assert_same(&server).await;
    server.close().await;
}

#[tokio::test]
async fn off_writes_nothing_and_shadow_answers_nothing() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(5));
    let settings = |write| Shelf::settings(&server, None, &["--search-write", write]);
    assert!(bisan::Projector::new(&shelf.store, &settings("off")).expect("sound").is_none());
    assert!(Searcher::new(&settings("off")).expect("sound").is_none());
    assert!(bisan::Reindex::new(&shelf.store, &settings("off"), vec![], Duration::ZERO).is_err());
    assert_eq!(shelf.dirty(), 5, "what is to be brought is remembered");

    let mut projector =
        bisan::Projector::new(&shelf.store, &settings("shadow")).expect("sound").expect("it is written");
    assert!(Searcher::new(&settings("shadow")).expect("sound").is_none());
    shelf.bring_all(&mut projector).await;
    shelf.assert_same(&server).await;

    let searcher = Searcher::new(&settings("on")).expect("sound").expect("it answers");
    assert_eq!(search(&shelf, &searcher, request("headline")).await.0, Engine::Meilisearch);
    server.close().await;
}

#[tokio::test]
async fn search_falls_back_to_the_file_while_meilisearch_is_away_and_says_so() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(10));
    let wire = Proxy::to(server.port()).await;
    let searcher = searcher(&server, Some(wire.port()));
    let (engine, titles) = search(&shelf, &searcher, request("number3")).await;
    assert_eq!((engine, titles), (Engine::Fts5, vec!["Headline 3".to_owned()]), "there is no index yet");

    shelf.bring_all(&mut shelf.projector(&server, &[])).await;
    let by = async |engine| {
        eventually("that engine answers", async || {
            let (by, titles) = search(&shelf, &searcher, request("number3")).await;
            assert_eq!(titles.first().map(String::as_str), Some("Headline 3"));
            by == engine
        })
        .await;
    };
    by(Engine::Meilisearch).await;
    wire.refuse();
    by(Engine::Fts5).await;
    wire.accept();
    by(Engine::Meilisearch).await;
    wire.freeze();
    by(Engine::Fts5).await;
    wire.thaw();
    by(Engine::Meilisearch).await;
    let json =
        serde_json::to_value(search_by(&shelf.store, Some(&searcher), request("number3")).await.expect("found"));
    assert_eq!(json.expect("JSON")["engine"], "meilisearch");
    server.close().await;
}

#[tokio::test]
async fn an_index_that_is_being_filled_answers_nothing() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(10));
    let searcher = searcher(&server, None);
    let mut projector = shelf.projector(&server, &["--batch-documents-max", "4"]);
    assert_eq!(projector.tick().await.expect("the file is there"), Tick::Brought(4));
    let (engine, titles) = search(&shelf, &searcher, request("headline")).await;
    assert_eq!((engine, titles.len()), (Engine::Fts5, 10));
    shelf.bring_all(&mut projector).await;
    let (engine, titles) = search(&shelf, &searcher, request("headline")).await;
    assert_eq!((engine, titles.len()), (Engine::Meilisearch, 10));
    server.close().await;
}

#[tokio::test]
async fn what_is_deleted_is_never_shown_however_far_behind_the_index_is() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(10));
    shelf.bring_all(&mut shelf.projector(&server, &[])).await;
    shelf.delete(3, 2);
    shelf.put([said(4, 2, "Renamed")]);
    let searcher = searcher(&server, None);
    let (engine, titles) = search(&shelf, &searcher, request("headline")).await;
    assert_eq!(engine, Engine::Meilisearch);
    assert!(!titles.contains(&"Headline 3".to_owned()), "{titles:?}");
    assert!(titles.contains(&"Renamed".to_owned()), "found by what the index knows, shown as it is: {titles:?}");
    server.close().await;
}

#[tokio::test]
async fn both_engines_leave_out_the_same() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(30));
    shelf.bring_all(&mut shelf.projector(&server, &[])).await;
    let searcher = searcher(&server, None);
    let author: i64 = shelf.ask("select id from author where name = 'Author 3' and source_name = 'odd'");
    let day = |day: i64| 1_772_582_400 + day * 86_400;
    let filters = [
        Filter { source: Some("odd".into()), ..Filter::default() },
        Filter { source: Some("o\" OR dated_at > 0".into()), ..Filter::default() },
        Filter { language: Some("en".into()), ..Filter::default() },
        Filter { language: Some("ar".into()), ..Filter::default() },
        Filter { author: Some(author), ..Filter::default() },
        Filter { author: Some(1 << 40), ..Filter::default() },
        Filter { from: Some(day(3)), until: Some(day(9)), ..Filter::default() },
    ];
    for filter in filters {
        let request = Request { filter, size: 50, ..request("headline") };
        let (engine, mut titles) = search(&shelf, &searcher, request.clone()).await;
        assert_eq!(engine, Engine::Meilisearch, "{:?}", request.filter);
        let file = bisan::search::search(&shelf.store, request.clone()).await.expect("the file is there");
        let mut wanted: Vec<_> = file.hits.into_iter().map(|hit| hit.article.title).collect();
        titles.sort();
        wanted.sort();
        assert_eq!(titles, wanted, "{:?}", request.filter);
    }
    server.close().await;
}

#[tokio::test]
async fn arabic_is_found_in_every_usual_spelling_by_both_engines() {
    let (server, shelf) = (SearchServer::open().await, Shelf::open());
    shelf.put([
        said_by(1, 1, "وزارةُ الصِّحَّةِ تُعلن عن إجراءات جديدة في المستشفى", "أحمد"),
        said_by(2, 1, "أخبار الرياضة اليوم", "سلمى"),
    ]);
    shelf.bring_all(&mut shelf.projector(&server, &[])).await;
    let searcher = searcher(&server, None);
    for words in ["وزارة الصحة", "وزاره الصحه", "اجراءات", "مستشفى", "المستشفي", "صِحّة"]
    {
        let (engine, titles) = search(&shelf, &searcher, request(words)).await;
        assert_eq!((engine, titles.len()), (Engine::Meilisearch, 1), "{words}");
        let file = bisan::search::search(&shelf.store, request(words)).await.expect("the file is there");
        assert_eq!(file.hits.len(), 1, "{words}");
    }
    server.close().await;
}
