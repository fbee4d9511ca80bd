//! `relay doctor` finds what was planted, by name, and nothing where all is well.

use outbox_tests::{Child, Stage, eventually};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A Postgres and a Redis as they should be.
const SOUND_POSTGRES: [(&str, &str); 3] = [("fsync", "on"), ("full_page_writes", "on"), ("synchronous_commit", "on")];
const SOUND_REDIS: [&str; 6] =
    ["--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"];

async fn sound() -> Stage {
    Stage::set_with(&SOUND_POSTGRES, &SOUND_REDIS).await
}

/// The names of what is found, which must be what the exit code says.
fn found(stage: &Stage, flags: &[&str]) -> Vec<String> {
    let output = stage.command(&["doctor", "--json"]).args(flags).output().expect("the binary runs");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = told["findings"].as_array().expect("findings");
    assert_eq!(output.status.code(), Some(i32::from(!findings.is_empty())), "{told}");
    assert_eq!(told["sound"], findings.is_empty());
    for finding in findings {
        for part in ["found", "why", "remedy"] {
            assert!(finding[part].as_str().is_some_and(|text| !text.is_empty()), "{finding}");
        }
    }
    findings.iter().map(|finding| finding["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn where_all_is_well_nothing_is_found() {
    let stage = sound().await;
    assert_eq!(found(&stage, &[]), [""; 0]);
    // Nor where events flow and groups read.
    let relay = Child::spawn(stage.command(&["run"]));
    stage.enqueue_many("s", 10).await;
    stage.until_arrived_by_itself("s", 10).await;
    stage.redis.command(&["XGROUP", "CREATE", "s", "g", "0"]).await;
    eventually("the group to be known", async || stage.ask::<i64>("select count(*) from outbox_group").await == 1)
        .await;
    assert_eq!(found(&stage, &[]), [""; 0]);
    assert!(!relay.log().contains("relay doctor"), "{}", relay.log());
    let told = stage.command(&["doctor"]).output().expect("the binary runs");
    assert!(String::from_utf8_lossy(&told.stdout).contains("nothing was found"));
}

#[tokio::test]
async fn settings_of_postgres_that_lose_commits_are_found() {
    let careless = [("fsync", "off"), ("full_page_writes", "off"), ("synchronous_commit", "off")];
    let stage = Stage::set_with(&careless, &SOUND_REDIS).await;
    let all = ["postgres-fsync", "postgres-full-page-writes", "postgres-synchronous-commit"];
    assert_eq!(found(&stage, &[]), all);
    // A relay that starts says so, too, and works.
    let relay = Child::spawn(stage.command(&["run"]));
    relay.saw("postgres-synchronous-commit").await;
    stage.enqueue("s", "a").await;
    stage.until_arrived_by_itself("s", 1).await;
}

#[tokio::test]
async fn what_is_wrong_with_the_outbox_is_found_one_by_one() {
    let stage = sound().await;
    let plants = [
        (
            "alter role postgres set synchronous_commit = off",
            "alter role postgres reset synchronous_commit",
            "postgres-synchronous-commit",
        ),
        (
            "alter table outbox_dead_letter set unlogged",
            "alter table outbox_dead_letter set logged",
            "outbox-unlogged",
        ),
        (
            "alter table outbox disable trigger outbox_ring",
            "alter table outbox enable trigger outbox_ring",
            "outbox-bell",
        ),
        ("alter sequence outbox_seq_seq cache 10", "alter sequence outbox_seq_seq cache 1", "outbox-tables"),
        (
            "insert into outbox_schema (version) values (99)",
            "delete from outbox_schema where version = 99",
            "outbox-tables",
        ),
        (
            "insert into outbox_stream (stream, sent_seq, pruned_seq) values ('s', 9, 5);
             insert into outbox_group values ('s', 'g', 3, 3, 0, 0, now())",
            "delete from outbox_stream",
            "group-behind-retention",
        ),
    ];
    for (plant, mend, name) in plants {
        stage.sql(plant).await;
        let names = found(&stage, &[]);
        assert!(names.iter().any(|found| found == name), "{plant}: {names:?}");
        stage.sql(mend).await;
        assert_eq!(found(&stage, &[]), [""; 0], "{mend}");
    }
}

#[tokio::test]
async fn an_unlogged_outbox_is_refused() {
    let stage = sound().await;
    stage.sql("alter table outbox set unlogged").await;
    assert!(found(&stage, &[]).contains(&"outbox-tables".to_owned()));
    let output = stage.command(&["run"]).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("a crash empties it"));
}

#[tokio::test]
async fn a_missing_right_is_found() {
    let stage = sound().await;
    stage.sql("create role poor login; grant usage on schema public to poor; grant select on outbox_schema to poor; grant select on outbox_seq_seq to poor").await;
    let url = stage.database_url.replace("postgres@", "poor@");
    let output = stage.command(&["doctor", "--json"]).env("DATABASE_URL", url).output().expect("the binary runs");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(
        told["findings"].as_array().expect("findings").iter().any(|finding| finding["name"] == "relay-rights"),
        "{told}"
    );
}

#[tokio::test]
async fn settings_of_redis_that_lose_streams_are_found() {
    let stage = Stage::set_with(&SOUND_POSTGRES, &["--appendonly", "no", "--maxmemory-policy", "noeviction"]).await;
    assert_eq!(found(&stage, &[]), ["redis-appendonly"]);
    let set = async |name: &str, value: &str| _ = stage.redis.command(&["CONFIG", "SET", name, value]).await;
    set("appendonly", "yes").await;
    eventually("the AOF", async || found(&stage, &[]).is_empty()).await;
    for (name, value, sound, finding) in [
        ("maxmemory-policy", "allkeys-lru", "noeviction", "redis-maxmemory-policy"),
        ("appendfsync", "no", "everysec", "redis-appendfsync"),
        ("no-appendfsync-on-rewrite", "yes", "no", "redis-appendfsync"),
        ("maxmemory", "1mb", "0", "redis-memory"),
    ] {
        set(name, value).await;
        assert_eq!(found(&stage, &[]), [finding], "{name} {value}");
        set(name, sound).await;
    }
    stage.sql("insert into outbox_stream (stream) values ('s')").await;
    stage.redis.command(&["XADD", "s", "1-1", "a", "b"]).await;
    stage.redis.command(&["EXPIRE", "s", "1000"]).await;
    assert_eq!(found(&stage, &[]), ["redis-stream-expires"]);
    stage.redis.command(&["PERSIST", "s"]).await;
    let other = outbox_tests::Redis::start().await;
    stage.redis.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]).await;
    assert!(found(&stage, &[]).contains(&"redis-replica".to_owned()));
}

