//! What archiving costs: the archive as a process, in a folder with fsync and in an S3-compatible store, each beside its bare
//! store: the same bytes put and one row inserted for each, with the same batches and as much at once.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use futures_util::{StreamExt, TryStreamExt, stream};
use hasad::{Objects, Place};
use outbox_tests::measure;
use outbox_tests::{Child, S3, Story, binary, story, text};
use redis::{Cmd, Pipeline};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::time::sleep;

use crate::ground::{Ground, SERVERS, STREAM};
use crate::options::Options;
use crate::progress;
use crate::table::{Line, Section, Target, Unit};
use outbox_tests::Samples;

/// As the archive has them if nothing is said.
const BATCH: usize = 200;
const BATCHES: usize = 2;
const ARCHIVE_MAX: Duration = Duration::from_secs(300);
/// Short beside a round.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A store, as flags name it.
struct Stores {
    s3: S3,
    folder: tempfile::TempDir,
    rounds: u32,
}

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    place: Place,
}

pub async fn section(ground: &mut Ground, options: &Options) -> Result<Section> {
    let events = options.size(10_000, 500);
    let mut stores = Stores { s3: S3::launch().await?, folder: tempfile::tempdir()?, rounds: 0 };
    let [mut bare_folder, mut folder, mut bare_s3, mut s3, mut memory] = <[Samples; 5]>::default();
    let rounds = options.rounds().min(3);
    for round in 1..=rounds {
        progress::show(&format!("archive: round {round} of {rounds}"));
        // New contents each time, so that no store has seen them.
        let stories: Vec<Story> = (0..events).map(|nth| page(round, nth)).collect();
        bare_folder.push(bare(ground, &stores.next_folder(), &stories).await?);
        let (rate, at_most) = archive(ground, &stores.next_folder(), &stories).await?;
        folder.push(rate);
        memory.push(at_most);
        bare_s3.push(bare(ground, &stores.next_bucket(), &stories).await?);
        let (rate, at_most) = archive(ground, &stores.next_bucket(), &stories).await?;
        s3.push(rate);
        memory.push(at_most);
    }
    let bytes = page(1, 1).bytes().len();
    Ok(Section {
        name: "archive",
        conditions: format!(
            "{events} articles of {bytes} bytes, each new; batches of {BATCH}, {BATCHES} at once, 32 requests to the store each; \
             the folder with fsync; Postgres without; {SERVERS}"
        ),
        lines: vec![
            Line::new("archived, folder", Unit::PerSecond, &folder).must(
                "the bare folder, and a row",
                &bare_folder,
                Target::AtLeast(0.6),
            ),
            Line::new("archived, S3", Unit::PerSecond, &s3).must(
                "the bare S3, and a row",
                &bare_s3,
                Target::AtLeast(0.6),
            ),
            Line::new("memory at most", Unit::Megabytes, &memory).target(Target::AtMost(80.0)),
        ],
    })
}

/// An article as a news site has it.
fn page(round: u32, nth: u32) -> Story {
    let mut page = story(&format!("news/{nth}"), 1, &format!("round {round}, page {nth}"));
    page.article.body =
        (0..4).map(|part| text(nth * 4 + part)).collect::<Vec<_>>().join("\n\n") + &page.article.title;
    page.origin.content_hash = page.article.content_hash();
    page
}

impl Stores {
    fn next_folder(&mut self) -> Vec<String> {
        self.rounds += 1;
        vec!["--store".to_owned(), format!("file://{}/{}", self.folder.path().display(), self.rounds)]
    }

    fn next_bucket(&mut self) -> Vec<String> {
        self.rounds += 1;
        let (store, endpoint) = (format!("{}/{}", self.s3.store(), self.rounds), self.s3.port());
        let endpoint = format!("http://127.0.0.1:{endpoint}");
        let (key, secret) = S3::KEY;
        ["--store", &store, "--s3-endpoint", &endpoint, "--s3-access-key", key, "--s3-secret-key", secret]
            .map(str::to_owned)
            .to_vec()
    }
}

