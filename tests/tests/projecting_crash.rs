//! Killed at any moment between its file and the search index: on the double, or on a real Meilisearch where `MEILI_URL`
//! names one. And what its verbs say.

use std::process::Command;

use bisan::Goal;
use outbox_tests::{Child, Proxy, Redis, SearchServer, Shelf, Side, Turns, binary, said};

fn bisan(shelf: &Shelf, server: &SearchServer, port: Option<u16>, verb: &[&str]) -> Command {
    let mut command = Command::new(binary("bisan"));
    command
        .args(verb)
        .arg("--database")
        .arg(shelf.file())
        .args(server.flags(port))
        .env_remove("MEILI_KEY")
        .env_remove("MEILI_URL");
    command
}

async fn killed_while_projecting(side: Side) {
    let (server, redis) = (SearchServer::open().await, Redis::start().await);
    let wire = Proxy::to(server.port()).await;
    let shelf = Shelf::with(5);
    let redis_url = redis.url();
    let mut turns = Turns::of(&wire, side, 4);
    while let Some(turn) = turns.another() {
        shelf.put((1..=5).map(|number| said(number, 10 * turn as u64, &format!("Edition {turn} of {number}"))));
        shelf.delete(6 - (turn as u32 % 5), 10 * turn as u64 + 5);
        let flags = ["run", "--redis-url", &redis_url, "--listen", "127.0.0.1:0", "--batch-wait-max", "0"];
        let start = || Child::spawn(bisan(&shelf, &server, Some(wire.port()), &flags));
        turns.kill(start, async |_| shelf.dirty() == 0).await;
        // Whoever comes next brings the rest, and nothing is lost or older than it should be.
        shelf.bring_all(&mut shelf.projector(&server, &[])).await;
        shelf.assert_same(&server).await;
    }
    server.close().await;
}

#[tokio::test]
async fn killed_before_any_request_to_meilisearch_arrives_nothing_is_lost() {
    killed_while_projecting(Side::Request).await;
}

#[tokio::test]
async fn killed_before_any_reply_of_meilisearch_arrives_nothing_is_lost() {
    killed_while_projecting(Side::Reply).await;
}

async fn killed_while_rebuilding(side: Side) {
    let server = SearchServer::open().await;
    let wire = Proxy::to(server.port()).await;
    let shelf = Shelf::with(9);
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    let mut turns = Turns::of(&wire, side, 15).one_in(2);
    while let Some(turn) = turns.another() {
        let before = server.made_at(&server.index).await;
        let swaps = "select coalesce((select cast(value as integer) from fact where name = 'search_swaps'), 0)";
        let swapped: i64 = shelf.ask(swaps);
        let flags = ["reindex", "--batch-documents-max", "4", "--json"];
        let start = || Child::spawn(bisan(&shelf, &server, Some(wire.port()), &flags));
        turns.kill(start, async |_| shelf.ask::<i64>(swaps) > swapped).await;
        // Meanwhile articles change, go and come, and are brought to whichever index answers.
        shelf.put([said(1, 2 * turn as u64, &format!("Edition {turn}")), said(20 + turn as u32, 1, "New")]);
        shelf.delete(19 + turn as u32, 2);
        shelf.bring_all(&mut projector).await;
        shelf.assert_same(&server).await;
        // It may have written down its end before it was killed.
        if shelf.ask::<i64>(swaps) == swapped {
            let summary = shelf.reindex(&server, Goal::Rebuild).await.expect("it goes on where it was");
            assert_eq!(summary.ended, "swapped");
        }
        assert_eq!(shelf.forgotten(&server).await, Vec::<i64>::new(), "turn {turn}: the way back is safe");
        assert_ne!(
            server.made_at(&server.index).await,
            before,
            "turn {turn}: they have changed places, and once only"
        );
        shelf.bring_all(&mut projector).await;
        shelf.assert_same(&server).await;
    }
    server.close().await;
}

#[tokio::test]
async fn a_rebuild_that_is_killed_before_any_request_arrives_goes_on_where_it_was() {
    killed_while_rebuilding(Side::Request).await;
}

#[tokio::test]
async fn a_rebuild_that_is_killed_before_any_reply_arrives_goes_on_where_it_was() {
    killed_while_rebuilding(Side::Reply).await;
}

