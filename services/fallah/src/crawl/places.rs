//! Threads for work that takes one: so many for pages, so many for lists, so that neither keeps the other waiting.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking};

/// Pages that are understood at once.
pub(super) const PAGES_AT_ONCE: usize = 2;
/// Lists that are read at once. The fourth of the program's threads is for looking up names.
pub(super) const LISTS_AT_ONCE: usize = 1;

/// Places for one kind of work.
#[derive(Debug)]
pub(super) struct Places(Arc<Semaphore>);

impl Places {
    pub(super) fn new(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)))
    }

    /// Waits for a place, and begins. The place is taken until the work ends, also if nobody waits for it any more.
    pub(super) async fn begin<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let place = Arc::clone(&self.0).acquire_owned().await.expect("it is never closed");
        spawn_blocking(move || {
            let _place = place;
            work()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn lists_that_take_long_leave_threads_to_pages_and_names() {
        let threads = PAGES_AT_ONCE + LISTS_AT_ONCE + 1;
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(threads).build();
        runtime.expect("a runtime can be built").block_on(async {
            let (pages, lists) = (Places::new(PAGES_AT_ONCE), Arc::new(Places::new(LISTS_AT_ONCE)));
            let (end, until) = mpsc::channel::<()>();
            let until = Arc::new(std::sync::Mutex::new(until));
            let slow: Vec<_> = (0..10)
                .map(|_| {
                    let (lists, until) = (Arc::clone(&lists), Arc::clone(&until));
                    tokio::spawn(async move {
                        let work = lists.begin(move || until.lock().map(|until| until.recv()).is_ok()).await;
                        work.await.expect("it does not panic")
                    })
                })
                .collect();
            tokio::task::yield_now().await;
            for nth in 0..20 {
                assert_eq!(pages.begin(move || nth).await.await.expect("it does not panic"), nth);
            }
            assert_eq!(spawn_blocking(|| "a name").await.expect("it does not panic"), "a name");
            drop(end);
            for slow in slow {
                assert!(slow.await.expect("it does not panic"));
            }
        });
    }

    #[test]
    fn work_waits_for_a_place_before_its_time_begins() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime can be built").block_on(async {
            let bench = Places::new(1);
            let (end, until) = mpsc::channel::<()>();
            let first = bench.begin(move || until.recv().is_err()).await;
            let mut second = std::pin::pin!(bench.begin(|| ()));
            let waited = tokio::time::timeout(std::time::Duration::from_millis(20), second.as_mut()).await;
            assert!(waited.is_err(), "it has not begun, so there is nothing yet whose time could run");
            drop(end);
            second.await.await.expect("it does not panic");
            assert!(first.await.expect("it does not panic"));
        });
    }
}
