//! Up to which row the past is final.
//!
//! A number is taken before its transaction commits, so row 6 may be visible while row 5 is still being written; who
//! sends 6 and sees 5 later has lost 5. The frontier is the number up to which nothing can still appear.
//!
//! Each [`Mark`] is two readings: the newest number S, *then* the transactions L that hold the table's lock for writing.
//! Whoever took a number up to S held that lock before, so it is in L or has ended; when all of L have ended, every row
//! up to S is final. Transactions that never touched the outbox (backups, reports) are not in L and hold up nothing.
//!
//! A writer that stays open is *overtaken*: the numbers that are missing up to S are stored, the frontier moves on, and
//! what appears among them later is never sent under its number: it gets a new one (`release`).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::Seq;

/// So many numbers are overtaken at once, so that a first look at a large backlog does not stop every lane.
const OVERTAKE_MAX: Seq = 100_000;

/// More marks than this are thinned out. Dropping one costs nothing but a little delay.
const WAITS_MAX: usize = 128;

/// One reading: the newest number taken, then who was writing. The virtual transaction ids come from `pg_locks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The newest number that anyone has taken.
    pub last: Seq,
    /// The transactions that held the table for writing, read after `last`.
    pub writers: BTreeSet<String>,
}

/// The slow writers that the frontier may leave behind, and the numbers that they may still hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overtaking {
    /// The frontier as it stands: everything up to here is final.
    pub from: Seq,
    /// Where it may go once the numbers missing in between are stored.
    pub to: Seq,
    /// The writers that are left behind.
    pub writers: BTreeSet<String>,
}

/// Knows no database: it is told marks, and tells how far the past is final.
#[derive(Debug)]
pub struct Frontier {
    at: Seq,
    waits: VecDeque<Wait>,
    first_seen: HashMap<String, Instant>,
}

#[derive(Debug)]
struct Wait {
    last: Seq,
    writers: BTreeSet<String>,
}

impl Frontier {
    /// A frontier that was established before: what is final stays final.
    pub fn at_least(at: Seq) -> Self {
        Self { at, waits: VecDeque::new(), first_seen: HashMap::new() }
    }

    /// Everything up to here is final.
    pub fn at(&self) -> Seq {
        self.at
    }

    /// Whether nothing that is being written could still move it.
    pub fn is_settled(&self) -> bool {
        self.waits.is_empty()
    }

    /// Takes a new mark into account.
    pub fn observe(&mut self, mark: &Mark, now: Instant) {
        if mark.last < self.at {
            *self = Self::at_least(0); // numbers began again
        }
        self.first_seen.retain(|writer, _| mark.writers.contains(writer));
        for writer in &mark.writers {
            self.first_seen.entry(writer.clone()).or_insert(now);
        }
        for wait in &mut self.waits {
            wait.writers = still_writing(&wait.writers, mark);
        }
        // Numbers that an earlier wait covers already need no second one.
        if mark.last > self.waits.back().map_or(self.at, |wait| wait.last) {
            self.waits.push_back(Wait { last: mark.last, writers: mark.writers.clone() });
        }
        while self.waits.front().is_some_and(|wait| wait.writers.is_empty()) {
            self.at = self.waits.pop_front().expect("it was just looked at").last;
        }
        if self.waits.len() > WAITS_MAX {
            let mut nth = 0;
            let newest = self.waits.back().expect("there are many").last;
            self.waits.retain(|wait| {
                nth += 1;
                nth % 2 == 0 || wait.last == newest
            });
        }
    }

    /// What may be overtaken now: as far as only writers stand in the way that have been seen for `after` or longer.
    pub fn overtakable(&self, now: Instant, after: Duration) -> Option<Overtaking> {
        let slow = |writer: &String| {
            // One that is not among the newest mark's writers outlived a restart of Postgres: it is slow indeed.
            self.first_seen.get(writer).is_none_or(|seen| now.duration_since(*seen) >= after)
        };
        let wait = self.waits.iter().rev().find(|wait| wait.writers.iter().all(slow))?;
        let to = wait.last.min(self.at + OVERTAKE_MAX);
        Some(Overtaking { from: self.at, to, writers: wait.writers.clone() })
    }

    /// The missing numbers are stored: goes past the slow writers.
    pub fn overtake(&mut self, overtaking: &Overtaking) {
        self.at = self.at.max(overtaking.to);
        self.waits.retain(|wait| wait.last > overtaking.to);
    }
}

