//! Reads JSON as publishers write it: with comments, CDATA marks, raw line breaks in strings, commas too many, entities
//! for quotes, several values in a row, and ends that are missing.

use serde_json::Value;

use super::html::entities::unescape;

/// All values in a script; what cannot be read even with care is left out.
pub(super) fn values(script: &str) -> Vec<Value> {
    let text = strip_wrapping(script);
    if let Ok(value) = serde_json::from_str(text) {
        return vec![value];
    }
    let unquoted = if text.contains('"') { None } else { Some(unescape(text)) };
    let text = unquoted.as_deref().unwrap_or(text);
    let repaired = repair(text);
    serde_json::Deserializer::from_str(&repaired).into_iter().map_while(Result::ok).collect()
}

fn strip_wrapping(script: &str) -> &str {
    let mut text = script.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    loop {
        let before = text.len();
        for head in ["<!--", "//", "/*", "*/", "<![CDATA["] {
            text = text.strip_prefix(head).unwrap_or(text).trim_start();
        }
        for tail in ["-->", "//", "/*", "*/", "]]>", ";"] {
            text = text.strip_suffix(tail).unwrap_or(text).trim_end();
        }
        if text.len() == before {
            return text;
        }
    }
}

/// One pass that knows whether it stands in a string, and closes what is open at the end.
fn repair(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut closers = Vec::new();
    let mut chars = text.chars().peekable();
    let mut in_string = false;
    while let Some(c) = chars.next() {
        if in_string {
            match c {
                '"' => {
                    // A quote that nothing of JSON follows stands inside the text.
                    let mut ahead = chars.clone().skip_while(|c| c.is_whitespace());
                    if matches!(ahead.next(), None | Some(',' | ':' | '}' | ']' | '/' | ';')) {
                        in_string = false;
                        out.push('"');
                    } else {
                        out.push_str("\\\"");
                    }
                }
                '\\' => match chars.peek() {
                    Some('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | 'u') => {
                        out.push('\\');
                        out.extend(chars.next());
                    }
                    // `\'` and the like: JavaScript, not JSON.
                    Some(_) => {}
                    None => {}
                },
                '\n' | '\r' | '\t' => out.push(' '),
                c if c.is_control() => {}
                c => out.push(c),
            }
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                out.push('"');
            }
            '{' | '[' => {
                closers.push(if c == '{' { '}' } else { ']' });
                out.push(c);
            }
            '}' | ']' => {
                drop_comma(&mut out);
                // A closer of the wrong kind closes what is open; one without an opener closes nothing.
                if let Some(closer) = closers.pop() {
                    out.push(closer);
                }
            }
            '/' if chars.peek() == Some(&'/') => {
                for c in chars.by_ref() {
                    if c == '\n' {
                        break;
                    }
                }
            }
            '/' if chars.peek() == Some(&'*') => {
                let mut last = ' ';
                chars.next();
                for c in chars.by_ref() {
                    if last == '*' && c == '/' {
                        break;
                    }
                    last = c;
                }
            }
            ',' => {
                drop_comma(&mut out);
                if !out.ends_with(['{', '[']) {
                    out.push(',');
                }
            }
            ';' => {}
            // Blanks would have to be looked past again and again.
            c if c.is_whitespace() => {}
            c => out.push(c),
        }
    }
    if in_string {
        out.push('"');
    }
    if out.ends_with(':') {
        out.push_str("null");
    }
    drop_comma(&mut out);
    out.extend(closers.into_iter().rev());
    out
}

fn drop_comma(out: &mut String) {
    if out.ends_with(',') {
        out.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn comments_cdata_and_commas_too_many_do_no_harm() {
        let script = "//<![CDATA[\n{\"a\": [1, 2,], /* why */ \"b\": \"x // y\",}\n//]]>";
        assert_eq!(values(script), [json!({"a": [1, 2], "b": "x // y"})]);
        assert_eq!(values("<!-- {\"a\":1}; -->"), [json!({"a": 1})]);
    }

    #[test]
    fn raw_line_breaks_and_quotes_in_strings_are_text() {
        assert_eq!(values("{\"a\": \"one\ntwo \\' \u{1}three\"}"), [json!({"a": "one two ' three"})]);
        assert_eq!(
            values("{\"a\": \"he said \"no\" twice\", \"b\": 1}"),
            [json!({"a": "he said \"no\" twice", "b": 1})]
        );
    }

    #[test]
    fn quotes_written_as_entities_are_quotes() {
        assert_eq!(values("{&quot;a&quot;: &quot;b&quot;}"), [json!({"a": "b"})]);
    }

    #[test]
    fn what_is_cut_off_is_closed() {
        assert_eq!(values("{\"a\": {\"b\": [\"c\", \"d"), [json!({"a": {"b": ["c", "d"]}})]);
        assert_eq!(values("{\"a\":"), [json!({"a": null})]);
    }

    #[test]
    fn several_values_in_a_row_are_all_read() {
        assert_eq!(values("{\"a\":1} {\"b\":2}").len(), 2);
    }

    #[test]
    fn deep_nesting_is_left_out() {
        assert!(values(&"[".repeat(100_000)).is_empty());
    }
}
