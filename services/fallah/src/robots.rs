//! robots.txt by RFC 9309: what a site asks of crawlers, and what holds when it cannot be asked.

mod parse;
mod pattern;
mod policy;
mod verb;

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use pattern::{Pattern, comparable};
pub use policy::{Fetched, Memory, Policy, Reason, Standing, decide};
pub use verb::{CheckArgs, check};

/// What is read of a robots.txt; the rest is ignored, as the standard allows.
pub const ROBOTS_BYTES_MAX: usize = 500 * 1024;

/// A parsed robots.txt. Nothing in a file is an error: what is no rule is passed over.
#[derive(Debug, Clone, Default)]
pub struct Robots {
    groups: Vec<Group>,
    sitemaps: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct Group {
    agents: Vec<Agent>,
    rules: Vec<Weighed>,
}

#[derive(Debug, Clone)]
struct Agent {
    token: String,
    delay: Option<Duration>,
}

#[derive(Debug, Clone)]
struct Weighed {
    rule: Rule,
    allow: bool,
    pattern: Pattern,
}

/// A rule as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Its line, from 1.
    pub line: u32,
    /// The line's text.
    pub text: String,
}

/// Whether a path may be fetched, and on whose word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it may be fetched.
    pub allowed: bool,
    /// The rule that decided, where one did.
    pub rule: Option<Rule>,
    /// Why.
    pub why: Why,
}

/// What decided a [`Verdict`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Why {
    /// The rule with the longest pattern that matches.
    Rule,
    /// Rules are for this agent, and none of them matches.
    NoRuleMatches,
    /// No group is for this agent, and none for all agents.
    NoGroup,
    /// robots.txt itself may always be fetched.
    RobotsItself,
    /// The site has no robots.txt, so it asks for nothing.
    NoRobots,
    /// The site could not say what it asks for, so nothing may be fetched.
    Unreachable,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rule => "a rule decides",
            Self::NoRuleMatches => "no rule matches",
            Self::NoGroup => "no group is for this agent",
            Self::RobotsItself => "robots.txt itself is always allowed",
            Self::NoRobots => "the site has no robots.txt",
            Self::Unreachable => "robots.txt could not be fetched",
        })
    }
}

impl Robots {
    /// Reads a robots.txt, up to [`ROBOTS_BYTES_MAX`].
    pub fn parse(bytes: &[u8]) -> Self {
        parse::parse(bytes)
    }

    /// Whether `agent` (a product token such as `Fallah`, or a whole `Fallah/1.0 (...)`) may fetch a path with its query.
    ///
    /// The groups that name the agent count together, whatever the case; where none does, those for `*`. The longest
    /// pattern that matches decides, and of two as long the one that allows.
    pub fn verdict(&self, agent: &str, path_and_query: &str) -> Verdict {
        let path = comparable(path_and_query);
        if path == "/robots.txt" {
            return Verdict { allowed: true, rule: None, why: Why::RobotsItself };
        }
        let name = self.name(agent);
        let groups = self.groups.iter().filter(|group| group.agents.iter().any(|agent| agent.token == name));
        let mut why = Why::NoGroup;
        let mut longest: Option<&Weighed> = None;
        for group in groups {
            why = Why::NoRuleMatches;
            for rule in &group.rules {
                let weight = |rule: &Weighed| (rule.pattern.octets(), rule.allow);
                // Of equals the first is named. Weighing is cheap, matching is not.
                if longest.is_none_or(|longest| weight(rule) > weight(longest)) && rule.pattern.matches(&path) {
                    longest = Some(rule);
                }
            }
        }
        match longest {
            Some(decisive) => Verdict { allowed: decisive.allow, rule: Some(decisive.rule.clone()), why: Why::Rule },
            None => Verdict { allowed: true, rule: None, why },
        }
    }

    /// The delay between two fetches that the file asks of `agent`, as written: capping it is for whoever waits. Where
    /// several are given, the longest.
    pub fn crawl_delay(&self, agent: &str) -> Option<Duration> {
        let name = self.name(agent);
        let agents = self.groups.iter().flat_map(|group| &group.agents);
        agents.filter(|agent| agent.token == name).filter_map(|agent| agent.delay).max()
    }

    /// The sitemaps that the file names, as written. They are for every agent.
    pub fn sitemaps(&self) -> &[String] {
        &self.sitemaps
    }

    /// The name under which the file speaks of an agent: its own, or `*`.
    fn name(&self, agent: &str) -> String {
        let token = agent.split('/').next().unwrap_or_default().trim().to_ascii_lowercase();
        let known = self.groups.iter().flat_map(|group| &group.agents).any(|agent| agent.token == token);
        if known && !token.is_empty() { token } else { "*".to_owned() }
    }
}

#[cfg(test)]
mod tests;
