//! Dead letters: listed, shown, sent again, forgotten.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};

use crate::admin::asked::{Asked, Named, Sent, without_nul};
use crate::admin::desk::Desk;
use crate::admin::guard::Operator;
use crate::admin::jobs::{Deed, Job, JobState};
use crate::admin::problem::{Problem, Result};
use crate::store::dead::{self, DeadLetter, Filter};

/// A page has at most so many letters.
const PAGE_MAX: u32 = 500;
/// So many may be named at once.
const IDS_MAX: usize = 10_000;
/// A name or a text that is searched for may be so long; no name is longer.
const TEXT_BYTES_MAX: usize = 1_000;
/// Where values are masked, so many letters are looked into that hold a text in their payload alone, the newest first, and so
/// many bytes of them.
const LOOKED_INTO_MAX: i64 = 2_000;
const LOOKED_INTO_BYTES_MAX: i64 = 32 << 20;
/// An event has one letter for each group that it failed; more are not shown at once.
const LETTERS_MAX: i64 = 1_000;

/// Which page of which letters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// Only of this stream.
    stream: Option<String>,
    /// Only of this type.
    r#type: Option<String>,
    /// Only of this group.
    group: Option<String>,
    /// Only those that hold this text, in whichever case: in their id, key, payload, or why they failed.
    search: Option<String>,
    /// At most so many, up to 500.
    #[serde(default = "fifty")]
    #[param(default = 50, minimum = 1, maximum = 500)]
    limit: u32,
    /// The `next` of the page before.
    after: Option<String>,
}

fn fifty() -> u32 {
    50
}

/// A page of dead letters, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Letters {
    /// How many there are in all, by this filter.
    total: i64,
    items: Vec<DeadLetter>,
    /// What to give as `after` for the next page; none: this is the last one.
    next: Option<String>,
}

