//! Which sitemaps of a source to read: indexes can name each other, themselves, or each other for ever.

use std::collections::HashSet;

use crate::address::Address;

/// How deep indexes may lie within each other.
const DEPTH_MAX: u8 = 10;

/// The sitemaps that one walk has met.
#[derive(Debug)]
pub struct Visits {
    seen: HashSet<Address>,
    files_max: usize,
}

/// Whether to read a sitemap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is new.
    Read,
    /// It was met before.
    Seen,
    /// It lies more than ten indexes deep.
    TooDeep,
    /// The walk has met as many as it may.
    TooMany,
}

impl Visits {
    /// A walk through at most `files_max` sitemaps.
    pub fn new(files_max: usize) -> Self {
        Self { seen: HashSet::new(), files_max }
    }

    /// Meets a sitemap that lies `depth` indexes deep; 0 for one that robots.txt or the settings name.
    pub fn admit(&mut self, sitemap: &Address, depth: u8) -> Admission {
        if self.seen.contains(sitemap) {
            Admission::Seen
        } else if depth > DEPTH_MAX {
            Admission::TooDeep
        } else if self.seen.len() >= self.files_max {
            Admission::TooMany
        } else {
            self.seen.insert(sitemap.clone());
            Admission::Read
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_ends() {
        let at = |path: &str| Address::parse(&format!("https://a.org/{path}")).expect("an address");
        let mut visits = Visits::new(3);
        assert_eq!(visits.admit(&at("index.xml"), 0), Admission::Read);
        assert_eq!(visits.admit(&at("index.xml#again"), 1), Admission::Seen);
        assert_eq!(visits.admit(&at("deep.xml"), 11), Admission::TooDeep);
        assert_eq!(visits.admit(&at("deep.xml"), 10), Admission::Read);
        assert_eq!(visits.admit(&at("third.xml"), 1), Admission::Read);
        assert_eq!(visits.admit(&at("fourth.xml"), 1), Admission::TooMany);
    }
}
