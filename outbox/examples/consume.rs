//! Adds up what was ordered: each order once, however often its event comes. Ctrl-C ends it, or a number of events.
//!
//! ```sh
//! DATABASE_URL=postgres://... REDIS_URL=redis://... cargo run -p outbox --example consume --features consumer
//! ```

use anyhow::Context;
use outbox::{Consumer, Entry, Failure, Handler, Settled, inbox};
use serde::Deserialize;
use sqlx::PgPool;
use tokio::sync::Semaphore;

#[derive(Deserialize)]
struct Placed {
    order: i64,
    cents: i64,
}

struct Revenue {
    db: PgPool,
    handled: &'static Semaphore,
}

impl Handler for Revenue {
    async fn handle(&self, entry: &Entry) -> Result<(), Failure> {
        let placed: Placed = entry.payload().map_err(Failure::reject)?; // no retry makes it readable

        let mut tx = self.db.begin().await?;
        if inbox::first_sight(&mut tx, entry).await? {
            sqlx::query("update revenue set cents = cents + $1").bind(placed.cents).execute(&mut *tx).await?;
        }
        tx.commit().await?; // seen and added, or neither

        println!("order {} of {} cents, entry {}", placed.order, placed.cents, entry.number);
        self.handled.add_permits(1);
        Ok(())
    }

    async fn settled(&self, upto: &Settled) -> Result<(), Failure> {
        inbox::prune(&mut *self.db.acquire().await?, upto).await?;
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let events_max: Option<u32> =
        std::env::args().nth(1).map(|count| count.parse()).transpose().context("after how many events to end?")?;
    let db = PgPool::connect(&std::env::var("DATABASE_URL").context("DATABASE_URL is not set")?).await?;
    inbox::migrate(&mut *db.acquire().await?).await?;
    sqlx::raw_sql(
        "create table if not exists revenue (id integer primary key check (id = 1), cents bigint not null);
         insert into revenue values (1, 0) on conflict do nothing",
    )
    .execute(&db)
    .await?;

    static HANDLED: Semaphore = Semaphore::const_new(0);
    let stop = async {
        let enough = async {
            match events_max {
                Some(count) => drop(HANDLED.acquire_many(count).await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = enough => {}
        }
    };
    Consumer::builder(std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned()))
        .stream("orders")
        .group("revenue")
        .handler(Revenue { db: db.clone(), handled: &HANDLED })
        .build()?
        .run(stop)
        .await?;

    let cents: i64 = sqlx::query_scalar("select cents from revenue").fetch_one(&db).await?;
    println!("revenue: {cents} cents");
    Ok(())
}
