//! Brings articles to one index, and finds the one that is at fault when the index takes none of them.

use std::time::Duration;

use outbox::RetryPolicy;

use crate::meili::{Blame, Ended, Fault, Meili, TaskId, Trouble};
use crate::store::Item;

/// After so many failures in a row for which the server is to blame, some documents are tried alone.
const SERVER_FAILURES_MAX: u32 = 3;

/// What is on its way to an index: parts that are still to be brought, the next one last.
#[derive(Debug, Default)]
pub(crate) struct Load {
    parts: Vec<Part>,
    /// Failures since the load began, and whether anything of it has been taken.
    failures: u32,
    taken: bool,
    /// Documents that failed alone with an error of the server. Only if others are taken, and they fail once more, are they
    /// to blame.
    suspects: Vec<(Item, Fault)>,
    /// The suspects have their second try.
    second_try: bool,
    /// More failures than it takes to find one document among all of them.
    failures_max: u32,
}

#[derive(Debug)]
enum Part {
    Put(Vec<Item>),
    Remove(Vec<Item>),
}

/// What has become of some articles. It is to be written down before the next step.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// The index has them as they were, or no longer.
    pub(crate) brought: Vec<Item>,
    /// The index does not take them.
    pub(crate) refused: Vec<(Item, Fault)>,
    /// The task that the server has done.
    pub(crate) task: Option<TaskId>,
}

impl Load {
    /// All of these.
    pub(crate) fn new(items: Vec<Item>) -> Self {
        let failures_max = items.len().max(1).ilog2() + 3;
        let (put, remove): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| item.line.is_some());
        let parts = [Part::Put(put), Part::Remove(remove)].into_iter().filter(|part| part.len() > 0).collect();
        Self { parts, failures_max, ..Self::default() }
    }

    fn fail(&mut self) {
        self.failures += 1;
    }

    /// Nothing is taken at all, so no document can be blamed.
    fn is_hopeless(&self) -> bool {
        !self.taken && self.failures > self.failures_max
    }

    /// Two halves take the place of a part, the first one to be tried first.
    fn halve(&mut self, mut items: Vec<Item>) {
        let rest = items.split_off(items.len() / 2);
        self.parts.push(Part::Put(rest));
        self.parts.push(Part::Put(items));
    }
}

impl Part {
    fn len(&self) -> usize {
        match self {
            Self::Put(items) | Self::Remove(items) => items.len(),
        }
    }
}

/// Brings loads to an index, one request at a time.
#[derive(Debug)]
pub(crate) struct Carrier {
    meili: Meili,
    index: String,
    /// Smaller once the server has said that it takes no more.
    bytes_max: usize,
    server_failures: u32,
}

impl Carrier {
    /// To this index, in requests of so many bytes at most.
    pub(crate) fn new(meili: Meili, index: &str, bytes_max: usize) -> Self {
        Self { meili, index: index.to_owned(), bytes_max, server_failures: 0 }
    }

    /// Bytes that the server is known to take.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// One request and its task, to the end. None: the load is brought.
    ///
    /// # Errors
    /// What is not settled stays where it was, and is brought by another load.
    pub(crate) async fn step(&mut self, load: &mut Load) -> Result<Option<Settled>, Trouble> {
        let Some(part) = load.parts.pop() else {
            return self.judge(load);
        };
        match part {
            Part::Remove(items) => {
                let ids: Vec<i64> = items.iter().map(|item| item.id).collect();
                let task = self.meili.remove(&self.index, &ids).await?;
                self.meili.done(task).await?;
                load.taken = true;
                Ok(Some(Settled { brought: items, refused: vec![], task: Some(task) }))
            }
            Part::Put(items) => self.put(load, items).await.map(Some),
        }
    }

