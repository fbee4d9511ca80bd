//! The archive may die between any two steps: no row is without its object, what is left over is swept, and the next one
//! goes on.

use std::time::{Duration, Instant};

use outbox_tests::{Cellar, Chance, Child, Proxy, Side, Signal, Store, Turns, eventually, story};

/// Who is behind the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    Postgres,
    S3,
    Redis,
}

/// Kills the archive at each turn of one of them, and lets another one go on.
async fn crash_at_every_turn(store: Store, behind: Behind, side: Side) {
    let cellar = Cellar::open(store).await;
    let port = match behind {
        Behind::Postgres => cellar.stage.postgres.port(),
        Behind::S3 => cellar.s3.as_ref().expect("it has one").port(),
        Behind::Redis => cellar.stage.redis.port(),
    };
    let wire = Proxy::to(port).await;
    // One request after the other, so that each is a turn.
    let archive = || {
        let verb = ["run", "--requests-max", "1"];
        let mut command = match behind {
            Behind::Postgres => cellar.command_over(&verb, Some(&wire), None),
            Behind::S3 => cellar.command_over(&verb, None, Some(&wire)),
            Behind::Redis => cellar.command(&verb),
        };
        if behind == Behind::Redis {
            command.env("REDIS_URL", cellar.stage.redis_url_over(&wire));
        }
        Child::spawn(command)
    };
    let (mut orphans, mut version) = (0, 0);
    let mut turns = Turns::of(&wire, side, 10).one_in(2);
    while let Some(turn) = turns.another() {
        // New content, content of another page, content from before, and a deletion.
        version += 2;
        let mut events = vec![
            story("a", version, &format!("edition {version}")).event(),
            story("a", version + 1, &format!("edition {}", version.saturating_sub(2))).event(),
            story(&format!("copy-{version}"), 1, &format!("edition {version}")).event(),
            if version % 4 == 0 { story("b", version, "b").gone() } else { story("b", version, "b").event() },
        ];
        events.extend((0..8).map(|nth| story(&format!("c{nth}"), version, &format!("c {nth} {version}")).event()));
        cellar.tell(&events).await;
        turns.kill(archive, async |_| cellar.is_settled().await).await;
        eventually("the dead archive's transaction is rolled back", async || {
            let query = "select count(*) from pg_stat_activity where application_name = 'hasad'";
            cellar.stage.ask::<i64>(query).await == 0
        })
        .await;
        cellar.assert_nothing_is_missing().await;
        orphans += cellar.objects().difference(&cellar.named().await).count();
        cellar.catch_up().await;
        cellar.assert_nothing_is_missing().await;
        let newest = i64::try_from(version + 1).expect("small");
        let of_a = cellar.versions("https://example.org/a").await;
        assert_eq!(of_a.last(), Some(&(newest, "active".to_owned())), "after turn {turn}");
    }
    println!("{orphans} orphans on the way");
    // Which is no question of Redis: what was read and not acknowledged comes again as it was.
    assert!(orphans > 0 || behind == Behind::Redis, "some of these crashes must have left one");
    cellar.sweep().await;
    // The first numbers of these pages were never told: the test counts in twos.
    let (_, found) = cellar.ask(&["fsck", "--ignore", "gap"]).await;
    assert_eq!(found["faults"].as_array().map(Vec::len), Some(0), "{found:#}");
    assert_eq!(cellar.objects(), cellar.named().await);
    let rows: i64 = cellar.stage.ask("select count(*) from outbox").await;
    assert_eq!(cellar.rows().await.len(), usize::try_from(rows).expect("small"), "every event became a version");
}

#[tokio::test]
async fn killed_before_any_request_to_postgres_arrives_no_row_is_without_its_object() {
    crash_at_every_turn(Store::Folder, Behind::Postgres, Side::Request).await;
}

#[tokio::test]
async fn killed_before_any_reply_of_postgres_arrives_no_row_is_without_its_object() {
    crash_at_every_turn(Store::Folder, Behind::Postgres, Side::Reply).await;
}

#[tokio::test]
async fn killed_before_any_request_to_postgres_arrives_no_row_is_without_its_object_in_s3() {
    crash_at_every_turn(Store::S3, Behind::Postgres, Side::Request).await;
}

