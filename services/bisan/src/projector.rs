//! Brings what has changed to the search index, for as long as it runs. Nothing waits for it, and it loses nothing: what is to
//! be brought stands in the file until the index says that it has it.

mod carrier;

use std::fs::File;
use std::time::{Duration, Instant};

use crate::meili::{Identity, Meili, SearchServer, SearchWrite, Trouble, drift, settings};
use crate::store::{self, Queue};
use crate::{Error, Store};

pub(crate) use carrier::{Backoff, Carrier, Load, Settled};

/// How often an idle projector looks for something to do.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How often one that has nothing to bring looks whether the index is still there.
const INDEX_INTERVAL: Duration = Duration::from_secs(30);
/// How often one that is not alone looks whether it is by now.
const TURN_INTERVAL: Duration = Duration::from_secs(1);
/// What our documents are known by; an index with another one is somebody else's.
const PRIMARY_KEY: &str = "id";

/// Brings articles to the index that answers searches.
#[derive(Debug)]
pub struct Projector {
    store: Store,
    meili: Meili,
    server: SearchServer,
    carrier: Carrier,
    /// The index that is known to be ours and to have our settings, by when it was made.
    known: Option<String>,
    /// When the index was last looked at while nothing waited.
    looked_at: Option<Instant>,
    /// When something was first seen waiting that is not enough for a request.
    waiting_since: Option<Instant>,
}

/// What a turn came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tick {
    /// Nothing waits, or not for long enough.
    Idle,
    /// So many articles were settled: brought, removed or refused.
    Brought(usize),
    /// Nothing can be brought just now.
    Paused {
        /// Why.
        why: String,
        /// How long the server asks to be left alone.
        retry_after: Option<Duration>,
    },
}

impl Projector {
    /// Checked, not connected. None: there is no index, or it is not to be written.
    pub fn new(store: &Store, server: &SearchServer) -> Result<Option<Self>, Error> {
        if server.search_write == SearchWrite::Off {
            return Ok(None);
        }
        let Some(meili) = Meili::new(server).map_err(Error::Unusable)? else { return Ok(None) };
        let carrier = Carrier::new(meili.clone(), &server.meili_index, server.batch_bytes_max.get());
        Ok(Some(Self {
            store: store.clone(),
            meili,
            server: server.clone(),
            carrier,
            known: None,
            looked_at: None,
            waiting_since: None,
        }))
    }

