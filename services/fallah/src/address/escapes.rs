//! One spelling for text in a URL: raw and percent-encoded Arabic, `%7e` and `~`, a letter with its mark in one character
//! or in two.

use unicode_normalization::UnicodeNormalization;

/// Spells a path, a query or a pattern of robots.txt in its normal form, RFC 3986 section 6.2.2 and RFC 9309 section 2.2.2:
///
/// - what needs no escape has none; every other escape is in upper case;
/// - what is not ASCII is escaped, after Unicode NFC where it is UTF-8, byte by byte where it is not (windows-1256);
/// - an escape of a reserved character stays: `%2F` inside a segment is not a slash;
/// - a `%` that begins no escape becomes `%25`.
///
/// Twice is the same as once.
pub(crate) fn tidy(text: &[u8]) -> String {
    let mut spelled = String::with_capacity(text.len());
    // Marks join with the letters before them, so letters are put together before they are spelled.
    let mut letters = Vec::new();
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let (byte, was_escaped) = match escape(rest) {
            Some(byte) => (byte, true),
            None => (first, false),
        };
        rest = if was_escaped { &rest[3..] } else { after };
        if is_unreserved(byte) || !byte.is_ascii() {
            letters.push(byte);
            continue;
        }
        spell(&mut letters, &mut spelled);
        if was_escaped || !is_plain(byte) { push_escape(byte, &mut spelled) } else { spelled.push(char::from(byte)) }
    }
    spell(&mut letters, &mut spelled);
    spelled
}

fn spell(letters: &mut Vec<u8>, spelled: &mut String) {
    for chunk in letters.utf8_chunks() {
        let mut buffer = [0; 4];
        for c in chunk.valid().nfc() {
            // NFC makes a semicolon of U+037E: it must not become a delimiter here.
            if u8::try_from(c).is_ok_and(is_unreserved) {
                spelled.push(c);
            } else {
                c.encode_utf8(&mut buffer).bytes().for_each(|byte| push_escape(byte, spelled));
            }
        }
        chunk.invalid().iter().for_each(|byte| push_escape(*byte, spelled));
    }
    letters.clear();
}

/// The byte that an escape at the start of `text` stands for.
fn escape(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*high)? << 4 | digit(*low)?)
}

fn push_escape(byte: u8, spelled: &mut String) {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    spelled.extend(['%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Reserved characters that may stand as they are. Not the apostrophe: browsers escape it in a query.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' | b'/' | b'?')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_spelling_for_each_text() {
        for (written, spelled) in [
            ("/a%7eb", "/a~b"),
            ("/a%2fb", "/a%2Fb"),
            ("/خبر", "/%D8%AE%D8%A8%D8%B1"),
            ("/%d8%ae%D8%a8%d8%b1", "/%D8%AE%D8%A8%D8%B1"),
            ("/e\u{301}", "/%C3%A9"),
            ("/e%CC%81", "/%C3%A9"),
            ("/\u{e9}", "/%C3%A9"),
            ("/%C7%E1", "/%C7%E1"),
            ("/100%", "/100%25"),
            ("/%zz", "/%25zz"),
            ("/%%341", "/%2541"),
            ("/a b|c[d]", "/a%20b%7Cc%5Bd%5D"),
            ("/\u{37e}", "/%3B"),
            ("/x=\u{338}", "/x=%CC%B8"),
            ("/%2C%CC%81", "/%2C%CC%81"),
            ("/l'or", "/l%27or"),
        ] {
            assert_eq!(tidy(written.as_bytes()), spelled, "{written}");
        }
    }

    proptest! {
        #[test]
        fn tidying_twice_changes_nothing(text in "(%[0-9a-fA-F]{2}|[a-c/%?=;]|\\PC){0,40}") {
            let once = tidy(text.as_bytes());
            prop_assert_eq!(tidy(once.as_bytes()), once);
        }

        #[test]
        fn bytes_of_any_kind_become_ascii(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let once = tidy(&bytes);
            prop_assert!(once.is_ascii());
            prop_assert_eq!(tidy(once.as_bytes()), once);
        }
    }
}
