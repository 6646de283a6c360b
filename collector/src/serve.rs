//! The running collector: everything put together.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use attribution::policy::Policy;
use flow_log::writer::Options as LogOptions;
use proto::v1::ingest_server::IngestServer;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::MissedTickBehavior,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use crate::{
    http2::{KEEPALIVE, MAX_FRAME, MAX_HEAD, MAX_MISTAKES, MAX_RESETS},
    ingest::{MAX_MESSAGE, Service},
    listen::{self, Connection, Refusals},
    metrics::{Sources, Traffic},
    query::{self, Query},
    store::{Settings, Store, Writer},
    tls::Tls,
};

/// How often certificates and policy are looked at for changes.
const LOOK: Duration = Duration::from_secs(2);
/// Time for what is under way when the collector stops.
const LAST_WITHIN: Duration = Duration::from_secs(5);
/// Streams of one connection; a sensor needs one, and one for the health service.
const MAX_STREAMS: u32 = 4;
/// Bytes that a sensor may send ahead of what is read: memory of the collector for each.
const WINDOW: u32 = 64 * 1024;
/// Largest policy file, bytes.
const MAX_POLICY: u64 = 16 * 1024 * 1024;

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of state.
    pub folder: PathBuf,
    /// Folder of certificates.
    pub pki: PathBuf,
    /// Address for sensors.
    pub listen: SocketAddr,
    /// Address for questions.
    pub query: SocketAddr,
    /// Address for scrapers and probes; nothing without one.
    pub metrics: Option<SocketAddr>,
    /// Name of this collector in its records.
    pub name: String,
    /// Time without a record after which a sensor is reported.
    pub silent_after: Duration,
    /// Bytes of each tenant's log.
    pub retain_bytes: u64,
    /// Age of the oldest records.
    pub retain: Duration,
    /// Policy that findings are judged by.
    pub policy: Option<PathBuf>,
}

/// Runs until SIGINT or SIGTERM. What was acknowledged is durable whatever happens.
pub fn run(options: Options) -> anyhow::Result<()> {
    allow_connections();
    let started = SystemTime::now();
    let tls = Arc::new(Tls::open(&options.pki)?);
    let policy = PolicyFile::open(options.policy.clone());
    let settings = Settings {
        folder: options.folder.clone(),
        host: options.name.clone(),
        log: LogOptions {
            retain_bytes: options.retain_bytes,
            retain_ns: u64::try_from(options.retain.as_nanos()).unwrap_or(u64::MAX),
            ..LogOptions::default()
        },
        silent_after: options.silent_after,
        policy: policy.read()?,
    };
    let writer = Writer::open(settings)?;
    let query = Query::open(options.folder.clone(), writer.id()).context("cannot open the state file")?;
    let (store, thread) = writer.start().context("cannot start the store")?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the event loop")?;
    let served = runtime.block_on(serve(&options, Parts { tls, policy, store, query, started }));
    // Streams end with the runtime, and the store's thread with the last of them.
    runtime.shutdown_timeout(LAST_WITHIN);
    let closed = thread.join().unwrap_or(false);
    if !closed {
        tracing::error!("a log was not closed in order; it will be recovered at the next start");
    }
    served
}

/// What is served, and with what.
struct Parts {
    tls: Arc<Tls>,
    policy: PolicyFile,
    store: Store,
    query: Arc<Query>,
    started: SystemTime,
}

