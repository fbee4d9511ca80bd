//! What many tests do with a relay, in words.

use relay::{Relay, Tick};

use crate::{Proxy, Stage, config, eventually};

/// A relay in this process, over a wire to Redis.
pub async fn relay_over(wire: &Proxy, stage: &Stage, flags: &[&str]) -> Relay {
    let flags = [&["--lease", "0", "--publish-timeout", "300ms"], flags].concat();
    let config = config(&stage.database_url, &stage.redis_url_over(wire), &flags);
    Relay::connect(config).await.expect("Postgres is there")
}

pub async fn tick(relay: &mut Relay) -> Tick {
    relay.tick().await.expect("Postgres is there")
}

pub async fn until_paused(relay: &mut Relay) {
    eventually("the relay to pause", async || matches!(tick(relay).await, Tick::Paused(_))).await;
}

/// Events beside those of `enqueue_many`, in one transaction.
pub async fn enqueue_more(stage: &Stage, stream: &str, name: &str, count: usize) {
    let statement = format!(
        "select outbox_enqueue('{stream}', 'test.happened', '1', id => '{stream}-{name}-' || n)
           from generate_series(1, {count}) n"
    );
    stage.sql(&statement).await;
}

pub async fn until_arrived(stage: &Stage, relay: &mut Relay, streams: &[&str]) {
    eventually("everything to arrive", async || {
        tick(relay).await;
        stage.has_arrived(streams).await
    })
    .await;
}

pub async fn attempts(stage: &Stage) -> i64 {
    stage.ask("select coalesce(sum(attempts), 0)::bigint from outbox").await
}
