//! One turn at a host: its rules, a list, or a page.

use std::time::{Duration, Instant};

use super::rules::Asked;
use super::{Crawler, LEASE, Taken, add};
use crate::Error;
use crate::address::Address;
use crate::fetch::Answer;
use crate::robots::Policy;
use crate::store::{self, Ended, Host, Shut};

/// Pages that robots.txt forbids are passed over, so many in one turn.
const PASS_OVER_MAX: usize = 100;
/// After so many failures in a row a host is left alone for a while.
const FAILURES_MAX: i32 = 5;

/// How a host took a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// It answered.
    Fine,
    /// It failed, or did not answer.
    Failing,
    /// It asked to be left alone for so long, or did not say how long.
    Busy(Option<Duration>),
    /// The guard does not let us ask it. That is about us, and tells nothing of the host.
    Forbidden,
}

impl Mood {
    pub(super) fn of(answer: &Answer) -> Self {
        match answer {
            Answer::Busy { retry_after, .. } => Self::Busy(*retry_after),
            Answer::Failed { .. } | Answer::Unreachable(_) => Self::Failing,
            _ => Self::Fine,
        }
    }
}

impl Crawler {
    pub(super) async fn turn(&self, host: &Host, active: &[String]) -> Result<(), Error> {
        let Some(rules) = self.rules(host).await? else {
            let Asked { rules, began, mood } = self.ask_for_rules(host).await?;
            let delay = rules.map_or_else(|| self.sources.delay_of(&host.origin), |rules| self.delay(host, &rules));
            return self.end_turn(host, delay, began, mood).await;
        };
        if matches!(rules.as_ref(), Policy::DisallowAll(_)) {
            // Its robots.txt is asked for again when it is due; until then there is nothing to be done here.
            store::shut(&self.db, host).await?;
            return Ok(());
        }
        // Lists bring news, and news must not wait for lists: they take turns at the first place.
        let list_first = host.slot % 2 == 0;
        if list_first && self.list_turn(host, &rules, active).await? {
            return Ok(());
        }
        if self.page_turn(host, &rules, active).await?
            || (!list_first && self.list_turn(host, &rules, active).await?)
        {
            return Ok(());
        }
        store::yield_slot(&self.db, host, Ended::idle(host)).await?;
        Ok(())
    }

    async fn list_turn(&self, host: &Host, rules: &Policy, active: &[String]) -> Result<bool, Error> {
        let Some(list) = store::take_list(&self.db, &host.origin, self.run, LEASE, active).await? else {
            return Ok(false);
        };
        self.note(host, Some(Taken::List(list.lease())));
        self.read_list(host, rules, list).await?;
        Ok(true)
    }

    async fn page_turn(&self, host: &Host, rules: &Policy, active: &[String]) -> Result<bool, Error> {
        for _ in 0..PASS_OVER_MAX {
            let Some(page) = store::take(&self.db, &host.origin, self.run, LEASE, active).await? else {
                return Ok(false);
            };
            self.note(host, Some(Taken::Page(page.lease())));
            let address = Address::parse(&page.url).map_err(|error| Error::Unusable(error.to_string()))?;
            if !self.sources.get(&page.source_name).is_some_and(|source| source.wants(&address)) {
                self.pass_over(&page, "no longer wanted by the settings".to_owned()).await?;
                continue;
            }
            let verdict = rules.verdict(crate::AGENT, address.path_and_query());
            if verdict.allowed {
                self.fetch_page(host, rules, page, address).await?;
                return Ok(true);
            }
            add(&self.count.disallowed, 1);
            let rule = verdict.rule.map(|rule| format!(" by line {}: {}", rule.line, rule.text)).unwrap_or_default();
            self.pass_over(&page, format!("disallowed{rule}")).await?;
        }
        // There may be more behind them: this host has another turn at once.
        Ok(false)
    }

    /// From the beginning of one request to that of the next: what we have set, or more if the host asks for more.
    pub(super) fn delay(&self, host: &Host, rules: &Policy) -> Duration {
        let own = self.sources.delay_of(&host.origin);
        rules.crawl_delay(crate::AGENT).map_or(own, |theirs| own.max(theirs.min(self.crawl_delay_max)))
    }

    /// Ends a turn, as soon as the request has ended: what was fetched can be read while the next one is under way.
    pub(super) async fn end_turn(
        &self,
        host: &Host,
        delay: Duration,
        began: Instant,
        mood: Mood,
    ) -> Result<(), Error> {
        let failures = if mood == Mood::Fine { 0 } else { host.failures.saturating_add(1) };
        let left_alone = |time: Duration, why| Shut { time: time.min(self.pace.retry_delay_max), why };
        let shut = match mood {
            Mood::Fine => None,
            Mood::Busy(asked) => {
                Some(left_alone(asked.unwrap_or_else(|| self.back_off(failures)), "it asked us to wait"))
            }
            Mood::Failing if failures < FAILURES_MAX => None,
            Mood::Failing => {
                Some(left_alone(self.back_off(failures - FAILURES_MAX + 1), "it failed again and again"))
            }
            Mood::Forbidden => {
                Some(left_alone(self.back_off(failures), "it is not where we may ask (see --allow-net)"))
            }
        };
        if let Some(Shut { time, why }) = shut {
            tracing::warn!(
                host = host.origin,
                failures,
                for_s = time.as_secs(),
                why,
                "the host is left alone for a while"
            );
        }
        let ended = Ended { delay: Some(delay), passed: began.elapsed(), failures, shut };
        store::yield_slot(&self.db, host, ended).await?;
        Ok(())
    }

    /// Twice as long with each failure, and never exactly as long as the others.
    pub(super) fn back_off(&self, failures: i32) -> Duration {
        let doubled = self.pace.retry_delay_min.saturating_mul(1 << failures.clamp(1, 20).saturating_sub(1));
        let most = doubled.min(self.pace.retry_delay_max);
        most.mul_f64(0.75 + 0.25 * chance())
    }
}

/// Between 0 and 1.
fn chance() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0_u8) as f64 / u64::MAX as f64
}
