//! What each host's robots.txt asks for, read once a day and kept in Postgres, and parsed here once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::{Crawler, add};
use crate::Error;
use crate::address::Address;
use crate::fetch::{Accept, Answer, Ask, HOPS_MAX, Unusable};
use crate::robots::{Fetched, Memory, Policy, Reason, Robots, decide};
use crate::store::{self, Host};

/// Parsed rules are kept of so many bytes of text; they take about twenty times as many.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// What a host without any text counts for.
const HOST_BYTES: usize = 200;

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
        let Some(holds) = &host.robots_holds else { return Ok(None) };
        if let Some(policy) = self.rules.get(host) {
            return Ok(Some(policy));
        }
        let (policy, text_bytes) = match holds.as_str() {
            "rules" => {
                let text = store::robots(&self.db, &host.origin).await?.0.unwrap_or_default();
                (Policy::Rules(Arc::new(Robots::parse(&text))), text.len())
            }
            "everything" => (Policy::AllowAll(Reason::Status(404)), 0),
            _ => (Policy::DisallowAll(Reason::Unreachable), 0),
        };
        let policy = Arc::new(policy);
        self.rules.put(&host.origin, host.robots_until.clone().unwrap_or_default(), &policy, text_bytes);
        Ok(Some(policy))
    }

    /// Asks a host for its robots.txt, and writes down what that comes to. None: the guard does not let us ask.
    pub(super) async fn ask_for_rules(&self, host: &Host) -> Result<Option<Arc<Policy>>, Error> {
        let (good, bad_since) = store::robots(&self.db, &host.origin).await?;
        let memory = Memory {
            last_good: good.map(|text| Arc::new(Robots::parse(&text))),
            failing_since: bad_since.and_then(|since| since.parse().ok()),
        };
        let address = Address::parse(&host.origin).map_err(|error| Error::Unusable(error.to_string()))?.robots();
        add(&self.count.requests, 1);
        // To wherever it leads: the standard asks for it, also across hosts.
        let answer = self.fetcher.follow(&Ask::new(&address, Accept::Robots), HOPS_MAX, async |_| Ok(())).await;
        if let Answer::Unusable(Unusable::Forbidden(why)) = &answer {
            tracing::warn!(host = host.origin, %why, "the host is not asked");
            return Ok(None);
        }
        let said = answer.to_string();
        let fetched = answer.into_robots();
        let text = match &fetched {
            Fetched::Text(text) => Some(text.clone()),
            _ => None,
        };
        let now = Timestamp::now();
        let standing = decide(fetched, &memory, now);
        let (holds, good) = match &standing.policy {
            Policy::Rules(_) => ("rules", text.as_deref()),
            Policy::AllowAll(Reason::UnreachableForLong) => ("everything", None),
            Policy::AllowAll(_) => ("everything", Some(&b""[..])),
            Policy::DisallowAll(_) => ("nothing", None),
        };
        let lasts = Duration::try_from(standing.until.duration_since(now)).unwrap_or_default();
        let since = standing.memory.failing_since.map(|since| since.to_string());
        store::store_robots(&self.db, host, holds, good, lasts, since.as_deref()).await?;
        if holds == "nothing" {
            tracing::warn!(
                host = host.origin,
                why = said,
                "its robots.txt cannot be had, so nothing is fetched there"
            );
        } else {
            tracing::debug!(host = host.origin, holds, "robots.txt was read");
        }
        Ok(Some(Arc::new(standing.policy)))
    }
}
