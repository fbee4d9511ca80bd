//! Who plays: the programs that are put on trial.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::binary;

/// Events go to `t:{0}` .. `t:{3}`, by their key.
pub const TOPIC: &str = "t";
pub const PARTITIONS: u16 = 4;

/// A transaction that stays open for longer gives up the place of its events.
pub const OVERTAKE_AFTER: Duration = Duration::from_millis(100);

/// The groups that consume, one with its ledger in Postgres and one with its ledger in a file of SQLite.
pub const GROUPS: [&str; 2] = ["table", "file"];

/// Where a program finds the servers: over wires on which everything can go wrong.
#[derive(Debug, Clone)]
pub struct Places {
    pub database_url: String,
    pub redis_url: String,
    /// The ledger of the group `file`.
    pub file: PathBuf,
}

/// The programs that are put on trial. Each is started more than once, killed, and started again.
pub trait Cast {
    fn relay(&self, places: &Places) -> Command;

    fn consumer(&self, places: &Places, group: &str) -> Command;

    /// Which groups there are.
    fn groups(&self) -> Vec<&'static str> {
        GROUPS.to_vec()
    }

    /// Whether a dead letter counts that lies in Redis alone, because no relay of ours is there to fetch it.
    fn letters_in_redis(&self) -> bool {
        false
    }

    /// The streams that events are written to.
    fn streams(&self) -> Vec<String> {
        (0..PARTITIONS).map(|partition| format!("{TOPIC}:{{{partition}}}")).collect()
    }
}

/// The programs of this workspace, made so quick that a round holds many of their steps.
#[derive(Debug, Clone, Copy)]
pub struct Ours;

impl Cast for Ours {
    fn relay(&self, places: &Places) -> Command {
        let mut command = Command::new(binary("relay"));
        command.args(["run", "--lease=0", "--batch-rows-max=50", "--report-interval=100ms"]);
        command.arg(format!("--overtake-after={}ms", OVERTAKE_AFTER.as_millis()));
        command.args(["--poll-interval=20ms", "--sleep-after=200ms", "--publish-timeout=500ms", "--trim-after=10s"]);
        command.args(["--retry-delay-min=10ms", "--retry-delay-max=200ms", "--listen=off", "--log=warn"]);
        command.env("DATABASE_URL", &places.database_url).env("REDIS_URL", &places.redis_url);
        command
    }

    fn consumer(&self, places: &Places, group: &str) -> Command {
        let mut command = Command::new(binary("consume"));
        command.args(["--redis-url", &places.redis_url, "--database-url", &places.database_url, "--group", group]);
        command.arg("--partitions").arg(format!("{TOPIC}:{PARTITIONS}"));
        // A kill is an attempt, too, and only bad events are to be buried here.
        command.args(["--claim-after-ms", "500", "--attempts-max", "1000"]);
        if group == "file" {
            command.arg("--sqlite").arg(&places.file);
        }
        command
    }
}
