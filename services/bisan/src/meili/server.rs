//! What we ask of a Meilisearch, one request to a function.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use meilisearch_sdk::client::{Client, SwapIndexes};
use meilisearch_sdk::documents::DocumentsQuery;
use meilisearch_sdk::task_info::TaskInfo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::http::Http;
use super::{Fault, SearchServer, Trouble};

/// The name of the documents' number.
const PRIMARY_KEY: &str = "id";
/// How long a task is left alone between two looks at it; the wait doubles.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(10);
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// A task of a server that is away for longer is not waited for: what it was about is brought again.
const AWAY_MAX: Duration = Duration::from_secs(60);
/// Swaps that may be under way at once: there is never more than one of ours.
const SWAPS_MAX: usize = 100;

/// A Meilisearch. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Meili {
    client: Client<Http>,
    http: Http,
    url: String,
}

/// An index, as long as nobody deletes it; it keeps this when it changes places with another one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    /// When it was made, to the nanosecond: no two are equal.
    pub(crate) created_at: String,
    /// The name of the documents' number; none before the first document.
    pub(crate) primary_key: Option<String>,
}

/// A task that the server has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskId {
    uid: u32,
    /// A server that lost its data gives numbers a second time, but not times.
    enqueued_at: i128,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.uid, self.enqueued_at)
    }
}

impl FromStr for TaskId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (uid, enqueued_at) = text.split_once(' ').ok_or(())?;
        Ok(Self { uid: uid.parse().map_err(drop)?, enqueued_at: enqueued_at.parse().map_err(drop)? })
    }
}

impl TaskId {
    /// Whether a server takes this one after the other.
    pub(crate) fn is_after(self, other: Self) -> bool {
        self.uid > other.uid
    }
}

impl From<TaskInfo> for TaskId {
    fn from(info: TaskInfo) -> Self {
        Self { uid: info.task_uid, enqueued_at: info.enqueued_at.unix_timestamp_nanos() }
    }
}

