//! A test kit: shows what your handler does when deliveries come as they come in production, in memory and without Redis.
//!
//! ```
//! use std::collections::{BTreeMap, HashSet};
//! use std::sync::Mutex;
//!
//! use outbox::testing::Kit;
//! use outbox::{Entry, Event, Failure, Handler};
//!
//! /// What customers owe.
//! #[derive(Default)]
//! struct Billing {
//!     due: Mutex<BTreeMap<String, u64>>,
//!     seen: Option<Mutex<HashSet<String>>>, // stands for the inbox
//! }
//!
//! impl Handler for Billing {
//!     async fn handle(&self, entry: &Entry) -> Result<(), Failure> {
//!         let cents: u64 = entry.payload().map_err(Failure::reject)?;
//!         let is_new = self.seen.as_ref().is_none_or(|seen| seen.lock().unwrap().insert(entry.id.clone()));
//!         if is_new {
//!             *self.due.lock().unwrap().entry(entry.key.clone().unwrap_or_default()).or_default() += cents;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), outbox::Error> {
//! let kit = Kit::new("billing")
//!     .event(Event::draft("orders", "order.placed").key("ann").id("1").json(&700)?)
//!     .event(Event::draft("orders", "order.placed").key("bob").id("2").json("what?")?)
//!     .event(Event::draft("orders", "order.placed").key("ann").id("3").json(&300)?)
//!     .redelivered();
//!
//! let careless = Billing::default();
//! kit.run(&careless).await;
//! assert_eq!(careless.due.into_inner().unwrap()["ann"], 2_000); // twice what she owes: caught
//!
//! let careful = Billing { seen: Some(Mutex::default()), ..Billing::default() };
//! let report = kit.run(&careful).await;
//! assert_eq!(careful.due.into_inner().unwrap()["ann"], 1_000);
//! assert_eq!(report.done, ["1", "3"]);
//! assert!(report.buried["2"].contains("invalid type")); // its reason, as a person would find it
//! # Ok(()) }
//! ```
//!
//! The rules are those of the [`Consumer`](crate::Consumer), and the order and the attempts come from its own code. What
//! differs: one attempt at a time, and time is virtual. A wait before a retry takes none, so there is also no handler timeout.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, UNIX_EPOCH};

use futures_util::FutureExt;

use crate::consumer::line::{Line, Pending, Place};
use crate::consumer::work::panicked;
use crate::retry::Inherited;
use crate::{BatchHandler, Entry, EntryId, Envelope, Event, Failure, Handler, Outcome, RetryPolicy};

/// How long an attempt takes, so that retries come between other events and not only after all of them.
const ATTEMPT: Duration = Duration::from_millis(50);
/// How long an outage is waited for, and how often in a row before the kit gives up.
const PAUSE: Duration = Duration::from_secs(1);
const OUTAGES_MAX: u32 = 100;

/// In which order events come. Events with equal keys in one stream always keep theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they were given.
    Given,
    /// The keys in reverse: everything of the last one first.
    LastKeyFirst,
    /// By chance, the same for the same seed.
    Shuffled(u64),
}

/// Events, and how they are to be delivered. Each run begins anew.
#[derive(Debug, Clone)]
#[must_use = "a kit does nothing until it is run"]
pub struct Kit {
    group: String,
    events: Vec<(Arc<str>, Envelope)>,
    order: Order,
    retry: RetryPolicy,
    ends_at_wait: Option<u32>,
}

/// What came of a run. Events are named by their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// They took effect, in this order, each once.
    pub done: Vec<String>,
    /// How often each was tried again because it had failed.
    pub retried: BTreeMap<String, u32>,
    /// The dead letters, each with its reason.
    pub buried: BTreeMap<String, String>,
    /// They are neither: an outage did not end.
    pub left: Vec<String>,
    /// Every attempt with its number, in order. In a batch that is cut in half it begins anew, under the same number.
    pub attempts: Vec<(String, u32)>,
    /// How many attempts were cut off in the middle.
    pub cut_off: u32,
}

impl Kit {
    /// A kit for a handler of this group.
    pub fn new(group: &str) -> Self {
        let (order, retry) = (Order::Given, RetryPolicy::default());
        Self { group: group.to_owned(), events: vec![], order, retry, ends_at_wait: None }
    }

