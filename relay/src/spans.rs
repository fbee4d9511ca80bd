//! The relay's part of a trace: a span for each event that its producer traced, from its row to its entry, told to a collector
//! as OTLP (JSON over HTTP). Off unless a collector is named.
//!
//! The loop only puts what it knows into a queue, and never waits: what does not fit is counted and forgotten. The rest
//! happens on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use outbox::Envelope;
use serde_json::{Value, json};
use terminal::{Secret, Unusable};
use tokio::sync::oneshot;

use crate::fault::Error;
use crate::pulse::{Pulse, count};

/// So many spans may wait. More are forgotten.
const WAITING_MAX: usize = 8_192;
/// So many go together, and a first one waits at most so long for more.
const TOGETHER_MAX: usize = 512;
const TOGETHER_WITHIN: Duration = Duration::from_secs(1);
/// A collector has so long to take them.
const EXPORT_TIME_MAX: Duration = Duration::from_secs(10);
/// When the relay stops, what waits has so long to go.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Where traces go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Traces")]
pub(crate) struct Collector {
    /// A collector of traces that speaks OTLP over HTTP, such as http://localhost:4318; without it there are none
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true, value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,

    /// What it is to be told in headers: name=value,name=value
    #[arg(long, env = "OTEL_EXPORTER_OTLP_HEADERS", hide_env_values = true, value_name = "HEADERS")]
    pub(crate) otlp_headers: Option<Secret>,

    /// What this relay is called in traces
    #[arg(long, env = "OTEL_SERVICE_NAME", default_value = "relay", value_name = "NAME")]
    pub(crate) service_name: String,
}

/// An event that was sent.
#[derive(Debug)]
pub(crate) struct Span {
    stream: String,
    id: String,
    r#type: String,
    entry: String,
    traceparent: String,
    written: SystemTime,
    sent: SystemTime,
}

impl Span {
    /// None: the producer did not trace it, or does not want it to be collected.
    pub(crate) fn of(
        envelope: &Envelope,
        stream: &str,
        entry: impl FnOnce() -> String,
        sent: SystemTime,
    ) -> Option<Self> {
        // Reading headers costs more than looking whether it is worth it.
        if !envelope.headers.as_deref()?.contains("traceparent") {
            return None;
        }
        let traceparent = envelope.header("traceparent").filter(|parent| is_sampled(parent))?;
        Some(Self {
            stream: stream.to_owned(),
            id: envelope.id.clone(),
            r#type: envelope.r#type.clone(),
            entry: entry(),
            traceparent,
            written: envelope.time.min(sent),
            sent,
        })
    }

    fn as_json(&self) -> Value {
        let parts: Vec<&str> = self.traceparent.split('-').collect();
        let nanos = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string();
        let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
        json!({
            "traceId": parts[1],
            "spanId": new_span_id(),
            "parentSpanId": parts[2],
            "name": format!("relay {}", self.stream),
            "kind": 4, // producer
            "startTimeUnixNano": nanos(self.written),
            "endTimeUnixNano": nanos(self.sent),
            "attributes": [
                text("messaging.system", "redis_streams"),
                text("messaging.operation.type", "send"),
                text("messaging.destination.name", &self.stream),
                text("messaging.message.id", &self.id),
                text("outbox.type", &self.r#type),
                text("outbox.entry", &self.entry),
            ],
        })
    }
}

/// `00-<trace>-<span>-<flags>`, neither all zeros, with the flag that it is to be collected.
fn is_sampled(parent: &str) -> bool {
    let parts: Vec<&str> = parent.split('-').collect();
    let hex = |part: &str, length: usize| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let [version, trace, span, flags] = parts.as_slice() else { return false };
    hex(version, 2)
        && [(trace, 32), (span, 16)]
            .iter()
            .all(|(part, length)| hex(part, *length) && part.bytes().any(|byte| byte != b'0'))
        && u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1)
}

