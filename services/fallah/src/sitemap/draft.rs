//! An entry while it is read: the texts of its fields.

use super::EntryKind;

/// More addresses, or pages in other languages, are left out.
const LOCS_MAX: usize = 8;
const ALTERNATES_MAX: usize = 64;
/// The longest title that is kept.
const TITLE_CHARS_MAX: usize = 500;

/// A field of an entry, and what to do with its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// The entry's address.
    Loc,
    /// An address that stands behind a counter of clicks; better than `Loc`.
    BetterLoc,
    /// An address to fall back to.
    Guid,
    Lastmod,
    Published,
    Title,
    Language,
}

pub(super) struct Draft {
    pub(super) kind: EntryKind,
    pub(super) is_of_feed: bool,
    pub(super) lastmod: String,
    pub(super) published: String,
    pub(super) title: String,
    pub(super) language: String,
    pub(super) alternates: Vec<(String, String)>,
    locs: Vec<String>,
    better_loc: Option<String>,
    guid: Option<String>,
}

impl Draft {
    pub(super) fn new(kind: EntryKind, is_of_feed: bool, language: &str) -> Self {
        Self {
            kind,
            is_of_feed,
            lastmod: String::new(),
            published: String::new(),
            title: String::new(),
            language: language.to_owned(),
            alternates: Vec::new(),
            locs: Vec::new(),
            better_loc: None,
            guid: None,
        }
    }

    /// Takes the text of a field, with the blanks around it gone.
    pub(super) fn set(&mut self, field: Field, text: &str) {
        if text.is_empty() {
            return;
        }
        match field {
            Field::Loc => self.add_loc(text),
            Field::BetterLoc => self.better_loc = Some(text.to_owned()),
            Field::Guid => {
                // Many are plain numbers, and `post-17 at https://...` is no address either.
                if text.starts_with("http://") || text.starts_with("https://") {
                    self.guid = Some(text.to_owned());
                }
            }
            Field::Lastmod => text.clone_into(&mut self.lastmod),
            Field::Published if !self.published.is_empty() => {}
            Field::Published => text.clone_into(&mut self.published),
            Field::Title => {
                self.title =
                    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(TITLE_CHARS_MAX).collect()
            }
            Field::Language => text.clone_into(&mut self.language),
        }
    }

    fn add_loc(&mut self, text: &str) {
        // Escaped once too often, as within CDATA: no address has `&amp;` in it.
        let text = text.replace("&amp;", "&");
        if self.locs.len() < LOCS_MAX && !self.locs.contains(&text) {
            self.locs.push(text);
        }
    }

    pub(super) fn add_alternate(&mut self, language: String, loc: String) {
        if self.alternates.len() < ALTERNATES_MAX {
            self.alternates.push((language, loc));
        }
    }

    /// The addresses, the best kind only. A feed's entry is one page: of two links the first is its own.
    pub(super) fn locs(&self) -> Vec<&str> {
        let locs = self.locs.iter().take(if self.is_of_feed { 1 } else { LOCS_MAX }).map(String::as_str);
        match (&self.better_loc, &self.guid) {
            (Some(better), _) => vec![better],
            (None, Some(guid)) if self.locs.is_empty() => vec![guid],
            _ => locs.collect(),
        }
    }
}
