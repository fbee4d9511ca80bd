//! What is hidden, and what is not.

use proptest::prelude::*;

use super::*;

fn mask(rules: &str) -> Mask {
    rules.parse().expect("rules")
}

/// The payload of an event of this type, as it is shown.
fn shown(rules: &str, r#type: &str, payload: &str) -> String {
    match mask(rules).payload(Some(r#type), payload) {
        Left::Whole => payload.to_owned(),
        Left::Text(text) => text,
    }
}

#[test]
fn a_key_is_hidden_wherever_it_stands() {
    let payload = r#"{"email": "a@b", "to": [{"E-Mail": ["c@d"], "n": 12345678901234567890.10}], "emails": 1}"#;
    assert_eq!(
        shown("email", "t", payload),
        r#"{"email": "***", "to": [{"E-Mail": "***", "n": 12345678901234567890.10}], "emails": 1}"#
    );
    assert_eq!(shown("*mail*", "t", r#"{"emails": 1, "x": null}"#), r#"{"emails": "***", "x": null}"#);
    // What is not touched stays byte for byte.
    let spaced = r#"{ "a" :  1e999, "a": [ ] }"#;
    assert_eq!(shown("email", "t", spaced), spaced);
    // Twice means twice, and an escape is no disguise.
    assert_eq!(shown("email", "t", r#"{"email": 1, "em\u0061il": 2}"#), r#"{"email": "***", "email": "***"}"#);
}

#[test]
fn what_looks_like_a_secret_is_hidden_by_default() {
    for key in [
        "password",
        "userPassword",
        "API-Key",
        "x-api-key",
        "refresh_token",
        "Authorization",
        "Set-Cookie",
        "clientSecret",
        "pass.word",
        "api/key",
        "pass\u{200b}word",
        "\u{ff30}assword",
        "Proxy-Authorization",
    ] {
        assert!(mask(SECRETS).hides(key), "{key}");
    }
    for key in ["email", "key", "order", "cookies_eaten", "author"] {
        assert!(!mask(SECRETS).hides(key), "{key}");
    }
}

#[test]
fn a_path_is_hidden_in_events_of_its_type() {
    let payload = r#"{"customer": {"email": "a", "name": "b"}, "items": [{"price": 1}, {"price": 2}]}"#;
    let masked = shown("order.*:customer.email,*:items.price", "Order.Placed", payload);
    assert_eq!(
        masked,
        r#"{"customer": {"email": "***", "name": "b"}, "items": [{"price": "***"}, {"price": "***"}]}"#
    );
    assert_eq!(shown("order.*:customer.email", "refund", payload), payload);
    assert_eq!(shown("order.placed:customer", "order.placed", r#"{"customer": {"a": 1}}"#), r#"{"customer": "***"}"#);
    assert_eq!(shown("t:*", "t", r#"{"a": 1, "b": [2]}"#), r#"{"a": "***", "b": "***"}"#);
    // A type may hold colons.
    assert_eq!(shown("a:b:c", "a:b", r#"{"c": 1}"#), r#"{"c": "***"}"#);
}

#[test]
fn what_cannot_be_looked_into_is_hidden() {
    for payload in ["no JSON", "{\"email\": ", "", "{\"a\": 1} x"] {
        assert_eq!(shown("email", "t", payload), MASKED, "{payload}");
        assert_eq!(shown("t:email", "t", payload), MASKED, "{payload}");
        assert_eq!(shown("other:email", "t", payload), payload, "no rule is about it");
    }
    let deep = "[".repeat(200) + r#"{"email": 1}"# + &"]".repeat(200);
    assert!(!shown("email", "t", &deep).contains("email"));
    // Where a path should lead on and cannot, there is something else than was thought.
    assert_eq!(shown("t:customer.email", "t", r#"{"customer": "a@b"}"#), r#"{"customer": "***"}"#);
    assert_eq!(shown("t:customer.email", "t", "\"a@b\""), MASKED);
    assert_eq!(shown("t:customer.email", "t", r#"{"customer": null}"#), r#"{"customer": null}"#);
    // A key that no text can hold.
    assert_eq!(shown("email", "t", r#"{"\ud800": 1}"#), MASKED);
}

#[test]
fn json_within_a_text_is_looked_into() {
    assert_eq!(
        shown("email", "t", r#"{"body": "{\"email\": \"a\", \"b\": 1}"}"#),
        r#"{"body": "{\"email\": \"***\", \"b\": 1}"}"#
    );
    assert_eq!(shown("email", "t", r#"{"body": "[see](there)"}"#), r#"{"body": "[see](there)"}"#);
    assert_eq!(shown("t:body.email", "t", r#"{"body": "{\"email\": 1}"}"#), r#"{"body": "{\"email\": \"***\"}"}"#);
}

#[test]
fn a_text_that_names_a_secret_is_hidden_though_it_is_no_json() {
    for text in [
        r#"{\"password\":\"hunter2\""#,
        r#"{\"a\":1}\n{\"password\":\"hunter2\"}"#,
        r#"payload={\"password\": \"hunter2\"}"#,
        "user=ann&password=hunter2",
        "Password : hunter2",
    ] {
        let payload = format!(r#"{{"body": "{text}"}}"#);
        assert_eq!(shown("password", "t", &payload), r#"{"body": "***"}"#, "{text}");
    }
    for text in ["her password was lost", "at 10:30 = noon", "[draft] on passwords"] {
        let payload = format!(r#"{{"body": "{text}"}}"#);
        assert_eq!(shown("password", "t", &payload), payload);
    }
}

#[test]
fn fields_of_what_is_no_event_are_hidden_by_name_and_by_what_they_hold() {
    let fields = r#"[["token", "t"], ["data", "no JSON"], ["body", "{\"token\": 1}"], ["broken", "{\"token\": "], ["note", "hello"]]"#;
    let Left::Text(text) = mask("token").fields(None, fields) else { panic!("something is hidden") };
    assert_eq!(
        text,
        r#"[["token","***"],["data","***"],["body","{\"token\": \"***\"}"],["broken","***"],["note","hello"]]"#
    );
}

#[test]
fn what_is_hidden_cannot_be_searched_for() {
    let mask = mask("pin");
    assert!(mask.shows(None, r#"{"pin": 1234, "name": "Ann"}"#, "ann"));
    assert!(!mask.shows(None, r#"{"pin": 1234, "name": "Ann"}"#, "1234"));
}

#[test]
fn a_rule_that_says_nothing_is_refused() {
    assert!(mask("off").is_off() && mask(" off ").is_off());
    for rules in ["", "a,,b", ":a", "t:", "t:a..b", "t:a."] {
        assert!(rules.parse::<Mask>().is_err(), "{rules:?}");
    }
    assert!("a,".repeat(300).parse::<Mask>().expect_err("too many").contains("at most 200"));
}

#[test]
fn a_star_stands_for_anything() {
    let matches = |glob: &str, name: &str| Glob(glob.to_owned()).matches(name);
    for (glob, name) in
        [("*", ""), ("*", "a"), ("a*", "a"), ("*a", "ba"), ("a*c*e", "abcde"), ("**", "x"), ("a*a", "aa")]
    {
        assert!(matches(glob, name), "{glob} {name}");
    }
    for (glob, name) in [("a*a", "a"), ("a", "ab"), ("*b", "ba"), ("a*c*e", "aec"), ("", "a")] {
        assert!(!matches(glob, name), "{glob} {name}");
    }
}

proptest::proptest! {
    /// Whatever the payload: nothing panics, what comes out of JSON is JSON, and a hidden value is not in it.
    #[test]
    fn nothing_that_is_masked_shows(text in "\\PC{0,40}", key in "[a-z]{1,5}", noise in "\\PC{0,60}") {
        let _ = shown("email,t:a.b", "t", &noise);
        let payload = serde_json::json!({ &key: { "email": format!("<<{text}>>"), "x": [text.clone()] } }).to_string();
        let shown = shown("email", "t", &payload);
        proptest::prop_assert!(serde_json::from_str::<serde_json::Value>(&shown).is_ok());
        proptest::prop_assert!(!shown.contains("<<") || text.contains("<<"));
    }
}

/// Any JSON, and somewhere in it a secret under a name that says so; within a text, too.
fn json_with_a_secret() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::{Value, json};
    let name =
        prop::sample::select(vec!["password", "API-Key", "pass.word", "refresh_token", "\u{ff30}assword", "Cookie"]);
    let value = prop_oneof![Just(json!("hunter2")), Just(json!({ "a": ["hunter2"] })), Just(json!(["hunter2", 1]))];
    let other = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from)
    ];
    (name, value).prop_map(|(name, value)| json!({ name: value })).prop_recursive(6, 24, 3, move |inner| {
        let beside = prop::collection::vec(("[a-z]{1,6}", other.clone()), 0..3);
        (inner, beside, 0..4).prop_map(|(inner, beside, way)| match way {
            0 => Value::Array(beside.into_iter().map(|(_, value)| value).chain([inner]).collect()),
            1 => json!({ "body": inner.to_string() }),
            _ => Value::Object(beside.into_iter().chain([("inner".to_owned(), inner)]).collect()),
        })
    })
}

proptest! {
    #[test]
    fn what_is_hidden_is_hidden_wherever_it_stands(payload in json_with_a_secret(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&payload) } else { serde_json::to_string(&payload) };
        let shown = shown(SECRETS, "t", &text.expect("JSON"));
        prop_assert!(!shown.contains("hunter2"), "{shown}");
        prop_assert!(serde_json::from_str::<&RawValue>(&shown).is_ok(), "{shown}");
    }

    #[test]
    fn whatever_is_masked_stays_what_it_was_but_for_what_is_hidden(
        rules in "([a-z*]{1,4}(:[a-z*]{1,3}(\\.[a-z*]{1,3})?)?,){0,3}[a-z*]{1,3}",
        text in "\\PC{0,60}|[\\[\\]{}\",:a-z0-9\\\\ ]{0,80}",
        payload in json_with_a_secret(),
        cut in any::<prop::sample::Index>(),
    ) {
        // What rules, cut JSON or no JSON at all may be, what is shown is JSON, or the text as it was.
        let whole = payload.to_string();
        let at = whole.floor_char_boundary(cut.index(whole.len() + 1));
        for payload in [text.as_str(), &whole, &whole[..at], &whole[at..]] {
            let Ok(mask) = rules.parse::<Mask>() else { continue };
            for left in [mask.payload(Some("t"), payload), mask.headers(payload), mask.fields(None, payload)] {
                if let Left::Text(shown) = left {
                    prop_assert!(serde_json::from_str::<&RawValue>(&shown).is_ok(), "{shown}");
                }
            }
            let _ = mask.shows(None, payload, "hunter2");
        }
    }
}
