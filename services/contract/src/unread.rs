//! Why a payload cannot be read, without a word of it: reasons are logged, and payloads are not.

use serde_json::error::Category;

/// What was expected, and where. What stands there instead is not told.
pub fn why_unread(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let names_no_value = ["missing field", "duplicate field"].iter().any(|words| said.starts_with(words));
    match said.rsplit_once(", expected ") {
        _ if error.classify() != Category::Data || names_no_value => said,
        // What a reader expects stands last, whatever the value before it says.
        Some((_, expected)) => format!("expected {expected}"),
        None => format!("something else was expected at line {} column {}", error.line(), error.column()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ArticleUpserted;

    fn why(payload: &str) -> String {
        why_unread(&serde_json::from_str::<ArticleUpserted>(payload).expect_err("no article"))
    }

    #[test]
    fn what_was_expected_is_told_and_what_stands_there_is_not() {
        assert_eq!(why("\"hunter2\""), "expected struct ArticleUpserted at line 1 column 9");
        assert_eq!(why("{}"), "missing field `article` at line 1 column 2");
        assert_eq!(why("{"), "EOF while parsing an object at line 1 column 1");
        for payload in [
            r#"{"article": "hunter2"}"#,
            r#"{"article": "a, expected hunter2"}"#,
            r#"{"source_url": ["hunter2"], "article": {}}"#,
            r#"{"tags": {"hunter2": 1}}"#,
            r#"{"tags": ["a", {"hunter2": 1}]}"#,
            r#"["hunter2"]"#,
        ] {
            let why = why(payload);
            assert!(!why.contains("hunter2") && why.contains("at line 1"), "{payload}: {why}");
        }
    }
}
