//! The newest records, found from the end.

use std::{collections::VecDeque, fs::File, io, path::Path};

use super::{Lines, Range, ReadError, Reader};
use crate::{
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
