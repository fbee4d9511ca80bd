//! Bisan's file for tests, with articles in it, and projectors that bring them to an index.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bisan::{Goal, Projector, Reindex, Store, Tick};
use clap::Parser;
use contract::{Article, ArticleDeleted, ArticleUpserted, Byline, Export, Origin, Removal};
use serde_json::Value;

use super::SearchServer;
use crate::eventually;

/// A file of its own, gone when the test is gone.
pub struct Shelf {
    pub store: Store,
    folder: PathBuf,
}

#[derive(Parser)]
#[command(args_override_self = true)]
struct Line {
    #[command(flatten)]
    server: bisan::SearchServer,
}

/// A title and some text that differ by their number.
pub fn said(number: u32, version: u64, title: &str) -> Export {
    said_by(number, version, title, &format!("Author {}", number % 7))
}

/// The same with a name under it.
pub fn said_by(number: u32, version: u64, title: &str, author: &str) -> Export {
    let article = Article {
        title: title.to_owned(),
        body: format!("This is the text of number{number} in edition{version}.\n\n{}", crate::text(number)),
        authors: vec![Byline { name: author.to_owned(), url: None }],
        published_at: Some(format!("2026-03-{:02}T05:06:07Z", 1 + number % 28)),
        ..Article::default()
    };
    let origin = origin(number, version, article.content_hash());
    let lead = Some(format!("Lead of number{number}"));
    Export::ArticleUpserted(ArticleUpserted {
        origin,
        article,
        lead,
        language: Some("en".into()),
        tags: vec!["news".into()],
    })
}

fn origin(number: u32, version: u64, content_hash: String) -> Origin {
    Origin {
        source_url: format!("https://example.org/{number}"),
        source_name: if number.is_multiple_of(2) { "even" } else { "odd" }.to_owned(),
        version,
        content_hash,
        raw_hash: String::new(),
        discovered_at: "2026-03-04T05:06:07Z".to_owned(),
        fetched_at: "2026-04-04T05:06:07Z".to_owned(),
        published_at: None,
        scraper_version: "0".to_owned(),
    }
}

impl Shelf {
    /// An empty one.
    pub fn open() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("shelf-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("there is room for a folder");
        let store = Store::open_or_make(&folder.join("bisan.db")).expect("a new file can be made");
        Self { store, folder }
    }

    /// One with so many articles.
    pub fn with(articles: u32) -> Self {
        let shelf = Self::open();
        shelf.put((1..=articles).map(|number| said(number, 1, &format!("Headline {number}"))));
        shelf
    }

    /// Where the file lies.
    pub fn file(&self) -> PathBuf {
        self.folder.join("bisan.db")
    }

    /// Events take effect.
    pub fn put(&self, events: impl IntoIterator<Item = Export>) {
        let lines: Vec<String> =
            events.into_iter().map(|event| serde_json::to_string(&event).expect("JSON")).collect();
        let count = lines.len() as u64;
        let read = bisan::rebuild(&self.store, lines.join("\n").as_bytes(), bisan::WithoutEnd::Taken, |_| {});
        let read = read.expect("the file is there");
        assert_eq!((read.lines, read.wrong), (count, 0), "{:?}", read.complaints);
    }

    /// An article is deleted.
    pub fn delete(&self, number: u32, version: u64) {
        let origin = origin(number, version, String::new());
        self.put([Export::ArticleDeleted(ArticleDeleted { origin, reason: Removal::Gone })]);
    }

