//! fanotify marks: the kernel tells of opens of marked files and folders only, so that opens of anything
//! else cost nothing worth measuring. It tells of their closing, too: that says how they were open.
//!
//! Opens are seen whatever path, mount, system call or ring they come by (fs/notify in the kernel), and each
//! is told with the file itself. Told is the process id, not the process, and nobody is held up.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
};

use nix::{
    errno::Errno,
    fcntl::AT_FDCWD,
    sys::fanotify::{EventFFlags, Fanotify, FanotifyEvent, InitFlags, MarkFlags, MaskFlags},
};

/// What is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// One file.
    File,
    /// The files in a folder, those to come as well.
    Folder,
    /// All files of a mount.
    Mount,
    /// All files of a file system.
    FileSystem,
}

/// The marks of this process.
#[derive(Debug)]
pub struct Marks(Fanotify);

impl Marks {
    /// Without any mark. Needs CAP_SYS_ADMIN.
    pub fn new() -> io::Result<Self> {
        let flags = InitFlags::FAN_CLASS_NOTIF | InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK;
        // Opened for us without waiting, should it be a pipe.
        let files = EventFFlags::O_RDONLY
            | EventFFlags::O_LARGEFILE
            | EventFFlags::O_CLOEXEC
            | EventFFlags::O_NONBLOCK
            | EventFFlags::O_NOATIME;
        Ok(Self(Fanotify::init(flags, files)?))
    }

    /// Marks what `file` refers to (an `O_PATH` descriptor is enough).
    pub(super) fn add(&self, mark: Mark, file: &impl AsFd) -> io::Result<()> {
        let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        let (flags, mask) = match mark {
            Mark::File => (MarkFlags::empty(), MaskFlags::empty()),
            Mark::Folder => (MarkFlags::FAN_MARK_ONLYDIR, MaskFlags::FAN_EVENT_ON_CHILD),
            Mark::Mount => (MarkFlags::FAN_MARK_MOUNT, MaskFlags::empty()),
            Mark::FileSystem => (MarkFlags::FAN_MARK_FILESYSTEM, MaskFlags::empty()),
        };
        let told = MaskFlags::FAN_OPEN | MaskFlags::FAN_CLOSE_NOWRITE | MaskFlags::FAN_CLOSE_WRITE;
        let (flags, mask) = (flags | MarkFlags::FAN_MARK_ADD, mask | told);
        Ok(self.0.mark(flags, mask, AT_FDCWD, Some(path.as_str()))?)
    }

    /// What was opened and closed since the last look; empty when there is nothing.
    pub(super) fn read(&self) -> io::Result<Vec<FanotifyEvent>> {
        match self.0.read_events() {
            Ok(events) => Ok(events),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Marks {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The file of an event, as a file of our own.
pub(super) fn file_of(event: &FanotifyEvent) -> Option<File> {
    event.fd()?.try_clone_to_owned().ok().map(File::from)
}
