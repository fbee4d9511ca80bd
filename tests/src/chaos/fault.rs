//! What can happen to a relay, its consumers, their wires and their servers.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use redis::Value;

use super::cast::Cast;
use super::rounds::{Family, Tempo, Wrong};
use super::theatre::Theatre;
use crate::{Chance, Redis, Signal, eventually};

/// One thing that goes wrong, and is mended a while later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Fault {
    KillRelay,
    FreezeRelay,
    StopRelay,
    KillConsumer,
    FreezeConsumer,
    StopConsumer,
    CutWire,
    FreezeWire,
    SlowWire,
    LoseReply,
    KillRedis,
    FillRedis,
    KillPostgres,
    EndSessions,
    DeliverAgain,
    LoseTail,
    Flush,
    PromoteReplica,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Relay,
    Consumer,
    Wire,
    Redis,
    Postgres,
}

impl Fault {
    fn about(self) -> (Family, Place, &'static str) {
        use Family::{Kills, Losses, Outages, Wires};
        use Place::{Consumer, Postgres, Redis, Relay, Wire};
        match self {
            Self::KillRelay => (Kills, Relay, "a relay is killed"),
            Self::FreezeRelay => (Kills, Relay, "a relay is frozen"),
            Self::StopRelay => (Kills, Relay, "a relay is asked to stop"),
            Self::KillConsumer => (Kills, Consumer, "a consumer is killed"),
            Self::FreezeConsumer => (Kills, Consumer, "a consumer is frozen"),
            Self::StopConsumer => (Kills, Consumer, "a consumer is asked to stop"),
            Self::CutWire => (Wires, Wire, "connections are cut"),
            Self::FreezeWire => (Wires, Wire, "a network is gone"),
            Self::SlowWire => (Wires, Wire, "a network is slow"),
            Self::LoseReply => (Wires, Wire, "a reply is lost after the deed"),
            Self::KillRedis => (Outages, Redis, "Redis is killed"),
            Self::FillRedis => (Outages, Redis, "Redis is full"),
            Self::DeliverAgain => (Outages, Redis, "everything is delivered again"),
            Self::KillPostgres => (Outages, Postgres, "Postgres crashes"),
            Self::EndSessions => (Outages, Postgres, "Postgres ends all sessions"),
            Self::LoseTail => (Losses, Redis, "Redis loses the tail of its file"),
            Self::Flush => (Losses, Redis, "Redis is flushed"),
            Self::PromoteReplica => (Losses, Redis, "a lagging replica takes over"),
        }
    }
}

impl Wrong for Fault {
    type Place = Place;
    const EACH_ROUND: usize = 3;
    const TEMPO: Tempo = Tempo { patience: 15, strike: 400, hold: 500, calm: 150 };

    fn words(self) -> &'static str {
        self.about().2
    }

    fn family(self) -> Family {
        self.about().0
    }

    fn place(self) -> Place {
        self.about().1
    }
}

/// How long the append-only file of a Redis was when its tail began.
pub(super) struct Tail {
    file: PathBuf,
    length: u64,
}

impl Tail {
    pub(super) fn begin(redis: &Redis) -> Self {
        // The part of the file that grows.
        let folder = redis.data_dir().join("appendonlydir");
        let files = std::fs::read_dir(&folder).expect("it keeps one").map(|file| file.expect("readable").path());
        let newest = files.filter(|path| path.to_string_lossy().ends_with(".incr.aof")).max();
        let file = newest.expect("it keeps one");
        let length = std::fs::metadata(&file).expect("it is there").len();
        Self { file, length }
    }

    /// Redis crashes, and comes back without it.
    pub(super) async fn lose(self, redis: &Redis) {
        redis.kill();
        let file = File::options().write(true).open(self.file).expect("ours");
        file.set_len(self.length).expect("it can be cut");
        redis.restart().await;
    }
}

/// A fault that has struck, and how it is mended.
pub(super) enum Struck {
    Nothing,
    /// An actor that is to be started again, once it has ended.
    Gone(usize),
    Frozen(usize),
    Wire(usize),
    RedisDown,
    RedisFull,
    Tail(Tail),
    Lagging,
    PostgresDown,
}

