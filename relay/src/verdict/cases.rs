//! What is judged, case by case.

use jiff::Timestamp;

use super::words::{age, count, rate, redis_in_words};
use super::*;
use crate::standing::tests::quiet;
use crate::store::people::{Blocker, StreamStatus};

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

/// One more stream, whose oldest event waits for so long.
fn another<'s>(standing: &'s mut Standing, name: &str, seconds: f64) -> &'s mut StreamStatus {
    let stream = StreamStatus {
        stream: name.into(),
        unsent: 7,
        oldest_unsent_seconds: Some(seconds),
        ..quiet().streams.remove(0)
    };
    standing.streams.push(stream);
    standing.streams.last_mut().expect("it was just added")
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

/// Everything that a verdict says.
fn said(verdict: &Verdict) -> Vec<(Level, &str, &str, &str)> {
    let findings = verdict.findings.iter();
    findings.map(|one| (one.level, &*one.kind, &*one.sentence, one.reason.as_deref().unwrap_or_default())).collect()
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
            "silent orders",
            "Stuck for 19 s: 1,234 events of orders wait, and nothing is sent.",
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
        &[(Level::Behind, "behind orders", "Behind by 22 s: 1,234 events of orders wait, and 1,800/s are sent.", "")],
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
        "one stream is refused, another is late, and a third stands still",
        |standing, _| {
            waiting(standing, 300.0);
            standing.streams[0].refusal = Some("WRONGTYPE".into());
            another(standing, "late", 20.0).sent_per_second = 12.0;
            another(standing, "still", 40.0);
            another(standing, "well", 1.0);
        },
        &[
            (
                Level::Stuck,
                "refused orders",
                "Stuck for 5 min: Redis refuses the next event of orders, and the rest waits behind it.",
                "WRONGTYPE",
            ),
            (
                Level::Stuck,
                "silent still",
                "Stuck for 40 s: 7 events of still wait, and nothing is sent.",
                "The relay's log and `relay doctor` know more.",
            ),
            (Level::Behind, "behind late", "Behind by 20 s: 7 events of late wait, and 12/s are sent.", ""),
        ],
    ),
    (
        "one stream is refused, and a transaction holds the others",
        |standing, _| {
            waiting(standing, 300.0);
            standing.streams[0].refusal = Some("WRONGTYPE".into());
            another(standing, "held", 20.0);
            another(standing, "longer", 290.0);
            standing.blockers.push(blocker());
        },
        &[
            (
                Level::Stuck,
                "frontier",
                "Stuck for 20 s: a transaction holds the frontier. 7 events wait; nothing is lost.",
                "import (pid 99), idle in transaction, open for 4 min",
            ),
            (
                Level::Stuck,
                "refused orders",
                "Stuck for 5 min: Redis refuses the next event of orders, and the rest waits behind it.",
                "WRONGTYPE",
            ),
            (
                Level::Stuck,
                "silent longer",
                "Stuck for 5 min: 7 events of longer wait, and nothing is sent.",
                "The relay's log and `relay doctor` know more.",
            ),
        ],
    ),
    (
        "more streams are late than anybody would read",
        |standing, _| {
            for n in 0..8 {
                let stream = another(standing, &format!("s{n}"), 90.0 - f64::from(n));
                stream.sent_per_second = if n == 6 { 0.0 } else { 3.0 };
            }
        },
        &[
            (Level::Stuck, "late", "3 more streams are late, by 85 s at most; to 1 of them nothing is sent.", ""),
            (Level::Behind, "behind s0", "Behind by 90 s: 7 events of s0 wait, and 3/s are sent.", ""),
            (Level::Behind, "behind s1", "Behind by 89 s: 7 events of s1 wait, and 3/s are sent.", ""),
            (Level::Behind, "behind s2", "Behind by 88 s: 7 events of s2 wait, and 3/s are sent.", ""),
            (Level::Behind, "behind s3", "Behind by 87 s: 7 events of s3 wait, and 3/s are sent.", ""),
            (Level::Behind, "behind s4", "Behind by 86 s: 7 events of s4 wait, and 3/s are sent.", ""),
        ],
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
            "silent orders",
            "Stuck for 20 s: 1,234 events of orders wait, and nothing is sent.",
            "The relay's log and `relay doctor` know more.",
        )],
    ),
    (
        "a backlog that is being sent",
        |standing, _| {
            waiting(standing, 20.0);
            standing.streams[0].sent_per_second = 5.25;
        },
        &[(Level::Behind, "behind orders", "Behind by 20 s: 1,234 events of orders wait, and 5.2/s are sent.", "")],
    ),
    (
        "a slow group",
        |standing, _| {
            standing.groups[0].lag = 1;
            standing.groups[0].oldest_seconds = Some(180.0);
        },
        &[(Level::Behind, "group orders billing", "The group billing of orders is behind by 3 min (1 event).", "")],
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
        &[(Level::Paused, "paused orders", "orders is paused for 60 s, by ann. 1 event waits; nothing is lost.", "")],
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
        assert_eq!(said(&verdict), *expected, "{what}");
        assert_eq!(verdict.level, expected[0].0, "{what}");
    }
}