#[tokio::test]
async fn a_redis_that_cannot_write_its_snapshot_is_found() {
    let stage = sound().await;
    let folder: Vec<String> =
        redis::from_redis_value(stage.redis.command(&["CONFIG", "GET", "dir"]).await).expect("its folder");
    // Where the file should come lies a folder.
    let file = std::path::Path::new(&folder[1]).join("dump.rdb");
    std::fs::create_dir(&file).expect("nothing is there yet");
    stage.redis.command(&["BGSAVE"]).await;
    eventually("it to be found", async || found(&stage, &[]) == ["redis-cannot-save"]).await;
    std::fs::remove_dir(&file).expect("it is there");
    stage.redis.command(&["BGSAVE"]).await;
    eventually("it to be mended", async || found(&stage, &[]).is_empty()).await;
}

#[tokio::test]
async fn a_replica_that_has_not_caught_up_is_found() {
    let stage = sound().await;
    // So long the primary waits for more replicas before it sends them what it has.
    stage.redis.command(&["CONFIG", "SET", "repl-diskless-sync", "yes"]).await;
    stage.redis.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "3600"]).await;
    let replica = outbox_tests::Redis::start().await;
    replica.command(&["REPLICAOF", "127.0.0.1", &stage.redis.port().to_string()]).await;
    eventually("it to be found", async || found(&stage, &[]) == ["redis-replicas-lag"]).await;
    stage.redis.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]).await;
    replica.command(&["REPLICAOF", "NO", "ONE"]).await;
    replica.command(&["REPLICAOF", "127.0.0.1", &stage.redis.port().to_string()]).await;
    eventually("it to be in step", async || found(&stage, &[]).is_empty()).await;
}

/// A double: an old Redis is not to be had everywhere, so a wire changes what ours says of itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_too_old_is_found() {
    let stage = sound().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (port, redis) = (listener.local_addr().expect("bound").port(), stage.redis.port());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", redis)).await.expect("Redis is there");
            let (mut said, mut tell) = client.into_split();
            let (mut answered, mut ask) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut said, &mut ask).await });
            tokio::spawn(async move {
                let mut bytes = vec![0; 64 << 10];
                while let Ok(count @ 1..) = answered.read(&mut bytes).await {
                    let older = older(&bytes[..count]);
                    if tell.write_all(&older).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let output = stage
        .command(&["doctor", "--json"])
        .env("REDIS_URL", stage.redis.url().replace(&redis.to_string(), &port.to_string()))
        .output()
        .expect("the binary runs");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let finding = &told["findings"][0];
    assert_eq!(finding["name"], "redis-version", "{told}");
    assert!(finding["found"].as_str().is_some_and(|version| version.starts_with("6.")), "{told}");
}

/// The same answer of the same length, from a Redis 6.
fn older(answer: &[u8]) -> Vec<u8> {
    let (name, mut answer) = (b"redis_version:", answer.to_vec());
    if let Some(at) = answer.windows(name.len()).position(|window| window == name) {
        answer[at + name.len()] = b'6';
    }
    answer
}

#[tokio::test]
async fn a_transaction_that_hangs_is_found() {
    let stage = sound().await;
    let mut tx = stage.pool.begin().await.expect("Postgres is there");
    sqlx::query("insert into outbox (stream, type, id, payload) values ('s', 't', 'slow', '1')")
        .execute(&mut *tx)
        .await
        .expect("inserted");
    eventually("it to be found", async || found(&stage, &["--overtake-after", "1ms"]) == ["outbox-open-transaction"])
        .await;
    assert_eq!(found(&stage, &[]), [""; 0], "it is not open for long");
}

#[tokio::test]
async fn settings_of_the_relay_and_stores_that_are_away_are_found() {
    let stage = sound().await;
    assert_eq!(found(&stage, &["--retention", "5m", "--trim-after", "0"]), ["retention-short", "trim-off"]);
    assert_eq!(found(&stage, &["--retention", "0"]), [""; 0], "kept for ever");
    stage.redis.kill();
    assert_eq!(found(&stage, &["--publish-timeout", "300ms"]), ["redis-reachable"]);
    stage.postgres.kill();
    assert_eq!(found(&stage, &["--publish-timeout", "300ms"]), ["postgres-reachable", "redis-reachable"]);
}
