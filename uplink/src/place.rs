//! How far the collector has the log, kept over restarts.
//!
//! The file may be behind: what is sent twice is stored once. So it is written without waiting for the disk, and
//! not with every acknowledgement.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use flow_log::{
    Position, Reader,
    files::{self, Survives},
};
use serde::{Deserialize, Serialize};

/// How often the file is written.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Who may read the file: this user alone.
const MODE: u32 = 0o600;

/// A place in the log.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    position: Position,
    saved: Position,
    when: Option<Instant>,
}

#[derive(Serialize, Deserialize)]
struct File {
    segment: u64,
    records: u64,
}

impl Place {
    /// Reads the file. The beginning of the log when there is none, it is broken, or the log is another one by now.
    pub(crate) fn open(path: &Path, log: &Path) -> Self {
        let mut position = match read(path) {
            Ok(position) => position,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Position::default(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "sending the log from its beginning");
                Position::default()
            }
        };
        let last =
            Reader::open(log).and_then(|log| log.last(1)).ok().and_then(|mut lines| lines.next()?.ok());
        if last.is_some_and(|last| last.position < position) {
            tracing::warn!("the log is older than what was sent of it: sending it from its beginning");
            position = Position::default();
        }
        Self { path: path.to_owned(), position, saved: position, when: None }
    }

    /// After the last record that the collector has.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The collector has everything up to `position`.
    pub(crate) fn advance(&mut self, position: Position) {
        self.position = position;
        if self.when.is_none_or(|when| when.elapsed() >= SAVE_EVERY) {
            self.save_now();
        }
    }

    /// Writes the file if it is behind.
    pub(crate) fn save_now(&mut self) {
        if self.saved == self.position {
            return;
        }
        self.when = Some(Instant::now());
        match write(&self.path, self.position) {
            Ok(()) => self.saved = self.position,
            // Records are sent twice after a restart, which does no harm.
            Err(error) => tracing::warn!(path = %self.path.display(), %error, "cannot note what was sent"),
        }
    }
}

fn read(path: &Path) -> io::Result<Position> {
    let File { segment, records } = serde_json::from_slice(&fs::read(path)?)?;
    Ok(Position { segment, records })
}

fn write(path: &Path, position: Position) -> io::Result<()> {
    let Position { segment, records } = position;
    files::replace(path, &serde_json::to_vec(&File { segment, records })?, MODE, Survives::Kill)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_and_a_broken_file_is_the_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let (path, log) = (folder.path().join("place"), folder.path().join("log"));
        let mut place = Place::open(&path, &log);
        assert_eq!(place.position(), Position::default());
        let there = Position { segment: 3, records: 7 };
        place.advance(there);
        place.advance(Position { records: 8, ..there });
        assert_eq!(Place::open(&path, &log).position(), there, "not with every acknowledgement");
        place.save_now();
        assert_eq!(Place::open(&path, &log).position(), Position { records: 8, ..there });
        fs::write(&path, "no").unwrap();
        assert_eq!(Place::open(&path, &log).position(), Position::default());
    }
}