async fn serve(options: &Options, parts: Parts) -> anyhow::Result<()> {
    let Parts { tls, policy, store, query, started } = parts;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let bind = |address: SocketAddr| async move {
        let bound = TcpListener::bind(address).await;
        bound.with_context(|| format!("cannot listen on {address}; is another collector running?"))
    };
    let (sensors, readers) = (bind(options.listen).await?, bind(options.query).await?);
    println!("sensors: https://{}", sensors.local_addr()?);
    println!("questions: https://{}", readers.local_addr()?);
    tokio::spawn(query::start(readers, tls.clone(), query));
    tokio::spawn(look(tls.clone(), policy, store.clone()));
    let (traffic, refusals) = (Arc::<Traffic>::default(), Arc::<Refusals>::default());
    let sources = Sources {
        store: store.clone(),
        traffic: traffic.clone(),
        refusals: refusals.clone(),
        folder: options.folder.clone(),
        retain_bytes: options.retain_bytes,
        started,
    };
    let scraped = options.metrics.map(|address| scrape(address, sources)).transpose()?;
    let server = grpc(listen::start(sensors, tls, refusals), store.clone(), traffic);
    let ready = |is| scraped.iter().for_each(|server| server.ready(is));
    ready(true);
    service::ready();
    let ended = tokio::select! {
        ended = server => ended.context("the server for sensors ended"),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        never = service::watchdog(async || Some(store.ask().await?.to_string())) => match never {},
    };
    ready(false);
    service::stopping();
    ended
}

/// Serves the connections of sensors until there are no more.
async fn grpc(
    connections: mpsc::Receiver<io::Result<Connection>>,
    store: Store,
    traffic: Arc<Traffic>,
) -> Result<(), tonic::transport::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<IngestServer<Service>>().await;
    let ingest = IngestServer::new(Service::new(store, traffic)).max_decoding_message_size(MAX_MESSAGE);
    Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS))
        .http2_max_local_error_reset_streams(Some(MAX_MISTAKES))
        .http2_max_header_list_size(MAX_HEAD)
        .max_frame_size(MAX_FRAME)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_service(ingest)
        .add_service(health)
        .serve_with_incoming(ReceiverStream::new(connections))
        .await
}

/// Begins to answer scrapers and probes.
fn scrape(address: SocketAddr, sources: Sources) -> anyhow::Result<::metrics::Server> {
    let server = ::metrics::Server::start(address, sources);
    let server = server.with_context(|| format!("cannot serve metrics on {address}"))?;
    println!("metrics: http://{}/metrics", server.address());
    Ok(server)
}

/// Allows as many open files as the system lets this process have: each connection takes one.
fn allow_connections() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(?current, %error, "cannot raise the limit of open files, which limits the sensors");
    }
}

/// Takes over certificates and policies that change.
async fn look(tls: Arc<Tls>, mut policy: PolicyFile, store: Store) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match tls.refresh() {
            Ok(true) => tracing::info!("new certificates are in use"),
            Ok(false) => {}
            Err(error) => tracing::error!("new certificates cannot be used, the old ones stay: {error}"),
        }
        match policy.changed() {
            Some(Ok(policy)) => {
                tracing::info!("the new policy is in force");
                store.policy(policy).await;
            }
            Some(Err(error)) => tracing::error!("the new policy is broken, the old one stays: {error:#}"),
            None => {}
        }
    }
}

/// The policy and when its file was written.
struct PolicyFile {
    path: Option<PathBuf>,
    written: Option<std::time::SystemTime>,
}

impl PolicyFile {
    fn open(path: Option<PathBuf>) -> Self {
        let mut file = Self { path, written: None };
        file.written = file.stamp();
        file
    }

    fn stamp(&self) -> Option<std::time::SystemTime> {
        fs::metadata(self.path.as_ref()?).and_then(|data| data.modified()).ok()
    }

    fn changed(&mut self) -> Option<anyhow::Result<Arc<Policy>>> {
        let now = self.stamp();
        if now == self.written {
            return None;
        }
        self.written = now;
        Some(self.read())
    }

    fn read(&self) -> anyhow::Result<Arc<Policy>> {
        let Some(path) = &self.path else { return Ok(Arc::default()) };
        let text = read(path).with_context(|| format!("cannot read policy {}", path.display()))?;
        let mut secret = |_: &str| {
            Err("a collector has no fleet key: write the fingerprint that `keywitness fingerprint` shows"
                .into())
        };
        let policy = Policy::parse(&text, &mut secret);
        Ok(Arc::new(policy.with_context(|| format!("policy {}", path.display()))?))
    }
}

fn read(path: &Path) -> io::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_POLICY).read_to_string(&mut text)?;
    Ok(text)
}
