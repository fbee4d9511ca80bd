//! What has vanished is deleted, unless too much has vanished at once.

use std::time::Duration;

use super::{Crawler, add};
use crate::{Error, store};

/// What was looked at in this time is compared with what has vanished of it.
const WINDOW: Duration = Duration::from_secs(86_400);
/// Fewer than these are never too many.
const VANISHED_MIN: i64 = 3;
/// Deleted in one go.
const AT_ONCE_MAX: i64 = 500;

impl Crawler {
    /// Deletes the items of pages that have vanished. Where more than half of what was looked at has, the site is more
    /// likely broken than empty: nothing is deleted, and the source halts until a person has looked.
    pub(super) async fn sweep(&self) -> Result<(), Error> {
        for tally in store::tallies(&self.db, WINDOW).await? {
            let source = &tally.source_name;
            if tally.vanished >= VANISHED_MIN && tally.vanished * 2 > tally.checked {
                let reason = format!("{} of {} pages have vanished", tally.vanished, tally.checked);
                store::halt(&self.db, source, &reason).await?;
                tracing::error!(
                    source,
                    reason,
                    "nothing of it is deleted, and it is not read until `fallah resume {source}`"
                );
                continue;
            }
            self.delete_vanished(source).await?;
        }
        Ok(())
    }

    /// Deletes what has vanished of a source, whatever it is.
    pub(super) async fn delete_vanished(&self, source: &str) -> Result<(), Error> {
        for (source_url, reason) in store::vanished(&self.db, source, AT_ONCE_MAX).await? {
            if store::delete(&self.db, &source_url, store::named(&reason)).await? {
                add(&self.count.deleted, 1);
                tracing::info!(source_url, reason, "deleted");
            }
        }
        Ok(())
    }
}
