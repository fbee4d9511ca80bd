//! A soak: steady load and steady kills for long, and whether anything grows that should not.
//!
//! Of two relays and of two consumers one is killed again and again; the other one lives from beginning to end, and is the one that is
//! measured. Rows are pruned, entries trimmed, and inboxes forget, each within a part of the run, so that a figure that still
//! grows at its end grows for ever.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use outbox::Event;
use sqlx::PgPool;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep};

use crate::{Chance, Child, Effects, Stage, consume_over};

const WRITERS: u64 = 8;
/// So many transactions a second of each writer.
const TRANSACTIONS: u64 = 10;
const KEYS: u64 = 500;
/// Lines of a run: one a minute, or more of them if it is short.
const LINES_MIN: u32 = 12;
const LINE_MAX: Duration = Duration::from_secs(60);
const PROBE_INTERVAL: Duration = Duration::from_millis(100);
const PROBE_POLL: Duration = Duration::from_millis(1);
/// A probe that takes longer has taken so long.
const PROBE_MAX: Duration = Duration::from_secs(10);

/// What is looked at, each with by how much it may differ without a meaning.
const FIGURES: [(&str, f64); 8] = [
    ("relay MB", 4.0),
    ("consumer MB", 4.0),
    ("rows", 5_000.0),
    ("table MB", 16.0),
    ("inbox MB", 16.0),
    ("entries", 5_000.0),
    ("redis MB", 16.0),
    ("p50 ms", 5.0),
];

/// One line: what everything has come to.
#[derive(Debug, Clone, Default)]
pub struct Moment {
    pub at: Duration,
    /// In the order of the table.
    pub figures: [f64; 8],
    pub p99_ms: f64,
    pub written: u64,
    pub kills: u64,
}

impl Moment {
    /// The head of the table.
    pub fn head() -> String {
        let names: String = FIGURES.iter().map(|(name, _)| format!("{name:>12}")).collect();
        format!("{:>8}{names}{:>10}{:>12}{:>7}", "at", "p99 ms", "written", "kills")
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6} s", self.at.as_secs())?;
        for figure in self.figures {
            write!(f, "{figure:>12.1}")?;
        }
        write!(f, "{:>10.1}{:>12}{:>7}", self.p99_ms, self.written, self.kills)
    }
}

/// The end of a soak.
#[derive(Debug)]
pub struct Soaked {
    /// What grew, by the rule of thirds.
    pub grew: Vec<String>,
    /// What was lost, doubled or buried.
    pub wrong: Vec<String>,
    pub written: u64,
    pub kills: u64,
}

