//! One page: fetched, understood, written down.

use std::time::{Duration, Instant};

use contract::{Article, Byline};
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
use crate::store::{self, After, Found, Host, Next, Page, Rank, Seen, Validators, Vanished, Wrote};

/// What robots.txt forbids is looked up again after so long.
const FORBIDDEN_FOR: Duration = Duration::from_secs(86_400);
/// What cannot be an article, or may not be read, is looked at again after so long.
const UNFIT_FOR: Duration = Duration::from_secs(7 * 86_400);
/// A page that is refused (4xx) is asked for again after so long at first.
const REFUSED_FOR: Duration = Duration::from_secs(3600);
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

/// Why a page was not understood.
#[derive(Debug, thiserror::Error)]
enum Unclear {
    #[error(transparent)]
    Unreadable(extract::Unreadable),
    #[error("reading it broke down")]
    BrokeDown,
    #[error("reading it took too long")]
    TooLong,
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
                let next = Next { after: self.back_off(failures), rank: page.rank.min(Rank::Young) };
                self.end(&page, After { failures, ..After::new(outcome, next) }).await
            }
            done => done,
        }
    }

    /// It is not to be fetched, for now. That is no reason to delete anything.
    pub(super) async fn pass_over(&self, page: &Page, outcome: String) -> Result<(), Error> {
        self.end(page, kept(page, outcome, Next { after: FORBIDDEN_FOR, rank: Rank::Old })).await
    }

    async fn heed_page(&self, page: &Page, address: &Address, answer: Answer) -> Result<(), Error> {
        let failures = page.failures.saturating_add(1);
        let fails = |outcome: String, after: Duration| After {
            failures,
            ..kept(page, outcome, Next { after, rank: page.rank.min(Rank::Young) })
        };
        let after = match answer {
            Answer::Body { content_type, etag, last_modified, body, .. } => {
                let bytes = body.into_bytes().map_err(|error| Error::Unusable(error.to_string()))?;
                return self.read_page(page, address, Shown { bytes, content_type, etag, last_modified }).await;
            }
            Answer::NotModified => {
                add(&self.count.unchanged, 1);
                self.judge_lastmod(page, false).await?;
                kept(page, "not modified", self.again(page, None))
            }
            Answer::Gone => {
                After { vanished: Some(Vanished::Gone), ..After::new("gone (410)", old(self.pace.recheck_max)) }
            }
            Answer::NotFound => self.missing(page),
            Answer::Moved { to, status } => self.moved(page, address, &to, status).await?,
            Answer::Busy { status, retry_after } => {
                // It may be this page alone that is busy, so others come first; the host is left alone anyway.
                let asked = retry_after.unwrap_or_default().min(self.pace.retry_delay_max);
                fails(format!("busy ({status})"), self.back_off(failures).max(asked))
            }
            Answer::Refused { status } => fails(format!("refused ({status})"), refused_for(failures)),
            Answer::Failed { status } => fails(format!("failed ({status})"), self.back_off(failures)),
            Answer::Unreachable(reason) => fails(reason.to_string(), self.back_off(failures)),
            Answer::Unusable(reason) => kept(page, reason.to_string(), unfit()),
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
        let outcome = format!("not found (404), {missing} times");
        if missing >= MISSING_TIMES && left.is_zero() {
            let vanished = Some(Vanished::NotFound);
            return After { missing, vanished, ..After::new(outcome, old(self.pace.recheck_max)) };
        }
        let after = if missing == 1 { self.pace.missing_for / 4 } else { left.max(self.pace.missing_for / 8) };
        After { missing, ..After::new(outcome, Next { after, rank: Rank::Young }) }
    }

    /// The page is somewhere else: that is a page of its own, with its own turn, rate and rules. So redirects in a circle
    /// end by themselves.
    async fn moved(&self, page: &Page, address: &Address, to: &Address, status: u16) -> Result<After, Error> {
        let outcome = if to == address {
            "redirects to itself".to_owned()
        } else if to.is_home() {
            // That may mean that it is gone, or that somebody made a mistake. It is only said.
            "redirects to the home page".to_owned()
        } else if page.hops >= HOPS_MAX {
            format!("too many redirects led here, and one more leads to {to}")
        } else {
            let outcome = format!("moved to {to} ({status})");
            match self.sources.get(&page.source_name).filter(|source| source.wants(to)) {
                Some(source) => return self.elsewhere(source, page, to, outcome, matches!(status, 301 | 308)).await,
                None => outcome,
            }
        };
        Ok(After::new(outcome, unfit()))
    }

    /// What a page shows is shown at another address. Once an article is known over there it no longer stands here, if
    /// that is said `for_good`; until then it is looked at again as soon as any page of its age.
    async fn elsewhere(
        &self,
        source: &Source,
        page: &Page,
        to: &Address,
        outcome: String,
        for_good: bool,
    ) -> Result<After, Error> {
        self.find(source, page, to).await?;
        if for_good && page.source_url.is_some() && store::is_item(&self.db, to.as_str()).await? {
            let vanished = Some(Vanished::Moved(to.to_string()));
            return Ok(After { vanished, ..After::new(outcome, old(self.pace.recheck_max)) });
        }
        // What has never shown an article has none to lose; its target is looked at by itself.
        let next = if for_good && page.source_url.is_none() { unfit() } else { self.again(page, None) };
        Ok(After::new(outcome, next))
    }

    async fn read_page(&self, page: &Page, address: &Address, shown: Shown) -> Result<(), Error> {
        let Some(source) = self.sources.get(&page.source_name) else { return Ok(()) };
        let raw_hash = blake3::hash(&shown.bytes).to_hex().to_string();
        let validators = Validators {
            etag: shown.etag.clone(),
            last_modified: shown.last_modified.clone(),
            settings: Some(source.fingerprint.clone()),
        };
        let barren = |outcome: &str| {
            add(&self.count.barren, 1);
            // Without its validators: the next time it is read whatever it says of itself, perhaps by better rules.
            After::new(outcome, unfit())
        };
        let extracted = match self.understand(source, address, shown).await {
            Ok(extracted) => extracted,
            // That may be about this machine today, and not about the page.
            Err(unclear @ Unclear::TooLong) => {
                add(&self.count.failed, 1);
                let failures = page.failures.saturating_add(1);
                let next = old(self.back_off(failures));
                return self.end(page, After { failures, ..kept(page, unclear.to_string(), next) }).await;
            }
            Err(unclear) => return self.end(page, barren(&unclear.to_string())).await,
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
            let after = self.elsewhere(source, page, &own, format!("shown at {own}"), true).await?;
            return self.end(page, after).await;
        }
        let next = self.again(page, extracted.published_at.as_ref().and_then(Moment::instant));
        let Some(seen) = seen(source, page, address, extracted, &raw_hash) else {
            return self.end(page, barren("no article was found on it")).await;
        };
        let source_url = Some(seen.source_url.clone());
        let after = After { source_url, validators, raw_hash: Some(raw_hash), ..After::new("read", next) };
        // Whether anything changed is known only in the transaction; how often nothing did follows from the bytes.
        let wrote = store::write(&self.db, &page.lease(), &after, &seen).await?;
        match wrote {
            Wrote::New => add(&self.count.new, 1),
            Wrote::Changed => add(&self.count.changed, 1),
            Wrote::Same => add(&self.count.unchanged, 1),
            // Whoever has fetched it since counts it, and judges its date.
            Wrote::Overtaken => return Ok(()),
        }
        tracing::debug!(page = page.url, source_url = seen.source_url, ?wrote, "read");
        self.judge_lastmod(page, matches!(wrote, Wrote::New | Wrote::Changed)).await
    }

    /// Decodes and extracts, on a thread where it may take its time, which begins when the thread does.
    async fn understand(&self, source: &Source, address: &Address, shown: Shown) -> Result<Extracted, Unclear> {
        let (rules, address) = (source.extract.clone(), address.clone());
        let work = self.page_places.begin(move || {
            let html = extract::decode(&shown.bytes, shown.content_type.as_deref());
            extract::extract(&extract::Page { url: address.as_str(), html: &html }, &rules)
        });
        match tokio::time::timeout(EXTRACT_TIME_MAX, work.await).await {
            Ok(Ok(read)) => read.map_err(Unclear::Unreadable),
            Ok(Err(_)) => Err(Unclear::BrokeDown),
            Err(_) => Err(Unclear::TooLong),
        }
    }

    /// An address that a page led to.
    async fn find(&self, source: &Source, page: &Page, address: &Address) -> Result<(), Error> {
        let (news, hops) = (page.rank > Rank::Old, page.hops + 1);
        let found = Found { url: address.to_string(), origin: address.origin(), lastmod: None, news, hops };
        store::add(&self.db, source.name(), &[found], u64::MAX, &self.named(), self.pace.news_for).await?;
        Ok(())
    }

    /// News are looked at soon, and the older they are the later; what is old, when there is nothing else to do.
    fn again(&self, page: &Page, published_at: Option<Timestamp>) -> Next {
        let listed = (page.rank > Rank::Old).then(|| Duration::from_secs_f64(page.age_s.max(0.0)));
        let said = published_at.map(|at| Duration::try_from(at.duration_until(Timestamp::now())).unwrap_or_default());
        match said.or(listed) {
            Some(age) if age <= self.pace.news_for.mul_f32(1.5) => {
                Next { after: (age / 4).clamp(self.pace.recheck_min, self.pace.recheck_max), rank: Rank::Young }
            }
            _ => old(self.pace.recheck_max),
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

/// It is looked at again when there is nothing else to do.
fn old(after: Duration) -> Next {
    Next { after, rank: Rank::Old }
}

fn unfit() -> Next {
    old(UNFIT_FOR)
}

/// Who refuses a page may do so for an hour, or for good: ever later.
fn refused_for(failures: i32) -> Duration {
    REFUSED_FOR.saturating_mul(1 << failures.clamp(1, 20).saturating_sub(1)).min(UNFIT_FOR)
}

/// An answer that brings nothing new: what is known of the page stays as it is.
fn kept(page: &Page, outcome: impl Into<String>, next: Next) -> After {
    let Page { etag, last_modified, settings, .. } = page.clone();
    After { validators: Validators { etag, last_modified, settings }, ..After::new(outcome, next) }
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
