//! What a group has seen, in Postgres and in SQLite: the same promises, the same cases.

use std::path::Path;
use std::time::SystemTime;

use outbox::inbox::{self, Change, sqlite};
use outbox::{Entry, EntryId, Envelope, Settled};
use outbox_tests::{Postgres, eventually};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool, Postgres as Pg, Transaction};

fn at(seq: u64) -> EntryId {
    EntryId { generation: 1, seq }
}

fn entry_of(group: &str, id: &str, seq: u64) -> Entry {
    let envelope = Envelope::new(id.into(), "t".into(), 1, None, SystemTime::now(), "1".into(), None);
    Entry::new("s", group, at(seq), envelope)
}

fn entry(id: &str, seq: u64) -> Entry {
    entry_of("g", id, seq)
}

fn upto(seq: u64) -> Settled {
    Settled::new("s", "g", at(seq))
}

async fn inbox_in(postgres: &Postgres) -> PgPool {
    let pool = PgPoolOptions::new().max_connections(20).connect(&postgres.database().await).await.expect("there");
    inbox::migrate(&mut pool.acquire().await.expect("there")).await.expect("made");
    pool
}

async fn begin(pool: &PgPool, isolation: &str) -> Transaction<'static, Pg> {
    let begin = sqlx::AssertSqlSafe(format!("begin isolation level {isolation}"));
    pool.begin_with(begin).await.expect("there")
}

/// Whether it is the first sight, in a transaction of its own.
async fn sees(pool: &PgPool, entry: &Entry) -> bool {
    let mut tx = pool.begin().await.expect("there");
    let first = inbox::first_sight(&mut tx, entry).await.expect("asked");
    tx.commit().await.expect("committed");
    first
}

/// How many sessions wait for a lock.
async fn waiting(pool: &PgPool) -> i64 {
    let query =
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    sqlx::query_scalar(query).fetch_one(pool).await.expect("there")
}

#[tokio::test]
async fn of_many_transactions_at_once_one_sees_an_event_first() {
    let postgres = Postgres::start().await;
    let pool = inbox_in(&postgres).await;
    for isolation in ["read committed", "repeatable read", "serializable"] {
        for round in 0..20 {
            let id = format!("{isolation}-{round}");
            let tries: Vec<_> = (0..6)
                .map(|_| {
                    let (pool, entry) = (pool.clone(), entry(&id, round + 1));
                    tokio::spawn(async move {
                        let mut tx = begin(&pool, isolation).await;
                        // The snapshot is taken before anybody has written.
                        sqlx::query("select 1 from inbox_seen").execute(&mut *tx).await?;
                        let first = inbox::first_sight(&mut tx, &entry).await?;
                        tx.commit().await?;
                        Ok::<_, outbox::Error>(first)
                    })
                })
                .collect();
            let mut firsts = 0;
            for tried in tries {
                match tried.await.expect("no panic") {
                    Ok(first) => firsts += usize::from(first),
                    Err(error) => assert_ne!(isolation, "read committed", "{error}"),
                }
            }
            assert_eq!(firsts, 1, "{id}");
        }
    }
}

#[tokio::test]
async fn what_was_seen_in_a_transaction_that_is_rolled_back_was_not_seen() {
    let postgres = Postgres::start().await;
    let pool = inbox_in(&postgres).await;
    let mut tx = pool.begin().await.expect("there");
    assert!(inbox::first_sight(&mut tx, &entry("e", 1)).await.expect("asked"));
    tx.rollback().await.expect("there");
    assert!(sees(&pool, &entry("e", 1)).await);
    assert!(!sees(&pool, &entry("e", 1)).await);
    assert!(sees(&pool, &entry_of("other", "e", 1)).await, "each group sees for itself");
}

