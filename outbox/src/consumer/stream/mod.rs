//! Every Redis command that a consumer issues.
//!
//! Two connections: one only reads, since a read that waits blocks whatever else goes over its connection; the other does
//! everything else. Neither is ever repaired: whatever breaks one, both are made anew, and the consumer begins with what is
//! pending for it.

mod connect;
mod partition;
mod replies;

use std::future::Future;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value, cmd};

pub(crate) use self::connect::{Client, client};
pub(crate) use self::partition::Right;
pub(crate) use self::replies::{Begun, Delivered, Found, Kept};
use self::replies::{read_delivered, read_envelope, read_found, read_streams};
use crate::{EntryId, keys};

/// How long a read waits for something new.
pub(crate) const BLOCK: Duration = Duration::from_secs(2);

/// Why Redis did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// The stream is gone, or its group.
    #[error("Redis has lost the group")]
    NoGroup,
    /// It is away, or refuses.
    #[error("{0}")]
    Away(String),
    /// It takes no dead letters: its memory is full, or their place is taken. Everything else goes on.
    #[error("{0}")]
    Full(String),
    /// A person has to act.
    #[error("{0}")]
    Unusable(String),
}

impl From<redis::RedisError> for Trouble {
    fn from(error: redis::RedisError) -> Self {
        match error.code() {
            Some("NOGROUP") => Self::NoGroup,
            Some("OOM") => Self::Full(error.to_string()),
            _ => Self::Away(error.to_string()),
        }
    }
}

/// The names of what belongs to a lane and its group. In a cluster they lie in the lane's own slot, if its name has a tag.
pub(crate) struct Names<'a> {
    pub(crate) lane: &'a str,
    /// The stream that the lane belongs to: itself, unless it replays dead letters.
    pub(crate) stream: &'a str,
    pub(crate) group: &'a str,
}

impl Names<'_> {
    pub(crate) fn dead(&self) -> String {
        keys::dead(self.stream, self.group)
    }

    fn tries(&self) -> String {
        keys::tries(self.lane, self.group)
    }

    fn stats(&self) -> String {
        keys::stats(self.stream, self.group)
    }

    pub(crate) fn holder(&self) -> String {
        keys::holder(self.stream, self.group)
    }

    fn reader(&self) -> String {
        keys::reader(self.stream, self.group)
    }

    fn register(&self) -> String {
        keys::consumers(self.stream, self.group)
    }

    fn settled(&self) -> String {
        keys::settled(self.lane)
    }
}

/// The way to the server that holds some streams: one connection that reads, and one for everything else.
pub(crate) struct Door {
    reader: MultiplexedConnection,
    reader_id: i64,
    hand: MultiplexedConnection,
    cluster: bool,
}

impl Door {
    /// Makes the group, from the beginning of the stream or after a number. One that is there stays as it is.
    pub(crate) async fn create_group(&mut self, lane: &str, group: &str, after: &str) -> Result<(), Trouble> {
        let mut create = cmd("XGROUP");
        create.arg("CREATE").arg(lane).arg(group).arg(after).arg("MKSTREAM");
        match create.exec_async(&mut self.hand).await {
            Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
            other => Ok(other?),
        }
    }

    /// Whether the group is there.
    pub(crate) async fn has_group(&mut self, lane: &str, group: &str) -> Result<bool, Trouble> {
        match cmd("XPENDING").arg(lane).arg(group).exec_async(&mut self.hand).await {
            Ok(()) => Ok(true),
            Err(error) if error.code() == Some("NOGROUP") => Ok(false),
            Err(error) if error.code() == Some("WRONGTYPE") => Err(Trouble::Unusable(format!("{lane} is no stream"))),
            Err(error) => Err(error.into()),
        }
    }

