//! What can happen to a relay, its consumers, their wires and their servers.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use redis::Value;

use super::cast::Cast;
use super::theatre::Theatre;
use crate::{Chance, Signal, eventually};

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

/// Faults of one kind, for runs that ask one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Family {
    /// Processes die, freeze, and are asked to stop
    Kills,
    /// Connections end, hang, slow down, and lose an answer to what was done
    Wires,
    /// Servers crash, are full, throw everybody out, and deliver again
    Outages,
    /// Redis comes back with less than it had
    Losses,
}

/// Two faults of one round do not strike at the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Relay,
    Consumer,
    Wire,
    Redis,
    Postgres,
}

impl Fault {
    pub const ALL: [Self; 18] = [
        Self::KillRelay,
        Self::FreezeRelay,
        Self::StopRelay,
        Self::KillConsumer,
        Self::FreezeConsumer,
        Self::StopConsumer,
        Self::CutWire,
        Self::FreezeWire,
        Self::SlowWire,
        Self::LoseReply,
        Self::KillRedis,
        Self::FillRedis,
        Self::KillPostgres,
        Self::EndSessions,
        Self::DeliverAgain,
        Self::LoseTail,
        Self::Flush,
        Self::PromoteReplica,
    ];

    /// The faults of some families.
    pub fn of(families: &[Family]) -> Vec<Self> {
        Self::ALL.into_iter().filter(|fault| families.contains(&fault.family())).collect()
    }

    /// What happens, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::KillRelay => "a relay is killed",
            Self::FreezeRelay => "a relay is frozen",
            Self::StopRelay => "a relay is asked to stop",
            Self::KillConsumer => "a consumer is killed",
            Self::FreezeConsumer => "a consumer is frozen",
            Self::StopConsumer => "a consumer is asked to stop",
            Self::CutWire => "connections are cut",
            Self::FreezeWire => "a network is gone",
            Self::SlowWire => "a network is slow",
            Self::LoseReply => "a reply is lost after the deed",
            Self::KillRedis => "Redis is killed",
            Self::FillRedis => "Redis is full",
            Self::KillPostgres => "Postgres crashes",
            Self::EndSessions => "Postgres ends all sessions",
            Self::DeliverAgain => "everything is delivered again",
            Self::LoseTail => "Redis loses the tail of its file",
            Self::Flush => "Redis is flushed",
            Self::PromoteReplica => "a lagging replica takes over",
        }
    }

    pub fn family(self) -> Family {
        match self {
            Self::KillRelay | Self::FreezeRelay | Self::StopRelay => Family::Kills,
            Self::KillConsumer | Self::FreezeConsumer | Self::StopConsumer => Family::Kills,
            Self::CutWire | Self::FreezeWire | Self::SlowWire | Self::LoseReply => Family::Wires,
            Self::KillRedis | Self::FillRedis | Self::KillPostgres | Self::EndSessions | Self::DeliverAgain => {
                Family::Outages
            }
            Self::LoseTail | Self::Flush | Self::PromoteReplica => Family::Losses,
        }
    }

    fn place(self) -> Place {
        match self {
            Self::KillRelay | Self::FreezeRelay | Self::StopRelay => Place::Relay,
            Self::KillConsumer | Self::FreezeConsumer | Self::StopConsumer => Place::Consumer,
            Self::CutWire | Self::FreezeWire | Self::SlowWire | Self::LoseReply => Place::Wire,
            Self::KillPostgres | Self::EndSessions => Place::Postgres,
            _ => Place::Redis,
        }
    }

    /// One to three faults at different places.
    pub(super) fn draw(among: &[Self], chance: &mut Chance) -> Vec<Self> {
        let mut drawn: Vec<Self> = vec![];
        for _ in 0..=chance.below(3) {
            let fault = among[chance.below(among.len() as u64) as usize];
            if drawn.iter().all(|other| other.place() != fault.place()) {
                drawn.push(fault);
            }
        }
        drawn
    }
}

/// A fault that has struck, and how it is mended.
pub(super) enum Struck {
    Nothing,
    /// An actor that is to be started again, after it has ended by itself if it was only asked to.
    Gone {
        actor: usize,
        asked: bool,
    },
    Frozen {
        actor: usize,
    },
    Wire {
        nth: usize,
    },
    RedisDown,
    RedisFull,
    /// What the append-only file held when the tail began.
    Tail {
        file: PathBuf,
        length: u64,
    },
    Lagging,
    PostgresDown,
}

impl<C: Cast> Theatre<C> {
    pub(super) async fn strike(&mut self, fault: Fault, chance: &mut Chance) -> Struck {
        match fault {
            Fault::KillRelay | Fault::KillConsumer => {
                let actor = self.choose(fault == Fault::KillRelay, chance);
                self.actors[actor].child.kill_9();
                Struck::Gone { actor, asked: false }
            }
            Fault::FreezeRelay | Fault::FreezeConsumer => {
                let actor = self.choose(fault == Fault::FreezeRelay, chance);
                self.actors[actor].child.signal(Signal::Stop);
                Struck::Frozen { actor }
            }
            Fault::StopRelay | Fault::StopConsumer => {
                let actor = self.choose(fault == Fault::StopRelay, chance);
                self.actors[actor].child.signal(Signal::Term);
                Struck::Gone { actor, asked: true }
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
            Fault::LoseTail => {
                let file = self.appended_file();
                let length = std::fs::metadata(&file).expect("it is there").len();
                Struck::Tail { file, length }
            }
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
            Struck::Gone { actor, asked } => {
                if asked {
                    self.actors[actor].child.wait().await;
                }
                self.enter(actor);
            }
            Struck::Frozen { actor } => self.actors[actor].child.signal(Signal::Cont),
            Struck::Wire { nth } => {
                self.wires[nth].slow(Duration::ZERO);
                self.wires[nth].thaw();
            }
            Struck::RedisDown => self.redis().restart().await,
            Struck::RedisFull => drop(self.redis().command(&["CONFIG", "SET", "maxmemory", "0"]).await),
            Struck::Tail { file, length } => {
                self.redis().kill();
                let file = File::options().write(true).open(file).expect("ours");
                file.set_len(length).expect("it can be cut");
                self.redis().restart().await;
            }
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
        Struck::Wire { nth }
    }

    fn choose(&self, relay: bool, chance: &mut Chance) -> usize {
        let among: Vec<usize> = (0..self.actors.len()).filter(|nth| self.actors[*nth].is_relay() == relay).collect();
        among[chance.below(among.len() as u64) as usize]
    }

    /// The part of Redis's append-only file that grows.
    fn appended_file(&self) -> PathBuf {
        let folder = self.redis().data_dir().join("appendonlydir");
        let files = std::fs::read_dir(&folder).expect("it keeps one").map(|file| file.expect("readable").path());
        let newest = files.filter(|path| path.to_string_lossy().ends_with(".incr.aof")).max();
        newest.expect("it keeps one")
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
