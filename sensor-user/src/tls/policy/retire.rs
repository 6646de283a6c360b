//! Probes that are taken away: of a file that was replaced in place, and of one that nobody can need any more.
//!
//! A file whose contents were replaced must lose its probes at once: the old offsets lie anywhere in the new code. Its new
//! contents are looked at when the old probes are gone, because the kernel keeps the instruction that it once found at
//! an offset. A deleted file loses them when no process has had it mapped in two looks: they would hold its space.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    ops::Range,
    os::fd::AsRawFd as _,
    path::PathBuf,
};

use super::{Policy, Target};
use crate::{
    bpf::{Closed, Ebpf, Tables},
    tls::{files::FileKey, unused},
};

/// Looks in which no process had a file, after which its probes go. One is not enough: a process may be forked, and its
/// parent end, while processes are looked at one after the other.
const UNUSED_LOOKS: u32 = 2;

/// Time between two looks, nanoseconds, and to the next one when a file was found unused.
const LOOK_NS: u64 = 20_000_000_000;
const NEXT_NS: u64 = 2_000_000_000;

/// A file whose probes are being closed.
pub(super) struct Closing {
    key: FileKey,
    indexes: Range<u32>,
    closed: Closed,
    /// What is to be looked at again then.
    again: Option<File>,
}

impl Policy {
    /// Takes the probes of files whose contents were replaced, and looks at the new contents of those that have none
    /// left.
    pub(super) fn follow_replaced(&mut self, ebpf: &mut Ebpf, tables: &mut Tables, now_ns: u64) {
        let changed = |(key, target): (&FileKey, &Target)| {
            let now = FileKey::of(&target.library.file).ok()?;
            (now != *key).then_some(*key)
        };
        let changed: Vec<FileKey> = self.targets.iter().filter_map(changed).collect();
        for key in changed {
            self.replace(key);
        }
        // Each has places of the kernel's, so there are never many.
        for one in std::mem::take(&mut self.closing) {
            if !one.closed.is_done() {
                self.closing.push(one);
                continue;
            }
            let cleared = one.indexes.clone().try_for_each(|index| tables.reset(index));
            match cleared {
                Ok(()) => self.indexes.give_back(one.indexes),
                Err(error) => tracing::warn!(%error, "a place for probes cannot be used again"),
            }
            if let Some(file) = one.again {
                let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
                self.add(ebpf, &path, now_ns);
            }
        }
    }

    /// Whether old probes of the same inode are still there; it is looked at again when they are gone.
    pub(super) fn is_closing(&mut self, key: FileKey, file: &File) -> bool {
        let old = self.targets.keys().find(|old| old.is_older(key)).copied();
        if let Some(old) = old {
            self.replace(old);
        }
        let same = |one: &&mut Closing| one.key.is_older(key) || one.key == key;
        let Some(closing) = self.closing.iter_mut().find(same) else { return false };
        if closing.again.is_none() {
            closing.again = file.try_clone().ok();
        }
        true
    }

    /// Begins to look which deleted files no process has, when it is time.
    pub(super) fn look_for_unused(&mut self, now_ns: u64) {
        let pause = if self.targets.values().any(|target| target.unused > 0) { NEXT_NS } else { LOOK_NS };
        if now_ns.saturating_sub(self.unused_ns) < pause {
            return;
        }
        self.unused_ns = now_ns;
        let nameless = self.targets.iter().filter(|(_, target)| !unused::has_name(&target.library.file));
        let left = nameless.map(|(key, target)| (*key, target.library.path.clone()));
        let left: HashMap<FileKey, String> = left.collect();
        if !left.is_empty() {
            self.unused.begin("kw-unused", move || unused::unmapped(left));
        }
    }

    /// Takes the probes of files that are not used, when a look has ended.
    pub(super) fn retire_unused(&mut self) {
        let Some(unmapped) = self.unused.take() else { return };
        for key in self.unused_again(&unmapped) {
            if let Some(file) = self.withdraw(key) {
                tracing::info!(file, "no process has the file any more: its TLS probes are taken away");
            }
        }
    }

    fn unused_again(&mut self, unmapped: &HashSet<FileKey>) -> Vec<FileKey> {
        let mut due = Vec::new();
        for (key, target) in &mut self.targets {
            target.unused = if unmapped.contains(key) { target.unused + 1 } else { 0 };
            if target.unused >= UNUSED_LOOKS {
                due.push(*key);
            }
        }
        due
    }

    fn replace(&mut self, key: FileKey) {
        let again = self.targets.get(&key).and_then(|target| target.library.file.try_clone().ok());
        if let Some(file) = self.withdraw(key) {
            tracing::info!(file, "the file was replaced in place: its TLS probes are taken away");
            if let Some(closing) = self.closing.last_mut() {
                closing.again = again;
            }
        }
    }

    /// Takes a file's probes away; its path, if it had some.
    fn withdraw(&mut self, key: FileKey) -> Option<String> {
        let Target { library, whole, processes, index, layers, .. } = self.targets.remove(&key)?;
        let links = whole.into_iter().chain(processes.into_values());
        let closed = self.prober.close(links);
        self.files.forget(&key);
        self.closing.push(Closing { key, indexes: index..index + layers, closed, again: None });
        Some(library.path)
    }
}
