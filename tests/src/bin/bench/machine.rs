//! On what all this was measured.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use crate::ground::Ground;
use outbox_tests::Samples;

pub struct Machine {
    cores: usize,
    model: Option<String>,
    load: Option<String>,
    postgres: String,
    redis: String,
    fsync: Duration,
}

impl Machine {
    /// Asks servers of the kind that is measured.
    pub async fn look_at(ground: &mut Ground) -> Result<Self> {
        let postgres = sqlx::query_scalar("show server_version").fetch_one(&mut ground.db).await?;
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut ground.cache).await?;
        let redis = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("?").trim();
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            model: model.map(|(_, name)| name.trim().to_owned()),
            load: load.split(' ').next().filter(|load| !load.is_empty()).map(str::to_owned),
            postgres,
            redis: redis.to_owned(),
            // Not fdatasync, which may be made slow.
            fsync: time_of(fs::File::sync_all)?,
        })
    }

    pub fn line(&self) -> String {
        format!(
            "{} cores ({}), load {} at the start; Postgres {}, Redis {}; an fsync takes {:.2} ms",
            self.cores,
            self.model.as_deref().unwrap_or("unknown"),
            self.load.as_deref().unwrap_or("unknown"),
            self.postgres,
            self.redis,
            self.fsync.as_secs_f64() * 1e3
        )
    }

    pub fn json(&self) -> Value {
        json!({ "cores": self.cores, "model": self.model, "load": self.load, "postgres": self.postgres,
                "redis": self.redis, "fsync_milliseconds": self.fsync.as_secs_f64() * 1e3 })
    }
}

/// How long a commit waits for the disk.
pub fn fdatasync_time() -> Result<Duration> {
    time_of(fs::File::sync_data)
}

/// How long the disk below the servers' folders takes to make 8 kB durable.
fn time_of(sync: fn(&fs::File) -> std::io::Result<()>) -> Result<Duration> {
    let path = std::env::temp_dir().join(format!("outbox-fsync-{}", std::process::id()));
    let mut file = fs::File::create(&path)?;
    fs::remove_file(&path)?;
    // Written once before: a log file is recycled, so a commit does not make it grow.
    file.write_all(&[0; 64 * 8192])?;
    file.sync_all()?;
    let mut samples = Samples::default();
    for nth in 0..64 {
        file.write_all_at(&[1; 8192], nth * 8192)?;
        let began = Instant::now();
        sync(&file)?;
        samples.push(began.elapsed().as_secs_f64());
    }
    Ok(Duration::from_secs_f64(samples.median()))
}
