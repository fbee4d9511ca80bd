//! The engine's turn: frontier, read, append, report.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outbox::EntryId;
use sqlx::PgConnection;

use crate::batch::Batch;
use crate::config::Config;
use crate::connection::{RECONNECT_MAX, RECONNECT_MIN, Redis};
use crate::fault::{Error, Outage};
use crate::frontier::{Frontier, Mark};
use crate::hold::backoff;
use crate::lanes::{Lane, Lanes};
use crate::letters::Tray;
use crate::pulse::{Away, Phase, Pulse, count};
use crate::release::LeftBehind;
use crate::schedule::{Budget, Schedule, is_time};
use crate::{Seq, store};

/// While batches are full the frontier is looked at only so often: it is far ahead anyway.
const LOOK_EVERY_WHILE_BUSY: Duration = Duration::from_millis(50);
/// A relay that rests sees so often whether it could reach Redis.
const LOOK_EVERY_WHILE_RESTING: Duration = Duration::from_secs(5);
/// New streams are looked for at most so often, and for at most a fifth of the time.
const DISCOVER_EVERY: Duration = Duration::from_millis(20);
/// Each overtaking is a commit of its own. It too may take at most a fifth of the time.
const OVERTAKE_EVERY: Duration = Duration::from_millis(100);

/// What one turn of the engine came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tick {
    /// So many entries were appended.
    Sent(usize),
    /// There was nothing to send.
    Idle,
    /// Redis is away or takes nothing; tried again after this time.
    Paused(Duration),
    /// Another relay works. Looked at again after this time.
    Resting(Duration),
}

/// A relay that is connected to its Postgres, and to its Redis whenever that is there.
pub struct Relay {
    pub(crate) config: Config,
    /// Who we are in the lease: unique to this relay.
    pub(crate) holder: String,
    /// For what must happen in order, and be durable when it is done.
    pub(crate) db: PgConnection,
    /// For what is written for people: a crash may lose the last of it.
    pub(crate) reports: PgConnection,
    pub(crate) redis: Redis,
    pub(crate) frontier: Frontier,
    pub(crate) mark: Mark,
    looked_at: Option<Instant>,
    look_cost: Duration,
    pub(crate) lanes: Lanes,
    /// The frontier up to which every stream is known.
    pub(crate) discovered: Option<Seq>,
    discovering: Budget,
    overtaking: Budget,
    /// The batch that was read while the one before was being appended.
    pub(crate) ahead: Option<Batch>,
    /// The last batch was full: there is more to send at once.
    pub(crate) behind: bool,
    /// Rows to read at once: fewer while others keep changing our streams.
    pub(crate) rows_max: NonZeroU16,
    pub(crate) schedule: Schedule,
    /// Groups whose dead letters Redis does not let us read, or take away.
    pub(crate) unread: BTreeSet<Tray>,
    /// What is to be set aside once nobody has it locked any more.
    pub(crate) left_behind: Vec<LeftBehind>,
    /// Up to which change of pauses this relay acts; none: it sends nothing.
    acts_upon: Option<i64>,
    pub(crate) pulse: Arc<Pulse>,
    /// What consumers were told: by stream and group, up to where it is settled for good.
    pub(crate) told_settled: HashMap<(String, String), EntryId>,
}

pub(crate) fn new_holder() -> String {
    format!("{}-{}", std::process::id(), uuid::Uuid::now_v7().simple())
}

