//! Every metric of the relay: its name, its labels, and what it says.

use vitals::Kind::{Counter, Gauge, Histogram};
use vitals::Source::{Process, Store};
use vitals::{Metric, metric};

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
pub const METRICS: &[&Metric] = &[
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
