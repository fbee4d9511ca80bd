//! The crawl: hosts take turns, one request to a turn, and what comes back is written down at once.
//!
//! Nothing is remembered here that matters: the frontier, the turns and the rules lie in Postgres, so that any number of
//! these may work at once, and each may die at any moment.

mod list;
mod page;
mod places;
mod removal;
mod rules;
mod turn;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgPool};
use tokio::task::JoinSet;

use self::places::Places;
use crate::Error;
use crate::address::Address;
use crate::config::{ACQUIRE_TIME_MAX, Config, Pace};
use crate::fetch::Fetcher;
use crate::sources::Sources;
use crate::store::{self, Host, Lease, ListLease, Run, Slots};

/// How long to sleep at most when there is nothing to do.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// What falls due is looked for so often.
const WAKE_INTERVAL: Duration = Duration::from_millis(100);
/// And at least.
const NEXT_LOOK: Duration = Duration::from_millis(1);
/// What dead runs had under way is freed so often.
const DEAD_INTERVAL: Duration = Duration::from_secs(5);
/// Of the time to stop in, so much is kept for giving back what did not end.
const GIVE_BACK_TIME_MAX: Duration = Duration::from_secs(1);
/// A single crawl waits so long for a host that wants to be left alone, and no longer.
const ONCE_WAIT_MAX: Duration = Duration::from_secs(60);
/// After this a turn, a page or a list belongs to whoever comes next: whoever had it is dead.
pub(crate) const LEASE: Duration = Duration::from_secs(300);
/// A request may take less than this, so that a turn with all its requests ends within its lease.
pub(crate) const REQUEST_TIME_MAX: Duration = Duration::from_secs(50);

/// What a crawl has done so far.
#[derive(Debug, Default, serde::Serialize)]
pub struct Count {
    /// Requests that were made, robots.txt and redirects included.
    pub requests: AtomicU64,
    /// Sitemaps and feeds that were read.
    pub lists: AtomicU64,
    /// Pages that were fetched.
    pub pages: AtomicU64,
    /// Items that are new.
    pub new: AtomicU64,
    /// Items that have changed.
    pub changed: AtomicU64,
    /// Pages that were as before.
    pub unchanged: AtomicU64,
    /// Pages that were not there (404, 410).
    pub missing: AtomicU64,
    /// Items that were deleted.
    pub deleted: AtomicU64,
    /// Pages that robots.txt does not want to be fetched.
    pub disallowed: AtomicU64,
    /// Pages without an article.
    pub barren: AtomicU64,
    /// Requests that failed.
    pub failed: AtomicU64,
    /// Of those, lists.
    pub lists_failed: AtomicU64,
}

fn add(to: &AtomicU64, more: u64) {
    to.fetch_add(more, Relaxed);
}

/// Reads sources, politely.
#[derive(Debug)]
pub struct Crawler {
    db: PgPool,
    /// Its number, by which others see that it lives.
    run: i32,
    life: tokio::sync::Mutex<Run>,
    sources: Sources,
    pace: Pace,
    crawl_delay_max: Duration,
    page_bytes_max: u64,
    fetcher: Fetcher,
    page_places: Places,
    list_places: Places,
    rules: rules::Cache,
    /// Turns that have not ended, by host, with the page or list that was taken.
    under_way: Mutex<UnderWay>,
    /// Hosts that are known only from redirects of robots.txt: when the next request may begin.
    strangers: Mutex<HashMap<String, Instant>>,
    count: Count,
}

/// Turns by host and number.
type UnderWay = HashMap<(String, i64), (Host, Option<Taken>)>;

/// What is looked at now and then, and need not be newer.
#[derive(Debug, Default)]
struct Seen {
    at: Option<Instant>,
    /// When the leases of dead runs were last freed.
    dead_at: Option<Instant>,
    /// Sources that are named and not halted.
    active: Vec<String>,
}

/// What a turn has taken from the frontier.
#[derive(Debug, Clone)]
enum Taken {
    Page(Lease),
    List(ListLease),
}