    /// Adds an event, as a producer writes it.
    pub fn event(self, event: Event) -> Self {
        let time = UNIX_EPOCH + Duration::from_secs(self.events.len() as u64);
        let Event { stream, r#type, key, id, ver, payload, headers, due: _ } = event;
        self.envelope(&stream, Envelope::new(id, r#type, ver.into(), key, time, payload, Some(headers)))
    }

    /// Adds what was read from a stream, or is no event that [`Event`] would let you write.
    pub fn envelope(mut self, stream: &str, envelope: Envelope) -> Self {
        self.events.push((stream.into(), envelope));
        self
    }

    /// Delivers events in this order.
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// How often an event is tried, if not as by default.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Each event comes again after its first success: the process ended before Redis learned of it.
    pub fn redelivered(self) -> Self {
        self.cut_off_at(u32::MAX)
    }

    /// The process ends in the middle of each event: when its handler waits (an `await` that is not ready) for the n-th time,
    /// from 1, its future is dropped, once for each event, and the event comes again. A handler that succeeds without waiting
    /// so often has done so in vain: its event comes again, too. Run it with 1, 2 and so on, each time for a new group, until
    /// [`Report::cut_off`] is 0, and you have seen every crash.
    pub fn cut_off_at(mut self, wait: u32) -> Self {
        self.ends_at_wait = Some(wait);
        self
    }

    /// Lets a handler work until all is settled.
    pub async fn run(&self, handler: &impl Handler) -> Report {
        self.run_with(1, async |entries| handler.handle(&entries[0]).await).await
    }

    /// Lets a handler work on up to so many events at once until all is settled.
    pub async fn run_batches(&self, events_max: usize, handler: &impl BatchHandler) -> Report {
        self.run_with(events_max, async |entries| handler.handle(entries).await).await
    }

    async fn run_with(&self, events_max: usize, handle: impl AsyncFn(&[Entry]) -> Result<(), Failure>) -> Report {
        let (mut run, events_max) = (Run::of(self), events_max.max(1));
        while run.outages < OUTAGES_MAX {
            let more = run.deliver(events_max);
            // After an outage one event shows whether it is over.
            let places = run.line.start(if run.outages > 0 { 1 } else { events_max }, run.now);
            if !places.is_empty() {
                let entries = run.begin(&places);
                let ends_at_wait =
                    self.ends_at_wait.filter(|_| places.iter().any(|place| !run.ended.contains(place)));
                let answer = until_wait(ends_at_wait, AssertUnwindSafe(handle(&entries)).catch_unwind()).await;
                run.finish(&places, answer.map(|answer| answer.unwrap_or_else(|panic| Err(panicked(&*panic)))));
            } else if !more {
                let Some(due) = run.line.next_due() else { break };
                run.now = due;
            }
        }
        run.report()
    }
}

/// Lets a future go on until it waits for the n-th time. None: there it was dropped.
async fn until_wait<T>(wait: Option<u32>, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut waits) = (pin!(future), 0);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => {
            waits += 1;
            if wait == Some(waits) { Poll::Ready(None) } else { Poll::Pending }
        }
    })
    .await
}

/// What the consumer of one run holds.
struct Run<'a> {
    kit: &'a Kit,
    /// What is still to come, by key, and in each queue in its order.
    queues: Vec<VecDeque<Place>>,
    events: BTreeMap<Place, &'a Envelope>,
    line: Line,
    now: Instant,
    chance: Chance,
    /// Their process has ended once already.
    ended: HashSet<Place>,
    outages: u32,
    report: Report,
}

impl<'a> Run<'a> {
    fn of(kit: &'a Kit) -> Self {
        let mut keys: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let (mut queues, mut events) = (Vec::<VecDeque<Place>>::new(), BTreeMap::new());
        for ((stream, envelope), seq) in kit.events.iter().zip(1..) {
            let place = (stream.clone(), EntryId { generation: 1, seq });
            let own = queues.len();
            let queue = envelope.key.as_ref().map_or(own, |key| *keys.entry((stream, key)).or_insert(own));
            if queue == own {
                queues.push(VecDeque::new());
            }
            queues[queue].push_back(place.clone());
            events.insert(place, envelope);
        }
        let seed = if let Order::Shuffled(seed) = kit.order { seed } else { 0 };
        let (line, now, ended, report) = (Line::default(), Instant::now(), HashSet::new(), Report::default());
        Self { kit, queues, events, line, now, chance: Chance(seed), ended, outages: 0, report }
    }

