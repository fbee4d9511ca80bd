//! The same for scripts that know a dead-letter queue by these routes.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::dead::{masked, told};
use crate::admin::asked::{Asked, Named};
use crate::admin::desk::Desk;
use crate::admin::guard::Operator;
use crate::admin::jobs::{Deed, Job};
use crate::admin::problem::{Problem, Result};
use crate::store::dead::{self, DeadLetter, Filter};

const ITEMS_MAX: u32 = 1_000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Limit {
    /// At most so many, up to 1,000.
    #[serde(default = "fifty")]
    #[param(default = 50, minimum = 1, maximum = 1000)]
    limit: u32,
}

fn fifty() -> u32 {
    50
}

/// The newest dead letters.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Items {
    /// How many there are in all.
    count: i64,
    items: Vec<DeadLetter>,
}

/// How many there are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Count {
    count: i64,
}

/// The newest dead letters, with their payloads.
#[utoipa::path(get, path = "/dlq/items", tag = "dead-letter queue", params(Limit),
    responses((status = 200, body = Items), (status = 400, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn items(
    State(desk): State<Arc<Desk>>,
    Asked(Limit { limit }): Asked<Limit>,
) -> Result<Json<Items>> {
    if !(1..=ITEMS_MAX).contains(&limit) {
        return Err(Problem::bad(format!("limit is from 1 to {ITEMS_MAX}")));
    }
    let mut db = desk.postgres().await?;
    let all = Filter::default();
    let items = dead::list(&mut db, &all, None, i64::from(limit), true).await?;
    let items = masked(&desk, items).await?;
    Ok(Json(Items { count: dead::count(&mut db, &all).await?, items }))
}

/// How many dead letters there are.
#[utoipa::path(get, path = "/dlq/count", tag = "dead-letter queue",
    responses((status = 200, body = Count), (status = 503, body = Problem)))]
pub(crate) async fn count(State(desk): State<Arc<Desk>>) -> Result<Json<Count>> {
    let count = dead::count(&mut *desk.postgres().await?, &Filter::default()).await?;
    Ok(Json(Count { count }))
}

/// Sends one again, by the event's id.
#[utoipa::path(post, path = "/dlq/retry/{id}", tag = "dead-letter queue", params(("id" = String, Path, description = "The event's id")),
    responses((status = 200, body = Job), (status = 202, body = Job), (status = 404, body = Problem)))]
pub(crate) async fn retry(
    State(desk): State<Arc<Desk>>,
    Extension(operator): Extension<Operator>,
    Named(id): Named,
) -> Result<Response> {
    let filter = Filter { ids: vec![id], ..Filter::default() };
    desk.begin(Deed::Replay, filter, &operator).await.map(told)
}

/// Forgets all dead letters for good.
#[utoipa::path(delete, path = "/dlq/clear", tag = "dead-letter queue",
    responses((status = 200, body = Job), (status = 202, body = Job)))]
pub(crate) async fn clear(
    State(desk): State<Arc<Desk>>,
    Extension(operator): Extension<Operator>,
) -> Result<Response> {
    desk.begin(Deed::Drop, Filter::default(), &operator).await.map(told)
}
