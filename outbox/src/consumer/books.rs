//! What a consumer keeps books on, for people: by stream.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::stats::{Stats, Times, rfc3339};

#[derive(Debug, Default)]
pub(super) struct Books {
    by_stream: BTreeMap<Arc<str>, (Stats, Times)>,
    /// In this turn.
    settled: usize,
}

impl Books {
    /// An event took effect.
    pub(super) fn processed(&mut self, stream: Arc<str>, took: Duration) {
        let (stats, times) = self.of(stream);
        stats.processed += 1;
        stats.last_active_at = Some(rfc3339(SystemTime::now()));
        times.took(took);
    }

    /// An attempt ended otherwise.
    pub(super) fn took(&mut self, stream: Arc<str>, took: Duration) {
        self.of(stream).1.took(took);
    }

    /// An event failed by its own fault.
    pub(super) fn failed(&mut self, stream: Arc<str>, is_tried_again: bool) {
        let (stats, _) = self.of(stream);
        stats.failed += 1;
        stats.retried += u64::from(is_tried_again);
        stats.last_active_at = Some(rfc3339(SystemTime::now()));
    }

    /// An event lies among the dead letters.
    pub(super) fn buried(&mut self, stream: Arc<str>) {
        self.of(stream).0.buried += 1;
        self.settled += 1;
    }

    /// Entries are gone that nobody had settled.
    pub(super) fn lost(&mut self, stream: Arc<str>, entries: usize) {
        self.of(stream).0.lost += entries as u64;
    }

    /// Redis knows what took effect.
    pub(super) fn acknowledged(&mut self, entries: usize) {
        self.settled += entries;
    }

    /// How many were settled since this was asked last.
    pub(super) fn take_settled(&mut self) -> usize {
        std::mem::take(&mut self.settled)
    }

    pub(super) fn stats(&self, stream: &str) -> Stats {
        self.by_stream.get(stream).map(|(stats, times)| stats.with(times)).unwrap_or_default()
    }

    pub(super) fn all(&self) -> Vec<(Arc<str>, Stats)> {
        self.by_stream.iter().map(|(stream, (stats, times))| (stream.clone(), stats.with(times))).collect()
    }

    fn of(&mut self, stream: Arc<str>) -> &mut (Stats, Times) {
        self.by_stream.entry(stream).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_settled_took_effect_or_was_buried() {
        let mut books = Books::default();
        books.processed("a".into(), Duration::from_millis(1));
        assert_eq!(books.take_settled(), 0, "not before Redis knows");
        books.acknowledged(1);
        books.failed("a".into(), true);
        books.failed("a".into(), false);
        books.buried("a".into());
        books.lost("b".into(), 3);
        assert_eq!((books.take_settled(), books.take_settled()), (2, 0));
        let stats = books.stats("a");
        assert_eq!((stats.processed, stats.failed, stats.retried, stats.buried, stats.lost), (1, 2, 1, 1, 0));
        assert!(stats.last_active_at.is_some() && stats.handling_mean_us == 1_000);
        assert_eq!((books.stats("b").lost, books.all().len(), books.stats("c")), (3, 2, Stats::default()));
    }
}
