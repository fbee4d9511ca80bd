//! Pages made to break a reader: none may panic, overflow the stack, or cost more than its size.

use std::time::{Duration, Instant};

use super::read;

/// Far above what a build without optimisation needs on a busy machine, far below what a quadratic cost would be.
const LIMIT: Duration = Duration::from_secs(30);
const MANY: usize = 20_000;

fn survive(part: &str) {
    let text = "A sentence that is long enough to be taken for a paragraph of an article. ".repeat(3);
    let html = format!(
        "<title>A title of a page</title><body><h1>A title of a page</h1><article><p>{text}</p>{part}</article>"
    );
    let start = Instant::now();
    // The threads of tests have small stacks, as those of servers do.
    let article = read("https://n.test/a", &html);
    assert!(start.elapsed() < LIMIT, "{:?} for {}", start.elapsed(), &part[..part.len().min(40)]);
    assert_eq!(article.title.as_deref(), Some("A title of a page"));
}

#[test]
fn nesting_of_any_depth_is_survived() {
    for tag in [
        "<div>",
        "<span>",
        "<b><i>",
        "<a href=x><div>",
        "<table>",
        "<table><tr><td>",
        "<ul><li>",
        "<blockquote>",
        "<font><div>",
        "<svg>",
        "<svg><math>",
        "<object>",
    ] {
        survive(&tag.repeat(MANY));
    }
}

#[test]
fn dates_without_end_are_survived() {
    for part in [
        "<time>Updated 1 May 2024</time>",
        "<div class=date>Updated <span>Published <time>x</time></span></div>",
        "<div class=date><time>",
        "آخر تحديث <time class=updated>١ مايو ٢٠٢٤",
        "<i>01/05/2024</i>",
    ] {
        survive(&part.repeat(MANY));
    }
}

#[test]
fn elements_that_never_close_are_survived() {
    for tag in [
        "<p>x",
        "<b><p>x",
        "<div>x",
        "<li>x",
        "<dt>x<dd>y",
        "<h1>x",
        "<button>x",
        "<form>x",
        "<td>x",
        "<p><a href=x><div>x",
        "<a href=x><div>x</a>",
    ] {
        survive(&tag.repeat(MANY));
    }
    let formatting: String = (0..MANY).map(|n| format!("<b class=c{n}>")).collect();
    survive(&formatting);
}

#[test]
fn what_stands_loose_in_tables_is_survived() {
    for tag in ["<hr>x", "<a href=y>x", "<tr>", "<td>x", "<caption>x", "<tbody>", "<col>x", "x<!-- -->"] {
        survive(&format!("<table>{}", tag.repeat(MANY)));
    }
}

#[test]
fn elements_of_raw_text_are_survived() {
    for tag in [
        "<script>",
        "<style>",
        "<textarea>",
        "<title>",
        "<plaintext>",
        "<noscript>",
        "<iframe>",
        "<template>",
        "<xmp>",
        "<select><option>",
        "<!--",
        "<![CDATA[",
        "<?x",
    ] {
        survive(&tag.repeat(MANY));
    }
}

#[test]
fn attributes_without_measure_are_survived() {
    survive(&format!("<p class=\"{}\">x", "a ".repeat(500_000)));
    survive(&format!("<p {}>x", (0..MANY).map(|n| format!("a{n}=1 ")).collect::<String>()));
    survive(&"<meta name=a content=b>".repeat(MANY));
    survive("<a href=\"never closed");
}

#[test]
fn signs_that_are_no_text_are_survived() {
    for sign in ["\0", "<", ">", "&", "&#x41;", "\u{200f}", "</div>", "</p>", "</br>", "<\0p>"] {
        survive(&sign.repeat(MANY * 4));
    }
}

#[test]
fn json_ld_of_any_shape_is_survived() {
    let script = |json: &str| format!("<script type='application/ld+json'>{json}</script>");
    survive(&script(&"[".repeat(MANY)));
    survive(&script(&"{\"a\":".repeat(MANY)));
    survive(&script(&format!("[{}", ", ".repeat(MANY * 10))));
    survive(&script(&format!("{{\"a\":\"{}", "x\"y ".repeat(MANY * 4))));
    survive(&script("{\"@type\":\"Article\",\"@id\":\"#a\",\"author\":{\"@id\":\"#a\"}}"));
    survive(&script("null").repeat(MANY));
}

#[test]
fn a_deep_page_keeps_its_text() {
    let html = format!(
        "{}<p>{}</p>",
        "<div>".repeat(2000),
        "The text of an article stands below two thousand boxes. ".repeat(8)
    );
    assert!(read("https://n.test/a", &html).body.contains("two thousand boxes"));
}