/// Articles a second that an archive takes from the stream, and how much memory it takes for that.
async fn archive(ground: &mut Ground, flags: &[String], stories: &[Story]) -> Result<(f64, f64)> {
    ground.another().await?;
    hasad::migrate(&mut ground.db).await?;
    fill(ground, stories).await?;
    let mut command = Command::new(binary("hasad"));
    command.args(["run", "--stream", STREAM, "--log", "warn"]).args(flags);
    command.env("DATABASE_URL", &ground.url).env("REDIS_URL", ground.redis.url());
    let (began, process) = (Instant::now(), Child::spawn(command));
    let pid = process.id().unwrap_or_default();
    let mut at_most = f64::NAN;
    loop {
        let done: i64 = sqlx::query_scalar("select count(*) from hasad.version").fetch_one(&mut ground.db).await?;
        let rate = stories.len() as f64 / began.elapsed().as_secs_f64();
        at_most = measure::memory(pid).map_or(at_most, |(_, at_most)| at_most);
        if done == stories.len() as i64 {
            process.kill_9();
            return Ok((rate, at_most));
        }
        ensure!(
            began.elapsed() < ARCHIVE_MAX,
            "{done} of {} were archived in time: {}",
            stories.len(),
            process.log()
        );
        sleep(POLL_INTERVAL).await;
    }
}

/// The same bytes put into the store and a row inserted for each, with nothing around it.
async fn bare(ground: &mut Ground, flags: &[String], stories: &[Story]) -> Result<f64> {
    ground.another().await?;
    ground
        .sql("create table bare (source_url text, version bigint, hash text, about text, primary key (source_url, version))")
        .await?;
    let pool = PgPoolOptions::new().max_connections(BATCHES as u32).connect(&ground.url).await?;
    let objects = Flags::try_parse_from([&["bare".to_owned()], flags].concat())?.place.open()?;
    let batches: Vec<Vec<(String, Vec<u8>, String)>> = stories
        .chunks(BATCH)
        .map(|chunk| {
            chunk.iter().map(|story| (story.hash(), story.bytes(), story.origin.source_url.clone())).collect()
        })
        .collect();
    let began = Instant::now();
    let writes = stream::iter(batches).map(|batch| put_and_insert(&pool, &objects, batch));
    writes.buffer_unordered(BATCHES).try_collect::<Vec<()>>().await?;
    Ok(stories.len() as f64 / began.elapsed().as_secs_f64())
}

async fn put_and_insert(pool: &PgPool, objects: &Objects, batch: Vec<(String, Vec<u8>, String)>) -> Result<()> {
    let puts = batch.iter().map(|(hash, bytes, _)| objects.put(hash, bytes)).collect::<Vec<_>>();
    stream::iter(puts).buffer_unordered(32).try_collect::<Vec<_>>().await?;
    sqlx::query(
        "insert into bare (source_url, version, hash, about)
         select url, 1, hash, url from unnest($1::text[], $2::text[]) as n (url, hash)",
    )
    .bind(batch.iter().map(|(_, _, url)| url.as_str()).collect::<Vec<_>>())
    .bind(batch.iter().map(|(hash, _, _)| hash.as_str()).collect::<Vec<_>>())
    .execute(pool)
    .await?;
    Ok(())
}

/// A stream of these articles, as the relay would have written it.
async fn fill(ground: &mut Ground, stories: &[Story]) -> Result<()> {
    ground.clear_redis().await?;
    for (chunk, stories) in stories.chunks(500).enumerate() {
        let mut pipeline = Pipeline::new();
        for (nth, story) in stories.iter().enumerate() {
            let event = story.event();
            let mut xadd = Cmd::new();
            xadd.arg("XADD").arg(STREAM).arg(format!("1-{}", chunk * 500 + nth + 1));
            xadd.arg("id").arg(event.id()).arg("type").arg("article.upserted").arg("ver").arg(1);
            xadd.arg("key").arg(&story.origin.source_url).arg("time").arg("2026-01-01T00:00:00Z");
            xadd.arg("data").arg(event.payload());
            pipeline.add_command(xadd);
        }
        pipeline.exec_async(&mut ground.cache).await?;
    }
    Ok(())
}
