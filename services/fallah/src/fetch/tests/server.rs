//! A server that plays a script: what each request gets, act by act.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::address::Address;

pub(super) enum Act {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes again and again, until nobody wants them.
    Repeat(Vec<u8>),
    /// Sends one byte, waits, and so on.
    Drip(Duration),
    /// Does nothing for a while.
    Wait(Duration),
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) connections: Arc<AtomicUsize>,
}

impl Server {
    /// Plays `script` for each request's head, and closes the connection.
    pub(super) async fn play(script: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::play_on(TcpListener::bind("127.0.0.1:0").await.expect("a port"), script)
    }

    fn play_on(listener: TcpListener, script: impl Fn(&str) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let (script, counted) = (Arc::new(script), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let script = Arc::clone(&script);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else { return };
                        head.push(byte);
                    }
                    for act in script(&String::from_utf8_lossy(&head)) {
                        match act {
                            Act::Send(bytes) => {
                                let _ = stream.write_all(&bytes).await;
                            }
                            Act::Repeat(bytes) => while stream.write_all(&bytes).await.is_ok() {},
                            Act::Drip(pause) => {
                                while stream.write_all(b"a").await.is_ok() {
                                    tokio::time::sleep(pause).await;
                                }
                            }
                            Act::Wait(pause) => tokio::time::sleep(pause).await,
                        }
                    }
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { address, connections }
    }

    /// Sends one answer to everybody.
    pub(super) async fn send(head: &str, body: &[u8]) -> Self {
        let bytes = answer(head, body);
        Self::play(move |_| vec![Act::Send(bytes.clone())]).await
    }

    /// The same at another of this machine's addresses, which not every system has many of.
    pub(super) async fn send_elsewhere(port: u16, head: &str, body: &[u8]) -> Self {
        let bytes = answer(head, body);
        let listener = match TcpListener::bind(("127.0.0.2", port)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind(("::1", port)).await.expect("a port that is free there, too"),
        };
        Self::play_on(listener, move |_| vec![Act::Send(bytes.clone())])
    }

    pub(super) fn at(&self, path: &str) -> Address {
        Address::parse(&format!("http://{}{path}", self.address)).expect("an address")
    }
}

/// An answer with its length.
pub(super) fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}
