//! What must not be shown: values in payloads and headers, by the names of their keys or by where they stand in an event of a
//! type. Masked here, before anything leaves the process. Where it cannot be told what something is, it is hidden.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::store::dead::DeadLetter;

/// What is masked unless somebody says something else: what looks like a secret.
pub(crate) const SECRETS: &str = "*password*,*passwd*,*passphrase*,*secret*,*token*,*api_key*,*access_key*,*private_key*,*credential*,*authorization*,cookie,set_cookie";
/// What stands in its place.
const MASKED: &str = "\"***\"";
/// So many rules.
const RULES_MAX: usize = 200;
/// What lies deeper is hidden: nobody has looked at it. Each level is read once more by the one above it.
const DEPTH_MAX: usize = 32;

/// Rules, as they are written: `email`, `*token*`, `order.*:customer.address`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    keys: Vec<Glob>,
    paths: Vec<Path>,
}

/// A place in events of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Path {
    r#type: Glob,
    steps: Vec<Glob>,
}

/// A name in which `*` stands for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Glob(String);

impl FromStr for Mask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mask = Self::off();
        if text.trim() == "off" {
            return Ok(mask);
        }
        let rules: Vec<&str> = text.split(',').map(str::trim).collect();
        if rules.len() > RULES_MAX {
            return Err(format!("there are {} rules, and at most {RULES_MAX} are read", rules.len()));
        }
        for rule in rules {
            // A type may hold colons; a key seldom does.
            match rule.rsplit_once(':') {
                None if rule.is_empty() => {
                    return Err("a rule is empty; off means that nothing is masked".to_owned());
                }
                None => mask.keys.push(Glob(plain(rule))),
                Some((r#type, path)) if !r#type.is_empty() && path.split('.').all(|step| !step.is_empty()) => {
                    let steps = path.split('.').map(|step| Glob(plain(step))).collect();
                    mask.paths.push(Path { r#type: Glob(r#type.to_lowercase()), steps });
                }
                Some(_) => {
                    return Err(format!("{rule:?} is no rule such as email, *token* or order.*:customer.email"));
                }
            }
        }
        Ok(mask)
    }
}

/// A key without what people write differently: `apiKey`, `api-key`, `api.key` and `API_KEY` are one, also in the wide letters
/// of East Asian keyboards.
fn plain(key: &str) -> String {
    let narrow = |sign: char| match sign {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(sign) - 0xfee0).unwrap_or(sign),
        _ => sign,
    };
    key.chars()
        .map(narrow)
        .filter(|sign| sign.is_alphanumeric() || *sign == '*')
        .flat_map(char::to_lowercase)
        .collect()
}

/// Whether a text that is no JSON names a value as a key would: `password=x`, `"token": "x"`, or a piece of JSON.
fn names(text: &str, hides: impl Fn(&str) -> bool) -> bool {
    let part_of_a_name = |sign: char| sign.is_alphanumeric() || matches!(sign, '_' | '-' | '.');
    let mut rest = text;
    while let Some(from) = rest.find(part_of_a_name) {
        let name = &rest[from..];
        let to = name.find(|sign| !part_of_a_name(sign)).unwrap_or(name.len());
        let (name, after) = name.split_at(to);
        let sign = after.trim_start_matches(['"', '\'', '\\', ' ']);
        if sign.starts_with([':', '=']) && hides(name) {
            return true;
        }
        rest = after;
    }
    false
}

impl Glob {
    fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

/// How a value was read on its way down: where in which paths it stands.
#[derive(Clone)]
struct Place<'m> {
    mask: &'m Mask,
    /// What is left of each path that has led here.
    paths: Vec<&'m [Glob]>,
    depth: usize,
}

/// What is left of a value: nothing was hidden, or this text.
enum Left {
    Whole,
    Text(String),
}

impl Left {
    fn hidden() -> Self {
        Self::Text(MASKED.to_owned())
    }
}

