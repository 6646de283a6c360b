//! The frames of one direction (RFC 9113 section 4.1), wherever it is cut.

use zeroize::Zeroizing;

use super::headers::BLOCK_LIMIT;
use crate::decode::http::BrokenReason;

/// Length of a frame header, in bytes.
pub(super) const HEADER_LEN: usize = 9;
/// Longest payload that is kept, in bytes: a header block with its priority, padding and promised stream.
const KEPT_LIMIT: u32 = BLOCK_LIMIT as u32 + 512;
/// Bytes of a GOAWAY that are read.
const GOAWAY_LEN: u32 = 8;

/// Frame types (RFC 9113 section 6).
pub(super) mod kind {
    pub(in super::super) const DATA: u8 = 0;
    pub(in super::super) const HEADERS: u8 = 1;
    pub(in super::super) const PRIORITY: u8 = 2;
    pub(in super::super) const RST_STREAM: u8 = 3;
    pub(in super::super) const SETTINGS: u8 = 4;
    pub(in super::super) const PUSH_PROMISE: u8 = 5;
    pub(in super::super) const PING: u8 = 6;
    pub(in super::super) const GOAWAY: u8 = 7;
    pub(in super::super) const WINDOW_UPDATE: u8 = 8;
    pub(in super::super) const CONTINUATION: u8 = 9;
}

/// Frame flags.
pub(super) mod flag {
    pub(in super::super) const END_STREAM: u8 = 1;
    pub(in super::super) const END_HEADERS: u8 = 4;
    pub(in super::super) const PADDED: u8 = 8;
    pub(in super::super) const PRIORITY: u8 = 0x20;
}

