//! The harness keeps its own promises; all other tests lean on these.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use outbox_tests::{Child, Postgres, Proxy, Redis, Side, Signal, Turns, eventually};
use redis::{AsyncCommands, RedisResult, Value};
use sqlx::{Connection, PgConnection};
use tokio::net::TcpStream;
use tokio::process::Command;

// --- servers

#[tokio::test]
async fn databases_of_one_postgres_are_apart() {
    let postgres = Postgres::start().await;
    let mut first = PgConnection::connect(&postgres.database().await).await.unwrap();
    let mut second = PgConnection::connect(&postgres.database().await).await.unwrap();
    sqlx::query("create table here ()").execute(&mut first).await.unwrap();
    let there: Option<String> =
        sqlx::query_scalar("select to_regclass('here')::text").fetch_one(&mut second).await.unwrap();
    assert_eq!(there, None);
}

#[tokio::test]
async fn settings_of_a_test_win() {
    let postgres = Postgres::start_with(&[("max_connections", "50"), ("fsync", "on")]).await;
    let mut connection = PgConnection::connect(&postgres.url()).await.unwrap();
    for (setting, value) in [("max_connections", "50"), ("fsync", "on"), ("full_page_writes", "off")] {
        let set: String =
            sqlx::query_scalar("select current_setting($1)").bind(setting).fetch_one(&mut connection).await.unwrap();
        assert_eq!(set, value, "{setting}");
    }

    let redis = Redis::start_with(&["--maxmemory", "3mb", "--appendonly", "no"]).await;
    let set: (String, String) =
        redis::from_redis_value(redis.command(&["CONFIG", "GET", "maxmemory"]).await).unwrap();
    assert_eq!(set.1, (3 << 20).to_string());
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let error = Postgres::launch(&[("no_such_setting", "1")]).await.err().unwrap();
    assert!(error.to_string().contains("no_such_setting"), "{error}");
    let error = Redis::launch(&["--no-such-setting", "1"]).await.err().unwrap();
    assert!(error.to_string().contains("no-such-setting"), "{error}");
}

#[tokio::test]
async fn postgres_keeps_its_data_through_stop_kill_and_restart() {
    let postgres = Postgres::start_with(&[("synchronous_commit", "on")]).await;
    let mut connection = PgConnection::connect(&postgres.url()).await.unwrap();
    sqlx::query("create table kept (n int)").execute(&mut connection).await.unwrap();

    type End = fn(&Postgres);
    let ends: [End; 3] = [Postgres::stop, Postgres::kill, |_| ()];
    for (n, end) in (1..).zip(ends) {
        sqlx::query("insert into kept values ($1)").bind(n).execute(&mut connection).await.unwrap();
        end(&postgres);
        if n < 3 {
            assert!(TcpStream::connect(("127.0.0.1", postgres.port())).await.is_err());
        }
        postgres.restart().await;
        connection = PgConnection::connect(&postgres.url()).await.unwrap();
        let kept: i64 = sqlx::query_scalar("select count(*) from kept").fetch_one(&mut connection).await.unwrap();
        assert_eq!(kept, i64::from(n));
    }
}

#[tokio::test]
async fn redis_keeps_its_data_through_stop_kill_and_restart() {
    let redis = Redis::start().await;
    type End = fn(&Redis);
    let ends: [End; 3] = [Redis::stop, Redis::kill, |_| ()];
    for (n, end) in (1..).zip(ends) {
        redis.command(&["RPUSH", "kept", "one more"]).await;
        end(&redis);
        if n < 3 {
            assert!(TcpStream::connect(("127.0.0.1", redis.port())).await.is_err());
        }
        redis.restart().await;
        assert_eq!(redis.command(&["LLEN", "kept"]).await, Value::Int(n));
    }
}

#[tokio::test]
async fn servers_end_with_their_value() {
    let postgres = Postgres::start().await;
    let redis = Redis::start().await;
    let _session = PgConnection::connect(&postgres.url()).await.unwrap();
    let left = [(postgres.port(), postgres.data_dir()), (redis.port(), redis.data_dir())];

    let dropped = Instant::now();
    drop((postgres, redis));
    assert!(dropped.elapsed() < Duration::from_secs(5), "dropping a server takes {:?}", dropped.elapsed());
    for (port, folder) in &left {
        nothing_is_left(*port, folder).await;
    }
}

