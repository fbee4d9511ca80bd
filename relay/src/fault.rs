//! What can go wrong, and whose fault it is: everybody's (an outage: wait, count nothing) or this event's or lane's (a
//! refusal: count an attempt).

use redis::ServerError;

/// Why the relay stopped or paused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting or a store is not as it must be. Waiting will not help: a person has to act.
    #[error("{0}")]
    Unusable(String),
    /// Postgres is away or failed.
    #[error("Postgres: {}", outbox::in_words(.0))]
    Postgres(#[from] sqlx::Error),
    /// Redis is away or takes nothing.
    #[error(transparent)]
    Redis(#[from] Outage),
}

impl From<terminal::Unusable> for Error {
    fn from(unusable: terminal::Unusable) -> Self {
        Self::Unusable(unusable.0)
    }
}

/// What Postgres says of who may not come in: wrong settings here, or there. It may be put right while we wait.
const SHUT_OUT: [(&str, &str); 3] = [
    ("28P01", "Postgres does not let the relay in (DATABASE_URL: user or password)"),
    ("28000", "Postgres does not let the relay in (DATABASE_URL: user, or the rules of its server)"),
    ("3D000", "Postgres has no such database (DATABASE_URL)"),
];

/// Why Postgres cannot be worked with, in its own words, with the code of who is shut out: words may be in any language.
pub(crate) fn postgres_says(error: &sqlx::Error) -> String {
    let words = outbox::in_words(error);
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    match SHUT_OUT.iter().find(|(known, _)| code.as_deref() == Some(known)) {
        Some((code, _)) => format!("{words} ({code})"),
        None => words,
    }
}

/// What these words of Postgres mean.
pub(crate) fn postgres_in_words(words: &str) -> &'static str {
    let known = SHUT_OUT.iter().find(|(code, _)| words.ends_with(&format!("({code})")));
    known.map_or("Postgres is away", |(_, meaning)| meaning)
}

/// Redis is away, or takes nothing from anyone. No event is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Redis: {0}")]
pub struct Outage(pub String);

impl Outage {
    /// What it means that [`shuts_out`](Self::shuts_out).
    pub(crate) const SHUT_OUT: &str = "Redis does not let the relay in (REDIS_URL: user or password)";

    /// Whether a server answers and takes nothing from anyone: what helps is to trim, or to wait, and not to go on without it.
    pub(crate) fn takes_nothing(&self) -> bool {
        ["OOM ", "READONLY", "MISCONF", "NOREPLICAS", "LOADING", "BUSY "].iter().any(|code| self.0.contains(code))
    }

    /// Whether user or password are at fault. They may be put right while we wait.
    pub(crate) fn shuts_out(&self) -> bool {
        ["WRONGPASS", "NOAUTH", "AUTH was refused"].iter().any(|code| self.0.contains(code))
    }
}

impl From<redis::RedisError> for Outage {
    fn from(error: redis::RedisError) -> Self {
        Self(error.to_string())
    }
}

/// What an error reply of Redis means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Everybody's: pause.
    Outage(Outage),
    /// This stream's or this event's: count it.
    Refusal(String),
    /// The number is not newer than the stream's newest: another relay has sent it, or fenced it off.
    Passed,
}

/// Codes by which a server says that it cannot serve anyone just now.
const OUTAGES: [&str; 17] = [
    "OOM",
    "LOADING",
    "READONLY",
    "MISCONF",
    "CLUSTERDOWN",
    "NOREPLICAS",
    "MASTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "MOVED",
    "ASK",
    "NOAUTH",
    "WRONGPASS",
    "UNKILLABLE",
    "CROSSSLOT",
    "NOPROTO",
    "DENIED",
];

impl Fault {
    /// A group that is to be made is there already.
    pub(crate) fn is_busy_group(&self) -> bool {
        matches!(self, Self::Refusal(reason) if reason.starts_with("BUSYGROUP"))
    }

    /// Sorts an error reply. What is not known to be everybody's fault is the event's: it is counted, and a person sees
    /// it, instead of stopping every lane for ever.
    pub(crate) fn of(error: &ServerError) -> Self {
        let details = error.details().unwrap_or_default();
        let sentence = format!("{} {details}", error.code()).trim().to_owned();
        if OUTAGES.contains(&error.code()) {
            return Self::Outage(Outage(sentence));
        }
        // A user who may not XADD at all is a matter of rights; one who may not touch this key is this lane's matter.
        if error.code() == "NOPERM" && details.contains("to run the") {
            return Self::Outage(Outage(format!("{sentence} (the relay's Redis user lacks a right)")));
        }
        if details.contains("smaller than the target stream top item") {
            return Self::Passed;
        }
        Self::Refusal(sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(reply: &str) -> Fault {
        let value = redis::parse_redis_value(format!("-{reply}\r\n").as_bytes()).expect("a reply");
        let redis::Value::ServerError(error) = value else { panic!("{value:?} is no error") };
        Fault::of(&error)
    }

    #[test]
    fn who_answers_and_takes_nothing_is_not_away() {
        let takes_nothing = |words: &str| Outage(words.to_owned()).takes_nothing();
        assert!(takes_nothing("OOM command not allowed when used memory > 'maxmemory'."));
        assert!(takes_nothing("READONLY You can't write against a read only replica."));
        for away in ["broken pipe", "CLUSTERDOWN Hash slot not served", "MOVED 1234 127.0.0.1:7001"] {
            assert!(!takes_nothing(away), "{away}");
        }
    }

    #[test]
    fn what_hits_everyone_is_an_outage() {
        for reply in [
            "OOM command not allowed when used memory > 'maxmemory'.",
            "READONLY You can't write against a read only replica.",
            "LOADING Redis is loading the dataset in memory",
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
            "CLUSTERDOWN The cluster is down",
            "NOREPLICAS Not enough good replicas to write.",
            "NOAUTH Authentication required.",
            "BUSY Redis is busy running a script.",
            "NOPERM this user has no permissions to run the 'xadd' command",
        ] {
            assert!(matches!(fault(reply), Fault::Outage(_)), "{reply}");
        }
    }

    #[test]
    fn what_hits_one_stream_is_a_refusal() {
        for reply in [
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "NOPERM this user has no permissions to access one of the keys used as arguments",
            "ERR something nobody has seen before",
        ] {
            assert!(matches!(fault(reply), Fault::Refusal(_)), "{reply}");
        }
    }

    #[test]
    fn a_number_that_redis_has_passed_is_no_failure() {
        for reply in [
            "ERR The ID specified in XADD is equal or smaller than the target stream top item",
            "ERR The ID specified in XSETID is smaller than the target stream top item",
        ] {
            assert_eq!(fault(reply), Fault::Passed, "{reply}");
        }
    }
}
