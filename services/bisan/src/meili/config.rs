//! Where Meilisearch is, whether it is written and asked, and how much at once.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use terminal::{Secret, Unusable, duration};

/// Meilisearch itself allows 512 bytes; ours get a suffix.
const INDEX_CHARS_MAX: usize = 400;

/// What becomes of the search index. Each step can be taken back by the setting alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum SearchWrite {
    /// It is neither written nor asked; what is to be brought to it is remembered
    Off,
    /// It is written, and searches are answered by SQLite
    Shadow,
    /// It is written, and answers searches; by SQLite while it is away
    #[default]
    On,
}

/// The search index beside the truth. Without an address there is none, and SQLite answers every search.
#[derive(Debug, Clone, Args)]
pub struct SearchServer {
    /// Meilisearch, as http://host:7700 (none: SQLite alone answers searches)
    #[arg(long, env = "MEILI_URL", hide_env_values = true, value_name = "URL")]
    pub meili_url: Option<String>,

    /// Its key
    #[arg(long, env = "MEILI_KEY", hide_env_values = true, value_name = "KEY")]
    pub meili_key: Option<Secret>,

    /// A file in which its key stands
    #[arg(long, env = "MEILI_KEY_FILE", value_name = "FILE")]
    pub meili_key_file: Option<PathBuf>,

    /// The index; NAME_spare is used while it is built anew
    #[arg(long, env = "BISAN_MEILI_INDEX", default_value = "articles", value_name = "NAME")]
    pub meili_index: String,

    /// Whether the index is written and asked
    #[arg(long, env = "BISAN_SEARCH_WRITE", default_value = "on", value_name = "WHETHER")]
    pub search_write: SearchWrite,

    /// Articles that are brought to it in one request
    #[arg(long, env = "BISAN_BATCH_DOCUMENTS_MAX", default_value = "1000", value_name = "ARTICLES")]
    pub batch_documents_max: NonZeroUsize,

    /// Bytes of one request; an article that is larger goes alone
    #[arg(long, env = "BISAN_BATCH_BYTES_MAX", default_value = "5242880", value_name = "BYTES")]
    pub batch_bytes_max: NonZeroUsize,

    /// So long an article may wait for others, to share their request
    #[arg(long, env = "BISAN_BATCH_WAIT_MAX", default_value = "2s", value_parser = duration, value_name = "DURATION")]
    pub batch_wait_max: Duration,

    /// An answer to a write that takes longer is lost
    #[arg(long, env = "BISAN_MEILI_TIMEOUT", default_value = "30s", value_parser = duration, value_name = "DURATION")]
    pub meili_timeout: Duration,

    /// A search that takes longer is answered by SQLite
    #[arg(long, env = "BISAN_MEILI_SEARCH_TIMEOUT", default_value = "1s", value_parser = duration, value_name = "DURATION")]
    pub meili_search_timeout: Duration,
}

impl SearchServer {
    /// What is wrong with these settings, in one sentence.
    pub fn check(&self) -> Result<(), Unusable> {
        self.url().and_then(|_| self.key()).map_err(Unusable)?;
        let sound = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name = &self.meili_index;
        let rules = [
            (
                !name.is_empty() && name.len() <= INDEX_CHARS_MAX && name.chars().all(sound),
                "--meili-index (BISAN_MEILI_INDEX) may have letters, digits, - and _ only",
            ),
            (!self.meili_timeout.is_zero(), "--meili-timeout (BISAN_MEILI_TIMEOUT) must not be 0"),
            (
                !self.meili_search_timeout.is_zero(),
                "--meili-search-timeout (BISAN_MEILI_SEARCH_TIMEOUT) must not be 0",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, sentence)) => Err(Unusable(sentence.to_owned())),
            None => Ok(()),
        }
    }

    /// Whether there is one.
    pub(crate) fn is_set(&self) -> bool {
        self.meili_url.as_deref().is_some_and(|url| !url.is_empty())
    }

    /// The address, without a slash at its end.
    pub(crate) fn url(&self) -> Result<Option<String>, String> {
        let Some(url) = self.meili_url.as_deref().filter(|url| !url.is_empty()) else { return Ok(None) };
        let bad = |why: &str| format!("--meili-url (MEILI_URL) {why}");
        let parsed = url::Url::parse(url).map_err(|_| bad("cannot be read"))?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host().is_none() {
            return Err(bad("must begin with http:// or https://"));
        }
        // It appears in messages.
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(bad("must hold no password: the key goes into MEILI_KEY"));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(bad("must be an address alone"));
        }
        Ok(Some(url.trim_end_matches('/').to_owned()))
    }

    /// The key, wherever it stands.
    pub(crate) fn key(&self) -> Result<Option<Secret>, String> {
        let direct = self.meili_key.clone().filter(|key| !key.reveal().is_empty());
        let Some(file) = &self.meili_key_file else { return Ok(direct) };
        if direct.is_some() {
            return Err("give either --meili-key (MEILI_KEY) or --meili-key-file (MEILI_KEY_FILE)".to_owned());
        }
        let bad = |why: String| format!("--meili-key-file (MEILI_KEY_FILE) {}: {why}", file.display());
        let line = terminal::read_secret(file).map_err(bad)?;
        match line.trim() {
            "" => Err(bad("there is nothing in it".to_owned())),
            key => Ok(Some(key.into())),
        }
    }

    /// The other index: the one that is being built, and after that the one that was before.
    pub(crate) fn spare(&self) -> String {
        format!("{}_spare", self.meili_index)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        server: SearchServer,
    }

    fn server(flags: &[&str]) -> SearchServer {
        let line = ["bisan"].into_iter().chain(flags.iter().copied());
        Line::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).server
    }

    #[test]
    fn without_an_address_there_is_no_index_and_nothing_is_wrong() {
        let none = server(&[]);
        none.check().expect("sound");
        assert_eq!(none.url(), Ok(None));
        assert_eq!(server(&["--meili-url", ""]).url(), Ok(None));
    }

    #[test]
    fn an_address_holds_no_key_and_its_complaint_neither() {
        for wrong in ["host:7700", "ftp://x", "http://me:hunter2@x:7700", "http://x/?key=hunter2", "http://"] {
            let why = server(&["--meili-url", wrong]).check().expect_err(wrong);
            assert!(why.0.contains("MEILI_URL") && !why.0.contains("hunter2"), "{why}");
        }
        assert_eq!(server(&["--meili-url", "http://x:7700/"]).url(), Ok(Some("http://x:7700".to_owned())));
    }

    #[test]
    fn a_key_may_stand_in_a_file_and_in_one_place_only() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("a name");
        assert!(server(&["--meili-key-file", path]).check().expect_err("empty").0.contains("nothing in it"));
        std::fs::write(file.path(), "s3cret\n").expect("written");
        let server = |flags: &[&str]| server(&[&["--meili-key-file", path], flags].concat());
        assert_eq!(server(&[]).key().expect("a key").expect("a key").reveal(), "s3cret");
        assert!(server(&["--meili-key", "other"]).check().is_err());
        assert!(!format!("{:?}", server(&[])).contains("s3cret"));
    }

    #[test]
    fn an_index_has_a_name_that_meilisearch_takes() {
        for wrong in ["", "a b", "a/b", "مقالات"] {
            assert!(server(&["--meili-index", wrong]).check().is_err(), "{wrong}");
        }
        assert_eq!(server(&[]).spare(), "articles_spare");
    }
}
