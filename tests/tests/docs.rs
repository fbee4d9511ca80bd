//! Every command and every statement of README.md and docs/ is run, on real servers, as it stands there.
//!
//! - ```` ```sh ````: a script of bash, in a folder of its own, with our programs in its path. What runs until it is ended (`relay run`) runs for
//!   some seconds, and must end in order. `cargo install` and `cargo run --example` find what is built already
//! - ```` ```sql ````: in one transaction, which is taken back
//! - ```` ```python ````: where python3 has redis-py (a test of examples.rs brings it where it can)
//! - ```` ```sh no-run: why ````: is not run, and says why
//! - `rust`, `toml` and `text` are no commands. What they show is compiled in `outbox/examples` and the library's own docs
//!
//! Placeholders of the pages (`PLACEHOLDERS`) are replaced by what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use contract::{Export, STREAM};
use outbox::Event;
use outbox_tests::{Child, Program, Surface, Works, binary, eventually, programs_of_postgres, skipped, text, told};
use serde_json::json;

/// Each line: a word of the pages, and which place of this test takes its place.
const PLACEHOLDERS: [(&str, &str); 10] = [
    ("postgres://me:secret@db/shop", "DATABASE"),
    ("postgres://me:secret@db/news", "DATABASE"),
    ("redis://cache", "REDIS"),
    ("redis://localhost", "REDIS"),
    ("file:///var/lib/hasad", "OBJECTS"),
    ("/var/lib/bisan/bisan.sqlite", "FILE"),
    ("localhost:7654", "RELAY"),
    ("localhost:7656", "BISAN"),
    ("fallah test-source https://example.org/news/1", "TEST_SOURCE"),
    ("https://example.org/bot", "https://example.org/bot"),
];

/// Blocks that are not run, by page: how many. A block more is a decision, and not an oversight.
const NOT_RUN: [(&str, usize); 4] =
    [("README.md", 1), ("docs/bisan.md", 1), ("docs/guide.md", 1), ("docs/pipeline.md", 1)];

/// No block takes longer, not even on a machine that is busy.
const LONGEST: Duration = Duration::from_secs(90);

/// What surrounds each script. Each step is told (`set -x`), so that a block that fails or hangs names the one.
const PREAMBLE: &str = r#"set -euo pipefail
# What does not end when it is asked to is killed, and tells so by its exit code.
for_a_while() { timeout --preserve-status --signal=INT --kill-after=30 4 "$@" </dev/null; }
# In the foreground: some shells start what they run in a group of its own, and who is in none of the terminal's is halted by it.
on_a_terminal() {
    if ! script --version 2>/dev/null | grep -q util-linux; then echo "SKIPPED: no terminal for $1"; return; fi
    script --quiet --return --command "timeout --foreground --preserve-status --signal=INT --kill-after=30 4 $1" /dev/null </dev/null
}
ours() {
    local program=$1
    shift
    case "$program ${1:-} $*" in
        "relay run"* | "hasad run"* | "fallah run"* | "bisan run"*) for_a_while "$PROGRAMS/$program" "$@" ;;
        *" --watch") on_a_terminal "$PROGRAMS/$program $*" ;;
        # It finds what tests leave out for speed, and says so by its exit code.
        "relay doctor"*) "$PROGRAMS/relay" "$@" || [ $? -eq 1 ] ;;
        *) "$PROGRAMS/$program" "$@" ;;
    esac
}
relay() { ours relay "$@"; }
fallah() { ours fallah "$@"; }
hasad() { ours hasad "$@"; }
bisan() { ours bisan "$@"; }
curl() { command curl --fail-with-body --silent --show-error --max-time 20 "$@"; }
cargo() {
    case "$*" in
        "install --path "*) test -f "$ROOT/$3/src/main.rs" ;;
        "run -p outbox --example consume"*) for_a_while "$PROGRAMS/examples/consume" ;;
        "run -p outbox --example produce -- "*) "$PROGRAMS/examples/produce" "${@: -1}" ;;
        *) echo "cargo $* is not known here" >&2; return 1 ;;
    esac
}
python3() {
    if [ -z "$PYTHON" ]; then echo "SKIPPED: no python3 with redis-py"; return; fi
    cd "$ROOT" && for_a_while "$PYTHON" "$@" || [ $? -eq 130 ]
}
set -x
"#;

