//! Every metric: its name, its labels, and what it says. The page `docs/metrics.md` is made from this table, and a test
//! compares them.

use std::fmt::Write as _;

/// What Prometheus makes of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only rises, while the process lives.
    Counter,
    /// It is as it is now.
    Gauge,
    /// How many were below each bound.
    Histogram,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Where a metric comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Counted in this process, from its start.
    Process,
    /// Read from Postgres when somebody asks, at most once a second. All relays tell the same.
    Store,
}

/// A metric.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    #[cfg_attr(not(test), expect(dead_code, reason = "the page about metrics tells it"))]
    pub(crate) source: Source,
    pub(crate) labels: &'static [&'static str],
    pub(crate) help: &'static str,
}

const fn metric(
    name: &'static str,
    kind: Kind,
    source: Source,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind, source, labels, help }
}

use Kind::{Counter, Gauge, Histogram};
use Source::{Process, Store};

pub(crate) const BUILD: Metric =
    metric("relay_build_info", Gauge, Process, &["version"], "1, with the relay's version.");
pub(crate) const STARTED: Metric =
    metric("relay_started_timestamp_seconds", Gauge, Process, &[], "When this relay was started, in Unix time.");
pub(crate) const WORKING: Metric = metric(
    "relay_working",
    Gauge,
    Process,
    &[],
    "1 while this relay sends, 0 while it rests beside another one, connects or waits.",
);
pub(crate) const SILENT: Metric = metric(
    "relay_silent_seconds",
    Gauge,
    Process,
    &[],
    "How long ago the loop ended a turn. An alert: over a minute.",
);
pub(crate) const REDIS_UP: Metric = metric(
    "relay_redis_up",
    Gauge,
    Process,
    &[],
    "1 while Redis takes what this relay sends, or answers one that rests.",
);
pub(crate) const POSTGRES_UP: Metric = metric(
    "relay_postgres_up",
    Gauge,
    Process,
    &[],
    "1 if Postgres answered this very question. While it is 0 there are no figures of the store.",
);
pub(crate) const SENT: Metric =
    metric("relay_sent_events_total", Counter, Process, &["stream"], "Entries that this relay has appended.");
pub(crate) const LATENCY: Metric = metric(
    "relay_latency_seconds",
    Histogram,
    Process,
    &[],
    "From an event's row being written to its entry being in Redis. An event that was scheduled counts its wait.",
);
pub(crate) const BATCHES: Metric =
    metric("relay_batches_total", Counter, Process, &[], "Appends to Redis, each of one transaction.");
pub(crate) const TURNS: Metric = metric("relay_turns_total", Counter, Process, &[], "Turns of the loop.");
pub(crate) const REFUSALS: Metric =
    metric("relay_refusals_total", Counter, Process, &[], "Events that Redis refused, each time.");
pub(crate) const BURIED: Metric =
    metric("relay_buried_total", Counter, Process, &[], "Events that this relay set aside as dead letters.");
pub(crate) const REBUILT: Metric = metric(
    "relay_rebuilt_entries_total",
    Counter,
    Process,
    &[],
    "Numbers of entries that Redis had lost, and that were sent again. An alert: if it rises.",
);
pub(crate) const OVERTAKINGS: Metric =
    metric("relay_overtakings_total", Counter, Process, &[], "How often open transactions were gone past.");
pub(crate) const DISTURBED: Metric = metric(
    "relay_disturbed_batches_total",
    Counter,
    Process,
    &[],
    "Batches that went by the slower way, because others kept changing the stream.",
);
pub(crate) const REDIS_OUTAGES: Metric = metric(
    "relay_redis_outages_total",
    Counter,
    Process,
    &[],
    "How often Redis went away, or took nothing any more.",
);
pub(crate) const POSTGRES_OUTAGES: Metric =
    metric("relay_postgres_outages_total", Counter, Process, &[], "How often Postgres went away.");
pub(crate) const SPANS_DROPPED: Metric = metric(
    "relay_spans_dropped_total",
    Counter,
    Process,
    &[],
    "Spans that the collector did not take, or that came too fast for it.",
);
pub(crate) const MEMORY: Metric = metric(
    "relay_resident_memory_bytes",
    Gauge,
    Process,
    &[],
    "Memory that this process has in use; where the system tells it.",
);
pub(crate) const ANSWERS: Metric = metric(
    "relay_http_responses_total",
    Counter,
    Process,
    &["route", "status"],
    "Answers of the operator's surface.",
);
pub(crate) const READ: Metric =
    metric("relay_store_read_seconds", Gauge, Store, &[], "How long it took to read what follows.");