impl Mask {
    /// Everything is shown.
    pub(crate) fn off() -> Self {
        Self { keys: vec![], paths: vec![] }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.keys.is_empty() && self.paths.is_empty()
    }

    /// A dead letter as it may be shown.
    pub(crate) fn letter(&self, mut letter: DeadLetter) -> DeadLetter {
        if self.is_off() {
            return letter;
        }
        let r#type = letter.r#type.as_deref();
        let mut masked = false;
        let mut hide = |text: &mut Option<String>, left: Option<Left>| {
            if let Some(Left::Text(left)) = left {
                (*text, masked) = (Some(left), true);
            }
        };
        let payload = letter.payload.as_deref().map(|payload| self.payload(r#type, payload));
        hide(&mut letter.payload, payload);
        let headers = letter.headers.as_deref().map(|headers| self.headers(headers));
        hide(&mut letter.headers, headers);
        let fields = letter.fields.as_deref().map(|fields| self.fields(r#type, fields));
        hide(&mut letter.fields, fields);
        letter.masked = masked;
        letter
    }

    /// Whether a payload, as it may be shown, still holds a text, in whichever case.
    pub(crate) fn shows(&self, r#type: Option<&str>, payload: &str, text: &str) -> bool {
        let shown = match self.payload(r#type, payload) {
            Left::Whole => payload.to_lowercase(),
            Left::Text(left) => left.to_lowercase(),
        };
        shown.contains(&text.to_lowercase())
    }

    /// A payload: what is no JSON cannot be looked into, so it is hidden if any rule could be about it.
    fn payload(&self, r#type: Option<&str>, payload: &str) -> Left {
        // Of what bears no type, each path could be meant.
        let meant = |path: &&Path| r#type.is_none_or(|r#type| path.r#type.matches(&r#type.to_lowercase()));
        let paths: Vec<&[Glob]> = self.paths.iter().filter(meant).map(|path| path.steps.as_slice()).collect();
        if self.keys.is_empty() && paths.is_empty() {
            return Left::Whole;
        }
        match serde_json::from_str::<&RawValue>(payload) {
            Ok(json) => Place { mask: self, paths, depth: 0 }.look(json),
            Err(_) => Left::hidden(),
        }
    }

    fn headers(&self, headers: &str) -> Left {
        if self.keys.is_empty() {
            return Left::Whole;
        }
        match serde_json::from_str::<&RawValue>(headers) {
            Ok(json) => Place { mask: self, paths: vec![], depth: 0 }.look(json),
            Err(_) => Left::hidden(),
        }
    }

    /// The fields of an entry that is no event: pairs of names and texts, and nobody knows what they are.
    fn fields(&self, r#type: Option<&str>, fields: &str) -> Left {
        let Ok(pairs) = serde_json::from_str::<Vec<(String, String)>>(fields) else {
            return self.headers(fields);
        };
        let mut hidden = false;
        let shown: Vec<(String, String)> = pairs
            .into_iter()
            .map(|(name, value)| {
                let is_text = !value.trim_start().starts_with(['{', '[', '"']) && name != "data";
                let left = match self.hides(&name) {
                    true => Left::hidden(),
                    false if is_text => Left::Whole,
                    false => self.payload(r#type, &value),
                };
                match left {
                    Left::Whole => (name, value),
                    Left::Text(left) => {
                        hidden = true;
                        (name, serde_json::from_str(&left).unwrap_or(left))
                    }
                }
            })
            .collect();
        match serde_json::to_string(&shown) {
            Ok(_) if !hidden => Left::Whole,
            Ok(text) => Left::Text(text),
            Err(_) => Left::hidden(),
        }
    }

    fn hides(&self, key: &str) -> bool {
        let key = plain(key);
        self.keys.iter().any(|rule| rule.matches(&key))
    }
}

impl<'m> Place<'m> {
    fn look(&self, json: &RawValue) -> Left {
        let text = json.get().trim_start();
        // A path that leads here hides it; one that should lead on from here, and cannot, hides it as well.
        if self.paths.iter().any(|path| path.is_empty()) || self.depth > DEPTH_MAX {
            return Left::hidden();
        }
        match text.as_bytes().first() {
            Some(b'{') => self.object(text),
            Some(b'[') => self.array(text),
            Some(b'"') => self.string(text),
            // Nothing, so nothing to hide.
            Some(b'n') => Left::Whole,
            _ if self.paths.is_empty() => Left::Whole,
            _ => Left::hidden(),
        }
    }

    fn object(&self, text: &str) -> Left {
        let Ok(Members(members)) = serde_json::from_str(text) else { return Left::hidden() };
        let (mut shown, mut hidden) = (String::from("{"), false);
        for (at, (key, value)) in members.iter().enumerate() {
            let left = match self.mask.hides(key) {
                true => Left::hidden(),
                false => self.within(key).look(value),
            };
            shown.push_str(if at > 0 { ", " } else { "" });
            shown.push_str(&serde_json::Value::from(key.as_str()).to_string());
            shown.push_str(": ");
            hidden |= left.put(value.get(), &mut shown);
        }
        shown.push('}');
        if hidden { Left::Text(shown) } else { Left::Whole }
    }

    /// Where the members of an array stand is where the array stands: `items.price` is each one's price.
    fn array(&self, text: &str) -> Left {
        let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(text) else { return Left::hidden() };
        let (mut shown, mut hidden) = (String::from("["), false);
        let inside = Place { depth: self.depth + 1, ..self.clone() };
        for (at, value) in values.iter().enumerate() {
            shown.push_str(if at > 0 { ", " } else { "" });
            hidden |= inside.look(value).put(value.get(), &mut shown);
        }
        shown.push(']');
        if hidden { Left::Text(shown) } else { Left::Whole }
    }

    /// Some write JSON into texts.
    fn string(&self, text: &str) -> Left {
        let Ok(inner) = serde_json::from_str::<String>(text) else { return Left::hidden() };
        let inside = Place { depth: self.depth + 1, ..self.clone() };
        let json = inner.trim_start().starts_with(['{', '[', '"']);
        match serde_json::from_str::<&RawValue>(&inner) {
            Ok(json_inside) if json => match inside.look(json_inside) {
                Left::Whole => Left::Whole,
                Left::Text(left) => Left::Text(serde_json::Value::from(left).to_string()),
            },
            _ if self.paths.is_empty() && !names(&inner, |name| self.mask.hides(name)) => Left::Whole,
            _ => Left::hidden(),
        }
    }

    /// The place of a member.
    fn within(&self, key: &str) -> Self {
        let key = plain(key);
        let on = |path: &&'m [Glob]| match path {
            [first, rest @ ..] if first.matches(&key) => Some(rest),
            _ => None,
        };
        Self { mask: self.mask, paths: self.paths.iter().filter_map(on).collect(), depth: self.depth + 1 }
    }
}

impl Left {
    /// Writes it down. `true`: something of it is hidden.
    fn put(self, whole: &str, shown: &mut String) -> bool {
        match self {
            Self::Whole => {
                shown.push_str(whole);
                false
            }
            Self::Text(text) => {
                shown.push_str(&text);
                true
            }
        }
    }
}

/// The members of an object as they were written: in their order, with numbers of any size, and those that come twice.
struct Members<'j>(Vec<(String, &'j RawValue)>);

impl<'de: 'j, 'j> Deserialize<'de> for Members<'j> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = vec![];
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Err(serde::de::Error::custom("an array"))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            shown("order.placed:customer", "order.placed", r#"{"customer": {"a": 1}}"#),
            r#"{"customer": "***"}"#
        );
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
        assert_eq!(
            shown("t:body.email", "t", r#"{"body": "{\"email\": 1}"}"#),
            r#"{"body": "{\"email\": \"***\"}"}"#
        );
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
}
