//! Redis lost a stream, or never had it: where it begins, and where its groups go on. Pure: it is told and decides.

use outbox::EntryId;

use crate::Seq;
use crate::store::GroupPosition;

/// How to make a stream that is not there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The stream's top from the beginning: nothing up to here is sent again.
    pub(crate) start: EntryId,
    /// Each group, and the number after which it goes on.
    pub(crate) groups: Vec<(String, EntryId)>,
}

/// Everything that some group had not settled is sent again, and each group sees again only what it had not settled.
/// With no group known, all that is retained is sent again: the numbers are the same, so who reads by number goes on.
pub(crate) fn plan(generation: u64, groups: &[GroupPosition]) -> Plan {
    let id = |seq: Seq| EntryId { generation, seq: seq.unsigned_abs() };
    let start = groups.iter().map(|group| group.settled_seq).min().unwrap_or(0);
    Plan {
        start: id(start),
        groups: groups.iter().map(|group| (group.name.clone(), id(group.settled_seq))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, settled_seq: Seq) -> GroupPosition {
        GroupPosition { name: name.into(), settled_seq }
    }

    #[test]
    fn the_slowest_group_decides_where_the_stream_begins() {
        let plan = plan(1, &[group("quick", 90), group("slow", 40)]);
        assert_eq!(plan.start.to_string(), "1-40");
        let positions: Vec<_> = plan.groups.iter().map(|(name, at)| format!("{name} {at}")).collect();
        assert_eq!(positions, ["quick 1-90", "slow 1-40"]);
    }

    #[test]
    fn without_groups_everything_that_is_retained_is_sent_again() {
        assert_eq!(plan(3, &[]), Plan { start: EntryId { generation: 3, seq: 0 }, groups: vec![] });
    }
}
