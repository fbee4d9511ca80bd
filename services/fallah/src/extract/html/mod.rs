//! From bytes to a tree that can be trusted: decoded, tidied, parsed by `select`, and walked without recursion.

pub(super) mod decode;
pub(super) mod entities;
mod kinds;
mod tidy;
mod tokens;
mod tree;
mod writer;

pub(super) use tree::{Tree, is_block, squeeze};

/// A page beyond this size is refused: no article is so long, and reading it would cost more than it is worth.
pub(super) const PAGE_BYTES_MAX: usize = 16 << 20;

/// The parsed page and what was set aside on the way.
pub(super) struct Parsed<'a> {
    pub(super) tree: Tree,
    /// The raw text of JSON-LD scripts, in the order of the page.
    pub(super) json_ld: Vec<&'a str>,
    /// The raw text of other scripts.
    pub(super) scripts: Vec<&'a str>,
}

/// Parses a page of any kind of brokenness.
pub(super) fn parse(html: &str) -> Parsed<'_> {
    let tidy = tidy::tidy(html);
    let tree = Tree::new(select::document::Document::from(tidy.html.as_str()));
    Parsed { tree, json_ld: tidy.json_ld, scripts: tidy.scripts }
}
