//! The connections to Redis. One server: one connection for everything. A cluster: one for each stream, to the server that
//! holds it, since a watch belongs to a connection and a transaction to one slot; and one to each server for the rest.
//!
//! None is ever repaired: whatever breaks one, all of them are made anew. In a cluster it is remembered who broke it, so that the
//! streams that lie there can be set aside, and the others go on.

use std::collections::HashMap;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Client, ConnectionAddr, ErrorKind, Pipeline, Value, cmd};

use crate::config::Server;
use crate::fault::{Fault, Outage};
use crate::replies::as_error;

/// Slots of a cluster.
const SLOTS: u16 = 16_384;
/// Codes by which a server says that it is well, and the slot is not here, or not whole.
const SLOT_IS_ELSEWHERE: [&str; 3] = ["MOVED", "ASK", "TRYAGAIN"];

pub(crate) struct Wires {
    settings: redis::AsyncConnectionConfig,
    client: Client,
    first: MultiplexedConnection,
    cluster: Option<Cluster>,
}

/// Whose fault the last failure is, in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Blame {
    /// The slot lies elsewhere by now, or is on its way.
    Slot(u16),
    /// It does not answer, or cannot serve anyone.
    Server(String),
}

struct Cluster {
    blame: Option<Blame>,
    /// Ranges of slots, each with the server that holds it.
    ranges: Vec<(u16, u16, String)>,
    by_stream: HashMap<String, MultiplexedConnection>,
    by_server: HashMap<String, MultiplexedConnection>,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum To<'a> {
    /// A stream, under whose watch things happen.
    Stream(&'a str),
    /// Some other key.
    Key(&'a str),
}

impl<'a> To<'a> {
    fn key(self) -> &'a str {
        match self {
            Self::Stream(key) | Self::Key(key) => key,
        }
    }
}

impl Cluster {
    fn server_of(&self, key: &str) -> Option<&String> {
        let slot = slot(key);
        let range = self.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
        range.map(|(_, _, server)| server)
    }

    fn look_for_blame(&mut self, key: &str, sent: &Result<Vec<Value>, Outage>) {
        let of_server = || self.server_of(key).cloned().map_or_else(|| Blame::Slot(slot(key)), Blame::Server);
        let is_outage = |reply: &&Value| matches!(as_error(reply), Some(Fault::Outage(_)));
        let blame = match sent {
            Err(_) => of_server(),
            Ok(replies) => match replies.iter().find(is_outage) {
                Some(Value::ServerError(error)) if SLOT_IS_ELSEWHERE.contains(&error.code()) => {
                    Blame::Slot(slot(key))
                }
                Some(_) => of_server(),
                None => return,
            },
        };
        self.blame = Some(blame);
    }
}

impl Wires {
    pub(crate) async fn connect(client: &Client, server: &Server) -> Result<Self, Outage> {
        let settings = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(server.publish_timeout))
            .set_response_timeout(Some(server.publish_timeout));
        let first = reach(client, &settings).await?;
        Ok(Self { settings, client: client.clone(), first, cluster: None })
    }

    /// What the server says of itself.
    pub(crate) async fn info(&mut self) -> Result<String, Outage> {
        Ok(cmd("INFO").query_async(&mut self.first).await?)
    }

    /// From here on each stream has a connection of its own.
    pub(crate) async fn spread(&mut self) -> Result<(), Outage> {
        let slots: Value = cmd("CLUSTER").arg("SLOTS").query_async(&mut self.first).await?;
        let ranges = read_ranges(&slots, self.client.get_connection_info().addr())
            .filter(|ranges| !ranges.is_empty())
            .ok_or_else(|| Outage("the cluster does not say which server holds which slots".to_owned()))?;
        self.cluster = Some(Cluster { blame: None, ranges, by_stream: HashMap::new(), by_server: HashMap::new() });
        Ok(())
    }

