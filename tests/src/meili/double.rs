//! The double: endpoints, a queue of tasks that are worked off one after another, and faults.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::rules::{self, Kind, Server};
use servers::port;

const BODY_BYTES_MAX: usize = 200 << 20;

/// A Meilisearch that does what it is told, and fails as it is told. It lives in the runtime that made it.
pub struct Double {
    port: u16,
    shared: Arc<Shared>,
    at_work: [tokio::task::JoinHandle<()>; 2],
}

struct Shared {
    key: String,
    state: Mutex<Wrong>,
    changed: Notify,
}

/// The server, and what is wrong with it.
#[derive(Default)]
struct Wrong {
    server: Server,
    /// Answers to requests of a kind, the next one first.
    answers: VecDeque<(&'static str, Answer)>,
    /// Tasks that put documents fail so, the next one first.
    failures: VecDeque<(String, String)>,
    /// No document of these numbers is taken.
    bad: BTreeMap<i64, &'static str>,
    bytes_max: Option<usize>,
    /// Nothing is worked off.
    held: bool,
    task_time: Duration,
    /// Every request: method and path.
    seen: Vec<String>,
}

/// What a double had at some time.
pub struct Copied(Server);

#[derive(Clone)]
enum Answer {
    Status(u16, Option<u64>),
    Rubbish,
}

impl Double {
    /// Opens one that wants this key.
    pub async fn open(key: &str) -> Self {
        let listener = port::listener().expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        listener.set_nonblocking(true).expect("sockets can be made so");
        let listener = tokio::net::TcpListener::from_std(listener).expect("it is not blocking");
        let shared = Arc::new(Shared { key: key.to_owned(), state: Mutex::default(), changed: Notify::new() });
        let routes = axum::Router::new().fallback(serve).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            let _ = axum::serve(listener, routes).await;
        });
        let working = tokio::spawn(work(Arc::clone(&shared)));
        Self { port, shared, at_work: [serving, working] }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The next requests whose "METHOD path" has this in it are answered with a status.
    pub fn answer(&self, part: &'static str, status: u16, retry_after: Option<u64>, times: usize) {
        let answers = std::iter::repeat_n((part, Answer::Status(status, retry_after)), times);
        self.state().answers.extend(answers);
    }

    /// The next requests of this kind are answered with success, and with something that is no answer.
    pub fn answer_rubbish(&self, part: &'static str, times: usize) {
        self.state().answers.extend(std::iter::repeat_n((part, Answer::Rubbish), times));
    }

    /// The next tasks that put documents fail.
    pub fn fail_tasks(&self, code: &str, kind: &str, times: usize) {
        self.state().failures.extend(std::iter::repeat_n((code.to_owned(), kind.to_owned()), times));
    }

    /// A document that makes every task fail in which it is.
    pub fn refuse(&self, id: i64, kind: &'static str) {
        self.state().bad.insert(id, kind);
    }

    /// It is taken from now on.
    pub fn take_again(&self, id: i64) {
        self.state().bad.remove(&id);
    }

    /// Larger requests are not taken.
    pub fn bytes_max(&self, bytes: usize) {
        self.state().bytes_max = Some(bytes);
    }

    /// Tasks stay in the queue.
    pub fn hold(&self) {
        self.state().held = true;
    }

    /// Tasks are worked off again.
    pub fn release(&self) {
        self.state().held = false;
        self.shared.changed.notify_one();
    }

    /// Each task takes so long.
    pub fn task_time(&self, time: Duration) {
        self.state().task_time = time;
    }

    /// Everything is lost, as with a new disk. Numbers of tasks begin anew.
    pub fn lose_everything(&self) {
        self.state().server = Server::default();
    }

    /// All that it has, as a copy of its disk would have it.
    pub fn copy(&self) -> Copied {
        Copied(self.state().server.clone())
    }

    /// An older copy of itself takes its place.
    pub fn put_back(&self, copy: &Copied) {
        self.state().server = copy.0.clone();
    }

