//! One request to the web, within limits, and one word for how it ended.

mod answer;
mod body;
mod client;
mod trail;

use std::time::Duration;

pub use answer::{Answer, Unreachable, Unusable};
pub use body::Body;
pub use client::{Fetcher, Unbuilt};
pub use trail::Trail;

use crate::address::Address;
use crate::guard::Guard;
use crate::robots::ROBOTS_BYTES_MAX;

/// The product token: what robots.txt calls this crawler.
pub const PRODUCT: &str = "Fallah";

/// Redirects that are followed, as many as RFC 9309 asks for at least.
pub const HOPS_MAX: usize = 5;

/// The longest page that is fetched, if not said otherwise.
pub const PAGE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What to fetch.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// From where.
    pub url: &'a Address,
    /// What may come.
    pub accept: Accept,
    /// The `ETag` that came last time.
    pub etag: Option<&'a str>,
    /// The `Last-Modified` that came last time.
    pub last_modified: Option<&'a str>,
    /// The longest body, after decompression.
    pub body_bytes_max: u64,
}

impl<'a> Ask<'a> {
    /// Asks for everything anew, with the usual bound on the body.
    pub fn new(url: &'a Address, accept: Accept) -> Self {
        Self { url, accept, etag: None, last_modified: None, body_bytes_max: accept.body_bytes_max() }
    }
}

/// What an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// A page: HTML, or an answer that does not say what it is. At most [`PAGE_BYTES_MAX`], if not said otherwise.
    Page,
    /// A sitemap or a feed: XML, text, gzip, bytes; HTML too, since feeds are often called that, and the reader tells the
    /// two apart. At most 50 MiB; a large one waits in a temporary file without a name.
    List,
    /// A robots.txt: any text. What is longer than 500 KiB is cut, not refused.
    Robots,
}

impl Accept {
    fn body_bytes_max(self) -> u64 {
        match self {
            Self::Page => PAGE_BYTES_MAX,
            Self::List => 50 * 1024 * 1024,
            // One byte more tells the parser that its last line may be half a line.
            Self::Robots => ROBOTS_BYTES_MAX as u64 + 1,
        }
    }

    fn header(self) -> &'static str {
        match self {
            // The rest at last, since some servers refuse to choose otherwise; what comes is checked anyway.
            Self::Page => "text/html,application/xhtml+xml,*/*;q=0.1",
            Self::List => {
                "application/xml,text/xml,application/rss+xml,application/atom+xml,text/plain;q=0.8,*/*;q=0.5"
            }
            Self::Robots => "text/plain,*/*;q=0.5",
        }
    }

    /// Whether a body of this type is worth reading. Servers that do not say are given the benefit of the doubt.
    fn admits(self, content_type: Option<&str>) -> bool {
        let Some(content_type) = content_type else { return true };
        let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match self {
            Self::Page => matches!(media.as_str(), "" | "text/html" | "application/xhtml+xml"),
            Self::List => {
                media.ends_with("+xml")
                    || matches!(
                        media.as_str(),
                        "" | "application/xml"
                            | "text/xml"
                            | "text/plain"
                            | "text/html"
                            | "application/gzip"
                            | "application/x-gzip"
                            | "application/octet-stream"
                            | "binary/octet-stream"
                            | "application/force-download"
                    )
            }
            Self::Robots => !["image/", "audio/", "video/", "font/"].iter().any(|family| media.starts_with(family)),
        }
    }
}

/// How the fetcher behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Sent with each request; see [`user_agent`].
    pub user_agent: String,
    /// Where it may connect to.
    pub guard: Guard,
    /// Until a connection stands, its name resolved and its secrets exchanged.
    pub connect_time_max: Duration,
    /// Until the head of the answer is there, the connection included.
    pub head_time_max: Duration,
    /// Between two pieces of the body.
    pub pause_time_max: Duration,
    /// For everything.
    pub total_time_max: Duration,
    /// Names and values of the answer's headers.
    pub head_bytes_max: usize,
}

impl Settings {
    /// The usual limits.
    pub fn new(user_agent: String, guard: Guard) -> Self {
        Self {
            user_agent,
            guard,
            connect_time_max: Duration::from_secs(10),
            head_time_max: Duration::from_secs(20),
            pause_time_max: Duration::from_secs(15),
            total_time_max: Duration::from_secs(60),
            head_bytes_max: 64 * 1024,
        }
    }
}

/// The name under which requests are made, with a page or a mail address where a site's owner can complain:
/// `Fallah/0.1.0 (+https://example.org/bot)`.
pub fn user_agent(contact: &str) -> String {
    format!("{PRODUCT}/{} (+{contact})", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests;
