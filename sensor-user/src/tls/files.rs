//! Every file looked at for TLS functions, once for each inode and version.

use std::{
    collections::HashMap,
    fs::{File, Metadata},
    os::{
        fd::AsRawFd as _,
        unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::Path,
};

use locate::{Bytes, Elf, Function};
use nix::fcntl::OFlag;

use super::worker::{Request, Worker};
use crate::bpf::layer;

/// Files remembered; all are forgotten when there are more (they are looked at again).
const MAX_FILES: usize = 65_536;
/// Where distributions put debug files, by build id.
const DEBUG_FILES: &str = "/usr/lib/debug/.build-id";
/// Largest file that is read whole on the event loop, bytes: some milliseconds.
const INLINE: u64 = 2 << 20;

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
    /// Its functions, at least one.
    pub functions: Vec<Function>,
}

/// What a file was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It has TLS functions.
    Tls,
    /// It is still being read.
    Waiting,
    /// No TLS function was recognised.
    Nothing {
        /// Its build id in hexadecimal, or empty.
        build_id: String,
    },
}

/// What looking at a file led to.
pub enum Examined {
    /// It was looked at before, or is not readable now.
    Before(Known),
    /// It has TLS functions and is not probed yet.
    New(Library),
}

/// Remembers what was looked at.
pub struct Files {
    seen: HashMap<FileKey, Known>,
    worker: Worker,
    /// Files that could not be examined.
    pub failed: u64,
    /// Files not read because too many waited.
    pub refused: u64,
}

/// A file as the locators read it.
pub struct OpenFile<'a>(pub &'a File);

impl Bytes for OpenFile<'_> {
    fn size(&self) -> u64 {
        self.0.metadata().map_or(0, |metadata| metadata.len())
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> bool {
        self.0.read_exact_at(into, offset).is_ok()
    }
}

impl FileKey {
    /// The version of an open file.
    pub fn of(file: &File) -> std::io::Result<Self> {
        Ok(Self::from(&file.metadata()?))
    }

    /// Its size in bytes.
    pub fn size(self) -> u64 {
        self.size
    }

    /// Whether this is the same inode as `other`, with other contents.
    pub fn is_older(&self, other: Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode) && *self != other
    }
}

impl From<&Metadata> for FileKey {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            modified_ns: metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()),
            size: metadata.size(),
        }
    }
}

impl Library {
    /// Library family and way of finding, as records say it, `openssl.exported_symbol`: of the functions known best,
    /// then of what is read below another TLS library in the same file.
    pub fn methods(&self) -> Vec<String> {
        let mut methods: Vec<String> = Vec::new();
        for one in &self.functions {
            let layer = layer(&self.functions, one) as usize;
            if layer == methods.len() {
                methods.push(format!("{}.{}", one.library.name(), one.method.name()));
            }
        }
        methods
    }

    /// The first of these.
    pub fn method(&self) -> String {
        self.methods().into_iter().next().unwrap_or_default()
    }

    /// Name of the file, without its folder.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

impl Files {
    /// Starts with nothing seen; `worker` reads the large files.
    pub fn new(worker: Worker) -> Self {
        Self { seen: HashMap::new(), worker, failed: 0, refused: 0 }
    }

    /// Looks at the file at `path`, which may lead through /proc.
    pub fn examine(&mut self, path: &Path) -> Option<(FileKey, Examined)> {
        let file = regular(path)?;
        let key = FileKey::of(&file).ok()?;
        if let Some(known) = self.seen.get(&key) {
            return Some((key, Examined::Before(known.clone())));
        }
        if self.seen.len() >= MAX_FILES {
            self.seen.clear();
        }
        let name = name(&file, path);
        let (functions, build_id) = quick(&file, key.size).unwrap_or_else(|error| {
            tracing::debug!(path = name, %error, "not examined for TLS functions");
            self.failed += 1;
            Default::default()
        });
        let examined = match functions {
            Some(functions) if functions.is_empty() => Examined::Before(Known::Nothing { build_id }),
            Some(functions) => Examined::New(Library { key, path: name, file, functions }),
            // Not remembered when it cannot be read now: the next process with it tries again.
            None if !self.worker.read(Request { key, path: name, file }) => {
                self.refused += 1;
                return None;
            }
            None => Examined::Before(Known::Waiting),
        };
        let known = match &examined {
            Examined::New(_) => Known::Tls,
            Examined::Before(known) => known.clone(),
        };
        self.seen.insert(key, known);
        Some((key, examined))
    }

    /// Remembers what the worker found.
    pub fn settle(&mut self, key: FileKey, known: Known) {
        if let Some(place) = self.seen.get_mut(&key) {
            *place = known;
        }
    }

    /// Allows a file to be examined again.
    pub fn forget(&mut self, key: &FileKey) {
        self.seen.remove(key);
    }

    /// Ends the worker.
    pub fn finish(self) {
        self.worker.finish();
    }
}

/// Where an open file is: its own path, not that of a link to it.
fn name(file: &File, path: &Path) -> String {
    let own = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    own.unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Opens a regular file. What else a path leads to is not opened: a pipe would wait for its writer, a device may act.
fn regular(path: &Path) -> Option<File> {
    let named = File::options().read(true).custom_flags(OFlag::O_PATH.bits()).open(path).ok()?;
    let is_file = named.metadata().ok()?.is_file();
    is_file.then(|| File::open(format!("/proc/self/fd/{}", named.as_raw_fd())).ok())?
}

/// The answer of every tier: symbols, the debug file of the distribution, and reading the code.
pub fn read_whole(elf: &Elf<'_>) -> Result<Vec<Function>, locate::Unreadable> {
    let found = locate::locate(elf)?.functions;
    if !found.is_empty() {
        return Ok(found);
    }
    let build_id = elf.build_id();
    let Some((first, rest)) = build_id.split_at_checked(2) else { return Ok(found) };
    let Ok(debug) = File::open(format!("{DEBUG_FILES}/{first}/{rest}.debug")) else { return Ok(found) };
    let debug = OpenFile(&debug);
    match Elf::parse(&debug) {
        Ok(debug) => Ok(locate::by_debug_file(elf, &debug)?.functions),
        Err(_) => Ok(found),
    }
}

/// The answer for a file that is small, has symbols, or can have no TLS library; `None` for one that takes
/// longer.
fn quick(file: &File, size: u64) -> Result<(Option<Vec<Function>>, String), locate::Unreadable> {
    let bytes = OpenFile(file);
    let elf = match Elf::parse(&bytes) {
        // Scripts are no failure.
        Err(locate::Unreadable::NotElf) => return Ok((Some(Vec::new()), String::new())),
        other => other?,
    };
    let functions = if size <= INLINE { read_whole(&elf)? } else { locate::by_symbols(&elf)?.functions };
    let answer = !functions.is_empty() || size <= INLINE;
    Ok((answer.then_some(functions), elf.build_id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_behind_a_relative_link_is_named_by_its_own_path() {
        let folder = tempfile::tempdir().unwrap();
        let (library, link) = (folder.path().join("libssl.so.3.0.1"), folder.path().join("libssl.so.3"));
        std::fs::write(&library, "").unwrap();
        std::os::unix::fs::symlink("libssl.so.3.0.1", &link).unwrap();
        let name = name(&regular(&link).unwrap(), &link);
        assert_eq!(Path::new(&name), library.canonicalize().unwrap());
    }
}
