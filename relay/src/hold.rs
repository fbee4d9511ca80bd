//! Rows that wait: scheduled, dead, or overtaken. Releasing one is always the same: it gets a new number and takes its
//! place at the end. Before that one question is asked, and this file knows the answers: may its old number be given up?
//!
//! A number is given up only once Redis has passed it. Otherwise a relay that was frozen with the row in its hands could
//! still send it under the old number, and another under the new one.

use std::time::Duration;

use outbox::{EntryId, RetryPolicy};

use crate::lanes::Top;

/// What Redis's answer means for a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is in its stream: it was sent after all.
    WasSent,
    /// Above the top: it can still be sent under this number.
    StillAhead,
    /// Below the top and not there: nobody can send it under this number any more.
    Late,
    /// The stream cannot be asked just now.
    Unknown,
}

pub(crate) fn fate(number: EntryId, top: &Top, there: bool) -> Fate {
    match top {
        _ if there => Fate::WasSent,
        Top::At(top) if number > *top => Fate::StillAhead,
        // A stream of a newer generation takes nothing of this one, and we would not know what it held.
        Top::At(top) if number.generation != top.generation => Fate::Unknown,
        Top::At(_) => Fate::Late,
        Top::Absent => Fate::StillAhead,
        Top::Refused(_) => Fate::Unknown,
    }
}

/// The wait after so many refusals: doubling, between the two bounds.
pub(crate) fn backoff(attempts: i32, min: Duration, max: Duration) -> Duration {
    let policy = RetryPolicy { delay_min: min, delay_max: max, ..RetryPolicy::default() };
    policy.delay(u32::try_from(attempts).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(generation: u64, seq: u64) -> EntryId {
        EntryId { generation, seq }
    }

    #[test]
    fn a_number_may_be_given_up_only_below_the_top() {
        assert_eq!(fate(id(1, 5), &Top::At(id(1, 9)), true), Fate::WasSent);
        assert_eq!(fate(id(1, 5), &Top::At(id(1, 9)), false), Fate::Late);
        assert_eq!(fate(id(1, 5), &Top::At(id(1, 5)), false), Fate::Late);
        assert_eq!(fate(id(1, 5), &Top::At(id(1, 4)), false), Fate::StillAhead);
        assert_eq!(fate(id(1, 5), &Top::Absent, false), Fate::StillAhead);
        assert_eq!(fate(id(1, 5), &Top::Refused("WRONGTYPE".into()), false), Fate::Unknown);
        assert_eq!(fate(id(1, 5), &Top::At(id(2, 0)), false), Fate::Unknown);
    }

    #[test]
    fn waits_double_up_to_their_bound() {
        let [min, max] = [1, 60].map(Duration::from_secs);
        let waits: Vec<_> = (1..=8).map(|attempts| backoff(attempts, min, max).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff(i32::MAX, min, max), max);
    }
}