/// The rule of thirds: a figure is flat if the median of the run's last third is at most a quarter above the median of its second
/// third, or above it by no more than what has no meaning. The first third is for warming up.
pub fn grew(moments: &[Moment]) -> Vec<String> {
    let third = moments.len() / 3;
    let median = |moments: &[Moment], nth: usize| {
        let mut values: Vec<f64> = moments.iter().map(|moment| moment.figures[nth]).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let (second, last) = (&moments[third..moments.len() - third], &moments[moments.len() - third..]);
    let judged = FIGURES.iter().enumerate().filter_map(|(nth, (name, slack))| {
        let (before, after) = (median(second, nth), median(last, nth));
        (after > before * 1.25 && after > before + slack)
            .then(|| format!("{name} went from {before:.1} to {after:.1}"))
    });
    judged.collect()
}

/// Runs for so long at so many events a second, and tells each line.
pub async fn soak(length: Duration, rate: u64, seed: u64, mut tell: impl FnMut(&Moment)) -> Soaked {
    let settings = [("synchronous_commit", "on"), ("max_connections", "200"), ("autovacuum_naptime", "5s")];
    let stage = Stage::set_with(&settings, &["--auto-aof-rewrite-min-size", "64mb"]).await;
    let effects = Effects::on(&stage).await;
    sqlx::query("create index on effects (event_id)").execute(&effects.db).await.expect("made");
    let every = (length / LINES_MIN).min(LINE_MAX);
    let kept = format!("{}s", (every.as_secs() * 2).max(10));
    let relay = || {
        let flags = ["run", "--lease=0", "--trim-after=2s", "--log=warn", "--retention", &kept];
        Child::spawn(stage.command(&flags))
    };
    let consumer = || {
        let flags =
            ["--stream", "s", "--group", "g", "--claim-after-ms", "2000", "--attempts-max", "1000", "--quiet"];
        consume_over(&stage.redis.url(), &stage, &flags)
    };
    let (old_relay, mut relay_to_kill) = (relay(), relay());
    let (old_consumer, mut consumer_to_kill) = (consumer(), consumer());
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..WRITERS).map(|nth| write(&stage.pool, nth, rate, &stop, &written)).collect();
    let probes = probe(&stage.pool, &stop);

    let (began, mut chance, mut moments, mut kills) = (Instant::now(), Chance::seeded(seed), vec![], 0_u64);
    let mut next_kill = Duration::ZERO;
    while began.elapsed() < length {
        sleep(Duration::from_millis(200)).await;
        if began.elapsed() >= next_kill {
            if chance.once_in(2) {
                relay_to_kill.kill_9();
                relay_to_kill.wait().await;
                relay_to_kill = relay();
            } else {
                consumer_to_kill.kill_9();
                consumer_to_kill.wait().await;
                consumer_to_kill = consumer();
            }
            kills += 1;
            next_kill = began.elapsed() + Duration::from_millis(2_000 + chance.below(6_000));
        }
        if began.elapsed() >= every * (moments.len() as u32 + 1) {
            let [p50, p99] = probes.quantiles();
            let mut figures = figures(&stage, &old_relay, &old_consumer).await;
            figures[7] = p50;
            let moment = Moment { at: began.elapsed(), figures, p99_ms: p99, written: written.load(Relaxed), kills };
            tell(&moment);
            moments.push(moment);
        }
    }
    stop.store(true, Relaxed);
    for writer in writers {
        writer.await.expect("no writer panics");
    }
    let written = written.load(Relaxed) + probes.end().await;
    let mut wrong = accounted(&effects, written).await;
    for (name, child) in [("relay", &old_relay), ("consumer", &old_consumer)] {
        if child.has_ended() {
            wrong.push(format!("the {name} that was never killed has ended"));
        }
    }
    Soaked { grew: grew(&moments), wrong, written, kills }
}

fn write(pool: &PgPool, nth: u64, rate: u64, stop: &Arc<AtomicBool>, written: &Arc<AtomicU64>) -> JoinHandle<()> {
    let (pool, stop, written) = (pool.clone(), stop.clone(), written.clone());
    tokio::spawn(async move {
        let each = (rate / WRITERS / TRANSACTIONS).max(1);
        let mut time = interval(Duration::from_millis(1_000 / TRANSACTIONS));
        for round in 0_u64.. {
            time.tick().await;
            if stop.load(Relaxed) {
                return;
            }
            let event = |n: u64| {
                let key = format!("k{}", (round * each + n) % KEYS * WRITERS + nth);
                let draft = Event::draft("s", "soak.happened").id(format!("w{nth}-{round}-{n}")).key(key);
                draft
                    .json(&serde_json::json!({"do": "ok", "n": n, "text": "x".repeat(200)}))
                    .expect("within all limits")
            };
            let events: Vec<_> = (0..each).map(event).collect();
            let mut tx = pool.begin().await.expect("Postgres is there");
            let _ = outbox::enqueue_all(&mut tx, &events).await.expect("Postgres is there");
            tx.commit().await.expect("Postgres is there");
            written.fetch_add(each, Relaxed);
        }
    })
}

/// How long single events take from their commit to their effect.
struct Probes {
    took: Arc<std::sync::Mutex<Vec<f64>>>,
    task: JoinHandle<u64>,
}

fn probe(pool: &PgPool, stop: &Arc<AtomicBool>) -> Probes {
    let took = Arc::new(std::sync::Mutex::new(vec![]));
    let (pool, stop, notes) = (pool.clone(), stop.clone(), took.clone());
    let task = tokio::spawn(async move {
        for nth in 0_u64.. {
            if stop.load(Relaxed) {
                return nth;
            }
            let id = format!("probe-{nth}");
            let event =
                Event::draft("s", "soak.probed").id(&id).json(&serde_json::json!({})).expect("within all limits");
            let mut tx = pool.begin().await.expect("Postgres is there");
            let _ = outbox::enqueue(&mut tx, &event).await.expect("Postgres is there");
            tx.commit().await.expect("Postgres is there");
            let begun = Instant::now();
            while begun.elapsed() < PROBE_MAX {
                let there: bool = sqlx::query_scalar("select exists (select from effects where event_id = $1)")
                    .bind(&id)
                    .fetch_one(&pool)
                    .await
                    .expect("Postgres is there");
                if there {
                    break;
                }
                sleep(PROBE_POLL).await;
            }
            notes.lock().expect("nobody panics with it in hand").push(begun.elapsed().as_secs_f64() * 1e3);
            sleep(PROBE_INTERVAL).await;
        }
        0
    });
    Probes { took, task }
}

