//! A Meilisearch that went back to an older copy of itself lacks what it had done since, and does not say so.

use bisan::search::{Engine, Query, Request, search_by};
use bisan::store::Filter;
use bisan::{Goal, Projector, Searcher, Tick};
use outbox_tests::{Copied, Own, SearchServer, Shelf, said};

/// A server that can be copied: a double, or a real one of this test's own.
enum Disk {
    Doubles(Option<Copied>),
    Own(Box<Own>),
}

impl Disk {
    async fn copy(&mut self, server: &SearchServer) {
        match self {
            Self::Doubles(copy) => *copy = Some(server.double().copy()),
            Self::Own(own) => own.copy().await,
        }
    }

    async fn put_back(&mut self, server: &SearchServer) {
        match self {
            Self::Doubles(copy) => server.double().put_back(copy.as_ref().expect("it was made")),
            Self::Own(own) => own.put_back().await,
        }
    }
}

/// The real one where `MEILI_BIN` names its program.
async fn servers() -> (SearchServer, Disk) {
    match SearchServer::open_own().await {
        Some((server, own)) => (server, Disk::Own(Box::new(own))),
        None => {
            println!("on the double: MEILI_BIN names no program");
            (SearchServer::open_double().await, Disk::Doubles(None))
        }
    }
}

async fn engine(shelf: &Shelf, searcher: &Searcher) -> Engine {
    let request = Request { query: Query::parse("headline"), filter: Filter::default(), page: 1, size: 20 };
    search_by(&shelf.store, Some(searcher), request).await.expect("the file is there").engine
}

/// Articles change, come and go, and the index follows.
async fn live_on(shelf: &Shelf, projector: &mut Projector) {
    shelf.put([said(1, 2, "Another headline"), said(2, 2, "One more headline"), said(31, 1, "A new headline")]);
    shelf.delete(3, 2);
    shelf.bring_all(projector).await;
}

#[tokio::test]
async fn an_index_that_went_back_to_an_older_copy_catches_up_by_itself() {
    let (server, mut disk) = servers().await;
    let shelf = Shelf::with(30);
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    disk.copy(&server).await;
    live_on(&shelf, &mut projector).await;
    shelf.assert_same(&server).await;

    // Nothing of ours has changed, so a projector that has just begun has nothing to do; and looks all the same.
    disk.put_back(&server).await;
    assert_ne!(shelf.differs(&server, &server.index).await, Vec::<String>::new(), "it went back");
    let mut projector = shelf.projector(&server, &["--batch-documents-max", "10"]);
    assert_eq!(projector.tick().await.expect("the file is there"), Tick::Idle);
    assert_eq!(shelf.dirty(), 31, "everything, and what was deleted");
    let searcher = Searcher::new(&Shelf::settings(&server, None, &[])).expect("sound").expect("it is on");
    assert_eq!(engine(&shelf, &searcher).await, Engine::Fts5, "until that is done");
    shelf.bring_all(&mut projector).await;
    shelf.assert_same(&server).await;
    assert_eq!(engine(&shelf, &searcher).await, Engine::Meilisearch);
}

#[tokio::test]
async fn an_older_copy_that_has_gone_on_since_is_found_out_too() {
    let (server, mut disk) = servers().await;
    let shelf = Shelf::with(30);
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    disk.copy(&server).await;
    live_on(&shelf, &mut projector).await;
    disk.put_back(&server).await;
    // Somebody else's tasks take the numbers that ours had.
    for _ in 0..20 {
        server.task("POST", "indexes", Some(serde_json::json!({"uid": "somebody-elses"}))).await;
    }
    // The projector that was there all the time finds out with the next thing that it has to bring.
    shelf.put([said(5, 2, "Changed")]);
    shelf.bring_all(&mut projector).await;
    shelf.bring_all(&mut projector).await;
    shelf.assert_same(&server).await;
}

#[tokio::test]
async fn a_spare_index_that_went_back_is_brought_up_to_date_before_it_answers() {
    let (server, mut disk) = servers().await;
    let shelf = Shelf::with(30);
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    shelf.reindex(&server, Goal::Rebuild).await.expect("swapped");
    // The kept one is brought up to date, and looked at in vain: it is not to answer yet.
    disk.copy(&server).await;
    live_on(&shelf, &mut projector).await;
    shelf.reindex(&server, Goal::SwapBack).await.expect("swapped back");
    shelf.reindex(&server, Goal::SwapBack).await.expect("and once more");
    live_on(&shelf, &mut projector).await;
    disk.put_back(&server).await;
    let mut projector = shelf.projector(&server, &[]);
    projector.tick().await.expect("the file is there");
    shelf.bring_all(&mut projector).await;
    shelf.assert_same(&server).await;
    shelf.reindex(&server, Goal::SwapBack).await.expect("swapped back");
    shelf.assert_same(&server).await;
}

#[tokio::test]
async fn a_server_that_throws_old_tasks_away_is_no_older_copy() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(10));
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    match &server.double {
        Some(double) => double.forget_tasks(),
        None => {
            let path = format!("tasks?statuses=succeeded,failed,canceled&indexUids={}", server.index);
            let task = server.task("DELETE", &path, None).await;
            assert_eq!(task["status"], "succeeded");
        }
    }
    let mut projector = shelf.projector(&server, &[]);
    assert_eq!(projector.tick().await.expect("the file is there"), Tick::Idle);
    assert_eq!(shelf.dirty(), 0);
    shelf.put([said(1, 2, "Changed")]);
    assert_eq!(projector.tick().await.expect("the file is there"), Tick::Brought(1));
    shelf.assert_same(&server).await;
    server.close().await;
}
