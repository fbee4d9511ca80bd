//! Requests to Meilisearch over our own client: with limits, and with the whole answer at hand when it is a refusal.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::AsyncReadExt;
use futures_util::io::AsyncRead;
use meilisearch_sdk::errors::Error as SdkError;
use meilisearch_sdk::request::{HttpClient, Method};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use serde::Serialize;
use serde::de::DeserializeOwned;
use terminal::Secret;

use super::Trouble;

/// A longer answer is not read: a page of documents is the longest that we ask for.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// A server that does not even take a connection by then is away.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// The wire to Meilisearch. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Arc<reqwest::Client>,
    time_max: Duration,
}

impl Http {
    /// A client that shows this key, and gives up on an answer after so long.
    pub(crate) fn new(key: Option<&Secret>, time_max: Duration) -> Result<Self, String> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Another thread may have been faster; then there is one, which is all that matters.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.reveal()))
                .map_err(|_| "the key has characters that no header may have".to_owned())?;
            // What prints headers prints this one as "Sensitive".
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = reqwest::Client::builder()
            .user_agent(concat!("bisan/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            // A redirect would show the key to somebody else.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(CONNECT_TIME_MAX.min(time_max))
            .pool_idle_timeout(IDLE_TIME_MAX)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { client: Arc::new(client), time_max })
    }

    /// The same wire with less patience.
    pub(crate) fn within(&self, time_max: Duration) -> Self {
        Self { time_max, ..self.clone() }
    }

    /// Sends, and reads the answer as what is expected. Everything else is a [`Trouble`].
    pub(crate) async fn send<Answer: DeserializeOwned>(
        &self,
        method: reqwest::Method,
        url: &str,
        body: Option<(&str, Vec<u8>)>,
        expected_status: u16,
    ) -> Result<Answer, Trouble> {
        let sent_bytes = body.as_ref().map_or(0, |(_, body)| body.len());
        let mut request = self.client.request(method, url);
        if let Some((content_type, body)) = body {
            request = request.header(CONTENT_TYPE, content_type).body(body);
        }
        let exchange = async {
            let response = request.send().await.map_err(|error| Trouble::away(innermost(&error)))?;
            let status = response.status().as_u16();
            let retry_after = retry_after(response.headers());
            let answer = read(response).await?;
            if status != expected_status {
                return Err(Trouble::of_answer(status, retry_after, &answer, sent_bytes));
            }
            let answer = if answer.is_empty() { b"null" } else { &*answer };
            serde_json::from_slice(answer)
                .map_err(|error| Trouble::away(format!("it answers {status} with something else: {error}")))
        };
        tokio::time::timeout(self.time_max, exchange)
            .await
            .unwrap_or_else(|_| Err(Trouble::away(format!("no answer within {:?}", self.time_max))))
    }
}

async fn read(mut response: reqwest::Response) -> Result<Vec<u8>, Trouble> {
    let mut answer = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| Trouble::away(innermost(&error)))? {
        if answer.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(Trouble::away("its answer has no end"));
        }
        answer.extend_from_slice(&piece);
    }
    Ok(answer)
}

/// Seconds. Meilisearch gives no dates here.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// The cause behind the causes: the layers above it say only that a request failed, and name the address.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    cause.map_or_else(|| "the request failed".to_owned(), ToString::to_string)
}

#[async_trait]
impl HttpClient for Http {
    async fn stream_request<
        Query: Serialize + Send + Sync,
        Body: AsyncRead + Send + Sync + 'static,
        Output: DeserializeOwned + 'static,
    >(
        &self,
        url: &str,
        method: Method<Query, Body>,
        content_type: &str,
        expected_status_code: u16,
    ) -> Result<Output, SdkError> {
        let url = format!("{url}{}", yaup::to_string(method.query())?);
        let verb = match &method {
            Method::Get { .. } => reqwest::Method::GET,
            Method::Post { .. } => reqwest::Method::POST,
            Method::Patch { .. } => reqwest::Method::PATCH,
            Method::Put { .. } => reqwest::Method::PUT,
            Method::Delete { .. } => reqwest::Method::DELETE,
        };
        let body = match method.into_body() {
            Some(body) => {
                let mut bytes = Vec::new();
                let mut body = std::pin::pin!(body);
                body.read_to_end(&mut bytes).await.map_err(|error| SdkError::Other(Box::new(error)))?;
                Some((content_type, bytes))
            }
            None => None,
        };
        self.send(verb, &url, body, expected_status_code).await.map_err(|trouble| SdkError::Other(Box::new(trouble)))
    }

    fn is_tokio(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_in_no_debug_output() {
        let http = Http::new(Some(&"s3cret-key".into()), Duration::from_secs(1)).expect("a sound key");
        assert!(!format!("{http:?}").contains("s3cret"), "{http:?}");
    }

    #[test]
    fn a_key_that_no_header_can_carry_is_refused_without_being_shown() {
        let why = Http::new(Some(&"s3cret\n".into()), Duration::from_secs(1)).expect_err("no header");
        assert!(!why.contains("s3cret"), "{why}");
    }
}
