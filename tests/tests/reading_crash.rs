//! The reader's side may die between any two requests to Redis, and within any write to its file: what it has written it knows, and
//! the next one goes on.

use std::process::Command;

use contract::{Export, Removal};
use outbox_tests::{Child, Proxy, Reading, Side, Turns, eventually, letters, strides, told};

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
    let mut said = vec![];
    let mut turns = Turns::of(&wire, side, 10);
    while let Some(turn) = turns.another() {
        said.extend(news(turn));
        reading.say(&news(turn)).await;
        let start = || {
            let mut command = reading.command(&[&["run"], &SOON[..]].concat());
            command.env("REDIS_URL", format!("redis://127.0.0.1:{}/", wire.port()));
            Child::spawn(command)
        };
        turns.kill(start, async |_| reading.is_consumed().await).await;
        let mut next = reading.run(&SOON);
        reading.until_consumed().await;
        next.kill_9();
        next.wait().await;
    }
    assert_eq!(letters(&reading.redis, DEAD).await.len(), 0);
    // Who was told the same in peace has the same.
    let in_peace = Reading::open().await;
    in_peace.say(&said).await;
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

/// It may let its file's log grow up to so many half kilobytes, and the system kills it at the first byte more.
fn killed_at_half_kilobyte(reading: &Reading, nth: usize) -> Child {
    let bisan = reading.command(&["run", "--claim-after", "300ms"]);
    let mut mortal = Command::new("sh");
    mortal.args(["-c", "ulimit -c 0; ulimit -f $0; exec \"$@\"", &nth.to_string()]);
    mortal.arg(bisan.get_program()).args(bisan.get_args());
    mortal.envs(bisan.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Child::spawn(mortal)
}

#[tokio::test]
async fn killed_within_any_write_of_a_commit_its_file_is_whole_and_readers_see_what_was_said_last() {
    let reading = Reading::open().await;
    assert!(reading.verb(&["migrate"]).status.success());
    // Somebody looks into the file all the time, so that its log outlives whoever writes.
    let keeper = reading.db();
    let log = reading.file().with_extension("sqlite-wal");
    let bytes = || std::fs::metadata(&log).map_or(0, |log| log.len());
    let (mut said, mut killed, mut torn) = (vec![], 0, 0);
    for nth in strides(11) {
        keeper.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())).expect("nobody else is there");
        assert_eq!(bytes(), 0, "the log is empty");
        said.extend(news(nth));
        reading.say(&news(nth)).await;
        let mut mortal = killed_at_half_kilobyte(&reading, nth);
        // Where it may not be killed by its limit, its write fails there.
        let stuck = || ["disk I/O error", "disk is full"].iter().any(|words| mortal.log().contains(words));
        let mut consumed = false;
        eventually("it to die, or to be done", async || {
            consumed = reading.is_consumed().await;
            consumed || mortal.has_ended() || stuck()
        })
        .await;
        let over = consumed && !mortal.has_ended() && !stuck();
        mortal.kill_9();
        mortal.wait().await;
        if !over {
            killed += 1;
            torn += usize::from(bytes() == 512 * nth as u64);
        }
        let mut next = reading.run(&SOON);
        reading.until_consumed().await;
        next.kill_9();
        next.wait().await;
        if over {
            break;
        }
    }
    println!("killed {killed} times, {torn} times with half a write in the log");
    assert!(killed > 3 && torn > 3, "{killed} {torn}");
    assert_eq!(letters(&reading.redis, DEAD).await.len(), 0);
    assert_eq!(reading.json(&["verify", "--full", "--json"])["sound"], true);
    let in_peace = Reading::open().await;
    in_peace.say(&said).await;
    let _bisan = in_peace.run(&[]);
    in_peace.until_consumed().await;
    assert_eq!(reading.dump(), in_peace.dump());
}
