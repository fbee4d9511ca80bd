//! What can lose events here, or hold them up: each setting and version by name, why, and the remedy.
//!
//! `relay doctor` says it, and `relay run` writes it to its log when it starts. What would certainly lose events the relay
//! refuses by itself (`store/check.rs`, `append.rs`); the rest is for a person to decide.

use std::time::{Duration, SystemTime};

use redis::pipe;
use serde::Serialize;
use sqlx::PgConnection;

use crate::config::Config;
use crate::fault::{Error, Outage};
use crate::replies::text;
use crate::store::{self, doctor as facts};
use crate::wires::{To, Wires};

/// Clocks may differ by so much.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(5);
/// A transaction that wrote to the outbox may be open for so many times as long as others wait for it.
const OPEN_TIMES_MAX: u32 = 30;
/// Rows are to be kept for at least so long: it is what a lost Redis can be rebuilt from.
const RETENTION_MIN: Duration = Duration::from_secs(600);
/// Memory of Redis that may be in use.
const MEMORY_SHARE_MAX: f64 = 0.9;
/// So many streams are asked for a time to live.
const STREAMS_MAX: usize = 10_000;

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Harm {
    /// Events can be lost.
    Loses,
    /// Events can be held up.
    Delays,
    /// It cannot be looked at, or a relay would not start.
    Refused,
}

/// Something that was found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    pub(crate) name: &'static str,
    pub(crate) harm: Harm,
    /// What it is here.
    pub(crate) found: String,
    pub(crate) why: &'static str,
    pub(crate) remedy: &'static str,
}

/// What a doctor knows: the harm, why, and the remedy of each name. `docs/operations.md` lists them.
const KNOWN: [(&str, Harm, &str, &str); 24] = [
    (
        "postgres-reachable",
        Harm::Refused,
        "nothing can be sent that cannot be read",
        "start it, or correct DATABASE_URL",
    ),
    ("outbox-tables", Harm::Refused, "a relay does not start with them", "do as the sentence says"),
    (
        "relay-rights",
        Harm::Refused,
        "a relay does not start without them",
        "grant them; docs/operations.md lists them",
    ),
    ("postgres-fsync", Harm::Loses, "a crash of the machine loses or spoils what was committed", "fsync = on"),
    (
        "postgres-full-page-writes",
        Harm::Loses,
        "a crash in the middle of writing a page spoils it",
        "full_page_writes = on",
    ),
    (
        "postgres-synchronous-commit",
        Harm::Loses,
        "a crash loses the newest commits of producers, also of such whose events were sent already",
        "synchronous_commit = on, for the server and for each role that produces",
    ),
    ("outbox-unlogged", Harm::Loses, "a crash empties an unlogged table", "alter table ... set logged"),
    (
        "outbox-bell",
        Harm::Delays,
        "nobody wakes a relay that sleeps, so an event waits up to RELAY_SLEEP_POLL_INTERVAL",
        "alter table outbox enable trigger outbox_ring, or relay migrate",
    ),
    (
        "outbox-open-transaction",
        Harm::Delays,
        "what it wrote waits until it ends, and retention waits with it",
        "end it: relay blockers, pg_terminate_backend; and set idle_in_transaction_session_timeout for producers",
    ),
    (
        "postgres-pooler",
        Harm::Refused,
        "the relay's sessions are its own: behind a transaction pooler settings leak to others, and prepared statements and notifications are lost",
        "connect the relay directly, or in session mode",
    ),
    (
        "clocks",
        Harm::Delays,
        "ages, due times and latencies are told wrongly",
        "let one time service set the clocks of all machines",
    ),
    (
        "retention-short",
        Harm::Loses,
        "a Redis that is lost is rebuilt from the rows that are still there",
        "--retention (RELAY_RETENTION) of as long as you may need to notice: a day",
    ),
    (
        "group-behind-retention",
        Harm::Loses,
        "rows that these groups still need are deleted, so Redis alone has their events",
        "let the groups catch up, raise RELAY_RETENTION, or drop groups that nobody reads: XGROUP DESTROY",
    ),
    (
        "trim-off",
        Harm::Delays,
        "nothing ever goes from Redis, and when its memory is full nothing can be published",
        "--trim-after (RELAY_TRIM_AFTER) of a minute",
    ),
    ("redis-reachable", Harm::Refused, "nothing can be sent to it", "start it, or correct REDIS_URL"),
    ("redis-version", Harm::Refused, "a relay does not start with it", "Redis 7.0 or newer"),
    (
        "redis-maxmemory-policy",
        Harm::Loses,
        "when memory is short Redis throws whole streams away, with their groups and dead letters",
        "maxmemory-policy noeviction",
    ),
    ("redis-replica", Harm::Refused, "a replica takes no writes", "point REDIS_URL at the primary"),
    (
        "redis-appendonly",
        Harm::Loses,
        "a restart of Redis goes back to its last snapshot: events come again as far as rows are kept, what groups have done since \
         comes twice, and dead letters of the last second are gone",
        "appendonly yes",
    ),
    (
        "redis-appendfsync",
        Harm::Loses,
        "a crash of the machine loses half a minute of what Redis was told, dead letters of the last second among it",
        "appendfsync everysec, and no-appendfsync-on-rewrite no",
    ),
    (
        "redis-cannot-save",
        Harm::Loses,
        "what Redis is told now is not on its disk",
        "look at its log, and at the room on its disk",
    ),
    (
        "redis-memory",
        Harm::Delays,
        "when memory is full publishing pauses",
        "raise maxmemory, or let groups catch up so that more can be trimmed",
    ),
    (
        "redis-stream-expires",
        Harm::Loses,
        "when its time has come the whole stream is gone, with its groups and what they had not read",
        "PERSIST the stream, and find who sets a time to live",
    ),
    (
        "redis-replicas-lag",
        Harm::Loses,
        "a failover to a replica that is not connected loses what it has not seen: events come again, groups go back",
        "look at the replica's log",
    ),
];

