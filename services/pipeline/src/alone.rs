//! One pipeline at a Postgres of yours: two of them would share the groups of archive and reader, and each would be given a part of
//! the articles. A private Postgres needs nothing of this, since its folder is claimed.

use std::time::Duration;

use anyhow::{Result, bail};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep};

use crate::part::{Look, Stop, watch};
use crate::store;

/// What a pipeline that was killed has held is free as soon as Postgres has noticed.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Whether it is still held is looked at so often.
const HOLD_INTERVAL: Duration = Duration::from_secs(5);
/// A Postgres that is frozen answers nothing, not even that.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Takes the place of the one pipeline that works with this database, `at` for people.
pub(crate) async fn take(db: &mut PgConnection, at: &str) -> Result<()> {
    // No wrong setting: it may be we, on a machine that is gone, and then it ends by itself.
    if !come_alone(db).await? {
        bail!(
            "another pipeline works with the Postgres {at}, and each of the two would be given a part of the articles: end it, or \
             name another database by --database-url"
        );
    }
    Ok(())
}

async fn come_alone(db: &mut PgConnection) -> sqlx::Result<bool> {
    store::notice_soon(db).await?;
    let began = Instant::now();
    while !store::alone(db).await? {
        if began.elapsed() > PATIENCE {
            return Ok(false);
        }
        sleep(LOOK_INTERVAL).await;
    }
    Ok(true)
}

/// Holds it as long as the program runs. A lock goes with its session: it is taken again, and who finds it taken says so.
pub(crate) async fn hold(db: PgConnection, options: PgConnectOptions, at: String, stop: Stop) {
    watch(stop, HOLD_INTERVAL, ANSWER_MAX, Holder { held: Some(db), options, at, told: false }).await;
}

struct Holder {
    held: Option<PgConnection>,
    options: PgConnectOptions,
    at: String,
    told: bool,
}

impl Look for Holder {
    async fn look(&mut self) {
        // A session that does not answer in time is let go of, and its lock with it.
        if let Some(mut db) = self.held.take()
            && db.ping().await.is_ok()
        {
            self.held = Some(db);
            return;
        }
        // Postgres is away: the parts say so.
        let Ok(mut db) = terminal::open(&self.options).await else { return };
        match come_alone(&mut db).await {
            Ok(true) => self.held = Some(db),
            Ok(false) if !std::mem::replace(&mut self.told, true) => {
                tracing::warn!(
                    postgres = self.at,
                    "another pipeline works with this database, too: each of the two is given a part of the articles; end one of them"
                );
            }
            _ => {}
        }
    }
}
