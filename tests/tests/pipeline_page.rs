//! The pipeline's page and the reading pages behind it, as a newcomer with a real browser meets them: from the printed address to an
//! article, to what a search finds, to what its edits changed.
//!
//! What it looked like lies in the target folder, in `tmp/screenshots`.

use std::path::Path;

use outbox_tests::Browser;

use crate::pipeline::{Pipeline, data};

/// Widths at which every page is looked at: a desk and a phone.
const SIZES: [(&str, u32, u32); 2] = [("desk", 1280, 900), ("phone", 375, 720)];

/// Looks at the page of this moment in both widths, by day and by night, and takes it down. Nothing is to be scrolled sideways.
async fn look(browser: &Browser, name: &str) {
    for (size, width, height) in SIZES {
        browser.size(width, height).await;
        let wide = browser.say("document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
        assert_eq!(wide, 0, "{name} is wider than a {size} by so much");
        browser.say("scrollTo(0, 0)").await;
        for (light, dark) in [("", false), ("-dark", true)] {
            browser.prefer_dark(dark).await;
            let file = format!("{name}-{size}{light}.png");
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots").join(file);
            browser.photograph(&file, true).await;
        }
        browser.prefer_dark(false).await;
    }
    let (_, width, height) = SIZES[0];
    browser.size(width, height).await;
}

/// Clicks a link and waits until its page is there.
async fn follow(browser: &Browser, link: &str) {
    let before = browser.say("performance.timeOrigin").await;
    browser.click(link).await;
    browser.until(&format!("performance.timeOrigin !== {before} && document.readyState === 'complete'")).await;
}

/// Searches as a person does: the key, the words, Enter.
async fn search(browser: &Browser, words: &str) {
    let before = browser.say("performance.timeOrigin").await;
    browser.press("/").await;
    browser.until("document.activeElement.id === 'q'").await;
    browser.write(words).await;
    browser.press("Enter").await;
    browser.until(&format!("performance.timeOrigin !== {before} && document.readyState === 'complete'")).await;
}

#[tokio::test]
async fn a_newcomer_follows_an_article_from_the_printed_address_to_its_history() {
    let data = data();
    let pipeline = Pipeline::start(data.path(), &[]).await;
    let browser = Browser::open().await;
    let home = format!("http://{}/", pipeline.home);
    browser.go(&home).await;

    // The page fills by itself.
    browser.until("document.querySelectorAll('#newest li').length > 2").await;
    browser.until_text("#happened", "version 2").await;
    browser
        .until("[...document.querySelectorAll('.stages .number')].every(number => /^[0-9]+$/.test(number.innerText))")
        .await;
    look(&browser, "start").await;

    // To the list, and to the article that was edited.
    let edited = browser.say("document.querySelector('#happened .edited + a').href").await;
    let edited = edited.as_str().expect("a link").to_owned();
    follow(&browser, ".away a").await;
    assert_eq!(browser.text("h1").await, "Newest articles");
    look(&browser, "list").await;

    // A search finds it by its title, and tells which words it found.
    browser.go(&edited).await;
    let title = browser.text("main h1").await;
    assert!(!title.is_empty());
    search(&browser, &title).await;
    browser.until_text("h1", "for").await;
    assert_eq!(browser.text(".articles > li h2").await, title);
    assert!(browser.say("document.querySelectorAll('mark').length > 0").await == true, "what was found is marked");
    look(&browser, "search").await;

    // From there to the article, and to its versions with what the edit changed.
    follow(&browser, ".articles h2 a").await;
    assert_eq!(browser.text("article h1").await, title);
    look(&browser, "article").await;
    follow(&browser, ".about a[href^='/versions']").await;
    browser.until("document.querySelectorAll('.version').length >= 2").await;
    browser.until("['ins', 'del'].every(change => document.querySelector('.differs ' + change) !== null)").await;
    assert!(browser.text(".version h2").await.contains("Version 2"));
    browser.click("summary").await;
    browser.until("document.querySelector('details').open").await;
    look(&browser, "versions").await;

    // What is not there is said kindly.
    browser.go(&format!("{home}articles/999999")).await;
    look(&browser, "missing").await;
    browser.go(&format!("{home}search?q=nowhereatall")).await;
    look(&browser, "nothing").await;

    assert_well_behaved(&browser, &home);
    drop(browser);
    pipeline.end().await;
}

#[tokio::test]
async fn arabic_is_read_from_right_to_left_wherever_it_stands() {
    let data = data();
    let pipeline = Pipeline::start(data.path(), &[]).await;
    pipeline.finds("%D9%85%D9%83%D8%AA%D8%A8%D8%A9").await;
    let browser = Browser::open().await;
    let home = format!("http://{}/", pipeline.home);
    browser.go(&home).await;

    search(&browser, "مكتبة").await;
    let direction = |of: &str| format!("getComputedStyle(document.querySelector('{of}')).direction");
    assert_eq!(browser.say(&direction("#q")).await, "rtl", "what is asked for stands as it is read");
    assert_eq!(browser.say(&direction(".articles article")).await, "rtl");
    assert_eq!(browser.say(&direction("body")).await, "ltr", "what is ours is English");
    look(&browser, "search-arabic").await;

    follow(&browser, ".articles h2 a").await;
    assert_eq!(browser.say(&direction("article h1")).await, "rtl");
    assert_eq!(browser.say("document.querySelector('article').lang").await, "ar");
    // The first line of a paragraph begins at the right edge.
    let begins = "(() => { const p = document.querySelector('.body p'), range = document.createRange();
        range.setStart(p.firstChild, 0); range.setEnd(p.firstChild, 1);
        const sign = range.getBoundingClientRect(), box = p.getBoundingClientRect();
        return box.right - sign.right < sign.left - box.left; })()";
    assert_eq!(browser.say(begins).await, true);
    look(&browser, "article-arabic").await;
    // The archive may be a moment behind.
    let versions = browser.say("document.querySelector(\".about a[href^='/versions']\").href").await;
    let versions = versions.as_str().expect("a link").to_owned();
    let url = browser
        .say("new URL(document.querySelector(\".about a[href^='/versions']\").href).searchParams.get('url')")
        .await;
    pipeline.until_versions(&escaped(url.as_str().expect("an address")), 1).await;
    browser.go(&versions).await;
    assert_eq!(browser.say(&direction("main h1")).await, "rtl");
    browser.click("summary").await;
    assert_eq!(browser.say(&direction(".whole p")).await, "rtl");
    look(&browser, "versions-arabic").await;

    assert_well_behaved(&browser, &home);
    drop(browser);
    pipeline.end().await;
}

/// An address as it stands within another one.
fn escaped(url: &str) -> String {
    url.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The pages asked nobody else, and the browser has nothing to complain about.
fn assert_well_behaved(browser: &Browser, home: &str) {
    let addresses = browser.addresses();
    assert!(!addresses.is_empty() && addresses.iter().all(|address| address.starts_with(home)), "{addresses:?}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
