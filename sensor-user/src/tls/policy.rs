//! The attach policy: which files are probed for whom.
//!
//! A file is first probed for every process that maps it, so that the first request of a process that
//! was never seen before is caught. When most of its hits serve no model connection and there are more
//! than the budget, its probes are taken from all processes and given only to those known to call models:
//! those running now, every later process of an executable that has called models (at exec, before it can
//! have mapped the library), and others at the first sign (DNS answer, connect, server name).

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use super::{
    background::Background,
    budget::Budget,
    cache::Cache,
    files::{FileKey, Files, Library},
    installed::installed,
    worker::{Found, Results, Worker},
};
use crate::{
    bpf::{Ebpf, ProbeLinks, Prober, Scope, Tables},
    config::KnownExecutable,
};
use attribution::event::{FileId, ProcessKey, TlsLibrary};

mod indexes;
mod look;
mod lost;
mod retire;

use indexes::Indexes;
use lost::PAUSE_NS;
use retire::Closing;

/// Executables remembered as callers of models.
const MAX_LEARNED: usize = 4096;
/// How often executables known to call models are looked for: agents replace themselves, nanoseconds.
const LOOK_AGAIN_NS: u64 = 60_000_000_000;
/// Processes remembered as callers of models while they live.
const MAX_CALLERS: usize = 16_384;
/// Processes probed one by one for one file.
const MAX_PROCESSES: usize = 1024;
/// Why plaintext is not read, for coverage: a file is still being read for the first time.
const REASON_WAITING: &str = "the TLS functions of its executable or a library are still being looked for";

struct Target {
    /// Index of its first layer.
    index: u32,
    layers: u32,
    library: Library,
    budget: Budget,
    whole: Option<ProbeLinks>,
    processes: HashMap<ProcessKey, ProbeLinks>,
    /// Until when probes that seem lost are not given again.
    again_ns: u64,
    /// Looks in a row in which no process had it.
    unused: u32,
}

/// A process that calls models.
struct Caller {
    coverage: Coverage,
    /// When it is looked at again.
    again_ns: u64,
}

/// Counts for `status` records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files probed now.
    pub files: u64,
    /// Of these, for single processes only.
    pub demoted: u64,
    /// Attachments that failed.
    pub failed: u64,
    /// Files or processes not probed because a limit was reached.
    pub refused: u64,
    /// Times that probes were found missing and given again.
    pub lost: u64,
}

/// What the process' TLS library is and why it is not read, if so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// File name of the library, or empty.
    pub library: String,
    /// Its family and how its functions were found, or empty.
    pub method: String,
    /// Empty when it is read.
    pub reason: String,
}

/// Decides and attaches.
pub struct Policy {
    files: Files,
    prober: Prober,
    targets: HashMap<FileKey, Target>,
    indexes: Indexes,
    /// Names of targets that nobody was told of yet.
    named: Vec<(u32, TlsLibrary)>,
    learned: HashSet<FileId>,
    known: Vec<KnownExecutable>,
    callers: HashMap<ProcessKey, Caller>,
    closing: Vec<Closing>,
    /// When installed executables were looked for.
    looked_ns: u64,
    look: Background<Vec<PathBuf>>,
    unused: Background<HashSet<FileKey>>,
    /// When unused files were looked for.
    unused_ns: u64,
    roots: HashSet<(u64, u64)>,
    budget_per_s: u64,
    failed: u64,
    refused: u64,
    lost: u64,
}

impl Policy {
    /// With what `cache` has of earlier runs, and a budget of `budget_per_s` useless hits per file; executables named in `known` are
    /// treated as callers of models from their first exec.
    pub fn new(
        prober: Prober,
        cache: Cache,
        budget_per_s: u64,
        known: Vec<KnownExecutable>,
    ) -> std::io::Result<(Self, Results)> {
        let (worker, results) = Worker::start(cache)?;
        let policy = Self {
            files: Files::new(worker),
            prober,
            targets: HashMap::new(),
            indexes: Indexes::default(),
            named: Vec::new(),
            learned: HashSet::new(),
            known,
            callers: HashMap::new(),
            closing: Vec::new(),
            looked_ns: 0,
            look: Background::default(),
            unused: Background::default(),
            unused_ns: 0,
            roots: HashSet::new(),
            budget_per_s,
            failed: 0,
            refused: 0,
            lost: 0,
        };
        Ok((policy, results))
    }

