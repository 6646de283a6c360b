//! Connections of sensors: accepted, limited, and known by certificate before a byte of them is read.

use std::{
    collections::HashMap,
    hash::Hash,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
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
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::transport::server::Connected;

use crate::{peer::Peer, tls::Tls};

/// Connections at one time; a sensor needs one.
pub const MAX_CONNECTIONS: usize = 20_000;
/// Connections of one sensor: the one it has, and those that it has given up and that are not closed yet.
pub const MAX_CONNECTIONS_EACH: usize = 8;
/// Handshakes under way from one address, or from one IPv6 network of 64 bits, which one machine has for itself; more
/// are closed at once, so that nobody can hold up the others.
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
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    _room: Turn<Peer>,
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
    let rooms = Turns::new(MAX_CONNECTIONS_EACH, MAX_CONNECTIONS);
    let handshakes = Turns::new(MAX_HANDSHAKES_EACH, MAX_HANDSHAKES);
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
        let Some(turn) = handshakes.enter(origin(from.ip())) else {
            count(&refusals.limit, from, "too many handshakes");
            continue;
        };
        let (config, refusals, served, rooms) =
            (tls.sensors(), refusals.clone(), served.clone(), rooms.clone());
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
                    let Some(room) = rooms.enter(peer.clone()) else {
                        return count(&refusals.limit, from, "too many connections");
                    };
                    // The server is gone when this fails.
                    let _ = served.send(Ok(Connection { stream, peer, _room: room })).await;
                }
                Err(reason) => count(&refusals.nameless, from, &reason),
            }
        });
    }
}

/// What one machine cannot have many of.
fn origin(address: IpAddr) -> IpAddr {
    // A socket for both families shows IPv4 addresses as IPv6 ones.
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() >> (u128::BITS / 2) << (u128::BITS / 2);
            Ipv6Addr::from_bits(network).into()
        }
        address => address,
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

/// How many of something are taken by each and by all.
struct Turns<K> {
    taken: Mutex<HashMap<K, usize>>,
    each: usize,
    all: usize,
}

/// One that is taken, until it is dropped.
struct Turn<K: Eq + Hash> {
    turns: Arc<Turns<K>>,
    by: K,
}

impl<K: Eq + Hash + Clone> Turns<K> {
    fn new(each: usize, all: usize) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::default(), each, all })
    }

    /// Takes one for `by`, unless it has enough or all together have.
    fn enter(self: &Arc<Self>, by: K) -> Option<Turn<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= self.all
            || taken.get(&by).is_some_and(|count| *count >= self.each)
        {
            return None;
        }
        *taken.entry(by.clone()).or_default() += 1;
        Some(Turn { turns: self.clone(), by })
    }
}

impl<K: Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        let mut taken = self.turns.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.by) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.by);
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
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_origin_and_each_ipv4_address_is_its_own() {
        let of = |text: &str| origin(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("::ffff:192.0.2.1"), of("::ffff:192.0.2.2"));
    }

    #[test]
    fn one_cannot_take_all_turns() {
        let turns = Turns::new(3, 5);
        let taken: Vec<_> = (0..3).map(|_| turns.enter("a").unwrap()).collect();
        assert!(turns.enter("a").is_none());
        let others = (turns.enter("b"), turns.enter("c"));
        assert!(others.0.is_some() && others.1.is_some() && turns.enter("d").is_none());
        drop((taken, others));
        assert!(turns.enter("a").is_some());
        assert!(turns.taken.lock().unwrap().is_empty(), "nothing is kept of those that are done");
    }
}
