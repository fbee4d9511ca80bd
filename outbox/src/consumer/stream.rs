//! Every Redis command that a consumer issues.
//!
//! Two connections: one only reads, since a read that waits blocks whatever else goes over its connection; the other does
//! everything else. Neither is ever repaired: whatever breaks one, both are made anew, and the consumer begins with what is
//! pending for it.

use std::future::Future;
use std::time::Duration;

pub(crate) use redis::Client;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value, cmd};
use sha2::{Digest, Sha256};

use super::ConsumerError;
use crate::{EntryId, Envelope, Malformed};

/// Entries that were given back are pending for this name, which nobody bears.
pub(crate) const NOBODY: &str = "outbox:nobody";

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
    /// Its memory is full: it takes nothing more, and does everything else.
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

/// An entry as Redis gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) lane: String,
    pub(crate) number: EntryId,
    pub(crate) envelope: Result<Envelope, Malformed>,
    /// How often it was delivered, as far as Redis says so.
    pub(crate) count: u32,
    /// What its failed attempts left behind, as text.
    pub(crate) tries: Option<String>,
}

/// What was taken over from others, or is pending for us.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) entries: Vec<Delivered>,
    /// Pending, and no longer in the stream: somebody deleted them before they were settled.
    pub(crate) lost: Vec<String>,
    /// Where to look on.
    pub(crate) next: String,
}

/// What became of an attempt that was to begin.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It was counted.
    Ours(Result<Envelope, Malformed>),
    /// Somebody else has the entry.
    NotOurs,
    /// Somebody deleted it from the stream.
    Deleted,
}

/// What is no longer to be renewed.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Somebody else has them.
    pub(crate) lost: Vec<EntryId>,
    /// Somebody deleted them from the stream.
    pub(crate) deleted: Vec<EntryId>,
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
        format!("{}:{}:dead", self.stream, self.group)
    }

    fn tries(&self) -> String {
        format!("{}:{}:tries", self.lane, self.group)
    }

    fn stats(&self) -> String {
        format!("{}:{}:stats", self.stream, self.group)
    }

    /// Who may read this partition.
    pub(crate) fn holder(&self) -> String {
        format!("{}:{}:holder", self.stream, self.group)
    }

    /// Whose connection reads this partition.
    fn reader(&self) -> String {
        format!("{}:{}:reader", self.stream, self.group)
    }

    /// Who shares the partitions; kept beside the first one.
    fn register(&self) -> String {
        format!("{}:{}:consumers", self.stream, self.group)
    }

    fn settled(&self) -> String {
        format!("{}:settled", self.lane)
    }
}

/// The way to the server that holds some streams.
pub(crate) struct Stream {
    reader: MultiplexedConnection,
    reader_id: i64,
    hand: MultiplexedConnection,
    cluster: bool,
}

/// A client that has not connected yet.
pub(crate) fn client(url: &str, ca: Option<&[u8]>) -> Result<Client, ConsumerError> {
    // The library's own message may quote the URL, and with it the password.
    let wrong = |why: &str| ConsumerError::Unusable(format!("the Redis URL {why}"));
    match ca {
        None => Client::open(url).map_err(|_| wrong("cannot be read: it looks like redis://127.0.0.1:6379")),
        Some(pem) => {
            let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) };
            Client::build_with_tls(url, certificates)
                .map_err(|_| wrong("and the authority do not go together: PEM and a rediss:// URL are needed"))
        }
    }
}

impl Stream {
    /// Connects to the server that holds this key: in a cluster that may be another one than the one we were told.
    pub(crate) async fn connect(
        client: &Client,
        key: &str,
        group: &str,
        me: &str,
        timeout: Duration,
    ) -> Result<Self, Trouble> {
        let mut client = client.clone();
        for _ in 0..5 {
            let mut hand = connect(&client, timeout).await?;
            if let Err(error) = cmd("XLEN").arg(key).exec_async(&mut hand).await
                && error.code() == Some("MOVED")
                && let Some((address, _)) = error.redirect_node()
            {
                client = at(&client, address)?;
                continue;
            }
            let cluster = check(&mut hand).await?;
            let mut reader = connect(&client, BLOCK + timeout).await?;
            cmd("CLIENT").arg("SETNAME").arg(reader_name(group, me)).exec_async(&mut reader).await?;
            let reader_id = cmd("CLIENT").arg("ID").query_async(&mut reader).await?;
            return Ok(Self { reader, reader_id, hand, cluster });
        }
        Err(Trouble::Away("the cluster sends us from one node to the next".to_owned()))
    }