    /// What may go together: all of it, or, in a cluster, what is alike.
    pub(crate) fn portions<'t, T>(&self, items: &'t [T], alike: impl Fn(&T, &T) -> bool) -> Vec<&'t [T]> {
        match &self.cluster {
            Some(_) => items.chunk_by(alike).collect(),
            None if items.is_empty() => vec![],
            None => vec![items],
        }
    }

    /// Whether streams have connections of their own.
    pub(crate) fn are_many(&self) -> bool {
        self.cluster.is_some()
    }

    /// Whether a stream lies where the last failure was. Without a cluster none does: then it is everybody's.
    pub(crate) fn is_to_blame(&self, stream: &str) -> bool {
        let Some(cluster) = &self.cluster else { return false };
        match &cluster.blame {
            Some(Blame::Slot(blamed)) => slot(stream) == *blamed,
            Some(Blame::Server(blamed)) => cluster.server_of(stream) == Some(blamed),
            None => false,
        }
    }

    /// Sends, and returns an answer to each command.
    pub(crate) async fn send(&mut self, to: To<'_>, pipeline: &Pipeline) -> Result<Vec<Value>, Outage> {
        let sent = self.send_all(to, pipeline).await;
        if let Some(cluster) = &mut self.cluster {
            cluster.look_for_blame(to.key(), &sent);
        }
        sent
    }

    async fn send_all(&mut self, to: To<'_>, pipeline: &Pipeline) -> Result<Vec<Value>, Outage> {
        let count = pipeline.len();
        let replies = self.wire(to).await?.req_packed_commands(pipeline, 0, count).await?;
        if replies.len() == count {
            Ok(replies)
        } else {
            Err(Outage(format!("{} replies to {count} commands", replies.len())))
        }
    }

    async fn wire(&mut self, to: To<'_>) -> Result<&mut MultiplexedConnection, Outage> {
        let Some(cluster) = &mut self.cluster else { return Ok(&mut self.first) };
        let nowhere = || Outage(format!("no server of the cluster holds slot {}", slot(to.key())));
        let server = cluster.server_of(to.key()).cloned().ok_or_else(nowhere)?;
        let (wires, name) = match to {
            To::Stream(stream) => (&mut cluster.by_stream, stream),
            To::Key(_) => (&mut cluster.by_server, server.as_str()),
        };
        if !wires.contains_key(name) {
            let wire = reach(&at(&self.client, &server)?, &self.settings).await?;
            wires.insert(name.to_owned(), wire);
        }
        Ok(wires.get_mut(name).expect("it was just made"))
    }
}

/// Connects. What stands in the way is told with the address, and without credentials.
async fn reach(client: &Client, settings: &redis::AsyncConnectionConfig) -> Result<MultiplexedConnection, Outage> {
    let connected = client.get_multiplexed_async_connection_with_config(settings).await;
    connected.map_err(|error| {
        let says = match error.kind() {
            // The library keeps to itself what Redis has answered.
            ErrorKind::AuthenticationFailed => "AUTH was refused: user or password is wrong".to_owned(),
            _ => error.to_string(),
        };
        Outage(format!("{}: {says}", client.get_connection_info().addr()))
    })
}

/// The same client, for another server.
fn at(client: &Client, server: &str) -> Result<Client, Outage> {
    let unknown = || Outage(format!("the cluster names a server {server:?} that cannot be reached"));
    let (host, port) = server.rsplit_once(':').ok_or_else(unknown)?;
    let port = port.parse().map_err(|_| unknown())?;
    let info = client.get_connection_info().clone();
    let address = match info.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
            host: host.to_owned(),
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host.to_owned(), port),
    };
    Ok(Client::open(info.set_addr(address))?)
}

/// `[[first, last, [host, port, ...], ...], ...]`. A server that does not know its own name is the one that we asked.
fn read_ranges(slots: &Value, asked: &ConnectionAddr) -> Option<Vec<(u16, u16, String)>> {
    let Value::Array(ranges) = slots else { return None };
    let range = |range: &Value| {
        let Value::Array(parts) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(server), ..] = parts.as_slice() else { return None };
        let host = match (server.first()?, asked) {
            (Value::BulkString(host), _) if !host.is_empty() => String::from_utf8(host.clone()).ok()?,
            (_, ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. }) => host.clone(),
            _ => return None,
        };
        let Value::Int(port) = server.get(1)? else { return None };
        Some((u16::try_from(*first).ok()?, u16::try_from(*last).ok()?, format!("{host}:{port}")))
    };
    ranges.iter().map(range).collect()
}

/// Which slot a key lies in: CRC-16 (XMODEM) of what stands in its first braces, or of all of it.
fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    let crc = hashed.bytes().fold(0u16, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(byte) << 8),
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            },
        )
    });
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // As CLUSTER KEYSLOT answers.
        for (key, expected) in
            [("123456789", 12_739), ("foo", 12_182), ("a{foo}b", 12_182), ("{}foo", 9_500), ("", 0)]
        {
            assert_eq!(slot(key), expected, "{key}");
        }
    }
}
