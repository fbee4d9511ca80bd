//! What tests of the scraper need: a private Postgres with its tables, a scripted site, and crawls of it.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use clap::Parser;
use contract::{ArticleDeleted, ArticleUpserted};
use fallah::{Config, Crawler, Sources};
use serde_json::Value;
use sqlx::{Connection, PgConnection, PgPool};

use crate::{Postgres, Site, binary};

/// A site, a database, and settings that bring them together.
pub struct Newsroom {
    pub postgres: Postgres,
    pub database_url: String,
    pub pool: PgPool,
    pub site: Site,
    settings: String,
}

#[derive(Parser)]
#[command(args_override_self = true)]
struct Line {
    #[command(flatten)]
    config: Config,
}

/// Waits are short and nothing private is forbidden: everything else is as users have it.
const FLAGS: [&str; 10] = [
    "--allow-net",
    "127.0.0.0/8",
    "--recheck-min",
    "0",
    "--retry-delay-min",
    "100ms",
    "--removal-interval",
    "50ms",
    "--missing-for",
    "48h",
];

impl Newsroom {
    /// One source, `daily`, whose sitemap is `/sitemap.xml`, asked without a delay.
    pub async fn open() -> Self {
        Self::open_with("delay = \"0\"").await
    }

    /// The same with these lines in its settings.
    pub async fn open_with(lines: &str) -> Self {
        Self::open_as(|site| format!("sitemaps = [\"{}\"]\n{lines}", site.url("/sitemap.xml"))).await
    }

    /// One source of which only the home is known.
    pub async fn open_home() -> Self {
        Self::open_as(|site| format!("home = \"{}\"\ndelay = \"0\"", site.url("/"))).await
    }

    async fn open_as(lines: impl FnOnce(&Site) -> String) -> Self {
        let (postgres, site) = tokio::join!(Postgres::start(), Site::open());
        let database_url = postgres.database().await;
        let mut db = PgConnection::connect(&database_url).await.expect("the server has just answered");
        fallah::migrate(&mut db).await.expect("a fresh database can be migrated");
        let pool = PgPool::connect(&database_url).await.expect("the server has just answered");
        let settings = format!("[[source]]\nname = \"daily\"\n{}\n", lines(&site));
        Self { postgres, database_url, pool, site, settings }
    }

    /// Changes the settings of its sources.
    pub fn settings(&mut self, change: impl FnOnce(&str) -> String) {
        self.settings = change(&self.settings);
    }

    /// The settings, with flags on top.
    pub fn config(&self, flags: &[&str]) -> Config {
        let base = ["crawl", "--database-url", &self.database_url];
        let line = base.into_iter().chain(FLAGS).chain(flags.iter().copied());
        Line::try_parse_from(line).expect("sound flags").config
    }

    /// A crawler in this process.
    pub async fn crawler(&self, flags: &[&str]) -> Arc<Crawler> {
        let sources = Sources::parse(&self.settings).expect("sound settings");
        Crawler::connect(&self.config(flags), sources).await.expect("Postgres is there")
    }

    /// Reads everything once, and returns the crawler for its counts.
    pub async fn once(&self) -> Arc<Crawler> {
        self.once_with(&[]).await
    }

    /// The same with flags.
    pub async fn once_with(&self, flags: &[&str]) -> Arc<Crawler> {
        let crawler = self.crawler(flags).await;
        crawler.once(std::future::pending()).await.expect("Postgres is there");
        crawler
    }

    /// Every page is due, whatever was planned.
    pub async fn all_due(&self) {
        self.sql("update fallah.page set due_at = clock_timestamp() where vanished_at is null").await;
    }

    /// Looks at every page again.
    pub async fn again(&self) -> Arc<Crawler> {
        self.all_due().await;
        self.once().await
    }

    /// The scraper's binary, with its settings in a file.
    pub fn command(&self, verb: &str, flags: &[&str]) -> Command {
        let mut command = Command::new(binary("fallah"));
        command.arg(verb).args(["--sources".as_ref(), self.settings_file().as_os_str()]).args(FLAGS).args(flags);
        command.env("DATABASE_URL", &self.database_url);
        command
    }

    /// The settings, as a file beside the database.
    pub fn settings_file(&self) -> PathBuf {
        // It goes with the server.
        let file = self.postgres.data_dir().with_file_name("newsroom.toml");
        std::fs::write(&file, &self.settings).expect("there is room for a small file");
        file
    }

    /// Every event about articles, in order: its type and payload.
    pub async fn events(&self) -> Vec<(String, Value)> {
        let events: Vec<(String, String)> =
            sqlx::query_as("select type, payload::text from outbox where type <> 'author.upserted' order by seq")
                .fetch_all(&self.pool)
                .await
                .expect("Postgres is there");
        events.into_iter().map(|(r#type, payload)| (r#type, serde_json::from_str(&payload).expect("JSON"))).collect()
    }

    /// How many events about articles there are.
    pub async fn event_count(&self) -> usize {
        self.events().await.len()
    }

    /// The newest event, which must be about an article's content.
    pub async fn upserted(&self) -> ArticleUpserted {
        let (r#type, payload) = self.events().await.pop().expect("there is an event");
        assert_eq!(r#type, ArticleUpserted::TYPE);
        let event: ArticleUpserted = serde_json::from_value(payload).expect("as the contract says");
        event.check().expect("sound");
        event
    }

    /// The newest event, which must be about an article's end.
    pub async fn deleted(&self) -> ArticleDeleted {
        let (r#type, payload) = self.events().await.pop().expect("there is an event");
        assert_eq!(r#type, ArticleDeleted::TYPE);
        serde_json::from_value(payload).expect("as the contract says")
    }

    /// Checks that every version of every item has its event, and no event is without its item.
    pub async fn assert_told(&self) {
        let untold: Vec<(String, i64, i64)> = sqlx::query_as(
            "select coalesce(i.source_url, e.key), coalesce(i.version, 0), coalesce(e.events, 0)
               from fallah.item i
               full join (select key, count(*) as events, max((payload ->> 'version')::bigint) as newest
                            from outbox where type like 'article.%' group by key) e on e.key = i.source_url
              where e.events is distinct from i.version or e.newest is distinct from i.version",
        )
        .fetch_all(&self.pool)
        .await
        .expect("Postgres is there");
        assert!(untold.is_empty(), "items and their events differ: {untold:?}");
    }

    /// Statements, for what has no function.
    pub async fn sql(&self, statements: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&self.pool).await.expect(statements);
    }

    /// One value.
    pub async fn ask<T>(&self, query: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&self.pool).await.expect(query)
    }
}
