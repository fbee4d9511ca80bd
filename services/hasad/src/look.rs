//! What is archived, to look at: the versions of a page, what each says, and what an edit changed.

use contract::Article;
use serde::Serialize;
use sqlx::PgPool;

use crate::objects::{Objects, hash};
use crate::store::{self, Version};
use crate::{Config, Error, config};

/// Above so many pairs of lines, what differs is told as a whole.
const PAIRS_MAX: usize = 4_000_000;
/// So many people look at once.
const CONNECTIONS: u32 = 2;

/// The archive, read only.
#[derive(Debug, Clone)]
pub struct Look {
    db: PgPool,
    objects: Objects,
}

impl Look {
    /// The archive that the settings name; nothing is asked of it yet.
    pub fn new(config: &Config) -> Result<Self, terminal::Unusable> {
        Ok(Self { db: config::pool(config.database.options()?, CONNECTIONS), objects: config.place.open()? })
    }

    /// Every version of a page, the oldest first.
    pub async fn history(&self, url: &str) -> Result<Vec<Version>, Error> {
        // Postgres takes no NUL in a text, so no page has one in its address. To ask for it is no failure of the archive.
        if url.contains('\0') {
            return Ok(vec![]);
        }
        store::history(&self.db, url).await.map_err(Error::Database)
    }

    /// What a version says; none: it is about a deletion.
    pub async fn article(&self, version: &Version) -> anyhow::Result<Option<Article>> {
        article(&self.objects, version).await
    }

    /// How many versions there are, and how many of them are in force; counted no further than `most`.
    pub async fn count(&self, most: i64) -> Result<(i64, i64), Error> {
        store::count(&self.db, most).await.map_err(Error::Database)
    }
}

/// A field that differs, line by line.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Differs {
    /// Its name.
    pub field: &'static str,
    /// Its lines, in the order of the newer article; what was removed stands where it was.
    pub lines: Vec<Line>,
}

/// A line of a field, and what became of it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "is", content = "line", rename_all = "snake_case")]
pub enum Line {
    /// It stays.
    Same(String),
    /// It is only in the older one.
    Removed(String),
    /// It is only in the newer one.
    Added(String),
}

/// What a version says, as it is stored; checked against its name.
pub(crate) async fn content(objects: &Objects, version: &Version) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(name) = &version.object_hash else { return Ok(None) };
    let bytes = objects.get(name).await.map_err(crate::Error::from)?;
    let bytes = bytes.ok_or_else(|| anyhow::anyhow!("the object {name} is not in the store: see `hasad fsck`"))?;
    anyhow::ensure!(hash(&bytes) == *name, "the object {name} is damaged: see `hasad fsck`");
    Ok(Some(bytes))
}

/// The same as an article.
pub(crate) async fn article(objects: &Objects, version: &Version) -> anyhow::Result<Option<Article>> {
    Ok(match content(objects, version).await? {
        Some(bytes) => Some(serde_json::from_slice(&bytes)?),
        None => None,
    })
}

/// The fields that differ, in the order in which a reader looks for them.
pub fn compare(from: &Article, to: &Article) -> Vec<Differs> {
    let one = |text: &Option<String>| text.iter().cloned().collect::<Vec<_>>();
    let names = |article: &Article| article.authors.iter().map(|author| author.name.clone()).collect::<Vec<_>>();
    let fields = |article: &Article| {
        [
            ("title", vec![article.title.clone()]),
            ("authors", names(article)),
            ("published_at", one(&article.published_at)),
            ("modified_at", one(&article.modified_at)),
            ("section", one(&article.section)),
            ("canonical_url", one(&article.canonical_url)),
            ("images", article.images.clone()),
            ("body", article.body.lines().map(str::to_owned).collect()),
        ]
    };
    let pairs = fields(from).into_iter().zip(fields(to));
    let mut differs: Vec<_> = pairs
        .filter(|((_, from), (_, to))| from != to)
        .map(|((field, from), (_, to))| Differs { field, lines: lines(from, to) })
        .collect();
    // An author's page may change beside the name.
    if from.authors != to.authors && names(from) == names(to) {
        let pages = |article: &Article| article.authors.iter().filter_map(|author| author.url.clone()).collect();
        differs.push(Differs { field: "author_urls", lines: lines(pages(from), pages(to)) });
    }
    differs
}

/// The shortest way from one list of lines to another.
fn lines(from: Vec<String>, to: Vec<String>) -> Vec<Line> {
    let (rows, columns) = (from.len(), to.len());
    if rows.saturating_mul(columns) > PAIRS_MAX {
        return from.into_iter().map(Line::Removed).chain(to.into_iter().map(Line::Added)).collect();
    }
    // How many lines the rests from here on have in common.
    let mut common = vec![vec![0_u32; columns + 1]; rows + 1];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            common[row][column] = if from[row] == to[column] {
                common[row + 1][column + 1] + 1
            } else {
                common[row + 1][column].max(common[row][column + 1])
            };
        }
    }
    let (mut row, mut column, mut way) = (0, 0, vec![]);
    while row < rows || column < columns {
        if row < rows && column < columns && from[row] == to[column] {
            way.push(Line::Same(from[row].clone()));
            (row, column) = (row + 1, column + 1);
        } else if column == columns || (row < rows && common[row + 1][column] >= common[row][column + 1]) {
            way.push(Line::Removed(from[row].clone()));
            row += 1;
        } else {
            way.push(Line::Added(to[column].clone()));
            column += 1;
        }
    }
    way
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authors_page_counts_too() {
        let by = |url: Option<&str>| Article {
            authors: vec![contract::Byline { name: "Salma".to_owned(), url: url.map(str::to_owned) }],
            ..Article::default()
        };
        let differs = compare(&by(None), &by(Some("https://example.org/salma")));
        assert_eq!(differs[0].field, "author_urls");
    }
}
