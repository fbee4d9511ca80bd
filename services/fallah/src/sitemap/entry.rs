//! Entries, and the place where drafts become entries.

use jiff::Timestamp;
use serde::Serialize;

use super::draft::Draft;
use super::{Cut, Kind, Limits, Summary};
use crate::address::{Address, NotAnAddress};

/// Something that a sitemap or a feed names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its address.
    pub loc: Address,
    /// Whether it is a page or a further sitemap.
    pub kind: EntryKind,
    /// How far it lies from the file that names it.
    pub reach: Reach,
    /// When it changed last, as the file says; a feed's publication date where it says nothing else.
    pub lastmod: Option<Timestamp>,
    /// When it was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Timestamp>,
    /// Its title, in news sitemaps and feeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its language, in news sitemaps and feeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The same page in other languages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alternates: Vec<Alternate>,
}

/// What an entry leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A page.
    Page,
    /// A sitemap, to be read in turn.
    Sitemap,
}

/// Where an entry leads, seen from the file. The sitemap protocol lets a file speak for its own host alone; what to do with
/// the others is for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// To the same host.
    Host,
    /// To another host of the same registered domain.
    Site,
    /// To somebody else's site.
    Foreign,
}

/// A page in another language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alternate {
    /// The language as written: `ar`, `en-GB`, `x-default`.
    pub language: String,
    /// The address.
    pub loc: Address,
}

/// Turns drafts into entries and hands them over, until there are too many.
pub(super) struct Sink<'a, F> {
    base: &'a Address,
    limits: &'a Limits,
    each: F,
    entries: u64,
    notes: Vec<String>,
    notes_left_out: u64,
    pub(super) cut: Option<Cut>,
}

impl<'a, F: FnMut(Entry)> Sink<'a, F> {
    pub(super) fn new(base: &'a Address, limits: &'a Limits, each: F) -> Self {
        Self { base, limits, each, entries: 0, notes: Vec::new(), notes_left_out: 0, cut: None }
    }

    /// Hands over what a draft names, by every address it has: two `<loc>` in one entry are mostly two entries between which
    /// something is missing.
    pub(super) fn accept(&mut self, draft: Draft) {
        let number = self.entries + 1;
        let locs = draft.locs();
        if locs.is_empty() {
            self.note(|| format!("entry {number} has no address"));
        } else if locs.len() > 1 {
            self.note(|| format!("entry {number} has {} addresses", locs.len()));
        }
        let mut dates = [&draft.lastmod, &draft.published].map(|written| {
            let date = super::parse_date(written);
            if date.is_none() && !written.is_empty() {
                let written = crate::exit::printable(&written.chars().take(40).collect::<String>());
                self.note(|| format!("entry {number} has a date that is none: {written}"));
            }
            date
        });
        if draft.is_of_feed {
            dates[0] = dates[0].or(dates[1]);
        }
        let alternates = draft.alternates.iter().filter_map(|(language, loc)| {
            Some(Alternate { language: language.clone(), loc: self.base.join(loc).ok()? })
        });
        let alternates: Vec<_> = alternates.collect();
        for loc in locs {
            let address = match self.base.join(loc) {
                Ok(address) => address,
                Err(error) => {
                    self.note(|| format!("entry {number}: {error}"));
                    continue;
                }
            };
            if matches!(Address::parse(loc), Err(NotAnAddress::Malformed(_))) {
                self.note(|| format!("entry {number} has a relative address"));
            }
            if self.entries == self.limits.entries_max {
                self.cut = Some(Cut::TooManyEntries);
                return;
            }
            self.entries += 1;
            (self.each)(Entry {
                reach: reach(self.base, &address),
                loc: address,
                kind: draft.kind,
                lastmod: dates[0],
                published_at: dates[1],
                title: some(&draft.title),
                language: some(&draft.language),
                alternates: alternates.clone(),
            });
        }
    }

    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if self.notes.len() < self.limits.notes_max {
            self.notes.push(text());
        } else {
            self.notes_left_out += 1;
        }
    }

    pub(super) fn summary(self, kind: Kind) -> Summary {
        let Self { entries, notes, notes_left_out, cut, .. } = self;
        Summary { kind, entries, notes, notes_left_out, cut }
    }
}

fn reach(base: &Address, address: &Address) -> Reach {
    if base.host() == address.host() {
        Reach::Host
    } else if base.same_site(address) {
        Reach::Site
    } else {
        Reach::Foreign
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