impl Crawler {
    /// Connects, and makes the sources known.
    pub async fn connect(config: &Config, sources: Sources) -> Result<Arc<Self>, Error> {
        config.check()?;
        let connections = u32::from(config.pace.hosts_max.get()).min(8) + 1;
        // A pool would try again and again, and in the end only say that it took too long.
        terminal::open(&config.database.options()?).await?.close().await?;
        let db = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIME_MAX)
            .connect_with(config.database.options()?)
            .await?;
        let fetcher = config.manners.fetcher()?;
        if config.manners.contact().is_none() {
            tracing::warn!(
                "no contact is set (FALLAH_CONTACT), so a site's owner cannot write to you and may shut you out"
            );
        }
        for source in sources.iter() {
            let robots = source.home.iter().filter(|_| source.lists().next().is_none()).map(Address::robots);
            let lists: Vec<_> = source.lists().cloned().chain(robots).collect();
            let lists: Vec<_> = lists.iter().map(|list| (list.to_string(), list.origin())).collect();
            store::register(&db, source.name(), &lists, source.poll_min).await?;
            if source.publish_events {
                let untold = store::tell_untold(&db, source.name()).await?;
                if untold > 0 {
                    tracing::info!(
                        source = source.name(),
                        untold,
                        "was written before it was to be told, and is read anew"
                    );
                }
            }
        }
        store::let_in(&db).await?;
        let life = Run::begin(&db).await?;
        Ok(Arc::new(Self {
            db,
            run: life.number,
            life: tokio::sync::Mutex::new(life),
            sources,
            pace: config.pace.clone(),
            crawl_delay_max: config.manners.crawl_delay_max,
            page_bytes_max: config.manners.page_bytes_max,
            fetcher,
            page_places: Places::new(places::PAGES_AT_ONCE),
            list_places: Places::new(places::LISTS_AT_ONCE),
            rules: rules::Cache::default(),
            under_way: Mutex::default(),
            strangers: Mutex::default(),
            count: Count::default(),
        }))
    }

    /// What was done so far.
    pub fn count(&self) -> &Count {
        &self.count
    }

    /// How many pages wait to be fetched, counted no further than one more than `most`.
    pub async fn left(&self, most: i64) -> Result<i64, Error> {
        Ok(store::left(&self.db, most).await?)
    }

    /// Hosts of its sources that are left alone, though there is something to ask them for.
    pub(crate) async fn left_alone(&self) -> Result<Vec<store::LeftAlone>, Error> {
        let of_ours = |alone: &store::LeftAlone| {
            Address::parse(&alone.host).is_ok_and(|host| self.sources.iter().any(|source| source.is_of(&host)))
        };
        Ok(store::left_alone(&self.db).await?.into_iter().filter(of_ours).collect())
    }

    /// Sources that wait for a person.
    pub async fn halted(&self) -> Result<Vec<String>, Error> {
        let halted = store::halted(&self.db).await?;
        Ok(halted.into_iter().filter(|name| self.sources.get(name).is_some()).collect())
    }

    /// Crawls until told to stop; then lets what is under way come to its end, for a while.
    pub async fn run(self: &Arc<Self>, stop: impl Future<Output = ()>) -> Result<(), Error> {
        tracing::info!(version = crate::VERSION, sources = self.sources.iter().count(), "reading");
        self.crawl(stop, false).await.map(drop)
    }

    /// Reads each list once and fetches whatever is due, until nothing is left to do; false: it was told to stop before.
    pub async fn once(self: &Arc<Self>, stop: impl Future<Output = ()>) -> Result<bool, Error> {
        self.crawl(stop, true).await
    }

    /// Whether it came to its end by itself.
    async fn crawl(self: &Arc<Self>, stop: impl Future<Output = ()>, once: bool) -> Result<bool, Error> {
        let mut turns = JoinSet::new();
        // Whatever is asked of Postgres, the wish to stop is heard.
        tokio::select! {
            biased;
            () = stop => {}
            done = self.work(&mut turns, once) => return done.map(|()| true),
        }
        self.drain(turns).await;
        Ok(false)
    }

    async fn work(self: &Arc<Self>, turns: &mut JoinSet<Result<(), Error>>, once: bool) -> Result<(), Error> {
        let mut swept = Instant::now();
        let mut seen = Seen::default();
        let mut away = None;
        if once {
            // Whatever falls due later is for the next time: else a crawl of a busy site would never end.
            store::all_due(&self.db, &self.active().await?).await?;
            while store::wake(&self.db).await? > 0 {}
        }
        loop {
            let wait = match self.begin(turns, &mut seen, once).await {
                Ok(wait) => {
                    if away.take().is_some() {
                        tracing::info!("Postgres is back");
                    }
                    wait
                }
                Err(error) => {
                    // Postgres is away: everything waits, and nothing counts as a failure.
                    if away.replace(()).is_none() {
                        tracing::warn!(reason = outbox::in_words(&error), "Postgres is away; everything waits");
                    }
                    if once {
                        return Err(error);
                    }
                    Some(LOOK_INTERVAL)
                }
            };
            if !once && swept.elapsed() >= self.pace.removal_interval && away.is_none() {
                swept = Instant::now();
                self.sweep_or_warn().await;
            }
            let Some(wait) = wait else { break };
            tokio::select! {
                Some(done) = turns.join_next() => self.heed(done),
                () = tokio::time::sleep(wait) => {}
            }
        }
        while self.sweep().await? {}
        Ok(())
    }

    /// Gives turns to hosts that have one coming. Returns how long to wait for the next; none: there is nothing left to do.
    async fn begin(
        self: &Arc<Self>,
        turns: &mut JoinSet<Result<(), Error>>,
        seen: &mut Seen,
        once: bool,
    ) -> Result<Option<Duration>, Error> {
        if seen.at.is_none_or(|at| at.elapsed() > WAKE_INTERVAL) {
            self.life.lock().await.live_on(&self.db).await?;
            if seen.dead_at.is_none_or(|at| at.elapsed() > DEAD_INTERVAL) {
                store::bury(&self.db).await?;
                seen.dead_at = Some(Instant::now());
            }
            if !once {
                store::wake_lists(&self.db).await?;
                store::wake(&self.db).await?;
            }
            *seen = Seen { at: Some(Instant::now()), active: self.active().await?, ..*seen };
        }
        let active = &seen.active;
        let free = usize::from(self.pace.hosts_max.get()).saturating_sub(turns.len());
        let hosts_max = usize::from(self.pace.hosts_max.get());
        let slots = Slots {
            run: self.run,
            lease: LEASE,
            most: i64::try_from(free).unwrap_or(0),
            share: i64::try_from(hosts_max.div_ceil(active.len().max(1))).unwrap_or(1),
        };
        let hosts = store::slots(&self.db, slots, active).await?;
        let some = !hosts.is_empty();
        for host in hosts {
            let (crawler, active) = (Arc::clone(self), active.clone());
            crawler.note(&host, None);
            turns.spawn(async move {
                let done = crawler.turn(&host, &active).await;
                crawler.under_way().remove(&(host.origin.clone(), host.slot));
                done
            });
        }
        if some || free == 0 {
            // There may be more; or the end of a turn is what there is to wait for.
            return Ok(Some(if some { NEXT_LOOK } else { LOOK_INTERVAL }));
        }
        let next = store::still(&self.db, active).await?;
        // A host's own delay may be longer than anybody's wish to be left alone.
        let delays = self.sources.iter().map(|source| source.delay).chain([ONCE_WAIT_MAX, self.crawl_delay_max]);
        let wait_max = delays.max().unwrap_or(ONCE_WAIT_MAX);
        let nothing_soon = next.is_none_or(|next| next > wait_max);
        if once && nothing_soon && turns.is_empty() {
            // Somebody may have died with what this crawl is about.
            return Ok((store::bury(&self.db).await? > 0).then_some(NEXT_LOOK));
        }
        // Where a turn is due and was not given, its source has its share of them, or another program looks at it.
        let soonest = if turns.is_empty() { NEXT_LOOK } else { WAKE_INTERVAL };
        let next = next.unwrap_or(LOOK_INTERVAL);
        Ok(Some(if next.is_zero() { soonest } else { next.clamp(NEXT_LOOK, LOOK_INTERVAL) }))
    }

    /// What is under way may end; what does not end in time is given back, so that the next one need not wait for it. All
    /// of it takes no longer than is allowed: what Postgres does not take back in time is free when this run has ended.
    async fn drain(&self, mut turns: JoinSet<Result<(), Error>>) {
        tracing::info!(under_way = turns.len(), "stopping");
        let end = tokio::time::Instant::now() + self.pace.drain_max;
        let all = async {
            while let Some(done) = turns.join_next().await {
                self.heed(done);
            }
        };
        let give_back_time = GIVE_BACK_TIME_MAX.min(self.pace.drain_max / 4);
        if tokio::time::timeout_at(end - give_back_time, all).await.is_ok() {
            return;
        }
        turns.shutdown().await;
        let left = std::mem::take(&mut *self.under_way());
        tracing::warn!(count = left.len(), "what did not end in time is given back");
        match tokio::time::timeout_at(end, self.give_back(left)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(reason = outbox::in_words(&error), "it could not be given back"),
            Err(_) => tracing::warn!("it could not be given back in time"),
        }
    }

    async fn give_back(&self, left: UnderWay) -> Result<(), Error> {
        for (host, taken) in left.into_values() {
            match taken {
                Some(Taken::Page(lease)) => store::give_back(&self.db, &lease).await?,
                Some(Taken::List(lease)) => store::give_back_list(&self.db, &lease).await?,
                None => {}
            }
            store::give_back_slot(&self.db, &host).await?;
        }
        Ok(())
    }

    /// The names of all sources of the settings.
    pub(crate) fn named(&self) -> Vec<String> {
        self.sources.iter().map(|source| source.name().to_owned()).collect()
    }

    /// The names of the sources that are to be read: whoever is not named, or halted, keeps its place for later.
    async fn active(&self) -> Result<Vec<String>, Error> {
        let halted = store::halted(&self.db).await?;
        Ok(self.named().into_iter().filter(|name| !halted.contains(name)).collect())
    }

    fn note(&self, host: &Host, taken: Option<Taken>) {
        self.under_way().insert((host.origin.clone(), host.slot), (host.clone(), taken));
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().expect("nobody panics with it in hand")
    }

    fn heed(&self, done: Result<Result<(), Error>, tokio::task::JoinError>) {
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                add(&self.count.failed, 1);
                tracing::warn!(
                    reason = outbox::in_words(&error),
                    "a turn came to nothing; its page is fetched again later"
                );
            }
            Err(error) => tracing::error!(%error, "a turn broke down; its page is fetched again later"),
        }
    }

    async fn sweep_or_warn(&self) {
        if let Err(error) = self.sweep().await {
            tracing::warn!(
                reason = outbox::in_words(&error),
                "what has vanished could not be looked at; it is tried again"
            );
        }
    }
}
