//! What was found in large files, kept on disk by build id, so that a restarted sensor probes them at once.
//!
//! Reading a stripped executable of 250 MB takes a second; what is found are a few offsets. An answer is used for
//! a file of the same build id and size only if the blocks of code around every offset are the same, byte for
//! byte: a build id can be copied, code that was proven cannot change unseen. That nothing was found is not kept:
//! it cannot be proven so.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use flow_log::files::{self, Survives};
use locate::{Bytes, Elf, Function};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Files kept; the oldest goes.
const MAX_FILES: usize = 256;
/// Largest cache that is read, bytes.
const MAX_BYTES: u64 = 4 << 20;
/// Who may read it: this user alone.
const MODE: u32 = 0o600;
/// Code that is compared around each offset, bytes; a power of two.
const BLOCK: u64 = 4096;

/// The cache's file, whole.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    revision: u32,
    files: Vec<Entry>,
}

/// One file's answer.
#[derive(Serialize, Deserialize)]
struct Entry {
    build_id: String,
    size: u64,
    /// SHA-256 of the blocks of code around the offsets.
    code: [u8; 32],
    functions: Vec<Function>,
}

/// Answers of earlier searches.
pub struct Cache {
    path: PathBuf,
    kept: Kept,
}

impl Cache {
    /// Reads the cache at `path`; one that is missing, broken or of another revision is empty.
    pub fn open(path: PathBuf) -> Self {
        let kept = match read(&path) {
            Ok(kept) if kept.revision == locate::REVISION => kept,
            Ok(_) => Kept::default(),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "starting without what was located before");
                }
                Kept::default()
            }
        };
        Self { path, kept }
    }

    /// The functions of `file`, whose header is `elf`, if its code is that in which they were found.
    pub fn find(&self, elf: &Elf<'_>, file: &impl Bytes) -> Option<Vec<Function>> {
        let (build_id, size) = (elf.build_id(), file.size());
        let entry = self.kept.files.iter().find(|one| one.build_id == build_id && one.size == size)?;
        (!build_id.is_empty() && code(file, &entry.functions) == Some(entry.code))
            .then(|| entry.functions.clone())
    }

    /// Keeps what was found in a file. A cache that cannot be written is told and goes on in memory.
    pub fn keep(&mut self, elf: &Elf<'_>, file: &impl Bytes, functions: &[Function]) {
        let (build_id, size) = (elf.build_id(), file.size());
        let Some(code) = code(file, functions).filter(|_| !build_id.is_empty() && !functions.is_empty())
        else {
            return;
        };
        self.kept.files.retain(|one| one.build_id != build_id || one.size != size);
        if self.kept.files.len() >= MAX_FILES {
            self.kept.files.remove(0);
        }
        self.kept.files.push(Entry { build_id, size, code, functions: functions.to_vec() });
        self.kept.revision = locate::REVISION;
        if let Err(error) = write(&self.path, &self.kept) {
            tracing::warn!(path = %self.path.display(), %error, "cannot keep what was located");
        }
    }
}

/// Digest of the code around every offset of `functions`; nothing when it cannot be read.
fn code(file: &impl Bytes, functions: &[Function]) -> Option<[u8; 32]> {
    let mut digest = Sha256::new();
    let mut block = [0; BLOCK as usize];
    let offsets =
        functions.iter().flat_map(|one| std::iter::once(one.entry).chain(one.returns.iter().copied()));
    for offset in offsets {
        let start = offset & !(BLOCK - 1);
        let len = usize::try_from(file.size().checked_sub(start)?.min(BLOCK)).ok()?;
        let bytes = block.get_mut(..len)?;
        if bytes.is_empty() || !file.read(start, bytes) {
            return None;
        }
        digest.update(bytes);
    }
    Some(digest.finalize().into())
}

fn read(path: &Path) -> io::Result<Kept> {
    if fs::metadata(path)?.len() > MAX_BYTES {
        return Err(io::Error::other("larger than a cache can be"));
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    files::replace(path, &serde_json::to_vec(kept)?, MODE, Survives::Kill)
}

#[cfg(test)]
mod tests {
    use locate::{Abi, Count, Library, Method, Role};

    use super::*;

    fn functions() -> Vec<Function> {
        let one = |role, entry| Function {
            entry,
            returns: vec![entry + 5000],
            role,
            count: Count::Returned,
            abi: Abi::C,
            library: Library::BoringSsl,
            method: Method::ErrorSites,
        };
        vec![one(Role::Read, 0x1200), one(Role::Write, 0x1300)]
    }

    #[test]
    fn an_answer_is_used_again_only_for_the_same_code() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("located.json");
        let mut bytes = fs::read("/bin/ls").unwrap();
        let image = bytes.as_slice();
        let elf = Elf::parse(&image).unwrap();
        assert!(!elf.build_id().is_empty());
        let mut cache = Cache::open(path.clone());
        assert_eq!(cache.find(&elf, &image), None);
        cache.keep(&elf, &image, &functions());
        assert_eq!(Cache::open(path.clone()).find(&elf, &image), Some(functions()));
        // Another byte where a probe would go, and in its neighbourhood, but not far away.
        for (at, same) in [(0x1300, false), (0x1300 + 5000, false), (0x1001, false), (0x5000, true)] {
            bytes[at] ^= 1;
            let image = bytes.as_slice();
            let elf = Elf::parse(&image).unwrap();
            assert_eq!(Cache::open(path.clone()).find(&elf, &image).is_some(), same, "{at:#x}");
            bytes[at] ^= 1;
        }
        let longer = [bytes.as_slice(), b"x"].concat();
        let image = longer.as_slice();
        assert_eq!(cache.find(&Elf::parse(&image).unwrap(), &image), None);
    }

    #[test]
    fn a_broken_cache_or_one_of_another_revision_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("located.json");
        let kept = Kept { revision: locate::REVISION + 1, files: Vec::new() };
        for text in ["", "{", "[1]", &serde_json::to_string(&kept).unwrap()] {
            fs::write(&path, text).unwrap();
            assert!(Cache::open(path.clone()).kept.files.is_empty());
        }
    }

    #[test]
    fn the_oldest_goes_and_offsets_outside_the_file_are_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = fs::read("/bin/ls").unwrap();
        let image = bytes.as_slice();
        let elf = Elf::parse(&image).unwrap();
        let mut cache = Cache::open(folder.path().join("located.json"));
        let mut outside = functions();
        outside[0].entry = bytes.len() as u64 + 4096;
        cache.keep(&elf, &image, &outside);
        assert!(cache.kept.files.is_empty());
        for index in 0..MAX_FILES as u64 {
            let (build_id, size) = (index.to_string(), index);
            cache.kept.files.push(Entry { build_id, size, code: [0; 32], functions: Vec::new() });
        }
        cache.keep(&elf, &image, &functions());
        assert_eq!((cache.kept.files.len(), cache.kept.files[0].size), (MAX_FILES, 1));
    }
}