#[tokio::test]
async fn what_is_settled_is_forgotten_and_counts_as_seen() {
    let postgres = Postgres::start().await;
    let pool = inbox_in(&postgres).await;
    for seq in 1..=10 {
        assert!(sees(&pool, &entry(&format!("e{seq}"), seq)).await);
    }
    let mut db = pool.acquire().await.expect("there");
    assert_eq!(inbox::prune(&mut db, &upto(7)).await.expect("pruned"), 7);
    assert_eq!(inbox::prune(&mut db, &upto(3)).await.expect("pruned"), 0, "the floor never sinks");
    for seq in 1..=10 {
        assert!(!sees(&pool, &entry(&format!("e{seq}"), seq)).await, "e{seq}");
    }
    assert!(!sees(&pool, &entry("never seen, and below the floor", 5)).await);
    assert!(sees(&pool, &entry("new", 11)).await);
    assert!(sees(&pool, &entry_of("other", "e5", 5)).await, "the floor is one group's");
    let rows: i64 = sqlx::query_scalar("select count(*) from inbox_seen where consumer_group = 'g' and seq > 7")
        .fetch_one(&pool)
        .await
        .expect("there");
    assert_eq!(rows, 4);
}

#[tokio::test]
async fn who_waits_while_another_one_forgets_has_no_second_first_sight() {
    let postgres = Postgres::start().await;
    let pool = inbox_in(&postgres).await;
    for (round, isolation) in (1..).zip(["read committed", "repeatable read", "serializable"]) {
        let id = format!("e{round}");
        // One has seen it; another one forgets it, and has not committed yet.
        assert!(sees(&pool, &entry(&id, round)).await);
        let mut forgets = pool.begin().await.expect("there");
        inbox::prune(&mut forgets, &upto(round)).await.expect("pruned");
        let late = tokio::spawn({
            let (pool, entry) = (pool.clone(), entry(&id, round));
            async move {
                let mut tx = begin(&pool, isolation).await;
                let first = inbox::first_sight(&mut tx, &entry).await?;
                tx.commit().await?;
                Ok::<_, outbox::Error>(first)
            }
        });
        eventually("it to have asked", async || late.is_finished() || waiting(&pool).await > 0).await;
        forgets.commit().await.expect("committed");
        assert!(!matches!(late.await.expect("no panic"), Ok(true)), "{isolation}");
    }
}

#[tokio::test]
async fn of_an_event_that_is_twice_in_a_batch_the_first_is_the_first_sight() {
    let postgres = Postgres::start().await;
    let pool = inbox_in(&postgres).await;
    assert!(sees(&pool, &entry("old", 1)).await);
    let batch = [entry("a", 2), entry("old", 1), entry("a", 2), entry("b", 3), entry("a", 4)];
    let mut tx = pool.begin().await.expect("there");
    let firsts = inbox::first_sight_of_each(&mut tx, &batch).await.expect("asked");
    tx.commit().await.expect("committed");
    assert_eq!(firsts, [true, false, false, true, false]);
    let mut tx = pool.begin().await.expect("there");
    assert_eq!(inbox::first_sight_of_each(&mut tx, &batch).await.expect("asked"), [false; 5]);
    assert!(inbox::first_sight_of_each(&mut tx, &[]).await.expect("asked").is_empty());
}

#[tokio::test]
async fn batches_that_share_events_do_not_block_each_other() {
    let postgres = Postgres::start().await;
    let pool = inbox_in(&postgres).await;
    let tasks: Vec<_> = (0..4)
        .map(|nth| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut firsts = 0;
                for round in 0..20 {
                    let mut batch: Vec<_> = (0..20).map(|n| entry(&format!("r{round}-{n}"), n + 1)).collect();
                    if nth % 2 == 0 {
                        batch.reverse();
                    }
                    let mut tx = pool.begin().await.expect("there");
                    let seen = inbox::first_sight_of_each(&mut tx, &batch).await.expect("no deadlock");
                    tx.commit().await.expect("committed");
                    firsts += seen.into_iter().filter(|first| *first).count();
                }
                firsts
            })
        })
        .collect();
    let mut firsts = 0;
    for task in tasks {
        firsts += task.await.expect("no panic");
    }
    assert_eq!(firsts, 400);
}

/// What a page's versions come to: hash, version, and the answer.
const VERSIONS: [(&str, u64, Change); 8] = [
    ("one", 1, Change::New),
    ("one", 1, Change::Same),
    ("two", 2, Change::Changed),
    ("one", 1, Change::Older),
    ("two", 5, Change::Same),
    ("three", 4, Change::Older),
    ("three", 5, Change::Older),
    ("one", 6, Change::Changed),
];