    /// The settings of a server, with flags on top. Nothing waits to share a request, unless they say so.
    pub fn settings(server: &SearchServer, port: Option<u16>, flags: &[&str]) -> bisan::SearchServer {
        let base = ["bisan", "--batch-wait-max", "0", "--meili-timeout", "2s"].map(str::to_owned);
        let flags = flags.iter().map(|flag| (*flag).to_owned());
        let line = base.into_iter().chain(server.flags(port)).chain(flags);
        let settings = Line::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).server;
        settings.check().expect("sound settings");
        settings
    }

    /// A projector.
    pub fn projector(&self, server: &SearchServer, flags: &[&str]) -> Projector {
        self.projector_over(server, None, flags)
    }

    /// A projector over a wire.
    pub fn projector_over(&self, server: &SearchServer, port: Option<u16>, flags: &[&str]) -> Projector {
        let settings = Self::settings(server, port, flags);
        Projector::new(&self.store, &settings).expect("sound settings").expect("it is to be written")
    }

    /// A rebuild of the index, to its end.
    pub async fn reindex(&self, server: &SearchServer, goal: Goal) -> Result<bisan::Summary, bisan::Error> {
        self.reindex_with(server, goal, &[]).await
    }

    /// The same with flags.
    pub async fn reindex_with(
        &self,
        server: &SearchServer,
        goal: Goal,
        flags: &[&str],
    ) -> Result<bisan::Summary, bisan::Error> {
        let settings = Self::settings(server, None, flags);
        Reindex::new(&self.store, &settings, vec![], crate::deadline())?.run(goal, &mut |_| {}).await
    }

    /// One value from the file.
    pub fn ask<T: rusqlite::types::FromSql>(&self, query: &str) -> T {
        let db = rusqlite::Connection::open(self.file()).expect("the file is there");
        db.busy_timeout(crate::deadline()).expect("a number");
        db.query_row(query, [], |row| row.get(0)).expect(query)
    }

    /// Articles that wait to be brought to the index.
    pub fn dirty(&self) -> u32 {
        self.ask("select count(*) from search_dirty")
    }

    /// Articles that the index does not take: numbers and reasons.
    pub fn refused(&self) -> Vec<(i64, String)> {
        let refused = self.store.read_now(|tx| Ok(bisan::store::refusals(tx, 1_000)?)).expect("the file is there");
        refused.into_iter().map(|one| (one.article_id, one.reason)).collect()
    }

    /// Lets a projector work until nothing waits.
    pub async fn bring_all(&self, projector: &mut Projector) {
        eventually("nothing waits to be brought to the index", async || {
            let tick = projector.tick().await.expect("the file is there");
            tick == Tick::Idle && self.dirty() == 0
        })
        .await;
    }

    /// Where an index has not what the file has: each live article as it is, and nothing else.
    pub async fn differs(&self, server: &SearchServer, index: &str) -> Vec<String> {
        let differing = self.differing(server, index).await;
        differing.into_iter().take(10).map(|id| format!("article {id}")).collect()
    }

    /// What the spare index has not as it is, and what is not noted for it either.
    pub async fn forgotten(&self, server: &SearchServer) -> Vec<i64> {
        let differing = self.differing(server, &server.spare()).await;
        let noted = |id: &i64| {
            self.ask::<bool>(&format!("select exists (select 1 from search_behind where article_id = {id})"))
        };
        differing.into_iter().filter(|id| !noted(id)).collect()
    }

    async fn differing(&self, server: &SearchServer, index: &str) -> Vec<i64> {
        let mut documents = server.documents(index).await;
        let db = rusqlite::Connection::open(self.file()).expect("the file is there");
        let queue = if index == server.index { "live" } else { "spare" };
        let mut select = db
            .prepare(
                "select id, change, title, body from article
                  where deleted_at is null and id not in (select article_id from search_refused where queue = ?1)",
            )
            .expect("a sound statement");
        let wanted: Vec<(i64, i64, String, String)> = select
            .query_map([queue], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .expect("rows")
            .collect::<Result<_, _>>()
            .expect("rows");
        let mut differing = vec![];
        for (id, change, title, body) in wanted {
            let same = documents.remove(&id).is_some_and(|document: Value| {
                document["change"] == change && document["title"] == *title && document["body"] == *body
            });
            if !same {
                differing.push(id);
            }
        }
        differing.extend(documents.into_keys());
        differing
    }

    /// The same, which must be so.
    pub async fn assert_same(&self, server: &SearchServer) {
        assert_eq!(self.differs(server, &server.index).await, Vec::<String>::new());
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
