//! What pages are made of: the frame, an article in a list, marks, dates.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::search::{Found, Marked};
use crate::serve::asked::Asked;
use crate::store::{Choices, Signature, Summary};

/// Languages that are written from right to left.
const RIGHT_TO_LEFT: [&str; 11] = ["ar", "arz", "ckb", "dv", "fa", "he", "ks", "ps", "sd", "ug", "ur"];
const LANGUAGE_BYTES_MAX: usize = 35;

pub(super) fn frame(name: &str, title: &str, query: Option<&str>, main: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { (title) " · " (name) }
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/style.css";
                script src="/page.js" defer {}
            }
            body {
                a.skip href="#main" { "To the text" }
                header.top {
                    a.name href="/" { (name) }
                    form.search role="search" action="/search" {
                        input type="search" name="q" id="q" value=[query] dir="auto" autocomplete="off" maxlength="512"
                            placeholder="Search" aria-label="Search articles" accesskey="s";
                        kbd aria-hidden="true" { "/" }
                    }
                }
                main id="main" { (main) }
            }
        }
    }
}

pub(super) const FILTERS: [&str; 4] = ["source", "language", "from", "until"];

/// A form that works without a script; closed until something is chosen.
pub(super) fn filters(action: &str, asked: &Asked, choices: &Choices, query: Option<&str>) -> Markup {
    let chosen = FILTERS.iter().any(|name| asked.get(name).is_some());
    html! {
        details.filters open[chosen] {
            summary { "Filters" @if chosen { " (on)" } }
            form action=(action) {
                @if let Some(query) = query { input type="hidden" name="q" value=(query); }
                (choice("source", "Source", "All sources", &choices.sources, asked))
                (choice("language", "Language", "All languages", &choices.languages, asked))
                label { span { "From" } input type="date" name="from" value=[asked.get("from")]; }
                label { span { "Until" } input type="date" name="until" value=[asked.get("until")]; }
                div.buttons {
                    button { "Show" }
                    @if chosen { a href={ (action) @if let Some(query) = query { "?q=" (crate::serve::asked::escaped(query)) } } { "Clear" } }
                }
            }
        }
    }
}

fn choice(name: &str, label: &str, all: &str, values: &[String], asked: &Asked) -> Markup {
    let chosen = asked.get(name);
    html! {
        label {
            span { (label) }
            select name=(name) {
                option value="" { (all) }
                @for value in values { option value=(value) selected[chosen == Some(value)] { (value) } }
                @if let Some(other) = chosen.filter(|chosen| !values.iter().any(|value| value == chosen)) {
                    option value=(other) selected { (other) }
                }
            }
        }
    }
}

pub(super) fn items(articles: &[Summary]) -> Markup {
    html! {
        @if !articles.is_empty() {
            ol.articles {
                @for article in articles {
                    li {
                        (item(article, html! { (headline(&article.title)) }, html! {
                            @if !article.lead.is_empty() { p.lead { (article.lead) } }
                        }))
                    }
                }
            }
        }
    }
}

pub(super) fn item(article: &Summary, title: Markup, text: Markup) -> Markup {
    html! {
        article dir=(direction(article)) lang=[language(article)] {
            (facts(article))
            h2 { a href={ "/articles/" (article.id) } { (title) } }
            (text)
            (signed(&article.authors))
        }
    }
}

/// Source, section, date: in the order of the article's own script.
pub(super) fn facts(article: &Summary) -> Markup {
    html! {
        p.facts {
            bdi.source { (article.source_name) }
            @if let Some(section) = &article.section { span.dot { "·" } bdi { (section) } }
            span.dot { "·" }
            (day(article.dated_at, article.language.as_deref()))
        }
    }
}

pub(super) fn signed(authors: &[Signature]) -> Markup {
    html! {
        @if !authors.is_empty() {
            p.authors {
                @for (nth, author) in authors.iter().enumerate() {
                    @if nth > 0 { span.dot { "·" } }
                    a href={ "/authors/" (author.id) } rel="author" { bdi { (author.name) } }
                }
            }
        }
    }
}

pub(super) fn pager(previous: Option<&str>, next: Option<&str>, back: &str, on: &str) -> Markup {
    html! {
        @if previous.is_some() || next.is_some() {
            nav.pager aria-label="Pages" {
                @if let Some(link) = previous { a rel="prev" href=(link) { "← " (back) } }
                @if let Some(link) = next { a.on rel="next" href=(link) { (on) " →" } }
            }
        }
    }
}

pub(super) fn empty(sentence: &str, more: Markup) -> Markup {
    html! { div.empty { p { (sentence) } p.quiet { (more) } } }
}

