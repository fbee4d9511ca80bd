//! Every article of the file beside every document of the index.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Meili, PAGE_DOCUMENTS, SearchServer};
use crate::store::{self, Queue};
use crate::{Error, Store};

/// Of one kind so many are named; all are counted.
const EXAMPLES_MAX: usize = 20;

/// Where the index is not what the file says. What waits to be brought there is no difference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Documents that were looked at.
    pub documents: u64,
    /// Articles that are not there.
    pub missing: Vec<i64>,
    /// Articles that are there as they were.
    pub stale: Vec<i64>,
    /// Documents of no live article.
    pub stray: Vec<i64>,
}

impl Comparison {
    /// They say the same.
    pub fn is_same(&self) -> bool {
        self.missing.is_empty() && self.stale.is_empty() && self.stray.is_empty()
    }

    /// The kinds, with how many there are and the first of them.
    pub(crate) fn findings(&self) -> [(&'static str, usize, &[i64]); 3] {
        let first = |ids: &'_ [i64]| ids.len().min(EXAMPLES_MAX);
        [("missing", &self.missing), ("stale", &self.stale), ("stray", &self.stray)]
            .map(|(kind, ids)| (kind, ids.len(), &ids[..first(ids)]))
    }
}

#[derive(Debug, Deserialize)]
struct Seen {
    id: i64,
    change: Option<i64>,
}

/// Compares, and mends if that is wanted: what is missing or stale is brought anew, what is stray is removed.
pub(crate) async fn compare(store: &Store, server: &SearchServer, mend: bool) -> Result<Comparison, Error> {
    let meili = Meili::new(server).map_err(Error::Unusable)?;
    let meili = meili.ok_or_else(|| Error::Unusable("--meili-url (MEILI_URL) is not set".to_owned()))?;
    let failed = |trouble: super::Trouble| Error::Index(trouble.to_string());
    let index = &*server.meili_index;
    let mut there = BTreeMap::new();
    loop {
        let page = meili.page::<Seen>(index, &["id", "change"], there.len()).await.map_err(failed)?;
        let last = page.len() < PAGE_DOCUMENTS;
        there.extend(page.into_iter().map(|seen| (seen.id, seen.change)));
        if last {
            break;
        }
    }
    let mut comparison = Comparison { documents: there.len() as u64, ..Comparison::default() };
    let wanted = store.read(|tx| Ok(store::changes(tx)?)).await?;
    for (id, change) in wanted {
        match there.remove(&id) {
            Some(known) if known == Some(change) => {}
            Some(_) => comparison.stale.push(id),
            None => comparison.missing.push(id),
        }
    }
    comparison.stray = there.into_keys().collect();
    // What has changed since the pages were read, or waited before, is on its way.
    let comparison = store
        .read(move |tx| {
            let mut comparison = comparison;
            for ids in [&mut comparison.missing, &mut comparison.stale, &mut comparison.stray] {
                let mut still = vec![];
                for id in ids.drain(..) {
                    if !store::waits(tx, Queue::Live, id)? {
                        still.push(id);
                    }
                }
                *ids = still;
            }
            Ok(comparison)
        })
        .await?;
    if mend && !comparison.is_same() {
        if !comparison.stray.is_empty() {
            let task = meili.remove(index, &comparison.stray).await.map_err(failed)?;
            meili.done(task).await.map_err(failed)?;
        }
        let again: Vec<i64> = comparison.missing.iter().chain(&comparison.stale).copied().collect();
        store.write(move |tx| Ok(again.iter().try_for_each(|id| store::bring_again(tx, *id))?)).await?;
    }
    Ok(comparison)
}
