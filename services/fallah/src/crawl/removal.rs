//! What has vanished is deleted, unless too much has vanished at once.

use std::time::Duration;

use super::{Crawler, add};
use crate::Error;
use crate::store::{self, Tally, Waiting};

/// What was looked at in this time is compared with what has vanished of it.
const WINDOW: Duration = Duration::from_secs(86_400);
/// Fewer than these are never too many.
const VANISHED_MIN: i64 = 3;
/// So many looks at known pages tell that a site is breaking, long before half of a day's pages have vanished.
const LAST_LOOKS: i64 = 20;
/// So many articles may move to one address. More, and it is no move but a site that sends everybody there.
pub(crate) const MOVES_TO_ONE_MAX: i64 = 3;
/// Deleted in one go.
const AT_ONCE_MAX: i64 = 500;

impl Crawler {
    /// Deletes the items of pages that have vanished. Where most of what was looked at has, the site is more likely broken
    /// than empty: nothing is deleted, and the source halts until a person has looked. Returns whether there may be more.
    pub(super) async fn sweep(&self) -> Result<bool, Error> {
        let mut more = false;
        for tally in store::tallies(&self.db, WINDOW, LAST_LOOKS).await? {
            let source = &tally.source_name;
            if let Some(reason) = too_many(&tally) {
                store::halt(&self.db, source, &reason).await?;
                tracing::error!(
                    source,
                    reason,
                    "nothing of it is deleted, and it is not read until `fallah resume {source}`"
                );
                continue;
            }
            let deleted = self.delete_waiting(source).await?;
            more |= deleted > 0;
        }
        Ok(more)
    }

    /// Deletes some of what has vanished of a source. Returns how much.
    async fn delete_waiting(&self, source: &str) -> Result<u64, Error> {
        let mut deleted = 0;
        for Waiting { source_url, reason } in store::waiting(&self.db, source, MOVES_TO_ONE_MAX, AT_ONCE_MAX).await? {
            if store::delete(&self.db, &source_url, reason.0).await? {
                deleted += 1;
                add(&self.count.deleted, 1);
                tracing::info!(source_url, reason = reason.0.as_str(), "deleted");
            }
        }
        Ok(deleted)
    }
}

/// Whether more has vanished than can be true, in words.
fn too_many(tally: &Tally) -> Option<String> {
    let Tally { checked, vanished, last_checked, last_vanished, .. } = *tally;
    if vanished >= VANISHED_MIN && vanished * 2 > checked {
        return Some(format!("{vanished} of {checked} pages have vanished"));
    }
    // A site that breaks while it is read: what was seen before it broke says nothing of it as it is now.
    (last_vanished * 2 > LAST_LOOKS)
        .then(|| format!("{last_vanished} of the last {last_checked} pages that were looked at again have vanished"))
}
