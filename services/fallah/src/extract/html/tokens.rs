//! Cuts HTML into text, start tags and end tags, in one pass and without building anything.
//!
//! What no reader of articles needs never becomes a token: comments, scripts, styles, drawings, players, menus of
//! choices. That is half of a usual page and most of a hostile one. Data written as JSON-LD is set aside.

use std::borrow::Cow;

/// More attributes than this on one tag are left out; a tag of an honest page has a dozen.
const ATTRS_MAX: usize = 48;
/// A longer name of a tag is no tag anybody styles.
const NAME_BYTES_MAX: usize = 40;
/// JSON-LD beyond this many bytes in one script is not read.
const JSON_LD_BYTES_MAX: usize = 1 << 20;
/// No page describes itself in more scripts than this.
const JSON_LD_SCRIPTS_MAX: usize = 64;
/// Nor does it need more of any other kind.
const SCRIPTS_MAX: usize = 200;

/// A piece of HTML.
#[derive(Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// Text as it stands, entities and all.
    Text(&'a str),
    /// `<name ...>`; the attributes wait in [`Tokens::attrs`].
    Start(Cow<'a, str>),
    /// `</name>`
    End(Cow<'a, str>),
    /// The content of `<title>`, in which nothing is a tag.
    Title(&'a str),
}

/// The tokens of a page, front to back.
pub(super) struct Tokens<'a> {
    html: &'a str,
    at: usize,
    /// Attributes of the start tag that came last: name and raw value.
    pub(super) attrs: Vec<(&'a str, &'a str)>,
    /// The bodies of `application/ld+json` scripts so far.
    pub(super) json_ld: Vec<&'a str>,
    /// The other scripts so far: some pages state only there when they came out.
    pub(super) scripts: Vec<&'a str>,
    /// Names whose end tag was sought once and is nowhere below: a second search would make the pass quadratic.
    endless: Vec<&'static str>,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(html: &'a str) -> Self {
        Tokens { html, at: 0, attrs: Vec::new(), json_ld: Vec::new(), scripts: Vec::new(), endless: Vec::new() }
    }

    /// The next token, or none at the end of the page.
    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        let bytes = self.html.as_bytes();
        while self.at < bytes.len() {
            let start = self.at;
            if bytes[start] != b'<' || !opens_markup(bytes.get(start + 1)) {
                // Text runs to the next `<` that can open a tag.
                let mut end = start + 1;
                loop {
                    match find_byte(bytes, end, b'<') {
                        Some(lt) if opens_markup(bytes.get(lt + 1)) => break end = lt,
                        Some(lt) => end = lt + 1,
                        None => break end = bytes.len(),
                    }
                }
                self.at = end;
                return Some(Token::Text(&self.html[start..end]));
            }
            match bytes[start + 1] {
                b'!' | b'?' => self.skip_declaration(),
                b'/' => match self.end_tag() {
                    Some(name) => return Some(Token::End(name)),
                    None => continue,
                },
                _ => {
                    let name = self.start_tag()?;
                    if &*name == "title" {
                        let begin = self.at;
                        let Some((end, after)) = self.find_end("title") else { continue };
                        self.at = after;
                        return Some(Token::Title(&self.html[begin..end]));
                    }
                    match unread(&name) {
                        Some(closing) => self.skip_content(closing),
                        None => return Some(Token::Start(name)),
                    }
                }
            }
        }
        None
    }

    fn skip_declaration(&mut self) {
        let rest = &self.html[self.at..];
        let end = match rest.strip_prefix("<!--") {
            // `<!-->` and `<!--->` are whole comments, too. An endless comment hides what follows, as in a browser.
            Some(inner) if inner.starts_with('>') => Some(5),
            Some(inner) if inner.starts_with("->") => Some(6),
            Some(inner) => inner.find("-->").map(|n| 4 + n + 3),
            None => rest.find('>').map(|n| n + 1),
        };
        self.at = end.map_or(self.html.len(), |n| self.at + n);
    }

    fn end_tag(&mut self) -> Option<Cow<'a, str>> {
        let bytes = self.html.as_bytes();
        let from = self.at + 2;
        let to = name_end(bytes, from);
        self.at = find_byte(bytes, to, b'>').map_or(bytes.len(), |n| n + 1);
        (to > from && bytes[from].is_ascii_alphabetic()).then(|| lower(&self.html[from..to]))
    }

    /// Reads a start tag and its attributes; none when the page ends inside it.
    fn start_tag(&mut self) -> Option<Cow<'a, str>> {
        let bytes = self.html.as_bytes();
        let from = self.at + 1;
        let mut at = name_end(bytes, from);
        let name = lower(&self.html[from..at]);
        self.attrs.clear();
        loop {
            while at < bytes.len() && (bytes[at].is_ascii_whitespace() || bytes[at] == b'/') {
                at += 1;
            }
            if at >= bytes.len() {
                self.at = bytes.len();
                return None;
            }
            if bytes[at] == b'>' {
                self.at = at + 1;
                return Some(name);
            }
            let key_from = at;
            at += 1;
            while at < bytes.len() && !bytes[at].is_ascii_whitespace() && !matches!(bytes[at], b'/' | b'>' | b'=') {
                at += 1;
            }
            let key = key_from..at;
            let mut look = at;
            while look < bytes.len() && bytes[look].is_ascii_whitespace() {
                look += 1;
            }
            let mut value = at..at;
            if bytes.get(look) == Some(&b'=') {
                at = look + 1;
                while at < bytes.len() && bytes[at].is_ascii_whitespace() {
                    at += 1;
                }
                match bytes.get(at) {
                    Some(&quote @ (b'"' | b'\'')) => {
                        let Some(end) = find_byte(bytes, at + 1, quote) else {
                            self.at = bytes.len();
                            return None;
                        };
                        value = at + 1..end;
                        at = end + 1;
                    }
                    _ => {
                        let begin = at;
                        while at < bytes.len() && !bytes[at].is_ascii_whitespace() && bytes[at] != b'>' {
                            at += 1;
                        }
                        value = begin..at;
                    }
                }
            }
            // Keys and values begin and end beside ASCII bytes, but a key may start in the middle of nothing sane.
            if self.attrs.len() < ATTRS_MAX
                && let (Some(key), Some(value)) = (self.html.get(key), self.html.get(value))
                && is_plain_key(key)
            {
                self.attrs.push((key, value));
            }
        }
    }

    /// Passes over everything up to the end tag of `name`, keeping it when it is JSON-LD.
    fn skip_content(&mut self, name: &'static str) {
        let begin = self.at;
        let Some((end, after)) = self.find_end(name) else { return };
        self.at = after;
        let is_json_ld = name == "script"
            && self.attrs.iter().any(|(k, v)| k.eq_ignore_ascii_case("type") && contains_fold(v, "ld+json"));
        if name == "script" && !is_json_ld && self.scripts.len() < SCRIPTS_MAX {
            self.scripts.push(&self.html[begin..end]);
        }
        if is_json_ld && end - begin <= JSON_LD_BYTES_MAX && self.json_ld.len() < JSON_LD_SCRIPTS_MAX {
            self.json_ld.push(&self.html[begin..end]);
        }
    }

    /// Where the content of `name` ends and where its end tag ends; drawings and templates may hold their like.
    fn find_end(&mut self, name: &'static str) -> Option<(usize, usize)> {
        if self.endless.contains(&name) {
            return None;
        }
        let bytes = self.html.as_bytes();
        let nests = matches!(name, "svg" | "template" | "object");
        let mut depth = 1_usize;
        let mut at = self.at;
        while let Some(lt) = find_byte(bytes, at, b'<') {
            at = lt + 1;
            let closes = bytes.get(at) == Some(&b'/');
            let from = at + usize::from(closes);
            let to = from + name.len();
            let same = bytes.get(from..to).is_some_and(|b| b.eq_ignore_ascii_case(name.as_bytes()))
                && bytes.get(to).is_none_or(|b| b.is_ascii_whitespace() || matches!(b, b'>' | b'/'));
            if !same {
                continue;
            }
            let gt = find_byte(bytes, to, b'>').map_or(bytes.len(), |n| n + 1);
            if closes {
                depth -= 1;
                if depth == 0 {
                    return Some((lt, gt));
                }
            } else if nests && bytes.get(gt.saturating_sub(2)) != Some(&b'/') {
                depth += 1;
            }
        }
        // Unbalanced: the first end tag is better than none.
        let first = if nests { self.first_end(name) } else { None };
        if first.is_none() {
            self.endless.push(name);
        }
        first
    }

    fn first_end(&self, name: &str) -> Option<(usize, usize)> {
        let bytes = self.html.as_bytes();
        let mut at = self.at;
        while let Some(lt) = find_byte(bytes, at, b'<') {
            at = lt + 1;
            let to = at + 1 + name.len();
            if bytes.get(at) == Some(&b'/')
                && bytes.get(at + 1..to).is_some_and(|b| b.eq_ignore_ascii_case(name.as_bytes()))
            {
                return Some((lt, find_byte(bytes, to, b'>').map_or(bytes.len(), |n| n + 1)));
            }
        }
        None
    }
}

