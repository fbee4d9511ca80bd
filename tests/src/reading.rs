//! What tests of the reader's side need: a private Redis, a file of its own, events to say, and a way to ask.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};

use contract::{
    Article, ArticleDeleted, ArticleUpserted, Author, AuthorUpserted, Byline, Export, Origin, Removal, STREAM,
};
use redis::Value;
use rusqlite::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Child, Redis, binary, eventually, pending};

/// A Redis, and a file that goes with the test.
pub struct Reading {
    pub redis: Redis,
    folder: tempfile::TempDir,
}

impl Reading {
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { redis: Redis::start().await, folder }
    }

    /// Where the articles lie.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("bisan.sqlite")
    }

    /// Bisan's binary, ready to be given a verb.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_on(&self.file(), arguments)
    }

    /// The same with another file.
    pub fn command_on(&self, file: &std::path::Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("bisan"));
        command.args(arguments).env("BISAN_DATABASE", file).env("REDIS_URL", self.redis.url());
        command.env("BISAN_LISTEN", "127.0.0.1:0");
        command
    }

    /// Reads the stream and serves, as a process.
    pub fn run(&self, flags: &[&str]) -> Child {
        Child::spawn(self.command(&[&["run"], flags].concat()))
    }

    /// A verb, to its end.
    pub fn verb(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program can be started")
    }

    /// A verb whose answer is JSON.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.verb(arguments);
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!("{arguments:?} answered {text:?} ({error}): {}", String::from_utf8_lossy(&output.stderr))
        })
    }

    /// Says events on the stream, in this order, each under an id of its own: an event that is said twice has one id.
    pub async fn say(&self, events: &[Export]) {
        let mut redis = self.redis.connection().await;
        for chunk in events.chunks(500) {
            let mut pipeline = redis::Pipeline::new();
            for event in chunk {
                let line = serde_json::to_value(event).expect("JSON");
                pipeline.add_command(xadd(&id(event), event.r#type(), 1, &line["data"].to_string())).ignore();
            }
            pipeline.exec_async(&mut redis).await.expect("Redis is there");
        }
    }

    /// Says anything.
    pub async fn say_raw(&self, id: &str, r#type: &str, ver: u32, data: &str) {
        xadd(id, r#type, ver, data).exec_async(&mut self.redis.connection().await).await.expect("Redis is there");
    }

    /// Waits until the group has been given everything and owes nothing: for as long as something goes on.
    pub async fn until_consumed(&self) {
        let groups = async || format!("{:?}", self.redis.command(&["XINFO", "GROUPS", STREAM]).await);
        while !self.is_consumed().await {
            let before = groups().await;
            eventually("everything to be consumed", async || groups().await != before || self.is_consumed().await)
                .await;
        }
    }

    pub async fn is_consumed(&self) -> bool {
        let top = match self.redis.command(&["XREVRANGE", STREAM, "+", "-", "COUNT", "1"]).await {
            Value::Array(mut newest) if !newest.is_empty() => {
                redis::from_redis_value::<(String, Value)>(newest.remove(0)).expect("an entry").0
            }
            _ => return false,
        };
        let Value::Array(groups) = self.redis.command(&["XINFO", "GROUPS", STREAM]).await else { return false };
        let delivered = groups.into_iter().any(|group| {
            let fields: Vec<Value> = redis::from_redis_value(group).expect("fields");
            let texts: Vec<String> =
                fields.into_iter().map(|value| redis::from_redis_value(value).unwrap_or_default()).collect();
            texts.contains(&contract::BISAN.to_owned()) && texts.contains(&top)
        });
        delivered && pending(&self.redis, STREAM, contract::BISAN).await == 0
    }

    /// The file, to look into.
    pub fn db(&self) -> Connection {
        let db = Connection::open(self.file()).expect("the file is there");
        db.busy_timeout(std::time::Duration::from_secs(10)).expect("set");
        db
    }

    /// Everything that does not depend on the order in which events came.
    pub fn dump(&self) -> String {
        dump(&self.db())
    }
}

/// Everything in a file that does not depend on the order in which events came: no ids, no change numbers, no times of ours.
pub fn dump(db: &Connection) -> String {
    let mut text = String::new();
    let queries = [
        "select 'article', source_url, source_name, version, content_hash, deleted_at, deleted_reason, dated_at, language,
                section, published_at, modified_at, discovered_at, fetched_at, canonical_url, image, images, tags, title,
                lead, body
           from article order by source_url",
        "select 'author', a.source_name, a.folded_name, a.name, a.name_rank, a.url, a.url_rank, b.folded_name, a.merged_by
           from author a left join author b on b.id = a.merged_into order by a.source_name, a.folded_name",
        "select 'signed', a.source_url, w.position, p.source_name, p.folded_name, w.name
           from article_author w join article a on a.id = w.article_id join author p on p.id = w.author_id
          order by a.source_url, w.position",
        "select 'text', a.source_url, t.title, t.lead, t.authors, t.body
           from article_text t join article a on a.id = t.rowid order by a.source_url",
        "select 'dirty', a.source_url, a.change = d.change
           from search_dirty d join article a on a.id = d.article_id order by a.source_url",
    ];
    for query in queries {
        let mut rows = db.prepare(query).expect("valid");
        let columns = rows.column_count();
        let mut rows = rows.query([]).expect("read");
        while let Some(row) = rows.next().expect("read") {
            for column in 0..columns {
                let value: rusqlite::types::Value = row.get(column).expect("a value");
                text += &format!("{value:?}\t");
            }
            text.push('\n');
        }
    }
    text
}

fn xadd(id: &str, r#type: &str, ver: u32, data: &str) -> redis::Cmd {
    let mut xadd = redis::cmd("XADD");
    xadd.arg(STREAM).arg("*").arg("id").arg(id).arg("type").arg(r#type).arg("ver").arg(ver);
    xadd.arg("time").arg("2026-01-01T00:00:00Z").arg("data").arg(data);
    xadd
}

fn id(event: &Export) -> String {
    let origin = match event {
        Export::ArticleUpserted(event) => &event.origin,
        Export::ArticleDeleted(event) => &event.origin,
        Export::AuthorUpserted(event) => &event.origin,
    };
    format!("{} {} {}", event.r#type(), origin.source_url, origin.version)
}

/// An export of the archive that has these events: a line for each, and the last line.
pub fn exported(events: &[Export]) -> String {
    let line = |event| serde_json::to_string(event).expect("JSON") + "\n";
    events.iter().map(line).collect::<String>() + &export_end(events.len(), None)
}

/// The last line of an export of so many lines, of one source or of all.
pub fn export_end(lines: usize, source: Option<&str>) -> String {
    let source = source.map(str::to_owned);
    let end = contract::ExportEnd { lines: lines as u64, left_out: 0, source, current: false };
    serde_json::json!({ "type": contract::ExportEnd::TYPE, "ver": 1, "data": end }).to_string() + "\n"
}

/// An article to be said, with everything that a test does not care about filled in.
#[derive(Clone)]
pub struct Told {
    pub event: ArticleUpserted,
}

/// An article of `daily`, in Arabic unless it is told otherwise.
pub fn told(path: &str, version: u64, title: &str, body: &str) -> Told {
    let article = Article { title: title.to_owned(), body: body.to_owned(), ..Article::default() };
    let day = 1 + version % 28;
    let origin = Origin {
        source_url: format!("https://daily.example/{path}"),
        source_name: "daily".to_owned(),
        version,
        content_hash: String::new(),
        raw_hash: String::new(),
        discovered_at: "2026-01-01T00:00:00Z".to_owned(),
        fetched_at: format!("2026-02-{day:02}T00:00:00Z"),
        published_at: None,
        scraper_version: "0".to_owned(),
    };
    Told { event: ArticleUpserted { origin, article, lead: None, language: Some("ar".to_owned()), tags: vec![] } }
}

impl Told {
    pub fn source(mut self, name: &str) -> Self {
        self.event.origin.source_name = name.to_owned();
        self.event.origin.source_url =
            self.event.origin.source_url.replace("daily.example", &format!("{name}.example"));
        self
    }

    pub fn language(mut self, code: &str) -> Self {
        self.event.language = Some(code.to_owned());
        self
    }

    pub fn lead(mut self, lead: &str) -> Self {
        self.event.lead = Some(lead.to_owned());
        self
    }

    pub fn published(mut self, at: &str) -> Self {
        self.event.article.published_at = Some(at.to_owned());
        self
    }

    /// One more name under the headline.
    pub fn by(mut self, name: &str, url: Option<&str>) -> Self {
        self.event.article.authors.push(Byline { name: name.to_owned(), url: url.map(str::to_owned) });
        self
    }

    pub fn with(mut self, change: impl FnOnce(&mut ArticleUpserted)) -> Self {
        change(&mut self.event);
        self
    }

    /// The event, with the hash of its content.
    pub fn export(mut self) -> Export {
        self.event.origin.content_hash = self.event.article.content_hash();
        self.event.origin.published_at = self.event.article.published_at.clone();
        Export::ArticleUpserted(self.event)
    }

    /// The same article's end.
    pub fn gone(self, reason: Removal) -> Export {
        let Export::ArticleUpserted(event) = self.export() else { unreachable!("it was made so") };
        Export::ArticleDeleted(ArticleDeleted { origin: event.origin, reason })
    }
}

/// What a source says of an author.
pub fn told_author(source: &str, name: &str, url: Option<&str>, version: u64) -> Export {
    let author = Author { name: name.to_owned(), url: url.map(str::to_owned) };
    let Export::ArticleUpserted(about) = told("", version, "", "").source(source).export() else {
        unreachable!("it was made so")
    };
    let source_url = format!("urn:author:{source}:{}", name.to_lowercase());
    let origin = Origin { source_url, content_hash: author.content_hash(), ..about.origin };
    Export::AuthorUpserted(AuthorUpserted { origin, author })
}

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{} ({error})", self.body))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }
}

/// Where a Bisan that has just been started serves.
pub async fn address(bisan: &Child) -> SocketAddr {
    let line = bisan.saw("serves readers").await;
    let from = line.find("address=").expect("it says where") + "address=".len();
    line[from..].split_whitespace().next().expect("an address").parse().expect("an address")
}

/// Asks for a page, as a browser does; or with other headers.
pub async fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    ask(address, "GET", path, headers).await
}

/// The same as JSON.
pub async fn get_json(address: SocketAddr, path: &str) -> Answer {
    get(address, path, &[("accept", "application/json")]).await
}

pub async fn ask(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    stream.write_all((request + "\r\n").as_bytes()).await.expect("sent");
    let mut bytes = vec![];
    stream.read_to_end(&mut bytes).await.expect("answered");
    let text = String::from_utf8(bytes).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Answer { status: status.expect("a status"), headers, body: body.to_owned() }
}
