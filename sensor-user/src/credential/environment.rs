//! Environments of processes, read only from the process that is meant.

use std::{fs::File, io::Read as _, os::unix::fs::MetadataExt as _};

use attribution::event::{FileId, ProcessKey};
use procfs::process::Process;
use zeroize::Zeroizing;

use super::skip::Skip;
use crate::identity::executable::kernel_device;

/// Bytes of an environment that are read.
const MAX_BYTES: u64 = 256 << 10;

/// Whose environment is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    /// The process; its start may be rounded down to a clock tick.
    pub(super) process: ProcessKey,
    /// The program it runs; nothing when that does not matter.
    pub(super) program: Option<FileId>,
}

/// Start of the process that has this id now, rounded down, and the resolution of it, nanoseconds.
pub(super) fn started(pid: u32) -> Option<(u64, u64)> {
    let stat = Process::new(i32::try_from(pid).ok()?).ok()?.stat().ok()?;
    let tick_ns = 1_000_000_000 / procfs::ticks_per_second().max(1);
    Some((stat.starttime.saturating_mul(tick_ns), tick_ns))
}

impl Target {
    /// Whether the process with this id is the one that is meant, running the program that is meant.
    fn is_there(self) -> bool {
        let same = started(self.process.pid)
            .is_some_and(|(start, tick)| start / tick.max(1) == self.process.start_ns / tick.max(1));
        let runs = |program: FileId| {
            std::fs::metadata(format!("/proc/{}/exe", self.process.pid)).is_ok_and(|found| {
                found.ino() == program.inode
                    && (kernel_device(found.dev()) == program.device || program.device == 0)
            })
        };
        same && self.program.is_none_or(|program| program.inode == 0 || runs(program))
    }

    /// The environment block, which the process has changed only if it overwrote it in place.
    pub(super) fn read(self) -> Result<Zeroizing<Vec<u8>>, Skip> {
        let file = File::open(format!("/proc/{}/environ", self.process.pid)).map_err(|_| Skip::Vanished)?;
        if !self.is_there() {
            return Err(Skip::Vanished);
        }
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|_| Skip::Unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Skip::TooLarge);
        }
        // What was read is the environment of the program only if it runs it still.
        if self.is_there() { Ok(bytes) } else { Err(Skip::Vanished) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_process_that_is_meant_is_read() {
        let pid = std::process::id();
        let (start_ns, tick) = started(pid).unwrap();
        let process = ProcessKey { pid, start_ns };
        let target = Target { process, program: None };
        assert!(target.read().is_ok());
        let other = ProcessKey { pid, start_ns: start_ns + tick };
        assert_eq!(Target { process: other, ..target }.read(), Err(Skip::Vanished));
        let program = Some(FileId { device: 1, inode: 1 });
        assert_eq!(Target { program, ..target }.read(), Err(Skip::Vanished));
    }
}
