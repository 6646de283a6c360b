//! The sensor's side: a sink that hands records to whoever follows.

use std::{
    io,
    os::unix::net::UnixStream as Probe,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use attribution::filter::Filter;
use bytes::Bytes;
use nix::sys::stat::{Mode, umask};
use proto::v1::Record;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc},
    time::timeout,
};

use super::{Control, Event, MAX_REQUEST, Request, path};
use crate::sink::Sink;

/// Clients at a time; more are refused.
const MAX_CLIENTS: usize = 32;
/// Connections at a time: those that have not asked yet count too, each holds a buffer.
const MAX_STREAMS: usize = 2 * MAX_CLIENTS;
/// Time for clients to take the last records.
const LAST_LINES_WITHIN: Duration = Duration::from_secs(1);
/// Records that wait for one client; more are dropped and counted.
const QUEUE: usize = 1024;
/// Time for a client to say what it wants.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);
/// Nobody but the sensor's user may follow.
const CLOSED_TO_OTHERS: Mode = Mode::from_bits_truncate(0o177);

/// Everybody who follows.
#[derive(Debug, Default, Clone)]
struct Clients(Arc<Mutex<Vec<Client>>>);

#[derive(Debug)]
struct Client {
    filter: Filter,
    lines: mpsc::Sender<Bytes>,
    dropped: Arc<AtomicU64>,
}

/// Hands each record to the clients that want it.
#[derive(Debug)]
pub struct Hub {
    clients: Clients,
    places: Arc<Semaphore>,
    path: PathBuf,
}

impl Hub {
    /// Listens in `state_dir`. Has to be called in the event loop.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let path = path(state_dir);
        // What a killed sensor left behind answers nobody.
        if path.exists() {
            if Probe::connect(&path).is_ok() {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "another sensor uses this state folder",
                ));
            }
            std::fs::remove_file(&path)?;
        }
        let before = umask(CLOSED_TO_OTHERS);
        let listener = UnixListener::bind(&path);
        umask(before);
        let clients = Clients::default();
        let places = Arc::new(Semaphore::new(MAX_STREAMS));
        tokio::spawn(accept(listener?, clients.clone(), places.clone()));
        Ok(Self { clients, places, path })
    }

    /// Lets clients take what waits for them, for a short time, and ends.
    pub async fn finish(self) {
        self.clients.each(|_| false);
        let all = u32::try_from(MAX_STREAMS).unwrap_or(u32::MAX);
        // Who takes longer loses the rest.
        let _ = timeout(LAST_LINES_WITHIN, self.places.acquire_many(all)).await;
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.clients.each(|_| false);
        // The next sensor removes it otherwise.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Sink for Hub {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        let mut line = None;
        self.clients.each(|client| {
            if !client.filter.matches(record) {
                return !client.lines.is_closed();
            }
            let line = line.get_or_insert_with(|| to_line(record)).clone();
            match client.lines.try_send(line) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    client.dropped.fetch_add(1, Ordering::Relaxed);
                    true
                }
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            }
        });
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Clients {
    /// Keeps the clients for which `keep` says so.
    fn each(&self, keep: impl FnMut(&mut Client) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain_mut(keep);
    }

    /// Nothing when there are too many.
    fn add(&self, filter: Filter) -> Option<(mpsc::Receiver<Bytes>, Arc<AtomicU64>)> {
        let (lines, receiver) = mpsc::channel(QUEUE);
        let dropped = Arc::<AtomicU64>::default();
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|client| !client.lines.is_closed());
        if clients.len() >= MAX_CLIENTS {
            return None;
        }
        clients.push(Client { filter, lines, dropped: dropped.clone() });
        Some((receiver, dropped))
    }
}

async fn accept(listener: UnixListener, clients: Clients, places: Arc<Semaphore>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a client");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let clients = clients.clone();
        tokio::spawn(async move {
            if let Err(error) = serve(stream, clients).await {
                tracing::debug!(%error, "a client that followed is gone");
            }
            drop(place);
        });
    }
}

async fn serve(stream: UnixStream, clients: Clients) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let filter = match timeout(REQUEST_WITHIN, request(&mut read)).await {
        Ok(Ok(filter)) => filter,
        Ok(Err(reason)) => return tell(&mut write, Event::Refused(reason)).await,
        Err(_) => return tell(&mut write, Event::Refused("no request came".into())).await,
    };
    let Some((mut lines, dropped)) = clients.add(filter) else {
        return tell(&mut write, Event::Refused(format!("{MAX_CLIENTS} clients follow already"))).await;
    };
    tell(&mut write, Event::Following).await?;
    let mut ignored = [0; 64];
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            read = read.read(&mut ignored) => match read? {
                0 => return Ok(()),
                _ => continue,
            },
        };
        let missing = dropped.swap(0, Ordering::Relaxed);
        if missing > 0 {
            tell(&mut write, Event::Dropped(missing)).await?;
        }
        let Some(line) = line else { return Ok(()) };
        write.write_all(&line).await?;
    }
}

/// The filter in the first line, or why there is none.
async fn request(read: &mut BufReader<OwnedReadHalf>) -> Result<Filter, String> {
    let mut line = Vec::new();
    let most = u64::try_from(MAX_REQUEST).unwrap_or(u64::MAX);
    read.take(most).read_until(b'\n', &mut line).await.map_err(|error| error.to_string())?;
    let request: Request = serde_json::from_slice(&line).map_err(|error| format!("bad request: {error}"))?;
    request.filter.check().map_err(|error| format!("bad filter: {error}"))?;
    Ok(request.filter)
}

async fn tell(write: &mut OwnedWriteHalf, control: Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Control { control })?;
    line.push(b'\n');
    write.write_all(&line).await
}

fn to_line(record: &Record) -> Bytes {
    // A record always has a JSON form unless its time is out of range; then it has no line at all.
    let mut line = serde_json::to_vec(record).unwrap_or_default();
    if !line.is_empty() {
        line.push(b'\n');
    }
    line.into()
}
