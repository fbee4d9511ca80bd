//! How it stands: what `relay status`, `relay groups` and `relay blockers` say.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::admin::asked::Asked;
use crate::admin::desk::Desk;
use crate::admin::history::Sample;
use crate::admin::problem::{Problem, Result};
use crate::admin::snapshot::Snapshot;
use crate::pulse::{Away, Phase};
use crate::standing::Standing;
use crate::store::people::{Blocker, ConsumerStatus, GroupStatus, RelayStatus, StreamStatus};
use crate::verdict::{Own, Told, Verdict, judge};

/// Why the loop cannot work.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Hindrance {
    away: Away,
    /// In the store's own words, or those of the wire to it.
    reason: String,
    since: String,
}

/// This relay, of which there may be several.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Here {
    version: &'static str,
    /// What this place is called (RELAY_ENVIRONMENT).
    environment: Option<String>,
    phase: Phase,
    redis_is_there: bool,
    /// The store that keeps it from its work, if one does.
    trouble: Option<Hindrance>,
    /// It has not ended a turn for longer than a turn may take: restart it.
    hangs: bool,
    started_at: String,
    /// Entries that it has sent since then.
    sent: u64,
    /// Its newest second.
    newest: Option<Sample>,
    /// Who may do more needs a token: so the page knows what to ask for.
    needs_read_token: bool,
    needs_write_token: bool,
}

/// Everything at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Status {
    /// When it was read. It may be a second old; older, if Postgres has much to count.
    at: String,
    /// Of all streams together.
    unsent: i64,
    /// Of all groups together.
    lag: i64,
    /// Dead letters, of the relay and of all groups.
    dead: i64,
    /// Is anything stuck, since when, and whose fault is it?
    verdict: Verdict,
    this: Here,
    relay: RelayStatus,
    streams: Vec<StreamStatus>,
    groups: Vec<GroupStatus>,
    consumers: Vec<ConsumerStatus>,
    blockers: Vec<Blocker>,
}

fn told(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}

/// What is said instead while Postgres does not tell how it stands: why, and what this relay knows by itself.
#[derive(Debug, Serialize)]
pub(crate) struct Untold {
    #[serde(flatten)]
    problem: Problem,
    verdict: Verdict,
    this: Here,
}

impl Desk {
    pub(crate) fn untold(&self, problem: Problem) -> Untold {
        let told = Told::Nothing { why: problem.detail(), seconds: None };
        Untold { verdict: judge(told, Some(&self.own()), Timestamp::now()), problem, this: self.here() }
    }

    pub(crate) async fn status(&self) -> Result<Status> {
        let snapshot = self.snapshot().await?;
        let Snapshot { at, standing, .. } = &*snapshot;
        let Standing { relay, streams, groups, consumers, blockers } = standing;
        Ok(Status {
            at: at.clone(),
            unsent: standing.unsent(),
            lag: standing.lag(),
            dead: relay.dead,
            verdict: judge(Told::Standing(standing), Some(&self.own()), Timestamp::now()),
            this: self.here(),
            relay: relay.clone(),
            streams: streams.clone(),
            groups: groups.clone(),
            consumers: consumers.clone(),
            blockers: blockers.clone(),
        })
    }

    /// What this relay knows of itself, as the verdict needs it.
    fn own(&self) -> Own {
        Own {
            phase: self.pulse.phase(),
            redis_is_there: self.pulse.redis_up(),
            hangs: self.hangs(),
            trouble: self.pulse.trouble().map(|trouble| {
                (trouble.away, trouble.reason, trouble.since.elapsed().unwrap_or_default().as_secs_f64())
            }),
        }
    }

    fn here(&self) -> Here {
        use crate::admin::tokens::Scope;
        Here {
            version: env!("CARGO_PKG_VERSION"),
            environment: self.surface.environment.clone(),
            phase: self.pulse.phase(),
            redis_is_there: self.pulse.redis_up(),
            trouble: self.pulse.trouble().map(|trouble| Hindrance {
                away: trouble.away,
                reason: trouble.reason,
                since: told(trouble.since),
            }),
            hangs: self.hangs(),
            started_at: told(self.pulse.started_at()),
            sent: self.pulse.sent_in_all(),
            newest: self.history.lock().expect("taking a sample does not panic").newest(),
            needs_read_token: self.tokens.guards(Scope::Read),
            needs_write_token: self.tokens.guards(Scope::Write),
        }
    }
}

/// Everything at a glance: this relay, the one that works, streams, groups, consumers, blockers.
#[utoipa::path(get, path = "/status", tag = "look",
    responses((status = 200, body = Status), (status = 503, body = Problem)))]
pub(crate) async fn status(State(desk): State<Arc<Desk>>) -> Result<Json<Status>> {
    Ok(Json(desk.status().await?))
}

/// How much waits in each stream, and since when.
#[utoipa::path(get, path = "/streams", tag = "look",
    responses((status = 200, body = Vec<StreamStatus>), (status = 503, body = Problem)))]
pub(crate) async fn streams(State(desk): State<Arc<Desk>>) -> Result<Json<Vec<StreamStatus>>> {
    Ok(Json(desk.snapshot().await?.standing.streams.clone()))
}

/// How far each group has come.
#[utoipa::path(get, path = "/groups", tag = "look",
    responses((status = 200, body = Vec<GroupStatus>), (status = 503, body = Problem)))]
pub(crate) async fn groups(State(desk): State<Arc<Desk>>) -> Result<Json<Vec<GroupStatus>>> {
    Ok(Json(desk.snapshot().await?.standing.groups.clone()))
}

/// What each consumer has done since it started. Those that were heard of within an hour.
#[utoipa::path(get, path = "/consumers", tag = "look",
    responses((status = 200, body = Vec<ConsumerStatus>), (status = 503, body = Problem)))]
pub(crate) async fn consumers(State(desk): State<Arc<Desk>>) -> Result<Json<Vec<ConsumerStatus>>> {
    Ok(Json(desk.snapshot().await?.standing.consumers.clone()))
}

/// Who writes to the outbox and has not ended, the oldest first: later events wait for them, until they are overtaken.
#[utoipa::path(get, path = "/blockers", tag = "look",
    responses((status = 200, body = Vec<Blocker>), (status = 503, body = Problem)))]
pub(crate) async fn blockers(State(desk): State<Arc<Desk>>) -> Result<Json<Vec<Blocker>>> {
    Ok(Json(desk.snapshot().await?.standing.blockers.clone()))
}

/// Which history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Step {
    /// Seconds from one sample to the next: 1 (the last five minutes) or 10 (the last hour).
    #[serde(default = "ten")]
    #[param(default = 10)]
    step: u64,
}

fn ten() -> u64 {
    10
}

/// What was.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Past {
    step_seconds: u64,
    /// The oldest first.
    samples: Vec<Sample>,
}

/// Rates, latency and backlog over time, as this relay has seen them since it started.
#[utoipa::path(get, path = "/history", tag = "look", params(Step),
    responses((status = 200, body = Past), (status = 400, body = Problem)))]
pub(crate) async fn history(State(desk): State<Arc<Desk>>, Asked(Step { step }): Asked<Step>) -> Result<Json<Past>> {
    let samples = desk.history.lock().expect("taking a sample does not panic").of_step(step);
    let samples = samples.ok_or_else(|| Problem::bad("step is 1 or 10 seconds"))?;
    Ok(Json(Past { step_seconds: step, samples }))
}
