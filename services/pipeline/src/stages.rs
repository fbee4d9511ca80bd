//! How each stage stands: asked once a second at most, however many look.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fallah::Crawler;
use serde::Serialize;
use sqlx::PgPool;
use tokio::sync::Mutex;

use crate::part::Standing;
use crate::parts::Parts;
use crate::private::Kept;
use crate::store::{self, Backlog, Happened, Lag};

/// An answer is so old at most.
const FRESH_FOR: Duration = Duration::from_millis(700);
/// A store that does not answer in time is away.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Counted no further: a million takes longer than it is worth.
const COUNT_MAX: i64 = 100_000;
const HAPPENED_MAX: i64 = 12;

/// What it takes to know how each stage stands.
#[derive(Debug)]
pub(crate) struct Stages {
    pub(crate) parts: Parts,
    pub(crate) db: PgPool,
    pub(crate) archive: hasad::Look,
    pub(crate) articles: bisan::Store,
    /// Servers of our own.
    pub(crate) servers: Vec<Arc<Kept>>,
    /// The stream and the groups of archive and reader.
    pub(crate) stream: String,
    pub(crate) groups: [String; 2],
    pub(crate) seen: Mutex<Option<(Instant, Arc<State>)>>,
}

/// How all of it stands, as `/stages` tells it.
#[derive(Debug, Serialize)]
pub(crate) struct State {
    pub(crate) stages: All,
    /// The newest first; none: Postgres does not say.
    pub(crate) happened: Option<Vec<Happened>>,
}

/// Each stage, and the servers of our own.
#[derive(Debug, Serialize)]
pub(crate) struct All {
    pub(crate) fallah: Fallah,
    pub(crate) outbox: Option<Backlog>,
    pub(crate) relay: Relay,
    pub(crate) hasad: Hasad,
    pub(crate) bisan: Bisan,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) postgres: Option<Server>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) redis: Option<Server>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Fallah {
    #[serde(flatten)]
    pub(crate) standing: Standing,
    #[serde(flatten)]
    pub(crate) fetched: Option<Fetched>,
    pub(crate) items: Option<i64>,
}

/// What the crawler counts.
#[derive(Debug)]
pub(crate) struct Fetched(Arc<Crawler>);

impl Fetched {
    pub(crate) fn pages(&self) -> i64 {
        i64::try_from(self.0.count().pages.load(Ordering::Relaxed)).unwrap_or(i64::MAX)
    }
}

impl Serialize for Fetched {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.count().serialize(serializer)
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Relay {
    #[serde(flatten)]
    pub(crate) standing: Standing,
    /// The newest event that was sent.
    pub(crate) sent: Option<i64>,
    /// The operator's page.
    pub(crate) url: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Hasad {
    #[serde(flatten)]
    pub(crate) standing: Standing,
    #[serde(flatten)]
    pub(crate) lag: Option<Lag>,
    pub(crate) versions: Option<i64>,
    /// Of these, the ones in force.
    pub(crate) active: Option<i64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Bisan {
    #[serde(flatten)]
    pub(crate) standing: Standing,
    #[serde(flatten)]
    pub(crate) lag: Option<Lag>,
    pub(crate) articles: Option<i64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Server {
    #[serde(flatten)]
    pub(crate) standing: Standing,
    pub(crate) port: u16,
}

impl Stages {
    /// How they stand now, or stood a moment ago.
    pub(crate) async fn look(&self) -> Arc<State> {
        let mut seen = self.seen.lock().await;
        if let Some((at, state)) = &*seen
            && at.elapsed() < FRESH_FOR
        {
            return Arc::clone(state);
        }
        let state = Arc::new(self.ask().await);
        *seen = Some((Instant::now(), Arc::clone(&state)));
        state
    }

    async fn ask(&self) -> State {
        let from_postgres = async {
            let (backlog, lags, happened, items) = tokio::try_join!(
                store::backlog(&self.db, &self.stream),
                store::lags(&self.db, &self.stream),
                store::happened(&self.db, &self.stream, HAPPENED_MAX),
                store::items(&self.db, COUNT_MAX),
            )?;
            Ok::<_, sqlx::Error>((backlog, lags, happened, items))
        };
        let (postgres, versions, articles) = tokio::join!(
            tokio::time::timeout(ANSWER_MAX, from_postgres),
            tokio::time::timeout(ANSWER_MAX, self.archive.count(COUNT_MAX)),
            self.articles.read(|db| bisan::store::count(db, COUNT_MAX)),
        );
        // What a store does not say now is null: the page says that, and goes on.
        let (backlog, lags, happened, items) = match postgres.ok().and_then(Result::ok) {
            Some((backlog, lags, happened, items)) => (Some(backlog), lags, Some(happened), Some(items)),
            None => (None, vec![], None, None),
        };
        let (versions, active) = versions.ok().and_then(Result::ok).unzip();
        let lag_of = |group: &str| lags.iter().find(|lag| lag.group_name == group).cloned();
        let [of_archive, of_reader] = self.groups.each_ref().map(|group| lag_of(group));
        let parts = &self.parts;
        let server = |name: &str| {
            let server = self.servers.iter().find(|server| server.part().name == name)?;
            Some(Server { standing: server.part().standing(), port: server.port() })
        };
        let stages = All {
            fallah: Fallah { standing: parts.fallah.standing(), fetched: self.fetched(), items },
            outbox: backlog,
            relay: Relay {
                standing: parts.relay.standing(),
                sent: backlog.map(|backlog| backlog.sent),
                url: parts.operator.url(),
            },
            hasad: Hasad { standing: parts.hasad.standing(), lag: of_archive, versions, active },
            bisan: Bisan { standing: parts.bisan.standing(), lag: of_reader, articles: articles.ok() },
            postgres: server("postgres"),
            redis: server("redis"),
        };
        State { stages, happened }
    }

    fn fetched(&self) -> Option<Fetched> {
        self.parts.crawling.lock().ok()?.clone().map(Fetched)
    }
}