fn finding(name: &str, found: impl Into<String>) -> Finding {
    let (name, harm, why, remedy) =
        *KNOWN.iter().find(|(known, ..)| *known == name).expect("every finding stands in the table");
    Finding { name, harm, found: found.into(), why, remedy }
}

/// Looks at everything. What cannot be reached is a finding, too.
pub(crate) async fn examine(config: &Config) -> Vec<Finding> {
    look(config, config.database.connect_two().await.map(|(one, _)| one)).await
}

async fn look(config: &Config, db: Result<PgConnection, Error>) -> Vec<Finding> {
    let mut findings = of_settings(config);
    let streams = match db {
        // Behind such a pooler no other answer could be relied on.
        Err(Error::Unusable(sentence)) => {
            findings.push(finding("postgres-pooler", sentence));
            vec![]
        }
        Ok(mut db) => of_postgres(&mut db, config, &mut findings).await.unwrap_or_else(|error| {
            findings.push(finding("postgres-reachable", error.to_string()));
            vec![]
        }),
        Err(error) => {
            findings.push(finding("postgres-reachable", error.to_string()));
            vec![]
        }
    };
    if let Err(error) = of_redis(config, &streams, &mut findings).await {
        findings.push(finding("redis-reachable", error.to_string()));
    }
    findings
}

/// Writes to the log what a person should decide about, once the relay has its sessions. What cannot be reached, or is refused,
/// the relay says by itself.
pub(crate) async fn advise(config: &Config) {
    let db = config.database.connect().await;
    for finding in look(config, db).await.into_iter().filter(|finding| finding.harm != Harm::Refused) {
        let Finding { name, found, why, remedy, .. } = finding;
        tracing::warn!(name, found, why, remedy, "not as it should be; see `relay doctor`");
    }
}

