//! Getting to the server that holds a stream, and knowing its connections.

use std::time::Duration;

pub(crate) use redis::Client;
use redis::aio::MultiplexedConnection;
use redis::{Value, cmd};
use sha2::{Digest, Sha256};

use super::{BLOCK, Door, Trouble};
use crate::consumer::ConsumerError;

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

impl Door {
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
    pub(super) async fn end_reader(&mut self, id: &str, name: &str) -> Result<(), Trouble> {
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
}

/// How a connection that reads is called. Redis takes no spaces there, and groups may have some.
pub(super) fn reader_name(group: &str, me: &str) -> String {
    let hash = Sha256::digest(group.as_bytes());
    format!("reader-{:02x}{:02x}{:02x}{:02x}-{me}", hash[0], hash[1], hash[2], hash[3])
}

async fn connect(client: &Client, timeout: Duration) -> Result<MultiplexedConnection, Trouble> {
    // redis-rs gives up on an answer after half a second by default, while the server goes on delivering.
    let settings = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(timeout.min(Duration::from_secs(5))))
        .set_response_timeout(Some(timeout));
    let connected = client.get_multiplexed_async_connection_with_config(&settings).await;
    connected.map_err(|error| Trouble::Away(format!("{}: {error}", client.get_connection_info().addr())))
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
