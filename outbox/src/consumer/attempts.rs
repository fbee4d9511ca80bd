//! Attempts that run, and which entries each is of.

use std::collections::{BTreeSet, HashMap};
use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::line::Place;
use super::work::Finished;

/// All that run. What is cut off runs until it has ended: a handler may hold its thread, and hears of it only afterwards.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    running: JoinSet<Finished>,
    about: HashMap<Id, Attempt>,
}

#[derive(Debug)]
struct Attempt {
    handle: AbortHandle,
    places: Vec<Place>,
    /// Those of its lanes that are no longer ours: for these it was cut off.
    lost: BTreeSet<Arc<str>>,
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// By itself; or it was to be cut off, and had taken effect already.
    Finished(Finished),
    /// It was cut off, for lanes that were lost.
    CutOff { places: Vec<Place>, lost: BTreeSet<Arc<str>> },
}

impl Attempts {
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Begins one.
    pub(super) fn begin(&mut self, places: Vec<Place>, attempt: impl Future<Output = Finished> + Send + 'static) {
        let handle = self.running.spawn(attempt);
        self.about.insert(handle.id(), Attempt { handle, places, lost: BTreeSet::new() });
    }

    /// Waits for the next one that ends; none: none runs. The wait may be cut off.
    pub(super) async fn next(&mut self) -> Option<Ended> {
        let ended = self.running.join_next_with_id().await?;
        Some(self.ended(ended))
    }

    /// One that has ended.
    pub(super) fn try_next(&mut self) -> Option<Ended> {
        let ended = self.running.try_join_next_with_id()?;
        Some(self.ended(ended))
    }

    /// Cuts off whatever is of lanes that are no longer ours.
    pub(super) fn cut_off(&mut self, lanes: &[Arc<str>]) {
        for attempt in self.about.values_mut() {
            let lost = attempt.places.iter().map(|(lane, _)| lane).filter(|lane| lanes.contains(lane));
            attempt.lost.extend(lost.cloned());
            if !attempt.lost.is_empty() {
                attempt.handle.abort();
            }
        }
    }

    /// Cuts off all of them, and waits until they have ended.
    pub(super) async fn end(&mut self) {
        self.running.shutdown().await;
        self.about.clear();
    }

    fn ended(&mut self, ended: Result<(Id, Finished), JoinError>) -> Ended {
        let (id, finished) = match ended {
            Ok((id, finished)) => (id, Some(finished)),
            Err(error) if error.is_cancelled() => (error.id(), None),
            Err(error) => resume_unwind(error.into_panic()),
        };
        let Attempt { places, lost, .. } = self.about.remove(&id).expect("each is noted down as it begins");
        match finished {
            Some(finished) if lost.is_empty() || finished.result.is_ok() => Ended::Finished(finished),
            _ => Ended::CutOff { places, lost },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::{EntryId, Failure};

    fn places(lanes: &[&str]) -> Vec<Place> {
        lanes.iter().map(|lane| ((*lane).into(), EntryId { generation: 1, seq: 1 })).collect()
    }

    /// One that ends when it is told how.
    fn begin(attempts: &mut Attempts, lanes: &[&str]) -> oneshot::Sender<Result<(), Failure>> {
        let (end, ending) = oneshot::channel();
        let places = places(lanes);
        attempts.begin(places.clone(), async move {
            let result = ending.await.expect("it is told");
            Finished { places, result, took: Duration::ZERO }
        });
        end
    }

    #[tokio::test]
    async fn what_is_cut_off_counts_as_running_until_it_has_ended() {
        let mut attempts = Attempts::default();
        let (_one, two) = (begin(&mut attempts, &["a", "b"]), begin(&mut attempts, &["b"]));
        attempts.cut_off(&["a".into()]);
        assert_eq!(attempts.len(), 2);
        let Some(Ended::CutOff { places: cut, lost }) = attempts.next().await else { panic!("it was cut off") };
        assert_eq!((cut, lost), (places(&["a", "b"]), BTreeSet::from(["a".into()])));
        two.send(Ok(())).expect("it waits");
        let Some(Ended::Finished(finished)) = attempts.next().await else { panic!("nobody cut it off") };
        assert_eq!(finished.places, places(&["b"]));
        assert!(attempts.is_empty() && attempts.about.is_empty());
        assert!(attempts.next().await.is_none());
    }

    /// An attempt that ends just before it would be cut off: an effect is one, and a failure is nobody's fault.
    #[tokio::test]
    async fn what_had_taken_effect_before_it_was_cut_off_has_taken_effect() {
        for (result, took_effect) in [(Ok(()), true), (Err(Failure::Retry("no".into())), false)] {
            let mut attempts = Attempts::default();
            begin(&mut attempts, &["a"]).send(result).expect("it waits");
            tokio::task::yield_now().await;
            attempts.cut_off(&["a".into()]);
            let ended = attempts.next().await.expect("one ran");
            assert_eq!(matches!(ended, Ended::Finished(_)), took_effect);
        }
    }
}
