//! The W3C trace context of the current span, so that one trace runs from the producer to the last consumer.

use std::collections::BTreeMap;

use opentelemetry::trace::TraceContextExt;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Writes `traceparent` (and `tracestate`, if there is any) unless the producer gave them itself.
pub(crate) fn write_to(headers: &mut BTreeMap<String, String>) {
    let context = tracing::Span::current().context();
    let span = context.span();
    let span = span.span_context();
    if !span.is_valid() || headers.contains_key("traceparent") {
        return;
    }
    let parent = format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags());
    headers.insert("traceparent".into(), parent);
    let state = span.trace_state().header();
    if !state.is_empty() {
        headers.insert("tracestate".into(), state);
    }
}