#[tokio::test]
async fn killed_before_any_request_to_s3_arrives_no_row_is_without_its_object() {
    crash_at_every_turn(Store::S3, Behind::S3, Side::Request).await;
}

#[tokio::test]
async fn killed_before_any_reply_of_s3_arrives_no_row_is_without_its_object() {
    crash_at_every_turn(Store::S3, Behind::S3, Side::Reply).await;
}

#[tokio::test]
async fn killed_before_any_request_to_redis_arrives_no_row_is_without_its_object() {
    crash_at_every_turn(Store::Folder, Behind::Redis, Side::Request).await;
}

#[tokio::test]
async fn killed_before_any_reply_of_redis_arrives_no_row_is_without_its_object() {
    crash_at_every_turn(Store::Folder, Behind::Redis, Side::Reply).await;
}

/// Two archives are killed again and again while they are told more, and somebody sweeps without any grace.
///
/// `OUTBOX_TEST_SECONDS` sets how long (20), `OUTBOX_TEST_SEED` repeats a run's choices.
async fn kills_at_random(store: Store) {
    let mut chance = Chance::from_environment();
    let seconds = std::env::var("OUTBOX_TEST_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(20);
    let cellar = Cellar::open(store).await;
    let flags = ["--batch-max", "5", "--attempts-max", "1000"];
    let mut archives = [cellar.run(&flags), cellar.run(&flags)];
    let (begun, length) = (Instant::now(), Duration::from_secs(seconds));
    let (mut told, mut kills, mut sweeps) = ([0_u64; 10], 0, 0);
    while begun.elapsed() < length {
        let events: Vec<_> = (0..chance.below(40))
            .map(|_| {
                let page = chance.below(10);
                let version = &mut told[usize::try_from(page).expect("small")];
                *version += 1;
                let told = story(&format!("page-{page}"), *version, &format!("content {}", chance.below(30)));
                if chance.below(8) == 0 { told.gone() } else { told.event() }
            })
            .collect();
        cellar.tell(&events).await;
        let victim = usize::try_from(chance.below(2)).expect("small");
        archives[victim].kill_9();
        archives[victim] = cellar.run(&flags);
        kills += 1;
        if chance.below(3) == 0 {
            let (code, swept) = cellar.ask(&["gc", "--grace", "0"]).await;
            assert_eq!(code, 0, "{swept:#}");
            sweeps += 1;
        }
        cellar.assert_nothing_is_missing().await;
    }
    cellar.until_settled().await;
    for archive in &mut archives {
        archive.saw("the archive works").await;
        archive.signal(Signal::Term);
        assert_eq!(archive.wait().await, 0);
    }
    println!("{} events, {kills} kills, {sweeps} sweeps", told.iter().sum::<u64>());
    assert_eq!(cellar.rows().await.len() as u64, told.iter().sum::<u64>(), "every event became a version");
    cellar.sweep().await;
    cellar.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn randomized_kills_and_sweeps_leave_every_version_and_its_object() {
    kills_at_random(Store::Folder).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn randomized_kills_and_sweeps_leave_every_version_and_its_object_in_s3() {
    kills_at_random(Store::S3).await;
}

#[tokio::test]
async fn asked_to_stop_it_ends_what_is_under_way_and_leaves_nothing_pending() {
    let cellar = Cellar::open(Store::Folder).await;
    let events: Vec<_> =
        (0..300).map(|nth| story(&format!("p{nth}"), 1, &format!("content {nth}")).event()).collect();
    cellar.tell(&events).await;
    let mut archive = cellar.run(&["--batch-max", "10", "--claim-after", "1h"]);
    eventually("some to be archived", async || !cellar.rows().await.is_empty()).await;
    archive.signal(Signal::Term);
    assert_eq!(archive.wait().await, 0);
    // At once: nobody has to wait until what it held is claimed.
    let mut archive = cellar.run(&["--claim-after", "1h"]);
    cellar.until_settled().await;
    archive.signal(Signal::Term);
    assert_eq!(archive.wait().await, 0);
    assert_eq!(cellar.rows().await.len(), 300);
    cellar.assert_sound().await;
}
