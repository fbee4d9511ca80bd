//! Running for good: events from the stream into the file, and from there into the search index if there is one.

use std::time::Duration;

use outbox::Consumer;

use crate::store::Begun;
use crate::{Config, Error, Projector, Store, store};

/// Between looks at a file that cannot be used.
const PAUSE: Duration = Duration::from_millis(500);

/// Reads the stream and brings the index what changes, until `shutdown` resolves. The consumer is that of the same settings; it
/// ends by itself only when no waiting would help.
pub async fn consume(
    config: &Config,
    mut consumer: Consumer,
    store: &Store,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let projector = Projector::new(store, &config.index).map_err(|error| match error {
        Error::Unusable(sentence) => terminal::unusable(sentence),
        other => other.into(),
    })?;
    let mut shutdown = std::pin::pin!(shutdown);
    tokio::select! {
        () = shutdown.as_mut() => return Ok(()),
        begun = begin(config, &mut consumer, store) => begun?,
    }
    let (stopping, stopped) = tokio::sync::watch::channel(false);
    let until = |mut stopped: tokio::sync::watch::Receiver<bool>| async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    // Without an index the file answers; so nothing ends because of it.
    let projecting = projector.map(|projector| tokio::spawn(projector.run(until(stopped.clone()))));
    let mut consuming = tokio::spawn(consumer.run(until(stopped)));
    let ended = tokio::select! {
        () = shutdown.as_mut() => None,
        ended = &mut consuming => Some(ended),
    };
    let _ = stopping.send(true);
    let consumed = match ended {
        Some(ended) => ended,
        None => consuming.await,
    };
    if let Some(projecting) = projecting {
        projecting.await?;
    }
    consumed??;
    Ok(())
}

/// A file that was never read into, under a group that has been given something already: its disk is not mounted, or it is
/// lost, and Redis will not say again what was acknowledged. To go on as if nothing were would be a gap that nobody sees.
///
/// The file says that reading has begun before anything is read. So a first start may die wherever it likes: either the
/// group has been given nothing yet, or the file says so.
async fn begin(config: &Config, consumer: &mut Consumer, store: &Store) -> anyhow::Result<()> {
    let begun = patiently(|| store.read(|tx| Ok(store::begun(tx)?))).await;
    if begun == Begun::HalfRebuilt && !config.begin_anew {
        // Also under a group that was given nothing: who began to rebuild wants what the archive has, and not a part of it.
        anyhow::bail!(
            "a rebuild of the file {} has not come to its end, so articles are missing: do it again by `hasad export-ndjson | \
             bisan rebuild --from-hasad -` (what is there already stays); to go on with what is there, say --begin-anew \
             (BISAN_BEGIN_ANEW)",
            store.path().display(),
        );
    }
    if begun == Begun::No
        && !config.begin_anew
        && let Some(upto) = consumer.delivered(contract::STREAM).await?
    {
        anyhow::bail!(
            "the file {} is new, but the group {} has been given {} up to {upto}, and what it was given does not come again: \
             mount the file's disk if it is not mounted; if the file is lost, bring everything back by `hasad export-ndjson \
             | bisan rebuild --from-hasad -`; to begin with what comes next, say --begin-anew (BISAN_BEGIN_ANEW)",
            store.path().display(),
            contract::BISAN,
            contract::STREAM,
        );
    }
    patiently(|| store.write(|tx| Ok(store::begin_reading(tx)?))).await;
    Ok(())
}

/// A file that takes nothing just now is an outage, as it is later on: it is waited for.
async fn patiently<T, W: Future<Output = Result<T, Error>>>(work: impl Fn() -> W) -> T {
    let mut told = false;
    loop {
        match work().await {
            Ok(done) => return done,
            Err(error) if !std::mem::replace(&mut told, true) => {
                tracing::warn!(
                    error = outbox::in_words(&error),
                    "the file cannot be used; nothing is read meanwhile"
                );
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}
