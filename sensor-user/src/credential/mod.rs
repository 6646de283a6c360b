//! Credential files and environments: which are looked at, and what is in them.
//!
//! All of it happens on two threads of its own, never on the event path: one takes the kernel's word on
//! opened files, the other looks at new processes. Both send [`Event`]s with fingerprints only. What is
//! asked and told goes through bounded queues; what does not fit is counted.

mod access;
mod content;
mod environment;
mod glob;
mod list;
mod marks;
mod mounts;
mod opens;
mod processes;
mod root;
mod skip;

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use attribution::{
    credential::AtRest,
    endpoint::Catalogue,
    event::{Event, FileId, ProcessKey},
};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use list::List;
pub use marks::Marks;
use processes::Job;
pub use skip::{Skip, Skipped};

/// Its row in the table of hooks.
pub const HOOK: &str = "credential_file";

/// New processes that wait to be looked at.
const MAX_JOBS: usize = 4096;
/// Events that wait to be taken.
const MAX_EVENTS: usize = 8192;

/// What both threads share.
struct Shared {
    marks: Marks,
    list: Mutex<List>,
    at_rest: AtRest,
    skipped: Arc<Skipped>,
    out: Sender<Event>,
    stop: AtomicBool,
}

impl Shared {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, event: Event) {
        if self.out.try_send(event).is_err() {
            self.skipped.count(Skip::Busy);
        }
    }
}

/// The threads.
pub struct Inspector {
    shared: Arc<Shared>,
    jobs: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Inspector {
    /// Starts looking at the catalogue's files and those that fit the user's `patterns`. Events come out of the
    /// second part.
    pub fn start(
        catalogue: &Arc<Catalogue>,
        at_rest: AtRest,
        patterns: &[String],
    ) -> io::Result<(Self, Receiver<Event>)> {
        let (out, events) = channel(MAX_EVENTS);
        let (jobs, queue) = sync_channel(MAX_JOBS);
        let shared = Arc::new(Shared {
            marks: Marks::new()?,
            list: Mutex::new(List::new(catalogue, patterns)),
            at_rest,
            skipped: Arc::default(),
            out,
            stop: AtomicBool::new(false),
        });
        processes::mark_homes(&shared);
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(body)
        };
        let (opens, looks) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            spawn("kw-opens", Box::new(move || opens::run(&opens)))?,
            spawn("kw-processes", Box::new(move || processes::run(&looks, &queue)))?,
        ];
        Ok((Self { shared, jobs: Some(jobs), threads }, events))
    }

    /// Looks at a process that runs a new program, `script` being its first argument.
    pub fn exec(&self, time_ns: u64, process: ProcessKey, program: FileId, script: Option<String>) {
        self.ask(Job::Exec { time_ns, process, program, script });
    }

    /// Looks at the processes that run already.
    pub fn running(&self, processes: Vec<ProcessKey>) {
        self.ask(Job::Running(processes));
    }

    /// What was not read, by cause.
    pub fn skipped(&self) -> Arc<Skipped> {
        Arc::clone(&self.shared.skipped)
    }

    fn ask(&self, job: Job) {
        let full = self.jobs.as_ref().is_none_or(|jobs| jobs.try_send(job).is_err());
        if full {
            self.shared.skipped.count(Skip::Busy);
        }
    }
}

impl Drop for Inspector {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that reads credential files failed");
            }
        }
    }
}