fn of_settings(config: &Config) -> Vec<Finding> {
    let mut findings = vec![];
    if !config.retention.is_zero() && config.retention < RETENTION_MIN {
        findings.push(finding("retention-short", format!("{:?}", config.retention)));
    }
    if config.trim_after.is_zero() {
        findings.push(finding("trim-off", "--trim-after (RELAY_TRIM_AFTER) is 0"));
    }
    findings
}

/// Returns the streams that are known.
async fn of_postgres(
    db: &mut PgConnection,
    config: &Config,
    findings: &mut Vec<Finding>,
) -> Result<Vec<String>, Error> {
    let schema = &config.database.schema;
    match store::tables(db, schema).await {
        Err(Error::Unusable(sentence)) => {
            findings.push(finding("outbox-tables", sentence));
            return Ok(vec![]);
        }
        other => other?,
    }
    match store::check(db, schema).await {
        Err(Error::Unusable(sentence)) => findings.push(finding("relay-rights", sentence)),
        other => other?,
    }
    let before = SystemTime::now();
    let settings = facts::settings(db).await?;
    for (name, setting) in
        [("postgres-fsync", &settings.fsync), ("postgres-full-page-writes", &settings.full_page_writes)]
    {
        if setting != "on" {
            findings.push(finding(name, setting.as_str()));
        }
    }
    let mut forgetful = facts::forgetful(db).await?;
    if settings.synchronous_commit == "off" {
        forgetful.insert(0, "off for the relay's own user, and so most likely for others".to_owned());
    }
    if !forgetful.is_empty() {
        findings.push(finding("postgres-synchronous-commit", format!("off: {}", forgetful.join(", "))));
    }
    let ours = before.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    if let Some(found) = clocks_differ(ours, settings.clock) {
        findings.push(finding("clocks", found));
    }
    let mut list = |name: &str, found: Vec<String>| {
        if !found.is_empty() {
            findings.push(finding(name, found.join(", ")));
        }
    };
    list("outbox-unlogged", facts::unlogged(db).await?);
    list(
        "outbox-open-transaction",
        facts::open_for_long(db, (config.overtake_after * OPEN_TIMES_MAX).as_secs_f64()).await?,
    );
    list("group-behind-retention", facts::groups_behind_retention(db).await?);
    if facts::bell_is_off(db).await? {
        findings.push(finding("outbox-bell", "the trigger outbox_ring is off, or not there"));
    }
    Ok(facts::streams(db).await?)
}

async fn of_redis(config: &Config, streams: &[String], findings: &mut Vec<Finding>) -> Result<(), Error> {
    let client = config.server.client()?;
    let mut wires = Wires::connect(&client, &config.server).await?;
    let info = wires.info().await?;
    let said = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim()
    };
    let number = |name: &str| said(name).parse::<f64>().unwrap_or(0.0);
    let mut found = |is: bool, name: &str, what: String| {
        if is {
            findings.push(finding(name, what));
        }
    };
    let version = said("redis_version");
    let major: Option<u32> = version.split('.').next().and_then(|major| major.parse().ok());
    found(major.is_some_and(|major| major < 7), "redis-version", version.to_owned());
    let policy = said("maxmemory_policy");
    found(policy.starts_with("allkeys"), "redis-maxmemory-policy", policy.to_owned());
    found(said("role") == "slave", "redis-replica", format!("its primary is {}", said("master_host")));
    found(said("aof_enabled") == "0", "redis-appendonly", "no".to_owned());
    let failed = [
        ("aof_last_write_status", "the AOF"),
        ("rdb_last_bgsave_status", "a snapshot"),
        ("aof_last_bgrewrite_status", "a new AOF"),
    ];
    let failed: Vec<&str> = failed.iter().filter(|(name, _)| said(name) == "err").map(|(_, what)| *what).collect();
    found(
        !failed.is_empty(),
        "redis-cannot-save",
        format!("the last time it wrote {} it failed", failed.join(" and ")),
    );
    let (used, limit) = (number("used_memory"), number("maxmemory"));
    found(
        limit > 0.0 && used > limit * MEMORY_SHARE_MAX,
        "redis-memory",
        format!("{used} of {limit} bytes are in use"),
    );
    let lagging: Vec<&str> = info
        .lines()
        .filter(|line| line.starts_with("slave") && line.contains("state=") && !line.contains("state=online"))
        .collect();
    found(!lagging.is_empty(), "redis-replicas-lag", lagging.join(" "));
    if said("cluster_enabled") == "1" {
        wires.spread().await?;
    }
    let expiring = ask_each(&mut wires, streams).await?;
    found(!expiring.is_empty(), "redis-stream-expires", expiring.join(", "));
    let weak = weak_syncs(&mut wires, said("aof_enabled") == "1").await?;
    found(!weak.is_empty(), "redis-appendfsync", weak.join(", "));
    Ok(())
}