/// The end tag up to which the content of `name` is of no use, if it is such an element.
fn unread(name: &str) -> Option<&'static str> {
    const UNREAD: &[&str] = &[
        "script", "style", "svg", "math", "iframe", "noscript", "noembed", "noframes", "xmp", "template", "select",
        "textarea", "canvas", "video", "audio", "object", "datalist",
    ];
    UNREAD.iter().copied().find(|n| *n == name)
}

fn opens_markup(next: Option<&u8>) -> bool {
    next.is_some_and(|&b| b.is_ascii_alphabetic() || matches!(b, b'!' | b'/' | b'?'))
}

fn name_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while at < bytes.len() && !bytes[at].is_ascii_whitespace() && !matches!(bytes[at], b'/' | b'>') {
        at += 1;
    }
    at
}

/// A tag's name in lower case; a name that no page means becomes a `div`.
fn lower(name: &str) -> Cow<'_, str> {
    if name.len() > NAME_BYTES_MAX
        || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b':' | b'_'))
    {
        return Cow::Borrowed("div");
    }
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        return Cow::Owned(name.to_ascii_lowercase());
    }
    Cow::Borrowed(name)
}

fn is_plain_key(key: &str) -> bool {
    key.len() <= NAME_BYTES_MAX
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':' | b'.'))
}

