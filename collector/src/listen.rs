//! Connections of sensors: accepted, limited, and known by certificate before a byte of them is read.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::transport::server::Connected;

use crate::{peer::Peer, tls::Tls};

/// Connections at one time; a sensor needs one.
pub const MAX_CONNECTIONS: usize = 20_000;
/// Handshakes under way from one address; more are closed at once, so that nobody can hold up the others.
pub const MAX_HANDSHAKES_EACH: usize = 64;
/// Handshakes under way from all addresses.
pub const MAX_HANDSHAKES: usize = 1024;
/// Time for a handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// Accepted connections that wait to be served.
const WAITING: usize = 64;
/// Pause after an accept that failed, usually for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What became of connections that were not served, by cause.
#[derive(Debug, Default)]
pub struct Refusals {
    /// No TLS, no certificate, or one that is foreign or expired.
    pub handshake: AtomicU64,
    /// A certificate of the authority that names no sensor.
    pub nameless: AtomicU64,
    /// Over a limit.
    pub limit: AtomicU64,
}

/// One connection of a known sensor.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    _room: OwnedSemaphorePermit,
}

/// Starts accepting on `listener`; connections arrive in the returned queue until it is dropped.
pub fn start(
    listener: TcpListener,
    tls: Arc<Tls>,
    refusals: Arc<Refusals>,
) -> mpsc::Receiver<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(accept(listener, tls, refusals, sender));
    receiver
}

async fn accept(
    listener: TcpListener,
    tls: Arc<Tls>,
    refusals: Arc<Refusals>,
    served: mpsc::Sender<io::Result<Connection>>,
) {
    let rooms = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let pending = Arc::new(Pending::default());
    loop {
        let accepted = tokio::select! {
            () = served.closed() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (Ok(room), Some(turn)) = (rooms.clone().try_acquire_owned(), pending.enter(from.ip())) else {
            count(&refusals.limit, from, "too many connections");
            continue;
        };
        let (config, refusals, served) = (tls.config(), refusals.clone(), served.clone());
        tokio::spawn(async move {
            let handshake = timeout(HANDSHAKE_LIMIT, TlsAcceptor::from(config).accept(stream)).await;
            drop(turn);
            let stream = match handshake {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return count(&refusals.handshake, from, &error.to_string()),
                Err(_) => return count(&refusals.handshake, from, "the handshake took too long"),
            };
            match named(&stream) {
                Ok(peer) => {
                    // The server is gone when this fails.
                    let _ = served.send(Ok(Connection { stream, peer, _room: room })).await;
                }
                Err(reason) => count(&refusals.nameless, from, &reason),
            }
        });
    }
}

fn named(stream: &TlsStream<TcpStream>) -> Result<Peer, String> {
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(|chain| chain.first());
    let certificate = certificate.ok_or("no certificate")?;
    Peer::of_certificate(certificate).map_err(|error| error.to_string())
}

fn count(counter: &AtomicU64, from: SocketAddr, reason: &str) {
    counter.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(%from, reason, "connection refused");
}

/// Handshakes under way, by address.
#[derive(Default)]
struct Pending(Mutex<HashMap<IpAddr, usize>>);

/// One handshake under way.
struct Turn {
    pending: Arc<Pending>,
    from: IpAddr,
}

impl Pending {
    fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Turn> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.values().sum::<usize>() >= MAX_HANDSHAKES {
            return None;
        }
        let count = counts.entry(from).or_default();
        if *count >= MAX_HANDSHAKES_EACH {
            return None;
        }
        *count += 1;
        Some(Turn { pending: self.clone(), from })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut counts = self.pending.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn one_address_cannot_take_all_turns() {
        let pending = Arc::new(Pending::default());
        let (one, other) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv4Addr::UNSPECIFIED));
        let turns: Vec<_> = (0..MAX_HANDSHAKES_EACH).map(|_| pending.enter(one).unwrap()).collect();
        assert!(pending.enter(one).is_none());
        assert!(pending.enter(other).is_some());
        drop(turns);
        assert!(pending.enter(one).is_some());
        assert!(pending.0.lock().unwrap().is_empty(), "nothing is kept of those that are done");
    }
}
