//! The operator's page, as a person with a real browser meets it: it tells what is wrong and whose fault it is, lives, and lets
//! one act; whatever events say stays text.
//!
//! What it looked like lies in the target folder, in `tmp/page`.

use std::path::{Path, PathBuf};

use outbox_tests::{Browser, Child, Stage, Surface, eventually};
use serde_json::{Value, json};

const READ: &str = "read-read-read-read-read";
const WRITE: &str = "write-write-write-write";

async fn ready(stage: &Stage, flags: &[&str]) -> Surface {
    let surface = Surface::begin(stage, flags).await;
    eventually("the relay to be ready", async || surface.get("/ready").await.status == 200).await;
    surface
}

/// A browser that looks at the page of a relay.
async fn looking_at(surface: &Surface) -> Browser {
    let browser = Browser::open().await;
    browser.go(&format!("http://{}/", surface.address)).await;
    browser.until_text("#live-word", "live").await;
    browser
}

async fn until_level(browser: &Browser, level: &str) {
    browser.until(&format!("document.querySelector('#verdict').dataset.level === '{level}'")).await;
}

/// The whole page; of one with a dialog, what the window shows.
async fn photograph(browser: &Browser, name: &str) {
    let file: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page").join(format!("{name}.png"));
    let whole = browser.say("!document.querySelector('dialog[open]') && (scrollTo(0, 0), true)").await == true;
    browser.photograph(&file, whole).await;
}

/// What holds whatever was done: the page has asked nobody else, and the browser has nothing to complain about.
fn assert_well_behaved(browser: &Browser, surface: &Surface) {
    let home = format!("http://{}/", surface.address);
    let addresses = browser.addresses();
    assert!(!addresses.is_empty() && addresses.iter().all(|address| address.starts_with(&home)), "{addresses:?}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Letters that a group could not take, written as its consumer would.
async fn bury(stage: &Stage, count: usize) {
    stage.redis.command(&["XGROUP", "CREATE", "orders", "billing", "0", "MKSTREAM"]).await;
    stage
        .sql(&format!(
            "insert into outbox_dead_letter (stream, group_name, lane, entry, origin, id, type, ver, key, time, payload, fields, replayable,
                                             attempts, reason, buried_at)
             select 'orders', 'billing', 'orders', '1-' || n, '1-' || n, 'order-' || n || '-placed', 'order.placed', 1, 'order-' || n, now(),
                    '{{\"order\": ' || n || ', \"cents\": 1999, \"exact\": 12345678901234567890}}', '{{}}', true,
                    5, 'account ' || n || ' is closed', now() + n * interval '1 ms'
               from generate_series(1, {count}) n"
        ))
        .await;
}

#[tokio::test]
async fn the_pages_policy_allows_nothing_but_its_own_script() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    let page = surface.get("/").await;
    assert_eq!((page.status, page.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    let policy = &page.headers["content-security-policy"];
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-") && !policy.contains("inline"), "{policy}");
    for wall in
        ["frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'"]
    {
        assert!(policy.contains(wall), "{wall}");
    }
    assert_eq!(page.headers["x-content-type-options"], "nosniff");
    assert_eq!(surface.ask("GET", "/", &[("host", "evil.example")], None).await.status, 421);
    // The browser agrees: what anybody slips in does not run.
    let browser = looking_at(&surface).await;
    assert_well_behaved(&browser, &surface);
    let slipped = "const s = document.createElement('script'); try { s.textContent = 'window.hacked = 1'; } catch { }
                   document.body.append(s); window.hacked === undefined";
    assert_eq!(browser.say(slipped).await, json!(true));
}

#[tokio::test]
async fn a_backlog_is_seen_to_grow_and_to_drain() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &["--environment", "staging"]).await;
    stage.enqueue_many("orders", 20).await;
    stage.until_arrived_by_itself("orders", 20).await;
    let browser = looking_at(&surface).await;
    browser.until_text("#sentence", "All is well: nothing waits longer than 2 s.").await;
    // It says what the relay says, and nothing of its own.
    let verdict = surface.get("/status").await.json()["verdict"].take();
    assert_eq!(json!(browser.text("#sentence").await), verdict["findings"][0]["sentence"]);
    browser.until_text("#environment", "staging").await;
    browser.until_text("#table-lanes", "orders").await;
    photograph(&browser, "well").await;

    // Paused by a person, who is asked first.
    browser.click("#table-lanes button").await;
    browser.until_text("#sure-title", "Pause orders?").await;
    browser.click("#sure-yes").await;
    browser.until_text("#said", "Paused: orders.").await;
    until_level(&browser, "paused").await;
    stage
        .sql(
            "select outbox_enqueue('orders', 'order.placed', '1', id => 'more-' || n) from generate_series(1, 500) n",
        )
        .await;
    browser.until_text("#figure-backlog", "500").await;
    browser.until_text("#sentence", "500 events wait").await;
    browser.until("document.querySelector('#chart-backlog svg').ariaLabel.includes('now 500 events')").await;
    assert_eq!(stage.length("orders").await, 20);
    photograph(&browser, "paused").await;

    browser.click("#table-lanes button").await;
    browser.until_text("#said", "Resumed: orders.").await;
    stage.until_arrived_by_itself("orders", 520).await;
    browser.until("document.querySelector('#figure-backlog').innerText === '0'").await;
    until_level(&browser, "well").await;
    browser
        .until("document.querySelector('#chart-backlog svg').ariaLabel.includes('now 0 events; at most 500 events')")
        .await;

    // Everything at once.
    browser.click("#pause-all").await;
    browser.click("#sure-yes").await;
    browser.until_text("#sentence", "Everything is paused").await;
    browser.until_text("#pause-all", "Resume everything").await;
    browser.click("#pause-all").await;
    until_level(&browser, "well").await;
    assert_well_behaved(&browser, &surface);
}