impl Relay {
    /// Connects to Postgres and checks that everything there is as it must be. Redis may be away.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        Self::connect_as(new_holder(), config, Arc::default()).await
    }

    pub(crate) async fn connect_as(holder: String, config: Config, pulse: Arc<Pulse>) -> Result<Self, Error> {
        config.check()?;
        let redis = Redis::new(&config)?;
        let (mut db, mut reports) = config.database.connect_two().await?;
        sqlx::query("set synchronous_commit = on").execute(&mut db).await?;
        store::check(&mut db, &config.database.schema).await?;
        sqlx::query("set synchronous_commit = off").execute(&mut reports).await?;
        let frontier = store::frontier(&mut db).await?;
        Ok(Self {
            holder,
            redis,
            frontier: Frontier::at_least(frontier),
            mark: Mark { last: frontier, writers: Default::default() },
            looked_at: None,
            look_cost: Duration::ZERO,
            lanes: Lanes::default(),
            discovered: None,
            discovering: Budget::at_most_every(DISCOVER_EVERY),
            overtaking: Budget::at_most_every(OVERTAKE_EVERY),
            ahead: None,
            behind: false,
            rows_max: config.batch_rows_max,
            schedule: Schedule::default(),
            unread: BTreeSet::new(),
            told_settled: HashMap::new(),
            left_behind: vec![],
            acts_upon: None,
            pulse,
            db,
            reports,
            config,
        })
    }

    /// One turn. `Err` is Postgres's; after it, connect anew.
    pub async fn tick(&mut self) -> Result<Tick, Error> {
        count(&self.pulse.turns, 1);
        let tick = self.turn_once().await?;
        // A relay that rests because Redis stayed away is in the same trouble as before, and since then.
        if matches!(tick, Tick::Sent(_) | Tick::Idle) {
            self.pulse.out_of_trouble();
        }
        self.pulse.beat(match tick {
            Tick::Sent(_) | Tick::Idle => Phase::Working,
            Tick::Paused(_) => Phase::Waiting,
            Tick::Resting(_) => Phase::Resting,
        });
        Ok(tick)
    }

    async fn turn_once(&mut self) -> Result<Tick, Error> {
        let now = Instant::now();
        if let Some(rest) = self.rests(now).await? {
            self.forget_redis();
            if let Some(before) = self.acts_upon.take() {
                store::pause::act_no_more(&mut self.db, before).await?;
                // Who takes over hears first what was paused meanwhile.
                self.discovered = None;
            }
            if is_time(&mut self.schedule.look, now, LOOK_EVERY_WHILE_RESTING) {
                let there = self.redis.look(&self.config, now).await?;
                self.pulse.redis_is_there(there);
                if there {
                    self.pulse.out_of_trouble();
                }
            }
            return Ok(Tick::Resting(rest));
        }
        self.look(now).await?;
        match self.move_on(now).await {
            Err(Error::Redis(outage)) if self.goes_on_without_a_part(&outage, now) => Ok(Tick::Idle),
            Err(Error::Redis(outage)) => {
                self.forget_redis();
                if self.pulse.redis_up() {
                    count(&self.pulse.redis_outages, 1);
                }
                self.pulse.redis_is_there(false);
                self.pulse.in_trouble(Away::Redis, outage.0.clone());
                let pause = self.redis.lose(&outage, self.config.lease, now);
                if self.redis.memory_is_short() {
                    // A batch needs memory on its way in, too.
                    self.rows_max = NonZeroU16::new(self.rows_max.get() / 2).unwrap_or(NonZeroU16::MIN);
                }
                Ok(Tick::Paused(pause))
            }
            other => other,
        }
    }

    /// In a cluster: sets the streams aside that lie where somebody is away. `false`: nothing else would be left, or it is no
    /// cluster.
    fn goes_on_without_a_part(&mut self, outage: &Outage, now: Instant) -> bool {
        // One that is full or takes no writes is there: memory is made by trimming, which is everybody's pause.
        if outage.takes_nothing() {
            return false;
        }
        let Some(appender) = self.redis.part() else { return false };
        let is_away = |stream: &str| appender.wires.is_to_blame(stream);
        // A server that answers nothing costs time with each try: at most a fifth of it.
        let least = now.elapsed() * 4;
        let until = |lane: &Lane| {
            Instant::now() + backoff(lane.refusals.saturating_add(1), RECONNECT_MIN, RECONNECT_MAX).max(least)
        };
        let first = !self.lanes.iter_mut().any(|(stream, lane)| is_away(stream) && lane.refusals > 0);
        if !self.lanes.set_aside(is_away, until) {
            return false;
        }
        if first {
            let reason = &outage.0;
            tracing::warn!(
                reason,
                "a part of the Redis cluster is away; its streams wait, and no attempt is counted"
            );
        }
        self.forget_redis();
        true
    }

    async fn move_on(&mut self, now: Instant) -> Result<Tick, Error> {
        if self.redis.meet(&self.config, now).await? {
            self.forget_redis();
        }
        self.discover(now).await?;
        self.ask_lanes(now).await?;
        if self.redis.memory_is_short() {
            // Nothing can be appended until something goes.
            self.probe(now).await?;
        }
        let batch = match self.ahead.take().filter(|batch| batch.fits(&self.lanes)) {
            Some(batch) => batch,
            None => self.read().await?,
        };
        let sent = self.append(batch, now).await?;
        self.keep(now).await?;
        self.redis.works();
        self.pulse.redis_is_there(true);
        Ok(if sent > 0 { Tick::Sent(sent) } else { Tick::Idle })
    }

    /// What was known of Redis holds no longer.
    fn forget_redis(&mut self) {
        self.ahead = None;
        self.lanes.forget();
        self.told_settled.clear();
    }

    /// Looks how far the past is final, and goes past writers that stay open for too long.
    async fn look(&mut self, now: Instant) -> Result<(), Error> {
        let pause = if self.ahead.is_some() { LOOK_EVERY_WHILE_BUSY } else { self.look_pause() };
        if self.looked_at.is_some_and(|at| now.duration_since(at) < pause) {
            return Ok(());
        }
        let begun = Instant::now();
        self.mark = store::mark(&mut self.db).await?;
        self.looked_at = Some(now);
        // Smoothed: one slow answer must not make the relay sluggish.
        self.look_cost = (self.look_cost * 7 + begun.elapsed()) / 8;
        if self.mark.last < self.frontier.at() {
            tracing::warn!(
                last = self.mark.last,
                frontier = self.frontier.at(),
                "numbers began again; Redis is asked anew"
            );
            self.lanes = Lanes::default();
            self.ahead = None;
            self.discovered = None;
        }
        // Not the time at which the turn began: nobody may seem to have been open for longer than it is.
        self.frontier.observe(&self.mark, Instant::now());

        if self.overtaking.is_time(now)
            && let Some(overtaking) = self.frontier.overtakable(now, self.config.overtake_after)
        {
            let begun = Instant::now();
            tracing::debug!(?overtaking, "going past transactions that stay open; see `relay blockers`");
            store::overtake(&mut self.db, &overtaking).await?;
            self.frontier.overtake(&overtaking);
            count(&self.pulse.overtakings, 1);
            self.overtaking.done(begun);
            self.schedule.overtaken_at(now);
        }
        Ok(())
    }

    /// The next turn looks, however short ago the last look was.
    pub(crate) fn look_again(&mut self) {
        self.looked_at = None;
    }

    /// Four times what a look costs, so that looking takes at most a fifth of the time.
    pub(crate) fn look_pause(&self) -> Duration {
        self.look_cost * 4
    }

    /// Finds streams that are new since the frontier moved.
    async fn discover(&mut self, now: Instant) -> Result<(), Error> {
        let knows = self.acts_upon.is_some();
        if knows && (self.discovered == Some(self.frontier.at()) || !self.discovering.is_time(now)) {
            return Ok(());
        }
        // What the turn has waited for before is none of its cost.
        let begun = Instant::now();
        self.discovered = Some(self.frontier.at());
        if self.acts_upon.is_none() {
            // Said before it is asked: nobody may take a relay that is about to send for one that has heard.
            store::pause::act_upon(&mut self.db, 0, None).await?;
            self.acts_upon = Some(0);
        }
        let (checkpoints, changes) = store::checkpoints(&mut self.db).await?;
        for checkpoint in checkpoints {
            self.lanes.add(&checkpoint);
        }
        if self.acts_upon != Some(changes) {
            // Nothing is on its way now, so whoever waits for this knows that nothing more will be sent.
            store::pause::act_upon(&mut self.db, changes, self.acts_upon).await?;
            self.acts_upon = Some(changes);
            store::pause::heard(&mut self.reports, changes).await?;
        }
        self.discovering.done(begun);
        Ok(())
    }

    /// The next rows of every lane that flows, or an empty batch when there are none below the frontier.
    async fn read(&mut self) -> Result<Batch, Error> {
        let upto = self.frontier.at();
        let lanes: Vec<_> = self.lanes.ready().into_iter().filter(|(_, cursor)| *cursor < upto).collect();
        if lanes.is_empty() {
            return Ok(Batch { lanes, rows: vec![], more: false, upto });
        }
        let (rows, more) =
            store::rows(&mut self.db, &lanes, upto, self.rows_max, self.config.batch_bytes_max).await?;
        self.fit(rows.len(), more);
        Ok(Batch { lanes, rows, more, upto })
    }

    /// Events so large that fewer than wanted filled a batch: the next read asks for no more than fitted, as Postgres's
    /// further rows would be thrown away.
    pub(crate) fn fit(&mut self, rows: usize, more: bool) {
        if more && rows < usize::from(self.rows_max.get()) {
            self.rows_max = u16::try_from(rows).ok().and_then(NonZeroU16::new).unwrap_or(self.rows_max);
        }
    }
}
