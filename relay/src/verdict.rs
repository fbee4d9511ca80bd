//! The verdict: is anything stuck, since when, and whose fault is it? Judged here alone, of what Postgres tells and of what a
//! relay knows of itself; the page, `GET /status`, `GET /events` and `relay status` show what it says.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::pulse::{Away, Phase};
use crate::standing::Standing;
use crate::store::people::{Blocker, StreamStatus};

/// Up to here nobody needs to know; from there on it is a delay; a group may take longer.
const LIMITS: Limits = Limits { well_seconds: 2.0, behind_seconds: 10.0, group_seconds: 60.0 };

/// From where on something is told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub(crate) struct Limits {
    /// What waits no longer is well.
    pub(crate) well_seconds: f64,
    /// What waits longer is behind.
    pub(crate) behind_seconds: f64,
    /// A group whose oldest event waits longer is behind.
    pub(crate) group_seconds: f64,
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

/// What Redis says, and what that means.
const REDIS_SAYS: [(&[&str], &str); 8] = [
    (&["OOM"], "Redis refuses writes: its memory is full (maxmemory)"),
    (&["READONLY", "read-only replica"], "Redis refuses writes: it is a replica"),
    (&["MISCONF"], "Redis refuses writes: it cannot save to its disk"),
    (&["NOREPLICAS"], "Redis refuses writes: it has too few replicas"),
    (&["LOADING"], "Redis is still loading its data"),
    (&["NOAUTH", "WRONGPASS", "NOPERM", "DENIED"], "Redis does not let the relay in (user, password or rights)"),
    (&["CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "MOVED", "ASK", "CROSSSLOT"], "the Redis cluster is not whole"),
    (&["BUSY"], "Redis is busy with somebody's script"),
];

/// Judges. Nothing is asked here: equal facts, equal verdict.
pub(crate) fn judge(told: Told<'_>, own: Option<&Own>, now: Timestamp) -> Verdict {
    let mut found = Found(vec![]);
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
    let waits = standing.map_or(0.0, |standing| found.of_standing(standing, own, waiting, now));

    let Found(mut findings) = found;
    // Of equal ones, those that were found first come first.
    findings.sort_by_key(|finding| finding.level);
    let nothing = format!("nothing waits longer than {}.", age(waits.ceil().max(LIMITS.well_seconds)));
    match findings.first_mut() {
        None => {
            let sentence = format!("All is well: {nothing}");
            let kind = "well".to_owned();
            findings.push(Finding { level: Level::Well, kind, sentence, reason: None, about: None });
        }
        Some(first) if first.level == Level::Look => {
            first.sentence = format!("Nothing is stuck: {nothing} {}", first.sentence);
        }
        Some(_) => {}
    }
    Verdict { level: findings[0].level, findings, limits: LIMITS }
}

struct Found(Vec<Finding>);

impl Found {
    fn add(&mut self, level: Level, kind: impl Into<String>, sentence: impl Into<String>) -> &mut Finding {
        let finding = Finding { level, kind: kind.into(), sentence: sentence.into(), reason: None, about: None };
        self.0.push(finding);
        self.0.last_mut().expect("it was just added")
    }

    fn of_this_relay(&mut self, own: Option<&Own>, another_works: bool, waiting: i64) {
        let Some(own) = own else { return };
        if own.hangs {
            let sentence = "Stuck: the relay's loop hangs. A restart helps, and loses nothing.";
            self.add(Level::Stuck, "hangs", sentence);
        }
        let rests = own.phase == Phase::Resting && another_works;
        if let Some((away, words, seconds)) = own.trouble.as_ref().filter(|_| !rests) {
            let (kind, what) = match away {
                Away::Redis => ("redis", redis_in_words(words)),
                Away::Postgres => ("postgres", "Postgres is away"),
            };
            let sentence = format!("Stuck for {}: {what}.{}", age(*seconds), that_wait(waiting));
            self.add(Level::Stuck, kind, sentence).reason = Some(words.clone());
        }
        if rests && !own.redis_is_there {
            let sentence = "This relay rests, and could not take over: it cannot reach Redis.";
            self.add(Level::Look, "rests", sentence);
        }
    }

    /// Returns for how long the oldest event waits that should not.
    fn of_standing(&mut self, standing: &Standing, own: Option<&Own>, waiting: i64, now: Timestamp) -> f64 {
        let Standing { relay, streams, groups, blockers, .. } = standing;
        let mut explained = self.0.iter().any(|finding| finding.level == Level::Stuck);
        if relay.holder.is_none() && own.is_none_or(|own| own.phase != Phase::Working && own.trouble.is_none()) {
            explained = true;
            let seen = relay.last_seen_seconds.map_or_else(
                || "; none was ever seen".to_owned(),
                |seconds| format!("; the last one was seen {} ago", age(seconds)),
            );
            let sentence = format!("Stuck: no relay works{seen}.{}", that_wait(waiting));
            self.add(Level::Stuck, "nobody", sentence);
        }
        let flowing: Vec<&StreamStatus> = streams.iter().filter(|stream| stream.paused_at.is_none()).collect();
        let waits = flowing.iter().filter_map(|stream| stream.oldest_unsent_seconds).fold(0.0, f64::max);

        let speed = flowing.iter().map(|stream| stream.sent_per_second).sum::<f64>();
        // What waits for longer than it is open waits for something else; and while events leave, nothing holds them.
        let holds = |blocker: &&Blocker| blocker.open_seconds.is_some_and(|open| open >= waits);
        if let Some(blocker) = blockers.iter().find(holds)
            && relay.frontier < relay.last
            && waits > LIMITS.well_seconds
            && speed == 0.0
            && !explained
        {
            explained = true;
            let sentence =
                format!("Stuck for {}: a transaction holds the frontier.{}", age(waits), that_wait(waiting));
            let finding = self.add(Level::Stuck, "frontier", sentence);
            (finding.reason, finding.about) = (Some(who_is(blocker)), Some(About::Frontier));
        }
        for (stream, refusal) in flowing.iter().filter_map(|one| Some((*one, one.refusal.as_ref()?))) {
            explained = true;
            let (name, oldest) = (&stream.stream, stream.oldest_unsent_seconds.unwrap_or_default());
            let sentence = format!(
                "Stuck for {}: Redis refuses the next event of {name}, and the rest waits behind it.",
                age(oldest)
            );
            let finding = self.add(Level::Stuck, format!("refused {name}"), sentence);
            (finding.reason, finding.about) = (Some(refusal.clone()), Some(About::Lanes));
        }
        self.of_pauses(standing, now);
        if !explained && waits > LIMITS.behind_seconds {
            let unsent = flowing.iter().map(|stream| stream.unsent).sum();
            let (unsent, s) = (events(unsent), if unsent == 1 { "s" } else { "" });
            let waits = age(waits);
            let finding = if speed > 0.0 {
                let sentence = format!("Behind by {waits}: {unsent} wait{s}, and {} are sent.", rate(speed));
                self.add(Level::Behind, "behind", sentence)
            } else {
                let sentence = format!("Stuck for {waits}: {unsent} wait{s}, and nothing is sent.");
                let finding = self.add(Level::Stuck, "silent", sentence);
                finding.reason = Some("The relay's log and `relay doctor` know more.".to_owned());
                finding
            };
            finding.about = Some(About::Lanes);
        }
        for group in groups {
            let Some(oldest) = group.oldest_seconds.filter(|oldest| *oldest > LIMITS.group_seconds) else { continue };
            let (level, alone) = match group.consumers {
                0 => (Level::Stuck, "; none of its consumers was heard of within a minute"),
                _ => (Level::Behind, ""),
            };
            let (name, stream, lag) = (&group.name, &group.stream, events(group.lag));
            let sentence = format!("The group {name} of {stream} is behind by {} ({lag}){alone}.", age(oldest));
            self.add(level, format!("group {stream} {name}"), sentence).about = Some(About::Groups);
        }
        if relay.dead > 0 {
            let (letters, s) = match relay.dead {
                1 => ("1 dead letter".to_owned(), "s"),
                many => (format!("{} dead letters", count(many)), ""),
            };
            self.add(Level::Look, "dead", format!("{letters} wait{s} for a person.")).about = Some(About::Dead);
        }
        waits
    }

    fn of_pauses(&mut self, standing: &Standing, now: Timestamp) {
        let since = |at: &str| {
            let at = at.parse::<Timestamp>().unwrap_or(now);
            age(now.duration_since(at).as_secs_f64())
        };
        let by = |who: &Option<String>| who.clone().unwrap_or_else(|| "somebody".to_owned());
        if let Some(at) = &standing.relay.paused_at {
            let (since, by) = (since(at), by(&standing.relay.paused_by));
            let sentence = format!("Everything is paused for {since}, by {by}.{}", that_wait(standing.unsent()));
            self.add(Level::Paused, "paused", sentence).about = Some(About::Lanes);
            return;
        }
        for stream in &standing.streams {
            let Some(at) = &stream.paused_at else { continue };
            let (name, since, by) = (&stream.stream, since(at), by(&stream.paused_by));
            let sentence = format!("{name} is paused for {since}, by {by}.{}", that_wait(stream.unsent));
            self.add(Level::Paused, format!("paused {name}"), sentence).about = Some(About::Lanes);
        }
    }
}

fn redis_in_words(reason: &str) -> &'static str {
    // A word is not part of another: DENIED is not in UNDENIED, nor ASK in TASK.
    let says = |word: &str| {
        let edge = |sign: Option<char>| sign.is_none_or(|sign| !sign.is_alphanumeric() && sign != '_');
        reason
            .match_indices(word)
            .any(|(at, _)| edge(reason[..at].chars().next_back()) && edge(reason[at + word.len()..].chars().next()))
    };
    let known = REDIS_SAYS.iter().find(|(words, _)| words.iter().any(|word| says(word)));
    known.map_or("Redis cannot be reached", |(_, meaning)| meaning)
}

fn who_is(blocker: &Blocker) -> String {
    let name = if blocker.application.is_empty() { "a transaction" } else { &blocker.application };
    let pid = blocker.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    let state = if blocker.state == "hidden" { String::new() } else { format!(", {}", blocker.state) };
    let open = blocker.open_seconds.map(|open| format!(", open for {}", age(open))).unwrap_or_default();
    format!("{name}{pid}{state}{open}")
}

/// What waits, as a sentence of its own after another one.
fn that_wait(waiting: i64) -> String {
    match waiting {
        ..=0 => String::new(),
        1 => " 1 event waits; nothing is lost.".to_owned(),
        many => format!(" {} wait; nothing is lost.", events(many)),
    }
}

fn events(number: i64) -> String {
    if number == 1 { "1 event".to_owned() } else { format!("{} events", count(number)) }
}

fn rate(per_second: f64) -> String {
    if per_second >= 100.0 { format!("{}/s", count(per_second.round() as i64)) } else { one_digit(per_second) + "/s" }
}

/// A number as prose has it: 1,234,567.
fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How long, as prose has it: 0.4 s, 12 s, 4 min, 3 h, 2 d.
fn age(seconds: f64) -> String {
    match seconds {
        s if s < 9.95 => format!("{} s", one_digit(s.max(0.0))),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

fn one_digit(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standing::tests::quiet;

    const NOW: &str = "2026-11-21T10:00:00Z";

    fn now() -> Timestamp {
        NOW.parse().expect("a time")
    }

    fn working() -> Own {
        Own { phase: Phase::Working, redis_is_there: true, hangs: false, trouble: None }
    }

    fn waiting(standing: &mut Standing, seconds: f64) {
        standing.streams[0].unsent = 1_234;
        standing.streams[0].oldest_unsent_seconds = Some(seconds);
    }

    fn blocker() -> Blocker {
        Blocker {
            pid: Some(99),
            application: "import".into(),
            client: "local".into(),
            state: "idle in transaction".into(),
            open_seconds: Some(240.0),
        }
    }

    type Change = fn(&mut Standing, &mut Own);

    /// A case: what is not as it should be, and all that is said of it, the worst first.
    type Case = (&'static str, Change, &'static [(Level, &'static str, &'static str, &'static str)]);

    const CASES: &[Case] = &[
        ("nothing", |_, _| (), &[(Level::Well, "well", "All is well: nothing waits longer than 2 s.", "")]),
        (
            "what waits for some seconds is no delay",
            |standing, _| waiting(standing, 6.2),
            &[(Level::Well, "well", "All is well: nothing waits longer than 7 s.", "")],
        ),
        (
            "a transaction holds the frontier",
            |standing, _| {
                waiting(standing, 200.0);
                standing.blockers.push(blocker());
            },
            &[(
                Level::Stuck,
                "frontier",
                "Stuck for 3 min: a transaction holds the frontier. 1,234 events wait; nothing is lost.",
                "import (pid 99), idle in transaction, open for 4 min",
            )],
        ),
        (
            "a transaction whose owner Postgres does not show",
            |standing, _| {
                waiting(standing, 3.0);
                let hidden = Blocker { application: String::new(), state: "hidden".into(), ..blocker() };
                standing.blockers.push(hidden);
            },
            &[(
                Level::Stuck,
                "frontier",
                "Stuck for 3 s: a transaction holds the frontier. 1,234 events wait; nothing is lost.",
                "a transaction (pid 99), open for 4 min",
            )],
        ),
        (
            "a transaction that began after what waits",
            |standing, _| {
                waiting(standing, 19.0);
                standing.blockers.push(Blocker { open_seconds: Some(4.0), ..blocker() });
            },
            &[(
                Level::Stuck,
                "silent",
                "Stuck for 19 s: 1,234 events wait, and nothing is sent.",
                "The relay's log and `relay doctor` know more.",
            )],
        ),
        (
            "a transaction that was overtaken, while events leave",
            |standing, _| {
                waiting(standing, 22.0);
                standing.streams[0].sent_per_second = 1_800.0;
                standing.blockers.push(blocker());
            },
            &[(Level::Behind, "behind", "Behind by 22 s: 1,234 events wait, and 1,800/s are sent.", "")],
        ),
        (
            "a sole relay that gave the lease up because Redis stays away",
            |standing, own| {
                waiting(standing, 30.0);
                standing.relay.holder = None;
                (own.phase, own.redis_is_there) = (Phase::Resting, false);
                own.trouble = Some((Away::Redis, "refused".into(), 31.0));
            },
            &[(
                Level::Stuck,
                "redis",
                "Stuck for 31 s: Redis cannot be reached. 1,234 events wait; nothing is lost.",
                "refused",
            )],
        ),
        (
            "a transaction that nobody waits for",
            |standing, _| standing.blockers.push(blocker()),
            &[(Level::Well, "well", "All is well: nothing waits longer than 2 s.", "")],
        ),
        (
            "no relay",
            |standing, own| {
                waiting(standing, 20.0);
                standing.relay.holder = None;
                standing.relay.last_seen_seconds = Some(19.0);
                own.phase = Phase::Resting;
            },
            &[(
                Level::Stuck,
                "nobody",
                "Stuck: no relay works; the last one was seen 19 s ago. 1,234 events wait; nothing is lost.",
                "",
            )],
        ),
        (
            "a relay that works without a lease",
            |standing, _| standing.relay.holder = None,
            &[(Level::Well, "well", "All is well: nothing waits longer than 2 s.", "")],
        ),
        (
            "Redis refuses one stream",
            |standing, _| {
                waiting(standing, 3.0);
                standing.streams[0].refusal = Some("WRONGTYPE".into());
            },
            &[(
                Level::Stuck,
                "refused orders",
                "Stuck for 3 s: Redis refuses the next event of orders, and the rest waits behind it.",
                "WRONGTYPE",
            )],
        ),
        (
            "Redis is full",
            |standing, own| {
                waiting(standing, 30.0);
                own.trouble = Some((Away::Redis, "OOM command not allowed".into(), 12.0));
            },
            &[(
                Level::Stuck,
                "redis",
                "Stuck for 12 s: Redis refuses writes: its memory is full (maxmemory). 1,234 events wait; nothing is lost.",
                "OOM command not allowed",
            )],
        ),
        (
            "Redis is away, and no relay holds the lease",
            |standing, own| {
                standing.relay.holder = None;
                own.phase = Phase::Waiting;
                own.trouble = Some((Away::Redis, "refused".into(), 0.0));
            },
            &[(Level::Stuck, "redis", "Stuck for 0 s: Redis cannot be reached.", "refused")],
        ),
        (
            "the loop hangs",
            |_, own| own.hangs = true,
            &[(Level::Stuck, "hangs", "Stuck: the relay's loop hangs. A restart helps, and loses nothing.", "")],
        ),
        (
            "nothing is sent, and nobody knows why",
            |standing, _| waiting(standing, 20.0),
            &[(
                Level::Stuck,
                "silent",
                "Stuck for 20 s: 1,234 events wait, and nothing is sent.",
                "The relay's log and `relay doctor` know more.",
            )],
        ),
        (
            "a backlog that is being sent",
            |standing, _| {
                waiting(standing, 20.0);
                standing.streams[0].sent_per_second = 5.25;
            },
            &[(Level::Behind, "behind", "Behind by 20 s: 1,234 events wait, and 5.2/s are sent.", "")],
        ),
        (
            "a slow group",
            |standing, _| {
                standing.groups[0].lag = 1;
                standing.groups[0].oldest_seconds = Some(180.0);
            },
            &[(
                Level::Behind,
                "group orders billing",
                "The group billing of orders is behind by 3 min (1 event).",
                "",
            )],
        ),
        (
            "a group without consumers is worse than all that follows",
            |standing, _| {
                standing.groups[0].lag = 1_200;
                standing.groups[0].oldest_seconds = Some(10_800.0);
                standing.groups[0].consumers = 0;
                standing.relay.dead = 1;
                standing.relay.paused_at = Some("2026-11-21T09:00:00Z".into());
                standing.streams[0].paused_at.clone_from(&standing.relay.paused_at);
            },
            &[
                (
                    Level::Stuck,
                    "group orders billing",
                    "The group billing of orders is behind by 3 h (1,200 events); none of its consumers was heard of within a \
                     minute.",
                    "",
                ),
                (Level::Paused, "paused", "Everything is paused for 60 min, by somebody.", ""),
                (Level::Look, "dead", "1 dead letter waits for a person.", ""),
            ],
        ),
        (
            "what is paused is not late",
            |standing, _| {
                waiting(standing, 300.0);
                standing.streams[0].unsent = 1;
                standing.streams[0].paused_at = Some("2026-11-21T09:59:00.500Z".into());
                standing.streams[0].paused_by = Some("ann".into());
            },
            &[(
                Level::Paused,
                "paused orders",
                "orders is paused for 60 s, by ann. 1 event waits; nothing is lost.",
                "",
            )],
        ),
        (
            "dead letters",
            |standing, _| standing.relay.dead = 3,
            &[(
                Level::Look,
                "dead",
                "Nothing is stuck: nothing waits longer than 2 s. 3 dead letters wait for a person.",
                "",
            )],
        ),
        (
            "a relay that rests and could not take over",
            |_, own| {
                own.phase = Phase::Resting;
                own.redis_is_there = false;
            },
            &[(
                Level::Look,
                "rests",
                "Nothing is stuck: nothing waits longer than 2 s. This relay rests, and could not take over: it cannot reach \
                 Redis.",
                "",
            )],
        ),
    ];

    #[test]
    fn each_trouble_is_judged_by_its_cause() {
        for (what, change, expected) in CASES {
            let (mut standing, mut own) = (quiet(), working());
            change(&mut standing, &mut own);
            let verdict = judge(Told::Standing(&standing), Some(&own), now());
            let said: Vec<_> = verdict
                .findings
                .iter()
                .map(|one| (one.level, &*one.kind, &*one.sentence, one.reason.as_deref().unwrap_or_default()))
                .collect();
            assert_eq!(said, *expected, "{what}");
            assert_eq!(verdict.level, expected[0].0, "{what}");
        }
    }

    #[test]
    fn who_asks_postgres_alone_hears_the_same_as_far_as_it_knows() {
        let mut standing = quiet();
        let alone = |standing: &Standing| judge(Told::Standing(standing), None, now());
        assert_eq!(alone(&standing), judge(Told::Standing(&standing), Some(&working()), now()));
        standing.relay.holder = None;
        let sentence = "Stuck: no relay works; none was ever seen.";
        assert_eq!(alone(&standing).findings[0].sentence, sentence);
    }

    #[test]
    fn a_postgres_that_does_not_tell_is_what_is_told() {
        let told = |seconds| Told::Nothing { why: "timed out", seconds };
        let verdict = judge(told(None), Some(&working()), now());
        assert_eq!(verdict.findings[0].sentence, "Postgres does not tell how it stands.");
        assert_eq!(verdict.findings[0].reason.as_deref(), Some("timed out"));
        let verdict = judge(told(Some(12.0)), None, now());
        assert_eq!(verdict.findings[0].sentence, "Postgres has not said for 12 s how it stands.");
        // The loop knows since when.
        let own = Own { trouble: Some((Away::Postgres, "refused".into(), 300.0)), ..working() };
        let verdict = judge(told(None), Some(&own), now());
        assert_eq!(verdict.findings.len(), 1);
        assert_eq!(verdict.findings[0].sentence, "Stuck for 5 min: Postgres is away.");
    }

    #[test]
    fn what_redis_says_is_said_in_words() {
        for (reason, words) in [
            ("OOM command not allowed when used memory > 'maxmemory'.", "memory is full"),
            ("An error was signalled by the server - ReadOnly: READONLY You can't write", "a replica"),
            ("NOPERM this user has no permissions", "does not let the relay in"),
            ("127.0.0.1:6379: Connection refused (os error 111)", "cannot be reached"),
            ("the TASK was MOVEDON", "cannot be reached"),
        ] {
            assert!(redis_in_words(reason).contains(words), "{reason}");
        }
    }

    #[test]
    fn numbers_and_times_are_prose() {
        assert_eq!([0, 999, 1_000, -1_234_567].map(count), ["0", "999", "1,000", "-1,234,567"]);
        assert_eq!(
            [-1.0, 0.44, 9.96, 119.0, 120.0, 7_200.0, 172_800.0].map(age),
            ["0 s", "0.4 s", "10 s", "119 s", "2 min", "2 h", "2 d"]
        );
        assert_eq!([0.25, 99.0, 12_345.6].map(rate), ["0.2/s", "99/s", "12,346/s"]);
    }
}
