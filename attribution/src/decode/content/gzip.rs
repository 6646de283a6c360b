//! The gzip coding (RFC 1952).

use flate2::Crc;

use super::ContentError;
use super::deflate::Inflate;
use super::stage::Out;

const CORRUPT: ContentError = ContentError::Corrupt { what: "gzip" };
/// Longest name, comment or extra field before a member, in bytes.
const FIELD_LIMIT: usize = 64 * 1024;
/// Fixed part of a header (RFC 1952 section 2.3), in bytes.
const HEADER_LEN: usize = 10;
/// CRC-32 and length after the data, in bytes.
const TRAILER_LEN: usize = 8;
/// Flag bits (RFC 1952 section 2.3.1).
const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

/// Members one after another, which together are one body (RFC 1952 section 2.2).
pub(super) struct Gzip {
    part: Part,
    /// The beginning of a fixed part that is not whole.
    held: Vec<u8>,
    /// Optional header fields still to come.
    flags: u8,
    inflate: Inflate,
    crc: Crc,
    members: u64,
}

/// What the next byte belongs to.
enum Part {
    Header,
    ExtraLen,
    /// This many bytes.
    Extra(usize),
    /// A name or comment, up to its zero byte; bytes so far.
    Text(usize),
    HeaderCrc,
    Data,
    Trailer,
    /// Zero bytes after the last member.
    Padding,
}

impl Gzip {
    pub(super) fn new() -> Self {
        Self {
            part: Part::Header,
            held: Vec::with_capacity(HEADER_LEN),
            flags: 0,
            inflate: Inflate::new(false),
            crc: Crc::new(),
            members: 0,
        }
    }

    pub(super) fn at_end(&self) -> bool {
        matches!(self.part, Part::Header | Part::Padding) && self.held.is_empty()
    }

    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Out<'_>) -> Result<(), ContentError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let used = match self.part {
                Part::Data => self.data(rest, out)?,
                Part::Extra(left) => {
                    let used = left.min(rest.len());
                    self.part = Part::Extra(left - used);
                    if used == left {
                        self.next_field();
                    }
                    used
                }
                _ => {
                    self.byte(*rest.first().unwrap_or(&0))?;
                    1
                }
            };
            rest = rest.get(used..).unwrap_or_default();
        }
        Ok(())
    }

    fn data(&mut self, bytes: &[u8], out: &mut Out<'_>) -> Result<usize, ContentError> {
        let crc = &mut self.crc;
        let sum = &mut |bytes: &[u8]| {
            crc.update(bytes);
            out(bytes)
        };
        let used = self.inflate.push(bytes, sum, CORRUPT)?;
        if self.inflate.ended {
            self.part = Part::Trailer;
        }
        Ok(used)
    }

    fn byte(&mut self, byte: u8) -> Result<(), ContentError> {
        match self.part {
            Part::Header if self.members > 0 && self.held.is_empty() && byte == 0 => {
                self.part = Part::Padding
            }
            Part::Padding if byte == 0 => {}
            Part::Header => {
                self.held.push(byte);
                let known = [0x1f, 0x8b, 8];
                if self.held.iter().zip(known).any(|(&byte, expected)| byte != expected) {
                    return Err(CORRUPT);
                }
                if self.held.len() == HEADER_LEN {
                    self.flags = self.held.get(3).copied().unwrap_or_default();
                    self.held.clear();
                    if self.flags & RESERVED != 0 {
                        return Err(CORRUPT);
                    }
                    self.next_field();
                }
            }
            Part::ExtraLen => {
                self.held.push(byte);
                if let &[low, high] = self.held.as_slice() {
                    self.held.clear();
                    self.part = Part::Extra(usize::from(u16::from_le_bytes([low, high])));
                    if low == 0 && high == 0 {
                        self.next_field();
                    }
                }
            }
            Part::Text(_) if byte == 0 => self.next_field(),
            Part::Text(len) if len < FIELD_LIMIT => self.part = Part::Text(len + 1),
            Part::HeaderCrc => {
                // Not checked: nothing in the header is used.
                self.held.push(byte);
                if self.held.len() == 2 {
                    self.held.clear();
                    self.next_field();
                }
            }
            Part::Trailer => {
                self.held.push(byte);
                if self.held.len() == TRAILER_LEN {
                    self.end_member()?;
                }
            }
            _ => return Err(CORRUPT),
        }
        Ok(())
    }

    /// The optional fields come in this order (RFC 1952 section 2.3).
    fn next_field(&mut self) {
        for (flag, part) in [
            (EXTRA, Part::ExtraLen),
            (NAME, Part::Text(0)),
            (COMMENT, Part::Text(0)),
            (HEADER_CRC, Part::HeaderCrc),
        ] {
            if self.flags & flag != 0 {
                self.flags &= !flag;
                self.part = part;
                return;
            }
        }
        self.part = Part::Data;
    }

    fn end_member(&mut self) -> Result<(), ContentError> {
        let expected = [self.crc.sum().to_le_bytes(), self.crc.amount().to_le_bytes()].concat();
        if self.held != expected {
            return Err(CORRUPT);
        }
        self.held.clear();
        self.crc.reset();
        self.inflate = Inflate::new(false);
        self.members = self.members.saturating_add(1);
        self.part = Part::Header;
        Ok(())
    }
}