#[tokio::test]
async fn a_dead_letter_is_found_looked_at_and_replayed_by_keys_alone() {
    let stage = Stage::set().await;
    stage.redis.command(&["SET", "orders", "a plain value"]).await;
    let surface = ready(&stage, &["--attempts-max", "1"]).await;
    let browser = looking_at(&surface).await;
    browser.until_text("#dead-empty", "No dead letters.").await;
    stage.enqueue("orders", "the-refused-one").await;
    browser.until_text("#dead-list", "the-refused-one").await;
    browser.until_text("#sentence", "1 dead letter waits for a person.").await;

    browser.press("/").await;
    browser.write("wrongtype").await;
    browser.until_text("#dead-list", "WRONGTYPE").await;
    browser.write(" and nothing like it").await;
    browser.until_text("#dead-empty", "No dead letter fits this search.").await;
    browser.say("document.activeElement.select()").await;
    browser.write("REFUSED-one").await;
    browser.until_text("#dead-list", "the-refused-one").await;
    browser.press("Escape").await;
    browser.press("j").await;
    browser.press("Enter").await;
    browser.until_text("#letter-body", "Could not be sent to orders").await;
    browser.until_text("#letter-body pre", "the-refused-one").await;
    photograph(&browser, "letter").await;
    browser.press("Escape").await;
    browser.until("!document.querySelector('dialog[open]')").await;

    browser.press("x").await;
    browser.until_text("#chosen", "1 chosen").await;
    stage.redis.command(&["DEL", "orders"]).await;
    browser.press("r").await;
    browser.until_text("#deed-text", "This would replay 1").await;
    photograph(&browser, "dry-run").await;
    assert_eq!(surface.get("/dlq/count").await.json(), json!({"count": 1}), "a dry run does nothing");
    browser.press("Enter").await;
    browser.until_text("#deed-text", "1 replayed.").await;
    stage.until_arrived_by_itself("orders", 1).await;
    browser.press("Escape").await;
    browser.until_text("#figure-dead", "0").await;
    until_level(&browser, "well").await;
    browser.press("?").await;
    browser.until_text("#help", "search the dead letters").await;
    assert_well_behaved(&browser, &surface);
}

