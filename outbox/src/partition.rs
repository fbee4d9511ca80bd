//! Partitions: for order across processes, and for a Redis Cluster, over whose slots they spread.

use sha2::{Digest, Sha256};

/// The partition of a stream that events with this key go to: `articles:{3}`.
///
/// The first four bytes of the key's SHA-256, as a big-endian number, modulo the count; so any language can tell, and so
/// does the SQL function `outbox_partition`. The braces make a Redis Cluster place all that belongs to a partition together.
/// A count that changes moves keys: let the old partitions run empty first.
///
/// ```
/// # use outbox::{Event, partition};
/// let event = Event::draft(partition("articles", 8, "example.org/a"), "article.changed").key("example.org/a");
/// assert_eq!(partition("articles", 8, "example.org/a"), "articles:{7}");
/// ```
///
/// # Panics
/// If the count is 0.
pub fn partition(stream: &str, count: u16, key: &str) -> String {
    assert!(count > 0, "there is no partition to choose from");
    let hash = Sha256::digest(key.as_bytes());
    let number = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    name(stream, (number % u32::from(count)) as u16)
}

/// The name of a partition.
pub(crate) fn name(stream: &str, nth: u16) -> String {
    format!("{stream}:{{{nth}}}")
}
