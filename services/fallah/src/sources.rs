//! The sources: one TOML file, read and checked whole before anything is fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::address::Address;
use crate::extract::Rules;

/// All sources of a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    #[serde(rename = "source", default)]
    sources: Vec<Source>,
}

/// A site to be read, and how.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its name, in events and everywhere else.
    name: Spanned<String>,
    /// The site's address: its robots.txt names the sitemaps.
    pub home: Option<Address>,
    /// Sitemaps, if robots.txt does not name them or not all are wanted.
    #[serde(default)]
    pub sitemaps: Vec<Address>,
    /// RSS and Atom feeds.
    #[serde(default)]
    pub feeds: Vec<Address>,
    /// Only addresses that one of these patterns finds; none: all of the same site.
    #[serde(default)]
    allow: Vec<Pattern>,
    /// And none that one of these finds.
    #[serde(default)]
    deny: Vec<Pattern>,
    /// From the beginning of one request to the beginning of the next, at each host.
    #[serde(default = "second", deserialize_with = "duration")]
    pub delay: Duration,
    /// How often a list is read that changes all the time.
    #[serde(default = "two_minutes", deserialize_with = "duration")]
    pub poll_min: Duration,
    /// How seldom one is read that never changes.
    #[serde(default = "six_hours", deserialize_with = "duration")]
    pub poll_max: Duration,
    /// Pages of robots.txt, `noindex` and the like are for search engines; who wants them kept out says so here.
    #[serde(default)]
    pub respect_noindex: bool,
    /// Whether what is written is told, too. Off while a source is tried out.
    #[serde(default = "yes")]
    pub publish_events: bool,
    /// Where on the page things are, if they are not found by themselves.
    #[serde(default)]
    pub extract: Rules,
    /// A hash of all of these settings: what was read under others may be read differently now.
    #[serde(skip)]
    pub fingerprint: String,
}

impl Source {
    /// Its name.
    pub fn name(&self) -> &str {
        self.name.get_ref()
    }

    /// Where its addresses come from.
    pub fn lists(&self) -> impl Iterator<Item = &Address> {
        self.sitemaps.iter().chain(&self.feeds)
    }

    /// Whether an address is of the same site.
    pub fn is_of(&self, address: &Address) -> bool {
        self.home.iter().chain(self.lists()).any(|own| own.same_site(address))
    }

    /// Whether an address is one of its pages: of the same site, and as the patterns want it.
    pub fn wants(&self, address: &Address) -> bool {
        self.why_not(address).is_none()
    }

    /// Why an address is none of its pages.
    fn why_not(&self, address: &Address) -> Option<String> {
        let found = |patterns: &[Pattern]| {
            patterns.iter().find(|pattern| pattern.0.is_match(address.as_str())).map(|pattern| pattern.0.to_string())
        };
        if !self.is_of(address) {
            return Some("it is of another site".to_owned());
        }
        if address.is_home() {
            return Some("it is the home page".to_owned());
        }
        if let Some(pattern) = found(&self.deny) {
            return Some(format!("deny has {pattern:?}"));
        }
        (!self.allow.is_empty() && found(&self.allow).is_none()).then(|| "nothing in allow is found in it".to_owned())
    }
}

impl Sources {
    /// Reads and checks a file.
    pub fn read(file: &Path) -> Result<Self, Wrong> {
        let text = std::fs::read_to_string(file).map_err(|error| Wrong(format!("{}: {error}", file.display())))?;
        Self::parse(&text).map_err(|wrong| Wrong(format!("{}{wrong}", file.display())))
    }

    /// Reads and checks a text. What is wrong begins with its line, as in `:3: ...`.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        let line = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
        let mut sources: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or_else(String::new, |span| format!(":{}", line(span.start)));
            Wrong(format!("{at}: {}", in_plain_words(error.message())))
        })?;
        let tables = toml::from_str::<toml::Table>(text).ok().and_then(|mut all| all.remove("source"));
        for (source, table) in
            sources.sources.iter_mut().zip(tables.iter().filter_map(toml::Value::as_array).flatten())
        {
            source.fingerprint = blake3::hash(table.to_string().as_bytes()).to_hex()[..16].to_owned();
        }
        let (mut names, mut lists) = (BTreeSet::new(), BTreeMap::new());
        for source in &sources.sources {
            let wrong = |why: &str| Err(Wrong(format!(":{}: {why}", line(source.name.span().start))));
            let name = source.name();
            if name.is_empty() || name.len() > 100 || name.chars().any(|c| c.is_control() || c.is_whitespace()) {
                return wrong("a source's name has 1 to 100 bytes and no blanks");
            }
            if !names.insert(name) {
                return wrong(&format!("there are two sources with the name {name}"));
            }
            if source.home.is_none() && source.lists().next().is_none() {
                return wrong(&format!("{name} needs a home, a sitemap or a feed to start from"));
            }
            if let Some(list) = source.lists().find(|list| lists.insert((*list).clone(), name).is_some()) {
                return wrong(&format!("{name}: the list {list} is named twice"));
            }
            if source.poll_min.is_zero() || source.poll_min > source.poll_max {
                return wrong(&format!("{name}: poll_min must be longer than 0 and no longer than poll_max"));
            }
        }
        if sources.sources.is_empty() {
            return Err(Wrong(": there is no [[source]] in it".to_owned()));
        }
        Ok(sources)
    }

    /// Nobody is told what is written of any of them, until this is taken back: items wait, and are told then.
    pub fn tell_nobody(&mut self) {
        self.sources.iter_mut().for_each(|source| source.publish_events = false);
    }

    /// One by its name.
    pub fn get(&self, name: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.name() == name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter()
    }

    /// The delay at a host: the longest that any source which names it asks for.
    pub fn delay_of(&self, origin: &str) -> Duration {
        let named = |source: &&Source| Address::parse(origin).is_ok_and(|origin| source.is_of(&origin));
        self.iter().filter(named).map(|source| source.delay).max().unwrap_or_else(second)
    }

    /// Why no source wants an address: what the one of its site has against it, else that there is none.
    pub(crate) fn why_not(&self, address: &Address) -> String {
        let own = self.iter().find(|source| source.is_of(address));
        match own.and_then(|source| Some((source.name(), source.why_not(address)?))) {
            Some((name, why)) => format!("of {name}, {why}"),
            None => "none is of its site".to_owned(),
        }
    }

    /// The first one that an address belongs to.
    pub fn of(&self, address: &Address) -> Option<&Source> {
        self.iter().find(|source| source.wants(address))
    }
}

