//! What becomes of an event that was tried: the one place that decides. Pure: it is told and decides.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::Failure;

/// How often an event is tried, and how long it waits in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// After so many attempts an event is a dead letter.
    pub attempts_max: NonZeroU32,
    /// The longest wait after the first attempt. It doubles with each.
    pub delay_min: Duration,
    /// The longest wait there is.
    pub delay_max: Duration,
}

impl Default for RetryPolicy {
    /// Five attempts; waits up to 1, 2, 4, 8 seconds.
    fn default() -> Self {
        Self {
            attempts_max: NonZeroU32::new(5).expect("five is not zero"),
            delay_min: Duration::from_secs(1),
            delay_max: Duration::from_secs(60),
        }
    }
}

/// What becomes of an event whose attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is tried again after this time.
    Retry {
        /// The wait.
        after: Duration,
        /// Why it failed.
        reason: String,
    },
    /// It is a dead letter.
    Bury {
        /// Why.
        reason: String,
    },
    /// Nothing can take effect just now. The attempt does not count.
    Pause {
        /// Why.
        reason: String,
    },
}

/// How an event is handled that somebody else had begun, and who then fell silent.
#[cfg(feature = "consumer")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inherited {
    /// As any other.
    Beside,
    /// With no other beside it: if it kills its process, then it alone is to blame.
    Alone,
    /// Not at all.
    Bury {
        /// Why.
        reason: String,
    },
}

impl RetryPolicy {
    /// Decides. `attempt` is the one that has just ended, from 1; `chance`, in `0.0..1.0`, picks the wait: anywhere
    /// between nothing and the longest, so that events that failed together do not come back together.
    pub fn decide(&self, attempt: u32, failure: Failure, chance: f64) -> Outcome {
        match failure {
            Failure::Outage(reason) => Outcome::Pause { reason },
            Failure::Reject(reason) => Outcome::Bury { reason },
            Failure::Retry(reason) if attempt >= self.attempts_max.get() => Outcome::Bury { reason },
            Failure::Retry(reason) => Outcome::Retry { after: self.delay(attempt).mul_f64(chance), reason },
        }
    }

    /// Decides about an event of which so many attempts are known to have begun, the last of which never ended. The first
    /// one is not known for sure: it may only have been delivered.
    #[cfg(feature = "consumer")]
    pub(crate) fn inherit(&self, attempts: u32) -> Inherited {
        let attempts_max = self.attempts_max.get();
        if attempts >= attempts_max.max(2) {
            Inherited::Bury { reason: format!("the consumer ended during attempt {attempts}") }
        } else if attempts >= 2 || (attempts > 0 && attempts + 1 >= attempts_max) {
            Inherited::Alone
        } else {
            Inherited::Beside
        }
    }

    /// The longest wait after so many attempts.
    pub fn delay(&self, attempt: u32) -> Duration {
        self.delay_min.saturating_mul(1 << attempt.saturating_sub(1).min(20)).min(self.delay_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy { attempts_max: NonZeroU32::new(3).expect("three"), ..RetryPolicy::default() }
    }

    #[test]
    fn an_event_is_buried_by_its_last_attempt_and_not_before() {
        let fail = |attempt| policy().decide(attempt, Failure::Retry("no".into()), 0.5);
        assert_eq!(fail(1), Outcome::Retry { after: Duration::from_millis(500), reason: "no".into() });
        assert_eq!(fail(2), Outcome::Retry { after: Duration::from_secs(1), reason: "no".into() });
        assert_eq!(fail(3), Outcome::Bury { reason: "no".into() });
    }

    #[test]
    fn an_outage_never_buries_and_a_rejection_always_does() {
        for attempt in [1, 3, u32::MAX] {
            let outage = policy().decide(attempt, Failure::Outage("away".into()), 0.0);
            assert_eq!(outage, Outcome::Pause { reason: "away".into() });
            let reject = policy().decide(attempt, Failure::Reject("bad".into()), 0.0);
            assert_eq!(reject, Outcome::Bury { reason: "bad".into() });
        }
    }

    #[cfg(feature = "consumer")]
    #[test]
    fn nobody_is_buried_for_a_crash_that_was_not_its_own() {
        let fates: Vec<_> = (0..=3).map(|attempts| policy().inherit(attempts)).collect();
        assert_eq!(fates[..3], [Inherited::Beside, Inherited::Beside, Inherited::Alone]);
        assert!(matches!(fates[3], Inherited::Bury { .. }), "it was alone");
        let once = RetryPolicy { attempts_max: NonZeroU32::MIN, ..policy() };
        assert_eq!(once.inherit(1), Inherited::Alone, "it may never have begun");
    }

    #[test]
    fn waits_double_up_to_their_bound() {
        let waits: Vec<_> = (1..=8).map(|attempt| policy().delay(attempt).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(policy().delay(u32::MAX).as_secs(), 60);
    }
}
