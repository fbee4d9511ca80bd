//! Questions to Meilisearch. It only ranks: what is shown comes from the file, so that nothing deleted is ever shown. Whenever
//! it does not answer, the file answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{HITS_MAX, Meili, SearchServer, SearchWrite, Trouble};
use crate::search::{Ranked, Request};
use crate::store::{self, Filter};
use crate::{Error, Store};

/// One that did not answer is not asked again for so long: nobody is to wait for it at each search.
const REST: Duration = Duration::from_secs(2);

/// Asks Meilisearch, as long as it answers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Searcher {
    meili: Meili,
    index: String,
    began: Instant,
    /// Milliseconds after the beginning until which it is left alone.
    rests_until: Arc<AtomicU64>,
}

impl Searcher {
    /// None: there is no index, or it answers no searches.
    pub fn new(server: &SearchServer) -> Result<Option<Self>, Error> {
        if server.search_write != SearchWrite::On {
            return Ok(None);
        }
        let meili = Meili::new(server).map_err(Error::Unusable)?;
        Ok(meili.map(|meili| Self {
            meili: meili.within(server.meili_search_timeout),
            index: server.meili_index.clone(),
            began: Instant::now(),
            rests_until: Arc::default(),
        }))
    }

    /// Ranks articles. None: the file is to do it.
    pub(crate) async fn rank(&self, store: &Store, request: &Request) -> Result<Option<Ranked>, Error> {
        let filter = request.filter.clone();
        let (filling, author) = store
            .read(move |tx| {
                let author = filter.author.map(|author| store::same_person(tx, author)).transpose()?;
                Ok((store::is_filling(tx)?, author))
            })
            .await?;
        if filling || self.rests() {
            return Ok(None);
        }
        match self.ask(request, author).await {
            Ok(ranked) => Ok(Some(ranked)),
            Err(trouble) => {
                // A question that it does not like says nothing about the next one.
                if matches!(trouble, Trouble::Away { .. } | Trouble::NoIndex) {
                    let until = self.began.elapsed() + REST;
                    self.rests_until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Relaxed);
                }
                tracing::warn!(why = %trouble, "the search index does not answer; searching in the file");
                Ok(None)
            }
        }
    }

    fn rests(&self) -> bool {
        self.began.elapsed().as_millis() < u128::from(self.rests_until.load(Relaxed))
    }

    async fn ask(&self, request: &Request, author: Option<Vec<i64>>) -> Result<Ranked, Trouble> {
        let words = typed(request.query.text());
        let mut question = json!({
            "q": words,
            "offset": request.skipped(),
            "limit": request.size,
            "attributesToRetrieve": ["id"],
            // As in the file: every word must be there.
            "matchingStrategy": "all",
        });
        if let Some(filter) = filter(&request.filter, author.as_deref()) {
            question["filter"] = filter.into();
        }
        if words.chars().any(is_arabic) {
            question["locales"] = json!(["ara"]);
        }
        let answer = self.meili.search(&self.index, &question).await?;
        ranked(&answer).ok_or_else(|| Trouble::away("its answer to a search has no hits in it"))
    }
}

fn ranked(answer: &Value) -> Option<Ranked> {
    let hits = answer["hits"].as_array()?;
    let ids = hits.iter().map(|hit| hit["id"].as_i64()).collect::<Option<Vec<_>>>()?;
    let total = usize::try_from(answer["estimatedTotalHits"].as_u64()?).ok()?;
    Some(Ranked { ids, total, more: total >= HITS_MAX })
}

/// What was typed, without what Meilisearch takes for syntax: a minus before a word, quotes of other kinds than its own.
pub(crate) fn typed(words: &str) -> String {
    let mut typed = String::with_capacity(words.len());
    for letter in words.chars() {
        match letter {
            '-' if !typed.ends_with(char::is_alphanumeric) => typed.push(' '),
            '\u{201C}' | '\u{201D}' | '\u{201E}' | '«' | '»' | '\u{FF02}' => typed.push('"'),
            _ => typed.push(letter),
        }
    }
    typed
}

fn filter(filter: &Filter, author: Option<&[i64]>) -> Option<String> {
    let said = [
        filter.source.as_deref().map(|name| format!("source_name = {}", quoted(name))),
        filter.language.as_deref().map(|code| format!("language = {}", quoted(code))),
        author.map(|ids| match ids {
            // Nobody wrote what an unknown author wrote.
            [] => "author_ids = -1".to_owned(),
            ids => format!("author_ids IN [{}]", ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",")),
        }),
        filter.from.map(|from| format!("dated_at >= {from}")),
        filter.until.map(|until| format!("dated_at < {until}")),
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    (!said.is_empty()).then(|| said.join(" AND "))
}

/// A value in a filter: nothing in it may end it.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn is_arabic(letter: char) -> bool {
    matches!(letter, '\u{600}'..='\u{6FF}' | '\u{750}'..='\u{77F}' | '\u{FB50}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_typed_is_syntax() {
        assert_eq!(typed("-gaza well-known «وزارة الصحة»"), " gaza well-known \"وزارة الصحة\"");
    }

    #[test]
    fn a_filter_cannot_be_broken_out_of() {
        let source = Filter { source: Some("a\" OR id > 0 OR \"\\".into()), ..Filter::default() };
        assert_eq!(filter(&source, None).expect("one"), "source_name = \"a\\\" OR id > 0 OR \\\"\\\\\"");
        let all = Filter { language: Some("ar".into()), from: Some(5), until: Some(9), ..Filter::default() };
        assert_eq!(
            filter(&all, Some(&[1, 2])).expect("all"),
            "language = \"ar\" AND author_ids IN [1,2] AND dated_at >= 5 AND dated_at < 9"
        );
        assert_eq!(filter(&Filter::default(), Some(&[])).expect("one"), "author_ids = -1");
        assert_eq!(filter(&Filter::default(), None), None);
    }

    #[test]
    fn an_answer_without_hits_is_none() {
        assert_eq!(ranked(&json!({"hello": 1})), None);
        let answer = json!({"hits": [{"id": 3}, {"id": 1}], "estimatedTotalHits": 2});
        assert_eq!(ranked(&answer), Some(Ranked { ids: vec![3, 1], total: 2, more: false }));
    }
}
