//! The search in the file: FTS5 over folded words.

use std::cmp::Reverse;

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::Error;
use crate::search::{Ranked, Request};

/// So many matches are ranked, the latest to come in first. Whoever looks for a word that is in more articles than that is
/// not looking for the best of all of them; but titles are looked through beside that.
pub const RANKED_MAX: usize = 2_000;
/// So many steps lie between nothing and the best match. On one step the newer article comes first.
const RANK_STEPS: f64 = 64.0;

/// Ranks what matches: words in titles before words in leads before words in bodies, and of equals the newest first.
pub(crate) fn ranked(db: &Connection, request: &Request) -> Result<Ranked, Error> {
    if request.query.is_empty() {
        return Ok(Ranked::default());
    }
    let expression = request.query.fts();
    let mut matches = matching(db, &expression, request)?;
    let more = matches.len() > RANKED_MAX;
    if more {
        matches.truncate(RANKED_MAX);
        matches.extend(matching(db, &format!("title : ({expression})"), request)?);
        matches.sort_by_key(|one| one.id);
        matches.dedup_by_key(|one| one.id);
    }
    // bm25 gives its best match the lowest number. How low depends on how rare the words are; so only parts of it compare.
    let best = matches.iter().map(|one| one.rank).fold(0.0, f64::min);
    let step = |one: &Match| (one.rank / best * RANK_STEPS).round() as i64;
    matches.sort_by_cached_key(|one| Reverse((step(one), one.dated_at, one.id)));
    let total = matches.len();
    let page = matches.into_iter().skip(request.skipped()).take(request.size as usize);
    Ok(Ranked { ids: page.map(|one| one.id).collect(), total, more })
}

struct Match {
    id: i64,
    rank: f64,
    dated_at: i64,
}

fn matching(db: &Connection, expression: &str, request: &Request) -> Result<Vec<Match>, Error> {
    let (conditions, more) = request.filter.conditions(db, 3)?;
    // By rowid, so that FTS5 ends when there are enough, and ranks no more than these.
    let mut query = db.prepare_cached(&format!(
        "select t.rowid, t.rank, a.dated_at
           from article_text t cross join article a indexed by article_facts on a.id = t.rowid
          where t.article_text match ?1 and a.deleted_at is null{conditions}
          order by t.rowid desc
          limit ?2"
    ))?;
    let limit = i64::try_from(RANKED_MAX + 1).expect("it is small");
    let mut values: Vec<Value> = vec![expression.to_owned().into(), limit.into()];
    values.extend(more);
    let matches = query.query_map(rusqlite::params_from_iter(values), |row| {
        Ok(Match { id: row.get(0)?, rank: row.get(1)?, dated_at: row.get(2)? })
    })?;
    Ok(matches.collect::<Result<_, _>>()?)
}
