//! One trace, from the producer's span through the relay and the stream to the handler's span.

use std::sync::{Arc, Mutex};

use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use outbox::{Consumer, Entry, Event};
use outbox_tests::{Child, Doing, Signal, Stage, eventually, until_settled};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tracing::Instrument;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

/// What the services around the relay would tell a collector.
#[derive(Debug, Clone, Default)]
struct Finished(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Finished {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().expect("nobody panics here").extend(batch);
        Ok(())
    }
}

/// A collector of traces: a double, which keeps what it is told and answers with a status.
struct Collector {
    url: String,
    told: Arc<Mutex<Vec<Value>>>,
    headers: Arc<Mutex<String>>,
}

impl Collector {
    async fn begin(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (told, headers) = (Arc::new(Mutex::new(vec![])), Arc::new(Mutex::new(String::new())));
        let (kept, seen) = (Arc::clone(&told), Arc::clone(&headers));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(listen(stream, status, Arc::clone(&kept), Arc::clone(&seen)));
            }
        });
        Self { url, told, headers }
    }

    /// Every span so far, of every export.
    fn spans(&self) -> Vec<Value> {
        let told = self.told.lock().expect("nobody panics here");
        let spans = |document: &Value| document["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().cloned();
        told.iter().filter_map(spans).flatten().collect()
    }
}

async fn listen(stream: TcpStream, status: u16, told: Arc<Mutex<Vec<Value>>>, headers: Arc<Mutex<String>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut length, mut head) = (0, String::new());
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
            head += &line;
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.expect("a body");
        *headers.lock().expect("nobody panics here") = head;
        told.lock().expect("nobody panics here").push(serde_json::from_slice(&body).expect("OTLP as JSON"));
        let answer =
            format!("HTTP/1.1 {status} x\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{{}}");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A relay that tells a collector.
fn telling(stage: &Stage, collector: &Collector) -> Child {
    let mut command = stage.command(&["run"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url).env("OTEL_EXPORTER_OTLP_HEADERS", "x-team=news");
    command.env("OTEL_SERVICE_NAME", "the relay");
    Child::spawn(command)
}

#[tokio::test]
async fn one_trace_runs_from_the_producer_through_the_relay_to_the_handler() {
    let stage = Stage::set().await;
    let collector = Collector::begin(200).await;
    let exporter = Finished::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("services"));
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));

    let mut relay = telling(&stage, &collector);
    let span = tracing::info_span!("place an order");
    let producer = span.context().span().span_context().clone();
    let event = span.in_scope(|| Event::draft("orders", "order.placed").id("o-1").json(&1).expect("valid"));
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    outbox::enqueue(&mut tx, &event).await.map(drop).expect("written");
    tx.commit().await.expect("committed");
    drop(span);
    stage.until_arrived_by_itself("orders", 1).await;

    let within = Arc::new(Mutex::new(vec![]));
    let noted = Arc::clone(&within);
    let handler = Doing(move |_: Entry| {
        let noted = Arc::clone(&noted);
        async move {
            let span = tracing::Span::current().context().span().span_context().clone();
            noted.lock().expect("nobody panics here").push(span.trace_id());
            async {}.instrument(tracing::info_span!("charge the card")).await;
            Ok(())
        }
    });
    let mut consumer = Consumer::builder(stage.redis.url())
        .stream("orders")
        .group("billing")
        .handler(handler)
        .build()
        .expect("valid");
    until_settled(&mut consumer, 1).await;
    assert_eq!(*within.lock().expect("nobody panics here"), [producer.trace_id()]);

    eventually("the relay's span", async || !collector.spans().is_empty()).await;
    let of_relay = collector.spans().remove(0);
    assert_eq!(of_relay["traceId"], producer.trace_id().to_string());
    assert_eq!(of_relay["parentSpanId"], producer.span_id().to_string());
    let attributes = of_relay["attributes"].to_string();
    assert!(
        attributes.contains("o-1") && attributes.contains("orders") && attributes.contains("1-1"),
        "{attributes}"
    );
    let nanos = |name: &str| of_relay[name].as_str().expect("nanoseconds").parse::<u128>().expect("a number");
    assert!(nanos("startTimeUnixNano") <= nanos("endTimeUnixNano"));
    assert!(collector.headers.lock().expect("nobody panics here").contains("x-team: news"));
    let resource = collector.told.lock().expect("nobody panics here")[0]["resourceSpans"][0]["resource"].to_string();
    assert!(resource.contains("the relay"), "{resource}");

    let finished = exporter.0.lock().expect("nobody panics here").clone();
    let handled: Vec<_> = finished.iter().filter(|span| span.name == "handle").collect();
    assert_eq!(handled.len(), 1);
    assert_eq!(handled[0].span_context.trace_id(), producer.trace_id());
    assert_eq!(handled[0].parent_span_id, producer.span_id());
    relay.signal(Signal::Term);
    assert_eq!(relay.wait().await, 0);
}

#[tokio::test]
async fn what_waits_is_told_before_the_relay_ends_and_what_is_not_traced_is_not_told() {
    let stage = Stage::set().await;
    let collector = Collector::begin(200).await;
    let mut relay = telling(&stage, &collector);
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let statement = format!(
        "select outbox_enqueue('s', 't', to_json(n), id => 'e' || n, headers =>
                case when n % 2 = 0 then jsonb_build_object('traceparent', '{parent}') else '{{}}' end)
           from generate_series(1, 1000) n"
    );
    stage.sql(&statement).await;
    stage.until_arrived_by_itself("s", 1000).await;
    relay.signal(Signal::Term);
    assert_eq!(relay.wait().await, 0);
    assert_eq!(collector.spans().len(), 500);
}

#[tokio::test]
async fn a_collector_that_refuses_or_is_away_holds_nothing_up() {
    let stage = Stage::set().await;
    let collector = Collector::begin(503).await;
    let relay = telling(&stage, &collector);
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for n in 0..3 {
        let statement = format!(
            "select outbox_enqueue('s', 't', '1', id => 'e{n}', headers => '{{\"traceparent\": \"{parent}\"}}')"
        );
        stage.sql(&statement).await;
    }
    stage.until_arrived_by_itself("s", 3).await;
    relay.saw("the collector does not take traces").await;
    assert!(!relay.log().contains("panicked"));
}
