//! Sitemaps and feeds: a bounded, streaming reader for hostile input.

mod date;
mod draft;
mod entry;
mod source;
mod text;
mod verb;
mod vocabulary;
mod xml;

use std::fmt;
use std::io::Read;

use crate::address::Address;
pub(crate) use date::http_date;
pub use date::parse_date;
use entry::Sink;
pub use entry::{Alternate, Entry, EntryKind, Reach};
use source::Source;
pub use verb::{ParseArgs, parse};

/// What one file may hold. The defaults are those of the sitemap protocol.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes after decompression; what lies behind is not read.
    pub bytes_max: u64,
    /// Entries; what follows is not read.
    pub entries_max: u64,
    /// One element, text or comment; it must fit in memory.
    pub token_bytes_max: usize,
    /// Elements within each other.
    pub depth_max: usize,
    /// Notes that are kept; further ones are counted.
    pub notes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes_max: 50 * 1024 * 1024,
            entries_max: 50_000,
            token_bytes_max: 4 * 1024 * 1024,
            depth_max: 64,
            notes_max: 50,
        }
    }
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A sitemap of pages.
    UrlSet,
    /// A sitemap of sitemaps.
    Index,
    /// One URL a line.
    Text,
    /// RSS 0.91 to 2.0.
    Rss,
    /// RSS 0.9 and 1.0.
    Rdf,
    /// Atom.
    Atom,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UrlSet => "sitemap",
            Self::Index => "sitemap index",
            Self::Text => "text sitemap",
            Self::Rss => "RSS feed",
            Self::Rdf => "RDF feed",
            Self::Atom => "Atom feed",
        })
    }
}

/// What a file held.
#[derive(Debug, Clone)]
pub struct Summary {
    /// What the file is.
    pub kind: Kind,
    /// How many entries were handed over.
    pub entries: u64,
    /// What was wrong with some of them, the first [`Limits::notes_max`].
    pub notes: Vec<String>,
    /// Further notes.
    pub notes_left_out: u64,
    /// Why the file was not read to its end; what came before counts.
    pub cut: Option<Cut>,
}

/// Why reading ended before the file did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cut {
    /// The file ends in the middle of an element, or of its compression.
    #[error("the file ends early")]
    Truncated,
    /// More than [`Limits::bytes_max`].
    #[error("the file is too large")]
    TooManyBytes,
    /// More than [`Limits::entries_max`].
    #[error("the file has too many entries")]
    TooManyEntries,
    /// One piece of the file is larger than [`Limits::token_bytes_max`].
    #[error("an element is too large")]
    TokenTooLarge,
    /// More than [`Limits::depth_max`].
    #[error("the elements are nested too deeply")]
    TooDeep,
    /// It is not well-formed beyond what can be read around.
    #[error("the XML is broken: {0}")]
    Malformed(String),
    /// It could not be read or decompressed.
    #[error("it could not be read: {0}")]
    Unreadable(String),
}

/// Why a file is no sitemap at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotASitemap {
    /// A page, often an error page with status 200.
    #[error("this is an HTML page")]
    Html,
    /// XML of another kind.
    #[error("this is XML with the root <{0}>, which is neither a sitemap nor a feed")]
    Root(String),
    /// Nothing, or blanks.
    #[error("the file is empty")]
    Empty,
    /// Text whose first line is no URL.
    #[error("this is neither XML nor a list of URLs")]
    Other,
    /// Reading ended before it was clear what it is.
    #[error("this is no sitemap that can be read: {0}")]
    Cut(Cut),
}

/// Reads a sitemap, an index, a feed or a list of URLs, plain or compressed by gzip (told by its first bytes, whatever its
/// name), and hands over each entry as soon as it is read. Memory stays flat whatever the file's size.
///
/// `base` is the address that the file came from: relative addresses are resolved against it, and each entry says how far
/// from it it leads. What is wrong with single entries becomes a note; what ends the reading early becomes [`Summary::cut`].
/// DTDs are skipped, so no entity but XML's own five, `&nbsp;` and numbers is ever resolved.
pub fn read(
    source: impl Read,
    base: &Address,
    limits: &Limits,
    each: impl FnMut(Entry),
) -> Result<Summary, NotASitemap> {
    let mut source = Source::open(source, limits);
    let mut sink = Sink::new(base, limits, each);
    let kind = match source.first_byte() {
        None => Err(source.cut.clone().map_or(NotASitemap::Empty, NotASitemap::Cut)),
        Some(b'<') => xml::read(source, limits, &mut sink),
        Some(_) => text::read(source, &mut sink),
    }?;
    Ok(sink.summary(kind))
}

#[cfg(test)]
mod tests;
