//! Reads large files for TLS functions, off the event loop. A very large one takes most of a second; others do not wait
//! for it.

use std::{
    fs::File,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use locate::{Elf, Function, Unreadable};
use tokio::sync::mpsc;

use super::{
    cache::Cache,
    files::{self, FileKey, Known, Library, OpenFile},
};

/// Files waiting for one thread, and results waiting to be taken.
const QUEUE: usize = 256;
/// From this size on a file is read by the thread for very large ones, bytes: a tenth of a second.
const VERY_LARGE: u64 = 48 << 20;

/// A file to read.
pub struct Request {
    /// Which version of which file.
    pub key: FileKey,
    /// Where it was found.
    pub path: String,
    /// The file itself.
    pub file: File,
}

/// What was found in a file.
pub struct Found {
    /// Which version of which file.
    pub key: FileKey,
    /// What it is.
    pub known: Known,
    /// The library, if it is one.
    pub library: Option<Library>,
}

/// Where results arrive.
pub type Results = mpsc::Receiver<Found>;

/// The reading threads.
pub struct Worker {
    large: Lane,
    very_large: Lane,
}

/// A thread and its queue.
struct Lane {
    requests: SyncSender<Request>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts the threads; files that `cache` knows are not read again.
    pub fn start(cache: Cache) -> std::io::Result<(Self, Results)> {
        let (results, receiver) = mpsc::channel(QUEUE);
        let cache = Arc::new(Mutex::new(cache));
        let large = Lane::start("kw-locate", cache.clone(), results.clone())?;
        let very_large = Lane::start("kw-locate-large", cache, results)?;
        Ok((Self { large, very_large }, receiver))
    }

    /// Has a file read; false when too many wait.
    pub fn read(&self, request: Request) -> bool {
        let lane = if request.key.size() < VERY_LARGE { &self.large } else { &self.very_large };
        lane.requests.try_send(request).is_ok()
    }

    /// Waits for the files that are being read. The receiver of the results must be gone.
    pub fn finish(self) {
        for Lane { requests, thread } in [self.large, self.very_large] {
            drop(requests);
            if thread.join().is_err() {
                tracing::error!("a thread that reads executables failed");
            }
        }
    }
}

impl Lane {
    fn start(name: &str, cache: Arc<Mutex<Cache>>, results: mpsc::Sender<Found>) -> std::io::Result<Self> {
        let (requests, queue) = sync_channel::<Request>(QUEUE);
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            while let Ok(request) = queue.recv() {
                // Nobody waits for results any more: the sensor ends.
                if results.blocking_send(read(&cache, request)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { requests, thread })
    }
}

fn read(cache: &Mutex<Cache>, request: Request) -> Found {
    let Request { key, path, file } = request;
    let (functions, build_id) = match Elf::parse(&OpenFile(&file)) {
        Ok(elf) => (functions(cache, &elf, &file), elf.build_id()),
        Err(error) => (Err(error), String::new()),
    };
    match functions {
        Ok(functions) if !functions.is_empty() => {
            let library = Library { key, path, file, functions };
            Found { key, known: Known::Tls, library: Some(library) }
        }
        Ok(_) => Found { key, known: Known::Nothing { build_id }, library: None },
        Err(error) => {
            tracing::debug!(path, %error, "not examined for TLS functions");
            Found { key, known: Known::Nothing { build_id }, library: None }
        }
    }
}

fn functions(cache: &Mutex<Cache>, elf: &Elf<'_>, file: &File) -> Result<Vec<Function>, Unreadable> {
    // An answer is whole or not there, whatever became of the other thread.
    let cache = || cache.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = cache().find(elf, &OpenFile(file)) {
        return Ok(known);
    }
    let found = files::read_whole(elf)?;
    cache().keep(elf, &OpenFile(file), &found);
    Ok(found)
}
