//! What runs by itself: on a thread of its own, begun again when it fails, and ended when all of it ends.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use outbox::RetryPolicy;
use serde::Serialize;
use tokio::sync::{oneshot, watch as shared};
use tokio::time::{sleep, timeout};

/// The wait after a first failure, and the longest.
const DELAY_MIN: Duration = Duration::from_millis(500);
const DELAY_MAX: Duration = Duration::from_secs(30);
/// What has worked for so long fails for the first time again.
pub(crate) const SOUND_AFTER: Duration = Duration::from_secs(60);

/// The wish that everything ends. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Stop(shared::Receiver<bool>);

/// Who can wish so. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Stopper(shared::Sender<bool>);

impl Stopper {
    pub(crate) fn new() -> (Self, Stop) {
        let (sender, receiver) = shared::channel(false);
        (Self(sender), Stop(receiver))
    }

    pub(crate) fn stop(&self) {
        let _ = self.0.send(true);
    }
}

impl Stop {
    /// Ends when the wish is there, or nobody is left who could have it.
    pub(crate) async fn asked(mut self) {
        let _ = self.0.wait_for(|asked| *asked).await;
    }

    pub(crate) fn is_asked(&self) -> bool {
        *self.0.borrow()
    }
}

/// Whoever looks after something.
pub(crate) trait Look: Send {
    /// One look, which may be cut off at any time.
    fn look(&mut self) -> impl Future<Output = ()> + Send;
}

/// Looks every so often until the wish to stop is there. It ends a look, too; and so does the limit, for what never answers.
pub(crate) async fn watch(stop: Stop, every: Duration, most: Duration, mut watcher: impl Look) {
    let looking = async {
        loop {
            sleep(every).await;
            // What it could not find out it looks at again.
            _ = timeout(most, watcher.look()).await;
        }
    };
    tokio::select! {
        () = stop.asked() => {}
        () = looking => {}
    }
}

/// What a part does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// A setting says that it rests.
    Off,
    /// It begins.
    Starting,
    Working,
    /// It has failed, and is begun again soon.
    Failed,
    Stopped,
}

impl State {
    /// As it is told.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Starting => "starting",
            Self::Working => "working",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// How a part stands.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Standing {
    pub(crate) state: State,
    /// How often it has failed since the program began.
    pub(crate) failures: u64,
    /// What it died of last.
    pub(crate) last_failure: Option<String>,
}

/// A part's name and standing. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    standing: Arc<Mutex<Standing>>,
}

impl Part {
    pub(crate) fn new(name: &'static str) -> Self {
        let standing = Standing { state: State::Starting, failures: 0, last_failure: None };
        Self { name, standing: Arc::new(Mutex::new(standing)) }
    }

    pub(crate) fn standing(&self) -> Standing {
        self.lock().clone()
    }

    pub(crate) fn is(&self, state: State) {
        self.lock().state = state;
    }

