//! The index is built anew while everybody works on: on the double, or on a real Meilisearch where `MEILI_URL` names one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bisan::search::{Engine, Query, Request, search_by};
use bisan::store::Filter;
use bisan::{Goal, Searcher};
use outbox_tests::{Chance, SearchServer, Shelf, deadline, eventually, said};
use serde_json::json;

fn request(words: &str) -> Request {
    Request { query: Query::parse(words), filter: Filter::default(), page: 1, size: 20 }
}

/// Fewer than a newspaper has, so that the suite stays quick; `BISAN_TEST_ARTICLES=50000` is the real thing.
fn articles() -> u32 {
    std::env::var("BISAN_TEST_ARTICLES").map_or(2_000, |count| count.parse().expect("a number"))
}

#[tokio::test]
async fn a_rebuilt_index_has_everything_and_the_one_before_is_kept() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(25));
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    shelf.delete(5, 2);
    shelf.put([said(6, 2, "Changed before")]);
    let before = server.made_at(&server.index).await.expect("it is there");
    let summary = shelf.reindex_with(&server, Goal::Rebuild, &["--batch-documents-max", "6"]).await.expect("swapped");
    assert_eq!((summary.ended, summary.documents, summary.refused), ("swapped", 24, 0));
    shelf.bring_all(&mut projector).await;
    shelf.assert_same(&server).await;
    assert_eq!(server.made_at(&server.spare()).await, Some(before.clone()), "the one before is kept");

    // What changes from here on is noted for it, so the way back is as safe.
    shelf.put([said(7, 2, "Changed after")]);
    shelf.delete(8, 2);
    shelf.bring_all(&mut projector).await;
    shelf.reindex(&server, Goal::SwapBack).await.expect("swapped back");
    assert_eq!(server.made_at(&server.index).await, Some(before));
    shelf.bring_all(&mut projector).await;
    shelf.assert_same(&server).await;

    let summary = shelf.reindex(&server, Goal::Drop).await.expect("dropped");
    assert_eq!(summary.ended, "dropped");
    assert_eq!(server.made_at(&server.spare()).await, None);
    shelf.put([said(9, 2, "Changed at last")]);
    shelf.bring_all(&mut projector).await;
    shelf.assert_same(&server).await;
    assert_eq!(shelf.ask::<u32>("select count(*) from search_behind"), 0, "nothing is noted for nobody");
    server.close().await;
}

#[tokio::test]
async fn a_rebuild_mends_an_index_that_lacks_and_has_too_much() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(20));
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    let path = format!("indexes/{}/documents", server.index);
    server.task("POST", &format!("{path}/delete-batch"), Some(json!([1, 2, 3]))).await;
    server.task("POST", &path, Some(json!([{"id": 999, "title": "Nobody knows me"}]))).await;
    assert_ne!(shelf.differs(&server, &server.index).await, Vec::<String>::new());
    shelf.reindex(&server, Goal::Rebuild).await.expect("swapped");
    shelf.assert_same(&server).await;
    server.close().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_a_sentence() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(3));
    let nothing = shelf.reindex(&server, Goal::SwapBack).await.expect_err("nothing is kept");
    assert!(nothing.to_string().contains("no index is kept"), "{nothing}");
    let dropped = shelf.reindex(&server, Goal::Drop).await.expect("there is nothing to drop");
    assert_eq!(dropped.ended, "dropped");
    let settings = Shelf::settings(&server, None, &[]);
    let _one = bisan::Reindex::new(&shelf.store, &settings, vec![], deadline()).expect("the first");
    let other = bisan::Reindex::new(&shelf.store, &settings, vec![], deadline()).expect_err("the second");
    assert!(other.to_string().contains("at it already"), "{other}");
    server.close().await;
}

#[tokio::test]
async fn a_spare_index_that_somebody_deletes_is_built_from_the_beginning() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(10));
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    shelf.reindex(&server, Goal::Rebuild).await.expect("swapped");
    server.task("DELETE", &format!("indexes/{}", server.spare()), None).await;
    shelf.put([said(3, 2, "Changed after")]);
    shelf.reindex(&server, Goal::SwapBack).await.expect("built and swapped");
    shelf.bring_all(&mut projector).await;
    shelf.assert_same(&server).await;
    let (_, settings) = server.ask("GET", &format!("indexes/{}/settings", server.index), None).await;
    assert_eq!(settings["searchableAttributes"][0], "title", "with its settings");
    server.close().await;
}

#[tokio::test]
async fn a_title_that_looks_like_syntax_is_no_difference() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(5));
    shelf.put([
        said(6, 1, "Storm -flooding- and wind"),
        said(7, 1, "-Forty degrees"),
        said(8, 1, "He said «never» again"),
    ]);
    shelf.reindex(&server, Goal::Rebuild).await.expect("swapped");
    server.close().await;
}