    /// The last entry that a group was given; none: nothing yet, or there is no such group.
    pub(crate) async fn delivered(&mut self, lane: &str, group: &str) -> Result<Option<EntryId>, Trouble> {
        match cmd("XINFO").arg("GROUPS").arg(lane).query_async::<Value>(&mut self.hand).await {
            Ok(reply) => read_delivered(&reply, group).ok_or_else(|| strange("XINFO GROUPS", &reply)),
            Err(error) if error.code() == Some("WRONGTYPE") => Err(Trouble::Unusable(format!("{lane} is no stream"))),
            // It says so of a stream that is not there, in words alone.
            Err(error) if error.code() == Some("ERR") && error.to_string().contains("no such key") => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// New entries of these lanes, at most so many of each. It waits for the first; `no_wait`: not at all. The answer may be
    /// waited for beside other work, on a connection that nobody else uses.
    pub(crate) fn read(
        &self,
        lanes: &[String],
        group: &str,
        me: &str,
        count: usize,
        no_wait: bool,
    ) -> impl Future<Output = Result<Vec<Delivered>, Trouble>> + Send + use<> {
        let mut connection = self.reader.clone();
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(group).arg(me).arg("COUNT").arg(count);
        if !no_wait {
            read.arg("BLOCK").arg(BLOCK.as_millis() as u64);
        }
        read.arg("STREAMS").arg(lanes);
        for _ in lanes {
            read.arg(">");
        }
        async move {
            let reply: Value = read.query_async(&mut connection).await?;
            read_streams(&reply).ok_or_else(|| strange("XREADGROUP", &reply))
        }
    }

    /// Ends a read that waits.
    pub(crate) async fn end_read(&mut self) -> Result<(), Trouble> {
        Ok(cmd("CLIENT").arg("UNBLOCK").arg(self.reader_id).exec_async(&mut self.hand).await?)
    }

    /// Claims what was left idle for so long; of a partition only while we hold it.
    pub(crate) async fn claim(
        &mut self,
        names: &Names<'_>,
        me: &str,
        is_partition: bool,
        idle: Duration,
        cursor: &str,
        count: usize,
    ) -> Result<Found, Trouble> {
        let (tries, holder) = (names.tries(), names.holder());
        let keys = [names.lane, &tries, &holder];
        let mut call = script(include_str!("../scripts/claim.lua"), &keys[..if is_partition { 3 } else { 2 }]);
        call.arg(names.group).arg(me).arg(idle.as_millis() as u64).arg(cursor).arg(count);
        let reply: Value = call.query_async(&mut self.hand).await?;
        read_found(names.lane, &reply).ok_or_else(|| strange("claim", &reply))
    }

    /// What is pending for us, above a number. `next` is empty when that is all.
    pub(crate) async fn own(&mut self, names: &Names<'_>, me: &str, from: &str) -> Result<Found, Trouble> {
        let mut call = script(include_str!("../scripts/own.lua"), &[names.lane, &names.tries()]);
        call.arg(names.group).arg(me).arg(from).arg(500);
        let reply: Value = call.query_async(&mut self.hand).await?;
        read_found(names.lane, &reply).ok_or_else(|| strange("own", &reply))
    }

    /// Counts attempts that are about to begin.
    pub(crate) async fn begin(
        &mut self,
        names: &Names<'_>,
        me: &str,
        attempts: &[(EntryId, u32)],
    ) -> Result<Vec<Begun>, Trouble> {
        let mut call = script(include_str!("../scripts/begin.lua"), &[names.lane]);
        call.arg(names.group).arg(me);
        for (number, attempt) in attempts {
            call.arg(number.to_string()).arg(attempt);
        }
        let reply: Value = call.query_async(&mut self.hand).await?;
        let Value::Array(begun) = &reply else { return Err(strange("begin", &reply)) };
        Ok(begun
            .iter()
            .map(|fields| match fields {
                Value::Array(_) => Begun::Ours(read_envelope(fields)),
                Value::Int(_) => Begun::Deleted,
                _ => Begun::NotOurs,
            })
            .collect())
    }

    /// Renews entries.
    pub(crate) async fn keep(&mut self, names: &Names<'_>, me: &str, numbers: &[EntryId]) -> Result<Kept, Trouble> {
        let mut call = script(include_str!("../scripts/keep.lua"), &[names.lane]);
        call.arg(names.group).arg(me);
        for number in numbers {
            call.arg(number.to_string());
        }
        let (lost, deleted): (Vec<String>, Vec<String>) = call.query_async(&mut self.hand).await?;
        let read = |numbers: Vec<String>| numbers.iter().filter_map(|number| number.parse().ok()).collect();
        Ok(Kept { lost: read(lost), deleted: read(deleted) })
    }

    /// Settles entries: they took effect.
    pub(crate) async fn acknowledge(
        &mut self,
        names: &Names<'_>,
        numbers: &[EntryId],
        tried: &[EntryId],
    ) -> Result<(), Trouble> {
        let mut xack = cmd("XACK");
        xack.arg(names.lane).arg(names.group);
        for number in numbers {
            xack.arg(number.to_string());
        }
        xack.exec_async(&mut self.hand).await?;
        if !tried.is_empty() {
            let mut hdel = cmd("HDEL");
            hdel.arg(names.tries());
            for number in tried {
                hdel.arg(number.to_string());
            }
            self.say(hdel).await?;
        }
        Ok(())
    }

    /// Writes down how an entry's attempts failed, for whoever claims it. Without it only the reasons are lost.
    pub(crate) async fn remember(&mut self, names: &Names<'_>, number: EntryId, tries: &str) -> Result<(), Trouble> {
        let mut hset = cmd("HSET");
        hset.arg(names.tries()).arg(number.to_string()).arg(tries);
        self.say(hset).await
    }

    /// Sets an entry aside with its letter. `false`: it is no longer ours.
    pub(crate) async fn bury(
        &mut self,
        names: &Names<'_>,
        me: &str,
        number: EntryId,
        letter: &[(&str, String)],
    ) -> Result<bool, Trouble> {
        let mut call = script(include_str!("../scripts/bury.lua"), &[names.lane, &names.dead(), &names.tries()]);
        call.arg(names.group).arg(me).arg(number.to_string());
        for (name, value) in letter {
            call.arg(*name).arg(value);
        }
        match call.query_async(&mut self.hand).await {
            // Somebody uses that name for something else. It waits, as where memory is short.
            Err(error) if error.code() == Some("WRONGTYPE") => Err(Trouble::Full(error.to_string())),
            buried => Ok(buried?),
        }
    }

    /// Gives entries back, each to be claimed after this time.
    pub(crate) async fn give_back(
        &mut self,
        names: &Names<'_>,
        me: &str,
        entries: &[(EntryId, Duration, u32)],
    ) -> Result<(), Trouble> {
        let mut call = script(include_str!("../scripts/give.lua"), &[names.lane]);
        call.arg(names.group).arg(me).arg(keys::NOBODY);
        for (number, idle, count) in entries {
            call.arg(number.to_string()).arg(idle.as_millis() as u64).arg(count);
        }
        Ok(call.exec_async(&mut self.hand).await?)
    }

    /// Removes our name from a group, unless something is pending for it.
    pub(crate) async fn leave(&mut self, names: &Names<'_>, me: &str) -> Result<bool, Trouble> {
        let mut call = script(include_str!("../scripts/leave.lua"), &[names.lane]);
        Ok(call.arg(names.group).arg(me).query_async(&mut self.hand).await?)
    }

    /// Removes consumers that have been silent for so long and hold nothing: those that died and were never heard of again.
    pub(crate) async fn tidy(&mut self, names: &Names<'_>, silence: Duration) -> Result<usize, Trouble> {
        let mut call = script(include_str!("../scripts/tidy.lua"), &[names.lane, &names.stats()]);
        Ok(call.arg(names.group).arg(silence.as_millis() as u64).query_async(&mut self.hand).await?)
    }

    /// Up to where a group is settled, as the relay has written it down.
    pub(crate) async fn settled(&mut self, names: &Names<'_>) -> Result<Option<EntryId>, Trouble> {
        let asked: Result<Option<String>, _> =
            cmd("HGET").arg(names.settled()).arg(names.group).query_async(&mut self.hand).await;
        match asked {
            // Somebody uses that name for something else. Then nothing is known to be settled.
            Err(error) if error.code() == Some("WRONGTYPE") => Ok(None),
            upto => Ok(upto?.and_then(|upto| upto.parse().ok())),
        }
    }

    /// Says for people what this consumer has done.
    pub(crate) async fn tell(&mut self, names: &Names<'_>, me: &str, stats: &str) -> Result<(), Trouble> {
        let mut hset = cmd("HSET");
        hset.arg(names.stats()).arg(me).arg(stats);
        self.say(hset).await
    }

    /// Takes back what this consumer has said of itself: nobody bears its name again.
    pub(crate) async fn tell_no_more(&mut self, names: &Names<'_>, me: &str) -> Result<(), Trouble> {
        let mut hdel = cmd("HDEL");
        hdel.arg(names.stats()).arg(me);
        self.say(hdel).await
    }

    /// Something for people only: whatever Redis has against it, the work goes on.
    async fn say(&mut self, command: Cmd) -> Result<(), Trouble> {
        match command.exec_async(&mut self.hand).await {
            Err(error) if error.code().is_none() => Err(error.into()), // no answer at all
            _ => Ok(()),
        }
    }
}

fn strange(what: &str, reply: &Value) -> Trouble {
    Trouble::Away(format!("{what} answered what it never should: {reply:?}").chars().take(300).collect())
}

fn script(text: &str, keys: &[&str]) -> Cmd {
    let mut call = cmd("EVAL");
    call.arg(text).arg(keys.len()).arg(keys);
    call
}
