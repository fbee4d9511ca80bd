//! The part of an original text that tells why it was found, and where in it the words stand.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::Serialize;

use super::Query;
use crate::fold::{self, Word};

/// About so long is a snippet, in characters.
pub const SNIPPET_CHARS_MAX: usize = 240;
/// So many characters before the first word that was looked for tell what it is about.
const BEFORE_CHARS: usize = 60;
/// What stands further down in a text is not looked through.
const SCAN_BYTES_MAX: usize = 256 << 10;

/// A piece of an original text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Marked {
    /// As it was written; an ellipsis says that there is more.
    pub text: String,
    /// What was looked for: from here to there, in characters.
    pub marks: Vec<(usize, usize)>,
}

/// What to show of a text: the densest part of the lead or the body; if nothing of it was looked for, its beginning.
pub(super) fn snippet(query: &Query, lead: &str, body: &str) -> Marked {
    let body = &body[..body.floor_char_boundary(SCAN_BYTES_MAX)];
    let candidates = [lead, body].map(|text| {
        let words = fold::words(text);
        let found = query.found_in(&words);
        let parts: BTreeSet<_> = found.iter().map(|(_, part)| *part).collect();
        (text, words, found, parts.len())
    });
    let [lead, body] = &candidates;
    // The lead is written to be read first; so it wins if it says as much.
    let (text, words, found, _) = if lead.3 >= body.3 && !lead.0.is_empty() { lead } else { body };
    piece(text, words, found)
}

/// Where the words that were looked for stand, in bytes. Neighbours are marked together.
pub(super) fn marks(query: &Query, text: &str, words: &[Word]) -> Vec<Range<usize>> {
    joined(text, query.found_in(words).into_iter().map(|(at, _)| words[at].place.clone()))
}

/// The same in characters.
pub(super) fn in_letters(text: &str, marks: &[Range<usize>]) -> Vec<(usize, usize)> {
    let (mut letters, mut at) = (0, 0);
    let mut count = |upto: usize| {
        letters += text[at..upto].chars().count();
        at = upto;
        letters
    };
    marks.iter().map(|mark| (count(mark.start), count(mark.end))).collect()
}

fn joined(text: &str, places: impl Iterator<Item = Range<usize>>) -> Vec<Range<usize>> {
    let mut marks: Vec<Range<usize>> = vec![];
    for place in places {
        match marks.last_mut() {
            Some(last) if place.start <= last.end => last.end = last.end.max(place.end),
            Some(last) if text[last.end..place.start].chars().all(|letter| letter == ' ') => last.end = place.end,
            _ => marks.push(place),
        }
    }
    marks
}

fn piece(text: &str, words: &[Word], found: &[(usize, usize)]) -> Marked {
    let start = best_start(text, words, found);
    let end = forward(text, start, SNIPPET_CHARS_MAX);
    // No word is cut in two.
    let end = match text[end..].chars().next() {
        Some(next) if next.is_alphanumeric() => {
            let last = words.iter().rev().find(|word| word.place.end <= end && word.place.end > start);
            last.map_or(end, |word| word.place.end)
        }
        _ => end,
    };
    let places = found.iter().map(|(at, _)| words[*at].place.clone());
    let marks = joined(text, places.filter(|place| place.start >= start && place.end <= end));
    let inside: Vec<_> = marks.iter().map(|mark| mark.start - start..mark.end - start).collect();

    let before = if text[..start].trim().is_empty() { "" } else { "… " };
    let after = if text[end..].trim().is_empty() { "" } else { " …" };
    let shift = before.chars().count();
    let marks =
        in_letters(&text[start..end], &inside).into_iter().map(|(from, to)| (from + shift, to + shift)).collect();
    // One letter becomes one blank, so that marks stay where they are.
    let line: String =
        text[start..end].trim_end().chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    Marked { text: format!("{before}{line}{after}"), marks }
}

/// Where to begin so that as many different things as possible that were looked for are in sight.
fn best_start(text: &str, words: &[Word], found: &[(usize, usize)]) -> usize {
    let mut best = (0, 0);
    for (nth, (at, _)) in found.iter().enumerate() {
        let start = words[*at].place.start;
        let end = forward(text, start, SNIPPET_CHARS_MAX - BEFORE_CHARS);
        let seen = found[nth..].iter().take_while(|(at, _)| words[*at].place.end <= end);
        let parts: BTreeSet<_> = seen.take(64).map(|(_, part)| *part).collect();
        if parts.len() > best.0 {
            best = (parts.len(), start);
        }
    }
    let first = best.1;
    let earliest = backward(text, first, BEFORE_CHARS);
    // The beginning of the text, of a sentence, or at least of a word.
    if text[..earliest].trim().is_empty() {
        return text.len() - text.trim_start().len();
    }
    let before = &text[earliest..first];
    let sentence = before.char_indices().rfind(|(_, letter)| matches!(letter, '.' | '!' | '?' | '؟' | '\n'));
    if let Some((at, letter)) = sentence {
        let behind = earliest + at + letter.len_utf8();
        return behind + (text[behind..].len() - text[behind..].trim_start().len());
    }
    words.iter().map(|word| word.place.start).find(|start| *start >= earliest).unwrap_or(first)
}

fn forward(text: &str, from: usize, letters: usize) -> usize {
    text[from..].char_indices().nth(letters).map_or(text.len(), |(at, _)| from + at)
}

fn backward(text: &str, from: usize, letters: usize) -> usize {
    text[..from].char_indices().rev().nth(letters.saturating_sub(1)).map_or(0, |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marked(snippet: &Marked) -> Vec<String> {
        let letters: Vec<char> = snippet.text.chars().collect();
        snippet.marks.iter().map(|(from, to)| letters[*from..*to].iter().collect()).collect()
    }

    #[test]
    fn the_original_is_shown_and_marked_where_the_folded_word_was_found() {
        let text = "أعلنت وزارةُ الصِّحَّة أمس. ".repeat(30) + "وقال المسؤولون في المُسْتَشْفَى إن الأمر انتهى.";
        let found = snippet(&Query::parse("مستشفي "), "", &text);
        assert_eq!(marked(&found), ["المُسْتَشْفَى"]);
        assert!(found.text.starts_with("… ") && found.text.chars().count() <= SNIPPET_CHARS_MAX + 4, "{found:?}");
    }

    #[test]
    fn what_was_looked_for_together_is_shown_together() {
        let body = format!("port. {} the port of Gaza {}", "filler words ".repeat(60), "more words ".repeat(60));
        let found = snippet(&Query::parse("gaza port "), "A lead about a port.", &body);
        assert_eq!(marked(&found), ["port", "Gaza"]);
    }

    #[test]
    fn a_text_that_does_not_say_it_is_shown_from_its_beginning() {
        let found = snippet(&Query::parse("nothing"), "", "First\n\nsecond");
        assert_eq!(found, Marked { text: "First  second".to_owned(), marks: vec![] });
    }

    proptest! {
        #[test]
        fn marks_lie_within_the_text(query in "\\PC{0,20}", lead in "\\PC{0,80}", body in "\\PC{0,600}") {
            let found = snippet(&Query::parse(&query), &lead, &body);
            let letters = found.text.chars().count();
            prop_assert!(found.marks.iter().all(|(from, to)| from < to && *to <= letters), "{:?}", found);
            prop_assert!(found.marks.is_sorted());
        }
    }
}
