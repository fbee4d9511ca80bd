//! How each stage stands: asked once a second at most, however many look.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::sync::Mutex;

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
    pub(crate) seen: Mutex<Option<(Instant, Arc<Value>)>>,
}

impl Stages {
    /// How they stand now, or stood a moment ago.
    pub(crate) async fn look(&self) -> Arc<Value> {
        let mut seen = self.seen.lock().await;
        if let Some((at, value)) = &*seen
            && at.elapsed() < FRESH_FOR
        {
            return Arc::clone(value);
        }
        let value = Arc::new(self.ask().await);
        *seen = Some((Instant::now(), Arc::clone(&value)));
        value
    }

    async fn ask(&self) -> Value {
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
        let postgres: Option<(Backlog, Vec<Lag>, Vec<Happened>, i64)> = postgres.ok().and_then(Result::ok);
        let versions = versions.ok().and_then(Result::ok);
        let crawler = self.parts.crawling.lock().ok().and_then(|crawler| crawler.clone());
        let fetched = crawler.and_then(|crawler| serde_json::to_value(crawler.count()).ok());
        let lag_of = |group: &str| {
            let lags = &postgres.as_ref()?.1;
            lags.iter().find(|lag| lag.group_name == group).and_then(|lag| serde_json::to_value(lag).ok())
        };
        let part = |part: &crate::part::Part, more: Value| merged(json!(part.standing()), more);
        let mut stages = json!({
            "fallah": merged(part(&self.parts.fallah, fetched.unwrap_or_default()), json!({
                "items": postgres.as_ref().map(|all| all.3),
            })),
            "outbox": postgres.as_ref().map(|all| json!(all.0)),
            "relay": part(&self.parts.relay, json!({
                "sent": postgres.as_ref().map(|all| all.0.sent), "url": self.parts.operator.url(),
            })),
            "hasad": part(&self.parts.hasad, merged(lag_of(&self.groups[0]).unwrap_or_default(), json!({
                "versions": versions.map(|all| all.0), "active": versions.map(|all| all.1),
            }))),
            "bisan": part(&self.parts.bisan, merged(lag_of(&self.groups[1]).unwrap_or_default(), json!({
                "articles": articles.ok(),
            }))),
        });
        for server in &self.servers {
            stages[server.part().name] = merged(json!(server.part().standing()), json!({ "port": server.port() }));
        }
        json!({ "stages": stages, "happened": postgres.map(|all| all.2) })
    }
}

/// Both objects as one.
fn merged(mut one: Value, other: Value) -> Value {
    match (&mut one, other) {
        (Value::Object(one), Value::Object(other)) => one.extend(other),
        (Value::Null, other) => one = other,
        _ => {}
    }
    one
}
