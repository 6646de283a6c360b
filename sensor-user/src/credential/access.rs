//! How a file was opened: by the descriptors that the opener still has, and by how the others were closed.
//!
//! The kernel tells of an open without its flags. A descriptor in `/proc/PID/fd` shows them in the permissions
//! of its link (proc(5)); one that is closed already has told on closing whether it was open for writing
//! (fanotify(7)). Descriptors that differ prove nothing.

use std::os::unix::fs::MetadataExt as _;

use attribution::event::{Access, FileId};
use nix::sys::fanotify::MaskFlags;

use crate::identity::executable::kernel_device;

/// Descriptors of a process that are looked at; with more of them nothing is said.
const MAX_DESCRIPTORS: usize = 512;
/// Permissions of a descriptor's link: open for reading, open for writing.
const READ: u32 = 0o400;
const WRITE: u32 = 0o200;

/// How process `pid` opened file `id`, `closed` being the bits of all that it closed of that file since.
pub(super) fn access(pid: u32, id: FileId, closed: MaskFlags) -> Option<Access> {
    one(held(pid, id)?.into_iter().chain(by_closing(closed)))
}

/// How the descriptors that a process has of a file are open; nothing when it has too many to look at.
fn held(pid: u32, id: FileId) -> Option<Vec<Access>> {
    let mut found = Vec::new();
    let Ok(folder) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return Some(found) };
    for (index, entry) in folder.flatten().enumerate() {
        if index >= MAX_DESCRIPTORS {
            return None;
        }
        let path = entry.path();
        let (Ok(file), Ok(link)) = (std::fs::metadata(&path), std::fs::symlink_metadata(&path)) else {
            continue;
        };
        if file.ino() == id.inode && kernel_device(file.dev()) == id.device {
            found.extend(by_permissions(link.mode()));
        }
    }
    Some(found)
}

/// Nothing for a handle that can neither be read nor written (`O_PATH`).
fn by_permissions(mode: u32) -> Option<Access> {
    match (mode & READ != 0, mode & WRITE != 0) {
        (true, true) => Some(Access::ReadWrite),
        (true, false) => Some(Access::Read),
        (false, true) => Some(Access::Write),
        (false, false) => None,
    }
}

fn by_closing(closed: MaskFlags) -> impl Iterator<Item = Access> {
    let told = [(MaskFlags::FAN_CLOSE_NOWRITE, Access::Read), (MaskFlags::FAN_CLOSE_WRITE, Access::Writable)];
    told.into_iter().filter(move |(bit, _)| closed.contains(*bit)).map(|(_, access)| access)
}

/// What all of them say.
fn one(mut all: impl Iterator<Item = Access>) -> Option<Access> {
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};

    use super::*;
    use crate::identity::executable::file_id;

    #[test]
    fn what_is_held_and_what_was_closed_must_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let own = std::process::id();
        let written = OpenOptions::new().write(true).create(true).truncate(false).open(&path).unwrap();
        let id = file_id(&written).unwrap();
        let none = MaskFlags::empty();
        assert_eq!(access(own, id, none), Some(Access::Write));
        drop(written);
        assert_eq!(access(own, id, none), None);
        let read = File::open(&path).unwrap();
        assert_eq!(access(own, id, none), Some(Access::Read));
        assert_eq!(access(own, id, MaskFlags::FAN_CLOSE_NOWRITE), Some(Access::Read));
        assert_eq!(access(own, id, MaskFlags::FAN_CLOSE_WRITE), None);
        drop(read);
        assert_eq!(access(own, id, MaskFlags::FAN_CLOSE_WRITE), Some(Access::Writable));
        assert_eq!(access(own, id, MaskFlags::FAN_CLOSE_WRITE | MaskFlags::FAN_CLOSE_NOWRITE), None);
        let both = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        assert_eq!(access(own, id, none), Some(Access::ReadWrite));
        assert_eq!(access(own, FileId { inode: id.inode + 1, ..id }, none), None);
        drop(both);
    }

    #[test]
    fn a_process_that_is_gone_says_nothing_but_its_closing_does() {
        let id = FileId { device: 1, inode: 1 };
        assert_eq!(access(u32::MAX, id, MaskFlags::FAN_CLOSE_NOWRITE), Some(Access::Read));
        assert_eq!(access(u32::MAX, id, MaskFlags::empty()), None);
    }
}
