//! Two questions of whoever runs the process. `/live`: does the loop turn? If not, a restart helps. `/ready`: do events flow
//! as far as this relay can make them? If not, something else is away, and a restart does not help.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::admin::desk::Desk;
use crate::admin::problem::{Problem, Result};
use crate::pulse::Phase;

/// A turn ends, or is cut off, within the turn's limit; what comes on top of it is short.
const SLACK_SECONDS: u64 = 15;

/// What the loop does.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    phase: Phase,
    /// How long ago the loop last ended a turn.
    silent_seconds: f64,
}

/// Does the loop turn? A store that is away is no reason to say no.
#[utoipa::path(get, path = "/live", tag = "health",
    responses((status = 200, body = Health), (status = 503, body = Problem, description = "The loop hangs: restart it")))]
pub(crate) async fn live(State(desk): State<Arc<Desk>>) -> Result<Json<Health>> {
    if desk.hangs() {
        let why = format!("the loop has not ended a turn for {} seconds", desk.pulse.silence().as_secs());
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why));
    }
    Ok(Json(health(&desk)))
}

/// Do events flow, as far as this relay can make them? One that rests beside another is ready, if it could take over.
#[utoipa::path(get, path = "/ready", tag = "health",
    responses((status = 200, body = Health), (status = 503, body = Problem, description = "Something is away, and what")))]
pub(crate) async fn ready(State(desk): State<Arc<Desk>>) -> Result<Json<Health>> {
    match desk.pulse.phase() {
        Phase::Connecting => Err(Problem::away("Postgres is away, or not asked yet")),
        Phase::Waiting => Err(Problem::away("Redis is away, or takes nothing")),
        Phase::Stopping => Err(Problem::away("the relay is stopping")),
        Phase::Working | Phase::Resting if !desk.pulse.redis_up() => Err(Problem::away("Redis could not be reached")),
        Phase::Working | Phase::Resting => Ok(Json(health(&desk))),
    }
}

impl Desk {
    /// Whether the loop has been silent for longer than any turn may take.
    pub(crate) fn hangs(&self) -> bool {
        self.pulse.silence() > self.config.turn_timeout + Duration::from_secs(SLACK_SECONDS)
    }
}

fn health(desk: &Desk) -> Health {
    Health { phase: desk.pulse.phase(), silent_seconds: desk.pulse.silence().as_secs_f64() }
}
