//! A running member of a group: reads entries, lets handlers make them take effect, and settles them.
//!
//! One turn after the other, and nothing is hidden in between: connect if need be; settle what has ended; keep what is
//! ours and claim what others have left idle; begin what may begin; then wait for whatever comes first. An entry is
//! acknowledged only after its handler said that it took effect, so a crash at any moment costs a repetition and never an
//! event. What a repetition must not do twice the [inbox](crate::inbox) keeps apart.
//!
//! Redis counts deliveries, but a delivery is not an attempt: the count of an entry is raised when an attempt begins, and
//! whoever claims an entry leaves the count as it is. Only the first attempt is not written down, which saves a round
//! trip for every event: an entry that was delivered once and not settled may or may not have been begun.

mod attempts;
mod books;
mod builder;
mod doors;
mod drain;
mod keep;
mod lanes;
mod letter;
pub(crate) mod line;
mod owed;
mod partitions;
mod pause;
mod reads;
mod schedule;
mod settle;
mod stats;
mod stream;
mod take;
mod told;
pub(crate) mod work;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

pub use builder::ConsumerBuilder;
pub use stats::Stats;

use self::attempts::Attempts;
use self::books::Books;
use self::doors::Doors;
use self::lanes::Lanes;
use self::line::{Line, Place};
use self::owed::Owed;
use self::partitions::Partitions;
use self::pause::{PAUSE_MIN, Pause};
use self::reads::Reads;
use self::schedule::Schedule;
use self::stream::{Door, Names, Trouble};
use self::told::Told;
use self::work::Work;
use crate::EntryId;

/// Why a consumer cannot work. Waiting will not help: a person has to act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// A setting or the server is not as it must be.
    #[error("{0}")]
    Unusable(String),
}

/// What one turn came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    /// So many events took effect or were set aside.
    Settled(usize),
    /// There was nothing to do.
    Idle,
    /// Redis is away, or handlers say that something else is.
    Paused,
}

/// One running member of a group.
///
/// ```no_run
/// # use outbox::{Consumer, Entry, Failure, Handler};
/// # struct Greeter;
/// # impl Handler for Greeter { async fn handle(&self, _: &Entry) -> Result<(), Failure> { Ok(()) } }
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// Consumer::builder("redis://127.0.0.1")
///     .stream("orders")
///     .group("greetings")
///     .handler(Greeter)
///     .build()?
///     .run(async { _ = tokio::signal::ctrl_c().await })
///     .await?;
/// # Ok(()) }
/// ```
pub struct Consumer {
    told: Told,
    doors: Doors,
    reads: Reads,
    lanes: Lanes,
    partitions: Option<Partitions>,
    /// What is ours, until Redis knows what became of it.
    line: Line,
    attempts: Attempts,
    owed: Owed,
    /// Handlers that are being told what is settled.
    notices: JoinSet<()>,
    /// Handlers say that something is away.
    pause: Pause,
    /// Redis is.
    away: Pause,
    schedule: Schedule,
    books: Books,
}

/// A time as people read it in a log: whole milliseconds.
fn rounded(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis() as u64)
}

impl Consumer {
    /// Begins a consumer of a Redis. `rediss://` for TLS.
    pub fn builder(redis_url: impl Into<String>) -> ConsumerBuilder {
        ConsumerBuilder::new(redis_url.into())
    }

    fn new(settings: ConsumerBuilder, work: Arc<dyn Work>) -> Result<Self, ConsumerError> {
        let client = stream::client(&settings.redis_url, settings.redis_ca.as_deref())?;
        let told = Told::new(settings, work);
        let mut lanes = Lanes::of(told.group.clone());
        for stream in &told.settings.streams {
            lanes.add(&stream.as_str().into());
        }
        Ok(Self {
            partitions: told.settings.partitions.as_ref().map(|(stream, count)| Partitions::of(stream, *count)),
            told,
            doors: Doors::of(client),
            reads: Reads::default(),
            lanes,
            line: Line::default(),
            attempts: Attempts::default(),
            owed: Owed::default(),
            notices: JoinSet::new(),
            pause: Pause::default(),
            away: Pause::default(),
            schedule: Schedule::default(),
            books: Books::default(),
        })
    }

    /// The name under which Redis knows this consumer.
    pub fn name(&self) -> &str {
        &self.told.me
    }

    /// What this consumer has done with a stream's events.
    pub fn stats(&self, stream: &str) -> Stats {
        self.books.stats(stream)
    }

    /// Up to where the group has been given a stream, as Redis says; none: it has been given nothing, or is not there. For a
    /// handler that must know, before anything is read, whether others have been here. A Redis that is away is waited for.
    pub async fn delivered(&mut self, stream: &str) -> Result<Option<EntryId>, ConsumerError> {
        loop {
            let asked = async {
                self.connect().await?;
                self.doors.to(stream)?.delivered(stream, &self.told.group).await
            };
            match asked.await {
                Ok(upto) => {
                    self.back();
                    return Ok(upto);
                }
                Err(trouble) => self.lose(trouble)?,
            }
            if let Some(until) = self.away.until() {
                tokio::time::sleep_until(until.into()).await;
            }
        }
    }

