//! Attaching the TLS probes to one file, and letting go of them.

use std::{
    fs::File,
    num::NonZeroU32,
    os::fd::AsRawFd as _,
    sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
};

use locate::{Abi, Count, Function, Library, Role};
use sensor_common::tls::{cookie, order};

use aya::{
    Ebpf,
    programs::{
        ProgramError, UProbe,
        uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope},
    },
};

/// Links waiting to be closed. Each close waits for a kernel grace period, so it happens on threads of
/// its own; when the queue is full the caller waits, and nothing is forgotten.
const CLOSE_QUEUE: usize = 1024;
/// Threads that close links; grace periods of several run side by side.
const CLOSE_THREADS: usize = 12;

/// Which processes a probe fires in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All that map the file.
    Inode,
    /// One process: no breakpoint is put into any other.
    Process(NonZeroU32),
}

/// The probes of one file in one scope; dropping it detaches them, in the background.
pub struct ProbeLinks {
    links: Vec<UProbeLink>,
    closer: SyncSender<Closing>,
}

/// Links to be closed, and who is told when they are.
struct Closing {
    links: Vec<UProbeLink>,
    done: Option<SyncSender<()>>,
}

impl Closing {
    /// Waits for the kernel, then tells.
    fn finish(self) {
        drop(self.links);
        drop(self.done);
    }
}

/// Tells when links that were handed in are closed.
pub struct Closed(Receiver<()>);

impl Closed {
    /// Whether all are closed.
    pub fn is_done(&self) -> bool {
        matches!(self.0.try_recv(), Err(TryRecvError::Disconnected))
    }
}

impl ProbeLinks {
    /// Takes in the probes of another inode of the same file.
    pub fn add(&mut self, mut other: Self) {
        self.links.append(&mut other.links);
    }

    fn close(&mut self, done: Option<SyncSender<()>>) {
        let mut links = std::mem::take(&mut self.links);
        // The functions of a library last: what is below it would take its records for its own.
        links.reverse();
        let closing = Closing { links, done };
        // At shutdown the threads may be gone; then the links close right here.
        if let Err(back) = self.closer.send(closing) {
            back.0.finish();
        }
    }
}

impl Drop for ProbeLinks {
    fn drop(&mut self) {
        if !self.links.is_empty() {
            self.close(None);
        }
    }
}

/// Attaches the TLS programs.
pub struct Prober {
    closer: Option<SyncSender<Closing>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

/// Which of a file's targets a function belongs to, from 0: each library has one, in the order of the functions.
pub fn layer(functions: &[Function], one: &Function) -> u32 {
    let mut before: Vec<Library> = Vec::new();
    for library in functions.iter().map(|function| function.library) {
        if library == one.library {
            break;
        }
        if !before.contains(&library) {
            before.push(library);
        }
    }
    before.len() as u32
}

/// What the kernel is told about a function.
fn cookie(function: &Function, target: u32) -> u64 {
    let read = if function.role == Role::Read { cookie::READ } else { 0 };
    let count = match function.count {
        Count::Returned => 0,
        Count::Through(argument) => u64::from(argument) & cookie::COUNT_MASK,
    };
    let order = match function.abi {
        Abi::AeadState => order::STATE,
        Abi::GcmBlocks => order::BLOCKS,
        _ => order::RECORD,
    };
    u64::from(target) | read | count << cookie::COUNT_SHIFT | order << cookie::ORDER_SHIFT
}

/// The programs of a function: where it returns, and where it is called.
fn programs(function: &Function) -> [(&'static str, &[u64]); 2] {
    let entry = std::slice::from_ref(&function.entry);
    let returns = function.returns.as_slice();
    match function.abi {
        Abi::C => [("kw_tls_return", entry), ("kw_tls_enter", entry)],
        Abi::Aead | Abi::AeadState | Abi::GcmBlocks => {
            [("kw_aead_return", returns), ("kw_aead_enter", entry)]
        }
        Abi::Poly => [("kw_aead_return", returns), ("kw_poly_enter", entry)],
        Abi::GcmHash => [("kw_gcm_hash", returns), ("kw_gcm_hash", entry)],
        Abi::Counter => [("kw_gcm_counter_return", returns), ("kw_gcm_counter_enter", entry)],
        Abi::Go => [("kw_go_return", returns), ("kw_go_enter", entry)],
    }
}

impl Prober {
    /// Starts the closing threads.
    pub fn new() -> std::io::Result<Self> {
        let (closer, queue) = sync_channel::<Closing>(CLOSE_QUEUE);
        let queue = std::sync::Arc::new(std::sync::Mutex::new(queue));
        let mut threads = Vec::new();
        for index in 0..CLOSE_THREADS {
            let queue = queue.clone();
            threads.push(std::thread::Builder::new().name(format!("kw-close-{index}")).spawn(move || {
                loop {
                    let next = match queue.lock() {
                        Ok(queue) => queue.recv(),
                        Err(_) => return,
                    };
                    match next {
                        Ok(closing) => closing.finish(),
                        Err(_) => return,
                    }
                }
            })?);
        }
        Ok(Self { closer: Some(closer), threads })
    }

    /// Attaches probes of calls and returns of `functions` in `file`, whose first layer is `target`. The file is named by its open
    /// descriptor, so the kernel probes exactly the inode that was examined.
    pub fn attach(
        &self,
        ebpf: &mut Ebpf,
        file: &File,
        functions: &[Function],
        target: u32,
        scope: Scope,
    ) -> Result<ProbeLinks, ProgramError> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let scope = match scope {
            Scope::Inode => UProbeScope::AllProcesses,
            Scope::Process(pid) => UProbeScope::OneProcess(pid),
        };
        let closer = self.closer.clone().ok_or(ProgramError::NotAttached)?;
        let mut attached = ProbeLinks { links: Vec::new(), closer };
        for function in functions {
            // Returns first: a call that enters before they are there is forgotten, not waited for.
            let cookie = cookie(function, target + layer(functions, function));
            for (name, offsets) in programs(function) {
                let program: &mut UProbe =
                    ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)?.try_into()?;
                for offset in offsets {
                    let location = UProbeAttachLocation::AbsoluteOffset(*offset);
                    let id =
                        program.attach(UProbeAttachPoint { location, cookie: Some(cookie) }, &path, scope)?;
                    attached.links.push(program.take_link(id)?);
                }
            }
        }
        Ok(attached)
    }

    /// Detaches probes in the background, and tells when that is done.
    pub fn close(&self, probes: impl Iterator<Item = ProbeLinks>) -> Closed {
        let (done, closed) = sync_channel(0);
        for mut one in probes {
            one.close(Some(done.clone()));
        }
        Closed(closed)
    }

    /// Waits until every link handed in so far is closed.
    pub fn finish(mut self) {
        self.closer = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a link-closing thread failed");
            }
        }
    }
}
