//! The test kit, with inboxes that are real: whatever the kit does, each event takes effect once.

use std::sync::{Arc, Mutex};

use outbox::testing::{Kit, Order};
use outbox::{Entry, Event, Failure, Handler, inbox};
use outbox_tests::{Effects, Stage};
use rusqlite::TransactionBehavior::Immediate;

fn kit(group: &str, events: usize) -> Kit {
    (0..events).fold(Kit::new(group), |kit, n| {
        let event = Event::draft("s", "t").key(format!("k{}", n % 3)).id(n.to_string()).json(&n);
        kit.event(event.expect("within all limits"))
    })
}

/// A counter in SQLite, with the inbox beside it.
#[derive(Clone)]
struct Counter(Arc<Mutex<rusqlite::Connection>>);

impl Counter {
    fn new() -> Self {
        let db = rusqlite::Connection::open_in_memory().expect("memory");
        inbox::sqlite::migrate(&db).expect("made");
        db.execute_batch("create table counter (count integer); insert into counter values (0)").expect("made");
        Self(Arc::new(Mutex::new(db)))
    }

    fn count(&self) -> i64 {
        self.0
            .lock()
            .expect("no panic")
            .query_row("select count from counter", [], |row| row.get(0))
            .expect("one row")
    }
}

impl Handler for Counter {
    async fn handle(&self, entry: &Entry) -> Result<(), Failure> {
        let (db, entry) = (self.0.clone(), entry.clone());
        let effect = move || -> rusqlite::Result<()> {
            let mut db = db.lock().expect("no panic");
            let tx = db.transaction_with_behavior(Immediate)?;
            if inbox::sqlite::first_sight(&tx, &entry)? {
                tx.execute("update counter set count = count + 1", [])?;
            }
            tx.commit()
        };
        Ok(tokio::task::spawn_blocking(effect).await??)
    }
}

#[tokio::test]
async fn with_the_inbox_in_sqlite_each_event_counts_once_however_it_comes() {
    for kit in [kit("g", 12).redelivered(), kit("g", 12).cut_off_at(1), kit("g", 12).order(Order::Shuffled(7))] {
        let counter = Counter::new();
        let report = kit.run(&counter).await;
        assert_eq!((report.done.len(), counter.count()), (12, 12), "{kit:?}");
    }
}

#[tokio::test]
async fn with_the_inbox_in_postgres_each_event_takes_effect_once_wherever_it_is_cut_off() {
    let stage = Stage::set().await;
    let effects = Effects::on(&stage).await;
    for wait in 1.. {
        let group = format!("g{wait}");
        let report = kit(&group, 5).order(Order::Shuffled(wait.into())).cut_off_at(wait).run(&effects).await;
        let mut seen = effects.of(&group).await;
        seen.sort();
        assert_eq!(seen, ["0", "1", "2", "3", "4"], "cut off when it waits for the {wait}th time");
        assert_eq!(report.done.len(), 5);
        if report.cut_off == 0 {
            assert!(wait > 1, "it was cut off at least once");
            break;
        }
    }
}

#[tokio::test]
async fn a_handler_without_an_inbox_is_caught() {
    let stage = Stage::set().await;
    stage.sql("create table total (sum bigint); insert into total values (0)").await;
    struct Careless(sqlx::PgPool);
    impl Handler for Careless {
        async fn handle(&self, _: &Entry) -> Result<(), Failure> {
            sqlx::query("update total set sum = sum + 1").execute(&self.0).await?;
            Ok(())
        }
    }
    kit("g", 5).redelivered().run(&Careless(stage.pool.clone())).await;
    assert_eq!(stage.ask::<i64>("select sum from total").await, 10);
}