#[tokio::test]
async fn a_page_is_new_changed_the_same_or_older() {
    let postgres = Postgres::start().await;
    let pool = inbox_in(&postgres).await;
    for (hash, version, answer) in VERSIONS {
        let mut tx = pool.begin().await.expect("there");
        let change = inbox::content(&mut tx, &entry("e", 1), "example.org/a", hash, version).await.expect("asked");
        assert_eq!(change, answer, "{hash} {version}");
        tx.commit().await.expect("committed");
    }
    let mut tx = pool.begin().await.expect("there");
    let mut change = async |group: &str, url: &str| {
        inbox::content(&mut tx, &entry_of(group, "e", 1), url, "one", 1).await.expect("asked")
    };
    assert_eq!(change("g", "example.org/b").await, Change::New);
    assert_eq!(change("other", "example.org/a").await, Change::New);
    assert!(
        Change::New.is_news() && Change::Changed.is_news() && !Change::Same.is_news() && !Change::Older.is_news()
    );
}

#[tokio::test]
async fn whoever_comes_first_the_newest_version_of_a_page_stays() {
    let postgres = Postgres::start().await;
    let pool = inbox_in(&postgres).await;
    for round in 0..10 {
        let url = format!("example.org/{round}");
        let tasks: Vec<_> = (1..=8)
            .map(|version: u64| {
                let (pool, url) = (pool.clone(), url.clone());
                tokio::spawn(async move {
                    let mut tx = pool.begin().await.expect("there");
                    let hash = format!("hash {version}");
                    let change = inbox::content(&mut tx, &entry("e", 1), &url, &hash, version).await.expect("asked");
                    tx.commit().await.expect("committed");
                    (version, change)
                })
            })
            .collect();
        let (mut new, mut newest) = (0, None);
        for task in tasks {
            let (version, change) = task.await.expect("no panic");
            new += usize::from(change == Change::New);
            newest = if version == 8 { Some(change) } else { newest };
        }
        assert_eq!(new, 1, "one of them came first");
        assert!(newest.is_some_and(Change::is_news), "the newest one is never old: {newest:?}");
        let kept: String = sqlx::query_scalar("select content_hash from inbox_content where source_url = $1")
            .bind(&url)
            .fetch_one(&pool)
            .await
            .expect("there");
        assert_eq!(kept, "hash 8");
    }
}

#[tokio::test]
async fn the_tables_can_be_made_again_and_by_many_at_once() {
    let postgres = Postgres::start().await;
    let pool = PgPool::connect(&postgres.database().await).await.expect("there");
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { inbox::migrate(&mut pool.acquire().await.expect("there")).await })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic").expect("made");
    }
    assert!(sees(&pool, &entry("e", 1)).await);
    inbox::migrate(&mut pool.acquire().await.expect("there")).await.expect("made again");
    assert!(!sees(&pool, &entry("e", 1)).await, "nothing is forgotten");
}

#[tokio::test]
async fn a_table_from_before_replays_is_brought_to_this_shape() {
    let postgres = Postgres::start().await;
    let pool = PgPool::connect(&postgres.database().await).await.expect("there");
    let before = "create table inbox_seen (consumer_group text not null, event_id text not null, lane text not null,
                                           generation bigint not null, seq bigint not null,
                                           primary key (consumer_group, event_id));
                  insert into inbox_seen values ('g', 'old', 's', 1, 1)";
    sqlx::raw_sql(before).execute(&pool).await.expect("made");
    inbox::migrate(&mut pool.acquire().await.expect("there")).await.expect("brought");
    assert!(!sees(&pool, &entry("old", 1)).await);
    assert!(sees(&pool, &entry("new", 2)).await);
}

/// A consumer starts while the handlers of others are in the midst of their transactions.
#[tokio::test]
async fn to_make_the_tables_again_waits_for_no_handler() {
    let postgres = Postgres::start().await;
    let pool = inbox_in(&postgres).await;
    let mut tx = pool.begin().await.expect("there");
    assert!(inbox::first_sight(&mut tx, &entry("e", 1)).await.expect("asked"));
    let mut db = pool.acquire().await.expect("there");
    sqlx::raw_sql("set lock_timeout = '100ms'").execute(&mut *db).await.expect("set");
    inbox::migrate(&mut db).await.expect("it waits for nobody");
    tx.commit().await.expect("committed");
}

