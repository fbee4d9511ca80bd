//! The running archive: a consumer of one group, and the archive as its handler.

use std::sync::Arc;
use std::time::Duration;

use outbox::Consumer;
use sqlx::PgPool;
use tokio::net::TcpListener;

use crate::archive::{Archive, Count};
use crate::config::{self, Config};
use crate::vital::Vitals;
use crate::{Error, Objects};

/// How much longer than a write the consumer waits for its handler: the handler's own limit, which is an outage, comes first.
const SPARE: Duration = Duration::from_secs(30);
/// Settled entries leave the inbox so often.
const SETTLE_INTERVAL: Duration = Duration::from_secs(10);

/// An archive with the stores that the settings name; nothing is asked of them yet.
pub fn archive(config: &Config) -> Result<Archive, terminal::Unusable> {
    let connections = u32::from(config.batches_max.get()) + 1;
    let db: PgPool = config::pool(config.database.options()?, connections);
    let objects: Objects = config.place.open()?;
    Ok(Archive {
        db,
        objects,
        skip: Arc::new(config.skip_sources.iter().cloned().collect()),
        object_bytes_max: usize::try_from(config.object_bytes_max.get()).unwrap_or(usize::MAX),
        write_max: config.write_max,
        count: Arc::new(Count::default()),
        owned: Arc::default(),
    })
}

/// Archives until `shutdown` resolves: then what is in hand ends, and the rest is given back. Meanwhile the archive tells of itself
/// at this listener, if there is one.
pub async fn run(
    config: &Config,
    archive: Archive,
    listener: Option<TcpListener>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let options = config.database.options().map_err(|wrong| sqlx::Error::Configuration(wrong.into()))?;
    let vitals = Vitals {
        db: config::pool(options, 1),
        objects: archive.objects.clone(),
        count: archive.count.clone(),
        group: config.group.clone(),
    };
    let telling = vitals::serve(listener, vitals);
    let redis = config.redis_url.as_ref().map_or("", |url| url.reveal());
    let (batch, batches) = (usize::from(config.batch_max.get()), usize::from(config.batches_max.get()));
    let (db, count) = (archive.db.clone(), archive.count.clone());
    let consumer = Consumer::builder(redis)
        .stream(&config.stream)
        .group(&config.group)
        .name("hasad")
        .version(crate::VERSION)
        .batch_handler(batch, archive)
        .concurrency(batches)
        .prefetch_bytes_max(usize::try_from(config.prefetch_bytes_max.get()).unwrap_or(usize::MAX))
        .handler_timeout(config.write_max + SPARE)
        .claim_after(config.claim_after)
        .drain_max(config.drain_max)
        .settle_interval(SETTLE_INTERVAL)
        .attempts_max(config.attempts_max)
        .build()?;
    tracing::info!(
        stream = config.stream,
        group = config.group,
        store = %config.place.store,
        consumer = consumer.name(),
        "the archive works"
    );
    tokio::select! {
        ended = consumer.run(shutdown) => ended?,
        Err(error) = telling => return Err(Error::File { what: "the listener".to_owned(), source: error }),
    }
    db.close().await;
    let count = serde_json::to_string(&*count).unwrap_or_default();
    tracing::info!(count, "the archive has stopped");
    Ok(())
}
