//! Reads large files for TLS functions, off the event loop.

use std::{
    fs::File,
    sync::mpsc::{SyncSender, sync_channel},
    thread::JoinHandle,
};

use locate::{Elf, Function, Unreadable};
use tokio::sync::mpsc;

use super::{
    cache::Cache,
    files::{self, FileKey, Known, Library, OpenFile},
};

/// Files waiting to be read, and results waiting to be taken.
const QUEUE: usize = 256;

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

/// The reading thread.
pub struct Worker {
    requests: SyncSender<Request>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts the thread; files that `cache` knows are not read again.
    pub fn start(mut cache: Cache) -> std::io::Result<(Self, Results)> {
        let (requests, queue) = sync_channel::<Request>(QUEUE);
        let (results, receiver) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("kw-locate".into()).spawn(move || {
            while let Ok(request) = queue.recv() {
                // Nobody waits for results any more: the sensor ends.
                if results.blocking_send(read(&mut cache, request)).is_err() {
                    return;
                }
            }
        })?;
        Ok((Self { requests, thread }, receiver))
    }

    /// Has a file read; false when too many wait.
    pub fn read(&self, request: Request) -> bool {
        self.requests.try_send(request).is_ok()
    }

    /// Waits for the file that is being read. The receiver of the results must be gone.
    pub fn finish(self) {
        drop(self.requests);
        if self.thread.join().is_err() {
            tracing::error!("the thread that reads executables failed");
        }
    }
}

fn read(cache: &mut Cache, request: Request) -> Found {
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

fn functions(cache: &mut Cache, elf: &Elf<'_>, file: &File) -> Result<Vec<Function>, Unreadable> {
    if let Some(known) = cache.find(elf, &OpenFile(file)) {
        return Ok(known);
    }
    let found = files::read_whole(elf)?;
    cache.keep(elf, &OpenFile(file), &found);
    Ok(found)
}