    /// The number of the connection that reads.
    pub(crate) fn reader_id(&self) -> i64 {
        self.reader_id
    }

    /// Ends a connection that read for us before.
    pub(crate) async fn end_former(&mut self, id: i64, group: &str, me: &str) -> Result<(), Trouble> {
        self.end_reader(&id.to_string(), &reader_name(group, me)).await
    }

    /// Ends a connection, if it still bears this name: numbers of connections begin anew when Redis does.
    async fn end_reader(&mut self, id: &str, name: &str) -> Result<(), Trouble> {
        let list: String = cmd("CLIENT").arg("LIST").arg("ID").arg(id).query_async(&mut self.hand).await?;
        if list.split(' ').any(|field| field.strip_prefix("name=") == Some(name)) {
            let _: Value = cmd("CLIENT").arg("KILL").arg("ID").arg(id).query_async(&mut self.hand).await?;
        }
        Ok(())
    }

    /// Whether other streams may lie on other servers.
    pub(crate) fn is_cluster(&self) -> bool {
        self.cluster
    }

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

    /// Takes over what was left idle for so long; of a partition only while we hold it.
    pub(crate) async fn adopt(
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
        let mut call = script(include_str!("scripts/adopt.lua"), &keys[..if is_partition { 3 } else { 2 }]);
        call.arg(names.group).arg(me).arg(idle.as_millis() as u64).arg(cursor).arg(count);
        let reply: Value = call.query_async(&mut self.hand).await?;
        read_found(names.lane, &reply).ok_or_else(|| strange("adopt", &reply))
    }

    /// What is pending for us, above a number. `next` is empty when that is all.
    pub(crate) async fn own(&mut self, names: &Names<'_>, me: &str, from: &str) -> Result<Found, Trouble> {
        let mut call = script(include_str!("scripts/own.lua"), &[names.lane, &names.tries()]);
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
        let mut call = script(include_str!("scripts/begin.lua"), &[names.lane]);
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
        let mut call = script(include_str!("scripts/keep.lua"), &[names.lane]);
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
        let mut pipeline = Pipeline::new();
        let mut xack = cmd("XACK");
        xack.arg(names.lane).arg(names.group);
        for number in numbers {
            xack.arg(number.to_string());
        }
        pipeline.add_command(xack);
        if !tried.is_empty() {
            let mut hdel = cmd("HDEL");
            hdel.arg(names.tries());
            for number in tried {
                hdel.arg(number.to_string());
            }
            pipeline.add_command(hdel);
        }
        Ok(pipeline.exec_async(&mut self.hand).await?)
    }

    /// Writes down how an entry's attempts failed, for whoever takes it over. Without it only the reasons are lost.
    pub(crate) async fn remember(&mut self, names: &Names<'_>, number: EntryId, tries: &str) -> Result<(), Trouble> {
        let kept = cmd("HSET").arg(names.tries()).arg(number.to_string()).arg(tries).exec_async(&mut self.hand).await;
        match kept {
            Err(error) if error.code().is_none() => Err(error.into()), // no answer at all
            _ => Ok(()),
        }
    }

    /// Sets an entry aside with its letter. `false`: it is no longer ours.
    pub(crate) async fn bury(
        &mut self,
        names: &Names<'_>,
        me: &str,
        number: EntryId,
        letter: &[(&str, String)],
    ) -> Result<bool, Trouble> {
        let mut call = script(include_str!("scripts/bury.lua"), &[names.lane, &names.dead(), &names.tries()]);
        call.arg(names.group).arg(me).arg(number.to_string());
        for (name, value) in letter {
            call.arg(*name).arg(value);
        }
        Ok(call.query_async(&mut self.hand).await?)
    }

    /// Gives entries back, each to be taken over after this time.
    pub(crate) async fn give_back(
        &mut self,
        names: &Names<'_>,
        me: &str,
        entries: &[(EntryId, Duration, u32)],
    ) -> Result<(), Trouble> {
        let mut call = script(include_str!("scripts/give.lua"), &[names.lane]);
        call.arg(names.group).arg(me).arg(NOBODY);
        for (number, idle, count) in entries {
            call.arg(number.to_string()).arg(idle.as_millis() as u64).arg(count);
        }
        Ok(call.exec_async(&mut self.hand).await?)
    }

    /// Removes our name from a group, unless something is pending for it.
    pub(crate) async fn leave(&mut self, names: &Names<'_>, me: &str) -> Result<bool, Trouble> {
        let mut call = script(include_str!("scripts/leave.lua"), &[names.lane]);
        Ok(call.arg(names.group).arg(me).query_async(&mut self.hand).await?)
    }