    /// Some of its oldest tasks are thrown away, as it does by itself when there are too many. Numbers go on.
    pub fn forget_tasks(&self) {
        self.state().server.forget_tasks();
    }

    /// One document is lost.
    pub fn lose(&self, index: &str, id: i64) {
        let mut state = self.state();
        let index = state.server.indexes.get_mut(index).expect("there is such an index");
        index.documents.remove(&id).expect("there is such a document");
    }

    /// Somebody cancels whatever waits.
    pub fn cancel_tasks(&self) {
        self.state().server.cancel();
    }

    /// Requests so far whose "METHOD path" has this in it.
    pub fn seen(&self, part: &str) -> usize {
        self.state().seen.iter().filter(|request| request.contains(part)).count()
    }

    fn state(&self) -> MutexGuard<'_, Wrong> {
        self.shared.state()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.at_work.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Wrong> {
        self.state.lock().expect("nobody panics with it in hand")
    }
}

/// Works off tasks in their order.
async fn work(shared: Arc<Shared>) {
    loop {
        let (next, time) = {
            let mut state = shared.state();
            let next = if state.held { None } else { state.server.begin() };
            (next, state.task_time)
        };
        let Some(uid) = next else {
            shared.changed.notified().await;
            continue;
        };
        tokio::time::sleep(time).await;
        let mut state = shared.state();
        let failure = failure(&mut state, uid);
        state.server.end(uid, failure);
    }
}

/// What is wrong with a task, beside its own faults.
fn failure(state: &mut Wrong, uid: u32) -> Option<Value> {
    let task = state.server.tasks.get(uid as usize)?;
    let Kind::Put { documents, .. } = &task.kind else { return None };
    if let Some((code, kind)) = state.failures.pop_front() {
        return Some(rules::fault("it was told to fail", &code, &kind));
    }
    let bad =
        documents.iter().filter_map(|document| document["id"].as_i64()).find_map(|id| state.bad.get_key_value(&id));
    bad.map(|(id, kind)| {
        let code = if *kind == "internal" { "internal" } else { "invalid_document_fields" };
        rules::fault(&format!("document {id} is not to its taste"), code, kind)
    })
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let said = format!("{} {}", head.method, head.uri);
    let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    let mut state = shared.state();
    state.seen.push(said.clone());
    if let Some(at) = state.answers.iter().position(|(part, _)| said.contains(part)) {
        let (_, answer) = state.answers.remove(at).expect("it was just found");
        return match answer {
            Answer::Status(status, retry_after) => {
                let mut answer =
                    json_answer(status, &rules::fault("it was told to say so", "too_many_requests", "system"));
                if let Some(seconds) = retry_after {
                    answer.headers_mut().insert("retry-after", seconds.into());
                }
                answer
            }
            Answer::Rubbish => Response::builder()
                .status(if said.starts_with("POST") && !said.contains("/search") { 202 } else { 200 })
                .body(Body::from("<html><h1>It works!</h1></html>"))
                .expect("a sound answer"),
        };
    }
    let shown = head.headers.get("authorization").and_then(|value| value.to_str().ok());
    if head.uri.path() != "/health" && shown != Some(&*format!("Bearer {}", shared.key)) {
        let code = if shown.is_none() { "missing_authorization_header" } else { "invalid_api_key" };
        let status = if shown.is_none() { 401 } else { 403 };
        return json_answer(status, &rules::fault("The provided API key is invalid.", code, "auth"));
    }
    if state.bytes_max.is_some_and(|max| body.len() > max) {
        let what = "The provided payload reached the size limit.";
        return json_answer(413, &rules::fault(what, "payload_too_large", "invalid_request"));
    }
    let content_type = head.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let query = head.uri.query().unwrap_or_default();
    let (status, answer) = state.server.answer(head.method.as_str(), head.uri.path(), query, content_type, &body);
    drop(state);
    shared.changed.notify_one();
    json_answer(status, &answer)
}

fn json_answer(status: u16, body: &Value) -> Response {
    let body = if body == &json!(null) { String::new() } else { body.to_string() };
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Body::from(body))
        .expect("a sound answer")
}
