//! The client: reqwest, with every convenience that could go around a limit turned off.

use std::error::Error as _;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response};

use super::{Accept, Answer, Ask, Body, Settings, Trail, Unreachable, Unusable};
use crate::address::Address;
use crate::guard::{Guard, forbidden_in};
use crate::sitemap::http_date;

/// A longer `ETag` or `Last-Modified` is not kept.
const VALIDATOR_BYTES_MAX: usize = 512;
/// Idle connections to one host.
const IDLE_CONNECTIONS_MAX: usize = 2;
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// Fetches within limits. Cheap to clone; one for the whole process is best.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client,
    guard: Guard,
    head_time_max: Duration,
    total_time_max: Duration,
    head_bytes_max: usize,
}

/// The client could not be built: the user agent is no header, or the system has no certificates.
#[derive(Debug, thiserror::Error)]
#[error("the client for the web cannot be built: {0}")]
pub struct Unbuilt(String);

impl Fetcher {
    /// Builds the client. Where the process has chosen no TLS provider yet, it chooses ring.
    pub fn new(settings: &Settings) -> Result<Self, Unbuilt> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Another thread may have been faster; then there is one, which is all that matters.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let unbuilt = |error: reqwest::Error| Unbuilt(innermost(&error));
        let client = Client::builder()
            .user_agent(&settings.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .dns_resolver(settings.guard.clone())
            .connect_timeout(settings.connect_time_max)
            .read_timeout(settings.pause_time_max)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(IDLE_TIME_MAX)
            .http2_max_header_list_size(u32::try_from(settings.head_bytes_max).unwrap_or(u32::MAX));
        Ok(Self {
            client: client.build().map_err(unbuilt)?,
            guard: settings.guard.clone(),
            head_time_max: settings.head_time_max,
            total_time_max: settings.total_time_max,
            head_bytes_max: settings.head_bytes_max,
        })
    }

    /// Makes one request and follows nothing: a redirect is [`Answer::Moved`].
    pub async fn ask(&self, ask: &Ask<'_>) -> Answer {
        if let Err(forbidden) = self.guard.check(ask.url) {
            return Answer::Unusable(forbidden.into());
        }
        match tokio::time::timeout(self.total_time_max, self.exchange(ask)).await {
            Ok(answer) => answer,
            Err(_) => Answer::Unreachable(Unreachable::Timeout),
        }
    }

    /// Makes a request and follows its redirects, up to `hops_max`. Before each hop, the first one too, `may` is asked: it
    /// looks into the host's robots.txt, waits for its turn, and says why not where it must.
    pub async fn follow<Leave: Future<Output = Result<(), String>>>(
        &self,
        ask: &Ask<'_>,
        hops_max: usize,
        mut may: impl FnMut(Address) -> Leave,
    ) -> Answer {
        let mut trail = Trail::new(ask.url.clone(), hops_max);
        loop {
            if let Err(why) = may(trail.here().clone()).await {
                return Answer::Unusable(Unusable::Stopped { at: trail.here().clone(), why });
            }
            match self.ask(&Ask { url: trail.here(), ..*ask }).await {
                Answer::Moved { to, .. } => {
                    if let Err(unusable) = trail.follow(to) {
                        return Answer::Unusable(unusable);
                    }
                }
                other => return other,
            }
        }
    }

    async fn exchange(&self, ask: &Ask<'_>) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(ask.accept.header()));
        for (name, value) in [(header::IF_NONE_MATCH, ask.etag), (header::IF_MODIFIED_SINCE, ask.last_modified)] {
            // One that is no header came from elsewhere than a header: ask anew.
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(name, value);
            }
        }
        let is_conditional = headers.len() > 1;
        let request = self.client.get(ask.url.as_url().clone()).headers(headers).send();
        let response = match tokio::time::timeout(self.head_time_max, request).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return failure(&error),
            Err(_) => return Answer::Unreachable(Unreachable::Timeout),
        };
        let head_bytes: usize =
            response.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if head_bytes > self.head_bytes_max {
            return Answer::Unusable(Unusable::HeadTooLarge);
        }
        match response.status().as_u16() {
            200 | 203 => body(ask, response).await,
            304 if is_conditional => Answer::NotModified,
            status @ (301 | 302 | 303 | 307 | 308) => moved(ask.url, &response, status),
            404 => Answer::NotFound,
            410 => Answer::Gone,
            status @ (429 | 503) => Answer::Busy { status, retry_after: retry_after(response.headers()) },
            status @ 400..=499 => Answer::Refused { status },
            status @ 500..=599 => Answer::Failed { status },
            status => Answer::Unusable(Unusable::Status(status)),
        }
    }
}

async fn body(ask: &Ask<'_>, mut response: Response) -> Answer {
    let bytes_max = ask.body_bytes_max;
    let too_large = || Answer::Unusable(Unusable::TooLarge { bytes_max });
    let may_cut = ask.accept == Accept::Robots;
    let headers = response.headers();
    let content_type = text(headers, header::CONTENT_TYPE);
    let [etag, last_modified] = [header::ETAG, header::LAST_MODIFIED]
        .map(|name| text(headers, name).filter(|value| value.len() <= VALIDATOR_BYTES_MAX));
    if !ask.accept.admits(content_type.as_deref()) {
        let named = content_type.unwrap_or_default().chars().take(80).collect::<String>();
        return Answer::Unusable(Unusable::WrongType(crate::exit::printable(&named)));
    }
    // Of a compressed body this is not known, and it need not be true: the pieces are counted too.
    if response.content_length().is_some_and(|bytes| bytes > bytes_max) && !may_cut {
        return too_large();
    }
    let mut body = if ask.accept == Accept::List { Body::spooled() } else { Body::in_memory() };
    loop {
        let piece = match response.chunk().await {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            Err(error) => return failure(&error),
        };
        let room = usize::try_from(bytes_max - body.bytes()).unwrap_or(usize::MAX);
        if piece.len() > room && !may_cut {
            return too_large();
        }
        if let Err(error) = body.push(&piece[..piece.len().min(room)]) {
            return Answer::Unusable(Unusable::Unkept(error.to_string()));
        }
        if piece.len() > room {
            break;
        }
    }
    let final_url = ask.url.clone();
    Answer::Body { final_url, content_type, etag, last_modified, body }
}

fn moved(from: &Address, response: &Response, status: u16) -> Answer {
    let Some(location) = response.headers().get(header::LOCATION) else {
        return Answer::Unusable(Unusable::BadRedirect("it names no address".into()));
    };
    // Raw Arabic is common here.
    match from.join(&String::from_utf8_lossy(location.as_bytes())) {
        Ok(to) => Answer::Moved { to, status },
        Err(error) => Answer::Unusable(Unusable::BadRedirect(error.to_string())),
    }
}

/// Seconds, or a date of HTTP.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, header::RETRY_AFTER)?;
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let wait = http_date(&value)?.duration_since(Timestamp::now());
    Some(Duration::try_from(wait).unwrap_or(Duration::ZERO))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// The one place where the client's errors are told apart.
fn failure(error: &reqwest::Error) -> Answer {
    if let Some(forbidden) = forbidden_in(error) {
        return Answer::Unusable(forbidden.into());
    }
    let detail = innermost(error);
    Answer::Unreachable(if error.is_timeout() {
        Unreachable::Timeout
    } else if error.is_dns() {
        Unreachable::NoAddress(detail)
    } else if error.is_connect() {
        Unreachable::NoConnection(detail)
    } else {
        Unreachable::Broken(detail)
    })
}

/// The cause behind the causes: the layers above it say only that a request failed.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}