/// Eight bytes of chance.
fn new_span_id() -> String {
    let (_, low) = uuid::Uuid::now_v7().as_u64_pair();
    format!("{low:016x}")
}

/// Where the loop puts spans.
#[derive(Debug)]
pub(crate) struct Sink {
    queue: std::sync::mpsc::SyncSender<Span>,
}

impl Sink {
    pub(crate) fn take(&self, span: Span, pulse: &Pulse) {
        if self.queue.try_send(span).is_err() {
            count(&pulse.spans_dropped, 1);
        }
    }
}

/// Telling a collector, on a thread of its own.
pub(crate) struct Exporting {
    ended: oneshot::Receiver<()>,
    thread: JoinHandle<()>,
}

impl Collector {
    /// What is wrong with these settings.
    pub(crate) fn check(&self) -> Result<(), Unusable> {
        self.target().map(|_| ())
    }

    fn target(&self) -> Result<Option<(reqwest::Url, reqwest::header::HeaderMap)>, Unusable> {
        let Some(endpoint) = &self.otlp_endpoint else { return Ok(None) };
        let bad = |what: &str| Unusable(format!("--otlp-endpoint (OTEL_EXPORTER_OTLP_ENDPOINT) {what}"));
        let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        let url: reqwest::Url = url.parse().map_err(|_| bad("is not a URL, such as http://localhost:4318"))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(bad("must begin with http:// or https://"));
        }
        let mut headers = reqwest::header::HeaderMap::new();
        let given = self.otlp_headers.as_ref().map_or("", Secret::reveal);
        for pair in given.split(',').filter(|pair| !pair.trim().is_empty()) {
            let header = pair.split_once('=').and_then(|(name, value)| {
                let name: reqwest::header::HeaderName = name.trim().parse().ok()?;
                Some((name, reqwest::header::HeaderValue::from_str(value.trim()).ok()?))
            });
            let (name, mut value) = header.ok_or_else(|| {
                Unusable("--otlp-headers (OTEL_EXPORTER_OTLP_HEADERS) is not name=value,name=value".to_owned())
            })?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(Some((url, headers)))
    }

    /// Begins to tell the collector, and gives the loop a sink. None: there is no collector.
    pub(crate) fn begin(&self, pulse: &Arc<Pulse>) -> Result<Option<Exporting>, Error> {
        let Some((url, headers)) = self.target()? else { return Ok(None) };
        let impossible = |why: String| Error::Unusable(format!("traces cannot be collected: {why}"));
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Another thread may have been faster; then there is one, which is all that matters.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .timeout(EXPORT_TIME_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| impossible(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| impossible(error.to_string()))?;
        let (queue, waiting) = std::sync::mpsc::sync_channel(WAITING_MAX);
        let (end, ended) = oneshot::channel();
        let (service, watched) = (self.service_name.clone(), Arc::downgrade(pulse));
        let work = move || {
            let mut told_of_failure = false;
            while let Some(spans) = next(&waiting) {
                let number = spans.len() as u64;
                let body = document(&service, &spans);
                match runtime.block_on(export(&client, &url, body)) {
                    Ok(()) => told_of_failure = false,
                    Err(reason) => {
                        if let Some(pulse) = watched.upgrade() {
                            count(&pulse.spans_dropped, number);
                        }
                        if !told_of_failure {
                            tracing::warn!(reason, "the collector does not take traces; they are forgotten");
                        }
                        told_of_failure = true;
                    }
                }
            }
            let _ = end.send(());
        };
        let thread = std::thread::Builder::new().name("relay-traces".to_owned()).spawn(work);
        let thread = thread.map_err(|error| impossible(error.to_string()))?;
        pulse.collect(Sink { queue });
        Ok(Some(Exporting { ended, thread }))
    }
}

impl Exporting {
    /// Lets what waits go, once nobody holds the sink any more.
    pub(crate) async fn stop(self) {
        if tokio::time::timeout(DRAIN_MAX, self.ended).await.is_ok() {
            let _ = self.thread.join();
        }
    }
}

/// What goes together. None: the sink is gone, and the queue is empty.
fn next(waiting: &std::sync::mpsc::Receiver<Span>) -> Option<Vec<Span>> {
    let mut spans = vec![waiting.recv().ok()?];
    let until = Instant::now() + TOGETHER_WITHIN;
    while spans.len() < TOGETHER_MAX {
        match waiting.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(span) => spans.push(span),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    Some(spans)
}

fn document(service: &str, spans: &[Span]) -> String {
    json!({
        "resourceSpans": [{
            "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": service } }] },
            "scopeSpans": [{
                "scope": { "name": "relay", "version": env!("CARGO_PKG_VERSION") },
                "spans": spans.iter().map(Span::as_json).collect::<Vec<_>>(),
            }],
        }],
    })
    .to_string()
}