/// What is wrong with the file, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

#[derive(Debug)]
struct Pattern(Regex);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Regex::new(&text).map(Self).map_err(|error| {
            let last = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
            serde::de::Error::custom(format!("{text:?} is not a pattern: {last}"))
        })
    }
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let told = toml::Value::deserialize(from)?;
    let text = told.as_str().ok_or_else(|| format!("{told} has no unit: write \"{told}s\" for seconds"));
    text.and_then(terminal::duration).map_err(serde::de::Error::custom)
}

/// What the parser has to say, for people who have never heard of sequences and maps.
fn in_plain_words(message: &str) -> String {
    let message = message.trim().replace('\n', " ");
    match message.as_str() {
        message if message.starts_with("invalid type: map, expected a sequence") => {
            "a source begins with [[source]], in two pairs of brackets".to_owned()
        }
        message => message.replace("expected a sequence", "expected a list, in brackets"),
    }
}

fn second() -> Duration {
    Duration::from_secs(1)
}

fn two_minutes() -> Duration {
    Duration::from_secs(120)
}

fn six_hours() -> Duration {
    Duration::from_secs(6 * 3600)
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        Sources::parse(text).expect_err("must be refused").to_string()
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        assert!(wrong("\n\n[[source]]\nname = \"a\"\n").starts_with(":4: a needs a home"));
        assert!(
            wrong("[[source]]\nname = \"a\"\nhome = \"https://a.org\"\ncolour = 1\n")
                .starts_with(":4: unknown field")
        );
        assert!(
            wrong("[[source]]\nname = \"a\"\nallow = [\"(\"]\nhome = \"https://a.org\"")
                .starts_with(":3: \"(\" is not a pattern")
        );
        assert!(wrong("[[source]]\nname = \"a\"\nhome = \"ftp://a.org\"").starts_with(":3: "));
        assert!(
            wrong("[[source]]\nname = \"a\"\nhome = \"https://a.org\"\ndelay = \"5\"").starts_with(":4: a duration")
        );
        assert_eq!(
            wrong("[[source]]\nname = \"a\"\nhome = \"https://a.org\"\ndelay = 5"),
            ":4: 5 has no unit: write \"5s\" for seconds"
        );
        assert_eq!(
            wrong("[source]\nname = \"a\"\nhome = \"https://a.org\""),
            ":1: a source begins with [[source]], in two pairs of brackets"
        );
        assert!(
            wrong("[[source]]\nname = \"a\"\nhome = \"https://a.org\"\nallow = \"/news/\"")
                .contains("expected a list, in brackets")
        );
        let twice = "[[source]]\nname = \"a\"\nhome = \"https://a.org\"\n";
        assert!(wrong(&twice.repeat(2)).starts_with(":5: there are two"));
        assert!(wrong("").starts_with(": there is no"));
        let list = "sitemaps = [\"https://a.org/s.xml\"]\n";
        let shared = format!("[[source]]\nname = \"a\"\n{list}[[source]]\nname = \"b\"\n{list}");
        assert!(wrong(&shared).starts_with(":5: b: the list"));
    }

    #[test]
    fn the_documented_settings_are_sound() {
        let page = include_str!("../../../docs/fallah.md");
        let examples: Vec<_> = page.split("```toml").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert_eq!(examples.len(), 2);
        for example in examples {
            Sources::parse(example).expect(example);
        }
    }

    #[test]
    fn a_source_wants_its_own_pages_and_no_others() {
        let text = "[[source]]\nname = \"a\"\nhome = \"https://a.org\"\nallow = [\"/news/\"]\ndeny = [\"/news/ads\"]";
        let sources = Sources::parse(text).expect("sound");
        let wants = |text: &str| sources.of(&Address::parse(text).expect("an address")).is_some();
        assert!(wants("https://www.a.org/news/1"));
        let why = |text: &str| sources.why_not(&Address::parse(text).expect("an address"));
        assert_eq!(why("https://a.org/about"), "of a, nothing in allow is found in it");
        assert_eq!(why("https://a.org/news/ads/1"), "of a, deny has \"/news/ads\"");
        assert_eq!(why("https://b.org/news/1"), "none is of its site");
        assert!(
            !wants("https://a.org/about") && !wants("https://a.org/news/ads/1") && !wants("https://b.org/news/1")
        );
    }
}
