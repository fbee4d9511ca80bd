//! Authors: people whose names stand under headlines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Flawed, Origin, canonical};

/// What is known of an author.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Author {
    /// The name as the source writes it.
    pub name: String,
    /// The author's page at the source.
    pub url: Option<String>,
}

impl Author {
    /// BLAKE3 of the canonical JSON (RFC 8785) of all of it.
    pub fn content_hash(&self) -> String {
        let value = serde_json::to_value(self).expect("strings are JSON");
        blake3::hash(canonical(&value).as_bytes()).to_hex().to_string()
    }
}

/// An author is new, or more is known of one.
///
/// Its `source_url` is `urn:author:<source>:<folded name>`: many sites give no address, and an address may come later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthorUpserted {
    #[allow(missing_docs)]
    #[serde(flatten)]
    pub origin: Origin,
    /// All that is known.
    pub author: Author,
}

impl AuthorUpserted {
    /// The event's type.
    pub const TYPE: &str = "author.upserted";

    /// Whether content and hash belong together.
    pub fn check(&self) -> Result<(), Flawed> {
        self.origin.check()?;
        let is = self.author.content_hash();
        if is != self.origin.content_hash {
            return Err(Flawed::OtherContent { said: self.origin.content_hash.clone(), is });
        }
        Ok(())
    }
}
