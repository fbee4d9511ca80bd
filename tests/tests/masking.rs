//! What must not be shown is masked before it leaves the process: over HTTP and on the page, and on a terminal if one asks.

use std::time::{Duration, Instant};

use outbox_tests::{Browser, Stage, Surface, eventually};
use serde_json::{Value, json};

/// Letters of both kinds, and what is no event.
async fn stage() -> Stage {
    let stage = Stage::set().await;
    stage
        .sql(
            r#"insert into outbox (stream, id, type, payload, headers, due_at, dead_at, last_error)
               values ('s', 'unsent', 'user.signed-up', '{"email": "ann@example.com", "n": 12345678901234567890, "auth": {"Password": "hunter2"}}',
                       '{"authorization": "Bearer abc", "color": "red"}', 'infinity', now(), 'WRONGTYPE');
               insert into outbox_dead_letter (stream, group_name, lane, entry, origin, id, type, ver, time, payload, headers, fields, replayable,
                                               attempts, reason)
               values ('s', 'mail', 's', '1-1', '1-1', 'left', 'order.placed', 1, now(),
                       '{"customer": {"address": "1 Main Street", "name": "Ann"}, "access_token": "xyzzy"}', '{"x-api-key": "k1"}', '{}', true, 5, 'x'),
                      ('s', 'mail', 's', '1-2', '1-2', 'foreign', 'order.placed', 1, now(), 'hunter2 in no JSON', null, '{}', false, 5, 'x'),
                      ('s', 'mail', 's', '1-3', '1-3', null, null, null, null, null, null,
                       '[["secret", "s3cr3t"], ["data", "raw s3cr3t"], ["note", "hello"]]', false, 5, 'x')"#,
        )
        .await;
    stage
}

async fn ready(stage: &Stage, flags: &[&str]) -> Surface {
    let surface = Surface::begin(stage, flags).await;
    eventually("the relay to be ready", async || surface.get("/ready").await.status == 200).await;
    surface
}

const SECRETS: [&str; 6] = ["hunter2", "Bearer abc", "xyzzy", "k1", "s3cr3t", "no JSON"];

/// Everything that the routes tell of letters.
async fn all_told(surface: &Surface) -> String {
    let mut told = String::new();
    for path in ["/dead?limit=500", "/dlq/items?limit=100", "/trace/unsent", "/trace/left", "/status"] {
        told += &surface.get(path).await.text();
    }
    let listed = surface.get("/dead").await.json();
    for letter in listed["items"].as_array().expect("letters") {
        told += &surface.get(&format!("/dead/{}", letter["id"].as_str().expect("an id"))).await.text();
    }
    told
}

#[tokio::test]
async fn what_looks_like_a_secret_leaves_no_relay() {
    let stage = stage().await;
    let surface = ready(&stage, &[]).await;
    let told = all_told(&surface).await;
    for secret in SECRETS {
        assert!(!told.contains(secret), "{secret}: {told}");
    }
    for shown in ["ann@example.com", "12345678901234567890", "1 Main Street", "hello", "red"] {
        assert!(told.contains(shown), "{shown}: {told}");
    }
    let letter = surface.get("/dead/left").await.json();
    assert_eq!(
        letter[0]["payload"],
        json!({"customer": {"address": "1 Main Street", "name": "Ann"}, "access_token": "***"})
    );
    assert_eq!((&letter[0]["headers"], &letter[0]["masked"]), (&json!({"x-api-key": "***"}), &json!(true)));
}

#[tokio::test]
async fn rules_of_ones_own_hide_what_they_name_and_off_hides_nothing() {
    let stage = stage().await;
    let surface = ready(&stage, &["--mask", "email, order.*:customer.address"]).await;
    let told = all_told(&surface).await;
    for hidden in ["ann@example.com", "1 Main Street", "no JSON"] {
        assert!(!told.contains(hidden), "{hidden}: {told}");
    }
    assert!(told.contains("xyzzy") && told.contains("\"Ann\""), "only what is named: {told}");
    drop(surface);
    let surface = ready(&stage, &["--mask", "off"]).await;
    let told = all_told(&surface).await;
    for secret in SECRETS {
        assert!(told.contains(secret), "{secret}: {told}");
    }
    assert!(!told.contains("\"masked\""));
}