/// It runs at each start, and what is there already is no news.
#[tokio::test]
async fn to_make_the_tables_again_says_nothing() {
    let postgres = Postgres::start().await;
    let mut db = PgConnection::connect(&postgres.database().await).await.expect("there");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let log = tracing_subscriber::fmt().with_writer(file.reopen().expect("there")).finish();
    let _listening = tracing::subscriber::set_default(log);
    for _ in 0..2 {
        inbox::migrate(&mut db).await.expect("made");
        outbox::migrate(&mut db, "public").await.expect("made");
    }
    sqlx::raw_sql("create table if not exists inbox_seen (id integer)").execute(&mut db).await.expect("is there");
    let said = std::fs::read_to_string(file.path()).expect("text");
    assert_eq!(said.matches("already exists").count(), 1, "only of the last one: {said}");
}

// The same in a file of SQLite.

fn open(file: &Path) -> rusqlite::Connection {
    let db = rusqlite::Connection::open(file).expect("a file");
    db.busy_timeout(std::time::Duration::from_secs(30)).expect("set");
    sqlite::migrate(&db).expect("made");
    db
}

/// Does something in a transaction of its own.
fn within<T>(
    db: &mut rusqlite::Connection,
    what: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
) -> T {
    let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).expect("begun");
    let answer = what(&tx).expect("asked");
    tx.commit().expect("committed");
    answer
}

fn sees_in_file(db: &mut rusqlite::Connection, entry: &Entry) -> bool {
    within(db, |tx| sqlite::first_sight(tx, entry))
}

#[test]
fn in_a_file_of_many_threads_at_once_one_sees_an_event_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("inbox");
    drop(open(&file));
    let firsts: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut db = open(&file);
                    (1..=20).filter(|seq| sees_in_file(&mut db, &entry(&format!("e{seq}"), *seq))).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(firsts, 20);
}

#[test]
fn in_a_file_what_is_rolled_back_was_not_seen_and_what_is_settled_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut db = open(&folder.path().join("inbox"));
    {
        let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).expect("begun");
        assert!(sqlite::first_sight(&tx, &entry("e1", 1)).expect("asked"));
    }
    for seq in 1..=10 {
        assert!(sees_in_file(&mut db, &entry(&format!("e{seq}"), seq)));
    }
    assert_eq!(sqlite::prune(&mut db, &upto(7)).expect("pruned"), 7);
    assert_eq!(sqlite::prune(&mut db, &upto(3)).expect("pruned"), 0, "the floor never sinks");
    for seq in 1..=10 {
        assert!(!sees_in_file(&mut db, &entry(&format!("e{seq}"), seq)), "e{seq}");
    }
    assert!(!sees_in_file(&mut db, &entry("never seen, and below the floor", 5)));
    assert!(sees_in_file(&mut db, &entry("new", 11)));
    assert!(sees_in_file(&mut db, &entry_of("other", "e5", 5)), "the floor is one group's");
}

#[test]
fn in_a_file_of_an_event_that_is_twice_in_a_batch_the_first_is_the_first_sight() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut db = open(&folder.path().join("inbox"));
    assert!(sees_in_file(&mut db, &entry("old", 1)));
    let batch = [entry("a", 2), entry("old", 1), entry("a", 2), entry("b", 3), entry("a", 4)];
    let firsts = within(&mut db, |tx| sqlite::first_sight_of_each(tx, &batch));
    assert_eq!(firsts, [true, false, false, true, false]);
}

#[test]
fn in_a_file_a_page_is_new_changed_the_same_or_older() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut db = open(&folder.path().join("inbox"));
    for (hash, version, answer) in VERSIONS {
        let change = within(&mut db, |tx| sqlite::content(tx, &entry("e", 1), "example.org/a", hash, version));
        assert_eq!(change, answer, "{hash} {version}");
    }
}

#[test]
fn in_a_file_the_tables_can_be_made_again_and_by_many_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("inbox");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| open(&file));
        }
    });
    let mut db = open(&file);
    assert!(sees_in_file(&mut db, &entry("e", 1)));
    sqlite::migrate(&db).expect("made again");
    assert!(!sees_in_file(&mut db, &entry("e", 1)));
}
