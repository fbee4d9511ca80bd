//! Starts one server of each kind, says where they are, and waits to be killed: for the test of what is left.

use outbox_tests::{Postgres, Redis};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (postgres, redis) = tokio::join!(Postgres::start(), Redis::start());
    println!("postgres {} {}", postgres.port(), postgres.data_dir().display());
    println!("redis {} {}", redis.port(), redis.data_dir().display());
    println!("holding");
    std::future::pending::<()>().await;
}