/// What is not as it should be, and what Postgres alone tells of it.
type Alone = (&'static str, fn(&mut Standing), &'static [(Level, &'static str, &'static str, &'static str)]);

const ASK_A_RELAY: &str = "A relay's page or its `GET /status`, its log and `relay doctor` know.";
const NOT_WHY: &str = "Postgres does not know why: Redis may be away. The relay's log and `relay doctor` know more.";

const ALONE: &[Alone] = &[
    (
        "a relay has just heard of Redis",
        |_| (),
        &[(Level::Well, "well", "All is well: nothing waits longer than 2 s.", "")],
    ),
    (
        "nobody has written down for a while what Redis said",
        |standing| standing.relay.redis_seen_seconds = Some(30.0),
        &[(
            Level::Look,
            "redis unknown",
            "As far as Postgres knows nothing is stuck: nothing waits longer than 2 s. Postgres does not know whether Redis is \
             there: nothing that it said was written down for 30 s.",
            ASK_A_RELAY,
        )],
    ),
    (
        "nobody ever has, and a dead letter waits",
        |standing| {
            standing.relay.redis_seen_seconds = None;
            standing.relay.dead = 1;
        },
        &[
            (
                Level::Look,
                "redis unknown",
                "As far as Postgres knows nothing is stuck: nothing waits longer than 2 s. Postgres does not know whether Redis \
                 is there: nothing that it said was ever written down.",
                ASK_A_RELAY,
            ),
            (Level::Look, "dead", "1 dead letter waits for a person.", ""),
        ],
    ),
    (
        "events wait, and Redis may be away",
        |standing| {
            waiting(standing, 30.0);
            standing.relay.redis_seen_seconds = Some(31.0);
        },
        &[
            (
                Level::Stuck,
                "silent orders",
                "Stuck for 30 s: 1,234 events of orders wait, and nothing is sent.",
                NOT_WHY,
            ),
            (
                Level::Look,
                "redis unknown",
                "Postgres does not know whether Redis is there: nothing that it said was written down for 31 s.",
                ASK_A_RELAY,
            ),
        ],
    ),
    (
        "a relay has given its lease up",
        |standing| {
            waiting(standing, 30.0);
            standing.relay.holder = None;
            standing.relay.last_seen_seconds = Some(2.0);
            standing.relay.redis_seen_seconds = Some(31.0);
        },
        &[(
            Level::Stuck,
            "nobody",
            "Stuck: no relay works; the last one was seen 2 s ago. 1,234 events wait; nothing is lost.",
            "It has ended, or cannot reach Redis: Postgres does not know which.",
        )],
    ),
    (
        "there never was a relay",
        |standing| standing.relay.holder = None,
        &[(Level::Stuck, "nobody", "Stuck: no relay works; none was ever seen.", "")],
    ),
];

#[test]
fn what_postgres_alone_cannot_know_is_not_called_well() {
    for (what, change, expected) in ALONE {
        let mut standing = quiet();
        change(&mut standing);
        let verdict = judge(Told::Standing(&standing), None, now());
        assert_eq!(said(&verdict), *expected, "{what}");
    }
}

#[test]
fn what_is_asked_for_or_only_waits_for_a_person_holds_nothing_up() {
    let holds_up = |change: fn(&mut Standing)| {
        let mut standing = quiet();
        change(&mut standing);
        judge(Told::Standing(&standing), Some(&working()), now()).holds_up()
    };
    assert!(!holds_up(|_| ()));
    assert!(!holds_up(|standing| standing.relay.dead = 3));
    assert!(!holds_up(|standing| standing.relay.paused_at = Some(NOW.into())));
    assert!(holds_up(|standing| waiting(standing, 20.0)));
    assert!(holds_up(|standing| {
        standing.relay.paused_at = Some(NOW.into());
        standing.groups[0].oldest_seconds = Some(180.0);
    }));
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
        ("127.0.0.1:6379: AUTH was refused: user or password is wrong", "does not let the relay in"),
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
