//! Places orders, and tells of each in the transaction that places it.
//!
//! ```sh
//! DATABASE_URL=postgres://... cargo run -p outbox --example produce -- 3
//! ```

use anyhow::Context;
use outbox::Event;
use sqlx::{Connection, PgConnection};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let count: i64 = std::env::args().nth(1).map_or(Ok(1), |count| count.parse()).context("how many orders?")?;
    let mut db = PgConnection::connect(&std::env::var("DATABASE_URL").context("DATABASE_URL is not set")?).await?;
    outbox::migrate(&mut db, "public").await?;
    sqlx::raw_sql("create table if not exists orders (id bigserial primary key, cents bigint not null)")
        .execute(&mut db)
        .await?;

    for nth in 1..=count {
        let cents = nth * 100;
        let mut tx = db.begin().await?;
        let id: i64 = sqlx::query_scalar("insert into orders (cents) values ($1) returning id")
            .bind(cents)
            .fetch_one(&mut *tx)
            .await?;
        let event = Event::draft("orders", "order.placed")
            .key(format!("order-{id}"))
            .id(format!("order-{id}-placed"))
            .json(&serde_json::json!({ "order": id, "cents": cents }))?;
        let enqueued = outbox::enqueue(&mut tx, &event).await?;
        tx.commit().await?; // the order and its event, or neither
        println!("order {id}: {enqueued:?}");
    }
    Ok(())
}