/// How a task ended. The client library knows no task that was canceled, so this is read by ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    Succeeded,
    Failed(Fault),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Task {
    uid: u32,
    status: String,
    enqueued_at: jiff::Timestamp,
    error: Option<Fault>,
    details: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Tasks {
    results: Vec<Task>,
}

impl Meili {
    /// Checked, not connected.
    pub(crate) fn new(server: &SearchServer) -> Result<Option<Self>, String> {
        let Some(url) = server.url()? else { return Ok(None) };
        let http = Http::new(server.key()?.as_ref(), server.meili_timeout)?;
        Ok(Some(Self::over(http, url)))
    }

    fn over(http: Http, url: String) -> Self {
        // The key is in our client, not in this one: it prints all that it has.
        Self { client: Client::new_with_client(&url, None::<String>, http.clone()), http, url }
    }

    /// The same server with less patience.
    pub(crate) fn within(&self, time_max: Duration) -> Self {
        Self::over(self.http.within(time_max), self.url.clone())
    }

    /// An index, if there is one of this name.
    pub(crate) async fn identity(&self, index: &str) -> Result<Option<Identity>, Trouble> {
        match self.get(&format!("indexes/{index}")).await {
            Ok(identity) => Ok(Some(identity)),
            Err(Trouble::NoIndex) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Makes an index.
    pub(crate) async fn create(&self, index: &str) -> Result<TaskId, Trouble> {
        let body = json!({"uid": index, "primaryKey": PRIMARY_KEY});
        let info: TaskInfo = self.post("indexes", &body, 202).await?;
        Ok(info.into())
    }

    /// Deletes an index with all that is in it.
    pub(crate) async fn delete(&self, index: &str) -> Result<TaskId, Trouble> {
        Ok(self.client.delete_index(index).await?.into())
    }

    /// All settings of an index.
    pub(crate) async fn settings(&self, index: &str) -> Result<Value, Trouble> {
        self.get(&format!("indexes/{index}/settings")).await
    }

    /// Changes the settings that are named; the others stay.
    pub(crate) async fn change_settings(&self, index: &str, settings: &Value) -> Result<TaskId, Trouble> {
        let url = format!("{}/indexes/{index}/settings", self.url);
        let body = ("application/json", settings.to_string().into_bytes());
        let info: TaskInfo = self.http.send(reqwest::Method::PATCH, &url, Some(body), 202).await?;
        Ok(info.into())
    }

    /// Puts documents, one a line. What was there under their numbers is replaced whole, so it may be said again.
    pub(crate) async fn put(&self, index: &str, lines: Vec<u8>) -> Result<TaskId, Trouble> {
        let lines = futures_util::io::Cursor::new(lines);
        let index = self.client.index(index);
        let put = index.add_or_replace_unchecked_payload(lines, "application/x-ndjson", Some(PRIMARY_KEY)).await;
        Ok(put?.into())
    }

    /// Removes documents; what is not there is no failure.
    pub(crate) async fn remove(&self, index: &str, ids: &[i64]) -> Result<TaskId, Trouble> {
        Ok(self.client.index(index).delete_documents(ids).await?.into())
    }

    /// Two indexes change names, all at once for whoever searches.
    pub(crate) async fn swap(&self, one: &str, other: &str) -> Result<TaskId, Trouble> {
        let swap = SwapIndexes { indexes: (one.to_owned(), other.to_owned()), rename: None };
        Ok(self.client.swap_indexes([&swap]).await?.into())
    }

    /// Whether it is still the server that has done this task, and no older copy of it. Tasks that it has done it may
    /// have thrown away since; but then it has newer ones.
    pub(crate) async fn has_done(&self, id: TaskId) -> Result<bool, Trouble> {
        match self.get::<Task>(&format!("tasks/{}", id.uid)).await {
            Ok(task) => Ok(task.id() == id),
            Err(Trouble::NoTask) => {
                let newest: Tasks = self.get("tasks?limit=1").await?;
                Ok(newest.results.first().is_some_and(|task| task.uid > id.uid))
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Swaps of these two that are still to come.
    pub(crate) async fn swaps_to_come(&self, one: &str, other: &str) -> Result<Vec<TaskId>, Trouble> {
        let path = format!("tasks?types=indexSwap&statuses=enqueued,processing&limit={SWAPS_MAX}");
        let tasks: Tasks = self.get(&path).await?;
        let is_ours = |task: &Task| {
            let swaps = task.details.as_ref().and_then(|details| details["swaps"].as_array());
            swaps.into_iter().flatten().any(|swap| {
                let pair = &swap["indexes"];
                (pair[0] == one && pair[1] == other) || (pair[0] == other && pair[1] == one)
            })
        };
        Ok(tasks.results.iter().filter(|task| is_ours(task)).map(Task::id).collect())
    }

    /// How a task ended, if it has.
    pub(crate) async fn look(&self, id: TaskId) -> Result<Option<Ended>, Trouble> {
        let task: Task = self.get(&format!("tasks/{}", id.uid)).await?;
        if task.id() != id {
            return Err(Trouble::NoTask);
        }
        let error = task.error.unwrap_or_default();
        match &*task.status {
            "succeeded" => Ok(Some(Ended::Succeeded)),
            "failed" => Ok(Some(Ended::Failed(error))),
            "canceled" => {
                let message = "somebody has canceled the task".to_owned();
                Ok(Some(Ended::Failed(Fault { code: "canceled".into(), kind: "system".into(), message })))
            }
            _ => Ok(None),
        }
    }

    /// Waits for a task's end, however long the server takes: to ask again would only make its queue longer. A server that
    /// is away meanwhile is waited for, too, as it keeps its tasks; but not for ever.
    pub(crate) async fn follow(&self, id: TaskId) -> Result<Ended, Trouble> {
        let mut wait = LOOK_INTERVAL_MIN;
        let mut away_since = None;
        loop {
            match self.look(id).await {
                Ok(Some(ended)) => return Ok(ended),
                Ok(None) => away_since = None,
                Err(Trouble::Away { why, retry_after }) => {
                    if away_since.is_none() {
                        tracing::warn!(
                            task = id.uid,
                            why,
                            "cannot see how a task of Meilisearch goes; looking again"
                        );
                    }
                    if away_since.get_or_insert_with(Instant::now).elapsed() > AWAY_MAX {
                        return Err(Trouble::Away { why, retry_after });
                    }
                    wait = LOOK_INTERVAL_MAX.max(retry_after.unwrap_or_default());
                }
                Err(trouble) => return Err(trouble),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LOOK_INTERVAL_MAX);
        }
    }

    /// Waits for a task that changes an index, and takes no failure.
    pub(crate) async fn done(&self, id: TaskId) -> Result<(), Trouble> {
        match self.follow(id).await? {
            Ended::Succeeded => Ok(()),
            Ended::Failed(fault) => Err(Trouble::Refused(fault)),
        }
    }

    /// How many documents an index has.
    pub(crate) async fn count(&self, index: &str) -> Result<u64, Trouble> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Stats {
            number_of_documents: u64,
        }
        Ok(self.get::<Stats>(&format!("indexes/{index}/stats")).await?.number_of_documents)
    }

    /// Those of these documents that are there.
    pub(crate) async fn documents<Document>(&self, index: &str, ids: &[i64]) -> Result<Vec<Document>, Trouble>
    where
        Document: DeserializeOwned + Send + Sync + 'static,
    {
        let index = self.client.index(index);
        let among = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let filter = format!("{PRIMARY_KEY} IN [{among}]");
        let mut query = DocumentsQuery::new(&index);
        query.with_filter(&filter).with_limit(ids.len());
        Ok(index.get_documents_with(&query).await?.results)
    }

    /// A page of all documents, with only these fields.
    pub(crate) async fn page<Document>(
        &self,
        index: &str,
        fields: &[&str],
        from: usize,
    ) -> Result<Vec<Document>, Trouble>
    where
        Document: DeserializeOwned,
    {
        #[derive(Deserialize)]
        struct Answer<Document> {
            results: Vec<Document>,
        }
        let body = json!({"fields": fields, "offset": from, "limit": super::PAGE_DOCUMENTS});
        let answer: Answer<Document> = self.post(&format!("indexes/{index}/documents/fetch"), &body, 200).await?;
        Ok(answer.results)
    }

    /// Asks a question, in Meilisearch's own words.
    pub(crate) async fn search(&self, index: &str, question: &Value) -> Result<Value, Trouble> {
        self.post(&format!("indexes/{index}/search"), question, 200).await
    }

    async fn get<Answer: DeserializeOwned>(&self, path: &str) -> Result<Answer, Trouble> {
        self.http.send(reqwest::Method::GET, &format!("{}/{path}", self.url), None, 200).await
    }

    async fn post<Answer: DeserializeOwned>(&self, path: &str, body: &Value, status: u16) -> Result<Answer, Trouble> {
        let body = ("application/json", body.to_string().into_bytes());
        self.http.send(reqwest::Method::POST, &format!("{}/{path}", self.url), Some(body), status).await
    }
}

impl Task {
    fn id(&self) -> TaskId {
        TaskId { uid: self.uid, enqueued_at: self.enqueued_at.as_nanosecond() }
    }
}
