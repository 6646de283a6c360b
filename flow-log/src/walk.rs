//! Frame by frame through a segment, past damage to the next good frame.

use std::{
    fs::File,
    io::{self, Cursor, Read, Seek, SeekFrom},
};

use bytes::Bytes;

use crate::frame::{self, HEADER_BYTES, Header};

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;

/// Bytes to walk through.
pub(crate) trait Input: Read {
    /// Goes to an offset; `false` where only reading on is possible.
    fn go(&mut self, offset: u64) -> io::Result<bool>;
}

impl Input for File {
    fn go(&mut self, offset: u64) -> io::Result<bool> {
        self.seek(SeekFrom::Start(offset)).map(|_| true)
    }
}

impl<T: AsRef<[u8]>> Input for Cursor<T> {
    fn go(&mut self, offset: u64) -> io::Result<bool> {
        self.set_position(offset);
        Ok(true)
    }
}

/// A pipe or whatever else cannot go back.
pub(crate) struct Stream<R>(pub(crate) R);

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Input for Stream<R> {
    fn go(&mut self, _: u64) -> io::Result<bool> {
        Ok(false)
    }
}

/// What comes next in a segment.
#[derive(Debug)]
pub(crate) enum Step {
    /// A frame; its data when it was wanted.
    Frame { offset: u64, header: Header, data: Option<Bytes> },
    /// Bytes that are no frame, up to the next frame or the end.
    Damaged { offset: u64, bytes: u64, what: &'static str, tail: bool },
    /// The end.
    End,
}

/// The walk. The buffer holds the bytes from `offset` on.
pub(crate) struct Walk<I> {
    input: I,
    buffer: Vec<u8>,
    start: usize,
    /// Offset in the segment of `buffer[start]`.
    offset: u64,
    /// Where the data begins that was passed over unread.
    unchecked: Option<u64>,
}

impl<I: Input> Walk<I> {
    /// From the beginning of `input`.
    pub(crate) fn new(input: I) -> Self {
        Self { input, buffer: Vec::new(), start: 0, offset: 0, unchecked: None }
    }

    /// Where it is.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Continues at `offset`, which must be possible.
    pub(crate) fn go(&mut self, offset: u64) -> io::Result<()> {
        self.buffer.clear();
        self.start = 0;
        self.offset = offset;
        self.unchecked = None;
        match self.input.go(offset)? {
            true => Ok(()),
            false => Err(io::ErrorKind::NotSeekable.into()),
        }
    }

    fn held(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Reads until `count` bytes are held; `false` at the end of the input.
    fn fill(&mut self, count: usize) -> io::Result<bool> {
        if self.held().len() >= count {
            return Ok(true);
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let missing = count.saturating_sub(self.buffer.len()).max(READ_BYTES) as u64;
        self.input.by_ref().take(missing).read_to_end(&mut self.buffer)?;
        Ok(self.buffer.len() >= count)
    }

    fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.buffer.len());
        self.offset += count as u64;
    }

    /// The next frame. Data for which `wanted` says no is passed over where the input allows it.
    pub(crate) fn next(&mut self, wanted: impl FnOnce(&Header) -> bool) -> io::Result<Step> {
        let offset = self.offset;
        if !self.fill(1)? && self.unchecked.is_none() {
            return Ok(Step::End);
        }
        self.fill(HEADER_BYTES)?;
        let header = match Header::decode(self.held()) {
            Some(header) => header,
            None => return self.after_bad_header(offset),
        };
        self.unchecked = None;
        let length = usize::try_from(header.data_bytes).unwrap_or(usize::MAX);
        let (data_at, whole) = (offset + HEADER_BYTES as u64, HEADER_BYTES.saturating_add(length));
        if !wanted(&header) && self.pass(data_at, &header)? {
            return Ok(Step::Frame { offset, header, data: None });
        }
        if !self.fill(whole)? {
            return self.resync(offset, HEADER_BYTES, "ends within a frame");
        }
        let data = self.held().get(HEADER_BYTES..whole).unwrap_or_default();
        if crc32fast::hash(data) != header.data_crc {
            return self.resync(offset, HEADER_BYTES, "a frame's checksum is wrong");
        }
        let data = Bytes::copy_from_slice(data);
        self.consume(whole);
        Ok(Step::Frame { offset, header, data: Some(data) })
    }

    /// Passes over the data without reading it, but for its last byte, which shows that it is there.
    fn pass(&mut self, data_at: u64, header: &Header) -> io::Result<bool> {
        let end = data_at + u64::from(header.data_bytes);
        let held_end = self.offset + self.held().len() as u64;
        if held_end < end {
            if !self.input.go(end - 1)? {
                return Ok(false);
            }
            self.buffer.clear();
            self.start = 0;
            if !self.fill(1)? {
                // The data is cut off: read what there is of it as damage.
                let at = self.offset;
                self.go(at)?;
                return Ok(false);
            }
            self.start = 1;
            self.offset = end;
        } else {
            let whole = usize::try_from(end - self.offset).unwrap_or(usize::MAX);
            let data = self.held().get(HEADER_BYTES..whole).unwrap_or_default();
            // It is at hand, so there is no need to believe in it.
            if crc32fast::hash(data) != header.data_crc {
                return Ok(false);
            }
            self.consume(whole);
            self.unchecked = None;
            return Ok(true);
        }
        self.unchecked = Some(data_at);
        Ok(true)
    }

    /// A header was expected. When data before it was not looked at, the fault may be there.
    fn after_bad_header(&mut self, offset: u64) -> io::Result<Step> {
        let Some(data_at) = self.unchecked.take() else {
            return match self.held().is_empty() {
                true => Ok(Step::End),
                false => self.resync(offset, 1, "no frame begins here"),
            };
        };
        if self.held().is_empty() {
            return Ok(Step::End);
        }
        self.go(data_at)?;
        self.resync(data_at, 0, "no frame follows")
    }

    /// Searches for the next good header, `from` bytes after `offset`.
    fn resync(&mut self, offset: u64, from: usize, what: &'static str) -> io::Result<Step> {
        let prefix = frame::prefix();
        let finder = memchr::memmem::Finder::new(&prefix);
        self.consume(from.min(self.held().len()));
        loop {
            let more = self.fill(READ_BYTES)?;
            match finder.find(self.held()) {
                Some(at) => {
                    self.consume(at);
                    self.fill(HEADER_BYTES)?;
                    if Header::decode(self.held()).is_some() {
                        let bytes = self.offset - offset;
                        return Ok(Step::Damaged { offset, bytes, what, tail: false });
                    }
                    self.consume(1);
                }
                None if more => {
                    let rest = self.held().len().saturating_sub(prefix.len() - 1);
                    self.consume(rest);
                }
                None => {
                    let rest = self.held().len();
                    self.consume(rest);
                    return Ok(Step::Damaged { offset, bytes: self.offset - offset, what, tail: true });
                }
            }
        }
    }
}
