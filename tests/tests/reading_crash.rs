//! The reader's side may die between any two requests to Redis: what it has written it knows, and the next one goes on.

use contract::{Export, Removal};
use outbox_tests::{Proxy, Reading, Side, eventually, letters, told};

const DEAD: &str = "content:scraped:bisan-cg:dead";
const SOON: [&str; 2] = ["--claim-after", "300ms"];

/// A new article, one that changes, and one that goes and comes back.
fn news(turn: usize) -> Vec<Export> {
    let version = turn as u64;
    let other = told("other", version, "عنوان", "نص");
    vec![
        told(&format!("new-{turn}"), 1, "جديد", "نص").by("سلمى", None).export(),
        told("edited", version, &format!("طبعة {turn}"), "نص").export(),
        if turn.is_multiple_of(2) { other.gone(Removal::Gone) } else { other.export() },
    ]
}

async fn killed_while_reading(side: Side) {
    let reading = Reading::open().await;
    let wire = Proxy::to(reading.redis.port()).await;
    let mut turns = 0;
    for turn in 1.. {
        reading.say(&news(turn)).await;
        turns = turn;
        let mut command = reading.command(&[&["run"], &SOON[..]].concat());
        command.env("REDIS_URL", format!("redis://127.0.0.1:{}/", wire.port()));
        let halt = wire.halt_at(turn, side);
        let mut bisan = outbox_tests::Child::spawn(command);
        let over = tokio::select! {
            () = halt.reached() => false,
            () = eventually("everything to be consumed", async || reading.is_consumed().await) => !halt.is_reached(),
        };
        bisan.kill_9();
        bisan.wait().await;
        wire.thaw();
        wire.cut();
        let mut next = reading.run(&SOON);
        reading.until_consumed().await;
        next.kill_9();
        next.wait().await;
        if over {
            assert!(turn > 10, "it takes more than {turn} turns");
            println!("{} turns", turn - 1);
            break;
        }
    }
    assert_eq!(letters(&reading.redis, DEAD).await.len(), 0);
    // Who was told the same in peace has the same.
    let in_peace = Reading::open().await;
    for turn in 1..=turns {
        in_peace.say(&news(turn)).await;
    }
    let _bisan = in_peace.run(&[]);
    in_peace.until_consumed().await;
    assert_eq!(reading.dump(), in_peace.dump());
}

#[tokio::test]
async fn killed_before_any_request_to_redis_arrives_readers_see_what_was_said_last() {
    killed_while_reading(Side::Request).await;
}

#[tokio::test]
async fn killed_before_any_reply_of_redis_arrives_readers_see_what_was_said_last() {
    killed_while_reading(Side::Reply).await;
}
