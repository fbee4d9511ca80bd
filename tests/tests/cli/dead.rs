//! Dead letters: listed, shown, replayed and dropped.

use super::*;

/// Four dead letters, a held row and a plain one.
async fn with_dead_letters() -> Stage {
    let stage = Stage::set().await;
    stage
        .sql(
            "insert into outbox (stream, id, type, key, payload, headers, attempts, last_error, due_at, dead_at)
             select s, id, t, 'k', '{\"n\":  1.0}', '{\"tenant\": \"7\"}', 5, 'WRONGTYPE ' || id, 'infinity', now() - n * interval '1 hour'
               from (values ('a', 'a1', 't', 4), ('a', 'a2', 'u', 3), ('b', 'b1', 't', 2), ('b', 'b2', 'u', 1)) v(s, id, t, n);
             select outbox_enqueue('a', 't', '1', id => 'held', due_at => '2100-01-01');
             select outbox_enqueue('a', 't', '1', id => 'plain')",
        )
        .await;
    stage
}

fn listed(stage: &Stage, arguments: &[&str]) -> Vec<String> {
    let letters = json(stage, &[&["dead", "list", "--json"], arguments].concat());
    let ids = letters.as_array().expect("an array").iter();
    ids.map(|letter| letter["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn dead_letters_are_listed_newest_first_and_by_stream_and_type() {
    let stage = with_dead_letters().await;
    assert_eq!(listed(&stage, &[]), ["b2", "b1", "a2", "a1"]);
    assert_eq!(listed(&stage, &["--stream", "a"]), ["a2", "a1"]);
    assert_eq!(listed(&stage, &["--type", "t"]), ["b1", "a1"]);
    assert_eq!(listed(&stage, &["--stream", "b", "--type", "u"]), ["b2"]);
    assert_eq!(listed(&stage, &["--limit", "3"]), ["b2", "b1", "a2"]);
    assert_eq!(listed(&stage, &["--stream", "nowhere"]), [""; 0]);
    let letters = json(&stage, &["dead", "list", "--json"]);
    let fields = [
        "id",
        "stream",
        "group_name",
        "entry",
        "type",
        "key",
        "ver",
        "attempts",
        "last_error",
        "replays",
        "created_at",
        "dead_at",
    ];
    assert_eq!(keys(&letters[0]), fields.into(), "payloads are not listed");
    assert_eq!((&letters[0]["attempts"], &letters[0]["last_error"]), (&5.into(), &"WRONGTYPE b2".into()));

    let text = verb(&stage, &["dead", "list"]);
    assert!(text.starts_with("id  stream  group  type  attempts  replays  since"), "{text}");
    let ids: Vec<_> = text.lines().skip(1).map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(ids, ["b2", "b1", "a2", "a1"], "{text}");
    assert!(text.contains("WRONGTYPE a1"), "{text}");
    assert_eq!(verb(&stage, &["dead", "list", "--stream", "nowhere"]), "no dead letters\n");
}

#[tokio::test]
async fn a_dead_letter_is_shown_with_its_payload() {
    let stage = with_dead_letters().await;
    let shown = verb(&stage, &["dead", "show", "a1"]);
    assert!(shown.contains(r#""payload": {"n":  1.0}"#), "as it was written: {shown}");
    let letters: Value = serde_json::from_str(&shown).expect("JSON");
    let [letter] = &letters.as_array().expect("an array")[..] else { panic!("{shown}") };
    assert_eq!((&letter["id"], &letter["key"]), (&"a1".into(), &"k".into()));
    assert_eq!(letter["headers"]["tenant"], "7");
    assert!(letter.get("lane").is_none() && letter.get("earlier").is_none(), "{shown}");
    for id in ["nobody", "held", "plain", ""] {
        let sentence = sentence(&output(&mut stage.command(&["dead", "show", id])), FAILED);
        assert!(sentence.contains(&format!("{id:?}")), "{sentence}");
    }
}

#[tokio::test]
async fn a_dry_run_says_how_many_and_changes_nothing() {
    let stage = with_dead_letters().await;
    let rows = async || stage.ask::<String>("select string_agg(o::text, '|' order by seq) from outbox o").await;
    let before = rows().await;
    for change in ["replay", "drop"] {
        for (which, count) in [
            (&["a1"][..], 1),
            (&["a1", "b1"], 2),
            (&["--stream", "a"], 2),
            (&["--stream", "a", "--type", "t"], 1),
            (&["--all"], 4),
        ] {
            let said = verb(&stage, &[&["dead", change], which, &["--dry-run"]].concat());
            assert!(said.starts_with(&format!("{count} dead letter")) && said.contains("would"), "{said}");
        }
        let sentence = sentence(&output(&mut stage.command(&["dead", change, "nobody", "--dry-run"])), FAILED);
        assert_eq!(sentence, "there is no dead letter with the id \"nobody\"");
    }
    assert_eq!(rows().await, before);
}

#[tokio::test]
async fn replayed_dead_letters_leave_in_their_order() {
    let stage = with_dead_letters().await;
    let mut relay = stage.relay(&[]).await;
    stage.until_entries(&mut relay, "a", 1).await;
    assert!(verb(&stage, &["dead", "replay", "b2"]).starts_with("1 dead letter "));
    stage.until_entries(&mut relay, "b", 1).await;
    assert!(verb(&stage, &["dead", "replay", "--stream", "a"]).starts_with("2 dead letters "));
    stage.until_entries(&mut relay, "a", 3).await;
    assert!(verb(&stage, &["dead", "replay", "--all"]).starts_with("1 dead letter "));
    stage.until_entries(&mut relay, "b", 2).await;
    settle(&mut relay).await;
    assert_eq!(stage.ids("a").await, ["plain", "a1", "a2"], "and what is held stays held");
    assert_eq!(stage.ids("b").await, ["b2", "b1"]);
    assert_eq!(stage.entries("a").await[1].1.data, r#"{"n":  1.0}"#);
    assert_eq!(listed(&stage, &[]), [""; 0]);
    assert!(verb(&stage, &["dead", "replay", "--all"]).starts_with("0 dead letters "));
}

#[tokio::test]
async fn a_dropped_dead_letter_is_gone_for_good() {
    let stage = with_dead_letters().await;
    assert!(verb(&stage, &["dead", "drop", "a1", "b1"]).starts_with("2 dead letters dropped"));
    assert_eq!(listed(&stage, &[]), ["b2", "a2"]);
    assert!(verb(&stage, &["dead", "drop", "--type", "u", "--stream", "a"]).starts_with("1 dead letter dropped"));
    assert!(verb(&stage, &["dead", "drop", "--all"]).starts_with("1 dead letter dropped"));
    let left: String = stage.ask("select string_agg(id, ',' order by id) from outbox").await;
    assert_eq!(left, "held,plain", "only dead letters can be dropped");
}

#[tokio::test]
async fn an_id_that_is_no_dead_letter_is_a_failure_and_changes_nothing() {
    let stage = with_dead_letters().await;
    for change in ["replay", "drop"] {
        for id in ["nobody", "held", "plain"] {
            let sentence = sentence(&output(&mut stage.command(&["dead", change, id])), FAILED);
            assert_eq!(sentence, format!("there is no dead letter with the id {id:?}"));
        }
        let sentence = sentence(&output(&mut stage.command(&["dead", change, "held", "plain"])), FAILED);
        assert_eq!(sentence, "there is no dead letter with any of these 2 ids");
    }
    assert_eq!(listed(&stage, &[]).len(), 4);
    assert_eq!(stage.ask::<i64>("select count(*) from outbox").await, 6);
}
