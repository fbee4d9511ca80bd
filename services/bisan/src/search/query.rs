//! What a reader types: words that must all be there, phrases in quotes, and a last word that may still grow.
//!
//! There is no syntax to get wrong. Whatever is no letter and no digit only separates words.

use std::ops::Range;

use crate::fold::{self, Word};

/// What is longer is cut off.
pub const QUERY_BYTES_MAX: usize = 512;
/// More words than this are left alone.
pub const WORDS_MAX: usize = 16;
/// A shorter last word stands for itself: too many words begin with one letter.
const PREFIX_LETTERS_MIN: usize = 2;

/// What was typed, understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// As it was typed, for who understands it in another way.
    text: String,
    parts: Vec<Part>,
}

/// Something that must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    /// Words one after another; of each, what it may be searched by.
    words: Vec<Vec<String>>,
    /// The only word may go on.
    prefix: bool,
}

impl Query {
    /// Understands any text.
    pub fn parse(text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(QUERY_BYTES_MAX)];
        let mut query = Self { text: text.to_owned(), parts: vec![] };
        let mut left = WORDS_MAX;
        for (range, quoted) in pieces(text) {
            let mut words: Vec<_> = fold::words(&text[range.clone()]).into_iter().map(|word| word.tokens).collect();
            words.truncate(left);
            left -= words.len();
            if quoted && !words.is_empty() {
                query.add(Part { words, prefix: false });
            } else {
                for word in words {
                    query.add(Part { words: vec![word], prefix: false });
                }
            }
        }
        // Nobody has ended the last word as long as nothing stands behind it.
        let open = text.ends_with(|letter: char| letter.is_alphanumeric());
        if let Some(last) = query.parts.last_mut().filter(|last| open && last.words.len() == 1) {
            let long = |token: &String| token.chars().count() >= PREFIX_LETTERS_MIN;
            last.prefix = last.words[0].iter().all(long);
        }
        query
    }

    /// Nothing was typed that could be found.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// What was typed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn add(&mut self, part: Part) {
        // The last one of equals stays, since it may go on.
        self.parts.retain(|known| known.words != part.words);
        self.parts.push(part);
    }

    /// The same in the language of FTS5. Every word stands in quotes, so that none of them can be an operator.
    pub(crate) fn fts(&self) -> String {
        let parts: Vec<_> = self.parts.iter().map(Part::fts).collect();
        parts.join(" AND ")
    }

    /// The words of a text that were looked for, each with the number of the part that found it.
    pub(super) fn found_in(&self, words: &[Word]) -> Vec<(usize, usize)> {
        let mut found = vec![];
        for at in 0..words.len() {
            for (nth, part) in self.parts.iter().enumerate() {
                if part.stands_at(&words[at..]) {
                    found.extend((at..at + part.words.len()).map(|at| (at, nth)));
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl Part {
    fn fts(&self) -> String {
        if let [alternatives] = self.words.as_slice() {
            let exact = alternatives.iter().map(|token| format!("\"{token}\""));
            // The whole word counts beside what begins with it, so that it ranks higher.
            let longer = alternatives.iter().filter(|_| self.prefix).map(|token| format!("\"{token}\" *"));
            let all: Vec<_> = exact.chain(longer).collect();
            return if all.len() == 1 { all[0].clone() } else { format!("({})", all.join(" OR ")) };
        }
        let tokens: Vec<_> = self.words.iter().flatten().map(String::as_str).collect();
        format!("\"{}\"", tokens.join(" "))
    }

    fn stands_at(&self, words: &[Word]) -> bool {
        self.words.len() <= words.len()
            && self.words.iter().zip(words).all(|(wanted, word)| {
                wanted.iter().any(|wanted| {
                    word.tokens
                        .iter()
                        .any(|token| token == wanted || (self.prefix && token.starts_with(wanted.as_str())))
                })
            })
    }
}

/// The text in pieces: `true` for what stands in quotes. A quote that nobody closes is none.
fn pieces(text: &str) -> Vec<(Range<usize>, bool)> {
    let quotes: Vec<_> = text.char_indices().filter(|(_, letter)| is_quote(*letter)).collect();
    let mut pieces = vec![];
    let mut from = 0;
    for pair in quotes.chunks_exact(2) {
        let [(open, open_letter), (close, close_letter)] = [pair[0], pair[1]];
        pieces.push((from..open, false));
        pieces.push((open + open_letter.len_utf8()..close, true));
        from = close + close_letter.len_utf8();
    }
    pieces.push((from..text.len(), false));
    pieces
}

fn is_quote(letter: char) -> bool {
    matches!(letter, '"' | '\u{201C}' | '\u{201D}' | '\u{201E}' | '«' | '»' | '\u{FF02}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fts(text: &str) -> String {
        Query::parse(text).fts()
    }

    #[test]
    fn every_word_must_be_there_and_the_last_may_go_on() {
        assert_eq!(fts("Gaza port"), "\"gaza\" AND (\"port\" OR \"port\" *)");
        assert_eq!(fts("Gaza port "), "\"gaza\" AND \"port\"");
        assert_eq!(fts("x"), "\"x\"");
    }

    #[test]
    fn words_in_quotes_stand_side_by_side() {
        assert_eq!(fts("«وزارة الصحة» غزة "), "\"وزاره صحه\" AND \"غزه\"");
        assert_eq!(fts("\"prime minister"), "\"prime\" AND (\"minister\" OR \"minister\" *)", "nobody closed it");
        assert_eq!(fts("\"one\""), "\"one\"");
    }

    #[test]
    fn nothing_that_is_typed_is_an_operator() {
        assert_eq!(fts("a AND NOT b OR c* "), "\"a\" AND \"and\" AND \"not\" AND \"b\" AND \"or\" AND \"c\"");
        assert_eq!(fts("title:x -y ^z (NEAR) "), "\"title\" AND \"x\" AND \"y\" AND \"z\" AND \"near\"");
        for nothing in ["", "   ", "😀", "\"\"", "-*\"()", "\u{640}\u{64B}"] {
            assert!(Query::parse(nothing).is_empty(), "{nothing:?}");
        }
    }

    #[test]
    fn it_has_its_limits() {
        let long = "كلمة ".repeat(1_000) + &(0..100).map(|n| format!("w{n} ")).collect::<String>();
        assert!(Query::parse(&long).parts.len() <= WORDS_MAX);
        let many = (0..100).map(|n| format!("w{n} ")).collect::<String>();
        assert_eq!(Query::parse(&many).parts.len(), WORDS_MAX);
    }

    proptest! {
        #[test]
        fn any_text_is_a_query(text in "\\PC{0,80}") {
            let query = Query::parse(&text);
            prop_assert_eq!(query.is_empty(), query.fts().is_empty());
        }
    }
}