#[tokio::test]
async fn words_that_find_nothing_keep_the_new_index_from_answering() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(10));
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    let before = server.made_at(&server.index).await;
    let rebuild = async |words: &str| {
        let settings = Shelf::settings(&server, None, &[]);
        let reindex =
            bisan::Reindex::new(&shelf.store, &settings, vec![words.to_owned()], deadline()).expect("sound");
        reindex.run(Goal::Rebuild, &mut |_| {}).await
    };
    let refused = rebuild("zeppelin").await.expect_err("nobody wrote of one").to_string();
    assert!(refused.contains("zeppelin") && refused.contains("nothing was swapped"), "{refused}");
    assert_eq!(server.made_at(&server.index).await, before);
    // Called again with words that are there it goes on from where it was.
    rebuild("headline").await.expect("swapped");
    assert_ne!(server.made_at(&server.index).await, before);
    server.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_rebuild_under_writes_and_searches_fails_no_search_and_loses_nothing() {
    let articles = articles();
    let server = SearchServer::open().await;
    let filling = Instant::now();
    let shelf = Arc::new(Shelf::with(articles));
    shelf.put([said(1, 2, "The lighthouse keeper")]);
    println!("{articles} articles written in {:?}", filling.elapsed());
    let mut projector = shelf.projector(&server, &["--meili-timeout", "30s"]);
    let bringing = Instant::now();
    let patient = tokio::time::timeout(deadline() * 20, async {
        while shelf.dirty() > 0 {
            projector.tick().await.expect("the file is there");
        }
    });
    patient.await.expect("they are brought in time");
    println!("brought in {:?}", bringing.elapsed());
    let projecting = tokio::spawn(projector.run(std::future::pending()));
    let done = Arc::new(AtomicBool::new(false));

    // 50 writes a second: edits, new articles, deletions and returns.
    let (writing_shelf, writing_done) = (Arc::clone(&shelf), Arc::clone(&done));
    let mut chance = Chance::from_environment();
    let writing = tokio::spawn(async move {
        let mut clock = tokio::time::interval(Duration::from_millis(20));
        let mut version = 2;
        while !writing_done.load(Relaxed) {
            clock.tick().await;
            version += 1;
            let number = 2 + u32::try_from(chance.below(u64::from(articles + 200))).expect("small");
            let (shelf, delete) = (Arc::clone(&writing_shelf), chance.once_in(10));
            let write = move || match delete {
                true => shelf.delete(number, version),
                false => shelf.put([said(number, version, &format!("Edition {version} of {number}"))]),
            };
            tokio::task::spawn_blocking(write).await.expect("written");
        }
        version - 2
    });

    // 20 searches a second, each of which must find what never changes.
    let counts: Arc<[AtomicU32; 2]> = Arc::default();
    let (searching_shelf, searching_done, searching_counts) =
        (Arc::clone(&shelf), Arc::clone(&done), Arc::clone(&counts));
    let searcher = Searcher::new(&Shelf::settings(&server, None, &[])).expect("sound").expect("it is on");
    let searching = tokio::spawn(async move {
        let mut clock = tokio::time::interval(Duration::from_millis(50));
        while !searching_done.load(Relaxed) {
            clock.tick().await;
            let found = search_by(&searching_shelf.store, Some(&searcher), request("lighthouse keeper")).await;
            let found = found.expect("no search fails");
            assert!(
                found.hits.iter().any(|hit| hit.article.title == "The lighthouse keeper"),
                "{:?} finds it",
                found.engine
            );
            searching_counts[usize::from(found.engine == Engine::Meilisearch)].fetch_add(1, Relaxed);
        }
    });

    let begun = Instant::now();
    let settings = Shelf::settings(&server, None, &["--meili-timeout", "30s"]);
    let reindex = bisan::Reindex::new(&shelf.store, &settings, vec![], deadline()).expect("sound settings");
    let summary = reindex.run(Goal::Rebuild, &mut |_| {}).await.expect("swapped");
    println!("rebuilt in {:?}: {summary:?}", begun.elapsed());
    // Some writes and searches after it.
    let searched = || counts[0].load(Relaxed) + counts[1].load(Relaxed);
    let then = searched();
    eventually("some more searches are done", async || searched() > then + 20).await;
    done.store(true, Relaxed);
    let (written, searching) = (writing.await.expect("it writes to its end"), searching.await);
    searching.expect("no search fails");
    println!(
        "{written} writes; searches answered by the file {}, by the index {}",
        counts[0].load(Relaxed),
        counts[1].load(Relaxed)
    );
    eventually("everything is brought", async || shelf.dirty() == 0).await;
    shelf.assert_same(&server).await;

    drop(reindex);
    let begun = Instant::now();
    shelf.reindex_with(&server, Goal::SwapBack, &["--meili-timeout", "30s"]).await.expect("swapped back");
    println!("swapped back in {:?}", begun.elapsed());
    eventually("everything is brought", async || shelf.dirty() == 0).await;
    projecting.abort();
    shelf.assert_same(&server).await;
    server.close().await;
}
