//! What Redis does not know yet of what has ended here.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::letter::Letter;
use super::line::Place;

#[derive(Debug, Default)]
pub(super) struct Owed {
    /// They took effect. `true`: attempts of it had failed before.
    pub(super) done: Vec<(Place, bool)>,
    /// On their way to the dead letters.
    pub(super) letters: VecDeque<Letter>,
    /// Streams whose dead letters Redis does not take.
    pub(super) refused: BTreeSet<Arc<str>>,
    /// Failed attempts that are to be written down.
    pub(super) remember: Vec<Place>,
    /// Attempts that did not count after all.
    pub(super) uncount: Vec<Place>,
}

impl Owed {
    /// Whether it took effect a moment ago.
    pub(super) fn is_done(&self, place: &Place) -> bool {
        self.done.iter().any(|(done, _)| done == place)
    }

    /// It is no longer ours to bury.
    pub(super) fn forget(&mut self, place: &Place) {
        self.letters.retain(|letter| letter.place() != place);
    }
}
