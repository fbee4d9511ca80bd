//! The wire between a client and one server, on which everything can go wrong at a chosen moment.
//!
//! It knows no protocol, only which side speaks. A TURN is a burst of bytes from the client that follows a
//! burst from the server (or opens the connection); turns are counted over all connections. With a client that
//! waits for each answer, as those of Postgres and Redis do, turn n is its n-th request.

mod link;
mod state;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use self::state::{Fault, State};
use crate::deadline;
use servers::port;

/// Which half of a turn is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The server never sees the request.
    Request,
    /// The server does what was asked, and the client never learns it.
    Reply,
}

/// A TCP proxy on loopback in front of one port. It lives in the runtime that made it, and closes everything
/// when it goes.
pub struct Proxy {
    wire: Arc<Wire>,
    port: u16,
}

struct Wire {
    /// Where new connections go.
    upstream: Mutex<SocketAddr>,
    /// Taken away while connections are refused.
    listener: Mutex<Option<TcpListener>>,
    state: Mutex<State>,
    /// Something changed that a task may wait for.
    changed: Notify,
}

impl Proxy {
    /// A new wire to a port of loopback.
    pub async fn to(upstream: u16) -> Self {
        let listener = port::listener().expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let wire = Arc::new(Wire {
            upstream: Mutex::new((Ipv4Addr::LOCALHOST, upstream).into()),
            listener: Mutex::new(Some(asynchronous(listener))),
            state: Mutex::default(),
            changed: Notify::new(),
        });
        tokio::spawn(Arc::clone(&wire).run());
        Self { wire, port }
    }

    /// From now on it leads to another port, as when a replica takes over: connections to the one before are closed.
    pub fn lead_to(&self, upstream: u16) {
        *self.wire.upstream.lock().unwrap_or_else(PoisonError::into_inner) = (Ipv4Addr::LOCALHOST, upstream).into();
        self.cut();
    }

    /// Clients connect here instead of to the server.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes all connections, and forgets what was on its way; new ones work, also after [`freeze`](Self::freeze)
    /// or a [`Halt`].
    pub fn cut(&self) {
        self.wire.change(State::cut);
    }

    /// Closes all connections and refuses new ones, until [`accept`](Self::accept).
    pub fn refuse(&self) {
        *self.wire.listener() = None;
        self.cut();
    }

    /// Takes connections again.
    pub fn accept(&self) {
        let mut listener = self.wire.listener();
        if listener.is_none() {
            let bound = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, self.port));
            *listener = Some(asynchronous(bound.expect("nobody took the port meanwhile")));
        }
        drop(listener);
        self.wire.changed.notify_waiters();
    }

    /// Stops all bytes in both directions. Connections stay, new ones are accepted and hang, and the end of one
    /// side is not seen by the other: a network that is gone.
    pub fn freeze(&self) {
        self.wire.change(State::freeze);
    }

    /// Lets the bytes flow again, none is lost. After a [`Halt`] it is a [`cut`](Self::cut) instead, because a
    /// conversation that lost a part cannot go on.
    pub fn thaw(&self) {
        self.wire.change(State::thaw);
    }

    /// Delays each burst in each direction; zero ends it.
    pub fn slow(&self, delay: Duration) {
        self.wire.change(|state| state.delay = delay);
    }

    /// Loses one side of a turn and freezes everything at that moment. Turns are counted from this call on, the
    /// next one is 1. What a crash of the client leaves behind is what the server has then: kill the client,
    /// then [`thaw`](Self::thaw), which closes the dead client's connections.
    pub fn halt_at(&self, turn: usize, side: Side) -> Halt {
        self.arm(turn, side, false)
    }

    /// Delivers the request of a turn, loses its reply, and closes the connection; others work on.
    pub fn lose_reply(&self, turn: usize) -> Halt {
        self.arm(turn, Side::Reply, true)
    }

    /// Forgets the faults whose turn has not come.
    pub fn disarm(&self) {
        self.wire.state().faults.clear();
    }

    /// All turns of this wire's life.
    pub fn turns(&self) -> usize {
        self.wire.state().turns
    }

    fn arm(&self, turn: usize, side: Side, only_this_connection: bool) -> Halt {
        assert!(turn > 0, "the next turn is turn 1");
        let (hit, reached) = watch::channel(false);
        self.wire.change(|state| {
            let turn = state.turns + turn;
            state.faults.push(Fault { turn, side, only_this_connection, hit });
        });
        Halt { turn, side, reached }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        *self.wire.listener() = None;
        self.wire.change(State::close);
    }
}

/// A fault that waits for its turn.
pub struct Halt {
    turn: usize,
    side: Side,
    reached: watch::Receiver<bool>,
}

impl Halt {
    /// Waits for the turn. From then on the server learns nothing more over this wire (after
    /// [`lose_reply`](Proxy::lose_reply): over that connection).
    ///
    /// # Panics
    /// If the turn has not come at the [`deadline`].
    pub async fn reached(&self) {
        let mut reached = self.reached.clone();
        let come = timeout(deadline(), reached.wait_for(|reached| *reached)).await;
        come.unwrap_or_else(|_| panic!("{:?} of turn {} never came", self.side, self.turn))
            .expect("the proxy lives as long as its test waits for it");
    }

    /// Whether the turn has come.
    pub fn is_reached(&self) -> bool {
        *self.reached.borrow()
    }
}

impl Wire {
    /// Accepts connections until the end.
    async fn run(self: Arc<Self>) {
        loop {
            let changed = self.changed.notified();
            if self.state().closed {
                return;
            }
            let accepted = std::future::poll_fn(|context| match &*self.listener() {
                Some(listener) => listener.poll_accept(context),
                None => std::task::Poll::Pending,
            });
            tokio::select! {
                () = changed => {}
                // An error is of this one connection (it ended before we took it).
                accepted = accepted => if let Ok((client, _)) = accepted {
                    let opened = self.state().cuts;
                    tokio::spawn(Arc::clone(&self).connect(client, opened));
                }
            }
        }
    }

    /// One connection, until a side ends it or it is cut.
    async fn connect(self: Arc<Self>, client: TcpStream, opened: usize) {
        let talk = async {
            // A server that is down: the client sees its connection close.
            let upstream = *self.upstream.lock().unwrap_or_else(PoisonError::into_inner);
            let Ok(server) = TcpStream::connect(upstream).await else {
                return;
            };
            link::run(&self, &client, &server, opened).await;
        };
        tokio::select! {
            () = talk => {}
            () = self.until(|state| state.cuts != opened) => {}
        }
    }

    async fn until(&self, fact: impl Fn(&State) -> bool) {
        loop {
            // Made before the look, so that no change falls between the two.
            let changed = self.changed.notified();
            if fact(&self.state()) {
                return;
            }
            changed.await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_waiters();
    }

    // A failed test must not fail a second time in Drop, so a poisoned lock is no reason to panic.
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listener(&self) -> std::sync::MutexGuard<'_, Option<TcpListener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn asynchronous(listener: std::net::TcpListener) -> TcpListener {
    listener.set_nonblocking(true).expect("a socket can be non-blocking");
    TcpListener::from_std(listener).expect("a proxy is made within a tokio runtime")
}
