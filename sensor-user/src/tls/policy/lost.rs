//! Probes that were lost, and files that were replaced in place.
//!
//! A probe belongs to an inode and an offset. It is lost where a file is the same to everybody, yet another inode: an
//! overlay that copied it up, for example. That is noticed in the memory of processes that call models, where the
//! breakpoint is missing, and the file is probed again. A file whose contents were replaced must lose its
//! probes at once: the old offsets lie anywhere in the new code. Its new contents are looked at when the old probes are
//! gone, because the kernel keeps the instruction that it once found at an offset.

use std::{fs::File, os::fd::AsRawFd as _, path::PathBuf};

use super::{Policy, Target};
use crate::{
    bpf::{Closed, Ebpf, Scope},
    tls::{
        files::FileKey,
        mapping::{Mapping, same_code},
    },
};

/// Time before probes of one file are given again once more, and before a process is looked at again, nanoseconds.
pub(super) const PAUSE_NS: u64 = 5_000_000_000;
/// Files whose old probes are being closed.
const MAX_REPLACED: usize = 64;

/// A file whose old probes are being closed.
pub(super) struct Replaced {
    key: FileKey,
    file: File,
    closed: Closed,
}

impl Policy {
    /// Probes a file again if process `pid` has it mapped without the probes that it should have.
    pub(super) fn restore(
        &mut self,
        ebpf: &mut Ebpf,
        key: FileKey,
        mapping: &Mapping<'_>,
        pid: u32,
        now_ns: u64,
    ) {
        let Some(target) = self.targets.get_mut(&key) else { return };
        let Target { library, whole: Some(links), again_ns, index, .. } = target else { return };
        if now_ns < *again_ns || !mapping.lacks_probe(pid, &library.file, &library.functions) {
            return;
        }
        let Ok(file) = File::open(mapping.file(pid)) else { return };
        if !same_code(&library.file, &file, &library.functions) {
            return;
        }
        *again_ns = now_ns.saturating_add(PAUSE_NS);
        self.lost += 1;
        tracing::warn!(file = library.path, pid, "TLS probes were lost; probing again");
        match self.prober.attach(ebpf, &file, &library.functions, *index, Scope::Inode) {
            Ok(more) => {
                // The old ones stay: processes may still have what they are on.
                links.add(more);
                library.file = file;
            }
            Err(error) => {
                tracing::warn!(file = library.path, %error, "cannot probe");
                self.failed += 1;
            }
        }
    }

    /// Takes the probes of files whose contents were replaced, and looks at the new contents of those that have none
    /// left.
    pub(super) fn follow_replaced(&mut self, ebpf: &mut Ebpf, now_ns: u64) {
        let changed = |(key, target): (&FileKey, &Target)| {
            let now = FileKey::of(&target.library.file).ok()?;
            (now != *key).then_some(*key)
        };
        let changed: Vec<FileKey> = self.targets.iter().filter_map(changed).collect();
        for key in changed {
            self.withdraw(key);
        }
        for (index, one) in std::mem::take(&mut self.replaced).into_iter().enumerate() {
            if index < MAX_REPLACED && !one.closed.is_done() {
                self.replaced.push(one);
                continue;
            }
            let path = PathBuf::from(format!("/proc/self/fd/{}", one.file.as_raw_fd()));
            self.add(ebpf, &path, now_ns);
        }
    }

    /// Whether old probes of the same inode are still there.
    pub(super) fn is_replacing(&mut self, key: FileKey) -> bool {
        let old = self.targets.keys().find(|old| old.is_older(key)).copied();
        if let Some(old) = old {
            self.withdraw(old);
        }
        self.replaced.iter().any(|one| one.key.is_older(key) || one.key == key)
    }

    fn withdraw(&mut self, key: FileKey) {
        let Some(Target { library, whole, processes, .. }) = self.targets.remove(&key) else { return };
        tracing::info!(file = library.path, "the file was replaced in place: its TLS probes are taken away");
        let links = whole.into_iter().chain(processes.into_values());
        let closed = self.prober.close(links);
        self.files.forget(&key);
        self.replaced.push(Replaced { key, file: library.file, closed });
    }
}
