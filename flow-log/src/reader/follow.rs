//! Records as they come.

use std::{fs::File, io, os::unix::fs::MetadataExt, path::PathBuf};

use super::{Gathered, Range, ReadError, Reader, Scan};
use crate::{
    line::{Line, Position},
    walk::Walk,
};

/// All records after a position. It never ends and never waits: ask again later.
pub struct Follow {
    reader: Reader,
    position: Position,
    current: Option<Open>,
    gathered: Gathered,
}

struct Open {
    scan: Scan<File>,
    number: u64,
    path: PathBuf,
    inode: u64,
}

impl Follow {
    pub(super) fn new(reader: Reader, position: Position) -> Self {
        Self { reader, position, current: None, gathered: Gathered::default() }
    }

    /// After the last record that was handed out.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The next record, or nothing for now.
    pub fn poll(&mut self) -> Option<Result<Line, ReadError>> {
        loop {
            if let Some(open) = &mut self.current {
                let item = open.scan.next(&mut self.gathered);
                if let Some(Ok(line)) = &item {
                    self.position = line.position;
                }
                if item.is_some() {
                    return item;
                }
            }
            match self.go_on() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// At the end of a segment: opens the next one, or the same again when it was rewritten. `false` when
    /// there is nothing new.
    fn go_on(&mut self) -> Result<bool, ReadError> {
        let segments = self.reader.segments()?;
        let number = match &self.current {
            Some(open) => {
                let rewritten = std::fs::metadata(&open.path).is_ok_and(|now| now.ino() != open.inode);
                let next = segments.iter().map(|(number, _)| *number).find(|number| *number > open.number);
                match (rewritten, next) {
                    (true, _) => open.number,
                    (false, Some(next)) if !open.scan.live => next,
                    // It was the last one until now, and is complete from now on: once more to its end.
                    (false, Some(_)) => open.number,
                    (false, None) => return Ok(false),
                }
            }
            None => {
                let from = self.position.segment;
                match segments.iter().map(|(number, _)| *number).find(|number| *number >= from) {
                    Some(number) => number,
                    None => return Ok(false),
                }
            }
        };
        let Some((_, path)) = segments.iter().find(|(one, _)| *one == number) else { return Ok(false) };
        let newest = segments.back().is_some_and(|(last, _)| *last == number);
        self.open(number, path.clone(), newest)
    }

    fn open(&mut self, number: u64, path: PathBuf, newest: bool) -> Result<bool, ReadError> {
        let failed = |source| ReadError::Io { path: path.clone(), source };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        let inode = file.metadata().map_err(failed)?.ino();
        let mut scan = Scan::new(Walk::new(file), path.clone(), Some(number), Range::default(), u64::MAX);
        scan.live = newest;
        if self.position.segment == number {
            scan.from_records = self.position.records;
            self.gathered.forget();
        }
        self.current = Some(Open { scan, number, path, inode });
        Ok(true)
    }
}
