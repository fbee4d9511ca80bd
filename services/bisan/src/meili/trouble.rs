//! Why Meilisearch did not do what it was asked, and so what happens next.

use std::time::Duration;

use serde::Deserialize;

/// A longer wait than this is not granted, whoever asks for it.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// More of a reason is not kept.
pub(crate) const REASON_CHARS_MAX: usize = 500;

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// Nobody answers, or not in time, or with something that is not Meilisearch's. Everything waits; nothing is at fault.
    #[error("Meilisearch is away: {why}")]
    Away {
        /// What was seen.
        why: String,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The request is larger than the server takes.
    #[error("Meilisearch takes no request of {bytes} bytes (413)")]
    TooLarge {
        /// How large it was.
        bytes: usize,
    },
    /// There is no such index.
    #[error("Meilisearch has no such index")]
    NoIndex,
    /// There is no such task: the server has lost it, or is another one.
    #[error("Meilisearch knows nothing of the task")]
    NoTask,
    /// It understood, and says no: the key, a name or the documents are wrong.
    #[error("Meilisearch refuses: {0}")]
    Refused(Fault),
}

/// What Meilisearch says of a failure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Fault {
    /// A name such as `invalid_document_id`.
    #[serde(default)]
    pub code: String,
    /// `invalid_request`, `internal`, `auth`, `system`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// A sentence.
    #[serde(default)]
    pub message: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A server's words may come from anywhere: in a log they must not begin a line of their own.
        let told = |text: &str| terminal::printable(&text.chars().take(REASON_CHARS_MAX).collect::<String>());
        let (code, message) = (told(&self.code), told(&self.message));
        match (code.is_empty(), message.is_empty()) {
            (true, _) => f.write_str(&message),
            (false, true) => f.write_str(&code),
            (false, false) => write!(f, "{code}: {message}"),
        }
    }
}

/// What a failed task is to be blamed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// One of its documents: the others are to have their chance.
    Document,
    /// The server, which may do better later; or a document that takes it down. Only the others can tell.
    Server,
    /// The index or our settings: no document can be blamed, and a person must look.
    Index,
}

impl Fault {
    /// Whom it speaks of.
    pub(crate) fn blame(&self) -> Blame {
        // Of these the documents are innocent, though the request as a whole is called invalid.
        const OF_THE_INDEX: [&str; 6] = [
            "index_not_found",
            "invalid_index_uid",
            "index_primary_key_no_candidate_found",
            "index_primary_key_multiple_candidates_found",
            "index_primary_key_already_exists",
            "index_already_exists",
        ];
        match &*self.kind {
            _ if OF_THE_INDEX.contains(&&*self.code) => Blame::Index,
            "invalid_request" => Blame::Document,
            "auth" => Blame::Index,
            _ => Blame::Server,
        }
    }
}

impl Trouble {
    /// Nobody answers.
    pub(crate) fn away(why: impl std::fmt::Display) -> Self {
        let why: String = why.to_string().chars().take(REASON_CHARS_MAX).collect();
        Self::Away { why: terminal::printable(&why), retry_after: None }
    }

    /// What an answer other than the expected one means.
    pub(crate) fn of_answer(status: u16, retry_after: Option<Duration>, body: &[u8], sent_bytes: usize) -> Self {
        let fault: Fault = serde_json::from_slice(body).unwrap_or_default();
        match (status, &*fault.code) {
            (413, _) | (_, "payload_too_large") => Self::TooLarge { bytes: sent_bytes },
            (404, "index_not_found") => Self::NoIndex,
            (404, "task_not_found") => Self::NoTask,
            // A proxy says 404, too, while what stands behind it is away; and its 400 has no code of Meilisearch's.
            (400..=499, code) if !code.is_empty() && !matches!(status, 408 | 429) => Self::Refused(fault),
            (401 | 403, _) => Self::Refused(Fault { code: "auth".into(), kind: "auth".into(), ..fault }),
            _ => {
                let says = if fault.code.is_empty() { String::new() } else { format!(", {fault}") };
                let retry_after = retry_after.map(|wait| wait.min(RETRY_AFTER_MAX));
                Self::Away { why: format!("it answers {status}{says}"), retry_after }
            }
        }
    }
}

impl From<meilisearch_sdk::errors::Error> for Trouble {
    fn from(error: meilisearch_sdk::errors::Error) -> Self {
        match error {
            // Ours, from `http`, which has seen the whole answer.
            meilisearch_sdk::errors::Error::Other(cause) => match cause.downcast::<Self>() {
                Ok(trouble) => *trouble,
                Err(other) => Self::away(other),
            },
            other => Self::away(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str) -> Trouble {
        let body = format!(r#"{{"message":"words","code":"{code}","type":"invalid_request","link":""}}"#);
        Trouble::of_answer(status, Some(Duration::from_secs(2)), body.as_bytes(), 7)
    }

    #[test]
    fn who_asks_to_wait_is_away_and_nothing_is_at_fault() {
        for status in [408, 429, 500, 502, 503, 504] {
            let Trouble::Away { retry_after, .. } = answer(status, "too_many_search_requests") else {
                panic!("{status}");
            };
            assert_eq!(retry_after, Some(Duration::from_secs(2)));
        }
    }

    #[test]
    fn an_answer_of_somebody_else_is_an_outage() {
        for (status, body) in [(404, "<html>not found</html>"), (400, ""), (302, ""), (200, "hello")] {
            assert!(matches!(Trouble::of_answer(status, None, body.as_bytes(), 0), Trouble::Away { .. }), "{status}");
        }
    }

    #[test]
    fn what_is_said_of_one_request_is_told_apart() {
        assert_eq!(answer(413, "payload_too_large"), Trouble::TooLarge { bytes: 7 });
        assert_eq!(answer(404, "index_not_found"), Trouble::NoIndex);
        assert_eq!(answer(404, "task_not_found"), Trouble::NoTask);
        assert!(matches!(answer(400, "invalid_document_id"), Trouble::Refused(_)));
        assert!(matches!(Trouble::of_answer(403, None, b"", 0), Trouble::Refused(_)));
    }

    #[test]
    fn a_wait_of_days_is_not_granted() {
        let day = Some(Duration::from_secs(86_400));
        let Trouble::Away { retry_after, .. } = Trouble::of_answer(503, day, b"", 0) else { panic!("away") };
        assert_eq!(retry_after, Some(RETRY_AFTER_MAX));
    }

    #[test]
    fn only_what_speaks_of_documents_is_blamed_on_one() {
        let fault = |code: &str, kind: &str| Fault { code: code.into(), kind: kind.into(), ..Fault::default() };
        assert_eq!(fault("invalid_document_id", "invalid_request").blame(), Blame::Document);
        assert_eq!(fault("max_fields_limit_exceeded", "invalid_request").blame(), Blame::Document);
        assert_eq!(fault("index_not_found", "invalid_request").blame(), Blame::Index);
        assert_eq!(fault("no_space_left_on_device", "system").blame(), Blame::Server);
        assert_eq!(fault("internal", "internal").blame(), Blame::Server);
        assert_eq!(fault("", "").blame(), Blame::Server);
    }
}
