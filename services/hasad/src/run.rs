//! The running archive: a consumer of one group, and the archive as its handler.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use outbox::Consumer;
use sqlx::PgPool;
use tokio::net::TcpListener;

use crate::archive::{Archive, Count, look_whose};
use crate::config::{self, Config};
use crate::vital::Vitals;
use crate::{Error, Objects};

/// How much longer than a write the consumer waits for its handler: the handler's own limit, which is an outage, comes first.
const SPARE: Duration = Duration::from_secs(30);
/// Settled entries leave the inbox so often.
const SETTLE_INTERVAL: Duration = Duration::from_secs(10);
/// Stores that do not answer at the beginning are looked at so often.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

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
    let redis = config.streams.server().map_err(|wrong| outbox::ConsumerError::Unusable(wrong.0))?;
    let (batch, batches) = (usize::from(config.batch_max.get()), usize::from(config.batches_max.get()));
    let (db, count) = (archive.db.clone(), archive.count.clone());
    let stores = (archive.db.clone(), archive.objects.clone());
    let mut builder = Consumer::builder(redis.url.reveal())
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
        .attempts_max(config.attempts_max);
    if let Some(pem) = redis.ca {
        builder = builder.redis_ca(pem);
    }
    let mut consumer = builder.build()?;
    tracing::info!(
        stream = config.stream,
        group = config.group,
        store = %config.place.store,
        consumer = consumer.name(),
        "the archive begins"
    );
    let working = async {
        let mut shutdown = pin!(shutdown);
        let redis_met = tokio::select! {
            () = shutdown.as_mut() => return Ok(()),
            // What no waiting will mend, the consumer finds by itself.
            met = consumer.delivered(&config.stream) => met.is_ok(),
        };
        // It reads whatever the stores say: its group must be there before anything is trimmed.
        tokio::select! {
            ended = consumer.run(shutdown) => ended,
            never = say_when_it_works(redis_met, &stores.0, &stores.1) => match never {},
        }
    };
    tokio::select! {
        ended = working => ended?,
        Err(error) = telling => return Err(Error::File { what: "the listener".to_owned(), source: error }),
    }
    db.close().await;
    let count = serde_json::to_string(&*count).unwrap_or_default();
    tracing::info!(count, "the archive has stopped");
    Ok(())
}

/// Says once that it works, when everything that it needs has answered; and once before that what it waits for.
async fn say_when_it_works(redis_met: bool, db: &PgPool, objects: &Objects) -> Infallible {
    let mut waits = false;
    while let Err(error) = look_whose(db, objects).await {
        if !std::mem::replace(&mut waits, true) {
            let reason = outbox::in_words(&error);
            tracing::warn!(reason, "the archive waits for its stores; nothing is counted meanwhile");
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    if redis_met {
        tracing::info!("the archive works");
    }
    std::future::pending().await
}
