//! One sitemap or feed: fetched if it has changed, read as a stream, its entries added to the frontier.

use std::time::{Duration, Instant};

use super::turn::Mood;
use super::{Crawler, add};
use crate::Error;
use crate::address::Address;
use crate::fetch::{Accept, Answer, Ask, Body};
use crate::robots::Policy;
use crate::sitemap::{self, Cut, Entry, EntryKind, Limits, NotASitemap, Summary};
use crate::sources::Source;
use crate::store::{self, Child, Dates, Ended, Found, Host, List, Read};

/// Indexes stand above each other so often at most.
const DEPTH_MAX: i32 = 10;
/// Entries that are written at once.
const BATCH: usize = 500;
/// Of dates that have lied for a while so many are tried again.
const DATES_TRIED_MAX: u64 = 20;
/// A list that cannot be read is tried again after so long at first.
const BAD_AGAIN: Duration = Duration::from_secs(600);
/// And its robots.txt is asked for new sitemaps so often.
const ROBOTS_AGAIN: Duration = Duration::from_secs(86_400);

impl Crawler {
    pub(super) async fn read_list(&self, host: &Host, rules: &Policy, list: List) -> Result<(), Error> {
        let Some(source) = self.sources.get(&list.source_name) else { return Ok(()) };
        let address = Address::parse(&list.url).map_err(|error| Error::Unusable(error.to_string()))?;
        if address == address.robots() {
            // Its rules have just been read, so this costs no request.
            self.take_named(source, rules, &address, &list).await?;
            return Ok(store::yield_slot(&self.db, host, Ended::idle(host)).await?);
        }
        let verdict = rules.verdict(crate::AGENT, address.path_and_query());
        if !verdict.allowed {
            let read = Read {
                note: Some("robots.txt forbids it".to_owned()),
                failures: list.failures.saturating_add(1),
                ..later(&list, self.pace.retry_delay_max)
            };
            store::end_list(&self.db, &list.lease(), &read).await?;
            return Ok(store::yield_slot(&self.db, host, Ended::idle(host)).await?);
        }
        add(&self.count.requests, 1);
        let began = Instant::now();
        // What was read under other settings is read anew, whatever it says of itself.
        let known = list.settings.as_deref() == Some(source.fingerprint.as_str());
        let list = if known { list } else { List { etag: None, last_modified: None, hash: None, ..list } };
        let (etag, last_modified) = (list.etag.as_deref(), list.last_modified.as_deref());
        let ask = Ask { etag, last_modified, ..Ask::new(&address, Accept::List) };
        let answer = self.fetcher.ask(&ask).await;
        self.end_turn(host, self.delay(host, rules), began, Mood::of(&answer)).await?;
        add(&self.count.lists, 1);
        let read = match answer {
            Answer::Body { etag, last_modified, body, .. } => {
                match self.heed_list(source, &list, &address, body).await? {
                    // What could not be read must not say next time that it has not changed.
                    read if read.failures > 0 => read,
                    read => Read { etag, last_modified, settings: Some(source.fingerprint.clone()), ..read },
                }
            }
            Answer::NotModified => rested(source, &list),
            Answer::Moved { to, .. } if source.is_of(&to) && list.depth < DEPTH_MAX => {
                // It is a list of its own, with its own turn; a circle ends by itself.
                store::add_children(
                    &self.db,
                    source.name(),
                    list.depth + 1,
                    source.poll_min,
                    &[child(&to, None)],
                    &self.named(),
                )
                .await?;
                Read { note: Some(format!("moved to {to}")), ..later(&list, source.poll_max) }
            }
            other => {
                add(&self.count.failed, 1);
                tracing::warn!(list = list.url, answer = %other, "a list could not be read; it is tried again later");
                failed(self, &list, other.to_string())
            }
        };
        Ok(store::end_list(&self.db, &list.lease(), &read).await?)
    }

    /// The sitemaps that robots.txt names; where it names none, the usual place.
    async fn take_named(&self, source: &Source, rules: &Policy, robots: &Address, list: &List) -> Result<(), Error> {
        let named: Vec<_> = rules.sitemaps().iter().filter_map(|named| robots.join(named).ok()).collect();
        let usual = || robots.join("/sitemap.xml").ok().into_iter().collect();
        let lists: Vec<Address> = if named.is_empty() { usual() } else { named };
        let children: Vec<_> = lists.iter().filter(|list| source.is_of(list)).map(|list| child(list, None)).collect();
        store::add_children(&self.db, source.name(), 1, source.poll_min, &children, &self.named()).await?;
        let entries = i32::try_from(children.len()).ok();
        let read = Read { entries, again: Some(ROBOTS_AGAIN), interval: source.poll_max, ..Read::default() };
        Ok(store::end_list(&self.db, &list.lease(), &read).await?)
    }