    /// Brings what has changed until the end of `stop`.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = stop => {}
            never = self.run_on() => match never {},
        }
    }

    async fn run_on(&mut self) -> std::convert::Infallible {
        let _turn = self.turn().await;
        let mut backoff = Backoff::default();
        let mut was_away = false;
        loop {
            match self.tick().await {
                Ok(Tick::Brought(articles)) => {
                    tracing::debug!(articles, "brought to the search index");
                    backoff.reset();
                    if std::mem::take(&mut was_away) {
                        tracing::info!("the search index is there again");
                    }
                }
                Ok(Tick::Idle) => tokio::time::sleep(LOOK_INTERVAL).await,
                Ok(Tick::Paused { why, retry_after }) => {
                    if !std::mem::replace(&mut was_away, true) {
                        tracing::warn!(why, "the search index is not written; what changes waits for it");
                    }
                    tokio::time::sleep(backoff.wait(retry_after)).await;
                }
                // Whatever it is: as with the index, everything waits. Nobody would notice an end.
                Err(error) => {
                    tracing::warn!(error = outbox::in_words(&error), "cannot see what the search index is to have");
                    tokio::time::sleep(backoff.wait(None)).await;
                }
            }
        }
    }

    /// Two at once could bring an older state after a newer one. So there is a lock beside the file, which goes with its
    /// process, however that ends.
    async fn turn(&self) -> File {
        let mut told = String::new();
        loop {
            let why = match lock(&self.store, "projector.lock") {
                Ok(Some(lock)) => return lock,
                Ok(None) => "another process brings articles to it".to_owned(),
                Err(error) => outbox::in_words(&error),
            };
            if why != told {
                tracing::info!(why, "waiting for the turn to bring articles to the search index");
                told = why;
            }
            tokio::time::sleep(TURN_INTERVAL).await;
        }
    }

    /// One load: what waits first, as much as fits into a request.
    pub async fn tick(&mut self) -> Result<Tick, Error> {
        match self.load().await {
            Ok(tick) => Ok(tick),
            Err(Stop::File(error)) => Err(error),
            Err(Stop::Index(trouble)) => {
                let retry_after = match &trouble {
                    Trouble::Away { retry_after, .. } => *retry_after,
                    _ => None,
                };
                Ok(Tick::Paused { why: trouble.to_string(), retry_after })
            }
        }
    }

    async fn load(&mut self) -> Result<Tick, Stop> {
        let (items_max, bytes_max) = (self.server.batch_documents_max.get(), self.carrier.bytes_max());
        let (waiting, bytes) = self
            .store
            .read(|tx| Ok((store::waiting_count(tx, Queue::Live)?, store::waiting_bytes(tx, Queue::Live)?)))
            .await?;
        if waiting == 0 {
            self.waiting_since = None;
            // An index that was lost is to be found so before the next article comes.
            if self.looked_at.is_none_or(|at| at.elapsed() >= INDEX_INTERVAL) {
                self.ensure_index().await?;
                self.looked_at = Some(Instant::now());
            }
            return Ok(Tick::Idle);
        }
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        // What does not fit into one request does not wait for more. Nothing of it is read before.
        let fits = waiting < items_max as u64 && bytes < bytes_max as u64;
        if fits && since.elapsed() < self.server.batch_wait_max {
            return Ok(Tick::Idle);
        }
        let (swaps, items) = self
            .store
            .read(move |tx| Ok((store::swaps(tx)?, store::waiting(tx, Queue::Live, items_max, bytes_max)?)))
            .await?;
        self.ensure_index().await?;
        let mut load = Load::new(items);
        let mut settled = 0;
        while let Some(step) = self.carrier.step(&mut load).await? {
            settled += step.brought.len() + step.refused.len();
            self.store.write(move |tx| note(tx, Queue::Live, &step, swaps)).await?;
        }
        self.waiting_since = None;
        Ok(Tick::Brought(settled))
    }

    /// The index is there, with our settings, and is the one that we know; or else everything is to be brought to it. Asked
    /// before each load: documents that are put into an index that is not there make one without our settings.
    async fn ensure_index(&mut self) -> Result<(), Stop> {
        let index = &self.server.meili_index;
        let found = match self.meili.identity(index).await? {
            Some(found) => found,
            None => make(&self.meili, index).await?,
        };
        let is_older = match self.store.read(|tx| Ok(store::seen_task(tx)?)).await? {
            Some(task) => !self.meili.has_done(task).await?,
            None => false,
        };
        if !is_older && self.known.as_ref() == Some(&found.created_at) {
            return Ok(());
        }
        if let Some(key) = found.primary_key.filter(|key| key != PRIMARY_KEY) {
            return Err(
                Trouble::away(format!("the index {index} is somebody else's: its primary key is {key}")).into()
            );
        }
        let made_at = found.created_at;
        let (known, spare) = self.store.read(|tx| Ok((store::known_index(tx)?, store::spare(tx)?))).await?;
        // A rebuild has changed their places and not yet written it down.
        let swapping = spare
            .is_some_and(|spare| spare.step == store::Step::Swapping && spare.made_at.as_ref() == Some(&made_at));
        if swapping || (!is_older && known.as_ref() == Some(&made_at)) {
            let drifted = drift(&self.meili.settings(index).await?);
            if !drifted.is_empty() {
                let names = drifted.iter().map(|drift| &*drift.setting).collect::<Vec<_>>().join(", ");
                tracing::warn!(settings = names, "the index's settings are not ours: see `bisan index-settings`");
            }
        } else {
            // New, emptied, restored from elsewhere, or of another server: nobody can tell what is in it.
            let task = self.meili.change_settings(index, &settings()).await?;
            self.meili.done(task).await?;
            let filled = made_at.clone();
            let fill = move |tx: &rusqlite::Transaction<'_>| {
                if is_older {
                    store::all_behind(tx)?;
                }
                Ok(store::fill(tx, &filled, task)?)
            };
            let articles = self.store.write(fill).await?;
            if is_older {
                tracing::warn!(
                    index,
                    articles,
                    "Meilisearch does not know what it had done for us: it is an older copy of itself; bringing everything to it"
                );
            } else {
                tracing::info!(
                    index,
                    articles,
                    "the search index is one that we do not know; bringing everything to it"
                );
            }
        }
        self.known = Some(made_at);
        Ok(())
    }
}

/// Makes an index. Somebody else may have been faster; then it is there, which is all that matters.
pub(crate) async fn make(meili: &Meili, index: &str) -> Result<Identity, Trouble> {
    let made = meili.done(meili.create(index).await?).await;
    match (meili.identity(index).await?, made) {
        (Some(identity), _) => Ok(identity),
        (None, Err(trouble)) => Err(trouble),
        (None, Ok(())) => Err(Trouble::away("the index that it has made is not there")),
    }
}

/// Writes down what has become of some articles.
pub(crate) fn note(tx: &rusqlite::Transaction<'_>, queue: Queue, settled: &Settled, swaps: i64) -> Result<(), Error> {
    if let Some(task) = settled.task {
        store::saw_task(tx, task)?;
    }
    // The indexes have changed places since: it is not known which of them has it.
    if store::swaps(tx)? != swaps {
        return Ok(());
    }
    for item in &settled.brought {
        store::brought(tx, queue, item.id, item.change)?;
        store::accepted(tx, queue, item.id)?;
    }
    for (item, fault) in &settled.refused {
        tracing::warn!(article = item.id, reason = %fault, "the search index does not take an article; setting it aside");
        store::brought(tx, queue, item.id, item.change)?;
        store::refused(tx, queue, item.id, item.change, &fault.code, &fault.to_string())?;
    }
    Ok(())
}

/// The lock of one task beside the file, unless somebody has it.
pub(crate) fn lock(store: &Store, name: &str) -> Result<Option<File>, Error> {
    let mut path = store.path().as_os_str().to_owned();
    path.push(".");
    path.push(name);
    let path = std::path::PathBuf::from(path);
    let failed = |error: std::io::Error| Error::Unusable(format!("{}: {error}", path.display()));
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Why a turn ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    File(Error),
    Index(Trouble),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::File(error)
    }
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Self::Index(trouble)
    }
}
