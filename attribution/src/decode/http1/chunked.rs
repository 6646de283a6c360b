//! The chunked transfer coding (RFC 9112 section 7.1).

use super::head::HEAD_LIMIT;
use crate::decode::http::BrokenReason;

/// Longest chunk line, in bytes: size and extensions.
const LINE_LIMIT: usize = 8 * 1024;

/// Position in a chunked body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Chunked {
    /// In the size of a chunk: the value so far and how many digits made it.
    Size { value: u64, digits: u32 },
    /// After the size: extensions to the end of the line.
    Extension { value: u64, len: usize },
    /// In the data.
    Data { left: u64 },
    /// At the line end after the data.
    DataEnd { after_cr: bool },
    /// In the trailer section: bytes of this line without its line end, bytes of the section.
    Trailer { line: usize, len: usize },
    /// After the last line end.
    Done,
}

/// What the next bytes are.
pub(super) enum Step {
    /// This many bytes of framing.
    Framing(usize),
    /// This many bytes of data, not 0.
    Data(usize),
}

impl Chunked {
    pub(super) fn start() -> Self {
        Self::Size { value: 0, digits: 0 }
    }

    /// Takes some of `bytes`, which are not empty.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Result<Step, BrokenReason> {
        if let Self::Data { left } = self {
            let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
            self.skip(taken as u64);
            return Ok(Step::Data(taken));
        }
        let mut used = 0;
        for &byte in bytes {
            if matches!(self, Self::Data { .. } | Self::Done) {
                break;
            }
            self.framing_byte(byte)?;
            used += 1;
        }
        Ok(Step::Framing(used))
    }

    /// Passes over `n` bytes of data that were not seen; false when the data is shorter.
    pub(super) fn skip(&mut self, n: u64) -> bool {
        let Self::Data { left } = self else { return false };
        let Some(rest) = left.checked_sub(n) else { return false };
        *self = match rest {
            0 => Self::DataEnd { after_cr: false },
            left => Self::Data { left },
        };
        true
    }

    fn framing_byte(&mut self, byte: u8) -> Result<(), BrokenReason> {
        let next = match (&*self, byte) {
            (Self::Size { value, digits }, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                // Leading zeros make no chunk larger but must end.
                let fits = *digits < LINE_LIMIT as u32 && *value <= u64::MAX >> 4;
                let value = if fits { (*value << 4) | digit } else { return Err(BrokenReason::BadChunk) };
                Self::Size { value, digits: digits + 1 }
            }
            (Self::Size { digits: 0, .. }, _) => return Err(BrokenReason::BadChunk),
            (&Self::Size { value, .. } | &Self::Extension { value, .. }, b'\n') => Self::after_size(value),
            (&Self::Size { value, .. }, b'\r' | b';' | b' ' | b'\t') => Self::Extension { value, len: 1 },
            (&Self::Extension { value, len }, _) if len < LINE_LIMIT => {
                Self::Extension { value, len: len + 1 }
            }
            (Self::DataEnd { .. }, b'\n') => Self::start(),
            (Self::DataEnd { after_cr: false }, b'\r') => Self::DataEnd { after_cr: true },
            (Self::Trailer { line: 0, .. }, b'\n') => Self::Done,
            (&Self::Trailer { len, .. }, b'\n') if len < HEAD_LIMIT => {
                Self::Trailer { line: 0, len: len + 1 }
            }
            // A CR at the start of a line is the start of its end.
            (&Self::Trailer { line, len }, b'\r') if len < HEAD_LIMIT => Self::Trailer { line, len: len + 1 },
            (&Self::Trailer { line, len }, _) if len < HEAD_LIMIT => {
                Self::Trailer { line: line + 1, len: len + 1 }
            }
            _ => return Err(BrokenReason::BadChunk),
        };
        *self = next;
        Ok(())
    }

    fn after_size(value: u64) -> Self {
        match value {
            0 => Self::Trailer { line: 0, len: 0 },
            left => Self::Data { left },
        }
    }
}
