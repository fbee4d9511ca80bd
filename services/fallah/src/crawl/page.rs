//! One page: fetched, understood, written down.

use std::time::{Duration, Instant};

use contract::{Article, Byline, Removal};
use jiff::Timestamp;
use unicode_normalization::UnicodeNormalization;

use super::turn::Mood;
use super::{Crawler, add};
use crate::Error;
use crate::address::{Address, canonical};
use crate::extract::{self, Extracted, Moment};
use crate::fetch::{Accept, Answer, Ask};
use crate::robots::Policy;
use crate::sources::Source;
use crate::store::{self, After, Found, Host, Page, Seen, Wrote};

/// What robots.txt forbids is looked up again after so long.
const FORBIDDEN_FOR: Duration = Duration::from_secs(86_400);
/// What cannot be an article, or may not be read, is looked at again after so long.
const UNFIT_FOR: Duration = Duration::from_secs(7 * 86_400);
/// So many redirects may lead to a page.
const HOPS_MAX: i16 = 5;
/// So often in a row a page must be missing before it has vanished.
const MISSING_TIMES: i32 = 3;
/// A page may take so long to be understood.
const EXTRACT_TIME_MAX: Duration = Duration::from_secs(20);

/// What a page shows.
struct Shown {
    bytes: Vec<u8>,
    content_type: Option<String>,
    etag: Option<String>,
    last_modified: Option<String>,
}

impl Crawler {
    pub(super) async fn fetch_page(
        &self,
        host: &Host,
        rules: &Policy,
        page: Page,
        address: Address,
    ) -> Result<(), Error> {
        add(&self.count.requests, 1);
        let began = Instant::now();
        // What was read under other settings may be read differently now.
        let settings = self.sources.get(&page.source_name).map(|source| source.fingerprint.as_str());
        let known = (page.settings.as_deref() == settings).then_some(&page);
        let ask = Ask {
            url: &address,
            accept: Accept::Page,
            etag: known.and_then(|page| page.etag.as_deref()),
            last_modified: known.and_then(|page| page.last_modified.as_deref()),
            body_bytes_max: self.page_bytes_max,
        };
        let answer = self.fetcher.ask(&ask).await;
        self.end_turn(host, self.delay(host, rules), began, Mood::of(&answer)).await?;
        add(&self.count.pages, 1);
        add(&self.count.missing, u64::from(matches!(answer, Answer::Gone | Answer::NotFound)));
        tracing::debug!(page = page.url, answer = %answer, "fetched");
        match self.heed_page(&page, &address, answer).await {
            // It is about this page, and would be so again in five minutes.
            Err(error) if !is_outage(&error) => {
                add(&self.count.failed, 1);
                let outcome = format!("could not be written: {}", outbox::in_words(&error));
                tracing::warn!(page = page.url, outcome);
                let failures = page.failures.saturating_add(1);
                self.end(&page, After { outcome, failures, again: Some(self.back_off(failures)), ..After::default() })
                    .await
            }
            done => done,
        }
    }

    /// It is not to be fetched, for now. That is no reason to delete anything.
    pub(super) async fn pass_over(&self, page: &Page, outcome: String) -> Result<(), Error> {
        self.end(page, After { outcome, again: Some(FORBIDDEN_FOR), old: true, ..kept(page) }).await
    }

    async fn heed_page(&self, page: &Page, address: &Address, answer: Answer) -> Result<(), Error> {
        let fails = |outcome: String| After {
            outcome,
            failures: page.failures.saturating_add(1),
            again: Some(self.back_off(page.failures.saturating_add(1))),
            ..kept(page)
        };
        let after = match answer {
            Answer::Body { content_type, etag, last_modified, body, .. } => {
                let bytes = body.into_bytes().map_err(|error| Error::Unusable(error.to_string()))?;
                return self.read_page(page, address, Shown { bytes, content_type, etag, last_modified }).await;
            }
            Answer::NotModified => {
                add(&self.count.unchanged, 1);
                self.judge_lastmod(page, false).await?;
                let (again, old) = self.again(page, None);
                After { outcome: "not modified".to_owned(), again: Some(again), old, ..kept(page) }
            }
            Answer::Gone => After {
                outcome: "gone (410)".to_owned(),
                vanished: Some("gone_410"),
                again: Some(self.pace.recheck_max),
                old: true,
                ..After::default()
            },
            Answer::NotFound => self.missing(page),
            Answer::Moved { to, status } => self.moved(page, address, &to, status).await?,
            Answer::Busy { status, retry_after } => {
                // It may be this page alone that is busy, so others come first; the host is left alone anyway.
                let waits = fails(format!("busy ({status})"));
                After {
                    again: waits.again.max(retry_after.map(|asked| asked.min(self.pace.retry_delay_max))),
                    ..waits
                }
            }
            Answer::Refused { status } => After { again: Some(UNFIT_FOR), ..fails(format!("refused ({status})")) },
            Answer::Failed { status } => fails(format!("failed ({status})")),
            Answer::Unreachable(reason) => fails(reason.to_string()),
            Answer::Unusable(reason) => After { outcome: reason.to_string(), again: Some(UNFIT_FOR), ..kept(page) },
        };
        if after.failures > 0 {
            add(&self.count.failed, 1);
        }
        self.end(page, after).await
    }

