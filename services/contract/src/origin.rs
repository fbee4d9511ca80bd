//! Where a state of something comes from: every payload begins with it.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which state of which thing this is, and how it came to be known.
///
/// Times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// The thing's one address, in normal form.
    pub source_url: String,
    /// The source's name in Fallah's settings.
    pub source_name: String,
    /// Rises by one with each change of what stands at this address. Of two events the higher one is the truth.
    pub version: u64,
    /// The hash of the content, as the content itself computes it. Of what is deleted: of its last content.
    pub content_hash: String,
    /// BLAKE3 of the page's bytes as they came.
    pub raw_hash: String,
    /// When the address was first seen.
    pub discovered_at: String,
    /// When this state was fetched.
    pub fetched_at: String,
    /// When it was published, as far as the page says so.
    pub published_at: Option<String>,
    /// Which version of Fallah read it.
    pub scraper_version: String,
}

impl Origin {
    /// What any consumer must refuse, whatever the content is.
    pub fn check(&self) -> Result<(), Flawed> {
        if !(self.source_url.starts_with("https://")
            || self.source_url.starts_with("http://")
            || self.source_url.starts_with("urn:author:"))
        {
            return Err(Flawed::NoAddress(self.source_url.clone()));
        }
        if self.version == 0 {
            return Err(Flawed::NoVersion);
        }
        Ok(())
    }
}

/// The source that a payload names, whatever else is wrong with it.
pub fn source_name(payload: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        source_name: Cow<'a, str>,
    }
    serde_json::from_str(payload).ok().map(|Named { source_name }| source_name)
}

/// Why a payload cannot be what it says it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flawed {
    /// Without an address nobody can say what it is about.
    #[error("source_url is not an address: {0:?}")]
    NoAddress(String),
    /// Versions begin with 1.
    #[error("version is 0")]
    NoVersion,
    /// The content and its hash do not belong together.
    #[error("content_hash says {said}, and the content has {is}")]
    OtherContent {
        /// What the event says.
        said: String,
        /// What its content comes to.
        is: String,
    },
}
