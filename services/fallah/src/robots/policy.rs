//! What holds for a site after an attempt to fetch its robots.txt: RFC 9309, section 2.3.1.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Robots, Verdict, Why};

/// How long an answer may be used.
const FRESH: SignedDuration = SignedDuration::from_hours(24);
/// How soon a site that could not answer is asked again.
const RETRY: SignedDuration = SignedDuration::from_mins(30);
/// How long a site may fail before it counts as one without robots.txt.
const PATIENCE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How the attempt ended. Redirects were followed, to other hosts too, five at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// An answer with a body, 2xx. It is parsed whatever its type.
    Text(Vec<u8>),
    /// 304: the last copy is still right.
    Unchanged,
    /// Any other status.
    Status(u16),
    /// The redirects had no end.
    EndlessRedirects,
    /// No answer: no address, no connection, no end.
    Unreachable,
}

/// What is known of a site from earlier attempts.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// The last answer that said what the site asks for; empty when it said that there is no robots.txt.
    pub last_good: Option<Arc<Robots>>,
    /// Since when every attempt failed.
    pub failing_since: Option<Timestamp>,
}

/// What holds, until when, and what to remember.
#[derive(Debug, Clone)]
pub struct Standing {
    /// What holds.
    pub policy: Policy,
    /// When to ask again; within 24 hours.
    pub until: Timestamp,
    /// For the next [`decide`].
    pub memory: Memory,
}

/// What a crawler may do on a site.
#[derive(Debug, Clone)]
pub enum Policy {
    /// The rules of its robots.txt, of the last good copy if the site fails now.
    Rules(Arc<Robots>),
    /// Everything.
    AllowAll(Reason),
    /// Nothing.
    DisallowAll(Reason),
}

/// Why everything or nothing is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// 4xx: there is no robots.txt, or it is not for us.
    Status(u16),
    /// The redirects had no end, which counts as 4xx.
    EndlessRedirects,
    /// The site could not say.
    Unreachable,
    /// The site could not say for 30 days, which counts as 4xx.
    UnreachableForLong,
}

/// Decides what holds after an attempt at `now`.
///
/// - 2xx: its rules, for 24 hours. 304: the last good copy, for 24 hours.
/// - 4xx, and redirects without end: everything is allowed. So are 401 and 403: the standard says so.
/// - 5xx and no answer: the last good copy, and without one nothing is allowed. After 30 days of that it counts as 4xx.
/// - 408 and 429 count as 5xx: a site that asks for fewer requests did not say that it has no rules.
pub fn decide(fetched: Fetched, memory: &Memory, now: Timestamp) -> Standing {
    let after = |span: SignedDuration| now.checked_add(span).unwrap_or(Timestamp::MAX);
    let good = |policy, robots| {
        let memory = Memory { last_good: Some(robots), failing_since: None };
        Standing { policy, until: after(FRESH), memory }
    };
    match (fetched, &memory.last_good) {
        (Fetched::Text(bytes), _) => {
            let robots = Arc::new(Robots::parse(&bytes));
            good(Policy::Rules(Arc::clone(&robots)), robots)
        }
        (Fetched::Unchanged, Some(robots)) => good(Policy::Rules(Arc::clone(robots)), Arc::clone(robots)),
        (Fetched::Status(status @ 400..=499), _) if !matches!(status, 408 | 429) => {
            good(Policy::AllowAll(Reason::Status(status)), Arc::default())
        }
        (Fetched::EndlessRedirects, _) => good(Policy::AllowAll(Reason::EndlessRedirects), Arc::default()),
        (Fetched::Status(_) | Fetched::Unchanged | Fetched::Unreachable, last_good) => {
            let since = memory.failing_since.unwrap_or(now);
            let policy = match last_good {
                _ if now.duration_since(since) >= PATIENCE => Policy::AllowAll(Reason::UnreachableForLong),
                Some(robots) => Policy::Rules(Arc::clone(robots)),
                None => Policy::DisallowAll(Reason::Unreachable),
            };
            let memory = Memory { last_good: last_good.clone(), failing_since: Some(since) };
            Standing { policy, until: after(RETRY), memory }
        }
    }
}

