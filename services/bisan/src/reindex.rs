//! Builds the index anew beside the one that answers searches, and lets them change places. Nobody who searches or writes
//! notices; it may be killed at any moment, and goes on where it was.
//!
//! | step | what is done |
//! |---|---|
//! | making | the spare index is emptied and given its settings; from here on every change is noted for it, too |
//! | loading | every article is brought to it, from one state of the file |
//! | catching up | what has changed since is brought to it; then it is looked at closely |
//! | swapping | both change places, all at once |
//! | swapped | the one that was before is kept, and what it misses is noted: so the way back is as safe |

mod gate;
mod load;
mod verb;

use std::fs::File;
use std::time::{Duration, Instant};

use crate::meili::{Meili, SearchServer, SearchWrite, Trouble, settings};
use crate::projector::{Backoff, Carrier, Load, Stop, lock, make, note};
use crate::store::{self, Queue, Spare, Step};
use crate::{Error, Store};

pub use verb::ReindexArgs;

/// Whoever worked for so long without a fault was not away.
const STEADY_MIN: Duration = Duration::from_secs(120);
/// How often the spare index is mended before its difference from the truth is somebody's business.
const GATES_MAX: u32 = 3;

/// Builds the spare index, and swaps.
#[derive(Debug)]
pub struct Reindex {
    store: Store,
    meili: Meili,
    server: SearchServer,
    /// Words that must find something before they change places.
    queries: Vec<String>,
    /// So long Meilisearch may be away at a stretch.
    away_max: Duration,
    /// Nobody else does the same meanwhile.
    _turn: File,
}

/// What is told while it goes on.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "told", rename_all = "snake_case")]
pub enum Told {
    /// It goes on where it was interrupted.
    Resumed {
        #[allow(missing_docs)]
        step: &'static str,
    },
    /// The next step begins.
    Step {
        #[allow(missing_docs)]
        step: &'static str,
    },
    /// So many of so many articles are in the spare index.
    Loaded {
        #[allow(missing_docs)]
        articles: u64,
        #[allow(missing_docs)]
        of: u64,
    },
    /// So many articles still wait to be brought there.
    Behind {
        #[allow(missing_docs)]
        articles: u64,
    },
    /// Meilisearch is away.
    Waiting {
        #[allow(missing_docs)]
        why: String,
    },
    /// It differs from the truth, and is mended.
    Mending {
        #[allow(missing_docs)]
        what: Vec<String>,
    },
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// `swapped`, `dropped`, or `kept`: a way back was given up.
    pub ended: &'static str,
    /// Documents of the index that answers searches.
    pub documents: u64,
    /// Articles that it does not take.
    pub refused: u32,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Build it anew, or go on with what was interrupted.
    Rebuild,
    /// Let the one that was before answer again, brought up to date.
    SwapBack,
    /// Give up a way back, and keep the index; else delete the spare index, whatever it is kept for.
    Drop,
}

impl Reindex {
    /// Checked, not connected.
    pub fn new(
        store: &Store,
        server: &SearchServer,
        queries: Vec<String>,
        away_max: Duration,
    ) -> Result<Self, Error> {
        if server.search_write == SearchWrite::Off {
            return Err(Error::Unusable(
                "--search-write (BISAN_SEARCH_WRITE) is off: no index is written".to_owned(),
            ));
        }
        let meili = Meili::new(server).map_err(Error::Unusable)?;
        let meili = meili.ok_or_else(|| Error::Unusable("--meili-url (MEILI_URL) is not set".to_owned()))?;
        let turn = lock(store, "reindex.lock")?;
        let turn = turn.ok_or_else(|| Error::Index("another process is at it already".to_owned()))?;
        Ok(Self { store: store.clone(), meili, server: server.clone(), queries, away_max, _turn: turn })
    }

