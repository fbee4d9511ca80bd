//! What a site has shown, and what the programs made of it: scraped, archived and read, each version once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::{Reply, Works, eventually, get_json, text};

/// What each address has shown, one after the other; none: it was removed.
#[derive(Default)]
pub struct Shown(BTreeMap<String, Vec<Option<String>>>);

impl Shown {
    /// From now on an address shows an article of this title.
    pub fn article(&mut self, works: &Works, path: &str, title: &str) {
        works.site.article(path, title, &text(1));
        self.expect(path, title);
        self.list(works);
    }

    /// Somebody else has put it there.
    pub fn expect(&mut self, path: &str, title: &str) {
        self.0.entry(path.to_owned()).or_default().push(Some(title.to_owned()));
    }

    /// From now on an address shows nothing.
    pub fn gone(&mut self, works: &Works, path: &str) {
        works.site.put(path, Reply::status(410));
        self.0.entry(path.to_owned()).or_default().push(None);
    }

    /// The site's list names all of them.
    pub fn list(&self, works: &Works) {
        works.site.sitemap("/sitemap.xml", &self.0.keys().map(String::as_str).collect::<Vec<_>>());
    }

    /// Every address with its newest title; none: it was removed.
    pub fn newest(&self) -> impl Iterator<Item = (&str, Option<&str>, usize)> {
        self.0.iter().map(|(path, shown)| (path.as_str(), shown.last().and_then(Option::as_deref), shown.len()))
    }

    /// What the scraper has not seen as it is, or not in so many versions.
    pub async fn not_scraped(&self, works: &Works) -> Vec<String> {
        let items: Vec<(String, i64, Option<String>)> = sqlx::query_as(
            "select source_url, version, case when deleted_reason is null then payload -> 'article' ->> 'title' end from fallah.item",
        )
        .fetch_all(&works.stage.pool)
        .await
        .expect("Postgres is there");
        let items: BTreeMap<_, _> = items.into_iter().map(|(url, version, title)| (url, (version, title))).collect();
        let late = self.newest().filter_map(|(path, title, versions)| {
            let known = items.get(&works.site.url(path));
            let right = known.is_some_and(|(version, is)| *version == versions as i64 && is.as_deref() == title);
            (!right).then(|| format!("{path} shows {title:?} as version {versions}, and {known:?} is known"))
        });
        late.collect()
    }

    /// What readers do not see as the site shows it.
    pub async fn not_read(&self, works: &Works) -> Vec<String> {
        let readers = works.readers().await;
        let visible = |(path, title, versions): (&str, Option<&str>, usize)| {
            Some((works.site.url(path), versions as i64, title?.to_owned()))
        };
        let expected: BTreeSet<(String, i64, String)> = self.newest().filter_map(visible).collect();
        let (mut articles, mut next) = (vec![], Some("/articles?size=100".to_owned()));
        while let Some(page) = next {
            let mut answer = get_json(readers, &page).await.json();
            let Value::Array(more) = answer["articles"].take() else { panic!("a list") };
            articles.extend(more);
            next = answer["next"].as_str().map(str::to_owned);
        }
        let text = |article: &Value, field: &str| article[field].as_str().unwrap_or_default().to_owned();
        // The version stands with the article itself.
        let mut seen = BTreeSet::new();
        for article in &articles {
            let whole = get_json(readers, &format!("/articles/{}", article["id"])).await;
            let version = if whole.status == 200 { whole.json()["version"].as_i64() } else { None };
            seen.insert((text(article, "source_url"), version.unwrap_or_default(), text(article, "title")));
        }
        let [lacks, has] = [expected.difference(&seen), seen.difference(&expected)].map(Vec::from_iter);
        let lacks = lacks.into_iter().map(|article| format!("readers do not see {article:?}"));
        lacks.chain(has.into_iter().map(|article| format!("readers see {article:?}"))).collect()
    }

    /// What the archive lacks of every version of everything, in order.
    pub async fn not_archived(&self, works: &Works) -> Vec<String> {
        let mut expected = BTreeSet::new();
        for (path, shown) in &self.0 {
            for (nth, title) in (1_i64..).zip(shown) {
                let newest = nth as usize == shown.len();
                let status = match (newest, title) {
                    (false, _) => "superseded",
                    (true, Some(_)) => "active",
                    (true, None) => "deleted",
                };
                expected.insert((works.site.url(path), nth, status.to_owned(), title.clone()));
            }
        }
        let rows: Vec<(String, i64, String, Option<String>)> = sqlx::query_as(
            "select source_url, version, status, case when object_hash is not null then title end from hasad.version",
        )
        .fetch_all(&works.stage.pool)
        .await
        .expect("Postgres is there");
        let rows: BTreeSet<_> = rows.into_iter().collect();
        let [lacks, has] = [expected.difference(&rows), rows.difference(&expected)].map(Vec::from_iter);
        let lacks = lacks.into_iter().map(|version| format!("the archive lacks {version:?}"));
        lacks.chain(has.into_iter().map(|version| format!("the archive has {version:?}"))).collect()
    }

    /// Waits until the scraper has seen the newest of all, and exactly so many versions.
    pub async fn until_scraped(&self, works: &Works) {
        until_none("everything that the site shows to be scraped", async || self.not_scraped(works).await).await;
    }

    /// Waits until readers see exactly what the site shows.
    pub async fn until_read(&self, works: &Works) {
        until_none("readers to see what the site shows", async || self.not_read(works).await).await;
    }

    /// Waits until the archive has every version of everything, in order, and each content once.
    pub async fn until_archived(&self, works: &Works) {
        until_none("the archive to have every version", async || self.not_archived(works).await).await;
        self.assert_each_content_once(works).await;
    }

    /// Checks that each content lies there once, and nothing else.
    pub async fn assert_each_content_once(&self, works: &Works) {
        let wrong = self.not_once(works).await;
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// What lies in the archive's store beside each content once.
    pub async fn not_once(&self, works: &Works) -> Vec<String> {
        let hashes: Vec<String> =
            sqlx::query_scalar("select distinct object_hash from hasad.version where object_hash is not null")
                .fetch_all(&works.stage.pool)
                .await
                .expect("Postgres is there");
        let (hashes, objects): (BTreeSet<_>, _) = (hashes.into_iter().collect(), objects(&works.objects()));
        let [lacks, has] = [hashes.difference(&objects), objects.difference(&hashes)].map(Vec::from_iter);
        let lacks = lacks.into_iter().map(|hash| format!("the store lacks the object {hash}"));
        let mut wrong: Vec<_> =
            lacks.chain(has.into_iter().map(|hash| format!("nobody knows the object {hash}"))).collect();
        // Titles are all that differs here: so many titles, so many contents.
        let titles: BTreeSet<_> = self.0.values().flatten().flatten().collect();
        if hashes.len() != titles.len() {
            wrong.push(format!("{} contents are archived of {} titles", hashes.len(), titles.len()));
        }
        wrong
    }
}

/// Waits until nothing is left. If it waits in vain it has said for what.
async fn until_none(what: &str, mut left: impl AsyncFnMut() -> Vec<String>) {
    let mut last = vec![];
    eventually(what, async || {
        let now = left().await;
        if now != last {
            println!("{now:#?}");
            last.clone_from(&now);
        }
        now.is_empty()
    })
    .await;
}

/// The names of all objects below a folder.
fn objects(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found = BTreeSet::new();
    for entry in entries {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(objects(&path));
        } else if !name.starts_with('.') {
            // What a store keeps beside its objects begins with a dot.
            found.insert(name);
        }
    }
    found
}
