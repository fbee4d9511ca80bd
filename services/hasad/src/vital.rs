//! What the archive tells of itself: every metric with its labels, and what it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sqlx::PgPool;
use vitals::Kind::{Counter, Gauge};
use vitals::Source::{Process, Store};
use vitals::{Metric, Text, Vital, metric};

use crate::archive::Count;
use crate::{Error, Objects, store};

const BUILD: Metric = metric("hasad_build_info", Gauge, Process, &["version"], "1, with Hasad's version.");
const POSTGRES_UP: Metric = metric(
    "hasad_postgres_up",
    Gauge,
    Process,
    &[],
    "1 if Postgres answered this very question. While it is 0 there are no figures of it. An alert: 0 for a minute.",
);
const MEMORY: Metric = metric(
    "hasad_resident_memory_bytes",
    Gauge,
    Process,
    &[],
    "Memory that this process has in use; where the system tells it.",
);
const VERSIONS: Metric = metric("hasad_versions_total", Counter, Process, &[], "Versions that were archived.");
const OBJECTS: Metric =
    metric("hasad_objects_total", Counter, Process, &[], "Objects that were written and had not been there.");
const BYTES: Metric = metric("hasad_object_bytes_total", Counter, Process, &[], "Bytes of those objects.");
const SAVED: Metric = metric(
    "hasad_saved_objects_total",
    Counter,
    Process,
    &[],
    "Contents that were there already, and not written again.",
);
const REWRITTEN: Metric = metric(
    "hasad_rewritten_objects_total",
    Counter,
    Process,
    &[],
    "Objects that lay there with a wrong size, and were written anew. An alert: if it rises.",
);
const REPEATED: Metric =
    metric("hasad_repeated_events_total", Counter, Process, &[], "Events that came again, or said nothing new.");
const PASSED_OVER: Metric = metric(
    "hasad_passed_over_events_total",
    Counter,
    Process,
    &[],
    "Events that are of no use here: authors, sources that are left alone, purged pages.",
);
const REFUSED: Metric = metric(
    "hasad_refused_events_total",
    Counter,
    Process,
    &[],
    "Events that this archive cannot take. Each is a dead letter of its group, which the relay counts.",
);
const OUTAGES: Metric = metric(
    "hasad_outages_total",
    Counter,
    Process,
    &[],
    "Batches that failed because Postgres or the store did. They are tried again, and cost no attempt.",
);
const APPLIED: Metric = metric(
    "hasad_applied_seq",
    Gauge,
    Store,
    &["lane", "generation"],
    "The newest entry that is archived. Entries that are older may still wait; how many, relay_group_lag_events says.",
);
const SILENT: Metric = metric(
    "hasad_source_silent_seconds",
    Gauge,
    Store,
    &["source"],
    "How long ago something of this source was archived last.",
);
const SWEPT: Metric = metric(
    "hasad_marked_objects",
    Gauge,
    Store,
    &[],
    "Objects that nobody names, and that wait for their grace to end.",
);
const FOUND: Metric = metric(
    "hasad_run_found",
    Gauge,
    Store,
    &["verb"],
    "What the last complete run of fsck found (faults), or of gc and purge (objects that went). An alert: fsck over 0.",
);
const RUN_AGE: Metric = metric("hasad_run_age_seconds", Gauge, Store, &["verb"], "How long ago that run ended.");

/// Every metric of Hasad, in the order in which they are told.
pub const METRICS: &[&Metric] = &[
    &BUILD,
    &POSTGRES_UP,
    &MEMORY,
    &VERSIONS,
    &OBJECTS,
    &BYTES,
    &SAVED,
    &REWRITTEN,
    &REPEATED,
    &PASSED_OVER,
    &REFUSED,
    &OUTAGES,
    &APPLIED,
    &SILENT,
    &SWEPT,
    &FOUND,
    &RUN_AGE,
];

/// The archive, to those who ask how it is.
#[derive(Debug)]
pub(crate) struct Vitals {
    /// Connections of its own: batches may hold all others.
    pub(crate) db: PgPool,
    pub(crate) objects: Objects,
    pub(crate) count: Arc<Count>,
    /// The group that this archive is.
    pub(crate) group: String,
}

impl Vital for Vitals {
    async fn ready(&self) -> Result<(), String> {
        crate::archive::look_whose(&self.db, &self.objects).await.map_err(|error| outbox::in_words(&error))
    }

    fn of_process(&self, text: &mut Text, store_up: bool) {
        text.value(&BUILD, &[crate::VERSION], 1.0);
        text.value(&POSTGRES_UP, &[], f64::from(u8::from(store_up)));
        if let Some(bytes) = vitals::memory() {
            text.value(&MEMORY, &[], bytes as f64);
        }
        let count = &self.count;
        let counters: [(&Metric, &AtomicU64); 9] = [
            (&VERSIONS, &count.versions),
            (&OBJECTS, &count.objects),
            (&BYTES, &count.bytes),
            (&SAVED, &count.saved),
            (&REWRITTEN, &count.rewritten),
            (&REPEATED, &count.repeated),
            (&PASSED_OVER, &count.passed_over),
            (&REFUSED, &count.refused),
            (&OUTAGES, &count.outages),
        ];
        for (metric, counter) in counters {
            text.value(metric, &[], counter.load(Relaxed) as f64);
        }
    }

    async fn of_store(&self, text: &mut Text) -> Result<(), String> {
        self.tell(text).await.map_err(|error| outbox::in_words(&error))
    }
}

impl Vitals {
    async fn tell(&self, text: &mut Text) -> Result<(), Error> {
        for (lane, generation, seq) in store::applied(&self.db, &self.group).await? {
            text.value(&APPLIED, &[&lane, &generation.to_string()], seq as f64);
        }
        for (source, seconds) in store::silence(&self.db).await? {
            text.value(&SILENT, &[&source], seconds);
        }
        text.value(&SWEPT, &[], store::marked_count(&self.db).await? as f64);
        let runs = store::last_runs(&self.db).await?;
        for (verb, found, _) in &runs {
            text.value(&FOUND, &[verb], *found as f64);
        }
        for (verb, _, seconds) in &runs {
            text.value(&RUN_AGE, &[verb], *seconds);
        }
        Ok(())
    }
}
