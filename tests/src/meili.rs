//! A Meilisearch for tests: a real one where `MEILI_URL` says so, else a double of the part that we use. Tests that need a
//! fault which only the double has stand in files of their own. One whose disk goes back needs a process of its own: a real
//! one where `MEILI_BIN` names the program.

mod double;
mod own;
mod rules;
mod shelf;

use serde_json::{Value, json};

pub use double::{Copied, Double};
pub use own::Own;
pub use shelf::{Shelf, said, said_by};

/// Whether tests run against a real server.
pub fn is_real() -> bool {
    std::env::var("MEILI_URL").is_ok_and(|url| !url.is_empty())
}

/// A server, and an index on it that is this test's own.
pub struct SearchServer {
    pub url: String,
    pub key: Option<String>,
    pub index: String,
    /// None: it is real.
    pub double: Option<Double>,
    http: reqwest::Client,
}

impl SearchServer {
    /// The one that `MEILI_URL` names, else a double.
    pub async fn open() -> Self {
        if !is_real() {
            return Self::open_double().await;
        }
        let url = std::env::var("MEILI_URL").expect("asked before");
        let key = std::env::var("MEILI_KEY").ok().filter(|key| !key.is_empty());
        Self::at(url.trim_end_matches('/').to_owned(), key, None)
    }

    /// A double, whatever there is.
    pub async fn open_double() -> Self {
        let double = Double::open("a-key-that-nobody-sees").await;
        Self::at(double.url(), Some("a-key-that-nobody-sees".to_owned()), Some(double))
    }

    /// One that is real and this test's own; none: `MEILI_BIN` names no program.
    pub async fn open_own() -> Option<(Self, Own)> {
        let own = Own::start().await?;
        Some((Self::at(own.url(), None, None), own))
    }

    fn at(url: String, key: Option<String>, double: Option<Double>) -> Self {
        // The one provider that is compiled in; a second call has nothing to do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let unique = std::time::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_nanos());
        let index = format!("test-{}-{unique}", std::process::id());
        Self { url, key, index, double, http: reqwest::Client::new() }
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        let port = self.url.rsplit(':').next().and_then(|port| port.parse().ok());
        port.expect("MEILI_URL names a port of loopback")
    }

    /// The double, for its faults.
    pub fn double(&self) -> &Double {
        self.double.as_ref().expect("this test opened a double")
    }

    /// The other index.
    pub fn spare(&self) -> String {
        format!("{}_spare", self.index)
    }

    /// One request; the status, and the answer as JSON.
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, format!("{}/{path}", self.url));
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.expect("the server is there");
        let status = answer.status().as_u16();
        let body = answer.bytes().await.expect("a whole answer");
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Asks for something that becomes a task, and waits for its end.
    pub async fn task(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, info) = self.ask(method, path, body).await;
        // To throw tasks away is a task, too, and is answered with 200.
        assert!(matches!(status, 200 | 202), "{info}");
        let path = format!("tasks/{}", info["taskUid"]);
        crate::eventually("a task of Meilisearch ends", async || {
            let (_, task) = self.ask("GET", &path, None).await;
            matches!(task["status"].as_str(), Some("succeeded" | "failed" | "canceled")).then_some(task)
        })
        .await
    }

    /// Every document of an index, by its number.
    pub async fn documents(&self, index: &str) -> std::collections::BTreeMap<i64, Value> {
        let mut all = std::collections::BTreeMap::new();
        loop {
            let body = json!({"offset": all.len(), "limit": 1000});
            let (status, page) = self.ask("POST", &format!("indexes/{index}/documents/fetch"), Some(body)).await;
            if status == 404 {
                return all;
            }
            assert_eq!(status, 200, "{page}");
            let documents = page["results"].as_array().expect("a list").clone();
            if documents.is_empty() {
                return all;
            }
            all.extend(documents.into_iter().map(|document| (document["id"].as_i64().expect("a number"), document)));
        }
    }

    /// When an index was made; none: it is not there.
    pub async fn made_at(&self, index: &str) -> Option<String> {
        let (status, answer) = self.ask("GET", &format!("indexes/{index}"), None).await;
        (status == 200).then(|| answer["createdAt"].as_str().expect("a time").to_owned())
    }

    /// The settings for Bisan, over a wire if one is given.
    pub fn flags(&self, port: Option<u16>) -> Vec<String> {
        let url = match port {
            Some(port) => format!("http://127.0.0.1:{port}"),
            None => self.url.clone(),
        };
        let mut flags = vec!["--meili-url".to_owned(), url, "--meili-index".to_owned(), self.index.clone()];
        if let Some(key) = &self.key {
            flags.extend(["--meili-key".to_owned(), key.clone()]);
        }
        flags
    }

    /// Removes what this test has made. A double goes by itself.
    pub async fn close(self) {
        if self.double.is_none() {
            for index in [self.index.clone(), self.spare()] {
                self.ask("DELETE", &format!("indexes/{index}"), None).await;
            }
        }
    }
}