async fn export(client: &reqwest::Client, url: &reqwest::Url, body: String) -> Result<(), String> {
    let request = client.post(url.clone()).header("content-type", "application/json").body(body);
    // Without the URL: it may hold a credential.
    let response = request.send().await.map_err(|error| outbox::in_words(&error.without_url()))?;
    match response.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("it answers {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn envelope(headers: &str) -> Envelope {
        Envelope::new("e".into(), "t".into(), 1, None, UNIX_EPOCH, "1".into(), Some(headers.to_owned()))
    }

    fn span(headers: &str) -> Option<Span> {
        Span::of(&envelope(headers), "s", || "1-7".to_owned(), UNIX_EPOCH + Duration::from_secs(1))
    }

    #[test]
    fn a_span_lies_in_its_producers_trace() {
        let span = span(&format!(r#"{{"traceparent": "{PARENT}"}}"#)).expect("it is traced").as_json();
        assert_eq!(span["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(span["parentSpanId"], "00f067aa0ba902b7");
        assert_eq!((&span["startTimeUnixNano"], &span["endTimeUnixNano"]), (&json!("0"), &json!("1000000000")));
        let id = span["spanId"].as_str().expect("an id");
        assert!(id.len() == 16 && id != "00f067aa0ba902b7");
    }

    #[test]
    fn what_is_not_to_be_collected_makes_no_span() {
        for headers in [
            "{}",
            r#"{"tenant": "a"}"#,
            r#"{"traceparent": "nonsense"}"#,
            r#"{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}"#,
            r#"{"traceparent": "00-00000000000000000000000000000000-00f067aa0ba902b7-01"}"#,
        ] {
            assert!(span(headers).is_none(), "{headers}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_a_trace_or_none(
            parent in "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[0-9a-f]{0,2})?|[0-9a-fA-F-]{0,60}|\\PC{0,60}",
            headers in "\\PC{0,40}",
        ) {
            span(&headers);
            if let Some(span) = span(&json!({ "traceparent": parent }).to_string()) {
                let told = span.as_json();
                let is_hex = |part: &str| told[part].as_str().is_some_and(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit()));
                proptest::prop_assert!(is_hex("traceId") && is_hex("parentSpanId"), "{told}");
            }
        }
    }

    #[test]
    fn a_collector_is_a_url_and_its_headers_are_pairs() {
        let check = |endpoint: &str, headers: Option<&str>| {
            let otlp_headers = headers.map(Secret::from);
            Collector { otlp_endpoint: Some(endpoint.to_owned()), otlp_headers, service_name: "relay".to_owned() }
                .check()
        };
        assert!(check("http://localhost:4318/", Some("a=b, c=d")).is_ok());
        assert!(check("localhost:4318", None).is_err() && check("nonsense", None).is_err());
        assert!(
            check("http://localhost:4318", Some("secret"))
                .expect_err("no pair")
                .0
                .contains("OTEL_EXPORTER_OTLP_HEADERS")
        );
    }
}
