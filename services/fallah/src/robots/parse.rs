//! From bytes to groups: RFC 9309, and the mistakes that search engines forgive.

use std::borrow::Cow;
use std::time::Duration;

use super::pattern::Pattern;
use super::{Agent, Group, ROBOTS_BYTES_MAX, Robots, Rule, Weighed};

/// A longer line is left out: no address is half as long.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// More sitemaps are left out.
const SITEMAPS_MAX: usize = 1_000;
/// What a delay beyond all sense counts as. Callers cap far below, where it can be seen.
const DELAY_SECONDS_MAX: f64 = 1e9;

#[derive(Clone, Copy, PartialEq)]
enum Field {
    UserAgent,
    Allow,
    Disallow,
    CrawlDelay,
    Sitemap,
}

pub(super) fn parse(bytes: &[u8]) -> Robots {
    let mut robots = Robots::default();
    // Names of agents that follow each other share a group; a rule ends the names, and nothing else does.
    let mut naming = false;
    for (number, line) in (1..).zip(Lines(&text(bytes))) {
        let Some((field, value)) = field(line) else { continue };
        match field {
            Field::UserAgent => {
                if !naming {
                    robots.groups.push(Group::default());
                    naming = true;
                }
                if let Some(group) = robots.groups.last_mut() {
                    group.agents.push(Agent { token: token(value), delay: None });
                }
            }
            Field::Allow | Field::Disallow => {
                naming = false;
                let (Some(group), Some(pattern)) = (robots.groups.last_mut(), Pattern::new(value)) else { continue };
                let text = String::from_utf8_lossy(line).trim().to_owned();
                let rule = Rule { line: number, text };
                group.rules.push(Weighed { rule, allow: field == Field::Allow, pattern });
            }
            // Not a rule of the standard, so it ends no group: it is for the agents named so far.
            Field::CrawlDelay => {
                let (Some(group), Some(delay)) = (robots.groups.last_mut(), delay(value)) else { continue };
                group.agents.iter_mut().for_each(|agent| agent.delay = agent.delay.max(Some(delay)));
            }
            Field::Sitemap if value.is_empty() || robots.sitemaps.len() == SITEMAPS_MAX => {}
            Field::Sitemap => robots.sitemaps.push(String::from_utf8_lossy(value).into_owned()),
        }
    }
    robots
}

/// The part that is read, in UTF-8 or near it: a line that the bound cuts in two is left out, since half a rule forbids
/// more than the whole.
fn text(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut bytes = bytes;
    if bytes.len() > ROBOTS_BYTES_MAX {
        let read = &bytes[..ROBOTS_BYTES_MAX];
        let end = read.iter().rposition(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(0);
        bytes = &read[..end];
    }
    match encoding_rs::Encoding::for_bom(bytes) {
        None => Cow::Borrowed(bytes),
        Some((encoding, mark_bytes)) if encoding == encoding_rs::UTF_8 => Cow::Borrowed(&bytes[mark_bytes..]),
        Some((utf_16, mark_bytes)) => {
            let (text, _) = utf_16.decode_without_bom_handling(&bytes[mark_bytes..]);
            Cow::Owned(text.into_owned().into_bytes())
        }
    }
}

/// Lines that end with LF, CR or both.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(self.0.len());
        let (line, rest) = self.0.split_at(end);
        self.0 = rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..)).unwrap_or_default();
        Some(line)
    }
}

fn field(line: &[u8]) -> Option<(Field, &[u8])> {
    if line.len() > LINE_BYTES_MAX {
        return None;
    }
    let line = line.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii();
    let (name, value) = match line.iter().position(|byte| *byte == b':') {
        Some(colon) => (&line[..colon], &line[colon + 1..]),
        // `Disallow /private`: a forgotten colon, where there are two words and no more.
        None => {
            let blank = line.iter().position(u8::is_ascii_whitespace)?;
            let value = line[blank..].trim_ascii();
            if value.iter().any(u8::is_ascii_whitespace) {
                return None;
            }
            (&line[..blank], value)
        }
    };
    let field = match name.trim_ascii().to_ascii_lowercase().as_slice() {
        b"user-agent" | b"useragent" | b"user agent" => Field::UserAgent,
        b"allow" => Field::Allow,
        b"disallow" | b"dissallow" | b"dissalow" | b"disalow" | b"diasllow" | b"disallaw" => Field::Disallow,
        b"crawl-delay" | b"crawldelay" | b"crawl delay" => Field::CrawlDelay,
        b"sitemap" | b"site-map" => Field::Sitemap,
        _ => return None,
    };
    Some((field, value.trim_ascii()))
}

/// The product token at the start of a name, in lower case: `fallah` of `Fallah/1.0 (+https://...)`.
fn token(value: &[u8]) -> String {
    // `*` and whatever follows after a blank is everybody.
    if value == b"*" || (value.starts_with(b"*") && value[1].is_ascii_whitespace()) {
        return "*".to_owned();
    }
    // The standard knows letters, `-` and `_`; names with digits exist.
    let letters = value.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    letters.map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

fn delay(value: &[u8]) -> Option<Duration> {
    let seconds: f64 = std::str::from_utf8(value).ok()?.replace(',', ".").parse().ok()?;
    if seconds.is_nan() {
        return None;
    }
    Duration::try_from_secs_f64(seconds.min(DELAY_SECONDS_MAX)).ok()
}