fn find_byte(bytes: &[u8], from: usize, byte: u8) -> Option<usize> {
    bytes.get(from..)?.iter().position(|&b| b == byte).map(|n| from + n)
}

fn contains_fold(hay: &str, needle: &str) -> bool {
    hay.as_bytes().windows(needle.len()).any(|w| w.eq_ignore_ascii_case(needle.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(html: &str) -> (Vec<String>, usize) {
        let mut tokens = Tokens::new(html);
        let mut seen = Vec::new();
        while let Some(token) = tokens.next() {
            seen.push(match token {
                Token::Text(t) => t.to_owned(),
                Token::Start(n) => format!("<{n} {}>", tokens.attrs.len()),
                Token::End(n) => format!("</{n}>"),
                Token::Title(t) => format!("title {t}"),
            });
        }
        (seen, tokens.json_ld.len())
    }

    #[test]
    fn a_page_is_cut_into_text_and_tags() {
        let (seen, _) = all("a < b<P class='x y' id=z>c</P >d<br/>");
        assert_eq!(seen, ["a < b", "<p 2>", "c", "</p>", "d", "<br 0>"]);
    }

    #[test]
    fn scripts_styles_comments_and_drawings_are_passed_over() {
        let (seen, n) =
            all("<script>a<b</script>1<style>p{}</style>2<!-- <p> -->3<svg><svg></svg><title>x</title></svg>4\
             <script type='application/ld+json'>{}</script>5");
        assert_eq!((seen.concat().as_str(), n), ("12345", 1));
    }

    #[test]
    fn an_element_that_never_ends_hides_nothing() {
        let (seen, _) = all("<svg><p>text");
        assert_eq!(seen, ["<p 0>", "text"]);
        assert_eq!(all(&"<svg>".repeat(50_000)).0.len(), 0);
    }

    #[test]
    fn a_tag_that_the_page_ends_in_is_dropped() {
        assert_eq!(all("x<a href=\"y").0, ["x"]);
    }

    #[test]
    fn a_tag_of_a_hundred_thousand_attributes_has_a_few() {
        let html = format!("<p {}>x", (0..100_000).map(|n| format!("a{n}=1 ")).collect::<String>());
        assert_eq!(all(&html).0[0], format!("<p {ATTRS_MAX}>"));
    }
}
