//! What JSON must be before it may travel: valid, not too deep, and free of escapes that readers choke on.

/// The deepest nesting that common readers take (serde_json's own limit).
const DEPTH_MAX: usize = 128;

/// Checks a JSON text. `Err` says what is wrong with it.
///
/// Postgres's `json` lets `\u0000` and half surrogate pairs through, and then a reader fails far from the writer.
pub(crate) fn check(text: &str) -> Result<(), String> {
    serde_json::from_str::<&serde_json::value::RawValue>(text).map_err(|e| format!("is not valid JSON: {e}"))?;
    check_valid(text)
}

/// The part of the check that a serialiser's output needs too.
pub(crate) fn check_valid(text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut in_string) = (0, 0_usize, false);
    while at < bytes.len() {
        match (bytes[at], in_string) {
            (b'\\', _) if bytes.get(at + 1) == Some(&b'u') => {
                at += unicode_escape(bytes, at)?;
                continue;
            }
            (b'\\', _) => at += 1,
            (b'"', _) => in_string = !in_string,
            (b'[' | b'{', false) => depth += 1,
            (b']' | b'}', false) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(format!("is nested deeper than {DEPTH_MAX} levels"));
        }
        at += 1;
    }
    Ok(())
}

/// How many bytes the escape at `at` takes: 6, or 12 for a surrogate pair.
fn unicode_escape(bytes: &[u8], at: usize) -> Result<usize, String> {
    match code_unit(bytes, at) {
        Some(0) => Err("holds \\u0000, which Postgres and many readers refuse".into()),
        Some(0xD800..=0xDBFF) if matches!(code_unit(bytes, at + 6), Some(0xDC00..=0xDFFF)) => Ok(12),
        Some(0xD800..=0xDFFF) => Err("holds half of a surrogate pair, which no reader can decode".into()),
        _ => Ok(6),
    }
}

fn code_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let hex = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn readable_json_passes() {
        for text in ["null", "{}", r#"{"a":[1,2.5e-3,"\u00e9\ud83d\ude00 \\u0000 \""]}"#, "  [ ] "] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn json_that_a_reader_would_choke_on_is_refused() {
        let deep = "[".repeat(129) + &"]".repeat(129);
        for text in
            ["", "{", "{\"a\":}", "1 2", r#""\u0000""#, r#""\ud800""#, r#""\ud800\u0041""#, r#""\udc00""#, &deep]
        {
            assert!(check(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_passes_can_be_read_back(text in r#"[\[\]{}":, \\u0-9a-fD]{0,40}"#) {
            if check(&text).is_ok() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
            }
        }
    }
}
