//! Running for good: events from the stream into the file, and from there into the search index if there is one.

use outbox::Consumer;

use crate::{Config, Error, Projector, Store};

/// Reads the stream and brings the index what changes, until `shutdown` resolves. The consumer is that of the same settings; it
/// ends by itself only when no waiting would help.
pub async fn consume(
    config: &Config,
    consumer: Consumer,
    store: &Store,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let projector = Projector::new(store, &config.index).map_err(|error| match error {
        Error::Unusable(sentence) => terminal::unusable(sentence),
        other => other.into(),
    })?;
    let (stopping, stopped) = tokio::sync::watch::channel(false);
    let until = |mut stopped: tokio::sync::watch::Receiver<bool>| async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    // Without an index the file answers; so nothing ends because of it.
    let projecting = projector.map(|projector| tokio::spawn(projector.run(until(stopped.clone()))));
    let mut consuming = tokio::spawn(consumer.run(until(stopped)));
    let ended = tokio::select! {
        () = shutdown => None,
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
