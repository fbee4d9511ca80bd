//! Sleeping without polling. An insert rings only while a relay sleeps (`migrations/outbox/0001_outbox.sql`), since
//! NOTIFY on every insert takes a lock that is global to the cluster.

use std::time::{Duration, Instant};

use sqlx::PgConnection;
use sqlx::postgres::{PgListener, PgPoolOptions};

use crate::config::Database;
use crate::{Error, store};

/// Inserts ring for so long after the bell was hung up: a relay that dies in its sleep leaves nobody ringing.
const RINGS_FOR: Duration = Duration::from_secs(5);

/// Hung up anew before it falls silent, so nobody sleeps for longer.
pub(crate) const RENEW_AFTER: Duration = Duration::from_secs(2);

pub(crate) struct Doorbell {
    database: Database,
    listener: Option<PgListener>,
    hung_at: Option<Instant>,
}

impl Doorbell {
    pub(crate) fn new(database: Database) -> Self {
        Self { database, listener: None, hung_at: None }
    }

    /// Whether an insert that begins now would ring.
    pub(crate) fn hangs(&self) -> bool {
        self.hung_at.is_some_and(|at| at.elapsed() < RENEW_AFTER)
    }

    /// From here on inserts ring. What was written before must be looked for once more.
    pub(crate) async fn hang(&mut self, db: &mut PgConnection) -> Result<(), Error> {
        if self.listener.is_none() {
            let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(self.database.options()?);
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen("outbox").await?;
            self.listener = Some(listener);
        }
        self.hung_at = Some(Instant::now());
        store::set_doorbell(db, RINGS_FOR.as_secs().cast_signed()).await?;
        Ok(())
    }

    /// Awake: nobody needs to ring.
    pub(crate) async fn take_down(&mut self, db: &mut PgConnection) -> Result<(), Error> {
        if self.hung_at.take().is_some() {
            store::set_doorbell(db, 0).await?;
        }
        Ok(())
    }

    /// Waits until somebody rings for our schema, or the time is up.
    pub(crate) async fn wait(&mut self, at_most: Duration) {
        let Some(listener) = &mut self.listener else {
            return tokio::time::sleep(at_most).await;
        };
        let rung = async {
            loop {
                match listener.try_recv().await {
                    Ok(Some(ring)) if ring.payload() != self.database.schema => {}
                    Ok(Some(_)) => return true,
                    // The line is dead: who rang meanwhile is heard at the next look.
                    Ok(None) | Err(_) => return false,
                }
            }
        };
        match tokio::time::timeout(at_most, rung).await {
            Ok(true) | Err(_) => {}
            Ok(false) => self.listener = None,
        }
    }
}
