//! `./dev up`: private Postgres and Redis, the tables, a relay, and how to see an event travel. Everything ends with it.

use std::io::IsTerminal;

use clap::Parser;
use outbox_tests::{Postgres, Redis};
use sqlx::{Connection, PgConnection};

/// What the relay takes from the environment.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    running: relay::Running,
}

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
Private Postgres and Redis, with a relay between them. In another terminal:

  export DATABASE_URL={database_url} REDIS_URL={redis_url}

Put an event into the outbox:

  psql $DATABASE_URL -c \"select outbox_enqueue('orders', 'order.placed', '{{\\\"order\\\": 42, \\\"cents\\\": 1999}}', key => 'order-42')\"

See it arrive, under the number of its row:

  redis-cli -u $REDIS_URL XRANGE orders - +

Let it take effect, in Rust or in Python (pip install redis), and place more orders:

  cargo run -p outbox --example consume --features consumer
  python3 outbox/examples/consume.py :memory:
  cargo run -p outbox --example produce -- 3

See how it stands:

  psql $DATABASE_URL -c \"select * from outbox_backlog\"
  psql $DATABASE_URL -c \"select * from outbox_lag\"
  curl -s http://127.0.0.1:7654/status
  {relay} status
  {relay} dead list

Ctrl-C ends it all.
",
        redis_url = redis.url(),
        relay = relay.display(),
    );

    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_target(false).with_ansi(colours).with_writer(std::io::stderr).init();
    let line = Line::try_parse_from(["up", "--database-url", &database_url, "--redis-url", &redis.url()])?;
    line.running
        .run(async {
            // Without a handler for Ctrl-C the servers' own clean-up still follows from the end of this process.
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    Ok(())
}
