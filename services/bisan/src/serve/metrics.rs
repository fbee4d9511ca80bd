//! Figures as Prometheus reads them: every metric with its labels, and what it says.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use vitals::Kind::Gauge;
use vitals::Source::{Process, Store as InStore};
use vitals::{Metric, Text, metric};

use crate::Store;
use crate::store::{self, Figures};

const BUILD: Metric = metric("bisan_build_info", Gauge, Process, &["version"], "1, with Bisan's version.");
const FILE_UP: Metric = metric(
    "bisan_file_up",
    Gauge,
    Process,
    &[],
    "1 if the file answered this very question. While it is 0 there are no figures of it. An alert: 0 for a minute.",
);
const MEMORY: Metric = metric(
    "bisan_resident_memory_bytes",
    Gauge,
    Process,
    &[],
    "Memory that this process has in use; where the system tells it.",
);
const ARTICLES: Metric = metric("bisan_articles", Gauge, InStore, &[], "Articles that readers see.");
const DELETED: Metric =
    metric("bisan_deleted_articles", Gauge, InStore, &[], "Articles of which a tombstone is left.");
const APPLIED: Metric = metric(
    "bisan_applied_seq",
    Gauge,
    InStore,
    &["lane", "generation"],
    "The newest entry that took effect here. Entries that are older may still wait.",
);
const WAITING: Metric = metric(
    "bisan_waiting_changes",
    Gauge,
    InStore,
    &[],
    "Articles that are to be brought to the search index; where there is none, all that ever changed.",
);
const OLDEST: Metric = metric(
    "bisan_oldest_waiting_seconds",
    Gauge,
    InStore,
    &[],
    "How long the oldest of them has waited, 0 if none does. An alert, where an index is written: over five minutes.",
);
const REFUSED: Metric = metric(
    "bisan_refused_articles",
    Gauge,
    InStore,
    &[],
    "Articles that the search index does not take. An alert: over 0.",
);

/// Every metric of Bisan, in the order in which they are told.
pub const METRICS: &[&Metric] =
    &[&BUILD, &FILE_UP, &MEMORY, &ARTICLES, &DELETED, &APPLIED, &WAITING, &OLDEST, &REFUSED];

/// What there is to tell. A file that does not answer is told, too, and is no error of this page.
pub(super) async fn metrics(State(store): State<Store>) -> Response {
    let figures = store.read(|db| store::figures(db)).await;
    if let Err(error) = &figures {
        tracing::warn!(error = outbox::in_words(error), "the file does not tell its figures");
    }
    ([(header::CONTENT_TYPE, vitals::MIME)], told(figures.ok().as_ref())).into_response()
}

fn told(figures: Option<&Figures>) -> String {
    let mut text = Text::default();
    text.value(&BUILD, &[crate::VERSION], 1.0);
    text.value(&FILE_UP, &[], f64::from(u8::from(figures.is_some())));
    if let Some(bytes) = vitals::memory() {
        text.value(&MEMORY, &[], bytes as f64);
    }
    if let Some(figures) = figures {
        text.value(&ARTICLES, &[], figures.articles as f64);
        text.value(&DELETED, &[], figures.deleted as f64);
        for (lane, generation, seq) in &figures.applied {
            text.value(&APPLIED, &[lane, &generation.to_string()], *seq as f64);
        }
        text.value(&WAITING, &[], figures.waiting as f64);
        text.value(&OLDEST, &[], figures.oldest_seconds as f64);
        text.value(&REFUSED, &[], figures.refused as f64);
    }
    text.into_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_away_has_no_figures() {
        let there = told(Some(&Figures { applied: vec![("s".to_owned(), 1, 42)], ..Figures::default() }));
        assert!(there.contains("bisan_applied_seq{lane=\"s\",generation=\"1\"} 42\n"), "{there}");
        let away = told(None);
        assert!(away.contains("bisan_file_up 0\n") && !away.contains("bisan_articles"), "{away}");
    }
}
