//! A small language to point at parts of a page: `article .lead > p, #summary, meta[name=byl]@content`.
//!
//! Names, `.class`, `#id`, `[attr]`, `[attr=value]`, `[attr*=part]`, a blank for "somewhere below", `>` for "directly
//! below", a comma for "or", and at the end `@attr` to take an attribute instead of the text.

use serde::Deserialize;

use super::html::Tree;

/// Steps of one path; more are a mistake.
const STEPS_MAX: usize = 8;
/// Looks upward that one match may cost, so that no page makes a rule slow.
const LOOKS_MAX: usize = 4096;

/// A compiled selector. Made from a string, and refused with a sentence when it makes no sense.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Selector {
    paths: Vec<Path>,
}

#[derive(Debug, Clone, PartialEq)]
struct Path {
    /// From the innermost step outwards; the flag says "directly above".
    steps: Vec<(Step, bool)>,
    attr: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Step {
    name: Option<String>,
    id: Option<String>,
    classes: Vec<String>,
    attrs: Vec<(String, Match)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Match {
    Present,
    Is(String),
    Has(String),
}

impl TryFrom<String> for Selector {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Selector::parse(&text)
    }
}

impl Selector {
    /// Compiles a selector.
    pub fn parse(text: &str) -> Result<Self, String> {
        let paths =
            split_outside_brackets(text, ',').into_iter().map(|p| path(p.trim(), text)).collect::<Result<_, _>>()?;
        Ok(Selector { paths })
    }

    /// The elements that match, in the order of the page.
    pub(super) fn find<'a>(&'a self, tree: &'a Tree) -> impl Iterator<Item = usize> + 'a {
        tree.elements().filter(|&at| self.path_of(tree, at).is_some())
    }

    /// The text or attribute of every match, blanks squeezed, empty ones left out.
    pub(super) fn values(&self, tree: &Tree) -> Vec<String> {
        let value = |at: usize| {
            let path = self.path_of(tree, at)?;
            let value = match &path.attr {
                Some(attr) => super::html::squeeze(tree.attr(at, attr)?),
                None => tree.text(at),
            };
            (!value.is_empty()).then_some(value)
        };
        tree.elements().filter_map(value).collect()
    }