#[tokio::test]
async fn servers_end_with_a_killed_parent() {
    let mut parent = Child::spawn(Command::new(env!("CARGO_BIN_EXE_hold_servers")));
    parent.saw("holding").await;
    let left = ["postgres ", "redis "].map(|server| {
        let log = parent.log();
        let line = log.lines().find_map(|line| line.strip_prefix(server)).unwrap().to_owned();
        let (port, folder) = line.split_once(' ').unwrap();
        (port.parse::<u16>().unwrap(), PathBuf::from(folder))
    });
    for (port, folder) in &left {
        assert!(TcpStream::connect(("127.0.0.1", *port)).await.is_ok());
        assert!(folder.is_dir());
    }
    // A session is what may keep a server from ending.
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", left[0].0);
    let _session = PgConnection::connect(&url).await.unwrap();

    parent.kill_9();
    assert_eq!(parent.wait().await, 128 + 9);
    for (port, folder) in &left {
        nothing_is_left(*port, folder).await;
    }
}

#[tokio::test]
async fn a_parent_killed_while_its_servers_boot_leaves_nothing() {
    // Its temporary files are ours to look at.
    let temporary = tempfile::tempdir().unwrap();
    std::fs::set_permissions(temporary.path(), std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
    let folders = || std::fs::read_dir(temporary.path()).unwrap().count();
    for boot_part in 0..5 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hold_servers"));
        command.env("TMPDIR", temporary.path());
        let mut parent = Child::spawn(command);
        let started = Instant::now();
        // Not a wait for a fact, but a choice of moments: each round kills at another stage of the boot.
        eventually("a folder and a moment", async || {
            folders() > 0 && started.elapsed() > Duration::from_millis(100 * boot_part)
        })
        .await;
        parent.kill_9();
        parent.wait().await;
        eventually("no folder is left", async || folders() == 0).await;
    }
}

async fn nothing_is_left(port: u16, folder: &Path) {
    eventually(&format!("port {port} closes"), async || TcpStream::connect(("127.0.0.1", port)).await.is_err()).await;
    eventually(&format!("{} goes", folder.display()), async || !folder.exists()).await;
}

// --- the wire

/// A Redis and a wire to it.
async fn wired_redis() -> (Redis, Proxy) {
    let redis = Redis::start().await;
    let proxy = Proxy::to(redis.port()).await;
    (redis, proxy)
}

/// A connection over the wire that is past its greeting: the next command is the next turn.
async fn over(proxy: &Proxy) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(format!("redis://127.0.0.1:{}/", proxy.port())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    connection.set_response_timeout(outbox_tests::deadline());
    redis::cmd("PING").exec_async(&mut connection).await.unwrap();
    connection
}

#[tokio::test]
async fn a_wire_carries_both_protocols_and_large_bursts() {
    let (redis, proxy) = wired_redis().await;
    let large = "x".repeat(20_000_000);
    let mut connection = over(&proxy).await;
    let _: () = connection.set("large", &large).await.unwrap();
    assert!(connection.get::<_, String>("large").await.unwrap() == large);
    assert_eq!(redis.command(&["STRLEN", "large"]).await, Value::Int(20_000_000));

    let postgres = Postgres::start().await;
    let proxy = Proxy::to(postgres.port()).await;
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port());
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let length: i32 = sqlx::query_scalar("select length($1)").bind(&large).fetch_one(&mut connection).await.unwrap();
    assert_eq!(length, 20_000_000);
}

#[tokio::test]
async fn a_request_that_follows_a_reply_is_one_turn() {
    let (_redis, proxy) = wired_redis().await;
    let mut connection = over(&proxy).await;
    let before = proxy.turns();
    for n in 1..=10 {
        let _: () = connection.set("k", n).await.unwrap();
        assert_eq!(proxy.turns(), before + n);
    }
}

#[tokio::test]
async fn a_cut_ends_connections_and_lets_new_ones_in() {
    let (_redis, proxy) = wired_redis().await;
    let mut connection = over(&proxy).await;
    proxy.cut();
    let answer: RedisResult<()> = connection.set("k", 1).await;
    assert!(answer.unwrap_err().is_connection_dropped());
    let _: () = over(&proxy).await.set("k", 1).await.unwrap();
}

#[tokio::test]
async fn a_refusing_wire_lets_nobody_in_until_it_accepts() {
    let (_redis, proxy) = wired_redis().await;
    let mut connection = over(&proxy).await;
    for _ in 0..20 {
        proxy.refuse();
        assert!(connection.set::<_, _, ()>("k", 1).await.is_err());
        assert!(TcpStream::connect(("127.0.0.1", proxy.port())).await.is_err());
        proxy.accept();
        connection = over(&proxy).await;
    }
}

