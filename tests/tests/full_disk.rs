//! A disk that is full, under each store: under load it is filled and freed. Nothing is buried, no attempt is counted, nothing is lost,
//! and work goes on by itself. The disks are small ones in memory; where they cannot be mounted, each test says that it is skipped.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox::Event;
use outbox_tests::{
    Cellar, Chance, Child, Disk, Effects, Reading, Stage, Store, consume, eventually, letters, story, told,
};
use redis::Value;
use sqlx::PgPool;
use tokio::task::JoinHandle;

/// About so large are events here, and they cannot be compressed.
const EVENT_BYTES: usize = 20_000;
/// An attempt that is counted is the last one, and buries its event: so where nothing is buried none was counted.
const GROUP: [&str; 8] = ["--stream", "s", "--group", "g", "--claim-after-ms", "500", "--attempts-max", "1"];

/// A producer that goes on, whatever it is told.
struct Writer {
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<Told>>,
    task: JoinHandle<()>,
}

#[derive(Default, Clone)]
struct Told {
    committed: Vec<String>,
    /// What Postgres said instead: a code, or words.
    refused: Vec<String>,
    /// Nobody knows whether it was committed.
    doubtful: Vec<String>,
}

impl Writer {
    fn begin(pool: &PgPool) -> Self {
        let (stop, told) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Told::default())));
        let (pool, stopped, notes) = (pool.clone(), stop.clone(), told.clone());
        let task = tokio::spawn(async move {
            let mut chance = Chance::seeded(7);
            for n in 0.. {
                if stopped.load(Relaxed) {
                    return;
                }
                let payload: String =
                    (0..EVENT_BYTES / 16).map(|_| format!("{:016x}", chance.below(u64::MAX))).collect();
                let id = format!("e{n}");
                let event = Event::draft("s", "test.happened")
                    .id(&id)
                    .key(format!("k{}", n % 5))
                    .json(&serde_json::json!({"do": "ok", "with": payload}));
                let event = event.expect("within all limits");
                let ended = write(&pool, &event).await;
                {
                    let mut told = notes.lock().expect("nobody panics with it in hand");
                    match ended {
                        Ok(()) => told.committed.push(id),
                        Err((words, false)) => told.refused.push(words),
                        Err(_) => told.doubtful.push(id),
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { stop, told, task }
    }

    fn told(&self) -> Told {
        self.told.lock().expect("nobody panics with it in hand").clone()
    }

    async fn until_more(&self, count: usize) {
        let before = self.told().committed.len();
        eventually("more to be committed", async || self.told().committed.len() >= before + count).await;
    }

    async fn stop(self) -> Told {
        self.stop.store(true, Relaxed);
        self.task.await.expect("no panic");
        self.told.lock().expect("nobody panics with it in hand").clone()
    }
}

/// `true` beside the error: it was the commit.
async fn write(pool: &PgPool, event: &Event) -> Result<(), (String, bool)> {
    let words = |error: &sqlx::Error| match error {
        sqlx::Error::Database(error) => error.code().map_or_else(|| error.to_string(), |code| code.into_owned()),
        other => other.to_string(),
    };
    let mut tx = pool.begin().await.map_err(|error| (words(&error), false))?;
    match outbox::enqueue(&mut tx, event).await {
        Ok(_) => tx.commit().await.map_err(|error| (words(&error), true)),
        Err(outbox::Error::Database(error)) => Err((words(&error), false)),
        Err(other) => Err((other.to_string(), false)),
    }
}

/// Waits for all effects, and checks that each came once, in its key's order, and that nobody is blamed.
async fn assert_all_took_effect_once(stage: &Stage, effects: &Effects, told: &Told) {
    eventually("everything that was committed to take effect", async || {
        let done = effects.of("g").await;
        told.committed.iter().all(|id| done.contains(id))
    })
    .await;
    let mut done = effects.of("g").await;
    let count = done.len();
    done.sort();
    done.dedup();
    assert_eq!(done.len(), count, "nothing took effect twice");
    let unexpected: Vec<_> =
        done.iter().filter(|id| !told.committed.contains(id) && !told.doubtful.contains(id)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    outbox_tests::assert_key_order(&effects.by_key("g").await);
    assert_eq!(letters(&stage.redis, "s:g:dead").await.len(), 0);
    let blamed = "select (select count(*) from outbox_dead_letter) + (select count(*) from outbox where attempts > 0 or dead_at is not null)";
    assert_eq!(stage.ask::<i64>(blamed).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_postgres_refuses_producers_and_loses_nothing() {
    // Few files of its log, so that the small disk holds them.
    let settings = [("synchronous_commit", "on"), ("max_wal_size", "48MB"), ("min_wal_size", "32MB")];
    let stage = Stage::set_with(&settings, &[]).await;
    let effects = Effects::on(&stage).await;
    stage.postgres.stop();
    let Some(disk) = Disk::over(&stage.postgres.data_dir(), 200) else { return };
    stage.postgres.restart().await;
    let _relay = Child::spawn(stage.command(&["run", "--lease=0"]));
    let _consumer = consume(&stage, &GROUP);
    let writer = Writer::begin(&stage.pool);
    writer.until_more(20).await;

    disk.fill();
    eventually("producers to be refused", async || {
        writer.told().refused.iter().filter(|words| *words == "53100").count() >= 5
    })
    .await;
    disk.free();
    // A Postgres that could not go on with its log has ended, and whoever keeps it running starts it again.
    let answers = tokio::time::timeout(Duration::from_secs(2), stage.pool.acquire()).await;
    if !matches!(answers, Ok(Ok(_))) {
        println!("Postgres had ended");
        stage.postgres.restart().await;
    }
    writer.until_more(20).await;
    let told = writer.stop().await;
    println!("{} committed, {} refused, {} doubtful", told.committed.len(), told.refused.len(), told.doubtful.len());
    assert_all_took_effect_once(&stage, &effects, &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_redis_holds_everything_up_and_loses_nothing() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    stage.redis.stop();
    let Some(disk) = Disk::over(&stage.redis.data_dir().join("appendonlydir"), 24) else { return };
    stage.redis.restart().await;
    let relay = Child::spawn(stage.command(&["run", "--lease=0", "--publish-timeout=500ms"]));
    let _consumer = consume(&stage, &GROUP);
    let writer = Writer::begin(&stage.pool);
    writer.until_more(20).await;
    eventually("the first effects", async || effects.of("g").await.len() >= 20).await;

    disk.fill();
    eventually("Redis to say that it cannot write", async || {
        let Value::BulkString(info) = stage.redis.command(&["INFO", "persistence"]).await else { return false };
        String::from_utf8_lossy(&info).contains("aof_last_write_status:err")
    })
    .await;
    relay.saw("Redis").await;
    // The outbox is the buffer.
    writer.until_more(20).await;
    let before = effects.of("g").await.len();
    disk.free();
    writer.until_more(20).await;
    let told = writer.stop().await;
    println!("{before} of {} had taken effect before there was room again", told.committed.len());
    assert!(told.refused.is_empty() && before < told.committed.len(), "{:?}", told.refused);
    assert_all_took_effect_once(&stage, &effects, &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_the_archives_folder_costs_no_attempt_and_loses_nothing() {
    let cellar = Cellar::open(Store::Folder).await;
    let shard = cellar.file_of(&"0".repeat(64));
    let folder = shard.ancestors().nth(3).expect("the store");
    let Some(disk) = Disk::over(folder, 4) else { return };
    let long = "a long text ".repeat(500);
    let events = |numbers: std::ops::Range<u32>| -> Vec<_> {
        numbers.map(|nth| story(&format!("p{nth}"), 1, &format!("{long}{nth}")).event()).collect()
    };
    let archive = cellar.run(&["--attempts-max", "1", "--write-max", "1s"]);
    cellar.tell(&events(0..10)).await;
    cellar.until_settled().await;

    disk.fill();
    cellar.tell(&events(10..40)).await;
    archive.saw("handlers say that something is away").await;
    cellar.tell(&events(40..60)).await;
    assert_eq!(cellar.rows().await.len(), 10, "no version is without its object");
    disk.free();
    cellar.until_settled().await;
    assert_eq!(cellar.rows().await.len(), 60);
    assert_eq!(letters(&cellar.stage.redis, "content:scraped:hasad-cg:dead").await.len(), 0, "nothing is buried");
    assert!(!archive.log().contains("could not be handled"), "no attempt was counted");
    cellar.sweep().await;
    cellar.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_the_readers_file_costs_no_attempt_and_loses_nothing() {
    let reading = Reading::open().await;
    let Some(disk) = Disk::over(reading.file().parent().expect("a folder"), 16) else { return };
    let mut chance = Chance::seeded(7);
    let mut articles = |numbers: std::ops::Range<u32>| -> Vec<_> {
        let body = |chance: &mut Chance| -> String {
            (0..1_000).map(|_| format!("{:x} ", chance.below(u64::MAX))).collect()
        };
        numbers.map(|nth| told(&format!("{nth}"), 1, &format!("Title {nth}"), &body(&mut chance)).export()).collect()
    };
    let bisan = reading.run(&["--attempts-max", "1", "--write-max", "1s"]);
    reading.say(&articles(0..20)).await;
    reading.until_consumed().await;

    disk.fill();
    reading.say(&articles(20..60)).await;
    bisan.saw("handlers say that something is away").await;
    reading.say(&articles(60..80)).await;
    assert_eq!(letters(&reading.redis, "content:scraped:bisan-cg:dead").await.len(), 0);
    disk.free();
    reading.until_consumed().await;
    let count =
        |db: &rusqlite::Connection| db.query_row("select count(*) from article", [], |row| row.get::<_, i64>(0));
    assert_eq!(count(&reading.db()).expect("read"), 80);
    assert_eq!(letters(&reading.redis, "content:scraped:bisan-cg:dead").await.len(), 0, "nothing is buried");
    assert!(reading.verb(&["verify", "--full"]).status.success());
}
