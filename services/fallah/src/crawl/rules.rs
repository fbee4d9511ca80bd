//! What each host's robots.txt asks for, read once a day and kept in Postgres, and parsed here once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::turn::Mood;
use super::{Crawler, LEASE, add};
use crate::Error;
use crate::address::Address;
use crate::fetch::{Accept, Answer, Ask, HOPS_MAX, Trail, Unreachable, Unusable};
use crate::robots::{Fetched, Memory, Policy, Reason, Robots, decide};
use crate::store::{self, Holds, Host};

/// Parsed rules are kept of so many bytes of text; they take about twenty times as many.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// What a host without any text counts for.
const HOST_BYTES: usize = 200;

/// Redirects and their waits may take so long together: a turn must not outlive its lease.
const RULES_TIME_MAX: Duration = LEASE.checked_div(2).expect("two is not zero");

/// What asking a host for its robots.txt came to.
pub(super) struct Asked {
    /// None: the guard does not let us ask.
    pub(super) rules: Option<Arc<Policy>>,
    /// When the last request began.
    pub(super) began: Instant,
    pub(super) mood: Mood,
}

/// Parsed rules, by host and by which answer they are of.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    rules: HashMap<String, (String, Arc<Policy>)>,
    bytes: usize,
}

impl Cache {
    fn get(&self, host: &Host) -> Option<Arc<Policy>> {
        let kept = self.0.lock().expect("nobody panics with it in hand");
        let (until, policy) = kept.rules.get(&host.origin)?;
        (Some(until) == host.robots_until.as_ref()).then(|| Arc::clone(policy))
    }

    fn put(&self, origin: &str, until: String, policy: &Arc<Policy>, text_bytes: usize) {
        let mut kept = self.0.lock().expect("nobody panics with it in hand");
        if kept.bytes + text_bytes > KEPT_BYTES_MAX {
            *kept = Kept::default();
        }
        kept.bytes += text_bytes + HOST_BYTES;
        kept.rules.insert(origin.to_owned(), (until, Arc::clone(policy)));
    }
}

impl Crawler {
    /// What holds at a host, as far as it is known. None: it has to be asked first.
    pub(super) async fn rules(&self, host: &Host) -> Result<Option<Arc<Policy>>, Error> {
        let Some(holds) = host.robots_holds else { return Ok(None) };
        if let Some(policy) = self.rules.get(host) {
            return Ok(Some(policy));
        }
        let (policy, text_bytes) = match holds {
            Holds::Rules => {
                let text = store::robots(&self.db, &host.origin).await?.0.unwrap_or_default();
                (Policy::Rules(Arc::new(Robots::parse(&text))), text.len())
            }
            Holds::Everything => (Policy::AllowAll(Reason::Status(404)), 0),
            Holds::Nothing => (Policy::DisallowAll(Reason::Unreachable), 0),
        };
        let policy = Arc::new(policy);
        self.rules.put(&host.origin, host.robots_until.clone().unwrap_or_default(), &policy, text_bytes);
        Ok(Some(policy))
    }

    /// Asks a host for its robots.txt, and writes down what that comes to.
    pub(super) async fn ask_for_rules(&self, host: &Host) -> Result<Asked, Error> {
        let (good, bad_since) = store::robots(&self.db, &host.origin).await?;
        let memory = Memory {
            last_good: good.map(|text| Arc::new(Robots::parse(&text))),
            failing_since: bad_since.and_then(|since| since.parse().ok()),
        };
        let address = Address::parse(&host.origin).map_err(|error| Error::Unusable(error.to_string()))?.robots();
        let first = Instant::now();
        let mut began = first;
        // To wherever it leads: the standard asks for it, also across hosts; but at the rate of each.
        let mut trail = Trail::new(address, HOPS_MAX);
        let answer = loop {
            add(&self.count.requests, 1);
            match self.fetcher.ask(&Ask::new(trail.here(), Accept::Robots)).await {
                Answer::Moved { to, .. } => {
                    if let Err(unusable) = trail.follow(to) {
                        break Answer::Unusable(unusable);
                    }
                    let wait = self.wait_for(host, &trail.here().origin(), began).await?;
                    if first.elapsed() + wait > RULES_TIME_MAX {
                        break Answer::Unreachable(Unreachable::Timeout);
                    }
                    tokio::time::sleep(wait).await;
                    began = Instant::now();
                }
                other => break other,
            }
        };
        if let Answer::Unusable(Unusable::Forbidden(why)) = &answer {
            tracing::warn!(host = host.origin, %why, "the host is not asked");
            return Ok(Asked { rules: None, began, mood: Mood::Forbidden });
        }
        let said = answer.to_string();
        // Who is silent about its rules is left alone for that; who asks for a wait gets it, whatever is known already.
        let (mood, asked) = match &answer {
            Answer::Busy { retry_after: Some(asked), .. } => {
                (Mood::Busy(Some(*asked)), (*asked).min(self.pace.retry_delay_max))
            }
            _ => (Mood::Fine, Duration::ZERO),
        };
        let fetched = answer.into_robots();
        let text = match &fetched {
            Fetched::Text(text) => Some(text.clone()),
            _ => None,
        };
        let now = Timestamp::now();
        let standing = decide(fetched, &memory, now);
        let (holds, good) = match &standing.policy {
            Policy::Rules(_) => (Holds::Rules, text.as_deref()),
            Policy::AllowAll(Reason::UnreachableForLong) => (Holds::Everything, None),
            Policy::AllowAll(_) => (Holds::Everything, Some(&b""[..])),
            Policy::DisallowAll(_) => (Holds::Nothing, None),
        };
        let lasts = Duration::try_from(standing.until.duration_since(now)).unwrap_or_default().max(asked);
        let since = standing.memory.failing_since.map(|since| since.to_string());
        store::store_robots(&self.db, host, holds, good, lasts, since.as_deref()).await?;
        if holds == Holds::Nothing {
            tracing::warn!(
                host = host.origin,
                why = said,
                "its robots.txt cannot be had, so nothing is fetched there"
            );
        } else {
            tracing::debug!(host = host.origin, ?holds, "robots.txt was read");
        }
        Ok(Asked { rules: Some(Arc::new(standing.policy)), began, mood })
    }

    /// How long a redirect's next request has to wait: at the same host for its delay, elsewhere for a place between others.
    async fn wait_for(&self, host: &Host, origin: &str, began: Instant) -> Result<Duration, Error> {
        let delay = self.sources.delay_of(origin);
        if origin == host.origin {
            return Ok(delay.saturating_sub(began.elapsed()));
        }
        Ok(store::reserve(&self.db, origin, delay).await?.unwrap_or_default())
    }
}
