//! HTTP/1.1 over TLS, with limits on everything that a stranger can make it wait for.

use std::{sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_rustls::TlsAcceptor;

use super::{Query, router};
use crate::tls::Tls;

/// Connections at one time.
const MAX_CONNECTIONS: usize = 256;
/// Time for a handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// Time for the head of a request, and between two requests.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const MAX_HEAD: usize = 64 * 1024;
/// Pause after an accept that failed, usually for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers on `listener` until the task is dropped.
pub async fn start(listener: TcpListener, tls: Arc<Tls>, query: Arc<Query>) {
    let rooms = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let service = router(query);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(room) = rooms.clone().try_acquire_owned() else { continue };
        let (config, service) = (tls.readers(), service.clone());
        tokio::spawn(async move {
            let accept = TlsAcceptor::from(config).accept(stream);
            if let Ok(Ok(stream)) = timeout(HANDSHAKE_LIMIT, accept).await {
                let served = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_LIMIT)
                    .max_buf_size(MAX_HEAD)
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
                if let Err(error) = served.await {
                    tracing::debug!(%error, "a reader's connection ended");
                }
            }
            drop(room);
        });
    }
}
