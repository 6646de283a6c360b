//! Listening and connection handling.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::{Context, Result};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;

use super::{
    READY_FILE, TRUTH_FILE,
    http::{Peer, State, exchange},
    tls::{self, Protection},
    truth::Log,
};
use crate::wait;

/// Connections served at once; more wait in the listen queue.
const MAX_CONNECTIONS: usize = 4096;
/// HTTP/2 streams open at once on one connection.
const MAX_STREAMS: u32 = 200;
/// Time a client has for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How to run the endpoint.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Address and port for TLS; may be given several times
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: Vec<SocketAddr>,
    /// Address and port for cleartext HTTP; may be given several times
    #[arg(long)]
    pub cleartext: Vec<SocketAddr>,
    /// How TLS connections are protected
    #[arg(long, value_enum, default_value_t)]
    pub protection: Protection,
    /// Folder for the authority, the bound addresses and the truth log
    #[arg(long)]
    pub dir: PathBuf,
    /// Exit when standard input is closed
    #[arg(long)]
    pub with_parent: bool,
}

/// What the server bound; written to `ready.json` once it accepts connections.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {
    /// Process id.
    pub pid: u32,
    /// TLS addresses, in the order asked for.
    pub listen: Vec<SocketAddr>,
    /// Cleartext addresses, in the order asked for.
    pub cleartext: Vec<SocketAddr>,
}

/// Serves until a signal, or until standard input closes when asked to.
pub async fn run(options: Options) -> Result<()> {
    std::fs::create_dir_all(&options.dir)?;
    let acceptor = TlsAcceptor::from(tls::config(&options.dir, options.protection)?);
    let log = Log::create(&options.dir.join(TRUTH_FILE))?;
    let state = Arc::new(State { log, requests: AtomicU64::new(0) });
    let mut ready = Ready { pid: std::process::id(), listen: Vec::new(), cleartext: Vec::new() };
    for (addresses, tls) in [(&options.listen, true), (&options.cleartext, false)] {
        for address in addresses {
            let listener =
                TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
            let bound = if tls { &mut ready.listen } else { &mut ready.cleartext };
            bound.push(listener.local_addr()?);
            tokio::spawn(accept(listener, tls.then(|| acceptor.clone()), Arc::clone(&state)));
        }
    }
    let draft = options.dir.join("ready.tmp");
    std::fs::write(&draft, serde_json::to_vec(&ready)?)?;
    std::fs::rename(&draft, options.dir.join(READY_FILE))?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        () = wait::closed_input(), if options.with_parent => {}
        _ = terminate.recv() => {}
        result = tokio::signal::ctrl_c() => result?,
    }
    Ok(())
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, state: Arc<State>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        // Errors of accept concern one connection or pass with time.
        let Ok((stream, address)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            if let Err(error) = connection(stream, address, acceptor, state).await {
                eprintln!("connection from {address}: {error:#}");
            }
            drop(slot);
        });
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    state: Arc<State>,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let Some(acceptor) = acceptor else {
        return serve(stream, Peer { address, sni: None }, state).await;
    };
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let sni = stream.get_ref().1.server_name().map(str::to_owned);
    serve(stream, Peer { address, sni }, state).await
}

/// Serves HTTP/1 or HTTP/2, as the client begins.
async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: Peer,
    state: Arc<State>,
) -> Result<()> {
    let service = service_fn(move |request| {
        let (state, peer) = (Arc::clone(&state), peer.clone());
        async move { exchange(&state, &peer, request).await }
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http2().max_concurrent_streams(MAX_STREAMS);
    let serving = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
    match serving.await.map_err(|error| error.downcast::<hyper::Error>()) {
        // A client that leaves in the middle is its own business.
        Err(Ok(error)) if !error.is_user() => Ok(()),
        Err(Ok(error)) => Err(error.into()),
        Err(Err(error)) => Err(anyhow::anyhow!(error)),
        Ok(()) => Ok(()),
    }
}