    /// Probes the host's libraries and whatever running processes have mapped.
    pub fn start(&mut self, ebpf: &mut Ebpf, now_ns: u64) {
        self.look_in_root(ebpf, Path::new("/"), now_ns);
        self.look_for_known(ebpf, now_ns);
        let Ok(processes) = procfs::process::all_processes() else { return };
        for process in processes.flatten() {
            self.look_at(ebpf, process.pid().unsigned_abs(), now_ns);
        }
    }

    /// A process runs a new program.
    pub fn exec(&mut self, ebpf: &mut Ebpf, process: ProcessKey, file: FileId, exe: &str, now_ns: u64) {
        self.add(ebpf, &PathBuf::from(format!("/proc/{}/exe", process.pid)), now_ns);
        self.look_in_root(ebpf, &PathBuf::from(format!("/proc/{}/root", process.pid)), now_ns);
        if self.learned.contains(&file) || self.known.iter().any(|known| known.fits(exe)) {
            self.probe_process(ebpf, process);
        }
    }

    /// First sign that a process calls a model: its libraries are looked at and probed now.
    pub fn caller(&mut self, ebpf: &mut Ebpf, process: ProcessKey, now_ns: u64) -> Coverage {
        let fresh = |known: &&Caller| known.coverage.reason.is_empty() && now_ns < known.again_ns;
        let known = self.callers.get(&process).filter(fresh).map(|known| known.coverage.clone());
        let coverage = known.unwrap_or_else(|| {
            let coverage = self.look_at(ebpf, process.pid, now_ns);
            if self.callers.len() < MAX_CALLERS || self.callers.contains_key(&process) {
                let again_ns = now_ns.saturating_add(PAUSE_NS);
                self.callers.insert(process, Caller { coverage: coverage.clone(), again_ns });
            } else {
                self.refused += 1;
            }
            coverage
        });
        self.probe_process(ebpf, process);
        coverage
    }

    /// A large file was read. Callers that may have waited for it, to be looked at again.
    pub fn found(&mut self, ebpf: &mut Ebpf, found: Found, now_ns: u64) -> Vec<ProcessKey> {
        self.files.settle(found.key, found.known);
        if let Some(library) = found.library {
            self.probe(ebpf, library, now_ns);
        }
        let waiting = self.callers.iter().filter(|(_, caller)| caller.coverage.reason == REASON_WAITING);
        waiting.map(|(process, _)| *process).collect()
    }

    /// An executable is now known to call models.
    pub fn learn(&mut self, file: FileId) {
        if self.learned.len() < MAX_LEARNED {
            self.learned.insert(file);
        } else {
            self.refused += 1;
        }
    }

    /// A process ended: its own probes go.
    pub fn exit(&mut self, process: ProcessKey) {
        self.callers.remove(&process);
        for target in self.targets.values_mut() {
            target.processes.remove(&process);
        }
    }

    /// Judges the hits of every file, and looks whether it is still the same.
    pub fn tick(&mut self, ebpf: &mut Ebpf, tables: &mut Tables, now_ns: u64) {
        self.follow_replaced(ebpf, tables, now_ns);
        self.retire_unused();
        if now_ns.saturating_sub(self.looked_ns) >= LOOK_AGAIN_NS {
            self.looked_ns = now_ns;
            let known = self.known.clone();
            self.look.begin("kw-installed", move || installed(&known));
        }
        self.look_for_unused(now_ns);
        for path in self.look.take().unwrap_or_default() {
            self.add(ebpf, &path, now_ns);
        }
        let mut over = Vec::new();
        let mut due = Vec::new();
        for (key, target) in &mut self.targets {
            let layers = target.index..target.index + target.layers;
            let hits = layers.filter_map(|index| tables.hits(index).ok());
            let (total, model) = hits.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            if target.whole.is_some() {
                if target.budget.exceeded(total, model, now_ns) {
                    over.push(*key);
                }
            } else if target.budget.resume(total, model, now_ns) {
                due.push(*key);
            }
        }
        for key in over {
            self.demote(ebpf, key, now_ns);
        }
        for key in due {
            self.promote(ebpf, key, now_ns);
        }
    }

    /// Allows the kernel to search again for the layout of files it does not know yet.
    pub fn allow_search(&self, tables: &mut Tables) {
        for target in self.targets.values() {
            if let Err(error) = tables.allow_search(target.index) {
                tracing::debug!(%error, "cannot reset the layout search");
            }
        }
    }

