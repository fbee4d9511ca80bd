//! Metrics, as Prometheus reads them. Names and labels stand in `metrics.rs`.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use vitals::{Metric, Text};

use crate::admin::desk::Desk;
use crate::admin::snapshot::Snapshot;
use crate::metrics as m;
use crate::pulse::{BUCKETS, Phase, Pulse, bound};
use crate::standing::Standing;

/// What Prometheus asks for. If Postgres is away, what was counted in the process is told all the same.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, content_type = "text/plain; version=0.0.4", body = String)))]
pub(crate) async fn metrics(State(desk): State<Arc<Desk>>) -> Response {
    let mut text = Text::default();
    let snapshot = desk.snapshot().await;
    of_process(&mut text, &desk, snapshot.is_ok());
    if let Ok(snapshot) = snapshot {
        of_store(&mut text, &snapshot);
    }
    ([(header::CONTENT_TYPE, vitals::MIME)], text.into_text()).into_response()
}

fn of_process(text: &mut Text, desk: &Desk, postgres_up: bool) {
    let pulse: &Pulse = &desk.pulse;
    let flag = |is: bool| f64::from(u8::from(is));
    let started = pulse.started_at().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    text.value(&m::BUILD, &[env!("CARGO_PKG_VERSION")], 1.0);
    text.value(&m::STARTED, &[], started.as_secs_f64());
    text.value(&m::WORKING, &[], flag(pulse.phase() == Phase::Working));
    text.value(&m::SILENT, &[], pulse.silence().as_secs_f64());
    text.value(&m::REDIS_UP, &[], flag(pulse.redis_up()));
    text.value(&m::POSTGRES_UP, &[], flag(postgres_up));
    for (stream, sent) in pulse.sent_by_stream() {
        text.value(&m::SENT, &[&stream], sent as f64);
    }
    let latency = pulse.latency.counts();
    let below: Vec<_> = (0..BUCKETS).map(|at| (bound(at).as_secs_f64(), latency.buckets[at])).collect();
    text.histogram(&m::LATENCY, &below, latency.buckets[BUCKETS], latency.sum_us as f64 / 1e6);
    let counters: [(&Metric, &AtomicU64); 10] = [
        (&m::BATCHES, &pulse.batches),
        (&m::TURNS, &pulse.turns),
        (&m::REFUSALS, &pulse.refusals),
        (&m::BURIED, &pulse.buried),
        (&m::REBUILT, &pulse.rebuilt_entries),
        (&m::OVERTAKINGS, &pulse.overtakings),
        (&m::DISTURBED, &pulse.disturbed_batches),
        (&m::REDIS_OUTAGES, &pulse.redis_outages),
        (&m::POSTGRES_OUTAGES, &pulse.postgres_outages),
        (&m::SPANS_DROPPED, &pulse.spans_dropped),
    ];
    for (metric, counter) in counters {
        text.value(metric, &[], counter.load(Relaxed) as f64);
    }
    if let Some(bytes) = vitals::memory() {
        text.value(&m::MEMORY, &[], bytes as f64);
    }
    for ((route, status), count) in desk.answers.lock().expect("adding a number does not panic").iter() {
        text.value(&m::ANSWERS, &[route, &status.to_string()], *count as f64);
    }
}

fn of_store(text: &mut Text, snapshot: &Snapshot) {
    let Standing { relay, streams, groups, consumers, blockers } = &snapshot.standing;
    let flag = |is: bool| f64::from(u8::from(is));
    text.value(&m::READ, &[], snapshot.read_ms / 1e3);
    text.value(&m::HOLDER, &[], flag(relay.holder.is_some()));
    text.value(&m::FRONTIER, &[], relay.frontier as f64);
    text.value(&m::NEWEST, &[], relay.last as f64);
    text.value(&m::OVERTAKEN, &[], relay.overtaken as f64);
    text.value(&m::BLOCKERS, &[], blockers.len() as f64);
    let oldest = blockers.iter().filter_map(|blocker| blocker.open_seconds).fold(0.0, f64::max);
    text.value(&m::BLOCKED, &[], oldest);
    // One metric after the other, as its format asks.
    for stream in streams {
        text.value(&m::UNSENT, &[&stream.stream], stream.unsent as f64);
    }
    for stream in streams {
        text.value(&m::OLDEST_UNSENT, &[&stream.stream], stream.oldest_unsent_seconds.unwrap_or(0.0));
    }
    for stream in streams {
        text.value(&m::HELD, &[&stream.stream], stream.held as f64);
    }
    for stream in streams {
        text.value(&m::DEAD, &[&stream.stream, ""], stream.dead as f64);
    }
    for group in groups {
        text.value(&m::DEAD, &[&group.stream, &group.name], group.dead as f64);
    }
    for stream in streams {
        text.value(&m::SENT_SEQ, &[&stream.stream], stream.sent_seq as f64);
    }
    for stream in streams {
        text.value(&m::PAUSED, &[&stream.stream], flag(stream.paused_at.is_some()));
    }
    for group in groups {
        text.value(&m::LAG, &[&group.stream, &group.name], group.lag as f64);
    }
    for group in groups {
        text.value(&m::OLDEST_LAG, &[&group.stream, &group.name], group.oldest_seconds.unwrap_or(0.0));
    }
    for group in groups {
        text.value(&m::PENDING, &[&group.stream, &group.name], group.pending as f64);
    }
    for group in groups {
        text.value(&m::CONSUMERS, &[&group.stream, &group.name], group.consumers as f64);
    }
    for group in groups {
        let of_group = consumers.iter().filter(|one| one.stream == group.stream && one.group_name == group.name);
        if let Some(slowest_us) = of_group.map(|consumer| consumer.handling_p99_us).max() {
            text.value(&m::HANDLING, &[&group.stream, &group.name], slowest_us as f64 / 1e6);
        }
    }
}