    /// Not found: that may be a mistake of the site's, so it takes three times and two days.
    fn missing(&self, page: &Page) -> After {
        let missing = page.missing.saturating_add(1);
        let left =
            self.pace.missing_for.saturating_sub(Duration::from_secs_f64(page.missing_for_s.unwrap_or(0.0).max(0.0)));
        let vanished = missing >= MISSING_TIMES && left.is_zero();
        let again = match missing {
            _ if vanished => Some(self.pace.recheck_max),
            1 => Some(self.pace.missing_for / 4),
            _ => Some(left.max(self.pace.missing_for / 8)),
        };
        After {
            outcome: format!("not found (404), {missing} times"),
            missing,
            again,
            vanished: vanished.then_some("not_found"),
            old: vanished,
            ..After::default()
        }
    }

    /// The page is somewhere else: that is a page of its own, with its own turn, rate and rules. So redirects in a circle
    /// end by themselves.
    async fn moved(&self, page: &Page, address: &Address, to: &Address, status: u16) -> Result<After, Error> {
        let outcome = format!("moved to {to} ({status})");
        let mut after = After { outcome, again: Some(UNFIT_FOR), old: true, ..After::default() };
        let Some(source) = self.sources.get(&page.source_name) else { return Ok(after) };
        if to == address {
            after.outcome = "redirects to itself".to_owned();
        } else if to.is_home() {
            // That may mean that it is gone, or that somebody made a mistake. It is only said.
            after.outcome = "redirects to the home page".to_owned();
        } else if page.hops >= HOPS_MAX {
            after.outcome = format!("too many redirects led here, and one more leads to {to}");
        } else if source.wants(to) {
            self.find(source, page, to).await?;
            (after.again, after.old) = (Some(self.again(page, None).0), false);
            // Once its article is known over there it no longer stands here.
            if matches!(status, 301 | 308) && store::is_item(&self.db, to.as_str()).await? {
                after.vanished = Some(Removal::Moved.as_str());
                after.again = Some(self.pace.recheck_max);
            }
        }
        Ok(after)
    }

    async fn read_page(&self, page: &Page, address: &Address, shown: Shown) -> Result<(), Error> {
        let Some(source) = self.sources.get(&page.source_name) else { return Ok(()) };
        let raw_hash = blake3::hash(&shown.bytes).to_hex().to_string();
        let headers = After {
            etag: shown.etag.clone(),
            last_modified: shown.last_modified.clone(),
            settings: Some(source.fingerprint.clone()),
            raw_hash: Some(raw_hash.clone()),
            ..After::default()
        };
        let barren = |outcome: &str| {
            add(&self.count.barren, 1);
            // Without its validators: the next time it is read whatever it says of itself, perhaps by better rules.
            After { outcome: outcome.to_owned(), again: Some(UNFIT_FOR), old: true, ..After::default() }
        };
        let extracted = match self.understand(source, address, shown).await {
            Ok(extracted) => extracted,
            Err(reason) => return self.end(page, barren(&reason)).await,
        };
        if source.respect_noindex && extracted.noindex {
            return self.end(page, barren("the page says noindex")).await;
        }
        if let Some(own) = extracted.canonical_url.as_deref().and_then(|claimed| canonical(address, claimed))
            && own != *address
            && source.wants(&own)
            && page.hops < HOPS_MAX
            && !store::is_barren(&self.db, own.as_str()).await?
        {
            // Two pages that both wrote one item would take turns in changing it.
            self.find(source, page, &own).await?;
            // An article that stood here stands there now.
            let moved = page.source_url.is_some() && store::is_item(&self.db, own.as_str()).await?;
            let vanished = moved.then_some(Removal::Moved.as_str());
            let outcome = format!("shown at {own}");
            return self
                .end(page, After { outcome, vanished, again: Some(UNFIT_FOR), old: true, ..After::default() })
                .await;
        }
        let (again, old) = self.again(page, extracted.published_at.as_ref().and_then(Moment::instant));
        let Some(seen) = seen(source, page, address, extracted, &raw_hash) else {
            return self.end(page, barren("no article was found on it")).await;
        };
        let source_url = Some(seen.source_url.clone());
        let after = After { outcome: "read".to_owned(), source_url, again: Some(again), old, ..headers };
        // Whether anything changed is known only in the transaction; how often nothing did follows from the bytes.
        let wrote = store::write(&self.db, &page.lease(), &after, &seen).await?;
        match wrote {
            Wrote::New => add(&self.count.new, 1),
            Wrote::Changed => add(&self.count.changed, 1),
            Wrote::Same => add(&self.count.unchanged, 1),
            Wrote::Overtaken => {}
        }
        tracing::debug!(page = page.url, source_url = seen.source_url, ?wrote, "read");
        self.judge_lastmod(page, matches!(wrote, Wrote::New | Wrote::Changed)).await
    }