impl Probes {
    /// The median and the 99th percentile since this was asked last.
    fn quantiles(&self) -> [f64; 2] {
        let mut took = std::mem::take(&mut *self.took.lock().expect("nobody panics with it in hand"));
        took.sort_by(f64::total_cmp);
        [50, 99].map(|percent| {
            took.get((took.len() * percent / 100).min(took.len().saturating_sub(1))).copied().unwrap_or(0.0)
        })
    }

    /// How many there were.
    async fn end(self) -> u64 {
        self.task.await.expect("no probe panics")
    }
}

async fn figures(stage: &Stage, relay: &Child, consumer: &Child) -> [f64; 8] {
    let memory = |child: &Child| child.id().and_then(resident_mb).unwrap_or_default();
    let rows: i64 = stage.ask("select count(*) from outbox").await;
    let table: i64 = stage.ask("select pg_total_relation_size('outbox')").await;
    let inbox: i64 = stage.ask("select pg_total_relation_size('inbox_seen')").await;
    let info: String = redis::from_redis_value(stage.redis.command(&["INFO", "memory"]).await).expect("text");
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse::<f64>().ok());
    let mb = |bytes: f64| bytes / f64::from(1 << 20);
    [
        memory(relay),
        memory(consumer),
        rows as f64,
        mb(table as f64),
        mb(inbox as f64),
        stage.length("s").await as f64,
        mb(used.unwrap_or_default()),
        0.0,
    ]
}

/// Memory of a process, as Linux counts it.
fn resident_mb(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse::<f64>().ok().map(|kilobytes| kilobytes / 1024.0)
}

/// Waits until everything took effect, and says what did not, or more than once, or was buried.
async fn accounted(effects: &Effects, written: u64) -> Vec<String> {
    let count = async |query: &str| -> i64 {
        let asked = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&effects.db).await;
        asked.expect("Postgres is there")
    };
    let (mut moved, mut before) = (Instant::now(), 0);
    let done = loop {
        let done = count("select count(distinct event_id) from effects").await;
        if done > before {
            (moved, before) = (Instant::now(), done);
        }
        if done.unsigned_abs() >= written || moved.elapsed() > Duration::from_secs(30) {
            break done;
        }
        sleep(Duration::from_millis(200)).await;
    };
    let mut wrong = vec![];
    if done.unsigned_abs() != written {
        wrong.push(format!("{written} events were written, and {done} took effect"));
    }
    let twice = count("select count(*) - count(distinct event_id) from effects").await;
    let buried =
        "select (select count(*) from outbox where dead_at is not null) + (select count(*) from outbox_dead_letter)";
    for (what, number) in [("took effect twice", twice), ("were buried", count(buried).await)] {
        if number > 0 {
            wrong.push(format!("{number} {what}"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(of_relay: impl Fn(usize) -> f64) -> Vec<Moment> {
        let moment =
            |nth| Moment { figures: [of_relay(nth), 20.0, 1_000.0, 8.0, 8.0, 500.0, 5.0, 3.0], ..Moment::default() };
        (0..12).map(moment).collect()
    }

    #[test]
    fn the_rule_of_thirds_finds_what_grows_and_nothing_else() {
        assert_eq!(grew(&moments(|_| 20.0)), [""; 0]);
        assert_eq!(grew(&moments(|nth| if nth < 3 { 5.0 } else { 20.0 })), [""; 0], "it warmed up");
        assert_eq!(grew(&moments(|nth| 10.0 + (nth % 2) as f64 * 3.0)), [""; 0], "it goes up and down");
        assert_eq!(grew(&moments(|nth| 2.0 + nth as f64 / 10.0)), [""; 0], "too little to have a meaning");
        assert_eq!(grew(&moments(|nth| 10.0 * (nth + 1) as f64)), ["relay MB went from 70.0 to 110.0"]);
    }
}
