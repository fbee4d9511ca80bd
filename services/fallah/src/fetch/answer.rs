//! How a request ended: everything that a caller has to tell apart.

use std::fmt;
use std::time::Duration;

use super::body::Body;
use crate::address::Address;
use crate::guard::Forbidden;
use crate::robots::Fetched;

/// How a request ended.
#[derive(Debug)]
pub enum Answer {
    /// 200, with a body within its bound.
    Body {
        /// Where the body came from, after all redirects.
        final_url: Address,
        /// `Content-Type`, as sent.
        content_type: Option<String>,
        /// `ETag`, as sent, for the next request.
        etag: Option<String>,
        /// `Last-Modified`, as sent, for the next request.
        last_modified: Option<String>,
        /// The body, decompressed.
        body: Body,
    },
    /// A redirect, from [`Fetcher::ask`](super::Fetcher::ask) alone: it follows none, so that robots.txt and the rate of the
    /// next host can be asked first.
    Moved {
        /// Where to.
        to: Address,
        /// 301, 302, 303, 307 or 308.
        status: u16,
    },
    /// 304: what came last time is still right.
    NotModified,
    /// 410: it was taken away on purpose.
    Gone,
    /// 404.
    NotFound,
    /// 429 or 503: slow down.
    Busy {
        /// Which of the two.
        status: u16,
        /// What the site asks for, uncapped.
        retry_after: Option<Duration>,
    },
    /// Another 4xx: not for us.
    Refused {
        /// The status.
        status: u16,
    },
    /// Another 5xx: the site is broken.
    Failed {
        /// The status.
        status: u16,
    },
    /// Something came, or would have come, that cannot be used. Trying again soon will not help.
    Unusable(Unusable),
    /// Nothing came, or not all of it. Trying again may help.
    Unreachable(Unreachable),
}

/// Why an answer cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// The guard forbids to connect there.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// Larger than the request allows.
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: u64,
    },
    /// The headers are larger than the settings allow.
    #[error("the headers are too large")]
    HeadTooLarge,
    /// Not what was asked for.
    #[error("the content type is {0}")]
    WrongType(String),
    /// A redirect to where it came from.
    #[error("the redirects go round in a circle")]
    RedirectLoop,
    /// More redirects than are followed.
    #[error("there are too many redirects")]
    TooManyRedirects,
    /// A redirect to nowhere, or out of the web.
    #[error("the redirect leads nowhere: {0}")]
    BadRedirect(String),
    /// The caller did not let a redirect be followed.
    #[error("{at} is not fetched: {why}")]
    Stopped {
        /// The address that was next.
        at: Address,
        /// The caller's word.
        why: String,
    },
    /// A status that promises no body, such as 202 or 204.
    #[error("the status is {0}")]
    Status(u16),
    /// The body could not be kept.
    #[error("the body could not be kept: {0}")]
    Unkept(String),
}

/// Why nothing came, or not all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unreachable {
    /// It took too long.
    #[error("it took too long")]
    Timeout,
    /// The name has no address.
    #[error("the name does not resolve: {0}")]
    NoAddress(String),
    /// No connection, or no common secret.
    #[error("no connection: {0}")]
    NoConnection(String),
    /// The answer broke off, or was no HTTP.
    #[error("the answer is broken: {0}")]
    Broken(String),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body { body, .. } => write!(f, "{} bytes", body.bytes()),
            Self::Moved { to, status } => write!(f, "moved to {to} ({status})"),
            Self::NotModified => f.write_str("not modified (304)"),
            Self::Gone => f.write_str("gone (410)"),
            Self::NotFound => f.write_str("not found (404)"),
            Self::Busy { status, .. } => write!(f, "busy ({status})"),
            Self::Refused { status } => write!(f, "refused ({status})"),
            Self::Failed { status } => write!(f, "failed ({status})"),
            Self::Unusable(why) => why.fmt(f),
            Self::Unreachable(why) => why.fmt(f),
        }
    }
}

impl Answer {
    /// What the answer says of a site's robots.txt, for [`robots::decide`](crate::robots::decide).
    pub fn into_robots(self) -> Fetched {
        match self {
            Self::Body { body, .. } => body.into_bytes().map_or(Fetched::Unreachable, Fetched::Text),
            Self::NotModified => Fetched::Unchanged,
            Self::Gone => Fetched::Status(410),
            Self::NotFound => Fetched::Status(404),
            Self::Busy { status, .. } | Self::Refused { status } | Self::Failed { status } => Fetched::Status(status),
            Self::Moved { .. } | Self::Unusable(Unusable::RedirectLoop | Unusable::TooManyRedirects) => {
                Fetched::EndlessRedirects
            }
            // An answer, but one without rules.
            Self::Unusable(Unusable::WrongType(_) | Unusable::Status(200..=299)) => Fetched::Text(Vec::new()),
            Self::Unusable(_) | Self::Unreachable(_) => Fetched::Unreachable,
        }
    }
}
