//! The newest records, found from the end.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use super::{Gathered, Lines, Range, ReadError, Reader, Scan};
use crate::{
    Line,
    frame::Kind,
    segment::{self, Entry},
    walk::{Step, Walk},
};

/// The last `count` records of the log.
pub(super) fn last(reader: &Reader, count: usize) -> Result<Lines, ReadError> {
    let mut segments = reader.segments()?;
    let mut chosen = VecDeque::new();
    let (mut missing, mut offset) = (count as u64, 0);
    while missing > 0
        && let Some((number, path)) = segments.pop_back()
    {
        let entries = match entries(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(ReadError::Io { path, source }),
        };
        chosen.push_front((number, path));
        offset = 0;
        for entry in entries.iter().rev() {
            offset = entry.offset;
            let held = u64::from(entry.count);
            if held >= missing {
                let skip = usize::try_from(held - missing).unwrap_or_default();
                return Ok(Lines(Box::new(reader.walk(chosen, Range::default(), offset, skip))));
            }
            missing -= held;
        }
    }
    if missing == count as u64 {
        chosen.clear();
    }
    Ok(Lines(Box::new(reader.walk(chosen, Range::default(), offset, 0))))
}

/// Frame by frame from the newest to the oldest; the records of each, and what cannot be read behind them, in their
/// own order. Who looks for a few of the newest reads little more than these.
pub struct Backwards {
    reader: Reader,
    range: Range,
    segments: VecDeque<(u64, PathBuf)>,
    current: Option<Segment>,
    /// Whether no segment was opened yet: the newest may be written.
    newest: bool,
}

/// A segment, and its frames that were not read yet.
struct Segment {
    number: u64,
    path: PathBuf,
    entries: Vec<Entry>,
    live: bool,
}

impl Backwards {
    pub(super) fn new(reader: &Reader, range: Range) -> Result<Self, ReadError> {
        let segments = reader.segments()?;
        Ok(Self { reader: reader.clone(), range, segments, current: None, newest: true })
    }

    /// Opens the segment before; nothing when there is none.
    fn open(&mut self) -> Option<io::Result<Segment>> {
        let (number, path) = self.segments.pop_back()?;
        let live = std::mem::take(&mut self.newest) && self.reader.is_written();
        Some(entries(&path).map(|entries| Segment { number, path, entries, live }))
    }
}

impl Iterator for Backwards {
    type Item = Vec<Result<Line, ReadError>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(segment) = &mut self.current else {
                let path = self.segments.back()?.1.clone();
                match self.open()? {
                    Ok(segment) => self.current = Some(segment),
                    // Retention was faster.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(source) => return Some(vec![Err(ReadError::Io { path, source })]),
                }
                continue;
            };
            match segment.entries.pop() {
                Some(entry) if self.range.overlaps(entry.from_time, entry.to_time) => {
                    return Some(segment.read(&entry, self.range));
                }
                Some(_) => {}
                None => self.current = None,
            }
        }
    }
}

impl Segment {
    /// The records of one frame. What is damaged between it and the next one is told with it.
    fn read(&self, entry: &Entry, range: Range) -> Vec<Result<Line, ReadError>> {
        let oldest = self.entries.is_empty();
        let walk = File::open(&self.path).and_then(|file| {
            let mut walk = Walk::new(file);
            walk.go(if oldest { 0 } else { entry.offset }).map(|()| walk)
        });
        match walk {
            Ok(walk) => {
                let mut scan = Scan::new(walk, self.path.clone(), Some(self.number), range, entry.offset);
                scan.live = self.live;
                let mut gathered = Gathered::default();
                std::iter::from_fn(|| scan.next(&mut gathered)).collect()
            }
            Err(source) => vec![Err(ReadError::Io { path: self.path.clone(), source })],
        }
    }
}

/// The frames of records in a segment: by its index, or else by their headers.
fn entries(path: &Path) -> io::Result<Vec<Entry>> {
    let file = File::open(path)?;
    if let Some((_, entries)) = segment::index(&file)? {
        return Ok(entries);
    }
    let mut walk = Walk::new(file);
    let mut entries = Vec::new();
    loop {
        match walk.next(|_| false)? {
            Step::End => return Ok(entries),
            Step::Frame { offset, header, .. } if header.kind == Kind::Batch => {
                entries.push(Entry::new(offset, &header));
            }
            Step::Frame { .. } | Step::Damaged { .. } => {}
        }
    }
}
