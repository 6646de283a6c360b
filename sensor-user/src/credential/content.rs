//! What is in an opened credential file: bounded, read once for each version, fingerprints only.

use std::{
    collections::HashMap,
    fs::File,
    io::Read as _,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    time::{Duration, Instant},
};

use attribution::credential::{AtRest, Format, Found};
use zeroize::Zeroizing;

use super::skip::Skip;

/// Largest file that is read, bytes.
pub(super) const MAX_BYTES: u64 = 1 << 20;
/// Versions of files remembered; all are forgotten when there are more.
const MAX_KNOWN: usize = 4096;
/// Files read in one second.
const MAX_READS: u32 = 200;
const SECOND: Duration = Duration::from_secs(1);

/// One version of a file, as a certain format.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Version {
    device: u64,
    inode: u64,
    modified_ns: i64,
    size: u64,
    owner: String,
}

/// Reads files.
pub(super) struct Contents {
    at_rest: AtRest,
    known: HashMap<Version, Result<Vec<Found>, Skip>>,
    since: Instant,
    reads: u32,
}

impl Contents {
    /// That has read nothing yet.
    pub(super) fn new(at_rest: AtRest) -> Self {
        Self { at_rest, known: HashMap::new(), since: Instant::now(), reads: 0 }
    }

    /// The credentials in `file`, which was opened at `opened_ns` of calendar time at the latest: what was
    /// written later was not there to read.
    pub(super) fn read(
        &mut self,
        file: &File,
        owner: &str,
        format: Format,
        secrets: &[String],
        opened_ns: i64,
    ) -> Result<Vec<Found>, Skip> {
        let metadata = file.metadata().map_err(|_| Skip::Unreadable)?;
        let kind = metadata.file_type();
        if !kind.is_file() || kind.is_fifo() {
            return Err(Skip::NotRegular);
        }
        let modified_ns =
            metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
        if modified_ns > opened_ns {
            return Err(Skip::Changed);
        }
        if metadata.len() > MAX_BYTES {
            return Err(Skip::TooLarge);
        }
        if format == Format::Opaque {
            return Err(Skip::Opaque);
        }
        let version = Version {
            device: metadata.dev(),
            inode: metadata.ino(),
            modified_ns,
            size: metadata.len(),
            owner: owner.to_owned(),
        };
        if let Some(known) = self.known.get(&version) {
            return known.clone();
        }
        if self.since.elapsed() >= SECOND {
            (self.since, self.reads) = (Instant::now(), 0);
        }
        self.reads += 1;
        if self.reads > MAX_READS {
            return Err(Skip::Rate);
        }
        let result = self.secrets(file, format, secrets);
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert(version, result.clone());
        result
    }

    fn secrets(&self, file: &File, format: Format, secrets: &[String]) -> Result<Vec<Found>, Skip> {
        // A descriptor that was made for this reader: its position is nobody else's.
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|_| Skip::Unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Skip::TooLarge);
        }
        if bytes.contains(&0) || std::str::from_utf8(&bytes).is_err() {
            return Err(Skip::Binary);
        }
        Ok(self.at_rest.in_file(format, secrets, &bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use attribution::{
        credential::{Extractor, FleetKey, Hint},
        endpoint::Catalogue,
    };

    use super::*;

    fn contents() -> Contents {
        let catalogue = Arc::new(Catalogue::built_in().unwrap());
        let key = Arc::new(FleetKey::new(&mut [3; 32]));
        Contents::new(AtRest::new(Extractor::new(key, &catalogue, Hint::None), catalogue))
    }

    fn read(path: &std::path::Path, opened_ns: i64) -> Result<usize, Skip> {
        let file = File::open(path).unwrap();
        contents().read(&file, "app", Format::Lines, &[], opened_ns).map(|found| found.len())
    }

    #[test]
    fn what_cannot_be_used_is_skipped_by_cause() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "OPENAI_API_KEY=some-opaque-key\n").unwrap();
        assert_eq!(read(&path, i64::MAX), Ok(1));
        assert_eq!(read(&path, 0), Err(Skip::Changed), "written after it was opened");
        assert_eq!(read(folder.path(), i64::MAX), Err(Skip::NotRegular));
        std::fs::write(&path, b"OPENAI_API_KEY=\0\xff").unwrap();
        assert_eq!(read(&path, i64::MAX), Err(Skip::Binary));
        File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert_eq!(read(&path, i64::MAX), Err(Skip::TooLarge));
        let file = File::open(&path).unwrap();
        file.metadata().unwrap();
        assert_eq!(read(std::path::Path::new("/dev/zero"), i64::MAX), Err(Skip::NotRegular));
    }

    #[test]
    fn reads_are_limited_and_known_versions_are_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, "OPENAI_API_KEY=some-opaque-key\n").unwrap();
        let mut contents = contents();
        let mut read = |owner: &str| {
            let file = File::open(&path).unwrap();
            contents.read(&file, owner, Format::Lines, &[], i64::MAX).map(|found| found.len())
        };
        for _ in 0..2 * MAX_READS {
            assert_eq!(read("app"), Ok(1));
        }
        let all: Vec<_> = (0..2 * MAX_READS).map(|one| read(&one.to_string())).collect();
        assert!(all.contains(&Err(Skip::Rate)));
    }
}