    async fn put(&mut self, load: &mut Load, items: Vec<Item>) -> Result<Settled, Trouble> {
        let lines: Vec<u8> = items.iter().filter_map(|item| item.line.as_deref()).flatten().copied().collect();
        let (task, ended) = match self.meili.put(&self.index, lines).await {
            Ok(task) => (Some(task), self.meili.follow(task).await),
            Err(trouble) => (None, Err(trouble)),
        };
        let fault = match ended {
            Ok(Ended::Succeeded) => {
                load.taken = true;
                if load.failures == 0 {
                    self.server_failures = 0;
                }
                return Ok(Settled { brought: items, refused: vec![], task });
            }
            Ok(Ended::Failed(fault)) | Err(Trouble::Refused(fault)) => fault,
            Err(Trouble::TooLarge { bytes }) => return Ok(self.smaller(load, items, bytes)),
            Err(trouble) => return Err(trouble),
        };
        load.fail();
        match fault.blame() {
            Blame::Index => return Err(Trouble::Refused(fault)),
            // Most often it is the server's disk or memory, and goes by.
            Blame::Server if self.server_failures < SERVER_FAILURES_MAX => {
                self.server_failures += 1;
                return Err(Trouble::away(format!("a task failed: {fault}")));
            }
            _ if load.is_hopeless() => return Err(Trouble::away(format!("it takes no document: {fault}"))),
            Blame::Server if items.len() == 1 && !load.second_try => {
                load.suspects.extend(items.into_iter().map(|item| (item, fault.clone())));
            }
            Blame::Document | Blame::Server if items.len() == 1 => {
                let refused = items.into_iter().map(|item| (item, fault.clone())).collect();
                return Ok(Settled { brought: vec![], refused, task });
            }
            _ => load.halve(items),
        }
        Ok(Settled::default())
    }

    /// It takes no request of this size: two of half the size, and no larger ones from here on.
    fn smaller(&mut self, load: &mut Load, items: Vec<Item>, bytes: usize) -> Settled {
        self.bytes_max = self.bytes_max.min(bytes / 2).max(1);
        if items.len() > 1 {
            tracing::info!(
                bytes,
                bytes_max = self.bytes_max,
                "Meilisearch takes no request of this size; halving it"
            );
            load.halve(items);
            return Settled::default();
        }
        let fault = Fault {
            code: "payload_too_large".into(),
            kind: "invalid_request".into(),
            message: format!("Meilisearch takes no request of {bytes} bytes, and this article alone is as large"),
        };
        let refused = items.into_iter().map(|item| (item, fault.clone())).collect();
        Settled { brought: vec![], refused, task: None }
    }

    /// At the end of a load: those that failed alone while others were taken are tried once more. The server may only just
    /// have come to itself.
    fn judge(&mut self, load: &mut Load) -> Result<Option<Settled>, Trouble> {
        let suspects = std::mem::take(&mut load.suspects);
        let Some((_, fault)) = suspects.first() else {
            self.server_failures = 0;
            return Ok(None);
        };
        if !load.taken {
            return Err(Trouble::away(format!("a task failed: {fault}")));
        }
        load.second_try = true;
        load.parts.extend(suspects.into_iter().map(|(item, _)| Part::Put(vec![item])));
        Ok(Some(Settled::default()))
    }
}

/// Waits that grow from failure to failure, each picked by chance between nothing and the longest.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

const DELAY_MIN: Duration = Duration::from_millis(200);
const DELAY_MAX: Duration = Duration::from_secs(15);

impl Backoff {
    /// It works again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait now. What the server asks for comes first, and chance on top of it.
    pub(crate) fn wait(&mut self, retry_after: Option<Duration>) -> Duration {
        self.failures += 1;
        let policy = RetryPolicy { delay_min: DELAY_MIN, delay_max: DELAY_MAX, ..RetryPolicy::default() };
        let longest = policy.delay(self.failures);
        retry_after.unwrap_or_default() + longest.mul_f64(chance())
    }
}

/// A number in 0.0..1.0. The standard library's hasher is keyed by the system's randomness.
fn chance() -> f64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let random = RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit_and_what_is_asked_for_comes_first() {
        let mut backoff = Backoff::default();
        let longest = (0..20).map(|_| backoff.wait(None)).max().expect("twenty");
        assert!(longest <= DELAY_MAX && longest > DELAY_MIN, "{longest:?}");
        let asked = Duration::from_secs(60);
        assert!((asked..=asked + DELAY_MAX).contains(&backoff.wait(Some(asked))));
        backoff.reset();
        assert!(backoff.wait(None) <= DELAY_MIN);
    }

    #[test]
    fn halves_come_in_their_order_and_nothing_is_lost() {
        let item = |id| Item { id, change: id, line: Some(vec![]) };
        let mut load = Load::new((0..5).map(item).collect());
        let Some(Part::Put(items)) = load.parts.pop() else { panic!("one part") };
        load.halve(items);
        let ids = |part| match part {
            Some(Part::Put(items)) => items.into_iter().map(|item| item.id).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(ids(load.parts.pop()), [0, 1]);
        assert_eq!(ids(load.parts.pop()), [2, 3, 4]);
    }
}