/// Which of `writers` have not ended by this mark.
///
/// A prepared transaction keeps its id until Postgres restarts, and then shows up as `-1/<xid>`. So when one of ours has
/// vanished, each such survivor may be it, and is waited for instead.
pub(crate) fn still_writing(writers: &BTreeSet<String>, mark: &Mark) -> BTreeSet<String> {
    let mut still: BTreeSet<String> = writers.intersection(&mark.writers).cloned().collect();
    if still.len() < writers.len() {
        still.extend(mark.writers.iter().filter(|writer| writer.starts_with("-1/")).cloned());
    }
    still
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mark(last: Seq, writers: &[&str]) -> Mark {
        Mark { last, writers: writers.iter().map(|w| (*w).to_owned()).collect() }
    }

    fn observed(marks: &[Mark]) -> Frontier {
        let mut frontier = Frontier::at_least(0);
        marks.iter().for_each(|mark| frontier.observe(mark, Instant::now()));
        frontier
    }

    #[test]
    fn with_nobody_writing_everything_is_final() {
        assert_eq!(observed(&[mark(7, &[])]).at(), 7);
    }

    #[test]
    fn a_writer_holds_back_what_it_may_have_taken_and_nothing_before() {
        let frontier = observed(&[mark(5, &[]), mark(8, &["3/1"]), mark(9, &["3/1", "4/1"])]);
        assert_eq!(frontier.at(), 5);
        assert!(!frontier.is_settled());
    }

    #[test]
    fn a_later_writer_does_not_hold_back_earlier_numbers() {
        assert_eq!(observed(&[mark(8, &["3/1"]), mark(9, &["4/1"])]).at(), 8);
    }

    #[test]
    fn numbers_that_an_older_mark_covers_do_not_wait_for_newer_writers() {
        assert_eq!(observed(&[mark(8, &["3/1"]), mark(8, &["3/1", "4/1"]), mark(8, &["4/1"])]).at(), 8);
    }

    #[test]
    fn only_writers_that_have_been_seen_for_long_are_overtaken() {
        let (mut frontier, start) = (Frontier::at_least(0), Instant::now());
        frontier.observe(&mark(4, &["slow"]), start);
        frontier.observe(&mark(9, &["slow", "quick"]), start + Duration::from_secs(2));
        let overtaking = frontier.overtakable(start + Duration::from_secs(2), Duration::from_secs(2)).expect("slow");
        assert_eq!((overtaking.from, overtaking.to), (0, 4));
        frontier.overtake(&overtaking);
        assert_eq!(frontier.at(), 4);

        // Once it is known to be slow, newer numbers do not wait for it a second time.
        frontier.observe(&mark(12, &["slow"]), start + Duration::from_secs(3));
        let overtaking = frontier.overtakable(start + Duration::from_secs(3), Duration::from_secs(2)).expect("slow");
        assert_eq!(overtaking.to, 12);
    }

    #[test]
    fn a_prepared_transaction_is_waited_for_under_its_new_name_after_a_restart() {
        assert_eq!(observed(&[mark(5, &["3/7"]), mark(5, &["-1/764"])]).at(), 0);
        assert_eq!(observed(&[mark(5, &["3/7"]), mark(5, &["-1/764"]), mark(5, &[])]).at(), 5);
    }

    #[test]
    fn many_waits_are_thinned_and_the_newest_is_kept() {
        let marks: Vec<_> = (1..=1000).map(|last| mark(last, &["slow"])).collect();
        let mut frontier = observed(&marks);
        assert!(frontier.waits.len() <= WAITS_MAX);
        frontier.observe(&mark(1000, &[]), Instant::now());
        assert_eq!(frontier.at(), 1000);
    }

    proptest! {
        /// Writers take the lock, then numbers, then end; marks are read at any time, in their two halves. The frontier
        /// must never reach a number whose writer has not ended.
        #[test]
        fn it_never_passes_a_number_that_can_still_appear(steps in prop::collection::vec((0..6_u8, 0..4_usize), 1..200)) {
            let mut open: [Option<(u64, Vec<Seq>)>; 4] = Default::default();
            let (mut last, mut next_xact, mut read) = (0, 0, None);
            let mut frontier = Frontier::at_least(0);
            for (step, slot) in steps {
                match (step, &mut open[slot]) {
                    (0, writer @ None) => { next_xact += 1; *writer = Some((next_xact, vec![])) }
                    (1 | 2, Some((_, numbers))) => { last += 1; numbers.push(last) }
                    (3, writer) => *writer = None,
                    (4, _) => read = Some(last),
                    (5, _) => if let Some(last) = read.take() {
                        let writers = open.iter().flatten().map(|(xact, _)| xact.to_string()).collect();
                        frontier.observe(&Mark { last, writers }, Instant::now());
                    },
                    _ => {}
                }
                let lowest_open = open.iter().flatten().flat_map(|(_, numbers)| numbers).min();
                prop_assert!(lowest_open.is_none_or(|number| frontier.at() < *number));
            }
        }
    }
}