    /// Handles events until `shutdown` resolves. Then reading stops, attempts in hand may end, and everything else is given
    /// back at once. A Redis that is away is waited for; only what no waiting will mend is an error.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), ConsumerError> {
        let mut shutdown = pin!(shutdown);
        loop {
            match self.turn(true).await {
                Ok(()) => self.back(),
                Err(trouble) => self.lose(trouble)?,
            }
            tokio::select! {
                () = shutdown.as_mut() => break,
                () = self.wait() => {}
            }
        }
        self.drain().await;
        Ok(())
    }

    /// One turn, for tests: reads what is there, begins what may begin, and waits until that has ended.
    pub async fn tick(&mut self) -> Result<Tick, ConsumerError> {
        self.books.take_settled();
        if self.away.holds(Instant::now()) {
            return Ok(Tick::Paused);
        }
        let turn = async {
            self.turn(false).await?;
            self.read_now().await?;
            loop {
                self.begin(Instant::now()).await?;
                match self.attempts.next().await {
                    Some(ended) => self.finish(ended),
                    None => break,
                }
                self.settle().await?;
            }
            self.settle().await
        };
        match turn.await {
            Ok(()) => self.back(),
            Err(trouble) => {
                self.lose(trouble)?;
                return Ok(Tick::Paused);
            }
        }
        Ok(match self.books.take_settled() {
            0 if self.pause.holds(Instant::now()) => Tick::Paused,
            0 => Tick::Idle,
            settled => Tick::Settled(settled),
        })
    }

    /// Everything but waiting.
    async fn turn(&mut self, reads: bool) -> Result<(), Trouble> {
        let now = Instant::now();
        if self.away.holds(now) {
            return Ok(());
        }
        self.meet(now).await?;
        self.settle().await?;
        self.keep(now).await?;
        self.begin(now).await?;
        if reads {
            self.read(now);
        }
        Ok(())
    }

    /// Until something happens: an attempt ends, something comes, or something is due. May be cut off at any time.
    async fn wait(&mut self) {
        let now = Instant::now();
        let until = self.next(now).saturating_duration_since(now);
        tokio::select! {
            Some(read) = self.reads.next(), if !self.reads.is_empty() => match read {
                Ok(delivered) => self.take(delivered),
                // The next turn meets Redis anew.
                Err(trouble) => _ = self.lose(trouble),
            },
            Some(ended) = self.attempts.next(), if !self.attempts.is_empty() => {
                self.finish(ended);
                // Whatever ended meanwhile is settled together.
                while let Some(ended) = self.attempts.try_next() {
                    self.finish(ended);
                }
            }
            Some(_) = self.notices.join_next(), if !self.notices.is_empty() => {}
            () = tokio::time::sleep(until) => {}
        }
    }

    /// When to turn again at the latest.
    fn next(&self, now: Instant) -> Instant {
        let soon = now + Duration::from_secs(1).min(self.told.settings.claim_after / 4);
        if self.away.holds(now) {
            return self.away.until().unwrap_or(soon);
        }
        if self.lanes.has_unknown() {
            return now;
        }
        let pauses = [self.pause.until(), self.line.next_due()].into_iter().flatten();
        let retry = (!self.owed.letters.is_empty()).then_some(now + PAUSE_MIN);
        pauses.chain(retry).filter(|at| *at > now).fold(soon, Instant::min)
    }

    /// Redis works again.
    fn back(&mut self) {
        if let Some(after) = (!self.away.holds(Instant::now())).then(|| self.away.end()).flatten() {
            tracing::info!(consumer = self.told.me, after = ?rounded(after), "Redis is back");
        }
    }

    /// Redis is away, or has lost something: all connections are made anew.
    fn lose(&mut self, trouble: Trouble) -> Result<(), ConsumerError> {
        if let Trouble::Unusable(sentence) = trouble {
            return Err(ConsumerError::Unusable(sentence));
        }
        self.doors.close();
        self.reads.clear();
        let first = self.away.more(Instant::now());
        match trouble {
            Trouble::NoGroup => {
                self.away.shorten(Instant::now());
                if first {
                    tracing::warn!(consumer = self.told.me, group = %self.told.group, "Redis has lost the group; it is put back where it was, or made anew");
                }
            }
            trouble if first => {
                tracing::warn!(consumer = self.told.me, group = %self.told.group, reason = %trouble, "Redis is away; no attempt is counted, everything waits");
            }
            _ => {}
        }
        Ok(())
    }

    /// Does something at the door of a lane.
    async fn at<T>(
        &mut self,
        lane: &str,
        what: impl AsyncFnOnce(&mut Door, Names<'_>, &str) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let stream = self.lanes.stream_of(lane);
        let door = self.doors.to(&stream)?;
        what(door, Names { lane, stream: &stream, group: &self.told.group }, &self.told.me).await
    }

    /// Lets go of what is no longer ours.
    fn forget(&mut self, place: &Place) {
        self.line.remove(place);
        self.owed.forget(place);
    }
}
