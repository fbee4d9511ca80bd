//! One pipeline at a Postgres of yours: two of them would share the groups of archive and reader, and each would be given a part of
//! the articles. A private Postgres needs nothing of this, since its folder is claimed.

use std::time::Duration;

use anyhow::Result;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use terminal::unusable;
use tokio::time::{Instant, sleep};

use crate::part::Stop;
use crate::store;

/// What a pipeline that was killed has held is free as soon as Postgres has noticed.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Whether it is still held is looked at so often.
const HOLD_INTERVAL: Duration = Duration::from_secs(5);

/// Takes the place of the one pipeline that works with this database, `at` for people.
pub(crate) async fn take(db: &mut PgConnection, at: &str) -> Result<()> {
    let began = Instant::now();
    while !store::alone(db).await? {
        if began.elapsed() > PATIENCE {
            return Err(unusable(format!(
                "another pipeline works with the Postgres {at}, and each of the two would be given a part of the articles: end it, or \
                 name another database by --database-url"
            )));
        }
        sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// Holds it as long as the program runs. A lock goes with its session: it is taken again, and who finds it taken says so.
pub(crate) async fn hold(mut db: PgConnection, options: PgConnectOptions, at: String, stop: Stop) {
    let (mut is_ours, mut told) = (true, false);
    loop {
        tokio::select! {
            () = stop.clone().asked() => return,
            () = sleep(HOLD_INTERVAL) => {}
        }
        if !is_ours || db.ping().await.is_err() {
            // Postgres is away: the parts say so.
            let Ok(new) = terminal::open(&options).await else { continue };
            db = new;
            is_ours = store::alone(&mut db).await.unwrap_or(false);
            if !is_ours && !std::mem::replace(&mut told, true) {
                tracing::warn!(
                    postgres = at,
                    "another pipeline works with this database, too: each of the two is given a part of the articles; end one of them"
                );
            }
        }
    }
}
