//! The verdict: is anything stuck, since when, and whose fault is it? Judged here alone, of what Postgres tells and of what a
//! relay knows of itself; the page, `GET /status`, `GET /events` and `relay status` show what it says.

mod found;
mod words;

#[cfg(test)]
mod cases;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use self::found::Found;
use self::words::age;
use crate::pulse::{Away, Phase};
use crate::standing::Standing;

/// Up to here nobody needs to know; from there on it is a delay; a group may take longer.
const LIMITS: Limits = Limits { well_seconds: 2.0, behind_seconds: 10.0, group_seconds: 60.0, redis_seconds: 5.0 };
/// The kind of the finding that Postgres alone cannot tell whether Redis is there.
const REDIS_UNKNOWN: &str = "redis unknown";

/// From where on something is told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub(crate) struct Limits {
    /// What waits no longer is well.
    pub(crate) well_seconds: f64,
    /// What waits longer is behind.
    pub(crate) behind_seconds: f64,
    /// A group whose oldest event waits longer is behind.
    pub(crate) group_seconds: f64,
    /// A relay that works writes down more often what Redis says. Where it does not, Postgres alone cannot tell whether Redis
    /// is there.
    pub(crate) redis_seconds: f64,
}

/// From the worst to the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// Something does not go on by itself.
    Stuck,
    /// Somebody has asked for it.
    Paused,
    /// It goes on, and comes late.
    Behind,
    /// Nothing is stuck, and a person should have a look.
    Look,
    /// Nobody has to do anything.
    Well,
}

/// One thing that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    /// What was found, in a word or two: equal as long as it is the same finding, whatever its figures.
    pub(crate) kind: String,
    /// It as a sentence.
    pub(crate) sentence: String,
    /// The words of whoever is the cause.
    pub(crate) reason: Option<String>,
    /// Where more about it stands.
    pub(crate) about: Option<About>,
}

/// A part of what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum About {
    Lanes,
    Groups,
    Frontier,
    Dead,
}

/// Everything that a person should know, the worst first. There is always something: if nothing else, that all is well.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Verdict {
    /// That of the first finding.
    pub(crate) level: Level,
    pub(crate) findings: Vec<Finding>,
    pub(crate) limits: Limits,
}

impl Verdict {
    /// Whether something is stuck or late. What somebody has asked for is neither, nor is what waits for a person.
    pub(crate) fn holds_up(&self) -> bool {
        self.findings.iter().any(|finding| matches!(finding.level, Level::Stuck | Level::Behind))
    }
}

/// What a relay knows of itself. Who asks Postgres alone has none.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub(crate) phase: Phase,
    pub(crate) redis_is_there: bool,
    /// It has not ended a turn for longer than a turn may take.
    pub(crate) hangs: bool,
    /// The store that keeps it from its work, that store's words, and for how long.
    pub(crate) trouble: Option<(Away, String, f64)>,
}

/// What Postgres tells, or why it does not, and for how long if that is known.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Told<'a> {
    Standing(&'a Standing),
    Nothing { why: &'a str, seconds: Option<f64> },
}

/// Judges. Nothing is asked here: equal facts, equal verdict.
pub(crate) fn judge(told: Told<'_>, own: Option<&Own>, now: Timestamp) -> Verdict {
    let mut found = Found::default();
    let standing = match told {
        Told::Standing(standing) => Some(standing),
        Told::Nothing { .. } => None,
    };
    let waiting = standing.map_or(0, Standing::unsent);
    let another_works = standing.is_some_and(|standing| standing.relay.holder.is_some());
    found.of_this_relay(own, another_works, waiting);
    if let Told::Nothing { why, seconds } = told
        && own.is_none_or(|own| own.trouble.is_none())
    {
        let sentence = match seconds {
            Some(seconds) => format!("Postgres has not said for {} how it stands.", age(seconds)),
            None => "Postgres does not tell how it stands.".to_owned(),
        };
        found.add(Level::Stuck, "untold", sentence).reason = Some(why.to_owned());
    }
    let waits = standing.map_or(0.0, |standing| found.of_standing(standing, own, now));

    let mut findings = found.sorted();
    let nothing = format!("nothing waits longer than {}.", age(waits.ceil().max(LIMITS.well_seconds)));
    match findings.first_mut() {
        None => {
            let sentence = format!("All is well: {nothing}");
            let kind = "well".to_owned();
            findings.push(Finding { level: Level::Well, kind, sentence, reason: None, about: None });
        }
        // What is not known is not called well.
        Some(first) if first.kind == REDIS_UNKNOWN => {
            first.sentence = format!("As far as Postgres knows nothing is stuck: {nothing} {}", first.sentence);
        }
        Some(first) if first.level == Level::Look => {
            first.sentence = format!("Nothing is stuck: {nothing} {}", first.sentence);
        }
        Some(_) => {}
    }
    Verdict { level: findings[0].level, findings, limits: LIMITS }
}
