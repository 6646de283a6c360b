//! HTTP/1.1 for scrapers and probes, on a thread of its own: it answers when the event loop does not.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, oneshot},
    time::{sleep, timeout},
};

use crate::page::{self, Page};

/// Connections at a time; further ones are closed at once.
const MAX_CONNECTIONS: usize = 16;
/// Largest head of a request, bytes; the least that hyper takes.
const MAX_HEAD_BYTES: usize = 8192;
/// Time for the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// Time for everything on one connection, which serves one request.
const CONNECTION_WITHIN: Duration = Duration::from_secs(15);
/// Pause after the operating system could not accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The program that the server speaks for.
pub trait Subject: Clone + Send + Sync + 'static {
    /// The page of this moment; nothing when the program does not answer in time.
    fn page(&self) -> impl Future<Output = Option<Page>> + Send;

    /// Whether the program answers in time.
    fn answers(&self) -> impl Future<Output = bool> + Send;
}

/// What answers are made of.
#[derive(Debug, Clone)]
struct Answers<S> {
    subject: S,
    ready: Arc<AtomicBool>,
}

/// The server; it ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    ready: Arc<AtomicBool>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves on `listen`. From [`Server::ready`] on `subject` has to answer.
    pub fn start(listen: SocketAddr, subject: impl Subject) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let ready = Arc::<AtomicBool>::default();
        let answers = Answers { subject, ready: ready.clone() };
        let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, answers) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, ready, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says whether the program does its work and answers. Before that and after it, it starts or stops.
    pub fn ready(&self, is: bool) {
        self.ready.store(is, Ordering::Release);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the metrics failed");
        }
    }
}

async fn accept(listener: TcpListener, answers: Answers<impl Subject>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "metrics cannot be served"),
    };
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a scraper");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let answers = answers.clone();
        tokio::spawn(async move {
            // A slow reader is as good as gone.
            let _ = timeout(CONNECTION_WITHIN, serve(stream, answers)).await;
            drop(place);
        });
    }
}

async fn serve(stream: TcpStream, answers: Answers<impl Subject>) {
    let service = service_fn(|request: Request<Incoming>| {
        let answers = answers.clone();
        async move { Ok::<_, Infallible>(answers.answer(request.method(), request.uri().path()).await) }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_HEAD_BYTES)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a scraper is gone");
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn unavailable(why: &'static str) -> Response<Full<Bytes>> {
    text(StatusCode::SERVICE_UNAVAILABLE, why)
}

const NOT_READY: &str = "starting or stopping\n";
const STUCK: &str = "the event loop does not answer\n";

impl<S: Subject> Answers<S> {
    async fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/metrics" => self.metrics().await,
            "/healthz" => self.healthy().await,
            "/readyz" if !self.is_ready() => unavailable(NOT_READY),
            "/readyz" => self.healthy().await,
            _ => text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n"),
        }
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// A program that starts or stops is in good health.
    async fn healthy(&self) -> Response<Full<Bytes>> {
        if !self.is_ready() {
            return text(StatusCode::OK, NOT_READY);
        }
        match self.subject.answers().await {
            true => text(StatusCode::OK, "ok\n"),
            false => unavailable(STUCK),
        }
    }

    async fn metrics(&self) -> Response<Full<Bytes>> {
        if !self.is_ready() {
            return unavailable(NOT_READY);
        }
        let Some(page) = self.subject.page().await else { return unavailable(STUCK) };
        match page.text() {
            Ok(page) => {
                let mut response = text(StatusCode::OK, page);
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(page::CONTENT_TYPE));
                response
            }
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be written\n"),
        }
    }
}

#[cfg(test)]
mod tests;
