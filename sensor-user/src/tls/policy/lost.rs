//! Probes that were lost.
//!
//! A probe belongs to an inode and an offset. It is lost where a file is the same to everybody, yet another inode: an
//! overlay that copied it up, for example. That is noticed in the memory of processes that call models, where the
//! breakpoint is missing, and the file is probed again.

use std::fs::File;

use super::{Policy, Target};
use crate::{
    bpf::{Ebpf, Scope},
    tls::{
        files::FileKey,
        mapping::{Mapping, same_code},
    },
};

/// Time before probes of one file are given again once more, and before a process is looked at again, nanoseconds.
pub(super) const PAUSE_NS: u64 = 5_000_000_000;
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
}
