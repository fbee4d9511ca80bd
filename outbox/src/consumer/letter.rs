//! An entry on its way to the dead letters.

use super::line::{Failed, Pending, Place};
use super::told::Told;

/// A reason is kept to so many characters.
const REASON_CHARS_MAX: usize = 500;

#[derive(Debug)]
pub(super) struct Letter {
    place: Place,
    /// The event's; none: it is no event.
    pub(super) id: Option<String>,
    pub(super) reason: String,
    pub(super) fields: Vec<(&'static str, String)>,
}

impl Letter {
    pub(super) fn of(told: &Told, stream: &str, place: &Place, pending: &Pending, reason: &str) -> Self {
        let at = |failed: Option<&Failed>| failed.map(|failed| failed.at.clone()).unwrap_or_default();
        let reason = short(reason);
        let fields = vec![
            ("dead:stream", stream.to_owned()),
            ("dead:lane", place.0.to_string()),
            ("dead:group", told.group.to_string()),
            ("dead:entry", place.1.to_string()),
            ("dead:attempts", pending.attempts.to_string()),
            ("dead:reason", reason.clone()),
            ("dead:failures", serde_json::to_string(&pending.failures).unwrap_or_default()),
            ("dead:first_failed_at", at(pending.failures.first())),
            ("dead:last_failed_at", at(pending.failures.last())),
            ("dead:consumer", told.me.clone()),
            ("dead:handler", told.settings.version.clone()),
        ];
        Self { place: place.clone(), id: pending.id().map(str::to_owned), reason, fields }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }
}

/// A reason as Postgres can keep it.
pub(super) fn short(reason: &str) -> String {
    reason.chars().filter(|c| *c != '\0').take(REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::consumer::ConsumerBuilder;
    use crate::consumer::work::Each;
    use crate::{Entry, EntryId, Failure, Handler};

    struct Nothing;

    impl Handler for Nothing {
        async fn handle(&self, _: &Entry) -> Result<(), Failure> {
            Ok(())
        }
    }

    #[test]
    fn a_letter_tells_what_happened_and_how_it_failed_first_and_last() {
        let settings = ConsumerBuilder::new("redis://localhost".into()).group("g").version("v3");
        let told = Told::new(settings.claim_after(Duration::from_secs(1)), Arc::new(Each(Nothing)));
        let failed = |at: &str| Failed { at: at.into(), consumer: "c".into(), error: "no".into() };
        let pending = Pending { failures: vec![failed("1"), failed("2")], ..Pending::new(None, 2) };
        let place = ("s:g:replay".into(), EntryId { generation: 1, seq: 7 });
        let letter = Letter::of(&told, "s", &place, &pending, "a\0b");
        let field =
            |name: &str| letter.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str());
        for (name, value) in [
            ("dead:stream", "s"),
            ("dead:lane", "s:g:replay"),
            ("dead:entry", "1-7"),
            ("dead:attempts", "2"),
            ("dead:reason", "ab"),
            ("dead:first_failed_at", "1"),
            ("dead:last_failed_at", "2"),
            ("dead:handler", "v3"),
        ] {
            assert_eq!(field(name), Some(value), "{name}");
        }
        assert_eq!(field("dead:consumer"), Some(told.me.as_str()));
        assert_eq!(short(&"é".repeat(1_000)).chars().count(), REASON_CHARS_MAX);
    }
}
