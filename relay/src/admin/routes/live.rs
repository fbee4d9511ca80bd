//! How it stands, second by second, for as long as somebody listens.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::admin::desk::{Desk, LISTENERS_MAX};
use crate::admin::problem::{Problem, Result};

const EVERY: Duration = Duration::from_secs(1);

/// Server-sent events: `status` each second, with what `GET /status` answers; `problem` while that cannot be told, with what this relay knows by itself (`this`).
#[utoipa::path(get, path = "/events", tag = "look",
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 503, body = Problem)))]
pub(crate) async fn events(
    State(desk): State<Arc<Desk>>,
) -> Result<Sse<impl Stream<Item = std::result::Result<Event, Infallible>>>> {
    let Ok(seat) = Arc::clone(&desk.listeners).try_acquire_owned() else {
        let why = format!("{LISTENERS_MAX} are listening already");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).after(5));
    };
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The seat is held by the stream, and so for as long as somebody listens.
    let events = unfold((desk, ticks, seat), |(desk, mut ticks, seat)| async move {
        let event = next(&desk, &mut ticks).await?;
        Some((Ok(event), (desk, ticks, seat)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// The next event; none once the relay stops.
async fn next(desk: &Desk, ticks: &mut Interval) -> Option<Event> {
    let mut stopped = desk.stopped.clone();
    tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => return None,
        _ = ticks.tick() => {}
    }
    let event = match desk.status().await {
        Ok(status) => Event::default().event("status").json_data(&status),
        Err(problem) => Event::default().event("problem").json_data(desk.untold(problem)),
    };
    // What is ours is always JSON.
    event.ok()
}
