//! What must not be shown: values in payloads and headers, by the names of their keys or by where they stand in an event of a
//! type. Masked here, before anything leaves the process. Where it cannot be told what something is, it is hidden.

mod place;

#[cfg(test)]
mod cases;

use std::str::FromStr;

use serde_json::value::RawValue;

use self::place::{Left, Place};
use crate::store::dead::DeadLetter;

/// What is masked unless somebody says something else: what looks like a secret.
pub(crate) const SECRETS: &str = "*password*,*passwd*,*passphrase*,*secret*,*token*,*api_key*,*access_key*,*private_key*,*credential*,*authorization*,cookie,set_cookie";
/// What stands in its place.
const MASKED: &str = "\"***\"";
/// So many rules.
const RULES_MAX: usize = 200;

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
