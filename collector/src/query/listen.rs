//! HTTP/1.1 and HTTP/2 over TLS, with limits on everything that a stranger can make it wait for.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Query, router};
use crate::{
    http2::{KEEPALIVE, MAX_FRAME, MAX_HEAD, MAX_MISTAKES, MAX_RESETS},
    tls::{HTTP2, Tls},
};

/// Connections at one time.
const MAX_CONNECTIONS: usize = 256;
/// Time for a handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// Time for the head of a request, and between two requests.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// Bytes of an HTTP/1 request's head.
const MAX_HEAD1: usize = 64 * 1024;
/// Streams of one HTTP/2 connection.
const MAX_STREAMS: u32 = 16;
/// Time after which an HTTP/2 connection takes no more requests, so that nobody keeps one for nothing; answers under
/// way go on, and clients connect again by themselves.
const HTTP2_AGE: Duration = Duration::from_secs(60);
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
                let served = match stream.get_ref().1.alpn_protocol() {
                    Some(HTTP2) => serve_http2(stream, service).await,
                    _ => serve_http1(stream, service).await,
                };
                if let Err(error) = served {
                    tracing::debug!(%error, "a reader's connection ended");
                }
            }
            drop(room);
        });
    }
}

async fn serve_http1(stream: TlsStream<TcpStream>, service: Router) -> hyper::Result<()> {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(MAX_HEAD1);
    builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await
}

async fn serve_http2(stream: TlsStream<TcpStream>, service: Router) -> hyper::Result<()> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_MISTAKES)
        .max_frame_size(MAX_FRAME)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)));
    tokio::select! {
        ended = served.as_mut() => return ended,
        () = sleep(HTTP2_AGE) => served.as_mut().graceful_shutdown(),
    }
    served.await
}