struct Block {
    page: String,
    line: usize,
    language: String,
    /// Why it is not run.
    why_not: Option<String>,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Every page: README.md, and what lies in docs/.
fn pages() -> Vec<String> {
    let docs = std::fs::read_dir(root().join("docs")).expect("readable");
    let names = docs.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
    let mut pages: Vec<_> = names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")).collect();
    pages.push("README.md".to_owned());
    pages.sort();
    pages
}

fn blocks(page: &str) -> Vec<Block> {
    let written = std::fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
    let mut blocks = vec![];
    let mut open: Option<Block> = None;
    for (number, line) in (1..).zip(written.lines()) {
        match (line.trim_start().strip_prefix("```"), open.take()) {
            (Some(info), None) => {
                let (language, rest) = info.split_once(' ').unwrap_or((info, ""));
                let why_not =
                    rest.trim().strip_prefix("no-run").map(|why| why.trim_start_matches(':').trim().to_owned());
                assert!(rest.is_empty() || why_not.is_some(), "{page}:{number}: what does {rest:?} mean?");
                let (page, language) = (page.to_owned(), language.to_owned());
                open = Some(Block { page, line: number, language, why_not, text: String::new() });
            }
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.text += line;
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{page} has a block without an end");
    blocks
}

#[test]
fn every_block_is_run_or_says_why_not() {
    let mut not_run = BTreeMap::<String, usize>::new();
    let (mut run, mut other) = (0, 0);
    for block in pages().iter().flat_map(|page| blocks(page)) {
        let place = format!("{}:{}", block.page, block.line);
        match (block.language.as_str(), &block.why_not) {
            ("sh" | "sql" | "python", None) => run += 1,
            ("sh" | "sql" | "python", Some(why)) => {
                assert!(why.len() > 10, "{place} is not run and does not say why");
                *not_run.entry(block.page.clone()).or_default() += 1;
            }
            ("rust" | "toml" | "text", None) => other += 1,
            (language, _) => panic!("{place}: nobody knows what to do with {language:?}"),
        }
    }
    let expected: BTreeMap<_, _> = NOT_RUN.iter().map(|(page, count)| ((*page).to_owned(), *count)).collect();
    assert_eq!(not_run, expected, "blocks that are not run");
    assert!(run > 30 && other > 10, "{run} are run, {other} are no commands");
}

#[test]
fn every_alert_is_explained() {
    let alerts = std::fs::read_to_string(root().join("compose/prometheus/alerts.yml")).expect("readable");
    let page = std::fs::read_to_string(root().join("docs/monitoring.md")).expect("readable");
    for alert in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(page.contains(&format!("`{alert}`")), "docs/monitoring.md does not say what to do about {alert}");
    }
}

/// Everything that the pages speak of: all programs at work, articles archived and readable, letters that are dead.
struct Ground {
    works: Works,
    relay: Surface,
    folder: tempfile::TempDir,
    bisan: std::net::SocketAddr,
}

impl Ground {
    async fn prepare() -> Self {
        let mut works = Works::open("").await;
        works.site.sitemap("/sitemap.xml", &["/news/1"]);
        works.site.article("/news/1", "Rain expected on Friday", &text(1));
        let mut command = works.stage.command(&["run"]);
        command.env("RELAY_LISTEN", "127.0.0.1:0");
        let relay = Surface::of(Child::spawn(command)).await;
        for program in [Program::Hasad, Program::Bisan] {
            works.start(program, &[]);
        }
        let home =
            |event: &mut contract::ArticleUpserted| event.origin.source_url = "https://example.org/news/1".to_owned();
        let mut events = vec![
            told("news/1", 1, "Rain expected on Friday", "It will rain, says وزارة الصحة.")
                .by("سلمى", None)
                .with(home)
                .export(),
            told("news/1", 2, "Rain expected on Friday and Saturday", "It will rain.")
                .by("سلمى", None)
                .with(home)
                .export(),
        ];
        events.extend((2..50).map(|nth| {
            told(&format!("news/{nth}"), 1, "Rain", "It rains, says وزارة الصحة.").by("سلمى", None).export()
        }));
        let mut tx = works.stage.pool.begin().await.expect("Postgres is there");
        for (nth, event) in events.iter().enumerate() {
            let _ = outbox::enqueue(&mut tx, &said(nth, event)).await.expect("written");
        }
        // A dead letter by the name of the pages.
        let dead = Event::draft("refunds", "refund.made").id("ID").json(&json!({"cents": 5})).expect("an event");
        let _ = outbox::enqueue(&mut tx, &dead).await.expect("written");
        sqlx::query(
            "update outbox set dead_at = now(), due_at = 'infinity', attempts = 5, last_error = 'no' where id = 'ID'",
        )
        .execute(&mut *tx)
        .await
        .expect("written");
        tx.commit().await.expect("committed");
        works.stage.redis.command(&["XGROUP", "CREATE", "orders", "billing", "0", "MKSTREAM"]).await;
        let bisan = works.readers().await;
        eventually("articles to be archived and read", async || {
            let archived: i64 = works.stage.ask("select count(*) from hasad.version").await;
            let read = outbox_tests::get_json(bisan, "/articles?size=100").await.json();
            archived == events.len() as i64 && read["articles"].as_array().is_some_and(|all| all.len() == 49)
        })
        .await;
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join(".data")).expect("made");
        let env = format!(
            "export DATABASE_URL='{}'\nexport REDIS_URL='{}'\n",
            works.stage.database_url,
            works.stage.redis.url()
        );
        std::fs::write(folder.path().join(".data/env"), env).expect("written");
        std::os::unix::fs::symlink(root(), folder.path().join("outbox-source")).expect("linked");
        std::fs::create_dir(folder.path().join("target")).expect("made");
        std::os::unix::fs::symlink(programs(), folder.path().join("target/debug")).expect("linked");
        Self { works, relay, folder, bisan }
    }

    /// What stands there instead of a placeholder.
    fn instead(&self, place: &str) -> String {
        let port = |address: std::net::SocketAddr| format!("127.0.0.1:{}", address.port());
        match place {
            "DATABASE" => self.works.stage.database_url.clone(),
            "REDIS" => self.works.stage.redis.url(),
            "OBJECTS" => format!("file://{}", self.works.objects().parent().expect("a folder").display()),
            "FILE" => self.works.file("bisan.sqlite").display().to_string(),
            "RELAY" => port(self.relay.address),
            "BISAN" => port(self.bisan),
            "TEST_SOURCE" => format!("fallah test-source {}", self.works.site.url("/news/1")),
            other => other.to_owned(),
        }
    }

    fn filled(&self, text: &str) -> String {
        PLACEHOLDERS.iter().fold(text.to_owned(), |text, (word, place)| text.replace(word, &self.instead(place)))
    }

    /// Runs a program on a block; what it says if it fails, or does not end.
    async fn run(&self, mut command: tokio::process::Command) -> Result<(), String> {
        let said = tempfile::NamedTempFile::new().expect("a file");
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", programs_of_postgres().display()))
            .env("PROGRAMS", programs())
            .env("ROOT", root())
            .env("PYTHON", crate::examples::python().map(|python| python.display().to_string()).unwrap_or_default())
            .env("DATABASE_URL", &self.works.stage.database_url)
            .env("REDIS_URL", self.works.stage.redis.url())
            .env("HASAD_STORE", self.instead("OBJECTS"))
            .env("BISAN_DATABASE", self.instead("FILE"))
            .env("BISAN_LISTEN", "127.0.0.1:0")
            .env("RELAY_LISTEN", "off")
            .env("FALLAH_SOURCES", self.works.file("sources.toml"))
            .env("FALLAH_ALLOW_NETS", "127.0.0.0/8")
            .stdin(std::process::Stdio::null())
            .stdout(append(said.path()))
            .stderr(append(said.path()))
            .kill_on_drop(true);
        let mut child = command.spawn().expect("it can be started");
        let ended = match tokio::time::timeout(LONGEST, child.wait()).await {
            Ok(status) => status.expect("it was started").to_string(),
            Err(_) => format!("it did not end within {} s", LONGEST.as_secs()),
        };
        if ended == "exit status: 0" {
            return Ok(());
        }
        let said = std::fs::read(said.path()).expect("readable");
        Err(format!("{ended}\n{}", String::from_utf8_lossy(&said)))
    }

    async fn try_block(&self, block: &Block) -> Result<(), String> {
        let text = self.filled(&block.text);
        match block.language.as_str() {
            "sql" => {
                let mut tx = self.works.stage.pool.begin().await.expect("Postgres is there");
                let done = sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(&mut *tx).await;
                done.map(drop).map_err(|error| error.to_string())
            }
            "sh" => {
                let mut command = tokio::process::Command::new("bash");
                command.arg("-c").arg(format!("{PREAMBLE}{text}"));
                self.run(command).await
            }
            "python" => match crate::examples::python() {
                Some(python) => {
                    let mut command = tokio::process::Command::new(python);
                    command.arg("-c").arg(text);
                    self.run(command).await
                }
                None => {
                    skipped(&format!("{}:{}: there is no python3 with redis-py", block.page, block.line));
                    Ok(())
                }
            },
            other => panic!("{other} is no command"),
        }
    }
}

/// Both what it says and what it complains of go to one file, in their order.
fn append(file: &Path) -> std::fs::File {
    std::fs::OpenOptions::new().append(true).open(file).expect("it was made just now")
}

fn programs() -> PathBuf {
    binary("relay").parent().expect("a folder").to_owned()
}

fn said(nth: usize, event: &Export) -> Event {
    let line = serde_json::to_value(event).expect("JSON");
    let draft = Event::draft(STREAM, event.r#type()).id(format!("told-{nth}"));
    let key = line["data"]["source_url"].as_str().expect("an address").to_owned();
    draft.key(key).json(&line["data"]).expect("an event")
}

#[tokio::test]
async fn every_command_and_statement_of_the_pages_works() {
    let needed: BTreeSet<&str> = ["bash", "curl", "jq", "redis-cli", "timeout"].into();
    let missing: Vec<_> = needed
        .into_iter()
        .filter(|tool| {
            !std::process::Command::new("sh")
                .args(["-c", &format!("command -v {tool}")])
                .output()
                .is_ok_and(|found| found.status.success())
        })
        .collect();
    let ground = Ground::prepare().await;
    let mut failed = vec![];
    for block in pages().iter().flat_map(|page| blocks(page)) {
        let command = ["sh", "sql", "python"].contains(&block.language.as_str());
        let place = format!("{}:{}", block.page, block.line);
        if !command || block.why_not.is_some() {
            continue;
        }
        if let Some(tool) = missing.iter().find(|tool| block.text.contains(*tool)) {
            skipped(&format!("{place}: {tool} is not installed here"));
            continue;
        }
        let since = Instant::now();
        let done = ground.try_block(&block).await;
        println!("{place}: {}, {:.1} s", block.language, since.elapsed().as_secs_f64());
        if let Err(why) = done {
            failed.push(format!("{place}: {why}\n{}", block.text));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n---\n"));
}
