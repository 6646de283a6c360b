//! Single files and streams: segments of another host, or JSON lines of whatever origin.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::{Path, PathBuf},
};

use super::{Gathered, Lines, Range, ReadError, Scan};
use crate::{
    frame::{self, Boot},
    line::{Line, Position},
    walk::{Input, Stream, Walk},
};

/// First bytes of a zstd frame (RFC 8878 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// How far into an input is looked for what it is.
const LOOK_BYTES: u64 = 64 * 1024;
/// Longest line, in bytes.
const MAX_LINE_BYTES: u64 = frame::MAX_RAW_BYTES as u64;

/// The records in `range` of one file: a segment, or JSON lines, plain or compressed with zstd.
pub fn read_file(path: &Path, range: Range) -> Result<Lines, ReadError> {
    let failed = |source| ReadError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let head = look(&mut file).map_err(failed)?;
    if is_ours(&head) {
        file.go(0).map_err(failed)?;
        return Ok(scan(file, path.to_owned(), range));
    }
    foreign(&head, file, path.to_owned(), range)
}

/// The records in `range` of a stream, as [`read_file`]; `name` stands for it in errors.
pub fn read_stream(
    name: &Path,
    mut input: impl Read + Send + 'static,
    range: Range,
) -> Result<Lines, ReadError> {
    let head = look(&mut input).map_err(|source| ReadError::Io { path: name.to_owned(), source })?;
    if is_ours(&head) {
        return Ok(scan(Stream(Cursor::new(head).chain(input)), name.to_owned(), range));
    }
    foreign(&head, input, name.to_owned(), range)
}

fn look(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    input.take(LOOK_BYTES).read_to_end(&mut head)?;
    Ok(head)
}

/// Wherever the first good header is: the beginning may be damaged.
fn is_ours(head: &[u8]) -> bool {
    let prefix = frame::prefix();
    let begun = !head.is_empty() && prefix.starts_with(head);
    begun || memchr::memmem::find(head, &prefix).is_some()
}

fn scan(input: impl Input + Send + 'static, path: PathBuf, range: Range) -> Lines {
    let mut scan = Scan::new(Walk::new(input), path, None, range, u64::MAX);
    let mut gathered = Gathered::default();
    Lines(Box::new(std::iter::from_fn(move || scan.next(&mut gathered))))
}

fn foreign(
    head: &[u8],
    rest: impl Read + Send + 'static,
    path: PathBuf,
    range: Range,
) -> Result<Lines, ReadError> {
    let input = Cursor::new(head.to_vec()).chain(rest);
    let lines: Box<dyn BufRead + Send> = if head.starts_with(&ZSTD_MAGIC) {
        let decoder =
            zstd::Decoder::new(input).map_err(|source| ReadError::Io { path: path.clone(), source })?;
        Box::new(BufReader::new(decoder))
    } else {
        Box::new(BufReader::new(input))
    };
    Ok(Lines(Box::new(Plain { lines, path, range, records: 0, ended: false })))
}

/// JSON lines without frames.
struct Plain {
    lines: Box<dyn BufRead + Send>,
    path: PathBuf,
    range: Range,
    records: u64,
    ended: bool,
}

impl Plain {
    fn line(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        let length = self.lines.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes)?;
        if length as u64 == MAX_LINE_BYTES {
            return Err(io::Error::other("a line is longer than any record"));
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        self.records += 1;
        let position = Position { segment: 0, records: self.records };
        Ok((length > 0).then(|| Line { bytes: bytes.into(), position, boot: Boot::default(), seq: 0 }))
    }
}

impl Iterator for Plain {
    type Item = Result<Line, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match self.line() {
                Ok(Some(line)) if line.bytes.is_empty() => {}
                Ok(Some(line)) => {
                    if self.range == Range::default() || self.range.holds(line.time()) {
                        return Some(Ok(line));
                    }
                }
                Ok(None) => self.ended = true,
                Err(source) => {
                    self.ended = true;
                    return Some(Err(ReadError::Io { path: self.path.clone(), source }));
                }
            }
        }
        None
    }
}
