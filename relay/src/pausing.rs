//! Pausing and resuming, for whoever asks: it is over when every relay that sends has heard it, so that nothing is sent from
//! then on.

use std::time::Duration;

use serde::Serialize;
use sqlx::PgConnection;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::store::pause;

/// A relay that works hears of a change within about a second; one that waits for Redis may take longer, and sends nothing.
const HEARD_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Pause,
    Resume,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Changed {
    /// Which stream; none: everything.
    pub(crate) stream: Option<String>,
    /// Whether every relay that sends acts upon it by now. None: none works, and whichever begins will.
    pub(crate) heard: Option<bool>,
    /// A stream was resumed, and everything is still paused.
    pub(crate) all_is_paused: bool,
}

/// Pauses or resumes a stream, or everything, and waits until that is heard.
pub(crate) async fn change(
    db: &mut PgConnection,
    wish: Wish,
    stream: Option<&str>,
    who: &str,
) -> Result<Changed, sqlx::Error> {
    let change = match wish {
        Wish::Pause => pause::pause(db, stream, who).await?,
        Wish::Resume => pause::resume(db, stream).await?,
    };
    let until = Instant::now() + HEARD_WITHIN;
    let heard = loop {
        match pause::was_heard(db, change).await? {
            Some(false) if Instant::now() < until => tokio::time::sleep(LOOK_EVERY).await,
            heard => break heard,
        }
    };
    Ok(Changed { stream: stream.map(str::to_owned), heard, all_is_paused: pause::all_is_paused(db).await? })
}