    /// Delivers the next events. `false`: there are no more.
    fn deliver(&mut self, count: usize) -> bool {
        for delivered in 0..count {
            self.queues.retain(|queue| !queue.is_empty());
            let last = self.queues.len().checked_sub(1);
            let Some(last) = last else { return delivered > 0 };
            let queue = match self.kit.order {
                Order::Given => (0..=last).min_by_key(|at| self.queues[*at][0].1).unwrap_or(last),
                Order::LastKeyFirst => last,
                Order::Shuffled(_) => (self.chance.next() * (last + 1) as f64) as usize,
            };
            let place = self.queues[queue].pop_front().expect("empty queues are gone");
            let pending = Pending::new(Some(self.events[&place].clone()), 0);
            self.line.add(place, pending);
        }
        true
    }

    fn begin(&mut self, places: &[Place]) -> Vec<Entry> {
        let entry = |place: &Place| {
            let attempt = self.line.get(place).map_or(1, |pending| pending.attempts + 1);
            let envelope = self.events[place].clone();
            Entry { attempt, ..Entry::new(&place.0, &self.kit.group, place.1, envelope) }
        };
        let entries: Vec<Entry> = places.iter().map(entry).collect();
        self.report.attempts.extend(entries.iter().map(|entry| (entry.id.clone(), entry.attempt)));
        entries
    }

    /// Takes in how an attempt ended. None: with its process.
    fn finish(&mut self, places: &[Place], answer: Option<Result<(), Failure>>) {
        let is_outage = matches!(answer, Some(Err(Failure::Outage(_))));
        self.outages = if is_outage { self.outages + 1 } else { 0 };
        self.now += if is_outage { PAUSE } else { ATTEMPT };
        self.report.cut_off += u32::from(answer.is_none());
        let all_ended = places.iter().all(|place| self.ended.contains(place));
        match answer {
            Some(Ok(())) if all_ended || self.kit.ends_at_wait.is_none() => {
                for place in places {
                    self.line.remove(place);
                    self.report.done.push(self.id(place));
                }
            }
            None | Some(Ok(())) => places.iter().for_each(|place| self.end(place)),
            Some(Err(_)) if is_outage => places.iter().for_each(|place| self.line.again(place)),
            Some(Err(_)) if places.len() > 1 => self.line.halve(places),
            Some(Err(failure)) => self.fail(&places[0], failure),
        }
    }

    /// The process ended during or after an attempt: another one claims the event, and nobody knows what came of it.
    fn end(&mut self, place: &Place) {
        self.ended.insert(place.clone());
        let Some(pending) = self.line.get_mut(place) else { return };
        pending.attempts += 1;
        let inherited = self.kit.retry.inherit(pending.attempts);
        pending.alone = inherited == Inherited::Alone;
        self.line.again(place);
        if let Inherited::Bury { reason } = inherited {
            self.bury(place, reason);
        }
    }

    fn fail(&mut self, place: &Place, failure: Failure) {
        let Some(pending) = self.line.get_mut(place) else { return };
        let attempt = pending.attempts + 1;
        match self.kit.retry.decide(attempt, failure, self.chance.next()) {
            Outcome::Retry { after, .. } => {
                pending.attempts = attempt;
                self.line.wait(place, self.now + after);
                *self.report.retried.entry(self.id(place)).or_default() += 1;
            }
            Outcome::Bury { reason } => self.bury(place, reason),
            Outcome::Pause { .. } => unreachable!("outages are told apart before"),
        }
    }

    fn bury(&mut self, place: &Place, reason: String) {
        self.line.remove(place);
        self.report.buried.insert(self.id(place), reason);
    }

    fn id(&self, place: &Place) -> String {
        self.events[place].id.clone()
    }

    fn report(mut self) -> Report {
        let left = self.line.places().map(|(place, _)| place).chain(self.queues.iter().flatten());
        self.report.left = left.map(|place| self.id(place)).collect();
        self.report
    }
}

/// SplitMix64: chance that can be repeated.
struct Chance(u64);

impl Chance {
    /// In `0.0..1.0`.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Does what its closure says, and notes what it was given.
    struct Doing<F>(F, Mutex<Vec<String>>);

