//! The pattern of a rule: `/news/*.html$`.

use crate::address::tidy;

/// Matches in time linear to the path: a pattern is a text at the start, texts that follow each other anywhere, and a text
/// at the end, so `*a*a*a*` needs no second try.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    head: String,
    middle: Vec<String>,
    /// What stands after the last `*`; none without a `*`.
    tail: Option<String>,
    /// It ends with `$`.
    to_the_end: bool,
    octets: usize,
}

impl Pattern {
    /// None for an empty pattern, which is no rule at all.
    pub(super) fn new(written: &[u8]) -> Option<Self> {
        if written.is_empty() {
            return None;
        }
        let spelled = tidy(written);
        let (body, to_the_end) = match spelled.strip_suffix('$') {
            Some(body) => (body, true),
            None => (spelled.as_str(), false),
        };
        let mut pieces: Vec<String> = body.split('*').map(literal).collect();
        let tail = if pieces.len() > 1 { pieces.pop() } else { None };
        let head = pieces.remove(0);
        pieces.retain(|piece| !piece.is_empty());
        Some(Self { head, middle: pieces, tail, to_the_end, octets: spelled.len() })
    }

    /// The longest pattern decides, as RFC 9309 says.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// Whether `path`, as [`comparable`] spells it, falls under the pattern.
    pub(super) fn matches(&self, path: &str) -> bool {
        let Some(mut rest) = path.strip_prefix(self.head.as_str()) else { return false };
        for piece in &self.middle {
            // The first place is the best one: whatever follows has the most room left.
            let Some(at) = rest.find(piece.as_str()) else { return false };
            rest = &rest[at + piece.len()..];
        }
        match (&self.tail, self.to_the_end) {
            (None, false) => true,
            (None, true) => rest.is_empty(),
            (Some(tail), false) => rest.contains(tail.as_str()),
            (Some(tail), true) => rest.ends_with(tail.as_str()),
        }
    }
}

/// A path and query as patterns are compared with: in normal form, and with escapes for the two characters that are
/// operators in a pattern, so that `%2A` and `*` are one.
pub(super) fn comparable(path_and_query: &str) -> String {
    let path = path_and_query.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    literal(&tidy(path.as_bytes())).replace('*', "%2A")
}

fn literal(text: &str) -> String {
    text.replace('$', "%24")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::new(pattern.as_bytes()).expect("not empty").matches(&comparable(path))
    }

    #[test]
    fn stars_and_dollars_match_as_the_standard_says() {
        for (pattern, yes, no) in [
            ("/", vec!["/", "/fish", ""], vec![]),
            ("/*", vec!["/", "/fish"], vec![]),
            ("/$", vec!["/"], vec!["/fish"]),
            (
                "/fish",
                vec!["/fish", "/fish.html", "/fish/salmon", "/fishheads", "/fish?id=1"],
                vec!["/Fish", "/a/fish"],
            ),
            ("/fish*", vec!["/fish", "/fishheads/x"], vec!["/desert/fish"]),
            ("/fish/", vec!["/fish/", "/fish/?id=1"], vec!["/fish", "/fish.html"]),
            ("/*.php", vec!["/index.php", "/a/b.php?x", "/a.php/"], vec!["/", "/windows.PHP"]),
            ("/*.php$", vec!["/a.php", "/a/b.php"], vec!["/a.php?x", "/a.php/", "/a.php5"]),
            ("/fish*.php", vec!["/fish.php", "/fishheads/a.php?x"], vec!["/Fish.PHP"]),
            ("/a*b*a$", vec!["/aba", "/abba", "/aXbaba"], vec!["/ab", "/abab", "/ba"]),
            ("*/private/", vec!["/private/", "/a/private/b"], vec!["/private"]),
            ("/a$b", vec!["/a$b", "/a%24bc"], vec!["/a"]),
            ("/a%2A", vec!["/a*", "/a%2a"], vec!["/ab"]),
            ("private", vec![], vec!["/private", "/"]),
            ("/?s=", vec!["/?s=x", "?s="], vec!["/", "/a?s=x"]),
        ] {
            for path in yes {
                assert!(matches(pattern, path), "{pattern} and {path}");
            }
            for path in no {
                assert!(!matches(pattern, path), "{pattern} and {path}");
            }
        }
    }

    #[test]
    fn escapes_are_compared_in_one_spelling() {
        for (pattern, path) in [
            ("/foo/bar?baz=quz", "/foo/bar?baz=quz"),
            ("/foo/bar?baz=http://foo.bar", "/foo/bar?baz=http://foo.bar"),
            ("/foo/bar/\u{30c4}", "/foo/bar/%E3%83%84"),
            ("/foo/bar/%e3%83%84", "/foo/bar/\u{30c4}"),
            ("/foo/bar/%62%61%7A", "/foo/bar/baz"),
            ("/خبر", "/%d8%ae%d8%a8%d8%b1/5"),
        ] {
            assert!(matches(pattern, path), "{pattern} and {path}");
        }
        assert!(!matches("/a/b", "/a%2Fb"));
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(3_000);
        let began = Instant::now();
        assert!(!matches(&format!("{pattern}b$"), &"a".repeat(2_900)));
        assert!(began.elapsed() < Duration::from_secs(20));
    }

    /// What a `*` and a `$` mean, said without regard to time.
    fn slowly(pattern: &[u8], path: &[u8]) -> bool {
        match pattern {
            [] => true,
            [b'$'] => path.is_empty(),
            [b'*', rest @ ..] => (0..=path.len()).any(|skip| slowly(rest, &path[skip..])),
            [first, rest @ ..] => path.first() == Some(first) && slowly(rest, &path[1..]),
        }
    }

    proptest! {
        #[test]
        fn patterns_match_what_their_meaning_says(pattern in "/[ab*]{0,8}\\$?", path in "/[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &path), slowly(pattern.as_bytes(), path.as_bytes()));
        }
    }
}