/// The fixed part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Payload length, bytes.
    pub(super) len: u32,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Header {
    pub(super) fn parse(bytes: &[u8; HEADER_LEN]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = *bytes;
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        Self { len: u32::from_be_bytes([0, a, b, c]), kind, flags, stream }
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether length and stream fit the type (RFC 9113 sections 6.1 to 6.10). Unknown types are extensions.
    pub(super) fn is_sound(&self) -> bool {
        let on_stream = self.stream != 0;
        match self.kind {
            kind::DATA | kind::HEADERS | kind::CONTINUATION | kind::PUSH_PROMISE => on_stream,
            kind::PRIORITY => on_stream && self.len == 5,
            kind::RST_STREAM => on_stream && self.len == 4,
            kind::SETTINGS => !on_stream && self.len.is_multiple_of(6),
            kind::PING => !on_stream && self.len == 8,
            kind::GOAWAY => !on_stream && self.len >= GOAWAY_LEN,
            kind::WINDOW_UPDATE => self.len == 4,
            _ => true,
        }
    }
}

/// What the frames hold, in order.
pub(super) enum Part<'a> {
    /// Some data, without padding; never empty.
    Data { stream: u32, bytes: &'a [u8] },
    /// Data that was not captured; never 0.
    DataGap { stream: u32, bytes: u64 },
    /// The last data of a stream.
    DataEnd { stream: u32 },
    /// A whole HEADERS, PUSH_PROMISE or CONTINUATION frame, and when it began.
    Headers { header: Header, payload: &'a [u8], at_ns: u64 },
    /// A stream was reset.
    Reset { stream: u32 },
    /// The sender takes no stream after this one.
    GoAway { last: u32 },
}

/// What the next byte is.
#[derive(Default)]
enum Place {
    /// Of a frame header.
    #[default]
    Header,
    /// The padding length of data of this length.
    PadLength { stream: u32, len: u32, end: bool },
    /// Of data, then padding.
    Data { stream: u32, left: u32, padding: u32, end: bool },
    /// Of a payload that is kept.
    Kept { header: Header, left: u32 },
    /// Of a payload that tells nothing.
    Skipped { left: u32 },
}

/// Position in a direction.
#[derive(Default)]
pub(super) struct Frames {
    place: Place,
    /// The part of a header or a kept payload that has come.
    kept: Zeroizing<Vec<u8>>,
    /// When the present frame began.
    at_ns: u64,
}

impl Frames {
    /// Whether the next byte begins a frame.
    pub(super) fn at_boundary(&self) -> bool {
        matches!(self.place, Place::Header) && self.kept.is_empty()
    }

    /// Reads more of the direction and hands what it holds to `part`.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        now_ns: u64,
        part: &mut impl FnMut(Part<'_>) -> Result<(), BrokenReason>,
    ) -> Result<(), BrokenReason> {
        let mut rest = bytes;
        loop {
            self.finish(part)?;
            if rest.is_empty() {
                return Ok(());
            }
            let used = self.step(rest, now_ns, part)?;
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// Passes over `n` bytes that were not captured, when they cannot have held a frame header.
    pub(super) fn gap(
        &mut self,
        n: u64,
        part: &mut impl FnMut(Part<'_>) -> Result<(), BrokenReason>,
    ) -> Result<(), BrokenReason> {
        let take = |left: &mut u32, n: u64| {
            let taken = n.min(u64::from(*left));
            *left -= taken as u32;
            n - taken
        };
        let missing = match &mut self.place {
            Place::Data { stream, left, padding, .. } => {
                let rest = take(left, n);
                if rest < n {
                    part(Part::DataGap { stream: *stream, bytes: n - rest })?;
                }
                take(padding, rest)
            }
            Place::Skipped { left } => take(left, n),
            Place::Header | Place::PadLength { .. } | Place::Kept { .. } => n,
        };
        if missing > 0 {
            return Err(BrokenReason::LostPlace);
        }
        self.finish(part)
    }

    /// Leaves a frame that is over.
    fn finish(
        &mut self,
        part: &mut impl FnMut(Part<'_>) -> Result<(), BrokenReason>,
    ) -> Result<(), BrokenReason> {
        match self.place {
            Place::Data { stream, left: 0, padding: 0, end } => {
                self.place = Place::Header;
                if end { part(Part::DataEnd { stream }) } else { Ok(()) }
            }
            Place::Kept { header, left: 0 } => {
                self.place = Place::Header;
                let payload = std::mem::take(&mut self.kept);
                if header.kind == kind::GOAWAY {
                    let last = payload.first_chunk::<4>().ok_or(BrokenReason::BadFrame)?;
                    return part(Part::GoAway { last: u32::from_be_bytes(*last) & 0x7fff_ffff });
                }
                part(Part::Headers { header, payload: &payload, at_ns: self.at_ns })
            }
            Place::Skipped { left: 0 } => {
                self.place = Place::Header;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes some of `bytes`, which are not empty.
    fn step(
        &mut self,
        bytes: &[u8],
        now_ns: u64,
        part: &mut impl FnMut(Part<'_>) -> Result<(), BrokenReason>,
    ) -> Result<usize, BrokenReason> {
        let front = |limit: usize| bytes.get(..limit.min(bytes.len())).unwrap_or_default();
        match &mut self.place {
            Place::Header => {
                if self.kept.is_empty() {
                    self.at_ns = now_ns;
                }
                let now = front(HEADER_LEN - self.kept.len().min(HEADER_LEN));
                self.kept.extend_from_slice(now);
                if let Some(header) = self.kept.first_chunk::<HEADER_LEN>() {
                    let header = Header::parse(header);
                    self.kept.clear();
                    self.begin(header, part)?;
                }
                Ok(now.len())
            }
            Place::PadLength { stream, len, end } => {
                let padding = bytes.first().map_or(0, |byte| u32::from(*byte));
                let left = len.checked_sub(1 + padding).ok_or(BrokenReason::BadFrame)?;
                self.place = Place::Data { stream: *stream, left, padding, end: *end };
                Ok(1)
            }
            Place::Data { stream, left, .. } if *left > 0 => {
                let now = front(*left as usize);
                *left -= now.len() as u32;
                part(Part::Data { stream: *stream, bytes: now })?;
                Ok(now.len())
            }
            Place::Data { padding: left, .. } | Place::Skipped { left } => {
                let now = front(*left as usize);
                *left -= now.len() as u32;
                Ok(now.len())
            }
            Place::Kept { left, .. } => {
                let now = front(*left as usize);
                *left -= now.len() as u32;
                self.kept.extend_from_slice(now);
                Ok(now.len())
            }
        }
    }

    fn begin(
        &mut self,
        header: Header,
        part: &mut impl FnMut(Part<'_>) -> Result<(), BrokenReason>,
    ) -> Result<(), BrokenReason> {
        if !header.is_sound() {
            return Err(BrokenReason::BadFrame);
        }
        let Header { len, stream, .. } = header;
        let end = header.has(flag::END_STREAM);
        self.place = match header.kind {
            kind::DATA if header.has(flag::PADDED) => Place::PadLength { stream, len, end },
            kind::DATA => Place::Data { stream, left: len, padding: 0, end },
            kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION | kind::GOAWAY => {
                if len > KEPT_LIMIT {
                    return Err(BrokenReason::HeadTooLarge);
                }
                // Never grown: nothing of a head stays behind in a smaller buffer.
                self.kept = Zeroizing::new(Vec::with_capacity(len as usize));
                Place::Kept { header, left: len }
            }
            kind::RST_STREAM => {
                part(Part::Reset { stream })?;
                Place::Skipped { left: len }
            }
            _ => Place::Skipped { left: len },
        };
        Ok(())
    }
}
