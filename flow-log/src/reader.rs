//! Reading a log while it is written, or a copy of one elsewhere.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{frame::Boot, line::Line, lock, segment, walk::Walk};

mod follow;
mod last;
mod offline;
mod scan;

pub use follow::Follow;
pub use last::Backwards;
pub use offline::{read_file, read_stream};
use scan::{Gathered, Scan};

/// Which records are wanted, by their time in nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Range {
    /// From this time on.
    pub since: Option<u64>,
    /// Before this time.
    pub until: Option<u64>,
}

/// A part of a segment that cannot be read. Reading goes on after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where the damage begins.
    pub offset: u64,
    /// How far it goes; 0 when whole frames or segments are absent.
    pub bytes: u64,
    /// What is wrong.
    pub what: &'static str,
    /// Which records are missing, as far as their neighbours tell.
    pub missing: Option<Missing>,
}

/// Records that should lie between two others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// Boot that numbered them.
    pub boot: Boot,
    /// First sequence number.
    pub from: u64,
    /// Last sequence number.
    pub to: u64,
}

/// Why something cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Part of the log is damaged.
    #[error("{0}")]
    Damaged(Box<Damage>),
    /// The operating system refuses.
    #[error("cannot read {path}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)?;
        if self.bytes > 0 {
            write!(f, " ({} bytes from offset {})", self.bytes, self.offset)?;
        }
        match &self.missing {
            Some(Missing { from, to, .. }) if from == to => write!(f, "; record {from} is missing"),
            Some(Missing { from, to, .. }) => write!(f, "; records {from} to {to} are missing"),
            None => write!(f, "; which records are missing is not known"),
        }
    }
}

impl Range {
    pub(crate) fn overlaps(&self, from: u64, to: u64) -> bool {
        self.since.is_none_or(|since| since <= to) && self.until.is_none_or(|until| from < until)
    }

    pub(crate) fn covers(&self, from: u64, to: u64) -> bool {
        self.holds(from) && self.holds(to)
    }

    pub(crate) fn holds(&self, time: u64) -> bool {
        self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time < until)
    }
}

/// A log that can be read.
#[derive(Debug, Clone)]
pub struct Reader {
    folder: PathBuf,
}

/// Records, oldest first, and what could not be read where it would have stood.
pub struct Lines(Box<dyn Iterator<Item = Result<Line, ReadError>> + Send>);

impl Iterator for Lines {
    type Item = Result<Line, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

impl Reader {
    /// The log in `folder`, which must exist.
    pub fn open(folder: &Path) -> Result<Self, ReadError> {
        segment::list(folder).map_err(|source| ReadError::Io { path: folder.to_owned(), source })?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The records in `range` that are in the log now, oldest first.
    pub fn lines(&self, range: Range) -> Result<Lines, ReadError> {
        Ok(Lines(Box::new(self.walk(self.segments()?, range, 0, 0))))
    }

    /// The last `count` records of the log now, oldest first.
    pub fn last(&self, count: usize) -> Result<Lines, ReadError> {
        last::last(self, count)
    }

    /// The records in `range` that are in the log now, frame by frame, the newest first.
    pub fn backwards(&self, range: Range) -> Result<Backwards, ReadError> {
        Backwards::new(self, range)
    }

    /// All records after `position`, those too that are still to come.
    pub fn follow_from(&self, position: crate::Position) -> Follow {
        Follow::new(self.clone(), position)
    }

    fn segments(&self) -> Result<VecDeque<(u64, PathBuf)>, ReadError> {
        let failed = |source| ReadError::Io { path: self.folder.clone(), source };
        Ok(segment::list(&self.folder).map_err(failed)?.into())
    }

    /// Whether a writer has the log open: then the end of the last segment may be on its way.
    fn is_written(&self) -> bool {
        lock::is_held(&self.folder)
    }

    /// Through `segments`, from `offset` in the first of them, leaving out `skip` records.
    fn walk(&self, segments: VecDeque<(u64, PathBuf)>, range: Range, offset: u64, skip: usize) -> All {
        All {
            reader: self.clone(),
            segments,
            current: None,
            range,
            offset,
            skip,
            gathered: Gathered::default(),
        }
    }
}

/// Segment after segment.
struct All {
    reader: Reader,
    segments: VecDeque<(u64, PathBuf)>,
    current: Option<Scan<File>>,
    range: Range,
    /// Where to begin in the first segment.
    offset: u64,
    skip: usize,
    gathered: Gathered,
}

impl All {
    /// Opens the next segment; nothing when there is no more.
    fn open_next(&mut self) -> Option<Result<(), ReadError>> {
        let (number, path) = self.segments.pop_front()?;
        let offset = std::mem::take(&mut self.offset);
        let failed = |source| ReadError::Io { path: path.clone(), source };
        let file = match File::open(&path) {
            Ok(file) => file,
            // Retention was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(Ok(())),
            Err(error) => return Some(Err(failed(error))),
        };
        let mut bounds = (offset, u64::MAX);
        if offset == 0 && self.range != Range::default() {
            match segment::index(&file) {
                Ok(Some((seal, entries))) => match bounds_of(&entries, &self.range) {
                    Some(found) => bounds = found,
                    None => {
                        self.gathered.passed(&seal);
                        return Some(Ok(()));
                    }
                },
                Ok(None) => {}
                Err(error) => return Some(Err(failed(error))),
            }
        }
        let mut walk = Walk::new(file);
        if let Err(error) = walk.go(bounds.0) {
            return Some(Err(failed(error)));
        }
        let mut scan = Scan::new(walk, path, Some(number), self.range, bounds.1);
        scan.live = self.segments.is_empty() && self.reader.is_written();
        if bounds.0 > 0 {
            self.gathered.forget();
        }
        self.current = Some(scan);
        Some(Ok(()))
    }
}

impl Iterator for All {
    type Item = Result<Line, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match &mut self.current {
                Some(scan) => match scan.next(&mut self.gathered) {
                    Some(Ok(_)) if self.skip > 0 => self.skip -= 1,
                    Some(item) => return Some(item),
                    None => self.current = None,
                },
                None => {
                    if let Err(error) = self.open_next()? {
                        return Some(Err(error));
                    }
                }
            }
        }
    }
}

/// From which offset to which the frames lie that `range` needs; nothing when there are none.
fn bounds_of(entries: &[segment::Entry], range: &Range) -> Option<(u64, u64)> {
    let needed = |entry: &&segment::Entry| range.overlaps(entry.from_time, entry.to_time);
    let first = entries.iter().find(needed)?;
    let last = entries.iter().rev().find(needed)?;
    Some((first.offset, last.offset))
}
