//! Every file looked at for TLS functions, once for each inode and version.

use std::{collections::HashMap, fs::File, os::unix::fs::MetadataExt as _, path::Path};

use super::elf;
use crate::bpf::Function;

/// Files remembered; all are forgotten when there are more (they are looked at again).
const MAX_FILES: usize = 65_536;

/// One version of a file. A file replaced in place has another time or size, a new file another inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileKey {
    device: u64,
    inode: u64,
    modified_ns: i64,
    size: u64,
}

/// A file with TLS functions, open, so that what is probed is what was examined.
#[derive(Debug)]
pub struct Library {
    /// Which version of which file.
    pub key: FileKey,
    /// Where it was found.
    pub path: String,
    /// The file itself.
    pub file: File,
    /// Its functions.
    pub functions: Vec<Function>,
}

/// Remembers what was looked at.
#[derive(Debug, Default)]
pub struct Files {
    seen: HashMap<FileKey, bool>,
    /// Files that could not be examined.
    pub failed: u64,
}

impl FileKey {
    /// The version of an open file.
    pub fn of(file: &File) -> std::io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            modified_ns: metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()),
            size: metadata.size(),
        })
    }
}

impl Files {
    /// The version of the file at `path` when it has TLS functions; with the library itself the first
    /// time. `path` may lead through /proc.
    pub fn examine(&mut self, path: &Path) -> Option<(FileKey, Option<Library>)> {
        let file = File::open(path).ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let key = FileKey::of(&file).ok()?;
        if let Some(has) = self.seen.get(&key) {
            return has.then_some((key, None));
        }
        if self.seen.len() >= MAX_FILES {
            self.seen.clear();
        }
        let functions = elf::functions(&file).unwrap_or_else(|error| {
            tracing::debug!(path = %path.display(), %error, "not examined for TLS functions");
            self.failed += 1;
            Vec::new()
        });
        self.seen.insert(key, !functions.is_empty());
        if functions.is_empty() {
            return None;
        }
        let name = std::fs::read_link(path).unwrap_or_else(|_| path.to_owned());
        Some((key, Some(Library { key, path: name.display().to_string(), file, functions })))
    }

    /// Allows a file to be examined again.
    pub fn forget(&mut self, key: &FileKey) {
        self.seen.remove(key);
    }
}