impl Policy {
    /// Whether `agent` may fetch a path with its query.
    pub fn verdict(&self, agent: &str, path_and_query: &str) -> Verdict {
        match self {
            Self::Rules(robots) => robots.verdict(agent, path_and_query),
            Self::AllowAll(_) => Verdict { allowed: true, rule: None, why: Why::NoRobots },
            Self::DisallowAll(_) => Verdict { allowed: false, rule: None, why: Why::Unreachable },
        }
    }

    /// The delay that the site asks of `agent`.
    pub fn crawl_delay(&self, agent: &str) -> Option<Duration> {
        match self {
            Self::Rules(robots) => robots.crawl_delay(agent),
            Self::AllowAll(_) | Self::DisallowAll(_) => None,
        }
    }

    /// The sitemaps that the site names.
    pub fn sitemaps(&self) -> &[String] {
        match self {
            Self::Rules(robots) => robots.sitemaps(),
            Self::AllowAll(_) | Self::DisallowAll(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn later(span: SignedDuration) -> Timestamp {
        NOW.checked_add(span).expect("a near time")
    }

    fn forbids_a(standing: &Standing) -> bool {
        !standing.policy.verdict("fallah", "/a").allowed
    }

    fn text() -> Fetched {
        Fetched::Text(b"User-agent: *\nDisallow: /a\nSitemap: /s.xml\nCrawl-delay: 2".to_vec())
    }

    #[test]
    fn an_answer_is_obeyed_for_a_day() {
        let standing = decide(text(), &Memory::default(), NOW);
        assert!(forbids_a(&standing));
        assert_eq!(standing.until, later(FRESH));
        assert_eq!(standing.policy.sitemaps(), ["/s.xml"]);
        assert_eq!(standing.policy.crawl_delay("x"), Some(Duration::from_secs(2)));
        let renewed = decide(Fetched::Unchanged, &standing.memory, later(FRESH));
        assert!(forbids_a(&renewed));
        assert_eq!(renewed.until, later(FRESH + FRESH));
    }

    #[test]
    fn no_robots_txt_allows_everything() {
        for fetched in [Fetched::Status(404), Fetched::Status(403), Fetched::Status(410), Fetched::EndlessRedirects] {
            let standing = decide(fetched.clone(), &decide(text(), &Memory::default(), NOW).memory, NOW);
            assert!(matches!(standing.policy, Policy::AllowAll(_)), "{fetched:?}");
            assert_eq!(standing.policy.verdict("x", "/a").why, Why::NoRobots);
        }
    }

    #[test]
    fn a_site_that_cannot_say_allows_nothing() {
        for fetched in [
            Fetched::Status(500),
            Fetched::Status(503),
            Fetched::Status(429),
            Fetched::Unreachable,
            Fetched::Unchanged,
        ] {
            let standing = decide(fetched.clone(), &Memory::default(), NOW);
            assert!(matches!(standing.policy, Policy::DisallowAll(Reason::Unreachable)), "{fetched:?}");
            assert_eq!(standing.until, later(RETRY));
            assert_eq!(standing.memory.failing_since, Some(NOW));
        }
    }

    #[test]
    fn the_last_good_copy_holds_while_a_site_fails() {
        let good = decide(text(), &Memory::default(), NOW);
        let failing = decide(Fetched::Status(502), &good.memory, later(FRESH));
        assert!(forbids_a(&failing));
        assert!(failing.policy.verdict("x", "/b").allowed);
        // A site that said it has no robots.txt has none while it fails.
        let none = decide(Fetched::Status(404), &Memory::default(), NOW);
        assert!(!forbids_a(&decide(Fetched::Unreachable, &none.memory, later(FRESH))));
    }

    #[test]
    fn after_thirty_days_of_failure_a_site_counts_as_one_without() {
        let good = decide(text(), &Memory::default(), NOW);
        let first = decide(Fetched::Unreachable, &good.memory, NOW);
        let almost = decide(Fetched::Unreachable, &first.memory, later(PATIENCE - SignedDuration::from_secs(1)));
        assert!(forbids_a(&almost));
        let long = decide(Fetched::Unreachable, &almost.memory, later(PATIENCE));
        assert!(matches!(long.policy, Policy::AllowAll(Reason::UnreachableForLong)));
        // One good answer, and the clock starts anew.
        let back = decide(text(), &long.memory, later(PATIENCE));
        assert!(forbids_a(&decide(Fetched::Unreachable, &back.memory, later(PATIENCE + FRESH))));
    }
}
