//! A listener whose end is noticed. A server goes on asking one that is dead, and everything else looks as if it lived.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// After an error that passes (too many files are open, most likely), so long until the next caller.
const PAUSE: Duration = Duration::from_millis(100);
/// "Bad file descriptor", on every Unix.
const EBADF: i32 = 9;

/// Whether a listener that says this will never let anybody in again.
pub fn is_dead(error: &io::Error) -> bool {
    // It says that its argument is invalid when it does not listen any more.
    error.kind() == io::ErrorKind::InvalidInput || error.raw_os_error() == Some(EBADF)
}

/// A listener to serve with.
#[derive(Debug)]
pub struct Ears {
    listener: TcpListener,
    died: Option<oneshot::Sender<io::Error>>,
}

/// A listener to serve with, and a future that resolves if it dies.
pub fn ears(listener: TcpListener) -> (Ears, impl Future<Output = io::Error> + Send) {
    let (died, death) = oneshot::channel();
    let death = async move {
        match death.await {
            Ok(error) => error,
            // It was given up, as it is when a program stops.
            Err(_) => std::future::pending().await,
        }
    };
    (Ears { listener, died: Some(died) }, death)
}

impl Listener for Ears {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(caller) => return caller,
                Err(error) if is_dead(&error) => {
                    if let Some(died) = self.died.take() {
                        let _ = died.send(error);
                    }
                    std::future::pending::<()>().await;
                }
                Err(error) => {
                    tracing::warn!(%error, "a caller could not be let in");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
