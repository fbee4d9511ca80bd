//! Rows on their way from one store to the other.

use outbox::EntryId;

use crate::Seq;
use crate::append::Entry;
use crate::lanes::Lanes;
use crate::store::Row;

/// Rows on their way.
pub(crate) struct Batch {
    /// The lanes that were read, each with the number it was read on above.
    pub(crate) lanes: Vec<(String, Seq)>,
    pub(crate) rows: Vec<Row>,
    /// There may be more rows below the frontier than these.
    pub(crate) more: bool,
    pub(crate) upto: Seq,
}

impl Batch {
    /// Whether every lane may still be sent to, and stands where it was read on from. If Redis lost something since, it is read anew.
    pub(crate) fn fits(&self, lanes: &Lanes) -> bool {
        self.lanes.iter().all(|(stream, above)| lanes.may_send(stream) && lanes.lane(stream).cursor == *above)
    }

    /// The streams that have rows here.
    pub(crate) fn streams(&self) -> Vec<String> {
        let mut lanes: Vec<usize> = self.rows.iter().map(|row| row.lane).collect();
        lanes.dedup();
        lanes.into_iter().map(|lane| self.lanes[lane].0.clone()).collect()
    }

    pub(crate) fn entries(&self, lanes: &Lanes) -> Vec<Entry<'_>> {
        let generations: Vec<u64> = self.lanes.iter().map(|(stream, _)| lanes.lane(stream).generation).collect();
        let entry = |row: &'_ Row| EntryId { generation: generations[row.lane], seq: row.seq.unsigned_abs() };
        self.rows
            .iter()
            .map(|row| Entry { stream: &self.lanes[row.lane].0, id: entry(row), envelope: &row.envelope })
            .collect()
    }

    /// The same lanes, to be read on above this batch; another one first, so that none starves.
    pub(crate) fn lanes_after(&self) -> Vec<(String, Seq)> {
        let mut lanes = self.lanes.clone();
        for row in &self.rows {
            lanes[row.lane].1 = row.seq;
        }
        if lanes.len() > 1 {
            lanes.rotate_left(1);
        }
        lanes
    }
}
