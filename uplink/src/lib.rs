//! A host's flow log to a collector: the log itself is the queue, and all that is kept beside it is how far the
//! collector has it.
//!
//! A crate of its own, so that the collector's tests and benchmark send exactly as a sensor does.
#![forbid(unsafe_code)]

mod backoff;
mod gather;
mod place;
mod session;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use backoff::Backoff;
use gather::Gather;
use place::Place;
use session::Session;

/// Longest name of an error that is kept, in characters.
const MAX_ERROR: usize = 300;

/// What is sent where.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder of the flow log.
    pub log: PathBuf,
    /// File that keeps how far the collector has it.
    pub place: PathBuf,
    /// Collectors, `https://NAME:PORT`; any one of them will do, the first that answers is taken.
    pub endpoints: Vec<String>,
    /// Certificate of the authority of collectors, PEM.
    pub ca: PathBuf,
    /// This sensor's certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// How sending goes.
#[derive(Debug, Default)]
pub struct Progress {
    /// Records that were sent since the start; what is sent again counts again.
    pub sent: AtomicU64,
    /// Records that a collector has acknowledged since the start.
    pub acknowledged: AtomicU64,
    /// Those of them that it had before.
    pub duplicates: AtomicU64,
    /// Whether a collector answers now.
    pub connected: AtomicBool,
    /// Connections that failed or could not be made since the start.
    pub failures: AtomicU64,
    /// A collector has everything that was in the log at this time, nanoseconds since the epoch.
    complete: AtomicU64,
    error: Mutex<String>,
}

/// The sending thread.
pub struct Uplink {
    stop: watch::Sender<bool>,
    progress: Arc<Progress>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Why the last connection ended or did not begin; empty when none did.
    pub fn error(&self) -> String {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How far the collector is behind the log: the time since it last had everything that was in it.
    pub fn lag(&self) -> Duration {
        Duration::from_nanos(now().saturating_sub(self.complete.load(Ordering::Relaxed)))
    }

    /// The collector has everything that was in the log at `time`.
    fn complete(&self, time: u64) {
        self.complete.fetch_max(time, Ordering::Relaxed);
    }

    fn failed(&self, error: &str) {
        self.connected.store(false, Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = error.chars().take(MAX_ERROR).collect();
    }
}

impl Uplink {
    /// Starts sending, on a thread of its own so that reading the log delays nobody. It goes on, over any outage,
    /// until [`Uplink::stop`].
    pub fn start(settings: Settings) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let progress = Arc::<Progress>::default();
        progress.complete(now());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("uplink".into()).spawn({
            let progress = progress.clone();
            move || runtime.block_on(run(&settings, &progress, stopped))
        })?;
        Ok(Self { stop, progress, thread: Some(thread) })
    }

    /// How it goes.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Ends, after sending what is in the log now if that takes no longer than some seconds.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // The thread is gone when nobody listens.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that sends to the collector failed");
        }
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        self.end();
    }
}

/// An error with its causes.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

async fn run(settings: &Settings, progress: &Progress, mut stop: watch::Receiver<bool>) {
    let mut place = Place::open(&settings.place, &settings.log);
    if let Some(time) = Gather::waiting_since(&settings.log, place.position()) {
        progress.complete.fetch_min(time, Ordering::Relaxed);
    }
    let mut backoff = Backoff::default();
    let mut told: Option<Instant> = None;
    for endpoint in settings.endpoints.iter().cycle() {
        let before = progress.acknowledged.load(Ordering::Relaxed);
        let session = Session { settings, progress, endpoint };
        let Err(error) = session.run(&mut place, &mut stop).await else { break };
        progress.failed(&error.to_string());
        if progress.acknowledged.load(Ordering::Relaxed) > before {
            backoff.reset();
        }
        // An outage is told when it begins and then now and then.
        if told.is_none_or(|told| told.elapsed() >= Duration::from_secs(60)) {
            tracing::warn!(endpoint, %error, "records are not sent to the collector now; the log keeps them");
            told = Some(Instant::now());
        }
        let pause = backoff.next(settings.endpoints.len());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // A collector that does not answer is not waited for at the end.
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    place.save_now();
}

/// The clock, nanoseconds since the epoch.
fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}