#[tokio::test]
async fn all_that_fit_are_meant_only_when_somebody_says_so() {
    let stage = Stage::set().await;
    bury(&stage, 120).await;
    let surface = ready(&stage, &[]).await;
    let browser = looking_at(&surface).await;
    let rows = async || browser.say("document.querySelectorAll('#dead-list li').length").await;
    browser.until_text("#dead-total", "120").await;
    assert_eq!(rows().await, json!(50));
    browser.click("#dead-more").await;
    browser.until("document.querySelectorAll('#dead-list li').length === 100").await;
    photograph(&browser, "dead-letters").await;

    // Those on the page are no more than those on the page.
    browser.click("#choose-page").await;
    browser.until_text("#chosen", "100 chosen").await;
    browser.click("#choose-all").await;
    browser.until_text("#chosen", "All 120 that fit").await;

    // A narrower search forgets what was chosen under another one.
    browser.click("#search").await;
    browser.write("order-7").await;
    browser.until("document.querySelector('#dead-total').innerText === '11'").await;
    browser.until_text("#chosen", "None chosen").await;
    browser.click("#choose-page").await;
    browser.until_text("#chosen", "11 chosen").await;
    browser.click("#drop").await;
    browser.until_text("#deed-text", "forget 11 dead letters for good").await;
    browser.until("document.querySelector('#deed-yes').disabled").await;
    browser.write("1").await;
    browser.until("document.querySelector('#deed-yes').disabled").await;
    browser.say("document.activeElement.select()").await;
    browser.write("11").await;
    browser.click("#deed-yes").await;
    browser.until_text("#deed-text", "11 dropped.").await;
    assert_eq!(surface.get("/dlq/count").await.json(), json!({"count": 109}));
    browser.click("#deed-no").await;

    // Cancelled is cancelled.
    browser.say("document.querySelector('#search').value = ''; document.querySelector('#search').dispatchEvent(new Event('input'))").await;
    browser.until("document.querySelector('#dead-total').innerText === '109'").await;
    browser.click("#choose-page").await;
    browser.click("#choose-all").await;
    browser.click("#replay").await;
    browser.until_text("#deed-text", "This would replay 109").await;
    browser.press("Escape").await;
    assert_eq!(surface.get("/dlq/count").await.json(), json!({"count": 109}));

    // What takes long tells how far it is.
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    sqlx::query("lock table outbox_dead_letter in share row exclusive mode").execute(&mut *tx).await.expect("locked");
    browser.click("#replay").await;
    browser.until_text("#deed-text", "This would replay 109").await;
    browser.click("#deed-yes").await;
    browser.until_text("#deed-text", "0 of 109 replayed").await;
    tx.rollback().await.expect("let go");
    browser.until_text("#deed-text", "109 replayed.").await;
    stage.until_arrived_by_itself("orders:billing:replay", 109).await;
    browser.until_text("#dead-empty", "No dead letters.").await;
    assert_well_behaved(&browser, &surface);
}