#[tokio::test]
async fn a_frozen_wire_carries_nothing_and_a_thawed_one_lost_nothing() {
    let (redis, proxy) = wired_redis().await;
    let mut connection = over(&proxy).await;
    proxy.freeze();
    let mut asking = tokio::spawn(async move { connection.incr::<_, _, i64>("k", 1).await });
    // A newcomer is accepted, and hangs as well.
    let client = redis::Client::open(format!("redis://127.0.0.1:{}/", proxy.port())).unwrap();
    let newcomer = client.get_multiplexed_async_connection().await;
    assert!(newcomer.is_err_and(|error| error.is_timeout()));
    assert!(!asking.is_finished());
    assert_eq!(redis.command(&["GET", "k"]).await, Value::Nil);

    proxy.thaw();
    assert_eq!((&mut asking).await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn a_slow_wire_delays_each_way() {
    let (_redis, proxy) = wired_redis().await;
    let mut connection = over(&proxy).await;
    let delay = Duration::from_millis(500);
    proxy.slow(delay);
    let asked = Instant::now();
    let _: () = connection.set("k", 1).await.unwrap();
    assert!(asked.elapsed() >= 2 * delay);
    proxy.slow(Duration::ZERO);
    let asked = Instant::now();
    let _: () = connection.set("k", 1).await.unwrap();
    assert!(asked.elapsed() < 2 * delay);
}

#[tokio::test]
async fn a_halt_at_a_request_means_the_write_did_not_happen() {
    let (redis, proxy) = wired_redis().await;
    let mut connection = over(&proxy).await;
    let mut other = over(&proxy).await;
    let halt = proxy.halt_at(3, Side::Request);
    let writing = tokio::spawn(async move {
        for _ in 1..=5 {
            connection.incr::<_, _, i64>("k", 1).await?;
        }
        Ok::<(), redis::RedisError>(())
    });
    halt.reached().await;
    let other = tokio::spawn(async move { other.incr::<_, _, i64>("other", 1).await });
    assert_eq!(redis.command(&["GET", "k"]).await, Value::BulkString(b"2".into()));

    proxy.thaw();
    assert!(writing.await.unwrap().is_err());
    assert!(other.await.unwrap().is_err());
    assert_eq!(redis.command(&["GET", "k"]).await, Value::BulkString(b"2".into()));
    assert_eq!(redis.command(&["GET", "other"]).await, Value::Nil);
    let _: () = over(&proxy).await.set("k", 1).await.unwrap();
}

#[tokio::test]
async fn a_halt_at_a_reply_means_the_write_happened() {
    let (redis, proxy) = wired_redis().await;
    let mut connection = over(&proxy).await;
    let halt = proxy.halt_at(3, Side::Reply);
    assert!(!halt.is_reached());
    let writing = tokio::spawn(async move {
        for _ in 1..=5 {
            connection.incr::<_, _, i64>("k", 1).await?;
        }
        Ok::<(), redis::RedisError>(())
    });
    halt.reached().await;
    assert!(halt.is_reached());
    assert_eq!(redis.command(&["GET", "k"]).await, Value::BulkString(b"3".into()));
    assert!(!writing.is_finished());
    proxy.cut();
    assert!(writing.await.unwrap().is_err());
}

#[tokio::test]
async fn a_halted_commit_is_a_commit_only_at_its_reply() {
    let postgres = Postgres::start().await;
    let mut direct = PgConnection::connect(&postgres.url()).await.unwrap();
    sqlx::query("create table written (side text)").execute(&mut direct).await.unwrap();
    let proxy = Proxy::to(postgres.port()).await;
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port());

    for (side, rows) in [(Side::Request, 0_i64), (Side::Reply, 1)] {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        let insert = "insert into written values ('here')";
        sqlx::query(insert).execute(&mut *transaction).await.unwrap();
        let halt = proxy.halt_at(1, side);
        tokio::select! {
            _ = transaction.commit() => panic!("a commit whose {side:?} is lost cannot succeed"),
            () = halt.reached() => {}
        }
        proxy.thaw();
        let written: i64 = sqlx::query_scalar("select count(*) from written").fetch_one(&mut direct).await.unwrap();
        assert_eq!(written, rows, "{side:?}");
    }
}

#[tokio::test]
async fn a_lost_reply_is_a_write_that_its_client_does_not_know_of() {
    let (redis, proxy) = wired_redis().await;
    let mut connection = over(&proxy).await;
    let mut other = over(&proxy).await;
    let lost = proxy.lose_reply(2);
    assert_eq!(connection.incr::<_, _, i64>("k", 1).await.unwrap(), 1);
    assert!(connection.incr::<_, _, i64>("k", 1).await.is_err());
    lost.reached().await;
    assert_eq!(redis.command(&["GET", "k"]).await, Value::BulkString(b"2".into()));
    // Nobody else noticed.
    assert_eq!(other.incr::<_, _, i64>("k", 1).await.unwrap(), 3);
    assert_eq!(over(&proxy).await.incr::<_, _, i64>("k", 1).await.unwrap(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn not_one_byte_passes_after_a_halt() {
    let (redis, proxy) = wired_redis().await;
    for _ in 0..20 {
        let mut writers = Vec::new();
        for _ in 0..8 {
            let mut connection = over(&proxy).await;
            writers.push(async move { while connection.incr::<_, _, i64>("k", 1).await.is_ok() {} });
        }
        let halt = proxy.halt_at(50, Side::Reply);
        let writers: Vec<_> = writers.into_iter().map(tokio::spawn).collect();
        halt.reached().await;
        // When this is answered, what came before has been executed.
        redis.command(&["PING"]).await;
        let at_halt = redis.command(&["GET", "k"]).await;
        proxy.thaw();
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(redis.command(&["GET", "k"]).await, at_halt);
    }
}

#[tokio::test]
async fn whoever_speaks_over_a_wire_dies_at_each_of_its_turns_and_once_not_at_all() {
    let redis = Redis::start().await;
    let wire = Proxy::to(redis.port()).await;
    let port = wire.port().to_string();
    let three =
        "exec 3<>/dev/tcp/127.0.0.1/$0; for n in 1 2 3; do printf 'INCR k\\r\\n' >&3; read -r answer <&3; done";
    let start = || {
        let mut command = Command::new("bash");
        command.args(["-c", three, &port]);
        Child::spawn(command)
    };
    for (side, expected) in [(Side::Request, [0, 1, 2, 3]), (Side::Reply, [1, 2, 3, 3])] {
        let (mut done, mut killed) = (vec![], vec![]);
        let mut turns = Turns::of(&wire, side, 3).one_in(1);
        while turns.another().is_some() {
            redis.command(&["SET", "k", "0"]).await;
            killed.push(turns.kill(start, async |child| child.has_ended()).await);
            done.push(redis::from_redis_value::<i64>(redis.command(&["GET", "k"]).await).unwrap());
        }
        assert_eq!((&done[..], &killed[..]), (&expected[..], &[true, true, true, false][..]), "{side:?}");
    }
}

#[tokio::test]
#[should_panic(expected = "a run takes more than 3 turns")]
async fn a_run_that_takes_no_turns_does_not_pass_for_one_that_was_killed_at_each() {
    let redis = Redis::start().await;
    let wire = Proxy::to(redis.port()).await;
    let mut turns = Turns::of(&wire, Side::Request, 3);
    while turns.another().is_some() {
        turns.kill(|| Child::spawn(Command::new("true")), async |child| child.has_ended()).await;
    }
}

// --- processes and waiting

#[tokio::test]
async fn a_child_is_heard_signalled_and_waited_for() {
    let mut command = Command::new("sh");
    command.args(["-c", "trap 'echo goodbye >&2; exit 7' TERM; echo hello; while :; do sleep 0.01; done"]);
    let mut child = Child::spawn(command);
    assert_eq!(child.saw("hell").await, "hello");
    child.signal(Signal::Stop);
    child.signal(Signal::Term);
    child.signal(Signal::Cont);
    assert_eq!(child.wait().await, 7);
    assert!(child.log().ends_with("goodbye\n"), "the last words are heard, too");
    assert_eq!(child.wait().await, 7);
}

#[tokio::test]
async fn a_child_ends_with_its_group_and_its_value() {
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 1000 & echo $!; wait"]);
    let child = Child::spawn(command);
    let grandchild: String = child.saw("").await;
    let lives = async || {
        Command::new("kill").args(["-0", &grandchild]).stderr(std::process::Stdio::null()).status().await.unwrap()
    };
    assert!(lives().await.success());
    drop(child);
    eventually("the grandchild is gone", async || !lives().await.success()).await;
}

#[tokio::test]
#[should_panic(expected = "ended and never said \"word\"")]
async fn a_child_that_ends_in_silence_is_not_waited_for() {
    Child::spawn(Command::new("true")).saw("word").await;
}
