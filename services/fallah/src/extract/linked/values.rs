//! Texts out of JSON-LD's values, whatever their shape.

use serde_json::Value;

use crate::extract::html::entities::unescape;
use crate::extract::html::squeeze;

/// A plain text of a value: a string, the first of several, the name or value of an object.
pub(in crate::extract) fn text(value: &Value) -> Option<String> {
    let found = match value {
        Value::String(s) => squeeze(&strip_tags(&unescape(s))),
        Value::Number(n) => n.to_string(),
        Value::Array(items) => return items.iter().find_map(text),
        Value::Object(o) => {
            return ["name", "@value", "headline", "url"]
                .iter()
                .find_map(|k| text(o.get(*k).filter(|v| !v.is_object())?));
        }
        _ => return None,
    };
    (!found.is_empty()).then_some(found)
}

/// Text that was escaped twice may hold tags.
pub(in crate::extract) fn strip_tags(text: &str) -> String {
    let opens = |rest: &str| rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '!');
    if !text.contains('<') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(lt) = rest.find('<') {
        out.push_str(&rest[..lt]);
        rest = &rest[lt..];
        match rest.find('>') {
            Some(gt) if opens(rest) => {
                let name = rest[1..gt].trim_start_matches('/').to_ascii_lowercase();
                if ["p", "br", "div", "li", "h", "tr"].iter().any(|b| name.starts_with(b)) {
                    out.push('\n');
                }
                rest = &rest[gt + 1..];
            }
            _ => {
                out.push('<');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The `@type`s of an object, without a vocabulary's address.
pub(in crate::extract) fn kinds(object: &Value) -> impl Iterator<Item = &str> {
    let listed: Vec<&str> = match object.get("@type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    listed.into_iter().map(|k| k.rsplit(['/', '#', ':']).next().unwrap_or(k))
}

pub(super) fn keys(object: &Value) -> usize {
    object.as_object().map_or(0, serde_json::Map::len)
}

pub(super) fn address(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Object(o) => text(o.get("@id").or_else(|| o.get("url"))?),
        _ => None,
    }
}
