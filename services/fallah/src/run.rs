//! Reading for good, and telling meanwhile how it goes.

use std::sync::Arc;

use clap::Args;
use sqlx::postgres::PgPoolOptions;
use terminal::CannotListen;
use tokio::net::TcpListener;
use vitals::Listen;

use crate::config::{ACQUIRE_TIME_MAX, Config};
use crate::vital::Vitals;
use crate::{Crawler, Error};

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