#[tokio::test]
async fn a_wrong_token_is_refused_in_a_sentence_and_the_right_one_opens() {
    let stage = Stage::set().await;
    bury(&stage, 2).await;
    let mut command = stage.command(&["run"]);
    command.env("RELAY_LISTEN", "0.0.0.0:0").env("RELAY_READ_TOKEN", READ).env("RELAY_WRITE_TOKEN", WRITE);
    command.env("RELAY_ENVIRONMENT", "production");
    let surface = Surface::of(Child::spawn(command)).await;
    let browser = Browser::open().await;
    browser.go(&format!("http://{}/", surface.address)).await;
    let give = async |token: &str| {
        browser.click("#token-field").await;
        browser.write(token).await;
        browser.press("Enter").await;
    };
    browser.until_text("#token-why", "This relay wants to know who asks.").await;
    assert!(!browser.text("main").await.contains("orders"), "nothing is shown before");
    photograph(&browser, "token").await;
    // Who says no is not asked again until there is something to say.
    browser.press("Escape").await;
    browser.until_text("#sentence", "Without a token there is no answer.").await;
    browser.click("#token-give").await;
    give("a-wrong-one-of-some-length").await;
    browser.until_text("#token-why", "Nobody knows this token").await;
    give(READ).await;
    browser.until_text("#live-word", "live").await;
    browser.until_text("#dead-list", "order-2-placed").await;
    browser.until("document.querySelector('#environment').matches('.production')").await;

    // Who may look may not act.
    browser.click("#dead-list input").await;
    browser.click("#replay").await;
    browser.until_text("#token-why", "The read token does not allow this").await;
    give(WRITE).await;
    browser.until_text("#deed-text", "This would replay 1").await;
    browser.click("#deed-yes").await;
    browser.until_text("#deed-text", "1 replayed.").await;

    // It lives as long as the tab, and nowhere else.
    assert_eq!(browser.say("localStorage.length + document.cookie.length").await, json!(0));
    browser.go(&format!("http://{}/?again", surface.address)).await;
    browser.until_text("#live-word", "live").await;
    assert!(browser.addresses().iter().all(|address| !address.contains(WRITE)));
    assert_well_behaved(&browser, &surface);
}

const HOSTILE: &str = "<script>window.hacked=1</script><img src=x onerror=window.hacked=2><b>\"'&lt;\u{202e}";

#[tokio::test]
async fn whatever_events_say_stays_text() {
    let stage = Stage::set().await;
    bury(&stage, 1).await;
    let surface = ready(&stage, &[]).await;
    let hostile = HOSTILE.replace('\'', "''");
    stage
        .sql(&format!(
            "update outbox_dead_letter set id = '{hostile}', type = '{hostile}', key = '{hostile}', reason = '{hostile}', consumer = '{hostile}',
                    payload = to_json('{hostile}'::text)::text, headers = jsonb_build_object('{hostile}', '{hostile}');
             insert into outbox_stream (stream, paused_at, paused_by) values ('{hostile}', now(), '{hostile}');
             insert into outbox_consumer (stream, group_name, consumer, processed, failed, retried, buried, lost, handling_mean_us, handling_p99_us, seen_at)
             values ('{hostile}', '{hostile}', '{hostile}', 0, 0, 0, 0, 0, 0, 0, now())"
        ))
        .await;
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    sqlx::query("select set_config('application_name', '<img src=x onerror=window.hacked=3>', false)")
        .execute(&mut *tx)
        .await
        .expect("set");
    sqlx::query("insert into outbox (stream, type, id, payload) values ('s', 't', 'slow', '1')")
        .execute(&mut *tx)
        .await
        .expect("inserted");

    let browser = looking_at(&surface).await;
    browser.until_text("#dead-list", "<script>window.hacked=1</script>").await;
    browser.until_text("#table-lanes", "<img src=x onerror=window.hacked=2>").await;
    browser.until_text("#table-consumers", "<img src=x").await;
    browser.until_text("#table-blockers", "<img src=x onerror=window.hacked=3>").await;
    browser.until_text("#sentence", "is paused").await;
    browser.click("#dead-list .open").await;
    browser.until_text("#letter-body pre", "<script>window.hacked=1</script>").await;
    for summary in 1..=3 {
        browser
            .say(&format!("document.querySelectorAll('#letter-body details')[{summary}]?.setAttribute('open', '')"))
            .await;
    }
    browser.until_text("#letter-body > details pre", "\"letters\"").await;
    let foreign = "[...document.querySelectorAll('img, b:not(#deed-count), script')].length";
    assert_eq!(browser.say(foreign).await, json!(1), "the page's own script, and nothing else");
    assert_eq!(browser.say("window.hacked === undefined").await, json!(true));
    browser.press("Escape").await;

    // Names that never end make no page wide.
    browser.size(360, 740).await;
    assert_narrow(&browser, 360).await;
    assert_well_behaved(&browser, &surface);
}