    /// Removes consumers that have been silent for so long and hold nothing: those that died and were never heard of again.
    pub(crate) async fn tidy(&mut self, names: &Names<'_>, silence: Duration) -> Result<usize, Trouble> {
        let mut call = script(include_str!("scripts/tidy.lua"), &[names.lane, &names.stats()]);
        Ok(call.arg(names.group).arg(silence.as_millis() as u64).query_async(&mut self.hand).await?)
    }

    /// Up to where a group is settled, as the relay has written it down.
    pub(crate) async fn settled(&mut self, names: &Names<'_>) -> Result<Option<EntryId>, Trouble> {
        let upto: Option<String> =
            cmd("HGET").arg(names.settled()).arg(names.group).query_async(&mut self.hand).await?;
        Ok(upto.and_then(|upto| upto.parse().ok()))
    }

    /// Says for people what this consumer has done.
    pub(crate) async fn tell(&mut self, names: &Names<'_>, me: &str, stats: &str) -> Result<(), Trouble> {
        let told = cmd("HSET").arg(names.stats()).arg(me).arg(stats).exec_async(&mut self.hand).await;
        match told {
            Err(error) if error.code().is_none() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Takes or keeps the right to read a partition.
    pub(crate) async fn hold(&mut self, names: &Names<'_>, me: &str, lease: Duration) -> Result<bool, Trouble> {
        let mut call = script(include_str!("scripts/hold.lua"), &[&names.holder()]);
        Ok(call.arg(me).arg(lease.as_millis() as u64).query_async(&mut self.hand).await?)
    }

    /// Becomes the one who reads a partition: the connection of whoever did before is ended.
    pub(crate) async fn take_reader(&mut self, names: &Names<'_>, me: &str) -> Result<(), Trouble> {
        let ours = format!("{} {}", self.reader_id, reader_name(names.group, me));
        let mut call = script(include_str!("scripts/read_as.lua"), &[&names.reader()]);
        let before: Option<String> = call.arg(&ours).query_async(&mut self.hand).await?;
        match before.as_deref() {
            // Redis has lost what it knew, or this partition is new.
            None => self.end_all_readers(names.group, me).await,
            Some(before) if before == ours => Ok(()),
            Some(before) => match before.split_once(' ') {
                Some((id, name)) => self.end_reader(id, name).await,
                None => Ok(()),
            },
        }
    }

    /// Ends the connections of all others who read for this group. Those who rightly do connect again.
    async fn end_all_readers(&mut self, group: &str, me: &str) -> Result<(), Trouble> {
        let (of_group, ours) = (reader_name(group, ""), reader_name(group, me));
        let list: String = cmd("CLIENT").arg("LIST").query_async(&mut self.hand).await?;
        for line in list.lines() {
            let field = |name: &str| line.split(' ').find_map(|field| field.strip_prefix(name));
            if let (Some(id), Some(name)) = (field("id="), field("name="))
                && name.starts_with(&of_group)
                && name != ours
            {
                let _: Value = cmd("CLIENT").arg("KILL").arg("ID").arg(id).query_async(&mut self.hand).await?;
            }
        }
        Ok(())
    }

    /// Says that we are there, for so long. Returns how many are, and how many of them come before us.
    pub(crate) async fn register(
        &mut self,
        names: &Names<'_>,
        me: &str,
        lease: Duration,
    ) -> Result<(usize, usize), Trouble> {
        let mut call = script(include_str!("scripts/register.lua"), &[&names.register()]);
        Ok(call.arg(me).arg(lease.as_millis() as u64).query_async(&mut self.hand).await?)
    }

    /// Says that we are there no longer.
    pub(crate) async fn unregister(&mut self, names: &Names<'_>, me: &str) -> Result<(), Trouble> {
        Ok(cmd("ZREM").arg(names.register()).arg(me).exec_async(&mut self.hand).await?)
    }

    /// Ends the right to read a partition.
    pub(crate) async fn let_go(&mut self, names: &Names<'_>, me: &str) -> Result<(), Trouble> {
        let mut call = script(include_str!("scripts/let_go.lua"), &[&names.holder(), &names.reader()]);
        Ok(call.arg(me).exec_async(&mut self.hand).await?)
    }
}

/// How a connection that reads is called. Redis takes no spaces there, and groups may have some.
fn reader_name(group: &str, me: &str) -> String {
    let hash = Sha256::digest(group.as_bytes());
    format!("reader-{:02x}{:02x}{:02x}{:02x}-{me}", hash[0], hash[1], hash[2], hash[3])
}

fn strange(what: &str, reply: &Value) -> Trouble {
    Trouble::Away(format!("{what} answered what it never should: {reply:?}").chars().take(300).collect())
}

async fn connect(client: &Client, timeout: Duration) -> Result<MultiplexedConnection, Trouble> {
    // redis-rs gives up on an answer after half a second by default, while the server goes on delivering.
    let settings = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(timeout.min(Duration::from_secs(5))))
        .set_response_timeout(Some(timeout));
    Ok(client.get_multiplexed_async_connection_with_config(&settings).await?)
}

/// The same client, for another address.
fn at(client: &Client, address: &str) -> Result<Client, Trouble> {
    let unusable = || Trouble::Away(format!("the cluster named a node {address:?} that cannot be reached"));
    let (host, port) = address.rsplit_once(':').ok_or_else(unusable)?;
    let port = port.parse().map_err(|_| unusable())?;
    let info = client.get_connection_info().clone();
    let address = match info.addr() {
        redis::ConnectionAddr::Tcp(..) => redis::ConnectionAddr::Tcp(host.to_owned(), port),
        redis::ConnectionAddr::TcpTls { insecure, tls_params, .. } => redis::ConnectionAddr::TcpTls {
            host: host.to_owned(),
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => return Err(unusable()),
    };
    Ok(Client::open(info.set_addr(address))?)
}

/// Whether the server is part of a cluster, if it is new enough.
async fn check(hand: &mut MultiplexedConnection) -> Result<bool, Trouble> {
    let info: String = cmd("INFO").query_async(hand).await?;
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    let version = field("redis_version:");
    match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
        Some(major) if major < 7 => {
            Err(Trouble::Unusable(format!("Redis {version} is too old: 7.0 or newer is needed")))
        }
        _ => Ok(field("cluster_enabled:") == "1"),
    }
}

fn script(text: &str, keys: &[&str]) -> Cmd {
    let mut call = cmd("EVAL");
    call.arg(text).arg(keys.len()).arg(keys);
    call
}

/// Streams, each with its entries; nil when nothing came.
fn read_streams(reply: &Value) -> Option<Vec<Delivered>> {
    let streams: Vec<(&Value, &Value)> = match reply {
        Value::Nil => return Some(vec![]),
        Value::Array(streams) => streams
            .iter()
            .map(|stream| match stream {
                Value::Array(pair) if pair.len() == 2 => Some((&pair[0], &pair[1])),
                _ => None,
            })
            .collect::<Option<_>>()?,
        Value::Map(streams) => streams.iter().map(|(name, entries)| (name, entries)).collect(),
        _ => return None,
    };
    let mut delivered = vec![];
    for (name, entries) in streams {
        let (Some(lane), Value::Array(entries)) = (text(name), entries) else { return None };
        for entry in entries {
            let Value::Array(parts) = entry else { return None };
            let [number, fields] = parts.as_slice() else { return None };
            let number = text(number)?.parse().ok()?;
            delivered.push(Delivered {
                lane: lane.clone(),
                number,
                envelope: read_envelope(fields),
                count: 1,
                tries: None,
            });
        }
    }
    Some(delivered)
}

/// `next, [[number, count, fields, tries]], [lost]`.
fn read_found(lane: &str, reply: &Value) -> Option<Found> {
    let Value::Array(parts) = reply else { return None };
    let [next, Value::Array(found), Value::Array(lost)] = parts.as_slice() else { return None };
    let entry = |entry: &Value| {
        let Value::Array(parts) = entry else { return None };
        let number = text(parts.first()?)?.parse().ok()?;
        let Value::Int(count) = parts.get(1)? else { return None };
        Some(Delivered {
            lane: lane.to_owned(),
            number,
            count: u32::try_from(*count).unwrap_or(u32::MAX),
            envelope: read_envelope(parts.get(2)?),
            tries: parts.get(3).and_then(text),
        })
    };
    Some(Found {
        entries: found.iter().map(entry).collect::<Option<_>>()?,
        lost: lost.iter().filter_map(text).collect(),
        next: text(next)?,
    })
}

/// Bytes that are no text are that entry's failure, and no one else's.
fn read_envelope(fields: &Value) -> Result<Envelope, Malformed> {
    let Value::Array(fields) = fields else { return Err(Malformed::new("the entry has no fields")) };
    let texts: Option<Vec<&str>> = fields
        .iter()
        .map(|field| match field {
            Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
            Value::SimpleString(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    let texts = texts.ok_or_else(|| Malformed::new("the entry holds bytes that are not UTF-8"))?;
    Envelope::from_fields(texts.chunks_exact(2).map(|pair| (pair[0], pair[1])))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}