    /// Does it, to the end.
    pub async fn run(&self, goal: Goal, told: &mut (impl FnMut(Told) + Send)) -> Result<Summary, Error> {
        let begun = Instant::now();
        let kept = self.begin(goal, told).await?;
        let mut backoff = Backoff::default();
        let (mut away_since, mut away_last): (Option<Instant>, Option<Instant>) = (None, None);
        let ended = loop {
            let Some(spare) = self.store.read(|tx| Ok(store::spare(tx)?)).await? else { break "dropped" };
            if spare.step == Step::Swapped {
                break if kept { "kept" } else { "swapped" };
            }
            match self.step(&spare, told).await {
                Ok(()) => {
                    backoff.reset();
                    away_since = None;
                }
                Err(Stop::File(error)) => return Err(error),
                Err(Stop::Index(Trouble::Away { why, retry_after })) => {
                    // One that worked for a while in between is away anew.
                    let since = match away_last.replace(Instant::now()) {
                        Some(last) if last.elapsed() < STEADY_MIN => *away_since.get_or_insert(last),
                        _ => *away_since.insert(Instant::now()),
                    };
                    if since.elapsed() > self.away_max {
                        return Err(Error::Index(format!(
                            "{why}; it goes on from here when it is called again, and searches are as before"
                        )));
                    }
                    told(Told::Waiting { why });
                    tokio::time::sleep(backoff.wait(retry_after)).await;
                }
                Err(Stop::Index(trouble)) => return Err(Error::Index(trouble.to_string())),
            }
        };
        let documents = self.meili.count(&self.server.meili_index).await.unwrap_or_default();
        let refused = self.store.read(|tx| Ok(store::standing(tx)?)).await?.refused;
        let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Summary { ended, documents, refused, milliseconds })
    }

    /// Whether all that was asked for is that a way back be given up.
    async fn begin(&self, goal: Goal, told: &mut impl FnMut(Told)) -> Result<bool, Error> {
        let refuse = |why: &str| Err(Error::Index(why.to_owned()));
        let spare = self.store.read(|tx| Ok(store::spare(tx)?)).await?;
        let (step, back) = spare.map_or((None, false), |spare| (Some(spare.step), spare.back));
        match (goal, step) {
            (Goal::Rebuild, None | Some(Step::Swapped | Step::Dropping)) => {
                self.store.write(|tx| Ok(store::begin(tx, false)?)).await?;
            }
            (Goal::SwapBack, Some(Step::Swapped)) => self.store.write(|tx| Ok(store::begin_back(tx)?)).await?,
            (Goal::SwapBack, None | Some(Step::Dropping)) => {
                return refuse("no index is kept that could be swapped back");
            }
            // Either was interrupted, and is what is asked for now.
            (Goal::Rebuild, Some(step)) if !back => told(Told::Resumed { step: step.as_str() }),
            (Goal::SwapBack, Some(step)) if back => told(Told::Resumed { step: step.as_str() }),
            (Goal::Rebuild, Some(_)) => {
                return refuse("a way back is under way: let it end (`--swap-back`), or --abort it");
            }
            (Goal::SwapBack, Some(_)) => return refuse("a rebuild is under way: let it end, or --abort it"),
            (Goal::Drop, Some(Step::Swapping)) => {
                let verb = if back { "bisan reindex --swap-back" } else { "bisan reindex" };
                return refuse(&format!("they are changing places just now: let that end first (`{verb}`)"));
            }
            (Goal::Drop, Some(Step::CatchingUp)) if back => {
                self.store.write(|tx| Ok(store::keep(tx)?)).await?;
                return Ok(true);
            }
            (Goal::Drop, Some(_)) => self.store.write(|tx| Ok(store::step(tx, Step::Dropping)?)).await?,
            (Goal::Drop, None) => {}
        }
        Ok(false)
    }

    /// The whole of one step, or a part after which it can be told again where it stands.
    async fn step(&self, spare: &Spare, told: &mut (impl FnMut(Told) + Send)) -> Result<(), Stop> {
        told(Told::Step { step: spare.step.as_str() });
        if matches!(spare.step, Step::Loading | Step::CatchingUp) && self.is_lost(spare).await? {
            // Documents that are put into an index that is not there make one without our settings.
            told(Told::Mending {
                what: vec![format!("{} is not there any more: it is built from the beginning", self.server.spare())],
            });
            let back = spare.back;
            self.store.write(move |tx| Ok(store::begin(tx, back)?)).await?;
            return Ok(());
        }
        match spare.step {
            Step::Making => self.make().await,
            Step::Loading => self.load(spare.loaded_upto, told).await,
            Step::CatchingUp => self.catch_up_and_look(told).await,
            Step::Swapping => self.swap(spare).await,
            Step::Dropping => self.delete().await,
            Step::Swapped => Ok(()),
        }
    }

    async fn is_lost(&self, spare: &Spare) -> Result<bool, Trouble> {
        let found = self.meili.identity(&self.server.spare()).await?;
        Ok(found.map(|found| found.created_at) != spare.made_at)
    }

    /// Whatever was there under its name is of no use any more.
    async fn make(&self) -> Result<(), Stop> {
        let spare = self.server.spare();
        self.remove(&spare).await?;
        let identity = make(&self.meili, &spare).await?;
        self.meili.done(self.meili.change_settings(&spare, &settings()).await?).await?;
        self.store.write(move |tx| Ok(store::made(tx, &identity.created_at)?)).await?;
        Ok(())
    }

    async fn remove(&self, index: &str) -> Result<(), Trouble> {
        if self.meili.identity(index).await?.is_some() {
            match self.meili.done(self.meili.delete(index).await?).await {
                // Deleted by a request whose answer was lost.
                Err(Trouble::Refused(fault)) if fault.code == "index_not_found" => {}
                other => other?,
            }
        }
        Ok(())
    }

    async fn delete(&self) -> Result<(), Stop> {
        self.remove(&self.server.spare()).await?;
        self.store.write(|tx| Ok(store::dropped(tx)?)).await?;
        Ok(())
    }

    async fn catch_up_and_look(&self, told: &mut (impl FnMut(Told) + Send)) -> Result<(), Stop> {
        for _ in 1..GATES_MAX {
            self.catch_up(told).await?;
            let differences = self.look_closely().await?;
            if differences.is_empty() {
                return self.about_to_swap().await;
            }
            told(Told::Mending { what: differences.iter().map(ToString::to_string).collect() });
            self.store
                .write(move |tx| {
                    Ok(differences.iter().filter_map(|one| one.article).try_for_each(|id| store::behind(tx, id))?)
                })
                .await?;
        }
        self.catch_up(told).await?;
        let differences = self.look_closely().await?;
        if differences.is_empty() {
            return self.about_to_swap().await;
        }
        let what: Vec<_> = differences.iter().map(ToString::to_string).collect();
        Err(Error::Index(format!(
            "the index that was built is not as it should be, so nothing was swapped: {}; build it again, or --abort",
            what.join("; ")
        ))
        .into())
    }

    /// Until everything that waits for the spare index fits into one request, and that is brought.
    async fn catch_up(&self, told: &mut (impl FnMut(Told) + Send)) -> Result<(), Stop> {
        let mut carrier = self.carrier();
        loop {
            let (items_max, bytes_max) = (self.server.batch_documents_max.get(), carrier.bytes_max());
            let (swaps, behind, items) = self
                .store
                .read(move |tx| {
                    let behind = store::waiting_count(tx, Queue::Spare)?;
                    Ok((store::swaps(tx)?, behind, store::waiting(tx, Queue::Spare, items_max, bytes_max)?))
                })
                .await?;
            told(Told::Behind { articles: behind });
            let last = items.len() as u64 == behind;
            let mut load = Load::new(items);
            while let Some(settled) = carrier.step(&mut load).await? {
                self.store.write(move |tx| note(tx, Queue::Spare, &settled, swaps)).await?;
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Where they stand is written down first: afterwards they can be told apart only by this.
    async fn about_to_swap(&self) -> Result<(), Stop> {
        let live = match self.meili.identity(&self.server.meili_index).await? {
            Some(live) => live,
            None => make(&self.meili, &self.server.meili_index).await?,
        };
        self.store.write(move |tx| Ok(store::about_to_swap(tx, &live.created_at)?)).await?;
        Ok(())
    }

    /// A swap that is said twice is no swap. So nothing is asked for while one may be on its way.
    async fn swap(&self, spare: &Spare) -> Result<(), Stop> {
        let (live, other) = (&self.server.meili_index, self.server.spare());
        for task in self.meili.swaps_to_come(live, &other).await? {
            self.meili.done(task).await?;
        }
        let made_at =
            async |index: &str| Ok::<_, Trouble>(self.meili.identity(index).await?.map(|found| found.created_at));
        let (now, beside) = (made_at(live).await?, made_at(&other).await?);
        if now == spare.made_at {
            self.store.write(|tx| Ok(store::swapped(tx)?)).await?;
        } else if now == spare.live_made_at && beside == spare.made_at {
            self.meili.done(self.meili.swap(live, &other).await?).await?;
        } else {
            self.store.write(|tx| Ok(store::step(tx, Step::Dropping)?)).await?;
            let why =
                format!("{live} or {other} is another index than before: somebody has made it anew; begin again");
            return Err(Error::Index(why).into());
        }
        Ok(())
    }

    fn carrier(&self) -> Carrier {
        Carrier::new(self.meili.clone(), &self.server.spare(), self.server.batch_bytes_max.get())
    }
}