impl<C: Cast> Theatre<C> {
    pub(super) async fn strike(&mut self, fault: Fault, chance: &mut Chance) -> Struck {
        match fault {
            Fault::KillRelay | Fault::KillConsumer => {
                let actor = self.choose(fault.place() == Place::Relay, chance);
                self.actors[actor].child.kill_9();
                Struck::Gone(actor)
            }
            Fault::FreezeRelay | Fault::FreezeConsumer => {
                let actor = self.choose(fault.place() == Place::Relay, chance);
                self.actors[actor].child.signal(Signal::Stop);
                Struck::Frozen(actor)
            }
            Fault::StopRelay | Fault::StopConsumer => {
                let actor = self.choose(fault.place() == Place::Relay, chance);
                self.actors[actor].child.signal(Signal::Term);
                Struck::Gone(actor)
            }
            Fault::CutWire | Fault::FreezeWire | Fault::SlowWire | Fault::LoseReply => self.tamper(fault, chance),
            Fault::KillRedis => {
                self.redis().kill();
                Struck::RedisDown
            }
            Fault::FillRedis => {
                self.redis().command(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
                Struck::RedisFull
            }
            Fault::DeliverAgain => {
                let streams = self.cast.streams();
                let stream = &streams[chance.below(streams.len() as u64) as usize];
                let groups = self.cast.groups();
                let group = groups[chance.below(groups.len() as u64) as usize];
                let mut redis = self.redis().connection().await;
                // A group that is not there yet has nothing to repeat.
                let _ = redis::cmd("XGROUP").arg(&["SETID", stream, group, "0"]).exec_async(&mut redis).await;
                Struck::Nothing
            }
            Fault::LoseTail => Struck::Tail(Tail::begin(self.redis())),
            Fault::Flush => {
                self.redis().command(&["FLUSHALL"]).await;
                Struck::Nothing
            }
            Fault::PromoteReplica => {
                self.replicate().await;
                Struck::Lagging
            }
            Fault::KillPostgres => {
                self.postgres.kill();
                Struck::PostgresDown
            }
            Fault::EndSessions => {
                let end = "select pg_terminate_backend(pid) from pg_stat_activity
                            where pid <> pg_backend_pid() and backend_type = 'client backend'";
                self.witness.ask::<bool>(end).await;
                Struck::Nothing
            }
        }
    }

    pub(super) async fn mend(&mut self, struck: Struck) {
        match struck {
            Struck::Nothing => {}
            Struck::Gone(actor) => {
                self.actors[actor].child.wait().await;
                self.enter(actor);
            }
            Struck::Frozen(actor) => self.actors[actor].child.signal(Signal::Cont),
            Struck::Wire(nth) => {
                self.wires[nth].slow(Duration::ZERO);
                self.wires[nth].thaw();
            }
            Struck::RedisDown => self.redis().restart().await,
            Struck::RedisFull => drop(self.redis().command(&["CONFIG", "SET", "maxmemory", "0"]).await),
            Struck::Tail(tail) => tail.lose(self.redis()).await,
            Struck::Lagging => self.promote(),
            Struck::PostgresDown => self.postgres.restart().await,
        }
    }

    fn tamper(&self, fault: Fault, chance: &mut Chance) -> Struck {
        let nth = chance.below(self.wires.len() as u64) as usize;
        let wire = &self.wires[nth];
        match fault {
            Fault::CutWire => wire.cut(),
            Fault::FreezeWire => wire.freeze(),
            Fault::SlowWire => wire.slow(Duration::from_millis(1 + chance.below(40))),
            _ => drop(wire.lose_reply(1 + chance.below(20) as usize)),
        }
        Struck::Wire(nth)
    }

    fn choose(&self, relay: bool, chance: &mut Chance) -> usize {
        let among: Vec<usize> = (0..self.actors.len()).filter(|nth| self.actors[*nth].is_relay() == relay).collect();
        among[chance.below(among.len() as u64) as usize]
    }

    /// Makes the other Redis a replica that has everything, and then no more.
    async fn replicate(&self) {
        let (primary, replica) = (self.redis(), &self.redis[1 - self.primary]);
        replica.restart().await;
        replica.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]).await;
        eventually("the replica to have everything", async || {
            let Value::BulkString(info) = replica.command(&["INFO", "replication"]).await else { return false };
            String::from_utf8_lossy(&info).contains("master_link_status:up")
        })
        .await;
        replica.command(&["REPLICAOF", "NO", "ONE"]).await;
    }

    fn promote(&mut self) {
        self.redis().kill();
        self.primary = 1 - self.primary;
        self.watch.lead_to(self.redis().port());
        for redis_wire in [0, 2] {
            self.wires[redis_wire].lead_to(self.redis().port());
        }
    }
}
