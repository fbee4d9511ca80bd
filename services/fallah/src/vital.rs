//! What a crawl tells of itself: every metric with its labels, and what it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sqlx::PgPool;
use vitals::Kind::{Counter, Gauge};
use vitals::Source::{Process, Store};
use vitals::{Metric, Text, Vital, metric};

use crate::crawl::Crawler;
use crate::store;

const BUILD: Metric = metric("fallah_build_info", Gauge, Process, &["version"], "1, with Fallah's version.");
const POSTGRES_UP: Metric = metric(
    "fallah_postgres_up",
    Gauge,
    Process,
    &[],
    "1 if Postgres answered this very question. While it is 0 there are no figures of it. An alert: 0 for a minute.",
);
const MEMORY: Metric = metric(
    "fallah_resident_memory_bytes",
    Gauge,
    Process,
    &[],
    "Memory that this process has in use; where the system tells it.",
);
const REQUESTS: Metric = metric(
    "fallah_requests_total",
    Counter,
    Process,
    &[],
    "Requests that were made, those for robots.txt and of redirects included.",
);
const FAILED: Metric = metric("fallah_failed_requests_total", Counter, Process, &[], "Requests that failed.");
const LISTS: Metric = metric("fallah_lists_total", Counter, Process, &[], "Sitemaps and feeds that were read.");
const LISTS_FAILED: Metric =
    metric("fallah_failed_lists_total", Counter, Process, &[], "Sitemaps and feeds that could not be read.");
const PAGES: Metric = metric("fallah_pages_total", Counter, Process, &[], "Pages that were fetched.");
const ITEMS: Metric = metric(
    "fallah_items_total",
    Counter,
    Process,
    &["change"],
    "What came of pages: items that were new, changed, unchanged or deleted. All but the unchanged were written.",
);
const NO_ITEM: Metric = metric(
    "fallah_pages_without_item_total",
    Counter,
    Process,
    &["reason"],
    "Pages that were not there (missing), that robots.txt keeps from us (disallowed), or that hold no article (barren).",
);
const SILENT: Metric = metric(
    "fallah_source_silent_seconds",
    Gauge,
    Store,
    &["source"],
    "How long ago the source's newest article was found; if it has none, how long it has been known. An alert: over six hours.",
);
const UNREAD: Metric = metric(
    "fallah_source_unread_seconds",
    Gauge,
    Store,
    &["source"],
    "How long ago a page or a list of the source was last read without a failure. An alert: over twelve hours.",
);
const HALTED: Metric = metric(
    "fallah_source_halted",
    Gauge,
    Store,
    &["source"],
    "1 if too much of it had vanished at once, and a person has to look. An alert: 1.",
);
const DUE: Metric = metric(
    "fallah_due_pages",
    Gauge,
    Store,
    &["source"],
    "Pages that wait to be fetched, counted up to 100,000 of all sources together.",
);
const LEFT_ALONE: Metric = metric(
    "fallah_hosts_left_alone",
    Gauge,
    Store,
    &[],
    "Hosts that failed again and again, or asked for a wait, and for which there is something to do.",
);

/// Every metric of Fallah, in the order in which they are told.
pub const METRICS: &[&Metric] = &[
    &BUILD,
    &POSTGRES_UP,
    &MEMORY,
    &REQUESTS,
    &FAILED,
    &LISTS,
    &LISTS_FAILED,
    &PAGES,
    &ITEMS,
    &NO_ITEM,
    &SILENT,
    &UNREAD,
    &HALTED,
    &DUE,
    &LEFT_ALONE,
];

/// What a metric says of a source.
type Figure = fn(&store::Watched) -> f64;

/// A crawler, to those who ask how it is.
#[derive(Debug)]
pub(crate) struct Vitals {
    /// A connection of its own: turns may hold all others.
    pub(crate) db: PgPool,
    pub(crate) crawler: Arc<Crawler>,
    /// The sources of the settings.
    pub(crate) sources: Vec<String>,
}

impl Vital for Vitals {
    async fn ready(&self) -> Result<(), String> {
        store::halted(&self.db).await.map(drop).map_err(|error| outbox::in_words(&error))
    }

    fn of_process(&self, text: &mut Text, store_up: bool) {
        text.value(&BUILD, &[crate::VERSION], 1.0);
        text.value(&POSTGRES_UP, &[], f64::from(u8::from(store_up)));
        if let Some(bytes) = vitals::memory() {
            text.value(&MEMORY, &[], bytes as f64);
        }
        let count = self.crawler.count();
        let counters: [(&Metric, &[&str], &AtomicU64); 12] = [
            (&REQUESTS, &[], &count.requests),
            (&FAILED, &[], &count.failed),
            (&LISTS, &[], &count.lists),
            (&LISTS_FAILED, &[], &count.lists_failed),
            (&PAGES, &[], &count.pages),
            (&ITEMS, &["new"], &count.new),
            (&ITEMS, &["changed"], &count.changed),
            (&ITEMS, &["unchanged"], &count.unchanged),
            (&ITEMS, &["deleted"], &count.deleted),
            (&NO_ITEM, &["missing"], &count.missing),
            (&NO_ITEM, &["disallowed"], &count.disallowed),
            (&NO_ITEM, &["barren"], &count.barren),
        ];
        for (metric, labels, counter) in counters {
            text.value(metric, labels, counter.load(Relaxed) as f64);
        }
    }

    async fn of_store(&self, text: &mut Text) -> Result<(), String> {
        self.tell(text).await.map_err(|error| outbox::in_words(&error))
    }
}

impl Vitals {
    async fn tell(&self, text: &mut Text) -> sqlx::Result<()> {
        let sources = store::watched(&self.db, &self.sources).await?;
        let figures: [(&Metric, Figure); 3] = [
            (&SILENT, |source| source.silent_s),
            (&UNREAD, |source| source.unread_s),
            (&HALTED, |source| f64::from(u8::from(source.halted))),
        ];
        // One metric after the other, as its format asks.
        for (metric, figure) in figures {
            for source in &sources {
                text.value(metric, &[&source.name], figure(source));
            }
        }
        for (source, due) in store::due(&self.db, &self.sources).await? {
            text.value(&DUE, &[&source], due as f64);
        }
        text.value(&LEFT_ALONE, &[], store::left_alone(&self.db).await?.len() as f64);
        Ok(())
    }
}
