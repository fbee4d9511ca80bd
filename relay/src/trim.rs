//! What every group has settled may go. Never by length: that throws away what a group has not read. Knows no SQL: it is told
//! up to where.

use std::collections::HashMap;

use outbox::EntryId;

use crate::Seq;
use crate::groups::Group;

/// Up to where each stream's groups have settled everything: the slowest decides. A stream that no group reads is nobody's to
/// trim.
pub(crate) fn settled_by_all(groups: &[Group]) -> HashMap<&str, EntryId> {
    let mut lowest: HashMap<&str, EntryId> = HashMap::new();
    for group in groups {
        let settled = lowest.entry(&group.stream).or_insert(group.settled);
        *settled = group.settled.min(*settled);
    }
    lowest
}

/// Up to where a stream may be trimmed. Its newest entry always stays: by it a relay sees whether Redis and Postgres still
/// tell the same story.
pub(crate) fn trim_to(settled: EntryId, generation: u64, old_enough: Seq, top: Seq) -> Option<EntryId> {
    let seq = match settled.generation {
        older if older < generation => return None,
        _ => Seq::try_from(settled.seq).ok()?.min(old_enough).min(top - 1),
    };
    (seq > 0).then(|| EntryId { generation, seq: seq.unsigned_abs() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> EntryId {
        text.parse().expect("a number")
    }

    #[test]
    fn the_slowest_group_decides() {
        let group = |name: &str, settled: &str| Group {
            stream: "s".into(),
            name: name.into(),
            delivered: id("1-9"),
            settled: id(settled),
            pending: 0,
            consumers: 0,
        };
        assert_eq!(settled_by_all(&[group("a", "1-7"), group("b", "1-3")]), HashMap::from([("s", id("1-3"))]));
        assert!(settled_by_all(&[]).is_empty());
    }

    #[test]
    fn neither_the_newest_entry_goes_nor_what_is_too_young() {
        assert_eq!(trim_to(id("1-7"), 1, 100, 9), Some(id("1-7")));
        assert_eq!(trim_to(id("1-9"), 1, 100, 9), Some(id("1-8")));
        assert_eq!(trim_to(id("1-7"), 1, 5, 9), Some(id("1-5")));
        assert_eq!(trim_to(id("1-7"), 1, 0, 9), None);
        assert_eq!(trim_to(id("1-7"), 2, 100, 9), None, "nobody has reached this generation yet");
    }
}
