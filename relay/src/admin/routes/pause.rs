//! Pausing and resuming.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::admin::asked::Sent;
use crate::admin::desk::Desk;
use crate::admin::guard::Operator;
use crate::admin::problem::{Problem, Result};
use crate::pausing::{self, Changed, Wish};

const STREAM_BYTES_MAX: usize = 200;

/// One stream, or everything. To name nothing does not mean everything.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    stream: Option<String>,
    #[serde(default)]
    all: bool,
}

/// Sends nothing any more, to one stream or at all, until somebody resumes. Everything else goes on; what is written waits.
///
/// It outlives the relay. The answer comes when every relay that sends has heard it: from then on nothing is sent.
#[utoipa::path(post, path = "/pause", tag = "pause", request_body = Which,
    responses((status = 200, body = Changed), (status = 400, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn pause(
    State(desk): State<Arc<Desk>>,
    Extension(operator): Extension<Operator>,
    Sent(which): Sent<Which>,
) -> Result<Json<Changed>> {
    change(&desk, Wish::Pause, which, &operator).await
}

/// Ends the pause of one stream, or every pause there is.
#[utoipa::path(post, path = "/resume", tag = "pause", request_body = Which,
    responses((status = 200, body = Changed), (status = 400, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn resume(
    State(desk): State<Arc<Desk>>,
    Extension(operator): Extension<Operator>,
    Sent(which): Sent<Which>,
) -> Result<Json<Changed>> {
    change(&desk, Wish::Resume, which, &operator).await
}

async fn change(desk: &Desk, wish: Wish, which: Which, operator: &Operator) -> Result<Json<Changed>> {
    let Which { stream, all } = which;
    if stream.is_some() == all {
        return Err(Problem::bad("say which: \"stream\", or \"all\": true"));
    }
    if let Some(stream) = &stream
        && (stream.is_empty() || stream.len() > STREAM_BYTES_MAX || stream.contains('\0'))
    {
        return Err(Problem::bad(format!("a stream's name has 1 to {STREAM_BYTES_MAX} bytes, and no NUL")));
    }
    let changed = pausing::change(&mut *desk.postgres().await?, wish, stream.as_deref(), &operator.0).await?;
    let deed = match wish {
        Wish::Pause => "pause",
        Wish::Resume => "resume",
    };
    operator.did(deed, stream.as_deref().unwrap_or("everything"), 1);
    Ok(Json(changed))
}
