//! The verbs for people: what each is told, and what it prints.

pub(crate) mod diff;
pub(crate) mod export;
pub(crate) mod fsck;
pub(crate) mod gc;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod progress;
pub(crate) mod purge;
pub(crate) mod show;

use std::process::ExitCode;

use contract::Article;

use crate::objects::{Objects, hash};
use crate::store::Version;

/// So many connections do for a verb.
const CONNECTIONS: u32 = 2;

/// So many things, in words.
fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// The answer is no, or something was found.
fn no(sentence: &str) -> ExitCode {
    eprintln!("hasad: {sentence}");
    ExitCode::FAILURE
}

/// What a version says, as it is stored; checked against its name.
async fn content(objects: &Objects, version: &Version) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(name) = &version.object_hash else { return Ok(None) };
    let bytes = objects.get(name).await.map_err(crate::Error::Objects)?;
    let bytes = bytes.ok_or_else(|| anyhow::anyhow!("the object {name} is not in the store: see `hasad fsck`"))?;
    anyhow::ensure!(hash(&bytes) == *name, "the object {name} is damaged: see `hasad fsck`");
    Ok(Some(bytes))
}

/// The same as an article.
async fn article(objects: &Objects, version: &Version) -> anyhow::Result<Option<Article>> {
    Ok(match content(objects, version).await? {
        Some(bytes) => Some(serde_json::from_slice(&bytes)?),
        None => None,
    })
}
