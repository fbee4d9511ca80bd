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
mod builder;
mod drain;
mod keep;
pub(crate) mod line;
mod partitions;
mod schedule;
mod settle;
mod stats;
mod stream;
mod take;
pub(crate) mod work;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::task::JoinSet;

pub use builder::ConsumerBuilder;
pub use stats::Stats;

use self::attempts::Attempts;
use self::line::{Line, Place};
use self::partitions::Partitions;
use self::schedule::Schedule;
use self::settle::Letter;
use self::stats::Times;
use self::stream::{Delivered, Door, Trouble};
use self::work::Work;
use crate::EntryId;

/// Between tries to reach a Redis that is away, and between tries of handlers that say that something else is.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

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
    settings: ConsumerBuilder,
    work: Arc<dyn Work>,
    client: stream::Client,
    /// Unique to this process: two that bear one name would take each other's entries for their own.
    me: String,
    group: Arc<str>,
    /// What is read, by name.
    lanes: BTreeMap<Arc<str>, Lane>,
    partitions: Option<Partitions>,
    /// Connections, by stream; in a Redis that is no cluster one for all.
    doors: BTreeMap<Arc<str>, Door>,
    /// The connections that read before these: Redis may not have noticed yet that they are gone.
    former: BTreeMap<Arc<str>, i64>,
    cluster: bool,
    /// Reads that wait, at most one for each door.
    reads: FuturesUnordered<Read>,
    /// The doors at which one waits.
    reading: BTreeSet<Arc<str>>,
    line: Line,
    attempts: Attempts,
    /// Handlers that are being told what is settled.
    notices: JoinSet<()>,
    /// They took effect, and Redis does not know yet. `true`: attempts of it had failed before.
    done: Vec<(Place, bool)>,
    letters: VecDeque<Letter>,
    /// Streams whose dead letters Redis does not take.
    refused: BTreeSet<Arc<str>>,
    /// Failed attempts that are to be written down.
    remember: Vec<Place>,
    /// Attempts that did not count after all.
    uncount: Vec<Place>,
    pause: Pause,
    away: Pause,
    stats: BTreeMap<Arc<str>, (Stats, Times)>,
    schedule: Schedule,
    /// The last look at what others have left did not come to its end.
    more_was_left: bool,
    /// How large events are, as a rule.
    event_bytes: usize,
    settled_count: usize,
}

type Read = Pin<Box<dyn Future<Output = (Arc<str>, Result<Vec<Delivered>, Trouble>)> + Send>>;

/// One stream that is read, or one on which the group's dead letters are replayed.
#[derive(Debug)]
struct Lane {
    /// The stream that it belongs to.
    stream: Arc<str>,
    /// Where to look on for what others have left.
    cursor: String,
    /// The group was there when we last looked.
    known: bool,
    missing_since: Option<Instant>,
    /// Nothing of it is begun any more.
    leaving: bool,
    settled: Option<EntryId>,
    /// Of a partition: whatever was pending for others is ours.
    claimed: bool,
}

impl Lane {
    /// Whether it is to be looked what is ours before anything of it begins.
    fn is_unknown(&self) -> bool {
        !self.known && !self.leaving
    }
}

/// A pause that gets longer each time.
#[derive(Debug, Default)]
struct Pause {
    until: Option<Instant>,
    times: u32,
    since: Option<Instant>,
}

impl Pause {
    fn more(&mut self, now: Instant) -> bool {
        let first = self.times == 0;
        self.since.get_or_insert(now);
        self.until = Some(now + PAUSE_MIN.saturating_mul(1 << self.times.min(10)).min(PAUSE_MAX));
        self.times += 1;
        first
    }

    fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    fn end(&mut self) -> Option<Duration> {
        let since = std::mem::take(self).since;
        since.map(|since| since.elapsed())
    }
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
        let mut consumer = Self {
            client,
            work,
            me: format!("{}-{}", settings.name, uuid::Uuid::now_v7().simple()),
            group: settings.group.as_str().into(),
            lanes: BTreeMap::new(),
            partitions: settings.partitions.as_ref().map(|(topic, count)| Partitions::of(topic, *count)),
            doors: BTreeMap::new(),
            former: BTreeMap::new(),
            cluster: false,
            reads: FuturesUnordered::new(),
            reading: BTreeSet::new(),
            line: Line::default(),
            attempts: Attempts::default(),
            notices: JoinSet::new(),
            done: vec![],
            letters: VecDeque::new(),
            refused: BTreeSet::new(),
            remember: vec![],
            uncount: vec![],
            pause: Pause::default(),
            away: Pause::default(),
            stats: BTreeMap::new(),
            schedule: Schedule::default(),
            more_was_left: false,
            event_bytes: 4_096,
            settled_count: 0,
            settings,
        };
        for stream in consumer.settings.streams.clone() {
            consumer.add_lanes(&stream.into());
        }
        Ok(consumer)
    }

    /// The name under which Redis knows this consumer.
    pub fn name(&self) -> &str {
        &self.me
    }

    /// What this consumer has done with a stream's events.
    pub fn stats(&self, stream: &str) -> Stats {
        self.stats.get(stream).map(|(stats, times)| stats.with(times)).unwrap_or_default()
    }

    /// Up to where the group has been given a stream, as Redis says; none: it has been given nothing, or is not there. For a
    /// handler that must know, before anything is read, whether others have been here. A Redis that is away is waited for.
    pub async fn delivered(&mut self, stream: &str) -> Result<Option<EntryId>, ConsumerError> {
        loop {
            let asked = async {
                self.connect().await?;
                let group = Arc::clone(&self.group);
                self.door(stream)?.delivered(stream, &group).await
            };
            match asked.await {
                Ok(upto) => {
                    self.back();
                    return Ok(upto);
                }
                Err(trouble) => self.lose(trouble)?,
            }
            if let Some(until) = self.away.until {
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
        self.settled_count = 0;
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
        Ok(match self.settled_count {
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
            Some((key, read)) = self.reads.next(), if !self.reads.is_empty() => {
                self.reading.remove(&key);
                match read {
                    Ok(delivered) => self.take(delivered),
                    // The next turn meets Redis anew.
                    Err(trouble) => _ = self.lose(trouble),
                }
            }
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
        let soon = now + Duration::from_secs(1).min(self.settings.claim_after / 4);
        if self.away.holds(now) {
            return self.away.until.unwrap_or(soon);
        }
        if self.lanes.values().any(Lane::is_unknown) {
            return now;
        }
        let pauses = [self.pause.until, self.line.next_due()].into_iter().flatten();
        let retry = (!self.letters.is_empty()).then_some(now + PAUSE_MIN);
        pauses.chain(retry).filter(|at| *at > now).fold(soon, Instant::min)
    }

    /// Redis works again.
    fn back(&mut self) {
        if let Some(after) = (!self.away.holds(Instant::now())).then(|| self.away.end()).flatten() {
            tracing::info!(consumer = self.me, after = ?rounded(after), "Redis is back");
        }
    }

    /// Redis is away, or has lost something: all connections are made anew.
    fn lose(&mut self, trouble: Trouble) -> Result<(), ConsumerError> {
        if let Trouble::Unusable(sentence) = trouble {
            return Err(ConsumerError::Unusable(sentence));
        }
        let readers = std::mem::take(&mut self.doors).into_iter().map(|(key, door)| (key, door.reader_id()));
        self.former.extend(readers);
        self.reads.clear();
        self.reading.clear();
        let first = self.away.more(Instant::now());
        match trouble {
            Trouble::NoGroup => {
                self.away.until = Some(Instant::now() + PAUSE_MIN);
                if first {
                    tracing::warn!(consumer = self.me, group = %self.group, "Redis has lost the group; it is put back where it was, or made anew");
                }
            }
            trouble if first => {
                tracing::warn!(consumer = self.me, group = %self.group, reason = %trouble, "Redis is away; no attempt is counted, everything waits");
            }
            _ => {}
        }
        Ok(())
    }

    /// The connection for a stream.
    fn door(&mut self, stream: &str) -> Result<&mut Door, Trouble> {
        let key = if self.cluster { stream } else { "" };
        self.doors.get_mut(key).ok_or_else(|| Trouble::Away("not connected".to_owned()))
    }

    fn add_lanes(&mut self, stream: &Arc<str>) {
        for lane in [stream.clone(), crate::keys::replay(stream, &self.group).into()] {
            let new = Lane {
                stream: stream.clone(),
                cursor: "0-0".to_owned(),
                known: false,
                missing_since: None,
                leaving: false,
                settled: None,
                claimed: false,
            };
            self.lanes.entry(lane).or_insert(new);
        }
    }

    fn lanes_of(&self, stream: &Arc<str>) -> Vec<Arc<str>> {
        self.lanes.iter().filter(|(_, lane)| lane.stream == *stream).map(|(name, _)| name.clone()).collect()
    }

    /// The stream that a lane belongs to, also one that is no longer ours.
    fn stream_of(&self, lane: &str) -> Arc<str> {
        match self.lanes.get(lane) {
            Some(lane) => lane.stream.clone(),
            None => crate::keys::stream_of(lane, &self.group).into(),
        }
    }

    fn stats_of(&mut self, lane: &str) -> &mut (Stats, Times) {
        self.stats.entry(self.stream_of(lane)).or_default()
    }
}