async fn killed_on_the_way_back(side: Side) {
    let server = SearchServer::open().await;
    let wire = Proxy::to(server.port()).await;
    let shelf = Shelf::with(9);
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    shelf.reindex(&server, Goal::Rebuild).await.expect("swapped");
    let mut turns = Turns::of(&wire, side, 5).one_in(2);
    while let Some(turn) = turns.another() {
        let kept = server.made_at(&server.spare()).await.expect("one is kept");
        shelf.put([said(1, 2 * turn as u64, &format!("Edition {turn}")), said(20 + turn as u32, 1, "New")]);
        shelf.bring_all(&mut projector).await;
        let swaps = "select cast(value as integer) from fact where name = 'search_swaps'";
        let swapped: i64 = shelf.ask(swaps);
        let start = || Child::spawn(bisan(&shelf, &server, Some(wire.port()), &["reindex", "--swap-back", "--json"]));
        turns.kill(start, async |_| shelf.ask::<i64>(swaps) > swapped).await;
        // It may have written down its end before it was killed.
        if shelf.ask::<i64>(swaps) == swapped {
            let refused =
                shelf.reindex(&server, Goal::Rebuild).await.expect_err("another thing is under way").to_string();
            assert!(refused.contains("a way back is under way"), "{refused}");
            let summary = shelf.reindex(&server, Goal::SwapBack).await.expect("it goes on where it was");
            assert_eq!(summary.ended, "swapped");
        }
        assert_eq!(server.made_at(&server.index).await, Some(kept), "turn {turn}: the one that was kept answers");
        shelf.bring_all(&mut projector).await;
        shelf.assert_same(&server).await;
    }
    server.close().await;
}

#[tokio::test]
async fn a_way_back_that_is_killed_before_any_request_arrives_goes_on_where_it_was() {
    killed_on_the_way_back(Side::Request).await;
}

#[tokio::test]
async fn a_way_back_that_is_killed_before_any_reply_arrives_goes_on_where_it_was() {
    killed_on_the_way_back(Side::Reply).await;
}

#[tokio::test]
async fn to_give_up_a_way_back_keeps_the_index() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(9));
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    shelf.reindex(&server, Goal::Rebuild).await.expect("swapped");
    let (live, kept) = (server.made_at(&server.index).await, server.made_at(&server.spare()).await);
    let settings = Shelf::settings(&server, None, &[]);
    let reindex = bisan::Reindex::new(&shelf.store, &settings, vec!["zeppelin".to_owned()], outbox_tests::deadline());
    let reindex = reindex.expect("sound settings");
    reindex.run(Goal::SwapBack, &mut |_| {}).await.expect_err("it finds no zeppelin");
    drop(reindex);
    assert_eq!(shelf.reindex(&server, Goal::Drop).await.expect("given up").ended, "kept");
    assert_eq!((server.made_at(&server.index).await, server.made_at(&server.spare()).await), (live, kept.clone()));
    // What changes is still noted for it.
    shelf.put([said(1, 2, "Changed")]);
    shelf.bring_all(&mut projector).await;
    shelf.reindex(&server, Goal::SwapBack).await.expect("swapped back");
    assert_eq!(server.made_at(&server.index).await, kept);
    shelf.bring_all(&mut projector).await;
    shelf.assert_same(&server).await;
    assert_eq!(shelf.reindex(&server, Goal::Drop).await.expect("dropped").ended, "dropped");
    server.close().await;
}

/// The exit code and what it printed.
fn said_by(mut command: Command) -> (i32, String, String) {
    let output = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("it ends by itself"), text(output.stdout), text(output.stderr))
}

async fn in_peace<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic")
}

