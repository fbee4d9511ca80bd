//! Where one event is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::admin::asked::Named;
use crate::admin::desk::Desk;
use crate::admin::problem::{Problem, Result};
use crate::trail::{Trail, follow};

/// Where an event is: its row, its entry, how far each group has come with it, and the dead letters of it.
#[utoipa::path(get, path = "/trace/{event}", tag = "look", params(("event" = String, Path, description = "The event's id, the number of its row (42), or that of its entry (1-42)")),
    responses((status = 200, body = Trail), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn trace(State(desk): State<Arc<Desk>>, Named(event): Named) -> Result<Json<Trail>> {
    let trail = follow(&mut *desk.postgres().await?, &desk.config.server, &event).await?;
    trail.map(Json).ok_or_else(|| {
        Problem::not_found(format!(
            "nobody knows an event with the id or the number {event:?}: it was never committed, or published longer ago than rows are kept"
        ))
    })
}
