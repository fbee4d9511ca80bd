//! What is called how in Redis, beside a stream: the names that consumers and the relay share (`docs/contract.md`).
//!
//! In a cluster they lie in the stream's own slot if its name has a tag, as those of partitions have.

/// The consumer for which entries are pending that were given back. No process bears this name.
pub const NOBODY: &str = "outbox:nobody";

/// Where a group's dead letters wait for the relay.
pub fn dead(stream: &str, group: &str) -> String {
    format!("{stream}:{group}:dead")
}

/// The lane on which a group's dead letters are replayed.
pub fn replay(stream: &str, group: &str) -> String {
    format!("{stream}:{group}:replay")
}

/// The stream that a lane belongs to: itself, unless the group's dead letters are replayed on it.
pub fn stream_of<'a>(lane: &'a str, group: &str) -> &'a str {
    lane.strip_suffix(&format!(":{group}:replay")).unwrap_or(lane)
}

/// What a group's consumers have done.
pub fn stats(stream: &str, group: &str) -> String {
    format!("{stream}:{group}:stats")
}

/// How attempts failed, until the event takes effect or is set aside.
pub fn tries(lane: &str, group: &str) -> String {
    format!("{lane}:{group}:tries")
}

/// Up to where each group is settled for good.
pub fn settled(lane: &str) -> String {
    format!("{lane}:settled")
}

/// Who may read a partition.
pub fn holder(stream: &str, group: &str) -> String {
    format!("{stream}:{group}:holder")
}

/// Whose connection reads a partition.
pub fn reader(stream: &str, group: &str) -> String {
    format!("{stream}:{group}:reader")
}

/// Who shares the partitions; kept beside the first one.
pub fn consumers(stream: &str, group: &str) -> String {
    format!("{stream}:{group}:consumers")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readers in other languages rely on these names.
    #[test]
    fn the_names_are_pinned() {
        assert_eq!(dead("orders", "billing"), "orders:billing:dead");
        assert_eq!(replay("orders", "billing"), "orders:billing:replay");
        assert_eq!(stats("orders", "billing"), "orders:billing:stats");
        assert_eq!(tries("orders", "billing"), "orders:billing:tries");
        assert_eq!(settled("orders"), "orders:settled");
        let of_partition = [holder, reader, consumers].map(|name| name("articles:{3}", "billing"));
        let names = ["holder", "reader", "consumers"].map(|name| format!("articles:{{3}}:billing:{name}"));
        assert_eq!(of_partition, names);
    }

    #[test]
    fn a_lane_for_replays_belongs_to_its_stream() {
        assert_eq!(stream_of(&replay("orders", "billing"), "billing"), "orders");
        assert_eq!(stream_of("orders", "billing"), "orders");
        assert_eq!(stream_of("orders:billing:replay", "other"), "orders:billing:replay");
    }
}