#[tokio::test]
async fn settings_that_have_drifted_are_told_with_both_values_and_made_ours_on_demand() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(3));
    let settings = |more: &[&str]| {
        let mut command = Command::new(binary("bisan"));
        command
            .arg("index-settings")
            .args(server.flags(None))
            .args(more)
            .env_remove("MEILI_URL")
            .env_remove("MEILI_KEY");
        in_peace(move || said_by(command))
    };
    let (code, said, _) = settings(&[]).await;
    assert!(code == 1 && said.contains("there is no index"), "{code} {said}");
    shelf.bring_all(&mut shelf.projector(&server, &[])).await;
    assert_eq!(settings(&[]).await.0, 0);

    let change = serde_json::json!({"stopWords": ["the"], "typoTolerance": {"enabled": false}});
    server.task("PATCH", &format!("indexes/{}/settings", server.index), Some(change)).await;
    let (code, said, _) = settings(&["--json"]).await;
    assert_eq!(code, 1);
    let report: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(report["drift"][0], serde_json::json!({"setting": "stopWords", "wanted": [], "found": ["the"]}));
    assert_eq!(report["drift"][1]["setting"], "typoTolerance.enabled");
    let (code, said, _) = settings(&[]).await;
    assert!(code == 1 && said.contains("typoTolerance.enabled") && said.contains("--apply"), "{said}");
    let (code, said, _) = settings(&["--apply"]).await;
    assert!(code == 0 && said.contains("made ours"), "{said}");
    assert_eq!(settings(&[]).await.0, 0);
    server.close().await;
}

#[tokio::test]
async fn each_step_is_a_line_of_json_and_the_key_is_in_none() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(3));
    let command = bisan(&shelf, &server, None, &["--log", "trace", "reindex", "--json"]);
    let (code, said, log) = in_peace(move || said_by(command)).await;
    assert_eq!(code, 0, "{log}");
    let steps: Vec<serde_json::Value> =
        serde_json::Deserializer::from_str(&said).into_iter().map(|line| line.expect("JSON")).collect();
    let named: Vec<_> = steps.iter().filter_map(|step| step["step"].as_str()).collect();
    assert_eq!(named, ["making", "loading", "catching_up", "swapping", "swapping"]);
    assert_eq!(steps.last().expect("an end")["ended"], "swapped");
    if let Some(key) = &server.key {
        assert!(!said.contains(key) && !log.contains(key), "the key is shown");
    }
    let mut status = Command::new(binary("bisan"));
    status.arg("status").arg("--json").arg("--database").arg(shelf.file());
    let (code, said, _) = in_peace(move || said_by(status)).await;
    let standing: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((code, &standing["index"]["spare"]), (0, &"swapped".into()));
    server.close().await;
}

#[tokio::test]
async fn a_comparison_names_what_is_missing_stale_and_stray_and_mends_it() {
    let (server, shelf) = (SearchServer::open().await, Shelf::with(9));
    let mut projector = shelf.projector(&server, &[]);
    shelf.bring_all(&mut projector).await;
    let status = |more: &[&str]| {
        let mut command = bisan(&shelf, &server, None, &["status", "--compare", "--json"]);
        command.args(more);
        in_peace(move || said_by(command))
    };
    let (code, said, why) = status(&[]).await;
    assert_eq!(code, 0, "{said} {why}");
    let path = format!("indexes/{}/documents", server.index);
    server.task("POST", &format!("{path}/delete-batch"), Some(serde_json::json!([3]))).await;
    let others = serde_json::json!([{"id": 999, "title": "Nobody knows me"}, {"id": 5, "change": 0, "title": "Old"}]);
    server.task("POST", &path, Some(others)).await;
    // What is on its way is no difference.
    shelf.put([said_anew(7)]);
    let (code, said, _) = status(&["--mend"]).await;
    let compared = serde_json::from_str::<serde_json::Value>(&said).expect("JSON")["compared"].clone();
    assert_eq!(code, 1);
    assert_eq!(compared, serde_json::json!({"documents": 9, "missing": [3], "stale": [5], "stray": [999]}));
    shelf.bring_all(&mut projector).await;
    assert_eq!(status(&[]).await.0, 0);
    shelf.assert_same(&server).await;
    server.close().await;
}

fn said_anew(number: u32) -> contract::Export {
    said(number, 2, "Anew")
}

#[tokio::test]
async fn without_an_address_a_rebuild_says_what_is_missing() {
    let shelf = Shelf::with(1);
    let mut command = Command::new(binary("bisan"));
    command.arg("reindex").arg("--database").arg(shelf.file()).env_remove("MEILI_URL");
    let (code, _, why) = in_peace(move || said_by(command)).await;
    assert!(code == 64 && why.contains("MEILI_URL") && why.lines().count() == 1, "{code} {why}");
}