/// Else a few thousand searches would spell a secret.
#[tokio::test]
async fn what_is_masked_cannot_be_found_by_searching_for_it() {
    let stage = stage().await;
    let surface = ready(&stage, &[]).await;
    let total = async |search: &str| surface.get(&format!("/dead?search={search}")).await.json()["total"].clone();
    for hidden in ["hunter2", "hunt", "xyz"] {
        assert_eq!(total(hidden).await, 0, "{hidden}");
        for deed in ["/dead/replay", "/dead/drop"] {
            let would = surface.post(deed, &json!({"search": hidden, "dry_run": true})).await.json();
            assert_eq!(would["meant"], 0, "{deed} {hidden}");
        }
    }
    for (shown, count) in [("ann@example", 1), ("Main+Street", 1), ("wrongtype", 1), ("left", 1), ("password", 1)] {
        assert_eq!(total(shown).await, count, "{shown}");
    }
    let done = surface.post("/dead/drop", &json!({"search": "hunter2"})).await.json();
    assert_eq!((&done["done"], total("").await), (&json!(0), json!(4)));
}

/// More letters than are looked into, all with one secret.
async fn bury_many(stage: &Stage, letters: u32, payload: &str) {
    let statement = format!(
        "insert into outbox_dead_letter (stream, group_name, lane, entry, id, type, payload, fields, replayable, attempts, reason)
         select 's', 'g', 's', '1-' || n, 'many-' || n, 't', {payload}, '[]', true, 1, 'refused' from generate_series(1, {letters}) n"
    );
    stage.sql(&statement).await;
}

#[tokio::test]
async fn how_many_hold_what_is_masked_is_told_by_no_limit_either() {
    let stage = stage().await;
    let surface = ready(&stage, &[]).await;
    bury_many(&stage, 2_100, r#"'{"order": ' || n || ', "api_key": "sk_live_Zq9"}'"#).await;
    for guess in ["sk_live_Zq9", "sk_live_A", "live_Zq", "nothing"] {
        let answer = surface.get(&format!("/dead?search={guess}&limit=1")).await;
        assert_eq!((answer.status, &answer.json()["total"]), (200, &json!(0)), "{guess}");
    }
    let many = surface.get("/dead?search=order&limit=1").await.json();
    assert_eq!(many["total"], 2_000, "the newest of those that show it");
}

#[tokio::test]
async fn who_searches_through_much_text_keeps_nobody_waiting() {
    let stage = stage().await;
    let surface = ready(&stage, &[]).await;
    bury_many(&stage, 60, r#"repeat('[', 30) || '"' || repeat('a', 1000000) || '"' || repeat(']', 30)"#).await;
    let search = surface.get("/dead?search=aaaa&limit=1");
    let others = async {
        let begun = Instant::now();
        for _ in 0..20 {
            assert_eq!(surface.get("/live").await.status, 200);
        }
        begun.elapsed()
    };
    let (found, waited) = tokio::join!(search, others);
    assert_eq!(found.json()["total"], 33, "as many as 32 MiB hold");
    assert!(waited < Duration::from_secs(5), "{waited:?}");
}

#[tokio::test]
async fn an_operators_own_terminal_shows_all_unless_it_is_told_not_to() {
    let stage = stage().await;
    let show = |flags: &[&str]| {
        let output = stage.command(&["dead", "show", "unsent"]).args(flags).output().expect("the binary runs");
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        told[0]["payload"].clone()
    };
    assert_eq!(show(&[])["auth"]["Password"], "hunter2");
    let masked = show(&["--mask", "email,*password*"]);
    assert_eq!((&masked["email"], &masked["auth"]["Password"]), (&json!("***"), &json!("***")));
    let output = stage.command(&["run", "--mask", "a,,b"]).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("RELAY_MASK") && said.trim_end().lines().count() == 1, "{said}");
}

#[tokio::test]
async fn the_page_shows_what_is_masked_as_masked() {
    let stage = stage().await;
    let surface = ready(&stage, &[]).await;
    let browser = Browser::open().await;
    browser.go(&format!("http://{}/", surface.address)).await;
    browser.until_text("#dead-list", "left").await;
    browser.click("#dead-list li[data-id=left] .open").await;
    browser.until_text("#letter-body pre", "1 Main Street").await;
    browser.until_text("#letter-body", "Where *** stands, a value is hidden").await;
    let text = browser.text("#letter-body").await;
    assert!(text.contains("\"access_token\": \"***\"") && !text.contains("xyzzy"), "{text}");
    for (name, dark, width) in [("light", false, 1280), ("dark", true, 1280), ("phone", false, 360)] {
        browser.prefer_dark(dark).await;
        browser.size(width, 900).await;
        let file = format!("{}/page/masked-{name}.png", env!("CARGO_TARGET_TMPDIR"));
        browser.photograph(std::path::Path::new(&file), false).await;
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
