//! W3C trace context: written by producers, continued around handlers, so that one trace runs from the producer to the last
//! consumer.

use std::collections::BTreeMap;

use opentelemetry::trace::TraceContextExt;
use tracing_opentelemetry::OpenTelemetrySpanExt;

#[cfg(feature = "consumer")]
pub(crate) use handling::handling;

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

#[cfg(feature = "consumer")]
mod handling {
    use std::str::FromStr;

    use opentelemetry::Context;
    use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    use crate::Entry;

    /// A span for one attempt of a handler: in the trace of its event's producer. Of several events that are handled together
    /// the first gives the trace, and the others are linked.
    pub(crate) fn handling(entries: &[Entry]) -> tracing::Span {
        let Some(first) = entries.first() else { return tracing::Span::none() };
        let span = tracing::info_span!("handle", stream = %first.stream, group = %first.group, id = %first.envelope.id,
                                       entry = %first.number, attempt = first.attempt, events = entries.len());
        if span.is_disabled() {
            return span;
        }
        let mut producers = entries.iter().filter_map(producer);
        if let Some(parent) = producers.next() {
            // Where nobody collects spans there is none to have a parent.
            let _ = span.set_parent(Context::new().with_remote_span_context(parent));
        }
        producers.for_each(|other| span.add_link(other));
        span
    }

    /// The span in which an event was written.
    fn producer(entry: &Entry) -> Option<SpanContext> {
        let state = entry.envelope.header("tracestate");
        context(&entry.envelope.header("traceparent")?, state.as_deref())
    }

    fn context(parent: &str, state: Option<&str>) -> Option<SpanContext> {
        let state = state.and_then(|state| TraceState::from_str(state).ok());
        let mut parts = parent.split('-').skip(1);
        let trace = TraceId::from_hex(parts.next()?).ok()?;
        let span = SpanId::from_hex(parts.next()?).ok()?;
        let flags = u8::from_str_radix(parts.next()?, 16).ok()?;
        let context = SpanContext::new(trace, span, TraceFlags::new(flags), true, state.unwrap_or_default());
        context.is_valid().then_some(context)
    }

    #[cfg(test)]
    mod tests {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            #[test]
            fn any_header_is_a_trace_or_none(
                parent in "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}|[0-9a-fA-F-]{0,60}|\\PC{0,60}",
                state in prop::option::of("([a-z0-9@]{1,5}=[a-z]{0,5},?){0,40}|\\PC{0,60}"),
            ) {
                if let Some(context) = context(&parent, state.as_deref()) {
                    prop_assert!(context.is_valid() && context.is_remote());
                }
            }
        }
    }
}