    impl<F: Fn(&Entry) -> Result<(), Failure> + Send + Sync + 'static> Handler for Doing<F> {
        async fn handle(&self, entry: &Entry) -> Result<(), Failure> {
            tokio::task::yield_now().await;
            self.1.lock().expect("no panic").push(entry.id.clone());
            tokio::task::yield_now().await;
            (self.0)(entry)
        }
    }

    impl<F: Fn(&Entry) -> Result<(), Failure> + Send + Sync + 'static> BatchHandler for Doing<F> {
        async fn handle(&self, entries: &[Entry]) -> Result<(), Failure> {
            entries.iter().try_for_each(&self.0)
        }
    }

    fn doing<F: Fn(&Entry) -> Result<(), Failure>>(what: F) -> Doing<F> {
        Doing(what, Mutex::default())
    }

    /// Events `a0`, `b1`, `c2`, `a3` and so on, the letter being the key.
    fn kit(count: usize) -> Kit {
        (0..count).fold(Kit::new("g"), |kit, n| {
            let key = ["a", "b", "c"][n % 3];
            kit.event(Event::draft("s", "t").key(key).id(format!("{key}{n}")).json(&n).expect("valid"))
        })
    }

    #[tokio::test]
    async fn keys_keep_their_order_and_nothing_else_does() {
        let orders = (0..40).map(Order::Shuffled).chain([Order::LastKeyFirst, Order::Given]);
        let mut seen = HashSet::new();
        for order in orders {
            for batch in [1, 4] {
                let kit = kit(9).order(order);
                let handler = doing(|entry| if entry.attempt < 3 { Err("not yet")? } else { Ok(()) });
                let report = kit.run_batches(batch, &handler).await;
                for key in ["a", "b", "c"] {
                    let of_key: Vec<_> = report.done.iter().filter(|id| id.starts_with(key)).collect();
                    assert!(of_key.len() == 3 && of_key.is_sorted(), "{order:?}: {of_key:?}");
                }
                assert_eq!(report, kit.run_batches(batch, &handler).await, "the same again");
                seen.insert(report.done);
            }
        }
        assert!(seen.len() > 20, "{} orders", seen.len());
        let last_first = kit(3).order(Order::LastKeyFirst).run(&doing(|_| Ok(()))).await;
        assert_eq!(last_first.done, ["c2", "b1", "a0"]);
    }

    #[tokio::test]
    async fn failures_are_counted_as_the_consumer_counts_them() {
        let handler = doing(|entry| match entry.id.as_str() {
            "a0" => Err("always")?,
            "b1" => Err(Failure::reject("never")),
            "c2" if entry.attempt < 3 => panic!("at first"),
            _ => Ok(()),
        });
        let report = kit(4).run(&handler).await;
        assert_eq!(report.retried, BTreeMap::from([("a0".into(), 4), ("c2".into(), 2)]));
        assert_eq!(report.buried, BTreeMap::from([("a0".into(), "always".into()), ("b1".into(), "never".into())]));
        assert_eq!(report.done, ["c2", "a3"], "a3 waits for a0 to be buried");
        let of_a0 = report.attempts.iter().filter(|(id, _)| id == "a0").map(|(_, attempt)| *attempt);
        assert_eq!(of_a0.collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }

    #[tokio::test]
    async fn an_outage_costs_nothing_and_one_without_end_leaves_everything() {
        let away = Mutex::new(20);
        let handler = doing(move |_| {
            let mut away = away.lock().expect("no panic");
            *away -= 1;
            if *away > 0 { Err(Failure::outage("away")) } else { Ok(()) }
        });
        let report = kit(3).run(&handler).await;
        assert_eq!((report.done.len(), report.retried.len(), report.buried.len()), (3, 0, 0));
        assert!(report.attempts.iter().all(|(_, attempt)| *attempt == 1));

        let report = kit(3).run(&doing(|_| Err(Failure::outage("away")))).await;
        assert_eq!(report.left, ["a0", "b1", "c2"]);
    }

    #[tokio::test]
    async fn every_crash_is_seen() {
        // It waits before its effect and after it.
        for (wait, cut_off, effects) in [(1, 3, 3), (2, 3, 6), (3, 0, 6)] {
            let handler = doing(|_| Ok(()));
            let report = kit(3).cut_off_at(wait).run(&handler).await;
            assert_eq!((report.cut_off, handler.1.into_inner().expect("no panic").len()), (cut_off, effects));
            assert_eq!((report.done.len(), report.attempts.len()), (3, 6));
        }
        let once = RetryPolicy { attempts_max: std::num::NonZeroU32::MIN, ..RetryPolicy::default() };
        let report = kit(1).retry(once).redelivered().run(&doing(|_| Ok(()))).await;
        assert_eq!(report.done, ["a0"], "what may have killed a process is given one more try");
    }

    #[tokio::test]
    async fn of_a_batch_only_the_event_at_fault_pays() {
        let handler = doing(|entry| if entry.id == "b4" { Err("bad")? } else { Ok(()) });
        let report = kit(9).run_batches(8, &handler).await;
        assert_eq!((report.done.len(), &report.buried["b4"][..], report.retried.len()), (8, "bad", 1));
    }
}