/// Dead letters, the newest first, without their payloads.
#[utoipa::path(get, path = "/dead", tag = "dead letters", params(Page),
    responses((status = 200, body = Letters), (status = 400, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn list(State(desk): State<Arc<Desk>>, Asked(page): Asked<Page>) -> Result<Json<Letters>> {
    if !(1..=PAGE_MAX).contains(&page.limit) {
        return Err(Problem::bad(format!("limit is from 1 to {PAGE_MAX}")));
    }
    let behind = page.after.map(|after| after.parse());
    let behind = behind.transpose().map_err(|()| Problem::bad("after is what a page before gave as next"))?;
    let Page { stream, r#type, group, search, limit, .. } = page;
    let filter = Filter { stream, r#type, group, search, ..Filter::default() };
    check(&filter)?;
    let mut db = desk.postgres().await?;
    let filter = visible(&desk, &mut db, filter).await?;
    let total = dead::count(&mut db, &filter).await?;
    let mut items = dead::list(&mut db, &filter, behind.as_ref(), i64::from(limit) + 1, false).await?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next = items.last().filter(|_| more).map(|last| last.cursor.clone());
    Ok(Json(Letters { total, items, next }))
}

/// An event's letters, one for each group, with its payload and how its attempts failed.
#[utoipa::path(get, path = "/dead/{id}", tag = "dead letters", params(("id" = String, Path, description = "The event's id")),
    responses((status = 200, body = Vec<DeadLetter>), (status = 404, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn show(State(desk): State<Arc<Desk>>, Named(id): Named) -> Result<Json<Vec<DeadLetter>>> {
    let filter = Filter { ids: vec![id], ..Filter::default() };
    let letters = dead::list(&mut *desk.postgres().await?, &filter, None, LETTERS_MAX, true).await?;
    if letters.is_empty() {
        return Err(Problem::not_found(format!("there is no dead letter with the id {:?}", filter.ids[0])));
    }
    Ok(Json(masked(&desk, letters).await?))
}

/// Which letters are meant: by id, by filter, or all. To name nothing does not mean all.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Selection {
    /// The events' ids.
    ids: Vec<String>,
    stream: Option<String>,
    r#type: Option<String>,
    group: Option<String>,
    search: Option<String>,
    /// All of them.
    all: bool,
    /// Only say what it would do.
    dry_run: bool,
}

impl Selection {
    fn filter(self) -> Result<Filter> {
        let Self { ids, stream, r#type, group, search, all, .. } = self;
        let filter = Filter { ids, stream, r#type, group, search, found: None };
        let parts = [&filter.stream, &filter.r#type, &filter.group, &filter.search];
        let named = !filter.ids.is_empty() || parts.iter().any(|part| part.is_some());
        if named == all {
            return Err(Problem::bad(
                "say which: ids, stream, type, group or search; or \"all\": true, and then nothing else",
            ));
        }
        if filter.ids.len() > IDS_MAX {
            return Err(Problem::bad(format!("name at most {IDS_MAX} ids at once, or use a filter")));
        }
        check(&filter)?;
        Ok(filter)
    }
}

fn check(filter: &Filter) -> Result<()> {
    let Filter { ids, stream, r#type, group, search, .. } = filter;
    let texts = [stream.as_deref(), r#type.as_deref(), group.as_deref(), search.as_deref()];
    if texts.iter().flatten().any(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(Problem::bad(format!("stream, type, group and search have at most {TEXT_BYTES_MAX} bytes")));
    }
    without_nul(&texts)?;
    without_nul(&ids.iter().map(|id| Some(id.as_str())).collect::<Vec<_>>())
}

/// The same letters without those in which only a hidden value fits: what may not be shown must not be guessed sign by sign.
/// So nothing may depend on how many those are, either: no total, and no refusal.
async fn visible(desk: &Arc<Desk>, db: &mut PgConnection, mut filter: Filter) -> Result<Filter> {
    let Some(text) = filter.search.clone().filter(|_| !desk.surface.mask.is_off()) else { return Ok(filter) };
    let fit = dead::found_in_payload(db, &filter, LOOKED_INTO_MAX, LOOKED_INTO_BYTES_MAX).await?;
    let shown = aside(desk, move |desk| {
        let shows = |(_, r#type, payload): &(String, Option<String>, String)| {
            desk.surface.mask.shows(r#type.as_deref(), payload, &text)
        };
        fit.into_iter().filter(shows).map(|(id, ..)| id).collect()
    });
    filter.found = Some(shown.await?);
    Ok(filter)
}

/// Letters as they may be shown.
pub(crate) async fn masked(desk: &Arc<Desk>, letters: Vec<DeadLetter>) -> Result<Vec<DeadLetter>> {
    aside(desk, |desk| letters.into_iter().map(|letter| desk.surface.mask.letter(letter)).collect()).await
}

/// Reads payloads on another thread: on this one everybody else waits to be served.
async fn aside<T: Send + 'static>(desk: &Arc<Desk>, read: impl FnOnce(&Desk) -> T + Send + 'static) -> Result<T> {
    let desk = Arc::clone(desk);
    let done = tokio::task::spawn_blocking(move || read(&desk)).await;
    done.map_err(|_| Problem::away("the payloads could not be read"))
}

/// Sends dead letters again: to the end of their stream, or, if only a group could not take them, to that group alone.
///
/// What is done within two seconds is answered with 200; what takes longer goes on by itself, and is answered with 202.
#[utoipa::path(post, path = "/dead/replay", tag = "dead letters", request_body = Selection,
    responses((status = 200, body = Job), (status = 202, body = Job, description = "It goes on: GET /jobs/{id}"),
              (status = 400, body = Problem), (status = 404, body = Problem), (status = 429, body = Problem)))]
pub(crate) async fn replay(
    State(desk): State<Arc<Desk>>,
    Extension(operator): Extension<Operator>,
    Sent(selection): Sent<Selection>,
) -> Result<Response> {
    change(&desk, Deed::Replay, selection, &operator).await
}

/// Forgets dead letters for good. Answers as a replay does.
#[utoipa::path(post, path = "/dead/drop", tag = "dead letters", request_body = Selection,
    responses((status = 200, body = Job), (status = 202, body = Job, description = "It goes on: GET /jobs/{id}"),
              (status = 400, body = Problem), (status = 404, body = Problem), (status = 429, body = Problem)))]
pub(crate) async fn drop(
    State(desk): State<Arc<Desk>>,
    Extension(operator): Extension<Operator>,
    Sent(selection): Sent<Selection>,
) -> Result<Response> {
    change(&desk, Deed::Drop, selection, &operator).await
}

async fn change(desk: &Arc<Desk>, deed: Deed, selection: Selection, operator: &Operator) -> Result<Response> {
    let dry_run = selection.dry_run;
    let filter = visible(desk, &mut *desk.postgres().await?, selection.filter()?).await?;
    let job = match dry_run {
        true => desk.dry_run(deed, &filter, operator).await?,
        false => desk.begin(deed, filter, operator).await?,
    };
    Ok(told(job))
}

/// A job that goes on says where it can be looked at.
pub(crate) fn told(job: Job) -> Response {
    match job.state {
        JobState::Running => {
            let at = format!("/jobs/{}", job.id);
            (StatusCode::ACCEPTED, [(header::LOCATION, at)], Json(job)).into_response()
        }
        JobState::Failed => Problem::away(job.error.unwrap_or_default()).into_response(),
        JobState::Done | JobState::DryRun => Json(job).into_response(),
    }
}

/// How far a replay or a drop has come. The last hundred are remembered, until the relay stops.
#[utoipa::path(get, path = "/jobs/{id}", tag = "dead letters", params(("id" = String, Path, description = "The job's id")),
    responses((status = 200, body = Job), (status = 404, body = Problem)))]
pub(crate) async fn job(State(desk): State<Arc<Desk>>, Named(id): Named) -> Result<Json<Job>> {
    let found = desk.jobs.find(&id);
    found.map(Json).ok_or_else(|| Problem::not_found("there is no such job; this relay may have been started since"))
}
