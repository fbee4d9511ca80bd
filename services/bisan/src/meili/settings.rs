//! The index's settings, as code; and how a server's differ from them.

use serde::Serialize;
use serde_json::{Value, json};

/// What an article's index must be like before its first document comes: to change most of these later makes the server
/// read all documents again.
pub(crate) fn settings() -> Value {
    let texts = ["title", "lead", "authors", "tags", "section", "body"];
    json!({
        // In this order a word counts: one in the title stands before any in a body.
        "searchableAttributes": texts,
        "displayedAttributes": ["*"],
        "filterableAttributes": ["id", "source_name", "language", "author_ids", "section", "tags", "dated_at"],
        "sortableAttributes": ["dated_at"],
        // At equal merit the newer article comes first.
        "rankingRules": ["words", "typo", "proximity", "attribute", "sort", "exactness", "dated_at:desc"],
        // Short Arabic texts are else taken for Persian or Urdu, and then split and folded by other rules than the query.
        "localizedAttributes": [{"attributePatterns": texts, "locales": ["ara"]}],
        // Arabic words are short and many differ in one letter, so fewer typos are forgiven than by default elsewhere; a name
        // is spelled as it is spelled.
        "typoTolerance": {
            "enabled": true,
            "minWordSizeForTypos": {"oneTypo": 5, "twoTypos": 9},
            "disableOnWords": [],
            "disableOnAttributes": ["authors"],
        },
        "stopWords": [],
        "synonyms": {},
        "distinctAttribute": null,
        "pagination": {"maxTotalHits": super::HITS_MAX},
    })
}

/// One setting that is not as it should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Drift {
    /// Its name, and within it the way: `typoTolerance.enabled`.
    pub(crate) setting: String,
    /// As the code says.
    pub(crate) wanted: Value,
    /// As the server has it; null if it has none.
    pub(crate) found: Value,
}

/// Lists in which the order says nothing. The server gives them in one of its own.
const SETS: [&str; 5] = [
    "filterableAttributes",
    "sortableAttributes",
    "stopWords",
    "typoTolerance.disableOnWords",
    "typoTolerance.disableOnAttributes",
];

/// Where a server's settings are not ours. What we say nothing about may be as it likes: newer servers have more settings.
pub(crate) fn drift(found: &Value) -> Vec<Drift> {
    let mut drift = Vec::new();
    compare("", &settings(), found, &mut drift);
    drift
}

fn compare(path: &str, wanted: &Value, found: &Value, drift: &mut Vec<Drift>) {
    match wanted {
        Value::Object(members) if !members.is_empty() => {
            for (name, wanted) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(&path, wanted, &found[name], drift);
            }
        }
        _ if same(path, wanted, found) => {}
        _ => drift.push(Drift { setting: path.to_owned(), wanted: wanted.clone(), found: found.clone() }),
    }
}

fn same(path: &str, wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Array(wanted), Value::Array(found)) if SETS.contains(&path) => {
            wanted.len() == found.len() && wanted.iter().all(|one| found.contains(one))
        }
        _ => wanted == found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_has_more_settings_and_another_order_of_sets_has_not_drifted() {
        let mut server = settings();
        server["searchCutoffMs"] = json!(1500);
        server["typoTolerance"]["disableOnNumbers"] = json!(false);
        server["filterableAttributes"].as_array_mut().expect("a list").reverse();
        assert_eq!(drift(&server), []);
    }

    #[test]
    fn each_difference_is_named_with_both_values() {
        let mut server = settings();
        server["searchableAttributes"].as_array_mut().expect("a list").reverse();
        server["typoTolerance"]["enabled"] = json!(false);
        server.as_object_mut().expect("an object").remove("localizedAttributes");
        server["synonyms"] = json!({"a": ["b"]});
        let drift = drift(&server);
        let names: Vec<_> = drift.iter().map(|drift| &*drift.setting).collect();
        assert_eq!(names, ["localizedAttributes", "searchableAttributes", "synonyms", "typoTolerance.enabled"]);
        assert_eq!((&drift[3].wanted, &drift[3].found), (&json!(true), &json!(false)));
        assert_eq!(drift[0].found, Value::Null);
    }
}
