//! Replays and drops. What is soon done is answered at once; what takes longer goes on by itself, and tells how far it is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::desk::Desk;
use super::guard::Operator;
use super::problem::{Problem, Result};
use super::snapshot::now;
use crate::store::dead::{self, Filter};

/// So many at once.
const RUNNING_MAX: usize = 4;
/// So many are remembered.
const JOBS_MAX: usize = 100;
/// An answer waits so long for its end.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Deed {
    Replay,
    Drop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobState {
    /// Nothing was done: these are the figures of what would be.
    DryRun,
    Running,
    Done,
    Failed,
}

/// A replay or a drop.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Job {
    /// For `GET /jobs/{id}`.
    pub(crate) id: String,
    pub(crate) deed: Deed,
    pub(crate) state: JobState,
    /// Dead letters that were meant when it began.
    pub(crate) meant: i64,
    /// Sent again, or dropped, so far.
    pub(crate) done: i64,
    /// Left alone: they are no events, so nothing can be sent.
    pub(crate) left_no_events: i64,
    /// Left alone: replayed too often in vain. Named by their ids, they are replayed all the same.
    pub(crate) left_looping: i64,
    /// Why it failed.
    pub(crate) error: Option<String>,
    pub(crate) asked_by: String,
    pub(crate) started_at: String,
    pub(crate) seconds: f64,
    /// How long it will go on, as far as can be told.
    pub(crate) eta_seconds: Option<f64>,
    #[serde(skip)]
    begun: Instant,
}

impl Job {
    fn new(deed: Deed, operator: &Operator, meant: i64) -> Self {
        Self {
            id: uuid::Uuid::now_v7().to_string(),
            deed,
            state: JobState::Running,
            meant,
            done: 0,
            left_no_events: 0,
            left_looping: 0,
            error: None,
            asked_by: operator.0.clone(),
            started_at: now(),
            seconds: 0.0,
            eta_seconds: None,
            begun: Instant::now(),
        }
    }

    fn advance(&mut self, done: i64) {
        self.done = done;
        self.seconds = self.begun.elapsed().as_secs_f64();
        let left = (self.meant - done).max(0) as f64;
        self.eta_seconds = (done > 0 && self.state == JobState::Running).then(|| self.seconds / done as f64 * left);
    }
}

/// Those that run, and those that ran.
#[derive(Default)]
pub(crate) struct Jobs(Mutex<VecDeque<Arc<Mutex<Job>>>>);

fn seen(job: &Mutex<Job>) -> Job {
    job.lock().expect("counting does not panic").clone()
}

impl Jobs {
    pub(crate) fn find(&self, id: &str) -> Option<Job> {
        let jobs = self.0.lock().expect("looking does not panic");
        jobs.iter().map(|job| seen(job)).find(|job| job.id == id)
    }

    fn add(&self, job: Job) -> Result<Arc<Mutex<Job>>> {
        let mut jobs = self.0.lock().expect("looking does not panic");
        if jobs.iter().filter(|job| seen(job).state == JobState::Running).count() >= RUNNING_MAX {
            let why = format!("{RUNNING_MAX} replays and drops are under way; wait until one has ended");
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, why).after(5));
        }
        if jobs.len() >= JOBS_MAX
            && let Some(oldest) = jobs.iter().position(|job| seen(job).state != JobState::Running)
        {
            jobs.remove(oldest);
        }
        let job = Arc::new(Mutex::new(job));
        jobs.push_back(Arc::clone(&job));
        Ok(job)
    }
}

impl Desk {
    /// What a replay or a drop would do.
    pub(crate) async fn dry_run(&self, deed: Deed, filter: &Filter, operator: &Operator) -> Result<Job> {
        let mut db = self.postgres().await?;
        let meant = dead::count(&mut db, filter).await?;
        let mut job = Job { state: JobState::DryRun, ..Job::new(deed, operator, meant) };
        match deed {
            Deed::Drop => job.done = meant,
            Deed::Replay => {
                let would = dead::replayable(&mut db, filter).await?;
                (job.done, job.left_no_events, job.left_looping) = (would.replayed, would.no_events, would.looping);
            }
        }
        Ok(job)
    }

    /// Begins a replay or a drop, and answers how far it has come after a moment.
    pub(crate) async fn begin(self: &Arc<Self>, deed: Deed, filter: Filter, operator: &Operator) -> Result<Job> {
        let meant = dead::count(&mut *self.postgres().await?, &filter).await?;
        if meant == 0 && !filter.ids.is_empty() {
            return Err(Problem::not_found("there is no dead letter with any of these ids"));
        }
        let job = self.jobs.add(Job::new(deed, operator, meant))?;
        let (desk, at_work, operator) = (Arc::clone(self), Arc::clone(&job), operator.clone());
        let work = tokio::spawn(async move { desk.work(&at_work, deed, &filter, &operator).await });
        let _ = tokio::time::timeout(PATIENCE, work).await;
        Ok(seen(&job))
    }

    async fn work(&self, job: &Mutex<Job>, deed: Deed, filter: &Filter, operator: &Operator) {
        let outcome = self.change(job, deed, filter).await;
        let mut job = job.lock().expect("counting does not panic");
        job.state = if outcome.is_ok() { JobState::Done } else { JobState::Failed };
        job.error = outcome.err().map(|problem| problem.detail().to_owned());
        let done = job.done;
        job.advance(done);
        let deed = match deed {
            Deed::Replay => "replay dead letters",
            Deed::Drop => "drop dead letters",
        };
        operator.did(deed, &in_words(filter), done);
    }

    async fn change(&self, job: &Mutex<Job>, deed: Deed, filter: &Filter) -> Result<()> {
        // A connection of its own: it may take longer than a question, and must not keep others waiting.
        let mut db = self.config.database.connect().await?;
        let advance = |done| job.lock().expect("counting does not panic").advance(done);
        match deed {
            Deed::Drop => advance(dead::drop(&mut db, filter).await?),
            Deed::Replay => {
                let replayed = dead::replay(&mut db, filter, advance).await?;
                let mut job = job.lock().expect("counting does not panic");
                job.advance(replayed.replayed);
                (job.left_no_events, job.left_looping) = (replayed.no_events, replayed.looping);
            }
        }
        Ok(())
    }
}

/// Which dead letters were meant, for the audit.
fn in_words(filter: &Filter) -> String {
    let mut words = vec![];
    match filter.ids.as_slice() {
        [] => {}
        [id] => words.push(format!("id {id:?}")),
        ids => words.push(format!("{} ids", ids.len())),
    }
    let named =
        [("stream", &filter.stream), ("type", &filter.r#type), ("group", &filter.group), ("search", &filter.search)];
    words.extend(named.iter().filter_map(|(name, value)| Some(format!("{name} {:?}", value.as_ref()?))));
    if words.is_empty() { "all".to_owned() } else { words.join(", ") }
}
