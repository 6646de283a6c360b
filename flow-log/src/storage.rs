//! What the writer needs of a file system. The real one is [`Disk`]; tests have one that crashes.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{
    lock::{self, Lock},
    walk::Input,
};

/// One folder of files.
pub trait Storage {
    /// An open file.
    type File;
    /// Names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A new empty file; an error when the name is taken.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// An existing file.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Length in bytes.
    fn length(&self, file: &Self::File) -> io::Result<u64>;
    /// Reads what is there at `offset`, less than asked at the end.
    fn read_at(&self, file: &Self::File, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, or fails with any part of it written.
    fn write_at(&self, file: &Self::File, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file off.
    fn truncate(&self, file: &Self::File, length: u64) -> io::Result<()>;
    /// fdatasync: what was written survives a crash when this returns well.
    fn sync(&self, file: &Self::File) -> io::Result<()>;
    /// Renames over whatever has the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a name.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// fsync of the folder: names survive a crash when this returns well.
    fn sync_folder(&self) -> io::Result<()>;
}

/// A folder on disk that nobody else writes.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    _lock: Lock,
}

/// Why a folder cannot be opened for writing.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process writes there.
    #[error("another process writes the log in {path}; stop it, or name another folder with --log-dir")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error(
        "cannot use {path} for the log: {source}; name another folder with --log-dir, or run with --no-log"
    )]
    Io {
        /// The folder.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

impl Disk {
    /// The folder at `path`, made for its owner alone when it does not exist.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        match lock::take(path).map_err(failed)? {
            Some(lock) => Ok(Self { folder: path.to_owned(), _lock: lock }),
            None => Err(OpenError::Locked { path: path.to_owned() }),
        }
    }
}

impl Storage for Disk {
    type File = File;

    fn list(&self) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn create(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600).open(self.folder.join(name))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.folder.join(name))
    }

    fn length(&self, file: &File) -> io::Result<u64> {
        Ok(file.metadata()?.len())
    }

    fn read_at(&self, file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        file.read_at(buffer, offset)
    }

    fn write_at(&self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.folder.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

/// A stored file to walk through.
pub(crate) struct Stored<'a, S: Storage> {
    pub(crate) storage: &'a S,
    pub(crate) file: &'a S::File,
    pub(crate) offset: u64,
}

impl<S: Storage> Read for Stored<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.storage.read_at(self.file, self.offset, buffer)?;
        self.offset += count as u64;
        Ok(count)
    }
}

impl<S: Storage> Input for Stored<'_, S> {
    fn go(&mut self, offset: u64) -> io::Result<bool> {
        self.offset = offset;
        Ok(true)
    }
}

/// Fills `buffer` from `offset` on; an error when the file is shorter.
pub(crate) fn read_exact_at<S: Storage>(
    storage: &S,
    file: &S::File,
    offset: u64,
    buffer: &mut [u8],
) -> io::Result<()> {
    Stored { storage, file, offset }.read_exact(buffer)
}
