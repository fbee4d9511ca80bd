//! Figures as Prometheus reads them. The table in `docs/bisan.md` is made from this one, and a test compares them.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::Store;
use crate::store::{self, Figures};

/// A metric; each of them is a gauge, as it is now.
struct Metric {
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
}

const fn metric(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, labels, help }
}

const BUILD: Metric = metric("bisan_build_info", &["version"], "1, with Bisan's version.");
const FILE_UP: Metric = metric(
    "bisan_file_up",
    &[],
    "1 if the file answered this very question. While it is 0 there are no figures of it. An alert: 0 for a minute.",
);
const ARTICLES: Metric = metric("bisan_articles", &[], "Articles that readers see.");
const DELETED: Metric = metric("bisan_deleted_articles", &[], "Articles of which a tombstone is left.");
const APPLIED: Metric = metric(
    "bisan_applied_seq",
    &["lane", "generation"],
    "The newest entry that took effect here. Entries that are older may still wait.",
);
const WAITING: Metric = metric(
    "bisan_waiting_changes",
    &[],
    "Articles that are to be brought to the search index; where there is none, all that ever changed.",
);
const OLDEST: Metric = metric(
    "bisan_oldest_waiting_seconds",
    &[],
    "How long the oldest of them has waited, 0 if none does. An alert, where an index is written: over five minutes.",
);
const REFUSED: Metric =
    metric("bisan_refused_articles", &[], "Articles that the search index does not take. An alert: over 0.");

#[cfg(test)]
const ALL: [&Metric; 8] = [&BUILD, &FILE_UP, &ARTICLES, &DELETED, &APPLIED, &WAITING, &OLDEST, &REFUSED];

/// What there is to tell. A file that does not answer is told, too, and is no error of this page.
pub(super) async fn metrics(State(store): State<Store>) -> Response {
    let figures = store.read(|db| store::figures(db)).await;
    if let Err(error) = &figures {
        tracing::warn!(error = outbox::in_words(error), "the file does not tell its figures");
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, text(figures.ok().as_ref())).into_response()
}

fn text(figures: Option<&Figures>) -> String {
    let mut text = String::new();
    tell(&mut text, &BUILD, &[(&[crate::VERSION], 1)]);
    tell(&mut text, &FILE_UP, &[(&[], i64::from(figures.is_some()))]);
    let Some(figures) = figures else { return text };
    tell(&mut text, &ARTICLES, &[(&[], figures.articles)]);
    tell(&mut text, &DELETED, &[(&[], figures.deleted)]);
    let positions: Vec<_> =
        figures.applied.iter().map(|(lane, generation, seq)| (lane, generation.to_string(), *seq)).collect();
    let labels: Vec<_> =
        positions.iter().map(|(lane, generation, seq)| ([lane.as_str(), generation], *seq)).collect();
    let applied: Vec<(&[&str], i64)> = labels.iter().map(|(labels, seq)| (&labels[..], *seq)).collect();
    tell(&mut text, &APPLIED, &applied);
    tell(&mut text, &WAITING, &[(&[], figures.waiting)]);
    tell(&mut text, &OLDEST, &[(&[], figures.oldest_seconds)]);
    tell(&mut text, &REFUSED, &[(&[], figures.refused)]);
    text
}

/// All values of a metric, each with a value for each of its labels.
fn tell(text: &mut String, metric: &Metric, values: &[(&[&str], i64)]) {
    let _ = writeln!(text, "# HELP {} {}\n# TYPE {} gauge", metric.name, metric.help, metric.name);
    for (labels, value) in values {
        let labels = metric.labels.iter().zip(*labels).map(|(label, value)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{label}=\"{value}\"")
        });
        let labels: Vec<_> = labels.collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(text, "{}{labels} {value}", metric.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_stands_in_the_docs_as_it_is() {
        let page = include_str!("../../../../docs/bisan.md");
        for Metric { name, labels, help } in ALL {
            let row = format!("| `{name}` | {} | {help} |", labels.join(", "));
            assert!(page.contains(&row), "docs/bisan.md lacks {row}");
        }
        assert_eq!(page.matches("| `bisan_").count(), ALL.len(), "and has no other");
    }

    #[test]
    fn a_label_is_quoted_and_a_file_that_is_away_has_no_figures() {
        let mut figures = Figures::default();
        figures.applied.push(("a\"b\\c\nd".to_owned(), 1, 42));
        let told = text(Some(&figures));
        assert!(told.contains("bisan_applied_seq{lane=\"a\\\"b\\\\c\\nd\",generation=\"1\"} 42\n"), "{told}");
        let away = text(None);
        assert!(away.contains("bisan_file_up 0\n") && !away.contains("bisan_articles"), "{away}");
    }
}