async fn assert_narrow(browser: &Browser, width: u32) {
    let wide = "[...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1
                  && !e.closest('pre, .unseen, thead, svg')).map((e) => `${e.tagName}#${e.id}.${e.className}`).join(' ')";
    assert_eq!(
        browser.say("document.documentElement.scrollWidth").await,
        json!(width),
        "{}",
        browser.say(wide).await
    );
    assert_eq!(browser.say(wide).await, json!(""));
}

#[tokio::test]
async fn a_phone_shows_it_all_without_scrolling_sideways() {
    let stage = Stage::set().await;
    bury(&stage, 12).await;
    let surface = ready(&stage, &["--environment", "production-eu-central-1-of-a-long-name"]).await;
    stage.enqueue_many("orders", 12_000).await;
    stage
        .redis
        .command(&[
            "XGROUP",
            "CREATE",
            "orders",
            "a-group-with-a-rather-long-name-as-people-choose-them",
            "0",
            "MKSTREAM",
        ])
        .await;
    stage
        .sql(
            "insert into outbox_consumer (stream, group_name, consumer, processed, failed, retried, buried, lost, handling_mean_us, handling_p99_us, seen_at, last_active_at)
              values ('orders', 'billing', 'billing-7d9f8b6c5-x2x4z-31-0f8fad5b', 123456789, 41, 40, 1, 0, 4200, 61000, now(), now())",
        )
        .await;
    let browser = looking_at(&surface).await;
    browser.until_text("#table-groups", "a-group-with").await;
    browser.until_text("#table-consumers", "123,456,789").await;
    for (dark, scheme) in [(false, "light"), (true, "dark")] {
        browser.prefer_dark(dark).await;
        browser.size(1280, 900).await;
        photograph(&browser, &format!("wide-{scheme}")).await;
        browser.size(360, 740).await;
        assert_narrow(&browser, 360).await;
        photograph(&browser, &format!("phone-{scheme}")).await;
    }
    browser.click("#dead-list .open").await;
    browser.until_text("#letter-body", "account 12 is closed").await;
    // Not rounded, as a browser would.
    browser.until_text("#letter-body pre", "12345678901234567890").await;
    assert_narrow(&browser, 360).await;
    photograph(&browser, "phone-letter").await;
    browser.click("#letter-drop").await;
    browser.until_text("#deed-text", "This would forget 1 dead letter for good").await;
    assert_narrow(&browser, 360).await;
    browser.size(320, 640).await;
    assert_narrow(&browser, 320).await;
    assert_well_behaved(&browser, &surface);
}

#[tokio::test]
async fn it_says_whose_fault_it_is() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &["--publish-timeout", "300ms", "--overtake-after", "1h"]).await;
    stage.enqueue("orders", "first").await;
    let browser = looking_at(&surface).await;
    until_level(&browser, "well").await;

    // A transaction that holds the frontier.
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    sqlx::query("insert into outbox (stream, type, id, payload) values ('orders', 't', 'slow', '1')")
        .execute(&mut *tx)
        .await
        .expect("inserted");
    stage.enqueue("orders", "behind-it").await;
    browser.until_text("#sentence", "a transaction holds the frontier").await;
    browser.until_text("#reason", "idle in transaction").await;
    browser.until_text("#table-blockers", "idle in transaction").await;
    photograph(&browser, "blocked").await;
    tx.commit().await.expect("committed");
    until_level(&browser, "well").await;

    // Redis is full.
    stage.redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    stage.enqueue("orders", "refused").await;
    browser
        .until_text(
            "#sentence",
            "Redis refuses writes: its memory is full (maxmemory). 1 event waits; nothing is lost.",
        )
        .await;
    assert!(browser.text("#sentence").await.starts_with("Stuck for "));
    photograph(&browser, "redis-full").await;
    stage.redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    until_level(&browser, "well").await;

    // Redis refuses one stream.
    stage.redis.command(&["SET", "refunds", "a plain value"]).await;
    stage.enqueue("refunds", "r").await;
    browser.until_text("#sentence", "Redis refuses the next event of refunds").await;
    browser.until_text("#reason", "WRONGTYPE").await;
    stage.redis.command(&["DEL", "refunds"]).await;
    until_level(&browser, "well").await;

    // Redis is away, and so is Postgres.
    stage.redis.kill();
    stage.enqueue("orders", "waits").await;
    browser.until_text("#sentence", "Redis cannot be reached").await;
    stage.redis.restart().await;
    until_level(&browser, "well").await;
    stage.postgres.kill();
    browser.until_text("#sentence", "Postgres is away").await;
    browser.until_text("#live-word", "live").await;
    assert_well_behaved(&browser, &surface);
}

