//! A thread of its own, with connections that are few, short of patience, and end in order.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tower::ServiceExt;
use vitals::Listen;

use super::desk::Desk;
use super::impatient::Impatient;
use super::settings::Surface;
use super::tokens::{Tokens, whom};
use super::{history, router};
use crate::config::Config;
use crate::fault::Error;
use crate::pulse::Pulse;

/// So many callers at once. More wait until one has gone.
const CONNECTIONS_MAX: usize = 128;
/// So many from one address, so that nobody alone keeps all others out; more are closed at once.
const CONNECTIONS_OF_ONE_MAX: usize = 64;
/// Who takes nothing of an answer for so long loses the connection.
const WRITE_TIME_MAX: Duration = Duration::from_secs(30);
/// The headers of a request, and how long they may take to come: that is also how long an idle connection is kept.
const HEADER_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
const HEADER_TIME_MAX: Duration = Duration::from_secs(15);
/// When the relay stops, answers that are on their way have so long to end.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// From where a request came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// An address that is taken, before anything else begins: if it cannot be had, nothing has begun.
pub(crate) struct Serving {
    listener: Option<StdListener>,
    surface: Surface,
    tokens: Tokens,
}

/// The surface at work.
pub(crate) struct Served {
    stop: watch::Sender<bool>,
    /// None: it has ended.
    ended: Option<oneshot::Receiver<()>>,
    thread: JoinHandle<()>,
}

impl Serving {
    /// Takes the address.
    pub(crate) fn bind(surface: &Surface) -> Result<Self, Error> {
        let tokens = surface.check()?;
        let listener = match surface.listen {
            Listen::Off => None,
            Listen::At(address) => {
                let listener = terminal::listen("--listen (RELAY_LISTEN)", address);
                Some(listener.map_err(|error| Error::Unusable(error.to_string()))?)
            }
        };
        Ok(Self { listener, surface: surface.clone(), tokens })
    }

    /// Serves until it is stopped, on a thread of its own. None: there is no surface.
    pub(crate) fn begin(self, config: Config, pulse: Arc<Pulse>) -> Result<Option<Served>, Error> {
        let Some(listener) = self.listener else { return Ok(None) };
        let impossible = |error: std::io::Error| Error::Unusable(format!("the HTTP surface cannot begin: {error}"));
        let address = listener.local_addr().map_err(impossible)?;
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(impossible)?;
        let Self { surface, tokens, .. } = self;
        let work = move || {
            runtime.block_on(async move {
                match Desk::new(config, surface, tokens, address, pulse, stopped.clone()) {
                    Ok(desk) => serve(listener, Arc::new(desk), stopped).await,
                    Err(error) => tracing::error!(%error, "the HTTP surface cannot begin"),
                }
            });
            let _ = end.send(());
        };
        let thread = std::thread::Builder::new().name("relay-http".to_owned()).spawn(work).map_err(impossible)?;
        tracing::info!(%address, "the operator's surface listens");
        Ok(Some(Served { stop, ended: Some(ended), thread }))
    }
}

impl Served {
    /// Takes no more requests, and lets those in hand end.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(true);
        let ended = match self.ended {
            Some(ended) => tokio::time::timeout(DRAIN_MAX * 2, ended).await.is_ok(),
            None => true,
        };
        if ended {
            let _ = self.thread.join();
        }
    }

    /// Resolves when it has ended although nobody stopped it.
    pub(crate) async fn ended(&mut self) {
        if let Some(ended) = &mut self.ended {
            let _ = ended.await;
            self.ended = None;
        }
    }
}

async fn serve(listener: StdListener, desk: Arc<Desk>, mut stopped: watch::Receiver<bool>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the HTTP surface cannot begin"),
    };
    let (router, _) = router::router(Arc::clone(&desk));
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let callers = Arc::new(Callers::default());
    let sampling = tokio::spawn(history::keep_sampling(Arc::clone(&desk)));
    loop {
        let accepted = async {
            let permit = Arc::clone(&free).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            _ = stopped.changed() => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(seat) = callers.seat(whom(peer.ip())) else { continue };
                let (router, stopped) = (router.clone(), stopped.clone());
                tokio::spawn(async move {
                    talk(stream, peer, router, stopped).await;
                    drop((seat, permit));
                });
            }
            // The relay ends, too: who watches it must not see it live.
            Err(error) if vitals::is_dead(&error) => {
                tracing::error!(%error, "the HTTP surface has lost its address");
                break;
            }
            // Out of file descriptors, most likely: one that is busy goes soon.
            Err(error) => {
                tracing::warn!(%error, "a caller could not be let in");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    sampling.abort();
    let all_gone = free.acquire_many(CONNECTIONS_MAX as u32);
    let _ = tokio::time::timeout(DRAIN_MAX, all_gone).await;
}

/// How many connections each address has.
#[derive(Default)]
struct Callers(Mutex<HashMap<IpAddr, usize>>);

/// A place among an address's connections; given back when it is dropped.
struct Seat(Arc<Callers>, IpAddr);

impl Callers {
    fn seat(self: &Arc<Self>, caller: IpAddr) -> Option<Seat> {
        let mut callers = self.0.lock().expect("counting does not panic");
        let connections = callers.entry(caller).or_default();
        (*connections < CONNECTIONS_OF_ONE_MAX).then(|| {
            *connections += 1;
            Seat(Arc::clone(self), caller)
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut callers = self.0.0.lock().expect("counting does not panic");
        if let Some(connections) = callers.get_mut(&self.1) {
            *connections -= 1;
            if *connections == 0 {
                callers.remove(&self.1);
            }
        }
    }
}

/// One connection, from its first request to its last.
async fn talk(stream: TcpStream, peer: SocketAddr, router: Router, mut stopped: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        router.clone().oneshot(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_header_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let connection = http.serve_connection(TokioIo::new(Impatient::new(stream, WRITE_TIME_MAX)), answer);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // A caller who goes away in the middle is no failure of ours.
        _ = connection.as_mut() => return,
        _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
