//! Calling handlers, so that neither their time nor their panics are ours.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::line::Place;
use crate::{BatchHandler, Entry, Failure, Handler, Settled};

type Answer<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// Handlers of both kinds, as the consumer calls them.
pub(crate) trait Work: Send + Sync + 'static {
    fn handle<'a>(&'a self, entries: &'a [Entry]) -> Answer<'a>;
    fn settled<'a>(&'a self, upto: &'a Settled) -> Answer<'a>;
}

pub(crate) struct Each<H>(pub(crate) H);

impl<H: Handler> Work for Each<H> {
    fn handle<'a>(&'a self, entries: &'a [Entry]) -> Answer<'a> {
        Box::pin(async move {
            for entry in entries {
                traced(std::slice::from_ref(entry), self.0.handle(entry)).await?;
            }
            Ok(())
        })
    }

    fn settled<'a>(&'a self, upto: &'a Settled) -> Answer<'a> {
        Box::pin(self.0.settled(upto))
    }
}

pub(crate) struct Together<H>(pub(crate) H);

impl<H: BatchHandler> Work for Together<H> {
    fn handle<'a>(&'a self, entries: &'a [Entry]) -> Answer<'a> {
        Box::pin(traced(entries, self.0.handle(entries)))
    }

    fn settled<'a>(&'a self, upto: &'a Settled) -> Answer<'a> {
        Box::pin(self.0.settled(upto))
    }
}

/// With the feature `trace`, a handler's attempt is a span in its producer's trace.
#[cfg(feature = "trace")]
fn traced<F: Future>(entries: &[Entry], attempt: F) -> tracing::instrument::Instrumented<F> {
    use tracing::Instrument;
    attempt.instrument(crate::trace::handling(entries))
}

#[cfg(not(feature = "trace"))]
fn traced<F: Future>(_: &[Entry], attempt: F) -> F {
    attempt
}

/// What came of an attempt.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The entries that were handled together.
    pub(crate) places: Vec<Place>,
    pub(crate) result: Result<(), Failure>,
    pub(crate) took: Duration,
}

/// Handles entries together, for at most so long.
pub(crate) async fn attempt(
    work: std::sync::Arc<dyn Work>,
    places: Vec<Place>,
    entries: Vec<Entry>,
    limit: Duration,
) -> Finished {
    let begun = Instant::now();
    let result = survive(async { work.handle(&entries).await }, limit).await;
    Finished { places, result, took: begun.elapsed() }
}

/// Tells the handler what is settled. If it cannot take that in, it is told more another time.
pub(crate) async fn tell_settled(work: std::sync::Arc<dyn Work>, upto: Settled, limit: Duration) {
    if let Err(failure) = survive(async { work.settled(&upto).await }, limit).await {
        tracing::warn!(stream = %upto.lane, group = %upto.group, reason = failure.reason(),
            "the handler could not take in what is settled");
    }
}

/// A panic is a failure like others.
pub(crate) fn panicked(panic: &dyn Any) -> Failure {
    let words = panic.downcast_ref::<&str>().copied();
    let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
    Failure::Retry(format!("the handler panicked: {words}"))
}

async fn survive(answer: impl Future<Output = Result<(), Failure>>, limit: Duration) -> Result<(), Failure> {
    match tokio::time::timeout(limit, AssertUnwindSafe(answer).catch_unwind()).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(panicked(&*panic)),
        Err(_) => Err(Failure::Retry(format!("the handler took longer than {limit:?}"))),
    }
}
