//! One connection through the proxy.

use std::io::{Error, ErrorKind, Result};
use std::sync::{Mutex, PoisonError};

use tokio::net::TcpStream;
use tokio::time::sleep;

use super::state::{Talk, Verdict};
use super::{Side, Wire};

const BURST_BYTES_MAX: usize = 64 * 1024;

/// Carries bytes both ways until one side ends, which ends the other too, as if the two spoke directly.
pub(super) async fn run(wire: &Wire, client: &TcpStream, server: &TcpStream, opened: usize) {
    // Small bursts must not wait for each other; without it a request may be delayed by 40 ms.
    let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    let talk = Mutex::default();
    let requests = Pipe { wire, talk: &talk, opened, from: client, to: server, side: Side::Request };
    let replies = Pipe { wire, talk: &talk, opened, from: server, to: client, side: Side::Reply };
    tokio::select! {
        _ = requests.run() => {}
        _ = replies.run() => {}
    }
}

/// One direction of a connection.
struct Pipe<'a> {
    wire: &'a Wire,
    talk: &'a Mutex<Talk>,
    opened: usize,
    from: &'a TcpStream,
    to: &'a TcpStream,
    side: Side,
}

impl Pipe<'_> {
    /// Until the sender has nothing more to say.
    async fn run(&self) -> Result<()> {
        let mut buffer = vec![0; BURST_BYTES_MAX];
        loop {
            self.from.readable().await?;
            self.flow().await;
            match self.from.try_read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => self.deliver(&buffer[..read]).await?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn deliver(&self, burst: &[u8]) -> Result<()> {
        let delay = self.wire.state().delay;
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let mut rest = burst;
        let mut judged = false;
        while !rest.is_empty() {
            self.flow().await;
            let verdict = self.write(&mut rest, &mut judged);
            match verdict? {
                Verdict::Deliver if rest.is_empty() => {}
                Verdict::Deliver => self.to.writable().await?,
                Verdict::Close => return Err(ErrorKind::ConnectionAborted.into()),
                Verdict::Halt => {
                    self.wire.changed.notify_waiters();
                    // Only a cut ends a halt, and with it this connection.
                    std::future::pending::<()>().await;
                }
            }
        }
        Ok(())
    }

    /// Writes what the socket takes. All under the lock of the wire: once it is frozen, halted or cut, not one
    /// more byte reaches a server, and a test may trust that.
    fn write(&self, rest: &mut &[u8], judged: &mut bool) -> Result<Verdict> {
        let mut state = self.wire.state();
        if state.cuts != self.opened {
            return Err(Error::from(ErrorKind::ConnectionAborted));
        }
        if !state.flows() {
            return Ok(Verdict::Deliver);
        }
        if !*judged {
            *judged = true;
            let mut talk = self.talk.lock().unwrap_or_else(PoisonError::into_inner);
            match state.judge(&mut talk, self.side) {
                Verdict::Deliver => {}
                lost => return Ok(lost),
            }
        }
        match self.to.try_write(rest) {
            Ok(written) => *rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(Verdict::Deliver)
    }

    async fn flow(&self) {
        self.wire.until(super::state::State::flows).await;
    }
}
