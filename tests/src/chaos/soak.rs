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

use crate::measure::memory;
use crate::{Chance, Child, Effects, Samples, Stage, consume_over};

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

/// What is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    pub relay_mb: f64,
    pub consumer_mb: f64,
    pub rows: f64,
    pub table_mb: f64,
    pub inbox_mb: f64,
    pub entries: f64,
    pub redis_mb: f64,
    pub p50_ms: f64,
}

impl Figures {
    /// Each with its name, and by how much it may differ without a meaning.
    fn named(self) -> [(&'static str, f64, f64); 8] {
        [
            ("relay MB", self.relay_mb, 4.0),
            ("consumer MB", self.consumer_mb, 4.0),
            ("rows", self.rows, 5_000.0),
            ("table MB", self.table_mb, 16.0),
            ("inbox MB", self.inbox_mb, 16.0),
            ("entries", self.entries, 5_000.0),
            ("redis MB", self.redis_mb, 16.0),
            ("p50 ms", self.p50_ms, 5.0),
        ]
    }
}

/// One line: what everything has come to.
#[derive(Debug, Clone, Default)]
pub struct Moment {
    pub at: Duration,
    pub figures: Figures,
    pub p99_ms: f64,
    pub written: u64,
    pub kills: u64,
}

impl Moment {
    /// The head of the table.
    pub fn head() -> String {
        let names: String = Figures::default().named().iter().map(|(name, ..)| format!("{name:>12}")).collect();
        format!("{:>8}{names}{:>10}{:>12}{:>7}", "at", "p99 ms", "written", "kills")
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6} s", self.at.as_secs())?;
        for (_, figure, _) in self.figures.named() {
            write!(f, "{figure:>12.1}")?;
        }
        write!(f, "{:>10.1}{:>12}{:>7}", self.p99_ms, self.written, self.kills)
    }
}

/// What the rule of thirds says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Growth {
    Flat,
    /// There are too few lines to say.
    Unknown,
    /// What grew, and how.
    Grew(Vec<String>),
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flat => write!(f, "flat, by the rule of thirds"),
            Self::Unknown => write!(f, "too short to say whether anything grows"),
            Self::Grew(what) => write!(f, "not flat, by the rule of thirds: {}", what.join("; ")),
        }
    }
}

/// The end of a soak.
#[derive(Debug)]
pub struct Soaked {
    pub growth: Growth,
    /// What was lost, doubled or buried.
    pub wrong: Vec<String>,
    pub written: u64,
    pub kills: u64,
}

/// The rule of thirds: a figure is flat if the median of the run's last third is at most a quarter above the median of its second
/// third, or above it by no more than what has no meaning. The first third is for warming up.
pub fn growth(moments: &[Moment]) -> Growth {
    let third = moments.len() / 3;
    if third == 0 {
        return Growth::Unknown;
    }
    let (second, last) = (&moments[third..moments.len() - third], &moments[moments.len() - third..]);
    let median = |moments: &[Moment], nth: usize| {
        moments.iter().map(|moment| moment.figures.named()[nth].1).collect::<Samples>().median()
    };
    let judged = Figures::default().named().into_iter().enumerate().filter_map(|(nth, (name, _, slack))| {
        let (before, after) = (median(second, nth), median(last, nth));
        (after > before * 1.25 && after > before + slack)
            .then(|| format!("{name} went from {before:.1} to {after:.1}"))
    });
    let grew: Vec<_> = judged.collect();
    if grew.is_empty() { Growth::Flat } else { Growth::Grew(grew) }
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
            let took = probes.take();
            let figures =
                Figures { p50_ms: took.percentile(0.5), ..figures(&stage, &old_relay, &old_consumer).await };
            let (p99_ms, written) = (took.percentile(0.99), written.load(Relaxed));
            let moment = Moment { at: began.elapsed(), figures, p99_ms, written, kills };
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
    Soaked { growth: growth(&moments), wrong, written, kills }
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
    took: Arc<std::sync::Mutex<Samples>>,
    task: JoinHandle<u64>,
}

fn probe(pool: &PgPool, stop: &Arc<AtomicBool>) -> Probes {
    let took = Arc::new(std::sync::Mutex::new(Samples::default()));
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
    /// Those since this was asked last.
    fn take(&self) -> Samples {
        std::mem::take(&mut *self.took.lock().expect("nobody panics with it in hand"))
    }

    /// How many there were.
    async fn end(self) -> u64 {
        self.task.await.expect("no probe panics")
    }
}

async fn figures(stage: &Stage, relay: &Child, consumer: &Child) -> Figures {
    let resident = |child: &Child| child.id().and_then(memory).map_or(0.0, |(now, _)| now);
    let rows: i64 = stage.ask("select count(*) from outbox").await;
    let table: i64 = stage.ask("select pg_total_relation_size('outbox')").await;
    let inbox: i64 = stage.ask("select pg_total_relation_size('inbox_seen')").await;
    let info: String = redis::from_redis_value(stage.redis.command(&["INFO", "memory"]).await).expect("text");
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse::<f64>().ok());
    let mb = |bytes: f64| bytes / f64::from(1 << 20);
    Figures {
        relay_mb: resident(relay),
        consumer_mb: resident(consumer),
        rows: rows as f64,
        table_mb: mb(table as f64),
        inbox_mb: mb(inbox as f64),
        entries: stage.length("s").await as f64,
        redis_mb: mb(used.unwrap_or_default()),
        p50_ms: 0.0,
    }
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

    fn moments(count: usize, of_relay: impl Fn(usize) -> f64) -> Vec<Moment> {
        let others = Figures { consumer_mb: 20.0, rows: 1_000.0, entries: 500.0, p50_ms: 3.0, ..Figures::default() };
        let moment = |nth| Moment { figures: Figures { relay_mb: of_relay(nth), ..others }, ..Moment::default() };
        (0..count).map(moment).collect()
    }

    #[test]
    fn the_rule_of_thirds_finds_what_grows_and_nothing_else() {
        let of = |of_relay: &dyn Fn(usize) -> f64| growth(&moments(12, of_relay));
        assert_eq!(of(&|_| 20.0), Growth::Flat);
        assert_eq!(of(&|nth| if nth < 3 { 5.0 } else { 20.0 }), Growth::Flat, "it warmed up");
        assert_eq!(of(&|nth| 10.0 + (nth % 2) as f64 * 3.0), Growth::Flat, "it goes up and down");
        assert_eq!(of(&|nth| 2.0 + nth as f64 / 10.0), Growth::Flat, "too little to have a meaning");
        assert_eq!(of(&|nth| 10.0 * (nth + 1) as f64), Growth::Grew(vec!["relay MB went from 65.0 to 105.0".into()]));
        assert_eq!(growth(&moments(2, |_| 20.0)), Growth::Unknown, "two lines have no thirds");
    }
}
