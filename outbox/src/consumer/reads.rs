//! Reads that wait for something new, at most one at each door.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::stream::{Delivered, Trouble};

type Read = Pin<Box<dyn Future<Output = (Arc<str>, Result<Vec<Delivered>, Trouble>)> + Send>>;

#[derive(Default)]
pub(super) struct Reads {
    waiting: FuturesUnordered<Read>,
    /// The doors at which one waits.
    at: BTreeSet<Arc<str>>,
}

impl Reads {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The doors at which one waits.
    pub(super) fn doors(&self) -> impl Iterator<Item = &Arc<str>> {
        self.at.iter()
    }

    pub(super) fn waits_at(&self, door: &str) -> bool {
        self.at.contains(door)
    }

    /// Begins to wait at a door at which nobody waits.
    pub(super) fn begin(
        &mut self,
        door: Arc<str>,
        read: impl Future<Output = Result<Vec<Delivered>, Trouble>> + Send + 'static,
    ) {
        self.at.insert(door.clone());
        self.waiting.push(Box::pin(async move { (door, read.await) }));
    }

    /// Waits for the next answer; none: nobody waits. The wait may be cut off.
    pub(super) async fn next(&mut self) -> Option<Result<Vec<Delivered>, Trouble>> {
        let (door, read) = self.waiting.next().await?;
        self.at.remove(&door);
        Some(read)
    }

    /// Gives up all of them, with their connections.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.at.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_door_is_free_again_when_its_read_is_answered_or_given_up() {
        let mut reads = Reads::default();
        assert!(reads.next().await.is_none());
        reads.begin("a".into(), async { Ok(vec![]) });
        reads.begin("b".into(), std::future::pending());
        assert!(reads.waits_at("a") && reads.waits_at("b") && !reads.waits_at("c"));
        assert!(matches!(reads.next().await, Some(Ok(_))));
        assert_eq!(reads.doors().map(|door| &**door).collect::<Vec<_>>(), ["b"]);
        reads.clear();
        assert!(reads.is_empty() && !reads.waits_at("b"));
    }
}