    /// The libraries that are probed since the last call, by the index that plaintext carries.
    pub fn named(&mut self) -> Vec<(u32, TlsLibrary)> {
        std::mem::take(&mut self.named)
    }

    /// What is probed.
    pub fn counts(&self) -> Counts {
        Counts {
            files: self.targets.len() as u64,
            demoted: self.targets.values().filter(|target| target.whole.is_none()).count() as u64,
            failed: self.failed + self.files.failed,
            refused: self.refused + self.files.refused,
            lost: self.lost,
        }
    }

    /// Detaches everything and waits until it is done.
    pub fn finish(mut self) {
        self.targets.clear();
        self.closing.clear();
        self.prober.finish();
        self.files.finish();
    }

    fn demote(&mut self, ebpf: &mut Ebpf, key: FileKey, now_ns: u64) {
        let callers: Vec<ProcessKey> = self.callers.keys().copied().collect();
        for process in callers {
            self.probe_in(ebpf, key, process);
        }
        if let Some(target) = self.targets.get_mut(&key) {
            tracing::info!(file = target.library.path, "probes limited to programs that call models");
            target.budget.pause(now_ns);
            target.whole = None;
        }
    }

    fn promote(&mut self, ebpf: &mut Ebpf, key: FileKey, now_ns: u64) {
        let Some(target) = self.targets.get_mut(&key) else { return };
        let (library, index) = (&target.library, target.index);
        match self.prober.attach(ebpf, &library.file, &library.functions, index, Scope::Inode) {
            Ok(links) => {
                target.whole = Some(links);
                target.processes.clear();
            }
            Err(error) => {
                tracing::warn!(file = library.path, %error, "cannot probe");
                target.budget.pause(now_ns);
                self.failed += 1;
            }
        }
    }

    /// Gives a process its own probes of every demoted file. The file need not be mapped yet.
    fn probe_process(&mut self, ebpf: &mut Ebpf, process: ProcessKey) {
        let demoted: Vec<FileKey> =
            self.targets.iter().filter(|(_, target)| target.whole.is_none()).map(|(key, _)| *key).collect();
        for key in demoted {
            self.probe_in(ebpf, key, process);
        }
    }

    fn probe_in(&mut self, ebpf: &mut Ebpf, key: FileKey, process: ProcessKey) {
        let Some(target) = self.targets.get_mut(&key) else { return };
        if target.processes.contains_key(&process) {
            return;
        }
        if target.processes.len() >= MAX_PROCESSES {
            self.refused += 1;
            return;
        }
        let Some(pid) = NonZeroU32::new(process.pid) else { return };
        let (library, index) = (&target.library, target.index);
        match self.prober.attach(ebpf, &library.file, &library.functions, index, Scope::Process(pid)) {
            Ok(links) => {
                target.processes.insert(process, links);
            }
            // It may have ended meanwhile.
            Err(error) => {
                tracing::debug!(file = library.path, pid, %error, "cannot probe the process");
                self.failed += 1;
            }
        }
    }

    fn probe(&mut self, ebpf: &mut Ebpf, library: Library, now_ns: u64) {
        let methods = library.methods();
        let layers = methods.len() as u32;
        if self.is_closing(library.key, &library.file) {
            self.files.forget(&library.key);
            return;
        }
        let Some(indexes) = self.indexes.take(layers) else {
            self.refused += 1;
            return;
        };
        let (key, index) = (library.key, indexes.start);
        match self.prober.attach(ebpf, &library.file, &library.functions, index, Scope::Inode) {
            Ok(links) => {
                let (functions, method) = (library.functions.len(), methods.join(", "));
                tracing::info!(file = library.path, functions, method, "TLS library probed");
                self.named.extend((index..).zip(methods.into_iter().map(|method| TlsLibrary {
                    name: library.name().to_owned(),
                    method,
                    reason: String::new(),
                })));
                let budget = Budget::new(self.budget_per_s, now_ns);
                let (whole, processes) = (Some(links), HashMap::new());
                let target =
                    Target { index, layers, library, budget, whole, processes, again_ns: 0, unused: 0 };
                self.targets.insert(key, target);
            }
            Err(error) => {
                tracing::warn!(file = library.path, %error, "cannot probe");
                self.failed += 1;
                self.files.forget(&key);
                self.indexes.give_back(indexes);
            }
        }
    }
}
