//! The identity of a page: two spellings of one URL are one [`Address`].

mod escapes;
mod tracking;
mod verb;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

pub(crate) use escapes::tidy;
pub use verb::{NormalizeArgs, normalize};

/// The longest address, in its normal form. The sitemap protocol sets the same bound, and a B-tree of Postgres can hold it.
pub const ADDRESS_BYTES_MAX: usize = 2_048;

/// A URL in its normal form: what is fetched, compared and stored.
///
/// - Scheme and host are in lower case, the host in its ASCII form, without a dot at its end and without a default port.
/// - No fragment, no credentials, no empty query; dot segments are resolved; an empty path is `/`.
/// - Path and query are spelled in one way: what needs no escape has none, every other escape is in upper case, and
///   Arabic has one spelling (Unicode NFC, escaped), whether it came raw or escaped.
/// - Parameters that only track a reader are gone. The others keep their order: a sorted query can be another page
///   (repeated names, signed links), and a site spells its own links in one order.
/// - `http` and `https` stay apart, as `www.` does: the address is also what is fetched, and not every site has both.
///   Redirects and canonical links bring them together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(Url);

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAnAddress {
    /// It does not parse as a URL.
    #[error("this is no URL: {0}")]
    Malformed(url::ParseError),
    /// Only pages of the web are fetched.
    #[error("{0} is neither http nor https")]
    Scheme(String),
    /// A name or a password in a URL would be stored, sent on and printed.
    #[error("a URL with a user name or a password is never an address")]
    Credentials,
    /// Longer than [`ADDRESS_BYTES_MAX`].
    #[error("the URL has {0} bytes, and an address has at most {ADDRESS_BYTES_MAX}")]
    TooLong(usize),
}

impl Address {
    /// Reads an absolute URL.
    pub fn parse(text: &str) -> Result<Self, NotAnAddress> {
        Self::normal(&Url::parse(trim(text)).map_err(NotAnAddress::Malformed)?)
    }

    /// Reads a URL as it stands on the page at this address: absolute or relative.
    pub fn join(&self, reference: &str) -> Result<Self, NotAnAddress> {
        Self::normal(&self.0.join(trim(reference)).map_err(NotAnAddress::Malformed)?)
    }

    fn normal(url: &Url) -> Result<Self, NotAnAddress> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(NotAnAddress::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NotAnAddress::Credentials);
        }
        let host = url.host_str().unwrap_or_default();
        let host = host.strip_suffix('.').unwrap_or(host);
        // Without its dots nothing would be left of it, and the path's first piece would be read as the host.
        if host.is_empty() || host.ends_with('.') {
            return Err(NotAnAddress::Malformed(url::ParseError::EmptyHost));
        }
        let mut text = format!("{}://{host}", url.scheme());
        if let Some(port) = url.port() {
            text.push_str(&format!(":{port}"));
        }
        text.push_str(&tidy(url.path().as_bytes()));
        let pairs = url.query().unwrap_or_default().split('&').map(|pair| tidy(pair.as_bytes()));
        for (index, pair) in pairs.filter(|pair| !pair.is_empty() && !tracking::is_tracking(pair)).enumerate() {
            text.push(if index == 0 { '?' } else { '&' });
            text.push_str(&pair);
        }
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(NotAnAddress::TooLong(text.len()));
        }
        Url::parse(&text).map(Self).map_err(NotAnAddress::Malformed)
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The address as a URL.
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// The host: a name, an IPv4 address, or an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Scheme, host and port: what a robots.txt speaks for. `https://example.org` or `http://example.org:8080`.
    pub fn origin(&self) -> String {
        self.0[..url::Position::BeforePath].to_owned()
    }

    /// What a rule of robots.txt is compared with.
    pub fn path_and_query(&self) -> &str {
        &self.0[url::Position::BeforePath..url::Position::AfterQuery]
    }

    /// Where this address's robots.txt lies.
    pub fn robots(&self) -> Self {
        let mut url = self.0.clone();
        url.set_path("/robots.txt");
        url.set_query(None);
        Self(url)
    }

    /// The domain that somebody registered, by the public suffix list: `bbc.co.uk` of `www.bbc.co.uk`. The host itself
    /// where there is none: an IP address, a single label, or a suffix.
    pub fn site(&self) -> &str {
        match self.0.host() {
            Some(Host::Domain(name)) => psl::domain_str(name).unwrap_or(name),
            _ => self.host(),
        }
    }

    /// Whether both belong to one registered domain. Scheme and port do not matter.
    pub fn same_site(&self, other: &Self) -> bool {
        self.site() == other.site()
    }

    /// Whether this is a site's front page, in one of the usual forms: `/`, `/index.html`, `/ar`, `/en/`.
    pub fn is_home(&self) -> bool {
        let path = self.0.path().trim_matches('/').to_ascii_lowercase();
        let is_index =
            matches!(path.as_str(), "" | "index.html" | "index.htm" | "index.php" | "default.aspx" | "home");
        let is_language = path.len() == 2 && path.bytes().all(|byte| byte.is_ascii_lowercase());
        self.0.query().is_none() && (is_index || is_language)
    }
}

/// The address that a page claims as its own by `rel=canonical`, where the claim can be believed: a page of the same site,
/// and not its front page (a common mistake of templates that would fold a whole site into one page).
///
/// A page that was fetched by `https` keeps it when it claims the same host by `http`: it was written before the site
/// moved.
pub fn canonical(page: &Address, claimed: &str) -> Option<Address> {
    if trim(claimed).is_empty() {
        return None;
    }
    let mut claim = page.join(claimed).ok()?;
    let is_older = page.0.scheme() == "https" && claim.0.scheme() == "http";
    if is_older && claim.host() == page.host() && claim.0.port().is_none() && page.0.port().is_none() {
        let _ = claim.0.set_scheme("https");
    }
    (claim.same_site(page) && (!claim.is_home() || page.is_home())).then_some(claim)
}

/// Blanks and invisible marks around a URL: no-break spaces, byte order marks, and the direction marks that come along when
/// a link is copied out of Arabic text.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
    })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Address {
    type Error = NotAnAddress;

    fn try_from(text: String) -> Result<Self, NotAnAddress> {
        Self::parse(&text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0.into()
    }
}

#[cfg(test)]
mod tests;
