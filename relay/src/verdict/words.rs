//! Words for people: what Redis says, how much, how long, how fast.

use crate::store::people::Blocker;

/// What Redis says, and what that means.
const REDIS_SAYS: [(&[&str], &str); 8] = [
    (&["OOM"], "Redis refuses writes: its memory is full (maxmemory)"),
    (&["READONLY", "read-only replica"], "Redis refuses writes: it is a replica"),
    (&["MISCONF"], "Redis refuses writes: it cannot save to its disk"),
    (&["NOREPLICAS"], "Redis refuses writes: it has too few replicas"),
    (&["LOADING"], "Redis is still loading its data"),
    (
        &["AUTH", "NOAUTH", "WRONGPASS", "NOPERM", "DENIED"],
        "Redis does not let the relay in (user, password or rights)",
    ),
    (&["CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "MOVED", "ASK", "CROSSSLOT"], "the Redis cluster is not whole"),
    (&["BUSY"], "Redis is busy with somebody's script"),
];

pub(super) fn redis_in_words(reason: &str) -> &'static str {
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

pub(super) fn who_is(blocker: &Blocker) -> String {
    let name = if blocker.application.is_empty() { "a transaction" } else { &blocker.application };
    let pid = blocker.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    let state = if blocker.state == "hidden" { String::new() } else { format!(", {}", blocker.state) };
    let open = blocker.open_seconds.map(|open| format!(", open for {}", age(open))).unwrap_or_default();
    format!("{name}{pid}{state}{open}")
}

/// What waits, as a sentence of its own after another one.
pub(super) fn that_wait(waiting: i64) -> String {
    match waiting {
        ..=0 => String::new(),
        1 => " 1 event waits; nothing is lost.".to_owned(),
        many => format!(" {} wait; nothing is lost.", events(many)),
    }
}

pub(super) fn events(number: i64) -> String {
    if number == 1 { "1 event".to_owned() } else { format!("{} events", count(number)) }
}

pub(super) fn rate(per_second: f64) -> String {
    if per_second >= 100.0 { format!("{}/s", count(per_second.round() as i64)) } else { one_digit(per_second) + "/s" }
}

/// A number as prose has it: 1,234,567.
pub(super) fn count(number: i64) -> String {
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
pub(super) fn age(seconds: f64) -> String {
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
