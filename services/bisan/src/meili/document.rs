//! What an article is in the index.

use serde::{Deserialize, Serialize};

/// An article as Meilisearch has it: what is searched, filtered and ordered by; and by what it is compared with the truth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Document {
    /// The article's number. An address could not be one: Meilisearch takes letters, digits, - and _ only.
    pub(crate) id: i64,
    /// The article's change that this is.
    pub(crate) change: i64,
    pub(crate) source_url: String,
    pub(crate) source_name: String,
    pub(crate) title: String,
    pub(crate) lead: String,
    pub(crate) body: String,
    /// The names as they are written there.
    pub(crate) authors: Vec<String>,
    /// Whose they are. Who was merged with whom is asked when somebody searches: then a merge changes no document.
    pub(crate) author_ids: Vec<i64>,
    pub(crate) section: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) language: Option<String>,
    /// In seconds of Unix: Meilisearch orders and compares numbers only.
    pub(crate) dated_at: i64,
    /// Of all the rest.
    #[serde(default)]
    pub(crate) hash: String,
}

impl Document {
    /// With its hash, which says that nothing of it was changed on the way.
    pub(crate) fn sealed(mut self) -> Self {
        self.hash = self.digest();
        self
    }

    /// Whether it is as it was when it was sealed.
    pub(crate) fn is_whole(&self) -> bool {
        self.hash == self.digest()
    }

    /// BLAKE3 of the rest, in the order of the fields.
    fn digest(&self) -> String {
        let Self {
            id,
            change,
            source_url,
            source_name,
            title,
            lead,
            body,
            authors,
            author_ids,
            section,
            tags,
            language,
            dated_at,
            ..
        } = self;
        let rest = serde_json::to_vec(&(
            id,
            change,
            source_url,
            source_name,
            title,
            lead,
            body,
            authors,
            author_ids,
            section,
            tags,
            language,
            dated_at,
        ));
        blake3::hash(&rest.expect("strings and numbers are JSON")).to_hex().to_string()
    }

    /// As one line of a request.
    pub(crate) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("strings and numbers are JSON");
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_whole_until_something_is_changed() {
        let document = Document {
            id: 1,
            change: 7,
            source_url: "https://example.org/a".into(),
            source_name: "daily".into(),
            title: "عنوان".into(),
            lead: String::new(),
            body: "نص".into(),
            authors: vec!["سلمى".into()],
            author_ids: vec![3],
            section: None,
            tags: vec![],
            language: Some("ar".into()),
            dated_at: 0,
            hash: String::new(),
        }
        .sealed();
        assert!(document.is_whole());
        let line = document.line();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
        let back: Document = serde_json::from_slice(&line).expect("JSON");
        assert!(back == document && back.is_whole());
        assert!(!Document { body: "other".into(), ..document }.is_whole());
    }
}