#[tokio::test]
async fn a_relay_that_goes_is_missed_and_one_that_comes_is_heard_again() {
    let stage = Stage::set().await;
    let mut surface = ready(&stage, &[]).await;
    let browser = looking_at(&surface).await;
    let address = surface.address.to_string();
    surface.relay.kill_9();
    surface.relay.wait().await;
    browser.until_text("#live-word", "reconnecting").await;
    browser.until_text("#live-at", "last seen").await;
    browser.until_text("#sentence", "Nothing was heard from the relay for").await;
    browser.until_text("#also", "When it was last heard: All is well").await;
    photograph(&browser, "silent").await;
    let mut command = stage.command(&["run"]);
    command.env("RELAY_LISTEN", &address);
    let surface = Surface::of(Child::spawn(command)).await;
    browser.until_text("#live-word", "live").await;
    until_level(&browser, "well").await;
    assert_well_behaved(&browser, &surface);
}

#[tokio::test]
async fn everything_is_reached_by_keyboard_and_shows_that_it_is() {
    let stage = Stage::set().await;
    bury(&stage, 60).await;
    let surface = ready(&stage, &[]).await;
    stage.enqueue("orders", "one").await;
    let browser = looking_at(&surface).await;
    browser.until_text("#table-lanes", "orders").await;
    browser.until_text("#dead-list", "order-60-placed").await;
    browser.click("#dead-list input").await;
    browser.say("document.activeElement.blur(); scrollTo(0, 0)").await;
    let there = browser.say("[...document.querySelectorAll('main button, main input, main select, main a, .top button')]
        .filter((e) => e.checkVisibility() && !e.disabled && !e.closest('#dead-list')).map((e) => e.id || e.className || e.innerText)").await;
    let mut reached: Vec<Value> = vec![];
    for _ in 0..160 {
        browser.press("Tab").await;
        let focus = browser.say("(() => { const e = document.activeElement; return [e.id || e.className || e.innerText,
            e.matches(':focus-visible') && (getComputedStyle(e).outlineStyle !== 'none' || e.tagName === 'SECTION'), e.tagName]; })()").await;
        assert!(focus[1] == true || focus[2] == "BODY", "{focus} does not show that it has the focus");
        reached.push(focus[0].clone());
    }
    for one in there.as_array().expect("names") {
        assert!(reached.contains(one), "{one} is not reached");
    }
    // While figures change each second, the focus stays where it is.
    browser.say("document.querySelector('#table-lanes button').focus()").await;
    stage.enqueue("orders", "two").await;
    browser.until_text("#about", "2 sent since then").await;
    assert_eq!(browser.say("document.activeElement.dataset.stream").await, json!("orders"));
    assert_well_behaved(&browser, &surface);
}

#[tokio::test]
async fn what_a_page_was_not_there_for_it_still_shows() {
    let stage = Stage::set().await;
    let surface = ready(&stage, &[]).await;
    stage.enqueue_many("orders", 300).await;
    stage.until_arrived_by_itself("orders", 300).await;
    eventually("the second to be history", async || {
        let past = surface.get("/history?step=1").await.json();
        past["samples"]
            .as_array()
            .is_some_and(|samples| samples.iter().any(|one| one["sent_per_second"].as_f64() > Some(1.0)))
    })
    .await;
    let browser = looking_at(&surface).await;
    browser.until("/at most [0-9,]{2,}/.test(document.querySelector('#chart-rate svg').ariaLabel)").await;
    browser.until("document.querySelector('#chart-latency svg').ariaLabel.includes('p50')").await;
    assert_well_behaved(&browser, &surface);
}