/// A title with its marks; places are in characters.
pub(super) fn marked(text: &str, marks: &[(usize, usize)]) -> Markup {
    if text.trim().is_empty() {
        return html! { (headline(text)) };
    }
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let place = |character: usize| places.get(character).copied().unwrap_or(text.len());
    let (mut markup, mut from) = (String::new(), 0);
    for (start, end) in marks {
        let (start, end) = (place(*start), place(*end));
        markup += &html! { (&text[from..start]) mark { (&text[start..end]) } }.into_string();
        from = end;
    }
    // Both halves went through the macro, which has escaped them.
    PreEscaped(markup + &html! { (&text[from..]) }.into_string())
}

pub(super) fn marked_text(snippet: &Marked) -> Markup {
    html! { @if !snippet.text.trim().is_empty() { (marked(&snippet.text, &snippet.marks)) } }
}

/// A link that leads away, if it is one that a browser may follow.
pub(super) fn outside(url: &str, text: Markup) -> Markup {
    let web = url.starts_with("https://") || url.starts_with("http://");
    html! {
        @if web { a href=(url) rel="noopener noreferrer nofollow external" { (text) } } @else { (text) }
    }
}

pub(super) fn headline(title: &str) -> String {
    if title.trim().is_empty() { "(without a title)".to_owned() } else { title.to_owned() }
}

pub(super) fn count(found: &Found) -> String {
    match (found.total, found.more) {
        (1, _) => "1 article".to_owned(),
        (total, false) => format!("{total} articles"),
        (total, true) => format!("More than {total} articles"),
    }
}

pub(super) fn articles_in_words(count: i64) -> String {
    if count == 1 { "1 article".to_owned() } else { format!("{count} articles") }
}

/// As a sentence of its own.
pub(super) fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}{}", letters.as_str(), if words.ends_with(['.', '?', '!']) { "" } else { "." })
}

pub(super) fn direction(article: &Summary) -> &'static str {
    match article.language.as_deref().map(|code| code.split('-').next().unwrap_or_default()) {
        None | Some("" | "und") => "auto",
        Some(code) if RIGHT_TO_LEFT.contains(&code.to_ascii_lowercase().as_str()) => "rtl",
        Some(_) => "ltr",
    }
}

pub(super) fn language(article: &Summary) -> Option<&str> {
    let code = article.language.as_deref()?;
    let sound =
        code.len() <= LANGUAGE_BYTES_MAX && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    sound.then_some(code)
}

pub(super) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

const MONTHS_ARABIC: [&str; 12] =
    ["يناير", "فبراير", "مارس", "أبريل", "مايو", "يونيو", "يوليو", "أغسطس", "سبتمبر", "أكتوبر", "نوفمبر", "ديسمبر"];

/// In UTC, since nobody knows where the reader is; in the article's language if that is Arabic.
fn day(seconds: i64, language: Option<&str>) -> Markup {
    let Ok(at) = jiff::Timestamp::from_second(seconds) else { return html! {} };
    if language.is_some_and(|code| code == "ar" || code.starts_with("ar-")) {
        let date = at.to_zoned(jiff::tz::TimeZone::UTC);
        let month = usize::try_from(date.month()).ok().and_then(|month| MONTHS_ARABIC.get(month.wrapping_sub(1)));
        let text = format!("{} {} {}، {}", date.day(), month.unwrap_or(&""), date.year(), at.strftime("%H:%M"));
        return html! { time datetime=(at) title=(at) dir="rtl" { (text) } };
    }
    html! { time datetime=(at) title=(at) dir="ltr" { (at.strftime("%-d %B %Y, %H:%M")) } }
}

/// A time as a page gives it; what cannot be read is shown as it is.
pub(super) fn moment(text: &str) -> Markup {
    match crate::store::seconds(text) {
        Some(seconds) => day(seconds, None),
        None => html! { bdi { (text) } },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stand_where_the_characters_are() {
        let text = marked("أخبار <b> غزة", &[(0, 5), (10, 13)]).into_string();
        assert_eq!(text, "<mark>أخبار</mark> &lt;b&gt; <mark>غزة</mark>");
        assert_eq!(marked("abc", &[(0, 3)]).into_string(), "<mark>abc</mark>");
        assert_eq!(marked("abcd", &[(0, 1), (1, 2)]).into_string(), "<mark>a</mark><mark>b</mark>cd");
    }

    #[test]
    fn no_link_leads_to_a_script() {
        for url in ["javascript:alert(1)", "data:text/html,x", " https://x", "//evil.example"] {
            assert!(!outside(url, html! { "x" }).into_string().contains("href"), "{url}");
        }
    }

    #[test]
    fn the_host_of_an_address_is_what_stands_before_the_path() {
        assert_eq!(host("https://example.org/a?b"), "example.org");
        assert_eq!(host("https://example.org"), "example.org");
    }
}
