//! `./dev up`: private Postgres and Redis, the tables, a relay, and how to see an event travel. Everything ends with it.

use std::io::IsTerminal;

use outbox_tests::{Postgres, Redis, config};
use sqlx::{Connection, PgConnection};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    if std::env::args().any(|argument| argument == "--help" || argument == "-h") {
        println!("Usage: ./dev up\n\nPrivate servers with a relay between them, until Ctrl-C. Nothing is kept.");
        return Ok(());
    }
    let (postgres, redis) = tokio::try_join!(Postgres::launch(&[]), Redis::launch(&[]))?;
    let database_url = postgres.database().await;
    let mut db = PgConnection::connect(&database_url).await?;
    outbox::migrate(&mut db, "public").await?;
    db.close().await?;

    let relay = std::env::current_exe()?.with_file_name("relay");
    println!(
        "
Postgres  {database_url}
Redis     {redis_url}

Put an event into the outbox:

  psql {database_url} -c \"select outbox_enqueue('orders', 'order.placed', '{{\\\"order\\\": 42, \\\"cents\\\": 1999}}', key => 'order-42')\"

See it arrive, under the number of its row:

  redis-cli -p {redis_port} XRANGE orders - +

Let it take effect, in Rust or in Python (pip install redis), and place more orders:

  DATABASE_URL={database_url} REDIS_URL={redis_url} cargo run -p outbox --example consume --features consumer
  REDIS_URL={redis_url} python3 outbox/examples/consume.py :memory:
  DATABASE_URL={database_url} cargo run -p outbox --example produce -- 3

See how it stands:

  psql {database_url} -c \"select * from outbox_backlog\"
  DATABASE_URL={database_url} {relay} status

Ctrl-C ends it all.
",
        redis_url = redis.url(),
        redis_port = redis.port(),
        relay = relay.display(),
    );

    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_target(false).with_ansi(colours).with_writer(std::io::stderr).init();
    relay::Relay::run(config(&database_url, &redis.url(), &[]), async {
        // Without a handler for Ctrl-C the servers' own clean-up still follows from the end of this process.
        let _ = tokio::signal::ctrl_c().await;
    })
    .await?;
    Ok(())
}
