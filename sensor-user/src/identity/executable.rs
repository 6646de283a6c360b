//! Paths of executables by device and inode.

use std::{collections::HashMap, fs::File, os::unix::fs::MetadataExt as _, path::PathBuf};

use attribution::event::{FileId, ProcessImage};

/// Executables remembered; all are forgotten when there are more.
const MAX_EXECUTABLES: usize = 8192;

/// The kernel's device encoding of a `stat` device number (include/linux/kdev_t.h).
pub fn kernel_device(device: u64) -> u64 {
    u64::from(libc::major(device)) << 20 | u64::from(libc::minor(device))
}

/// Device and inode of an open file.
pub fn file_id(file: &File) -> std::io::Result<FileId> {
    let metadata = file.metadata()?;
    Ok(FileId { device: kernel_device(metadata.dev()), inode: metadata.ino() })
}

/// Remembers resolved paths.
#[derive(Default)]
pub struct Executables {
    paths: HashMap<FileId, String>,
}

impl Executables {
    /// Replaces the path given to execve by the executable's real one when /proc proves that it is the
    /// same file; a process that is gone keeps what the kernel saw.
    pub fn resolve(&mut self, pid: u32, image: &mut ProcessImage) {
        if let Some(path) = self.paths.get(&image.file) {
            image.exe.clone_from(path);
            return;
        }
        let link = PathBuf::from(format!("/proc/{pid}/exe"));
        let (Ok(path), Ok(metadata)) = (std::fs::read_link(&link), std::fs::metadata(&link)) else { return };
        let found = FileId { device: kernel_device(metadata.dev()), inode: metadata.ino() };
        if found != image.file {
            return; // another generation, or another program by now
        }
        let path = path.to_string_lossy().trim_end_matches(" (deleted)").to_owned();
        if self.paths.len() >= MAX_EXECUTABLES {
            self.paths.clear();
        }
        self.paths.insert(image.file, path.clone());
        image.exe = path;
    }
}