pub(crate) const HOLDER: Metric =
    metric("relay_holders", Gauge, Store, &[], "1 while a relay holds the lease. An alert: 0 for a minute.");
pub(crate) const FRONTIER: Metric =
    metric("relay_frontier_seq", Gauge, Store, &[], "Up to this number the past is final.");
pub(crate) const NEWEST: Metric =
    metric("relay_newest_seq", Gauge, Store, &[], "The newest number that was given out.");
pub(crate) const OVERTAKEN: Metric =
    metric("relay_overtaken", Gauge, Store, &[], "Open transactions that were gone past and are not decided yet.");
pub(crate) const BLOCKERS: Metric =
    metric("relay_blockers", Gauge, Store, &[], "Transactions that write to the outbox and have not ended.");
pub(crate) const BLOCKED: Metric =
    metric("relay_oldest_blocker_seconds", Gauge, Store, &[], "How long the oldest of them has been open.");
pub(crate) const UNSENT: Metric = metric(
    "relay_unsent_events",
    Gauge,
    Store,
    &["stream"],
    "Committed, and not sent yet. Over 100,000 it is an estimate.",
);
pub(crate) const OLDEST_UNSENT: Metric = metric(
    "relay_oldest_unsent_seconds",
    Gauge,
    Store,
    &["stream"],
    "How long the oldest of them has waited. An alert: over a minute, unless the stream is paused.",
);
pub(crate) const HELD: Metric =
    metric("relay_held_events", Gauge, Store, &["stream"], "Scheduled for later, or waiting after a refusal.");
pub(crate) const DEAD: Metric = metric(
    "relay_dead_letters",
    Gauge,
    Store,
    &["stream", "group"],
    "Dead letters; those that could not be sent have an empty group. An alert: over 0.",
);
pub(crate) const SENT_SEQ: Metric =
    metric("relay_sent_seq", Gauge, Store, &["stream"], "Everything up to this number was sent.");
pub(crate) const PAUSED: Metric =
    metric("relay_paused", Gauge, Store, &["stream"], "1 if somebody asked that nothing be sent.");
pub(crate) const LAG: Metric = metric(
    "relay_group_lag_events",
    Gauge,
    Store,
    &["stream", "group"],
    "Events that the group has not settled, counted from the rows. Over 100,000 it is an estimate.",
);
pub(crate) const OLDEST_LAG: Metric = metric(
    "relay_group_oldest_seconds",
    Gauge,
    Store,
    &["stream", "group"],
    "How long ago the oldest of them was written. An alert: over what your readers bear.",
);
pub(crate) const PENDING: Metric =
    metric("relay_group_pending_events", Gauge, Store, &["stream", "group"], "Events that consumers have in hand.");
pub(crate) const CONSUMERS: Metric = metric(
    "relay_group_consumers",
    Gauge,
    Store,
    &["stream", "group"],
    "Consumers that were heard of within a minute.",
);
pub(crate) const HANDLING: Metric = metric(
    "relay_group_handling_p99_seconds",
    Gauge,
    Store,
    &["stream", "group"],
    "How long handlers take: the slowest consumer's 99th percentile.",
);

/// All of them, in the order in which they are told.
#[cfg(test)]
pub(crate) const ALL: [&Metric; 38] = [
    &BUILD,
    &STARTED,
    &WORKING,
    &SILENT,
    &REDIS_UP,
    &POSTGRES_UP,
    &SENT,
    &LATENCY,
    &BATCHES,
    &TURNS,
    &REFUSALS,
    &BURIED,
    &REBUILT,
    &OVERTAKINGS,
    &DISTURBED,
    &REDIS_OUTAGES,
    &POSTGRES_OUTAGES,
    &SPANS_DROPPED,
    &MEMORY,
    &ANSWERS,
    &READ,
    &HOLDER,
    &FRONTIER,
    &NEWEST,
    &OVERTAKEN,
    &BLOCKERS,
    &BLOCKED,
    &UNSENT,
    &OLDEST_UNSENT,
    &HELD,
    &DEAD,
    &SENT_SEQ,
    &PAUSED,
    &LAG,
    &OLDEST_LAG,
    &PENDING,
    &CONSUMERS,
    &HANDLING,
];