/// How far Postgres's clock is from ours, if that matters. Both in Unix time.
fn clocks_differ(ours: f64, postgres: f64) -> Option<String> {
    let ahead = postgres - ours;
    (ahead.abs() > CLOCKS_DIFFER_MAX.as_secs_f64()).then(|| format!("Postgres's is {ahead:.0} s from this machine's"))
}

/// The streams that have a time to live. Where the relay's user may not ask, none.
async fn ask_each(wires: &mut Wires, streams: &[String]) -> Result<Vec<String>, Outage> {
    let streams = &streams[..streams.len().min(STREAMS_MAX)];
    let mut expiring = vec![];
    for portion in wires.portions(streams, |_, _| false).into_iter().map(<[String]>::to_vec).collect::<Vec<_>>() {
        let mut pipeline = pipe();
        for stream in &portion {
            pipeline.cmd("PTTL").arg(stream);
        }
        let replies = wires.send(To::Key(&portion[0]), &pipeline).await?;
        for (stream, reply) in portion.iter().zip(replies) {
            if let redis::Value::Int(ms) = reply
                && ms >= 0
            {
                expiring.push(format!("{stream} in {} s", ms / 1000));
            }
        }
    }
    Ok(expiring)
}

/// How Redis brings its AOF to the disk, where that is too seldom. Where the relay's user may not ask, nothing.
async fn weak_syncs(wires: &mut Wires, append_only: bool) -> Result<Vec<String>, Outage> {
    if !append_only {
        return Ok(vec![]); // said already
    }
    let mut pipeline = pipe();
    pipeline.cmd("CONFIG").arg("GET").arg("appendfsync").arg("no-appendfsync-on-rewrite");
    let replies = wires.send(To::Key(""), &pipeline).await?;
    let pairs: Vec<(String, String)> = match replies.first() {
        Some(redis::Value::Array(flat)) => flat
            .chunks_exact(2)
            .filter_map(|pair| Some((text(&pair[0])?.to_owned(), text(&pair[1])?.to_owned())))
            .collect(),
        Some(redis::Value::Map(pairs)) => {
            pairs.iter().filter_map(|(name, value)| Some((text(name)?.to_owned(), text(value)?.to_owned()))).collect()
        }
        _ => vec![],
    };
    let weak = [("appendfsync", "no"), ("no-appendfsync-on-rewrite", "yes")];
    let is_weak = |(name, value): &&(String, String)| weak.contains(&(name.as_str(), value.as_str()));
    Ok(pairs.iter().filter(is_weak).map(|(name, value)| format!("{name} {value}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_differ_by_seconds() {
        assert_eq!(clocks_differ(1_000.0, 1_004.0), None);
        assert_eq!(clocks_differ(1_000.0, 1_090.0).as_deref(), Some("Postgres's is 90 s from this machine's"));
        assert_eq!(clocks_differ(1_000.0, 910.0).as_deref(), Some("Postgres's is -90 s from this machine's"));
    }

    #[test]
    fn every_finding_stands_in_the_documentation() {
        let page =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md")).expect("the page");
        for (name, ..) in KNOWN {
            assert!(page.contains(&format!("| `{name}` |")), "{name}");
        }
    }
}
