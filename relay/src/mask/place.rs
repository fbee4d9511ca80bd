//! The way down into a value: each member of it is hidden, or looked into, or shown as it was written.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Glob, MASKED, Mask, plain};

/// What lies deeper is hidden: nobody has looked at it. Each level is read once more by the one above it.
const DEPTH_MAX: usize = 32;

/// How a value was read on its way down: where in which paths it stands.
#[derive(Clone)]
pub(super) struct Place<'m> {
    pub(super) mask: &'m Mask,
    /// What is left of each path that has led here.
    pub(super) paths: Vec<&'m [Glob]>,
    pub(super) depth: usize,
}

/// What is left of a value: nothing was hidden, or this text.
pub(super) enum Left {
    Whole,
    Text(String),
}

impl Left {
    pub(super) fn hidden() -> Self {
        Self::Text(MASKED.to_owned())
    }
}

impl<'m> Place<'m> {
    pub(super) fn look(&self, json: &RawValue) -> Left {
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
