//! Lists of words, written as a text so that they can be read as one.

use std::collections::HashSet;
use std::sync::OnceLock;

/// A list of words, apart by blanks, looked up by hash.
pub(super) struct Words {
    text: &'static str,
    set: OnceLock<HashSet<&'static str>>,
}

impl Words {
    pub(super) const fn new(text: &'static str) -> Self {
        Words { text, set: OnceLock::new() }
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.set.get_or_init(|| self.text.split_ascii_whitespace().collect()).contains(word)
    }
}
