//! What Fallah, Hasad and Bisan share on the wire, and nothing else: names, payloads and the content hash.
//!
//! Fallah says these events on one stream; Hasad and Bisan each read it as a group of their own. They know each other
//! only through what stands here. The same as JSON Schema: [`schemas`].

mod article;
mod author;
mod canonical;
mod export;
mod origin;
mod schema;
mod unread;

pub use article::{Article, ArticleDeleted, ArticleUpserted, Byline, Removal};
pub use author::{Author, AuthorUpserted};
pub use canonical::canonical;
pub use export::{Export, ExportEnd, Line};
pub use origin::{Flawed, Origin, source_name};
pub use schema::schemas;
pub use unread::why_unread;

/// The stream that all of it goes to.
pub const STREAM: &str = "content:scraped";

/// The group of the archive.
pub const HASAD: &str = "hasad-cg";

/// The group of the reader's side.
pub const BISAN: &str = "bisan-cg";