/// The text that Prometheus reads.
#[derive(Debug, Default)]
pub(crate) struct Text {
    text: String,
    told: Option<&'static str>,
}

impl Text {
    /// One value of a metric, with a value for each of its labels. All values of one metric come one after another.
    pub(crate) fn value(&mut self, metric: &Metric, labels: &[&str], value: f64) {
        self.head(metric);
        self.line(metric.name, metric.labels, labels, value);
    }

    /// A histogram: its bounds in seconds with what lies below each by itself, what lies above all of them, and the sum.
    pub(crate) fn histogram(&mut self, metric: &Metric, below: &[(f64, u64)], above: u64, sum: f64) {
        self.head(metric);
        let bucket = format!("{}_bucket", metric.name);
        let mut all = 0;
        for (bound, number) in below {
            all += number;
            self.line(&bucket, &["le"], &[&bound.to_string()], all as f64);
        }
        all += above;
        self.line(&bucket, &["le"], &["+Inf"], all as f64);
        self.line(&format!("{}_sum", metric.name), &[], &[], sum);
        self.line(&format!("{}_count", metric.name), &[], &[], all as f64);
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }

    fn head(&mut self, metric: &Metric) {
        if self.told != Some(metric.name) {
            self.told = Some(metric.name);
            let _ = writeln!(
                self.text,
                "# HELP {} {}\n# TYPE {} {}",
                metric.name,
                metric.help,
                metric.name,
                metric.kind.as_str()
            );
        }
    }

    fn line(&mut self, name: &str, labels: &[&str], values: &[&str], value: f64) {
        debug_assert_eq!(labels.len(), values.len(), "{name} has a value for each label");
        self.text.push_str(name);
        for (at, (label, value)) in labels.iter().zip(values).enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let open = if at == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{label}=\"{value}\"");
        }
        self.text.push_str(if labels.is_empty() { " " } else { "} " });
        let _ = writeln!(self.text, "{value}");
    }
}

/// The page about them.
#[cfg(test)]
fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         `GET /metrics` of a relay (`RELAY_LISTEN`), as Prometheus reads it. Made from `relay/src/metrics.rs`: a test compares them.\n\n\
         A metric of the *store* is read from Postgres when somebody asks, at most once a second and for at most a twentieth of the \
         time; every relay tells the same, so take one, or their maximum. A metric of the *process* is counted in one relay from its \
         start; add them up.\n\n\
         | metric | kind | from | labels | what it says |\n|---|---|---|---|---|\n",
    );
    for Metric { name, kind, source, labels, help } in ALL {
        let source = if *source == Process { "process" } else { "store" };
        let _ = writeln!(page, "| `{name}` | {} | {source} | {} | {help} |", kind.as_str(), labels.join(", "));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_about_metrics_is_made_from_their_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        if std::env::var_os("WRITE_DOCS").is_some() {
            std::fs::write(path, page()).expect("the folder is there");
        }
        let written = std::fs::read_to_string(path).expect("docs/metrics.md");
        assert_eq!(written, page(), "write it anew with WRITE_DOCS=1");
    }

    #[test]
    fn names_are_as_prometheus_wants_them() {
        for metric in ALL {
            assert!(metric.name.starts_with("relay_"), "{}", metric.name);
            assert_eq!(metric.kind == Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
        let mut names: Vec<_> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn a_label_may_hold_anything() {
        let mut text = Text::default();
        text.value(&UNSENT, &["a\"b\\c\nd"], 1.5);
        assert!(text.into_text().ends_with("relay_unsent_events{stream=\"a\\\"b\\\\c\\nd\"} 1.5\n"));
    }

    #[test]
    fn a_histogram_counts_what_lies_below_each_bound() {
        let mut text = Text::default();
        text.histogram(&LATENCY, &[(0.5, 2), (1.0, 3)], 1, 7.25);
        let text = text.into_text();
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "relay_latency_seconds_bucket{le=\"0.5\"} 2",
                "relay_latency_seconds_bucket{le=\"1\"} 5",
                "relay_latency_seconds_bucket{le=\"+Inf\"} 6",
                "relay_latency_seconds_sum 7.25",
                "relay_latency_seconds_count 6",
            ]
        );
    }
}