    async fn heed_list(&self, source: &Source, list: &List, address: &Address, body: Body) -> Result<Read, Error> {
        let hashing = self.list_places.begin(move || {
            let mut body = body;
            let hash = body.hash();
            (body, hash)
        });
        let (body, hash) = hashing.await.await.map_err(|error| Error::Unusable(error.to_string()))?;
        let hash = hash.map_err(|error| Error::Unusable(format!("{}: {error}", list.url)))?.to_hex().to_string();
        if list.hash.as_deref() == Some(hash.as_str()) {
            return Ok(rested(source, list));
        }
        let mut read = stirred(source, list);
        match self.add_entries(source, list, address, body).await? {
            Ok(summary) => {
                read.entries = i32::try_from(summary.entries).ok();
                read.note = summary.cut.as_ref().map(ToString::to_string).or_else(|| summary.notes.first().cloned());
                // What was cut off was not read: it is to be read again even if it does not change.
                read.hash = summary.cut.is_none().then_some(hash);
                if let Some(cut) = &summary.cut {
                    tracing::warn!(list = list.url, %cut, entries = summary.entries, "a list was read in part");
                }
            }
            Err(not) => {
                add(&self.count.failed, 1);
                tracing::warn!(list = list.url, why = %not, "a list could not be read; it is tried again later");
                read = failed(self, list, not.to_string());
            }
        }
        Ok(read)
    }

    /// Reads on a thread of its own, and writes batch by batch: neither side runs ahead of the other.
    async fn add_entries(
        &self,
        source: &Source,
        list: &List,
        address: &Address,
        body: Body,
    ) -> Result<Result<Summary, NotASitemap>, Error> {
        let mut believed_max = match store::dates(&self.db, source.name()).await? {
            Dates::Believed => u64::MAX,
            Dates::Tried => DATES_TRIED_MAX,
            Dates::Doubted => 0,
        };
        let (give, mut take) = tokio::sync::mpsc::channel::<Vec<Entry>>(1);
        let base = address.clone();
        let reading = self.list_places.begin(move || {
            let mut batch = vec![];
            let body = body.into_reader().map_err(|error| NotASitemap::Cut(Cut::Unreadable(error.to_string())))?;
            let summary = sitemap::read(body, &base, &Limits::default(), |entry| {
                batch.push(entry);
                if batch.len() >= BATCH {
                    // Nobody takes any more: the writer has failed, and says so itself.
                    let _ = give.blocking_send(std::mem::take(&mut batch));
                }
            });
            let _ = give.blocking_send(batch);
            summary
        });
        let reading = reading.await;
        while let Some(batch) = take.recv().await {
            let again = self.add_batch(source, list, believed_max, batch).await?;
            believed_max = believed_max.saturating_sub(again);
        }
        reading.await.map_err(|_| Error::Unusable(format!("reading {} broke down", list.url)))
    }

    async fn add_batch(
        &self,
        source: &Source,
        list: &List,
        believed_max: u64,
        batch: Vec<Entry>,
    ) -> Result<u64, Error> {
        let (mut pages, mut children) = (vec![], vec![]);
        for entry in batch {
            let lastmod = entry.lastmod.or(entry.published_at).map(|at| at.to_string());
            match entry.kind {
                EntryKind::Sitemap if list.depth < DEPTH_MAX && source.is_of(&entry.loc) => {
                    children.push(child(&entry.loc, lastmod));
                }
                EntryKind::Page if source.wants(&entry.loc) => pages.push(Found {
                    url: entry.loc.to_string(),
                    origin: entry.loc.origin(),
                    lastmod,
                    news: list.known,
                    hops: 0,
                }),
                EntryKind::Sitemap | EntryKind::Page => {}
            }
        }
        store::add_children(&self.db, source.name(), list.depth + 1, source.poll_min, &children, &self.named())
            .await?;
        let (new, again) =
            store::add(&self.db, source.name(), &pages, believed_max, &self.named(), self.pace.news_for).await?;
        if new + again > 0 {
            tracing::info!(list = list.url, new, again, "pages to fetch");
        }
        Ok(again)
    }
}

fn child(address: &Address, lastmod: Option<String>) -> Child {
    Child { url: address.to_string(), origin: address.origin(), lastmod }
}

/// It has changed, so it is looked at sooner.
fn stirred(source: &Source, list: &List) -> Read {
    let interval = (interval(list) / 2).clamp(source.poll_min, source.poll_max);
    Read { interval, ..Read::default() }
}

/// It has not changed, so it is looked at later.
fn rested(source: &Source, list: &List) -> Read {
    let interval = interval(list).mul_f32(1.5).clamp(source.poll_min, source.poll_max);
    Read {
        interval,
        etag: list.etag.clone(),
        last_modified: list.last_modified.clone(),
        settings: list.settings.clone(),
        ..Read::default()
    }
}

fn later(list: &List, again: Duration) -> Read {
    Read { interval: interval(list), again: Some(again), ..Read::default() }
}

/// It could not be read: ever later, and nothing is forgotten.
fn failed(crawler: &Crawler, list: &List, note: String) -> Read {
    let failures = list.failures.saturating_add(1);
    let again = BAD_AGAIN.min(crawler.pace.retry_delay_max).max(crawler.back_off(failures));
    Read { failures, note: Some(note), ..later(list, again) }
}

fn interval(list: &List) -> Duration {
    Duration::from_secs(list.interval_s.max(1).unsigned_abs().into())
}