    fn path_of(&self, tree: &Tree, at: usize) -> Option<&Path> {
        self.paths.iter().find(|p| p.matches(tree, at))
    }
}

impl Path {
    fn matches(&self, tree: &Tree, at: usize) -> bool {
        // (step, element to try it on); what is left on the stack are other ways to match.
        let mut ways = vec![(0, at)];
        let mut looks = 0;
        while let Some((n, at)) = ways.pop() {
            looks += 1;
            if looks > LOOKS_MAX {
                return false;
            }
            let (step, direct) = &self.steps[n];
            if !step.matches(tree, at) {
                // "Somewhere above" may be further up, unless this element was asked for itself.
                let loose = n > 0 && !self.steps[n - 1].1;
                if loose && let Some(up) = tree.parent(at) {
                    ways.push((n, up));
                }
                continue;
            }
            if n + 1 == self.steps.len() {
                return true;
            }
            if n > 0
                && !self.steps[n - 1].1
                && *direct
                && let Some(up) = tree.parent(at)
            {
                ways.push((n, up));
            }
            if let Some(up) = tree.parent(at) {
                ways.push((n + 1, up));
            }
        }
        false
    }
}

impl Step {
    fn matches(&self, tree: &Tree, at: usize) -> bool {
        tree.is_element(at)
            && self.name.as_deref().is_none_or(|n| tree.name(at) == n)
            && self.id.as_deref().is_none_or(|id| tree.attr(at, "id") == Some(id))
            && self.classes.iter().all(|c| tree.has_class(at, c))
            && self.attrs.iter().all(|(key, wanted)| match wanted {
                Match::Present => tree.has_attr(at, key),
                Match::Is(value) => tree.attr(at, key) == Some(value),
                Match::Has(part) => tree.attr(at, key).is_some_and(|v| v.contains(part.as_str())),
            })
    }
}

fn split_outside_brackets(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut from, mut depth) = (0, 0_i32);
    for (at, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            c if c == separator && depth == 0 => {
                parts.push(&text[from..at]);
                from = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

fn path(text: &str, whole: &str) -> Result<Path, String> {
    let wrong = |why: &str| Err(format!("the selector `{whole}` makes no sense: {why}"));
    let parts = split_outside_brackets(text, '@');
    let (text, attr) = match parts.as_slice() {
        [text] => (*text, None),
        [text, attr] if is_name(attr.trim()) => (*text, Some(attr.trim().to_ascii_lowercase())),
        _ => return wrong("after `@` stands the name of one attribute"),
    };
    let mut steps: Vec<(Step, bool)> = Vec::new();
    for (n, group) in split_outside_brackets(text, '>').into_iter().enumerate() {
        let words: Vec<&str> =
            split_outside_brackets(group.trim(), ' ').into_iter().filter(|w| !w.is_empty()).collect();
        if words.is_empty() {
            return wrong(if n == 0 && text.trim().is_empty() {
                "a part of it is empty"
            } else {
                "beside `>` something is missing"
            });
        }
        for (m, word) in words.iter().enumerate() {
            // The flag belongs to the inner step of a pair.
            steps.insert(
                0,
                (step(word).map_err(|why| format!("the selector `{whole}` makes no sense: {why}"))?, n > 0 && m == 0),
            );
        }
    }
    if steps.len() > STEPS_MAX {
        return wrong("it has more than eight steps");
    }
    Ok(Path { steps, attr })
}

fn step(word: &str) -> Result<Step, String> {
    let mut step = Step::default();
    let mut rest = word;
    let name_end = rest.find(['.', '#', '[']).unwrap_or(rest.len());
    match &rest[..name_end] {
        "" | "*" => {}
        name if is_name(name) => step.name = Some(name.to_ascii_lowercase()),
        name => {
            return Err(format!("`{name}` is not the name of an element; `:first` and the like are not known here"));
        }
    }
    rest = &rest[name_end..];
    while let Some(sign) = rest.chars().next() {
        rest = &rest[1..];
        if sign == '[' {
            let Some((inner, after)) = rest.split_once(']') else {
                return Err(format!("a `]` is missing in `{word}`"));
            };
            step.attrs.push(attribute(inner)?);
            rest = after;
            continue;
        }
        let end = rest.find(['.', '#', '[']).unwrap_or(rest.len());
        let value = &rest[..end];
        if value.is_empty() || value.contains([':', ']', '(', '"']) {
            return Err(format!("after `{sign}` in `{word}` stands no plain name"));
        }
        if sign == '.' {
            step.classes.push(value.to_owned());
        } else {
            step.id = Some(value.to_owned());
        }
        rest = &rest[end..];
    }
    Ok(step)
}

fn attribute(inner: &str) -> Result<(String, Match), String> {
    let (key, wanted) = match inner.split_once('=') {
        None => (inner, Match::Present),
        Some((key, value)) => {
            let value = value.trim().trim_matches(['"', '\'']).to_owned();
            match key.strip_suffix('*') {
                Some(key) => (key, Match::Has(value)),
                None => (key, Match::Is(value)),
            }
        }
    };
    let key = key.trim().to_ascii_lowercase();
    if is_name(&key) { Ok((key, wanted)) } else { Err(format!("`[{inner}]` is not like [name] or [name=value]")) }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::html::parse;

    const PAGE: &str = "<article id=a><div class='lead big'><p>one<p data-x='y z'>two</div><div><section><p>three</section></div></article>\
                        <p><a href=/x>four</a>";

    fn values(selector: &str) -> Vec<String> {
        Selector::parse(selector).expect("a selector").values(&parse(PAGE).tree)
    }

    #[test]
    fn every_form_finds_what_it_says() {
        assert_eq!(values("article p"), ["one", "two", "three"]);
        assert_eq!(values("article > div > p"), ["one", "two"]);
        assert_eq!(values("#a div p"), ["one", "two", "three"]);
        assert_eq!(values(".lead.big p, a"), ["one", "two", "four"]);
        assert_eq!(values("[data-x=\"y z\"]"), ["two"]);
        assert_eq!(values("p[data-x]"), ["two"]);
        assert_eq!(values("[href*=x]@href"), ["/x"]);
        assert_eq!(values("article > p"), Vec::<String>::new());
        assert_eq!(values("article > div p"), ["one", "two", "three"]);
        assert_eq!(values("article div > section > p"), ["three"]);
    }

    #[test]
    fn nonsense_is_refused_with_a_sentence() {
        for text in ["", "a,,b", "a >", "> a", "p:first", "[x", "a@", "a@b@c", ".", "a b c d e f g h i"] {
            let why = Selector::parse(text).expect_err(text);
            assert!(why.starts_with("the selector `"), "{why}");
        }
    }
}
