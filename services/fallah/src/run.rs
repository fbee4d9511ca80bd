//! Reading for good, and telling meanwhile how it goes.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use sqlx::Connection;
use sqlx::postgres::PgPoolOptions;
use terminal::CannotListen;
use tokio::net::TcpListener;
use vitals::Listen;

use crate::config::{ACQUIRE_TIME_MAX, Config};
use crate::vital::Vitals;
use crate::{Crawler, Error};

/// So long after a Postgres that is away comes the next look.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Everything that `run` needs to know.
#[derive(Debug, Clone, Args)]
pub struct Run {
    #[allow(missing_docs)]
    #[command(flatten)]
    pub config: Config,

    /// Where it tells of itself (/live, /ready, /metrics), such as 127.0.0.1:7657, or off
    #[arg(long, env = "FALLAH_LISTEN", default_value = "off", value_name = "ADDRESS", help_heading = "Output")]
    pub listen: Listen,
}

impl Run {
    /// Takes the address at which it tells of itself, if there is one.
    pub fn listener(&self) -> Result<Option<TcpListener>, CannotListen> {
        vitals::open("--listen (FALLAH_LISTEN)", self.listen)
    }

    /// Postgres may come up later than we do, as after a power cut: then everything waits. What no waiting mends is an error.
    pub async fn until_postgres_is_there(&self) -> Result<(), Error> {
        let options = self.config.database.options()?;
        let mut told = false;
        loop {
            match terminal::open(&options).await {
                Ok(db) => return Ok(db.close().await?),
                Err(error) if is_away(&error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(reason = outbox::in_words(&error), "Postgres is away; everything waits");
                    }
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Crawls until told to stop, and tells of it at this listener, if there is one.
    pub async fn crawl(
        &self,
        crawler: &Arc<Crawler>,
        listener: Option<TcpListener>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let db = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIME_MAX)
            .connect_lazy_with(self.config.database.options()?);
        let vitals = Vitals { db, crawler: Arc::clone(crawler), sources: crawler.named() };
        tokio::select! {
            ended = crawler.run(stop) => ended,
            Err(error) = vitals::serve(listener, vitals) => Err(Error::Unusable(format!("the listener: {error}"))),
        }
    }
}

/// Whether nobody answers there, or it is starting up or going down (57P01 to 57P03).
fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(refused) => refused.code().is_some_and(|code| code.starts_with("57P0")),
        _ => false,
    }
}
