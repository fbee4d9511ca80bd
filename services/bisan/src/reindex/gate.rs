//! The close look at the spare index before anybody searches in it.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::json;

use super::Reindex;
use crate::meili::{Document, typed};
use crate::projector::Stop;
use crate::store::{self, Queue};

/// Articles that are compared letter by letter, picked by chance.
const SAMPLE_MAX: usize = 200;
/// Of these, so many are searched by their titles.
const TITLES_MAX: usize = 20;

/// Something in which the index is not what it should be.
#[derive(Debug)]
pub(super) struct Difference {
    /// The article, if it is about one.
    pub(super) article: Option<i64>,
    what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Difference {
    fn new(article: Option<i64>, what: impl Into<String>) -> Self {
        Self { article, what: what.into() }
    }
}

impl Reindex {
    /// Its number of documents, some of them letter by letter, and what some searches find. What changes at this very
    /// moment is no difference: it waits to be brought there.
    pub(super) async fn look_closely(&self) -> Result<Vec<Difference>, Stop> {
        let spare = self.server.spare();
        let mut differences = self.count_differs(&spare).await?.into_iter().collect::<Vec<_>>();
        let sample = self.store.read(|tx| Ok(store::sample(tx, Queue::Spare, SAMPLE_MAX)?)).await?;
        differences.extend(self.documents_differ(&spare, &sample).await?);
        let titles = sample.iter().map(|document| &document.title).filter(|title| has_words(title)).take(TITLES_MAX);
        for words in titles.chain(&self.queries) {
            // As for a reader: what is syntax to Meilisearch is none in a title.
            let answer = self
                .meili
                .search(&spare, &json!({"q": typed(words), "limit": 1, "attributesToRetrieve": ["id"]}))
                .await?;
            if answer["hits"].as_array().is_none_or(Vec::is_empty) {
                differences.push(Difference::new(None, format!("a search for {words:?} finds nothing")));
            }
        }
        Ok(differences)
    }

    async fn count_differs(&self, spare: &str) -> Result<Option<Difference>, Stop> {
        let extent = || {
            self.store.read(|tx| Ok((store::expected(tx, Queue::Spare)?, store::waiting_count(tx, Queue::Spare)?)))
        };
        let before = extent().await?;
        let count = self.meili.count(spare).await?;
        let after = extent().await?;
        // Each that waits may be one too many or one too few.
        let waiting = before.1.max(after.1);
        let (low, high) = (before.0.min(after.0).saturating_sub(waiting), before.0.max(after.0) + waiting);
        let differs = !(low..=high).contains(&count);
        Ok(differs.then(|| Difference::new(None, format!("it has {count} documents instead of {}", after.0))))
    }

    async fn documents_differ(&self, spare: &str, sample: &[Document]) -> Result<Vec<Difference>, Stop> {
        let ids: Vec<i64> = sample.iter().map(|document| document.id).collect();
        if ids.is_empty() {
            return Ok(vec![]);
        }
        let found: Vec<Document> = self.meili.documents(spare, &ids).await?;
        let found: BTreeMap<i64, Document> = found.into_iter().map(|document| (document.id, document)).collect();
        let suspects: Vec<i64> = sample
            .iter()
            .filter(|wanted| found.get(&wanted.id).is_none_or(|found| found != *wanted || !found.is_whole()))
            .map(|wanted| wanted.id)
            .collect();
        let mut differences = vec![];
        for id in suspects {
            if self.differs(spare, id).await? {
                differences.push(Difference::new(Some(id), format!("article {id} is not as it should be")));
            }
        }
        Ok(differences)
    }

    /// A second look at one: it may have changed between the two halves of the first.
    async fn differs(&self, spare: &str, id: i64) -> Result<bool, Stop> {
        let found: Vec<Document> = self.meili.documents(spare, &[id]).await?;
        let excused = self
            .store
            .read(move |tx| {
                let wanted = store::documents(tx, &[id])?;
                Ok(store::waits(tx, Queue::Spare, id)? || wanted == found)
            })
            .await?;
        Ok(!excused)
    }
}

/// A title of signs alone finds nothing, and that is right.
fn has_words(title: &str) -> bool {
    title.chars().filter(|c| c.is_alphanumeric()).count() > 1
}
