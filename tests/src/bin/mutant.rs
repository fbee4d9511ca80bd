//! A program with one known fault, which the checker must find: see `chaos::MUTANTS`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let name = std::env::args().nth(1).unwrap_or_default();
    outbox_tests::chaos::play(&name).await
}
