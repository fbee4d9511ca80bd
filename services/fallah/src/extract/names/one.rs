//! Whether a phrase is a person's name.

use super::lists::{AGENCIES, CALENDAR, ENDS, LABELS, MONTHS, NOBODY, POSTS, WEEKDAY_NAMES, WEEKDAYS};
use super::strip_prefixes;
use crate::extract::site::{Site, fold};

const NAME_CHARS_MAX: usize = 60;

const NAME_WORDS_MAX: usize = 6;

/// A single name, or nobody.
pub(super) fn name(text: &str, site: &Site) -> Option<String> {
    let mut text = strip_prefixes(text).trim_matches(|c: char| {
        c.is_whitespace()
            || matches!(c, ':' | '،' | ',' | '-' | '–' | '—' | '"' | '“' | '”' | '*' | '_' | '.' | '‏' | '‎')
    });
    // "Jane Doe for The Paper", "Jane Doe in Cairo", "Jane Doe May 4, 2024"
    let places = words_with_places(text);
    for (n, &(at, word)) in places.iter().enumerate().skip(1) {
        let counted = |n: usize| places.get(n).is_some_and(|(_, word)| word.starts_with(char::is_numeric));
        let weekday = WEEKDAYS.has(word) || WEEKDAY_NAMES.has(word) && (counted(n + 1) || counted(n + 2));
        let dated = n > 1 && (counted(n) || is_month(word) || weekday);
        if ENDS.has(word) || word.starts_with('@') || dated {
            text = text[..at].trim_end_matches([' ', ',', '-', ':']);
            break;
        }
    }
    if text.split_whitespace().next().is_some_and(|first| ENDS.has(first)) {
        return None;
    }
    text = without_tail(text, site);
    // A title of courtesy before a name stays out.
    let text =
        ["Dr. ", "Mr. ", "Mrs. ", "Ms. ", "د. ", "أ. "].iter().fold(text, |t, p| t.strip_prefix(p).unwrap_or(t));
    let folded = fold(text);
    let chars = text.chars().count();
    let words: Vec<&str> = text.split_whitespace().collect();
    let looks_wrong = !(2..=NAME_CHARS_MAX).contains(&chars)
        || words.len() > NAME_WORDS_MAX
        || !text.chars().any(char::is_alphabetic)
        || text.chars().filter(|c| c.is_numeric()).count() > 0
        || text.contains(['@', '?', '!', '#', '=', '%', '$', '{', '}', '\\', ':'])
        || text.contains("://")
        || ["www.", ".com", ".org", ".net", ".co.uk"].iter().any(|p| text.to_ascii_lowercase().contains(p));
    if looks_wrong || NOBODY.has(folded.as_str()) || AGENCIES.has(folded.as_str()) || site.is(text) {
        return None;
    }
    if words.iter().any(|w| is_post(w)) || is_paper(&words) || words.iter().all(|w| is_of_date(w)) {
        return None;
    }
    // In scripts with capitals, a phrase of small words is prose. Particles are not: "Ludwig van Beethoven".
    let cased =
        words.iter().filter(|w| w.chars().next().is_some_and(|c| c.is_lowercase() || c.is_uppercase())).count();
    let small = words.iter().filter(|w| w.chars().next().is_some_and(char::is_lowercase) && !is_particle(w)).count();
    if cased > 0 && small * 2 > words.len().max(1) && words.len() > 1 {
        return None;
    }
    if words.len() == 1 && (small > 0 && chars < 3 || is_label(&folded)) {
        return None;
    }
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Cuts off what follows a name without a sign between: "Jane Doe Associated Press", "Jane Doe Staff Writer".
fn without_tail<'a>(text: &'a str, site: &Site) -> &'a str {
    let places = words_with_places(text);
    // Two words are a name; what is cut off stands behind them.
    if places.get(1).is_some_and(|(at, _)| AGENCIES.has(&fold(&text[*at..]))) {
        return "";
    }
    for (at, _) in places.iter().skip(2) {
        let (head, tail) = (text[..*at].trim_end(), &text[*at..]);
        let folded = fold(tail);
        let posts =
            tail.split_whitespace().all(is_post) && !head.split_whitespace().any(is_post) && !site.is_like(head);
        if AGENCIES.has(&folded) || (folded.len() > 2 && site.is(tail)) || posts {
            return head.trim_end_matches([',', '-', '–']);
        }
    }
    text
}

fn is_post(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    POSTS.has(&word) || POSTS.has(word.trim_start_matches("ال"))
}

fn is_month(word: &str) -> bool {
    let word = word.trim_end_matches(['.', ',']);
    word.starts_with(char::is_uppercase) && MONTHS.has(&word.to_lowercase())
}

fn is_of_date(word: &str) -> bool {
    CALENDAR.has(&word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase())
}

/// What bears an article or ends like a newspaper is one.
fn is_paper(words: &[&str]) -> bool {
    let last = words.last().map(|w| w.to_lowercase()).unwrap_or_default();
    let ends = matches!(
        last.as_str(),
        "times"
            | "journal"
            | "tribune"
            | "gazette"
            | "herald"
            | "chronicle"
            | "telegraph"
            | "observer"
            | "bulletin"
            | "dispatch"
            | "inquirer"
            | "examiner"
            | "sentinel"
            | "daily"
            | "weekly"
            | "today"
            | "tv"
            | "board"
    );
    words.len() > 1 && (ends || words[0].eq_ignore_ascii_case("the") || words[0].eq_ignore_ascii_case("our"))
}

fn words_with_places(text: &str) -> Vec<(usize, &str)> {
    let mut places = Vec::new();
    let mut from = 0;
    for word in text.split(' ') {
        places.push((from, word));
        from += word.len() + 1;
    }
    places
}

fn is_particle(word: &str) -> bool {
    matches!(
        word,
        "de" | "da"
            | "di"
            | "del"
            | "della"
            | "der"
            | "den"
            | "van"
            | "von"
            | "bin"
            | "ibn"
            | "al"
            | "el"
            | "la"
            | "le"
            | "du"
            | "dos"
            | "das"
            | "do"
            | "ter"
            | "ten"
            | "y"
            | "e"
            | "zu"
            | "bint"
            | "abu"
    ) || word.starts_with("al-")
        || word.starts_with("el-")
        || word.starts_with("d'")
}

/// Words of buttons and fields that stand where names do.
fn is_label(folded: &str) -> bool {
    LABELS.has(folded)
}