    /// Decodes and extracts, on a thread where it may take its time.
    async fn understand(&self, source: &Source, address: &Address, shown: Shown) -> Result<Extracted, String> {
        let (rules, address) = (source.extract.clone(), address.clone());
        let work = tokio::task::spawn_blocking(move || {
            let html = extract::decode(&shown.bytes, shown.content_type.as_deref());
            extract::extract(&extract::Page { url: address.as_str(), html: &html }, &rules)
        });
        match tokio::time::timeout(EXTRACT_TIME_MAX, work).await {
            Ok(Ok(Ok(extracted))) => Ok(extracted),
            Ok(Ok(Err(unreadable))) => Err(unreadable.to_string()),
            Ok(Err(_)) => Err("reading it broke down".to_owned()),
            Err(_) => Err("reading it took too long".to_owned()),
        }
    }

    /// An address that a page led to.
    async fn find(&self, source: &Source, page: &Page, address: &Address) -> Result<(), Error> {
        let (news, hops) = (page.rank > 0, page.hops + 1);
        let found = Found { url: address.to_string(), origin: address.origin(), lastmod: None, news, hops };
        store::add(&self.db, source.name(), &[found], true, &self.named(), self.pace.news_for).await?;
        Ok(())
    }

    /// News are looked at soon, and the older they are the later; what is old, when there is nothing else to do.
    fn again(&self, page: &Page, published_at: Option<Timestamp>) -> (Duration, bool) {
        let listed = (page.rank > 0).then(|| Duration::from_secs_f64(page.age_s.max(0.0)));
        let said = published_at.map(|at| Duration::try_from(at.duration_until(Timestamp::now())).unwrap_or_default());
        match said.or(listed) {
            Some(age) if age <= self.pace.news_for.mul_f32(1.5) => {
                ((age / 4).max(self.pace.recheck_min).min(self.pace.recheck_max), false)
            }
            _ => (self.pace.recheck_max, true),
        }
    }

    async fn judge_lastmod(&self, page: &Page, changed: bool) -> Result<(), Error> {
        if page.lastmod_asked {
            store::trust(&self.db, &page.source_name, changed).await?;
        }
        Ok(())
    }

    async fn end(&self, page: &Page, after: After) -> Result<(), Error> {
        let mut db = self.db.acquire().await?;
        let _: bool = store::end(&mut db, &page.lease(), &after).await?;
        Ok(())
    }
}

/// Whether Postgres is away, rather than has something against what it was asked.
fn is_outage(error: &Error) -> bool {
    let mut causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    let refused = |error: &sqlx::Error| matches!(error, sqlx::Error::Database(_));
    match causes.find_map(|cause| cause.downcast_ref::<sqlx::Error>()) {
        Some(error) => !refused(error),
        None => false,
    }
}

/// What stays as it is when an answer brings nothing new.
fn kept(page: &Page) -> After {
    let (etag, last_modified) = (page.etag.clone(), page.last_modified.clone());
    After { etag, last_modified, settings: page.settings.clone(), ..After::default() }
}

/// The item that a page shows; none if it shows no article.
fn seen(source: &Source, page: &Page, source_url: &Address, extracted: Extracted, raw_hash: &str) -> Option<Seen> {
    let clean = |text: String| text.replace('\0', "").nfc().collect::<String>();
    let title = clean(extracted.title?);
    let body = clean(extracted.body);
    if title.is_empty() || body.is_empty() {
        return None;
    }
    let address = |claimed: String| source_url.join(&claimed).ok().map(|address| address.to_string());
    Some(Seen {
        source_url: source_url.to_string(),
        source_name: source.name().to_owned(),
        article: Article {
            title,
            body,
            authors: extracted
                .authors
                .into_iter()
                .map(|author| Byline { name: clean(author.name), url: author.url.and_then(address) })
                .collect(),
            published_at: extracted.published_at.map(|at| at.to_string()),
            modified_at: extracted.modified_at.map(|at| at.to_string()),
            section: extracted.section.map(clean),
            canonical_url: extracted.canonical_url.and_then(address),
            images: extracted.images.into_iter().filter_map(address).collect(),
        },
        lead: extracted.lead.map(clean),
        language: extracted.language,
        tags: extracted.tags.into_iter().map(clean).collect(),
        raw_hash: raw_hash.to_owned(),
        discovered_at: page.discovered_at.clone(),
        fetched_at: jiff::Timestamp::now().to_string(),
        publish: source.publish_events,
    })
}
