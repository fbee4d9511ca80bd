//! Waiting for a fact: the only way in which a test may wait.

use std::panic::Location;
use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Short beside anything worth waiting for, long enough to leave a small machine some time to work.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// An answer that is there (`true`, `Some`) or not yet.
pub trait Fact {
    type Value;
    fn known(self) -> Option<Self::Value>;
}

impl Fact for bool {
    type Value = ();
    fn known(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Fact for Option<T> {
    type Value = T;
    fn known(self) -> Option<T> {
        self
    }
}

/// Asks again and again until the fact is there, and returns it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut asked = 0;
/// let third = outbox_tests::eventually("the third answer", async || {
///     asked += 1;
///     (asked == 3).then_some(asked)
/// });
/// assert_eq!(third.await, 3);
/// # }
/// ```
///
/// # Panics
/// With the sentence and the caller's line, if the fact is not there at the [`deadline`]. The deadline holds
/// for a question that hangs, too.
#[track_caller]
pub fn eventually<Q, F>(what: &str, mut question: Q) -> impl Future<Output = F::Value>
where
    Q: AsyncFnMut() -> F,
    F: Fact,
{
    let caller = Location::caller();
    async move {
        let asking = async {
            loop {
                if let Some(value) = question().await.known() {
                    return value;
                }
                sleep(POLL_INTERVAL).await;
            }
        };
        let waited = deadline();
        match timeout(waited, asking).await {
            Ok(value) => value,
            Err(_) => panic!("waited {waited:?} in vain for: {what} ({caller})"),
        }
    }
}

/// How long any test waits for anything: 60 seconds, or `OUTBOX_TEST_DEADLINE` seconds.
pub fn deadline() -> Duration {
    match std::env::var("OUTBOX_TEST_DEADLINE") {
        Ok(seconds) => {
            Duration::from_secs(seconds.parse().expect("OUTBOX_TEST_DEADLINE is a whole number of seconds"))
        }
        Err(_) => Duration::from_secs(60),
    }
}
