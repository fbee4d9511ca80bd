//! One JSON text for one value, by RFC 8785.

use serde_json::Value;

/// The value's canonical text: names in the order of their UTF-16 units, nothing between tokens, and in strings only
/// escaped what must be.
///
/// # Panics
///
/// At a number that is not an integer: what we hash has none, and their canonical form is a science of its own.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Null | Value::Bool(_) => text.push_str(&value.to_string()),
        Value::Number(number) => {
            assert!(number.is_i64() || number.is_u64(), "only integers have a place in what is hashed");
            text.push_str(&number.to_string());
        }
        // Two digits after a backslash where there is a short form, else four, in lower case: as RFC 8785 wants it.
        Value::String(_) => text.push_str(&value.to_string()),
        Value::Array(values) => list(text, '[', ']', values, write),
        Value::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            members.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
            list(text, '{', '}', members, |(name, value), text| {
                text.push_str(&Value::String(name.clone()).to_string());
                text.push(':');
                write(value, text);
            });
        }
    }
}

fn list<T>(
    text: &mut String,
    open: char,
    close: char,
    items: impl IntoIterator<Item = T>,
    mut each: impl FnMut(T, &mut String),
) {
    text.push(open);
    for (nth, item) in items.into_iter().enumerate() {
        if nth > 0 {
            text.push(',');
        }
        each(item, text);
    }
    text.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_utf_16() {
        // The RFC's own example: as UTF-8 the last two would change places.
        let value: Value = serde_json::from_str(
            r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh",
                "1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"O With Diaeresis"}"#,
        )
        .expect("JSON");
        let names = ["\\r", "1", "\u{80}", "ö", "€", "\u{1F600}", "\u{fb33}"];
        let text = canonical(&value);
        let places: Vec<_> = names.iter().map(|name| text.find(&format!("\"{name}\":")).expect(name)).collect();
        assert!(places.is_sorted(), "{text}");
    }

    #[test]
    fn only_what_must_be_is_escaped() {
        let value = Value::String("\u{8}\t\n\u{c}\r\"\\/\u{0}\u{1f}\u{7f}é\u{2028}".to_owned());
        assert_eq!(canonical(&value), "\"\\b\\t\\n\\f\\r\\\"\\\\/\\u0000\\u001f\u{7f}é\u{2028}\"");
    }

    #[test]
    fn nothing_stands_between_tokens() {
        let value: Value = serde_json::from_str(r#" { "b" : [ 1 , -2 , true , null ] , "a" : { } } "#).expect("JSON");
        assert_eq!(canonical(&value), r#"{"a":{},"b":[1,-2,true,null]}"#);
    }
}
