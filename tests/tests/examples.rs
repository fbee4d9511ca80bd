//! The examples do what they say: each is run as a user runs it, with a relay between them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use outbox::Event;
use outbox_tests::{Child, Signal, Stage, binary, eventually, pending, skipped};

fn example(stage: &Stage, name: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(binary(&format!("examples/{name}")));
    command.args(arguments).env("DATABASE_URL", &stage.database_url).env("REDIS_URL", stage.redis.url());
    Child::spawn(command)
}

/// Places so many orders of 100, 200 cents and so on.
async fn produce(stage: &Stage, count: usize) {
    let mut produce = example(stage, "produce", &[&count.to_string()]);
    assert_eq!(produce.wait().await, 0);
    assert_eq!(produce.log().matches("New { seq: ").count(), count, "{}", produce.log());
}

#[tokio::test]
async fn what_produce_writes_consume_adds_up_once() {
    let stage = Stage::set().await;
    let _relay = Child::spawn(stage.command(&["run"]));
    produce(&stage, 3).await;
    let mut consume = example(&stage, "consume", &["3"]);
    assert_eq!(consume.wait().await, 0);
    assert!(consume.log().contains("revenue: 600 cents"), "{}", consume.log());
    assert_eq!(pending(&stage.redis, "orders", "revenue").await, 0);

    // Everything once more, and one that is new; this time a person ends it.
    stage.redis.command(&["XGROUP", "SETID", "orders", "revenue", "0"]).await;
    produce(&stage, 1).await;
    let mut consume = example(&stage, "consume", &[]);
    consume.saw("order 4 of 100 cents").await;
    consume.signal(Signal::Int);
    assert_eq!(consume.wait().await, 0);
    assert!(consume.log().contains("revenue: 700 cents"), "{}", consume.log());
}

#[tokio::test]
async fn the_reader_in_python_counts_once_claims_what_others_left_and_buries_poison() {
    let Some(python) = python() else { return };
    let stage = Stage::set().await;
    let _relay = Child::spawn(stage.command(&["run"]));
    produce(&stage, 3).await;
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    let poison = Event::draft("orders", "order.placed").id("poison").json("no cents").expect("valid");
    let _ = outbox::enqueue(&mut tx, &poison).await.expect("written");
    tx.commit().await.expect("committed");
    eventually("all to arrive", async || stage.length("orders").await == 4).await;
    // Somebody took two and was never heard of again.
    stage.redis.command(&["XGROUP", "CREATE", "orders", "counts", "0"]).await;
    stage.redis.command(&["XREADGROUP", "GROUP", "counts", "gone", "COUNT", "2", "STREAMS", "orders", ">"]).await;

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("counts.sqlite");
    let start = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command.arg(root().join("outbox/examples/consume.py")).arg(&file).args(arguments);
        command.env("REDIS_URL", stage.redis.url()).env("CLAIM_AFTER_MS", "200");
        Child::spawn(command)
    };
    let consume = async |entries: &str| {
        let mut child = start(&[entries]);
        assert_eq!(child.wait().await, 0, "{}", child.log());
        child.log()
    };
    // What others tell of themselves, one that has just begun and one that writes nonsense, is theirs.
    let others = [("another", r#"{"processed": 0, "last_active_at": null}"#), ("nonsense", "no JSON")];
    for (name, told) in others {
        stage.redis.command(&["HSET", "orders:counts:stats", name, told]).await;
    }
    let mut reader = start(&[]);
    reader.saw("is a dead letter").await;
    eventually("all to be settled", async || reader.log().matches(" took effect").count() == 3).await;
    eventually("all to be settled", async || pending(&stage.redis, "orders", "counts").await == 0).await;
    let letter = "from outbox_dead_letter where group_name = 'counts' and id = 'poison' and replayed_at is null";
    eventually("the relay to bring the dead letter home", async || {
        stage.ask::<bool>(&format!("select exists (select {letter})")).await
    })
    .await;
    let reason: String = stage.ask(&format!("select reason {letter}")).await;
    assert!(reason.starts_with("the payload has no cents"), "{reason}");
    // What it has done is told where people look.
    let told = "select messages_processed || ' ' || messages_failed || ' ' || messages_retried || ' ' || messages_dead_lettered
                  from stream_consumer_stats where consumer_group = 'counts' and last_active_at > now() - interval '1 minute'";
    eventually("what the reader has done", async || {
        let told: Option<String> = sqlx::query_scalar(told).fetch_optional(&stage.pool).await.expect("a view");
        told.as_deref() == Some("3 1 0 1")
    })
    .await;
    let status = stage.command(&["status"]).output().expect("it runs");
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.lines().any(|line| line.contains(" counts-") && line.contains(" 3 ")), "{status}");
    // Who leaves takes its own along, and nobody else's.
    reader.signal(Signal::Int);
    assert_eq!(reader.wait().await, 0, "{}", reader.log());
    assert!(reader.log().contains("goodbye: 3 orders of 600 cents"), "{}", reader.log());
    let left: BTreeMap<String, String> =
        redis::from_redis_value(stage.redis.command(&["HGETALL", "orders:counts:stats"]).await).expect("a hash");
    assert_eq!(left, others.map(|(name, told)| (name.to_owned(), told.to_owned())).into());

    // All of it once more, the poison in both lanes: nothing counts twice.
    let replay = stage.command(&["dead", "replay", "--group", "counts"]).output().expect("it runs");
    assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
    stage.redis.command(&["XGROUP", "SETID", "orders", "counts", "0"]).await;
    let said = consume("5").await;
    assert!(said.contains("3 orders of 600 cents"), "{said}");
    assert_eq!(pending(&stage.redis, "orders", "counts").await, 0);

    // A person ends it.
    let mut reader = start(&[]);
    produce(&stage, 1).await;
    reader.saw("took effect").await;
    reader.signal(Signal::Int);
    assert_eq!(reader.wait().await, 0);
    assert!(reader.log().contains("goodbye: 4 orders of 700 cents"), "{}", reader.log());
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// A Python that has redis-py: the one that is installed, else one in an environment of our own. Where the checks are the
/// last word it must be there; elsewhere its absence is said, and passed over.
pub(crate) fn python() -> Option<PathBuf> {
    let said = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    };
    let installed = PathBuf::from("python3");
    if let Err(why) = said(Command::new(&installed).arg("--version")) {
        skipped(&format!("outbox/examples/consume.py: there is no python3: {why}"));
        return None;
    }
    let has_redis = |python: &Path| said(Command::new(python).args(["-c", "import redis"]));
    let home = binary("relay").with_file_name("python");
    let own = home.join("bin/python3");
    if let Some(python) = [&installed, &own].into_iter().find(|python| has_redis(python).is_ok()) {
        return Some(python.clone());
    }
    let made = said(Command::new(&installed).args(["-m", "venv"]).arg(&home))
        .and_then(|()| said(Command::new(&own).args(["-m", "pip", "install", "--quiet", "redis>=5"])))
        .and_then(|()| has_redis(&own));
    match made {
        Ok(()) => Some(own),
        Err(why) if std::env::var("NEXTEST_PROFILE").as_deref() == Ok("ci") => {
            panic!("pip brings no redis-py: {why}")
        }
        Err(why) => {
            skipped(&format!("outbox/examples/consume.py: pip brings no redis-py: {why}"));
            None
        }
    }
}