    /// It has failed: said once, however often it fails in the same way.
    pub(crate) fn failed(&self, why: &str, delay: Duration) {
        let known = {
            let mut standing = self.lock();
            standing.state = State::Failed;
            standing.failures += 1;
            standing.last_failure.replace(why.to_owned()).is_some_and(|last| last == why) && standing.failures > 1
        };
        if known {
            tracing::info!(part = self.name, why, retry_in = ?delay, "has failed again in the same way");
        } else {
            tracing::warn!(part = self.name, why, retry_in = ?delay, "has failed and is begun again; everything else goes on");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long to wait after so many failures in a row: longer each time, and never exactly as long as the others.
pub(crate) fn delay(failures: u32) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let chance = RandomState::new().hash_one(0_u8) as f64 / u64::MAX as f64;
    let policy = RetryPolicy { delay_min: DELAY_MIN, delay_max: DELAY_MAX, ..RetryPolicy::default() };
    policy.delay(failures).mul_f64(0.75 + 0.25 * chance)
}

/// Runs a part until the wish to stop is there. What ends by itself has failed; so has what panics.
pub(crate) fn keep_up<W>(
    part: Part,
    stop: Stop,
    threads_max: usize,
    work: impl Fn(Stop) -> W + Send + 'static,
) -> oneshot::Receiver<()>
where
    W: Future<Output = anyhow::Result<()>>,
{
    let (ended, end) = oneshot::channel();
    let name = part.name;
    let body = move || {
        let span = tracing::info_span!("part", name = part.name);
        let _entered = span.entered();
        let mut failures = 0;
        while !stop.is_asked() {
            let began = Instant::now();
            let why = match once(&part, &stop, threads_max, &work) {
                Ok(()) if stop.is_asked() => break,
                Ok(()) => "it ended by itself".to_owned(),
                Err(why) => why,
            };
            failures = if began.elapsed() > SOUND_AFTER { 1 } else { failures + 1 };
            let delay = delay(failures);
            part.failed(&why, delay);
            wait(&stop, delay);
        }
        part.is(State::Stopped);
        let _ = ended.send(());
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(body).expect("a thread can be started");
    end
}

fn once<W>(part: &Part, stop: &Stop, threads_max: usize, work: &impl Fn(Stop) -> W) -> Result<(), String>
where
    W: Future<Output = anyhow::Result<()>>,
{
    part.is(State::Starting);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(threads_max).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            part.is(State::Working);
            work(stop.clone()).await
        })
    }));
    // What still hangs somewhere must not hold up the next try.
    runtime.shutdown_background();
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(outbox::in_words(error.as_ref())),
        Err(panic) => Err(format!("it panicked: {}", words(panic.as_ref()))),
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

fn wait(stop: &Stop, delay: Duration) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else {
        return std::thread::sleep(delay);
    };
    runtime.block_on(async {
        let _ = tokio::time::timeout(delay, stop.clone().asked()).await;
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn waits_grow_and_have_an_end() {
        for (failures, most) in [(1, 500), (2, 1_000), (4, 4_000), (9, 30_000), (1_000, 30_000)] {
            let delay = delay(failures);
            assert!(
                delay <= Duration::from_millis(most) && delay >= Duration::from_millis(most * 3 / 4),
                "{failures}"
            );
        }
    }

    struct Hangs(u32, Stopper);

    impl Look for Hangs {
        async fn look(&mut self) {
            self.0 += 1;
            if self.0 == 3 {
                self.1.stop();
            }
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_look_that_is_never_answered_ends_with_its_limit_or_with_the_wish() {
        let ((stopper, stop), every) = (Stopper::new(), Duration::from_millis(1));
        // The third one is reached only if the first two were cut off.
        watch(stop.clone(), every, every, Hangs(0, stopper.clone())).await;
        assert!(stop.is_asked());
        let (stopper, stop) = Stopper::new();
        watch(stop, every, Duration::from_secs(3600), Hangs(2, stopper)).await;
    }

    #[test]
    fn what_fails_or_panics_is_begun_again_until_all_of_it_ends() {
        let (stopper, stop) = Stopper::new();
        let (part, tries) = (Part::new("test"), Arc::new(AtomicU32::new(0)));
        let (seen, counted) = (part.clone(), Arc::clone(&tries));
        let (works, worked) = std::sync::mpsc::channel();
        let end = keep_up(part, stop, 1, move |stop| {
            let (nth, works) = (counted.fetch_add(1, Ordering::SeqCst), works.clone());
            async move {
                match nth {
                    0 => anyhow::bail!("a first failure"),
                    1 => panic!("a second one"),
                    _ => {
                        let _ = works.send(());
                        stop.asked().await;
                        Ok(())
                    }
                }
            }
        });
        worked.recv_timeout(Duration::from_secs(30)).expect("the third try works");
        let standing = seen.standing();
        assert_eq!((standing.state, standing.failures), (State::Working, 2));
        assert_eq!(standing.last_failure.as_deref(), Some("it panicked: a second one"));
        stopper.stop();
        end.blocking_recv().expect("it says that it has ended");
        assert_eq!(seen.standing().state, State::Stopped);
    }
}
