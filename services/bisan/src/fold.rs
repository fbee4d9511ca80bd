//! Words as they are searched: everything removed that people leave out or write in several ways.
//!
//! Article and query go through the same folding, so it need not be right in a grammarian's eyes; it must only make equal
//! what a reader takes for equal. What is shown is always the original: each word knows where it stands in it.

mod arabic;

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Rises with each change of these rules: a file that was folded by other ones is folded anew.
pub const RULES: u32 = 1;

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Where it stands in the original, in bytes.
    pub place: Range<usize>,
    /// What it is searched by: mostly one, more where a spelling can mean several words.
    pub tokens: Vec<String>,
}

/// The words of a text, in their order.
pub fn words(text: &str) -> Vec<Word> {
    let mut words = vec![];
    each_word(text, |place, tokens| {
        words.push(Word { place, tokens: tokens.map(str::to_owned).collect() });
    });
    words
}

/// A whole text as its tokens, with one blank between them.
pub fn text(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    each_word(text, |_, tokens| {
        for token in tokens {
            if !folded.is_empty() {
                folded.push(' ');
            }
            folded.push_str(token);
        }
    });
    folded
}

/// A person's name: the same letters, but nothing is taken off its words.
pub fn name(name: &str) -> String {
    let mut folded = String::new();
    let mut letters = vec![];
    for place in places(name) {
        spell(&name[place], &mut letters);
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.extend(&letters);
    }
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn each_word(text: &str, mut found: impl FnMut(Range<usize>, std::str::Split<'_, char>)) {
    let (mut letters, mut tokens) = (vec![], String::new());
    for place in places(text) {
        tokens.clear();
        let raw = &text[place.clone()];
        if raw.is_ascii() {
            tokens.extend(raw.chars().map(|letter| letter.to_ascii_lowercase()));
        } else {
            spell(raw, &mut letters);
            // One letter of the original may stand for a phrase.
            for word in letters.split(|letter| *letter == ' ').filter(|word| !word.is_empty()) {
                if !tokens.is_empty() {
                    tokens.push(' ');
                }
                arabic::stems(word, &mut tokens);
            }
        }
        if !tokens.is_empty() {
            found(place, tokens.split(' '));
        }
    }
}

/// Where words stand: runs of letters and digits, with what clings to them.
fn places(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut letters = text.char_indices().peekable();
    std::iter::from_fn(move || {
        while letters.next_if(|(_, letter)| !letter.is_alphanumeric()).is_some() {}
        let (start, first) = letters.next()?;
        let (mut end, mut last) = (start + first.len_utf8(), first);
        // A year and the letter behind it are two words: ٢٠٢٦م.
        let parts = |one: char, other: char| is_digit(one) != is_digit(other) && (is_arabic(one) || is_arabic(other));
        while let Some((at, letter)) =
            letters.next_if(|(_, letter)| clings(*letter) || (letter.is_alphanumeric() && !parts(last, *letter)))
        {
            end = at + letter.len_utf8();
            if !clings(letter) {
                last = letter;
            }
        }
        Some(start..end)
    })
}

fn is_digit(letter: char) -> bool {
    letter.is_numeric()
}

fn is_arabic(letter: char) -> bool {
    matches!(letter, '\u{620}'..='\u{64A}' | '\u{66E}'..='\u{6D3}' | '\u{FB50}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFC}')
}

/// Belongs to the letter before it and is not searched: marks, tatweel, and what only tells how to draw.
fn clings(letter: char) -> bool {
    is_combining_mark(letter)
        || matches!(letter, 'ـ' | '\u{AD}' | '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

/// A word's letters in their one spelling.
fn spell(raw: &str, letters: &mut Vec<char>) {
    letters.clear();
    // Composed first, so that a hamza that was written as a mark becomes part of its letter; marks go only then.
    for letter in raw.nfkc() {
        match letter {
            _ if clings(letter) => {}
            ' ' => letters.push(' '),
            '\u{600}'..='\u{6FF}' => letters.push(arabic::letter(letter)),
            _ => other(letter, letters),
        }
    }
    arabic::hamzas(letters);
}

/// A letter of another script, without case and diacritics.
fn other(letter: char, letters: &mut Vec<char>) {
    match letter {
        'ß' | 'ẞ' => letters.extend(['s', 's']),
        'æ' | 'Æ' => letters.extend(['a', 'e']),
        'œ' | 'Œ' => letters.extend(['o', 'e']),
        'ø' | 'Ø' => letters.push('o'),
        'ł' | 'Ł' => letters.push('l'),
        'đ' | 'Đ' | 'ð' | 'Ð' => letters.push('d'),
        'þ' | 'Þ' => letters.extend(['t', 'h']),
        'ı' => letters.push('i'),
        _ => {
            let parts = std::iter::once(letter).nfkd().flat_map(char::to_lowercase);
            letters.extend(parts.filter(|part| part.is_alphanumeric() && !is_combining_mark(*part)));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_readers_take_for_equal_is_equal() {
        let equal = [
            ("مُحَمَّد", "محمد"),
            ("أحمد", "احمد"),
            ("إسلام", "اسلام"),
            ("آثار", "اثار"),
            ("ٱلكتاب", "كتاب"),
            ("ا\u{654}حمد", "أحمد"),
            ("مدرسة", "مدرسه"),
            ("مستشفى", "مستشفي"),
            ("العـــربية", "عربية"),
            ("مسؤول", "مسئول"),
            ("مَسْئُول", "مسوول"),
            ("شؤون", "شئون"),
            ("رئيس", "رييس"),
            ("شيء", "شئ"),
            ("٢٠٢٦", "2026"),
            ("۲۰۲۶", "2026"),
            ("ﻻجئ", "لاجئ"),
            ("کتاب", "كتاب"),
            ("Café", "cafe"),
            ("ISTANBUL", "istanbul"),
            ("Straße", "strasse"),
            ("الالتزام", "التزام"),
        ];
        for (one, other) in equal {
            assert_eq!(text(one), text(other), "{one} {other}");
        }
    }

    #[test]
    fn the_article_is_taken_off_with_what_stands_before_it() {
        for word in ["الكتاب", "والكتاب", "فالكتاب", "بالكتاب", "كالكتاب", "وبالكتاب"]
        {
            assert_eq!(text(word), "كتاب", "{word}");
        }
        assert_eq!(text("للكتاب"), "لكتاب كتاب", "to the book, or: to Lkitab");
        assert_eq!(text("وللجنة"), "جنه لجنه", "to the committee, or: to the garden");
    }

    #[test]
    fn what_only_looks_like_an_article_stays() {
        for word in ["الله", "والله", "الان", "التي", "والدين", "والدته", "الف", "الي"]
        {
            assert_eq!(text(word), word);
        }
        assert_ne!(text("ماء"), text("ما"));
    }

    #[test]
    fn each_word_knows_where_it_stands() {
        let original = "قال «مُحَمَّدٌ»: Hello, 2026م!";
        let found: Vec<_> =
            words(original).into_iter().map(|word| (original[word.place].to_owned(), word.tokens)).collect();
        let expected = [("قال", "قال"), ("مُحَمَّدٌ", "محمد"), ("Hello", "hello"), ("2026", "2026"), ("م", "م")];
        let expected: Vec<_> = expected.map(|(raw, token)| (raw.to_owned(), vec![token.to_owned()])).into();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_name_keeps_its_words_whole() {
        assert_eq!(name(" سلمى  الحدّاد "), "سلمي الحداد");
        assert_eq!(name("Zoë SMITH-Jones"), "zoe smith jones");
    }

    proptest! {
        #[test]
        fn folding_is_safe_for_any_text(any in "\\PC{0,60}") {
            for word in words(&any) {
                prop_assert!(any.is_char_boundary(word.place.start) && any.is_char_boundary(word.place.end));
                prop_assert!(!word.tokens.is_empty());
                for token in word.tokens {
                    prop_assert!(!token.is_empty() && !token.contains(' '));
                }
            }
            let folded = text(&any);
            prop_assert!(folded.chars().all(|c| c == ' ' || !c.is_ascii() || c.is_ascii_alphanumeric()), "{}", folded);
        }
    }
}
